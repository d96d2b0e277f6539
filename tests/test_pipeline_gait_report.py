"""Pipeline gait-report: skeletons, videos and both; numbers against the measured ones; evidence; the page; bad input."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEXTS
from transformers import pipeline

from modeling_gait.configuration_gait_classifier import GIST_LABELS
from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.drawing.report_html import DISCLAIMER, write_report
from modeling_gait.drawing.video_rendering import render_video
from modeling_gait.export import write_csv
from modeling_gait.gait_classes import load_classes
from modeling_gait.gait_norms import normative_range
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from modeling_gait.gait_report import ReportParameter, class_sentences, find_evidence, measured_report, phrase
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from modeling_gait.numeric_text import parse_spoken
from modeling_gait.pipeline_gait_report import GaitReportPipeline
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks
from modeling_gait.walk_description import fit_reference

SMALL = {"model_type": "clip_vision_model", "image_size": 32, "patch_size": 16, "hidden_size": 16, "intermediate_size": 16}
SMALL |= {"num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": 8}


def tiny(branches=("skeleton",), **kwargs) -> GaitKnowledgeForSequenceClassification:
    """An untrained model."""
    torch.manual_seed(0)
    parts = {"skeleton": {"skeleton_config": {"hidden_size": 16, "num_layers": 1}}, "video": {"video_config": SMALL}}
    sizes = {"projection_size": 16, "num_frames": 4, "temporal_layers": 1, "text_config": {"hidden_size": 8}}
    for branch in branches:
        sizes |= parts[branch]
    config = GaitKnowledgeConfig(branches=list(branches), **sizes, **{"use_numeric": True, **kwargs})
    return GaitKnowledgeForSequenceClassification(config).eval()


def pipe_of(branches=("skeleton",), **kwargs) -> GaitReportPipeline:
    return GaitReportPipeline(model=tiny(branches, **kwargs))


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """A severe parkinsonian walk of 5 s."""
    return simulate_walks(1, frames=150, seed=4, pathology="parkinsonian", severity=1.0).joints[0]


@pytest.fixture(scope="module")
def skeleton_file(walk, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("walks") / "anna <b>&.csv"
    write_csv(path, walk, 30.0)
    return path


@pytest.fixture(scope="module")
def video_file(walk, tmp_path_factory) -> Path:
    pytest.importorskip("av")
    path = tmp_path_factory.mktemp("walks") / "anna.mp4"
    render_video(walk[:110], path, size=(48, 48))  # a crop of the person
    return path


@pytest.fixture(scope="module")
def report(skeleton_file):
    return pipe_of()(str(skeleton_file), age=70, sex="female")


def test_probabilities_and_the_model_agree(report, skeleton_file):
    pipe = pipe_of()
    inputs = pipe.preprocess(skeleton_file)["inputs"]
    with torch.no_grad():
        expected = pipe.model(**inputs).logits.softmax(-1)[0]
    assert sum(report.class_probabilities.values()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(list(report.class_probabilities.values()), sorted(expected.tolist())[::-1], rtol=1e-5)
    assert report.label == pipe.model.config.id2label[int(expected.argmax())]


@pytest.mark.parametrize("branches", [("skeleton",), ("video",), ("skeleton", "video")], ids=" ".join)
def test_bfloat16(branches, skeleton_file, video_file):
    given = {k: f for k, f in (("skeleton", skeleton_file), ("video", video_file)) if k in branches}
    one, other = (GaitReportPipeline(model=m)(given) for m in (tiny(branches), tiny(branches).bfloat16()))
    assert other.class_probabilities == pytest.approx(one.class_probabilities, abs=0.03)
    assert other.severity == one.severity and len(other.parameters) == len(one.parameters)


def test_parameters_are_those_of_the_walk_with_the_norms_of_the_person(report, walk):
    measured = compute_gait_parameters(report.walk.joints, 30.0)
    assert measured["speed"] == pytest.approx(compute_gait_parameters(walk, 30.0)["speed"], abs=0.02)
    assert [p.name for p in report.parameters] == [p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)]
    for p in report.parameters:
        norm = normative_range(p.name, 70, "female")
        assert p.value == pytest.approx(measured[p.name], abs=1e-4, nan_ok=True) and p.origin == "measured"
        assert (p.low is None) == (norm is None)
        if norm:
            assert (p.low, p.high, p.in_range) == (norm.low, norm.high, norm.low <= p.value <= norm.high)
    assert {p.name: p.in_range for p in report.parameters}["speed"] is False  # 0.3 m/s


@pytest.mark.parametrize("scale, age, told", [(1.0, None, False), (0.6, None, True), (0.6, 8, False), (0.6, 30, False)])
def test_the_norms_of_adults_beside_a_childs_legs_are_doubted(walk, scale, age, told):
    with_model = pipe_of()({"joints": walk * scale, "fps": 30.0}, age=age)
    without = measured_report(read_recording({"joints": walk * scale, "fps": 30.0}), age)
    for found in (with_model, without):
        assert any("the norms are of adults: say the age" in p for p in found.problems) is told


def test_the_sentence_says_the_measured_numbers(report):
    values = {p.name: p.value for p in report.parameters}
    said = parse_spoken(report.sentence)
    assert {"speed", "cadence", "step_time_difference"} <= set(said)
    assert all(abs(v - values[name]) <= 0.5 for name, v in said.items())
    assert abs(said["speed"] - values["speed"]) <= 0.005
    assert "not been calibrated" in " ".join(report.problems)
    knees = [p.in_range for p in report.parameters if p.name.startswith("peak_knee")]
    assert (False in knees) == ("depth cameras" in " ".join(report.problems))


def test_a_notebook_shows_the_page(report):
    assert DISCLAIMER in report._repr_html_() and report._repr_html_().startswith("<iframe srcdoc=")


def test_saliency_is_of_the_most_likely_class(report):
    assert report.saliency.joints.shape == (1, 25) and report.saliency.frames.shape == (1, 64)
    assert list(report.class_probabilities)[0] == pipe_of().model.config.id2label[int(report.saliency.labels[0])]


def test_severity_of_scores_is_the_expected_score(walk):
    labels = {"id2label": {0: "0", 1: "1", 2: "2", 3: "3"}}
    report = pipe_of(**labels)({"joints": walk, "fps": 30})
    expected = sum(int(k) * p for k, p in report.class_probabilities.items())
    assert report.severity == pytest.approx(expected, abs=1e-4)
    assert report.severity_scale == "expected score, 0 to 3"


def test_severity_of_classes_needs_a_reference_of_normal_walks(walk):
    normal = simulate_walks(8, frames=150, seed=1, pathology="normal").joints
    reference = fit_reference([compute_gait_parameters(j, 30.0) for j in normal])
    pipe = pipe_of(id2label={0: "parkinsonian", 1: "lurch"})
    assert pipe(walk).severity is None and pipe(walk).severity_scale is None
    assert pipe(walk, reference=reference).severity > 0.5


def test_a_video_gives_the_models_numbers_and_both_give_the_measured_ones(video_file, skeleton_file, walk):
    pipe = pipe_of(("skeleton", "video"))
    seen, both = pipe(video_file, box="full"), pipe({"video": str(video_file), "skeleton": str(skeleton_file)}, box="full")
    assert {p.origin for p in seen.parameters} == {"model"} and len(seen.parameters) == 46
    assert seen.walk is None and seen.saliency.joints is None
    assert seen.saliency.pixels.shape == (1, 4, 32, 32) and seen.video.shape == (4, 32, 32, 3)
    assert any("estimates from the video" in p for p in seen.problems)
    assert all(not p.value < 0 for p in seen.parameters if p.unit == "s" and "difference" not in p.name)
    impossible = [p.name.replace("_", " ") for p in seen.parameters if np.isnan(p.value)]
    assert impossible and f"impossible estimates are left out: {', '.join(impossible)}" in seen.problems
    assert both.parameters[0].origin == "measured" and len(both.parameters) == 46
    assert both.saliency.joints is not None and both.saliency.pixels is not None
    assert both.class_probabilities != seen.class_probabilities
    few = pipe_of(("video",), parameter_mean=[0.0] * 29, parameter_std=[1.0] * 29)(video_file, box="full")
    assert [p.name for p in few.parameters] == [p.name for p in GAIT_PARAMETERS]
    plain = pipe_of(("video",), use_numeric=False)(video_file, box="full")
    assert plain.parameters == [] and plain.sentence == "" and "no gait parameters" in " ".join(plain.problems)


def test_probabilities_of_a_video_are_the_mean_of_its_windows(video_file):
    pipe = pipe_of(("video",))
    inputs = pipe.preprocess(video_file, box="full")["inputs"]
    assert len(inputs["pixel_values"]) == 3
    with torch.no_grad():
        expected = pipe.model(**inputs).logits.softmax(-1).mean(0)
    np.testing.assert_allclose(
        list(pipe(video_file, box="full").class_probabilities.values()), sorted(expected.tolist())[::-1], rtol=1e-5
    )


def test_a_long_walk_is_the_mean_of_its_parts(walk, video_file):
    pipe, two = pipe_of(), pipe_of(("skeleton", "video"))
    for each in (pipe, two):
        each.model.config.skeleton_config.max_frames = 60
    inputs = pipe.preprocess(walk)["inputs"]
    assert len(inputs["input_values"]) == 3
    with torch.no_grad():
        expected = pipe.model(**inputs).logits.softmax(-1).mean(0)
    report = pipe(walk)
    np.testing.assert_allclose(list(report.class_probabilities.values()), sorted(expected.tolist())[::-1], rtol=1e-5)
    assert report.saliency.frames.shape == (1, 3 * 64) and report.saliency.joints.shape == (1, 25)
    assert report.saliency.frames.sum() == pytest.approx(1, abs=1e-4) == report.saliency.joints.sum()
    assert report._repr_html_().count("data:image/png") == 3 and not [p for p in report.problems if "no figure" in p]
    beside = two.preprocess({"video": str(video_file), "skeleton": walk}, box="full")["inputs"]
    assert len(beside["pixel_values"]) == 3 and torch.equal(beside["input_values"], inputs["input_values"])
    assert two({"video": str(video_file), "skeleton": walk}, box="full").saliency.frames.shape == (1, 64)


def parameter(name: str, value: float) -> ReportParameter:
    norm = normative_range(name)
    unit = {p.name: p.unit for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)}[name]
    return ReportParameter(
        name, unit, "", value, "measured", norm.low, norm.high, norm.people, norm.source, norm.contains(value)
    )


@pytest.mark.parametrize(("knowledge", "label", "name", "value", "words"), TEXTS["evidence"])
def test_evidence_is_what_the_knowledge_says(knowledge, label, name, value, words):
    known = load_classes(knowledge)
    config = GaitKnowledgeConfig(id2label=dict(enumerate(known.labels)), **known.config_fields())
    (found,) = find_evidence([parameter(name, value)], label, class_sentences(config, label))
    assert words in found.sentence and found.sentence in config.class_descriptions[label]
    assert found.source in known.sources.values() and found.label == label
    assert found.statement.startswith(phrase(parameter(name, value)))


@pytest.mark.parametrize(("label", "name", "value"), TEXTS["no_evidence"])
def test_no_evidence_where_the_knowledge_says_nothing_of_it(label, name, value):
    config = GaitKnowledgeConfig(**load_classes().config_fields(GIST_LABELS))
    assert find_evidence([parameter(name, value)], label, class_sentences(config, label)) == []


@pytest.mark.parametrize(("text", "found"), TEXTS["denied_evidence"])
def test_a_denied_or_contrasted_sentence_is_no_evidence(text, found):
    assert len(find_evidence([parameter("speed", 0.3)], "mine", [(text, "me")])) == found
    assert find_evidence([parameter("speed", 3.0)], "mine", [(text, "me")]) == []


def test_sentences_of_a_users_class_are_named_as_such():
    config = GaitKnowledgeConfig(id2label={0: "mine", 1: "yours"}, class_descriptions={"mine": ["The walk is slow."]})
    (found,) = find_evidence([parameter("speed", 0.3)], "mine", class_sentences(config, "mine"))
    assert found.source == "class description of the model"
    assert class_sentences(GaitKnowledgeConfig(), "normal") == []


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [v for k, v in attrs if k in ("src", "href")]


def test_the_page(report, tmp_path):
    write_report(report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert DISCLAIMER in text and text.index(DISCLAIMER) < text.index("Most like")
    assert "anna &lt;b&gt;&amp;.csv" in text and "<b>&.csv" not in text
    assert len(page.sources) == 3 and all(s.startswith("data:image/png;base64,") for s in page.sources)
    assert "script" not in page.tags and not re.search(r"https?://", re.sub(r"base64,[^\"]*", "", text))
    speed = next(p for p in report.parameters if p.name == "speed")
    assert f"▼{speed.value:.2f}" in text and "0.80–1.52" in text and "speed (low)" in text
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_page_of_a_short_walk_says_what_is_missing(walk, tmp_path):
    report = pipe_of()(walk[:20], html=tmp_path / "short.html")
    assert any("could not be measured" in p for p in report.problems)
    text = (tmp_path / "short.html").read_text(encoding="utf-8")
    assert "no figure of the angles" in text and "no complete gait cycle" in text


def test_a_list_gives_a_list_and_a_saved_pipeline_loads(walk, tmp_path):
    pipe = pipe_of()
    first, second = pipe([walk, walk[::-1].copy()], batch_size=8, num_workers=0)
    assert first.class_probabilities != second.class_probabilities
    pipe.model.save_pretrained(tmp_path / "model")
    again = pipeline("gait-report", model=str(tmp_path / "model"))
    assert isinstance(again, GaitReportPipeline)
    assert again(walk).class_probabilities == pytest.approx(first.class_probabilities)
    pipe.save_pretrained(tmp_path / "pipe")
    assert (tmp_path / "pipe" / "pipeline_gait_report.py").exists()


@pytest.mark.parametrize(
    ("branches", "walk", "error", "message"),
    [
        (("skeleton",), "walk.mp4", FileNotFoundError, r"walk.mp4: no such file"),
        (("video",), "walk.csv", ValueError, r"walk.csv: a skeleton, but this model has no skeleton branch"),
        (("skeleton",), "none.csv", OSError, r"none.csv"),
        (("skeleton",), "walk.xyz", ValueError, r"walk.xyz: unknown suffix"),
        (("skeleton",), {"film": 1}, ValueError, r"got one with film"),
        (("skeleton",), {}, ValueError, r"nothing"),
        (("skeleton",), 3.5, TypeError, r"float"),
        (("skeleton",), np.zeros((30, 4, 3)), ValueError, "4 joints, expected 25"),
        (("skeleton",), np.zeros((30, 25, 3)), ValueError, r"2D keypoints"),
    ],
)
def test_bad_input_is_named(branches, walk, error, message):
    with pytest.raises(error, match=message):
        pipe_of(branches)(walk)


def test_more_bad_input(walk, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        pipe_of(("video",))(broken)
    text = tmp_path / "bad.csv"
    text.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"bad\.csv"):
        pipe_of()(text)
    for arguments, message in (({"sex": "x"}, "sex"), ({"age": 200}, "age"), ({"html": tmp_path / "x.pdf"}, "html")):
        with pytest.raises(ValueError, match=message):
            pipe_of()(walk, **arguments)
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"num_workers": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a whole number of"):
            pipe_of()(walk, **wrong)
    with pytest.raises(ValueError, match="one walk"):
        pipe_of()([walk], html=tmp_path / "x.html")


def test_another_model_is_refused():
    from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
    from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification

    with pytest.raises(ValueError, match="gait_knowledge"):
        GaitReportPipeline(model=GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8)))
