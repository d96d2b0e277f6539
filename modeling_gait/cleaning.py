"""Cleaning of measured skeleton walks: clock, bad samples, gaps, uniform frame rate, heading and origin.

In: time stamps (T,) [s] and joints (T, J, 3) [m], z up, as a depth camera delivers them: wrapped clocks, repeated stamps, nan,
inf, 1e31, joints stuck at the origin, tracker jumps. Out: float32 joints (T', J, 3) [m] at a constant frame rate, x right,
y forward (direction of travel), z up, and a `CleaningReport` that counts every artefact and what was done about it.

The walk is not low-pass filtered: `clean_walk` returns the measured signal.
"""

from dataclasses import asdict, dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import median_filter

from .skeletons import KINECT_V2, Skeleton, check_fps, check_metres, convert_joints, unmasked

SLOWEST_RATE, FASTEST_RATE = 5.0, 1000.0  # frames a second
CLOCK_PERIOD = 60.0  # s, the stamps of gist start again at 0 every minute
ABSURD = 4.0  # m, no joint is this far from the middle of the body
LOST = 1e4  # m, no joint is this far from the origin
STUCK = 1e-6  # m, the tracker writes zeros (or denormals) for a body it does not see
MAX_GAP = 0.5  # s, a longer hole is not bridged
SHORT_GAP = 0.2  # s, of a joint that is lost for longer what is filled in is no measurement
MAX_ROOT_SPEED = 6.0  # m/s
MAX_ROOT_STEP = 0.3  # m between neighbouring frames
SPIKE = 0.15  # m from the running median
END_SPIKE = 25.0  # m/s and frame, from the median of the five frames beside the first or last three
SUNK = 0.2  # m, the root's height from its running median: a body that leaves the field of view
# The last words of the names of the joints whose bones are measured well (no hands, feet or face).
LIMBS = ("spine", "spine1", "spine2", "spine3", "chest", "neck", "head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass
class CleaningReport:
    """What one walk suffered from and what was done. Samples are (frame, joint) pairs.

    Attributes:
        frames_in, frames_out: frames read; frames returned, at the uniform rate.
        clock_wraps: times the clock started again (60 s added to what follows).
        repeated_stamps: frames dropped because their stamp did not advance, or was not a number.
        nan_samples, inf_samples, absurd_samples, stuck_samples: samples with nan, inf, a coordinate over 4 m from the body's
            middle, or the joint at the origin; replaced by interpolation.
        spike_samples: samples away from the running median of their joint; replaced by interpolation.
        broken_frames: frames without the shape of a body (a body leaving the picture); interpolated, or cut at the ends.
        root_jumps: steps of the root further than a person moves (0.3 m and 6 m/s); a spike is interpolated, the walk is cut
            at a jump that lasts.
        long_gaps: holes of more than 0.5 s in the path of the root or of both ankles; the walk is cut there.
        frames_cut: frames outside the piece that was kept (the one of most frames).
        frames_repaired: frames of the kept piece with at least one replaced sample.
        samples_repaired: samples replaced in the kept piece.
        leg_samples_repaired: those of hips, knees, ankles and feet among them.
        frames_missing: frames that the clock leaves out within the kept piece; interpolated.
        joints_missing: joints never seen in the kept piece; they stay nan.
        longest_gap: longest time between frames of the kept piece [s].
        start: time stamp of the first frame returned [s].
        filled: (frames_out, J) bool, where a joint was lost for more than `SHORT_GAP`; no count, and not in `to_dict`.
    """

    frames_in: int = 0
    frames_out: int = 0
    clock_wraps: int = 0
    repeated_stamps: int = 0
    nan_samples: int = 0
    inf_samples: int = 0
    absurd_samples: int = 0
    stuck_samples: int = 0
    spike_samples: int = 0
    broken_frames: int = 0
    root_jumps: int = 0
    long_gaps: int = 0
    frames_cut: int = 0
    frames_repaired: int = 0
    samples_repaired: int = 0
    leg_samples_repaired: int = 0
    frames_missing: int = 0
    joints_missing: int = 0
    longest_gap: float = 0.0
    start: float = 0.0
    filled: np.ndarray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if name != "filled"}


