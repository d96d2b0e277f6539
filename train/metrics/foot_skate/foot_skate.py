"""evaluate module: speed of the feet on the floor.

In: walks (T, J, 3) in metres, of any length
Out: {"foot_skate": float} [m/s]. `evaluate.load("train/metrics/foot_skate")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import SKELETONS

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class FootSkate(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.foot_skate.__doc__,
            citation="Package modeling_gait",
            inputs_description="walks (T, J, 3) in metres, of any length",
            features=datasets.Features({"predictions": _WALK}),
        )

    def _compute(self, predictions, fps: float = 30.0, skeleton: str = "kinect_v2") -> dict[str, float]:
        values = [metrics.foot_skate(np.asarray(p), fps, SKELETONS[skeleton]) for p in predictions]
        return {"foot_skate": float(np.nanmean(values))}
