"""Calibration and ordinal scores: against known answers, another formula, and data made to be calibrated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from modeling_gait.evaluation.calibration import (
    TEMPERATURE_LIMITS,
    expected_calibration_error,
    expected_score,
    fit_temperature,
    mean_absolute_error,
    plot_reliability,
    quadratic_kappa,
    reliability,
)


def drawn(n: int = 4000, classes: int = 4, seed: int = 0, size: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, classes), and labels drawn from their softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, size, (n, classes))
    edges = softmax(logits, axis=1).cumsum(1)
    return logits, np.minimum((rng.random((n, 1)) > edges).sum(1), classes - 1)


def test_the_table_of_four_predictions():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55]])
    table = reliability(p, np.array([0, 1, 1, 0]), bins=10)
    assert table.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 0]  # 0.9 and 0.6 lie in the bins that they end
    np.testing.assert_allclose(table.confidence[[5, 8]], [0.575, 0.9])
    np.testing.assert_allclose(table.accuracy[[5, 8]], [0.5, 0.5])
    assert table.ece == pytest.approx(0.5 * 0.075 + 0.5 * 0.4)
    assert np.isnan(table.accuracy[0])


def test_sure_and_right_is_0_sure_and_wrong_is_1():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0
    assert expected_calibration_error(np.eye(3), np.array([1, 2, 0])) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(1, 20), st.integers(0, 10**6))
def test_ece_is_the_sum_over_bins(n, classes, bins, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.4), n)
    y = rng.integers(0, classes, n)
    table, sure = reliability(p, y, bins), p.max(1)
    expected = 0.0
    for low, high in zip(table.edges[:-1], table.edges[1:]):
        mine = (sure > low + 1e-12) & (sure <= high + 1e-12)
        if mine.any():
            expected += mine.mean() * abs(sure[mine].mean() - (p.argmax(1) == y)[mine].mean())
    assert table.count.sum() == n
    assert table.ece == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_undoes_a_scaling_and_lowers_the_error(factor):
    logits, labels = drawn()
    temperature = fit_temperature(factor * logits, labels)
    assert temperature == pytest.approx(factor, rel=0.06)
    calibrated = expected_calibration_error(softmax(factor * logits / temperature, axis=1), labels)
    assert calibrated < 0.025
    if factor != 1:
        assert expected_calibration_error(softmax(factor * logits, axis=1), labels) > 3 * calibrated


def test_temperature_stays_within_its_limits():
    never_wrong, always_wrong = 5.0 * np.eye(3), 5.0 * np.eye(3)[[1, 2, 0]]
    low, high = (fit_temperature(logits, np.arange(3)) for logits in (never_wrong, always_wrong))
    assert TEMPERATURE_LIMITS[0] <= low < 0.3 and 40 < high <= TEMPERATURE_LIMITS[1]


def test_kappa_against_its_formula():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 200)
    said = np.clip(y + rng.integers(-1, 2, 200), 0, 3)
    observed = np.zeros((4, 4))
    np.add.at(observed, (y, said), 1)
    weights = (np.arange(4)[:, None] - np.arange(4)) ** 2
    chance = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    assert quadratic_kappa(y, said) == pytest.approx(1 - (weights * observed).sum() / (weights * chance).sum())
    assert quadratic_kappa(y, y) == 1
    assert quadratic_kappa(np.array([0, 3]), np.array([3, 0])) == -1
    assert np.isnan(quadratic_kappa(np.array([2, 2]), np.array([2, 2])))


def test_kappa_counts_scores_that_nobody_has():
    """A jump from 0 to 3 weighs nine times a jump to 1, also where no one has 1 or 2."""
    rare, near = quadratic_kappa(np.array([0, 0, 0, 3]), np.array([0, 0, 3, 3])), np.array([0, 0, 1, 3])
    assert rare < quadratic_kappa(np.array([0, 0, 0, 3]), near)


def test_scores_and_their_error():
    np.testing.assert_allclose(expected_score(np.array([[0.5, 0, 0, 0.5], [0, 1, 0, 0]])), [1.5, 1])
    assert mean_absolute_error(np.array([0, 3]), np.array([0.5, 1.0])) == 1.25


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability(np.ones((2, 3)), np.zeros(2, int)), "sum to 1"),
        (lambda: reliability(np.eye(2), np.zeros(3, int)), "labels with N, K > 0"),
        (lambda: reliability(np.zeros((0, 2)), np.zeros(0, int)), "N, K > 0"),
        (lambda: reliability(np.eye(2), np.array([0, 2])), "0..1"),
        (lambda: reliability(np.eye(2), np.array([0.0, 1.0])), "whole numbers"),
        (lambda: reliability(np.eye(2), np.arange(2), bins=0), "bins"),
        (lambda: fit_temperature(np.array([[np.nan, 1]]), np.array([0])), "not finite"),
        (lambda: quadratic_kappa(np.array([1]), np.array([1.5])), "round"),
        (lambda: quadratic_kappa(np.array([]), np.array([])), "N > 0"),
        (lambda: mean_absolute_error(np.arange(2), np.arange(3)), "two rows"),
        (lambda: plot_reliability("x.gif", np.eye(2), np.arange(2)), ".png"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_picture(tmp_path):
    logits, labels = drawn(200)
    plot_reliability(tmp_path / "r.png", softmax(3 * logits, axis=1), labels)
    assert (tmp_path / "r.png").stat().st_size > 5000
    assert len(list(tmp_path.iterdir())) == 1
