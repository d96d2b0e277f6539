"""Rotations to positions, and a skeleton of constant bone lengths close to proposed positions; batched and differentiable.

In: joint rotations (..., J, 3, 3), root (..., 3) and offsets (..., J, 3); or positions (B, T, J, 3), in metres (x right, y
forward, z up). Out: positions (..., J, 3); or rotations and offsets.
"""

import torch

from .skeletons import KINECT_V2, Skeleton


def rotation_6d_to_matrix(rotation_6d: torch.Tensor) -> torch.Tensor:
    """(..., 6) -> rotation matrices (..., 3, 3), by Gram-Schmidt (Zhou et al. 2019, arXiv 1812.07035, eq. 14)."""
    a, b = rotation_6d[..., :3], rotation_6d[..., 3:]
    x = torch.nn.functional.normalize(a, dim=-1)
    y = torch.nn.functional.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=-1)


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


def ancestry(skeleton: Skeleton, like: torch.Tensor) -> torch.Tensor:
    """(J, J) ones where j lies on the path from the root (left out) to i: summing bones along it gives the position."""
    path = [[0.0] * len(skeleton) for _ in skeleton.joint_names]
    for i in skeleton.order:
        if i != skeleton.root:
            path[i] = path[skeleton.parents[i]].copy()
            path[i][i] = 1.0
    return torch.tensor(path, dtype=like.dtype, device=like.device)


def local_to_global(rotations: torch.Tensor, skeleton: Skeleton = KINECT_V2) -> torch.Tensor:
    """Local joint rotations (..., J, 3, 3) -> global ones (..., J, 3, 3)."""
    out: list[torch.Tensor | None] = [None] * len(skeleton)
    for j in skeleton.order:
        local = rotations[..., j, :, :]
        out[j] = local if j == skeleton.root else out[skeleton.parents[j]] @ local
    return torch.stack(out, dim=-3)


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
    return torch.einsum("ij,...jc->...ic", ancestry(skeleton, bones), bones) + root.unsqueeze(-2)


def skeleton_from_positions(
    positions: torch.Tensor,
    mask: torch.Tensor,
    skeleton: Skeleton = KINECT_V2,
    lengths: torch.Tensor | None = None,
    iterations: int = 4,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bone rotations and constant bone lengths close to proposed root-relative positions; differentiable.

    Lengths are given, or means over time. Positions are first moved, half a step an iteration and shared by both ends of a
    bone, to where the bones have these lengths (position-based dynamics, Mueller et al. 2007), so that errors do not add up
    along the chains. The root and its neighbours (hips, lower spine) are held: what a depth camera gets wrong of the thighs
    must not rock the pelvis. A bone's rotation takes its direction at rest to that seen, without twist about the bone.

    Args:
        positions: (B, T, J, 3) [m], root at 0; mask: (B, T, 1), 1 for the frames that count in the lengths.
        lengths: (B, J) [m] of the bones, or None.

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

    lengths = (bones_of(positions)[1] * weight).sum(1) * is_bone if lengths is None else lengths[..., None] * is_bone
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
