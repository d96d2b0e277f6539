"""The vector quantisers: nearest codes, masks, moving averages, dead codes, gradients, state, two processes."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.quantization import ResidualVectorQuantizer, VectorQuantizer, rotate_to

K, D = 12, 6


def blobs(count=200, centres=8, dim=D, seed=0):
    """Latents (1, count, dim) around a few centres, which are the same for every seed."""
    middle = 3 * torch.randn(centres, dim, generator=torch.Generator().manual_seed(centres))
    g = torch.Generator().manual_seed(seed)
    which = torch.arange(count) % centres
    return (middle[which] + 0.05 * torch.randn(count, dim, generator=g))[None]


def trained(steps=20, **kwargs):
    quantizer = VectorQuantizer(K, D, **kwargs).train()
    for step in range(steps):
        quantizer(blobs(seed=step % 3))
    return quantizer


def test_codes_are_the_nearest_of_the_codebook():
    quantizer, z = trained().eval(), blobs(seed=7)
    out, indices, loss = quantizer(z)
    distance = (z[0][:, None] - quantizer.codebook).norm(dim=-1)
    assert indices.shape == (1, 200) and indices.dtype == torch.int64
    torch.testing.assert_close(distance.min(-1).values, (z[0] - quantizer.codebook[indices[0]]).norm(dim=-1))
    torch.testing.assert_close(out, quantizer.lookup(indices), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss, (z - quantizer.lookup(indices)).square().mean())


def test_evaluation_changes_nothing_and_repeats():
    quantizer, z = trained().eval(), blobs(seed=9)
    before = copy.deepcopy(quantizer.state_dict())
    first, again = quantizer(z), quantizer(z)
    assert all((a == b).all() for a, b in zip(first, again))
    assert all((quantizer.state_dict()[k] == v).all() for k, v in before.items())


def test_quantising_a_code_gives_the_code():
    quantizer = trained().eval()
    out, indices, loss = quantizer(quantizer.codebook[None])
    torch.testing.assert_close(out[0], quantizer.codebook, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(quantizer.lookup(indices)[0], quantizer.codebook)
    assert loss < 1e-9


def test_codebook_goes_to_the_data():
    quantizer = trained(steps=60)
    *_, loss = quantizer.eval()(blobs(seed=1))
    far, near = VectorQuantizer(K, D).eval()(blobs(seed=1))[2], loss
    assert near < 0.2 * far


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_masked_latents_leave_no_trace(seed, kept):
    """Training on a masked batch is training on the batch without the masked latents, whatever stands in them."""
    z = blobs(60, seed=seed)
    mask = (torch.arange(60) < kept).float()[None]
    garbage = torch.where(mask[..., None].bool(), z, torch.full_like(z, 1e3))
    quantizers = [VectorQuantizer(K, D).train() for _ in range(2)]
    torch.manual_seed(seed)
    _, short, loss = quantizers[0](z[:, :kept])
    torch.manual_seed(seed)
    _, long, masked_loss = quantizers[1](garbage, mask)
    assert (long[:, :kept] == short).all()
    torch.testing.assert_close(masked_loss, loss)
    for name, value in quantizers[0].state_dict().items():
        torch.testing.assert_close(quantizers[1].state_dict()[name], value)


def test_training_may_start_from_one_latent():
    quantizer = VectorQuantizer(K, D).train()
    out, _, loss = quantizer(blobs(1))
    assert torch.isfinite(quantizer.codebook).all() and torch.isfinite(out).all() and loss < 1e-6


def test_dead_codes_are_revived_onto_the_data():
    quantizer = trained(steps=30)
    quantizer.codebook[3] = quantizer.code_sum[3] = 1e3
    quantizer.code_usage[3] = quantizer.revive_below
    z = blobs(seed=1)
    for _ in range(3):
        quantizer(z)
    assert torch.cdist(quantizer.codebook[3:4], z[0]).min() < 1.0


def test_usage_of_the_codebook_grows():
    quantizer = VectorQuantizer(64, D).train()
    z = blobs(256, centres=64, seed=3)
    quantizer.fitted.fill_(True)  # all codes at one place to begin with
    first = quantizer(z)[1].unique().numel()
    for _ in range(60):
        _, indices, _ = quantizer(z)
    assert first == 1 and indices.unique().numel() > 32


def test_gradient_passes_to_the_latents():
    z = blobs(seed=2).requires_grad_()
    quantizer = trained()
    quantizer(z)[0].square().sum().backward()
    assert torch.isfinite(z.grad).all() and (z.grad.abs().sum(-1) > 0).all()
    assert not list(quantizer.parameters())


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_rotation_takes_the_latent_to_its_code_and_keeps_angles(seed):
    g = torch.Generator().manual_seed(seed)
    z, q = torch.randn(5, D, generator=g), torch.randn(5, D, generator=g)
    torch.testing.assert_close(rotate_to(z, q), q, atol=1e-4, rtol=1e-4)
    one, other = z[0].double(), q[0].double()
    jacobian = torch.autograd.functional.jacobian(lambda x: rotate_to(x, other), one)
    scale = other.norm() / one.norm()
    torch.testing.assert_close(jacobian @ jacobian.T, scale**2 * torch.eye(D, dtype=torch.float64), atol=1e-6, rtol=1e-6)


def test_gradient_turns_with_the_code_of_all_stages():
    quantizer, z = ResidualVectorQuantizer(2, K, D).train(), blobs(seed=2)
    quantizer(z)
    one = z[:, :1].clone().requires_grad_()
    quantizer.eval()(one)[0].sum().backward()
    again = one.detach().clone().requires_grad_()
    rotate_to(again, quantizer(again.detach())[0]).sum().backward()
    torch.testing.assert_close(one.grad, again.grad)
    assert not torch.allclose(one.grad, torch.ones_like(one.grad)), "straight through"


def test_lookup_refuses_codes_outside_the_codebook():
    quantizer = trained()
    for bad in (-1, K):
        with pytest.raises(ValueError, match=f"outside a codebook of {K}"):
            quantizer.lookup(torch.tensor([0, bad]))
    assert quantizer.lookup(torch.zeros(0, dtype=torch.long)).shape == (0, D)


def test_residual_codebooks_come_nearer_stage_by_stage():
    quantizer = ResidualVectorQuantizer(3, K, D).train()
    for step in range(40):
        quantizer(blobs(seed=step % 3))
    z = blobs(seed=1)
    out, indices, _ = quantizer.eval()(z)
    assert indices.shape == (1, 200, 3)
    torch.testing.assert_close(out, quantizer.lookup(indices), atol=1e-4, rtol=1e-4)
    errors, total = [], 0
    for stage, layer in enumerate(quantizer.layers):
        total = total + layer.lookup(indices[..., stage])
        errors.append((z - total).square().mean().item())
    assert errors[0] > errors[1] > errors[2]


def test_all_state_is_saved():
    """A quantiser loaded in the middle of training goes on exactly as the one that was saved."""
    one = ResidualVectorQuantizer(2, K, D).train()
    for step in range(5):
        one(blobs(seed=step))
    other = ResidualVectorQuantizer(2, K, D).train()
    other.load_state_dict(one.state_dict())
    for quantizer in (one, other):
        torch.manual_seed(3)
        for step in range(5):
            quantizer(blobs(seed=step + 5))
    assert all((other.state_dict()[k] == v).all() for k, v in one.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16(training):
    quantizer = trained().train(training)
    with torch.autocast("cpu", torch.bfloat16):
        out, indices, loss = quantizer(blobs().bfloat16())
    assert out.dtype == torch.bfloat16 and torch.isfinite(loss)
    quantizer = trained().to(torch.bfloat16).train(training)
    out, indices, loss = quantizer(blobs().bfloat16())
    assert out.dtype == torch.bfloat16 and torch.isfinite(loss) and indices.max() < K
