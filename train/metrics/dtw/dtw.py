"""evaluate module: dynamic time warping distance of walks [m]; evaluate.load("train/metrics/dtw")."""

from modeling_gait.evaluation.modules import metric_module

Dtw = metric_module("dtw", "Sakoe and Chiba 1978")
