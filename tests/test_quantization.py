"""The product quantiser: nearest codes, components by rate, codebooks, errors."""

import pytest
import torch

from modeling_gait.quantization import ProductQuantizer, equal_rates, k_means

SPREAD = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1, 0.01])


def vectors(count=3000, seed=0) -> torch.Tensor:
    """Normal vectors (count, 8) along turned axes of falling spread."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(9)))[0]
    return 3 + (torch.randn(count, 8, generator=generator) * SPREAD) @ turn


def fitted(tokens=4, codes=16, components=8) -> ProductQuantizer:
    quantizer = ProductQuantizer(8, components, tokens, codes)
    quantizer.fit(vectors())
    return quantizer


def error(quantizer, x) -> float:
    return float((quantizer.lookup(quantizer.encode(x)) - x).square().sum(1).mean())


def test_new_vectors_come_back_nearer_with_more_tokens():
    fresh = vectors(seed=1)
    errors = [error(fitted(tokens), fresh) for tokens in (1, 2, 4)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.05 * float(SPREAD.square().sum())


def test_a_code_is_the_nearest_one():
    quantizer, x = fitted(), vectors(50, seed=2)
    codes = quantizer.encode(x)
    assert codes.shape == (50, 4) and codes.min() >= 0 and codes.max() < 16
    best = (quantizer.lookup(codes) - x).square().sum(1)
    for token in range(4):
        other = codes.clone()
        other[:, token] = (other[:, token] + 1) % 16
        assert ((quantizer.lookup(other) - x).square().sum(1) >= best - 1e-4).all()
    assert torch.equal(quantizer.encode(quantizer.lookup(codes)), codes)


def test_groups_share_the_rate():
    group = equal_rates(SPREAD.square(), 4, 16)
    assert (group[:-1] <= group[1:])[group[1:] >= 0].all() and set(group[group >= 0].tolist()) == {0, 1, 2, 3}
    rate = torch.log2(SPREAD / SPREAD[group >= 0].min())
    shares = [float(rate[group == t].sum()) for t in range(3)]
    assert max(shares) < 3 * min(shares)
    assert equal_rates(torch.tensor([1.0, 1.0, 1e-12]), 2, 4)[2] == -1, "nothing is spent on what is nothing"


def test_given_groups_keep_the_dimensions_as_they_are():
    quantizer = ProductQuantizer(2, 2, 2, 4)
    quantizer.fit(torch.rand(100, 2), groups=[0, 1])
    quantizer.codebook.copy_(torch.tensor([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [3.0, 13.0]]))
    assert quantizer.encode(torch.tensor([[1.2, 12.9]])).tolist() == [[1, 3]]
    assert quantizer.lookup(torch.tensor([[3, 0]])).tolist() == [[3.0, 10.0]]


def test_k_means_finds_blobs_and_takes_fewer_points_than_codes():
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    points = centres.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=torch.Generator().manual_seed(0))
    found = k_means(points, 6)
    assert torch.cdist(centres, found).amin(1).max() < 0.1
    assert torch.isfinite(k_means(points[:2], 6)).all()


def test_codes_of_another_kind_are_refused():
    quantizer = fitted()
    with pytest.raises(ValueError, match=r"expected codes \(B, 4\)"):
        quantizer.lookup(torch.zeros(2, 3, dtype=torch.long))
    for bad in (-1, 16):
        with pytest.raises(ValueError, match="outside a codebook of 16"):
            quantizer.lookup(torch.full((2, 4), bad))
