"""Metrics: known answers, invariances and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import KINECT_V2, OPENPOSE_18

SEEDS = st.integers(0, 2**32 - 1)
STANDING = KINECT_V2.rest_positions.astype(np.float64)


def walks(seed=0, shape=(2, 9)) -> np.ndarray:
    return STANDING + np.random.default_rng(seed).normal(0, 0.05, (*shape, 25, 3))


def swaying(seed: int, count=12, frames=40) -> np.ndarray:
    """(count, frames, 25, 3) smooth random motion."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames)[None, :, None, None] / 30
    size, phase = rng.normal(0, 0.04, (count, 1, 25, 3)), rng.uniform(0, 6, (count, 1, 25, 3))
    return STANDING + size * np.sin(5 * time + phase)


def test_mpjpe_known_answers():
    a = walks()
    assert metrics.mpjpe(a, a) == 0
    b = a.copy()
    b[..., 5, 2] += 0.025  # one joint of 25 by 25 mm
    assert metrics.mpjpe(b, a) == pytest.approx(1.0)
    assert metrics.mpjpe(a + [0.3, 0.4, 0], a) == pytest.approx(0, abs=1e-9)
    assert metrics.mpjpe(a + [0.3, 0.4, 0], a, root_relative=False) == pytest.approx(500)


def test_mpjpe_counts_only_the_mask():
    a, b = walks(), walks()
    b[0, 3:] += np.random.default_rng(1).normal(0, 1, b[0, 3:].shape)
    frames = np.ones((2, 9))
    frames[0, 3:] = 0
    assert metrics.mpjpe(b, a, frames) == 0 < metrics.mpjpe(b, a)
    assert metrics.pa_mpjpe(b, a, frames) == pytest.approx(0, abs=1e-6)
    joints = np.zeros((2, 9, 25))
    joints[0, 5, 7] = 1
    assert metrics.mpjpe(b, a, joints, root_relative=False) == pytest.approx(1000 * np.linalg.norm((b - a)[0, 5, 7]))
    with pytest.raises(ValueError, match="leaves no joint"):
        metrics.mpjpe(a, b, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="fits neither"):
        metrics.mpjpe(a, b, np.ones((2, 8)))


@given(seed=SEEDS, scale=st.floats(0.3, 3))
@settings(max_examples=25, deadline=None)
def test_pa_mpjpe_ignores_similarities_and_is_never_above_mpjpe(seed, scale):
    rng = np.random.default_rng(seed)
    a, other = walks(seed, (3,)), walks(seed + 1, (3,))
    turn = Rotation.random(rng=rng).as_matrix()
    moved = scale * a @ turn.T + rng.normal(0, 2, 3)
    assert metrics.pa_mpjpe(moved, a) == pytest.approx(0, abs=1e-6)
    assert metrics.pa_mpjpe(scale * other @ turn.T, a) == pytest.approx(metrics.pa_mpjpe(other, a), rel=1e-6)


def test_pa_mpjpe_does_not_allow_reflections():
    a = walks()
    assert metrics.pa_mpjpe(a * [-1, 1, 1], a) > 50


def test_acceleration_error_known_answers():
    a = walks()
    frame = np.arange(9)[None, :, None, None] / 30
    assert metrics.acceleration_error(a + 0.7 * frame + 3, a) == pytest.approx(0, abs=1e-9)  # constant velocity
    assert metrics.acceleration_error(a + np.array([0, 0, 0.5]) * 2.0 * frame**2, a) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="3 frames"):
        metrics.acceleration_error(a[:, :2], a[:, :2])


def test_bone_length_variation():
    rigid = np.repeat(STANDING[None], 4, axis=0)
    assert metrics.bone_length_variation(rigid) == pytest.approx(0, abs=1e-9)
    growing = STANDING * np.array([0.9, 1.1, 0.9, 1.1])[:, None, None]  # every bone 10 % up and down
    assert metrics.bone_length_variation(growing) == pytest.approx(0.1)


def test_foot_skate_is_the_speed_of_the_sliding_foot():
    still = np.repeat(STANDING[None], 30, axis=0)
    assert metrics.foot_skate(still) == 0
    sliding = still + np.arange(30)[:, None, None] / 30 * np.array([0.3, 0.4, 0])
    assert metrics.foot_skate(sliding, fps=30) == pytest.approx(0.5)
    one_foot = still.copy()
    left = [KINECT_V2.index("left_ankle"), KINECT_V2.index("left_foot")]
    one_foot[:, left] = sliding[:, left]
    assert metrics.foot_skate(one_foot) == pytest.approx(0.25)
    lifted = one_foot.copy()
    lifted[10:, left, 2] += 0.2  # in the air for two thirds of the time, where it may move
    lifted[:10, left] = still[:10, left]
    assert metrics.foot_skate(lifted) == 0
    bouncing = still + np.arange(30)[:, None, None] % 2 * np.array([0, 0, 0.02])
    assert metrics.foot_skate(bouncing) == 0, "up and down is no sliding"


def test_joint_limit_violations_finds_a_backward_knee():
    joints = np.repeat(STANDING[None], 4, axis=0)
    assert metrics.joint_limit_violations(joints) == 0
    ankle, foot = KINECT_V2.index("right_ankle"), KINECT_V2.index("right_foot")
    for degrees, frame in ((-30, 0), (60, 1)):  # about +x the shank swings forward: hyperextension; backward: flexion
        knee = STANDING[KINECT_V2.index("right_knee")]
        turn = Rotation.from_euler("x", -degrees, degrees=True)
        joints[frame, [ankle, foot]] = turn.apply(STANDING[[ankle, foot]] - knee) + knee
    assert metrics.joint_limit_violations(joints) == 0.25
    assert metrics.joint_limit_violations(joints[[1, 2]]) == 0


