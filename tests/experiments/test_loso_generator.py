"""loso_generator.py: whole tiny folds on data where the held-out person's rows are nonsense; sets, variants, shares."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import GPT2_ARGUMENTS, VQ_ARGUMENTS, run_script, write_walks
from safetensors.numpy import load_file

from experiments import loso, loso_generator
from experiments.loso_generator import SETS, VARIANTS, GeneratorArguments
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.training import gpt2
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.classifier import load_inputs
from modeling_gait.training.data import load_walks
from modeling_gait.training.vq import VQArguments

ARGUMENTS = {"vq": VQArguments, "gpt2": gpt2.GPT2Arguments}
SMALL = ["--mixed_precision", "no", "--max_steps", "2"]
TINY = {"vq": [*VQ_ARGUMENTS, *SMALL], "gpt2": [*GPT2_ARGUMENTS, *SMALL]}
WALKS = 14  # a set


@pytest.fixture(scope="module")
def rows(dataset_folder) -> list[dict]:
    return load_walks(str(dataset_folder)).with_format(None).to_list()


@pytest.fixture(scope="module")
def person(rows) -> str:
    return rows[0]["subject_id"]


@pytest.fixture(scope="module")
def poisoned(rows, person, tmp_path_factory) -> Path:
    """The data set, with nonsense in the rows of `person`: what reads them fails, or gives other numbers."""
    nonsense = {"captions": ["POISON " * 5] * 3, "gait_parameters": "POISON", "attributes": "POISON"}
    nonsense["joints"] = np.full((64, 25, 3), np.nan)
    some = [{**r, **nonsense} if r["subject_id"] == person else r for r in rows]
    return write_walks(some, tmp_path_factory.mktemp("generator") / "poisoned")


@pytest.fixture(scope="module")
def recordings(rows, tmp_path_factory) -> Path:
    """Each walk four times, seen by two sensors."""
    some = [r | {"walk_id": f"{r['walk_id']}_{i}", "sensor": s} for r in rows for i in range(4) for s in ("a", "b")]
    return write_walks(some, tmp_path_factory.mktemp("generator") / "recordings")


def in_process(commands: list):
    """In the place of `subprocess.run`: keeps the command and calls the script's main here, with tiny models."""

    def run(command, check):
        assert check and command[0] == sys.executable
        commands.append(command)
        name = Path(command[1]).stem
        run_script(importlib.import_module(f"train.{name}"), [*command[2:], *TINY[name.removeprefix("train_")]])

    return run


def generate(dataset, output, *more) -> None:
    run_script(loso_generator, ["--dataset", dataset, "--output_dir", output, "--walks", WALKS, *more])


@pytest.fixture(scope="module")
def fold(poisoned, person, tmp_path_factory):
    """(output folder, commands, data that the validity models saw) of two variants, and of two more sets of the first."""
    output, commands, judged = tmp_path_factory.mktemp("fold"), [], []
    judge = loso_generator.train_judge
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loso_generator.subprocess, "run", in_process(commands))
        patch.setattr(loso_generator, "train_judge", lambda data, labels: judged.append(data) or judge(data, labels, 1))
        generate(poisoned, output, "--subjects", person)
        generate(poisoned, output, "--subjects", person, "--variant", "naive")
        generate(poisoned, output, "--subjects", person, "--sets", "samples", "unconstrained", "label")
    return output, commands, judged


def scripts(commands: list) -> list[str]:
    return [Path(c[1]).stem for c in commands]


# --- whole folds -----------------------------------------------------------------------------------------------------------


def test_a_fold_holds_a_family_and_its_walks(fold, person, dataset_folder):
    output, commands, _ = fold
    home = output / f"fold_{person}"
    assert scripts(commands) == ["train_vq", "train_gpt2", "train_vq", "train_gpt2"], "sets share a family"
    names = load_inputs(str(dataset_folder)).names
    for name in ("samples", "naive", "unconstrained", "label"):
        stored = load_file(home / f"{name}.safetensors")
        assert stored["input_values"].shape == (WALKS, 64, 75) and stored["input_values"].dtype == np.float16
        assert np.isfinite(stored["input_values"]).all() and stored["input_values"].any()
        assert not stored["input_values"][..., :3].any(), "relative to the pelvis"
        assert stored["labels"].tolist() == [i % 7 for i in range(WALKS)], "equal classes"
        assert stored["judged"].shape == (WALKS,) and set(stored["judged"]) <= set(range(7))
    for family in (home, home / "naive"):
        assert GaitFeatureExtractor.from_pretrained(family / "vq").labels == names, "labels must mean what they mean in loso.py"
    assert not list(output.rglob("*.tmp"))
    assert not list(output.rglob(".*"))  # nothing half made
    words = load_file(home / "words.safetensors")
    assert words["persons"].shape == words["ways"].shape == (WALKS, 11, 75) and np.isfinite(words["persons"]).all()
    assert words["labels"].tolist() == [i % 7 for i in range(WALKS)]
    normal = words["labels"] == names.index("normal")
    assert not words["ways"][normal].any() and words["ways"][~normal].any((1, 2)).all()
    ours, plain = (load_file(home / f"{n}.safetensors")["input_values"] for n in ("samples", "unconstrained"))
    assert not np.array_equal(ours, plain)


