"""Waves of a window: simulated walks come back, rhythm is what was simulated, mirroring and going on."""

import numpy as np
import pytest
import torch

from modeling_gait.gait_waves import (
    GaitWaves,
    clock,
    fit_drift,
    fit_stride,
    fit_waves,
    footing,
    from_channels,
    mirror_cycle,
    phase_of,
    synthesise,
    to_channels,
)
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, mirror

N, HALF = 96, 1.6


@pytest.fixture(scope="module")
def joints() -> torch.Tensor:
    walks = simulate_walks(3, frames=N, seed=2, noise=0.0, cadence=[90.0, 110.0, 100.0], speed=[0.8, 1.2, 1.0])
    return torch.from_numpy(np.stack(walks.joints)).float()


@pytest.fixture(scope="module")
def waves(joints) -> GaitWaves:
    return fit_waves(joints, torch.ones(3, N), KINECT_V2, 30.0, N)


def relative(joints):
    return joints - joints[:, :, [KINECT_V2.root]]


def test_simulated_walks_come_back(joints, waves):
    again = from_channels(synthesise(waves, torch.ones(3, N), KINECT_V2, N, HALF), KINECT_V2)
    assert (relative(again) - relative(joints)).norm(dim=-1).mean() < 0.012
    assert (again - joints)[:, :, KINECT_V2.root].abs().max() < 0.05


def test_rhythm_is_cadence_and_speed(waves):
    np.testing.assert_allclose(120 * waves.rhythm[:, 0], [90, 110, 100], atol=2)
    np.testing.assert_allclose(waves.rhythm[:, 1], [0.8, 1.2, 1.0], atol=0.05)


@pytest.mark.parametrize("frames", [16, 24, 40, 60, 84])
def test_a_window_of_few_strides_keeps_its_speed(joints, frames):
    """The way of one stride is no wave of the root."""
    start = (N - frames) // 2
    mask = (torch.arange(N) < frames).float().expand(3, N)
    short = fit_waves(
        torch.nn.functional.pad(joints[:, start : start + frames], (0, 0, 0, 0, 0, N - frames)), mask, KINECT_V2, 30.0, N
    )
    np.testing.assert_allclose(short.rhythm[:, 1], [0.8, 1.2, 1.0], rtol=0.08)
    path = synthesise(short, mask, KINECT_V2, N, HALF)[:, :frames, 3 * KINECT_V2.root + 1]
    true = joints[:, start : start + frames, KINECT_V2.root, 1]
    np.testing.assert_allclose(path[:, -1] - path[:, 0], true[:, -1] - true[:, 0], rtol=0.08)


def test_phase_is_zero_where_the_left_ankle_is_furthest_ahead(joints, waves):
    ahead = joints[:, :, KINECT_V2.index("left_ankle"), 1] - joints[:, :, KINECT_V2.index("right_ankle"), 1]
    phase = phase_of(waves.rhythm, clock(torch.ones(3, N), N), HALF)
    at = torch.cos(phase)
    for one, c in zip(ahead, at):
        assert np.corrcoef(one, c)[0, 1] > 0.9


def test_channels_and_joints(joints):
    torch.testing.assert_close(from_channels(to_channels(joints, KINECT_V2), KINECT_V2), joints, atol=1e-5, rtol=0)


def test_the_mirrored_walk_has_the_mirrored_cycle(joints, waves):
    other = fit_waves(mirror(joints, KINECT_V2), torch.ones(3, N), KINECT_V2, 30.0, N)
    torch.testing.assert_close(other.cycle, mirror_cycle(waves.cycle, KINECT_V2), atol=2e-4, rtol=0)
    turned = torch.remainder(other.rhythm[:, 2] - waves.rhythm[:, 2], 2 * torch.pi)
    torch.testing.assert_close(turned, torch.full((3,), torch.pi), atol=1e-3, rtol=0)
    torch.testing.assert_close(mirror_cycle(mirror_cycle(waves.cycle, KINECT_V2), KINECT_V2), waves.cycle)


def test_frames_that_do_not_count_change_nothing(joints):
    mask = (torch.arange(N) < 80).float().expand(3, -1)
    garbage = torch.where(mask[..., None, None] > 0, joints, torch.full_like(joints, 9.0))
    for a, b in zip(
        vars(fit_waves(joints, mask, KINECT_V2, 30.0, N)).values(), vars(fit_waves(garbage, mask, KINECT_V2, 30.0, N)).values()
    ):
        torch.testing.assert_close(a, b)


