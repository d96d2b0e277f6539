"""Does a set of synthetic walks give away the walks that its generator was trained on?

In: one row of numbers a walk (N, D), from `metrics.gait_features` (how it moves) or `pose_features` (body and posture).
Out: distances of synthetic walks to the training walks beside those of real walks that the generator never saw
(`distances_to_training`), and an attack that says of a real walk whether the generator was trained on it (`membership_scores`,
`membership_auc`). Nothing here is trained.

Members are walks that the generator was trained on, non-members walks of *the same people* that it never saw. Walks of people
that it never saw are no non-members: their bodies alone put them further from everything synthetic, so an attack on them is
strong whether or not any walk was memorised. That number answers another question, whether a person's presence in the training
data can be told, and is to be quoted by itself (`person_auc` of experiments/privacy.py).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from ..skeletons import KINECT_V2, Skeleton, check_metres
from .bootstrap import bootstrap_units


@dataclass(frozen=True)
class TrainingDistances:
    """Distances to the nearest training walk, in standard deviations of the real walks' features.

    Attributes:
        synthetic: (N,) of each synthetic walk.
        held_out: (H,) of each real walk that the generator never saw.
        ratio: median of `synthetic` over median of `held_out`; about 1 for walks as new as real ones, 0 for copies.
        copy_threshold: 5th percentile of `held_out`.
        copies: share (0 to 1) of synthetic walks nearer than that; 0.05 for walks as new as real ones, 1 for copies.
    """

    synthetic: np.ndarray
    held_out: np.ndarray
    ratio: float
    copy_threshold: float
    copies: float


@dataclass(frozen=True)
class MembershipAuc:
    """Area under the curve of an attack, 0.5 for guessing and 1 for certainty, with its 95 % bootstrap interval."""

    auc: float
    low: float
    high: float


def pose_features(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> np.ndarray:
    """Body and posture of a walk (T, J, 3) [m]: mean and standard deviation of each root-relative coordinate, (6 J,) [m].

    Raises ValueError on a wrong shape, values that are not finite or another unit than metres.
    """
    joints = np.asarray(joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(skeleton), 3) or not len(joints) or not np.isfinite(joints).all():
        raise ValueError(f"expected one finite walk (T, {len(skeleton)}, 3), got shape {joints.shape}")
    check_metres(joints)
    relative = (joints - joints[:, [skeleton.root]]).reshape(len(joints), -1)
    return np.concatenate([relative.mean(axis=0), relative.std(axis=0)])


def standardised(reference: np.ndarray, *features: np.ndarray) -> list[np.ndarray]:
    """`reference` and each of `features` (N, D) in standard deviations of `reference`; a constant feature keeps its unit.

    Raises ValueError on other shapes or values that are not finite.
    """
    arrays = [np.asarray(x, np.float64) for x in (reference, *features)]
    for i, x in enumerate(arrays):
        if x.ndim != 2 or not len(x) or x.shape[1] != arrays[0].shape[-1] or not np.isfinite(x).all():
            raise ValueError(f"array {i}: expected finite features (N >= 1, {arrays[0].shape[-1]}), got shape {x.shape}")
    scaler = StandardScaler().fit(arrays[0])
    return [scaler.transform(x) for x in arrays]


def nearest_distances(queries: np.ndarray, reference: np.ndarray, k: int = 1) -> np.ndarray:
    """Distance of each query (N, D) to its k-th nearest row of `reference` (M, D): (N,).

    Raises ValueError where the reference has fewer than k rows.
    """
    if not 1 <= k <= len(reference):
        raise ValueError(f"the {k}-th nearest of {len(reference)} walks does not exist")
    return NearestNeighbors(n_neighbors=k).fit(reference).kneighbors(queries)[0][:, -1]


def other_walk_distances(features: np.ndarray, walk_ids: np.ndarray) -> np.ndarray:
    """Distance of each row (N, D) to the nearest row of another walk: (N,). Raises ValueError where there is but one walk."""
    _, groups, sizes = np.unique(walk_ids, return_inverse=True, return_counts=True)
    if len(features) != len(groups) or len(sizes) < 2:
        raise ValueError(f"expected rows of two walks or more, got {len(features)} rows of {len(sizes)} walks")
    k = min(int(sizes.max()) + 1, len(features))  # one at least is of another walk
    distances, indices = NearestNeighbors(n_neighbors=k).fit(features).kneighbors(features)
    distances[groups[indices] == groups[:, None]] = np.inf
    return distances.min(axis=1)


def distances_to_training(synthetic: np.ndarray, training: np.ndarray, held_out: np.ndarray) -> TrainingDistances:
    """Distance of each synthetic walk to its nearest training walk, against that of held-out real walks of the same people.

    Args:
        synthetic, training, held_out: features (N, D), (M, D), (H, D); standardised here, by the real walks.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    training, held_out, synthetic = standardised(training, held_out, synthetic)
    ours, real = nearest_distances(synthetic, training), nearest_distances(held_out, training)
    threshold = float(np.percentile(real, 5))
    return TrainingDistances(
        synthetic=ours,
        held_out=real,
        ratio=float(np.median(ours) / max(np.median(real), 1e-12)),
        copy_threshold=threshold,
        copies=float((ours < threshold).mean()),
    )


