"""The four classifiers on tiny configurations: shapes, masks, gradients, saving, bf16, Trainer, remote code."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.configuration_gait_classifier import GIST_LABELS, GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import (
    FrameNorm,
    GaitForSequenceClassification,
    prepare_classifier_input,
    skeleton_adjacency,
)
from modeling_gait.skeletons import KINECT_V2, SKELETONS

ARCHITECTURES = ("gru", "lstm", "cnn", "graph")
FEATURES = 75


def tiny(architecture="gru", **kwargs):
    torch.manual_seed(0)
    config = GaitClassifierConfig(architecture=architecture, **{"hidden_size": 16, **kwargs})
    return GaitForSequenceClassification(config).eval()


def inputs(batch=3, frames=21, features=FEATURES, seed=0):
    return torch.randn(batch, frames, features, generator=torch.Generator().manual_seed(seed))


every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@every_architecture
@pytest.mark.parametrize("frames", [1, 2, 21, 64])
def test_shapes_and_loss_for_any_length(architecture, frames):
    x, labels = inputs(frames=frames), torch.tensor([0, 5, 2])
    out = tiny(architecture)(x, labels=labels)
    assert out.logits.shape == (3, 6) and out.embedding.shape == (3, 16)
    torch.testing.assert_close(out.loss, torch.nn.functional.cross_entropy(out.logits, labels))
    assert tiny(architecture)(x).loss is None
    as_tuple = tiny(architecture)(x, return_dict=False)
    torch.testing.assert_close(as_tuple[0], out.logits)


@every_architecture
def test_masked_frames_do_not_change_the_logits(architecture):
    model, x = tiny(architecture), inputs()
    lengths = torch.tensor([21, 14, 7])
    mask = torch.arange(21) < lengths[:, None]
    logits = model(x, attention_mask=mask).logits
    garbage = torch.where(mask[..., None], x, torch.full_like(x, 1e4))
    torch.testing.assert_close(model(garbage, attention_mask=mask).logits, logits)
    not_finite = torch.where(mask[..., None], x, torch.full_like(x, torch.nan))
    torch.testing.assert_close(model(not_finite, attention_mask=mask).logits, logits)
    for n, length in enumerate(lengths):  # the walk alone, unpadded
        torch.testing.assert_close(model(x[n : n + 1, :length]).logits[0], logits[n], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(garbage).logits, logits), "without the mask they must matter"


@every_architecture
def test_masked_frames_do_not_reach_training_either(architecture):
    x, labels = inputs(), torch.tensor([0, 1, 2])
    mask = torch.arange(21) < torch.tensor([21, 14, 7])[:, None]
    results = []
    for filler in (0.0, 1e4):
        model = tiny(architecture).train()
        loss = model(torch.where(mask[..., None], x, filler), attention_mask=mask, labels=labels).loss
        loss.backward()
        results.append((loss, [p.grad for p in model.parameters()], list(model.buffers())))
    torch.testing.assert_close(results[0], results[1])


def test_batch_norm_statistics_are_those_of_the_valid_frames():
    norm = FrameNorm(8)
    x, mask = inputs(features=8), torch.arange(21) < torch.tensor([21, 14, 7])[:, None]
    y = norm(x * 3 + 1, mask)
    torch.testing.assert_close(y[mask].mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[mask].var(0, unbiased=False), torch.ones(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm.running_mean, 0.1 * (x * 3 + 1)[mask].mean(0))
    assert (y[~mask] == 0).all()


@every_architecture
def test_masked_frames_may_stand_anywhere(architecture):
    model, x = tiny(architecture), inputs(batch=1, frames=12)
    keep = [0, 1, 4, 5, 6, 9, 11]
    mask = torch.zeros(1, 12, dtype=torch.long)
    mask[:, keep] = 1
    torch.testing.assert_close(model(x, attention_mask=mask).logits, model(x[:, keep]).logits, rtol=1e-4, atol=1e-5)


@every_architecture
def test_walk_without_valid_frames_is_finite(architecture):
    out = tiny(architecture)(inputs(), attention_mask=torch.zeros(3, 21))
    assert torch.isfinite(out.logits).all() and (out.embedding == 0).all()


@every_architecture
def test_order_of_frames_matters(architecture):
    model, x = tiny(architecture), inputs()
    assert not torch.allclose(model(x).logits, model(x.flip(1)).logits, atol=1e-3)


@every_architecture
def test_gradient_reaches_every_parameter(architecture):
    model = tiny(architecture).train()
    mask = torch.arange(21) < torch.tensor([21, 14, 7])[:, None]
    model(inputs(), attention_mask=mask, labels=torch.tensor([0, 1, 2])).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        assert torch.isfinite(parameter.grad).all(), name


@every_architecture
def test_save_and_load_is_exact(architecture, tmp_path):
    model, x = tiny(architecture), inputs()
    model.set_normalization(torch.randn(FEATURES), torch.rand(FEATURES) + 0.5)
    model.train()(x)  # moves the running statistics of the norms
    model.eval().save_pretrained(tmp_path)
    loaded, info = GaitForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert {k: v.tolist() for k, v in loaded.state_dict().items()} == {k: v.tolist() for k, v in model.state_dict().items()}
    assert torch.equal(loaded(x).logits, model(x).logits)
    assert loaded.config.id2label == dict(enumerate(GIST_LABELS))


@every_architecture
def test_loading_with_another_head_keeps_the_rest(architecture, tmp_path):
    model, x = tiny(architecture), inputs()
    model.set_normalization(torch.randn(FEATURES), torch.rand(FEATURES) + 0.5)
    model.train()(x)  # moves the running statistics of the norms
    model.eval().save_pretrained(tmp_path)
    loaded = GaitForSequenceClassification.from_pretrained(tmp_path, num_labels=4, ignore_mismatched_sizes=True)
    assert torch.equal(loaded.eval()(inputs()).embedding, model(inputs()).embedding)
    assert loaded(inputs()).logits.shape == (3, 4) and loaded.head.weight.abs().max() < 1


@every_architecture
def test_bf16_agrees_with_float32(architecture):
    model = tiny(architecture)
    logits = model(inputs()).logits
    half = model.to(torch.bfloat16)
    mask = torch.ones(3, 21)
    out = half(inputs().to(torch.bfloat16), attention_mask=mask, labels=torch.tensor([0, 1, 2]))
    assert out.logits.dtype == torch.bfloat16 and torch.isfinite(out.loss)
    torch.testing.assert_close(out.logits.float(), logits, rtol=0.1, atol=0.05)
    out.loss.backward()


@every_architecture
def test_it_learns_to_tell_slow_from_fast_sways(architecture):
    torch.manual_seed(0)
    time = torch.arange(32) / 32
    labels = torch.arange(64) % 2
    phase = torch.rand(64, 1) * 6.28
    wave = torch.sin(2 * torch.pi * (1 + 2 * labels[:, None]) * time + phase)
    x = wave[..., None].expand(-1, -1, FEATURES).contiguous()
    model = tiny(architecture, num_labels=2).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        model(x[:48], labels=labels[:48]).loss.backward()
        optimizer.step()
    accuracy = (model.eval()(x[48:]).logits.argmax(1) == labels[48:]).float().mean()
    assert accuracy > 0.9


def test_normalization_is_applied_and_constant_features_are_safe():
    model, x = tiny(), inputs()
    logits = model(x).logits
    mean, std = torch.randn(FEATURES), torch.rand(FEATURES) + 0.5
    model.set_normalization(mean.numpy(), std.numpy())
    torch.testing.assert_close(model(x * std + mean).logits, logits, rtol=1e-4, atol=1e-5)
    std[:3] = 0
    model.set_normalization(mean, std)
    assert model.input_std[:3].tolist() == [1, 1, 1] and torch.isfinite(model(x).logits).all()


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [(np.zeros(74), np.ones(75), "mean"), (np.zeros(75), np.full(75, np.nan), "std"), (np.zeros(75), -np.ones(75), "negative")],
)
def test_bad_normalization_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        tiny().set_normalization(mean, std)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="walks of no frame, expected one frame or more"):
        tiny()(inputs()[:, :0])
    with pytest.raises(ValueError, match=r"expected \(B, T, 75\)"):
        tiny()(inputs(features=74))
    with pytest.raises(ValueError, match="attention_mask"):
        tiny()(inputs(), attention_mask=torch.ones(3, 20))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"architecture": "rnn"}, "architecture"),
        ({"skeleton": "stick"}, "unknown skeleton"),
        ({"architecture": "graph", "num_joints": 24}, "25 joints"),
        ({"architecture": "graph", "num_features": 76}, "multiple"),
        ({"kernel_size": 4}, "odd"),
        ({"hidden_size": 6}, "multiple of 4"),
        ({"dropout": 1.0}, "dropout"),
        ({"num_layers": 0}, "positive"),
        ({"fps": "30"}, "fps"),
        ({"fps": 0}, "fps must be positive"),
        ({"num_labels": 1}, "two or more classes"),
    ],
)
def test_bad_configuration_is_refused(kwargs, message):
    with pytest.raises(StrictDataclassError, match=message):
        GaitClassifierConfig(**kwargs)


def test_configuration_defaults_and_labels(tmp_path):
    config = GaitClassifierConfig()
    assert (config.num_joints, config.num_features, config.num_labels) == (25, 75, 6)
    assert config.label2id["steppage"] == 4 and config.id2label[4] == "steppage"
    config = GaitClassifierConfig(skeleton="smpl_22", id2label={0: "normal", 1: "parkinsonian"})
    assert (config.num_features, config.num_labels, config.label2id["parkinsonian"]) == (66, 2, 1)
    config.save_pretrained(tmp_path)
    assert GaitClassifierConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize("skeleton", SKELETONS)
def test_graph_takes_every_skeleton(skeleton):
    model = tiny("graph", skeleton=skeleton)
    assert model(inputs(features=model.config.num_features)).logits.shape == (3, 6)


def test_adjacency_links_each_joint_to_itself_its_parent_and_children():
    parts = skeleton_adjacency(KINECT_V2)
    whole = parts.sum(0)
    torch.testing.assert_close(whole.sum(0), torch.ones(25))  # what leaves a joint adds up to one
    assert torch.equal(whole > 0, (whole > 0).T)
    knee, hip, ankle = (KINECT_V2.index(f"left_{n}") for n in ("knee", "hip", "ankle"))
    assert parts[1, knee].nonzero().flatten().tolist() == [hip]
    assert parts[2, knee].nonzero().flatten().tolist() == [ankle]
    assert (whole > 0).sum() == 25 + 2 * 24


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 70), st.floats(-3, 3))
def test_prepare_is_exact_on_linear_motion_and_blind_to_the_path(frames, out_frames, offset):
    velocity = np.random.default_rng(frames).normal(size=(25, 3))
    walk = np.linspace(0, 1, frames)[:, None, None] * velocity
    moved = walk + np.cumsum(np.full((frames, 1, 3), offset), axis=0)
    x = prepare_classifier_input([walk, moved], out_frames)
    assert x.shape == (2, out_frames, 75) and x.dtype == np.float32
    expected = np.linspace(0, 1, out_frames)[:, None] * (velocity - velocity[:1]).reshape(-1)
    np.testing.assert_allclose(x[0], expected, atol=1e-5)
    np.testing.assert_allclose(x[1], expected, atol=1e-4)


def test_prepare_keeps_frames_where_nothing_is_resampled_and_takes_one_frame():
    walk = np.random.default_rng(0).normal(size=(64, 25, 3)).astype(np.float32)
    np.testing.assert_allclose(prepare_classifier_input([walk])[0], (walk - walk[:, :1]).reshape(64, 75), atol=1e-6)
    one = prepare_classifier_input(walk[None, :1], 5, root=3)
    np.testing.assert_allclose(one[0], np.tile((walk[0] - walk[0, 3]).reshape(-1), (5, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        ([], "at least one"),
        ([np.zeros((5, 25, 3)), np.zeros((5, 24, 3))], "walk 1"),
        ([np.zeros((0, 25, 3))], "walk 0"),
        ([np.zeros((5, 75))], "walk 0"),
        ([np.full((5, 25, 3), np.nan)], "not finite"),
    ],
)
def test_prepare_refuses_bad_walks(joints, message):
    with pytest.raises(ValueError, match=message):
        prepare_classifier_input(joints)


def test_prepare_refuses_other_units_than_metres():
    walk = np.tile(KINECT_V2.rest_positions, (5, 1, 1))
    with pytest.raises(ValueError, match="walk 1: .*what is the unit"):
        prepare_classifier_input([walk, 1000 * walk])
