"""GaitVQModel: a window of walking to codes of its parts, and back.

In: `joints` (B, T, J, 3) [m] along +y, `attention_mask` (B, T), 1 for valid frames, which come first (padding on the right).
Out: four kinds of codes, whose parts add up to the walk (see gait_waves.py for cycle, drift and rhythm):

- `temporal_codes` (B, 4), the rhythm: cadence, speed, phase, and the change from stride to stride;
- `pathological_codes` (B, P): class and side, then what this walk's cycle has of it that the person's normal cycle has not;
- `spatial_codes` (B, S): the person, bones and posture and their own normal cycle: the cycle less the pathology;
- `sensor_codes` (B, N): slow drift of the measured places, and the level of the noise. They can be left out.

Where the person's normal cycle is not given, pathology is its posterior mean: cycle = person + class mean + own way + noise,
all normal (a linear Gaussian model, Bishop 2006, 2.3.3; the covariances are fitted to training people). Class and side, where
not given, are read from the cycle by a small head, the only part that is trained by gradients; everything else is fitted in
closed form or by k-means and lies in buffers.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .checked_model import CheckedModel
from .configuration_gait_vq import GaitVQConfig
from .gait_waves import GaitWaves, cycle_waves, fit_drift, fit_waves, from_channels, mirror_cycle, synthesise, to_channels
from .quantization import ProductQuantizer
from .sensor_noise import LEVELS, SensorNoise
from .skeletons import SKELETONS


@dataclass
class GaitVQEncoderOutput(ModelOutput):
    """`temporal_codes` (B, 4), `pathological_codes` (B, P), `spatial_codes` (B, S), `sensor_codes` (B, N), int64."""

    temporal_codes: torch.LongTensor | None = None
    pathological_codes: torch.LongTensor | None = None
    spatial_codes: torch.LongTensor | None = None
    sensor_codes: torch.LongTensor | None = None


@dataclass
class GaitVQOutput(ModelOutput):
    """`loss` scalar, cross-entropy of class and side, None without labels; `class_logits` (B, num_labels), both sides together;
    `reconstruction` (B, T, J, 3) [m] and the codes of `GaitVQEncoderOutput`, None while training."""

    loss: torch.FloatTensor | None = None
    class_logits: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    temporal_codes: torch.LongTensor | None = None
    pathological_codes: torch.LongTensor | None = None
    spatial_codes: torch.LongTensor | None = None
    sensor_codes: torch.LongTensor | None = None


@dataclass
class GaitParts:
    """The parts of walks: `person` and `pathology` (B, R, C) [m], whose sum is the cycle; `rhythm` (B, 6); `drift` (B, 3, C)
    [m]; `levels` (B, 8) of the noise [log m], None where the sensor is left out."""

    person: torch.Tensor
    pathology: torch.Tensor
    rhythm: torch.Tensor
    drift: torch.Tensor
    levels: torch.Tensor | None = None

    def waves(self, severity: torch.Tensor | float = 1.0) -> GaitWaves:
        """The walk with so much of its pathology; `severity` is a number or (B,)."""
        severity = torch.as_tensor(severity, dtype=self.person.dtype, device=self.person.device).reshape(-1, 1, 1)
        return GaitWaves(self.person + severity * self.pathology, self.drift, self.rhythm)


class GaitCodebooks(nn.Module):
    """What tokeniser and decoder share: the codebooks of all parts, and the noise."""

    def __init__(self, config: GaitVQConfig):
        super().__init__()
        self.skeleton, self.num_labels = SKELETONS[config.skeleton], config.num_labels
        self.normal = (config.label2id or {}).get("normal", -1)
        self.rows, self.channels = 1 + 2 * config.num_harmonics, 3 * len(self.skeleton)
        dim, size, own = self.rows * self.channels, config.codebook_size, config.pathological_components
        self.temporal = ProductQuantizer(6, 6, config.num_temporal_tokens, size)
        self.pathological = ProductQuantizer(own, own, config.num_pathological_tokens - 1, size)
        self.spatial = ProductQuantizer(dim, config.spatial_components, config.num_spatial_tokens, size)
        self.drift = ProductQuantizer(3 * self.channels, config.drift_components, config.num_sensor_tokens - 1, size)
        self.level = ProductQuantizer(LEVELS, LEVELS, 1, size)
        self.noise = SensorNoise(self.skeleton, config.num_frames)
        self.register_buffer("class_means", torch.zeros(config.num_labels, dim))
        self.register_buffer("pathological_basis", torch.zeros(dim, own))
        self.register_buffer("sign_range", torch.zeros(config.num_labels, 2))  # sign at severity 0 and 1; equal: unknown

    def scale(self) -> torch.Tensor:
        """(R, C): what coefficients are multiplied with before components are taken and squares compared.

        Squares of vectors are then squares of metres over time (waves count half), but for what is small and matters: hips,
        which move by millimetres when the pelvis drops; the ankles' way forward, which tells stance from swing; the waves of
        the path, which make the speed. The path's mean place is nothing.
        """
        skeleton, path = self.skeleton, slice(3 * self.skeleton.root, 3 * self.skeleton.root + 2)
        scale = self.class_means.new_full((self.rows, self.channels), 0.5**0.5)
        scale[0] = 1
        for joint, name in enumerate(skeleton.joint_names):
            if name.endswith("hip"):
                scale[:, 3 * joint : 3 * joint + 3] *= 5
            elif name.endswith("ankle"):
                scale[:, 3 * joint + 1] *= 1.3
        scale[:, path] *= 2
        scale[0, path] = 0
        return scale

    def to_vector(self, cycle: torch.Tensor) -> torch.Tensor:
        """Cycles (B, R, C) -> vectors (B, D), D = R C."""
        return (cycle * self.scale()).flatten(1)

    def to_cycle(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (B, D) -> cycles (B, R, C)."""
        scale = self.scale()
        return vectors.unflatten(1, (self.rows, self.channels)) * (scale > 0) / scale.clamp(min=1e-6)

    def pathology_vector(self, codes: torch.Tensor) -> torch.Tensor:
        """Pathological codes (B, P) -> vectors (B, D) as if all were affected on the right; 0 of normal gait."""
        label = codes[:, 0]
        if codes.numel() and (int(label.min()) < 0 or int(label.max()) >= 2 * self.num_labels):
            raise ValueError(f"class codes {int(label.min())}..{int(label.max())} outside 0..{2 * self.num_labels - 1}")
        label = label % self.num_labels
        vectors = self.class_means[label] + self.pathological.lookup(codes[:, 1:]) @ self.pathological_basis.T
        return vectors * (label != self.normal)[:, None]

    def pathology_cycle(self, codes: torch.Tensor) -> torch.Tensor:
        """Pathological codes (B, P) -> cycles (B, R, C), on the affected side."""
        return self.turned(self.to_cycle(self.pathology_vector(codes)), codes[:, 0] >= self.num_labels)

    def turned(self, cycle: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
        """Cycles (B, R, C), mirrored where `left` (B,)."""
        return torch.where(left[:, None, None], mirror_cycle(cycle, self.skeleton), cycle)

    def amount(self, codes: torch.Tensor) -> torch.Tensor:
        """How much of its class's mean pathology a walk has (B,): 1 is the mean of the training people; nan of normal gait."""
        means = self.class_means[codes[:, 0] % self.num_labels]
        return (self.pathology_vector(codes) * means).sum(1) / means.square().sum(1)

    def graded(self, codes: torch.Tensor, amount: torch.Tensor, own: float = 1.0) -> torch.Tensor:
        """Pathological codes (B, P) of as much pathology as `amount` (B,) says; nan, and normal gait, stays as it is.
        `own`: how much of the walk's own way of showing its class stays beside the mean of the class, 0 to 1."""
        way = self.pathological.lookup(codes[:, 1:])
        mean = self.class_means[codes[:, 0] % self.num_labels] @ self.pathological_basis
        now = 1 + own * (self.amount(codes) - 1)
        factor = (amount.to(now) / now.clamp(min=0.1))[:, None]
        way = factor * (own * way + mean) - mean
        same = ~torch.isfinite(factor)
        return torch.where(same, codes, torch.cat((codes[:, :1], self.pathological.encode(way.nan_to_num())), dim=1))

    def _bones(self, cycle: torch.Tensor) -> torch.Tensor:
        """Bones (B, R, J, 3) [m] of cycles: each joint's place less its parent's; the root's own slot stays."""
        slots, parents = cycle.unflatten(2, (-1, 3)), [max(p, 0) for p in self.skeleton.parents]
        from_root = slots.index_fill(2, torch.tensor(self.skeleton.root, device=slots.device), 0)
        bones = from_root - from_root[:, :, parents]
        return torch.cat([slots[:, :, [j]] if p < 0 else bones[:, :, [j]] for j, p in enumerate(self.skeleton.parents)], dim=2)

    def bone_lengths(self, cycle: torch.Tensor) -> torch.Tensor:
        """Mean length (B, J) [m] of each bone over cycles (B, R, C); 0 of the root."""
        phase = 2 * torch.pi * torch.arange(24, dtype=cycle.dtype, device=cycle.device) / 24
        along = torch.einsum("tr,brjc->btjc", cycle_waves(phase[None], self.rows // 2)[0], self._bones(cycle))
        is_bone = torch.tensor([float(p >= 0) for p in self.skeleton.parents]).to(cycle)
        return along.norm(dim=-1).mean(1) * is_bone

    def person_of(self, cycle: torch.Tensor, pathology: torch.Tensor) -> torch.Tensor:
        """Cycles (B, R, C) less their pathology, with bones as long as those of the cycles: the pathology changes none."""
        person = cycle - pathology
        ratio = self.bone_lengths(cycle) / self.bone_lengths(person).clamp(min=1e-6)
        is_bone = torch.tensor([p >= 0 for p in self.skeleton.parents], device=cycle.device)
        bones = self._bones(person) * torch.where(is_bone, ratio, 1)[:, None, :, None]
        out, root = [None] * len(self.skeleton), self.skeleton.root
        for j in self.skeleton.order:
            out[j] = bones[:, :, j] + (0 if self.skeleton.parents[j] in (-1, root) else out[self.skeleton.parents[j]])
        return torch.stack(out, dim=2).flatten(2)

    def lookup(
        self, temporal: torch.Tensor, pathological: torch.Tensor, spatial: torch.Tensor, sensor: torch.Tensor | None = None
    ) -> GaitParts:
        """Codes -> parts. Raises ValueError for codes of another kind, and of other walks."""
        given = [temporal, pathological, spatial] + ([] if sensor is None else [sensor])
        if not all(isinstance(c, torch.Tensor) and c.dtype == torch.long and c.ndim == 2 for c in given):
            raise ValueError("expected codes (B, tokens) as int64 tensors")
        if len({len(c) for c in given}) > 1:
            raise ValueError(f"expected codes of the same walks, got those of {', '.join(str(len(c)) for c in given)}")
        person = self.to_cycle(self.spatial.lookup(spatial))
        drift, levels = person.new_zeros(len(person), 3, self.channels), None
        if sensor is not None:
            drift = self.drift.lookup(sensor[:, :-1]).unflatten(1, (3, self.channels))
            levels = self.level.lookup(sensor[:, -1:])
        return GaitParts(person, self.pathology_cycle(pathological), self.temporal.lookup(temporal), drift, levels)

    def rest_vector(self) -> torch.Tensor:
        """Vector (D,) of the skeleton at rest, which does not walk."""
        rest, root = torch.from_numpy(self.skeleton.rest_positions).clone(), self.skeleton.root
        height = rest[root, 2] - rest[:, 2].min()
        rest = rest - rest[root]
        rest[root, 2] = height
        cycle = torch.zeros(1, self.rows, self.channels)
        cycle[0, 0] = rest.flatten()
        return self.to_vector(cycle.to(self.class_means))[0]


class GaitPreTrainedModel(CheckedModel):
    """Shared by the models of gait codes. Raises ValueError for a configuration of the codes of a latent step (version 1).

    Weights are float32 whatever `dtype` `from_pretrained` is asked for: half precision rounds metres, and what is solved for
    with them.
    """

    base_model_prefix = ""
    main_input_name = "joints"
    # all but the integers
    _keep_in_fp32_modules_strict = [r"^(?!.+\.group$)"]

    def __init__(self, config: GaitVQConfig):
        if hasattr(config, "downsampling"):
            raise ValueError(
                f"this {config.model_type} has the codes of version 1 (one for each {config.downsampling} frames), which are "
                "not read any more: train it anew with train/train_vq.py"
            )
        super().__init__(config)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            init.zeros_(module.bias)
        elif isinstance(module, ProductQuantizer):  # an orderly start without data: the first components, in equal groups
            dim, components = module.basis.shape
            init.zeros_(module.mean)
            init.copy_(module.basis, torch.eye(dim, components))
            init.copy_(module.group, torch.arange(components) * module.tokens // components)
            init.normal_(module.codebook, std=0.01)
        elif isinstance(module, SensorNoise):
            for buffer in (module.mix, module.spectrum, module.shape, module.spread):
                init.zeros_(buffer)
        elif isinstance(module, GaitCodebooks):
            init.zeros_(module.class_means)
            init.zeros_(module.pathological_basis)
            init.zeros_(module.sign_range)
            init.copy_(module.spatial.mean, module.rest_vector())


class GaitVQModel(GaitPreTrainedModel):
    """The pathology VQ tokeniser, always float32. See the head of this file; `fit_parts` of training/fit_parts.py fits its
    buffers."""

    config_class = GaitVQConfig

    def __init__(self, config: GaitVQConfig):
        super().__init__(config)
        self.codebooks = GaitCodebooks(config)
        dim, own = self.codebooks.class_means.shape[1], config.pathological_components
        self.half = config.num_frames / 2 / config.fps
        self.register_buffer("person_mean", torch.zeros(dim))
        self.register_buffer("gain", torch.zeros(own, dim))
        self.register_buffer("gain_known", torch.zeros(own, dim))
        self.register_buffer("head_basis", torch.zeros(dim, config.head_components))
        self.register_buffer("head_rhythm", torch.zeros(2, 2))
        width = config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(config.head_components + 2, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, 2 * config.num_labels)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            for name in ("person_mean", "gain", "gain_known", "head_basis", "head_rhythm"):
                init.zeros_(getattr(self, name))

    def _inputs(self, joints: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints and mask in the precision of the model, 0 where it says so; no mask: all frames."""
        mask = self._mask(joints, attention_mask)
        return joints.to(self.person_mean.dtype).masked_fill(mask[..., None, None] == 0, 0), mask.to(self.person_mean.dtype)

    @staticmethod
    def _mask(joints: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The mask, by default of all frames. Raises ValueError for what is no tensor of one walk or more."""
        if not isinstance(joints, torch.Tensor) or joints.ndim != 4:
            raise ValueError(f"expected joints (B, T, J, 3) as a tensor, got {_told(joints)}")
        if attention_mask is None:
            return joints.new_ones(joints.shape[:2])
        if not isinstance(attention_mask, torch.Tensor) or attention_mask.shape != joints.shape[:2]:
            raise ValueError(f"expected attention_mask {tuple(joints.shape[:2])} as a tensor, got {_told(attention_mask)}")
        return attention_mask

    @staticmethod
    def _check_labels(labels: torch.Tensor | None, count: int) -> None:
        """Raises ValueError for labels that are not one whole number for each walk."""
        if labels is not None and not (
            isinstance(labels, torch.Tensor) and labels.shape == (count,) and labels.dtype == torch.long
        ):
            raise ValueError(f"labels: expected ({count},) as an int64 tensor, got {_told(labels)}")

    def waves(self, joints: torch.Tensor, attention_mask: torch.Tensor | None = None) -> GaitWaves:
        """Joints (B, T, J, 3) [m] -> cycle, drift and rhythm. Raises ValueError for another shape."""
        config, mask = self.config, self._mask(joints, attention_mask)
        return fit_waves(joints, mask, self.codebooks.skeleton, config.fps, config.num_frames, config.num_harmonics)

    def logits(self, waves: GaitWaves) -> torch.Tensor:
        """Of class and side (B, 2 L): the classes, affected on the right or without a side, then those affected on the left."""
        z = (self.codebooks.to_vector(waves.cycle) - self.person_mean) @ self.head_basis
        rhythm = (waves.rhythm[:, :2] - self.head_rhythm[0]) * self.head_rhythm[1]
        return self.head(torch.cat((z, rhythm), dim=1).to(self.head[0].weight.dtype)).float()

    def normal_cycle(self, joints: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Mean cycle (R, C) of normal walks (B, T, J, 3) of one person, for `encode`."""
        return self.waves(joints, attention_mask).cycle.mean(0)

    @torch.no_grad()
    def encode(
        self,
        joints: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        normal: torch.Tensor | None = None,
    ) -> GaitVQEncoderOutput:
        """Walks -> codes.

        Args:
            joints: (B, T, J, 3) [m]; attention_mask: (B, T).
            labels: (B,) class, plus `num_labels` where the left side is affected; below 0, or None: read from the walk.
            normal: (R, C) or (B, R, C), the normal cycle of the person (`normal_cycle`); None: estimated.

        Raises: ValueError for another shape or kind, joints that are not finite, a walk of less than two valid frames, or valid
            frames that are not the first ones.
        """
        joints, mask = self._inputs(joints, attention_mask)
        waves = self.waves(joints, mask)
        return self.encode_waves(waves, to_channels(joints, self.codebooks.skeleton), mask, labels, normal)

    @torch.no_grad()
    def encode_waves(self, waves: GaitWaves, channels, mask, labels=None, normal=None) -> GaitVQEncoderOutput:
        """As `encode`, where the waves are known; `channels` (B, T, C) of `to_channels`."""
        books, config = self.codebooks, self.config
        self._check_labels(labels, len(waves.cycle))
        if normal is not None and (
            not isinstance(normal, torch.Tensor) or normal.shape not in (waves.cycle.shape, waves.cycle.shape[1:])
        ):
            raise ValueError(f"normal: expected {tuple(waves.cycle.shape[1:])} or one for each walk, got {_told(normal)}")
        said = self.logits(waves).argmax(1)
        labels = said if labels is None else torch.where(labels >= 0, labels, said)
        pathological = torch.cat((labels[:, None], books.pathological.encode(self.own_way(waves.cycle, labels, normal))), dim=1)
        pathology = books.pathology_cycle(pathological)
        spatial = books.spatial.encode(books.to_vector(books.person_of(waves.cycle, pathology)))
        temporal = books.temporal.encode(waves.rhythm)
        person, rhythm = books.to_cycle(books.spatial.lookup(spatial)), books.temporal.lookup(temporal)
        place = slice(3 * books.skeleton.root, 3 * books.skeleton.root + 2)
        drift = fit_drift(channels, mask, person + pathology, rhythm, config.num_frames, self.half)
        drift[:, 0, place] = 0
        missed = channels - synthesise(waves, mask, books.skeleton, config.num_frames, self.half)
        sensor = torch.cat((books.drift.encode(drift.flatten(1)), books.level.encode(books.noise.levels(missed, mask))), dim=1)
        return GaitVQEncoderOutput(temporal, pathological, spatial, sensor)

    def own_way(self, cycle: torch.Tensor, labels: torch.Tensor, normal: torch.Tensor | None = None) -> torch.Tensor:
        """Coordinates (B, pathological_components) of what a walk's pathology has beside the mean of its class."""
        books = self.codebooks
        left, label = labels >= self.config.num_labels, labels % self.config.num_labels
        vectors = books.to_vector(books.turned(cycle, left))
        base, gain = self.person_mean, self.gain
        if normal is not None:
            base = books.to_vector(books.turned(normal.expand_as(cycle), left))
            gain = self.gain_known
        return (vectors - base - books.class_means[label]) @ gain.T * (label != books.normal)[:, None]

    def decode(
        self,
        temporal_codes: torch.Tensor,
        pathological_codes: torch.Tensor,
        spatial_codes: torch.Tensor,
        sensor_codes: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Codes -> joints (B, T, J, 3) [m] as waves alone, without a skeleton or noise. Raises ValueError where the
        valid frames of the mask (B, T) are not the first ones."""
        parts = self.codebooks.lookup(temporal_codes, pathological_codes, spatial_codes, sensor_codes)
        mask = attention_mask
        if mask is None:
            mask = parts.person.new_ones(len(parts.person), self.config.num_frames)
        skeleton = self.codebooks.skeleton
        return from_channels(
            synthesise(parts.waves(), mask.to(parts.person.dtype), skeleton, self.config.num_frames, self.half), skeleton
        )

    @can_return_tuple
    def forward(
        self,
        joints: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        waves: GaitWaves | None = None,
    ) -> GaitVQOutput:
        """Class and side of walks; beside training their codes and reconstruction too.

        Args:
            joints: (B, T, J, 3) [m]; attention_mask: (B, T).
            labels: (B,) class, plus `num_labels` where the left side is affected, -100 where unknown; for the loss alone.
            waves: of the walks, instead of joints; then only the class is read.

        Raises: ValueError for another shape, neither joints nor waves, or valid frames that are not the first ones.
        """
        known = self.waves(joints, attention_mask) if waves is None else waves
        self._check_labels(labels, len(known.cycle))
        logits = self.logits(known)
        output = GaitVQOutput(class_logits=logits.unflatten(1, (2, -1)).logsumexp(1))
        if labels is not None:
            total = nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
            output.loss = total / (labels != -100).sum().clamp(min=1)
        if waves is None and not self.training:
            joints, mask = self._inputs(joints, attention_mask)
            codes = self.encode_waves(known, to_channels(joints, self.codebooks.skeleton), mask)
            for name, value in codes.items():
                output[name] = value
            output.reconstruction = self.decode(**codes, attention_mask=mask)
        return output


def _told(value: object) -> str:
    """What an argument is: its type, dtype and shape."""
    shape = tuple(value.shape) if hasattr(value, "shape") else ""
    return f"{type(value).__name__} {getattr(value, 'dtype', '')} {shape}".strip()


GaitVQModel.register_for_auto_class("AutoModel")

__all__ = ["GaitCodebooks", "GaitParts", "GaitVQEncoderOutput", "GaitVQModel", "GaitVQOutput"]
