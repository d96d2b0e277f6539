"""evaluate module: variation of bone lengths over time [1]; evaluate.load("train/metrics/bone_length_variation")."""

from modeling_gait.evaluation.modules import metric_module

BoneLengthVariation = metric_module("bone_length_variation", "Package modeling_gait")
