"""Parts of a walk without turns and pauses, and the walk along them.

In: joints (T, J, 3) [m], z up, any heading, clean, all nan for a joint that was not measured. Out: `Stretch`es of frames
(`find_stretches`), and `straightened` joints of one of them along +y, a curve rolled out.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal
from scipy.ndimage import uniform_filter1d

from .cleaning import heading
from .gait_events import autocorrelation
from .skeletons import Skeleton

MIN_SPEED = 0.05  # m/s
PAUSE = 1.0  # s
TURN = np.radians(40)  # a change of heading that is told
BEND = np.radians(8)  # a change of heading within a stretch, which is then measured along its curve
SHARPEST = 0.8  # rad/m, curvature of a curve (radius 1.25 m) along which steps are still measured


@dataclass(frozen=True)
class Stretch:
    """A part of a walk without turn or pause.

    Attributes:
        start, stop: frames; stop is not in it.
        heading: direction of travel against that of the recording [deg], to the left positive.
        curved: it follows a curve, and steps are measured along it.
    """

    start: int
    stop: int
    heading: float = 0.0
    curved: bool = False


def track(joints: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:
    """Path (T, 3) of a joint, or of the middle of a pair named without its side ("hip"); nan where it was not measured."""
    if skeleton.has(name):
        return joints[:, skeleton.index(name)]
    if skeleton.has(f"left_{name}"):
        return (track(joints, skeleton, f"left_{name}") + track(joints, skeleton, f"right_{name}")) / 2
    return np.full((len(joints), 3), np.nan)


def stride_frames(joints: np.ndarray, fps: float, skeleton: Skeleton) -> float:
    """Length of a stride in frames: the highest peak of the autocorrelation, between 0.6 and 4 s, of the horizontal vector from
    one ankle to the other; 1.2 s where there is none."""
    apart = (track(joints, skeleton, "left_ankle") - track(joints, skeleton, "right_ankle"))[:, :2]
    power = autocorrelation(apart - apart.mean(0)).sum(1)
    lags = signal.find_peaks(power)[0]
    lags = lags[(lags >= 0.6 * fps) & (lags <= 4 * fps) & (power[lags] > 0.1 * power[0])]
    return float(lags[np.argmax(power[lags])]) if len(lags) else 1.2 * fps


def mean_over(values: np.ndarray, frames: float) -> np.ndarray:
    """Running mean over so many frames along axis 0 of (T, ...); the ends are continued by point reflection."""
    size = int(min(max(1, round(frames)), max(1, len(values) // 2 * 2 - 1)))
    pad = min(size // 2 + 1, len(values) - 1)
    if pad < 1 or size < 2:
        return values
    padded = np.pad(values, [(pad, pad)] + [(0, 0)] * (values.ndim - 1), mode="reflect", reflect_type="odd")
    return uniform_filter1d(padded, size, axis=0, mode="nearest")[pad:-pad]


def turned(joints: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Joints (T, J, 3) with the horizontal direction `way` (2,) or (T, 2) turned to +y."""
    x, y = np.moveaxis(way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-9), -1, 0)
    x, y = (v[:, None] if v.ndim else v for v in (x, y))
    return np.stack((y * joints[..., 0] - x * joints[..., 1], x * joints[..., 0] + y * joints[..., 1], joints[..., 2]), axis=-1)


def find_stretches(path: np.ndarray, fps: float, stride: float) -> tuple[list[Stretch], list[str]]:
    """Parts of a path (T, 2) [m] without turns and pauses, in order, and what was found between them.

    The path is averaged over a stride, which takes the sway out. A pause is `PAUSE` or longer under 0.3 of the usual speed, a
    turn a curve sharper than `SHARPEST` by more than `TURN`. A part of less than a stride, or of under 0.3 m, is left out.
    """
    smooth = mean_over(path, stride)
    velocity = np.gradient(smooth, axis=0) * fps if len(path) > 1 else np.zeros_like(path)
    speed = np.linalg.norm(velocity, axis=-1)
    usual = float(np.median(speed[speed >= 0.3 * np.percentile(speed, 90)])) if len(speed) else 0.0
    slow = (speed < 0.3 * usual) | (speed < MIN_SPEED)
    angle = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    angle = mean_over(angle, stride / 3)
    bend = np.abs(np.gradient(angle)) * fps / np.maximum(speed, 0.3 * usual + 1e-9) if len(path) > 1 else np.zeros(len(path))
    out = np.zeros(len(path), bool)
    turns = pauses = 0
    for a, b in _runs(slow):
        if b - a >= PAUSE * fps:
            out[a:b] = True
            pauses += 1
    for a, b in _runs((bend > SHARPEST) | slow):
        if a == 0 or b == len(path):
            continue
        before, after = angle[max(0, a - 1)], angle[min(len(angle) - 1, b)]
        if abs(_wrapped(after - before)) > TURN or abs(after - before) > TURN:
            out[a:b] = True
            turns += 1
    parts = [
        (a, b)
        for a, b in _runs(~out)
        if b - a >= min(stride, 0.9 * len(path)) and np.hypot(*(smooth[b - 1] - smooth[a])) > 0.3 * (turns + pauses > 0)
    ]
    stretches = []
    for a, b in parts:
        way = smooth[b - 1] - smooth[a]
        stretches.append(Stretch(a, b, float(np.degrees(np.arctan2(way[1], way[0]))), _is_curved(smooth[a:b])))
    told = []
    if turns:
        told.append(f"turns {turns} time{'s' * (turns > 1)}")
    if pauses:
        told.append(f"stands {pauses} time{'s' * (pauses > 1)}")
    return stretches, told


def _is_curved(path: np.ndarray) -> bool:
    """Do the headings of pieces of a metre or more of the path (T, 2) differ by more than `BEND`?"""
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=-1))))
    pieces = int(along[-1])
    if pieces < 2:
        return False
    ways = np.diff(path[np.searchsorted(along, np.linspace(0, along[-1], pieces + 1)).clip(max=len(path) - 1)], axis=0)
    return bool(np.ptp(np.unwrap(np.arctan2(ways[:, 1], ways[:, 0]))) > BEND)


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def straightened(joints: np.ndarray, fps: float, skeleton: Skeleton, stretch: Stretch) -> np.ndarray:
    """The frames of a stretch along +y, its first pelvis over the origin; a curve is rolled out.

    Args:
        joints: (T, J, 3) [m] of the recording.

    Returns: float64 (stop - start, J, 3) [m].
    """
    joints = np.asarray(joints, np.float64)
    piece = joints[stretch.start : stretch.stop].copy()
    if stretch.curved:
        stride = stride_frames(piece, fps, skeleton)
        path = mean_over(track(joints, skeleton, "hip")[:, :2], stride)[stretch.start : stretch.stop]
        way = mean_over(np.gradient(path, axis=0), stride)
        steps = np.linalg.norm(np.diff(path, axis=0), axis=-1)
        along = np.concatenate(([0.0], np.cumsum(steps)))
        piece[..., :2] -= path[:, None]
        piece = turned(piece, way)
        piece[..., 1] += along[:, None]
    else:
        piece = turned(piece, heading(piece, skeleton))
    piece[..., :2] -= track(piece, skeleton, "hip")[0, :2]
    return piece
