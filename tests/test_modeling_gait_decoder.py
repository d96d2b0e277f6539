"""The decoder on a tiny configuration: a skeleton by construction, masks, transplants, saving, gradients, bf16, Trainer."""

import numpy as np
import pytest
import torch
from conftest import CODES, NUM_FRAMES, tiny_decoder, tiny_vq
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

from modeling_gait.configuration_gait_decoder import GaitDecoderConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.forward_kinematics import positions_from_bones
from modeling_gait.modeling_gait_decoder import GaitDecoderModel, GaitDecoderOutput
from modeling_gait.modeling_gait_vq import GaitVQEncoderOutput
from modeling_gait.skeletons import KINECT_V2, SMPL_22
from modeling_gait.training.decoder import transplant_loss

STEPS = NUM_FRAMES // 4


def random_codes(batch=3, steps=STEPS, seed=0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)

    def draw(size, *shape):
        return torch.randint(size, (batch, *shape), generator=g)

    return {
        "motion_codes": draw(CODES["spatial_codebook_size"], steps, 2),
        "body_codes": draw(CODES["body_codebook_size"], CODES["num_body_tokens"]),
        "pathological_codes": draw(CODES["pathological_codebook_size"], CODES["num_pathological_tokens"]),
    }


@pytest.fixture(scope="module")
def labels(walks) -> torch.Tensor:
    extractor = GaitFeatureExtractor(num_frames=NUM_FRAMES)
    return extractor(list(walks.joints[:3]), return_joints=True)["joints"]


@pytest.fixture(scope="module")
def model(labels) -> GaitDecoderModel:
    """A few steps away from the start, so that nothing is still at its initial zero."""
    model = tiny_decoder()
    steps_of(model, labels, 5)
    return model.eval()


def steps_of(model, labels, count, lr=3e-3):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model.train()(**random_codes(len(labels)), labels=labels).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def lengths(joints: torch.Tensor) -> torch.Tensor:
    """Bone lengths (..., J - 1) [m]."""
    children = [j for j, parent in enumerate(KINECT_V2.parents) if parent >= 0]
    parents = [KINECT_V2.parents[j] for j in children]
    return (joints[..., children, :] - joints[..., parents, :]).norm(dim=-1)


def equal_states(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_shapes(model, labels):
    out = model(**random_codes())
    assert isinstance(out, GaitDecoderOutput) and out.loss is None
    assert out.joints.shape == (3, NUM_FRAMES, 25, 3) and out.root.shape == (3, NUM_FRAMES, 3)
    assert out.rotations.shape == (3, NUM_FRAMES, 25, 3, 3) and out.offsets.shape == (3, 25, 3)
    out = model(**random_codes(), labels=labels)
    assert out.loss.ndim == 0 and torch.isfinite(out.loss) and out.position_loss > 0


def test_bone_lengths_are_constant_and_those_of_the_offsets(model):
    out = model(**random_codes(seed=4))
    bones = lengths(out.joints)
    assert (bones.amax(1) - bones.amin(1)).max() < 1e-5
    children = [j for j, parent in enumerate(KINECT_V2.parents) if parent >= 0]
    torch.testing.assert_close(bones[:, 0], out.offsets[:, children].norm(dim=-1), atol=1e-5, rtol=0)
    assert (bones[0] - bones[1]).abs().max() > 1e-4  # other body codes, other bones


def test_rotations_are_rotations(model):
    rotations = model(**random_codes()).rotations
    identity = torch.eye(3).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.transpose(-1, -2), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(rotations.shape[:-2]), atol=1e-5, rtol=0)


def test_joints_are_the_forward_kinematics_of_the_output(model):
    out = model(**random_codes(seed=2))
    expected = positions_from_bones(out.rotations, out.root, out.offsets[:, None], KINECT_V2)
    torch.testing.assert_close(out.joints, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.joints[:, :, KINECT_V2.root], out.root, atol=1e-6, rtol=0)
    assert (out.root[:, 0, :2] == 0).all()


