"""Augmentation of walks, batched in torch; at the end their severity changed, in numpy.

In: joint positions (B, T, J, 3) in metres (x right, y forward, z up, floor at z = 0, pelvis of the first frame above the
origin) and a `torch.Generator`. Out: new positions of the same shape; the input is left alone. Each walk of the batch draws its
own random numbers, which hold for all of its frames.

The functions want absolute positions, before they are taken relative to the root.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.signal import butter, hilbert, sosfiltfilt
from scipy.spatial.transform import Rotation

from .forward_kinematics import ancestry, positions_from_bones
from .skeletons import KINECT_V2, Skeleton, mirror

# Bones that grow together, named by the joint at their far end without its side; all others are the trunk and head.
BODY_GROUPS = {
    "thighs": ("knee",),
    "shanks": ("ankle",),
    "feet": ("foot",),
    "hips": ("hip",),
    "shoulders": ("shoulder", "clavicle", "collar"),
    "arms": ("elbow", "wrist", "hand", "hand_tip", "thumb"),
}
# What shares a random factor: each group, and the legs as a whole on top of it.
SHARED_FACTORS = (*((group,) for group in BODY_GROUPS), ("trunk",), ("thighs", "shanks", "feet"))


def _check(joints: torch.Tensor, skeleton: Skeleton) -> None:
    if joints.ndim != 4 or joints.shape[2:] != (len(skeleton), 3) or not joints.is_floating_point():
        raise ValueError(
            f"expected floating-point joints (B, T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, "
            f"got {tuple(joints.shape)} {joints.dtype}"
        )


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    value = torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low
    return value.to(like)


def _normal(shape: tuple[int, ...], std: float, generator: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    return (torch.randn(shape, generator=generator, device=generator.device) * std).to(like)


def rotate_yaw(joints: torch.Tensor, degrees: torch.Tensor) -> torch.Tensor:
    """Turn walks (B, T, J, 3) about the vertical through the origin by `degrees` (B,), counter-clockwise seen from above."""
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = ((cos, -sin, zero), (sin, cos, zero), (zero, zero, zero + 1))
    rotation = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2).to(joints)  # (B, 3, 3)
    return (joints.flatten(1, 2) @ rotation.transpose(-1, -2)).view_as(joints)


def scale_axes(joints: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Stretch walks (B, T, J, 3) along x, y and z by `factors` (B, 3)."""
    return joints * factors[:, None, None, :]


