"""evaluate module: MPJPE after rotation, shift and scale of each frame (Procrustes) [mm]."""

from modeling_gait.evaluation.modules import metric_module

PaMpjpe = metric_module("pa_mpjpe", "Gower 1975, Generalized Procrustes analysis")
