"""What the commands share: files that are whole or absent, names of several files, JSON, gait cycles, Parquet, models."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from films import filmed
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.cli.base import one_line
from modeling_gait.cli.io import CLASSIFIER, FAMILY, find_model, output_files, plain, read_cycles, whole_files
from modeling_gait.configuration_gait_tcn import GaitTCNConfig
from modeling_gait.export import write_csv
from modeling_gait.files import atomic_path
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.recording import read_recording
from modeling_gait.released import FOLDER
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.video_walk import walk_from_poses

IMU = GaitTCNConfig(num_channels=36, num_phases=20)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@given(VALUES | st.lists(VALUES, max_size=4) | st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
@settings(max_examples=40, deadline=None)
def test_plain_is_strict_json_and_changes_only_what_json_lacks(value):
    again = json.loads(json.dumps(plain(value), allow_nan=False))
    assert plain(again) == again
    if isinstance(value, float) and not math.isfinite(value):
        assert again is None
    elif not isinstance(value, list | dict):
        assert again == value


def test_plain_knows_numpy_and_dataclasses():
    from modeling_gait.captions import WalkDescription

    assert plain({"a": np.float32(0.5), "b": np.array([[1, np.nan]])}) == {"a": 0.5, "b": [[1, None]]}
    assert plain(WalkDescription(pathology="normal"))["pathology"] == "normal"


@given(st.integers(2, 2000))
@settings(max_examples=10, deadline=None)
def test_numbered_files_sort_as_they_count(tmp_path_factory, count):
    files = output_files(tmp_path_factory.getbasetemp() / "nowhere" / "w.bvh", count, (".bvh",), False)
    assert len(set(files)) == count and [f.name for f in files] == sorted(f.name for f in files)


def test_all_files_or_none(tmp_path):
    files = [tmp_path / "in" / n for n in ("a.csv", "b.csv")]
    with pytest.raises(ZeroDivisionError), whole_files(files) as paths:
        paths[0].write_text("a")
        raise ZeroDivisionError
    assert not list((tmp_path / "in").iterdir())
    with whole_files(files) as paths:
        for path in paths:
            path.write_text(path.name)
        assert not files[0].exists()
    assert [f.read_text() for f in files] == ["a.csv", "b.csv"] and len(list((tmp_path / "in").iterdir())) == 2
    with pytest.raises(FileExistsError, match=r"b\.csv: is there already; --force"):
        output_files(files[1], 1, (".csv",), False)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(FileExistsError, match="is a folder"):
        output_files(tmp_path / "d.csv", 1, (".csv",), True)


def test_samples_of_leg_sensors_become_cycles(tmp_path):
    """A spike in the right foot's acceleration once in 1.2 s."""
    rng, fps = np.random.default_rng(0), 60.0
    samples = rng.normal(0, 0.05, (720, 36))
    samples[np.arange(30, 720, 72), 0] += 20
    np.savez(tmp_path / "a.npz", values=samples, fps=fps)
    cycles, mask, _ = read_cycles(tmp_path / "a.npz", IMU, None)
    assert cycles.shape == (len(cycles), 20, 36) and 7 <= len(cycles) <= 9 and mask.shape == (len(cycles), 36) and mask.all()
    np.save(tmp_path / "a.npy", samples)
    with pytest.raises(ValueError, match=r"a\.npy: .*--fps"):
        read_cycles(tmp_path / "a.npy", IMU, None)
    np.testing.assert_array_equal(read_cycles(tmp_path / "a.npy", IMU, fps)[0], cycles)


def test_a_video_gives_the_skeleton_cycles_of_a_model(tmp_path, monkeypatch):
    """What MediaPipe has no landmark for is not called measured."""
    walk = read_recording(walk_from_poses(filmed(90, seconds=8, noise=0.003), 1.7))
    asked = {}
    monkeypatch.setattr("modeling_gait.recording.read_recordings", lambda path, **options: asked.update(options) or [walk])
    skeleton = GaitTCNConfig(num_channels=75, num_phases=20, channels_per_sensor=3)
    cycles, mask, doubts = read_cycles(tmp_path / "clip.mp4", skeleton, None, height=1.7, person=0)
    assert asked == {"fps": None, "height": 1.7, "person": 0} and doubts == list(walk.doubts) != []
    assert len(cycles) >= 2 and cycles.shape[1:] == (20, 75) and np.isfinite(cycles).all() and mask.shape == (len(cycles), 75)
    knee, there = KINECT_V2.index("left_knee"), mask[0].reshape(25, 3)
    assert there[knee].all() and not there.all()
    person = GaitTCNModel(skeleton).eval().personalize(cycles, mask)
    assert torch.isfinite(person.interval()["expected"]).all()


def test_cycles_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "c.npz"
    for arrays, message in (
        ({"values": np.zeros((3, 20, 30))}, r"expected cycles \(K, 20, 36\), got \(3, 20, 30\)"),
        ({"values": np.zeros((0, 20, 36))}, "expected cycles"),
        ({"values": np.zeros((50, 30)), "fps": 60.0}, r"only \(T, 36\)"),
        ({"values": np.zeros((3, 20, 36)), "channel_mask": np.ones((2, 36), bool)}, "channel_mask: expected bool"),
        ({"values": np.zeros((3, 20, 36)), "channel_mask": np.ones(36)}, "channel_mask: .*float64"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"c\.npz: .*{message}"):
            read_cycles(path, IMU, None)
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"c\.npz"):
        read_cycles(path, IMU, None)
    write_csv(tmp_path / "walk.csv", simulate_walks(1, frames=60, seed=0).joints[0], 30.0)
    with pytest.raises(ValueError, match=r"walk\.csv: a skeleton of 25 joints; the model reads 36 channels"):
        read_cycles(tmp_path / "walk.csv", IMU, None)


def test_where_a_model_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAIT_MODEL", raising=False)
    for folder in (tmp_path / "other", tmp_path / "third"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    assert find_model(None, FAMILY) == find_model("gait-small", FAMILY) == (FOLDER, FAMILY)
    assert find_model(None, CLASSIFIER, FAMILY) == (FOLDER / "classifier", CLASSIFIER)
    monkeypatch.setenv("GAIT_MODEL", str(tmp_path / "other"))
    assert find_model(None, FAMILY) == (tmp_path / "other", FAMILY)
    assert find_model("third", FAMILY)[0].name == "third"
    (tmp_path / "third" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"third: config\.json cannot be read"):
        find_model("third", FAMILY)


def test_a_place_that_cannot_be_written_in_is_named_as_asked(tmp_path):
    (tmp_path / "afile").touch()
    asked = tmp_path / "afile" / "x.csv"
    with pytest.raises(OSError) as error, whole_files([asked]):
        pass
    assert one_line(error.value).startswith(f"{asked}: cannot be written: ")
    with pytest.raises(OSError) as error, whole_files([Path("/proc/x.csv")]):
        pass
    assert one_line(error.value).startswith("/proc/x.csv: cannot be written: ")
    with pytest.raises(OSError) as error, atomic_path(asked):
        pass
    assert one_line(error.value).startswith(f"{asked}: cannot be written: ")
