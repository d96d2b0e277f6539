"""privacy.py: attacks that find copies and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.evaluation.privacy import (
    distances_to_training,
    membership_auc,
    membership_scores,
    nearest_distances,
    other_walk_distances,
    pose_features,
    standardised,
)
from modeling_gait.skeletons import KINECT_V2

SENSORS = 3


def walks_seen_by_sensors(rng: np.random.Generator, walks: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (walks * SENSORS, 6) of random walks, each seen with a little noise, and their walk_ids."""
    seen = np.repeat(rng.normal(size=(walks, 6)), SENSORS, axis=0)
    return seen + 0.05 * rng.normal(size=seen.shape), np.repeat([f"{name}{i}" for i in range(walks)], SENSORS)


@pytest.fixture
def candidates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, walk_ids and membership of 150 members' walks and 60 others'."""
    rng = np.random.default_rng(0)
    (members, a), (others, b) = walks_seen_by_sensors(rng, 150, "m"), walks_seen_by_sensors(rng, 60, "n")
    return np.concatenate([members, others]), np.concatenate([a, b]), np.arange(len(a) + len(b)) < len(a)


def test_the_attack_guesses_where_the_synthetic_set_is_independent(candidates):
    features, walk_ids, is_member = candidates
    synthetic = np.random.default_rng(5).normal(size=(400, 6))
    for name, scores in membership_scores(features, walk_ids, synthetic).items():
        found = membership_auc(is_member, scores, walk_ids, samples=60)
        assert found.low < 0.5 and abs(found.auc - 0.5) < 0.1, name


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_attack_finds_copies(candidates, noise):
    features, walk_ids, is_member = candidates
    copies = features[is_member] + noise * np.random.default_rng(5).normal(size=(is_member.sum(), 6))
    scores = membership_scores(features, walk_ids, copies, k=2)
    for name in ("nearest", "density", "calibrated"):
        found = membership_auc(is_member, scores[name], walk_ids, samples=20)
        assert found.auc > 0.97 and found.low > 0.95, name


def test_calibration_helps_where_common_walks_hide_rare_copies():
    """Members and others lie dense in one place and thin in another; the distance alone mistakes dense for copied."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(400) % 2, 0.05, 3.0)[:, None]
    features, is_member = spread * rng.normal(size=(400, 6)), np.arange(400) < 200
    copies = features[is_member] * (1 + 0.2 * rng.normal(size=(200, 6)))
    ids = np.arange(400).astype(str)
    scores = membership_scores(features, ids, copies)
    auc = {name: membership_auc(is_member, s, ids, samples=2).auc for name, s in scores.items()}
    assert auc["calibrated"] > auc["nearest"] + 0.1


def test_interval_is_as_wide_as_walks_allow_not_rows(candidates):
    features, walk_ids, is_member = candidates
    scores = membership_scores(features, walk_ids, np.random.default_rng(5).normal(size=(400, 6)))["nearest"]
    by_walk = membership_auc(is_member, scores, walk_ids, samples=100)
    by_row = membership_auc(is_member, scores, np.arange(len(scores)), samples=100)
    assert by_walk.high - by_walk.low > 1.3 * (by_row.high - by_row.low)  # sqrt(3), for three sensors
    assert by_walk == membership_auc(is_member, scores, walk_ids, samples=100)


def test_distances_of_copies_and_of_new_walks():
    rng = np.random.default_rng(0)
    training, held_out, new = (rng.normal(size=(n, 6)) for n in (300, 200, 400))
    fresh = distances_to_training(new, training, held_out)
    assert 0.9 < fresh.ratio < 1.1 and 0.02 < fresh.copies < 0.1
    assert (held := fresh.held_out).shape == (200,) and fresh.copy_threshold == np.percentile(held, 5)
    copied = distances_to_training(np.concatenate([training, new[:300]]), training, held_out)
    assert copied.ratio < 0.5 and 0.5 < copied.copies < 0.56
    assert distances_to_training(training, training, held_out).copies == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 1000))
def test_distances_agree_with_their_definition(rows, size, seed):
    rng = np.random.default_rng(seed)
    x, ids = rng.normal(size=(rows, 3)), np.arange(rows) // size
    table = np.linalg.norm(x[:, None] - x[None], axis=-1)
    for k in (1, rows):
        np.testing.assert_allclose(nearest_distances(x, x, k), np.sort(table, axis=1)[:, k - 1], atol=1e-6)
    if rows > size:
        other = np.where(ids[:, None] == ids[None], np.inf, table).min(axis=1)
        np.testing.assert_allclose(other_walk_distances(x, ids), other, atol=1e-6)


def test_pose_features(walks):
    joints = walks.joints[0]
    features = pose_features(joints)
    assert features.shape == (6 * len(KINECT_V2),)
    np.testing.assert_allclose(pose_features(joints + [1, 2, 3]), features, atol=1e-6)  # where it walks does not matter
    bigger = pose_features(1.1 * joints)
    np.testing.assert_allclose(bigger, 1.1 * features, atol=1e-6)  # the body's size does


def test_wrong_features_are_refused(walks):
    good, ids = np.eye(4), np.arange(4)
    with pytest.raises(ValueError, match="array 1: expected finite features .N >= 1, 4., got shape .2, 3."):
        standardised(good, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        distances_to_training(np.full((2, 4), np.nan), good, good)
    with pytest.raises(ValueError, match="5-th nearest of 4 walks"):
        membership_scores(good, ids, good)
    with pytest.raises(ValueError, match="got 4 rows of 1 walks"):
        other_walk_distances(good, np.zeros(4))
    with pytest.raises(ValueError, match="lengths differ"):
        membership_auc([True, False], [1.0, 2.0, 3.0], ["a", "b"])
    with pytest.raises(ValueError, match="1 scores are not finite"):
        membership_auc([True, False], [1.0, np.inf], ["a", "b"])
    with pytest.raises(ValueError, match="got 2 and 0 rows"):
        membership_auc([True, True], [1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match="walk 'a' is both"):
        membership_auc([True, False], [1.0, 2.0], ["a", "a"])
    with pytest.raises(ValueError, match="expected one finite walk"):
        pose_features(walks.joints)
