"""The HuGaDB builder, on small files in the authors' format."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset

from datasets_scripts import hugadb

ROOT = Path(__file__).resolve().parents[1]
NAMES = "\t".join(hugadb.COLUMNS)


def samples(seconds: float = 12.0, stride: float = 1.05, label: int = 1, seed: int = 0) -> np.ndarray:
    """(T, 39) integers: a right foot that rests, swings and strikes once a stride, the left one half a stride later."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * hugadb.FPS)) / hugadb.FPS / stride
    table = rng.normal(0, 60, (len(t), 39))
    for sensor in range(6):
        phase = (t - 0.5 * (sensor > 2) - 0.15) % 1.0
        swing = np.where(phase > 0.55, np.sin(2 * np.pi * (phase - 0.55) / 0.45), 0.0)
        strike = np.exp(-((np.minimum(phase, 1 - phase) / 0.02) ** 2))
        for axis in range(3):
            table[:, 6 * sensor + axis] += (
                (-14000, 800, 3000)[axis] + (4000 + 900 * axis) * swing + 12000 * (1 + axis) / 3 * strike
            )
            table[:, 6 * sensor + 3 + axis] += 1500 * swing
    table[:, 36:38] = rng.integers(100, 150, (len(t), 2))
    table[:, 38] = label
    return table.round().astype(int)


def text(table: np.ndarray) -> str:
    rows = "".join("\t".join(map(str, row)) + "\n" for row in table.tolist())
    return f"#Activity\twalking \n#ActivityID\t1 \n#Date 09-10-12-53\n{NAMES}\n{rows}"


