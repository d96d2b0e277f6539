"""GaitTCNModel on tiny cycles: shapes, masks, periodicity, adaptation, adapters, bad input."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.configuration_gait_tcn import GaitTCNConfig
from modeling_gait.gait_tcn_network import PhaseConv, adapt, support_context
from modeling_gait.modeling_gait_tcn import ADAPTER_CONFIG, ADAPTER_WEIGHTS, GaitTCNModel, GaitTCNOutput
from modeling_gait.training.fit_prior import fit_prior

P, C = 20, 6
TINY = {
    "num_channels": C,
    "num_phases": P,
    "hidden_size": 12,
    "dilations": [1, 2],
    "channels_per_sensor": 3,
    "activities": ["walking", "running"],
}


def tiny_tcn(**kwargs) -> GaitTCNModel:
    """An untrained model of 20 phases and two sensors of three channels, moved a little from its start; scales set."""
    torch.manual_seed(0)
    model = GaitTCNModel(GaitTCNConfig(**{**TINY, **kwargs})).eval()
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    values = 5 + 3 * torch.randn(30, P, C)
    model.fit_scales(values, torch.ones(30, C, dtype=torch.bool))
    labels = torch.arange(12) // 6
    means = 3 * torch.sin(torch.arange(P)[:, None] / P * 2 * torch.pi + torch.arange(12)[:, None, None] + torch.arange(C))
    cycles = (means + labels[:, None, None])[:, None] + 0.5 * torch.randn(12, 8, P, C)
    tasks = [(int(a), torch.arange(8 * i, 8 * i + 8)) for i, a in enumerate(labels)]
    fit_prior(model.prior, cycles.flatten(0, 1), torch.ones(96, C), tasks, torch.ones(C), torch.zeros(C))
    return model


def person(cycles=5, seed=0) -> torch.Tensor:
    """Cycles (K, P, C) of one person: a sine of their own and noise."""
    g = torch.Generator().manual_seed(seed)
    phase = torch.arange(P)[:, None] * 2 * torch.pi / P
    mean = 5 + 4 * torch.sin(phase + 6 * torch.rand(1, C, generator=g))
    return mean + 0.5 * torch.randn(cycles, P, C, generator=g)


@pytest.fixture(scope="module")
def model() -> GaitTCNModel:
    return tiny_tcn()


def test_shapes_and_units(model):
    cycles = person(4)
    out = model(cycles, torch.rand(4, P) < 0.3, torch.ones(4, C, dtype=torch.bool), support=cycles.expand(4, 4, P, C))
    assert isinstance(out, GaitTCNOutput) and out.loss is None
    assert {x.shape for x in (out.generation, out.reconstruction, out.doubt, out.spread)} == {(4, P, C)}
    out = model(support=cycles[None], labels=cycles[:1])
    assert out.reconstruction is None and out.loss.ndim == 0
    expected = ((out.generation - cycles[0]) / model.channel_std).square().mean()
    assert torch.isclose(out.loss, expected)


def test_an_untrained_network_adds_nothing_to_the_linear_rule():
    fresh, cycles = GaitTCNModel(GaitTCNConfig(**TINY)), person()
    linear = fresh.person(support_context(cycles.sum(0), cycles.square().sum(0), torch.full((P, C), 5.0))[None])[0].mean
    assert torch.allclose(fresh(support=cycles[None]).generation, linear.float(), atol=1e-5)


def test_skeleton_cycles_of_75_channels():
    model = GaitTCNModel(GaitTCNConfig(**TINY | {"num_channels": 75}))
    assert model.personalize(torch.randn(2, P, 75)).generate(3, seed=0).shape == (3, P, 75)


def test_convolution_is_periodic():
    conv, x = PhaseConv(C, 8, 5, 3), torch.randn(2, P, C)
    assert torch.allclose(conv(x.roll(7, dims=1)), conv(x).roll(7, dims=1), atol=1e-6)


def test_invalid_values_change_nothing(model):
    """What the masks call unmeasured may be anything, nan included: neither answers nor losses nor the adapted model change."""
    cycles, mask = person(4), torch.ones(4, C, dtype=torch.bool)
    mask[:, 1] = False
    broken = cycles.clone()
    broken[:, :, 1] = torch.nan
    one, other = (model(x, None, mask, x[None].expand(4, -1, -1, -1), mask.expand(4, 4, C), x, mask) for x in (cycles, broken))
    assert torch.equal(one.generation, other.generation) and torch.equal(one.reconstruction, other.reconstruction)
    assert torch.equal(one.loss, other.loss)
    one, other = (model.personalize(x, mask) for x in (cycles, broken))
    assert torch.equal(one.generate(2, seed=0), other.generate(2, seed=0))


def test_measured_samples_stay_as_they_are(model):
    cycles, seen = person(3), torch.rand(3, P) < 0.3
    out = model.personalize(person()).reconstruct(cycles, seen)
    assert torch.allclose(out[seen], cycles[seen], atol=1e-5)
    assert not torch.allclose(out[~seen], cycles[~seen], atol=1e-2)
    assert torch.equal(model.reconstruct(cycles[0], seen[0]), model.reconstruct(cycles[:1], seen[:1])[0])


def test_generated_cycles_vary_as_the_spread_says(model):
    adapted = model.personalize(person())
    cycles = adapted.generate(4000, seed=1)
    assert torch.equal(cycles[:9], adapted.generate(4000, seed=1)[:9]) and not torch.equal(cycles[0], cycles[1])
    out = adapted(support=person()[None])
    own = (out.spread.square() - out.doubt.square())[0].mean(0).sqrt()  # of a cycle, without what is not known of the person
    assert torch.allclose((cycles - cycles.mean(0)).square().mean((0, 1)).sqrt(), own, rtol=0.1)
    known = adapted.interval()
    assert torch.allclose(known["high"] - known["low"], 2 * 1.645 * out.spread[0]) and (known["doubt"] < out.spread[0]).all()
    assert torch.equal(*adapted.generate(2, temperature=0))


def test_personalisation_lowers_the_error_and_leaves_the_base(model):
    cycles, before = person(8), {k: v.clone() for k, v in model.state_dict().items()}
    adapted = model.personalize(cycles[:5], steps=30, lr=0.1)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert adapted.adapter["steps"] == 30 and model.adapter is None

    def error(m):
        return (m(support=cycles[None, :5]).generation - cycles[5:]).square().mean()

    assert error(adapted) < 0.95 * error(model)
    assert not torch.equal(model.personalize(cycles[:5], steps=1).generate(seed=0), adapted.generate(seed=0))


def test_five_cycles_take_less_than_a_second():
    model = GaitTCNModel(GaitTCNConfig()).eval()
    cycles = torch.randn(5, 100, 36)
    model.personalize(cycles)
    began = time.process_time()
    model.personalize(cycles)
    assert time.process_time() - began < 1


def test_gradient_steps_can_be_mapped_and_differentiated(model):
    """vmap over tasks = one task after another; the second-order gradient of the rates is that of finite differences."""
    network = model.network.double()
    parameters = {n: p.detach() for n, p in network.named_parameters()}
    cycles = torch.stack([person(3, s) for s in (1, 2)]).double()
    observed = torch.ones_like(cycles)
    rest = [model.left_out(c, o) for c, o in zip(cycles, observed)]
    support = (cycles, observed, *(torch.stack(r) for r in zip(*rest)))

    def moved(rate, given, first_order=False):
        return adapt(network, parameters, {}, dict.fromkeys(parameters, rate), given, first_order, steps=2)

    rate = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    both = torch.func.vmap(lambda *given: moved(rate, given))(*support)
    alone = moved(rate, [s[1] for s in support])
    assert all(torch.allclose(both[n][1], alone[n]) for n in parameters)

    def total(r, first_order=False):
        return sum(p.square().sum() for p in moved(r, [s[0] for s in support], first_order).values())

    (second,) = torch.autograd.grad(total(rate), rate)
    (first,) = torch.autograd.grad(total(rate, True), rate)
    with torch.no_grad():
        finite = (total(rate + 1e-6) - total(rate - 1e-6)) / 2e-6
    model.network.float()
    assert torch.isclose(second, finite, rtol=1e-4) and not torch.isclose(first, finite, rtol=1e-3)


@pytest.mark.parametrize("adapted, share", [("all", 1.0), ("heads", 0.5)])
def test_adapter_is_what_changed(adapted, share, tmp_path):
    tiny_tcn(adapted=adapted).save_pretrained(tmp_path / "base")
    base = GaitTCNModel.from_pretrained(tmp_path / "base")
    own = base.personalize(person(), steps=2)
    own.save_adapter(tmp_path / "p01")
    loaded = GaitTCNModel.from_pretrained(tmp_path / "p01")
    assert torch.equal(loaded.generate(3, seed=0), own.generate(3, seed=0))
    assert torch.equal(
        loaded.reconstruct(person(2, 1), torch.arange(P) % 5 == 0), own.reconstruct(person(2, 1), torch.arange(P) % 5 == 0)
    )
    sizes = [(tmp_path / f).stat().st_size for f in (f"p01/{ADAPTER_WEIGHTS}", "base/model.safetensors")]
    assert sizes[0] < share * sizes[1] and not list((tmp_path / "p01").glob("*.tmp"))
    own.save_pretrained(tmp_path / "whole")
    assert torch.equal(GaitTCNModel.from_pretrained(tmp_path / "whole").generate(3, seed=0), own.generate(3, seed=0))


def test_adapter_errors(tmp_path, model):
    with pytest.raises(ValueError, match="not personalised"):
        model.save_adapter(tmp_path / "a")
    with pytest.raises(ValueError, match="base_model"):
        tiny_tcn().personalize(person()).save_adapter(tmp_path / "a")
    tiny_tcn().save_pretrained(tmp_path / "base")
    GaitTCNModel.from_pretrained(tmp_path / "base").personalize(person()).save_adapter(tmp_path / "a")
    asked = ({"dtype": torch.bfloat16}, {"dtype": "float16"}, {"torch_dtype": torch.float16}, {"dtype": "auto"})
    assert {GaitTCNModel.from_pretrained(tmp_path / "a", **kwargs).dtype for kwargs in asked} == {torch.float32}
    other = tiny_tcn()
    other.channel_mean.add_(1)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="made from another model"):
        GaitTCNModel.from_pretrained(tmp_path / "a", base_model=str(tmp_path / "other"))


def test_a_folder_holds_a_model_or_an_adapter(tmp_path):
    """A leftover adapter won over the model saved beside it: another person's cycles, without a word."""
    tiny_tcn().save_pretrained(tmp_path / "base")
    base = GaitTCNModel.from_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="holds a whole model"):
        base.personalize(person()).save_adapter(tmp_path / "base")
    base.personalize(person()).save_adapter(tmp_path / "p01")
    other = base.personalize(person(seed=1))
    other.save_pretrained(tmp_path / "p01")
    assert torch.equal(GaitTCNModel.from_pretrained(tmp_path / "p01").generate(2, seed=0), other.generate(2, seed=0))
    (tmp_path / "p01" / ADAPTER_CONFIG).write_text("{}")
    with pytest.raises(ValueError, match="a whole model and somebody's gait_adapter.json"):
        GaitTCNModel.from_pretrained(tmp_path / "p01")


