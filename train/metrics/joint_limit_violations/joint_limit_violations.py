"""evaluate module: share of frames outside the joints' limits.

In: walks (T, J, 3) in metres, of any length
Out: {"joint_limit_violations": float} [1]. `evaluate.load("train/metrics/joint_limit_violations")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import SKELETONS

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class JointLimitViolations(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.joint_limit_violations.__doc__,
            citation="Norkin and White 2016, Measurement of Joint Motion",
            inputs_description="walks (T, J, 3) in metres, of any length",
            features=datasets.Features({"predictions": _WALK}),
        )

    def _compute(self, predictions, skeleton: str = "kinect_v2") -> dict[str, float]:
        values = [metrics.joint_limit_violations(np.asarray(p), SKELETONS[skeleton]) for p in predictions]
        return {"joint_limit_violations": float(np.nanmean(values))}
