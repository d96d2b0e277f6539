"""Walks that go on: the start stays, poses repeat, the path goes on at the same speed, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.continuation import continue_walk


def walk(frames: int, period: float, speed: float = 0.04, joints: int = 4) -> np.ndarray:
    """Root at constant speed, joints that swing with the period."""
    time = np.arange(frames)
    phase = 2 * np.pi * (time[:, None] / period + np.linspace(0, 0.5, joints))
    out = np.stack((np.cos(phase), 0.3 * np.sin(phase), 1 + 0.2 * np.sin(phase)), axis=-1)
    out[:, 0] = 0, 0, 1
    return out + np.array([0, speed, 0]) * time[:, None, None]


@settings(max_examples=25, deadline=None)
@given(st.integers(80, 100), st.integers(20, 36), st.integers(1, 300))
def test_a_periodic_walk_goes_on_as_itself(frames, period, wanted):
    """With a whole number of frames a cycle the continuation is the longer walk itself."""
    expected = walk(max(frames, wanted), period)[:wanted]
    np.testing.assert_allclose(continue_walk(walk(frames, period), wanted), expected, atol=1e-6)


def test_a_seam_that_does_not_fit_is_faded():
    source = walk(70, 31.4) + np.random.default_rng(0).normal(0, 0.01, (70, 4, 3))
    out = continue_walk(source, 200)
    np.testing.assert_array_equal(out[:40], source[:40])
    jumps = np.linalg.norm(np.diff(out, axis=0), axis=-1)
    assert jumps.max() < 1.6 * np.linalg.norm(np.diff(source, axis=0), axis=-1).max()


def test_bad_input():
    with pytest.raises(ValueError, match="shape|expected joints"):
        continue_walk(np.zeros((5, 3)), 10)
    with pytest.raises(ValueError, match="at least 1"):
        continue_walk(walk(50, 30), 0)
    with pytest.raises(ValueError, match="too few"):
        continue_walk(walk(10, 8), 50)
