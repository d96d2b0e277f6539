"""What a walk's file or arrays hold: `Points`, the names of joints, and `from_arrays`, which makes points of arrays.

In: titles of columns, markers, nodes; arrays `joints` (T, J, 3) with `fps`, `times`, `joint_names`, `skeleton`; HumanML3D's
joints (T, 22, 3) and features (T, 263); AMASS and SMPL (`poses`, `trans`). Out: the package's joint names (`left_knee`), and
`Points`: named points (T, 3) in the file's own units and axes, of which `loading` makes a walk.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .skeletons import SKELETONS, SMPL_22, Skeleton, unmasked

MAX_FRAMES = 2**20  # 2.9 hours at 100 Hz
HUMANML3D_FPS = 20.0  # of all of HumanML3D
MAX_POINTS = 2**12  # joints, markers, nodes or columns of one frame


@dataclass
class Points:
    """What a file holds.

    Attributes:
        points: joint name -> (T, 3) in the file's units and axes, nan where the file holds no number.
        times: (T,) as the file states them, in any unit; tick: seconds of one unit, where the file says so.
        fps: frames per second that the file states.
        skeleton: the skeleton whose joints these are, where the format fixes it.
        metres: how many metres one of the file's units is, where it says so.
        notes: what the reader assumed, a sentence each.
        events: the file's own gait events, `left_heel_strikes` ... -> times (N,) [s] after the first frame.
        stated: the file's own gait parameters, name -> (value, unit).
    """

    points: dict[str, np.ndarray]
    times: np.ndarray | None = None
    tick: float | None = None
    fps: float | None = None
    skeleton: Skeleton | None = None
    metres: float | None = None
    notes: list[str] = field(default_factory=list)
    events: dict[str, np.ndarray] | None = None
    stated: dict[str, tuple[float, str]] | None = None


TWO_D = (
    "2D keypoints of a picture, from which lengths, speed and angles out of the picture can't be measured; expected joints "
    "in 3D (of a depth camera, of several cameras, or lifted, as MediaPipe's world landmarks)"
)

LEGS = tuple(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right"))

# 33 landmarks of MediaPipe Pose, the 17 keypoints of COCO and the 25 of OpenPose
_MEDIAPIPE = """
    nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear mouth_left
    mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky right_pinky
    left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle
    left_heel right_heel left_foot_index right_foot_index
"""
_COCO = """
    nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist
    right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle
"""
_BODY = """
    nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist pelvis right_hip right_knee
    right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_foot left_small_toe left_heel
    right_foot right_small_toe right_heel
