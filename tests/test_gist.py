"""Tests of datasets_scripts/gist.py and common.py on small files in the published format, and on a few real ones if there."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

from datasets_scripts import gist
from modeling_gait import schema as common
from modeling_gait.gait_parameters import GAIT_PARAMETERS
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.skeletons import KINECT_V2

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 70


def lines_of(pathology: str = "normal", seed: int = 0, start: float = 20.0) -> list[list[str]]:
    """A walk as the authors write it: rows of 101 cells."""
    joints = simulate_walks(1, frames=FRAMES, pathology=pathology, side="right", seed=seed).joints[0]
    rows = []
    for t, frame in zip(start + np.arange(FRAMES) / 30, joints):
        cells = [f"{t % 60:.6g}"]
        for j, xyz in enumerate(frame):
            cells += [f"{j:.1f}", *(f"{v:.6g}" for v in xyz)]
        rows.append(cells)
    return rows


def write(folder: Path, rows: list[list[str]], subject: int = 1, pathology: str = "normal", sensor: int = 1) -> Path:
    name = f"human{subject}_{pathology}1"
    path = folder / "Pathological_Gaits" / name / f"{name}_SkeletonData{sensor}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(r) for r in rows) + "\n")
    return path


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Two subjects, three classes, two sensors: 12 files."""
    folder = tmp_path_factory.mktemp("raw")
    for subject in (1, 10):
        for pathology in ("normal", "stiff_legged", "trendelenburg"):
            for sensor in (1, 2):
                write(folder, lines_of(pathology, seed=subject), subject, pathology, sensor)
    return folder


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "gist"
    gist.prepare(raw, out, num_proc=1)
    return out


# --- reading -----------------------------------------------------------------------------------------------------------------


def test_read_file_gives_what_was_written(raw):
    times, joints = gist.read_file(gist.find_files(raw)[0])
    assert times.shape == (FRAMES,) and joints.shape == (FRAMES, 25, 3)
    expected = simulate_walks(1, frames=FRAMES, pathology="normal", seed=1).joints[0]
    np.testing.assert_allclose(joints, expected, atol=1e-5)
    assert times[0] == 20.0


def test_every_artefact_survives_reading_and_is_counted(tmp_path):
    rows = lines_of(start=59.0)  # the clock wraps after one second
    rows[40][0] = rows[39][0]
    for line, joint, cells in (
        (10, 3, ("nan", "nan", "nan")),
        (12, 3, ("inf", "1", "-inf")),
        (14, 3, ("1e+31", "0.1", "1.5")),
        (16, 3, ("6.90515e-310", "6.9e-310", "0")),
        (18, 3, ("0", "0", "0")),
        (20, 3, ("1.5", "-1.5", "0.1")),
        (22, 3, ("", "", "")),
    ):
        rows[line][2 + 4 * joint : 5 + 4 * joint] = cells
    for axis in (2, 3, 4):  # the root jumps there and back
        rows[50][axis - 1 + 0] = f"{float(rows[50][axis - 1]) + 0.5:.6g}" if axis > 2 else rows[50][1]
    row, report = gist.make_row(write(tmp_path, rows))
    assert (report.clock_wraps, report.repeated_stamps, report.nan_samples, report.inf_samples) == (1, 1, 2, 1)
    assert (report.absurd_samples, report.stuck_samples) == (1, 2)
    assert report.spike_samples == 2 and report.root_jumps == 2
    expected = simulate_walks(1, frames=FRAMES, pathology="normal", seed=0).joints[0]
    head = row["joints"][:, 3] - row["joints"][:, 0]
    np.testing.assert_allclose(head, expected[:, 3] - expected[:, 0], atol=0.03)
    assert len(row["joints"]) == FRAMES


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: rows[6].pop(), r"line 7: 100 tab-separated columns, expected 101"),
        (lambda rows: rows[-1].__delitem__(slice(40, None)), rf"line {FRAMES}: 40 tab-separated columns"),
        (lambda rows: rows[3].append("1"), r"line 4: 102 tab-separated columns"),
        (lambda rows: [r.append("1") for r in rows], r"line 1: 102 tab-separated columns"),
        (lambda rows: rows[9].__setitem__(5, "left"), r"line 10, column 6: 'left' is not a number"),
        (lambda rows: rows[9].__setitem__(5, "7.0"), r"line 10, column 6: joint id '7.0', expected 1"),
        (lambda rows: (rows.insert(4, [""]), rows[8].pop()), r"line 9: 100 tab-separated columns"),
    ],
)
def test_a_broken_table_names_file_and_line(tmp_path, damage, message):
    rows = lines_of()
    damage(rows)
    path = write(tmp_path, rows)
    with pytest.raises(ValueError, match=message) as error:
        gist.read_file(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (bytes(range(256)) * 20, "line 1: not text"),
        (b"PK\x03\x04\x00\x00\x00\x00", "line 1: not text"),
        (b"\x00" * 5000, "line 1: not text"),
        (b"time,x,y,z\n0,1,2,3\n", "line 1: 1 tab-separated columns"),
        (b"<html>404</html>", "line 1: 1 tab-separated columns"),
    ],
)
def test_a_file_that_is_no_table_names_itself(tmp_path, content, message):
    path = write(tmp_path, lines_of())
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        gist.make_row(path)
    assert str(path) in str(error.value)


