"""evaluate module: position error after Procrustes alignment of each frame.

In: walks (T, J, 3) in metres, of any length; a prediction has the length of its reference
Out: {"pa_mpjpe": float} [mm]. `evaluate.load("train/metrics/pa_mpjpe")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class PaMpjpe(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.pa_mpjpe.__doc__,
            citation="Gower 1975, Generalized Procrustes analysis",
            inputs_description="walks (T, J, 3) in metres, of any length; a prediction has the length of its reference",
            features=datasets.Features({"predictions": _WALK, "references": _WALK}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        values = [metrics.pa_mpjpe(np.asarray(p), np.asarray(r)) for p, r in zip(predictions, references, strict=True)]
        return {"pa_mpjpe": float(np.mean(values))}
