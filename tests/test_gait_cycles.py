"""Gait cycles of signals and skeletons."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modeling_gait.gait_cycles import cycle_correlations, cycle_period, cycles_to_walk, find_cycles, resample_cycle, walk_cycles
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.skeletons import KINECT_V2

FPS = 60.0


def pulses(period: float, cycles: int = 8, phase: float = 0.3, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """(T,) a bump once in a period [s], a lower one half a period later, a trend and noise."""
    t = np.arange(int(cycles * period * FPS)) / FPS / period - phase
    values = np.exp(8 * np.cos(2 * np.pi * t) - 8) + 0.3 * np.exp(8 * np.cos(2 * np.pi * (t - 0.5)) - 8)
    return values + 0.02 * t + noise * np.random.default_rng(seed).normal(size=len(t))


@settings(max_examples=40, deadline=None)
@given(st.floats(0.55, 1.8), st.floats(0.1, 0.9), st.floats(0.0, 0.08), st.floats(1e-3, 1e4), st.integers(0, 99))
def test_cycles_of_a_periodic_signal(period, phase, noise, scale, seed):
    values = scale * pulses(period, phase=phase, noise=noise, seed=seed)
    assert cycle_period(values, FPS) == pytest.approx(period, abs=1.5 / FPS)
    cycles = find_cycles(values, FPS)
    assert 6 <= len(cycles) <= 8
    starts = np.array([s for s, _ in cycles])
    ends = np.array([e for _, e in cycles])
    np.testing.assert_array_equal(starts[1:], ends[:-1])
    inner = starts[(starts > period * FPS / 2) & (starts < len(values) - period * FPS / 2)]
    off = (inner / FPS / period - phase + 0.5) % 1 - 0.5  # from the bump, in periods
    assert np.abs(off).max() < 0.06


def test_the_lesser_bump_begins_no_cycle_and_a_missing_one_is_returned_long():
    values = pulses(1.0, cycles=10)
    values[int(4.55 * FPS) : int(6.05 * FPS)] = values[int(4.55 * FPS)]  # one bump lost, and the lesser ones beside it
    lengths = np.array([e - s for s, e in find_cycles(values, FPS)]) / FPS
    assert (lengths > 1.7).sum() == 1 and np.median(lengths) == pytest.approx(1.0, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 120), st.floats(0.0, 20.0), st.floats(5.0, 60.0), st.integers(1, 4))
@example(63, 19.999999999999996, 5.0, 3)  # rounding: 4e-16 above the highest sample
def test_resampling_keeps_lines_bounds_and_the_start(points, start, length, channels):
    rng = np.random.default_rng(points)
    t = np.arange(90.0)[:, None]
    line = t * rng.normal(size=channels) + rng.normal(size=channels)
    phases = start + length * np.arange(points)[:, None] / points
    got = resample_cycle(line, start, start + length, points)
    assert got.shape == (points, channels)
    np.testing.assert_allclose(
        got, np.interp(phases.ravel(), t.ravel(), np.arange(90.0))[:, None] * (line[1] - line[0]) + line[0]
    )
    rough = rng.normal(size=(90, channels))
    got = resample_cycle(rough, start, start + length, points)
    assert got.min() >= rough.min() and got.max() <= rough.max()  # a clipped peak stays clipped
    whole = resample_cycle(rough, 10, 10 + points, points) if points < 79 else None
    if whole is not None:
        np.testing.assert_allclose(whole, rough[10 : 10 + points], atol=1e-12)


def test_a_cycle_begins_between_samples():
    """The top of a cosine, to a tenth of a sample, in the middle where the filter has no edge."""
    values = np.cos(2 * np.pi * (np.arange(600) - 7.3) / 50.4)
    starts = np.array([s for s, _ in find_cycles(values, FPS)])[3:-3]
    off = (starts - 7.3) / 50.4
    assert len(starts) >= 4 and np.abs(off - off.round()).max() * 50.4 < 0.1


def test_the_end_is_the_next_cycles_start():
    values = np.sin(2 * np.pi * np.arange(200) / 50)[:, None]
    first, second = resample_cycle(values, 20, 70), resample_cycle(values, 70, 120)
    np.testing.assert_allclose(first, second, atol=1e-9)
    assert abs(first[0, 0] - first[-1, 0]) > 0.01  # phase 0.99, not 1


def test_correlation_tells_strangers():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(50, 6)).cumsum(0)
    cycles = mean + 0.1 * rng.normal(size=(9, 50, 6))
    cycles[3] = np.roll(mean, 25, axis=0)
    cycles[5] = 7.0
    cycles[6] += 100.0  # an offset is not a difference of shape
    got = cycle_correlations(cycles)
    assert got[3] < 0.6 and got[5] == 0.0
    assert np.delete(got, [3, 5]).min() > 0.95
    np.testing.assert_allclose(cycle_correlations(-mean[None], mean), -1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_cycles(np.zeros(1), FPS), "two samples or more, got 1"),
        (lambda: find_cycles(np.zeros((9, 2)), FPS), r"\(T,\) of one channel"),
        (lambda: find_cycles(np.r_[pulses(1.0), np.nan], FPS), "not finite, the first at sample 480"),
        (lambda: find_cycles(np.zeros(300), FPS), "no cycle found"),
        (lambda: find_cycles(np.arange(300.0), FPS), "no cycle found"),
        (lambda: find_cycles(pulses(1.0), 0.0), "fps must be"),
        (lambda: find_cycles(pulses(1.0), FPS, 2.0, 1.0), "shortest < longest"),
        (lambda: resample_cycle(np.zeros((1, 3)), 0, 1), "two samples or more, got 1"),
        (lambda: resample_cycle(np.zeros(9), 0, 1), r"expected values \(T, C\)"),
        (lambda: resample_cycle(np.zeros((9, 3)), 5, 9), "not within samples 0 to 8"),
        (lambda: resample_cycle(np.zeros((9, 3)), 5, 5), "not within"),
        (lambda: resample_cycle(np.zeros((9, 3)), 1, 5, 0), "points"),
        (lambda: resample_cycle(np.where(np.arange(27) == 13, np.nan, 0.0).reshape(9, 3), 1, 7), "sample 4, channel 1"),
        (lambda: cycle_correlations(np.zeros((0, 5, 2))), "one or more"),
        (lambda: cycle_correlations(np.zeros((2, 5, 2)), np.zeros((5, 3))), "expected a reference"),
        (lambda: cycle_correlations(np.full((2, 5, 2), np.nan)), "not finite"),
        (lambda: walk_cycles(np.zeros((60, 25, 3)), 30.0), "no cycle found"),
        (lambda: walk_cycles(np.zeros((1, 25, 3)), 30.0), "no cycle found"),
        (lambda: walk_cycles(np.zeros((60, 18, 3)), 30.0), "expected joints"),
        (lambda: walk_cycles(np.full((60, 25, 3), np.nan), 30.0), "no cycle found"),
        (lambda: walk_cycles(np.zeros((60, 25, 3)), 30.0, side="both"), "side must be"),
        (lambda: walk_cycles(1000 * np.tile(KINECT_V2.rest_positions, (60, 1, 1)), 30.0), "what is the unit"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_skeleton_cycles():
    walk = simulate_walks(1, frames=150, pathology="normal", seed=3)
    joints = walk.joints[0]
    cycles = walk_cycles(joints, 30.0, points=50)
    assert len(cycles) >= 3 and cycles.shape[1:] == (50, 75) and cycles.dtype == np.float32
    shaped = cycles.reshape(len(cycles), 50, 25, 3)
    np.testing.assert_allclose(shaped[:, :, KINECT_V2.root], 0, atol=1e-6)
    forward = shaped[:, :, KINECT_V2.index("right_ankle"), 1]
    assert np.isin(forward.argmax(axis=1), [48, 49, 0, 1, 2]).all()  # a heel strike: the right foot is farthest ahead
    left = walk_cycles(joints, 30.0, side="left", points=50).reshape(-1, 50, 25, 3)
    assert np.isin(left[:, :, KINECT_V2.index("left_ankle"), 1].argmax(axis=1), [48, 49, 0, 1, 2]).all()
    assert cycle_correlations(cycles).min() > 0.95
    moved = walk_cycles(joints + np.array([3.0, -2.0, 0.5]), 30.0, points=50)
    np.testing.assert_allclose(moved, cycles, atol=1e-5)


def test_cycles_make_a_walk_again():
    walk = simulate_walks(1, frames=180, fps=60.0, pathology="normal", noise=0.0, seed=3)
    joints = walk.joints[0]
    measured = compute_gait_parameters(joints, 60.0)
    cycles = walk_cycles(joints, 60.0).astype(np.float64)
    kept = cycles.copy()
    again = cycles_to_walk(cycles, measured["cycle_time_right"], fps=60.0)
    np.testing.assert_array_equal(cycles, kept)
    assert again.shape == (pytest.approx(len(cycles) * measured["cycle_time_right"] * 60, abs=1.5), 25, 3)
    found = compute_gait_parameters(cycles_to_walk(np.tile(cycles, (3, 1, 1)), measured["cycle_time_right"], 60.0), 60.0)
    for name, error in (("speed", 0.12), ("cadence", 3.0), ("step_length_left", 0.08), ("knee_range_right", 3.0)):
        assert found[name] == pytest.approx(measured[name], abs=error), name
    lengths = [np.linalg.norm(j[:, 13] - j[:, 12], axis=-1).mean() for j in (joints, again)]
    assert lengths[0] == pytest.approx(lengths[1], abs=0.005)
    assert np.abs(again[..., [KINECT_V2.index("left_foot"), KINECT_V2.index("right_foot")], 2].min(1)).max() < 1e-5


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_a_walk_of_cycles_is_as_fast_as_the_walk(pathology):
    """The foot whose toes hang lower need not stand: by it they were 15 to 35 % too slow, and 8 % while heels rise."""
    for joints in simulate_walks(3, frames=200, seed=1, pathology=pathology, severity=0.8).joints:
        measured = compute_gait_parameters(joints, 30.0)
        walk = cycles_to_walk(walk_cycles(joints, 30.0), measured["cycle_time_right"], 30.0)
        speed = (walk[-1, 0, 1] - walk[0, 0, 1]) / (len(walk) - 1) * 30
        assert speed == pytest.approx(measured["speed"], rel=0.06)
        found = compute_gait_parameters(walk, 30.0)  # without the sway of the body steps were a third too narrow
        assert found["step_width"] == pytest.approx(measured["step_width"], rel=0.12)
        assert abs(walk[-1, 0, 0] - walk[0, 0, 0]) < 1e-6


@pytest.mark.parametrize(
    "cycles, duration, message",
    [
        (np.zeros((2, 100, 74)), 1.0, "expected cycles"),
        (np.full((2, 100, 75), np.nan), 1.0, "not finite"),
        (np.zeros((2, 100, 75)), 0.0, "positive"),
    ],
)
def test_cycles_that_make_no_walk(cycles, duration, message):
    with pytest.raises(ValueError, match=message):
        cycles_to_walk(cycles, duration)