def test_no_row_of_the_test_subject_reaches_a_fold(fold, person):
    """Nonsense in their rows would have stopped it; and every script and validity model was told or given the others alone."""
    output, commands, judged = fold
    for command in commands:
        given = command[command.index("--exclude_subjects") :][:3]
        assert given[1] == person and given[2].startswith("--")
    assert len(judged) == 2 and all(person not in set(data["subject_id"]) for data in judged)
    assert all(len(set(data["subject_id"])) == 2 for data in judged)
    for file in output.rglob("*.json"):
        assert "POISON" not in file.read_text(), file


def test_what_is_there_is_kept_and_what_was_removed_comes_back(fold, poisoned, person, monkeypatch):
    output, _, _ = fold
    judge, target = loso_generator.train_judge, output / f"fold_{person}" / "samples.safetensors"
    before = load_file(target)
    monkeypatch.setattr(loso_generator.subprocess, "run", lambda *_, **__: pytest.fail("the family is there"))
    monkeypatch.setattr(loso_generator, "train_judge", lambda *_: pytest.fail("the set is there"))
    generate(poisoned, output, "--subjects", person, "--sets", "words", "samples")
    target.unlink()
    monkeypatch.setattr(loso_generator, "train_judge", lambda data, labels: judge(data, labels, 1))
    generate(poisoned, output, "--subjects", person, "--sets", "words", "samples")
    after = load_file(target)
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_the_experiment_takes_the_sets(fold, person, dataset_folder):
    """loso.py mixes what was sampled, without what was taken for another class."""
    output, _, _ = fold
    stored = load_file(output / f"fold_{person}" / "unconstrained.safetensors")
    right = stored["labels"] == stored["judged"]
    args = loso.LosoArguments(dataset="", output_dir=str(output))
    e = loso.Experiment(args, load_inputs(str(dataset_folder)))
    inputs, labels = e.one_set("unconstrained", {"subject": person, "share": 1.0}, e.walks.fold(person)[0])
    np.testing.assert_array_equal(inputs, stored["input_values"][right].astype(np.float32))
    np.testing.assert_array_equal(labels, stored["labels"][right])
    inputs, _ = e.one_set("naive", {"subject": person, "share": 1.0}, e.walks.fold(person)[0])
    assert inputs.shape == (WALKS, 64, 75)


# --- variants --------------------------------------------------------------------------------------------------------------


def read_command(command: list, monkeypatch):
    name = Path(command[1]).stem.removeprefix("train_")
    monkeypatch.setattr(sys, "argv", command[1:])
    return name, parse_arguments(ARGUMENTS[name])


