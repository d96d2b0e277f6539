"""Gait classifiers: GRU, LSTM, temporal CNN and a spatio-temporal graph network behind one interface.

In: root-relative joint positions in metres, flattened per frame, (B, T, F = J*3), and an optional mask (B, T) of valid frames.
Out: logits (B, num_labels) and a pooled embedding (B, hidden_size).
`prepare_classifier_input` makes the input of the baseline from whole walks (T, J, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .checked_model import CheckedModel
from .configuration_gait_classifier import GaitClassifierConfig
from .skeletons import SKELETONS, Skeleton, check_metres


@dataclass
class GaitClassifierOutput(ModelOutput):
    """Output of `GaitForSequenceClassification`.

    Attributes:
        loss: scalar, mean cross-entropy; only when labels were given.
        logits: (B, num_labels).
        embedding: (B, hidden_size), the mean over valid frames of the last layer; what the head reads.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    embedding: torch.Tensor | None = None


def prepare_classifier_input(joints: Sequence[np.ndarray], frames: int = 64, root: int = 0) -> np.ndarray:
    """Whole walks as the fixed-length input of the baseline classifier.

    Each walk is taken relative to its root joint, frame by frame, and resampled linearly to `frames` frames, first and last
    frame included.

    Args:
        joints: N walks (T_n, J, 3) [m], finite; lengths may differ.
        frames: frames of the result.
        root: index of the root joint.

    Returns: float32 (N, frames, J*3) [m].

    Raises:
        ValueError: no walk; a walk of another shape than the first, empty, in another unit than metres, or with values that
            are not finite.
    """
    if len(joints) == 0:
        raise ValueError("expected at least one walk, got none")
    num_joints = np.shape(joints[0])[1] if np.ndim(joints[0]) == 3 else -1
    out = np.empty((len(joints), frames, num_joints * 3 if num_joints > 0 else 0), np.float32)
    for n, walk in enumerate(joints):
        walk = np.asarray(walk, np.float32)
        if walk.ndim != 3 or walk.shape[1:] != (num_joints, 3) or len(walk) == 0:
            raise ValueError(f"walk {n}: expected joints (T >= 1, J, 3) with the same J for all, got shape {walk.shape}")
        if not np.isfinite(walk).all():
            raise ValueError(f"walk {n} holds values that are not finite; clean it first (modeling_gait.cleaning)")
        check_metres(walk, f"joints of walk {n}")
        walk = (walk - walk[:, root : root + 1]).reshape(len(walk), -1)
        at = np.linspace(0, len(walk) - 1, frames, dtype=np.float32)
        before = at.astype(int)
        after = np.minimum(before + 1, len(walk) - 1)
        weight = (at - before)[:, None]
        out[n] = walk[before] * (1 - weight) + walk[after] * weight
    return out


