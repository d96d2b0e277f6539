"""Fits `KnownClasses` of a dual encoder: Gaussians of the classes, and from which distance on a walk is of none of them.

In: features (N, D) as of `KnownClasses.features`, nan where not known, with class and person (N,) of each. The threshold, and
how fast the doubt rises about it, are chosen on classes and people held out among those given.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from modeling_gait.known_classes import KnownClasses

SHRINKAGE = 0.1
MOST = 300  # windows of a class and person


def count_known(classes: np.ndarray) -> int:
    """Number of classes (N,), those below 0 unknown; 0 for one alone."""
    count = len(np.unique(classes[classes >= 0]))
    return count if count >= 2 else 0


def chosen_rows(classes: np.ndarray, people: np.ndarray, seed: int) -> np.ndarray:
    """At most `MOST` rows, by chance, of each class (below 0: unknown, left out) and person."""
    groups: dict = {}
    for i in np.random.default_rng(seed).permutation(len(classes)):
        groups.setdefault((classes[i], people[i]), []).append(i)
    return np.sort(np.concatenate([rows[:MOST] for (label, _), rows in groups.items() if label >= 0]))


def fit_known(known: KnownClasses, features: np.ndarray, classes: np.ndarray, people: np.ndarray, seed: int = 0) -> None:
    """Set the buffers; where no class can be held out, of which some person shows walks, the farthest 5 % are doubted.

    Raises ValueError for fewer than two classes."""
    if not count_known(classes):
        raise ValueError("expected walks of two or more classes")
    _fit(known, features, classes)
    trials = _held_out(features, classes, people, np.random.default_rng(seed))
    if not trials or len(np.unique(trials[1])) < 2:
        own = known.distance(torch.from_numpy(features).float())
        known.threshold.copy_(own.quantile(0.95))
        known.slope.fill_(1.0)
        return
    distances, strange, weights = trials
    threshold = best_threshold(distances, strange, weights)
    rise = LogisticRegression(fit_intercept=False).fit((distances - threshold)[:, None], strange, weights)
    known.threshold.fill_(threshold)
    known.slope.fill_(max(float(rise.coef_[0, 0]), 0.1))


def _fit(known: KnownClasses, features: np.ndarray, classes: np.ndarray) -> None:
    there = np.isfinite(features)
    fill = np.where(there, features, 0).sum(0) / np.maximum(there.sum(0), 1)
    x = np.where(there, features, fill)
    spread = np.maximum(x.std(0), 1e-6)
    groups = [((x - fill) / spread)[classes == c] for c in np.unique(classes)]
    covariance = np.mean([np.cov(g.T, ddof=0) for g in groups], axis=0)  # each class weighs the same
    even = np.eye(len(covariance)) * max(np.trace(covariance) / len(covariance), 1e-6)
    whiten = np.linalg.cholesky(np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * even))
    centres = np.stack([g.mean(0) for g in groups]) @ whiten
    for name, value in (("fill", fill), ("whiten", whiten / spread[:, None]), ("centres", centres)):
        setattr(known, name, torch.from_numpy(value.astype(np.float32)))


def _held_out(features: np.ndarray, classes: np.ndarray, people: np.ndarray, rng) -> tuple[np.ndarray, ...]:
    """Distances (M,) where thirds of the classes and of the people are held out in turn, whether their class was, and their
    weight: each class of a trial as much as another, those held out as much as the others; () without trials."""
    hidden, others = rng.permutation(np.unique(classes)), rng.permutation(np.unique(people))
    parts = []
    for k in range(min(3, len(others))):
        test, new = np.isin(people, others[k::3]), np.isin(classes, hidden[k::3])
        if not test.any() or len(np.unique(classes[~test & ~new])) < 2:
            continue
        inner = KnownClasses("imu", 1, 1.0, 0)
        _fit(inner, features[~test & ~new], classes[~test & ~new])
        labels, own = classes[test], new[test]
        share = {c: 1 / (labels == c).sum() for c in np.unique(labels)}
        weight = np.array([share[c] for c in labels])
        weight /= np.where(own, max(weight[own].sum(), 1e-9), max(weight[~own].sum(), 1e-9))
        parts.append((inner.distance(torch.from_numpy(features[test]).float()).numpy(), own, weight))
    return tuple(np.concatenate(p) for p in zip(*parts))


def best_threshold(distances: np.ndarray, strange: np.ndarray, weights: np.ndarray) -> float:
    """The distance with the best harmonic mean of the weighted recalls of what is strange, above it, and what is not."""
    order = np.argsort(distances)
    found = 1 - np.cumsum((weights * strange)[order]) / max((weights * strange).sum(), 1e-9)
    kept = np.cumsum((weights * ~strange)[order]) / max((weights * ~strange).sum(), 1e-9)
    return float(distances[order][np.argmax(2 * found * kept / np.maximum(found + kept, 1e-9))])


__all__ = ["best_threshold", "chosen_rows", "count_known", "fit_known"]
