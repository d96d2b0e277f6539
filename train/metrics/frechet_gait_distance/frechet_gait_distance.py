"""evaluate module: Frechet distance of two sets of walks.

In: one row of `metrics.gait_features` a walk; two sets of walks, equally large
Out: {"frechet_gait_distance": float} [1]. `evaluate.load("train/metrics/frechet_gait_distance")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_FEATURES = datasets.List(datasets.Value("float32"))


class FrechetGaitDistance(evaluate.Metric):
    """Features of both sets, standardised by the references."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.frechet_gait_distance.__doc__,
            citation="Heusel et al. 2017, arXiv 1706.08500",
            inputs_description="one row of `metrics.gait_features` a walk; two sets of walks, equally large",
            features=datasets.Features({"predictions": _FEATURES, "references": _FEATURES}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"frechet_gait_distance": metrics.frechet_gait_distance(np.asarray(predictions), np.asarray(references))}
