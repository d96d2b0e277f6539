"""Walks as a camera and a pose estimator would see them: projection, size of the errors, what is read of them."""

import numpy as np
import pytest
from walkers import CADENCE, SPEED, walker

from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.points import MEDIAPIPE_33
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.filmed import CORRELATION, FLUCTUATES, SIZE, STAYS, as_filmed, errors, film_walk, landmarks_of
from modeling_gait.video_walk import FOCAL, STATURE, stature


@pytest.mark.parametrize("azimuth, across", [(90, 1), (-90, -1)])
def test_a_walk_is_projected_as_by_a_pinhole(azimuth, across):
    joints = walker(2.0)
    track = film_walk(joints, 30, azimuth, distance=6.0, height=1.0)
    knee, k = MEDIAPIPE_33.index("left_knee"), KINECT_V2.index("left_knee")
    x, y, z = (joints[:, k, axis] for axis in range(3))
    away = 6.0 - across * x
    ahead = across * (y - landmarks_of(joints)[..., 1].mean())
    expected = np.stack([ahead, 1.0 - z], axis=-1) / away[:, None] * FOCAL * SIZE[0] + np.array(SIZE) / 2
    np.testing.assert_allclose(track.keypoints[:, knee], expected, atol=1e-6)
    hips = track.landmarks[:, [MEDIAPIPE_33.index(f"{s}_hip") for s in ("left", "right")]].mean(1)
    np.testing.assert_allclose(hips, 0, atol=1e-12)
    with pytest.raises(ValueError, match="comes as near as"):
        film_walk(joints, 30, 0, distance=0.5)


def test_errors_are_as_large_and_as_slow_as_measured():
    found = np.stack([errors(60, 30.0, np.random.default_rng(n))[:, MEDIAPIPE_33.index("right_ankle")] for n in range(400)])
    total = np.hypot(STAYS["ankle"], FLUCTUATES["ankle"])
    np.testing.assert_allclose(found.std((0, 1)), total[[0, 0, 1]], rtol=0.1)
    moving = found - found.mean(1, keepdims=True)
    lag = (moving[:, 1:] * moving[:, :-1]).sum() / (moving**2).sum()
    assert lag == pytest.approx(CORRELATION, abs=0.06)
    half = errors(4000, 60.0, np.random.default_rng(0))[:, 28]
    half = half - half.mean(0)
    assert (half[2:] * half[:-2]).sum() / (half**2).sum() == pytest.approx(CORRELATION, abs=0.08)


def test_what_is_read_of_a_film_is_the_walk():
    rows = []
    for seed in range(6):
        read = as_filmed(walker(4.0), 30, np.random.default_rng(seed))
        assert read.shape[1:] == (25, 3) and np.isfinite(read).all()
        found = compute_gait_parameters(read, 30)
        rows.append((found["speed"], found["cadence"]))
    assert np.median(rows, axis=0) == pytest.approx([SPEED * STATURE / stature(landmarks_of(walker(1.0))), CADENCE], rel=0.08)
