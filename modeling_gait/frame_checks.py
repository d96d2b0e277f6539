"""What the frames of a recording and their times say of how it was made: lost and repeated frames, jumps, clocks that are none.

In: joints (T, J, 3) [m] as they were recorded, any heading, nan where a joint was not measured, and times (T,) [s].
Out: sentences for `recording.Recording.doubts`.
"""

import warnings

import numpy as np

from .skeletons import Skeleton
from .walk_stretches import track

DOUBLE, LOST_SHARE = 1.6, 0.025  # steps in one that tell of a lost frame, and the share of such frames that is told
REPEATED = 0.1  # of the usual step of three joints in four: a frame that repeats the one before; none of 1,500 files of gist


def lost_frames(joints: np.ndarray, times: np.ndarray) -> list[str]:
    """A sentence on frames of joints (T, J, 3) [m] that are lacking without a gap in their times (T,) [s].

    Where a frame is lost the whole body does two steps in one, and walks on as before on both sides of it. A sensor that
    trembles, or whose clock does, doubles steps too, but makes up for it in the frames beside them.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.diff(joints, axis=0) / np.where(np.diff(times) > 0, np.diff(times), np.nan)[:, None, None]
    if len(steps) < 10:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # joints that were not measured
        usual = np.nanmedian(_beside(steps), axis=0)
        size = np.linalg.norm(usual, axis=-1)
        ratio = (steps * usual).sum(-1) / size**2
        ratio[~(size > 0.2 * np.nanpercentile(size, 90))] = np.nan
        some, ratio = np.nanpercentile(ratio, (25, 50), axis=1)
    beside = np.fmin(np.append(1.0, ratio[:-1]), np.append(ratio[1:], 1.0))
    more = [np.convolve(np.nan_to_num(ratio, nan=1.0) - 1, np.ones(n), "same") for n in (3, 5)]  # steps too many around it
    double = (ratio > DOUBLE) & (some > 1.45) & (beside > 0.5) & (np.minimum(*more) > 0.5)
    lost = int(np.maximum(np.round(ratio[double]), 2).sum()) - int(double.sum())
    sure = lost - 0.1 * int((ratio < 0.45).sum())
    if double.sum() < 2 or sure < max(2, LOST_SHARE * len(steps)):
        return []
    share = lost / (len(steps) + lost)
    return [
        f"about one frame in {round(1 / share)} is missing and no clock says so: speed and cadence are too high by that share "
        "or more, and times too short"
    ]


def repeated_frames(joints: np.ndarray, times: np.ndarray) -> list[str]:
    """On frames of joints (T, J, 3) [m] in which the whole body stays where it was, while their times (T,) [s] go on.

    Whether a film of fewer frames a second was written in its own time or in a longer one cannot be seen; that a sensor stood
    still for a moment can, as the body jumps after it.
    """
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    if len(steps) < 10:
        return []
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # joints that were not measured
        usual = np.nanmean(_beside(steps), axis=0)
        ratio = steps / np.where(usual > 0.2 * np.nanpercentile(usual, 90), usual, np.nan)
        still = (np.nanpercentile(ratio, 75, axis=1) < REPEATED) & (np.diff(times) > 0)
        count, size = int(still.sum()), np.nanmedian(steps, axis=1)
    if count < max(2, LOST_SHARE * len(steps)):
        return []
    text = f"{count} of {len(joints)} frames repeat the one before"
    if np.nanmedian(size[1:][still[:-1] & ~still[1:]]) > 1.5 * np.nanmedian(size[~still]):
        return [f"{text}, and the body jumps after them: numbers of single frames and strides are less sure"]
    return [
        f"{text}, as in a film that was written at a higher rate: if its time was not kept, speed and cadence are too low by "
        f"{100 * count / len(joints):.0f} %"
    ]


def _beside(steps: np.ndarray) -> np.ndarray:
    """The three steps before and the three after each of steps (T, ...): (6, T, ...), nan beyond the ends."""
    padded = np.pad(steps, ((3, 3), *[(0, 0)] * (steps.ndim - 1)), constant_values=np.nan)
    return np.stack([padded[k : k + len(steps)] for k in (0, 1, 2, 4, 5, 6)])


def odd_clock(times: np.ndarray, joints: np.ndarray, skeleton: Skeleton) -> list[str]:
    """Sentences on time stamps (T,) [s] that no clock makes, and on jumps of the hips of joints (T, J, 3) [m], z up."""
    steps = np.diff(times)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    low, middle, high = np.percentile(steps, (10, 50, 90)) if len(steps) else (0.0, 1.0, 0.0)
    out = []
    if high - low > 0.4 * middle:
        out.append(f"the time between frames varies from {1000 * low:.0f} to {1000 * high:.0f} ms: is it a clock?")
    moved = np.diff(track(joints, skeleton, "hip"), axis=0)
    for way, by, least in (("", np.linalg.norm(moved[:, :2], axis=-1), 0.06), (" up or down", np.abs(moved[:, 2]), 0.08)):
        if len(by) and by.max() > max(least, 2.5 * np.percentile(by, 95)):
            out.append(f"the hips jump{way} by {by.max():.2f} m from frame {by.argmax()} to the next: were frames lost?")
    return out
