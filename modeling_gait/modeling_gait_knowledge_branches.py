"""What reads videos and rhythms in the classifier with medical knowledge, and walks whose parameters change as is known.

In: videos (B, T, 3, H, W); normalised skeletons (B, T, F). Out: vectors (B, P); standardised gait parameters (B, G).

A network that pools features over frames counts steps badly. The autocorrelation of a walk shows its step and its stride
directly (Moe-Nilssen and Helbostad 2004, doi 10.1016/S0021-9290(03)00233-1), so `GaitTiming` reads correlations of learned
channels at lags in seconds.

`change_walks` makes walks in another rhythm, of another size, or mirrored, whose gait parameters follow without measuring.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel

from .configuration_gait_dual_encoder import GaitEncoderConfig
from .configuration_gait_knowledge import GaitKnowledgeConfig
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, mirror_image
from .modeling_gait_dual_encoder import GaitEncoderLayer
from .skeletons import Skeleton

_PARAMETERS = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)
_NAMES = [p.name for p in _PARAMETERS]
# Of each parameter: the powers of length and time in its unit, the index of its mirror image, and its sign there.
_OF_LENGTH = [1 if p.unit in ("m", "m/s") else 0 for p in _PARAMETERS]
_OF_TIME = [{"s": 1, "m/s": -1, "steps/min": -1}.get(p.unit, 0) for p in _PARAMETERS]
_MIRRORED = [_NAMES.index(mirror_image(name)[0]) for name in _NAMES]
_SIGN = [mirror_image(name)[1] for name in _NAMES]


class VideoBranch(nn.Module):
    """Frames (B, T, 3, H, W) -> (B, P): a vision encoder reads each frame, a small transformer the sequence.

    It reads, beside the frames, learned prompts (after Wasim et al. 2023, Vita-CLIP, arXiv 2304.03307): a summary token, which
    becomes the result, global tokens, the same for all videos, and a local token a frame, learned for its place and shifted by
    the mean of the frame's patches.
    """

    def __init__(self, config: GaitKnowledgeConfig):
        super().__init__()
        vision = config.video_config
        width = getattr(vision, "hidden_size", None) or vision.hidden_sizes[-1]  # of a transformer, of convolutions
        size = getattr(vision, "image_size", None)
        self.image_size = (size, size) if isinstance(size, int) else size and tuple(size)
        self.num_frames = config.num_frames
        self.register_buffer("image_mean", torch.tensor(config.image_mean))
        self.register_buffer("image_std", torch.tensor(config.image_std))
        self.encoder = AutoModel.from_config(vision)
        self.summary = nn.Parameter(torch.zeros(1, width))
        self.global_tokens = nn.Parameter(torch.zeros(config.num_global_tokens, width))
        self.local_tokens = nn.Parameter(torch.zeros(config.num_frames, width))
        self.positions = nn.Parameter(torch.zeros(config.num_frames, width))
        heads = next(h for h in (4, 2, 1) if width % (2 * h) == 0)
        about = {"layout": "imu", "num_channels": 1, "hidden_size": width, "num_attention_heads": heads}
        layer = GaitEncoderConfig(**about, intermediate_size=2 * width, dropout=0.0)
        self.layers = nn.ModuleList(GaitEncoderLayer(layer) for _ in range(config.temporal_layers))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, config.projection_size)

    def forward(self, pixel_values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Of more than `num_frames` frames, that many are read, spread evenly; all are resized to the encoder's `image_size`.

        Arguments and errors: the model's `forward`.
        """
        if pixel_values.ndim != 5 or pixel_values.shape[2] != 3 or not pixel_values.numel():
            raise ValueError(f"pixel_values: expected (B, T >= 1, 3, H, W), got {tuple(pixel_values.shape)}")
        batch, count = pixel_values.shape[:2]
        mask = torch.ones((batch, count), device=pixel_values.device) if mask is None else mask
        if mask.shape != (batch, count):
            raise ValueError(f"video_mask: expected {(batch, count)}, got {tuple(mask.shape)}")
        if count > self.num_frames:
            rows = torch.linspace(0, count - 1, self.num_frames, device=mask.device).round().long()
            pixel_values, mask, count = pixel_values[:, rows], mask[:, rows], self.num_frames
        pixels = pixel_values / 255 if pixel_values.dtype == torch.uint8 else pixel_values
        pixels = ((pixels - self.image_mean[:, None, None]) / self.image_std[:, None, None]).flatten(0, 1)
        if self.image_size and pixels.shape[-2:] != self.image_size:
            pixels = F.interpolate(pixels, self.image_size, mode="bilinear", antialias=True)
        read = self.encoder(pixels.to(self.norm.weight.dtype).contiguous(memory_format=torch.channels_last))
        states, pooled = read.last_hidden_state, getattr(read, "pooler_output", None)
        patches = states.mean((2, 3)) if states.ndim == 4 else states.mean(1)
        patches = patches.unflatten(0, (batch, count))
        frames = patches if pooled is None else pooled.flatten(1).unflatten(0, (batch, count))
        prompts = torch.cat((self.summary, self.global_tokens)).expand(batch, -1, -1)
        x = torch.cat((prompts, frames + self.positions[:count], patches + self.local_tokens[:count]), dim=1)
        valid = F.pad(torch.cat((mask, mask), dim=1) > 0, (prompts.shape[1], 0), value=True)[:, None, None]
        for layer in self.layers:
            x = layer(x, valid)
        return self.projection(self.norm(x[:, 0]))