def time_window(joints: torch.Tensor, start: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Cut a window out of each walk (B, T, J, 3) and stretch it to all T frames by linear interpolation.

    Args:
        start: (B,) first frame of the window, may be fractional.
        length: (B,) distance from its first to its last frame; T - 1 is the whole walk.
    """
    frames = joints.shape[1]
    steps = torch.linspace(0, 1, frames, dtype=joints.dtype, device=joints.device)
    at = (start[:, None] + steps * length[:, None]).clamp(0, frames - 1)
    before = at.floor().long().clamp(max=max(frames - 2, 0))
    after = (before + 1).clamp(max=frames - 1)
    batch = torch.arange(len(joints), device=joints.device)[:, None]
    return torch.lerp(joints[batch, before], joints[batch, after], (at - before)[..., None, None])


def scale_bones(joints: torch.Tensor, factors: torch.Tensor, skeleton: Skeleton = KINECT_V2) -> torch.Tensor:
    """Give walks (B, T, J, 3) another body: every bone keeps its direction and takes another length.

    `factors` (B, J) belong to the bone that ends at each joint; the root's is ignored. The path and height of the root are
    scaled by the change of the mean leg length, and the whole walk is then raised or lowered by one constant so that the lower
    foot keeps its mean height: steps grow with the legs and the feet stay on the floor.
    """
    _check(joints, skeleton)
    if factors.shape != (len(joints), len(skeleton)):
        raise ValueError(f"factors: expected ({len(joints)}, {len(skeleton)}), got {tuple(factors.shape)}")
    root = joints[:, :, [skeleton.root]]
    bones = joints - joints[:, :, [max(p, 0) for p in skeleton.parents]]
    legs = [j for j, name in enumerate(skeleton.joint_names) if name.endswith(("knee", "ankle"))]
    lengths = bones[:, :, legs].norm(dim=-1).mean(dim=1)
    leg_before, leg_after = lengths.sum(1), (factors[:, legs] * lengths).sum(1)
    out = torch.einsum("ij,btjc->btic", ancestry(skeleton, joints), factors[:, None, :, None] * bones) + root
    out = out + root * (leg_after / leg_before.clamp(min=1e-6) - 1)[:, None, None, None]
    return _on_the_floor(out, joints, skeleton)


def scale_motion(
    joints: torch.Tensor, spread: float, generator: torch.Generator, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Larger or smaller motion (B, T, J, 3) [m] about each joint's mean place relative to the root.

    The log-normal factor has a part for the whole body, one for each axis and one for each joint (the same left and right);
    `spread` is the standard deviation of each part's log times 0.7, 0.5 and 0.3. Bone lengths are kept only roughly.
    """
    batch, _, count, _ = joints.shape
    root = joints[:, :, [skeleton.root]]
    relative = joints - root
    mean = relative.mean(dim=1, keepdim=True)
    logs = sum(
        share * _normal(shape, spread, generator, joints)
        for share, shape in ((0.7, (batch, 1, 1, 1)), (0.5, (batch, 1, 1, 3)), (0.3, (batch, 1, count, 1)))
    )
    logs = 0.5 * (logs + logs[:, :, list(skeleton.mirror)])
    return mean + logs.exp() * (relative - mean) + root


def random_body(
    batch: int, group: float, bone: float, generator: torch.Generator, like: torch.Tensor, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Log-normal bone factors (batch, J) for `scale_bones`.

    Args:
        group: standard deviation of the log of each group's factor (thighs, shanks, feet, hips, shoulders, arms, trunk, and
            the legs as a whole); the same left and right.
        bone: standard deviation of the log of each single bone's own factor, independent left and right.
        like: a tensor of the dtype and device of the result.
    """
    parts = [name.removeprefix("left_").removeprefix("right_") for name in skeleton.joint_names]
    groups = [next((g for g, members in BODY_GROUPS.items() if part in members), "trunk") for part in parts]
    logs = _normal((batch, len(skeleton)), bone, generator, like)
    for members in torch.tensor([[g in shared for g in groups] for shared in SHARED_FACTORS], device=like.device):
        logs = logs + _normal((batch, 1), group, generator, like) * members
    return logs.exp()


def turn_bones(joints: torch.Tensor, vectors: torch.Tensor, skeleton: Skeleton = KINECT_V2) -> torch.Tensor:
    """Give walks (B, T, J, 3) another posture: each bone is turned by one rotation for the whole walk, its length stays.

    `vectors` (B, J, 3) are rotation vectors [rad] in the world's axes, of the bone that ends at each joint; the root's is
    ignored. The walk is then raised or lowered by one constant so that the lower foot keeps its mean height.
    """
    _check(joints, skeleton)
    if vectors.shape != (len(joints), len(skeleton), 3):
        raise ValueError(f"vectors: expected ({len(joints)}, {len(skeleton)}, 3), got {tuple(vectors.shape)}")
    parents = torch.tensor([max(p, 0) for p in skeleton.parents], device=joints.device)
    turns = torch.from_numpy(Rotation.from_rotvec(vectors.double().cpu().reshape(-1, 3).numpy()).as_matrix())
    turns = turns.view(len(joints), 1, len(skeleton), 3, 3).to(joints)
    offsets = joints - joints.index_select(2, parents)
    out = positions_from_bones(turns, joints[:, :, skeleton.root], offsets, skeleton)
    return _on_the_floor(out, joints, skeleton)


def _on_the_floor(moved: torch.Tensor, joints: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """`moved` raised or lowered so that the lower foot keeps the mean height that it has in `joints`."""
    feet = [j for j, name in enumerate(skeleton.joint_names) if name.endswith(("ankle", "foot"))]
    sink = (moved[:, :, feet, 2].amin(dim=2) - joints[:, :, feet, 2].amin(dim=2)).mean(dim=1)
    return torch.cat((moved[..., :2], moved[..., 2:] - sink[:, None, None, None]), dim=-1)


def random_posture(
    batch: int, limb: float, bone: float, generator: torch.Generator, like: torch.Tensor, skeleton: Skeleton = KINECT_V2
) -> torch.Tensor:
    """Normally distributed rotation vectors (batch, J, 3) [rad] for `turn_bones`.

    Args:
        limb: standard deviation [deg] of each component of the turn that the bones of the upper body, of each whole leg,
            shank with foot, whole arm and forearm share.
        bone: standard deviation [deg] of each single bone's own turn.
        like: a tensor of the dtype and device of the result.
    """
    degree = math.pi / 180
    turns = _normal((batch, len(skeleton), 3), bone * degree, generator, like)
    legs, names = ("hip", "knee", "ankle", "foot"), skeleton.joint_names
    inside = [[not name.endswith(legs) for name in names]]
    for side in ("left", "right"):
        for limbs in (legs[1:], legs[2:], BODY_GROUPS["arms"], BODY_GROUPS["arms"][1:]):
            inside.append([name.startswith(side) and name.endswith(limbs) for name in names])
    for members in torch.tensor(inside, device=like.device):
        turns = turns + _normal((batch, 1, 3), limb * degree, generator, like) * members[:, None]
    return turns


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of walks; calling it with (B, T, J, 3) [m] and a generator returns new walks of the same shape.

    A strength of 0 leaves that step out; with all at 0 the walks come back unchanged.

    Attributes:
        mirror: probability of reflecting left and right.
        yaw: largest turn about the vertical, either way [deg].
        scale: largest relative stretch of each axis by itself.
        window: largest share of the walk that is cut off before the rest is stretched back to T frames.
        body: spread (standard deviation of the log) of the lengths of each group of bones, see `random_body`.
        bone: spread of each single bone's length.
        amplitude: spread (standard deviation of the log) of the size of the motion about the walk's mean pose.
        posture: spread of the constant turns of limbs [deg], see `random_posture`.
        posture_bone: spread of each single bone's constant turn [deg].
        jitter: standard deviation of the noise on every coordinate of every frame [mm].
        skeleton: what the J joints are.
    """

    mirror: float = 0.5
    yaw: float = 17.0
    scale: float = 0.15
    window: float = 0.3
    body: float = 0.08
    bone: float = 0.03
    jitter: float = 5.0
    amplitude: float = 0.0
    posture: float = 0.0
    posture_bone: float = 0.0
    skeleton: Skeleton = KINECT_V2

    def __post_init__(self):
        for name in (f.name for f in fields(self) if f.name != "skeleton"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name, limit in (("mirror", 1), ("scale", 0.99), ("window", 0.99)):
            if getattr(self, name) > limit:
                raise ValueError(f"{name} must be at most {limit}, got {getattr(self, name)}")

    def __call__(self, joints: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(B, T, J, 3) [m] -> (B, T, J, 3) [m]. Raises ValueError for another shape or an integer dtype."""
        _check(joints, self.skeleton)
        batch, frames = joints.shape[:2]
        if self.window:
            length = _uniform((batch,), 1 - self.window, 1, generator, joints) * (frames - 1)
            start = _uniform((batch,), 0, 1, generator, joints) * (frames - 1 - length)
            cut = time_window(joints, start, length)
            moved = joints[:, :1, [self.skeleton.root]] - cut[:, :1, [self.skeleton.root]]
            joints = cut + moved * moved.new_tensor([1.0, 1.0, 0.0])  # starts where the walk started
        if self.amplitude:
            joints = scale_motion(joints, self.amplitude, generator, self.skeleton)
        if self.posture or self.posture_bone:
            turns = random_posture(batch, self.posture, self.posture_bone, generator, joints, self.skeleton)
            joints = turn_bones(joints, turns, self.skeleton)
        if self.body or self.bone:
            factors = random_body(batch, self.body, self.bone, generator, joints, self.skeleton)
            joints = scale_bones(joints, factors, self.skeleton)
        if self.scale:
            joints = scale_axes(joints, _uniform((batch, 3), 1 - self.scale, 1 + self.scale, generator, joints))
        if self.mirror:
            chosen = _uniform((batch, 1, 1, 1), 0, 1, generator, joints) < self.mirror
            joints = torch.where(chosen, mirror(joints, self.skeleton), joints)
        if self.yaw:
            joints = rotate_yaw(joints, _uniform((batch,), -self.yaw, self.yaw, generator, joints))
        if self.jitter:
            joints = joints + _normal(tuple(joints.shape), self.jitter / 1000, generator, joints)
        return joints


# Other people than those who walked: random bones and postures that leave the class as it is. The strengths are those that
# experiments/loso.py --choose found best on gist, within each half of the subjects.
NEW_PEOPLE = Augmentation(mirror=0, yaw=0, scale=0, window=0, jitter=0, posture=4.0, posture_bone=3.0, body=0.1, bone=0.05)

# ---------------------------------------------------------------- severity
# The same people, affected less or more. A gait cycle's phase comes from how far one ankle is ahead of the other (Hilbert
# transform); a person's template of a class is the mean pose of all their walks of it at each phase. A walk of person p and
# class c at phase f becomes x + a (template[p, c](f) - template[p, normal](f)): a = -1 would take the pathology away, a = 0.5
# makes it half as severe again.

PHASES = 32
STEP_BAND = (0.03, 0.35)  # of the Nyquist frequency: where steps lie in a walk of some strides resampled to 64 frames


def gait_phase(inputs: np.ndarray, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Phase (N, T) in [0, PHASES) of root-relative walks (N, T, F) [m]; 0 where the left ankle is furthest ahead."""
    if inputs.ndim != 3 or inputs.shape[2] != 3 * len(skeleton):
        raise ValueError(f"expected walks (N, T, {3 * len(skeleton)}), got {inputs.shape}")
    left, right = (3 * skeleton.index(f"{side}_ankle") + 1 for side in ("left", "right"))
    ahead = sosfiltfilt(butter(2, STEP_BAND, "band", output="sos"), inputs[..., left] - inputs[..., right], axis=1)
    angle = np.angle(hilbert(ahead, axis=1)) % (2 * np.pi)
    return np.minimum(angle / (2 * np.pi) * PHASES, np.nextafter(PHASES, 0))


def _between(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins before and after each phase, and the weight of the one after."""
    before = phase.astype(int) % PHASES
    return before, (before + 1) % PHASES, phase - np.floor(phase)


def template(inputs: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Mean pose (PHASES, F) [m] at each phase, of walks (N, T, F) with phases (N, T)."""
    before, after, weight = (part.ravel() for part in _between(phase))
    flat = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    total, count = np.zeros((PHASES, flat.shape[1])), np.full(PHASES, 1e-9)
    for bins, share in ((before, 1 - weight), (after, weight)):
        np.add.at(total, bins, flat * share[:, None])
        np.add.at(count, bins, share)
    return total / count[:, None]


def change_severity(
    inputs: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    amounts: np.ndarray,
    normal: int,
    skeleton: Skeleton = KINECT_V2,
) -> np.ndarray:
    """Walks that are affected less (amount below 0) or more, by people who are all among these walks.

    Args:
        inputs: (N, T, F) [m], root-relative; labels, subjects: (N,); amounts: (N,), the change of severity, -1 to about 1.
        normal: the label of normal gait. Normal walks, and those of a person without any, stay as they are.

    Returns: float32 (N, T, F) [m]. Bones keep their lengths only roughly.
    """
    phase, out = gait_phase(inputs, skeleton), inputs.astype(np.float32, copy=True)
    for subject in np.unique(subjects):
        own = subjects == subject
        if not (own & (labels == normal)).any():
            continue
        base = template(inputs[own & (labels == normal)], phase[own & (labels == normal)])
        for label in np.unique(labels[own]):
            rows = np.flatnonzero(own & (labels == label))
            if label == normal:
                continue
            change = template(inputs[rows], phase[rows]) - base
            before, after, weight = _between(phase[rows])
            at_phase = change[before] * (1 - weight)[..., None] + change[after] * weight[..., None]
            out[rows] += (amounts[rows, None, None] * at_phase).astype(np.float32)
    return out


__all__ = [
    "NEW_PEOPLE",
    "Augmentation",
    "change_severity",
    "gait_phase",
    "random_body",
    "random_posture",
    "rotate_yaw",
    "scale_axes",
    "scale_bones",
    "scale_motion",
    "template",
    "time_window",
    "turn_bones",
]
