"""Functions of metrics.py as modules of the library evaluate; train/metrics holds a folder for each, as `evaluate.load` wants.

In: walks (T, J, 3) in metres, of any length, or rows of `gait_features`. Out: {name of the function: float}.
"""

import inspect

import datasets
import evaluate
import numpy as np

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import SKELETONS

WALK = datasets.List(datasets.List(datasets.List(datasets.Value("float32"))))
ROW = datasets.List(datasets.Value("float32"))
INPUTS = {  # by the first parameters of the function
    ("prediction", "reference"): "walks (T, J, 3) in metres, of any length; a prediction has the length of its reference",
    ("joints",): "walks (T, J, 3) in metres, of any length",
    ("a", "b"): "walks (T, J, 3) in metres, of any length; each frame is one vector of J * 3 numbers",
    ("features", "reference"): "one row of `metrics.gait_features` a walk; as many references, whose spread is the unit",
}


def metric_module(name: str, citation: str) -> type[evaluate.Metric]:
    """The `evaluate.Metric` of `metrics.NAME`: the mean over walks or pairs of walks, or the number of two sets of rows.

    `compute(predictions=..., references=...)` takes the function's options as well, `skeleton` by its name.
    """
    function = getattr(metrics, name)
    kind = next(k for k in INPUTS if tuple(inspect.signature(function).parameters)[: len(k)] == k)

    class Module(evaluate.Metric):
        def _info(self) -> evaluate.MetricInfo:
            shape = ROW if kind[0] == "features" else WALK
            features = {"predictions": shape} | ({"references": shape} if len(kind) > 1 else {})
            return evaluate.MetricInfo(
                description=function.__doc__,
                citation=citation,
                inputs_description=INPUTS[kind],
                features=datasets.Features(features),
            )

        def _compute(self, predictions, references=None, skeleton: str | None = None, **options) -> dict[str, float]:
            options |= {"skeleton": SKELETONS[skeleton]} if skeleton else {}
            if kind[0] == "features":
                return {name: float(function(np.asarray(predictions), np.asarray(references), **options))}
            columns = (predictions,) if references is None else (predictions, references)
            walks = [[np.asarray(w) for w in row] for row in zip(*columns, strict=True)]
            if kind[0] == "a":
                walks = [[w.reshape(len(w), -1) for w in row] for row in walks]
            values = [function(*row, **options) for row in walks]
            # nan: nothing to measure in one walk, e.g. no foot touches the floor
            return {name: float(np.nanmean(values) if kind == ("joints",) else np.mean(values))}

    return Module
