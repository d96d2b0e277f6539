"""Skeleton definitions: joint names, tree, mirror map and a neutral standing pose.

In: nothing. Out: frozen `Skeleton` objects (`KINECT_V2`, `AZURE_KINECT`, `OPENPOSE_18`, `SMPL_22`, all in `SKELETONS`)
and `convert_joints`, which maps positions (..., J, 3) of one skeleton to positions (..., K, 3) of another.

Axes everywhere in the package: x right, y forward (direction of travel), z up; metres. The same anatomical point has the
same name in every skeleton, so `skeleton.index("left_knee")` works for all of them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Skeleton:
    """A joint tree.

    Attributes:
        name: key in `SKELETONS`.
        joint_names: J names in the order of the file format.
        parents: index of each joint's parent, -1 for the root.
        rest_offsets: J offsets (x, y, z) [m] from the parent, of a neutral standing adult of about 1.75 m; the root's is
            its height above the floor.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    rest_offsets: tuple[tuple[float, float, float], ...]

    def __len__(self) -> int:
        return len(self.joint_names)

    def index(self, joint: str) -> int:
        """Index of a joint by name. Raises KeyError naming the skeleton and its joints."""
        try:
            return self.joint_names.index(joint)
        except ValueError:
            raise KeyError(f"skeleton {self.name!r} has no joint {joint!r}; it has {', '.join(self.joint_names)}") from None

    def has(self, joint: str) -> bool:
        """Whether the skeleton has a joint of this name."""
        return joint in self.joint_names

    @cached_property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Joint indices with every parent before its children."""
        done = [self.root]
        while len(done) < len(self):
            done += [j for j, p in enumerate(self.parents) if p in done and j not in done]
        return tuple(done)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(j for j, p in enumerate(self.parents) if p == i) for i in range(len(self)))

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the index of its left-right counterpart."""
        swap = {"left": "right", "right": "left"}
        names = [n.replace(s, swap[s]) if (s := n.split("_")[0]) in swap else n for n in self.joint_names]
        return tuple(self.joint_names.index(n) for n in names)

    @cached_property
    def rest_positions(self) -> np.ndarray:
        """Neutral standing pose, float32 (J, 3) [m], root above the origin of the floor."""
        out = np.zeros((len(self), 3), np.float32)
        for j in self.order:
            out[j] = self.rest_offsets[j]
            if j != self.root:
                out[j] += out[self.parents[j]]
        return out


def _build(name: str, table: str) -> Skeleton:
    """One line a joint: name, parent name ('-' for the root), rest offset x y z in millimetres."""
    rows = [line.split() for line in table.strip().splitlines()]
    names = [r[0] for r in rows]
    parents = tuple(-1 if r[1] == "-" else names.index(r[1]) for r in rows)
    return Skeleton(name, tuple(names), parents, tuple(tuple(float(v) / 1000 for v in r[2:5]) for r in rows))


KINECT_V2 = _build(
    "kinect_v2",
    """
    pelvis          -               0    0  930
    spine           pelvis          0    0  320
    neck            spine_shoulder  0    0   80
    head            neck            0   20  140
    left_shoulder   spine_shoulder -170  0  -50
    left_elbow      left_shoulder  -50   0 -280
    left_wrist      left_elbow     -20  30 -240
    left_hand       left_wrist      0   10  -70
    right_shoulder  spine_shoulder 170   0  -50
    right_elbow     right_shoulder  50   0 -280
    right_wrist     right_elbow     20  30 -240
    right_hand      right_wrist     0   10  -70
    left_hip        pelvis         -80   0  -20
    left_knee       left_hip        0    0 -420
    left_ankle      left_knee       0    0 -400
    left_foot       left_ankle     -15 120  -70
    right_hip       pelvis          80   0  -20
    right_knee      right_hip       0    0 -420
    right_ankle     right_knee      0    0 -400
    right_foot      right_ankle     15 120  -70
    spine_shoulder  spine           0    0  240
    left_hand_tip   left_hand       0   10  -70
    left_thumb      left_hand       30  30  -20
    right_hand_tip  right_hand      0   10  -70
    right_thumb     right_hand     -30  30  -20
    """,
)

