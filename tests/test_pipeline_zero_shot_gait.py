"""pipeline("zero-shot-gait-classification") on a tiny model."""

import numpy as np
import pytest
import torch
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder
from transformers import GPT2Config, GPT2LMHeadModel, pipeline

from modeling_gait.export import save_walk
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.pipeline_zero_shot_gait import (
    NONE,
    ZeroShotGaitClassificationPipeline,
    label_vectors,
    model_window,
    sensor_window,
)
from modeling_gait.skeletons import SKELETONS
from modeling_gait.training.known import fit_known

LABELS = ["normal gait", "steppage gait", "antalgic gait"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of Kinect walks and its extractor."""
    root = tmp_path_factory.mktemp("zero_shot")
    gait = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "num_frames": 32}
    model = tiny(write_sentence_encoder(root / "encoder"), gait_config=gait)
    model.get_text_features("fixes the fingerprint")
    model.save_pretrained(root / "model")
    GaitFeatureExtractor(num_frames=32).save_pretrained(root / "model")
    return root / "model"


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline("zero-shot-gait-classification", model=str(folder))


def test_what_is_given_to_pipeline_holds_for_every_call(classify, folder, walks):
    task, walk = "zero-shot-gait-classification", walks.joints[0]
    fast = pipeline(task, model=str(folder), fps=60)
    assert fast(walk, LABELS) == classify(walk, LABELS, fps=60) != classify(walk, LABELS, fps=30) == fast(walk, LABELS, fps=30)
    with pytest.raises(TypeError, match="'frames'"):
        pipeline(task, model=str(folder), frames=3)


def test_scores_are_probabilities_best_first_and_follow_the_vectors(classify, walks):
    assert isinstance(classify, ZeroShotGaitClassificationPipeline)
    found = classify(walks.joints[0], candidate_labels=LABELS, fps=30)
    scores = [f["score"] for f in found]
    assert {f["label"] for f in found} == set(LABELS) and sum(scores) == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)
    values, mask = model_window(classify.model, classify.extractor, walks.joints[0], 30)
    with torch.no_grad():
        logits = classify.model(values[None], mask[None], texts=LABELS).logits_per_gait[0]
    expected = dict(zip(LABELS, logits.softmax(-1).tolist()))
    assert {f["label"]: pytest.approx(f["score"], abs=1e-5) for f in found} == expected


def test_bfloat16(classify, folder, walks):
    half = pipeline("zero-shot-gait-classification", model=str(folder), dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    one, other = (
        {f["label"]: f["score"] for f in c(walks.joints[0], candidate_labels=LABELS, fps=30)} for c in (classify, half)
    )
    assert other == pytest.approx(one, abs=0.03)


def test_files_lists_and_attributes(classify, walks, tmp_path):
    save_walk(tmp_path / "walk.csv", walks.joints[1], 30.0)
    attributes = {"pathology": LABELS, "side": ["left side", "right side"]}
    both = {"candidate_labels": attributes, "fps": 30, "batch_size": 8, "num_workers": 0}
    results = classify([walks.joints[0], tmp_path / "walk.csv"], **both)
    assert [set(r) for r in results] == [{"pathology", "side"}] * 2
    for result in results:
        for name, found in result.items():
            assert sorted(f["label"] for f in found) == sorted(attributes[name])
            assert sum(f["score"] for f in found) == pytest.approx(1)
    again = classify(walks.joints[1], candidate_labels=attributes, fps=30)
    assert again["side"][0]["score"] == pytest.approx(results[1]["side"][0]["score"], abs=1e-3)


def test_template_and_several_descriptions_of_a_label(classify, walks):
    plain = classify(walks.joints[0], candidate_labels=["slow", "fast"], fps=30)
    spoken = classify(walks.joints[0], candidate_labels=["slow", "fast"], hypothesis_template="a {} walk", fps=30)
    assert plain[0]["score"] != spoken[0]["score"]
    words = {"slow": ["slow", "sluggish"], "fast": ["fast"]}
    both = classify(walks.joints[0], candidate_labels=["slow", "fast"], descriptions=words, fps=30)
    assert both[0]["score"] != plain[0]["score"]
    with torch.no_grad():
        mean = classify.model.get_text_features(words["slow"]).mean(0)
    torch.testing.assert_close(label_vectors(classify.model, [words["slow"]])[0], mean / mean.norm())


def test_fair_scores_and_none_of_these(folder, walks):
    """A description that all training walks are like loses its lead; a walk that is like none of them is none of these."""
    gait = {"layout": "kinect_v2", "hidden_size": 16, "num_attention_heads": 2}
    model = tiny(folder.parent / "encoder", gait_config=gait, known_walks=8)
    classify = ZeroShotGaitClassificationPipeline(model=model, extractor=GaitFeatureExtractor(num_frames=32))
    with torch.no_grad():
        seen, other = model.get_text_features(LABELS[:2])
        values, mask = model_window(model, classify.extractor, walks.joints[0], 30)
        own = model.get_gait_features(values[None], mask[None])
        near = torch.nn.functional.normalize(seen + 0.01 * torch.randn(8, 8), dim=-1)
        model.set_known_walks(near, seen.expand(8, -1))
        expected = own @ torch.stack((seen, other)).T - (near @ torch.stack((seen, other)).T).quantile(0.98, dim=0)
    torch.testing.assert_close(model.fair_scores(own, torch.stack((seen, other))), expected)
    plain, fair = (
        {f["label"]: f["score"] for f in classify(walks.joints[0], candidate_labels=LABELS[:2], fps=30, fair=fair)}
        for fair in (False, True)
    )
    assert fair[LABELS[0]] < plain[LABELS[0]]
    model.known_cosine.fill_(3.0)
    with pytest.warns(UserWarning, match="not calibrated"):
        best = classify(walks.joints[0], candidate_labels=LABELS, fps=30, none_of_these=True)
    assert best[0]["label"] == "none of these" and sum(f["score"] for f in best) == pytest.approx(1)
    model.known_cosine.fill_(-3.0)
    with pytest.warns(UserWarning, match="not calibrated"):
        assert classify(walks.joints[0], candidate_labels=LABELS, fps=30, none_of_these=True)[-1]["label"] == NONE


def test_what_is_unlike_all_known_classes_is_none_of_these(folder, walks):
    """Walks of three classes of two people are known; one with hands that wave over the head is not."""
    gait = {"layout": "kinect_v2", "hidden_size": 16, "num_attention_heads": 2}
    model = tiny(folder.parent / "encoder", gait_config=gait, known_walks=8, known_classes=3)
    classify = ZeroShotGaitClassificationPipeline(model=model, extractor=GaitFeatureExtractor(num_frames=32))
    cut = [classify.extractor.window(j[i : i + 32]) for j in walks.joints for i in range(0, 64, 8)]
    windows = classify.extractor.to_features(torch.from_numpy(np.stack([c[0] for c in cut])))
    rows = np.arange(len(windows))
    fit_known(model.known_classes, model.known_classes.features(windows).double().numpy(), rows // 8 % 3, rows % 2)
    model.known_cosine.fill_(-1.0)

    def none(joints: np.ndarray, classify=classify) -> float:
        found = classify(joints, candidate_labels=LABELS, fps=30, none_of_these=True)
        assert sum(f["score"] for f in found) == pytest.approx(1, abs=0.01)
        return {f["label"]: f["score"] for f in found}[NONE]

    own, waving = walks.joints[0], walks.joints[0].copy()
    arms = [i for i, n in enumerate(SKELETONS["kinect_v2"].joint_names) if "elbow" in n or "wrist" in n or "hand" in n]
    waving[:, arms, 2] += 0.8 + 0.3 * np.sin(np.arange(len(own)))[:, None]
    with torch.no_grad():
        values, mask = model_window(model, classify.extractor, own, 30)
        assert none(own) == pytest.approx(float(model.known_classes(values[None], mask[None])[0]), abs=0.01)
    assert none(own) < 0.5 < 0.99 < none(waving)
    again = ZeroShotGaitClassificationPipeline(model=model.to(torch.bfloat16), extractor=classify.extractor)
    assert none(own, again) < 0.5 < 0.99 < none(waving, again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidate_labels": LABELS, "fair": True}, "no known walks"),
        ({"candidate_labels": LABELS, "none_of_these": True}, "no known walks"),
        ({"candidate_labels": []}, "one or more"),
        ({"candidate_labels": "normal gait"}, "expected a list"),
        ({"candidate_labels": ["a", "a"]}, "each once"),
        ({"candidate_labels": ["a", " "]}, "one or more descriptions"),
        ({"candidate_labels": [None]}, "one or more descriptions"),
        ({"candidate_labels": {}}, "got none"),
        ({"candidate_labels": None}, "expected a list"),
        ({"candidate_labels": ["normal gait", "Normal  gait "]}, "each once"),
        ({"candidate_labels": ["a", "None of these"], "none_of_these": True}, "'none of these' is among them"),
        ({"candidate_labels": LABELS, "descriptions": {LABELS[1]: []}}, "none for 'steppage gait'"),
        ({"candidate_labels": LABELS, "hypothesis_template": 5}, "template"),
        ({"candidate_labels": ["a", "b" * 99]}, "tokens"),
        ({"candidate_labels": LABELS, "hypothesis_template": "no place"}, "template"),
        ({"candidate_labels": LABELS, "skeleton": "octopus"}, "unknown skeleton"),
        ({"candidate_labels": LABELS, "skeleton": "smpl_22"}, "22"),
        ({"candidate_labels": LABELS, "fps": -1}, "fps"),
        ({"candidate_labels": LABELS, "fps": "30"}, "fps must be a positive number, got '30'"),
        ({"candidate_labels": LABELS, "batch_size": 0}, "batch_size: expected a whole number of 1 or more, got 0"),
    ],
)
def test_bad_input_gets_a_clear_error(classify, walks, arguments, message):
    with pytest.raises(ValueError, match=message):
        classify(walks.joints[0], **{"fps": 30, **arguments})


def test_a_label_stands_at_every_place_and_doubts_are_told(classify, walks):
    with pytest.warns(UserWarning, match="of walking: too few strides"):
        found = classify(walks.joints[0], iter(LABELS), hypothesis_template="{} and {} of {0}", fps=30)
    assert {f["label"] for f in found} == set(LABELS)


def test_sensor_samples_of_another_rate(folder):
    model = tiny(folder.parent / "encoder")  # 6 channels, 30 a second, 16 frames
    classify = ZeroShotGaitClassificationPipeline(model=model)
    slow = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32).cumsum(0)
    values, mask = sensor_window(model.config.gait_config, np.repeat(slow, 2, axis=0), fps=60)
    assert values.shape == (16, 6) and mask.all()
    values, mask = sensor_window(model.config.gait_config, slow[:5])
    assert mask.tolist() == [1] * 5 + [0] * 11 and np.allclose(values[:5], slow[:5])
    assert len(classify(slow, candidate_labels=["a", "b"])) == 2
    with pytest.raises(ValueError, match="fps must be a positive number, got '30'"):
        classify(slow, candidate_labels=["a", "b"], fps="30")
    with pytest.raises(ValueError, match=r"\(T, 6\)"):
        classify(slow[:, :3], candidate_labels=["a", "b"])


def test_other_models_are_refused(family_folder):
    for other in (GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=10)), str(family_folder)):
        with pytest.raises(ValueError, match="expected a gait_dual_encoder model, got one of type '(gait_)?gpt2'"):
            pipeline("zero-shot-gait-classification", model=other, device="cpu")


def test_extractor_must_fit_the_model(folder):
    model = tiny(folder.parent / "encoder", gait_config={"layout": "openpose_18", "hidden_size": 16, "num_attention_heads": 2})
    with pytest.raises(ValueError, match="openpose_18"):
        ZeroShotGaitClassificationPipeline(model=model, extractor=GaitFeatureExtractor(num_frames=32))
