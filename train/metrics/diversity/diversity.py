"""evaluate module: mean distance of all pairs of walks.

In: one row of `metrics.gait_features` a walk; references (as many) standardise the features
Out: {"diversity": float} [1]. `evaluate.load("train/metrics/diversity")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_FEATURES = datasets.List(datasets.Value("float32"))


class Diversity(evaluate.Metric):
    """Compare with the diversity of the references themselves."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.diversity.__doc__,
            citation="Guo et al. 2020, Action2Motion, arXiv 2007.15240",
            inputs_description="one row of `metrics.gait_features` a walk; references (as many) standardise the features",
            features=datasets.Features({"predictions": _FEATURES, "references": _FEATURES}),
        )

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"diversity": metrics.diversity(np.asarray(predictions), np.asarray(references))}