def test_features_are_deterministic_finite_and_do_not_see_the_place():
    walk = swaying(0, 1)[0]
    a = metrics.gait_features(walk)
    assert a.shape == (82,) and np.isfinite(a).all()
    np.testing.assert_allclose(metrics.gait_features(walk + [3.0, -2.0, 0.1]), a, atol=1e-6)
    openpose = np.repeat(OPENPOSE_18.rest_positions[None], 20, axis=0)
    assert metrics.gait_features(openpose, skeleton=OPENPOSE_18).shape == (82,)
    with pytest.raises(ValueError, match="not finite: clean the walk first"):
        metrics.gait_features(np.full((5, 25, 3), np.nan))


def test_features_know_speed():
    still = np.repeat(STANDING[None], 40, axis=0)
    moving = still + np.arange(40)[:, None, None] / 30 * np.array([0, 1.2, 0])
    difference = metrics.gait_features(moving) - metrics.gait_features(still)
    assert np.flatnonzero(np.abs(difference) > 1e-6).tolist() == [60] and difference[60] == pytest.approx(1.2)


def test_frechet_distance_is_zero_on_the_same_set_and_grows_with_a_shift():
    features = np.random.default_rng(0).normal(0, [1, 10, 0.1], (200, 3))
    assert metrics.frechet_gait_distance(features, features) == pytest.approx(0, abs=1e-6)
    for shift in (1.0, 2.0):  # in standard deviations of one feature: the distance is the shift squared
        moved = features + [0, shift * features[:, 1].std(), 0]
        assert metrics.frechet_gait_distance(moved, features) == pytest.approx(shift**2, rel=1e-6)


def test_frechet_distance_of_two_normals():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 2, (20000, 2)), rng.normal(0, 1, (20000, 2))
    assert metrics.frechet_gait_distance(a, b) == pytest.approx(2 * (1 + (2 - 1) ** 2), rel=0.05)


def test_frechet_distance_survives_fewer_walks_than_features():
    rng = np.random.default_rng(0)
    a, b, far = rng.normal(size=(10, 40)), rng.normal(size=(10, 40)), rng.normal(5, 1, (10, 40))
    assert metrics.frechet_gait_distance(a, b) < metrics.frechet_gait_distance(far, b)
    with pytest.raises(ValueError, match="N >= 2"):
        metrics.frechet_gait_distance(a[:1], b)
    with pytest.raises(ValueError, match="reference"):
        metrics.frechet_gait_distance(a, b[:, :3])


def test_diversity_known_answers():
    pair = np.array([[0.0, 0.0], [2.0, 2.0]])  # standard deviation 1 each
    assert metrics.diversity(pair) == pytest.approx(np.sqrt(8))
    assert metrics.diversity(np.ones((4, 2)), pair) == 0
    assert metrics.diversity(3 * pair, pair) == pytest.approx(3 * np.sqrt(8))


def plain_dtw(a, b):
    total = np.full((len(a) + 1, len(b) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            total[i + 1, j + 1] = np.linalg.norm(a[i] - b[j]) + min(total[i, j + 1], total[i + 1, j], total[i, j])
    return total[-1, -1]


def test_dtw_known_answers():
    a = np.array([0.0, 1, 2, 3])[:, None]
    assert metrics.dtw(a, np.array([0.0, 0, 1, 1, 1, 2, 3])[:, None]) == 0  # only warped
    assert metrics.dtw(a, a + 0.1) == pytest.approx(0.4)
    assert metrics.dtw(a, np.array([[5.0]])) == pytest.approx(5 + 4 + 3 + 2)


@given(seed=SEEDS, n=st.integers(1, 9), m=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_dtw_is_symmetric_exact_and_batched(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(3, n, 2)), rng.normal(size=(3, m, 2))
    batch = metrics.dtw(a, b)
    assert batch.shape == (3,)
    np.testing.assert_allclose(batch, [plain_dtw(x, y) for x, y in zip(a, b, strict=True)])
    np.testing.assert_allclose(metrics.dtw(b, a), batch)
    assert metrics.dtw(a[0], a[0]) == 0


def test_dtw_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="expected series"):
        metrics.dtw(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="expected series"):
        metrics.dtw(np.zeros((0, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_has_no_score(value):
    good, bad = walks(shape=(9,)), walks(shape=(9,))
    bad[3:5, KINECT_V2.index("left_ankle")] = value
    frames = np.ones(9)
    frames[3:5] = 0
    for metric in (metrics.mpjpe, metrics.pa_mpjpe, metrics.acceleration_error):
        for pair in ((good, bad), (bad, good), (good, np.full_like(good, value))):
            with pytest.raises(ValueError, match="not finite: clean the walk first"):
                metric(*pair)
    for metric in (metrics.mpjpe, metrics.pa_mpjpe):
        assert metric(bad, good, frames) == pytest.approx(0, abs=1e-6)
    for metric in (metrics.bone_length_variation, metrics.foot_skate, metrics.joint_limit_violations, metrics.gait_features):
        for walk in (bad, np.full_like(good, value)):
            with pytest.raises(ValueError, match="not finite: clean the walk first"):
                metric(walk)
    with pytest.raises(ValueError, match="not finite"):
        metrics.dtw(good[..., 0], bad[..., 0])


def test_shapes_that_differ_are_refused():
    for metric in (metrics.mpjpe, metrics.pa_mpjpe, metrics.acceleration_error):
        with pytest.raises(ValueError, match="one shape"):
            metric(walks(), walks()[:, :5])
    for metric in (metrics.bone_length_variation, metrics.foot_skate, metrics.joint_limit_violations):
        with pytest.raises(ValueError, match="25, 3"):
            metric(np.zeros((4, 18, 3)))
