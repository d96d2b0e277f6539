"""Tests of datasets_scripts/synthetic.py: sampled walks as a data set, and a card that tells where they come from."""

import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest

from datasets_scripts import synthetic
from datasets_scripts.synthetic import SyntheticConfig
from modeling_gait import schema as common
from modeling_gait.captions import parse_prompt
from modeling_gait.evaluation.metrics import joint_limit_violations
from modeling_gait.gait_classes import GaitClass, GaitClasses
from modeling_gait.processing_gait import GaitProcessor
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training.data import load_walks

PRIVACY = {
    "metrics": {"membership_auc": 0.543, "membership_auc_ci_low": 0.51, "copies": 0.031},
    "protocol": "members and others",
    "command": "python -m experiments.privacy",
}


@pytest.fixture(scope="module")
def made(family_folder, dataset_folder, tmp_path_factory) -> Path:
    """14 walks, asked for as the walks of two of three people are."""
    out = tmp_path_factory.mktemp("synthetic")
    (out / "privacy.json").write_text(json.dumps(PRIVACY))
    person = str(load_walks(str(dataset_folder))["subject_id"][0])
    arguments = ["--model", family_folder, "--num_walks", 14, "--dataset", dataset_folder, "--exclude_subjects", person]
    arguments += ["--privacy", out / "privacy.json", "--trained_on", "simulated walks", "--output_dir", out / "set"]
    synthetic.main([str(a) for a in [*arguments, "--num_proc", 1]])
    return out / "set"


def rows_of(folder: Path) -> datasets.Dataset:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))


def test_schema_and_balance(made, family_folder):
    loaded = rows_of(made)
    assert loaded.features == common.walk_features() and len(loaded) == 14
    assert Counter(loaded["pathology"]) == dict.fromkeys(range(len(PATHOLOGIES)), 2)
    assert set(loaded["subject_id"]) == {"synthetic"} and len(set(loaded["walk_id"])) == 14
    row = loaded.with_format("numpy")[3]
    assert row["joints"].shape == (32, 25, 3)
    np.testing.assert_allclose(row["joints"][0, 0, :2], 0, atol=1e-6)
    assert len(load_walks(str(made))) == 14  # the training scripts read it


def test_rows_say_what_was_asked(made, family_folder):
    for row in rows_of(made).remove_columns("joints"):
        attributes = json.loads(row["attributes"])
        asked = parse_prompt(attributes["prompt"])
        assert asked.pathology == PATHOLOGIES[row["pathology"]] and asked.side == attributes["side"]
        assert attributes["seed"] == 0 and attributes["generator"] == family_folder.name
        assert len(row["captions"]) == 3 and 0 <= row["severity"] <= 1


def test_card(made, family_folder):
    card = (made / "README.md").read_text()
    for words in (
        "license: other",
        "stand in for no\npatient",
        "| trained on | simulated walks |",
        "| people held out from the model | ",
        f"--model {family_folder.name} --num_walks 14 --seed 0",
        "| lurch | 2 |",
        "| | this set | real walks |",
        "| variation of bone lengths over time (SD over mean) | ",
        "guessing) | 0.543 |",
        "members and others. `python -m experiments.privacy`",
        "torch 2.",
    ):
        assert words in card, words
    assert str(family_folder.parent) not in card  # no folder of this machine
    walks = rows_of(made).with_format("numpy")["joints"]
    outside = np.mean([joint_limit_violations(np.asarray(walk)) for walk in walks])
    assert f"| share of frames with a leg joint outside its limits | {outside:.2g} |" in card


def test_the_seed_decides_not_the_processes(family_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "BATCH", 3)
    sets = []
    for name, seed, num_proc in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        synthetic.prepare(SyntheticConfig(str(family_folder), num_walks=7, seed=seed), tmp_path / name, num_proc)
        sets.append(load_walks(str(tmp_path / name)))
    joints = [np.stack(list(s["joints"])) for s in sets]
    np.testing.assert_allclose(joints[0], joints[1], atol=1e-5)
    assert list(sets[0]["attributes"]) == list(sets[1]["attributes"])
    assert np.abs(joints[0] - joints[2]).max() > 0.01
    assert "## Privacy\n\nNot measured." in (tmp_path / "a" / "README.md").read_text()


def test_prompts_without_a_dataset(family_folder):
    processor = GaitProcessor.from_pretrained(family_folder)
    processor.normal_reference = {"mean": {"speed": 0.9, "cadence": 100.0}, "sd": {"speed": 0.1, "cadence": 5.0}}
    asked = synthetic.draw_descriptions(SyntheticConfig(str(family_folder), num_walks=700), processor)
    labels = processor.feature_extractor.labels
    assert Counter(d.pathology for d in asked) == dict.fromkeys(labels, 100)
    assert asked[:50] == synthetic.draw_descriptions(SyntheticConfig(str(family_folder), num_walks=50), processor)
    of = {label: [d for d in asked if d.pathology == label] for label in labels}
    mean = {label: np.mean([d.speed for d in rows]) for label, rows in of.items()}
    assert abs(mean["normal"] - 0.9) < 0.04 and mean["steppage"] < 0.7
    assert {d.side for d in of["normal"]} == {"none"} and {d.side for d in of["parkinsonian"]} == {"both"}
    assert 25 < sum(d.side == "right" for d in of["lurch"]) < 75
    assert np.std([d.severity for d in of["lurch"]]) > 0.2
    assert np.corrcoef([(d.speed, d.cadence) for d in of["lurch"]], rowvar=False)[0, 1] > 0.9
    ungraded = GaitClasses((GaitClass("tiptoe", graded=False),))
    assert synthetic._drawn(ungraded["tiptoe"], ungraded, {}, np.random.default_rng(0)).severity is None
    assert {d.severity for d in of["normal"]} == {0.0}
    processor.normal_reference = {}
    unknown = synthetic.draw_descriptions(SyntheticConfig(str(family_folder), num_walks=700), processor)
    assert abs(np.mean([d.speed for d in unknown if d.pathology == "normal"]) - 1.25) < 0.06


def test_wrong_arguments_are_named(family_folder, dataset_folder, tmp_path):
    arguments = ["--model", str(family_folder), "--output_dir", str(tmp_path / "o"), "--num_proc", "1"]
    for more, message in (
        (["--num_walks", "0"], "num_walks must be at least 1 and temperature positive, got 0"),
        (["--exclude_subjects", "x"], "--exclude_subjects names people of --dataset"),
        (["--dataset", str(dataset_folder), "--exclude_subjects", "x"], "no such subject: x"),
        (["--privacy", str(family_folder / "config.json")], "config.json: not a result of experiments/privacy.py"),
        (["--privacy", str(tmp_path / "nothing.json")], "nothing.json"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            synthetic.main([*arguments, *more])
    with pytest.raises(SystemExit, match="error: "):
        synthetic.main([*arguments, "--model", str(tmp_path / "no_model")])
    only_normal = load_walks(str(dataset_folder)).with_format(None).filter(lambda p: p == 0, input_columns="pathology")
    (tmp_path / "normal").mkdir()
    only_normal.to_parquet(tmp_path / "normal" / "w.parquet")
    with pytest.raises(SystemExit, match="no walk of antalgic, .*which the model knows"):
        synthetic.main([*arguments, "--dataset", str(tmp_path / "normal")])
    assert not (tmp_path / "o").exists()


def test_frames_without_a_measurement_leave_a_dash():
    rows = [{"asked_speed": None, "pathology": "normal", **dict.fromkeys(synthetic.TABLE)}]
    assert synthetic.class_table(rows).splitlines()[-1] == "| normal | 1 |" + " - |" * 7
