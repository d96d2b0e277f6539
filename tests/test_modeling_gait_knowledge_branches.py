"""Gait parameters from a walk's rhythm, and walks whose parameters change as is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from modeling_gait.modeling_gait_knowledge import prepare_knowledge_input
from modeling_gait.modeling_gait_knowledge_branches import GaitTiming, change_walks
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2

PARAMETERS = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)


def measured(joints: np.ndarray, fps: float) -> torch.Tensor:
    values = compute_gait_parameters(joints, fps)
    return torch.tensor([[values[p.name] for p in PARAMETERS]], dtype=torch.float32)


@pytest.mark.parametrize("seed", range(4))
def test_parameters_of_changed_walks_are_those_that_are_measured(seed):
    walk = simulate_walks(1, frames=150, seed=3, pathology="steppage", severity=0.8).joints[0]
    values = torch.from_numpy(prepare_knowledge_input([walk], 30.0, frames=150))
    torch.manual_seed(seed)
    changed, parameters = change_walks(values, measured(walk, 30.0), KINECT_V2)
    slower = float(changed[0, 0, -1] / values[0, 0, -1])
    longer = float(changed[0, 0, 5] / values[0, 0, 5])
    other = walk * longer
    if not torch.allclose(changed[0, :, 3:75], values[0, :, 3:75] * longer):
        other = other[:, list(KINECT_V2.mirror)] * [-1, 1, 1]
    again = torch.from_numpy(prepare_knowledge_input([other], 30.0 / slower, frames=150))
    torch.testing.assert_close(changed, again, atol=2e-5, rtol=1e-4)
    # the 6 Hz filter and the limits on events are in seconds and do not slow down with the walk: not to the last digit
    torch.testing.assert_close(parameters, measured(other, 30.0 / slower), atol=0.05, rtol=0.08, equal_nan=True)


def test_changed_walks_are_not_all_alike():
    values, parameters = torch.rand(64, 8, 76) + 0.1, torch.rand(64, 29)
    torch.manual_seed(0)
    changed, other = change_walks(values, parameters, KINECT_V2)
    assert len(torch.unique(changed[:, 0, -1] / values[:, 0, -1])) > 60
    mirrored = changed[:, 0, 3].sign() != values[:, 0, 3].sign()
    assert 16 < mirrored.sum() < 48 and other.shape == (64, 29)
    same = change_walks(values, parameters, KINECT_V2, size=0, rhythm=0)[1]
    names = [p.name for p in GAIT_PARAMETERS]
    left, right = names.index("step_time_left"), names.index("step_time_right")
    swapped = torch.isclose(same[:, left], parameters[:, right])
    assert 16 < swapped.sum() < 48
    difference = names.index("step_time_difference")
    torch.testing.assert_close(same[swapped, difference], -parameters[swapped, difference])


def sine(period: float, step: float, seconds: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    time = torch.arange(0, seconds, step)
    values = torch.stack([torch.sin(2 * torch.pi * time / period + phase) for phase in (0, 1, 2)], dim=-1)[None]
    return values, torch.full((1, len(time)), step)


def test_the_rhythm_counts_in_seconds():
    torch.manual_seed(0)
    timing = GaitTiming(3, 5, num_channels=4)
    fine, coarse, faster = timing(*sine(1.0, 0.02)), timing(*sine(1.0, 0.04)), timing(*sine(0.5, 0.02))
    assert (fine - faster).abs().max() > 5 * (fine - coarse).abs().max()


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 12), before=st.integers(0, 3), after=st.integers(0, 5))
def test_masked_frames_do_not_count(frames, before, after):
    torch.manual_seed(frames)
    timing, walk = GaitTiming(6, 5, num_channels=3), torch.randn(2, frames, 6)
    step = torch.full((2, frames), 0.1)
    pad = lambda x, value: torch.nn.functional.pad(x, (before, after), value=value)  # noqa: E731
    padded = torch.cat((torch.randn(2, before, 6), walk, torch.randn(2, after, 6)), dim=1)
    alone = timing(walk, step)
    assert alone.isfinite().all()
    torch.testing.assert_close(timing(padded, pad(step, 9.0), pad(torch.ones(2, frames), 0.0)), alone, atol=2e-4, rtol=1e-3)