AZURE_KINECT = _build(
    "azure_kinect",
    """
    pelvis          -               0    0  930
    spine           pelvis          0    0  180
    spine_chest     spine           0    0  150
    neck            spine_chest     0    0  230
    left_clavicle   spine_chest    -40   0  190
    left_shoulder   left_clavicle  -130  0  -10
    left_elbow      left_shoulder  -50   0 -280
    left_wrist      left_elbow     -20  30 -240
    left_hand       left_wrist      0   10  -70
    left_hand_tip   left_hand       0   10  -70
    left_thumb      left_hand       30  30  -20
    right_clavicle  spine_chest     40   0  190
    right_shoulder  right_clavicle 130   0  -10
    right_elbow     right_shoulder  50   0 -280
    right_wrist     right_elbow     20  30 -240
    right_hand      right_wrist     0   10  -70
    right_hand_tip  right_hand      0   10  -70
    right_thumb     right_hand     -30  30  -20
    left_hip        pelvis         -90   0  -20
    left_knee       left_hip        0    0 -420
    left_ankle      left_knee       0    0 -400
    left_foot       left_ankle     -15 140  -70
    right_hip       pelvis          90   0  -20
    right_knee      right_hip       0    0 -420
    right_ankle     right_knee      0    0 -400
    right_foot      right_ankle     15 140  -70
    head            neck            0   20   90
    nose            head            0  120   60
    left_eye        head           -30 105  100
    left_ear        head           -75  20   75
    right_eye       head            30 105  100
    right_ear       head            75  20   75
    """,
)

OPENPOSE_18 = _build(
    "openpose_18",
    """
    nose            neck            0   110  190
    neck            -               0    0  1480
    right_shoulder  neck           170   0  -20
    right_elbow     right_shoulder  50   0 -280
    right_wrist     right_elbow     20  30 -240
    left_shoulder   neck          -170   0  -20
    left_elbow      left_shoulder  -50   0 -280
    left_wrist      left_elbow     -20  30 -240
    right_hip       neck            90   0 -570
    right_knee      right_hip        0   0 -420
    right_ankle     right_knee       0   0 -400
    left_hip        neck           -90   0 -570
    left_knee       left_hip         0   0 -420
    left_ankle      left_knee        0   0 -400
    right_eye       nose            30 -15   40
    left_eye        nose           -30 -15   40
    right_ear       right_eye       45 -85  -25
    left_ear        left_eye       -45 -85  -25
    """,
)

SMPL_22 = _build(
    "smpl_22",
    """
    pelvis          -                0    0  930
    left_hip        pelvis          -70   0  -80
    right_hip       pelvis           70   0  -80
    spine1          pelvis            0 -20  120
    left_knee       left_hip        -20   0 -390
    right_knee      right_hip        20   0 -390
    spine2          spine1            0  20  135
    left_ankle      left_knee         0 -40 -400
    right_ankle     right_knee        0 -40 -400
    spine3          spine2            0   0   55
    left_foot       left_ankle      -30 120  -55
    right_foot      right_ankle      30 120  -55
    neck            spine3            0 -20  210
    left_collar     spine3          -80 -10  115
    right_collar    spine3           80 -10  115
    head            neck              0  50   90
    left_shoulder   left_collar     -90   0   30
    right_shoulder  right_collar     90   0   30
    left_elbow      left_shoulder   -50 -20 -255
    right_elbow     right_shoulder   50 -20 -255
    left_wrist      left_elbow      -10  20 -250
    right_wrist     right_elbow      10  20 -250
    """,
)

LARGEST = 3.0  # m, more than from the middle of a body to most of its joints

SKELETONS = {s.name: s for s in (KINECT_V2, AZURE_KINECT, OPENPOSE_18, SMPL_22)}

# Where a joint is missing, the mean of these stands in for it (first line whose joints are all there).
_STAND_INS = {
    "pelvis": (("left_hip", "right_hip"),),
    "neck": (("left_shoulder", "right_shoulder"),),
    "spine": (("spine2",), ("spine_chest", "pelvis"), ("pelvis", "neck"), ("left_hip", "right_hip", "neck")),
    "spine_shoulder": (("spine_chest", "neck", "neck"), ("spine3", "neck"), ("neck",)),
    "spine_chest": (("spine3",), ("spine_shoulder", "spine"), ("neck", "neck", "pelvis")),
    "spine1": (("pelvis", "pelvis", "spine_chest"), ("pelvis", "pelvis", "spine"), ("spine", "pelvis")),
    "spine2": (("spine",),),
    "spine3": (("spine_chest",), ("spine_shoulder", "spine"), ("spine",)),
    "head": (("nose",), ("neck",)),
    "nose": (("head",),),
}


