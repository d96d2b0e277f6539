"""From poses in a camera video to a walk in metres on a level floor: `read_video_walk`, `walk_from_poses`.

In: a film, or a `PoseTrack` (keypoints in pixels, body-centred landmarks). Out: a `Walk` of 33 landmarks, float32
(T, 33, 3) [m], z up, with what the view cannot show (`Walk.unseen`) and how sure its numbers are (`Walk.accuracy`).

Legs that the estimator exchanged are put right first (`leg_following`). A landmark lies on the ray of its pixel, as far from
the camera as the person plus its depth in the body. How far the person is, the size of the body in the picture tells, given the
stature and the focal length (assumed: 0.85 of the picture's longer side, as of a telephone); it is averaged over a stride.
Upright is the mean of the line from ankles to shoulders, and level the path of the hips. So lengths go with the stature, and
those across the picture are sure while those into it stand on lifted depth.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, without_side
from .leg_following import follow_legs
from .loading import Walk, check_arguments, walk_from_arrays
from .points import MEDIAPIPE_33
from .pose_estimation import FOCAL, PoseTrack, estimate_poses

STATURE = 1.70  # m, of an adult unknown; SD of adults of both sexes 0.09 (NCD-RisC 2016)
SIDE_VIEW, FRONT_VIEW = 30.0, 60.0  # degrees between the way and the plane of the picture
LEAN = 2.0  # degrees, by which shoulders are ahead of the middle of the ankles
# Legs and trunk as shares of the stature: thigh, shank, hip to shoulder (Drillis & Contini 1966, in Winter 2009, fig. 4.1).
LEG_SHARE, TRUNK_SHARE = 0.491, 0.288

_BOTH = ("left", "right")
LENGTHS = ("speed", "step_width", "step_length", "stride_length", "foot_height")
LENGTHS += ("step_length_difference", "stride_length_difference")
VIEWS = ("side", "oblique", "front")
# One SD of the error in each view, None: not seen. Of walks of gist's people 1 to 5, filmed (`experiments.film_accuracy`); toes
# are seen 50 degrees wrong, so there is no foot progression.
ERRORS = {
    "speed": (0.025, 0.030, None),
    "cadence": (1.7, 13, 6.8),
    "step_time": (0.10, 0.15, 0.24),
    "step_time_difference": (0.19, 0.22, 0.39),
    "cycle_time": (0.04, 0.25, 0.16),
    "cycle_time_difference": (0.06, 0.21, 0.17),
    "step_length": (0.048, 0.12, None),
    "step_length_difference": (0.09, 0.19, None),
    "stride_length": (0.051, 0.14, None),
    "stride_length_difference": (0.053, 0.086, None),
    "foot_height": (0.066, 0.066, 0.070),
    "swing_time": (0.066, 0.11, 0.10),
    "swing_time_difference": (0.10, 0.15, 0.13),
    "single_support_time": (0.06, 0.13, 0.10),
    "double_support_time": (0.08, 0.14, 0.13),
    "single_support_percent": (4.6, 6.8, 6.6),
    "double_support_percent": (6.1, 8.6, 8.2),
    "hip_range": (7.5, 8.9, None),
    "knee_range": (15, 17, None),
    "ankle_range": (45, 50, None),
    "peak_knee_flexion": (17, 19, None),
    "pelvic_obliquity_range": (None, 7.9, 8.1),
    "trunk_lean_sagittal": (2.6, 2.9, None),
    "trunk_lean_range_frontal": (None, 5.8, 4.1),
    "trunk_lean_range_sagittal": (3.2, 4.8, None),
    "step_width": (None, 0.092, 0.060),
    "knee_range_asymmetry": (0.33, 0.44, None),
    "step_length_asymmetry": (0.19, 0.44, None),
    "stance_asymmetry": (0.14, 0.29, 0.18),
}


def read_video_walk(
    video: str | Path, height: float | None = None, person: int | None = None, progress: bool = True, fps: float | None = None
) -> Walk:
    """The walk in a film. Args: height [m] of the person, else assumed; fps: pictures a second that the camera took, where the
    film shows them slower or faster; the others, and errors, as of `estimate_poses`, `walk_from_poses`."""
    check_arguments(fps, "auto")
    _check_height(height, video)
    return walk_from_poses(estimate_poses(video, person, progress, fps=fps), height)


def _check_height(height: float | None, name: str | Path) -> None:
    if height is not None and not 0.5 <= height <= 2.5:
        raise ValueError(f"{name}: height: expected 0.5 to 2.5 m, got {height:g}")


def walk_from_poses(track: PoseTrack, height: float | None = None) -> Walk:
    """A walk in metres, z up, of the poses in a film.

    Args:
        track: poses of one person.
        height: stature [m]; default: `STATURE`, which the notes say.

    Raises ValueError: a height of nobody (0.5 to 2.5 m), or no body in the landmarks.
    """
    _check_height(height, track.name)
    track, exchanged = follow_legs(track)
    seen = np.isfinite(track.landmarks).all((1, 2))
    if seen.sum() < 10:
        raise ValueError(f"{track.name}: only {int(seen.sum())} frames with a body; expected 10 or more")
    body = track.landmarks * (height or STATURE) / stature(track.landmarks[seen])
    shift = np.zeros_like(track.camera) if track.camera_moves else track.camera
    focal = FOCAL * max(track.size)
    rays = (track.keypoints - shift[:, None] - np.array(track.size) / 2) / focal
    distance = _distance(rays, body, seen, track.fps)
    depth = distance[:, None] + body[..., 2]
    joints = np.stack([rays[..., 0] * depth, depth, -rays[..., 1] * depth], axis=-1)  # x right, y away, z up
    if track.camera_moves:
        hips = _mid(joints, "hip")
        joints = joints - hips[:, None]
    joints = _upright(joints, seen, not track.camera_moves)
    view, angle = _view(joints, seen, track)
    few = [f"{track.fps:.3g} frames a second are few to follow the legs: 25 or more are better"] * bool(track.fps < 14)
    notes = [*track.notes, *([exchanged] if exchanged else []), *few, *_said(view, angle, height)]
    name = Path(track.name).stem
    walk = walk_from_arrays(
        {"joints": joints.astype(np.float32), "joint_names": np.array(MEDIAPIPE_33)}, name, fps=track.fps, up="z"
    )
    known = accuracy(view, height)
    unseen = tuple(p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS) if p.name not in known)
    times = (track.start + np.arange(len(joints))) / track.fps
    notes = (*notes, *walk.notes)
    return replace(walk, times=times, notes=notes, unseen=unseen, accuracy=known, poses=track)


def stature(landmarks: np.ndarray) -> float:
    """Stature [m] that goes with the legs and the trunk of landmarks (T, 33, 3), by the shares of Drillis & Contini."""
    leg = sum(
        np.linalg.norm(_at(landmarks, f"{s}_{a}") - _at(landmarks, f"{s}_{b}"), axis=-1)
        for s in _BOTH
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    trunk = np.linalg.norm(_mid(landmarks, "shoulder") - _mid(landmarks, "hip"), axis=-1)
    return float(np.median(leg / 2 + trunk)) / (LEG_SHARE + TRUNK_SHARE)


def accuracy(view: str, height: float | None) -> dict[str, tuple[float, float]]:
    """What one SD of the method's own error is: parameter -> (share of the value, amount in its unit).

    Amounts by `ERRORS`; lengths go with the stature besides: SD 5 % where it is assumed, 1 % where it is given.
    """
    out = {}
    for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS):
        stem = without_side(p.name)
        amount = ERRORS.get(stem, (None,) * 3)[VIEWS.index(view)]
        if amount is not None:
            out[p.name] = ((0.01 if height else 0.05) if stem in LENGTHS else 0.0, float(amount))
    return out


def _at(joints: np.ndarray, name: str) -> np.ndarray:
    return joints[..., MEDIAPIPE_33.index(name), :]


def _mid(joints: np.ndarray, name: str) -> np.ndarray:
    return (_at(joints, f"left_{name}") + _at(joints, f"right_{name}")) / 2


def _distance(rays: np.ndarray, body: np.ndarray, seen: np.ndarray, fps: float) -> np.ndarray:
    """Distance (T,) [m] of the hips from the plane of the camera: the one at which the body's landmarks have the size of their
    pixels. Where the person crosses the picture on a straight way, that way; else a running median and mean of 1.2 s."""
    core = [MEDIAPIPE_33.index(f"{s}_{n}") for s in _BOTH for n in ("shoulder", "hip", "knee", "ankle")]
    flat, space = rays[seen][:, core], body[seen][:, core]
    far = np.full(seen.sum(), 5.0)
    for _ in range(3):
        spread = flat * (far[:, None, None] + space[..., 2:]) / far[:, None, None]
        spread = spread - spread.mean(1, keepdims=True)
        place = space[..., :2] - space[..., :2].mean(1, keepdims=True)
        far = (place**2).sum((1, 2)) / np.maximum((place * spread).sum((1, 2)), 1e-9)
    frames = np.arange(len(seen))
    across = np.median(flat[..., 0], axis=1)
    if np.ptp(across) > 0.15:  # on a straight way 1 / distance goes linearly with the place in the picture
        keep = np.ones(len(far), bool)
        for _ in range(3):
            line = np.polyfit(across[keep], 1 / far[keep], 1)
            rest = np.abs(far * np.polyval(line, across) - 1)
            keep = rest <= max(3 * np.median(rest), 0.01)
        smooth = median_filter(far, min(round(1.2 * fps) | 1, len(far)), mode="nearest")
        if np.percentile(np.abs(smooth * np.polyval(line, across) - 1), 90) < 0.08:
            return 1 / np.polyval(line, np.interp(frames, frames[seen], across))
    window = max(3, round(1.2 * fps)) | 1
    far = np.interp(frames, frames[seen], median_filter(far, min(window, len(far)), mode="nearest"))
    return uniform_filter1d(far, window, mode="nearest")


def _upright(joints: np.ndarray, seen: np.ndarray, path: bool) -> np.ndarray:
    """Joints (T, 33, 3) turned so that the mean line from ankles to shoulders leans forward by `LEAN` degrees, then, where
    there is a `path`, so that the hips keep their height on a way of over a metre, however the person stoops."""
    axis = (_mid(joints, "shoulder") - _mid(joints, "ankle"))[seen].mean(0)
    axis /= np.linalg.norm(axis)
    if axis[2] < 0:
        raise ValueError("the person stands on the head: is the film upside down?")
    front = sum((_at(joints, f"{s}_foot_index") - _at(joints, f"{s}_heel"))[seen].mean(0) for s in _BOTH)
    front = front - (front @ axis) * axis
    front /= max(np.linalg.norm(front), 1e-9)
    joints = joints @ _to_z(axis - np.tan(np.radians(LEAN)) * front).T
    hips = _mid(joints, "hip")[seen]
    hips = hips - hips.mean(0)
    way = np.linalg.svd(hips[:, :2], full_matrices=False)[2][0]
    along = hips[:, :2] @ way
    if path and np.ptp(along) > 1.0:
        slope = float(along @ hips[:, 2] / (along @ along))
        joints = joints @ _to_z(np.array([*(-slope * way), 1.0])).T
    return joints


def _to_z(up: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) that takes the direction `up` to +z by the shortest way."""
    up = up / np.linalg.norm(up)
    v, c = np.cross(up, [0.0, 0.0, 1.0]), up[2]
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1 + c)


