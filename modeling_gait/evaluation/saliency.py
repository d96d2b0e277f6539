"""Which frames and joints a class of a walk hangs on: gradient x input of a classifier, averaged over noisy copies.

In: a classifier that takes `input_values` (B, T, F), root-relative joints [m] flattened per frame (other features may follow),
or `pixel_values` (B, T, 3, H, W), or both, and gives `logits` (B, K). Out: `Saliency`; pictures.

The gradient is that of the class's log-odds against the other classes (that of a probability vanishes where the model is sure).
Joints are counted from their training mean where the model keeps one (`input_mean`), else from 0. Averaging over copies with
noise is SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825). It shows what the model used, not what is ill.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..files import atomic_path
from ..skeletons import KINECT_V2, SKELETONS, Skeleton, check_walk


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
        model: in evaluation mode, such as `GaitClassifierForSequenceClassification`.
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


def plot_saliency(
    path: str | Path,
    frames: np.ndarray,
    joints: np.ndarray,
    walk: np.ndarray,
    fps: float = 30.0,
    skeleton: Skeleton = KINECT_V2,
    poses: int = 5,
    title: str | None = None,
) -> None:
    """Poses of a walk, the joints coloured by their share, above the share of each moment; PNG, PDF or SVG.

    Args:
        frames: (T',) shares of one walk's frames, spread over the whole walk.
        joints: (J,) shares of its joints.
        walk: (T, J, 3) [m] along +y.

    Raises ValueError: shapes that do not fit, or another suffix.
    """
    walk = check_walk(walk, fps, skeleton)
    frames, joints = np.asarray(frames, np.float64), np.asarray(joints, np.float64)
    if frames.ndim != 1 or not len(frames) or joints.shape != (len(skeleton),):
        raise ValueError(f"expected shares (T,) and ({len(skeleton)},), got {frames.shape} and {joints.shape}")
    figure, (top, low, bar) = _panels(path, title)
    seconds, height = len(walk) / fps, walk[..., 2] - np.nanmin(walk[..., 2])
    _time_bar(low, frames, seconds)
    top.set(xlim=(0, seconds), ylim=(-0.08, np.nanmax(height) + 0.1), xticks=[], yticks=[])
    top.spines[:].set_visible(False)
    order = np.argsort(joints)[::-1][:6][::-1]
    colours = _colours(joints / max(joints.max(), 1e-12))
    bar.barh([skeleton.joint_names[j].replace("_", " ") for j in order], 100 * joints[order], color=colours[order])
    bar.set_title("Joints, share [%]", fontsize=11)
    figure.draw_without_rendering()  # the layout says how many seconds are as wide as a metre is high
    box = top.get_window_extent()
    metre = box.height / np.ptp(top.get_ylim()) * seconds / box.width
    for moment in (np.arange(poses) + 0.5) / poses * seconds:
        t = min(int(moment * fps), len(walk) - 1)
        x = moment + metre * (walk[t, :, 1] - np.nanmedian(walk[t, :, 1]))
        for j, parent in enumerate(skeleton.parents):
            if parent >= 0:
                top.plot(x[[j, parent]], height[t, [j, parent]], color="#BDBDBD", lw=2.2, solid_capstyle="round", zorder=1)
        top.scatter(x, height[t], s=5 + 70 * joints / max(joints.max(), 1e-12), c=colours, ec="#666666", lw=0.3, zorder=2)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def plot_video_saliency(
    path: str | Path, pixels: np.ndarray, video: np.ndarray, fps: float = 30.0, poses: int = 5, title: str | None = None
) -> None:
    """Frames of a video under the heat of their pixels' shares, above the share of each moment; PNG, PDF or SVG.

    Args:
        pixels: (T, H, W) shares of one video.
        video: (T, H, W, 3), 0..1 or 0..255.

    Raises ValueError: shapes that do not fit, or another suffix.
    """
    from scipy.ndimage import gaussian_filter

    pixels, video = np.asarray(pixels, np.float64), np.asarray(video, np.float64)
    if pixels.ndim != 3 or video.shape != (*pixels.shape, 3) or not pixels.size:
        raise ValueError(f"expected shares (T, H, W) and a video (T, H, W, 3), got {pixels.shape} and {video.shape}")
    figure, (top, low, bar) = _panels(path, title, height=3.0)
    chosen = np.linspace(0, len(video) - 1, min(poses, len(video)) + 2).round().astype(int)[1:-1]
    heat = gaussian_filter(pixels, (1, 0.03 * pixels.shape[1], 0.03 * pixels.shape[2]))
    heat = np.concatenate(heat[chosen] / max(heat.mean(), 1e-20) - 1, axis=1)  # above an even spread
    grey = video[chosen].mean(-1) / (255 if video.max() > 1.5 else 1)
    top.imshow(np.concatenate(grey, axis=1), cmap="gray", vmin=0, vmax=1.2)
    strength = np.clip(heat / max(np.percentile(heat, 99.5), 1e-12), 0, 1)
    top.imshow(strength, cmap="YlOrRd", vmin=0, vmax=1, alpha=0.8 * strength)
    top.axis("off")
    _time_bar(low, pixels.sum((1, 2)), len(video) / fps)
    rows = gaussian_filter(pixels.sum((0, 2)), 0.03 * pixels.shape[1])
    bar.plot(100 * rows / max(rows.sum(), 1e-12), np.linspace(0, 1, len(rows)), color="#B30000")
    bar.set_title("Height in the picture,\nshare [%]", fontsize=11)
    bar.set(ylim=(1, 0), yticks=[0, 1], yticklabels=["top", "bottom"], xlim=(0, None))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _panels(path: str | Path, title: str | None, height: float = 3.9):
    from matplotlib.figure import Figure

    if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{path}: expected a picture .png, .pdf or .svg")
    figure = Figure(figsize=(8.0, height), layout="constrained")
    axes = figure.subplot_mosaic([["poses", "bar"], ["time", "bar"]], height_ratios=(3, 1), width_ratios=(3.2, 1))
    for ax in axes.values():
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=10)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, (axes["poses"], axes["time"], axes["bar"])


def _colours(strength: np.ndarray) -> np.ndarray:
    """(N,) of 0..1 -> (N, 4) pale yellow to dark red."""
    from matplotlib import colormaps

    return colormaps["YlOrRd"](0.08 + 0.92 * strength)


def _time_bar(ax, frames: np.ndarray, seconds: float) -> None:
    """Shares of the moments as a multiple of an even spread."""
    relative = frames * len(frames)
    left = np.linspace(0, seconds, len(frames), endpoint=False)
    ax.bar(left, relative, seconds / len(frames), align="edge", color=_colours(relative / max(relative.max(), 1e-12)))
    ax.axhline(1, color="#4D4D4D", lw=0.8, ls=(0, (4, 3)))
    ax.set(xlim=(0, seconds), xlabel="time [s]", ylabel="share\n(even = 1)")


__all__ = ["Saliency", "plot_saliency", "plot_video_saliency", "saliency"]
