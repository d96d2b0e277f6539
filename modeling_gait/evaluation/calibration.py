"""How far a classifier's probabilities can be believed, and how far a predicted score is from the true one.

In: probabilities or logits (N, K) and labels (N,), 0..K-1. Out: a reliability table, the expected calibration error (ECE), a
temperature, and for ordinal scores (UPDRS 0-3) the quadratic kappa and the mean absolute error.

    temperature = fit_temperature(validation_logits, validation_labels)         # never on the people it is tested on
    expected_calibration_error(softmax(test_logits / temperature, axis=1), test_labels)

After Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn import metrics

from ..files import atomic_path

TEMPERATURE_LIMITS = (0.02, 50.0)


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width of their confidence, the probability of the most likely class.

    Attributes:
        edges: (bins + 1,), 0 to 1; a bin holds its upper edge.
        confidence, accuracy: (bins,) means; nan in an empty bin.
        count: (bins,) predictions.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """The mean of |confidence - accuracy| over all predictions."""
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((gaps * self.count).sum() / self.count.sum())


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """The table behind a reliability diagram.

    Raises ValueError: other shapes, rows that are not probabilities, labels outside 0..K-1, no row, fewer than one bin.
    """
    p, labels = _checked(probabilities, labels)
    if (p < -1e-6).any() or np.abs(p.sum(1) - 1).max() > 1e-3:
        raise ValueError("probabilities: expected rows that are not negative and sum to 1; take the softmax of logits first")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    sure, right = p.max(1), p.argmax(1) == labels
    which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    sums = (np.bincount(which, weights=values, minlength=bins) for values in (sure, right))
    confidence, accuracy = (np.divide(s, count, out=np.full(bins, np.nan), where=count > 0) for s in sums)
    return Reliability(np.linspace(0, 1, bins + 1), confidence, accuracy, count)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """ECE of probabilities (N, K), 0 (as often right as it says) to 1. Raises ValueError as `reliability`."""
    return reliability(probabilities, labels, bins).ece


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that makes softmax(logits / T) most likely; above 1 where the logits (N, K) are too sure.

    Fit it on people that are neither trained nor tested on. It stays within TEMPERATURE_LIMITS (T would be 0 for logits that
    are never wrong). Raises ValueError: other shapes, values that are not finite, labels outside 0..K-1, no row.
    """
    logits, labels = _checked(logits, labels)

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean()

    # The loss is convex in 1 / T, so it has one minimum in log T too.
    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURE_LIMITS), method="bounded", options={"xatol": 1e-4}).x))


def expected_score(probabilities: np.ndarray) -> np.ndarray:
    """The mean (N,) of the scores 0..K-1 under their probabilities (N, K)."""
    probabilities = np.asarray(probabilities, np.float64)
    return probabilities @ np.arange(probabilities.shape[-1])


def quadratic_kappa(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Cohen's kappa of whole scores (N,) with quadratic weights: 1 agreement, 0 chance; nan where both hold one same score.

    Raises ValueError: scores that are not whole numbers, other shapes, no row.
    """
    labels, predicted = _scores(labels, predicted)
    if (labels % 1).any() or (predicted % 1).any():
        raise ValueError("quadratic_kappa takes whole scores; round expected scores first")
    both = np.concatenate((labels, predicted)).astype(int)
    scale = range(both.min(), both.max() + 1)
    if len(scale) == 1:
        return float("nan")
    return float(metrics.cohen_kappa_score(labels.astype(int), predicted.astype(int), labels=scale, weights="quadratic"))


def mean_absolute_error(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of |predicted - true| over scores (N,); the predicted ones may be fractions. Raises ValueError for other shapes."""
    return float(metrics.mean_absolute_error(*_scores(labels, predicted)))


def plot_reliability(
    path: str | Path, probabilities: np.ndarray, labels: np.ndarray, bins: int = 15, title: str | None = None
) -> None:
    """Accuracy over confidence with the diagonal, and below it how many predictions each bin holds; PNG, PDF or SVG.

    Raises ValueError as `reliability` and for another suffix.
    """
    from matplotlib.figure import Figure

    if Path(path).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ValueError(f"{path}: expected a picture .png, .pdf or .svg")
    table = reliability(probabilities, labels, bins)
    figure = Figure(figsize=(4.6, 5.4), layout="constrained")
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    left, width = table.edges[:-1], 1 / bins
    accuracy = np.nan_to_num(table.accuracy)
    gap = np.nan_to_num(table.confidence) - accuracy
    top.bar(left, accuracy, width, align="edge", color="#0072B2", edgecolor="white", label="accuracy")
    top.bar(left, gap, width, accuracy, align="edge", color="#D55E00", alpha=0.35, label="gap to the confidence")
    top.plot([0, 1], [0, 1], color="#4D4D4D", ls=(0, (4, 3)), lw=1, label="as sure as right")
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=title or "Reliability")
    top.text(0.97, 0.05, f"ECE {table.ece:.3f}\n{table.count.sum()} predictions", ha="right", va="bottom")
    top.legend(loc="upper left", frameon=False, fontsize=9)
    low.bar(left, table.count, width, align="edge", color="#B0B0B0", edgecolor="white")
    low.set(xlabel="confidence", ylabel="count")
    for ax in (top, low):
        ax.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _checked(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    if values.ndim != 2 or not values.size or labels.shape != values.shape[:1]:
        raise ValueError(f"expected (N, K) values and (N,) labels with N, K > 0, got {values.shape} and {labels.shape}")
    if not np.isfinite(values).all():
        raise ValueError("logits or probabilities hold values that are not finite")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= values.shape[1]:
        raise ValueError(f"labels must be whole numbers of 0..{values.shape[1] - 1}")
    return values, labels


def _scores(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels, np.float64), np.asarray(predicted, np.float64)
    if labels.ndim != 1 or labels.shape != predicted.shape or not len(labels):
        raise ValueError(f"expected two rows of scores (N,) with N > 0, got {labels.shape} and {predicted.shape}")
    if not np.isfinite(labels + predicted).all():
        raise ValueError("scores hold values that are not finite")
    return labels, predicted


__all__ = [
    "Reliability",
    "expected_calibration_error",
    "expected_score",
    "fit_temperature",
    "mean_absolute_error",
    "plot_reliability",
    "quadratic_kappa",
    "reliability",
]
