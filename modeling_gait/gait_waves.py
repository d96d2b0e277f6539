"""A window of walking as one gait cycle and its rhythm, and back; batched torch.

In: joints (B, T, J, 3) [m], x right, y forward, z up; mask (B, T) of valid frames, the first ones.
Out: `GaitWaves`; `synthesise` makes channels (B, T, C) of it again, `from_channels` joints. C = 3 J: each joint relative to
the root, and in the root's own slot its path.

    x(t) = mean + drift_1 P1(s) + drift_2 P2(s) + drift_3 P3(s) + sum_k  a_k cos(k phase(t)) + b_k sin(k phase(t))

s runs from -1 to 1 over a window of N frames, P are Legendre polynomials. The phase is 0 where the fundamental of (left - right
ankle) is furthest ahead; it grows evenly but for two slow waves, the change from stride to stride. Fitting: the frequency by a
grid search on the ankles, then Gauss-Newton on the phase with least squares for the coefficients (variable projection, Golub
and Pereyra 1973), both with a small ridge, since a short window holds few strides.
"""

import math
from dataclasses import dataclass

import torch

from .masks import check_valid_first
from .skeletons import LARGEST, Skeleton

WARPS = 2
NUM_DRIFTS = 3
RHYTHM = ("stride_frequency", "speed", "phase", "warp_1", "warp_2", "sideways_speed")  # Hz, m/s, rad, rad, rad, m/s
_DRIFT_RIDGE = (0.003, 0.015, 0.03)
_HARMONIC_RIDGE = 0.002  # times the square of the harmonic's number
_WARP_RIDGE = 3.0
_FREQUENCIES = (0.3, 1.7)  # Hz, of strides
_STANDING = 0.3  # quantile of the ankles' velocities: in the middle of those of standing feet
_STRETCHED = (0.2, 2.0)  # how far legs are scaled at most


@dataclass
class GaitWaves:
    """`cycle` (B, 1 + 2 K, C) [m]: mean, then cosine and sine of each harmonic; `drift` (B, 3, C) [m], the path's own trend
    left out; `rhythm` (B, 6): see `RHYTHM`."""

    cycle: torch.Tensor
    drift: torch.Tensor
    rhythm: torch.Tensor


