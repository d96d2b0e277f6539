"""evaluate module: dynamic time warping distance of walks.

In: walks (T, J, 3) in metres, of any length
Out: {"dtw": float} [m]. `evaluate.load("train/metrics/dtw")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class Dtw(evaluate.Metric):
    """Mean over pairs of walks, each frame one vector of J * 3 numbers."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.dtw.__doc__,
            citation="Sakoe and Chiba 1978",
            inputs_description="walks (T, J, 3) in metres, of any length",
            features=datasets.Features({"predictions": _WALK, "references": _WALK}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        pairs = zip(predictions, references, strict=True)
        values = [metrics.dtw(*(np.reshape(x, (len(x), -1)) for x in pair)) for pair in pairs]
        return {"dtw": float(np.mean(values))}
