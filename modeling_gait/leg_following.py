"""Legs that a pose estimator took for one another, and frames in which it could not tell them apart: `follow_legs`.

In: a `PoseTrack`. Out: the same with left and right knees, ankles, heels and toes put right, and nan where the two legs are
seen as one; a sentence on what was done.

Seen from the side one leg hides the other twice in a stride. An estimator then exchanges them, for a frame or for a second, or
puts both in one place. What a leg does next says which is which: a standing foot stays, a swinging one goes on.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from .points import MEDIAPIPE_33
from .pose_estimation import PoseTrack

PARTS = ("knee", "ankle", "heel", "foot_index")
LEFT, RIGHT = ([MEDIAPIPE_33.index(f"{side}_{n}") for n in PARTS] for side in ("left", "right"))
NOISE = 0.04  # of the person's height, SD of a keypoint's error
TURN = 20.0  # heights/s^2, SD of a leg's change of pace: 34 m/s^2, of a foot that begins or ends to swing
MOST = 3.0  # SD, what a single keypoint can be off
DROP = 4.0  # squared SD a keypoint, of leaving a frame out
BEAM = 64  # hypotheses that are followed


def follow_legs(track: PoseTrack) -> tuple[PoseTrack, str]:
    """Each leg followed through the film.

    Of the ways to call the two legs of each frame left and right, or to leave a frame out, the one is taken in which legs
    change their pace least: prediction by an alpha-beta filter (Kalata 1984), errors cut at `MOST`, the best `BEAM` ways kept
    from frame to frame (multiple hypothesis tracking, Reid 1979). Which of the two is the left one, most frames say. Half a
    second of which more than half was left out is left out as a whole.

    Returns: the track, and a sentence on what was done ("" where nothing was).
    """
    legs = (track.keypoints - track.camera[:, None])[:, [LEFT, RIGHT]]  # (T, 2, 4, 2)
    seen = np.flatnonzero(np.isfinite(legs).all((1, 2, 3)))
    if len(seen) < 5:
        return track, ""
    height = np.nanmedian(np.ptp(track.keypoints[seen, :, 1], axis=1))
    noise = np.hypot(NOISE, TURN / track.fps**2) * height
    state = _followed(legs[seen] / noise, np.diff(seen, prepend=seen[0]))
    lost = uniform_filter1d((state == 2).astype(float), max(3, round(0.5 * track.fps)), mode="nearest")
    state[lost > 0.5] = 2
    swap, drop = seen[state == 1], seen[state == 2]
    if not len(swap) and not len(drop):
        return track, ""
    keypoints, landmarks = track.keypoints.copy(), track.landmarks.copy()
    visibility = track.visibility.copy()
    for values in (keypoints, landmarks, visibility):
        values[np.ix_(swap, LEFT + RIGHT)] = values[np.ix_(swap, RIGHT + LEFT)]
    for values in (keypoints, landmarks):
        values[np.ix_(drop, LEFT + RIGHT)] = np.nan
    said = [f"exchanged in {len(swap)} of {len(legs)} frames: put right"] * bool(len(swap))
    said += [f"not told apart in {len(drop)} of {len(legs)} frames: left out"] * bool(len(drop))
    note = f"left and right leg were {', '.join(said)}"
    return replace(track, keypoints=keypoints, landmarks=landmarks, visibility=visibility), note


def _followed(legs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(T,) 0: as they are called, 1: exchanged, 2: left out; of legs (T, 2, 4, 2) [SD] and the frames since the one before."""
    place, pace = legs[:1].copy(), np.zeros_like(legs[:1])  # (hypotheses, 2, 4, 2)
    cost, since = np.zeros(1), np.ones(1)  # frames since a frame was taken
    ways = np.zeros((1, len(legs)), np.int8)
    for t in range(1, len(legs)):
        since = since + steps[t] - 1
        forth = place + pace * since[:, None, None, None]
        both = np.stack([legs[t], legs[t, ::-1]])  # as called, exchanged
        error = both[None] - forth[:, None]  # (hypotheses, 2, 2, 4, 2)
        spread = since + 3 / t
        each = np.minimum((error**2).sum(-1) / spread[:, None, None, None] ** 2, MOST**2).mean((2, 3))
        total = np.concatenate([cost[:, None] + each, (cost + DROP)[:, None]], axis=1)
        order = np.argsort(total, axis=None)[: 3 * BEAM]
        which, state = np.divmod(order, 3)
        taken, chosen = (state < 2)[:, None, None, None], error[which, np.minimum(state, 1)]
        gap = since[which][:, None, None, None]
        place = np.where(taken, forth[which] + 0.7 * chosen, place[which])
        pace = np.where(taken, pace[which] + 0.4 * chosen / gap, pace[which])
        since, cost = np.where(state < 2, 1.0, since[which] + 1), total[which, state]
        ways = ways[which]
        ways[:, t] = state
        # two ways that agree on the last frames go on alike: the cheaper one stays
        recent = ways[:, max(0, t - 5) : t + 1]
        _, first = np.unique(recent @ 3 ** np.arange(recent.shape[1]), return_index=True)
        keep = np.sort(first)[:BEAM]
        place, pace, since, cost, ways = place[keep], pace[keep], since[keep], cost[keep] - cost[0], ways[keep]
    best = ways[int(np.argmin(cost))]
    if (best == 1).sum() > (best == 0).sum():
        best = np.where(best == 2, 2, 1 - best)
    return best