@pytest.mark.parametrize("variant", VARIANTS)
def test_commands_of_a_variant_can_be_read_and_differ_as_they_should(variant, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(loso_generator.subprocess, "run", lambda command, check: commands.append(command))
    loso_generator.train_family(tmp_path / "f", "data/x", "7", variant, 1)
    read = dict(read_command(command, monkeypatch) for command in commands)
    for args in read.values():
        assert args.exclude_subjects == ["7"] and args.dataset == "data/x" and args.num_threads == 1
        assert Path(args.output_dir).is_relative_to(tmp_path / "f")
    assert read["gpt2"].vq == read["vq"].output_dir == str(tmp_path / "f" / "vq")
    assert read["gpt2"].output_dir == str(tmp_path / "f") and read["gpt2"].describe_share == (0 if variant == "naive" else 0.25)
    naive = variant == "naive"
    assert set(read) == {"vq", "gpt2"}
    assert read["gpt2"].class_only == naive == (read["vq"].num_spatial_tokens == 12)
    assert read["vq"].pathology == (variant == "ours")


def test_models_that_are_there_are_not_trained_again(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(loso_generator.subprocess, "run", lambda command, check: commands.append(command))
    (tmp_path / "vq").mkdir()
    (tmp_path / "vq" / "model.safetensors").touch()
    loso_generator.train_family(tmp_path, "x", "7", "ours", 0)
    assert scripts(commands) == ["train_gpt2"]


def test_unknown_variants_and_sets_are_refused(tmp_path):
    with pytest.raises(SystemExit):
        generate(tmp_path, tmp_path / "out", "--variant", "our")
    for more in (["--sets", "naive"], ["--variant", "naive", "--sets", "samples"]):
        with pytest.raises(ValueError, match="--sets: unknown .* has (words|naive)"):
            generate(tmp_path, tmp_path / "out", *more)
    with pytest.raises(ValueError, match="no Parquet files"):
        generate(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_set_of_an_arm_can_be_made():
    made = {name for sets in SETS.values() for name in sets} | {"people", "same_people", "parts"}
    assert {name for arm in loso.ARMS.values() for name in arm.sets} <= made and set(SETS) == set(VARIANTS)


# --- shares and descriptions -----------------------------------------------------------------------------------------------


def test_a_share_of_the_data_is_that_of_the_experiment(recordings, person, tmp_path):
    assert loso_generator.share_dataset("anything", tmp_path / "share_1", 1.0) == "anything"
    folder = tmp_path / "share_0.5"
    path = loso_generator.share_dataset(str(recordings), folder, 0.5)
    data = load_walks(path, exclude_subjects=[person])
    walks = load_inputs(str(recordings))
    train, _ = walks.fold(person, 0.5)
    seen = list(zip(data["walk_id"], data["sensor"]))
    sensors = load_walks(str(recordings))["sensor"]
    assert seen == [(walks.walk_ids[i], sensors[i]) for i in train] and len(seen) == 2 * 7 * 2 * 2
    whole = load_walks(str(recordings))
    assert data.features == whole.features
    np.testing.assert_array_equal(data[0]["joints"], whole[int(train[0])]["joints"])
    again = loso_generator.share_dataset(str(tmp_path / "none"), folder, 0.5)
    assert again == path, "a share that is there is not read anew"


def test_a_fold_of_a_share_sees_the_share(recordings, person, tmp_path, monkeypatch):
    """The family of a share is trained, and its walks are described, from the share alone; it has a folder of its own."""
    trained, sampled = [], []
    monkeypatch.setattr(loso_generator, "train_family", lambda *given: trained.append(given))
    monkeypatch.setattr(
        loso_generator, "sample_sets", lambda folder, targets, data, _: sampled.append((folder, *targets, data))
    )
    generate(recordings, tmp_path, "--subjects", person, "--share", "0.25")
    ((folder, dataset, subject, variant, _),) = trained
    assert (folder, dataset) == (tmp_path / f"fold_{person}_share_0.25", str(tmp_path / "share_0.25" / "data"))
    assert (subject, variant) == (person, "ours")
    ((source, target, data),) = sampled
    assert source == folder and target == folder / "words.safetensors"
    assert len(data) == 2 * 7 * 2 and person not in set(data["subject_id"])


def test_descriptions_are_of_training_walks_of_equal_classes(recordings, person, rows):
    data = load_walks(str(recordings), exclude_subjects=[person])
    labels = data.features["pathology"].names
    described, lengths = loso_generator.draw_descriptions(data, labels, 28, False)
    assert [d.pathology for d in described] == labels * 4 and set(lengths) == {64}
    measured = {}
    for r in rows:
        if r["subject_id"] != person:
            measured.setdefault(labels[r["pathology"]], []).append(json.loads(r["gait_parameters"])["speed"])
    for d in described:
        assert any(d.speed == pytest.approx(v, abs=0.006) for v in measured[d.pathology])
    again, _ = loso_generator.draw_descriptions(data, labels, 28, False)
    assert [d.to_prompt() for d in again] == [d.to_prompt() for d in described]
    alone, _ = loso_generator.draw_descriptions(data, labels, 28, True)
    assert all(d.speed is None and d.cadence is None for d in alone) and [d.pathology for d in alone] == labels * 4


def test_arguments_have_the_documented_defaults():
    args = GeneratorArguments(dataset="x")
    assert args.output_dir == loso.LosoArguments(dataset="x").output_dir and args.variant in VARIANTS and args.share == 1
