"""Training the dual encoder on walks and on recordings; resuming; what must not reach a fit."""

import datasets
import numpy as np
import pytest
import torch
from conftest import at_another_rate, run_script
from test_modeling_gait_dual_encoder import write_sentence_encoder

from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.training import text
from modeling_gait.training.data import load_walks
from modeling_gait.training.recordings import ACTIVITIES, DESCRIPTIONS, RecordingWindows, load_recordings
from modeling_gait.training.text import TextArguments, nan_moments, open_walks, walk_captions
from train import train_text

TINY = ["--hidden_size", "16", "--num_layers", "1", "--num_heads", "2", "--projection_size", "8", "--batch_size", "6"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_sentence_encoder(tmp_path_factory.mktemp("encoder"), limit=512)


def write_recordings(folder, subjects=("1", "2"), length=400, channels=38):
    """Recordings in the schema of datasets_scripts/hugadb.py: each subject walks, sits and stands, one after another."""
    rng = np.random.default_rng(0)
    rows = []
    for s in subjects:
        activity = np.repeat([0, 4, 7], length)
        values = rng.standard_normal((len(activity), channels)).astype(np.float32) + activity[:, None]
        mask = [True] * channels
        mask[3] = s != "2"
        rows.append({
            "recording_id": f"r{s}", "subject_id": s, "activity": activity.tolist(), "values": values, "channel_mask": mask,
            "sampling_rate": 58.82, "duplicate_of": "",
        })  # fmt: skip
    rows.append(rows[0] | {"recording_id": "copy", "duplicate_of": "r" + subjects[0]})
    features = datasets.Features({
        "recording_id": datasets.Value("string"), "subject_id": datasets.Value("string"),
        "activity": datasets.List(datasets.ClassLabel(names=list(ACTIVITIES))),
        "values": datasets.Array2D((None, channels), "float32"), "channel_mask": datasets.List(datasets.Value("bool")),
        "sampling_rate": datasets.Value("float32"), "duplicate_of": datasets.Value("string"),
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "train.parquet")
    return folder


@pytest.fixture(scope="module")
def recordings_folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("hugadb"))


def arguments(dataset, encoder, out, steps=4):
    cache = ["--text_cache", out.parent / "cache", "--text_model", encoder, "--warmup_steps", "1", "--save_steps", "2"]
    return ["--dataset", dataset, "--output_dir", out, *cache, *TINY, "--max_steps", steps]


def test_walks_train_resume_and_load(dataset_folder, encoder, tmp_path, monkeypatch):
    common = ["--num_frames", "32", "--exclude_subjects", "sim0_0001"]
    run_script(train_text, [*arguments(dataset_folder, encoder, tmp_path / "whole"), *common])
    first = GaitDualEncoderModel.from_pretrained(tmp_path / "whole")
    assert first.gait_encoder.channel_std.min() > 0 and first.text_std.min() > 0
    assert GaitFeatureExtractor.from_pretrained(tmp_path / "whole").num_frames == 32
    known = first.known_classes  # of training people's walks
    assert known.centres.abs().amax(1).min() > 0 and 0 < known.threshold < torch.inf and known.slope > 0
    assert (tmp_path / "cache").is_dir() and not (tmp_path / "whole" / "checkpoint").exists()

    # killed after the checkpoint of step 2, then started again: the same weights
    real = text.WalkWindows.batch
    calls = []

    def die(self, rows, seed):
        calls.append(seed)
        if len(calls) == 4:  # the sample for the scales, then three steps
            raise KeyboardInterrupt
        return real(self, rows, seed)

    monkeypatch.setattr(text.WalkWindows, "batch", die)
    with pytest.raises(KeyboardInterrupt):
        run_script(train_text, [*arguments(dataset_folder, encoder, tmp_path / "parts"), *common])
    assert (tmp_path / "parts" / "checkpoint").is_dir()
    monkeypatch.setattr(text.WalkWindows, "batch", real)
    run_script(train_text, [*arguments(dataset_folder, encoder, tmp_path / "parts"), *common])
    second = GaitDualEncoderModel.from_pretrained(tmp_path / "parts")
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values()):
        torch.testing.assert_close(a, b, msg=lambda m, name=name: f"{name}: {m}")


