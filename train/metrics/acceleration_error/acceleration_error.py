"""evaluate module: error of the joints' accelerations.

In: walks (T, J, 3) in metres, of any length; a prediction has the length of its reference
Out: {"acceleration_error": float} [m/s^2]. `evaluate.load("train/metrics/acceleration_error")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class AccelerationError(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.acceleration_error.__doc__,
            citation="Kanazawa et al. 2019, Learning 3D Human Dynamics from Video",
            inputs_description="walks (T, J, 3) in metres, of any length; a prediction has the length of its reference",
            features=datasets.Features({"predictions": _WALK, "references": _WALK}),
        )

    def _compute(self, predictions, references, fps: float = 30.0) -> dict[str, float]:
        values = [
            metrics.acceleration_error(np.asarray(p), np.asarray(r), fps) for p, r in zip(predictions, references, strict=True)
        ]
        return {"acceleration_error": float(np.mean(values))}
