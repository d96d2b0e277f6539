"""The tokeniser on a tiny configuration: shapes, masks, round trips, saving, gradients, bf16, Trainer, resuming."""

import copy

import pytest
import torch
from conftest import NUM_FRAMES, tiny_vq
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.modeling_gait_vq import GaitVQModel, GaitVQOutput, feature_loss

CODES = ("motion_codes", "body_codes", "pathological_codes")


@pytest.fixture(scope="module")
def batch(walks) -> dict[str, torch.Tensor]:
    """Four real windows, the third shorter than the others."""
    extractor = GaitFeatureExtractor(num_frames=NUM_FRAMES).fit(walks.joints)
    inputs = extractor([*walks.joints[:2], walks.joints[2][:20], walks.joints[3]])
    return {
        **inputs,
        "labels": torch.tensor([0, 1, -100, 1]),
        "gait_parameters": torch.tensor([[0.5, -1.0], [float("nan"), 0.3], [0.1, 0.2], [0.0, 1.0]]),
    }


def steps_of(model, batch, count, optimizer=None, seed=0):
    """Train in place; returns the optimiser."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for step in range(count):
        torch.manual_seed(seed + step)
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return optimizer


@pytest.fixture(scope="module")
def trained(batch) -> GaitVQModel:
    model = tiny_vq()
    steps_of(model, batch, 10)
    return model.eval()


def equal_states(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_shapes(trained, batch):
    config, out = trained.config, trained(**batch)
    steps = NUM_FRAMES // config.downsampling
    assert isinstance(out, GaitVQOutput)
    assert out.reconstruction.shape == (4, NUM_FRAMES, config.num_features)
    assert out.motion_codes.shape == (4, steps, config.num_codebooks)
    assert out.body_codes.shape == (4, config.num_body_tokens)
    assert out.pathological_codes.shape == (4, config.num_pathological_tokens)
    assert out.class_logits.shape == (4, config.num_labels) and out.parameter_prediction.shape == (4, 2)
    for name in CODES:
        assert getattr(out, name).dtype == torch.int64
    assert out.loss.ndim == 0 and torch.isfinite(out.loss)
    plain = trained(batch["input_values"])
    assert plain.class_loss is None and plain.parameter_loss is None and torch.isfinite(plain.loss)


def test_more_than_one_codebook_a_step(batch):
    model = tiny_vq(num_spatial_quantizers=2, num_temporal_quantizers=3, num_gait_parameters=0)
    steps_of(model, batch, 2)
    out = model.eval()(**batch)
    assert out.motion_codes.shape[-1] == 5 and out.parameter_prediction is None
    codes = model.encode(batch["input_values"], batch["attention_mask"])
    torch.testing.assert_close(model.decode(**codes), out.reconstruction, atol=1e-4, rtol=1e-4)


def test_encode_then_decode_is_the_reconstruction(trained, batch):
    out = trained(batch["input_values"], batch["attention_mask"])
    codes = trained.encode(batch["input_values"], batch["attention_mask"])
    for name in CODES:
        assert torch.equal(getattr(out, name), getattr(codes, name))
    assert torch.equal(codes.attention_mask, batch["attention_mask"][:, :: trained.config.downsampling].long())
    torch.testing.assert_close(trained.decode(**codes), out.reconstruction, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frames", [4, 12, 28])
def test_masked_is_truncated(trained, batch, frames):
    x = batch["input_values"]
    mask = (torch.arange(NUM_FRAMES) < frames).float().expand(4, -1)
    garbage = torch.where(mask[..., None].bool(), x, torch.full_like(x, 50.0))
    long, short = trained(garbage, mask, labels=batch["labels"]), trained(x[:, :frames], labels=batch["labels"])
    steps = frames // trained.config.downsampling
    assert torch.equal(long.motion_codes[:, :steps], short.motion_codes)
    assert torch.equal(long.body_codes, short.body_codes)
    assert torch.equal(long.pathological_codes, short.pathological_codes)
    torch.testing.assert_close(long.reconstruction[:, :frames], short.reconstruction, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(long.loss, short.loss, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(trained.pathology_logits(garbage, mask), short.class_logits, atol=1e-5, rtol=1e-4)


def test_a_row_without_a_valid_frame_is_finite_and_moves_no_codebook(trained, batch):
    model, empty = copy.deepcopy(trained).train(), {k: v.clone() for k, v in batch.items()}
    empty["attention_mask"][3] = 0
    quantizer = model.pathological_quantizer
    before, quantizer.revive_below = quantizer.code_usage.clone(), 0.0
    output = model(**empty)
    assert all(torch.isfinite(v).all() for v in output.values() if v is not None)
    counted = (quantizer.code_usage - quantizer.decay * before).sum() / (1 - quantizer.decay)
    assert counted.item() == pytest.approx(3 * model.config.num_pathological_tokens, abs=1e-3)


def test_a_walk_does_not_depend_on_the_others(trained, batch):
    together = trained.encode(batch["input_values"], batch["attention_mask"])
    for i in range(4):
        alone = trained.encode(batch["input_values"][i : i + 1], batch["attention_mask"][i : i + 1])
        steps = int(alone.attention_mask.sum())
        assert torch.equal(alone.motion_codes[0, :steps], together.motion_codes[i, :steps])
        assert torch.equal(alone.body_codes[0], together.body_codes[i])
        assert torch.equal(alone.pathological_codes[0], together.pathological_codes[i])


def test_pathology_logits_are_those_of_forward_and_differentiable(trained, batch):
    x = batch["input_values"].clone().requires_grad_()
    logits = trained.pathology_logits(x, batch["attention_mask"])
    expected = trained(batch["input_values"], batch["attention_mask"]).class_logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    logits[:, 0].sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad.abs().amax((1, 2)) > 0).all()


def test_wrong_input_is_refused(trained):
    features = trained.config.num_features
    for shape in ((2, 16, features - 1), (16, features)):
        with pytest.raises(ValueError, match=f"expected input_values of shape .*{features}"):
            trained(torch.zeros(shape))
    with pytest.raises(ValueError, match="multiple of 4"):
        trained.encode(torch.zeros(1, 15, features))


def test_wrong_codes_are_refused(trained, batch):
    codes = trained.encode(batch["input_values"])
    for name in CODES:
        for wrong in (-1, 10_000):
            broken = {**codes, name: codes[name].clone()}
            broken[name][0, 0] = wrong
            with pytest.raises(ValueError, match="outside a codebook"):
                trained.decode(**broken)


def test_save_and_load_is_exact(trained, batch, tmp_path):
    trained.save_pretrained(tmp_path / "family" / "vq")
    loaded = (
        GaitVQModel.from_pretrained(tmp_path / "family" / "vq"),
        AutoModel.from_pretrained(tmp_path / "family" / "vq"),
        AutoModel.from_pretrained(tmp_path / "family", subfolder="vq"),
    )
    for model in loaded:
        assert type(model) is GaitVQModel and equal_states(model, trained)
        assert torch.equal(model.eval()(**batch).loss, trained(**batch).loss)
    assert not list((tmp_path / "family" / "vq").glob("*.bin"))


def test_loading_in_bfloat16(trained, batch, tmp_path):
    trained.save_pretrained(tmp_path)
    model = GaitVQModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    out = model(batch["input_values"].bfloat16(), batch["attention_mask"])
    assert model.dtype == torch.bfloat16 and torch.isfinite(out.loss)
    assert (out.reconstruction.float() - trained(batch["input_values"]).reconstruction).abs().median() < 0.5


def test_model_from_configuration_alone(trained, batch, tmp_path):
    trained.config.save_pretrained(tmp_path)
    model = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path))
    assert isinstance(model, GaitVQModel)
    shapes = {k: v.shape for k, v in trained.state_dict().items()}
    assert {k: v.shape for k, v in model.state_dict().items()} == shapes
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())
    assert torch.isfinite(model(**batch).loss)


def test_configuration_round_trip(tmp_path):
    config = GaitVQConfig(hidden_size=48, id2label={0: "normal", 1: "lurch", 2: "steppage"})
    config.save_pretrained(tmp_path)
    again = GaitVQConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict() and again.num_labels == 3 and again.id2label[1] == "lurch"


def test_gradient_reaches_every_parameter(batch):
    model = tiny_vq()
    steps_of(model, batch, 2)  # branches that start at zero have opened
    model.zero_grad()
    model(**batch).loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_class_is_taken_out_of_the_other_codes(trained, batch):
    """The adversary's own gradient lowers its loss; the one that reaches the encoder has the other sign."""
    model = trained
    steps = batch["attention_mask"][:, :: model.config.downsampling, None]
    motion = torch.randn(4, steps.shape[1], 2 * model.config.code_dim, requires_grad=True)
    body = torch.randn(4, model.config.code_dim, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1])

    def loss(motion, body):
        return torch.nn.functional.cross_entropy(model._adversary_logits(motion, body, steps), labels)

    before = loss(motion, body)
    grad_motion, grad_body = torch.autograd.grad(before, (motion, body))
    after = loss(motion - 0.1 * grad_motion, body - 0.1 * grad_body)
    assert after > before