def _mask_frames(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Zero the frames of x (B, T, ...) where mask (B, T) is False."""
    return x if mask is None else x * mask.reshape(*mask.shape, *[1] * (x.ndim - 2)).to(x.dtype)


class FrameNorm(nn.BatchNorm1d):
    """Batch norm of x (B, T, ..., C) over its channels; in training, masked frames stay out of the statistics."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if mask is None or not self.training:
            return super().forward(x.flatten(0, -2)).view_as(x)
        valid = x[mask]
        out = torch.zeros_like(x)
        out[mask] = super().forward(valid.flatten(0, -2)).view_as(valid)
        return out


class RecurrentBackbone(nn.Module):
    """Plain unidirectional GRU or LSTM: (B, T, F) -> (B, T, hidden_size)."""

    def __init__(self, config: GaitClassifierConfig):
        super().__init__()
        layer = {"gru": nn.GRU, "lstm": nn.LSTM}[config.architecture]
        dropout = config.dropout if config.num_layers > 1 else 0.0
        self.layers = layer(config.num_features, config.hidden_size, config.num_layers, batch_first=True, dropout=dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.layers(x)[0], mask  # valid frames come first, so what follows them cannot reach them


class ConvBlock(nn.Module):
    """Pre-activated residual block (He et al. 2016, arXiv 1603.05027) that halves the frames: (B, T, C) -> (B, T/2, C)."""

    def __init__(self, channels: int, kernel_size: int, dropout: float):
        super().__init__()
        self.norm1 = FrameNorm(channels)
        self.conv1 = nn.Conv1d(channels, channels, kernel_size, stride=2, padding=kernel_size // 2)
        self.norm2 = FrameNorm(channels)
        self.conv2 = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        y = _mask_frames(F.gelu(self.norm1(x, mask)), mask)
        y = self.conv1(y.transpose(1, 2)).transpose(1, 2)
        mask = None if mask is None else mask[:, ::2]
        y = _mask_frames(F.gelu(self.norm2(y, mask)), mask)
        y = self.conv2(y.transpose(1, 2)).transpose(1, 2)
        return x[:, ::2] + self.dropout(y), mask


class ConvBackbone(nn.Module):
    """Temporal ResNet: (B, T, F) -> (B, T / 2^num_layers, hidden_size)."""

    def __init__(self, config: GaitClassifierConfig):
        super().__init__()
        k = config.kernel_size
        self.stem = nn.Conv1d(config.num_features, config.hidden_size, k, padding=k // 2)
        self.blocks = nn.ModuleList(ConvBlock(config.hidden_size, k, config.dropout) for _ in range(config.num_layers))
        self.norm = FrameNorm(config.hidden_size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = self.stem(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x, mask = block(x, mask)
        return F.gelu(self.norm(x, mask)), mask


def skeleton_adjacency(skeleton: Skeleton) -> torch.Tensor:
    """(3, J, J): each joint's links to itself, its parent and its children, divided by the number of links of the source joint.

    The spatial-configuration partition of ST-GCN (Yan et al. 2018, arXiv 1801.07455, section 3.3) with the root as the centre.
    """
    size = len(skeleton)
    to_parent = torch.zeros(size, size)
    for j, p in enumerate(skeleton.parents):
        if p >= 0:
            to_parent[j, p] = 1
    parts = torch.stack((torch.eye(size), to_parent, to_parent.T))
    return parts / parts.sum(dim=(0, 1))


class GraphBlock(nn.Module):
    """Spatio-temporal graph convolution (Yan et al. 2018, arXiv 1801.07455) that halves the frames.

    (B, T, J, C) -> (B, T/2, J, D).
    """

    def __init__(self, inputs: int, outputs: int, adjacency: torch.Tensor, kernel_size: int, dropout: float):
        super().__init__()
        self.register_buffer("adjacency", adjacency.clone())
        self.edge_importance = nn.Parameter(torch.ones_like(adjacency))
        self.spatial = nn.Linear(inputs * len(adjacency), outputs)
        self.norm1 = FrameNorm(outputs)
        self.temporal = nn.Conv2d(outputs, outputs, (kernel_size, 1), stride=(2, 1), padding=(kernel_size // 2, 0))
        self.norm2 = FrameNorm(outputs)
        self.skip = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        edges = (self.adjacency * self.edge_importance).to(x.dtype)
        neighbours = torch.einsum("kij,btjc->btikc", edges, x).flatten(-2)
        y = _mask_frames(F.gelu(self.norm1(self.spatial(neighbours), mask)), mask)
        y = self.temporal(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        mask = None if mask is None else mask[:, ::2]
        return F.gelu(self.skip(x[:, ::2]) + self.dropout(self.norm2(y, mask))), mask


class GraphBackbone(nn.Module):
    """Small ST-GCN: (B, T, F) -> joints averaged, (B, T / 2^(num_layers + 1), hidden_size)."""

    def __init__(self, config: GaitClassifierConfig):
        super().__init__()
        self.num_joints = config.num_joints
        adjacency = skeleton_adjacency(SKELETONS[config.skeleton])
        widths = [config.num_features // config.num_joints, config.hidden_size // 4]
        widths += [config.hidden_size // 2] * config.num_layers
        self.blocks = nn.ModuleList(
            GraphBlock(a, b, adjacency, config.kernel_size, config.dropout) for a, b in zip(widths[:-1], widths[1:])
        )
        self.project = nn.Linear(widths[-1], config.hidden_size)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = x.unflatten(-1, (self.num_joints, -1))
        for block in self.blocks:
            x, mask = block(x, mask)
        return F.gelu(self.project(x)).mean(dim=2), mask


BACKBONES = {"gru": RecurrentBackbone, "lstm": RecurrentBackbone, "cnn": ConvBackbone, "graph": GraphBackbone}


class GaitForSequenceClassification(CheckedModel):
    """Classifies walks. With the default configuration: the baseline GRU, two plain layers of 128, mean-pooled over frames.

    Inputs are normalised inside, by the per-feature mean and standard deviation given to `set_normalization`; they are saved
    with the weights, so a checkpoint takes metres.
    """

    config_class = GaitClassifierConfig
    base_model_prefix = "backbone"
    main_input_name = "input_values"
    accepts_loss_kwargs = False  # the loss is a mean over the batch

    def __init__(self, config: GaitClassifierConfig):
        super().__init__(config)
        self.register_buffer("input_mean", torch.zeros(config.num_features))
        self.register_buffer("input_std", torch.ones(config.num_features))
        self.backbone = BACKBONES[config.architecture](config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation, which transformers replaces otherwise and which it lacks for nn.GRU."""
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)):
            module.reset_parameters()
        elif isinstance(module, FrameNorm):
            super()._init_weights(module)
        elif isinstance(module, GraphBlock):
            init.copy_(module.adjacency, skeleton_adjacency(SKELETONS[self.config.skeleton]))
            init.ones_(module.edge_importance)
        elif module is self:
            init.zeros_(self.input_mean)
            init.ones_(self.input_std)

    def set_normalization(self, mean: np.ndarray | torch.Tensor, std: np.ndarray | torch.Tensor) -> None:
        """Set the per-feature normalisation, from the training set only.

        Args:
            mean: (F,) in the unit of the input.
            std: (F,), same unit; a feature that does not vary (std below 1e-6, such as the root relative to itself) gets 1.

        Raises:
            ValueError: wrong shape, values that are not finite, or a negative std.
        """
        mean = torch.as_tensor(mean, dtype=self.input_mean.dtype)
        std = torch.as_tensor(std, dtype=self.input_std.dtype)
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != self.input_mean.shape:
                raise ValueError(f"{name}: expected shape {tuple(self.input_mean.shape)}, got {tuple(value.shape)}")
            if not torch.isfinite(value).all():
                raise ValueError(f"{name} holds values that are not finite")
        if (std < 0).any():
            raise ValueError("std holds negative values")
        self.input_mean.copy_(mean)
        self.input_std.copy_(torch.where(std < 1e-6, torch.ones_like(std), std))

    @can_return_tuple
    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> GaitClassifierOutput:
        """Classify a batch of walks.

        Args:
            input_values: (B, T, F) root-relative joint positions [m], flattened joint by joint, finite.
            attention_mask: (B, T), non-zero where a frame counts. Frames that do not count are left out, wherever they stand:
                they change nothing, and the result is that of the walk without them. A walk without any gets a zero embedding.
            labels: (B,) class indices, or (B, num_labels) class probabilities.

        Raises:
            ValueError: input or mask of another shape, or no frame.
        """
        if input_values.ndim != 3 or input_values.shape[-1] != self.config.num_features:
            raise ValueError(f"input_values: expected (B, T, {self.config.num_features}), got {tuple(input_values.shape)}")
        if not input_values.shape[1]:
            raise ValueError("input_values: walks of no frame, expected one frame or more")
        x = ((input_values - self.input_mean) / self.input_std).to(self.head.weight.dtype)
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != input_values.shape[:2]:
                raise ValueError(f"attention_mask: expected {tuple(input_values.shape[:2])}, got {tuple(attention_mask.shape)}")
            mask = attention_mask.bool()
            order = torch.argsort(mask, dim=1, descending=True, stable=True)  # valid frames first, in their order
            mask = mask.gather(1, order)
            x = x.masked_fill(~attention_mask.bool()[..., None], 0).gather(1, order[..., None].expand_as(x))
        features, mask = self.backbone(x, mask)
        if mask is None:
            embedding = features.mean(dim=1)
        else:
            embedding = _mask_frames(features, mask).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        logits = self.head(self.dropout(embedding))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return GaitClassifierOutput(loss=loss, logits=logits, embedding=embedding)


GaitForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = ["GaitForSequenceClassification", "GaitClassifierOutput", "prepare_classifier_input", "skeleton_adjacency"]
