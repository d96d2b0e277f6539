"""Rotations, forward kinematics, fitting a constant-length skeleton to positions, and joint angles.

In: joint rotations (..., J, 3, 3) and offsets (..., J, 3), or positions (..., J, 3) in metres (x right, y forward, z up).
Out: positions (..., J, 3); or rotations, offsets; or joint angles in degrees.
Torch functions are differentiable and batched; the numpy ones serve analysis and export.
"""

import numpy as np
import torch

from .skeletons import KINECT_V2, Skeleton


def rotation_6d_to_matrix(rotation_6d: torch.Tensor) -> torch.Tensor:
    """(..., 6) -> rotation matrices (..., 3, 3), by Gram-Schmidt (Zhou et al. 2019, arXiv 1812.07035, eq. 14)."""
    a, b = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = torch.nn.functional.normalize(a, dim=-1)
    y = torch.nn.functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=-1)


def matrix_to_rotation_6d(matrix: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) -> (..., 6): the first two columns."""
    return torch.cat((matrix[..., 0], matrix[..., 1]), dim=-1)


def positions_from_global(
    rotations: torch.Tensor, root: torch.Tensor, offsets: torch.Tensor, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Forward kinematics from global joint rotations.

    Args:
        rotations: (..., J, 3, 3), each joint's orientation in the world; it turns the offsets of the joint's children.
        root: (..., 3) [m].
        offsets: (..., J, 3) [m] from the parent in the rest pose, broadcast against `rotations`; the root's is ignored.

    Returns: positions (..., J, 3) [m].
    """
    parents = torch.tensor([max(p, 0) for p in skeleton.parents], device=rotations.device)
    return positions_from_bones(rotations.index_select(-3, parents), root, offsets, skeleton)


def _ancestry(skeleton: Skeleton, like: torch.Tensor) -> torch.Tensor:
    """(J, J) ones where j lies on the path from the root (left out) to i: summing bones along it gives the position."""
    path = torch.zeros(len(skeleton), len(skeleton), dtype=like.dtype, device=like.device)
    for i in skeleton.order:
        if i != skeleton.root:
            path[i] = path[skeleton.parents[i]]
            path[i, i] = 1
    return path


def local_to_global(rotations: torch.Tensor, skeleton: Skeleton = KINECT_V2) -> torch.Tensor:
    """Local joint rotations (..., J, 3, 3) -> global ones (..., J, 3, 3)."""
    out: list[torch.Tensor | None] = [None] * len(skeleton)
    for j in skeleton.order:
        local = rotations[..., j, :, :]
        out[j] = local if j == skeleton.root else out[skeleton.parents[j]] @ local
    return torch.stack(out, dim=-3)


def global_to_local(rotations: torch.Tensor, skeleton: Skeleton = KINECT_V2) -> torch.Tensor:
    """Global joint rotations (..., J, 3, 3) -> local ones (..., J, 3, 3)."""
    parents = torch.tensor([max(p, 0) for p in skeleton.parents], device=rotations.device)
    local = rotations.index_select(-3, parents).transpose(-1, -2) @ rotations
    root = torch.arange(len(skeleton), device=rotations.device) == skeleton.root
    return torch.where(root[:, None, None], rotations, local)


