"""GaitDecoderModel: codes of the parts of a walk to 3D joints of any number of frames.

In: `temporal_codes` (B, 4), `pathological_codes` (B, P), `spatial_codes` (B, S), optional `sensor_codes` (B, N) of
`GaitVQModel`; `severity`, how much of the pathology; or `parts` (GaitParts) instead of codes.
Out: `joints` (B, T, J, 3) [m], x right, y forward, z up. By default those of a skeleton: bones of one length, knees and elbows
within their limits, feet where the waves have them; then also `rotations` (B, T, J, 3, 3), global, of the bone that ends at
each joint, `offsets` (B, J, 3) [m] and `root` (B, T, 3) [m]. With `noise`, as the sensor of the training data would measure
that walk: bones stretch and joints tremble. How long the bones are is the person's alone, so no pathology changes it.

Strides are as long as the speed asks for (`footing` of the configuration), whatever codes come together.
Nothing is learned here: the codebooks are the tokeniser's (`GaitDecoderModel.from_vq`).
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_gait_decoder import GaitDecoderConfig
from .forward_kinematics import positions_from_bones, skeleton_from_positions
from .gait_waves import clock, fit_stride, from_channels, phase_of, synthesise
from .modeling_gait_vq import GaitCodebooks, GaitParts, GaitPreTrainedModel, GaitVQModel
from .skeletons import Skeleton

LIMIT = 0.17  # rad: knees and elbows do not bend further than this the wrong way


@dataclass
class GaitDecoderOutput(ModelOutput):
    """`joints` (B, T, J, 3) m; of a skeleton also `root` (B, T, 3) m, `rotations` (B, T, J, 3, 3), `offsets` (B, J, 3) m,
    else None."""

    joints: torch.FloatTensor | None = None
    root: torch.FloatTensor | None = None
    rotations: torch.FloatTensor | None = None
    offsets: torch.FloatTensor | None = None


class GaitDecoderModel(GaitPreTrainedModel):
    """Decoder of gait codes, float32 whatever `dtype` is asked for. See the head of this file."""

    config_class = GaitDecoderConfig
    main_input_name = "temporal_codes"

    def __init__(self, config: GaitDecoderConfig):
        super().__init__(config)
        self.codebooks = GaitCodebooks(config)
        self.skeleton = self.codebooks.skeleton
        self.half = config.num_frames / 2 / config.fps
        self.post_init()

    @classmethod
    def from_vq(cls, vq: GaitVQModel, constrained: bool = True) -> "GaitDecoderModel":
        """The decoder of a tokeniser's codes."""
        settings = {k: v for k, v in vq.config.to_dict().items() if k not in ("model_type", "architectures", "auto_map")}
        decoder = cls(GaitDecoderConfig(**settings, constrained=constrained))
        decoder.codebooks.load_state_dict(vq.codebooks.state_dict())
        return decoder.eval()

    @can_return_tuple
    def forward(
        self,
        temporal_codes: torch.Tensor | None = None,
        pathological_codes: torch.Tensor | None = None,
        spatial_codes: torch.Tensor | None = None,
        sensor_codes: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        num_frames: int | None = None,
        severity: torch.Tensor | float = 1.0,
        noise: bool = False,
        generator: torch.Generator | list[torch.Generator] | None = None,
        parts: GaitParts | None = None,
    ) -> GaitDecoderOutput:
        """Codes, or parts, to joints.

        Args:
            sensor_codes: None leaves drift and noise out.
            attention_mask: (B, T) valid frames, the first ones; or `num_frames`: T, by default a window. A walk longer than a
                window goes on.
            severity: number or (B,), times the pathology.
            noise: add the sensor's noise, drawn with `generator` (or a list, one for each walk), which needs the sensor codes.

        Raises: ValueError where codes are missing or of another kind, or another argument does not fit them.
        """
        if num_frames is not None and (not isinstance(num_frames, Integral) or num_frames < 1):
            raise ValueError(f"num_frames: expected a whole number of 1 or more, got {num_frames!r}")
        if parts is None:
            if temporal_codes is None or pathological_codes is None or spatial_codes is None:
                raise ValueError("GaitDecoderModel needs temporal_codes, pathological_codes and spatial_codes, or parts")
            parts = self.codebooks.lookup(temporal_codes, pathological_codes, spatial_codes, sensor_codes)
        if noise and parts.levels is None:
            raise ValueError("noise is what the sensor codes describe: none were given")
        count = len(parts.person)
        if np.shape(severity) not in ((), (count,)):
            raise ValueError(f"severity: expected a number or ({count},), got {np.shape(severity)}")
        if attention_mask is not None and (attention_mask.ndim != 2 or len(attention_mask) != count):
            raise ValueError(f"attention_mask: expected ({count}, T), got {tuple(attention_mask.shape)}")
        waves = parts.waves(severity)
        if self.config.footing:
            waves = fit_stride(waves, self.skeleton, *self.config.footing)
        if attention_mask is None:
            frames = self.config.num_frames if num_frames is None else num_frames
            attention_mask = waves.cycle.new_ones(count, frames)
        mask, window = attention_mask.to(waves.cycle.dtype), self.config.num_frames
        channels = synthesise(waves, mask, self.skeleton, window, self.half)
        if noise:
            phase = phase_of(waves.rhythm, clock(mask, window), self.half)
            channels = channels + self.codebooks.noise.sample(parts.levels, phase, generator)
        joints = from_channels(channels, self.skeleton)
        if noise or not self.config.constrained:
            return GaitDecoderOutput(joints)
        return self._on_skeleton(joints, mask, self.codebooks.bone_lengths(parts.person))

    def _on_skeleton(self, joints: torch.Tensor, mask: torch.Tensor, lengths: torch.Tensor) -> GaitDecoderOutput:
        """The motion of a skeleton with bones of lengths (B, J) [m], moved so that the lower foot keeps its mean height."""
        skeleton, r = self.skeleton, self.skeleton.root
        root, feet = joints[:, :, r], [j for j, n in enumerate(skeleton.joint_names) if n.endswith(("ankle", "foot"))]
        rotations, offsets = skeleton_from_positions(joints - joints[:, :, [r]], mask[..., None], skeleton, lengths)
        rotations = limit_rotations(rotations, offsets, skeleton)
        out = positions_from_bones(rotations, root, offsets[:, None], skeleton)
        sink = (out[:, :, feet, 2].amin(2) - joints[:, :, feet, 2].amin(2)) * mask
        sink = (sink.sum(1) / mask.sum(1).clamp(min=1))[:, None, None] * out.new_tensor([0.0, 0.0, 1.0])
        return GaitDecoderOutput(out - sink[:, :, None], root - sink, rotations, offsets)


