"""evaluation/novelty.py: activities that nobody was trained on stand out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.evaluation.novelty import BANDS, KnownActivities, spectral_features

FPS = 60.0


def shaking(frequency: float, size: float, tilt: float = 0.0, count: int = 4, seed: int = 0) -> np.ndarray:
    """Windows (count, 120, 12) of two sensors."""
    rng = np.random.default_rng(seed)
    t = np.arange(120) / FPS + rng.random((count, 1))
    out = rng.normal(0, 0.1, (count, 120, 12))
    out[..., 1] += size * np.sin(2 * np.pi * frequency * t) + tilt
    return out


def test_features_are_tilt_and_power_of_the_accelerations():
    found = spectral_features(shaking(3.0, 2.0, tilt=9.8), FPS).reshape(4, 7, 6)
    assert found[:, 0, 1] == pytest.approx(9.8, abs=0.2) and np.abs(found[:, 0, 0]).max() < 0.1
    band = [low <= 3 < high for low, high in zip(BANDS, BANDS[1:])].index(True)
    assert (found[:, 1:, 1].argmax(1) == band).all()
    more = spectral_features(shaking(3.0, 4.0, tilt=9.8), FPS).reshape(4, 7, 6)
    np.testing.assert_allclose((more - found)[:, 1 + band, 1], np.log(4), atol=0.1)
    silent = shaking(3.0, 2.0)
    silent[..., [3, 9]] = np.nan  # gyroscopes are not looked at
    assert np.isfinite(spectral_features(silent, FPS)).all()


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_what_was_not_trained_on_is_farther_and_beyond_the_threshold(seed):
    """Twelve people, each with sensors worn a little otherwise; two of six activities left out."""
    rng = np.random.default_rng(seed)
    kinds = [(0.5, 0.3), (1.5, 2.0), (3.0, 2.0), (6.0, 3.0), (12.0, 1.0), (20.0, 4.0)]
    parts = []
    for person in range(12):
        for label, (frequency, size) in enumerate(kinds):
            windows = shaking(frequency, size * rng.uniform(0.8, 1.2), rng.normal(0, 0.5), 10, int(rng.integers(1e6)))
            parts.append((spectral_features(windows, FPS), np.full(10, label), np.full(10, str(person))))
    features, labels, people = (np.concatenate(p) for p in zip(*parts))
    train = (labels < 4) & (people.astype(int) < 9)
    features[train & (labels == 1), 0] = np.nan  # a corrupted axis
    known = KnownActivities().fit(features[train], labels[train], people[train])
    test = people.astype(int) >= 9
    far, old = known.distance(features[test & (labels >= 4)]), known.distance(features[test & (labels < 4)])
    assert np.median(far) > 3 * np.median(old)
    assert (far > known.threshold).mean() > 0.9 and (old <= known.threshold).mean() > 0.6


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="two or more activities"):
        KnownActivities().fit(np.zeros((4, 3)), np.zeros(4), np.arange(4))
