"""Pictures of walks: animations (GIF, MP4), pose strips, joint-angle curves.

In: joints (T, J, 3) in metres (x right, y forward, z up), nan where missing. Out: a picture file. Left is blue, right is
orange (Okabe & Ito's colours, told apart by colour-blind people). Animations are drawn with Pillow, figures with matplotlib.
"""

import base64
import html
import tempfile
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..cleaning import bridged
from ..files import atomic_path
from ..gait_events import detect_gait_events
from ..gait_parameters import without_side
from ..kinematics import joint_angles
from ..loading import Walk
from ..simulation.gait_curves import NORMAL, curve_values, fourier
from ..skeletons import KINECT_V2, Skeleton, check_walk, known_skeleton
from ..video import write_video
from .video_rendering import render_video  # noqa: F401  (also found here)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

SIDE_COLOURS = {"left": "#0072B2", "right": "#D55E00", "centre": "#4D4D4D"}
LABEL_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
VIEWS = {"front": 0.0, "oblique": 50.0, "side": 90.0, "back": 180.0}  # where the camera stands, from +y towards +x [deg]

_DISTANCE, _HEIGHT = 5.0, 2.35  # of the camera from the walker, and of the scene it sees there [m]
_BACKGROUND, _FLOOR, _GRID, _SHADOW, _INK = (255, 255, 255), (244, 244, 241), (222, 222, 217), (208, 208, 203), (60, 60, 60)
_THIN = ("hand", "thumb", "eye", "ear", "nose")


# ---------------------------------------------------------------- animation


def render_animation(
    walks: np.ndarray | Walk | list[np.ndarray | Walk],
    path: str | Path,
    fps: float = 30.0,
    skeleton: Skeleton = KINECT_V2,
    titles: list[str] | None = None,
    view: str | tuple[float, float] = "oblique",
    size: tuple[int, int] = (320, 400),
) -> None:
    """Write an animated stick figure, or several side by side, seen by a camera that follows the pelvis.

    Args:
        walks: joints (T, J, 3) [m], a `Walk` (which brings its own frame rate and skeleton), or a list of them.
            A walk that ends earlier holds its last pose.
        path: ends in .gif (loops) or .mp4 (needs PyAV).
        fps: frame rate of the picture and of arrays. A GIF shows at most 50 frames per second, the rest is skipped.
        titles: a text above each walk, wrapped to its width.
        view: one of `VIEWS`, or (azimuth, elevation) of the camera [deg]; azimuth 0 is in front (+y), 90 on the right (+x).
        size: width and height of each walk's picture [pixels].

    Raises:
        ValueError: unknown suffix or view, wrong shapes, no finite joint, or a number of titles that does not fit.
        ImportError: MP4 without PyAV.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise ValueError(f"{path}: cannot animate {suffix!r}; expected .gif or .mp4")
    walks = walks if isinstance(walks, list | tuple) else [walks]
    walks = [w if isinstance(w, Walk) else Walk(np.asarray(w), fps, skeleton, "") for w in walks]
    shown_fps = fps / np.ceil(fps / 50) if suffix == ".gif" and fps > 50 else fps
    frames = render_frames(walks, shown_fps, titles, view, size)
    if suffix == ".mp4":
        write_video(np.stack([np.asarray(image) for image in frames]), path, fps)
        return
    with atomic_path(path) as temporary:
        _write_gif(frames, temporary, shown_fps)


def walk_html(joints: np.ndarray, fps: float, skeleton: Skeleton | str = KINECT_V2, title: str | None = None) -> str:
    """An `<img>` of a walk (T, J, 3) [m] that moves, for notebooks. Raises ValueError as `render_animation`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk.gif"
        skeleton = known_skeleton(skeleton)
        render_animation(joints, path, fps, skeleton, [title] if title else None)
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img src="data:image/gif;base64,{data}" alt="{html.escape(title or "a walk")}">'


