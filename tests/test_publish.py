"""Cards, staging and checks of train/publish.py; pushing is in test_hub.py."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from huggingface_hub import HfApi, ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder
from transformers import ViTConfig, ViTModel

from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.gait_classes import CLASSES_FILE, GaitClass, GaitClasses
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from modeling_gait.pipeline_gait_classification import GaitClassificationPipeline
from modeling_gait.released import FOLDER
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training.cards import RESULTS, TrainingData, check_card, is_number, read_data_card, read_results, render_card
from train.publish import (
    CardWriter,
    PublishArguments,
    Repository,
    check_no_local_path,
    code_references,
    copy_model,
    publish,
    requirements,
    stage_adapter,
)

GIST = TrainingData("gist", "Gist, cleaned", "other", "none-stated", "https://example.org/gist")
FREE = TrainingData("simulated", "Simulated walks", "apache-2.0")
ABOUT = {  # what each template is given
    "family": {"shown": "| a table |", "num_joints": 25, "prompt": "normal gait", "labels": ["normal", "lurch"]},
    "adapter": {"base_model": "gpt2", "family": "me/family"},
    "classifier": {"architecture": "gru", "labels": ["normal", "lurch"], "num_joints": 25, "has_pipeline": True},
    "text": {"encoder": "a/encoder", "has_encoder": True, "dimension": 8, "has_extractor": True, "num_joints": 25}
    | {"has_pipeline": True},
    "knowledge": {"labels": ["normal", "lurch"], "has_pipeline": False},
    "tcn": {"num_channels": 36, "num_phases": 100},
}
SHARED = {"version": "1", "requires": ["torch"], "datasets": None}
OFFLINE = HfApi(endpoint="http://127.0.0.1:9", token="none")  # nobody listens there


def results_file(folder: Path, experiment: str, metrics: dict, **more) -> Path:
    """A results file as the experiments write them."""
    content = {"experiment": experiment, "dataset": "gist", "protocol": "leave one out", "command": "python x.py", "seeds": [0]}
    content |= {"versions": {"torch": "2"}, "date": "2026-11-21", "metrics": metrics, "rows": []}
    path = folder / f"{experiment}.json"
    path.write_text(json.dumps(content | more))
    return path


@pytest.mark.parametrize("kind", ABOUT)
@pytest.mark.parametrize("data", [GIST, FREE, None])
def test_every_template_makes_a_card_that_the_hub_accepts(kind, data):
    text = render_card(kind, "me/model", data, [], SHARED | ABOUT[kind])
    metadata = check_card(text, "card")
    assert metadata["license"] == ("apache-2.0" if data is FREE else "other") and "model-index" not in metadata
    assert "{{" not in text and "{%" not in text and "None" not in text and "\n\n\n" not in text
    assert all(
        part in text for part in ("## Use", "## Limits", "## Citation", "## Training data and licence", "No measurement")
    )
    assert ("authors state no licence" in text) == (data is GIST) and ("did not state" in text) == (data is None)
    assert metadata.get("base_model") == ABOUT[kind].get("base_model")


@settings(deadline=None, max_examples=20)
@given(
    st.dictionaries(
        st.sampled_from(sorted(RESULTS["family"]["chain"])), st.floats(allow_nan=False, allow_infinity=False), min_size=1
    )
)
def test_a_card_says_the_numbers_of_the_file_and_no_others(tmp_path_factory, metrics):
    folder = tmp_path_factory.mktemp("results")
    file = results_file(folder, "chain_gist", metrics | {"not_for_cards": 1.0})
    results = read_results([file], "family", "gist")
    text = render_card("family", "me/model", GIST, results, SHARED | ABOUT["family"] | {"shown": ""})
    found = {r.metric_type: r.metric_value for r in ModelCard(text).data.eval_results}
    assert found == metrics and text.count("\n| ") == len(metrics) + 1  # and a header
    for name, value in metrics.items():
        assert f"| {RESULTS['family']['chain'][name]} | {value:.4g} |" in text
    shutil.rmtree(folder)


def test_only_results_of_this_kind_of_model_and_data_set_are_shown(tmp_path):
    rows = [{"classifier": c, "seed": s} for c, s in (("gru", 0), ("gru", 1), ("lstm", 7))]
    numbers = {"gru_real": 0.9, "lstm_real": 0.8, "gru_gain_points": 3.0}
    files = [
        results_file(tmp_path, "loso_gist", numbers, rows=rows),
        results_file(tmp_path, "chain_gist", {"fgd": 40.0}),
        results_file(tmp_path, "chain_simulated", {"fgd": 1.0}),
        results_file(tmp_path, "speed_gist", {"fgd": 1.0}),
    ]
    (result,) = read_results(files, "classifier", "gist", "lstm")
    assert (result.numbers["lstm_real"][1], result.seeds) == (0.8, [7]) and len(result.numbers) == 1
    family = {r.experiment: r for r in read_results(files, "family", "gist")}
    assert set(family) == {"loso_gist", "chain_gist"} and family["loso_gist"].seeds == [0, 1]
    assert read_results(files, "tcn", "gist") == [] and read_results(files, "family", "densegait") == []


@pytest.mark.parametrize("value", ["0.9", None, True, math.nan])
def test_a_metric_that_is_no_number_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match=r"chain_gist.json: metric fgd .* expected a finite number"):
        read_results([results_file(tmp_path, "chain_gist", {"fgd": value})], "family", "gist")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"experiment": "chain_gist"}'])
def test_a_file_that_holds_no_results_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="x.json: not a results file"):
        read_results([tmp_path / "x.json"], "family", "gist")


def test_the_committed_results_make_cards():
    """Whatever the experiments have written by now."""
    files = sorted((ROOT / "model_cards" / "results").glob("*.json"))
    for kind in RESULTS:
        results = read_results(files, kind, "gist")
        card = ModelCard(render_card(kind, "me/model", GIST, results, SHARED | ABOUT[kind]))
        assert len(card.data.eval_results or []) == sum(len(r.numbers) for r in results)
    assert any(r.experiment == "chain_gist" for r in read_results(files, "family", "gist"))


CARD = "---\nlicense: mit\n{}\n---\n\n# Model\n"
INDEX = """model-index:
- name: m
  results:
  - task:
      type: other
    dataset:
      type: gist
      name: Gist
    metrics:
    - type: accuracy
      value: {}
