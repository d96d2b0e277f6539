"""Gait events: when each foot meets and leaves the floor.

In: joints (T, J, 3) in metres at a constant frame rate (x right, y forward = direction of travel, z up), nan where a joint was
not measured. Out: `detect_gait_events` gives heel strikes and toe offs as fractional frame indices.

Zeni et al. 2008 (doi 10.1016/j.gaitpost.2007.07.007) let a foot strike where it is farthest ahead of the pelvis and lift where
it is farthest behind, that is, where its speed over the floor passes the walking speed V. A foot that meets the floor has
already slowed down further, and toes leave it before they are as fast. So each event has a share of V of its own:

    heel strike:           max over t of y_ankle(t) - integral of (g + 0.55 V) dt
    toe off:               min over t of y_toe(t) - integral of (g + 0.90 V) dt
    toe off, ankles alone: min over t of y_ankle(t) - z_ankle(t) / 2 - integral of (g + 1.10 V) dt

near Zeni's events; g is the speed of the floor, 0 or minus a treadmill's belt. As in Ghoussayni et al. 2004 (doi
10.1016/S0966-6362(03)00037-5) the floor is the reference, but the threshold goes with the walker's speed. Shares and low-pass
were chosen on annotated walks; experiments/gait_events.py measures them on walks left out, beside other detectors. A walk
backwards is read in reversed time, in which it is a walk forward: where that foot leaves the floor, this one meets it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, integrate, interpolate, ndimage, signal

from .cleaning import bridged
from .kinematics import facing, joint_track, pelvis_track
from .skeletons import KINECT_V2, Skeleton, check_fps, check_metres

SIDES = ("left", "right")
SHORTEST, LONGEST = 0.5, 6.0  # duration of a gait cycle [s]
HEEL_STRIKE, TOE_OFF, ANKLE_OFF = 0.55, 0.9, 1.1  # shares of the walking speed
AFTER, BEFORE = (0.0, 0.08), (-0.06, 0.04)  # where an event may be from Zeni's, in cycles
FACING = 0.04  # [m] along the way, from which hips, or knees and toes, say where the front is
_CUTOFF_HZ = 4.0
_SLOWEST = 0.08  # [m/s]; slower is no walk


@dataclass(frozen=True)
class GaitEvents:
    """Times of the events of one walk, each a sorted float array (N,) of frame indices (multiply by 1 / fps for seconds)."""

    left_heel_strikes: np.ndarray
    left_toe_offs: np.ndarray
    right_heel_strikes: np.ndarray
    right_toe_offs: np.ndarray


def smooth_positions(joints: np.ndarray, fps: float, cutoff: float = 6.0) -> np.ndarray:
    """Zero-lag 4th-order Butterworth low-pass [Hz] along axis 0 of (T, ...); a series under ten frames comes back as it is.

    Walking has 99 % of its power below 6 Hz (Winter 2009, Biomechanics and Motor Control, ch. 3).
    """
    if len(joints) < 10 or cutoff >= fps / 2:
        return joints
    # A filter run forwards and backwards has twice the order and a lower cutoff; 0.802 undoes that (Winter 2009).
    sections = _low_pass(min(cutoff / 0.802, 0.49 * fps), fps)
    return signal.sosfiltfilt(sections, joints, axis=0, padlen=min(int(fps), len(joints) - 1))


def autocorrelation(values: np.ndarray) -> np.ndarray:
    """Of each column of (T, ...) at lags of 0 to T - 1 frames, not divided by their numbers (Wiener-Khinchin)."""
    size = fft.next_fast_len(2 * len(values), real=True)
    return fft.irfft(np.abs(fft.rfft(values, size, axis=0)) ** 2, size, axis=0)[: len(values)]


@lru_cache(64)
def _low_pass(cutoff: float, fps: float) -> np.ndarray:
    return signal.butter(2, cutoff, fs=fps, output="sos")  # designing it takes longer than filtering a walk


def detect_gait_events(joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> GaitEvents:
    """Heel strikes and toe offs, at sub-frame precision (formula and sources above).

    Needs the pelvis (or both hips) and the ankles, and uses the toes (`left_foot`, `right_foot`) where they can be trusted. It
    works overground, on a treadmill and for data that stand on the pelvis, at any cadence and for feet that differ. Gaps are
    bridged; what falls into one, or within two frames of the walk's ends, is left out. Standing has no events.

    Args:
        joints: (T, J, 3) [m], walking along +y; nan where not measured.
        fps: frames per second, 5 to 1000.

    Returns:
        Events in frames; all empty where nobody walks or too little was measured.

    Raises:
        ValueError: wrong shape, another unit than metres, or fps out of range.
    """
    joints = np.asarray(joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or not len(joints):
        raise ValueError(f"expected joints (T, {len(skeleton)}, 3) for skeleton {skeleton.name!r}, got {joints.shape}")
    check_fps(fps)
    if not 5 <= fps <= 1000:
        raise ValueError(f"fps must be 5 to 1000, got {fps}")
    check_metres(joints)
    if _faces_back(joints, skeleton):
        e, last = detect_gait_events(joints[::-1] * [-1, -1, 1], fps, skeleton), len(joints) - 1
        events = e.left_toe_offs, e.left_heel_strikes, e.right_toe_offs, e.right_heel_strikes
        return GaitEvents(*[last - times[::-1] for times in events])
    none = GaitEvents(*[np.empty(0)] * 4)
    hips = pelvis_track(joints, skeleton)
    ankles = [joint_track(joints, skeleton, f"{side}_ankle") for side in SIDES]
    feet = [joint_track(joints, skeleton, f"{side}_foot") for side in SIDES]
    toes = all(_trusted(foot, ankle) for foot, ankle in zip(feet, ankles))
    feet = feet if toes else ankles
    tracks = np.stack([hips, *ankles, *feet])
    known = np.flatnonzero(np.isfinite(tracks[:3]).all(axis=(0, 2)))
    if len(known) < 10:
        return none
    start, tracks = known[0], tracks[:, known[0] : known[-1] + 1]
    ways = smooth_positions(bridged(tracks.swapaxes(0, 1)), fps, _CUTOFF_HZ).swapaxes(0, 1)
    floor = np.percentile(np.gradient(ways[3:, :, 1], axis=1), 30) * fps  # in the middle of the speeds of standing feet
    ways[..., 1] -= floor * np.arange(ways.shape[1]) / fps
    pace = ndimage.uniform_filter1d(np.gradient(ways[0, :, 1]) * fps, max(1, int(1.2 * fps)), mode="nearest")
    usual = np.percentile(pace, 80)
    if usual < _SLOWEST:
        return none
    travelled = integrate.cumulative_trapezoid(np.maximum(pace, 0.4 * usual), dx=1 / fps, initial=0)
    cycle = _cycle(ways[1, :, 1] - ways[2, :, 1], fps)
    hip, ankles, feet = ways[0, :, 1], ways[1:3], ways[3:]
    strikes = ankles[..., 1] - HEEL_STRIKE * travelled
    offs = TOE_OFF * travelled - feet[..., 1] if toes else ANKLE_OFF * travelled - ankles[..., 1] + ankles[..., 2] / 2
    fine = max(1, int(np.ceil(60 / cycle)))  # 60 points a cycle
    spline = interpolate.CubicSpline(np.arange(len(hip)), np.stack([strikes[0], offs[0], strikes[1], offs[1]]), axis=1)
    ahead = spline(np.arange((len(hip) - 1) * fine + 1) / fine)
    events = []
    for side in (0, 1):
        strikes = _refined(ahead[2 * side], _peaks(ankles[side, :, 1] - hip, cycle), AFTER, cycle, fine)
        offs = _refined(ahead[2 * side + 1], _peaks(hip - feet[side, :, 1], cycle), BEFORE if toes else AFTER, cycle, fine)
        events += [start + _seen(strikes, tracks[1 + side]), start + _seen(offs, tracks[3 + side])]
    return GaitEvents(*events)


def _faces_back(joints: np.ndarray, skeleton: Skeleton) -> bool:
    """Whether hips, knees and toes (T, J, 3) point against +y, or some of them do and the others nowhere."""
    says = [float(np.nan_to_num(front[:, 1]).mean()) for front in facing(joints, skeleton)]
    return max(says) < FACING and min(says) < -FACING


def _trusted(foot: np.ndarray, ankle: np.ndarray) -> bool:
    """Whether the toes (T, 3) can tell a toe off: seen in half of the frames, turning about the ankle, at one distance from it.

    The distance varies by 1 to 5 % in markers, by 10 to 30 % in the foot joint of a Kinect v2, with which its six sensors agree
    less on double support than with ankles alone. What never turns is a copy of a rest pose.
    """
    bone = (foot - ankle)[np.isfinite(foot - ankle).all(axis=1)]
    length = np.linalg.norm(bone, axis=1)
    return len(bone) > len(foot) / 2 and length.std() < 0.075 * length.mean() and np.ptp(bone, axis=0).max() > 0.005


def _cycle(spread: np.ndarray, fps: float) -> float:
    """Length of a gait cycle in frames: the first high peak of the autocorrelation of the way between the feet (T,)."""
    power = autocorrelation(signal.detrend(spread))
    lags = signal.find_peaks(power)[0]
    lags = lags[(lags >= SHORTEST * fps) & (lags <= LONGEST * fps) & (power[lags] > 0)]
    return float(lags[power[lags] > 0.5 * power[lags].max()][0]) if len(lags) else 1.2 * fps


def _peaks(ahead: np.ndarray, cycle: float) -> np.ndarray:
    """Frames of the maxima of `ahead` (T,), at least half a `cycle` apart."""
    low, high = np.percentile(ahead, [5, 95])
    return signal.find_peaks(ahead, distance=max(1.0, 0.5 * cycle), prominence=max((high - low) / 3, 0.02))[0]


def _refined(values: np.ndarray, peaks: np.ndarray, near: tuple[float, float], cycle: float, fine: int) -> np.ndarray:
    """Fractional frames of the maxima of `values`, `fine` a frame, within `near` cycles of `peaks` [frames]."""
    out = []
    for peak in peaks * fine:
        first, last = (int(np.clip(peak + n * cycle * fine, 0, len(values) - 1)) for n in near)
        k = first + int(np.argmax(values[first : last + 1]))
        a, b, c = values[max(k - 1, 0)], values[k], values[min(k + 1, len(values) - 1)]
        top = 0.5 * (a - c) / (a - 2 * b + c) if b > max(a, c) else 0.0  # the vertex of the parabola through three points
        out.append((k + top) / fine)
    return np.unique(out)


def _seen(events: np.ndarray, track: np.ndarray) -> np.ndarray:
    """Events that are not within two frames of a gap of `track` (T, 3) or of the walk's ends."""
    known = ndimage.binary_erosion(np.isfinite(track).all(axis=1), iterations=2)
    return events[known[np.round(events).astype(int)]] if len(events) else events