def render_frames(
    walks: list[Walk],
    fps: float = 30.0,
    titles: list[str] | None = None,
    view: str | tuple[float, float] = "oblique",
    size: tuple[int, int] = (320, 400),
) -> Iterator["Image.Image"]:
    """The pictures of `render_animation`, one RGB image of (len(walks) * width, height) per 1 / fps seconds."""
    from PIL import Image

    if not walks or len(titles or walks) != len(walks):
        raise ValueError(f"expected at least one walk and as many titles, got {len(walks)} and {len(titles or [])}")
    panels = [_Panel(walk, view, size) for walk in walks]
    duration = max(len(w.joints) / w.fps for w in walks)
    for i in range(max(1, round(duration * fps))):
        image = Image.new("RGB", (size[0] * len(walks), size[1]), _BACKGROUND)
        for k, panel in enumerate(panels):
            image.paste(panel.draw(i / fps), (k * size[0], 0))
        yield _write_labels(image, titles, size, i / fps)


class _Panel:
    """Draws one walk: a camera `_DISTANCE` away in the direction of the view, which follows the pelvis smoothly."""

    def __init__(self, walk: Walk, view: str | tuple[float, float], size: tuple[int, int]):
        joints = check_walk(walk.joints, walk.fps, walk.skeleton).astype(np.float64)
        if isinstance(view, str) and view not in VIEWS:
            raise ValueError(f"unknown view {view!r}; expected one of {', '.join(VIEWS)} or (azimuth, elevation) in degrees")
        self.walk, self.size = walk, (2 * size[0], 2 * size[1])  # drawn at twice the size and scaled down
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # frames without any joint
            centre = np.nanmedian(np.where(np.abs(joints) < 1e6, joints, np.nan), axis=1, keepdims=True)
            joints[~(np.linalg.norm(joints - centre, axis=-1) < 3)] = np.nan  # strays would be drawn across the picture
            if not np.isfinite(joints).any():
                raise ValueError("the walk has no finite joint to draw")
            self.joints = joints
            self.floor = float(np.nanpercentile(np.nanmin(joints[..., 2], axis=1), 10)) - 0.03
        margin = min(len(joints) - 1, int(walk.fps))  # the path goes on straight at both ends
        path = np.pad(bridged(centre[:, 0]), ((margin, margin), (0, 0)), "reflect", reflect_type="odd")
        self.target = gaussian_filter1d(path, 0.3 * walk.fps, axis=0)[margin : margin + len(joints)]
        self.target[:, 2] = self.floor + 0.4 * _HEIGHT
        azimuth, elevation = np.radians((VIEWS[view], 10.0) if isinstance(view, str) else view)
        self.camera = np.array([np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        self.right = np.array([-np.cos(azimuth), np.sin(azimuth), 0.0])
        self.up = np.cross(self.camera, self.right)

    def draw(self, seconds: float) -> "Image.Image":
        """The picture at a time after the first frame."""
        from PIL import Image, ImageDraw

        frame = min(round(seconds * self.walk.fps), len(self.joints) - 1)
        image = Image.new("RGB", self.size, _BACKGROUND)
        draw = ImageDraw.Draw(image)
        self._draw_floor(draw, self.target[frame])
        shadow = self.joints[frame] * [1, 1, 0] + [0, 0, self.floor]
        self._draw_bones(draw, shadow, self.target[frame], _SHADOW)
        self._draw_bones(draw, self.joints[frame], self.target[frame])
        return image.reduce(2)

    def _project(self, points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and pixels per metre (...) of points (..., 3)."""
        offset = points - target
        scale = self.size[1] / _HEIGHT * _DISTANCE / np.maximum(_DISTANCE - offset @ self.camera, 0.5)
        x, y = self.size[0] / 2 + scale * (offset @ self.right), self.size[1] / 2 - scale * (offset @ self.up)
        return np.stack([x, y], axis=-1), scale

    def _draw_floor(self, draw, target: np.ndarray) -> None:
        """A disc of floor below the walker with a grid of half metres that stays put on the ground."""
        radius, centre = 0.9, np.array([target[0], target[1], self.floor])
        turn = np.linspace(0, 2 * np.pi, 60)
        rim = centre + radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1)
        draw.polygon([tuple(p) for p in self._project(rim, target)[0]], fill=_FLOOR)
        for axis in (0, 1):
            first = np.ceil((centre[axis] - radius) * 2) / 2
            for value in np.arange(first, centre[axis] + radius, 0.5):
                ends = np.tile(centre, (2, 1))
                ends[:, axis] = value
                ends[:, 1 - axis] += np.array([-1, 1]) * np.sqrt(max(radius**2 - (value - centre[axis]) ** 2, 0))
                draw.line([tuple(p) for p in self._project(ends, target)[0]], fill=_GRID, width=3)

    def _draw_bones(self, draw, joints: np.ndarray, target: np.ndarray, colour: tuple | None = None) -> None:
        """Bones from the farthest to the nearest; what is farther away is paler."""
        skeleton = self.walk.skeleton
        pixels, scale = self._project(joints, target)
        depth = (joints - target) @ self.camera
        bones = [(depth[j] + depth[p], j, p) for j, p in enumerate(skeleton.parents) if p >= 0]
        for near, j, p in sorted(bone for bone in bones if np.isfinite(bone[0])):
            name = skeleton.joint_names[j]
            thickness = (0.022 if name.endswith(_THIN) or "hand" in name else 0.05) * (scale[j] + scale[p]) / 2
            fill = colour or _paler(SIDE_COLOURS[_side(name)], 0.45 * np.clip(0.5 - near, 0, 1))
            draw.line([*pixels[p], *pixels[j]], fill=fill, width=max(2, round(thickness)))
            for end in (p, j):
                _disc(draw, pixels[end], thickness / 2, fill)
        if skeleton.has("head") and np.isfinite(pixels[skeleton.index("head")]).all():
            j = skeleton.index("head")
            _disc(draw, pixels[j], 0.1 * scale[j], colour or _paler(SIDE_COLOURS["centre"], 0.15))


def _side(joint: str) -> str:
    side = joint.split("_")[0]
    return side if side in ("left", "right") else "centre"


def _paler(colour: str, share: float) -> tuple[int, ...]:
    """A colour "#rrggbb" mixed with `share` of white."""
    return tuple(round(int(colour[i : i + 2], 16) * (1 - share) + 255 * share) for i in (1, 3, 5))


def _disc(draw, centre: np.ndarray, radius: float, fill: tuple) -> None:
    x, y = centre
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _write_labels(image: "Image.Image", titles: list[str] | None, size: tuple[int, int], seconds: float) -> "Image.Image":
    from PIL import ImageDraw, ImageFont

    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for k, title in enumerate(titles or []):
        lines = textwrap.fill(title, max(size[0] // 8, 8))
        draw.text(((k + 0.5) * size[0], 8), lines, fill=_INK, font=font, anchor="ma", align="center")
    small, y = ImageFont.load_default(12), size[1] - 13
    draw.text((10, y), "left", fill=SIDE_COLOURS["left"], font=small, anchor="lm")
    draw.text((36, y), "right", fill=SIDE_COLOURS["right"], font=small, anchor="lm")
    draw.text((image.width - 10, y), f"{seconds:.2f} s", fill=_INK, font=small, anchor="rm")
    return image


def _write_gif(frames: Iterator["Image.Image"], path: Path, fps: float) -> None:
    from PIL import Image

    first = next(frames)
    palette = first.quantize(128)  # one palette for all frames: no flicker, and fast
    pictures = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in (first, *frames)]
    ends = np.round(np.arange(len(pictures) + 1) / fps * 100).astype(int) * 10  # GIF counts in 10 ms
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=np.diff(ends).tolist(), loop=0)


# ---------------------------------------------------------------- figures


def plot_pose_strip(
    joints: np.ndarray,
    path: str | Path,
    fps: float = 30.0,
    skeleton: Skeleton = KINECT_V2,
    frames: int = 8,
    view: str = "side",
    title: str | None = None,
) -> None:
    """Evenly spaced poses of one walk (T, J, 3) [m] beside each other, with their times; PNG, PDF or SVG.

    The view "side" looks at the walker's right side, who walks to the right; "front" meets the walker.
    Raises ValueError for a wrong shape, fewer than one pose or another view.
    """
    from matplotlib.collections import LineCollection

    joints = check_walk(joints, fps, skeleton)
    if view not in ("side", "front") or frames < 1:
        raise ValueError(f"expected view 'side' or 'front' and frames >= 1, got {view!r} and {frames}")
    across, depth = (joints[..., 1], joints[..., 0]) if view == "side" else (-joints[..., 0], joints[..., 1])
    height = joints[..., 2] - np.nanmin(joints[..., 2])
    chosen = np.linspace(0, len(joints) - 1, min(frames, len(joints))).round().astype(int)
    figure, axes = _figure(1, 1, (1.1 * len(chosen), 2.6))
    for i, t in enumerate(chosen):
        points = np.stack([across[t] - np.nanmedian(across[t]) + 0.85 * i, height[t]], axis=-1)
        bones = sorted((depth[t, [j, p]].sum(), j, p) for j, p in enumerate(skeleton.parents) if p >= 0)
        colours = [SIDE_COLOURS[_side(skeleton.joint_names[j])] for _, j, _ in bones]
        segments = np.array([points[[p, j]] for _, j, p in bones])
        axes[0].add_collection(LineCollection(segments, colors=colours, linewidths=2.2, capstyle="round"))
        if skeleton.has("head"):
            axes[0].scatter(*points[skeleton.index("head")], s=60, color=SIDE_COLOURS["centre"], zorder=3)
        axes[0].text(0.85 * i, -0.08, f"{t / fps:.2f} s", ha="center", va="top", fontsize=9)
    axes[0].axhline(0, color="#B0B0B0", lw=0.8, zorder=0)
    axes[0].set(xlim=(-0.6, 0.85 * (len(chosen) - 1) + 0.6), ylim=(-0.25, np.nanmax(height) + 0.15), aspect="equal")
    axes[0].axis("off")
    if title:
        axes[0].set_title(title, fontsize=11)
    _save(figure, path)


# Unimpaired adults at about 1.3 m/s: the curves of gait_curves.NORMAL (sources there), one standard deviation [deg] between
# persons for the whole cycle, rounded from the spread that Winter 1991 and Kadaba et al. 1990 show.
_PANELS = {
    "hip_flexion": ("Hip flexion", "hip", 6.0),
    "knee_flexion": ("Knee flexion", "knee", 6.0),
    "ankle_dorsiflexion": ("Ankle dorsiflexion", "ankle", 5.0),
    "pelvic_obliquity": ("Pelvis, own side up", "pelvis_up", 2.0),
}


def normative_curves(points: int = 101) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean (points,) and standard deviation (points,) [deg] of unimpaired adults over 0 to 100 % of the gait cycle.

    Keys: hip_flexion (of the thigh, as in `joint_angles`: 10 deg of pelvic tilt taken off), knee_flexion,
    ankle_dorsiflexion, pelvic_obliquity (own side up). A guide for the eye: depth cameras see the ankle poorly.
    """
    phase = np.linspace(0, 1, points)
    out = {}
    for angle, (_, curve, spread) in _PANELS.items():
        coefficients = fourier(NORMAL[curve])[None]
        mean = curve_values(coefficients, phase)[0]
        if angle == "hip_flexion":
            mean = mean - 10
        if angle == "pelvic_obliquity":  # the other leg's share, half a cycle later, is subtracted
            mean = mean - curve_values(coefficients, phase + 0.5)[0]
        out[angle] = (mean, np.full(points, spread))
    return out


def unseen_curves(parameters: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the curves of which no range was measured, as where a camera does not show it."""
    ranges = {"hip_flexion": "hip_range", "knee_flexion": "knee_range", "ankle_dorsiflexion": "ankle_range"}
    ranges["pelvic_obliquity"] = "pelvic_obliquity_range"
    known = {without_side(n) for n, value in parameters.items() if np.isfinite(value)}
    return tuple(curve for curve, name in ranges.items() if name not in known)


def angle_cycles(
    joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2, points: int = 101
) -> dict[str, dict[str, np.ndarray]]:
    """Joint angles cut into gait cycles, from heel strike to the next heel strike of the same foot.

    Returns: for "left" and "right" a dict with the keys of `normative_curves`, each (cycles, points) [deg]; cycles may be 0.
    """
    events, angles = detect_gait_events(joints, fps, skeleton), joint_angles(joints, skeleton)
    frames, out = np.arange(len(joints)), {}
    for side, strikes in (("left", events.left_heel_strikes), ("right", events.right_heel_strikes)):
        lengths = np.diff(strikes)
        keep = lengths < 1.5 * np.median(lengths) if len(lengths) else []  # a longer one missed a heel strike
        times = [np.linspace(a, b, points) for a, b, good in zip(strikes[:-1], strikes[1:], keep) if good]
        out[side] = {}
        for name in _PANELS:
            sign = -1 if name == "pelvic_obliquity" and side == "right" else 1  # left side up is positive there
            curve = sign * angles[name if name == "pelvic_obliquity" else f"{name}_{side}"]
            out[side][name] = np.array([np.interp(t, frames, curve) for t in times]).reshape(len(times), points)
    return out


def plot_joint_angles(
    walks: dict[str, tuple[np.ndarray, float]],
    path: str | Path,
    skeleton: Skeleton = KINECT_V2,
    normative: bool = True,
    title: str | None = None,
    unseen: tuple[str, ...] = (),
) -> None:
    """Hip, knee, ankle and pelvis over the gait cycle, the mean of each walk's cycles; PNG, PDF or SVG.

    Args:
        walks: label -> (joints (T, J, 3) [m] along +y, fps). One walk: blue left, orange right, thin lines for its single
            cycles; several: a colour each, left dashed, right solid.
        normative: draw the band of `normative_curves`, mean +- one standard deviation.
        unseen: names of curves that were not measured; "not measured" stands in their place.

    Raises ValueError if there is no walk, or one without a complete gait cycle.
    """
    if not walks:
        raise ValueError("expected at least one walk")
    figure, axes = _figure(2, 2, (8.0, 6.0))
    percent = np.linspace(0, 100, 101)
    for ax, (name, (label, _, _)) in zip(axes, _PANELS.items()):
        if normative:
            mean, spread = normative_curves()[name]
            ax.fill_between(percent, mean - spread, mean + spread, color="#D9D9D9", lw=0, label="unimpaired, mean ± SD")
        ax.axhline(0, color="#B0B0B0", lw=0.6)
        ax.set(title=label, xlim=(0, 100), ylabel="degrees", xlabel="gait cycle [%]")
    for k, (label, (joints, fps)) in enumerate(walks.items()):
        cycles = angle_cycles(joints, fps, skeleton)
        if not any(len(cycles[side]["knee_flexion"]) for side in cycles):
            raise ValueError(f"walk {label!r}: no complete gait cycle (two heel strikes of one foot) in {len(joints)} frames")
        for side, style in (("right", "-"), ("left", (0, (5, 2)))):  # dashes stay visible on top
            colour = SIDE_COLOURS[side] if len(walks) == 1 else LABEL_COLOURS[k % len(LABEL_COLOURS)]
            for ax, name in zip(axes, _PANELS):
                curves = cycles[side][name][: 0 if name in unseen else None]
                if len(walks) == 1:
                    ax.plot(percent, curves.T, color=colour, lw=0.6, alpha=0.35)
                if len(curves):
                    ax.plot(percent, curves.mean(0), color=colour, ls=style, lw=1.8, label=f"{label}, {side} ({len(curves)})")
    for ax, name in zip(axes, _PANELS):
        if name in unseen:
            ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color="#666666")
    seen = next((ax for ax, name in zip(axes, _PANELS) if name not in unseen), axes[0])
    handles, labels = seen.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    if title:
        figure.suptitle(title, fontsize=13)
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple["Figure", np.ndarray]:
    """A figure outside of pyplot: no window, no global state, and nothing left open."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=10)
    return figure, axes


def _save(figure: "Figure", path: str | Path) -> None:
    if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{path}: expected a picture .png, .pdf or .svg")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