def _view(joints: np.ndarray, seen: np.ndarray, track: PoseTrack) -> tuple[str, float]:
    """`side`, `oblique` or `front`, and the angle between the way (else the feet) and the plane of the picture [degrees]."""
    hips = _mid(joints, "hip")[seen][:, :2]
    steps = np.diff(hips[:: max(1, round(0.5 * track.fps))], axis=0)
    feet = sum((_at(joints, f"{s}_foot_index") - _at(joints, f"{s}_heel"))[seen][:, :2] for s in _BOTH)
    across, away = np.abs(steps).sum(0) if not track.camera_moves and np.abs(steps).sum() > 0.8 else np.abs(feet.mean(0))
    angle = float(np.degrees(np.arctan2(away, across)))
    return ("side" if angle < SIDE_VIEW else "front" if angle > FRONT_VIEW else "oblique"), angle


def _said(view: str, angle: float, height: float | None) -> list[str]:
    size = f"a stature of {height or STATURE:.2f} m that was {'given' if height else 'assumed (give the height)'}"
    seen = {
        "side": "from the side: step width and what moves sideways are not measured",
        "front": "from the front or behind: speed, step lengths and what moves forward are not measured",
        "oblique": f"obliquely ({angle:.0f} degrees from the side): lengths and angles stand on lifted depth",
    }[view]
    return [f"one camera, {seen}", f"lengths go with {size}"]
