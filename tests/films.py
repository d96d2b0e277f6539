"""A walker of walkers.py before a pinhole camera: what a pose estimator would find, with a known truth."""

import numpy as np
from walkers import FPS, walker

from modeling_gait.pose_estimation import PoseTrack
from modeling_gait.training.filmed import SIZE, landmarks_of
from modeling_gait.video_walk import FOCAL


def filmed(
    azimuth: float,
    distance: float = 6.0,
    seconds: float = 4.0,
    noise: float = 0.0,
    follow: bool = False,
    fps: float = FPS,
    **walk,
) -> PoseTrack:
    """A walker along +y filmed from 1 m height; azimuth 90: from the right side, 0: walking away [degrees]."""
    joints = walker(seconds, fps, **walk)
    points = landmarks_of(joints)
    middle = np.array([0.0, joints[:, 0, 1].mean(), 1.0])
    a = np.radians(azimuth)
    away, right = np.array([-np.sin(a), np.cos(a), 0.0]), np.array([np.cos(a), np.sin(a), 0.0])
    rotation = np.stack([right, [0.0, 0.0, -1.0], away])  # x right, y down, z away
    seen = (points - (middle - distance * away)) @ rotation.T
    hips = points[:, [23, 24]].mean(1, keepdims=True)
    if follow:
        seen = (points - hips) @ rotation.T + [0.0, 0.1, distance]
    keypoints = seen[..., :2] / seen[..., 2:] * FOCAL * SIZE[0] + np.array(SIZE) / 2
    rng = np.random.default_rng(0)
    landmarks = 0.93 * (points - hips) @ rotation.T + rng.normal(0, noise, points.shape)
    keypoints = keypoints + rng.normal(0, 200 * noise, keypoints.shape)
    shift = np.zeros((len(points), 2))
    if follow:
        shift[:, 0] = np.linspace(0, 900, len(points))
    return PoseTrack(keypoints, landmarks, np.ones(points.shape[:2]), fps, 0, SIZE, shift, follow, "film.mp4")