def test_transplanting_pathological_codes_changes_the_walk_and_training_keeps_its_bones(labels):
    codes = random_codes(seed=5)
    vq, extractor, labels_ = tiny_vq().eval(), GaitFeatureExtractor(num_frames=NUM_FRAMES), torch.tensor([0, 1, 1])
    model = tiny_decoder()
    encoded = GaitVQEncoderOutput(**codes, attention_mask=torch.ones(3, STEPS).long())

    def loss(seed):
        torch.manual_seed(seed)
        return transplant_loss(model, vq, extractor, encoded, model(**codes), labels_)

    other = {**codes, "pathological_codes": codes["pathological_codes"].roll(1, 0)}
    assert (model(**codes).joints - model(**other).joints).abs().max() > 1e-4
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = np.mean([loss(s).item() for s in range(5)])
    for step in range(25):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert np.mean([loss(s).item() for s in range(5)]) < before


@pytest.mark.parametrize("steps", [1, 3, STEPS - 1])
def test_masked_is_truncated(model, labels, steps):
    codes = random_codes(seed=6)
    mask = (torch.arange(STEPS) < steps).long().expand(3, -1)
    frames = 4 * steps
    garbage = torch.where(torch.arange(NUM_FRAMES)[:, None, None] < frames, labels, torch.full_like(labels, 9.0))
    long = model(**codes, attention_mask=mask, labels=garbage)
    short = model(**{**codes, "motion_codes": codes["motion_codes"][:, :steps]}, labels=labels[:, :frames])
    torch.testing.assert_close(long.joints[:, :frames], short.joints, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(long.loss, short.loss, atol=1e-4, rtol=1e-4)


def test_latents_of_embed_give_the_same(model):
    codes = random_codes()
    out = model(latents=model.embed(**codes), attention_mask=torch.ones(3, STEPS))
    assert torch.equal(out.joints, model(**codes).joints)


def test_it_starts_from_a_tokeniser(labels):
    extractor = GaitFeatureExtractor(num_frames=NUM_FRAMES).fit(list(labels.numpy()))
    vq, decoder = tiny_vq().eval(), tiny_decoder()
    for name, buffer in vq.named_buffers():
        if name.endswith("codebook"):
            buffer.normal_()
    decoder.start_from(vq, extractor)
    codes = random_codes()
    for ours, theirs in zip(decoder.embed(**codes), vq.embed(**codes)):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(decoder.feature_mean.flatten()[3:], torch.tensor(extractor.position_mean)[3:])
    if decoder.config.hidden_size == vq.config.hidden_size:  # then its own reconstruction comes along, but for constant bones
        plain = extractor.to_joints(vq.decode(**codes))
        torch.testing.assert_close(decoder(**codes).root, plain[:, :, 0], atol=1e-4, rtol=1e-4)


def test_missing_or_wrong_codes_are_refused(model):
    codes = random_codes()
    with pytest.raises(ValueError, match="needs motion_codes, body_codes and pathological_codes"):
        model(motion_codes=codes["motion_codes"])
    for name in codes:
        for wrong in (-1, 10_000):
            broken = {**codes, name: codes[name].clone()}
            broken[name][0, 0] = wrong
            with pytest.raises((ValueError, IndexError)):
                model(**broken)


def test_loss_falls_on_two_walks(labels):
    losses = steps_of(tiny_decoder(), labels[:2], 30)
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_biomechanics_can_be_left_out(labels):
    with_them, without = tiny_decoder(), tiny_decoder(constrained=False)
    assert equal_states(with_them, without)
    one, other = (m(**random_codes(), labels=labels) for m in (with_them, without))
    assert one.loss > other.loss and torch.equal(one.position_loss, other.position_loss)


def test_a_knee_bent_the_wrong_way_costs(model, labels):
    mask, pair = torch.ones(3, NUM_FRAMES, 1), torch.ones(3, NUM_FRAMES - 1, 1)
    s = KINECT_V2
    bent = labels.clone()
    for side in ("left", "right"):
        bent[:, :, s.index(f"{side}_ankle"), 1] = bent[:, :, s.index(f"{side}_knee"), 1] + 0.3  # shank far ahead of the thigh
    (_, fine), (_, broken) = (model._biomechanics(j, labels, mask, pair) for j in (labels, bent))
    assert fine < 0.02 and broken > fine + 0.1


def test_a_foot_that_slides_costs(model, labels):
    mask, pair = torch.ones(3, NUM_FRAMES, 1), torch.ones(3, NUM_FRAMES - 1, 1)
    sliding = labels.clone()
    sliding[..., 1] += torch.linspace(0, 1, NUM_FRAMES)[:, None]
    (fine, _), (slides, _) = (model._biomechanics(j, labels, mask, pair) for j in (labels, sliding))
    assert slides > fine + 0.3  # about 0.94 m/s more


def test_save_and_load_is_exact(model, tmp_path):
    model.save_pretrained(tmp_path / "family" / "decoder")
    for loaded in (
        GaitDecoderModel.from_pretrained(tmp_path / "family" / "decoder"),
        AutoModel.from_pretrained(tmp_path / "family", subfolder="decoder"),
    ):
        assert type(loaded) is GaitDecoderModel and equal_states(loaded, model)
        assert torch.equal(loaded.eval()(**random_codes()).joints, model(**random_codes()).joints)


def test_model_from_configuration_alone(model, tmp_path):
    model.config.save_pretrained(tmp_path)
    fresh = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path)).eval()
    assert {k: v.shape for k, v in fresh.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert (fresh.feature_scale == 0.1).all()
    assert torch.isfinite(fresh(**random_codes()).joints).all()


def test_an_untrained_decoder_stands_upright():
    joints = tiny_decoder().eval()(**random_codes()).joints.mean((0, 1))
    head, pelvis, foot = (joints[KINECT_V2.index(n), 2] for n in ("head", "pelvis", "left_ankle"))
    assert 2 > head > pelvis + 0.3 > foot + 0.6


def test_other_skeletons():
    out = tiny_decoder(skeleton="smpl_22")(**random_codes())
    assert out.joints.shape == (3, NUM_FRAMES, len(SMPL_22), 3) and torch.isfinite(out.joints).all()


def test_gradient_reaches_every_parameter(labels):
    model = tiny_decoder()
    steps_of(model, labels, 2)
    model.zero_grad()
    model(**random_codes(), labels=labels).loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_configuration_round_trip(tmp_path):
    config = GaitDecoderConfig(fps=25.0, constrained=False)
    config.save_pretrained(tmp_path)
    assert GaitDecoderConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_bf16_autocast(model, labels):
    with torch.autocast("cpu", torch.bfloat16):
        out = model(**random_codes(), labels=labels)
    out.loss.backward()
    assert out.joints.dtype == torch.float32
    assert (lengths(out.joints).amax(1) - lengths(out.joints).amin(1)).max() < 1e-5
    torch.testing.assert_close(out.joints, model(**random_codes()).joints, atol=0.05, rtol=0.05)


def test_model_in_bfloat16(model, labels, tmp_path):
    model.save_pretrained(tmp_path)
    half = GaitDecoderModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    out = half(**random_codes(), labels=labels)
    out.loss.backward()
    assert half.dtype == torch.bfloat16 and torch.isfinite(out.loss)
    assert (lengths(out.joints).float().amax(1) - lengths(out.joints).float().amin(1)).max() < 1e-5
    assert (out.joints.float() - model(**random_codes()).joints).abs().max() < 0.1


def test_trainer(labels, tmp_path):
    codes = random_codes()
    rows = [{**{k: v[i] for k, v in codes.items()}, "labels": labels[i]} for i in range(3)]
    arguments = TrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=3, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    model = tiny_decoder()
    before = model.head.weight.detach().clone()
    trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)
    assert trainer.train().global_step == 2
    assert np.isfinite(trainer.evaluate()["eval_loss"]) and not torch.equal(before, model.head.weight)


def test_foot_contact_counts_sliding_and_not_lifting(labels, model):
    still = labels[:1, :1].repeat(1, 8, 1, 1)
    moving = torch.arange(8.0)[None, :, None] / model.config.fps
    mask = torch.ones(1, 8, 1)
    ankles = [KINECT_V2.index("left_ankle"), KINECT_V2.index("right_ankle")]
    for axis, speed in ((1, 1.0), (2, 0.0)):
        joints = still.clone()
        joints[:, :, ankles, axis] += moving
        contact, _ = model._biomechanics(joints, still, mask, mask[:, 1:])
        assert float(contact) == pytest.approx(speed, abs=1e-2)
