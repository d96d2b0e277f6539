"""Is a window of leg sensors one of the activities that were trained on?

In: windows (N, T, C) of sensors of six channels each, acceleration [m/s^2] first, nan where a channel is corrupted. Out: how
far each window is from the nearest known activity (N,), and a distance from which on it is taken for another.

A motion encoder maps activities that it never saw onto those that it did, with full confidence. So this looks at the samples:
their mean, which tells how a sensor is tilted, and log power in six bands, of each axis of acceleration. Each activity is a
Gaussian about its mean, all with one shrunk covariance; the distance is Mahalanobis's to the nearest (Lee et al. 2018, arXiv
1807.03888). The threshold is chosen on activities and people held out among those given.
"""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

BANDS = (0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # [Hz]
SHRINKAGE = 0.1


def spectral_features(windows: np.ndarray, fps: float) -> np.ndarray:
    """Windows (N, T, C) -> (N, 7 C / 2): means of the axes of acceleration, and log power of each in `BANDS`."""
    count, frames, channels = windows.shape
    values = windows.reshape(count, frames, channels // 6, 6)[..., :3].reshape(count, frames, -1)
    mean = values.mean(1)
    waves = np.fft.rfft((values - mean[:, None]) * np.hanning(frames)[:, None], axis=1)
    power, frequency = np.abs(waves) ** 2, np.fft.rfftfreq(frames, 1 / fps)
    bands = [power[:, (frequency >= low) & (frequency < high)].sum(1) for low, high in zip(BANDS, BANDS[1:])]
    return np.concatenate((mean, np.log(np.concatenate(bands, axis=1) + 1e-2)), axis=1)


class KnownActivities:
    """Gaussians of activities.

    Attributes:
        threshold: distance from which on a window is taken for an activity that is not known.
    """

    def fit(self, features: np.ndarray, labels: np.ndarray, subjects: np.ndarray, seed: int = 0) -> "KnownActivities":
        """Features (N, D), labels and people (N,). Raises ValueError for fewer than two activities."""
        if len(np.unique(labels)) < 2:
            raise ValueError("expected windows of two or more activities")
        self._fit(features, labels)
        self.threshold = self._choose(features, labels, subjects, np.random.default_rng(seed))
        return self

    def _fit(self, features: np.ndarray, labels: np.ndarray) -> None:
        known = np.isfinite(features)
        total = np.where(known, features, 0).sum(0)
        self.fill = total / np.maximum(known.sum(0), 1)
        x = np.where(known, features, self.fill)
        self.spread = np.maximum(x.std(0), 1e-6)
        same = np.full(len(np.unique(labels)), 1 / len(np.unique(labels)))
        self.gaussians = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE, priors=same)
        self.gaussians.fit((x - self.fill) / self.spread, labels)

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (N,) to the nearest activity."""
        x = (np.where(np.isfinite(features), features, self.fill) - self.fill) / self.spread
        whiten = np.linalg.cholesky(np.linalg.inv(self.gaussians.covariance_))
        apart = (x @ whiten)[:, None] - self.gaussians.means_ @ whiten
        return np.sqrt((apart**2).sum(-1).min(1))

    @staticmethod
    def _choose(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray, rng) -> float:
        """The threshold with the best harmonic mean of both recalls, each activity weighing the same, where thirds of the
        activities and of the people are held out in turn."""
        activities, people = rng.permutation(np.unique(labels)), rng.permutation(np.unique(subjects))
        distances, weights, strange = [], [], []
        for k in range(min(3, len(activities), len(people))):
            hidden, others = activities[k::3], np.isin(subjects, people[k::3])
            train = ~np.isin(labels, hidden) & ~others
            if not others.any() or len(np.unique(labels[train])) < 2:
                continue
            inner = KnownActivities()
            inner._fit(features[train], labels[train])
            own = np.isin(labels[others], hidden)
            distances.append(inner.distance(features[others]))
            share = {a: 1 / (labels[others] == a).sum() for a in np.unique(labels[others])}
            weight = np.array([share[a] for a in labels[others]])
            weights.append(np.where(own, weight / max(weight[own].sum(), 1e-9), weight / max(weight[~own].sum(), 1e-9)))
            strange.append(own)
        if not distances:
            return np.inf
        d, w, s = (np.concatenate(parts) for parts in (distances, weights, strange))
        order = np.argsort(d)
        found = 1 - np.cumsum((w * s)[order]) / max((w * s).sum(), 1e-9)  # recall of the strange, of the known, above each
        kept = np.cumsum((w * ~s)[order]) / max((w * ~s).sum(), 1e-9)
        return float(d[order][np.argmax(2 * found * kept / np.maximum(found + kept, 1e-9))])


__all__ = ["KnownActivities", "spectral_features"]