def test_windows_line_ends_are_read(tmp_path):
    path = write(tmp_path, lines_of())
    expected = gist.read_file(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    for a, b in zip(gist.read_file(path), expected):
        np.testing.assert_array_equal(a, b)


def test_too_few_frames_name_the_file(tmp_path):
    path = write(tmp_path, lines_of()[:5])
    with pytest.raises(ValueError, match="only 5 of 5 frames") as error:
        gist.make_row(path)
    assert str(path) in str(error.value)


def test_find_files_sorts_by_number_and_selects_subjects(raw):
    names = [p.name for p in gist.find_files(raw)]
    assert len(names) == 12 and names[0] == "human1_normal1_SkeletonData1.csv" and names[-1].startswith("human10_")
    assert all(p.name.startswith("human10_") for p in gist.find_files(raw, [10]))
    assert len(gist.find_files(raw / "Pathological_Gaits", [1])) == 6


def test_wrong_folders_are_named(raw, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere is not a folder"):
        gist.find_files(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=rf"{tmp_path} holds no file of the data set; expected human"):
        gist.find_files(tmp_path)
    with pytest.raises(ValueError, match=r"no file of subjects \[7\]; it has subjects \[1, 10\]"):
        gist.find_files(raw, [1, 7])


def test_a_copy_under_another_folder_is_not_a_second_walk(tmp_path):
    path = write(tmp_path, lines_of())
    old = tmp_path / "Pathological Gaits" / path.parent.name / path.name
    old.parent.mkdir(parents=True)
    old.write_bytes(path.read_bytes())
    assert len(gist.find_files(tmp_path)) == 1


def test_an_unknown_class_is_named(tmp_path):
    path = write(tmp_path, lines_of(), pathology="limping")
    with pytest.raises(ValueError, match="unknown name"):
        gist.make_row(path)


# --- rows and shards ---------------------------------------------------------------------------------------------------------


def test_row_has_the_schema(raw):
    row, _ = gist.make_row(gist.find_files(raw, [1])[2])
    assert set(row) == set(common.walk_features())
    assert (row["subject_id"], row["sensor"], row["pathology"]) == ("1", "1", "stiff_legged")
    assert row["walk_id"] == "human1_stiff_legged1"
    assert row["joints"].dtype == np.float32 and row["joints"].shape[1:] == (25, 3)
    np.testing.assert_allclose(row["joints"][0, 0, :2], 0, atol=1e-6)
    parameters = json.loads(row["gait_parameters"])
    assert {p.name for p in GAIT_PARAMETERS} <= set(parameters)
    assert all(v is None or np.isfinite(v) for v in parameters.values())
    assert len(row["captions"]) == 3 and "stiff" in row["captions"][0] and "right" in row["captions"][0]
    assert np.isnan(row["severity"]) and json.loads(row["attributes"]) == {"side": "right"}


def test_no_number_is_taken_of_a_joint_that_was_lost_for_a_while(tmp_path):
    whole, holed = lines_of("steppage"), lines_of("steppage")
    knee = 2 + 4 * KINECT_V2.index("right_knee")
    for row in holed[10:50]:
        row[knee : knee + 3] = ["nan"] * 3
    full, lost = (json.loads(gist.make_row(write(tmp_path, rows))[0]["gait_parameters"]) for rows in (whole, holed))
    assert full["knee_range_right"] > 20 and lost["knee_range_right"] is None
    assert lost["speed"] == pytest.approx(full["speed"], abs=0.02) and lost["knee_range_left"] == full["knee_range_left"]


def test_a_row_is_the_same_every_time(raw):
    path = gist.find_files(raw)[0]
    first, second = gist.make_row(path)[0], gist.make_row(path)[0]
    assert first["captions"] == second["captions"] and first["gait_parameters"] == second["gait_parameters"]
    np.testing.assert_array_equal(first["joints"], second["joints"])


def test_load_dataset_reads_the_folder(prepared, tmp_path):
    loaded = datasets.load_dataset(str(prepared), split="train", cache_dir=str(tmp_path))
    assert loaded.features == common.walk_features() and len(loaded) == 12
    assert loaded.features["pathology"].names == list(PATHOLOGIES)
    row = loaded.with_format("numpy")[0]
    assert row["joints"].dtype == np.float32 and row["joints"].shape[1:] == (25, 3)
    assert sorted(set(loaded["subject_id"])) == ["1", "10"]


def test_card_says_what_was_done(prepared):
    text = (prepared / "README.md").read_text()
    card = datasets.info.DatasetInfosDict.from_directory(str(prepared))["default"]
    assert card.features == common.walk_features() and card.splits["train"].num_examples == 12
    assert "license: other" in text and "do not redistribute" in text and "Divide it by `subject_id`" in text
    assert "clock that starts again" in text and "Subjects in this folder: 1, 10." in text


def test_shards_split_and_are_named(raw, tmp_path):
    rows = [gist.make_row(p)[0] for p in gist.find_files(raw, [1])]
    assert common.write_dataset(rows, tmp_path / "out", lambda: "# x", rows_per_shard=4, license="other") == 6
    names = sorted(p.name for p in (tmp_path / "out" / "data").iterdir())
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["walk_id"] == [r["walk_id"] for r in rows]


def test_two_processes_give_the_same_as_one(raw, prepared, tmp_path):
    gist.prepare(raw, tmp_path / "out", num_proc=2)
    one, two = (sorted((d / "data").iterdir())[0].read_bytes() for d in (prepared, tmp_path / "out"))
    assert one == two


def test_skip_goes_on_and_reports(raw, tmp_path):
    bad = write(tmp_path, [["1", "2"]], subject=3)
    write(tmp_path, lines_of(), subject=4)
    with pytest.raises(ValueError, match=f"{bad.name}: line 1: 2 tab-separated columns"):
        gist.prepare(tmp_path, tmp_path / "out", num_proc=1)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out-*"))  # nothing half-made stays
    total, reports, skipped = gist.prepare(tmp_path, tmp_path / "out", num_proc=1, on_error="skip")
    assert total == len(reports) == 1 and len(skipped) == 1
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Files skipped: 1." in card and f"- {bad.name}: line 1: 2 tab-separated columns" in card


def test_nothing_left_is_an_error(tmp_path):
    write(tmp_path, [["1", "2"]])
    with pytest.raises(ValueError, match="no row to write"):
        gist.prepare(tmp_path, tmp_path / "out", num_proc=1, on_error="skip")


def test_a_foreign_folder_is_not_overwritten(raw, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="is not a data set folder: it holds thesis.tex"):
        gist.prepare(raw, tmp_path, num_proc=1)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    with pytest.raises(ValueError, match="is a file"):
        gist.prepare(raw, tmp_path / "thesis.tex", num_proc=1)


def test_an_earlier_data_set_is_replaced(raw, tmp_path):
    gist.prepare(raw, tmp_path / "out", num_proc=1)
    gist.prepare(raw, tmp_path / "out", subjects=[1], num_proc=1)
    assert len(datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))) == 6


