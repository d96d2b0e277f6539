"""The same people, affected less or more: a walk is moved along what its person's gait of this class has that their normal gait
has not.

In: root-relative walks (N, T, F = J x 3) [m], who walks them and with which class of gait. Out: walks of the same shape.

A gait cycle's phase comes from how far one ankle is ahead of the other (Hilbert transform); a person's template of a class is
the mean pose of all their walks of it at each phase. A walk of person p and class c at phase f becomes
x + a (template[p, c](f) - template[p, normal](f)): a = -1 would take the pathology away, a = 0.5 makes it half as severe again.
"""

import numpy as np
from scipy.signal import butter, hilbert, sosfiltfilt

from ..skeletons import KINECT_V2, Skeleton

PHASES = 32
STEP_BAND = (0.03, 0.35)  # of the Nyquist frequency: where steps lie in a walk of some strides resampled to 64 frames


def gait_phase(inputs: np.ndarray, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Phase (N, T) in [0, PHASES) of root-relative walks (N, T, F) [m]; 0 where the left ankle is furthest ahead."""
    if inputs.ndim != 3 or inputs.shape[2] != 3 * len(skeleton):
        raise ValueError(f"expected walks (N, T, {3 * len(skeleton)}), got {inputs.shape}")
    left, right = (3 * skeleton.index(f"{side}_ankle") + 1 for side in ("left", "right"))
    ahead = sosfiltfilt(butter(2, STEP_BAND, "band", output="sos"), inputs[..., left] - inputs[..., right], axis=1)
    angle = np.angle(hilbert(ahead, axis=1)) % (2 * np.pi)
    return np.minimum(angle / (2 * np.pi) * PHASES, np.nextafter(PHASES, 0))


def _between(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins before and after each phase, and the weight of the one after."""
    before = phase.astype(int) % PHASES
    return before, (before + 1) % PHASES, phase - np.floor(phase)


def template(inputs: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Mean pose (PHASES, F) [m] at each phase, of walks (N, T, F) with phases (N, T)."""
    before, after, weight = (part.ravel() for part in _between(phase))
    flat = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    total, count = np.zeros((PHASES, flat.shape[1])), np.full(PHASES, 1e-9)
    for bins, share in ((before, 1 - weight), (after, weight)):
        np.add.at(total, bins, flat * share[:, None])
        np.add.at(count, bins, share)
    return total / count[:, None]


def change_severity(
    inputs: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    amounts: np.ndarray,
    normal: int,
    skeleton: Skeleton = KINECT_V2,
) -> np.ndarray:
    """Walks that are affected less (amount below 0) or more, by people who are all among these walks.

    Args:
        inputs: (N, T, F) [m], root-relative; labels, subjects: (N,); amounts: (N,), the change of severity, -1 to about 1.
        normal: the label of normal gait. Normal walks, and those of a person without any, stay as they are.

    Returns: float32 (N, T, F) [m]. Bones keep their lengths only roughly.
    """
    phase, out = gait_phase(inputs, skeleton), inputs.astype(np.float32, copy=True)
    for subject in np.unique(subjects):
        own = subjects == subject
        if not (own & (labels == normal)).any():
            continue
        base = template(inputs[own & (labels == normal)], phase[own & (labels == normal)])
        for label in np.unique(labels[own]):
            rows = np.flatnonzero(own & (labels == label))
            if label == normal:
                continue
            change = template(inputs[rows], phase[rows]) - base
            before, after, weight = _between(phase[rows])
            at_phase = change[before] * (1 - weight)[..., None] + change[after] * weight[..., None]
            out[rows] += (amounts[rows, None, None] * at_phase).astype(np.float32)
    return out


__all__ = ["change_severity", "gait_phase", "template"]
