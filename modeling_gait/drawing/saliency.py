"""Pictures of a saliency: poses of a walk or frames of a video, coloured by their shares, above the share of each moment.

In: shares of `saliency.Saliency` of one walk. Out: a PNG, PDF or SVG.
"""

from pathlib import Path

import numpy as np

from ..files import atomic_path
from ..skeletons import KINECT_V2, Skeleton, check_walk


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


__all__ = ["plot_saliency", "plot_video_saliency"]
