"""known_classes.py and training/known.py: what nobody was trained on stands out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.known_classes import BANDS, KnownClasses
from modeling_gait.training.known import chosen_rows, count_known, fit_known

FPS = 60.0


def shaking(frequency: float, size: float, tilt: float = 0.0, count: int = 4, seed: int = 0) -> torch.Tensor:
    """Windows (count, 120, 12) of two sensors."""
    rng = np.random.default_rng(seed)
    t = np.arange(120) / FPS + rng.random((count, 1))
    out = rng.normal(0, 0.1, (count, 120, 12))
    out[..., 1] += size * np.sin(2 * np.pi * frequency * t) + tilt
    return torch.from_numpy(out).float()


def of(classes: int = 4) -> KnownClasses:
    return KnownClasses("imu", 12, FPS, classes)


def test_features_are_tilt_and_power_of_the_accelerations():
    found = of().features(shaking(3.0, 2.0, tilt=9.8)).reshape(4, 7, 6)
    assert found[:, 0, 1].numpy() == pytest.approx(9.8, abs=0.2) and found[:, 0, 0].abs().max() < 0.1
    band = [low <= 3 < high for low, high in zip(BANDS, BANDS[1:])].index(True)
    assert (found[:, 1:, 1].argmax(1) == band).all()
    more = of().features(shaking(3.0, 4.0, tilt=9.8)).reshape(4, 7, 6)
    np.testing.assert_allclose((more - found)[:, 1 + band, 1], np.log(4), atol=0.1)
    silent = shaking(3.0, 2.0)
    silent[..., [3, 9]] = torch.nan  # gyroscopes are not looked at
    assert of().features(silent).isfinite().all()


def test_what_is_masked_does_not_count():
    skeleton = KnownClasses("kinect_v2", 75, 30, 2)
    walk = torch.randn(1, 40, 75, generator=torch.Generator().manual_seed(0)).cumsum(1)
    longer, mask = torch.cat((walk, torch.full((1, 24, 75), torch.nan)), 1), (torch.arange(64) < 40)[None].float()
    torch.testing.assert_close(skeleton.features(longer, mask), skeleton.features(walk))
    spread = walk.std(1, correction=0).add(1e-2).log()
    torch.testing.assert_close(skeleton.features(walk), torch.cat((walk.mean(1), spread), 1))
    sensors, half = shaking(3.0, 2.0), (torch.arange(120) < 60).expand(4, 120)
    short = of().features(torch.where(half[..., None], sensors, 0), half)
    torch.testing.assert_close(short[:, 19], of().features(sensors)[:, 19], atol=0.3, rtol=0)  # the band that moves


def people_shaking(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, class and person of twelve people, each with sensors worn a little otherwise, doing six things."""
    rng = np.random.default_rng(seed)
    kinds = [(0.5, 0.3), (1.5, 2.0), (3.0, 2.0), (6.0, 3.0), (12.0, 1.0), (20.0, 4.0)]
    parts = []
    for person in range(12):
        for label, (frequency, size) in enumerate(kinds):
            windows = shaking(frequency, size * rng.uniform(0.8, 1.2), rng.normal(0, 0.5), 10, int(rng.integers(1e6)))
            parts.append((of().features(windows).double().numpy(), np.full(10, label), np.full(10, str(person))))
    return tuple(np.concatenate(p) for p in zip(*parts))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_what_was_not_trained_on_is_farther_and_doubted(seed):
    """Two of six left out."""
    features, labels, people = people_shaking(seed)
    train = (labels < 4) & (people.astype(int) < 9)
    features[train & (labels == 1), 0] = np.nan  # a corrupted axis
    known = of()
    fit_known(known, features[train], labels[train], people[train])
    test = people.astype(int) >= 9
    far, old = (known.distance(torch.from_numpy(features[test & rows]).float()) for rows in (labels >= 4, labels < 4))
    assert far.mean() > 3 * old.mean()
    assert (far > known.threshold).float().mean() > 0.9 and (old <= known.threshold).float().mean() > 0.6
    windows = torch.cat((shaking(20.0, 4.0), shaking(3.0, 2.0)))
    doubt, apart = known(windows), known.distance(known.features(windows)) - known.threshold
    torch.testing.assert_close(doubt, torch.sigmoid(known.slope * apart))
    assert known.slope >= 0.1 and (doubt[:4] > 0.9).all() and (doubt[4:] < 0.5).all()


def test_where_nobody_shows_what_is_held_out_the_farthest_are_doubted():
    features, labels, people = people_shaking(0)
    own = labels % 3 == people.astype(int) % 3  # of each three people one does a thing
    known = of(6)
    fit_known(known, features[own], labels[own], labels[own].astype(str), seed=6)  # by which no trial tests what it hides
    assert ((known.distance(torch.from_numpy(features[own]).float()) > known.threshold).float().mean() - 0.05).abs() < 0.02


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two or more classes"):
        fit_known(of(), np.zeros((4, 42)), np.zeros(4, int), np.arange(4))
    assert count_known(np.array([0, 1, 2, -1])) == 3 and count_known(np.array([0, 0, -1])) == 0
    assert chosen_rows(np.r_[np.zeros(400, int), -1, 1], np.array(["a"] * 402), 0)[-1] == 401
    assert len(chosen_rows(np.r_[np.zeros(400, int), -1, 1], np.array(["a"] * 402), 0)) == 301
