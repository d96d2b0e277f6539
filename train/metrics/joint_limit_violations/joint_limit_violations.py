"""evaluate module: share of frames outside the joints' limits [1]; evaluate.load("train/metrics/joint_limit_violations")."""

from modeling_gait.evaluation.modules import metric_module

JointLimitViolations = metric_module("joint_limit_violations", "Norkin and White 2016, Measurement of Joint Motion")
