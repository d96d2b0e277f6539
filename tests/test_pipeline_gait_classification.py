"""Pipeline gait-classification: input as in training, results, votes, bad input, conventions of the model, remote code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_script
from hypothesis import given
from hypothesis import strategies as st
from test_gist import lines_of, restored, write
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)

from datasets_scripts import gist
from modeling_gait.configuration_gait_classifier import GIST_LABELS, GaitClassifierConfig
from modeling_gait.export import write_csv
from modeling_gait.loading import load_walk
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from modeling_gait.pipeline_gait_classification import GaitClassificationPipeline, mean_scores
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SMPL_22, convert_joints

TASK = "gait-classification"
ROOT = Path(__file__).resolve().parents[1]


def tiny(architecture="gru", **kwargs):
    torch.manual_seed(0)
    return GaitForSequenceClassification(
        GaitClassifierConfig(architecture=architecture, **{"hidden_size": 16, **kwargs})
    ).eval()


@pytest.fixture(scope="module")
def folder(dataset_folder, tmp_path_factory) -> Path:
    """A GRU as the training script saves it, after a few steps."""
    from train import train_classifier

    out = tmp_path_factory.mktemp("classifier") / "gru"
    run_script(train_classifier, ["--dataset", dataset_folder, "--output_dir", out, "--epochs", "20", "--batch_size", "8"])
    return out


@pytest.fixture(scope="module")
def pipe(folder) -> GaitClassificationPipeline:
    return pipeline(TASK, model=str(folder))


@pytest.fixture(scope="module")
def joints(walks) -> list[np.ndarray]:
    return list(walks.joints)


def as_dict(result):
    return {r["label"]: r["score"] for r in result}


# --- the input ---------------------------------------------------------------------------------------------------------------


@pytest.fixture()
def _as_it_is(pipe, monkeypatch):
    monkeypatch.setattr(pipe.model.config, "max_frames", None)
    monkeypatch.setattr(pipe.model.config, "both_sides", False)


@pytest.mark.usefixtures("_as_it_is")
def test_a_raw_file_gives_the_input_of_its_row(pipe, tmp_path):
    """A dirty file on an irregular, wrapping clock: read by the data set's builder, and by the pipeline."""
    rows = lines_of("steppage", seed=3, start=58.5)
    rng = np.random.default_rng(0)
    for n, row in enumerate(rows):
        row[0] = f"{(58.5 + n / 30 + rng.uniform(0, 0.02)) % 60:.6g}"
    rows[20][0] = rows[19][0]
    rows[10][14:17] = ["nan", "nan", "nan"]
    rows[30][2:5] = ["1e+31", "0", "inf"]
    rows[40][62:65] = ["0", "6.9e-310", "0"]
    path = write(tmp_path, rows)
    row, report = gist.make_row(path)
    assert report.clock_wraps and report.repeated_stamps and report.samples_repaired, "else the file is not dirty"
    expected = prepare_classifier_input([row["joints"]])
    np.testing.assert_allclose(pipe.preprocess(path)["input_values"].numpy(), expected, atol=0.02)
    as_text = Path(shutil.copy(path, tmp_path / "walk.txt"))
    np.testing.assert_allclose(pipe.preprocess(as_text)["input_values"].numpy(), expected, atol=0.02)
    np.testing.assert_allclose(pipe.preprocess(load_walk(path))["input_values"].numpy(), expected, atol=0.02)
    even = pipe.preprocess(path, fps=30)["input_values"].numpy()
    assert np.abs(even - expected).max() > 0.03, "the clock of the file must count"


@pytest.mark.usefixtures("_as_it_is")
def test_real_files_give_the_input_of_their_rows(pipe, tmp_path):
    files = restored(tmp_path, lambda jobs: jobs[:300:120])
    assert len(files) == 3
    for path in files:
        expected = prepare_classifier_input([gist.make_row(path)[0]["joints"]])
        away = np.abs(pipe.preprocess(path)["input_values"].numpy() - expected)  # a recording may be a frame shorter, or turned
        assert np.percentile(away, 95) < 0.05 and away.mean() < 0.015, path.name