def to_channels(joints: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """Joints (B, T, J, 3) [m] -> channels (B, T, 3 J)."""
    is_root = (torch.arange(len(skeleton), device=joints.device) == skeleton.root)[:, None]
    return torch.where(is_root, joints, joints - joints[:, :, [skeleton.root]]).flatten(2)


def from_channels(channels: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """Channels (B, T, 3 J) -> joints (B, T, J, 3) [m], the path starting above the origin."""
    slots = channels.unflatten(2, (-1, 3))
    path = slots[:, :, [skeleton.root]]
    path = path - path[:, :1] * path.new_tensor([1.0, 1.0, 0.0])
    is_root = (torch.arange(len(skeleton), device=slots.device) == skeleton.root)[:, None]
    return torch.where(is_root, path, slots + path)


def clock(mask: torch.Tensor, window: int | torch.Tensor) -> torch.Tensor:
    """s (B, T) of each frame: 0 in the middle of the valid frames (of the first `window`, where there are more).
    `window`: one number of frames for all walks, or that of each (B, 1).
    Raises ValueError where other frames than the first ones are valid."""
    check_valid_first(mask)
    count = mask.sum(1, keepdim=True).clamp(max=window)
    return (torch.arange(mask.shape[1], dtype=mask.dtype, device=mask.device) - (count - 1) / 2) / (window / 2)


def _polynomials(s: torch.Tensor) -> torch.Tensor:
    """(B, T, 3); beyond the window they stay what they were at its ends."""
    s = s.clamp(-1, 1)
    return torch.stack((s, 1.5 * s**2 - 0.5, 2.5 * s**3 - 1.5 * s), dim=-1)


def cycle_waves(phase: torch.Tensor, harmonics: int) -> torch.Tensor:
    """(B, T, 1 + 2 K): 1, cos phase, sin phase, cos 2 phase, ..."""
    k = torch.arange(1, harmonics + 1, dtype=phase.dtype, device=phase.device)
    angle = phase[..., None] * k
    waves = torch.stack((angle.cos(), angle.sin()), dim=-1).flatten(2)
    return torch.cat((torch.ones_like(phase)[..., None], waves), dim=-1)


def _slopes(waves: torch.Tensor) -> torch.Tensor:
    """(B, T, 2 K): the derivatives by the phase of `cycle_waves` but its 1."""
    k = torch.arange(1, waves.shape[-1] // 2 + 1, device=waves.device).repeat_interleave(2)
    return torch.stack((-waves[..., 2::2], waves[..., 1::2]), dim=-1).flatten(2) * k


def _phase_terms(s: torch.Tensor) -> torch.Tensor:
    """(B, T, 2 + WARPS): what the phase is a sum of: a constant, even growth, slow waves."""
    warps = [torch.cos((w + 2) * math.pi * (s + 1) / 2) for w in range(WARPS)]
    return torch.stack((torch.ones_like(s), s, *warps), dim=-1)


def phase_of(rhythm: torch.Tensor, s: torch.Tensor, half: float | torch.Tensor) -> torch.Tensor:
    """Phase (B, T) [rad] of a rhythm (B, 6); `half` a window is so many seconds, a number or (B, 1)."""
    frequency, phase = rhythm[:, :1], rhythm[:, 2:3]
    terms = torch.cat((phase, 2 * math.pi * half * frequency, rhythm[:, 3 : 3 + WARPS]), dim=1)
    return (_phase_terms(s) @ terms[..., None])[..., 0]


def _least_squares(design: torch.Tensor, x: torch.Tensor, mask: torch.Tensor, ridge: torch.Tensor) -> torch.Tensor:
    weighted = design * mask[..., None]
    normal = weighted.transpose(1, 2) @ design + torch.diag(ridge) * mask.sum(1)[:, None, None]
    return torch.linalg.solve(normal, weighted.transpose(1, 2) @ x)


def _ridge(harmonics: int, like: torch.Tensor) -> torch.Tensor:
    waves = [_HARMONIC_RIDGE * k * k for k in range(1, harmonics + 1) for _ in range(2)]
    return like.new_tensor([*_DRIFT_RIDGE, 1e-6, *waves])


def _stride_frequency(
    x: torch.Tensor, s: torch.Tensor, mask: torch.Tensor, ankles: tuple[int, int], half: float | torch.Tensor
) -> torch.Tensor:
    """(B,) [Hz]: the frequency whose one wave, with a mean and a trend, explains most of (left - right ankle)."""
    ahead = (x[..., 3 * ankles[0] + 1] - x[..., 3 * ankles[1] + 1])[..., None]
    grid = torch.exp(torch.linspace(*map(math.log, _FREQUENCIES), 90, device=x.device))
    left = []
    for frequency in grid:
        design = torch.cat((cycle_waves(2 * math.pi * half * frequency * s, 1), s[..., None]), dim=-1)
        fitted = design @ _least_squares(design, ahead, mask, x.new_tensor([1e-6, 1e-3, 1e-3, 1e-6]))
        left.append(((ahead - fitted).square()[..., 0] * mask).sum(1))
    return grid[torch.stack(left, dim=1).argmin(1)]


def _short_way(path: torch.Tensor, s: torch.Tensor, mask: torch.Tensor, window: int | torch.Tensor) -> torch.Tensor:
    """(B, 2) the straight way of a path (B, T, 2), by s, where the window is not full; 0 where it is. Of little more than a
    stride the ridge would take the way for a wave, and the walk for a slow one."""
    way = (path * (s * mask)[..., None]).sum(1) / (s.square() * mask).sum(1, keepdim=True)
    return torch.where(mask.sum(1, keepdim=True) < window, way, 0)


@torch.no_grad()
def fit_waves(
    joints: torch.Tensor,
    mask: torch.Tensor,
    skeleton: Skeleton,
    fps: float,
    window: int | torch.Tensor,
    harmonics: int = 5,
    iterations: int = 5,
) -> GaitWaves:
    """Windows -> their cycle, drift and rhythm.

    Args:
        joints: (B, T, J, 3) [m]; mask: (B, T). Frames that it does not call valid may hold anything.
        window: N, the frames of a full window, the unit of s; or that of each walk (B, 1).

    Raises: ValueError for another shape, a skeleton without ankles, a walk of less than two valid frames, or valid joints that
    are not finite or not in metres.
    """
    if joints.ndim != 4 or joints.shape[2:] != (len(skeleton), 3) or mask.shape != joints.shape[:2]:
        raise ValueError(
            f"expected joints (B, T, {len(skeleton)}, 3) and mask (B, T), got {tuple(joints.shape)}, {tuple(mask.shape)}"
        )
    if not (skeleton.has("left_ankle") and skeleton.has("right_ankle")):
        raise ValueError(f"skeleton {skeleton.name!r} has no ankles, which the phase is read from")
    mask = mask.float()
    joints = joints.float().masked_fill(mask[..., None, None] == 0, 0)
    for what, wrong in (
        ("less than two valid frames", (mask > 0).sum(1) < 2),
        ("joints that are not finite", ~joints.isfinite().flatten(1).all(1)),
    ):
        if wrong.any():
            raise ValueError(f"walk {int(wrong.nonzero()[0])} of the batch has {what}")
    apart = (joints[:, 0] - joints[:, 0].median(1, keepdim=True).values).norm(dim=-1).median(1).values
    if (apart > LARGEST).any():  # as `check_metres`, of every walk
        n = int(apart.argmax())
        raise ValueError(f"walk {n} of the batch: half of its joints are {apart[n]:.3g} m or more apart: what is the unit?")
    x, s, half = to_channels(joints, skeleton), clock(mask, window), window / 2 / fps
    ankles, root = (skeleton.index("left_ankle"), skeleton.index("right_ankle")), skeleton.root
    posed = torch.ones(x.shape[-1], device=x.device)
    posed[3 * root : 3 * root + 3] = 0
    way = slice(3 * root, 3 * root + 2)
    trend = _short_way(x[..., way], s, mask, window)
    x[..., way] -= trend[:, None] * s[..., None]
    terms, slow = _phase_terms(s), _polynomials(s)
    growth = x.new_zeros(len(x), 2 + WARPS)
    growth[:, 1:2] = 2 * math.pi * half * _stride_frequency(x, s, mask, ankles, half)[:, None]
    stiff = x.new_tensor([1e-5, 1e-5] + [_WARP_RIDGE] * WARPS)
    for step in range(iterations):
        count = min(harmonics, 1 + 2 * step)  # few first: the higher ones could hold a wrong frequency in place
        phase = (terms @ growth[..., None])[..., 0]
        waves = cycle_waves(phase, count)
        design = torch.cat((slow, waves), dim=-1)
        c = _least_squares(design, x, mask, _ridge(count, x))
        slope = (_slopes(waves) @ c[:, NUM_DRIFTS + 1 :]) * posed * mask[..., None]
        missed = ((x - design @ c) * slope).sum(-1)
        weight = slope.square().sum(-1)
        penalty = stiff * weight.sum(1, keepdim=True) / window
        normal = (terms * weight[..., None]).transpose(1, 2) @ terms + torch.diag_embed(penalty)
        held = torch.cat((torch.zeros_like(growth[:, :2]), growth[:, 2:]), dim=1) * penalty
        growth = growth + torch.linalg.solve(normal, (terms * missed[..., None]).sum(1) - held)
    design = torch.cat((slow, cycle_waves((terms @ growth[..., None])[..., 0], harmonics)), dim=-1)
    c = _least_squares(design, x, mask, _ridge(harmonics, x))
    ahead = c[:, NUM_DRIFTS + 1 : NUM_DRIFTS + 3, 3 * ankles[0] + 1] - c[:, NUM_DRIFTS + 1 : NUM_DRIFTS + 3, 3 * ankles[1] + 1]
    shift = torch.atan2(ahead[:, 1], ahead[:, 0])
    c = torch.cat((c[:, : NUM_DRIFTS + 1], shift_phase(c[:, NUM_DRIFTS + 1 :], shift)), dim=1)
    phase = torch.remainder(growth[:, 0] - shift + math.pi, 2 * math.pi) - math.pi
    speed = (c[:, 0, way] + trend) / half
    frequency = (growth[:, 1:2] / (2 * math.pi * half))[:, 0]
    rhythm = torch.stack((frequency, speed[:, 1], phase, *growth[:, 2:].unbind(1), speed[:, 0]), dim=1)
    c[:, 0, way] = 0
    return GaitWaves(c[:, NUM_DRIFTS:], c[:, :NUM_DRIFTS], rhythm)


def shift_phase(waves: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Coefficients (B, 2 K, C) of phase -> those of (phase - shift (B,) [rad])."""
    k = torch.arange(1, waves.shape[1] // 2 + 1, device=waves.device)
    cos, sin = ((k * shift[:, None])[..., None].cos(), (k * shift[:, None])[..., None].sin())
    a, b = waves[:, 0::2], waves[:, 1::2]
    return torch.stack((a * cos + b * sin, b * cos - a * sin), dim=2).flatten(1, 2)


def fit_drift(
    x: torch.Tensor, mask: torch.Tensor, cycle: torch.Tensor, rhythm: torch.Tensor, window: int, half: float
) -> torch.Tensor:
    """Drift (B, 3, C) of what channels x (B, T, C) have left beside a given cycle; the path's trend is that of the rhythm."""
    s = clock(mask, window)
    missed = x - cycle_waves(phase_of(rhythm, s, half), cycle.shape[1] // 2) @ cycle
    design = torch.cat((_polynomials(s), torch.ones_like(s)[..., None]), dim=-1)
    return _least_squares(design, missed, mask, x.new_tensor([*_DRIFT_RIDGE, 1e-6]))[:, :NUM_DRIFTS]


def synthesise(waves: GaitWaves, mask: torch.Tensor, skeleton: Skeleton, window: int, half: float) -> torch.Tensor:
    """Channels (B, T, C) [m] of the frames of `mask` (B, T). Beyond the window the walk goes on by its own cycles."""
    s, root = clock(mask, window), skeleton.root
    x = cycle_waves(phase_of(waves.rhythm, s, half), waves.cycle.shape[1] // 2) @ waves.cycle + _polynomials(s) @ waves.drift
    velocity = x.new_zeros(len(x), x.shape[-1])
    velocity[:, 3 * root], velocity[:, 3 * root + 1] = waves.rhythm[:, 5], waves.rhythm[:, 1]
    return x + half * s[..., None] * velocity[:, None]


def footing(waves: GaitWaves, skeleton: Skeleton, points: int = 64) -> torch.Tensor:
    """(B,): the speed over that at which the ankles go back under the pelvis while they stand, which is a quantile of theirs
    over the cycle; nan of who makes no way. Near 1 where feet do not slide."""
    phase = torch.arange(points, device=waves.cycle.device) * (2 * math.pi / points)
    moved = _slopes(cycle_waves(phase[None].to(waves.cycle), waves.cycle.shape[1] // 2))
    ankles = [3 * skeleton.index(f"{side}_ankle") + 1 for side in ("left", "right")]
    velocity = (moved @ waves.cycle[:, 1:, ankles]) * (2 * math.pi * waves.rhythm[:, :1, None])
    back, speed = -torch.quantile(velocity.flatten(1), _STANDING, dim=1), waves.rhythm[:, 1]
    return torch.where(speed > 0.1, speed / back.clamp(min=0.05), torch.nan)


def fit_stride(waves: GaitWaves, skeleton: Skeleton, low: float, high: float) -> GaitWaves:
    """Walks whose legs reach as far as their speed asks for, so that no foot slides.

    Beyond a `footing` of `low` to `high` the legs' way forward and back is scaled, and the rise and fall of the pelvis with its
    square, as of an inverted pendulum (Kuo 2007, 10.1016/j.humov.2007.04.003); what is on the floor stays at its height. A walk
    that makes no way stays as it is.
    """
    ratio = footing(waves, skeleton)
    scale = (ratio / ratio.clamp(low, high)).nan_to_num(1.0).clamp(*_STRETCHED)[:, None]
    swing, root = waves.cycle[:, 1:].clone(), skeleton.root
    lifted = (1 - scale.square()) * swing[..., 3 * root + 2]
    swing[..., 3 * root + 2] -= lifted
    for side in ("left", "right"):
        hip = swing[..., 3 * skeleton.index(f"{side}_hip") + 1] if skeleton.has(f"{side}_hip") else 0.0
        for name, share in (("knee", 0.5), ("ankle", 1.0), ("foot", 1.0)):
            if skeleton.has(f"{side}_{name}"):
                at = 3 * skeleton.index(f"{side}_{name}")
                swing[..., at + 1] += (scale - 1) * (swing[..., at + 1] - hip)
                swing[..., at + 2] += share * lifted
    return GaitWaves(torch.cat((waves.cycle[:, :1], swing), dim=1), waves.drift, waves.rhythm)


def mirror_cycle(cycle: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """Cycles (..., 1 + 2 K, C) of the mirrored walks, half a cycle later, so that their phase is 0 at the left ankle again."""
    swapped = cycle.unflatten(-1, (-1, 3))[..., list(skeleton.mirror), :] * cycle.new_tensor([-1.0, 1.0, 1.0])
    k = torch.cat((torch.zeros(1), torch.arange(1, cycle.shape[-2] // 2 + 1).repeat_interleave(2))).to(cycle)
    return swapped.flatten(-2) * (1 - 2 * (k % 2))[:, None]


__all__ = [
    "GaitWaves",
    "RHYTHM",
    "clock",
    "cycle_waves",
    "fit_drift",
    "fit_stride",
    "fit_waves",
    "footing",
    "from_channels",
    "mirror_cycle",
    "phase_of",
    "synthesise",
    "to_channels",
]
