"""training/arguments, data, loop: which rows a step reads, windows of walks, checkpoints, arguments."""

import json
import os
import re
import runpy
import shutil
import sys

import datasets
import numpy as np
import pytest
import torch
from conftest import CACHE, NUM_FRAMES, TRAIN, at_another_rate, write_walks
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait import compute_gait_parameters
from modeling_gait.augmentation import mirror
from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.schema import errors_told
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training import knowledge, loop
from modeling_gait.training.arguments import TrainArguments, parse_arguments
from modeling_gait.training.classifier import ClassifierArguments
from modeling_gait.training.data import (
    StepBatches,
    WindowLoader,
    class_labels,
    fingerprint,
    load_walks,
    mirror_parameters,
    open_rows,
)
from modeling_gait.training.gpt2 import GPT2Arguments
from modeling_gait.training.knowledge import KnowledgeArguments
from modeling_gait.training.maml import MamlArguments
from modeling_gait.training.text import TextArguments
from modeling_gait.training.video import VideoArguments
from modeling_gait.training.vq import VQArguments, sided_labels


def test_a_trained_model_is_not_trained_over(vq_folder, tmp_path, monkeypatch):
    """With the same arguments or others: it was overwritten without a word."""
    for folder in (vq_folder, shutil.copytree(vq_folder, tmp_path / "vq")):
        monkeypatch.setattr(sys, "argv", ["train_vq", "--dataset", "data", "--output_dir", str(folder)])
        with pytest.raises(ValueError, match=f"{folder} holds a trained model; choose another output_dir, or remove that"):
            parse_arguments(VQArguments)
    (folder / "checkpoint").mkdir()  # killed while it saved the model: it goes on
    assert parse_arguments(VQArguments).output_dir == str(folder)


