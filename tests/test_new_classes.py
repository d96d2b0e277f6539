"""Two classes that the package never heard of: CSV files -> words to walk, walk to words, report, search.

The walks are simulated ones, named otherwise; models are trained for two steps: everything fits together, nothing is any good.
"""

import importlib
import json

import numpy as np
import pytest
from conftest import GPT2_ARGUMENTS, ROOT, VQ_ARGUMENTS, run_script
from datasets import load_dataset
from test_modeling_gait_dual_encoder import write_sentence_encoder
from transformers import pipeline

from datasets_scripts import own
from modeling_gait.captions import check_faithfulness, describe_walk
from modeling_gait.export import write_csv
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_search import GaitSearch
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.simulation import simulate_walks
from modeling_gait.training.data import dataset_classes
from train import generate, train_gpt2, train_knowledge, train_text, train_vq

COUNT, STEPS = 40, ["--max_steps", "2", "--save_steps", "2", "--warmup_steps", "1"]
ENTRIES = """
sources: {smith2020: "Smith A. A Book. 2020."}
classes:
  - name: prosthetic
    synonyms: [artificial leg]
    signs: [an artificial leg]
    graded: false
    affected: {stance_asymmetry: down}
    moves: {speed: down}
    keywords: [artificial leg]
    sentences: [{text: "The weight is taken off the artificial leg early.", source: smith2020}]
    descriptions: [{text: "Walking is slower with an artificial leg.", source: smith2020}]
  - name: after_training
    side: none
    graded: false
    keywords: [training]
    descriptions: [{text: "Training makes the steps longer.", source: smith2020}]
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """40 CSV files of four people, walks.csv and classes.yaml."""
    folder = tmp_path_factory.mktemp("clinic")
    names = ["stiff_legged" if i % 8 < 4 else "normal" for i in range(COUNT)]
    walks = simulate_walks(COUNT, frames=64, seed=2, num_subjects=4, pathology=names)
    lines = ["file,subject_id,pathology,side"]
    for i, joints in enumerate(walks.joints):
        write_csv(folder / f"{i}.csv", joints, 30.0)
        about = ("Prosthetic", walks.side[i]) if names[i] == "stiff_legged" else ("after training", "")
        lines.append(",".join((f"{i}.csv", walks.subject_ids[i], *about)))
    (folder / "walks.csv").write_text("\n".join(lines) + "\n")
    (folder / "classes.yaml").write_text(ENTRIES)
    return folder


@pytest.fixture(scope="module")
def data(files, tmp_path_factory):
    output = tmp_path_factory.mktemp("data") / "clinic"
    given = ["--data_dir", files, "--output_dir", output, "--num_proc", "1", "--classes", files / "classes.yaml"]
    own.main(list(map(str, given)))
    return output


@pytest.fixture(scope="module")
def family(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("model")
    run_script(train_vq, ["--dataset", data, "--output_dir", output / "vq", *VQ_ARGUMENTS, *STEPS])
    given = ["--dataset", data, "--vq", output / "vq", "--output_dir"]
    run_script(train_gpt2, [*given, output, *GPT2_ARGUMENTS, *STEPS])
    return output


def test_the_data_set_carries_its_classes(data, files, tmp_path):
    rows = load_dataset(str(data), split="train").with_format("numpy")
    names = rows.features["pathology"].names
    classes = dataset_classes(str(data), names)
    assert classes.labels == ("prosthetic", "after_training") == tuple(names) and len(rows) == COUNT
    assert classes["prosthetic"].signs == ("an artificial leg",)
    for row in list(rows)[::9]:
        said = names[row["pathology"]], None, None, json.loads(str(row["attributes"]))
        d = describe_walk(json.loads(str(row["gait_parameters"])), *said, classes=classes)
        assert d.side in ("none", "left", "right") and all(check_faithfulness(str(c), d) == [] for c in row["captions"])
    card = (data / "README.md").read_text()
    assert "| prosthetic | 20 | prosthetic gait | one | The weight is taken off the artificial leg early. |" in card
    own.prepare(files, tmp_path / "bare", num_proc=1)  # the rows' names alone
    bare = dataset_classes(str(tmp_path / "bare"), names)
    assert bare["prosthetic"].side == "one" and bare["after_training"].side == "none" and not bare["prosthetic"].graded


def test_words_to_walk_and_walk_to_words(family):
    write, read = pipeline("text-to-gait", model=str(family)), pipeline("gait-to-text", model=str(family))
    walk = write("someone walks with an artificial leg on the left, 0.7 m/s", num_frames=16, seed=0, candidates=2)
    assert (walk["description"].pathology, walk["description"].side) == ("prosthetic", "left")
    assert walk["joints"].shape == (16, 25, 3) and np.isfinite(walk["joints"]).all()
    assert write("after-training gait", num_frames=16)["description"].side == "none"
    for prompt in ("steppage gait", "normal gait", "a person walks at 1 m/s", "prosthetic gait after training"):
        with pytest.raises(ValueError, match="not one of the gaits modelled here: prosthetic, after_training|names"):
            write(prompt)
    assert set(read(walk["joints"], fps=30.0)["class_probabilities"]) == {"prosthetic", "after_training"}
    read.model.generate = lambda ids, **kwargs: np.concatenate(  # as a model that has learnt to speak would say it
        (ids.numpy(), np.array([read.tokenizer("prosthetic gait, left side.")["input_ids"]])), axis=1
    )
    said = read(walk["joints"], fps=30.0)
    assert said["pathology"] == "prosthetic" and said["problems"] == []


def test_synthetic_walks_name_the_classes(family, tmp_path):
    (tmp_path / "prompts.csv").write_text("pathology,side,count\nprosthetic,left,2\nafter_training,,1\n")
    given = ["--model", family, "--prompts", tmp_path / "prompts.csv", "--num_frames", "16"]
    run_script(generate, [*given, "--output_dir", tmp_path / "out"])
    rows = load_dataset(str(tmp_path / "out"), split="train")
    assert dataset_classes(str(tmp_path / "out"))["prosthetic"].signs == ("an artificial leg",)
    assert rows["pathology"][:] == [0, 0, 1] and rows.features["pathology"].names == ["prosthetic", "after_training"]


def test_report_and_search(files, data, tmp_path):
    encoder = write_sentence_encoder(tmp_path / "encoder", limit=512)
    given = ["--dataset", data, "--text_model", encoder, *STEPS, "--batch_size", "6", "--mixed_precision", "no", "--output_dir"]
    run_script(train_knowledge, [*given, tmp_path / "report", "--knowledge", files / "classes.yaml"])
    report = pipeline("gait-report", model=str(tmp_path / "report"))(files / "0.csv", html=tmp_path / "report.html")
    assert set(report.class_probabilities) == {"prosthetic", "after_training"} and (tmp_path / "report.html").stat().st_size
    small = ["--hidden_size", "16", "--num_layers", "1", "--num_heads", "2", "--projection_size", "8", "--num_frames", "32"]
    run_script(train_text, [*given, tmp_path / "text", *small, "--text_cache", tmp_path / "cache", "--captions", "label"])
    model = GaitDualEncoderModel.from_pretrained(tmp_path / "text")
    extractor = GaitFeatureExtractor.from_pretrained(tmp_path / "text")
    search = GaitSearch.from_dataset(model, load_dataset(str(data), split="train"), extractor, progress=False)
    assert len(search.by_text("prosthetic gait, left side", k=3)) == 3


def test_the_space_offers_what_the_family_knows(family, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "space"))
    gait_demo = importlib.import_module("gait_demo")
    demo = gait_demo.GaitDemo(str(family))
    assert demo.labels == ["prosthetic", "after_training"]
    assert demo.examples(("steppage gait", "after-training gait")) == ["after-training gait"]
    assert demo.examples(("steppage gait",)) == ["prosthetic gait", "after training gait"]
    assert gait_demo.write_prompt("prosthetic", "left", 0.9, classes=demo.classes) == "prosthetic gait, left side."
