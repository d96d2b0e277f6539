"""Training of classifiers: what a batch holds."""

import numpy as np
import pytest
import torch

from modeling_gait.augmentation import Augmentation
from modeling_gait.training import classifier


@pytest.fixture
def seen(monkeypatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """(inputs, labels) of each step of a classifier."""
    steps, kind = [], classifier.GaitForSequenceClassification
    forward = kind.forward

    def recorded(self, input_values, labels=None, **more):
        if labels is not None:
            steps.append((input_values.numpy().copy(), labels.numpy().copy()))
        return forward(self, input_values=input_values, labels=labels, **more)

    monkeypatch.setattr(kind, "forward", recorded)
    return steps


def numbered_walks(count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (N, 3, 75), each with its number as a coordinate, and labels number % 3."""
    number = np.arange(first, first + count)
    inputs = np.random.default_rng(first).normal(scale=0.1, size=(count, 3, 75)).astype(np.float32)
    inputs[:, :, :3], inputs[:, :, 3] = 0, number[:, None]
    return inputs, number % 3


def fit(*data, **options):
    return classifier.train_classifier(*data, ["a", "b", "c"], **{"batch_size": 8, "progress": False} | options)


def test_half_of_each_batch_is_synthetic(seen):
    real, made = numbered_walks(10), numbered_walks(6, first=100)
    model = fit(*real, synthetic=made, steps=5)
    assert len(seen) == 5
    numbers = np.array([inputs[:, 0, 3] for inputs, _ in seen]).astype(int)
    assert ((numbers >= 100).sum(1) == 4).all() and numbers.shape == (5, 8)
    assert all((labels == n % 3).all() for (_, labels), n in zip(seen, numbers))
    assert set(numbers.ravel()) == {*range(10), *range(100, 106)}, "both are gone through in epochs of their own"
    np.testing.assert_allclose(model.input_mean.numpy(), real[0].reshape(-1, 75).mean(0), atol=1e-5)


def test_steps_come_before_epochs_and_the_same_seed_gives_the_same_network(seen):
    real = numbered_walks(10)
    fit(*real, steps=2, epochs=50)
    assert len(seen) == 2
    fit(*real, epochs=4)
    assert len(seen) == 2 + round(4 * 10 / 8)
    one, same, other = (fit(*real, steps=2, seed=seed, synthetic=numbered_walks(6, 100)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[k], same[k]) for k in one) and not all(torch.equal(one[k], other[k]) for k in one)


def test_augmentation_changes_half_of_the_real_and_of_the_synthetic_walks(seen):
    real, made = numbered_walks(4), numbered_walks(4, first=100)
    known = {tuple(w.ravel()) for x, _ in (real, made) for w in x}
    kept = real[0].copy()
    fit(*real, batch_size=4, synthetic=made, steps=6, augmentation=Augmentation(mirror=0))
    np.testing.assert_array_equal(real[0], kept)
    for inputs, _ in seen:
        assert [tuple(w.ravel()) in known for w in inputs] == [False, True] * 2, "a real and a synthetic walk, one each changed"
        assert np.abs(inputs[:, :, :3]).max() < 1e-6, "relative to the pelvis"
    changed = np.concatenate([inputs[::2] for inputs, _ in seen])
    assert len({w.tobytes() for w in changed}) == len(changed), "anew at every step"
