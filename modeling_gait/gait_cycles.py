"""Gait cycles: found in a periodic signal, resampled to a fixed phase grid, compared with their median.

In: a signal (T,) or channels (T, C) of a sensor, or joints (T, J, 3) [m] of a walk, at a constant rate [samples/s]. Out: cycles
as fractional sample indices (start, end), and arrays (N, points, C) whose point k is at phase k / points of the cycle: the
start is a point, the end (the next cycle's start) is not. `walk_cycles` gives skeleton cycles, datasets_scripts/hugadb.py
makes cycles of leg sensors with the other functions; both have the shape that `GaitTCNModel` takes.
"""

import numpy as np
from scipy import interpolate, signal

from .gait_events import LONGEST, SHORTEST, SIDES, autocorrelation, detect_gait_events
from .skeletons import KINECT_V2, Skeleton, check_fps, check_metres, check_walk

POINTS = 100


def cycle_period(values: np.ndarray, fps: float, shortest: float = SHORTEST, longest: float = 3.0) -> float:
    """Period [s] of a signal: the highest peak of its autocorrelation between two durations.

    The autocorrelation falls with the lag, since fewer samples overlap; of a period and its multiples the shortest wins.

    Args:
        values: (T,) in any unit, finite.
        fps: samples a second.
        shortest, longest: durations of a cycle [s].

    Raises:
        ValueError: wrong shape, under two samples, values that are not finite, durations out of order, or no such period.
    """
    values = _checked_signal(values, fps, shortest, longest)
    power = autocorrelation(signal.detrend(values))
    lags = signal.find_peaks(power)[0]
    lags = lags[(lags >= shortest * fps) & (lags <= longest * fps) & (power[lags] > 0.1 * power[0])]
    if not len(lags):
        raise ValueError(f"no cycle found: {len(values) / fps:.2f} s of signal repeat nothing after {shortest} to {longest} s")
    return float(lags[np.argmax(power[lags])]) / fps


def find_cycles(values: np.ndarray, fps: float, shortest: float = SHORTEST, longest: float = 3.0) -> list[tuple[float, float]]:
    """Cycles from one maximum of a signal to the next, once in a period.

    The signal is low-passed at 2.5 / period (its first two harmonics stay; Butterworth, forwards and backwards, so that
    nothing is delayed). Maxima at least 0.6 periods apart that stand out by half of its standard deviation or more begin a
    cycle. Every pair of neighbours is returned: what is too long or unlike the others is the caller's to reject.

    Args:
        values: (T,) finite; turn its sign if cycles begin at a minimum.
        fps: samples a second.
        shortest, longest: durations of a cycle [s], between which the period is looked for.

    Returns:
        (start, end) in samples, fractional (vertex of the parabola through three samples), in order.

    Raises:
        ValueError: as `cycle_period`, or fewer than two maxima.
    """
    period = cycle_period(values, fps, shortest, longest)
    values = signal.detrend(np.asarray(values, np.float64))
    sos = signal.butter(2, min(2.5 / period, 0.45 * fps), fs=fps, output="sos")
    smooth = signal.sosfiltfilt(sos, values, padlen=min(int(period * fps), len(values) - 1))
    peaks = signal.find_peaks(smooth, distance=max(1.0, 0.6 * period * fps), prominence=0.5 * smooth.std())[0]
    if len(peaks) < 2:
        raise ValueError(f"no cycle found: {len(peaks)} maxima in {len(values) / fps:.2f} s, a cycle needs two")
    a, b, c = smooth[peaks - 1], smooth[peaks], smooth[peaks + 1]
    bend = a - 2 * b + c
    starts = peaks + 0.5 * (a - c) / np.where(bend < 0, bend, np.inf)
    return [(float(s), float(e)) for s, e in zip(starts[:-1], starts[1:])]


