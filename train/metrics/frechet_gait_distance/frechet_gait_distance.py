"""evaluate module: Frechet distance of two sets of walks [1]; evaluate.load("train/metrics/frechet_gait_distance")."""

from modeling_gait.evaluation.modules import metric_module

FrechetGaitDistance = metric_module("frechet_gait_distance", "Heusel et al. 2017, arXiv 1706.08500")
