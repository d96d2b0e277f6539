"""train_knowledge.py: training, resuming, knowledge files, videos, and that it reads no other rows than it is given."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import at_another_rate, run_script
from test_modeling_gait_dual_encoder import write_sentence_encoder

from modeling_gait.gait_classes import CLASSES_FILE
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from modeling_gait.training import knowledge, loop
from modeling_gait.training.data import load_walks
from modeling_gait.training.knowledge import PARAMETERS, KnowledgeArguments, load_knowledge_walks, predict, train_model
from train import train_knowledge

STEPS = ["--max_steps", 4, "--save_steps", 2, "--batch_size", 4, "--text_steps", 2, "--mixed_precision", "no"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    return write_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny", limit=256)


@pytest.fixture(scope="module")
def walks(dataset_folder):
    return load_knowledge_walks(str(dataset_folder))


@pytest.fixture(scope="module")
def knowledge_file(walks, tmp_path_factory):
    """A user's knowledge of all seven classes of the simulator."""
    classes = [
        {
            "name": name,
            "keywords": [name],
            "descriptions": [{"text": f"{name}: sentence {i}", "source": "me"} for i in range(2)],
        }
        for name in walks.names
    ]
    path = tmp_path_factory.mktemp("knowledge") / "mine.json"
    path.write_text(json.dumps({"sources": {"me": "Test"}, "sets": {"mine": {"classes": classes}}}))
    return path


def arguments(folder, encoder, **kwargs) -> KnowledgeArguments:
    values = {"max_steps": 3, "save_steps": 3, "batch_size": 6, "mixed_precision": "no", "text_model": str(encoder)}
    return KnowledgeArguments(dataset="unused", output_dir=str(folder), **values | {"knowledge": "none"} | kwargs)


def test_walks_as_arrays(walks):
    assert walks.inputs.shape == (21, 64, 76) and walks.parameters.shape == (21, len(PARAMETERS)) == (21, 46)
    assert walks.videos is None and walks.names[0] == "normal" and walks.known["max_frames"] == 64
    assert np.isfinite(walks.parameters[:, 0]).all() and 0.1 < np.median(walks.parameters[:, 0]) < 2
    row = knowledge.parameter_row({"speed": 0.5, "cadence": None, "body_height": 1.7})
    assert row[0] == 0.5 and row[-1] == np.float32(1.7) and np.isnan(row[1:-1]).all()


def test_an_interrupted_training_ends_with_the_same_weights(
    dataset_folder, knowledge_file, encoder_folder, tmp_path, monkeypatch
):
    given = ["--dataset", dataset_folder, "--knowledge", knowledge_file, "--text_model", encoder_folder, *STEPS]
    run_script(train_knowledge, [*given, "--output_dir", tmp_path / "whole"])
    save = loop.save_checkpoint

    def interrupted(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_script(train_knowledge, [*given, "--output_dir", tmp_path / "parts"])
    monkeypatch.undo()
    assert (tmp_path / "parts" / "checkpoint").exists()
    run_script(train_knowledge, [*given, "--output_dir", tmp_path / "parts"])
    assert not (tmp_path / "parts" / "checkpoint").exists()
    one, two = (GaitKnowledgeForSequenceClassification.from_pretrained(tmp_path / n) for n in ("whole", "parts"))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, two.state_dict()[name], msg=name)
    assert one.config.class_descriptions["steppage"] == ["steppage: sentence 0", "steppage: sentence 1"]
    assert len(one.config.class_sources["steppage"]) == 2
    assert one.config.use_numeric and len(one.config.parameter_groups) == 8
    assert one.class_features.norm(dim=-1).allclose(torch.ones(7))


def test_knowledge_that_lacks_a_class_is_refused(walks, encoder_folder, tmp_path):
    with pytest.raises(ValueError, match="'updrs' says nothing of antalgic"):
        train_model(arguments(tmp_path, encoder_folder, knowledge="updrs"), walks, np.arange(21))


def test_own_classes_are_known_by_what_the_data_set_says_of_them(walks, encoder_folder, tmp_path):
    own = replace(walks, names=[n.replace("steppage", "dip") for n in walks.names])
    args = arguments(tmp_path / "out", encoder_folder, knowledge="gait", max_steps=1)
    args.dataset = str(tmp_path)
    way_out = "'gait' says nothing of dip; train with --knowledge none, or with --knowledge FILE"
    with pytest.raises(ValueError, match=way_out):
        train_model(args, own, np.arange(21))
    (tmp_path / CLASSES_FILE).write_text(json.dumps({"classes": [{"name": "dip"}]}))
    with pytest.raises(ValueError, match=way_out):
        train_model(args, own, np.arange(21))
    said = {"name": "dip", "keywords": ["dip"], "descriptions": [{"text": "The body dips.", "source": "me"}]}
    (tmp_path / CLASSES_FILE).write_text(json.dumps({"sources": {"me": "Test"}, "classes": [said]}))
    model = train_model(args, own, np.arange(21))
    assert model.config.class_descriptions["dip"] == ["The body dips."] and model.config.class_keywords["normal"]


def test_the_plain_arm_needs_no_text_encoder(walks, tmp_path):
    model = train_model(arguments(tmp_path, "nowhere", numeric=False), walks, np.arange(21))
    logits, parameters = predict(model, walks, np.arange(5))
    assert logits.shape == (5, 7) and parameters is None