def resample_cycle(values: np.ndarray, start: float, end: float, points: int = POINTS) -> np.ndarray:
    """Channels of one cycle at the phases 0, 1 / points, ..., (points - 1) / points, by monotone cubic interpolation (PCHIP).

    Args:
        values: (T, C), finite within the cycle.
        start, end: in samples, fractional, 0 <= start < end <= T - 1.
        points: of the phase grid.

    Returns:
        (points, C) float64; the end is excluded, since it is the start of the next cycle.

    Raises:
        ValueError: wrong shape, under two samples, a cycle outside of them, or values that are not finite in it.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"expected values (T, C), got {values.shape}")
    if len(values) < 2:
        raise ValueError(f"a cycle needs two samples or more, got {len(values)}")
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    if not 0 <= start < end <= len(values) - 1:
        raise ValueError(f"the cycle {start} to {end} is not within samples 0 to {len(values) - 1}")
    a, b = max(0, int(start) - 1), min(len(values), int(np.ceil(end)) + 2)  # the slopes need a neighbour on either side
    if not np.isfinite(values[a:b]).all():
        row, channel = np.argwhere(~np.isfinite(values[a:b]))[0]
        raise ValueError(
            f"the cycle {start:.1f} to {end:.1f} holds a value that is not finite: sample {a + row}, channel {channel}"
        )
    phases = start + (end - start) * np.arange(points) / points
    out = interpolate.PchipInterpolator(np.arange(a, b), values[a:b], axis=0)(phases)
    return out.clip(values[a:b].min(0), values[a:b].max(0))  # monotone, but for rounding


def cycle_correlations(cycles: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Correlation of each cycle with a reference, over all points and channels, each channel less its mean of the cycle.

    Args:
        cycles: (N, P, C).
        reference: (P, C); default: the median over the cycles.

    Returns:
        (N,) in -1 to 1; 0 for a cycle or reference that does not move.

    Raises:
        ValueError: wrong shapes, no cycle, or values that are not finite.
    """
    cycles = np.asarray(cycles, np.float64)
    if cycles.ndim != 3 or not len(cycles):
        raise ValueError(f"expected cycles (N, P, C), one or more, got {cycles.shape}")
    reference = np.median(cycles, axis=0) if reference is None else np.asarray(reference, np.float64)
    if reference.shape != cycles.shape[1:]:
        raise ValueError(f"expected a reference {cycles.shape[1:]}, got {reference.shape}")
    if not (np.isfinite(cycles).all() and np.isfinite(reference).all()):
        raise ValueError("cycles or reference hold values that are not finite")
    moving = cycles - cycles.mean(axis=1, keepdims=True)
    reference = reference - reference.mean(axis=0)
    size = np.sqrt((moving**2).sum(axis=(1, 2)) * (reference**2).sum())
    return np.divide((moving * reference).sum(axis=(1, 2)), size, out=np.zeros(len(cycles)), where=size > 0)


def walk_cycles(
    joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2, side: str = "right", points: int = POINTS
) -> np.ndarray:
    """Skeleton cycles from a heel strike of one side to its next, relative to the root.

    Heel strikes come from `gait_events.detect_gait_events`. A cycle is kept if it lasts 0.5 to 6 s and holds exactly one
    heel strike of the other side, so that none was missed.

    Args:
        joints: (T, J, 3) [m], walking along +y, without gaps in a cycle (`cleaning.clean_walk`, `cleaning.canonicalise`).
        fps: frames a second.
        side: "left" or "right", whose heel strikes are phase 0.
        points: of the phase grid; the end is excluded.

    Returns:
        (N, points, J * 3) float32 [m], N >= 1, joint after joint as x, y, z less the root's position of the same instant.

    Raises:
        ValueError: wrong shape, another unit than metres, positions that are not finite in a cycle, fps out of range, unknown
            side, or no whole cycle.
    """
    if side not in SIDES:
        raise ValueError(f"side must be one of {SIDES}, got {side!r}")
    check_walk(joints, fps, skeleton)
    events = detect_gait_events(joints, fps, skeleton)
    strikes = {s: getattr(events, f"{s}_heel_strikes") for s in SIDES}
    own, other = strikes[side], strikes["left" if side == "right" else "right"]
    spans = [
        (a, b)
        for a, b in zip(own[:-1], own[1:])
        if SHORTEST * fps <= b - a <= LONGEST * fps and np.sum((other > a) & (other < b)) == 1
    ]
    if not spans:
        raise ValueError(
            f"no cycle found: {len(own)} {side} and {len(other)} other heel strikes in {len(joints)} frames; "
            f"a cycle of {SHORTEST} to {LONGEST} s needs two of the {side} with one other between them"
        )
    joints = np.asarray(joints, np.float64)
    relative = (joints - joints[:, [skeleton.root]]).reshape(len(joints), -1)
    return np.stack([resample_cycle(relative, a, b, points) for a, b in spans]).astype(np.float32)


