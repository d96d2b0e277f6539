"""The sensor's noise: levels, spectrum, correlation and phase of samples are those of the data."""

import pytest
import torch

from modeling_gait.sensor_noise import LEVELS, SensorNoise, body_parts
from modeling_gait.skeletons import KINECT_V2

T, C = 64, 75


@pytest.fixture(scope="module")
def residual() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slow noise, ten times louder in the feet, twice as loud in half of the cycle; the left wrist and hand move together."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(400, T + 4, C, generator=generator)
    slow = (white[:, :-4] + white[:, 1:-3] + white[:, 2:-2] + white[:, 3:-1]) / 2 * 0.005
    phase = torch.rand(400, 1, generator=generator) * 6 + torch.arange(T) / 5
    slow[..., 3 * KINECT_V2.index("left_hand") :][..., :3] = slow[..., 3 * KINECT_V2.index("left_wrist") :][..., :3]
    feet = torch.tensor(body_parts(KINECT_V2)).repeat_interleave(3) >= 5
    feet &= torch.tensor(body_parts(KINECT_V2)).repeat_interleave(3) < 7
    slow = slow * torch.where(feet, 10.0, 1.0) * torch.where(phase.sin() > 0, 2.0, 1.0)[..., None]
    return slow, torch.ones(400, T), phase


def test_samples_are_like_the_data(residual):
    slow, mask, phase = residual
    noise = SensorNoise(KINECT_V2, T)
    noise.fit(slow, mask, phase)
    levels = noise.levels(slow, mask)
    assert levels.shape == (400, LEVELS)
    drawn = noise.sample(levels, phase, torch.Generator().manual_seed(1))
    torch.testing.assert_close(noise.levels(drawn, mask).mean(0), levels.mean(0), atol=0.1, rtol=0)
    change = [float(x.diff(dim=1).square().mean() / x.square().mean()) for x in (slow, drawn)]
    assert change[1] == pytest.approx(change[0], rel=0.15)
    loud = [float(x[phase.sin() > 0].square().mean() / x[phase.sin() < 0].square().mean()) for x in (slow, drawn)]
    assert loud[1] == pytest.approx(loud[0], rel=0.25) and loud[0] > 3
    pair = [KINECT_V2.index(f"left_{n}") * 3 for n in ("wrist", "hand")]
    assert torch.corrcoef(drawn[..., pair].flatten(0, 1).T)[0, 1] > 0.95
    assert noise.sample(levels[:2], torch.rand(2, 150), None).shape == (2, 150, C), "of any length"


def test_a_joint_is_worse_in_one_walk_than_in_another(residual):
    """As the hip of a Kinect, which jumps in few of the walks: tails as heavy, of the same joints together."""
    slow, mask, phase = residual
    some = torch.randn(len(slow), 1, 1, generator=torch.Generator().manual_seed(2))
    elbow, wrist = (slice(3 * j, 3 * j + 3) for j in (KINECT_V2.index(f"left_{n}") for n in ("elbow", "wrist")))
    uneven = slow.clone()
    uneven[..., elbow] *= (0.8 * some).exp()
    noise = SensorNoise(KINECT_V2, T)
    noise.fit(uneven, mask, phase)
    levels = noise.levels(slow, mask)
    drawn = noise.sample(levels, phase, torch.Generator().manual_seed(1))

    def power(x: torch.Tensor, joint: slice) -> torch.Tensor:
        return x[..., joint].square().mean((1, 2))

    assert power(drawn, elbow).log().std() > 1.0 > 0.8 > power(drawn, wrist).log().std()
    share = (power(uneven, elbow) / noise.levels(uneven, mask).exp()[:, 1].square()).mean()
    assert (power(drawn, elbow) / levels.exp()[:, 1].square()).mean() == pytest.approx(float(share), rel=0.2), "power stays"
    assert noise.sample(levels[:2], phase[:2], [torch.Generator().manual_seed(s) for s in (1, 2)]).shape == (2, T, C)


def test_a_seed_repeats(residual):
    noise = SensorNoise(KINECT_V2, T)
    noise.fit(*residual)
    one, again = (noise.sample(torch.zeros(2, 8), torch.zeros(2, T), torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, again)