def test_builder_works_when_imported(raw, tmp_path):
    builder = gist.GistBuilder(data_dir=str(raw), subjects=(10,), cache_dir=str(tmp_path))
    builder.download_and_prepare(num_proc=2)
    loaded = builder.as_dataset("train")
    assert len(loaded) == 6 and set(loaded["subject_id"]) == {"10"} and loaded.features == common.walk_features()


def test_without_data_and_network_the_message_helps(tmp_path, monkeypatch):
    class Offline:
        def download_and_extract(self, url):
            raise ConnectionError(f"Couldn't reach {url}")

    with pytest.raises(ValueError, match="cannot download https://github.com/kooksung.*--data_dir"):
        gist.download(Offline())


def test_download_tries_both_branches():
    class OnlyMain:
        def download_and_extract(self, url):
            if not url.endswith("/main.zip"):
                raise FileNotFoundError(url)
            return "folder"

    assert gist.download(OnlyMain()) == "folder"


def test_command_line(raw, tmp_path):
    script = [sys.executable, str(ROOT / "datasets_scripts" / "gist.py")]
    done = subprocess.run(
        [*script, "--data_dir", str(raw), "--output_dir", str(tmp_path / "out"), "--subjects", "1", "--num_proc", "1"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 rows in" in done.stdout and "| nan | 0 | 0 | interpolated |" in done.stdout and "files/s" in done.stderr
    with pytest.raises(SystemExit, match="error: .*nowhere is not a folder"):
        gist.main(["--data_dir", "nowhere", "--output_dir", str(tmp_path / "other")])


# --- real files --------------------------------------------------------------------------------------------------------------


def restored(folder: Path, choose) -> list[Path]:
    """Real files of subject 1, restored from the pack in shared/data; `choose` picks from the list of (path, times, ...)."""
    pack = ROOT.parent / "shared" / "data"
    if not (pack / "gist.npz").exists():
        pytest.skip("shared/data/gist.npz is not there")
    spec = importlib.util.spec_from_file_location("restore", pack / "restore.py")
    restore = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(restore)
    for job in choose(list(restore.gist_jobs(folder, {1}))):
        restore.write_gist(job)
    return gist.find_files(folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> list[Path]:
    """Eight real files of subject 1, two of them wrapped by the clock."""
    wrapped = lambda jobs: [job for job in jobs if (np.diff(job[1]) < -30).any()][:2]  # noqa: E731
    return restored(tmp_path_factory.mktemp("real"), lambda jobs: [*jobs[::120], *wrapped(jobs)])


def test_real_files_are_walks(real):
    assert len(real) == 8
    wraps = 0
    for path in real:
        row, report = gist.make_row(path)
        joints = row["joints"]
        wraps += report.clock_wraps
        assert np.isfinite(joints).all() and np.abs(joints).max() < 5, path.name
        assert 1.5 < joints[-1, 0, 1] < 4, path.name  # they walk about three metres
        assert report.frames_out > 0.8 * report.frames_in, path.name
        assert 0.7 < np.median(joints[:, 0, 2]) < 1.0 and 1.3 < np.median(joints[:, 3, 2]) < 1.9, path.name
        assert np.linalg.norm(np.diff(joints[:, 0], axis=0), axis=-1).max() < 0.2, path.name
        assert 0.2 < json.loads(row["gait_parameters"])["speed"] < 1.6, path.name
    assert wraps == 2