def membership_scores(candidates: np.ndarray, walk_ids: np.ndarray, synthetic: np.ndarray, k: int = 5) -> dict[str, np.ndarray]:
    """Three attacks by someone who has the synthetic set and real walks, and does not know which were trained on.

    Args:
        candidates: features (N, D) of real walks, members and non-members alike.
        walk_ids: (N,); rows of one walk (its sensors) do not count as each other's neighbours.
        synthetic: features (M, D), M >= k.

    Returns: name -> scores (N,), higher for "was trained on":
        nearest: minus the distance to the nearest synthetic walk (Chen et al. 2020, GAN-Leaks, arXiv 1909.03935).
        density: minus the distance to the k-th nearest one, a density by nearest neighbours.
        calibrated: log of (distance to the nearest real candidate of another walk / distance to the nearest synthetic walk),
            since common walks are near to everything (after van Breugel et al. 2023, DOMIAS, arXiv 2302.12580).

    Raises:
        ValueError: shapes that do not fit, values that are not finite, one walk only, fewer than k synthetic walks.
    """
    candidates, synthetic = standardised(candidates, synthetic)
    nearest = nearest_distances(candidates, synthetic)
    others = other_walk_distances(candidates, np.asarray(walk_ids))
    return {
        "nearest": -nearest,
        "density": -nearest_distances(candidates, synthetic, k),
        "calibrated": np.log(np.maximum(others, 1e-12)) - np.log(np.maximum(nearest, 1e-12)),
    }


def membership_auc(
    is_member: np.ndarray, scores: np.ndarray, walk_ids: np.ndarray, samples: int = 1000, seed: int = 0
) -> MembershipAuc:
    """Area under the curve of an attack's scores (N,), and its bootstrap interval over walks.

    Members' and non-members' walks are drawn with replacement, each with all its rows: the sensors that saw one walk say the
    same thing several times.

    Args:
        is_member: (N,) bool, whether the generator was trained on the row's walk.
        scores: (N,) finite, higher for "was trained on".
        walk_ids: (N,).

    Raises:
        ValueError: lengths that differ, scores that are not finite, no member or no non-member, a walk that is both.
    """
    is_member, scores = np.asarray(is_member, bool), np.asarray(scores, np.float64)
    ids, groups = np.unique(walk_ids, return_inverse=True)
    if not is_member.shape == scores.shape == groups.shape or is_member.ndim != 1:
        raise ValueError(f"lengths differ: {is_member.shape} members, {scores.shape} scores, {groups.shape} walk_ids")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} scores are not finite")
    if is_member.all() or not is_member.any():
        raise ValueError(f"members and non-members are needed, got {is_member.sum()} and {(~is_member).sum()} rows")
    both = np.intersect1d(groups[is_member], groups[~is_member])
    if len(both):
        raise ValueError(f"walk {str(ids[both[0]])!r} is both a member and a non-member")
    low, high = bootstrap_units(lambda rows: roc_auc_score(is_member[rows], scores[rows]), groups, is_member, samples, seed)
    return MembershipAuc(float(roc_auc_score(is_member, scores)), float(low), float(high))


__all__ = [
    "MembershipAuc",
    "TrainingDistances",
    "distances_to_training",
    "membership_auc",
    "membership_scores",
    "nearest_distances",
    "other_walk_distances",
    "pose_features",
    "standardised",
]
