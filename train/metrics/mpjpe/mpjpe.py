"""evaluate module: mean per-joint position error [mm]; evaluate.load("train/metrics/mpjpe")."""

from modeling_gait.evaluation.modules import metric_module

Mpjpe = metric_module("mpjpe", "Ionescu et al. 2014, Human3.6M")
