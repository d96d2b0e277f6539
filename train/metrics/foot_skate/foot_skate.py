"""evaluate module: speed of the feet on the floor [m/s]; evaluate.load("train/metrics/foot_skate")."""

from modeling_gait.evaluation.modules import metric_module

FootSkate = metric_module("foot_skate", "Package modeling_gait")
