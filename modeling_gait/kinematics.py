"""Measured positions: bone lengths, a skeleton of constant bone lengths fitted to them, joint angles.

In: positions (T, J, 3) in metres (x right, y forward, z up). Out: rotations and offsets, or joint angles in degrees.
"""

import numpy as np

from .skeletons import KINECT_V2, Skeleton


def bone_lengths(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Lengths (..., J) [m] of the bones that end at each joint of positions (..., J, 3); the root's is 0."""
    parents = [p if p >= 0 else j for j, p in enumerate(skeleton.parents)]
    return np.linalg.norm(joints - joints[..., parents, :], axis=-1)


def fit_skeleton(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Explain measured positions by a skeleton of constant bone lengths.

    Bone lengths are the medians over time. A joint with several children turns rigidly: its children's rest directions are
    the mean directions seen in the frame of the best rotation (Kabsch 1976).

    Args:
        joints: (T, J, 3) [m], finite.

    Returns:
        local rotations (T, J, 3, 3), root path (T, 3) [m], offsets (J, 3) [m]; `forward_kinematics` of the three gives the
        fitted positions.

    Raises:
        ValueError: wrong shape or non-finite values.
    """
    joints = np.asarray(joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3):
        raise ValueError(f"expected joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    if not np.isfinite(joints).all():
        raise ValueError("joints hold values that are not finite; clean them first (modeling_gait.cleaning)")
    rest = np.asarray(skeleton.rest_offsets, np.float64)
    lengths = np.median(bone_lengths(joints, skeleton), axis=0)
    unit = rest / np.maximum(np.linalg.norm(rest, axis=-1, keepdims=True), 1e-9)
    offsets = unit * lengths[:, None]
    rotations = np.tile(np.eye(3), (len(joints), len(skeleton), 1, 1))
    for j in skeleton.order:
        kids = list(skeleton.children[j])
        seen = joints[:, kids] - joints[:, [j]]
        for _ in range(3 if len(kids) > 1 else 1):
            if len(kids) == 1:
                rotations[:, j] = _shortest_rotation(unit[kids[0]], seen[:, 0])
            elif kids:
                rotations[:, j] = _kabsch(offsets[kids], seen)
                mean = np.median(np.einsum("tji,tkj->tki", rotations[:, j], seen), axis=0)
                mean *= (lengths[kids] / np.maximum(np.linalg.norm(mean, axis=-1), 1e-9))[:, None]
                offsets[kids] = mean
        if not kids and j != skeleton.root:
            rotations[:, j] = rotations[:, skeleton.parents[j]]
    offsets[skeleton.root] = 0
    parents = [max(p, 0) for p in skeleton.parents]
    local = rotations[:, parents].swapaxes(-1, -2) @ rotations
    local[:, skeleton.root] = rotations[:, skeleton.root]
    return local, joints[:, skeleton.root].copy(), offsets


def bones_apart(joints: np.ndarray, fit: tuple[np.ndarray, ...], skeleton: Skeleton) -> tuple[tuple, Skeleton]:
    """A fit of joints (T, J, 3), and its skeleton, with a joint of length 0 above each bone that does not turn as its joint."""
    rotations, root, offsets = fit
    turned = rotations.copy()
    for j in skeleton.order[1:]:
        turned[:, j] = turned[:, skeleton.parents[j]] @ rotations[:, j]
    names, parents, own = list(skeleton.joint_names), list(skeleton.parents), list(rotations.swapaxes(0, 1))
    for j in [k for kids in skeleton.children if len(kids) > 1 for k in kids]:
        parent = skeleton.parents[j]
        seen = np.einsum("tji,tj->ti", turned[:, parent], joints[:, j] - joints[:, parent])
        turn = _shortest_rotation(offsets[j] / max(np.linalg.norm(offsets[j]), 1e-9), seen)
        if np.abs(turn - np.eye(3)).max() > 1e-3:
            names.append(f"to_{names[j]}")
            parents.append(parent)
            own.append(turn)
            own[j], parents[j] = turn.swapaxes(-1, -2) @ own[j], len(names) - 1
    offsets = np.concatenate((offsets, np.zeros((len(names) - len(offsets), 3))))
    apart = Skeleton(skeleton.name, tuple(names), tuple(parents), tuple(map(tuple, offsets)))
    return (np.stack(own, axis=1), root, offsets), apart


def _kabsch(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that best turn vectors `rest` (K, 3) to `seen` (T, K, 3)."""
    u, _, vt = np.linalg.svd(np.einsum("tki,kj->tij", seen, rest))
    flip = np.ones((len(seen), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    return (u * flip[:, None, :]) @ vt


def _shortest_rotation(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) that turn the unit vector `rest` (3,) to the directions of `seen` (T, 3) without twist."""
    seen = seen / np.maximum(np.linalg.norm(seen, axis=-1, keepdims=True), 1e-9)
    v, c = np.cross(rest, seen), seen @ rest
    k = np.zeros((len(seen), 3, 3))
    k[:, 0, 1], k[:, 0, 2], k[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    k -= np.transpose(k, (0, 2, 1))
    out = np.eye(3) + k + k @ k / np.maximum(1 + c, 1e-6)[:, None, None]
    opposite = c < -1 + 1e-6
    if opposite.any():  # half a turn about any axis across `rest`, then the short way that is left
        axis = np.cross(rest, np.eye(3)[np.argmin(np.abs(rest))])
        axis /= np.linalg.norm(axis)
        out[opposite] = _shortest_rotation(-rest, seen[opposite]) @ (2 * np.outer(axis, axis) - np.eye(3))
    return out


JOINT_ANGLES = (
    *(
        f"{angle}_{side}"
        for angle in ("hip_flexion", "knee_flexion", "ankle_dorsiflexion", "hip_adduction")
        for side in ("left", "right")
    ),
    "pelvic_obliquity",
    "pelvic_rotation",
    "trunk_lean_sagittal",
    "trunk_lean_frontal",
)


def joint_angles(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> dict[str, np.ndarray]:
    """Clinical joint angles of a walk along +y, in degrees.

    Joint centres give no segment axes, so these are the planar angles of Kinect gait studies (Pfister et al. 2014,
    doi 10.3109/03091902.2014.909540), with the sagittal plane y-z, the frontal plane x-z and the horizontal plane x-y.

    Args:
        joints: (T, J, 3) [m], x right, y forward, z up.

    Returns: for every name of `JOINT_ANGLES` an array (T,) [deg]; all nan where the skeleton lacks the joints.
        hip_flexion: thigh against the vertical, sagittal; the knee ahead of the hip is positive. (Not against the pelvis,
            whose tilt cannot be seen from two hip points.)
        knee_flexion: 180 minus the angle hip-knee-ankle in space; straight is 0, never negative.
        ankle_dorsiflexion: angle knee-ankle-foot of the skeleton's rest pose minus the one seen; toes up is positive.
        hip_adduction: thigh against the perpendicular of the hip line, frontal; towards the midline is positive.
        pelvic_obliquity: hip line against the horizontal; left side up is positive.
        pelvic_rotation: hip line about the vertical; right side forward (a turn to the left) is positive.
        trunk_lean_sagittal, trunk_lean_frontal: pelvis -> top of the spine against the vertical; forward and to the right
            are positive.

    Raises:
        ValueError: wrong shape.
    """
    joints = np.asarray(joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3):
        raise ValueError(f"expected joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    rest = skeleton.rest_positions.astype(np.float64)[None]
    hips = joint_track(joints, skeleton, "right_hip") - joint_track(joints, skeleton, "left_hip")
    obliquity = np.arctan2(-hips[:, 2], np.linalg.norm(hips[:, :2], axis=-1))
    out = {"pelvic_obliquity": obliquity, "pelvic_rotation": np.arctan2(hips[:, 1], hips[:, 0])}
    for side, medial in (("left", 1), ("right", -1)):
        hip, knee, ankle = (joint_track(joints, skeleton, f"{side}_{name}") for name in ("hip", "knee", "ankle"))
        thigh = knee - hip
        out[f"hip_flexion_{side}"] = np.arctan2(thigh[:, 1], -thigh[:, 2])
        out[f"knee_flexion_{side}"] = np.pi - _included_angle(hip, knee, ankle)
        foot = f"{side}_foot"
        neutral = _included_angle(*(joint_track(rest, skeleton, f"{side}_{name}") for name in ("knee", "ankle", "foot")))
        out[f"ankle_dorsiflexion_{side}"] = neutral - _included_angle(knee, ankle, joint_track(joints, skeleton, foot))
        out[f"hip_adduction_{side}"] = np.arctan2(medial * thigh[:, 0], -thigh[:, 2]) + medial * obliquity
    trunk = _trunk_top(joints, skeleton) - pelvis_track(joints, skeleton)
    out["trunk_lean_sagittal"] = np.arctan2(trunk[:, 1], trunk[:, 2])
    out["trunk_lean_frontal"] = np.arctan2(trunk[:, 0], trunk[:, 2])
    return {name: np.degrees(out[name]) for name in JOINT_ANGLES}


def joint_track(joints: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:
    """Path (T, 3) of the joint `name`; nan where the skeleton has none."""
    return joints[:, skeleton.index(name)] if skeleton.has(name) else np.full((len(joints), 3), np.nan)


def pelvis_track(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Path (T, 3) of the pelvis; the middle of the hips where there is no pelvis, or it is nan throughout."""
    return _first_seen(joints, skeleton, ("pelvis",), ("left_hip", "right_hip"))


def facing(joints: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal vectors (T, 2) [m]: where the hips say that the front is (left of it the left hip), and where the knees and
    toes say so: a knee bends forward of the line from hip to ankle, a foot points forward."""
    across = (joint_track(joints, skeleton, "right_hip") - joint_track(joints, skeleton, "left_hip"))[:, :2]
    front = np.zeros((len(joints), 2))
    for side in ("left", "right"):
        hip, knee, ankle, foot = (joint_track(joints, skeleton, f"{side}_{n}") for n in ("hip", "knee", "ankle", "foot"))
        leg = ankle - hip
        along = (((knee - hip) * leg).sum(-1) / np.maximum((leg**2).sum(-1), 1e-9))[:, None]
        for part in (knee - hip - along * leg, foot - ankle):
            front += np.nan_to_num(part[:, :2])
    return np.stack((-across[:, 1], across[:, 0]), axis=-1), front


def _trunk_top(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    return _first_seen(joints, skeleton, ("spine_shoulder",), ("neck",), ("left_shoulder", "right_shoulder"))


def _first_seen(joints: np.ndarray, skeleton: Skeleton, *options: tuple[str, ...]) -> np.ndarray:
    """Path (T, 3) of the middle of the first joints that are not nan throughout; of the last, if all are."""
    for names in options:
        path = np.mean([joint_track(joints, skeleton, name) for name in names], axis=0)
        if np.isfinite(path).any():
            break
    return path


def _included_angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Angle a-b-c [rad] at b, by atan2 of cross and dot product (exact near 0 and 180 degrees too)."""
    u, v = a - b, c - b
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))
