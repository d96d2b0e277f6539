"""Numerical text: phrases, scale, groups of weakly correlated parameters, and numbers spoken, read back and checked."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.gait_parameters import GAIT_PARAMETERS
from modeling_gait.numeric_text import (
    DECIMALS,
    NUM_TOKEN,
    NUMERIC_PHRASES,
    PARAMETER_NAMES,
    UNITS,
    check_spoken,
    correlation_strength,
    group_parameters,
    numeric_sentence,
    parameter_vector,
    parse_spoken,
    spoken_sentence,
)

NAN = float("nan")
number = st.one_of(st.just(NAN), st.floats(-2000, 2000))
vectors = st.lists(number, min_size=29, max_size=29).map(np.array)


def correlated(rows: int = 200, seed: int = 0) -> np.ndarray:
    """(rows, 29) in seven families of strongly correlated neighbours, a tenth of them nan."""
    rng = np.random.default_rng(seed)
    families = np.repeat(rng.normal(size=(rows, 8)), 4, axis=1)[:, :29]
    values = families + 0.3 * rng.normal(size=(rows, 29))
    values[rng.random(values.shape) < 0.1] = NAN
    return values


def test_phrases():
    assert tuple(NUMERIC_PHRASES) == tuple(p.name for p in GAIT_PARAMETERS) and len(NUMERIC_PHRASES) == 29
    assert len(set(NUMERIC_PHRASES.values())) == 29
    assert all(phrase.count(NUM_TOKEN) == 1 for phrase in NUMERIC_PHRASES.values())
    assert NUMERIC_PHRASES["speed"] == "walking speed [NUM] m/s"
    assert NUMERIC_PHRASES["step_time_difference"] == "right minus left step time [NUM] s"
    assert NUMERIC_PHRASES["double_support_percent_left"] == "left double support [NUM] % of the cycle"
    assert set(UNITS.values()) == set(DECIMALS)


def test_numeric_sentence():
    assert numeric_sentence([1, 0]) == "cadence [NUM] steps/min, walking speed [NUM] m/s"
    for index in (-1, 29):
        with pytest.raises(ValueError, match=f"gait parameter {index} is not one of 0..28"):
            numeric_sentence([index])
        with pytest.raises(ValueError, match=f"gait parameter {index} is not one of 0..28"):
            spoken_sentence(np.ones(29), [index])


def test_parameter_vector():
    vector = parameter_vector({"cadence": 100.0, "hip_range_left": 40.0, "speed": None})
    assert vector.shape == (29,) and vector[1] == 100.0 and np.isnan(np.delete(vector, 1)).all()
    with pytest.raises(ValueError, match="none of the gait parameters"):
        parameter_vector({"Speed": 1.0})
    with pytest.raises(ValueError, match=r"expected gait parameters \(29,\), got shape \(28,\)"):
        parameter_vector(np.ones(28))
    with pytest.raises(ValueError, match="gait parameter cadence is infinite"):
        parameter_vector({"cadence": np.inf})


@pytest.mark.parametrize("size", [1, 4, 5, 29, 40])
def test_groups_hold_all(size):
    groups = group_parameters(correlated(), size)
    assert sorted(i for g in groups for i in g) == list(range(29))
    assert all(len(g) == min(size, 29) for g in groups[:-1]) and 1 <= len(groups[-1]) <= size
    assert groups == group_parameters(correlated(), size)


def test_groups_are_weakly_correlated():
    values = correlated()
    strength = correlation_strength(values)
    inside = [strength[a, b] for g in group_parameters(values) for a, b in combinations(g, 2)]
    assert strength[0, 1] > 0.8 and max(inside) < 0.3


def test_correlation_where_undefined():
    values = np.random.default_rng(0).normal(size=(5, 29))
    values[:, 0], values[:, 1], values[:3, 2] = NAN, 1.0, NAN
    strength = correlation_strength(values)
    assert not strength[:3].any() and strength[3, 4] > 0 and np.array_equal(strength, strength.T)
    assert sorted(i for g in group_parameters(values) for i in g) == list(range(29))
    with pytest.raises(ValueError, match="size must be at least 1"):
        group_parameters(values, 0)


def test_spoken():
    values = {"speed": 0.612, "cadence": 96.4, "step_time_difference": -0.0004, "foot_progression_angle_left": 7.25}
    text = spoken_sentence(values)
    assert text == (
        "walking speed 0.61 m/s, cadence 96 steps/min, right minus left step time 0.00 s, left toe-out angle 7.2 degrees"
    )
    assert spoken_sentence(values, [1, 3], {"steps/min": 1}) == "cadence 96.4 steps/min"
    assert spoken_sentence(np.full(29, NAN)) == ""


@given(vectors)
@settings(max_examples=60, deadline=None)
def test_parse_is_the_inverse(values):
    rounded = {n: round(v, DECIMALS[UNITS[n]]) for n, v in zip(PARAMETER_NAMES, values.tolist()) if not np.isnan(v)}
    text = spoken_sentence(values)
    assert parse_spoken(text) == rounded
    assert check_spoken(text, values) == []
    assert parse_spoken(f"The {text.upper()}.") == rounded


def test_parse_within_prose():
    text = "Walking speed 0.61 m/s is slow; the right minus left step time -0.08 s shows a limp."
    assert parse_spoken(text) == {"speed": 0.61, "step_time_difference": -0.08}
    assert parse_spoken("left step length 0.5 m/s, walking speed 1 m") == {}, "a wrong unit is another quantity"
    assert parse_spoken("right minus left foot height in swing 0.02 m") == {}, "a difference is not the left value"
    with pytest.raises(ValueError, match="two values of speed: 0.6 and 0.7"):
        parse_spoken("walking speed 0.6 m/s, walking speed 0.7 m/s")


@given(vectors, st.integers(0, 28), st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_a_changed_number_is_found(values, index, steps):
    name = PARAMETER_NAMES[index]
    values[index] = 1.0
    wrong = values.copy()
    wrong[index] += (1 + steps) * 10.0 ** -DECIMALS[UNITS[name]]
    problems = check_spoken(spoken_sentence(wrong), values)
    assert len(problems) == 1
    assert problems[0].startswith(f"{name}: said ") and "measured 1 " in problems[0]


def test_check_spoken():
    measured = {"speed": 0.655, "cadence": NAN}
    assert check_spoken("walking speed 0.61 m/s", measured) == ["speed: said 0.61 m/s, measured 0.655 m/s"]
    assert check_spoken("walking speed 0.61 m/s", measured, {"m/s": 0.05}) == []
    assert check_spoken("cadence 96 steps/min", measured) == ["cadence: said 96 steps/min, not measured"]
    assert check_spoken("walking speed 66 cm/s", measured) == ["the number 66 belongs to no gait parameter"]
    both = check_spoken("walking speed 0.65 m/s, later walking speed 0.9 m/s", measured)
    assert both == ["speed: said 0.9 m/s, measured 0.655 m/s"], "every mention is checked"