def cycles_to_walk(cycles: np.ndarray, duration: float, fps: float = 30.0, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Skeleton cycles, one after the other, as a walk along +y: the inverse of `walk_cycles`, which keeps no path.

    The lower foot is on the floor, and the body moves, forward and from side to side, as the foot (the middle of ankle and
    toes) that falls behind the root faster asks for: it stands, whichever is lower. While its heel rises it does not fall
    behind as fast as the body moves, so the way ahead is scaled to the median over time of how fast the fastest of ankles and
    toes falls behind: simulated walks come back 2 % off their speed on average (without it 5 %, normal ones 8 % too slow),
    walks of a depth camera, whose feet slide, 10 %. Where a cycle does not end as the next begins, the last and first tenth
    of them are blended.

    Args:
        cycles: (N, points, J * 3) [m], relative to the root, N >= 1 (`GaitTCNModel.generate`).
        duration: of a cycle [s].
        fps: frames a second of the result.

    Returns:
        (T, J, 3) float32 [m], T about N * duration * fps, the root of the first frame above the origin.

    Raises:
        ValueError: wrong shape, values that are not finite, another unit than metres, or a duration or rate that is not
            positive.
    """
    cycles = np.asarray(cycles, np.float64).copy()
    if cycles.ndim != 3 or not len(cycles) or cycles.shape[2] != 3 * len(skeleton):
        raise ValueError(f"expected cycles (N, points, {3 * len(skeleton)}), one or more, got {cycles.shape}")
    if not np.isfinite(cycles).all():
        raise ValueError("cycles hold values that are not finite")
    check_metres(cycles.reshape(-1, len(skeleton), 3), "cycles")
    check_fps(fps)
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be positive, got {duration}")
    count, points, _ = cycles.shape
    blend = max(1, points // 10)
    following, weight = np.roll(cycles, -1, axis=0), (np.arange(1, blend + 1) / (blend + 1))[:, None]
    step = following[:, :1] - cycles[:, -1:]  # towards the next cycle, reached at its start
    cycles[:, -blend:] += 0.5 * weight * step
    cycles[:, :blend] -= 0.5 * weight[::-1] * np.roll(step, 1, axis=0)
    closed = np.concatenate((cycles.reshape(count * points, -1), cycles[:1, 0]))
    phases = np.arange(0, count * points, points / (duration * fps))
    joints = interpolate.PchipInterpolator(np.arange(len(closed)), closed, axis=0)(phases).reshape(len(phases), -1, 3)
    foot = "foot" if skeleton.has("left_foot") else "ankle"
    feet = joints[:, [skeleton.index(f"{side}_{foot}") for side in SIDES]]
    ankles = joints[:, [skeleton.index(f"{side}_ankle") for side in SIDES]]
    behind = -np.diff(np.concatenate((ankles, feet), axis=1)[..., 1], axis=0)
    moved = np.diff(ankles + feet, axis=0)[..., :2] / 2
    moved = np.take_along_axis(moved, moved[..., 1].argmin(1)[:, None, None], axis=1)[:, 0]  # of the foot that stands
    aside = np.cumsum(-moved[:, 0])
    joints[1:, :, 0] += (aside - np.linspace(0, aside[-1], len(aside) + 1)[1:])[:, None]  # on the whole straight ahead
    ahead = (-moved[:, 1]).clip(min=0)
    joints[1:, :, 1] += np.cumsum(ahead * max(np.median(behind.max(1)), 0) / max(ahead.mean(), 1e-9))[:, None]
    joints[..., 2] -= feet[..., 2].min(1)[:, None]
    return joints.astype(np.float32)


def _checked_signal(values: np.ndarray, fps: float, shortest: float, longest: float) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected a signal (T,) of one channel, got {values.shape}")
    if len(values) < 2:
        raise ValueError(f"a cycle needs two samples or more, got {len(values)}")
    if not np.isfinite(values).all():
        raise ValueError(
            f"the signal holds {np.sum(~np.isfinite(values))} values that are not finite, the first at sample "
            f"{int(np.argmin(np.isfinite(values)))}; interpolate or cut them first"
        )
    check_fps(fps)
    if not 0 < shortest < longest:
        raise ValueError(f"expected durations 0 < shortest < longest [s], got {shortest} and {longest}")
    return values
