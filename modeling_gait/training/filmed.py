"""Walks as a telephone and a pose estimator would see them: `film_walk`, `as_filmed`.

In: joints (T, 25, 3) [m] of a walk along +y. Out: a `PoseTrack` as `pose_estimation` gives it, with errors as large as those of
MediaPipe on real films; or the walk that `video_walk` and `recording` make of it, which is what a model reads of a film.

Errors were measured on five films (205 frames) of Pose2Sim 0.10.49's demonstrations (Demo_SinglePerson cameras 1, 3, 4,
Demo_MultiPerson cameras 1 and 4; BSD-3), two people who balance along a mat, against the joints that Pose2Sim triangulated from
all four cameras: body-centred landmarks turned and scaled onto them once a film. What is left is a part that stays for the
whole film and one that fluctuates, whose correlation from frame to frame is 0.78 at 30 frames a second; both are larger into
the picture than across it. Legs were exchanged in 0, 0, 0, 0, 0, 1.5 and 18 % of the frames of seven films of one person each,
and could not be told apart in 0, 0, 0, 0, 1.5, 4 and 8 %.
"""

import numpy as np
from scipy.signal import lfilter

from ..leg_following import LEFT, RIGHT
from ..points import MEDIAPIPE_33
from ..pose_estimation import PoseTrack
from ..recording import read_recording
from ..skeletons import KINECT_V2
from ..video_walk import FOCAL, walk_from_poses

# SD [m] across the picture and into it: of what stays for a film, and of what fluctuates
STAYS = {"hip": (0.020, 0.032), "knee": (0.033, 0.069), "ankle": (0.028, 0.100), "foot": (0.027, 0.102)}
STAYS |= {"shoulder": (0.038, 0.055), "elbow": (0.057, 0.080), "wrist": (0.060, 0.117)}
FLUCTUATES = {"hip": (0.014, 0.017), "knee": (0.045, 0.072), "ankle": (0.059, 0.101), "foot": (0.068, 0.111)}
FLUCTUATES |= {"shoulder": (0.038, 0.059), "elbow": (0.052, 0.073), "wrist": (0.061, 0.122)}
CORRELATION = 0.78  # from one frame to the next, at 30 frames a second
EXCHANGED, MERGED = 0.03, 0.02  # shares of frames, means over the seven films
SIZE = (1280, 720)
_PART = {"heel": "ankle", "foot_index": "foot", "pinky": "wrist", "index": "wrist", "thumb": "wrist"}


def landmarks_of(joints: np.ndarray) -> np.ndarray:
    """(T, 33, 3) [m], MediaPipe's landmarks of Kinect joints (T, 25, 3); heels are put under and behind the ankles."""
    out = np.empty((len(joints), 33, 3))
    for n, name in enumerate(MEDIAPIPE_33):
        side, _, part = name.partition("_")
        at = _PART.get(part, part)
        source = f"{side}_{'ankle' if part == 'heel' else at}"
        source = source if KINECT_V2.has(source) else "head"
        out[:, n] = joints[:, KINECT_V2.index(source)] + ((0, -0.05, -0.05) if part == "heel" else 0)
        if source == "head":
            out[:, n, 0] += {"left": -0.07, "right": 0.07}.get(side, 0)
    return out