class GaitTiming(nn.Module):
    """Walks (B, T, F) -> (B, G) standardised gait parameters.

    K learned linear channels; their means, covariances and correlations with one another (K x K) at lags of 0 to 1.8 s, read
    by a small network.

    Args:
        num_features, num_parameters: F and G.
        num_channels, num_lags: K, and lags that are read.
    """

    MAX_LAG = 1.8  # [s], longer than a slow stride

    def __init__(self, num_features: int, num_parameters: int, num_channels: int = 12, num_lags: int = 40, width: int = 128):
        super().__init__()
        self.num_lags = num_lags
        self.channels = nn.Linear(num_features, num_channels)
        size = num_channels**2 * (num_lags + 1) + num_channels
        self.layers = nn.Sequential(nn.Linear(size, width), nn.GELU(), nn.Linear(width, num_parameters))

    def forward(self, values: torch.Tensor, frame_time: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Float32 (B, G), of normalised walks (B, T, F).

        Args:
            frame_time: (B, T) time between frames [s], the same in all frames of a walk that count.
            mask: (B, T), frames that count.
        """
        with torch.autocast(values.device.type, enabled=False):  # a sum over frames in bfloat16 loses the peaks
            values = values.float()
            valid = torch.ones_like(values[..., :1]) if mask is None else (mask > 0).float()[..., None]
            count = valid.sum(1).clamp(min=1)
            channels = nn.functional.linear(values, self.channels.weight.float(), self.channels.bias.float())
            mean = (channels * valid).sum(1) / count
            channels = (channels - mean[:, None]) * valid
            covariance = channels.transpose(1, 2) @ channels / count[..., None]
            spread = (channels.pow(2).sum(1) / count + 1e-4).sqrt()
            step = (frame_time * valid[..., 0]).sum(1) / count[:, 0]
            lagged = self._correlations(channels / spread[:, None], valid, step)
            read = torch.cat((lagged.flatten(1), covariance.flatten(1), mean), dim=1)
            return self.layers(read.to(self.layers[0].weight.dtype)).float()

    def _correlations(self, channels: torch.Tensor, valid: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """(B, L, K, K): mean over pairs of frames that far apart; few pairs (under a quarter of the frames) weigh less."""
        frames = channels.shape[1]
        spectrum = torch.fft.rfft(channels, n=2 * frames, dim=1)
        there = torch.fft.rfft(valid, n=2 * frames, dim=1)
        sums = torch.fft.irfft(spectrum[..., :, None] * spectrum[..., None, :].conj(), n=2 * frames, dim=1)[:, :frames]
        pairs = torch.fft.irfft(there * there.conj(), n=2 * frames, dim=1)[:, :frames]
        each = sums / torch.maximum(pairs, valid.sum(1, keepdim=True).clamp(min=1) / 4)[..., None]
        each = F.pad(each, (0, 0, 0, 0, 0, 1))  # nothing correlates with what comes after the walk
        lags = torch.linspace(0, self.MAX_LAG, self.num_lags, device=channels.device) / step.clamp(min=1e-3)[:, None]
        before = lags.long().clamp(max=frames - 1)
        weight = (lags - before).clamp(max=1)[..., None, None]
        batch = torch.arange(len(channels), device=channels.device)[:, None]
        return torch.lerp(each[batch, before], each[batch, before + 1], weight)


def change_walks(
    values: torch.Tensor, parameters: torch.Tensor, skeleton: Skeleton, size: float = 0.1, rhythm: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """Walks in another rhythm, of another size, half of them mirrored, and their gait parameters.

    Args:
        values: (B, T, 3 J + 1) of `prepare_knowledge_input`.
        parameters: (B, G) in units, nan where not measured, in the order of `GAIT_PARAMETERS` and `KINEMATIC_PARAMETERS`.
        size, rhythm: standard deviations of the log of the factors of all lengths and of all times.
    """
    batch = len(values)
    root = slice(3 * skeleton.root, 3 * skeleton.root + 3)
    longer, slower = ((torch.randn(batch, device=values.device) * spread).exp() for spread in (size, rhythm))
    flip = torch.rand(batch, device=values.device) < 0.5
    joints = values[..., :-1] * longer[:, None, None]
    joints = torch.cat((joints[..., : root.start], joints[..., root] / slower[:, None, None], joints[..., root.stop :]), dim=-1)
    places = joints.unflatten(-1, (len(skeleton), 3))
    mirrored = (places[..., list(skeleton.mirror), :] * places.new_tensor([-1.0, 1.0, 1.0])).flatten(-2)
    joints = torch.where(flip[:, None, None], mirrored, joints)
    about = torch.tensor([_OF_LENGTH, _OF_TIME, _MIRRORED, _SIGN], device=values.device)
    of_length, of_time, other, sign = about[:, : parameters.shape[1]]
    parameters = torch.where(flip[:, None], parameters[:, other] * sign, parameters)
    parameters = parameters * longer[:, None] ** of_length * slower[:, None] ** of_time
    return torch.cat((joints, values[..., -1:] * slower[:, None, None]), dim=-1), parameters


__all__ = ["GaitTiming", "VideoBranch", "change_walks"]
