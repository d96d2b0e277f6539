"""Normative ranges: units of the parameters, ages and sexes nest, simulated healthy adults lie inside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.drawing.rendering import normative_curves
from modeling_gait.gait_norms import normative_range
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from modeling_gait.simulation import simulate_walks

PARAMETERS = {p.name: p for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)}
KNOWN = [name for name in PARAMETERS if normative_range(name)]


def test_published_numbers():
    norm = normative_range("speed", age=30, sex="female")
    assert (norm.low, norm.high, norm.unit) == (0.94, 1.66, "m/s")
    assert "18-49" in norm.people and "Whittle" in norm.source
    assert normative_range("cadence", 70, "male").low == 81
    assert normative_range("stride_length_left", 90, "female").high == 1.46
    assert normative_range("step_time_left", 30, "male").low == pytest.approx(60 / 135, abs=1e-3)
    single, double = (normative_range(f"{k}_support_percent_right", 30) for k in ("single", "double"))
    assert (single.low, single.high, double.low, double.high) == (33.2, 43.2, 13.6, 33.6)
    knee, (mean, spread) = normative_range("peak_knee_flexion_left"), normative_curves()["knee_flexion"]
    top = mean.argmax()
    assert (knee.low, knee.high) == pytest.approx((mean[top] - 2 * spread[top], mean[top] + 2 * spread[top]), abs=0.5)


def test_no_norm_where_none_is_known():
    assert len(KNOWN) == 16  # 14 of the 29 gait parameters and the peak knee flexion
    for name in (
        "step_time_difference",
        "foot_height_left",
        "foot_progression_angle_right",
        "trunk_lean_sagittal",
        "swing_time_left",
    ):
        assert normative_range(name) is None
    assert all(normative_range(name, age=12) is None for name in PARAMETERS)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KNOWN), st.integers(18, 100), st.sampled_from(["female", "male"]))
def test_the_range_of_a_person_lies_in_the_range_of_all(name, age, sex):
    everyone, mine = normative_range(name), normative_range(name, age, sex)
    assert everyone.low <= mine.low < mine.high <= everyone.high
    assert mine.unit == PARAMETERS[name].unit and mine.source and mine.people


@pytest.mark.parametrize("wrong", [{"sex": "f"}, {"age": -1}, {"age": float("nan")}])
def test_bad_input_is_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        normative_range("speed", **wrong)


def test_simulated_healthy_adults_lie_inside_and_severe_parkinsonian_walks_outside():
    def share_inside(pathology: str) -> dict[str, float]:
        person = {"age": 30, "load": "none", "footwear": "trainers"}
        walks = simulate_walks(8, frames=150, seed=3, pathology=pathology, severity=1.0, attributes=person)
        rows = [compute_gait_parameters(joints, walks.fps) for joints in walks.joints]
        sexes = [a["sex"] for a in walks.attributes]
        inside = {n: [normative_range(n, 30, s).contains(r[n]) for r, s in zip(rows, sexes)] for n in KNOWN}
        return {n: float(np.mean(v)) for n, v in inside.items()}

    healthy, ill = share_inside("normal"), share_inside("parkinsonian")
    assert np.mean(list(healthy.values())) > 0.85
    assert ill["speed"] < 0.2 and ill["stride_length_left"] < 0.2