"""


@pytest.mark.parametrize(
    "card, problem",
    [
        ("# no metadata\n", "the metadata is None"),
        ("---\nlicense: [\n---\n", "not YAML"),
        ("---\ntags: [a]\n---\n", "license is None"),
        ("---\nlicense: Apache 2\n---\n", "license is 'Apache 2'"),
        ("---\nlicense: other\n---\n", "license_name is None"),
        ("---\nlicense: other\nlicense_name: Not Stated\n---\n", "license_name is 'Not Stated'"),
        (CARD.format("license_link: data/terms"), "license_link is 'data/terms'"),
        (CARD.format("language: english"), "language is 'english'"),
        (CARD.format("pipeline_tag: text-to-gait"), "pipeline_tag is 'text-to-gait'"),
        (CARD.format("task_categories: [walking]"), "task_categories is 'walking'"),
        (CARD.format("tags: [1]"), "tags is 1"),
        (CARD.format("datasets: [/data/gist]"), "datasets is '/data/gist'"),
        (CARD.format("base_model: ../gpt2"), "base_model is '../gpt2'"),
        (CARD.format(INDEX.format(".nan")), "metric accuracy is nan"),
        (CARD.format(INDEX.format("high")), "metric accuracy is 'high'"),
        (CARD.format(INDEX.format("1").replace("type: gist", "id: gist")), "model-index is not a list"),
        (CARD.format(INDEX.format("1").replace("type: accuracy", "type: ''")), "empty task, dataset or metric"),
        (CARD.format(INDEX.format("1\n      extra: 2")), "read as something else"),
    ],
)
def test_cards_that_the_hub_would_refuse(card, problem):
    with pytest.raises(ValueError, match=f"^here: .*{problem}"):
        check_card(card, "here")
    assert check_card(CARD.format("language: en\npipeline_tag: other\n" + INDEX.format("0.5")), "here")["license"] == "mit"


def test_is_number():
    assert is_number(1) and is_number(0.5) and not any(map(is_number, (True, math.inf, "1", None)))


# --- folders -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A classifier's folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("saved") / "gru"
    model = GaitForSequenceClassification(GaitClassifierConfig(hidden_size=16))
    GaitClassificationPipeline(model, device="cpu").save_pretrained(folder)
    return folder


@pytest.fixture
def classifier(saved, tmp_path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(saved, tmp_path / "gru"))


def dry_run(out: Path, **kwargs) -> Path:
    publish(PublishArguments(**{"namespace": "me", "name": "gait", "dry_run": str(out)} | kwargs), OFFLINE)
    return out


def test_a_dual_encoder_takes_its_sentence_encoder_along(tmp_path):
    """One that is a folder of this machine is named without it: the repository has it."""
    encoder, words = write_sentence_encoder(tmp_path / "mine" / "small"), ["a slow walk"]
    model = tiny(encoder)
    expected = model.get_text_features(words)
    model.save_pretrained(tmp_path / "text")
    out = dry_run(tmp_path / "out", text=str(tmp_path / "text")) / "gait-text"
    assert (out / "encoder" / "1_Pooling" / "config.json").is_file()
    assert json.loads((out / "config.json").read_text())["text_config"]["name"] == "small"
    assert "in the folder `encoder`" in (out / "README.md").read_text(encoding="utf-8")
    away = encoder.rename(tmp_path / "mine" / "away")
    torch.testing.assert_close(GaitDualEncoderModel.from_pretrained(out).get_text_features(words), expected)
    away.rename(encoder)
    shutil.rmtree(tmp_path / "text" / "encoder")
    with pytest.raises(ValueError, match="text: its sentence encoder is the folder .*small; save the model again"):
        dry_run(tmp_path / "other", text=str(tmp_path / "text"))


def test_a_family_takes_its_classifier_along(family_folder, tmp_path):
    """gait-to-text says the class that it reads."""
    family = Path(shutil.copytree(family_folder, tmp_path / "family"))
    labels = {"id2label": dict(enumerate(PATHOLOGIES)), "label2id": {name: i for i, name in enumerate(PATHOLOGIES)}}
    GaitForSequenceClassification(GaitClassifierConfig(hidden_size=16, **labels)).save_pretrained(family / "classifier")
    weights = dry_run(tmp_path / "out", family=str(family)) / "gait" / "classifier" / "model.safetensors"
    assert weights.read_bytes() == (family / "classifier" / "model.safetensors").read_bytes()


def test_an_adapter_names_its_base(saved, tmp_path):
    adapter, writer = tmp_path / "family" / "adapter", CardWriter(GIST, None, [])
    adapter.mkdir(parents=True)
    save_file({"a": torch.ones(1)}, adapter / "adapter_model.safetensors")
    (adapter / "README.md").write_text("[More Information Needed]")
    repository = Repository("me/gait-lora", "model", tmp_path / "out")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "gpt2", "peft_type": "LORA"}))
    stage_adapter(tmp_path / "family", repository, "me/gait", writer)
    metadata = check_card((tmp_path / "out" / "README.md").read_text(), "card")
    assert (metadata["base_model"], metadata["base_model_relation"], metadata["library_name"]) == ("gpt2", "adapter", "peft")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(saved)}))
    with pytest.raises(ValueError, match=r"adapter_config.json: base_model_name_or_path .* expected the base's id on the Hub"):
        stage_adapter(tmp_path / "family", repository, "me/gait", writer)


def test_a_knowledge_model_is_staged_with_its_classes(tmp_path):
    config = {"skeleton_config": {"hidden_size": 8, "num_layers": 1, "num_features": 76}, "projection_size": 8}
    labels = {"id2label": {0: "normal", 1: "ataxic"}}
    GaitKnowledgeForSequenceClassification(GaitKnowledgeConfig(**config, **labels)).save_pretrained(tmp_path / "knowledge")
    out = dry_run(tmp_path / "out", knowledge=str(tmp_path / "knowledge")) / "gait-knowledge"
    assert "Classes: normal, ataxic." in (out / "README.md").read_text() and (out / "modeling_gait_knowledge.py").is_file()


def test_a_knowledge_model_leaves_its_encoders_folders_behind(tmp_path):
    """It was trained with folders of this machine, which nobody else has and which it does not need any more."""
    encoder, vision = write_sentence_encoder(tmp_path / "mine" / "small", limit=256), tmp_path / "mine" / "vision"
    small = ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ViTModel(small).save_pretrained(vision)
    said = {"class_descriptions": {"normal": ["Both legs move alike."], "ataxic": ["The steps differ."]}}
    sizes = {"skeleton_config": {"hidden_size": 8, "num_layers": 1}, "projection_size": 8}
    texts = {"text_config": {"name": str(encoder), "hidden_size": 16}, "use_knowledge": True, **said}
    about = {"branches": ["skeleton", "video"], "video_config": str(vision), "id2label": {0: "normal", 1: "ataxic"}}
    model = GaitKnowledgeForSequenceClassification(GaitKnowledgeConfig(**sizes, **texts, **about)).eval()
    walk = {"input_values": torch.randn(1, 12, 76)}
    expected = model(**walk).logits
    model.save_pretrained(tmp_path / "knowledge")
    shutil.rmtree(tmp_path / "mine")
    out = dry_run(tmp_path / "out", knowledge=str(tmp_path / "knowledge")) / "gait-knowledge"
    assert json.loads((out / "config.json").read_text())["text_config"]["name"] == "small"
    torch.testing.assert_close(GaitKnowledgeForSequenceClassification.from_pretrained(out).eval()(**walk).logits, expected)


def test_broken_model_folders_are_named(classifier, tmp_path):
    with pytest.raises(ValueError, match="nowhere: no model here, expected config.json and model.safetensors"):
        dry_run(tmp_path / "out", classifier=[str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="model_type is 'gait_classifier', expected 'gait_tcn'"):
        dry_run(tmp_path / "out", tcn=str(classifier))
    (classifier / "skeletons.py").unlink()
    with pytest.raises(ValueError, match="imports .skeletons, which is not in the folder"):
        dry_run(tmp_path / "out", classifier=[str(classifier)])
    weights = (classifier / "model.safetensors").read_bytes()
    (classifier / "model.safetensors").write_bytes(weights[:-100])
    with pytest.raises(ValueError, match="model.safetensors: not a complete safetensors file"):
        dry_run(tmp_path / "out", classifier=[str(classifier)])
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("out*"))


def test_code_that_would_not_load_from_the_hub_is_refused(classifier, tmp_path):
    config = json.loads((classifier / "config.json").read_text())
    code = classifier / "modeling_gait_classifier.py"
    text = code.read_text()

    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            copy_model(classifier, tmp_path / "out", tmp_path / "out")

    code.write_text(text + '\nDATA = Path(__file__).parent / "table.json"\n')
    refused("reads table.json beside itself")
    code.write_text(text.replace("class GaitForSequenceClassification", "class Other"))
    refused("auto_map names modeling_gait_classifier.GaitForSequenceClassification, which .* does not define")
    code.write_text(text)
    (classifier / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "auto_map"}))
    refused("config.json: has no auto_map")


def test_code_references_and_requirements(saved):
    assert code_references({"auto_map": {"AutoTokenizer": ["a.B", None]}, "x": {"auto_map": {"AutoModel": "c.D"}}}) == {
        "a.B",
        "c.D",
    }
    needed = requirements(saved)
    assert {"numpy", "torch", "transformers"} <= set(needed) and not {"json", "modeling_gait", "PIL", "yaml"} & set(needed)


def test_a_folder_of_this_machine_is_not_published(tmp_path):
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "config.json").write_text('{"a": "https://example.org/work", "b": "/ or"}')
    check_no_local_path(folder)
    (folder / "config.json").write_text(json.dumps({"base": str(ROOT / "outputs")}))
    with pytest.raises(ValueError, match="config.json of r names .* a folder of this machine"):
        check_no_local_path(folder)


def test_public_needs_a_licence(saved, dataset_folder, tmp_path):
    with pytest.raises(ValueError, match="--public needs --trained_on"):
        dry_run(tmp_path / "out", classifier=[str(saved)], public=True)
    gist = Path(shutil.copytree(dataset_folder, tmp_path / "gist"))
    card = (gist / "README.md").read_text().replace("license: apache-2.0", "license: other\nlicense_name: none-stated")
    (gist / "README.md").write_text(card)
    assert read_data_card(gist).unlicensed
    for kwargs in ({"classifier": [str(saved)], "trained_on": str(gist)}, {"dataset": [str(gist)]}):
        with pytest.raises(ValueError, match="card of gist states no licence"):
            dry_run(tmp_path / "out", public=True, **kwargs)
        dry_run(tmp_path / "out", **kwargs)  # private, for oneself, is possible; the second one replaces the first
    synthetic = Path(shutil.copytree(gist, tmp_path / "synthetic"))
    (synthetic / "README.md").write_text(card.replace("none-stated", "terms-of-the-training-data"))
    with pytest.raises(ValueError, match="the terms of its training data apply to synthetic: --public needs --trained_on"):
        dry_run(tmp_path / "out", public=True, dataset=[str(synthetic)])
    with pytest.raises(ValueError, match="card of gist states no licence"):
        dry_run(tmp_path / "out", public=True, dataset=[str(synthetic)], trained_on=str(gist))
    dry_run(tmp_path / "made", public=True, dataset=[str(synthetic)], trained_on=str(dataset_folder))
    assert (tmp_path / "out" / "gait-gist" / "data").is_dir() and not (tmp_path / "out" / "gait-gru").exists()
    out = dry_run(tmp_path / "free", classifier=[str(saved)], trained_on=str(dataset_folder), public=True)
    assert json.loads((out / "collection.json").read_text())["private"] is False


def test_a_data_set_takes_its_own_classes_along(dataset_folder, tmp_path):
    source = Path(shutil.copytree(dataset_folder, tmp_path / "walks"))
    for own in (False, True):
        if own:
            GaitClasses((GaitClass("tiptoe"),)).save(source)
        out = dry_run(tmp_path / f"out_{own}", dataset=[str(source)]) / "gait-walks"
        assert (out / CLASSES_FILE).exists() == own
    assert (out / CLASSES_FILE).read_bytes() == (source / CLASSES_FILE).read_bytes()


def test_arguments_that_do_not_fit_together(saved, dataset_folder, tmp_path):
    with pytest.raises(ValueError, match="nothing to publish"):
        dry_run(tmp_path / "out")
    with pytest.raises(ValueError, match="two of these folders would be published as me/gait-gru"):
        dry_run(tmp_path / "out", classifier=[str(saved)] * 2)
    with pytest.raises(ValueError, match="--dry_run needs --namespace"):
        dry_run(tmp_path / "out", classifier=[str(saved)], namespace="")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="mine: holds something else than a dry run"):
        dry_run(tmp_path / "mine", classifier=[str(saved)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"README.md: not there; a data set has a card"):
        dry_run(tmp_path / "out", dataset=[str(tmp_path / "empty")])
    shutil.copy(dataset_folder / "README.md", tmp_path / "empty")
    with pytest.raises(ValueError, match="no Parquet files in this folder"):
        dry_run(tmp_path / "out", dataset=[str(tmp_path / "empty")])
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_shipped_family_is_published_as_it_is(tmp_path):
    out = dry_run(tmp_path / "out", family="gait-small", name="", public=True) / "gait-small"
    shipped = {p.relative_to(FOLDER): p.read_bytes() for p in FOLDER.rglob("*") if p.is_file() and p.name != "README.md"}
    assert all((out / name).read_bytes() == content for name, content in shipped.items())
    added = {p.relative_to(out) for p in out.rglob("*") if p.is_file()} - set(shipped)
    assert {p.suffix for p in added} == {".py", ".md", ""} and Path("text/modeling_gait_dual_encoder.py") in added
    card = (out / "README.md").read_text(encoding="utf-8")
    assert 'model="me/gait-small", trust_remote_code=True' in card and "scipy" in card
