"""evaluate module: error of the joints' accelerations [m/s^2]; evaluate.load("train/metrics/acceleration_error")."""

from modeling_gait.evaluation.modules import metric_module

AccelerationError = metric_module("acceleration_error", "Kanazawa et al. 2019, Learning 3D Human Dynamics from Video")