def test_frame_rate_and_skeleton_of_the_call(pipe, joints):
    expected = pipe.preprocess(joints[0])["input_values"]
    fast = np.repeat(joints[0], 2, axis=0)[:-1]
    fast[1::2] = (joints[0][1:] + joints[0][:-1]) / 2
    torch.testing.assert_close(pipe.preprocess(fast, fps=60)["input_values"], expected, atol=1e-3, rtol=0)
    smpl = convert_joints(joints[0], KINECT_V2, SMPL_22)
    converted, own = (v.unflatten(-1, (25, 3)) for v in (pipe.preprocess(smpl, skeleton="smpl_22")["input_values"], expected))
    knee = KINECT_V2.index("right_knee")
    torch.testing.assert_close(converted[:, :, knee], own[:, :, knee], atol=1e-3, rtol=0)
    gap = joints[0].copy()
    gap[:, KINECT_V2.index("left_hand")] = np.nan
    with pytest.warns(UserWarning, match="not measured: left_hand"):
        assert torch.isfinite(pipe.preprocess(gap)["input_values"]).all()


def test_the_models_own_frames_and_skeleton(joints):
    model = tiny(skeleton="smpl_22", resample_frames=20, id2label={0: "normal", 1: "parkinsonian"})
    pipe = pipeline(TASK, model=model, device="cpu")
    assert pipe.preprocess(joints[0], skeleton="kinect_v2")["input_values"].shape == (1, 20, 66)
    assert {r["label"] for r in pipe(joints[0], skeleton="kinect_v2")} == {"normal", "parkinsonian"}
    assert pipe.preprocess(joints[0])["input_values"].shape == (1, 20, 66)  # told by the number of joints


# --- results -----------------------------------------------------------------------------------------------------------------


def test_scores_are_the_models_probabilities_in_order(pipe, folder, joints):
    result = pipe(joints[4])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(pipe.preprocess(joints[4])["input_values"]).logits.softmax(-1).mean(0)
    assert len(result) == model.config.num_labels == 7
    scores = [r["score"] for r in result]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
    assert as_dict(result) == pytest.approx({model.config.id2label[i]: p.item() for i, p in enumerate(expected)}, abs=1e-5)
    assert set(result[0]) == {"label", "score"} and isinstance(result[0]["label"], str)


def test_a_trained_folder_knows_the_walks_it_saw(pipe, dataset_folder):
    from modeling_gait.training.data import load_walks

    data = load_walks(str(dataset_folder))
    names = data.features["pathology"].names
    best = [r[0]["label"] for r in pipe([{"joints": j, "fps": 30} for j in data["joints"]])]
    assert (
        np.mean([b == names[int(p)] for b, p in zip(best, data["pathology"])]) > 0.35
    )  # chance: 1 of 7; no mirror image was seen
    assert pipe.model.config.fps == 30.0 and pipe.fps == 30.0 and pipe.model.config.max_frames == 64


def test_a_long_walk_is_the_mean_of_its_parts(joints):
    """Minutes resampled to the frames of a few seconds gave any class, with a probability of 0.97."""
    long = simulate_walks(1, frames=170, seed=3, pathology="steppage").joints[0]
    pipe = pipeline(TASK, model=tiny(max_frames=60, id2label={0: "a", 1: "b", 2: "c"}), device="cpu")
    read = read_recording(long, 30.0).for_model(KINECT_V2, 30.0)
    parts = prepare_classifier_input([read[:60], read[55:115], read[110:]])
    with torch.no_grad():
        expected = pipe.model(torch.from_numpy(parts)).logits.softmax(-1).mean(0).tolist()
    for found in (pipe(long), pipe([joints[0], long, joints[1]], batch_size=2)[1]):
        assert [as_dict(found)[n] for n in "abc"] == pytest.approx(expected, abs=1e-5)
    assert as_dict(pipe([long, joints[0]], vote=True)) == pytest.approx(
        {n: (as_dict(pipe(long))[n] + as_dict(pipe(joints[0]))[n]) / 2 for n in "abc"}, abs=1e-5
    )


def test_top_k(pipe, folder, joints):
    every = pipe(joints[0])
    assert pipe(joints[0], top_k=2) == every[:2] and pipe(joints[0], top_k=99) == every
    assert pipeline(TASK, model=str(folder), top_k=1)(joints[0]) == every[:1]
    assert pipe(joints[:2], top_k=1, vote=True) == pipe(joints[:2], vote=True)[:1]
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="top_k"):
            pipe(joints[0], top_k=bad)


