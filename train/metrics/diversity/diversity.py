"""evaluate module: mean distance of all pairs of walks [1]; evaluate.load("train/metrics/diversity")."""

from modeling_gait.evaluation.modules import metric_module

Diversity = metric_module("diversity", "Guo et al. 2020, Action2Motion, arXiv 2007.15240")