def test_it_learns_classes_and_numbers(walks, encoder_folder, tmp_path):
    model = train_model(arguments(tmp_path, encoder_folder, max_steps=45, batch_size=21), walks, np.arange(21))
    logits, parameters = predict(model, walks, np.arange(21))
    assert (logits.argmax(-1) == walks.labels).mean() > 0.9
    assert np.corrcoef(parameters[:, 0], walks.parameters[:, 0])[0, 1] > 0.9
    of_class = model.class_parameters().numpy()[:, 0]
    means = [walks.parameters[walks.labels == k, 0].mean() for k in range(7)]
    assert np.corrcoef(of_class, means)[0, 1] > 0.8


def test_other_rows_change_nothing(walks, encoder_folder, tmp_path):
    train = np.flatnonzero(walks.subjects != walks.subjects[0])
    other = replace(walks, inputs=walks.inputs.copy(), parameters=walks.parameters.copy(), labels=walks.labels.copy())
    held_out = np.setdiff1d(np.arange(21), train)
    other.inputs[held_out], other.parameters[held_out], other.labels[held_out] = 1e3, 1e3, 0
    models = [train_model(arguments(tmp_path, encoder_folder), w, train) for w in (walks, other)]
    for (name, one), two in zip(models[0].state_dict().items(), models[1].state_dict().values()):
        torch.testing.assert_close(one, two, rtol=0, atol=0, msg=name)
    assert models[0].config.to_dict() == models[1].config.to_dict()


def test_videos_are_drawn_once_and_trained_on(dataset_folder, encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(knowledge, "VIDEO_FRAMES", 3)
    monkeypatch.setattr(knowledge, "VIDEO_COPIES", 2)
    walks = load_knowledge_walks(str(dataset_folder), video_folder=tmp_path)
    assert walks.videos.shape == (21, 2, 3, 3, 64, 64) and len(set(walks.walk_ids)) == 21
    assert all(np.ptp(video) > 50 for video in walks.videos)
    assert (walks.videos[:, 0].mean((1, 3, 4)) != walks.videos[:, 1].mean((1, 3, 4))).any(1).all(), (
        "other clothes, another room"
    )
    rows, both = np.zeros(40, int), [walks.videos[0, k].tobytes() for k in range(2)]
    seen = [v.numpy().tobytes() for v in knowledge.model_inputs(walks, rows, ["video"], seed=1)["pixel_values"]]
    assert set(seen) == set(both) and seen != [
        v.numpy().tobytes() for v in knowledge.model_inputs(walks, rows, ["video"], seed=2)["pixel_values"]
    ]
    assert {v.numpy().tobytes() for v in knowledge.model_inputs(walks, rows, ["video"])["pixel_values"]} == {both[0]}
    (tmp_path / "faster").mkdir()
    at_another_rate(load_walks(str(dataset_folder)), 60.0).to_parquet(tmp_path / "faster" / "train.parquet")
    faster = load_knowledge_walks(str(tmp_path / "faster"), video_folder=tmp_path / "faster")
    assert np.abs(faster.videos[:, 0].astype(float) - walks.videos[:, 0]).mean() < 0.5
    monkeypatch.setattr(knowledge, "render_video", lambda *_, **__: pytest.fail("drawn again"))
    again = load_knowledge_walks(str(dataset_folder), video_folder=tmp_path)
    np.testing.assert_array_equal(again.videos, walks.videos)
    model = train_model(arguments(tmp_path, encoder_folder, branches=["skeleton", "video"], max_steps=2), walks, np.arange(21))
    assert predict(model, walks, np.arange(2))[0].shape == (2, 7)
    with pytest.raises(pytest.fail.Exception):  # other walks, other videos
        load_knowledge_walks(str(dataset_folder), [walks.subjects[0]], tmp_path)


def test_walks_as_filmed_are_further_rows(dataset_folder, walks, tmp_path, monkeypatch):
    def film(joints, fps, rng):
        if rng.random() < 0.2:
            raise ValueError("nobody walks")
        return joints

    monkeypatch.setattr(knowledge, "as_filmed", film)
    found = load_knowledge_walks(str(dataset_folder), filmed_folder=tmp_path)
    lost = np.isnan(found.filmed).all((2, 3))
    copies = knowledge.FILMED_COPIES
    assert found.filmed.shape[:2] == (len(found.labels), copies) and 0 < lost.sum() < lost.size
    rows, copy = found.with_filmed()
    assert len(rows.labels) == len(rows.inputs) == len(rows.parameters) == len(copy) == (1 + copies) * len(found.labels)
    np.testing.assert_array_equal(rows.inputs[copy == 0], found.filmed[:, 0])
    np.testing.assert_array_equal(rows.inputs[copy == -1], found.inputs)
    np.testing.assert_array_equal(rows.subjects[copy == 0], found.subjects)
    monkeypatch.setattr(knowledge, "as_filmed", lambda *_: pytest.fail("made again"))
    load_knowledge_walks(str(dataset_folder), filmed_folder=tmp_path)


@pytest.mark.parametrize("changed", [{"joints": lambda row: 1.01 * np.array(row["joints"])}, {"fps": lambda row: 60.0}])
def test_walks_of_the_same_names_have_films_of_their_own(dataset_folder, tmp_path, monkeypatch, changed):
    made = []
    monkeypatch.setattr(knowledge, "as_filmed", lambda joints, fps, rng: (made.append(fps), joints)[1])
    rows = load_walks(str(dataset_folder)).select(range(2))
    others = rows.map(lambda row: {name: of(row) for name, of in changed.items()}, features=rows.features)
    assert list(rows["walk_id"]) == list(others["walk_id"])
    for data in (rows, others, rows):
        knowledge.load_filmed(tmp_path, data)
    assert len(made) == 2 * 2 * knowledge.FILMED_COPIES and len(list(tmp_path.iterdir())) == 2