def test_lists_and_batches_give_what_one_by_one_gives(pipe, joints, tmp_path):
    write_csv(tmp_path / "a.csv", joints[1][:50], 30.0)
    walks = [joints[0], tmp_path / "a.csv", joints[2][:33], {"joints": joints[3], "fps": 30}]
    apart = [pipe(w) for w in walks]
    for size in (1, 3, 64):
        for together, alone in zip(pipe(walks, batch_size=size), apart, strict=True):
            assert as_dict(together) == pytest.approx(as_dict(alone), abs=1e-5)
    assert isinstance(pipe([joints[0]])[0], list) and isinstance(pipe(joints[0])[0], dict)
    stacked = pipe(np.stack(joints[:2]))
    assert [as_dict(r) for r in stacked] == [pytest.approx(as_dict(pipe(w)), abs=1e-5) for w in joints[:2]]


def test_a_vote_is_the_mean_probability(pipe, joints):
    alone = [as_dict(pipe(w)) for w in joints[:3]]
    voted = pipe(joints[:3], vote=True)
    assert as_dict(voted) == pytest.approx({k: np.mean([a[k] for a in alone]) for k in alone[0]}, abs=1e-5)
    assert [r["score"] for r in voted] == sorted((r["score"] for r in voted), reverse=True)
    assert as_dict(pipe(joints[0], vote=True)) == pytest.approx(alone[0], abs=1e-5)
    two = pipe([joints[:2], joints[2:3]], vote=True, batch_size=2)
    assert as_dict(two[1]) == pytest.approx(alone[2], abs=1e-5) and len(two) == 2
    assert as_dict(two[0]) == pytest.approx(as_dict(pipe(joints[:2], vote=True)), abs=1e-5)


@given(st.lists(st.permutations([("a", 0.5), ("b", 0.375), ("c", 0.125)]), min_size=1, max_size=5))
def test_the_order_of_labels_does_not_matter_to_a_vote(votes):
    results = [[{"label": n, "score": s} for n, s in vote] for vote in votes]
    assert mean_scores(results) == [{"label": n, "score": s} for n, s in (("a", 0.5), ("b", 0.375), ("c", 0.125))]


def test_a_walk_of_text_to_gait_goes_in_as_it_is(pipe, joints, family_folder):
    walk = pipeline("text-to-gait", model=str(family_folder))("normal gait", num_frames=32, seed=0)
    walk["joints"] = joints[0]  # those of the untrained family have not the legs of a body
    assert sum(as_dict(pipe(walk)).values()) == pytest.approx(1, abs=1e-5)


def test_a_model_in_training_mode_is_put_into_eval_mode(joints):
    model = tiny("cnn", dropout=0.5).train()
    pipe = pipeline(TASK, model=model, device="cpu")
    assert pipe(joints[0]) == pipe(joints[0])


# --- bad input ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        (lambda w: w[:, :23], {}, "23 joints, expected 25"),
        (lambda w: w, {"skeleton": "stick"}, "unknown skeleton 'stick'; expected one of kinect_v2"),
        (lambda w: np.repeat(w[:1], 64, axis=0), {}, "nobody walks in it"),
        (lambda w: w, {"fps": 2}, "from 5 to 1000, got 2"),
        (lambda w: {"walk": w}, {}, "dict with 'joints', got one with walk"),
    ],
)
def test_what_is_not_a_walk_is_refused(pipe, joints, change, kwargs, message):
    with pytest.raises(ValueError, match=message):
        pipe(change(joints[0]), **kwargs)


def test_empty_lists_and_wrong_types_are_refused(pipe, joints):
    for empty in ([], (), np.zeros((0, 60, 25, 3))):
        with pytest.raises(ValueError, match="at least one walk"):
            pipe(empty)
    with pytest.raises(ValueError, match="at least one walk"):
        pipe([], vote=True)
    with pytest.raises(ValueError, match="walk 1 has no recordings"):
        pipe([joints[:1], []], vote=True)
    with pytest.raises(TypeError, match="walk 1: expected a file.*got int"):
        pipe([joints[0], 3])
    with pytest.raises(TypeError, match="got list; a list of lists takes vote=True"):
        pipe([joints[:2], joints[:2]])
    with pytest.raises(TypeError, match="frames"):
        pipe(joints[0], frames=3)
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"num_workers": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a whole number of"):
            pipe(joints, **wrong)
    assert pipe(joints[:2], num_workers=2) == pipe(joints[:2])