"""
MEDIAPIPE_33, COCO_17, BODY_25 = (names.split() for names in (_MEDIAPIPE, _COCO, _BODY))

_SIDED = {n[5:].replace("_", ""): n[5:] for s in SKELETONS.values() for n in s.joint_names if n.startswith("left_")}
_SIDED |= dict.fromkeys(("toe", "toes", "bigtoe", "toebase", "footindex"), "foot")
_CENTRAL = {n.replace("_", ""): n for s in SKELETONS.values() for n in s.joint_names if not n.startswith(("left_", "right_"))}
_CENTRAL |= dict.fromkeys(("spinebase", "hips", "hip", "chip", "hipcenter", "hipcentre", "midhip", "root"), "pelvis")
_CENTRAL |= {"spinemid": "spine", "spinenavel": "spine", "shouldercenter": "spine_shoulder", "shouldercentre": "spine_shoulder"}
_NOISE = ("m", "cm", "mm", "pos", "position", "joint", "mixamorig", "bip", "01", "001")  # units, rig prefixes (Bip01 L Thigh)


def words(title: str) -> list[str]:
    """'KneeLeft.X [m]' -> ['knee', 'left', 'x']: words of snake, camel or blank separated names, units left out."""
    found = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", title[:200])]
    return [w for w in found if w not in _NOISE]


def joint_name(parts: list[str], sided: dict[str, str] = _SIDED) -> str | None:
    """['knee', 'left'] or ['l', 'knee'] or ['leftknee'] -> 'left_knee'; None for a name that no skeleton has."""
    key = "".join(parts)
    if key in _CENTRAL:
        return _CENTRAL[key]
    for side in ("left", "right"):
        for mark in (side, side[0]):
            for base in (key.removeprefix(mark), key.removesuffix(mark)):
                if base != key and base in sided:
                    return f"{side}_{sided[base]}"
    return None


def from_arrays(arrays: dict[str, np.ndarray], skeleton: Skeleton | None, path: Path | str) -> Points:
    """Points of arrays named as in an NPZ file. Raises ValueError naming `path`."""
    if "joints" not in arrays and {"poses", "trans"} <= arrays.keys():
        return _smpl(arrays, path)
    if "joints" not in arrays:
        raise ValueError(f"{path}: has no array 'joints', only {', '.join(arrays) or 'nothing'}")
    joints = unmasked(arrays["joints"])
    if joints.dtype.kind not in "fiu":
        raise ValueError(f"{path}: 'joints' must hold numbers, got {joints.dtype}")
    if len(joints.shape) > 1 and (len(joints) > MAX_FRAMES or joints.shape[1] > 3 * MAX_POINTS):
        raise ValueError(f"{path}: 'joints' {joints.shape}: at most {MAX_FRAMES} frames of {MAX_POINTS} joints are read")
    if joints.ndim == 2 and joints.shape[1] == 263:
        return _humanml3d(joints.astype(np.float64), path)
    if joints.ndim == 2 and joints.shape[1] % 3 == 0:
        joints = joints.reshape(len(joints), -1, 3)
    if joints.ndim != 3 or joints.shape[2] != 3:
        raise ValueError(f"{path}: 'joints' must have shape (T, J, 3), got {joints.shape}")
    names, skeleton = _array_names(arrays, joints.shape[1], skeleton, path)
    joints = joints.astype(np.float64)
    out = Points({n: joints[:, j] for j, n in enumerate(names) if n}, skeleton=skeleton)
    out.fps = _scalar(arrays["fps"], path) if "fps" in arrays else None
    if "times" in arrays:
        times = np.asarray(arrays["times"])
        if times.shape != (len(joints),) or times.dtype.kind not in "fiu":
            raise ValueError(f"{path}: 'times' must hold {len(joints)} numbers, got {times.shape}")
        out.times = times.astype(np.float64)
    return out


def _scalar(value: np.ndarray, path: Path | str) -> float:
    value = np.asarray(value)
    if value.size != 1 or value.dtype.kind not in "fiu" or not (np.isfinite(value).all() and value.item() > 0):
        raise ValueError(f"{path}: 'fps' must be one positive number, got {str(value)[:40]}")
    return float(value.item())


def _array_names(arrays: dict, count: int, skeleton: Skeleton | None, path: Path | str) -> tuple[list, Skeleton | None]:
    """Names of the array's joints (None where unknown), and the skeleton, if `joint_names` does not name them."""
    if "joint_names" in arrays:
        names = [joint_name(words(str(n))) for n in np.atleast_1d(arrays["joint_names"]).tolist()]
        if len(names) != count:
            raise ValueError(f"{path}: {len(names)} 'joint_names' for {count} joints")
        return names, None
    if skeleton is None and "skeleton" in arrays:
        skeleton = SKELETONS.get(str(arrays["skeleton"]))
    if skeleton is None and count == 33:
        return [joint_name(words(n)) for n in MEDIAPIPE_33], None
    if skeleton is None and count == 24:  # SMPL with its hands
        return [*SMPL_22.joint_names, None, None], SMPL_22
    options = [s for s in ([skeleton] if skeleton else SKELETONS.values()) if len(s) == count]
    if not options:
        expected = f"{len(skeleton)}" if skeleton else ", ".join(f"{len(s)} ({s.name})" for s in SKELETONS.values())
        raise ValueError(f"{path}: has {count} joints, expected {expected}, or 'joint_names' beside them")
    return list(options[0].joint_names), options[0]


