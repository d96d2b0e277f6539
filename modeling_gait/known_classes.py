"""KnownClasses: is a walk of one of the classes that a model was trained on?

In: windows (B, T, C) of a `GaitDualEncoderModel`, nan where a channel is corrupted, and masks (B, T) of their valid frames.
Out: how far each is from the nearest known class (B,), and the doubt (B,), 0 to 1, that it is of any: 0.5 at the threshold.

A motion encoder maps what it never saw onto what it did, with full confidence. So this looks at the window: the mean of each
channel, which tells posture (or how a sensor is tilted), and how strongly it moves: sensors' accelerations in six bands,
coordinates of a skeleton as a whole. Each class is a Gaussian about its mean, all with one covariance; the distance is
Mahalanobis's to the nearest (Lee et al. 2018, arXiv 1807.03888). `training/known.py` fits it.
"""

import torch
from torch import nn
from transformers import initialization as init

BANDS = (0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # [Hz]


class KnownClasses(nn.Module):
    """See the head of this file.

    Args:
        layout, num_channels, fps: of the windows, as in `GaitEncoderConfig`.
        num_classes: K.
    """

    def __init__(self, layout: str, num_channels: int, fps: float, num_classes: int):
        super().__init__()
        self.sensors, self.fps = layout == "imu" and num_channels % 6 == 0, fps
        width = num_channels // 2 * (len(BANDS)) if self.sensors else 2 * num_channels
        self.register_buffer("fill", torch.zeros(width))
        self.register_buffer("whiten", torch.zeros(width, width))
        self.register_buffer("centres", torch.zeros(num_classes, width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("slope", torch.zeros(()))

    def reset(self) -> None:
        """Nothing is known yet; what `_init_weights` of a model calls."""
        for buffer in self.buffers():
            init.zeros_(buffer)

    def features(self, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Windows (B, T, C) -> (B, D): means of channels, and the log of how much they move."""
        values = values.float()
        if self.sensors:
            values = values.unflatten(-1, (-1, 6))[..., :3].flatten(2)
        mask = torch.ones_like(values[..., 0]) if mask is None else (mask > 0).float()
        count, mask = mask.sum(1, keepdim=True), mask[..., None]
        mean = torch.where(mask > 0, values, 0).sum(1) / count
        moved = torch.where(mask > 0, values - mean[:, None], 0)
        if not self.sensors:
            return torch.cat((mean, (moved.square().sum(1) / count).sqrt().add(1e-2).log()), dim=1)
        at = torch.arange(values.shape[1], device=values.device) / (count - 1).clamp(min=1)
        hann = (0.5 - 0.5 * torch.cos(2 * torch.pi * at))[..., None]
        power = torch.fft.rfft(moved * hann, dim=1).abs().square() * (values.shape[1] / count)[..., None]
        frequency = torch.fft.rfftfreq(values.shape[1], 1 / self.fps, device=values.device)
        bands = [power[:, (frequency >= low) & (frequency < high)].sum(1) for low, high in zip(BANDS, BANDS[1:])]
        return torch.cat((mean, (torch.cat(bands, dim=1) + 1e-2).log()), dim=1)

    def distance(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, D) -> Mahalanobis distance (B,) to the nearest class."""
        known = torch.where(features.isfinite(), features, self.fill.float())
        return torch.cdist((known - self.fill) @ self.whiten.float(), self.centres.float()).amin(1)

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """The doubt (B,) that windows are of a class that was trained on."""
        return torch.sigmoid(self.slope * (self.distance(self.features(input_values, attention_mask)) - self.threshold))


__all__ = ["KnownClasses"]
