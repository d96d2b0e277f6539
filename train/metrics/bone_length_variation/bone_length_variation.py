"""evaluate module: variation of bone lengths over time.

In: walks (T, J, 3) in metres, of any length
Out: {"bone_length_variation": float} [1]. `evaluate.load("train/metrics/bone_length_variation")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import SKELETONS

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class BoneLengthVariation(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.bone_length_variation.__doc__,
            citation="Package modeling_gait",
            inputs_description="walks (T, J, 3) in metres, of any length",
            features=datasets.Features({"predictions": _WALK}),
        )

    def _compute(self, predictions, skeleton: str = "kinect_v2") -> dict[str, float]:
        values = [metrics.bone_length_variation(np.asarray(p), SKELETONS[skeleton]) for p in predictions]
        return {"bone_length_variation": float(np.nanmean(values))}