def _humanml3d(features: np.ndarray, path: Path | str) -> Points:
    """Joints of HumanML3D's 263 features (Guo et al. 2022, CVPR): root turn [rad/frame], root velocity in the root's heading
    [m/frame], root height [m], the 21 other joints about the root on the floor, ...; 20 frames a second, y up."""
    contacts, height = features[:, 259:], features[:, 3]
    if not (np.isin(contacts, (0, 1)).all() and (np.abs(height - 0.9) < 0.9).all()):
        raise ValueError(
            f"{path}: features (T, 263) that are normalised, or not HumanML3D's: foot contacts must be 0 or 1 and the root's "
            "height 0 to 1.8 m; multiply with Std.npy and add Mean.npy"
        )
    half = np.concatenate(
        [[0.0], np.cumsum(features[:-1, 0])]
    )  # half of the turn about y: it is stored as arcsine of the quaternion
    back = Rotation.from_quat(np.stack([0 * half, -np.sin(half), 0 * half, np.cos(half)], axis=1))
    step = np.zeros((len(features), 3))
    step[1:, [0, 2]] = features[:-1, 1:3]
    root = np.cumsum(back.apply(step), axis=0)
    root[:, 1] = height
    around = features[:, 4:67].reshape(len(features), 21, 3)
    points = {"pelvis": root}
    for j, name in enumerate(SMPL_22.joint_names[1:]):
        points[name] = back.apply(around[:, j]) + root * (1, 0, 1)
    return Points(points, fps=HUMANML3D_FPS, skeleton=SMPL_22, metres=1.0, notes=["20 frames a second, as all of HumanML3D"])


# SMPL's mean body (Loper et al. 2015), left and right alike, rounded to 5 mm: offsets from the parent in its rest pose, arms
# sideways; x to the person's left, y up, z forward [m].
_SMPL = """pelvis 0 -225 30  left_hip 70 -90 -5  right_hip -70 -90 -5  spine1 0 110 -25  left_knee 35 -380 -5
    right_knee -35 -380 -5  spine2 0 135 5  left_ankle -15 -400 -45  right_ankle 15 -400 -45  spine3 0 55 25
    left_foot 25 -50 120  right_foot -25 -50 120  neck 0 215 -45  left_collar 80 120 -35  right_collar -80 120 -35
    head 5 65 50  left_shoulder 95 30 -10  right_shoulder -95 30 -10  left_elbow 255 -15 -25  right_elbow -255 -15 -25
    left_wrist 250 10 -5  right_wrist -250 10 -5"""


def _smpl(arrays: dict[str, np.ndarray], path: Path | str) -> Points:
    """AMASS: `poses` (T, >= 66) axis-angle [rad], `trans` (T, 3) [m] on SMPL's mean body, not that of `betas`."""
    poses, trans = (np.asarray(arrays[n]) for n in ("poses", "trans"))
    if poses.ndim == 3:
        poses = poses.reshape(len(poses), -1)
    if poses.dtype.kind != "f" or trans.dtype.kind != "f" or poses.ndim != 2 or poses.shape[1] < 66:
        raise ValueError(f"{path}: 'poses' must be numbers (T, >= 66), got {poses.dtype} {poses.shape}")
    if trans.shape != (len(poses), 3) or len(poses) > MAX_FRAMES:
        raise ValueError(f"{path}: 'trans' must have shape ({len(poses)}, 3), got {trans.shape}")
    poses, trans = np.nan_to_num(poses[:, :66].astype(np.float64)), trans.astype(np.float64)
    table = _SMPL.split()
    offsets = {table[i]: np.array(table[i + 1 : i + 4], float) / 1000 for i in range(0, len(table), 4)}
    points, turns = {}, []
    for j, (name, parent) in enumerate(zip(SMPL_22.joint_names, SMPL_22.parents)):
        turn = Rotation.from_rotvec(poses[:, 3 * j : 3 * j + 3])
        turns.append(turn if parent < 0 else turns[parent] * turn)
        above = trans if parent < 0 else points[SMPL_22.joint_names[parent]]
        points[name] = above + (offsets[name] if parent < 0 else turns[parent].apply(offsets[name]))
    rate = next((arrays[n] for n in ("mocap_framerate", "mocap_frame_rate", "fps") if n in arrays), None)
    note = "poses of SMPL on its mean body of 1.7 m: angles, timing and speed are the file's; lengths are those of that body"
    fps = None if rate is None else _scalar(rate, path)
    return Points(points, fps=fps, skeleton=SMPL_22, metres=1.0, notes=[note])