def mirror(joints, skeleton: Skeleton = KINECT_V2):
    """Reflect walks (..., J, 3), an array or a tensor, in the plane x = 0: the left leg does what the right one did.

    Applied twice: the input. A label that names a side has to be swapped by the caller.
    """
    out = joints[..., list(skeleton.mirror), :]  # a copy
    out[..., 0] *= -1
    return out


def convert_joints(joints: np.ndarray, source: Skeleton, target: Skeleton) -> np.ndarray:
    """Positions (..., J, 3) [m] of `source` as positions (..., K, 3) of `target`.

    A joint that both have is copied; one that `source` lacks, or that is nan throughout, stands at the mean of its neighbours
    (see `_STAND_INS`) or, for hands, feet, collars and the face, at the target's rest offset from its parent. Raises
    ValueError if J does not fit.
    """
    joints = np.asarray(joints)
    if joints.ndim < 2 or joints.shape[-2:] != (len(source), 3):
        raise ValueError(f"expected joints of shape (..., {len(source)}, 3) for skeleton {source.name!r}, got {joints.shape}")
    lost = np.isnan(joints).all(-1).reshape(-1, len(source)).all(0)
    if source.name == target.name and not lost.any():
        return joints
    found: dict[str, np.ndarray] = {n: joints[..., j, :] for j, n in enumerate(source.joint_names) if not lost[j]}
    for _ in range(2):  # a stand-in may need another stand-in
        for name, options in _STAND_INS.items():
            for parts in options if name not in found else ():
                if all(p in found for p in parts):
                    found[name] = np.mean([found[p] for p in parts], axis=0)
                    break
    out = np.full((*joints.shape[:-2], len(target), 3), np.nan, joints.dtype)  # so nothing stands on a root that nobody saw
    for j in target.order:
        name = target.joint_names[j]
        if name in found:
            out[..., j, :] = found[name]
        else:
            out[..., j, :] = out[..., target.parents[j], :] + np.asarray(target.rest_offsets[j], joints.dtype)
    return out


def known_skeleton(skeleton: Skeleton | str | None) -> Skeleton | None:
    """A skeleton by its name. Raises ValueError for a name that no skeleton has."""
    if isinstance(skeleton, str) and skeleton not in SKELETONS:
        raise ValueError(f"unknown skeleton {skeleton!r}; expected one of {', '.join(SKELETONS)}")
    return SKELETONS[skeleton] if isinstance(skeleton, str) else skeleton


def unmasked(joints: np.ndarray) -> np.ndarray:
    """Joints as an array; what a masked array hides is nan, which `np.asarray` would show."""
    return np.asarray(joints.astype(np.float64).filled(np.nan) if np.ma.isMaskedArray(joints) else joints)


def check_metres(joints: np.ndarray, name: str = "joints") -> None:
    """Raise ValueError for joints (T, J, 3), nan where not measured, that are as far apart as those of no body in metres."""
    some = joints[np.linspace(0, len(joints) - 1, min(len(joints), 9)).astype(int)]
    some = some[np.isfinite(some).all(-1).any(-1)]
    if len(some):
        median = np.median if np.isfinite(some).all() else np.nanmedian
        size = float(median(np.linalg.norm(some - median(some, axis=1, keepdims=True), axis=-1)))
        if size > LARGEST:
            raise ValueError(f"{name}: half of them are {size:.3g} m or more from the middle of the body: what is the unit?")


def check_fps(fps: float) -> None:
    """Raise ValueError for a frame rate that is no positive number, such as the text "30"."""
    if np.ndim(fps) or np.asarray(fps).dtype.kind not in "iuf" or not 0 < fps < np.inf:
        raise ValueError(f"fps must be a positive number, got {fps!r}")


def check_walk(joints: np.ndarray, fps: float, skeleton: Skeleton) -> np.ndarray:
    """Joints as float32 (T, J, 3). Raises ValueError for another shape, no frame, another unit than metres, or a frame rate
    that is not positive."""
    joints = unmasked(joints)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or not len(joints):
        raise ValueError(f"expected joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    check_fps(fps)
    check_metres(joints)
    return joints.astype(np.float32)
