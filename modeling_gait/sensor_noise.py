"""The noise of the sensor that a data set was recorded with: measured, coded as levels, sampled.

In: residuals (B, T, C) [m] of channels that a model leaves, mask (B, T), phase (B, T) [rad].
Out: log levels (B, 8) of the parts of the body; random residuals of the same kind.

A residual is levels(part of the body) x spread(walk, channel) x shape(phase, channel) x stationary Gaussian noise with the
spectrum and the correlation between channels that the data show: a depth camera errs more where limbs swing or hide each other,
joints of a limb err together, and of one walk a joint errs far more than of another, so that tails are heavy.
"""

import math

import torch
from torch import nn

from .skeletons import Skeleton

LEVELS = 8
_BINS = 16


def body_parts(skeleton: Skeleton) -> list[int]:
    """The part of the body of each joint: trunk and head 0, arms 1 and 2, thighs 3 and 4, feet 5 and 6, root 7; left first."""
    parts = []
    for joint, name in enumerate(skeleton.joint_names):
        side = 0 if name.startswith("left_") else 1 if name.startswith("right_") else None
        if joint == skeleton.root:
            parts.append(7)
        elif side is None:
            parts.append(0)
        else:
            parts.append(side + (5 if name.endswith(("ankle", "foot")) else 3 if name.endswith(("hip", "knee")) else 1))
    return parts


class SensorNoise(nn.Module):
    """Buffers: `mix` (C, C), `spectrum` (F, C) amplitudes of each mixed channel by frequency up to fps / 2, `shape` (16,
    C) by phase, `spread` (C, C), a root of the covariance over walks of the log levels of channels in their part."""

    def __init__(self, skeleton: Skeleton, num_frames: int):
        super().__init__()
        channels = 3 * len(skeleton)
        self.parts = [part for part in body_parts(skeleton) for _ in range(3)]
        self.register_buffer("mix", torch.zeros(channels, channels))
        self.register_buffer("spectrum", torch.zeros(num_frames // 2 + 1, channels))
        self.register_buffer("shape", torch.zeros(_BINS, channels))
        self.register_buffer("spread", torch.zeros(channels, channels))

    def levels(self, residual: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log root mean squares (B, 8) [log m] of each part of the body."""
        power = _power(residual, mask)
        member = nn.functional.one_hot(torch.tensor(self.parts, device=power.device), LEVELS).to(power)
        return ((power @ member) / member.sum(0).clamp(min=1)).clamp(min=1e-8).log() / 2

    @torch.no_grad()
    def fit(self, residual: torch.Tensor, mask: torch.Tensor, phase: torch.Tensor) -> None:
        """From residuals of many windows; the spectrum from the full ones (all, cut to the shortest, where none is)."""
        levels = self.levels(residual, mask)[:, self.parts]
        beside = _power(residual, mask).clamp(min=1e-8).log() / 2 - levels
        values, basis = torch.linalg.eigh(torch.cov(beside.T.double(), correction=0))
        self.spread.copy_((basis * values.clamp(min=0).sqrt()).T)
        unit = residual / levels.exp()[:, None]
        bins, valid = self._bins(phase)[mask > 0], unit[mask > 0]
        total = torch.zeros_like(self.shape).index_add_(0, bins, valid.square())
        count = torch.bincount(bins, minlength=_BINS)[:, None]
        overall = valid.square().mean(0).clamp(min=1e-12)
        self.shape.copy_(((total + 10 * overall) / (count + 10) / overall).sqrt())
        unit = unit / self.shape[self._bins(phase)]
        frames = int(mask.sum(1).min()) if not (mask > 0).all(1).any() else mask.shape[1]
        unit = unit[mask.sum(1) >= frames, :frames]
        _, basis = torch.linalg.eigh(torch.cov(unit.flatten(0, 1).T.double()))
        self.mix.copy_(basis)
        amplitude = torch.fft.rfft(unit @ self.mix, dim=1).abs().square().mean(0).sqrt() / math.sqrt(frames)
        self.spectrum.copy_(_resample(amplitude, len(self.spectrum)))

    def sample(
        self, levels: torch.Tensor, phase: torch.Tensor, generator: torch.Generator | list[torch.Generator] | None = None
    ) -> torch.Tensor:
        """Residuals (B, T, C) [m] for log levels (B, 8) and phases (B, T)."""
        frames = phase.shape[1]
        amplitude = _resample(self.spectrum, frames // 2 + 1) * math.sqrt(frames / 2)
        own = generator if isinstance(generator, list) else [generator]  # one for all walks, or one for each
        shape = (2, len(levels) // len(own), 1 + len(amplitude), len(self.spread))
        drawn = [torch.randn(shape, generator=g, device=g.device if g else levels.device) for g in own]
        walk, waves = torch.cat(drawn, dim=1).to(levels.device).split((1, len(amplitude)), dim=2)
        noise = torch.fft.irfft(torch.complex(waves[0], waves[1]) * amplitude, n=frames, dim=1) @ self.mix.T
        beside = walk[0] @ self.spread - self.spread.square().sum(0)  # mean power 1
        scale = (levels[:, None, self.parts] + beside).exp()
        return noise * self.shape[self._bins(phase)] * scale

    @staticmethod
    def _bins(phase: torch.Tensor) -> torch.Tensor:
        return torch.remainder(phase / (2 * math.pi) * _BINS, _BINS).long().clamp(max=_BINS - 1)


def _power(residual: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squares (B, C) [m^2] of each channel over valid frames."""
    return (residual.square() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def _resample(amplitude: torch.Tensor, count: int) -> torch.Tensor:
    """Amplitudes (F, C) at `count` frequencies of the same range."""
    return nn.functional.interpolate(amplitude.T[None], size=count, mode="linear", align_corners=True)[0].T


__all__ = ["LEVELS", "SensorNoise", "body_parts"]