def test_a_person_may_be_personalised_again(tmp_path):
    tiny_tcn().save_pretrained(tmp_path / "base")
    GaitTCNModel.from_pretrained(tmp_path / "base").personalize(person(), steps=2).save_adapter(tmp_path / "p01")
    again = GaitTCNModel.from_pretrained(tmp_path / "p01").personalize(person(seed=1), steps=0)
    again.save_adapter(tmp_path / "p02")
    assert torch.equal(GaitTCNModel.from_pretrained(tmp_path / "p02").generate(2, seed=0), again.generate(2, seed=0))


@pytest.mark.parametrize(
    "support, message",
    [
        (torch.zeros(0, P, C), "no cycle given"),
        (torch.zeros(2, 1, C), "1 samples a cycle; expected one whole gait cycle resampled to 20"),
        (torch.zeros(2, P, C + 1), "expected 6 channels"),
        (torch.zeros(P, C), r"cycles of one person \(K, P, C\)"),
        (torch.full((2, P, C), torch.nan), r"nan at \(0, 0, 0\)"),
        (torch.full((2, P, C), torch.inf), "inf at"),
    ],
)
def test_bad_support_is_refused(model, support, message):
    with pytest.raises(ValueError, match=message):
        model.personalize(support)


def test_cycles_in_other_units_are_refused(model):
    cycles = person(2)
    for call in (
        lambda x: model.personalize(x),
        lambda x: model.strangeness(x),
        lambda x: model.reconstruct(x),
        lambda x: model(support=x[None]),
        lambda x: model(support=cycles[None], labels=x[:1]),
    ):
        call(cycles)
        with pytest.raises(ValueError, match="standard deviations from .*other units"):
            call(1000 * cycles)


