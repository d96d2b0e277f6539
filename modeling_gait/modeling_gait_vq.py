"""GaitVQModel: walks to three kinds of discrete codes and back.

In: `input_values` (B, T, F) standardised features (see feature_extraction_gait.py), `attention_mask` (B, T).
Out: `motion_codes` (B, T', Q), the spatial codes first and then the temporal ones, T' = T / downsampling; `body_codes` (B, S)
and `pathological_codes` (B, P) a window; and a reconstruction (B, T, F) by a plain decoder, which serves training. Joints come
from GaitDecoderModel.

- *spatial* codes see poses: the *body* codes what is constant in a window (bone lengths, posture, mean speed), the others what
  is left of it at each latent step, a patch of frames and its neighbours;
- *temporal* codes see differences between frames only;
- *pathological* codes see the whole window. Heads read class and gait parameters from them; a gradient-reversed head
  (Ganin & Lempitsky 2015, arXiv 1409.7495) takes the class out of the other two.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_gait_vq import GaitVQConfig
from .quantization import ResidualVectorQuantizer, VectorQuantizer


@dataclass
class GaitVQEncoderOutput(ModelOutput):
    """`motion_codes` (B, T', Q), `body_codes` (B, S), `pathological_codes` (B, P) int64; `attention_mask` (B, T') of valid
    steps."""

    motion_codes: torch.LongTensor | None = None
    body_codes: torch.LongTensor | None = None
    pathological_codes: torch.LongTensor | None = None
    attention_mask: torch.Tensor | None = None


@dataclass
class GaitVQOutput(ModelOutput):
    """Output of `GaitVQModel`.

    `loss` scalar (training target, also computed without labels); `reconstruction` (B, T, F) standardised features;
    `motion_codes` (B, T', Q); `body_codes` (B, S); `pathological_codes` (B, P); `class_logits` (B, num_labels), read from the
    pathological codes alone; `parameter_prediction` (B, G), likewise, or None; `reconstruction_loss`,
    `commitment_loss`, `class_loss`, `parameter_loss`, `adversary_loss` scalars, None where there was no target.
    """

    loss: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    motion_codes: torch.LongTensor | None = None
    body_codes: torch.LongTensor | None = None
    pathological_codes: torch.LongTensor | None = None
    class_logits: torch.FloatTensor | None = None
    parameter_prediction: torch.FloatTensor | None = None
    reconstruction_loss: torch.FloatTensor | None = None
    commitment_loss: torch.FloatTensor | None = None
    class_loss: torch.FloatTensor | None = None
    parameter_loss: torch.FloatTensor | None = None
    adversary_loss: torch.FloatTensor | None = None


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return -grad


class GaitConvBlock(nn.Module):
    """Residual block over time on (B, T, C); masked frames stay 0. `condition` (B, C') scales and shifts (FiLM)."""

    def __init__(self, width: int, dilation: int = 1, condition: int = 0):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.out = nn.Linear(width, width)
        self.film = nn.Linear(condition, 2 * width) if condition else None

    def forward(self, x: torch.Tensor, mask: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        h = self.norm(x)
        if self.film is not None:
            scale, shift = self.film(condition)[:, None].chunk(2, dim=-1)
            h = h * (1 + scale) + shift
        h = self.conv((h * mask).transpose(1, 2)).transpose(1, 2)
        return (x + self.out(nn.functional.gelu(h))) * mask


class GaitPatchEncoder(nn.Module):
    """Frames (B, T, F) -> latent steps (B, T', C); `overlap` frames on either side are read as well."""

    def __init__(self, num_features: int, width: int, num_layers: int, stride: int, overlap: int):
        super().__init__()
        self.patch = nn.Conv1d(num_features, width, stride + 2 * overlap, stride=stride, padding=overlap)
        self.blocks = nn.ModuleList(GaitConvBlock(width, dilation=2**i if overlap else 1) for i in range(num_layers))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.patch(x.transpose(1, 2)).transpose(1, 2) * mask
        for block in self.blocks:
            x = block(x, mask)
        return x


class GaitCodeTrunk(nn.Module):
    """Latents of the codes -> hidden frames (B, T, C/2), conditioned on the body and the pathological latents.

    In: `motion` (B, T', 2 D) spatial and temporal latents side by side, `body` (B, D), `pathology` (B, P, D),
    `mask` (B, T', 1).
    """

    def __init__(self, config):
        super().__init__()
        width, self.stride = config.hidden_size, config.downsampling
        self.project = nn.Linear(2 * config.code_dim, width)
        self.condition = nn.Linear((config.num_pathological_tokens + 1) * config.code_dim, width)
        self.blocks = nn.ModuleList(GaitConvBlock(width, 2**i, condition=width) for i in range(config.num_layers))
        self.upsample = nn.Linear(width, self.stride * (width // 2))
        self.constant = nn.Linear(config.code_dim, width // 2)
        self.refine = nn.ModuleList(GaitConvBlock(width // 2, 2**i) for i in range(2))

    def forward(self, motion: torch.Tensor, body: torch.Tensor, pathology: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        condition = nn.functional.gelu(self.condition(torch.cat((body, pathology.flatten(1)), dim=-1)))
        x = (self.project(motion) + condition[:, None]) * mask
        for block in self.blocks:
            x = block(x, mask, condition)
        frames = self.upsample(x).reshape(x.shape[0], -1, x.shape[2] // 2)
        frame_mask = mask.repeat_interleave(self.stride, dim=1)
        frames = (frames + self.constant(body)[:, None]) * frame_mask
        for block in self.refine:
            frames = block(frames, frame_mask)
        return frames


class GaitPreTrainedModel(PreTrainedModel):
    """Weight initialisation shared by the convolutional gait models."""

    base_model_prefix = ""
    main_input_name = "input_values"

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv1d):
            init.trunc_normal_(module.weight, std=(module.weight[0].numel()) ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, GaitConvBlock):
            init.zeros_(module.out.weight)
        elif isinstance(module, VectorQuantizer):
            for buffer in (module.codebook, module.code_usage, module.code_sum):
                init.zeros_(buffer)
            init.copy_(module.fitted, torch.tensor(False))


class GaitVQModel(GaitPreTrainedModel):
    """The pathology VQ tokeniser. See the head of this file."""

    config_class = GaitVQConfig

    def __init__(self, config: GaitVQConfig):
        super().__init__(config)
        width, dim = config.hidden_size, config.code_dim
        layers, stride = config.num_layers, config.downsampling
        self.spatial_encoder = GaitPatchEncoder(config.num_features, width, layers, stride, overlap=0)
        self.temporal_encoder = GaitPatchEncoder(config.num_features, width, layers, stride, overlap=2)
        self.pathological_encoder = GaitPatchEncoder(config.num_features, width, layers, stride, overlap=2)
        self.pathological_queries = nn.Linear(width, config.num_pathological_tokens, bias=False)
        window = (config.num_pathological_tokens + 1) * dim
        self.spatial_projection = _projection(width + window, width, dim)
        self.temporal_projection = _projection(width + dim + window, width, dim)
        self.body_projection = nn.Linear(width + config.num_features, dim)
        self.pathological_projection = nn.Linear(width, dim)
        decay = config.codebook_decay
        self.spatial_quantizer = ResidualVectorQuantizer(
            config.num_spatial_quantizers, config.spatial_codebook_size, dim, decay
        )
        self.temporal_quantizer = ResidualVectorQuantizer(
            config.num_temporal_quantizers, config.temporal_codebook_size, dim, decay
        )
        self.body_quantizer = ResidualVectorQuantizer(config.num_body_tokens, config.body_codebook_size, dim, decay)
        self.pathological_quantizer = VectorQuantizer(config.pathological_codebook_size, dim, decay)
        self.trunk = GaitCodeTrunk(config)
        self.head = nn.Linear(width // 2, config.num_features)
        self.class_head = nn.Linear(config.num_pathological_tokens * dim, config.num_labels)
        count = config.num_gait_parameters
        self.parameter_head = nn.Linear(config.num_pathological_tokens * dim, count) if count else None
        self.adversary = nn.Sequential(nn.Linear(5 * dim, width), nn.GELU(), nn.Linear(width, config.num_labels))
        self.post_init()

    def _masks(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        stride = self.config.downsampling
        if input_values.ndim != 3 or input_values.shape[2] != self.config.num_features:
            raise ValueError(
                f"expected input_values of shape (B, T, {self.config.num_features}), got {tuple(input_values.shape)}"
            )
        if input_values.shape[1] % stride:
            raise ValueError(
                f"the number of frames must be a multiple of {stride}, got {input_values.shape[1]}; pad with a mask"
            )
        if attention_mask is None:
            attention_mask = input_values.new_ones(input_values.shape[:2])
        mask = attention_mask.to(input_values.dtype)[..., None]
        return mask, mask[:, ::stride]

    def _quantize(self, x: torch.Tensor, mask: torch.Tensor, steps: torch.Tensor) -> tuple[tuple, tuple, torch.Tensor]:
        """Features -> latents (motion (B, T', 2 D), body (B, D), pathology (B, P, D)), their codes, commitment loss.

        Coarse to fine: what a code has to say is computed knowing the codes before it.
        """
        x, valid = x * mask, steps[..., 0]
        seen = valid.amax(1, keepdim=True)  # a row without a valid frame moves no codebook
        latents = self._pathological_latents(x, steps)
        pathology, pathological_codes, loss_p = self.pathological_quantizer(latents, seen.expand(latents.shape[:2]))
        posture = self.spatial_encoder(x, steps)
        mean = posture.sum(1, keepdim=True) / steps.sum(1, keepdim=True).clamp(min=1)
        pose = x.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
        body, body_codes, loss_b = self.body_quantizer(self.body_projection(torch.cat((mean, pose), dim=-1)), seen)
        window = torch.cat((body, pathology.flatten(1)[:, None]), dim=-1).expand(-1, steps.shape[1], -1)
        spatial = self.spatial_projection(torch.cat((posture - mean, window), dim=-1))
        spatial, spatial_codes, loss_s = self.spatial_quantizer(spatial * steps, valid)
        change = torch.cat((torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]), dim=1) * mask
        temporal = self.temporal_encoder(4 * change, steps)
        temporal = self.temporal_projection(torch.cat((temporal, spatial, window), dim=-1))
        temporal, temporal_codes, loss_t = self.temporal_quantizer(temporal * steps, valid)
        latents = torch.cat((spatial, temporal), dim=-1), body[:, 0], pathology
        codes = torch.cat((spatial_codes, temporal_codes), dim=-1), body_codes[:, 0], pathological_codes
        return latents, codes, loss_s + loss_t + loss_b + loss_p

    def _pathological_latents(self, x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        hidden = self.pathological_encoder(x, steps)
        scores = self.pathological_queries(hidden)
        weights = scores.masked_fill(steps == 0, torch.finfo(scores.dtype).min).softmax(dim=1)
        return self.pathological_projection(weights.transpose(1, 2) @ hidden)

    def encode(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> GaitVQEncoderOutput:
        """Features (B, T, F) -> codes. Raises ValueError for a wrong shape or T that is not a multiple of the stride.

        In training mode this also moves the codebooks, as `forward` does; call it in eval mode.
        """
        mask, steps = self._masks(input_values, attention_mask)
        _, (motion, body, pathological), _ = self._quantize(input_values, mask, steps)
        return GaitVQEncoderOutput(motion, body, pathological, steps[..., 0].long())

    def pathology_logits(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Class logits (B, num_labels) read from the pathological codes of features (B, T, F), differentiable."""
        mask, steps = self._masks(input_values, attention_mask)
        latents = self._pathological_latents(input_values * mask, steps)
        return self.class_head(self.pathological_quantizer(latents)[0].flatten(1))

    def embed(
        self, motion_codes: torch.Tensor, body_codes: torch.Tensor, pathological_codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Codes (B, T', Q), (B, S), (B, P) -> latents (B, T', 2 D), (B, D), (B, P, D). ValueError outside a codebook."""
        split = self.config.num_spatial_quantizers
        spatial = self.spatial_quantizer.lookup(motion_codes[..., :split])
        temporal = self.temporal_quantizer.lookup(motion_codes[..., split:])
        body = self.body_quantizer.lookup(body_codes)
        return torch.cat((spatial, temporal), dim=-1), body, self.pathological_quantizer.lookup(pathological_codes)

    def decode(
        self,
        motion_codes: torch.Tensor,
        body_codes: torch.Tensor,
        pathological_codes: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Codes (B, T', Q), (B, S), (B, P), mask (B, T') of steps -> standardised features (B, T, F)."""
        motion, body, pathology = self.embed(motion_codes, body_codes, pathological_codes)
        mask = motion.new_ones(motion.shape[:2]) if attention_mask is None else attention_mask.to(motion.dtype)
        return self.head(self.trunk(motion, body, pathology, mask[..., None]))

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        gait_parameters: torch.Tensor | None = None,
    ) -> GaitVQOutput:
        """Encode, quantise, reconstruct.

        Args:
            input_values: (B, T, F); attention_mask: (B, T), 1 = valid.
            labels: (B,) class of each window, -100 where unknown.
            gait_parameters: (B, G) standardised gait parameters, nan where unknown.
        """
        mask, steps = self._masks(input_values, attention_mask)
        (motion, body, pathology), codes, commitment = self._quantize(input_values, mask, steps)
        reconstruction = self.head(self.trunk(motion, body, pathology, steps))
        config = self.config
        output = GaitVQOutput(
            reconstruction=reconstruction,
            motion_codes=codes[0],
            body_codes=codes[1],
            pathological_codes=codes[2],
            class_logits=self.class_head(pathology.flatten(1)),
            parameter_prediction=self.parameter_head(pathology.flatten(1)) if self.parameter_head is not None else None,
            reconstruction_loss=feature_loss(reconstruction, input_values, mask, config.velocity_weight),
            commitment_loss=commitment,
        )
        loss = output.reconstruction_loss + config.commitment_weight * output.commitment_loss
        if labels is not None:
            output.class_loss = _cross_entropy(output.class_logits, labels)
            output.adversary_loss = _cross_entropy(self._adversary_logits(motion, body, steps), labels)
            loss = loss + config.class_weight * output.class_loss + config.adversary_weight * output.adversary_loss
        if gait_parameters is not None and self.parameter_head is not None:
            known = torch.isfinite(gait_parameters)
            error = (output.parameter_prediction.float() - gait_parameters.nan_to_num()).square() * known
            output.parameter_loss = error.sum() / known.sum().clamp(min=1)
            loss = loss + config.parameter_weight * output.parameter_loss
        output.loss = loss
        return output

    def _adversary_logits(self, motion: torch.Tensor, body: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """Class logits from the body latents and mean and spread over time of the others, gradients reversed behind."""
        count = steps.sum(1).clamp(min=1)
        mean = (motion * steps).sum(1) / count
        spread = ((motion - mean[:, None]).square() * steps).sum(1).div(count).add(1e-4).sqrt()
        return self.adversary(_ReverseGradient.apply(torch.cat((mean, spread, body), dim=-1)))


def _projection(inputs: int, width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, dim))


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the walks whose class is known (label >= 0); 0 where none is."""
    total = nn.functional.cross_entropy(logits.float(), labels, ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


def feature_loss(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, velocity_weight: float) -> torch.Tensor:
    """Mean Euclidean distance a joint slot (B, T, J x 3), plus the same of its frame differences; masked by (B, T, 1)."""
    error = ((prediction - target).float() * mask).unflatten(-1, (-1, 3))
    pair = mask[:, 1:] * mask[:, :-1]
    step = (error[:, 1:] - error[:, :-1]) * pair[..., None]
    count = mask.sum().clamp(min=1) * error.shape[2]
    distance = [((e.square().sum(-1) + 1e-8).sqrt() * valid).sum() / count for e, valid in ((error, mask), (step, pair))]
    return distance[0] + velocity_weight * distance[1]


GaitVQModel.register_for_auto_class("AutoModel")

__all__ = ["GaitVQEncoderOutput", "GaitVQModel", "GaitVQOutput"]
