"""Severity: half a pathology lies between normal and affected, -1 takes it away, other people and normal walks stay."""

import numpy as np
import pytest

from modeling_gait.evaluation.severity import PHASES, change_severity, gait_phase, template
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.simulation import simulate_walks


@pytest.fixture(scope="module")
def walks():
    """Classifier inputs of two people's normal and stiff-legged walks."""
    parts = [
        simulate_walks(
            6, pathology=name, severity=1.0, side=None if name == "normal" else "right", frames=120, seed=10 * person, noise=0.0
        ).joints
        for person in (1, 2)
        for name in ("normal", "stiff_legged")
    ]
    inputs = prepare_classifier_input([w for part in parts for w in part])
    return inputs, np.repeat([0, 1, 0, 1], 6), np.repeat([1, 1, 2, 2], 6)


def knee_range(inputs: np.ndarray) -> np.ndarray:
    joints = inputs.reshape(*inputs.shape[:2], 25, 3)
    return np.array([compute_gait_parameters(w, 16.0)["knee_range_right"] for w in joints])


def test_phase_runs_through_all_of_the_cycle(walks):
    phase = gait_phase(walks[0])
    assert phase.shape == walks[0].shape[:2] and (phase >= 0).all() and (phase < PHASES).all()
    steps = np.diff(phase, axis=1) % PHASES
    assert np.median(steps) < PHASES / 4, "phase must go forward in small steps"


def test_a_template_is_the_pose_at_its_phase(walks):
    inputs = np.tile(np.arange(10.0)[:, None, None], (1, 64, 75))
    phase = np.repeat(np.arange(10.0)[:, None], 64, axis=1)
    np.testing.assert_allclose(template(inputs, phase)[:10, 0], np.arange(10), atol=1e-6)


def test_the_pathology_is_taken_away_and_made_stronger(walks):
    inputs, labels, subjects = walks
    ranges = {
        a: knee_range(change_severity(inputs, labels, subjects, np.full(24, a), 0))[labels == 1].mean() for a in (-1, 0, 0.3)
    }
    normal = knee_range(inputs[labels == 0]).mean()
    assert abs(ranges[-1] - normal) < 0.35 * abs(ranges[0] - normal)
    assert abs(ranges[0.3] - normal) > abs(ranges[0] - normal)


def test_what_stays(walks):
    inputs, labels, subjects = walks
    out = change_severity(inputs, labels, subjects, np.full(24, 0.5), 0)
    np.testing.assert_array_equal(out[labels == 0], inputs[labels == 0])
    np.testing.assert_allclose(change_severity(inputs, labels, subjects, np.zeros(24), 0), inputs, atol=1e-6)
    affected = labels == 1
    np.testing.assert_array_equal(
        change_severity(inputs[affected], labels[affected], subjects[affected], np.ones(12), 0), inputs[affected]
    )
    assert np.abs(out[:, :, :3]).max() == 0, "the root stays at the origin"


def test_bad_input():
    with pytest.raises(ValueError, match="expected walks"):
        gait_phase(np.zeros((3, 64, 10)))