def test_held_out_people_and_activities_reach_no_fit(recordings_folder, encoder, tmp_path, monkeypatch):
    seen = {}
    real = text.fit_model

    def spy(args, windows, *rest):
        seen["subjects"], seen["labels"] = set(windows.recordings.subjects), set(windows.recordings.labels)
        return real(args, windows, *rest)

    monkeypatch.setattr(text, "fit_model", spy)
    held_out = ["--exclude_subjects", "1", "--exclude_activities", "sitting"]
    run_script(train_text, [*arguments(recordings_folder, encoder, tmp_path / "imu"), *held_out, "--num_frames", "48"])
    assert seen["subjects"] == {"2"} and seen["labels"] == {ACTIVITIES.index("walking"), ACTIVITIES.index("standing")}
    model = GaitDualEncoderModel.from_pretrained(tmp_path / "imu")
    assert model.config.gait_config.layout == "imu" and model.config.gait_config.num_channels == 36
    assert model.config.known_classes == 2 and model.known_classes.centres.abs().amax(1).min() > 0
    assert model.config.gait_config.fps == pytest.approx(58.82, abs=1e-3)
    with pytest.raises(ValueError, match="no such subject or activity: 9"):
        run_script(train_text, [*arguments(recordings_folder, encoder, tmp_path / "no"), "--exclude_subjects", "9"])


def test_windows_are_named_by_their_middle_and_copies_left_out(recordings_folder):
    found = load_recordings(str(recordings_folder), num_frames=100, hop=50, centre=40)
    assert set(found.subjects) == {"1", "2"} and (found.subjects == "1").sum() == (found.subjects == "2").sum()
    for start, label in zip(found.starts, found.labels):
        at = start % 1200
        middle = np.repeat([0, 4, 7], 400)[at + 30 : at + 70]
        assert (middle == label).all()
    assert found.windows(np.array([0, 3])).shape == (2, 100, 36)
    of_two = found.windows(np.flatnonzero(found.subjects == "2")[:1])
    assert np.isnan(of_two[..., 3]).all() and np.isfinite(np.delete(of_two, 3, axis=-1)).all()
    with pytest.raises(ValueError, match="columns missing"):
        load_recordings(str(_other_parquet(recordings_folder)))


def _other_parquet(folder):
    other = folder.parent / "other"
    other.mkdir(exist_ok=True)
    datasets.Dataset.from_dict({"x": [1]}).to_parquet(other / "a.parquet")
    return other


def test_batches_are_balanced_and_hide_gyroscopes_only(recordings_folder):
    windows = RecordingWindows(load_recordings(str(recordings_folder), num_frames=48), hidden=0.5)
    rows = windows.balanced(300, seed=0)
    counts = np.unique(windows.descriptions[rows], return_counts=True)[1]
    assert len(counts) == 3 and counts.min() > 60
    np.testing.assert_array_equal(rows, windows.balanced(300, seed=0))
    plain, hidden = windows.batch(rows[:20], None)["input_values"], windows.batch(rows[:20], 1)["input_values"]
    gone = hidden.isnan() & ~plain.isnan()
    assert gone.any() and not gone[..., [i for i in range(36) if i % 6 < 3]].any()


def test_captions_of_walks(dataset_folder):
    data = load_walks(str(dataset_folder))
    texts, numbers = walk_captions(data, "measured")
    assert len(texts) == len(data) == len(numbers) and all(len(t) == 3 for t in texts)
    first = [t[0] for t in texts]  # the canonical prompt is the description
    assert len(set(first)) == len(set(numbers))
    texts, numbers = walk_captions(data, "label")
    assert len({t[0] for t in texts}) == 7 == len(set(numbers))
    with pytest.raises(ValueError, match="measured or label"):
        walk_captions(data, "poem")
    unknown = [-1, *data["pathology"][1:]]
    unknown = data.remove_columns("pathology").add_column("pathology", unknown, feature=data.features["pathology"])
    assert walk_captions(unknown, "measured")[0] == [[str(c) for c in captions] for captions in data["captions"]]
    with pytest.raises(ValueError, match=r"row 0: a pathology of -1"):
        walk_captions(unknown, "label")


def test_walks_of_another_rate_are_read_at_the_models(dataset_folder, tmp_path):
    data = load_walks(str(dataset_folder)).select(range(3))
    at_another_rate(data, 60.0).to_parquet(tmp_path / "train.parquet")
    windows, _ = open_walks(TextArguments(dataset=str(tmp_path), output_dir=""))
    for one, other in zip(windows.joints, data["joints"]):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_moments_leave_out_what_was_not_measured():
    frames = torch.tensor([[1.0, torch.nan, torch.nan], [3.0, 5.0, torch.nan]])
    mean, std = nan_moments(frames)
    assert mean.tolist() == [2, 5, 0] and std.tolist() == [1, 1, 1]


def test_every_activity_is_described_in_its_own_words():
    everything = [t for texts in DESCRIPTIONS.values() for t in texts]
    assert len(set(everything)) == len(everything) and all(len(t) == 3 for t in DESCRIPTIONS.values())
    assert TextArguments(dataset="a", output_dir="b").captions == "measured"
