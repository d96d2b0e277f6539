"""Frames in which a tracker exchanged left and right joints: `exchanged_frames` finds them and puts them right.

In: joints (T, J, 3) [m] as they were recorded, nan where not measured. Out: the same with the pairs put right, and a count.
"""

import numpy as np
from scipy.ndimage import uniform_filter1d

from .skeletons import Skeleton

SIDED = ("shoulder", "hip", "knee", "ankle", "foot", "elbow", "wrist")  # pairs; the first two say what is right
TOGGLE = 0.02  # m^2, evidence needed for an exchange: a jump of about 0.14 m


def exchanged_frames(joints: np.ndarray, skeleton: Skeleton) -> tuple[np.ndarray, int]:
    """Undo exchanges of left and right joints in some of the frames.

    The vector from the left to the right joint of a pair moves smoothly; where a tracker exchanges the two it changes its sign.
    The signs (T,) that make it smoothest (least squared second differences, `TOGGLE` for each change) are found by dynamic
    programming (Viterbi 1967) for each pair by itself, with the squared length by which the right joint lies left of the left
    one (as the shoulders say, or else the hips) and by which bones change their length. Shoulders are right in most frames.

    Args:
        joints: (T, J, 3) [m], nan where not measured.

    Returns: joints with the exchanged pairs put right, and the number of frames in which hips, knees, ankles or feet were.
    """
    out, legs, right = joints.copy(), np.zeros(len(joints), bool), None
    for part in SIDED:
        if not skeleton.has(f"left_{part}"):
            continue
        pair = [skeleton.index(f"left_{part}"), skeleton.index(f"right_{part}")]
        apart = out[:, pair[1]] - out[:, pair[0]]
        seen = np.flatnonzero(np.isfinite(apart).all(-1))
        if len(seen) < 5:
            continue
        swap = seen[_changed_signs(apart[seen], _costs(out, skeleton, part, right)[:, seen], right is None)]
        out[np.ix_(swap, pair)] = out[np.ix_(swap, pair[::-1])]
        legs[swap] |= part in ("hip", "knee", "ankle", "foot")
        if right is None and part in ("shoulder", "hip"):
            flat = np.where(np.isfinite(out).all(-1)[:, pair].all(1)[:, None], out[:, pair[1]] - out[:, pair[0]], 0.0)
            flat[:, 2] = 0
            right = uniform_filter1d(flat, max(1, min(31, len(flat))), axis=0, mode="nearest")
            right /= np.maximum(np.linalg.norm(right, axis=-1, keepdims=True), 1e-6)
    return out, int(legs.sum())


def _costs(joints: np.ndarray, skeleton: Skeleton, part: str, right: np.ndarray | None) -> np.ndarray:
    """(2, T) [m^2] of keeping and of exchanging a pair in each frame: the right joint on the left, bones of another length."""
    pair = [skeleton.index(f"left_{part}"), skeleton.index(f"right_{part}")]
    costs = np.zeros((2, len(joints)))
    if right is not None:
        side = ((joints[:, pair[1]] - joints[:, pair[0]]) * right).sum(-1)
        costs += np.minimum(np.stack((side, -side)), 0) ** 2
    parents = [skeleton.parents[j] for j in pair]
    if parents[0] != parents[1]:
        bones = np.stack([np.linalg.norm(joints[:, order] - joints[:, parents], axis=-1) for order in (pair, pair[::-1])])
        if (known := np.isfinite(bones).all((0, 2))).any():
            lengths = np.median(bones[:, known], axis=(1, 2), keepdims=True)
            steadier = np.median(np.abs(bones[:, known] - lengths), axis=(1, 2)).argmin()  # the wrong bones cross and change
            costs += ((bones - lengths[steadier]) ** 2).sum(-1)
    return np.nan_to_num(costs)


def _changed_signs(apart: np.ndarray, costs: np.ndarray, majority: bool) -> np.ndarray:
    """(T,) bool, where the sign of the vectors `apart` (T, 3) has to be changed for them to be smooth.

    `costs` (2, T) of keeping and changing it; `majority`: the sign of most frames is the right one.
    """
    a, b, c = apart[:-2], apart[1:-1], apart[2:]
    # cost of the middle frame, by whether the frame before and the frame after have the other sign
    cost = np.stack([((s * a - 2 * b + e * c) ** 2).sum(-1) for s in (1, -1) for e in (1, -1)]).reshape(2, 2, -1)
    if (cost[0, 0] <= cost.reshape(4, -1).min(0) + TOGGLE).all() and costs[0].sum() <= costs[1].sum():
        return np.zeros(len(apart), bool)
    prior = costs + [[0], [1e-6]]
    change = TOGGLE * np.array([[0, 1], [1, 0]])
    # state (s[t], s[t + 1])
    total = prior[:, 0, None] + prior[None, :, 1] + change
    back = np.zeros((len(cost[0, 0]), 2, 2), int)
    for t in range(len(back)):
        best = np.empty((2, 2))
        for m in (0, 1):
            for e in (0, 1):
                ways = [total[s, m] + cost[s ^ m, m ^ e, t] for s in (0, 1)]
                back[t, m, e] = ways[1] < ways[0]
                best[m, e] = min(ways) + change[m, e] + prior[e, t + 2]
        total = best
    signs = np.zeros(len(apart), int)
    signs[-2:] = np.unravel_index(np.argmin(total), (2, 2))
    for t in range(len(back) - 1, -1, -1):
        signs[t] = back[t, signs[t + 1], signs[t + 2]]
    if majority and signs.mean() > 0.5:
        signs = 1 - signs
    return signs.astype(bool)
