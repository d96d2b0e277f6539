"""GaitDecoderModel: gait codes to 3D joints through forward kinematics.

In: `motion_codes` (B, T', Q), `body_codes` (B, S), `pathological_codes` (B, P), optional `attention_mask` (B, T').
Out: `joints` (B, T, J, 3) [m], x right, y forward, z up, T = T' x downsampling; `rotations` (B, T, J, 3, 3), global, of the
bone that ends at each joint; `offsets` (B, J, 3) [m], one set a walk, so bone lengths are constant by construction; `root`
(B, T, 3) [m]. The network proposes positions; rotations and constant bones are built from these (`skeleton_from_positions`),
and forward kinematics gives the joints.

With the measured joints as `labels` it also returns a loss: joint positions, velocities, root path, and the biomechanical
terms (foot contact, joint limits, pelvis height).
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_gait_decoder import GaitDecoderConfig
from .forward_kinematics import positions_from_bones, skeleton_from_positions
from .modeling_gait_vq import GaitCodeTrunk, GaitPreTrainedModel, GaitVQModel
from .skeletons import SKELETONS


@dataclass
class GaitDecoderOutput(ModelOutput):
    """`loss` scalar or None; `joints` (B, T, J, 3) m; `root` (B, T, 3) m; `rotations` (B, T, J, 3, 3); `offsets` (B, J, 3) m;
    `position_loss` [m], mean root-relative joint distance, or None."""

    loss: torch.FloatTensor | None = None
    joints: torch.FloatTensor | None = None
    root: torch.FloatTensor | None = None
    rotations: torch.FloatTensor | None = None
    offsets: torch.FloatTensor | None = None
    position_loss: torch.FloatTensor | None = None


class GaitDecoderModel(GaitPreTrainedModel):
    """Decoder with forward kinematics. See the head of this file."""

    config_class = GaitDecoderConfig
    main_input_name = "motion_codes"

    def __init__(self, config: GaitDecoderConfig):
        super().__init__(config)
        self.skeleton = SKELETONS[config.skeleton]
        joints, width, dim = len(self.skeleton), config.hidden_size, config.code_dim
        self.spatial_embedding = _embeddings(config.num_spatial_quantizers, config.spatial_codebook_size, dim)
        self.temporal_embedding = _embeddings(config.num_temporal_quantizers, config.temporal_codebook_size, dim)
        self.body_embedding = _embeddings(config.num_body_tokens, config.body_codebook_size, dim)
        self.pathological_embedding = nn.Embedding(config.pathological_codebook_size, dim)
        self.trunk = GaitCodeTrunk(config)
        self.head = nn.Linear(width // 2, joints * 3)
        self.register_buffer("feature_mean", torch.zeros(joints, 3))
        self.register_buffer("feature_scale", torch.zeros(joints, 3))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=1.0)
        if isinstance(module, GaitDecoderModel):
            rest = torch.from_numpy(module.skeleton.rest_positions).clone()
            rest[:, 2] -= torch.where(torch.arange(len(rest)) == module.skeleton.root, 0.0, rest[module.skeleton.root, 2])
            init.copy_(module.feature_mean, rest)
            init.copy_(module.feature_scale, torch.full_like(rest, 0.1))

    @torch.no_grad()
    def start_from(self, vq: GaitVQModel, extractor) -> None:
        """Start from a trained tokeniser: its codebooks, the scale of its features and, where the sizes agree, its decoder."""
        for quantizer, embeddings in (
            (vq.spatial_quantizer, self.spatial_embedding),
            (vq.temporal_quantizer, self.temporal_embedding),
            (vq.body_quantizer, self.body_embedding),
        ):
            for layer, embedding in zip(quantizer.layers, embeddings):
                embedding.weight.copy_(layer.codebook)
        self.pathological_embedding.weight.copy_(vq.pathological_quantizer.codebook)
        root = self.skeleton.root
        self.feature_mean.copy_(torch.tensor(extractor.position_mean).unflatten(0, (-1, 3)))
        self.feature_scale.fill_(extractor.position_scale)
        self.feature_mean[root] = torch.tensor(extractor.root_mean)
        self.feature_scale[root] = torch.tensor(extractor.root_std)
        if (self.config.hidden_size, self.config.num_layers) == (vq.config.hidden_size, vq.config.num_layers):
            self.trunk.load_state_dict(vq.trunk.state_dict())
            self.head.load_state_dict(vq.head.state_dict())

    def embed(
        self, motion_codes: torch.Tensor, body_codes: torch.Tensor, pathological_codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Codes (B, T', Q), (B, S), (B, P) -> latents (B, T', 2 D), (B, D), (B, P, D). ValueError for codes of another kind."""
        config = self.config
        for name, codes, count, sizes in (
            ("motion_codes", motion_codes, config.num_codebooks, (config.spatial_codebook_size, config.temporal_codebook_size)),
            ("body_codes", body_codes, config.num_body_tokens, (config.body_codebook_size,)),
            ("pathological_codes", pathological_codes, config.num_pathological_tokens, (config.pathological_codebook_size,)),
        ):
            if codes.shape[-1] != count:
                raise ValueError(f"expected {count} {name} in the last dimension, got {tuple(codes.shape)}")
            if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= max(sizes)):
                raise ValueError(f"{name} {int(codes.min())}..{int(codes.max())} outside a codebook of {max(sizes)}")
        split = self.config.num_spatial_quantizers
        spatial = sum(e(motion_codes[..., i]) for i, e in enumerate(self.spatial_embedding))
        temporal = sum(e(motion_codes[..., split + i]) for i, e in enumerate(self.temporal_embedding))
        body = sum(e(body_codes[..., i]) for i, e in enumerate(self.body_embedding))
        return torch.cat((spatial, temporal), dim=-1), body, self.pathological_embedding(pathological_codes)

    @can_return_tuple
    def forward(
        self,
        motion_codes: torch.Tensor | None = None,
        body_codes: torch.Tensor | None = None,
        pathological_codes: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        latents: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None,
    ) -> GaitDecoderOutput:
        """Codes (or `latents` as `embed` returns them) to joints.

        Args:
            attention_mask: (B, T') valid latent steps.
            labels: (B, T, J, 3) measured joints [m] for the loss.

        Raises: ValueError where neither codes nor latents are given.
        """
        if latents is None:
            if motion_codes is None or body_codes is None or pathological_codes is None:
                raise ValueError("GaitDecoderModel needs motion_codes, body_codes and pathological_codes, or latents")
            latents = self.embed(motion_codes, body_codes, pathological_codes)
        motion, body, pathology = latents
        mask = motion.new_ones(motion.shape[:2]) if attention_mask is None else attention_mask.to(motion.dtype)
        mask = mask[..., None]
        frames = self.trunk(motion, body, pathology, mask)
        frame_mask = mask.repeat_interleave(self.config.downsampling, dim=1).float()
        with torch.autocast(frames.device.type, enabled=False):  # metres and angles want full precision
            output = self._skeleton_motion(self.head(frames.to(self.head.weight.dtype)).float(), frame_mask)
            if labels is not None:
                self._add_loss(output, labels.float(), frame_mask)
        return output

    def _skeleton_motion(self, features: torch.Tensor, mask: torch.Tensor) -> GaitDecoderOutput:
        """Standardised features (B, T, 3 J) -> the motion of a skeleton of constant bones."""
        skeleton, root = self.skeleton, self.skeleton.root
        slots = features.unflatten(-1, (-1, 3)) * self.feature_scale.float() + self.feature_mean.float()
        path = torch.cumsum(slots[:, :, root, :2] / self.config.fps, dim=1)
        path = torch.cat((path - path[:, :1], slots[:, :, root, 2:]), dim=-1)
        is_root = torch.arange(len(skeleton), device=slots.device)[:, None] == root
        relative = torch.where(is_root, torch.zeros_like(slots), slots)
        rotations, offsets = skeleton_from_positions(relative, mask, skeleton)
        joints = positions_from_bones(rotations, path, offsets[:, None], skeleton)
        return GaitDecoderOutput(joints=joints, root=path, rotations=rotations, offsets=offsets)

    def _add_loss(self, output: GaitDecoderOutput, labels: torch.Tensor, mask: torch.Tensor) -> None:
        config, r = self.config, self.skeleton.root
        frames = mask.sum().clamp(min=1)
        pair = mask[:, 1:] * mask[:, :-1]
        relative, target = output.joints - output.joints[:, :, [r]], labels - labels[:, :, [r]]
        position = (_norm(relative - target) * mask).sum() / frames / target.shape[2]
        step = _norm((relative - target).diff(dim=1)) * pair
        step = step.sum() / frames / target.shape[2]
        path, path_target = output.root[..., :2], labels[:, :, r, :2] - labels[:, :1, r, :2]
        root = (_norm(path - path_target)[..., None] * mask).sum() / frames * 0.3
        root = root + (_norm((path - path_target).diff(dim=1))[..., None] * pair).sum() / frames * config.fps * 0.2
        height = ((output.root[..., 2] - labels[:, :, r, 2]).abs()[..., None] * mask).sum() / frames
        loss = position + config.velocity_weight * step + config.root_weight * root + config.height_weight * height
        if config.constrained:
            contact, limits = self._biomechanics(output.joints, labels, mask, pair)
            loss = loss + config.contact_weight * contact + config.limit_weight * limits
        output.loss, output.position_loss = loss, position

    def _biomechanics(
        self, joints: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor, pair: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Foot contact: horizontal speed [m/s] of an ankle while the measured one stands. Limits: knees and elbows bent the
        wrong way [rad] (knee extension beyond -10 degrees, elbow beyond -10)."""
        s = self.skeleton
        ankles = [s.index("left_ankle"), s.index("right_ankle")]
        speed = labels[:, :, ankles].diff(dim=1)[..., :2].norm(dim=-1) * self.config.fps
        standing = (speed < 0.35).float() * pair
        moved = _norm(joints[:, :, ankles].diff(dim=1)[..., :2]) * self.config.fps
        contact = (moved * standing).sum() / standing.sum().clamp(min=1)
        limits = joints.new_zeros(())
        for side in ("left", "right"):
            for upper, middle, lower, sign in (("hip", "knee", "ankle", 1.0), ("shoulder", "elbow", "wrist", -1.0)):
                a, b, c = (joints[:, :, s.index(f"{side}_{n}")] for n in (upper, middle, lower))
                flexion = sign * (_pitch(b - a) - _pitch(c - b))
                flexion = torch.atan2(flexion.sin(), flexion.cos())
                limits = limits + (nn.functional.relu(-0.17 - flexion)[..., None] * mask).sum() / mask.sum().clamp(min=1)
        return contact, limits / 4


def _embeddings(count: int, size: int, dim: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Embedding(size, dim) for _ in range(count))


def _norm(x: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of the last axis with a gradient at 0."""
    return (x.square().sum(-1) + 1e-10).sqrt()


def _pitch(v: torch.Tensor) -> torch.Tensor:
    """Angle [rad] of a downward vector in the sagittal plane, forward positive."""
    return torch.atan2(v[..., 1], -v[..., 2] + 1e-6)


GaitDecoderModel.register_for_auto_class("AutoModel")

__all__ = ["GaitDecoderModel", "GaitDecoderOutput"]