def test_other_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="no valid sample"):
        model.personalize(person(2), torch.zeros(2, C, dtype=torch.bool))
    with pytest.raises(ValueError, match="channel_mask: expected bool"):
        model.personalize(person(2), torch.ones(2, C))
    with pytest.raises(ValueError, match="sample_mask: expected bool"):
        model.reconstruct(person(2), torch.ones(2, P + 1, dtype=torch.bool))
    for lr in (0.0, float("nan")):
        with pytest.raises(ValueError, match="lr positive"):
            model.personalize(person(2), lr=lr)
    for number in (-1, 99):
        with pytest.raises(ValueError, match=f"activity {number}: the model knows"):
            model.personalize(person(2), activity=[number])
    with pytest.raises(ValueError, match="values to reconstruct"):
        model()
    with pytest.raises(ValueError, match="num_cycles"):
        model.generate(0)
    with pytest.raises(ValueError, match="temperature 0 or more, got 1, nan"):
        model.generate(1, temperature=float("nan"))


@pytest.mark.parametrize(
    "wrong", [{"patch_size": 3}, {"kernel_size": 4}, {"channels_per_sensor": 4}, {"inner_lr": 0.0}, {"dilations": []}]
)
def test_bad_configurations_are_refused(wrong):
    with pytest.raises(Exception, match=next(iter(wrong))):
        GaitTCNConfig(**TINY | wrong)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_context_is_mean_certainty_and_deviation(count, seed):
    g = torch.Generator().manual_seed(seed)
    cycles, seen = torch.randn(count, P, C, generator=g), (torch.rand(count, P, C, generator=g) < 0.7).float()
    cycles = cycles * seen
    mean, certainty, deviation = support_context(cycles.sum(0), cycles.square().sum(0), seen.sum(0)).chunk(3, -1)
    for p, c in ((0, 0), (7, 3)):
        own = cycles[:, p, c][seen[:, p, c] > 0].numpy()
        assert certainty[p, c] == pytest.approx(len(own) / (len(own) + 1))
        assert mean[p, c] == pytest.approx(own.mean() if len(own) else 0, abs=1e-5)
        assert deviation[p, c] == pytest.approx(np.std(own, ddof=1) if len(own) > 1 else 0, abs=1e-3)


def test_saved_and_loaded(model, tmp_path):
    model.save_pretrained(tmp_path)
    for asked in (None, torch.bfloat16):  # in half precision the prior would make another person
        loaded = GaitTCNModel.from_pretrained(tmp_path, dtype=asked)
        a, b = model.state_dict(), loaded.state_dict()
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
        assert loaded.config.num_phases == P and loaded.digest() == model.digest()