def test_errors_name_the_file(pipe, joints, tmp_path):
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    write_csv(tmp_path / "short.csv", joints[0][:5], 30.0)
    with pytest.raises(ValueError, match=r"walk 1: .*no\.csv: no column is named after a joint"):
        pipe([joints[0], tmp_path / "no.csv"])
    with pytest.raises(ValueError, match=r"^[^:]*short\.csv: only 5 of 5"):
        pipe(tmp_path / "short.csv")
    with pytest.raises(OSError, match=r"missing\.csv"):
        pipe(tmp_path / "missing.csv")


def test_other_models_are_refused(family_folder):
    other = GPT2ForSequenceClassification(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=10))
    with pytest.raises(ValueError, match="gait_classifier model, got one of type 'gpt2'"):
        pipeline(TASK, model=other, device="cpu")
    with pytest.raises(ValueError, match="not the joints of"):
        pipeline(TASK, model=tiny(num_features=40), device="cpu")


# --- the model's conventions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["gru", "lstm", "cnn", "graph"])
def test_trainer_then_folder_then_pipeline(architecture, joints, tmp_path):
    """Two steps of transformers.Trainer, its own folder, and the same probabilities from the pipeline on it."""
    x = prepare_classifier_input(joints[:6])
    rows = [{"input_values": v, "labels": n} for n, v in enumerate(torch.from_numpy(x))]
    model = tiny(architecture)
    before = model.head.weight.detach().clone()
    options = {"per_device_train_batch_size": 3, "report_to": [], "save_strategy": "no", "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments(output_dir=str(tmp_path / "run"), max_steps=2, **options)
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    assert not torch.equal(model.head.weight, before) and np.isfinite(trainer.evaluate()["eval_loss"])
    trainer.save_model(str(tmp_path / "model"))
    pipe = pipeline(TASK, model=str(tmp_path / "model"))
    logits = torch.from_numpy(trainer.predict(rows).predictions)
    with torch.no_grad():
        torch.testing.assert_close(pipe.model(torch.from_numpy(x)).logits, logits, atol=1e-5, rtol=1e-4)
    best = [r[0]["label"] for r in pipe(joints[:6], batch_size=4)]
    assert best == [GIST_LABELS[i] for i in logits.argmax(-1)]


def test_labels_follow_the_configuration(joints):
    assert tiny(num_labels=3).config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    x, labels = torch.from_numpy(prepare_classifier_input(joints[:3])), torch.tensor([0, 1, 2])
    losses = {tiny(problem_type=p)(x, labels=labels).loss.item() for p in (None, "single_label_classification", "regression")}
    assert len(losses) == 1, "one walk has one class, whatever problem_type says"
    renamed = tiny(id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1})
    assert renamed(x).logits.shape == (3, 2)
    assert {r["label"] for r in pipeline(TASK, model=renamed, device="cpu")(joints[0])} == {"no", "yes"}


# --- folders -----------------------------------------------------------------------------------------------------------------


def test_the_folder_asks_for_no_trust_where_the_package_is_installed(folder, tmp_path, joints):
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "pipeline_gait_classification.GaitClassificationConfig",
        "AutoModelForSequenceClassification": "modeling_gait_classifier.GaitForSequenceClassification",
    }
    assert "custom_pipelines" not in config and config["model_type"] == "gait_classifier"
    assert (folder / "model.safetensors").exists() and not list(folder.glob("*.bin"))
    assert type(AutoConfig.from_pretrained(folder)) is GaitClassifierConfig
    pipe = pipeline(TASK, model=str(folder))
    pipe.save_pretrained(tmp_path / "again")
    assert type(pipe.model.config) is GaitClassifierConfig
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == config
    assert pipeline(TASK, model=str(tmp_path / "again"))(joints[0]) == pipe(joints[0])