def test_a_longer_walk_goes_on_by_its_own_cycles(waves):
    short, long = (from_channels(synthesise(waves, torch.ones(3, n), KINECT_V2, N, HALF), KINECT_V2) for n in (N, 400))
    torch.testing.assert_close(long[:, :N], short, atol=1e-4, rtol=0)
    speed = (long[:, -1, 0, 1] - long[:, 200, 0, 1]) / (199 / 30)
    torch.testing.assert_close(speed, waves.rhythm[:, 1], atol=0.1, rtol=0)
    assert relative(long).abs().max() < 1.2 * relative(short).abs().max()


def test_strides_reach_as_far_as_the_speed_asks_for(waves):
    ratio = footing(waves, KINECT_V2)
    np.testing.assert_allclose(ratio, 1.08, atol=0.06)  # simulated feet stand
    for factor in (0.5, 0.8, 1.5):
        rhythm = waves.rhythm * torch.tensor([1.0, factor, 1, 1, 1, 1])
        other = fit_stride(GaitWaves(waves.cycle, waves.drift, rhythm), KINECT_V2, 1.05, 1.1)
        assert ((footing(other, KINECT_V2) > 1.0) & (footing(other, KINECT_V2) < 1.15)).all()
        before, after = (from_channels(synthesise(w, torch.ones(3, N), KINECT_V2, N, HALF), KINECT_V2) for w in (waves, other))
        feet = [KINECT_V2.index(f"{side}_{name}") for side in ("left", "right") for name in ("ankle", "foot")]
        assert (after - before)[:, :, feet, 2].abs().max() < 1e-5, "what is on the floor stays at its height"
        rise = [np.ptp(w[:, :, KINECT_V2.root, 2].numpy(), axis=1) for w in (after, before)]
        assert (np.sign(rise[0] - rise[1]) == np.sign(factor - 1)).all()
    same = fit_stride(waves, KINECT_V2, 0.9, 1.3)
    assert torch.equal(same.cycle, waves.cycle), "within what real walks do nothing changes"
    standing = GaitWaves(waves.cycle, waves.drift, waves.rhythm * torch.tensor([1.0, 0, 1, 1, 1, 1]))
    assert torch.equal(fit_stride(standing, KINECT_V2, 1.05, 1.1).cycle, waves.cycle)


def test_drift_is_what_a_given_cycle_leaves(joints, waves):
    drift = fit_drift(to_channels(joints, KINECT_V2), torch.ones(3, N), waves.cycle, waves.rhythm, N, HALF)
    drift[:, 0, 3 * KINECT_V2.root : 3 * KINECT_V2.root + 2] = 0
    torch.testing.assert_close(drift, waves.drift, atol=0.02, rtol=0)


def test_other_shapes_are_refused(joints):
    with pytest.raises(ValueError, match=r"expected joints \(B, T, 25, 3\)"):
        fit_waves(joints[:, :, :24], torch.ones(3, N), KINECT_V2, 30.0, N)
    with pytest.raises(ValueError, match="expected joints"):
        fit_waves(joints, torch.ones(3, N - 1), KINECT_V2, 30.0, N)


def test_walks_that_cannot_be_fitted_are_named(joints):
    hole = joints.clone()
    hole[1, 80, 3, 2] = torch.inf
    with pytest.raises(ValueError, match="walk 1 of the batch has joints that are not finite"):
        fit_waves(hole, torch.ones(3, N), KINECT_V2, 30.0, N)
    mask = (torch.arange(N) < 80).float().expand(3, -1)
    for a, b in zip(
        vars(fit_waves(hole, mask, KINECT_V2, 30.0, N)).values(), vars(fit_waves(joints, mask, KINECT_V2, 30.0, N)).values()
    ):
        torch.testing.assert_close(a, b)
    for frames in (0, 1):
        short = torch.ones(3, N)
        short[2, frames:] = 0
        with pytest.raises(ValueError, match="walk 2 of the batch has less than two valid frames"):
            fit_waves(joints, short, KINECT_V2, 30.0, N)


def test_valid_frames_come_first(joints):
    mask = torch.ones(3, N)
    mask[1, 4] = 0
    with pytest.raises(ValueError, match="walk 1 of the batch: in attention_mask valid frames must come first"):
        fit_waves(joints, mask, KINECT_V2, 30.0, N)


def test_each_walk_may_be_a_window_of_its_own(joints):
    mask = (torch.arange(N) < torch.tensor([96, 80, 60])[:, None]).float()
    together = fit_waves(joints, mask, KINECT_V2, 30.0, mask.sum(1, keepdim=True))
    for i, n in enumerate((96, 80, 60)):
        alone = fit_waves(joints[i : i + 1, :n], torch.ones(1, n), KINECT_V2, 30.0, n)
        for a, b in zip(vars(together).values(), vars(alone).values()):
            torch.testing.assert_close(a[i : i + 1], b, atol=1e-4, rtol=1e-4)
