"""The DenseGait builder, on small files in the authors' format."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset

from datasets_scripts import densegait
from modeling_gait.skeletons import OPENPOSE_18

HIPS = [OPENPOSE_18.index("left_hip"), OPENPOSE_18.index("right_hip")]


def tracklet(frames: int = 30, size: float = 0.3, seed: int = 0) -> np.ndarray:
    """(T, 18, 3) x, y, score in an image: y down, a person of `size` walking to the right."""
    rng = np.random.default_rng(seed)
    out = np.full((frames, 18, 3), 0.9)
    rest = OPENPOSE_18.rest_positions * size
    out[..., 0] = rest[:, 0] + np.arange(frames)[:, None] * 0.01 * size + 0.4
    out[..., 1] = 0.8 - rest[:, 2]
    out[..., :2] += rng.normal(0, 1e-4, (frames, 18, 2))
    return out


def write(folder: Path, tracklets: dict[str, np.ndarray], **scores: list[float]) -> Path:
    """The authors' layout with these arrays; a column that is not given is 0.1."""
    root = folder / "data-2.02"
    (root / "poses").mkdir(parents=True)
    for name, array in tracklets.items():
        np.save(root / "poses" / name, array)
    table = pd.DataFrame({"file_name": [f"data-2.02/poses/{n}" for n in tracklets], "track_id": range(len(tracklets))})
    for name in densegait.ATTRIBUTES:
        table[name] = scores.get(name, [0.1] * len(table))
    table.to_csv(root / "annotations.csv", index=False)
    return folder


def test_attributes_are_the_authors_42():
    assert len(densegait.ATTRIBUTES) == 42


def test_folder_loads(tmp_path):
    scores = {"Female": [0.9, 0.2], "AgeSenior": [0.6, 0.0], "AgeOldAdult": [0.7, 0.2], "Boots": [0.8, 0.1], "Bag": [0.9, 0.1]}
    raw = write(tmp_path / "raw", {"a.npy": tracklet(), "b.npy": tracklet(40)}, **scores | {"No carrying": [0.1, 0.9]})
    report = densegait.prepare(raw, tmp_path / "densegait", fps=25, num_proc=1)
    rows = load_dataset(str(tmp_path / "densegait"), split="train").with_format("numpy")
    assert report.rows == len(rows) == 2 and rows.features["pathology"].names[0] == "normal"
    first, second = (json.loads(a) for a in rows["attributes"])
    assert {k: v for k, v in first.items() if k != "scores"} == {
        "sex": "female", "age_group": "old adult", "load": "bag", "footwear": "boots"
    }  # fmt: skip
    assert second["load"] == "none" and second["sex"] == "male" and len(second["scores"]) == 42
    assert list(rows[0]["captions"]) == ["female, bag, boots, old adult"]
    assert rows[1]["joints"].shape == (40, 18, 3) and rows[1]["confidence"].shape == (40, 18)
    assert rows[0]["fps"] == 25 and rows[0]["pathology"] == -1 and rows[0]["walk_id"] == "data-2.02/poses/a"
    assert "**assumed**" in (tmp_path / "densegait" / "README.md").read_text()


@pytest.mark.parametrize("size", [0.05, 1.0, 300.0])
def test_joints_are_upright_and_of_body_size(size):
    joints, confidence = densegait.to_joints(tracklet(size=size))
    rest = OPENPOSE_18.rest_positions
    np.testing.assert_allclose(joints[0, :, 2], rest[:, 2], atol=0.02)
    assert (joints[..., 1] == 0).all() and abs(joints[0, HIPS, 0].mean()) < 1e-6 and joints[-1, 1, 0] > joints[0, 1, 0]
    assert confidence == pytest.approx(0.9)


def test_lost_joints_are_interpolated_and_marked():
    whole = tracklet(seed=1)
    lost = whole.copy()
    knee, ear = OPENPOSE_18.index("left_knee"), OPENPOSE_18.index("left_ear")
    lost[10:15, knee] = 0
    lost[:, ear] = 0
    joints, confidence = densegait.to_joints(lost)
    expected, _ = densegait.to_joints(whole)
    np.testing.assert_allclose(joints[:, knee], expected[:, knee], atol=0.01)
    np.testing.assert_array_equal(joints[:, ear], joints[:, OPENPOSE_18.parents[ear]])
    assert (confidence[10:15, knee] == 0).all() and (confidence[:, ear] == 0).all() and confidence[9, knee] > 0.8


def bad_arrays() -> dict[str, tuple[object, str]]:
    nan = tracklet()
    nan[3, 2, 0] = np.nan
    depth = tracklet()
    depth[..., 2] -= 1
    return {
        "joints": (np.zeros((30, 17, 3)), r"shape \(30, 17, 3\), expected \(frames, 18, 3\)"),
        "short": (tracklet(3), "3 frames, at least 8"),
        "nan": (nan, "frame 3, joint right_shoulder"),
        "depth": (depth, "third channel has negative values"),
        "text": (np.array(["a"]), "array of numbers"),
        "point": (np.ones((30, 18, 3)), "lie on one point"),
        "nobody": (np.zeros((30, 18, 3)), "neck was found in no frame"),
    }


@pytest.mark.parametrize("name", bad_arrays())
def test_bad_tracklet_is_named(name, tmp_path):
    array, message = bad_arrays()[name]
    raw = write(tmp_path, {"bad.npy": array, "good.npy": tracklet()})
    with pytest.raises(ValueError, match=message) as error:
        densegait.prepare(raw, tmp_path / "densegait", num_proc=1)
    assert "bad.npy" in str(error.value) and not (tmp_path / "densegait").exists()
    report = densegait.prepare(raw, tmp_path / "densegait", num_proc=1, on_error="skip")
    assert report.rows == 1 and len(report.skipped) == 1


def test_pickles_are_refused(tmp_path):
    raw = write(tmp_path, {"a.npy": tracklet()})
    path = raw / "data-2.02" / "poses" / "a.npy"
    np.save(path, np.array([{"keypoints": [1, 2]}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: holds pickled objects.*plain array"):
        densegait.prepare(raw, tmp_path / "densegait", num_proc=1)
    path.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"a\.npy"):
        densegait.prepare(raw, tmp_path / "densegait", num_proc=1)
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.npy: no such file"):
        densegait.prepare(raw, tmp_path / "densegait", num_proc=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "densegait.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no annotations\.csv.*densegait\.pkl would have to be unpickled"):
        densegait.prepare(tmp_path / "other", tmp_path / "densegait", num_proc=1)


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("Boots", "1.5", "line 3: Boots is '1.5', expected a probability"),
        ("Boots", "many", "line 3: Boots is 'many'"),
        ("file_name", "../../etc/passwd", "leaves the data folder"),
        ("file_name", "", "line 3: file_name is empty"),
        ("Sandals", None, "columns missing: Sandals"),
    ],
)
def test_bad_annotations_are_named(column, value, message, tmp_path):
    raw = write(tmp_path, {"a.npy": tracklet(), "b.npy": tracklet()})
    path = raw / "data-2.02" / "annotations.csv"
    table = pd.read_csv(path, dtype=str)
    if value is None:
        table = table.drop(columns=column)
    else:
        table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        densegait.prepare(raw, tmp_path / "densegait", num_proc=1)
