"""Which frames and joints a class of a walk hangs on: gradient x input of a classifier, averaged over noisy copies.

In: a classifier that takes `input_values` (B, T, F), root-relative joints [m] flattened per frame (other features may follow),
or `pixel_values` (B, T, 3, H, W), or both, and gives `logits` (B, K). Out: `Saliency`.

The gradient is that of the class's log-odds against the other classes (that of a probability vanishes where the model is sure).
Joints are counted from their training mean where the model keeps one (`input_mean`), else from 0. Averaging over copies with
noise is SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825). It shows what the model used, not what is ill.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .skeletons import SKELETONS


@dataclass(frozen=True)
class Saliency:
    """Shares of the attribution, each row summing to 1 (0 where the class hangs on nothing).

    Attributes:
        labels: (B,) the classes that were asked for.
        frames: (B, T) of the skeleton's frames; of the video's where there is no skeleton.
        joints: (B, J) of the skeleton's joints; None without a skeleton.
        pixels: (B, T, H, W) of the video; None without one. Its sum over a frame is that frame's share.
    """

    labels: np.ndarray
    frames: np.ndarray
    joints: np.ndarray | None = None
    pixels: np.ndarray | None = None


def saliency(
    model: nn.Module,
    label: int | str | torch.Tensor | None = None,
    samples: int = 8,
    noise: float = 0.1,
    seed: int = 0,
    **inputs: torch.Tensor,
) -> Saliency:
    """What each walk's class hangs on.

    Args:
        model: in evaluation mode, such as `GaitForSequenceClassification`.
        label: a class of the model by index or name, or (B,) indices; by default the one that the model says.
        samples: noisy copies that are averaged; 1 is plain gradient x input.
        noise: of the copies, in standard deviations of the input.
        inputs: of the model's forward, `input_values` and `pixel_values` among them; the others are passed on as they are.

    Raises:
        ValueError: neither of the two inputs, an unknown class, samples < 1, or a model in training mode.
    """
    values = {k: inputs[k] for k in ("input_values", "pixel_values") if inputs.get(k) is not None}
    if not values:
        raise ValueError(f"expected input_values or pixel_values, got {', '.join(inputs) or 'nothing'}")
    if samples < 1 or noise < 0:
        raise ValueError(f"samples must be at least 1 and noise not negative, got {samples} and {noise}")
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    others = {k: v for k, v in inputs.items() if k not in values}
    with torch.no_grad():
        logits = model(**inputs).logits
    labels = _labels(label, logits, model)
    generator = torch.Generator().manual_seed(seed)
    total = {k: torch.zeros_like(v, dtype=torch.float32) for k, v in values.items()}
    for i in range(samples):
        copies = {k: _noisy(v.float(), noise if i else 0.0, generator).requires_grad_() for k, v in values.items()}
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN's GRU has no gradient in evaluation mode
            score = _log_odds(model(**copies, **others).logits.float(), labels).sum()
            gradients = torch.autograd.grad(score, list(copies.values()))
        for k, gradient in zip(copies, gradients):
            total[k] += gradient * (copies[k].detach() - (_reference(model, copies[k]) if k == "input_values" else 0)) / samples
    return _shares(total, labels, _num_joints(model, values.get("input_values")))


def _labels(label, logits: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """Class indices (B,)."""
    count = logits.shape[-1]
    if label is None:
        return logits.argmax(-1)
    if isinstance(label, str):
        names = model.config.label2id
        if label not in names:
            raise ValueError(f"unknown class {label!r}; expected one of {', '.join(names)}")
        label = names[label]
    labels = torch.as_tensor(label, device=logits.device).long().expand(len(logits))
    if labels.min() < 0 or labels.max() >= count:
        raise ValueError(f"label: expected 0..{count - 1}, got {labels.tolist()}")
    return labels


def _log_odds(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(B, K) -> (B,): log p / (1 - p) of each label; the logit itself where there is one class only."""
    own = logits.gather(1, labels[:, None])[:, 0]
    if logits.shape[1] == 1:
        return own
    return own - logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)


def _noisy(x: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    x = x.detach().clone()
    return x + noise * x.std() * torch.randn(x.shape, generator=generator).to(x.device) if noise else x


def _reference(model: nn.Module, x: torch.Tensor) -> torch.Tensor | float:
    """The training mean (F,) of the network that reads the skeleton; 0 where no module keeps one of that size."""
    found = (b for name, b in model.named_buffers() if name.split(".")[-1] == "input_mean" and b.shape == x.shape[-1:])
    return next(found, 0.0)


def _num_joints(model: nn.Module, x: torch.Tensor | None) -> int:
    """Joints at the head of the features: those of the configuration's skeleton, else all."""
    if x is None:
        return 0
    config = getattr(model, "config", None)
    name = getattr(getattr(config, "skeleton_config", None) or config, "skeleton", None)
    return len(SKELETONS[name]) if name in SKELETONS else x.shape[-1] // 3


def _shares(total: dict[str, torch.Tensor], labels: torch.Tensor, joints: int) -> Saliency:
    parts = {}
    if "pixel_values" in total:
        pixels = total["pixel_values"].sum(2).abs()  # (B, T, H, W)
        parts["pixels"] = _normalised(pixels)
        parts["frames"] = parts["pixels"].sum((2, 3))
    if "input_values" in total:
        walk = total["input_values"][..., : 3 * joints].unflatten(-1, (joints, 3)).sum(-1).abs()  # (B, T, J)
        parts["joints"] = _normalised(walk.sum(1))
        rest = total["input_values"][..., 3 * joints :].abs().sum(-1)
        parts["frames"] = _normalised(walk.sum(2) + rest)
    return Saliency(labels=labels.cpu().numpy(), **{k: v.cpu().numpy() for k, v in parts.items()})


def _normalised(x: torch.Tensor) -> torch.Tensor:
    """Each row of (B, ...) divided by its sum."""
    return x / x.flatten(1).sum(1).clamp(min=1e-20).reshape(-1, *[1] * (x.ndim - 1))


__all__ = ["Saliency", "saliency"]
