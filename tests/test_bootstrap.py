"""Intervals are as wide as theory has them, and as units allow, not rows."""

import numpy as np
import pytest

from modeling_gait.evaluation.bootstrap import bootstrap, bootstrap_units


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(3, 2, 400)
    error = 1.96 * values.std() / 20
    seen = np.repeat(values, 3)  # three rows a unit say the same thing three times
    for low, high in (bootstrap(values), bootstrap_units(lambda rows: seen[rows].mean(), np.repeat(np.arange(400), 3))):
        assert low == pytest.approx(values.mean() - error, abs=0.15 * error)
        assert high == pytest.approx(values.mean() + error, abs=0.15 * error)


def test_units_are_drawn_whole_and_within_their_stratum():
    units, strata = np.array(["a", "a", "b", "c"]), np.array([0, 0, 0, 1])
    drawn = []
    low, high = bootstrap_units(lambda rows: drawn.append(sorted(rows)) or [len(rows), 5], units, strata, draws=50)
    assert {tuple(rows) for rows in drawn} == {(0, 0, 1, 1, 3), (0, 1, 2, 3), (2, 2, 3)}
    assert (low[0], high[0], low[1]) == (3, 5, 5)
