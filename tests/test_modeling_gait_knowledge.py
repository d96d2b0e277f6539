"""GaitKnowledgeForSequenceClassification: inputs, branches, prompts, numbers, losses, saving and loading."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st
from test_modeling_gait_dual_encoder import write_sentence_encoder
from torch.nn import functional as F
from transformers import ResNetModel, ViTConfig, ViTModel

from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification, prepare_knowledge_input
from modeling_gait.simulation import simulate_walks

LABELS = ("normal", "steppage", "lurch")
DESCRIPTIONS = {
    "normal": ["Both legs move alike.", "The heel strikes first."],
    "steppage": ["The foot drops."],
    "lurch": ["The trunk leans back."],
}
KEYWORDS = {"steppage": ["foot drop", "high step"]}
VISION = {"image_size": 16, "patch_size": 8, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
VISION |= {"num_attention_heads": 2, "model_type": "clip_vision_model", "projection_dim": 8}
COUNT = len(GAIT_PARAMETERS)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    return write_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny", limit=256)


def tiny(folder="unused", **kwargs) -> GaitKnowledgeForSequenceClassification:
    values = {
        "id2label": dict(enumerate(LABELS)),
        "skeleton_config": {"hidden_size": 8, "num_layers": 1, "num_features": 76},
        "video_config": VISION,
        "text_config": {"name": str(folder), "hidden_size": 16},
        "projection_size": 8,
        "num_frames": 4,
        "temporal_layers": 1,
        "class_descriptions": DESCRIPTIONS,
        "class_keywords": KEYWORDS,
        "parameter_mean": np.linspace(0.5, 2, COUNT).tolist(),
        "parameter_std": np.linspace(0.1, 0.9, COUNT).tolist(),
    }
    torch.manual_seed(0)
    return GaitKnowledgeForSequenceClassification(GaitKnowledgeConfig(**values | kwargs)).eval()


def full(folder, **kwargs):
    return tiny(folder, branches=["skeleton", "video"], use_knowledge=True, use_numeric=True, **kwargs)


def batch(size: int = 4) -> dict[str, torch.Tensor]:
    parameters = 1 + 0.3 * torch.randn(size, COUNT)
    parameters[0, 3] = torch.nan
    return {
        "input_values": torch.randn(size, 12, 76),
        "pixel_values": torch.randint(0, 256, (size, 4, 3, 16, 16), dtype=torch.uint8),
        "labels": torch.arange(size) % len(LABELS),
        "gait_parameters": parameters,
    }


# --- inputs ------------------------------------------------------------------------------------------------------------------


def test_skeleton_input_keeps_speed_and_time():
    walks = simulate_walks(3, frames=60, seed=2)
    out = prepare_knowledge_input(list(walks.joints), 30.0, frames=48)
    assert out.shape == (3, 48, 76) and out.dtype == np.float32
    plain = prepare_classifier_input(list(walks.joints), frames=48)
    np.testing.assert_array_equal(out[..., 3:75], plain[..., 3:])
    np.testing.assert_allclose(out[..., 75], 59 / 30 / 47, rtol=1e-6)
    measured = [compute_gait_parameters(j, 30.0)["speed"] for j in walks.joints]
    np.testing.assert_allclose(out[..., 1].mean(1), measured, atol=0.08)


def test_skeleton_input_takes_a_frame_rate_of_each_walk():
    walk = simulate_walks(1, frames=40, seed=2).joints[0]
    out = prepare_knowledge_input([walk, walk], [30.0, 60.0])
    np.testing.assert_allclose(out[1, :, :3], 2 * out[0, :, :3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(out[1, :, 75], out[0, :, 75] / 2, rtol=1e-5)
    assert np.isfinite(prepare_knowledge_input([walk[:1]], 30.0)).all()
    with pytest.raises(ValueError, match="fps must be positive, got 0"):
        prepare_knowledge_input([walk], 0)


# --- output ------------------------------------------------------------------------------------------------------------------


def test_output_shapes_units_and_cosines(encoder_folder):
    model, given = full(encoder_folder), batch()
    output = model(**given)
    assert output.logits.shape == (4, 3) and output.parameters.shape == (4, COUNT) and output.loss.ndim == 0
    for vectors, count in ((output.embeds, 4), (output.class_embeds, 3)):
        assert vectors.shape == (count, 8)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(count))
    torch.testing.assert_close(output.logits, 10 * output.embeds @ output.class_embeds.T)
    of_video = model(pixel_values=given["pixel_values"])
    torch.testing.assert_close(of_video.parameters, model.decode_parameters(of_video.embeds))
    timed = model._timed(given["input_values"], None) * model.parameter_std + model.parameter_mean
    torch.testing.assert_close(output.parameters, (model.decode_parameters(output.embeds) + timed) / 2)
    assert output.kinematics is None
    assert model.class_parameters().shape == (3, COUNT)
    plain = tiny()(input_values=given["input_values"])
    assert plain.loss is None and plain.parameters is None and plain.logits.shape == (4, 3)


def test_each_branch_alone_and_both_together(encoder_folder):
    model, given = full(encoder_folder), batch()
    skeleton = model(input_values=given["input_values"]).embeds
    video = model(pixel_values=given["pixel_values"]).embeds
    both = model(input_values=given["input_values"], pixel_values=given["pixel_values"]).embeds
    torch.testing.assert_close(both, F.normalize(skeleton + video, dim=-1))
    with pytest.raises(ValueError, match="give input_values or pixel_values"):
        model()
    with pytest.raises(ValueError, match="pixel_values: this model has no video branch"):
        tiny()(pixel_values=given["pixel_values"])
    with pytest.raises(ValueError, match="4 skeletons and 2 videos"):
        model(input_values=given["input_values"], pixel_values=given["pixel_values"][:2])


def test_wrong_input_is_refused(encoder_folder):
    model, given = full(encoder_folder), batch()
    with pytest.raises(ValueError, match=r"input_values: expected \(B, T, 76\)"):
        model(input_values=given["input_values"][..., :75])
    broken = given["input_values"].clone()
    broken[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        model(input_values=broken)
    with pytest.raises(ValueError, match=r"pixel_values: expected \(B, T >= 1, 3, H, W\)"):
        model(pixel_values=torch.zeros(2, 5, 16, 16, 3))
    with pytest.raises(ValueError, match=r"video_mask: expected \(4, 4\)"):
        model(pixel_values=given["pixel_values"], video_mask=torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"gait_parameters: expected \(4, 29\)"):
        model(input_values=given["input_values"], gait_parameters=torch.zeros(4, 3))


def test_walks_of_no_frame_are_refused(encoder_folder):
    with pytest.raises(ValueError, match="input_values: walks of no frame, expected one frame or more"):
        full(encoder_folder)(input_values=torch.zeros(2, 0, 76))


@pytest.mark.parametrize("train", [False, True])
def test_double_precision_is_read_as_single(encoder_folder, train):
    model, given = full(encoder_folder).train(train), batch()
    double = {k: v.double() if v.is_floating_point() else v for k, v in given.items()}
    torch.manual_seed(1)
    expected = model(**given)
    torch.manual_seed(1)
    output = model(**double)
    output.loss.backward()
    for name in ("loss", "logits", "parameters"):
        torch.testing.assert_close(output[name], expected[name])


@settings(max_examples=10, deadline=None)
@given(valid=st.integers(1, 3), seed=st.integers(0, 99))
def test_masked_frames_of_a_video_do_not_count(valid, seed):
    model = tiny(branches=["video"])
    torch.manual_seed(seed)
    video, other = torch.rand(2, 1, 4, 3, 16, 16)
    other[:, :valid] = video[:, :valid]
    mask = (torch.arange(4) < valid)[None]
    with torch.no_grad():
        one, two = (model(pixel_values=v, video_mask=mask).embeds for v in (video, other))
        torch.testing.assert_close(one, two)
        torch.testing.assert_close(one, model(pixel_values=video[:, :valid]).embeds, atol=1e-5, rtol=1e-4)
        assert (one - model(pixel_values=video).embeds).abs().max() > 1e-5


def test_of_a_longer_video_frames_are_read_evenly():
    model, video = tiny(branches=["video"]), torch.rand(2, 10, 3, 16, 16)
    torch.testing.assert_close(model(pixel_values=video).embeds, model(pixel_values=video[:, [0, 3, 6, 9]]).embeds)


def test_pixels_as_bytes_and_as_fractions_are_the_same():
    model, pixels = tiny(branches=["video"]), batch()["pixel_values"]
    torch.testing.assert_close(model(pixel_values=pixels).embeds, model(pixel_values=pixels / 255).embeds)


def test_the_default_vision_encoder_is_convolutional():
    """Its maps are pooled as tokens are; a frame that is masked changes nothing."""
    model, pixels = tiny(branches=["video"], video_config=None).eval(), torch.rand(2, 4, 3, 64, 64)
    assert isinstance(model.video.encoder, ResNetModel)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    other = pixels.clone()
    other[0, 3] = 1 - other[0, 3]
    before, after = (model(pixel_values=x, video_mask=mask).embeds for x in (pixels, other))
    torch.testing.assert_close(before[0], after[0])
    other[0, 2] = 1 - other[0, 2]
    assert (model(pixel_values=other, video_mask=mask).embeds[0] - before[0]).abs().max() > 1e-4


def test_another_vision_encoder_and_its_weights(tmp_path):
    about = {k: v for k, v in VISION.items() if k not in ("model_type", "projection_dim")}
    ViTModel(ViTConfig(**about)).save_pretrained(tmp_path)
    model = tiny(branches=["video"], video_config=str(tmp_path))
    assert isinstance(model.video.encoder, ViTModel)
    before = model(pixel_values=batch()["pixel_values"]).embeds
    model.load_video_encoder(str(tmp_path))
    assert (model(pixel_values=batch()["pixel_values"]).embeds - before).abs().max() > 1e-4
    torch.testing.assert_close(
        model.video.encoder.state_dict()["embeddings.cls_token"],
        ViTModel.from_pretrained(tmp_path).state_dict()["embeddings.cls_token"],
    )


def test_pixels_of_another_size_are_resized():
    """A vision transformer of the Hub wants 224 x 224; videos of 64 x 64 are read as well."""
    model, pixels = tiny(branches=["video"]), batch()["pixel_values"].float() / 255
    large = F.interpolate(pixels.flatten(0, 1), scale_factor=4, mode="nearest").unflatten(0, pixels.shape[:2])
    assert large.shape[-1] == 4 * VISION["image_size"]
    torch.testing.assert_close(model(pixel_values=large).embeds, model(pixel_values=pixels).embeds, atol=0.2, rtol=0)


# --- knowledge ---------------------------------------------------------------------------------------------------------------


def test_classes_are_prompts_of_their_knowledge(encoder_folder):
    classes = full(encoder_folder).get_class_embeds()
    other = full(encoder_folder, class_descriptions=DESCRIPTIONS | {"lurch": ["The knees stay stiff."]}).get_class_embeds()
    assert (classes - other).abs().max() > 1e-3
    words = full(encoder_folder, class_keywords=KEYWORDS | {"lurch": ["backwards"]}).get_class_embeds()
    assert (classes - words).abs().max() > 1e-3


def test_gradients_reach_context_and_projections_but_not_the_encoder(encoder_folder):
    model = full(encoder_folder).train()
    model(**batch()).loss.backward()
    for name in ("context", "num_embedding", "num_bias", "log_scale"):
        assert getattr(model, name).grad.abs().max() > 0, name
    assert model.description_projection.weight.grad.abs().max() > 0
    assert all(p.grad is None for p in model.sentence_encoder.model.parameters())
    assert not [k for k in model.state_dict() if "sentence_encoder" in k]


def test_without_update_the_text_encoder_rests(encoder_folder, monkeypatch):
    model, given = full(encoder_folder).train(), batch()
    model(**given)
    kept = model.class_features.clone()
    monkeypatch.setattr(model.sentence_encoder.model, "forward", lambda *_, **__: pytest.fail("the encoder was run"))
    output = model(**given, update_text=False)
    torch.testing.assert_close(output.class_embeds, kept)
    output.loss.backward()
    assert model.context.grad is None and model.skeleton.head.weight.grad.abs().max() > 0
    with pytest.raises(pytest.fail.Exception):
        model(**given)


def test_without_knowledge_classes_are_learned_vectors():
    model = tiny(use_numeric=False).train()
    output = model(**batch() | {"pixel_values": None, "gait_parameters": None})
    output.loss.backward()
    assert model.class_vectors.grad.abs().max() > 0
    assert model._sentence_encoder is None


# --- numbers -----------------------------------------------------------------------------------------------------------------


def test_numeric_text_tells_values_apart_and_names_too(encoder_folder):
    model = full(encoder_folder)
    values = torch.tensor(model.config.parameter_mean) + torch.tensor([[-1.0], [0.0], [2.0]]) * 0.3
    one = model.get_numeric_embeds(values, [0, 5, 9, 20])
    torch.testing.assert_close(one.norm(dim=-1), torch.ones(3))
    assert (one[0] - one[2]).norm() > 0.1
    other = values.clone()
    other[:, 1] += 3
    torch.testing.assert_close(model.get_numeric_embeds(other, [0, 5, 9, 20]), one)
    assert (model.get_numeric_embeds(values, [1, 5, 9, 20]) - one).abs().max() > 1e-3


def test_numbers_that_were_not_measured_change_nothing(encoder_folder):
    model, given = full(encoder_folder), batch()
    given["gait_parameters"][1] = torch.nan
    losses = []
    for guess in (torch.nan, 7.0):
        output = model(input_values=given["input_values"], update_text=False)
        target = given["gait_parameters"].nan_to_num(nan=guess)
        standardised = model._standardised(output.embeds)
        losses.append(model.parameter_loss(standardised, target, output.class_embeds, given["labels"]).item())
    assert np.isfinite(losses).all() and losses[0] != losses[1]
    known = given["gait_parameters"].clone()
    everything = torch.full_like(known, torch.nan)
    assert model.parameter_loss(standardised, everything, output.class_embeds, given["labels"]).item() == 0
    assert model.train()(**given | {"gait_parameters": everything}).loss.isfinite()


def test_kinematic_parameters_follow_the_gait_parameters(encoder_folder):
    count = COUNT + len(KINEMATIC_PARAMETERS)
    model = full(encoder_folder, parameter_mean=[0.0] * count, parameter_std=[2.0] * count)
    given = batch()
    output = model(pixel_values=given["pixel_values"], gait_parameters=torch.randn(4, count))
    assert output.parameters.shape == (4, COUNT) and output.kinematics.shape == (4, count - COUNT)
    decoded = model.decode_parameters(output.embeds)
    torch.testing.assert_close(torch.cat((output.parameters, output.kinematics), dim=1), decoded)
    assert model.class_parameters().shape == (3, COUNT)


def test_numbers_want_the_features_of_the_skeleton():
    sizes = {"hidden_size": 8, "num_layers": 1, "num_features": 75}
    tiny(skeleton_config=sizes)
    with pytest.raises(StrictDataclassError, match="a kinect_v2 walk has 76 features, num_features is 75"):
        tiny(skeleton_config=sizes, use_numeric=True)


def test_parameters_of_a_model_without_numbers_are_refused():
    with pytest.raises(ValueError, match="train it with use_numeric"):
        tiny().class_parameters()


# --- losses, temperature -----------------------------------------------------------------------------------------------------


def test_focal_loss_is_below_cross_entropy_and_unknown_labels_do_not_count():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, -100, 1, 0])
    entropy, focal = (tiny(loss=name).classification_loss(logits, labels) for name in ("cross_entropy", "focal"))
    torch.testing.assert_close(entropy, F.cross_entropy(logits, labels))
    assert 0 < focal < entropy
    torch.testing.assert_close(tiny(loss="focal", focal_gamma=0).classification_loss(logits, labels), entropy)
    assert tiny().classification_loss(logits, torch.full((6,), -100)) == 0


def test_temperature_divides_the_logits_outside_training(tmp_path):
    model, given = tiny(), batch()["input_values"]
    before = model(input_values=given).logits
    model.set_temperature(2.0)
    torch.testing.assert_close(model(input_values=given).logits, before / 2)
    torch.testing.assert_close(model.train()(input_values=given).logits, before)
    model.save_pretrained(tmp_path)
    again = GaitKnowledgeForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(input_values=given).logits, before / 2)
    with pytest.raises(ValueError, match="temperature must be positive"):
        model.set_temperature(0)


def test_fixed_temperature_is_not_learned():
    assert not tiny(learn_temperature=False).log_scale.requires_grad
    assert tiny().log_scale.requires_grad


# --- saving ------------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_stands_alone(encoder_folder, tmp_path):
    model, given = full(encoder_folder), batch()
    given.pop("gait_parameters")
    model.set_normalization(np.full(76, 0.1), np.full(76, 2.0))
    expected = model(**given)
    model.config.text_config.name = "nowhere"  # the text encoder is not needed any more
    model.save_pretrained(tmp_path)
    again = GaitKnowledgeForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.config.class_descriptions == DESCRIPTIONS and again.config.id2label == dict(enumerate(LABELS))
    output = again(**given)
    for name in ("loss", "logits", "embeds", "class_embeds", "parameters"):
        torch.testing.assert_close(output[name], expected[name])
    torch.testing.assert_close(again.class_parameters(), model.class_parameters())


def test_another_text_encoder_is_refused(encoder_folder, tmp_path):
    model = full(encoder_folder)
    model.get_class_embeds()
    other = write_sentence_encoder(tmp_path / "other", seed=5)
    model.save_pretrained(tmp_path / "model")
    again = GaitKnowledgeForSequenceClassification.from_pretrained(tmp_path / "model")
    again.config.text_config.name = str(other)
    with pytest.raises(ValueError, match="is not the one that this model was trained with"):
        again.get_class_embeds(update=True)


def test_configuration_refuses_what_does_not_fit():
    for match, wrong in (
        ("unknown label ataxic", {"class_descriptions": {"ataxic": ["x"]}}),
        ("citation for each sentence of normal", {"class_descriptions": {"normal": ["x"]}, "class_sources": {"normal": []}}),
        ("has no sentence for lurch", {"use_knowledge": True, "class_descriptions": {"normal": ["x"], "steppage": ["y"]}}),
        ("branches: expected some of skeleton, video", {"branches": ["sound"]}),
        ("expected 29 or 46 numbers", {"parameter_mean": [1.0]}),
        ("indices below 29", {"parameter_groups": [[29]]}),
        ("needs model_type", {"branches": ["video"], "video_config": {"hidden_size": 8}}),
        (
            "needs two or more classes, each once",
            {"id2label": {0: "normal"}, "class_descriptions": None, "class_keywords": None},
        ),
        ("logit_scale must be positive", {"logit_scale": 0}),
    ):
        with pytest.raises((StrictDataclassError, ValueError), match=match):
            tiny(**wrong)