def write(folder: Path, name: str, content: np.ndarray | str) -> Path:
    path = folder / "Data" / f"HuGaDB_v1_{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else text(content))
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Six files of subjects 1 and 3: walking, running, a malformed cell, a copy, sitting, an activity that changes."""
    folder = tmp_path_factory.mktemp("raw")
    write(folder, "walking_01_00", samples(seed=1))
    write(folder, "walking_01_01", samples(seed=1))
    write(folder, "running_03_00", samples(stride=0.65, label=2, seed=2))
    broken = samples(20.0, seed=3)
    broken[600, 14] = 91092
    broken[100, 0] = 0  # a lost reading
    broken[:, 6] = hugadb.LOW
    write(folder, "walking_03_02", broken)
    write(folder, "sitting_01_00", samples(label=5))
    mixed = np.concatenate(
        [samples(6.0, label=8) * 0 + np.r_[[100] * 38, 8], samples(8.0, seed=4), samples(8.0, label=4, seed=5)]
    )
    write(folder, "various_01_00", mixed)
    return folder


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory) -> tuple[Path, hugadb.Report]:
    out = tmp_path_factory.mktemp("out") / "hugadb"
    return out, hugadb.prepare(raw, out, num_proc=1)


def test_both_configs_load(prepared):
    folder, report = prepared
    recordings = load_dataset(str(folder), "recordings", split="train").with_format("numpy")
    cycles = load_dataset(str(folder), "cycles", split="train").with_format("numpy")
    assert len(recordings) == 6 and len(cycles) == sum(report.people.values()) > 30
    assert recordings.features["activity"].feature.names[7] == "standing"
    first = recordings[[str(name) for name in recordings["recording_id"]].index("walking_01_00")]
    table = samples(seed=1)
    assert first["values"].shape == (len(table), 38)
    np.testing.assert_allclose(first["values"][:, 0], table[:, 0] / 32768 * 2 * 9.80665, rtol=1e-5)
    np.testing.assert_allclose(first["values"][:, 34], np.radians(table[:, 34] / 32768 * 2000), rtol=1e-5)
    np.testing.assert_allclose(first["values"][:, 37], (table[:, 37] - 128) / 128, atol=1e-6)
    assert (first["age"], first["sex"], first["subject_id"]) == (24, "M", "1")
    assert first["height"] == pytest.approx(1.77) and first["sampling_rate"] == pytest.approx(58.8235)
    assert first["channel_mask"].all() and (first["activity"] == 0).all()
    assert cycles["values"][:].shape[1:] == (100, 36) and np.isfinite(cycles["values"][:]).all()
    assert "phase 0 is the initial contact" in (folder / "README.md").read_text()


def test_cycles_begin_at_the_strike_and_last_a_stride(prepared):
    cycles = load_dataset(str(prepared[0]), "cycles", split="train").with_format("numpy")
    walks = cycles.filter(lambda r: r["recording_id"] == "walking_01_00")
    assert 9 <= len(walks) <= 11
    np.testing.assert_allclose(walks["duration"][:], 1.05, atol=0.03)
    phase = (walks["start"][:] / hugadb.FPS / 1.05 - 0.15 + 0.5) % 1 - 0.5  # of the strike in `samples`
    assert np.abs(phase).max() < 0.04
    assert walks["correlation"][:].min() > 0.9
    np.testing.assert_array_equal(walks["cycle_index"][:], np.arange(len(walks)))
    runs = cycles.filter(lambda r: r["recording_id"] == "running_03_00")
    assert set(runs["activity"][:].tolist()) == {1} and runs["duration"][:].mean() == pytest.approx(0.65, abs=0.02)


def test_masks_malformed_cells_copies_and_changes(prepared):
    folder, report = prepared
    recordings = {r["recording_id"]: r for r in load_dataset(str(folder), "recordings", split="train").with_format("numpy")}
    broken = recordings["walking_03_02"]
    line = "walking_03_02 line 605 acc_rt_z = 91092"
    assert report.malformed == [line] and line in (folder / "README.md").read_text()
    assert np.isnan(broken["values"]).sum() == 1 and np.isnan(broken["values"][600, 14])
    assert broken["dropouts"] == 1 and broken["values"][100, 0] < -5.0
    assert not broken["channel_mask"][6] and broken["saturated"][6] == len(broken["values"])
    assert recordings["walking_01_01"]["duplicate_of"] == "walking_01_00"
    running = recordings["running_03_00"]["channel_mask"].reshape(19, 2)[:18].reshape(6, 2, 3)
    np.testing.assert_array_equal(running[:, 1].all(-1), [False, False, False, True, True, True])  # the authors' list
    assert running[:, 0].all()
    cycles = load_dataset(str(folder), "cycles", split="train").with_format("numpy")
    assert "walking_01_01" not in cycles["recording_id"][:] and "sitting_01_00" not in cycles["recording_id"][:]
    mine = cycles.filter(lambda r: r["recording_id"] == "walking_03_02")[:]
    ends = mine["start"] + mine["duration"] * hugadb.FPS
    assert len(mine["start"]) and not ((mine["start"] <= 600) & (ends >= 600)).any()
    assert not mine["channel_mask"][:, 6].any() and (mine["saturation"][:, 6] == 1).all()
    assert report.reasons["walking", "malformed"] == 1 and report.reasons["walking", "duplicate"] >= 9
    mixed = cycles.filter(lambda r: r["recording_id"] == "various_01_00")[:]
    assert set(mixed["activity"].tolist()) == {0, 3}
    ends = mixed["start"] + mixed["duration"] * hugadb.FPS
    edges = [int(6 * hugadb.FPS), int(6 * hugadb.FPS) + int(8 * hugadb.FPS)]
    assert not any(((mixed["start"] < edge) & (ends >= edge)).any() for edge in edges)
    assert report.reasons["walking", "activity"] >= 1


def test_the_list_of_the_authors():
    listed = hugadb.corrupted_gyroscopes()
    assert len(listed) == 465  # files in the README's tables
    assert listed["various_18_16"] == ("rf", "rs", "lf", "ls", "lt") and listed["walking_06_03"] == ("rt",)
    assert "various_09_09" not in listed and listed["various_09_13"] == ("lf", "ls", "lt")


def cell(row: int, column: int, value: str) -> str:
    lines = text(samples(2.0)).split("\n")
    cells = lines[4 + row].split("\t")
    cells[column : column + 1] = [value] if value != "gone" else []
    lines[4 + row] = "\t".join(cells)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cell(7, 3, "x12"), "line 12, column gyro_rf_x: 'x12' is not an integer"),
        (cell(7, 3, "1.5"), "line 12, column gyro_rf_x: '1.5' is not an integer"),
        (cell(7, 3, ""), "line 12, column gyro_rf_x: '' is not an integer"),
        (cell(7, 3, "nan"), "line 12, column gyro_rf_x: 'nan' is not an integer"),
        (cell(7, 3, "9" * 25), "line 12, column gyro_rf_x: '9{20}' is not an integer"),
        (cell(7, 3, "1\t2"), "line 12: 40 tab-separated columns, expected 39"),
        (cell(7, 3, "gone"), "line 12: 38 tab-separated columns, expected 39"),
        (cell(0, 3, "gone"), "line 5: 38 tab-separated columns, expected 39"),
        (cell(7, 38, "13"), "line 12, column act: 13"),
        (text(samples(2.0))[:-30], r"line 121: \d+ tab-separated columns, expected 39"),
        (text(samples(2.0)).replace("\n", "\n\n", 9), "header"),
        (text(samples(2.0)) + "\n" + text(samples(2.0)), "line 122: 1 tab-separated"),
        (text(samples(2.0)[:0]), "a header and no sample"),
        ("", "header"),
        (text(samples(2.0)).split("\n", 4)[4], "header"),
        (text(samples(2.0)).replace("gyro_rs_x", "gyro_xx_x"), "header"),
    ],
)
def test_nothing_malformed_passes(tmp_path, content, message):
    path = write(tmp_path, "walking_02_00", content)
    with pytest.raises(ValueError, match=f"{path.name}.*{message}"):
        hugadb.prepare(tmp_path, tmp_path / "out", num_proc=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("column", "value"), [(0, 32768), (0, -32769), (17, 4312046944), (36, 256), (37, -1)])
def test_cells_outside_their_type_are_counted(tmp_path, column, value):
    table = samples(2.0)
    table[9, column] = value
    found = hugadb.read_file(write(tmp_path, "walking_02_00", table))[1]
    assert found == [(14, hugadb.COLUMNS[column], value)]


def test_bad_files_can_be_skipped(tmp_path, capsys):
    write(tmp_path, "walking_02_00", samples())
    write(tmp_path, "walking_02_01", cell(7, 3, "x"))
    hugadb.main(["--data_dir", str(tmp_path), "--output_dir", str(tmp_path / "o"), "--on_error", "skip", "--num_proc", "1"])
    printed = capsys.readouterr()
    assert "1 files skipped" in printed.out and "walking_02_01.txt: line 12" in printed.err
    assert "walking_02_01.txt: line 12" in (tmp_path / "o" / "README.md").read_text()


def test_wrong_folders(tmp_path, raw):
    for folder, subjects, message in [
        (tmp_path / "no", None, "is not a folder"),
        (tmp_path, None, "holds no file HuGaDB_v1_"),
        (raw, [7], r"no file of subjects \[7\]; it has subjects \[1, 3\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            hugadb.find_files(folder, subjects)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="thesis.tex"):
        hugadb.prepare(raw, mine, num_proc=1)
    sitting = write(tmp_path / "sitting", "sitting_01_00", samples(label=5)).parent
    with pytest.raises(ValueError, match="no gait cycle in 1 files"):
        hugadb.prepare(sitting, tmp_path / "out", num_proc=1)
    write(tmp_path / "twice" / "a", "sitting_01_00", "")
    write(tmp_path / "twice" / "b", "sitting_01_00", "")
    with pytest.raises(ValueError, match="twice"):
        hugadb.find_files(tmp_path / "twice")
    with pytest.raises(ValueError, match="subject 19"):
        hugadb.make_rows(write(tmp_path / "new", "walking_19_00", samples(2.0)))


def test_plots(prepared, tmp_path):
    paths = hugadb.plot_cycles(prepared[0], tmp_path / "figures")
    assert [p.name for p in paths] == ["hugadb_walking.png", "hugadb_running.png", "hugadb_going_down.png"]
    assert all(p.stat().st_size > 20_000 for p in paths)


def test_real_recordings(tmp_path):
    """Two walks of subjects 10 (clean) and 14 (all gyroscopes corrupted), restored from the pack in shared/data."""
    pack = ROOT.parent / "shared" / "data"
    if not (pack / "hugadb.npz").exists():
        pytest.skip("shared/data/hugadb.npz is not there")
    spec = importlib.util.spec_from_file_location("restore", pack / "restore.py")
    restore = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(restore)
    wanted = {"HuGaDB_v1_walking_10_00.txt", "HuGaDB_v1_walking_14_00.txt"}
    means = []
    for job in restore.hugadb_jobs(tmp_path, {10, 14}):
        if job[0].name in wanted:
            restore.write_hugadb(job)
            recording, cycles, *_ = hugadb.make_rows(job[0])
            assert len(cycles) >= 5
            assert 0.8 < np.median([c["duration"] for c in cycles]) < 1.3
            assert recording["channel_mask"].reshape(19, 2)[:18].reshape(6, 2, 3)[:, 1].any() == ("_10_" in job[0].name)
            means.append(np.mean([c["values"] for c in cycles], axis=0)[:, hugadb.IMU.index("acc_rs_x")])
    assert len(means) == 2
    assert np.corrcoef(means)[0, 1] > 0.7  # phase 0 is the same event in both people