def limit_rotations(rotations: torch.Tensor, offsets: torch.Tensor, skeleton: Skeleton, limit: float = LIMIT) -> torch.Tensor:
    """Global rotations (B, T, J, 3, 3) of bones with what is below a knee or elbow that bends the wrong way turned back
    about x."""
    bones = (rotations @ offsets[:, None, ..., None])[..., 0]
    for side in ("left", "right"):
        for middle, lower, sign in (("knee", "ankle", 1.0), ("elbow", "wrist", -1.0)):
            if not (skeleton.has(f"{side}_{middle}") and skeleton.has(f"{side}_{lower}")):
                continue
            a, b = skeleton.index(f"{side}_{middle}"), skeleton.index(f"{side}_{lower}")
            flexion = sign * (_pitch(bones[:, :, a]) - _pitch(bones[:, :, b]))
            beyond = torch.relu(-limit - torch.atan2(flexion.sin(), flexion.cos()))
            back = _about_x(-sign * beyond)[:, :, None]
            below = torch.tensor([_is_below(j, a, skeleton) for j in range(len(skeleton))], device=rotations.device)
            rotations = torch.where(below[:, None, None], back @ rotations, rotations)
    return rotations


def _is_below(joint: int, ancestor: int, skeleton: Skeleton) -> bool:
    while joint >= 0:
        joint = skeleton.parents[joint]
        if joint == ancestor:
            return True
    return False


def _about_x(angle: torch.Tensor) -> torch.Tensor:
    """Rotations (..., 3, 3) by an angle (...) [rad]."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = ((zero + 1, zero, zero), (zero, cos, -sin), (zero, sin, cos))
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _pitch(v: torch.Tensor) -> torch.Tensor:
    """Angle [rad] of a downward vector in the sagittal plane, forward positive."""
    return torch.atan2(v[..., 1], -v[..., 2] + 1e-6)


GaitDecoderModel.register_for_auto_class("AutoModel")

__all__ = ["GaitDecoderModel", "GaitDecoderOutput", "limit_rotations"]