def clean_walk(
    times: np.ndarray, joints: np.ndarray, fps: float = 30.0, skeleton: Skeleton = KINECT_V2, min_frames: int = 8
) -> tuple[np.ndarray, CleaningReport]:
    """Repair a measured walk and resample it to a constant frame rate.

    1. The clock is unwrapped (60 s) and frames whose stamp does not advance are dropped.
    2. Samples that are not finite, absurd, stuck at the origin or isolated spikes (Hampel test: further than 0.15 m and 6
       scaled median absolute deviations from the running median of 7 frames) are marked bad; so are whole frames in which a
       quarter of the limb and trunk bones is 30 % off its median length, or the root 0.2 m off its running median height.
    3. The walk is cut where the root or both ankles are lost for more than 0.5 s or the root jumps further than a person moves;
       the piece of most frames is kept.
    4. Bad samples are interpolated linearly, as offsets from the root (the hips, where it is never seen), over time; the root
       along its path.
    5. All joints are resampled at `fps` by monotone cubic (PCHIP) interpolation, which does not overshoot.

    Args:
        times: (T,) [s], may wrap at 60 s.
        joints: (T, J, 3) [m], z up, in any heading.
        fps: frames a second of the result.
        min_frames: fewest usable frames.

    Returns:
        joints float32 (T', J, 3) [m] in the axes of the input (see `canonicalise`), nan for a joint that is never seen, and the
        report.

    Raises:
        ValueError: shapes that do not fit, fewer than `min_frames` usable frames, or another unit than metres.
    """
    given = unmasked(joints)
    times, joints = np.array(times, np.float64), np.array(given, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or times.shape != joints.shape[:1]:
        raise ValueError(
            f"expected times (T,) and joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, "
            f"got {times.shape} and {joints.shape}"
        )
    check_fps(fps)
    report = CleaningReport(frames_in=len(times))
    times, keep = _unwrap_clock(times, report)
    times, joints = times[keep], joints[keep]
    if not len(times):
        raise ValueError(f"none of {report.frames_in} time stamps is a number")
    bad = _bad_samples(joints, report)
    joints[bad] = np.nan
    report.root_jumps = int(_jumps(times, _body_path(joints, skeleton))[1].sum())
    bad |= _spikes(joints, float(np.median(np.diff(times))) if len(times) > 1 else 0.0, report)
    joints[bad] = np.nan
    bad[_broken_frames(joints, skeleton, report)] = True
    joints[bad] = np.nan
    kept = _longest_piece(times, np.where(_no_foot(bad, skeleton)[:, None], np.nan, _body_path(joints, skeleton)), report)
    if len(kept) < min_frames:
        check_metres(given)
        raise ValueError(f"only {len(kept)} of {report.frames_in} frames are usable, at least {min_frames} are needed")
    piece = slice(kept[0], kept[-1] + 1)
    report.frames_cut = len(times) - (kept[-1] + 1 - kept[0])
    times, joints, bad = times[piece], joints[piece], bad[piece]
    some = bad[:, ~bad.all(0)]  # a joint that is never seen is not repaired
    report.frames_repaired, report.samples_repaired = int(some.any(1).sum()), int(some.sum())
    legs = [j for j, n in enumerate(skeleton.joint_names) if n.split("_")[-1] in ("hip", "knee", "ankle", "foot")]
    report.leg_samples_repaired = int((bad & ~bad.all(0))[:, legs].sum())
    report.frames_missing = missing_frames(times)
    report.longest_gap, report.start = float(np.diff(times).max()), float(times[0])
    joints = _fill(times, joints, bad, skeleton, report)
    grid = times[0] + np.arange(int((times[-1] - times[0]) * fps + 1e-6) + 1) / fps
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # slopes of almost 0: scipy handles them, but warns
        known = np.isfinite(joints).all((0, 2))
        out = np.full((len(grid), len(skeleton), 3), np.nan, np.float32)
        seen = PchipInterpolator(times, joints[:, known].reshape(len(times), -1))(np.minimum(grid, times[-1]))
    out[:, known] = seen.reshape(len(grid), -1, 3)
    report.frames_out, report.filled = len(grid), _long_holes(times, bad, grid)
    return out, report


def missing_frames(times: np.ndarray) -> int:
    """How many frames a clock (T,) [s] leaves out: of its steps forward, by their median."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return int(np.maximum(np.round(steps / np.median(steps)) - 1, 0).sum()) if len(steps) else 0


def check_rate(fps: float) -> None:
    """Raise ValueError for what is no frame rate of a walk."""
    if not SLOWEST_RATE <= fps <= FASTEST_RATE:
        raise ValueError(f"{fps:g} frames a second; expected {SLOWEST_RATE:g} to {FASTEST_RATE:g}")


def at_rate(joints: np.ndarray, fps: float, rate: float) -> np.ndarray:
    """Joints float32 (T, J, 3) of a clean walk of `fps` frames a second at `rate`; as they are where that is their own.

    Raises ValueError for what is no rate, and for values that are not finite where they have to be resampled.
    """
    check_rate(fps)
    joints = np.asarray(joints, np.float32)
    if abs(rate - fps) <= 1e-6 * rate or len(joints) < 2:
        return joints
    times = np.arange(len(joints)) / fps
    return PchipInterpolator(times, joints)(np.arange(int(times[-1] * rate + 1e-6) + 1) / rate).astype(np.float32)


def canonicalise(joints: np.ndarray, skeleton: Skeleton = KINECT_V2, target: Skeleton | None = None) -> np.ndarray:
    """Turn a walk about the vertical so that it travels along +y, and put the first frame's pelvis above the origin.

    With `target` its joints become those of another skeleton, after the turn: a hand or foot that is lacking is put in front.

    The heading is the straight line from the root's median place in the first tenth of the frames to that in the last; a walk
    of less than 0.3 m takes the mean facing direction of hips and shoulders instead. The floor (z = 0)
    is put where the feet rest: the lower ankle of each frame, its 20th percentile over time, gets the ankle height of the
    skeleton's rest pose. A tilted floor is not levelled.

    Args:
        joints: (T, J, 3) [m], finite, z up.

    Returns: float32 (T, J, 3) [m]; (T, K, 3) of the target.

    Raises:
        ValueError: wrong shape, values that are not finite, or another unit than metres.
    """
    if target is not None and target.name != skeleton.name:
        return canonicalise(convert_joints(canonicalise(joints, skeleton), skeleton, target), target)
    joints = np.asarray(joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or len(joints) == 0:
        raise ValueError(f"expected joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    if not np.isfinite(joints).all():
        raise ValueError("joints hold values that are not finite; clean them first (clean_walk)")
    check_metres(joints)
    x, y = heading(joints, skeleton)
    turn = np.array([[y, -x, 0.0], [x, y, 0.0], [0.0, 0.0, 1.0]])  # takes (x, y, 0) to (0, 1, 0)
    out = joints @ turn.T
    out[..., :2] -= out[0, skeleton.root, :2].copy()
    out[..., 2] -= floor_height(out, skeleton)
    return out.astype(np.float32)


def heading(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Unit vector (2,) of the direction of travel in the floor plane; the facing direction where the walk is under 0.3 m."""
    path = _body_path(joints, skeleton)[:, :2]
    n = max(1, len(path) // 10)
    way = np.median(path[-n:], axis=0) - np.median(path[:n], axis=0)
    if np.hypot(*way) < 0.3:
        pairs = [p for p in ("hip", "shoulder") if skeleton.has(f"left_{p}")]
        right = sum(joints[:, skeleton.index(f"right_{p}"), :2] - joints[:, skeleton.index(f"left_{p}"), :2] for p in pairs)
        right = right.mean(axis=0)
        if not np.isfinite(right).all():  # no shoulders
            right = (joints[:, skeleton.index("right_hip"), :2] - joints[:, skeleton.index("left_hip"), :2]).mean(axis=0)
        way = np.array([-right[1], right[0]])
    norm = np.hypot(*way)
    return way / norm if norm > 1e-6 else np.array([0.0, 1.0])


def floor_height(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> float:
    """Height of the floor [m]: 20th percentile over time of the lower ankle, less the ankle height of the rest pose."""
    ankles = [skeleton.index("left_ankle"), skeleton.index("right_ankle")]
    rest = skeleton.rest_positions[ankles, 2].mean()
    return float(np.percentile(joints[:, ankles, 2].min(axis=1), 20) - rest)


def _unwrap_clock(times: np.ndarray, report: CleaningReport) -> tuple[np.ndarray, np.ndarray]:
    """Stamps with the wraps undone, and which frames (T,) advance the clock."""
    finite = np.isfinite(times)
    times = np.where(finite, times, 0.0)
    seen = np.flatnonzero(finite)
    wrapped = np.diff(times[seen]) < -CLOCK_PERIOD / 2
    times[seen[1:]] += CLOCK_PERIOD * np.cumsum(wrapped)
    latest = np.maximum.accumulate(np.where(finite, times, -np.inf))
    keep = finite & (times > np.concatenate(([-np.inf], latest[:-1])) + 1e-6)
    report.clock_wraps, report.repeated_stamps = int(wrapped.sum()), int((~keep).sum())
    return times, keep


def _bad_samples(joints: np.ndarray, report: CleaningReport) -> np.ndarray:
    """(T, J) samples that are nan, inf, absurd or stuck at the origin."""
    nan, inf = np.isnan(joints).any(-1), np.isinf(joints).any(-1)
    size = np.abs(np.nan_to_num(joints, nan=1.0, posinf=1.0, neginf=1.0)).max(-1)
    absurd, stuck = size > LOST, size < STUCK
    if _around_origin(joints[~(nan | inf | absurd | stuck)]):
        stuck &= ~stuck.all(0) | stuck.all()
    known = ~(nan | inf | absurd | stuck)
    low, high = np.where(known[..., None], joints, np.inf).min(1), np.where(known[..., None], joints, -np.inf).max(1)
    for t in np.flatnonzero((high - low).max(-1) > ABSURD):
        absurd[t] |= known[t] & (np.abs(joints[t] - np.median(joints[t, known[t]], axis=0)).max(-1) > ABSURD)
    report.nan_samples, report.inf_samples = int(nan.sum()), int(inf.sum())
    report.absurd_samples, report.stuck_samples = int(absurd.sum()), int(stuck.sum())
    return nan | inf | absurd | stuck


def _around_origin(samples: np.ndarray) -> bool:
    """Do good samples (N, 3) lie around the origin, so that it is the body's own and a joint that stays there is no lost
    one?"""
    return bool(len(samples) and np.percentile(np.abs(samples), 98) < 2.0)


def _body_path(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Path (T, 3) of the root, or of the middle of the hips if the root is never seen."""
    root = joints[:, skeleton.root]
    if np.isfinite(root).any():
        return root
    return (joints[:, skeleton.index("left_hip")] + joints[:, skeleton.index("right_hip")]) / 2


def _spikes(joints: np.ndarray, step: float, report: CleaningReport) -> np.ndarray:
    """(T, J) samples that leave the running median of their joint (Hampel 1974); bad samples are nan and stay unmarked."""
    filled = bridged(joints)
    away = np.linalg.norm(filled - median_filter(filled, size=(7, 1, 1), mode="mirror"), axis=-1)
    scale = 1.4826 * np.median(away, axis=0)
    spikes = (away > np.maximum(SPIKE, 6 * scale)) & np.isfinite(joints).all(-1)
    spikes[:3] = spikes[-3:] = False  # no full window here: the mirrored path folds back
    for end, inner in ((slice(0, 3), joints[3:8]), (slice(-3, None), joints[-8:-3])):  # further than it moves in 6 frames
        if len(inner) > 3:
            with np.errstate(invalid="ignore"):
                reach = np.maximum(2 * np.ptp(inner, axis=0).max(-1), END_SPIKE * max(step, 0.02))
                spikes[end] |= np.linalg.norm(joints[end] - np.median(inner, axis=0), axis=-1) > reach
    report.spike_samples = int(spikes.sum())
    return spikes


def bridged(values: np.ndarray) -> np.ndarray:
    """(T, ...) with nan interpolated over the frames (the ends held); a channel without a number becomes 0."""
    flat = values.reshape(len(values), -1).copy()
    steps = np.arange(len(flat))
    for c in np.flatnonzero((~np.isfinite(flat)).any(0)):
        good = np.isfinite(flat[:, c])
        flat[:, c] = np.interp(steps, steps[good], flat[good, c]) if good.any() else 0.0
    return flat.reshape(values.shape)


def _broken_frames(joints: np.ndarray, skeleton: Skeleton, report: CleaningReport) -> np.ndarray:
    """(T,) frames whose skeleton fell apart or sank; nan samples do not count against a frame."""
    ends = [j for j, n in enumerate(skeleton.joint_names) if j != skeleton.root and n.split("_")[-1] in LIMBS]
    seen = joints[:, ends] - joints[:, [skeleton.parents[j] for j in ends]]
    lengths = np.linalg.norm(seen, axis=-1)
    known = np.isfinite(lengths)
    middle = np.array([np.median(lengths[k, i]) if k.any() else 1.0 for i, k in enumerate(known.T)])
    off = known & (np.abs(np.nan_to_num(lengths) - middle) > 0.3 * middle)
    height = bridged(_body_path(joints, skeleton)[:, 2])
    sunk = np.abs(height - median_filter(height, size=31, mode="mirror")) > SUNK
    broken = (off.sum(1) > 0.25 * np.maximum(known.sum(1), 1)) | sunk
    report.broken_frames = int((broken & np.isfinite(joints).any((1, 2))).sum())
    return broken


def _jumps(times: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames with a good root, and between neighbours of them: did the root jump, was there a long gap."""
    good = np.flatnonzero(np.isfinite(root).all(-1))
    dt = np.diff(times[good])
    step = np.linalg.norm(np.diff(root[good], axis=0), axis=-1)
    gap = dt > MAX_GAP
    return good, ~gap & (step > np.maximum(MAX_ROOT_STEP, MAX_ROOT_SPEED * dt)), gap


def _longest_piece(times: np.ndarray, root: np.ndarray, report: CleaningReport) -> np.ndarray:
    """Indices of the frames with a good root in the longest stretch without a jump or a long gap."""
    good, jump, gap = _jumps(times, root)
    report.long_gaps = int(gap.sum())
    return max(np.split(good, np.flatnonzero(gap | jump) + 1), key=len)


def _fill(times: np.ndarray, joints: np.ndarray, bad: np.ndarray, skeleton: Skeleton, report: CleaningReport) -> np.ndarray:
    """Replace bad samples over time: the root along its path, the others as offsets from the root."""
    root = skeleton.root
    out = joints.copy()
    path = _body_path(joints, skeleton)
    seen = np.isfinite(path).all(-1)
    path = np.stack([np.interp(times, times[seen], path[seen, c]) for c in range(3)], axis=-1)
    for j in (root, *(j for j in skeleton.order if j != root)):
        good = ~bad[:, j]
        if not good.any():
            report.joints_missing += 1
        elif not good.all():
            base = 0.0 if j == root else path
            local = joints[:, j] - base
            fill = np.stack([np.interp(times, times[good], local[good, c]) for c in range(3)], axis=-1) + base
            out[~good, j] = fill[~good]
    return out


def _no_foot(bad: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T,) frames without either ankle, in which no gait is seen; none where the ankles are never seen."""
    ankles = [j for j, n in enumerate(skeleton.joint_names) if n.endswith("_ankle")]
    lost = bad[:, ankles].all(1)
    return lost & ~lost.all()


def _long_holes(times: np.ndarray, bad: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(N, J) at the times `grid` (N,) [s]: was the joint lost for more than `SHORT_GAP`, at an end half of it? False throughout
    for a joint that is never seen."""
    step, out = np.median(np.diff(times)), np.zeros((len(grid), bad.shape[1]), bool)
    for j in np.flatnonzero(~bad.all(0)):
        seen = times[~bad[:, j]]
        seen = np.concatenate(([2 * times[0] - seen[0] - step], seen, [2 * times[-1] - seen[-1] + step]))
        after = np.searchsorted(seen, grid).clip(1, len(seen) - 1)
        before, after = seen[after - 1], seen[after]
        out[:, j] = (after - before - step > SHORT_GAP + 1e-6) & (np.minimum(grid - before, after - grid) > 0.5 * step)
    return out