def test_loss_falls_and_codebooks_are_used(batch):
    model = tiny_vq()
    steps_of(model, batch, 1)
    first = model(**batch)
    steps_of(model, batch, 60)
    last = model(**batch)
    assert last.reconstruction_loss < 0.8 * first.reconstruction_loss
    assert last.motion_codes.unique().numel() > 4
    assert torch.isfinite(torch.cat([b.flatten().float() for b in model.buffers()])).all()


def test_training_goes_on_identically_from_a_saved_state(batch):
    """All state is in parameters, buffers and the optimiser."""
    one = tiny_vq()
    optimizer = steps_of(one, batch, 3)
    other = tiny_vq()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)  # nothing of the first start is left
    other.load_state_dict(one.state_dict())
    resumed = torch.optim.AdamW(other.parameters(), lr=2e-3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    steps_of(one, batch, 3, optimizer, seed=50)
    steps_of(other, batch, 3, resumed, seed=50)
    assert equal_states(one, other)


def test_evaluation_changes_no_state(trained, batch):
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    trained(**batch)
    trained.encode(batch["input_values"])
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_bf16_autocast(trained, batch, training, tmp_path):
    trained.save_pretrained(tmp_path)
    model = GaitVQModel.from_pretrained(tmp_path).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(**batch)
    out.loss.backward()
    assert torch.isfinite(out.loss) and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert model.pathological_quantizer.codebook.dtype == torch.float32
    torch.testing.assert_close(out.reconstruction_loss.float(), trained(**batch).reconstruction_loss, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("training", [True, False])
def test_model_in_bfloat16(batch, training):
    model = tiny_vq()
    steps_of(model, batch, 2)
    model = model.to(torch.bfloat16).train(training)
    out = model(**{**batch, "input_values": batch["input_values"].bfloat16()})
    out.loss.backward()
    assert torch.isfinite(out.loss)


def test_trainer_trains_and_evaluates(batch, tmp_path):
    rows = [{k: v[i] for k, v in batch.items()} for i in range(4)] * 2
    arguments = TrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    model = tiny_vq()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
    assert trainer.train().global_step == 2
    assert torch.isfinite(torch.tensor(trainer.evaluate()["eval_loss"]))
    assert bool(model.pathological_quantizer.fitted) and not torch.equal(before["head.weight"], model.head.weight)
    trainer.save_model(tmp_path / "saved")
    assert equal_states(GaitVQModel.from_pretrained(tmp_path / "saved"), model)


def test_feature_loss_is_the_mean_distance():
    target = torch.zeros(1, 8, 6)
    prediction = target + torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    mask = torch.ones(1, 8, 1)
    torch.testing.assert_close(feature_loss(prediction, target, mask, 0.0), torch.tensor(2.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(feature_loss(prediction, target, mask, 1.0), torch.tensor(2.5), atol=1e-3, rtol=0)
    mask[:, 4:] = 0
    prediction[:, 4:] = 1e3
    torch.testing.assert_close(feature_loss(prediction, target, mask, 1.0), torch.tensor(2.5), atol=1e-3, rtol=0)
