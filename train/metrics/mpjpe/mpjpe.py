"""evaluate module: mean per-joint position error.

In: walks (T, J, 3) in metres, of any length; a prediction has the length of its reference
Out: {"mpjpe": float} [mm]. `evaluate.load("train/metrics/mpjpe")` loads this folder offline.
"""

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics

_WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))


class Mpjpe(evaluate.Metric):
    """Mean over walks."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=metrics.mpjpe.__doc__,
            citation="Ionescu et al. 2014, Human3.6M",
            inputs_description="walks (T, J, 3) in metres, of any length; a prediction has the length of its reference",
            features=datasets.Features({"predictions": _WALK, "references": _WALK}),
        )

    def _compute(self, predictions, references, root_relative: bool = True) -> dict[str, float]:
        values = [
            metrics.mpjpe(np.asarray(p), np.asarray(r), root_relative=root_relative)
            for p, r in zip(predictions, references, strict=True)
        ]
        return {"mpjpe": float(np.mean(values))}
