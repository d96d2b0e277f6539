"""Rivals: what goes in comes out where nothing is quantised, bits are those of the vectors, noise is as loud."""

import types

import numpy as np
import pytest
import torch

from experiments import rivals
from modeling_gait import GaitVQConfig, GaitVQModel
from modeling_gait.gait_waves import from_channels, synthesise
from modeling_gait.simulation import simulate_walks
from modeling_gait.training.fit_parts import waves_of


@pytest.fixture(scope="module")
def world():
    """Twelve simulated walks, the last 20 frames of every other one not there."""
    vq = GaitVQModel(GaitVQConfig(id2label={0: "normal"}, label2id={"normal": 0})).eval()
    walks = simulate_walks(12, frames=96, seed=3, noise=0.002)
    joints = torch.from_numpy(np.stack(walks.joints)).float()
    mask = torch.ones(12, 96)
    mask[::2, 76:] = 0
    books = vq.codebooks
    world = types.SimpleNamespace(vq=vq, books=books, frames=96, skeleton=books.skeleton, weights=books.scale()[1] * 2**0.5)
    world.extractor, world.input = types.SimpleNamespace(fps=30.0), (joints, mask)
    world.train, world.waves = {"joints": joints, "attention_mask": mask}, waves_of(vq, joints, mask)
    return world


def test_linear_coefficients_hold_cycle_drift_and_rhythm(world):
    joints, mask = world.input
    whole = from_channels(synthesise(world.waves, mask, world.skeleton, 96, world.vq.half), world.skeleton)
    assert torch.allclose(rivals.LinearCodes(world, 0)(joints, mask), whole, atol=1e-3)
    codes = rivals.LinearCodes(world, 3)
    assert codes.bits == 8 * (3 + 4) and codes(joints, mask).shape == joints.shape


@pytest.mark.parametrize("frames, tokens, vectors", [(4, 3, 72), (8, 1, 12), (2, 1, 48)])
def test_so_many_vectors_are_quantised(frames, tokens, vectors):
    seen = []
    network = rivals.ConvAutoencoder(5, lambda z: (seen.append(z.shape) or z, None, torch.ones(2)), frames, tokens, 7, width=6)
    out, loss = network(torch.randn(2, 96, 5))
    assert out.shape == (2, 96, 5) and seen == [(2, vectors, 7)] and loss == 2


def test_what_a_network_is_given_is_a_whole_walk(world):
    joints, mask = world.input
    network = rivals.Network.__new__(rivals.Network)
    network.skeleton, network.fps, network.weights, network.path = world.skeleton, 30.0, world.weights, slice(0, 2)
    network.mean, network.deviation, network.model = 0.3, 2.0, lambda x: (x, 0)
    assert world.skeleton.root == 0
    path = joints[:, :1, :1] * torch.tensor([1.0, 1.0, 0.0])
    assert torch.allclose((network(joints, mask) - joints + path)[1::2].abs().max(), torch.zeros(()), atol=1e-4)
    assert torch.allclose((network(joints, mask) - joints + path)[::2, :76].abs().max(), torch.zeros(()), atol=1e-4)
    still = network.prepared(joints, mask)[::2, 76:]
    assert still[..., 2:].var(1).max() < 1e-8 and still[..., :2].abs().max() < 1e-8


def test_the_drift_of_a_summed_path_is_no_noise(world):
    joints, mask = world.input
    noise = rivals.Noise.__new__(rivals.Noise)
    noise.world, noise.tokeniser = world, rivals.Network.__new__(rivals.Network)
    noise.tokeniser.__dict__ |= {"skeleton": world.skeleton, "fps": 30.0, "weights": world.weights, "path": slice(0, 2)}
    noise.tokeniser.__dict__ |= {"mean": 0.0, "deviation": 1.0, "model": lambda x: (x + 0.1, 0)}
    _, residual = noise.made(joints, mask)
    assert residual[..., :2].abs().max() == 0 and residual[..., 2].abs().max() > 0.01


def test_noise_is_as_loud_as_what_was_left(world):
    joints, mask = world.input
    noise = rivals.Noise(world, lambda j, m: j + 0.02 * torch.randn(j.shape), np.arange(12))
    made, residual = noise.made(joints, mask)
    noisy = noise.add(joints, mask, residual, mask, seed=0)
    moved = (noisy - noisy[:, :, :1] - joints + joints[:, :, :1])[:, :, 1:]
    expected = (residual[mask > 0][:, 3:]).square().mean().sqrt()
    assert float(moved.square().mean().sqrt() / expected) == pytest.approx(1, abs=0.15)


def test_seconds_are_of_one_walk(monkeypatch):
    counts = []
    monkeypatch.setitem(rivals.SYSTEMS, "ours", lambda folder: counts.append)
    ticks = iter([0.0, 6.0, 10.0, 42.0])
    monkeypatch.setattr(rivals.time, "perf_counter", lambda: next(ticks))
    assert rivals.seconds_of("ours", "", threads=1) == {1: 2.0, 32: 1.0}
    assert counts == [1, 1, 1, 1, 32]