def forward_kinematics(
    rotations: torch.Tensor, root: torch.Tensor, offsets: torch.Tensor, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Positions (..., J, 3) [m] from *local* joint rotations (..., J, 3, 3), root (..., 3) [m], offsets (..., J, 3) [m]."""
    return positions_from_global(local_to_global(rotations, skeleton), root, offsets, skeleton)


def positions_from_bones(
    rotations: torch.Tensor, root: torch.Tensor, offsets: torch.Tensor, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Forward kinematics from bone rotations.

    Unlike in `positions_from_global`, each rotation (..., J, 3, 3) turns the offset of its own joint, so bones of one parent
    may move against each other (a depth camera's hips and shoulders do). `root` (..., 3), `offsets` (..., J, 3) [m].

    Returns: positions (..., J, 3) [m].
    """
    bones = sum(rotations[..., k] * offsets[..., k, None] for k in range(3))  # @ copies what it broadcasts
    return torch.einsum("ij,...jc->...ic", _ancestry(skeleton, bones), bones) + root.unsqueeze(-2)


def skeleton_from_positions(
    positions: torch.Tensor, mask: torch.Tensor, skeleton: Skeleton = KINECT_V2, iterations: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bone rotations and constant bone lengths close to proposed root-relative positions; differentiable.

    Lengths are means over time. Positions are first moved, half a step an iteration and shared by both ends of a bone, to where
    the bones have these lengths (position-based dynamics, Mueller et al. 2007), so that errors do not add up along the chains. The
    root and its neighbours (hips, lower spine) are held: what a depth camera gets wrong of the thighs must not rock the pelvis.
    A bone's rotation takes its direction at rest to that seen, without twist about the bone.

    Args:
        positions: (B, T, J, 3) [m], root at 0; mask: (B, T, 1), 1 for the frames that count in the lengths.

    Returns: rotations (B, T, J, 3, 3), offsets (B, J, 3) [m], for `positions_from_bones`.
    """
    parents = torch.tensor([max(p, 0) for p in skeleton.parents], device=positions.device)
    is_bone = torch.tensor([[float(p >= 0)] for p in skeleton.parents], dtype=positions.dtype, device=positions.device)
    free = torch.tensor([[float(p >= 0 and p != skeleton.root)] for p in skeleton.parents]).to(positions)
    share = free / (free + free[parents]).clamp(min=1)
    weight = (mask / mask.sum(1, keepdim=True).clamp(min=1))[..., None]

    def bones_of(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bones = x - x.index_select(2, parents)
        return bones, (bones.square().sum(-1, keepdim=True) + 1e-12).sqrt()

    lengths = (bones_of(positions)[1] * weight).sum(1) * is_bone
    for _ in range(iterations):
        bones, now = bones_of(positions)
        change = 0.5 * (lengths[:, None] / now - 1) * bones * is_bone
        positions = positions + (change * share).index_add(2, parents, -change * (1 - share)) * free
    rest = torch.tensor(skeleton.rest_offsets, dtype=positions.dtype, device=positions.device)
    rest = torch.nn.functional.normalize(rest, dim=-1)
    across = (rest[:, :1].abs() > 0.7).to(rest.dtype)  # a bone to the side cannot have the side as its second axis
    second = rest.new_tensor([1.0, 0.0, 0.0]) * (1 - across) + rest.new_tensor([0.0, 0.0, 1.0]) * across
    axes = [rotation_6d_to_matrix(torch.cat((b, second.expand_as(b)), dim=-1)) for b in (bones_of(positions)[0], rest)]
    rotations = axes[0] @ axes[1].transpose(-1, -2)
    root = torch.eye(3, dtype=rest.dtype, device=rest.device)
    return torch.where(is_bone[..., None] > 0, rotations, root), rest * lengths


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
    local = global_to_local(torch.from_numpy(rotations), skeleton).numpy()
    return local, joints[:, skeleton.root].copy(), offsets


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
    """Path (T, 3) of the pelvis; the middle of the hips where the skeleton has no pelvis."""
    if skeleton.has("pelvis"):
        return joint_track(joints, skeleton, "pelvis")
    return (joint_track(joints, skeleton, "left_hip") + joint_track(joints, skeleton, "right_hip")) / 2


def _trunk_top(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    for name in ("spine_shoulder", "neck"):
        if skeleton.has(name):
            return joint_track(joints, skeleton, name)
    return (joint_track(joints, skeleton, "left_shoulder") + joint_track(joints, skeleton, "right_shoulder")) / 2


def _included_angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Angle a-b-c [rad] at b, by atan2 of cross and dot product (exact near 0 and 180 degrees too)."""
    u, v = a - b, c - b
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1))