def film_walk(
    joints: np.ndarray, fps: float, azimuth: float, distance: float = 6.0, height: float = 1.2, rng=None, noise: float = 1.0
) -> PoseTrack:
    """Poses of a walk along +y before a camera that stands still.

    Args:
        azimuth: of the camera [degrees]: 90 from the right side, 0 from behind, 180 from the front.
        distance, height: of the camera from the middle of the way and over the floor [m].
        rng: numpy Generator; None: without errors.
        noise: times the measured errors.
    """
    points = landmarks_of(np.asarray(joints, float))
    middle = np.array([0.0, points[..., 1].mean(), height])
    a = np.radians(azimuth)
    away, right = np.array([-np.sin(a), np.cos(a), 0.0]), np.array([np.cos(a), np.sin(a), 0.0])
    rotation = np.stack([right, [0.0, 0.0, -1.0], away])  # x right, y down, z away
    seen = (points - (middle - distance * away)) @ rotation.T
    if seen[..., 2].min() < 0.5:
        raise ValueError(f"the walk comes as near as {seen[..., 2].min():.1f} m to the camera; expected 0.5 m or more")
    error = np.zeros_like(seen) if rng is None else noise * errors(len(seen), fps, rng)
    depth = seen[..., 2:]
    keypoints = (seen + error)[..., :2] / depth * FOCAL * SIZE[0] + np.array(SIZE) / 2
    body = seen + error
    body = body - body[:, [MEDIAPIPE_33.index("left_hip"), MEDIAPIPE_33.index("right_hip")]].mean(1, keepdims=True)
    if rng is not None:
        _spoil_legs(keypoints, body, fps, rng)
    visibility, still = np.ones(seen.shape[:2]), np.zeros((len(seen), 2))
    return PoseTrack(keypoints, body, visibility, fps, 0, SIZE, still, False, "film")


def errors(frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """(T, 33, 3) [m], x and y across the picture, z into it: what stays and what fluctuates (first-order autoregressive)."""
    out = np.zeros((frames, 33, 3))
    keep = CORRELATION ** (30.0 / fps)
    drawn = {}
    for n, name in enumerate(MEDIAPIPE_33):
        side, _, part = name.partition("_")
        part = {"heel": "ankle"}.get(part, _PART.get(part, part))
        part, side = (part, side) if part in STAYS else ("shoulder", "head")  # eyes, ears and mouth as the head, all as one
        if (side, part) not in drawn:
            sizes = [np.array([s[part][0], s[part][0], s[part][1]]) for s in (STAYS, FLUCTUATES)]
            white = rng.normal(size=(frames + 20, 3))
            moving = lfilter([np.sqrt(1 - keep**2)], [1, -keep], white, axis=0)[20:]
            drawn[side, part] = rng.normal(size=3) * sizes[0] + moving * sizes[1]
        out[:, n] = drawn[side, part]
    return out


def _spoil_legs(keypoints: np.ndarray, body: np.ndarray, fps: float, rng: np.random.Generator) -> None:
    """Legs exchanged in runs of up to half a second, and put in one place for a frame or two, in the arrays given."""
    frames = len(keypoints)
    for share, longest, both in ((EXCHANGED, 0.5, False), (MERGED, 0.07, True)):
        length = 1 + int(rng.integers(max(1, round(longest * fps))))
        for start in np.flatnonzero(rng.random(frames) < share / (1 + longest * fps / 2)):
            rows = np.arange(start, min(frames, start + length))
            for values in (keypoints, body):
                legs = values[np.ix_(rows, LEFT)], values[np.ix_(rows, RIGHT)]
                a, b = ((legs[0] + legs[1]) / 2,) * 2 if both else legs[::-1]
                values[np.ix_(rows, LEFT)], values[np.ix_(rows, RIGHT)] = a, b


def as_filmed(joints: np.ndarray, fps: float, rng: np.random.Generator, noise: float = 1.0) -> np.ndarray:
    """The walk as it is read of a film of it: float32 (T', 25, 3) [m] at the same frame rate.

    The camera stands anywhere around the walker, half of the time at one side, 4 to 8 m from the middle of the way. The stature
    is not told. Raises ValueError where nothing can be read.
    """
    side = rng.random() < 0.5
    azimuth = rng.choice([-90, 90]) + rng.uniform(-20, 20) if side else rng.uniform(-180, 180)
    reach = np.ptp(np.asarray(joints)[:, 0, 1]) / 2 * (0 if side else 1)
    track = film_walk(joints, fps, azimuth, rng.uniform(4, 8) + reach, rng.uniform(0.8, 1.6), rng, noise)
    return read_recording(walk_from_poses(track), rate=fps).for_model(KINECT_V2, fps)