@pytest.mark.parametrize("script", sorted(TRAIN.glob("*.py")), ids=lambda p: p.name)
def test_what_is_wrong_is_told_without_a_traceback(script, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    given = ["--output_dir", tmp_path / "file", "--dataset", tmp_path, "--model", tmp_path, "--prompts", "x", "--unknown", "1"]
    monkeypatch.setattr(sys, "argv", [script.name, *map(str, given)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__main__")
    assert re.match(r"error: .*\['.*--unknown', '1'\]", str(stopped.value.code)), stopped.value.code


@pytest.mark.parametrize("config, size", [(GaitClassifierConfig, "num_layers"), (GaitKnowledgeConfig, "num_frames")])
def test_a_configuration_that_is_refused_is_told_in_a_line(config, size):
    with pytest.raises(SystemExit) as stopped, errors_told():
        config(id2label={0: "normal"}, label2id={"normal": 0})
    assert re.fullmatch("error: a classifier needs two or more classes.*: normal", stopped.value.code)
    with pytest.raises(SystemExit) as stopped, errors_told():
        config(**{size: "2"})
    assert re.fullmatch(f"error: .*{size}.*", stopped.value.code)


def test_an_output_folder_that_is_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file; output_dir must be a folder"):
        loop.start(TrainArguments("data", str(tmp_path / "file")))


# --- rows --------------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_epoch_has_every_row_once(rows, batch_size, processes, seed):
    loaders = [StepBatches(rows, batch_size, seed, p, processes) for p in range(processes)]
    steps = -(-2 * rows // (batch_size * processes))
    order = np.concatenate([loader.rows(step) for step in range(steps) for loader in loaders])
    assert sorted(order[:rows]) == sorted(order[rows : 2 * rows]) == list(range(rows))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_the_rows_of_a_step_do_not_depend_on_the_steps_before(rows, batch_size, step):
    used = StepBatches(rows, batch_size, seed=5)
    for s in range(step):
        used.rows(s)
    assert np.array_equal(used.rows(step), StepBatches(rows, batch_size, seed=5).rows(step))


def test_data_stay_on_disk(dataset_folder):
    data = load_walks(str(dataset_folder), exclude_subjects=load_walks(str(dataset_folder))["subject_id"][:1])
    assert data.cache_files and all(CACHE in f["filename"] for f in data.cache_files)
    assert isinstance(data.data, datasets.table.MemoryMappedTable | datasets.table.ConcatenationTable)
    blocks = [data.data] if isinstance(data.data, datasets.table.MemoryMappedTable) else sum(data.data.blocks, [])
    assert blocks and all(isinstance(b, datasets.table.MemoryMappedTable) for b in blocks)
    assert data[0]["joints"].dtype == np.float32 and data[0]["joints"].shape[1:] == (25, 3)


def test_held_out_and_chosen_people(dataset_folder):
    everyone = load_walks(str(dataset_folder))
    people = sorted(set(everyone["subject_id"]))
    rest = load_walks(str(dataset_folder), exclude_subjects=people[:1])
    assert sorted(set(rest["subject_id"])) == people[1:]
    assert set(load_walks(str(dataset_folder), only_subjects=people[:1])["subject_id"]) == {people[0]}
    for arguments, message in (
        ({"exclude_subjects": ["nobody"]}, "no such subject: nobody"),
        ({"exclude_subjects": people}, "no rows left"),
        ({"only_subjects": people[:1], "exclude_subjects": people[:1]}, "no rows left"),
    ):
        with pytest.raises(ValueError, match=message):
            load_walks(str(dataset_folder), **arguments)


def test_bad_data_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no Parquet files"):
        load_walks(str(tmp_path))
    datasets.Dataset.from_dict({"subject_id": ["1"], "joints": [[0.0]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="columns missing: attributes, captions, fps"):
        load_walks(str(tmp_path))


@pytest.mark.parametrize(
    "column, broken, message",
    [
        ("joints", lambda j: np.where(np.arange(len(j))[:, None, None] == 3, np.nan, j), "holds joints that are not finite"),
        ("joints", lambda j: np.full_like(j, np.nan), "holds joints that are not finite"),
        ("joints", lambda j: j[:5], "has 5 frames, less than 0.5 s"),
        ("joints", lambda j: 1000 * j, "the ankles are .* m from the hips: what is the unit"),
        ("joints", lambda j: j[..., [0, 2, 1]], "the body is not upright along z"),
        ("joints", lambda j: j[..., [1, 0, 2]], "the walk is not along \\+y"),
        ("severity", lambda _: 60.0, "severity 60, expected 0 to 1"),
        ("attributes", lambda _: '{"side": "Left"}', "side 'Left' is not one of left, right, both, none, unknown"),
        ("attributes", lambda _: "{", "attributes, expected a JSON object, got '.'"),
        ("gait_parameters", lambda _: "1.2 m/s", "gait_parameters, expected a JSON object as of `walk_row`, got '1.2 m/s'"),
        ("gait_parameters", lambda _: None, "gait_parameters, expected a JSON object as of `walk_row`, got 'None'"),
    ],
)
def test_a_row_that_would_spoil_a_training_is_refused_by_name(dataset_folder, tmp_path, column, broken, message):
    rows = load_walks(str(dataset_folder)).with_format(None).select(range(4)).to_list()
    value = rows[2][column]
    rows[2][column] = broken(np.array(value, np.float32) if column == "joints" else value)
    write_walks(rows, tmp_path)
    with pytest.raises(ValueError, match=f"walk {rows[2]['walk_id']} \\(row 2\\).*{message}"):
        load_walks(str(tmp_path))


def test_a_row_without_attributes_or_severity_is_read(dataset_folder, tmp_path):
    rows = load_walks(str(dataset_folder)).with_format(None).select(range(4)).to_list()
    rows[2] |= {"attributes": None, "severity": None}
    write_walks(rows, tmp_path)
    assert sided_labels(load_walks(str(tmp_path)), GaitFeatureExtractor(labels=PATHOLOGIES)).shape == (4,)


def test_no_row_and_classes_without_names_are_refused(dataset_folder, tmp_path):
    datasets.Dataset.from_dict({"joints": []}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="its Parquet files hold no row"):
        load_walks(str(tmp_path))
    rows = load_walks(str(dataset_folder)).with_format(None).select(range(2))
    rows.cast_column("pathology", datasets.Value("int64")).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="column pathology: expected datasets.ClassLabel"):
        load_walks(str(tmp_path))


# --- windows -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loader(dataset_folder, vq_folder) -> WindowLoader:
    extractor = GaitFeatureExtractor.from_pretrained(vq_folder)
    return WindowLoader(load_walks(str(dataset_folder)), extractor)


def test_a_folder_of_several_data_sets_is_refused(tmp_path):
    """Of other columns, or of the same columns and other classes: a number would be the wrong class without a word."""
    for name, columns in (("a", ["x", "y"]), ("b", ["x", "y"]), ("c", ["x", "z"]), ("d", ["x"])):
        (tmp_path / name).mkdir()
        features = datasets.Features({"pathology": datasets.ClassLabel(names=columns)})
        rows = datasets.Dataset.from_dict({"pathology": [0, 0]}, features=features)
        rows = rows.rename_column("pathology", "activity") if name == "d" else rows
        rows.to_parquet(str(tmp_path / name / "train.parquet"))
    shutil.copytree(tmp_path / "a", tmp_path / "one" / "1")
    shutil.copytree(tmp_path / "b", tmp_path / "one" / "2")
    assert len(open_rows(str(tmp_path / "one"))) == 4
    for other, differ in (("c", "pathology"), ("d", "pathology, activity")):
        shutil.copytree(tmp_path / other, tmp_path / "one" / "3", dirs_exist_ok=True)
        with pytest.raises(
            ValueError, match=rf"one: holds several data sets: .*1/train.parquet and .*3/.* differ in {differ}; give"
        ):
            open_rows(str(tmp_path / "one"))


def test_windows_depend_on_rows_and_seed_alone(loader):
    rows = np.array([3, 0, 7])
    one, again, other = loader.batch(rows, 1), loader.batch(rows, 1), loader.batch(rows, 2)
    assert torch.equal(one["joints"], again["joints"]) and not torch.equal(one["joints"], other["joints"])
    assert one["joints"].shape == (3, NUM_FRAMES, 25, 3) and one["attention_mask"].shape == (3, NUM_FRAMES)
    plain = loader.batch(rows)
    assert torch.equal(plain["joints"], loader.batch(rows)["joints"])
    clean, _ = loader.extractor.window(load_walks_joints(loader, 3))
    np.testing.assert_array_equal(plain["joints"][0].numpy(), clean)


def test_walks_of_another_rate_are_read_at_the_models(loader, dataset_folder):
    faster = WindowLoader(at_another_rate(load_walks(str(dataset_folder)).select(range(4)), 60.0), loader.extractor)
    for seed in (None, 1):
        one, other = loader.batch(np.arange(4), seed), faster.batch(np.arange(4), seed)
        torch.testing.assert_close(one["joints"], other["joints"], atol=1e-5, rtol=0)
        assert torch.equal(one["attention_mask"], other["attention_mask"])


@pytest.mark.parametrize(("fps", "wanted", "message"), [(0.0, None, "0 frames.*5 to 1000"), (60.0, 30.0, "60 frames.*not 30")])
def test_rates_that_cannot_be_read_are_refused(dataset_folder, tmp_path, fps, wanted, message):
    rows = load_walks(str(dataset_folder)).select(range(3)).with_format(None)
    rows.map(lambda _, i: {"fps": fps if i == 1 else 30.0}, with_indices=True).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=rf"{rows['walk_id'][1]} \(row 1\) has {message}"):
        load_walks(str(tmp_path), fps=wanted)


def test_an_unknown_pathology_counts_in_no_loss(dataset_folder, vq_folder):
    data = load_walks(str(dataset_folder)).select(range(4))
    unknown = data.remove_columns("pathology").add_column("pathology", [-1] * 4, feature=data.features["pathology"])
    extractor = GaitFeatureExtractor.from_pretrained(vq_folder)
    batch = WindowLoader(unknown.with_format("numpy"), extractor).batch(np.arange(4))
    assert batch["labels"].tolist() == [-100] * 4


def test_classes_of_a_data_set(dataset_folder):
    walks = load_walks(str(dataset_folder))
    names, classes = walks.features["pathology"].names, np.array(walks["pathology"])
    some = walks.select(np.flatnonzero(classes != 0))  # an index of the data set is not one of the classes that occur
    labels, present = class_labels(some)
    assert [present[i] for i in labels] == [names[int(i)] for i in some["pathology"]] and names[0] not in present
    unknown = some.map(lambda row, i: {"pathology": -1 if i == 2 else row["pathology"]}, with_indices=True)
    with pytest.raises(ValueError, match=rf"{some['walk_id'][2]} \(row 2\).*1 of {len(some)}"):
        class_labels(unknown)


def test_a_mirrored_window_has_the_parameters_of_the_mirror_image(loader):
    rows = np.arange(6)
    plain, turned = (loader.batch(rows, None, np.full(6, mirrored)) for mirrored in (False, True))
    assert [mirror_parameters(p) for p in plain["measured"]] == turned["measured"] != plain["measured"]
    torch.testing.assert_close(turned["joints"], mirror(plain["joints"]))


def load_walks_joints(loader, row) -> np.ndarray:
    return loader.columns[[row]]["joints"][0]


def test_parameters_of_a_mirrored_walk_are_those_of_its_mirror_image(walks):
    for joints in walks.joints[:4]:
        measured = mirror_parameters(compute_gait_parameters(joints, 30.0))
        seen = compute_gait_parameters(mirror(torch.from_numpy(joints)[None])[0].numpy(), 30.0)
        for name, value in seen.items():
            assert measured[name] == pytest.approx(value, abs=1e-3, nan_ok=True), name


def test_a_fingerprint_sees_all_that_is_said_of_a_walk(dataset_folder):
    rows = load_walks(str(dataset_folder))
    own = fingerprint(rows)
    assert own == fingerprint(load_walks(str(dataset_folder)).with_format(None)) != fingerprint(rows.select(range(20)))
    said = {
        "severity": 0.123,
        "fps": 31.0,
        "attributes": "{}",
        "gait_parameters": "{}",
        "captions": ["A walk."],
        "walk_id": "0",
    }
    for column, value in said.items():
        other = rows.map(lambda row, i: {column: value if i == 20 else row[column]}, with_indices=True)  # noqa: B023
        assert fingerprint(other) != own, column


def test_a_fingerprint_sees_every_weight():
    networks = [torch.nn.BatchNorm1d(3) for _ in range(3)]
    networks[2].num_batches_tracked += 1
    one, same, other = map(fingerprint, networks)
    assert one == same != other


# --- training ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "no state", "not JSON", "another model", "no optimiser", "another optimiser"])
def test_a_broken_checkpoint_is_a_clear_error(tmp_path, damage):
    def model(width=3):
        return torch.nn.Linear(2, width)

    class Alone:
        is_main_process = True

        def wait_for_everyone(self):
            pass

    trained = model(4 if damage == "another model" else 3)
    optimizer = torch.optim.AdamW(trained.parameters())
    trained(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    folder = tmp_path / "checkpoint"
    loop.save_checkpoint(folder, Alone(), trained, optimizer, 7)
    if damage == "truncated":
        os.truncate(folder / "model.safetensors", 30)
    elif damage == "no state":
        (folder / "state.json").unlink()
    elif damage == "not JSON":
        (folder / "state.json").write_text("{")
    elif damage == "no optimiser":
        (folder / "optimizer.safetensors").unlink()
    elif damage == "another optimiser":
        shutil.copy(folder / "model.safetensors", folder / "optimizer.safetensors")
    fresh = model()
    with pytest.raises(ValueError, match="(?s)checkpoint does not fit the model .* remove the folder to start anew"):
        loop.load_checkpoint(folder, fresh, torch.optim.AdamW(fresh.parameters()))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    args = TrainArguments(dataset="", output_dir=str(tmp_path), max_steps=3)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1"):
        loop.training_loop(
            loop.start(args),
            torch.nn.Linear(2, 1),
            args,
            lambda model, step, seed: (model(torch.ones(1, 2)).sum() * (float("nan") if step else 1.0), {}),
            "nothing",
        )


def test_steps_that_cannot_be_and_folders_of_other_models_are_refused(tmp_path):
    for wrong in ({"save_steps": 0}, {"max_steps": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            loop.start(TrainArguments(dataset="", output_dir=str(tmp_path), **wrong))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    loop.start(GPT2Arguments(dataset="", output_dir=str(tmp_path)))
    with pytest.raises(ValueError, match="holds a gpt2 model, and a gait_vq is trained"):
        loop.start(VQArguments(dataset="", output_dir=str(tmp_path)))


def test_learning_rate_rises_and_falls():
    rates = [loop.schedule(s, 10, 100) for s in range(100)]
    assert np.argmax(rates) in range(8, 12) and rates[0] < 0.2 and 0 < rates[-1] < 0.05
    assert (np.diff(rates[:9]) > 0).all() and (np.diff(rates[12:]) < 0).all()


# --- arguments and folders ---------------------------------------------------------------------------------------------------


def test_arguments_from_json_and_the_command_line(tmp_path, monkeypatch):
    path = tmp_path / "vq.json"
    path.write_text(
        json.dumps({"dataset": "d", "output_dir": "o", "exclude_subjects": ["1", "2"], "codebook_size": 64, "seed": 3})
    )
    monkeypatch.setattr(sys, "argv", ["train_vq.py", str(path), "--seed", "9"])
    args = parse_arguments(VQArguments)
    assert (args.dataset, args.exclude_subjects, args.codebook_size, args.seed) == ("d", ["1", "2"], 64, 9)
    path.write_text(json.dumps({"dataset": "d", "output_dir": "o", "learning_rat": 1}))
    with pytest.raises(ValueError, match="unknown arguments learning_rat"):
        parse_arguments(VQArguments)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (VQArguments, "--mixed_precision fp61"),
        (ClassifierArguments, "--architecture gur"),
        (ClassifierArguments, "--mixed_precision bf61"),
        (KnowledgeArguments, "--branches skeleton vidio"),
        (KnowledgeArguments, "--loss vocal"),
        (KnowledgeArguments, "--mixed_precision bf61"),
        (MamlArguments, "--algorithm mamal"),
        (TextArguments, "--captions measure"),
        (TextArguments, "--losses clip clipp"),
        (TextArguments, "--numbers speed spead"),
        (TextArguments, "--exclude_activities walkin"),
        (VideoArguments, "--mixed_precision bf61"),
    ],
)
def test_a_misspelt_value_is_refused_before_anything_is_read(kind, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--dataset", "nowhere", "--output_dir", "o", *words.split()])
    with pytest.raises(SystemExit):
        parse_arguments(kind)
    assert f"invalid choice: '{words.split()[-1]}' (choose from" in capsys.readouterr().err


def test_a_misspelt_set_of_knowledge_is_refused_before_the_data_are_read():
    with pytest.raises(ValueError, match="gaitt: neither one of"):
        knowledge.train(KnowledgeArguments(dataset="nowhere", output_dir="o", knowledge="gaitt"))
