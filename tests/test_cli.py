"""The command line: every command on tiny models, JSON, messages, exit codes; two runs as a process of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from films import filmed
from test_modeling_gait_dual_encoder import tiny as tiny_text
from test_modeling_gait_dual_encoder import write_sentence_encoder
from typer.testing import CliRunner, Result
from walkers import FPS, walker

from modeling_gait import (
    GaitClassifierConfig,
    GaitFeatureExtractor,
    GaitForSequenceClassification,
    GaitTCNConfig,
    GaitTCNModel,
    compute_gait_parameters,
    load_walk,
)
from modeling_gait.cleaning import canonicalise
from modeling_gait.cli.main import app
from modeling_gait.export import write_bvh, write_csv
from modeling_gait.gait_cycles import walk_cycles
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("generate", "describe", "parameters", "classify", "report", "search", "personalize", "convert")
PROMPT = "severe steppage gait, right side, 0.6 m/s"


def gait(*words, code: int = 0) -> Result:
    """Run a command in this process; the exit code must be as expected, and no error a traceback."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    if code == 1:
        assert "gait: error: " in result.stderr
    return result


def answer(*words, code: int = 0):
    return json.loads(gait(*words, "--json", code=code).stdout, parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two skeleton files of 4 s, and one that is none."""
    folder = tmp_path_factory.mktemp("files")
    joints = simulate_walks(2, frames=120, seed=3).joints
    write_csv(folder / "a.csv", joints[0], 30.0)
    write_bvh(folder / "b.bvh", joints[1], 30.0)
    (folder / "bad.csv").write_text("this,is\nno,walk\n")
    return folder


@pytest.fixture(scope="module")
def tcn(tmp_path_factory) -> Path:
    """A network for gait cycles of 25 joints."""
    torch.manual_seed(0)
    sizes = {"num_channels": 75, "num_phases": 20, "hidden_size": 8, "dilations": [1]}
    model = GaitTCNModel(GaitTCNConfig(**sizes, channels_per_sensor=3))
    folder = tmp_path_factory.mktemp("tcn") / "base"
    model.save_pretrained(folder)
    return folder


# --- generate ----------------------------------------------------------------------------------------------------------------


def test_generate_a_file_and_again_with_its_seed(family_folder, tmp_path):
    words = ("generate", PROMPT, "--frames", 32, "--model", family_folder, "-o")
    first = answer(*words, tmp_path / "new" / "a.csv")
    assert first["files"] == [str(tmp_path / "new" / "a.csv")] and "steppage" in first["understood"]
    assert load_walk(tmp_path / "new" / "a.csv").joints.shape == (32, 25, 3)
    again = gait(*words, tmp_path / "b.csv", "--seed", first["seed"])
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "new" / "a.csv").read_bytes()
    assert f"seed: {first['seed']}" in again.stdout and "measured: " in again.stdout and "not used" not in again.stdout
    told = gait("generate", f"{PROMPT}, tall woman", "--frames", 16, "--model", family_folder, "-o", tmp_path / "c.csv").stdout
    assert "not used: sex female, tall\n" in told and "missed: " in told  # in half a second no stride is seen
    asked = gait("generate", "severe steppage gait, right side", "--seed", 1, "-o", tmp_path / "d.csv").stdout  # by gait-small
    (shown,) = re.findall(r"severity (\S+) by its clinical sign", asked)
    assert 0.6 < float(shown) <= 1 and "missed" not in asked
    assert "--force" in gait(*words, tmp_path / "b.csv", "--seed", 1, code=1).stderr
    gait(*words, tmp_path / "b.csv", "--seed", int(first["seed"]) + 1, "--force", "--temperature", 2)
    assert (tmp_path / "b.csv").read_bytes() != (tmp_path / "new" / "a.csv").read_bytes()


def test_several_walks_are_numbered_files_or_one_table(family_folder, folder, tmp_path):
    from datasets import load_dataset

    from modeling_gait.schema import walk_features

    words = ("generate", PROMPT, "--frames", 16, "--model", family_folder, "--seed", 0, "-n", 3, "--person", folder / "a.csv")
    numbered = answer(*words, "-o", tmp_path / "walk.bvh")["files"]
    assert [Path(f).name for f in numbered] == ["walk_01.bvh", "walk_02.bvh", "walk_03.bvh"]
    gait(*words, "-o", tmp_path / "walks.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == [*(Path(f).name for f in numbered), "walks.parquet"]
    rows = load_dataset("parquet", data_files=str(tmp_path / "walks.parquet"), split="train")
    schema = walk_features()
    assert {name: rows.features[name] for name in schema} == dict(schema)
    assert rows["sample_index"] == [0, 1, 2] and rows[0]["prompt"] == PROMPT
    assert rows.features["pathology"].int2str(rows[0]["pathology"]) == "steppage"
    np.testing.assert_allclose(np.asarray(rows[1]["joints"]).shape, (16, 25, 3))


def test_a_table_of_walks_is_converted_to_numbered_files(dataset_folder, tmp_path):
    from datasets import load_dataset

    load_dataset("parquet", data_dir=str(dataset_folder), split="train").select(range(3)).to_parquet(tmp_path / "walks.parquet")
    one = answer("convert", tmp_path / "walks.parquet", tmp_path / "again.npz")
    assert [Path(r["out"]).name for r in one] == ["again_01.npz", "again_02.npz", "again_03.npz"]
    rows = load_dataset("parquet", data_files=str(tmp_path / "walks.parquet"), split="train")
    np.testing.assert_array_equal(load_walk(tmp_path / "again_02.npz").joints, np.asarray(rows[1]["joints"], np.float32))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["happy dance"], "happy dance|no known|which gait|names no"),
        ([PROMPT, "--temperature", "0"], "temperature must be positive"),
        ([PROMPT, "--frames", "1"], "--frames: expected 2 to 18000, a whole number, got 1"),
        ([PROMPT, "--frames", "40000"], "--frames: expected 2 to 18000, a whole number, got 40000"),
        ([PROMPT, "--person", "nobody.csv"], "nobody.csv: No such file"),
    ],
)
def test_generate_refuses_and_leaves_nothing(family_folder, tmp_path, words, message):
    result = gait("generate", *words, "--model", family_folder, "-o", tmp_path / "a.csv", code=1)
    assert re.search(message, result.stderr) and len(result.stderr.strip().splitlines()) == 1 and not result.stdout
    assert not list(tmp_path.iterdir())


# --- walks to words and numbers ----------------------------------------------------------------------------------------------


def test_describe(family_folder, folder):
    rows = answer("describe", folder / "a.csv", folder / "b.bvh", "--model", family_folder)
    assert [r["file"] for r in rows] == [str(folder / "a.csv"), str(folder / "b.bvh")]
    assert sum(rows[0]["class_probabilities"].values()) == pytest.approx(1, abs=1e-4) and "speed" in rows[0]["gait_parameters"]
    text = gait("describe", folder / "a.csv", "--model", family_folder).stdout
    assert text.startswith(str(folder / "a.csv")) and "classes: " in text and "m/s" in text


def test_one_bad_file_among_good_ones(folder, tmp_path):
    words = ("parameters", folder / "a.csv", folder / "bad.csv", tmp_path / "missing.csv", folder / "b.bvh")
    rows = answer(*words, code=1)
    assert [("error" in r) for r in rows] == [False, True, True, False]
    result = gait(*words, code=1)
    errors = [line for line in result.stderr.splitlines() if line.startswith("gait: error: ")]
    assert len(errors) == 2 and "bad.csv: no column is named after a joint" in errors[0]
    assert errors[1] == f"gait: error: {tmp_path / 'missing.csv'}: No such file or directory"
    assert "cadence" in result.stdout and "bad.csv" not in result.stdout


def test_parameters_are_those_of_python(folder):
    row = answer("parameters", folder / "a.csv")[0]
    walk = load_walk(folder / "a.csv")
    expected = compute_gait_parameters(canonicalise(walk.joints), walk.fps)
    assert row["gait_parameters"]["speed"] == pytest.approx(expected["speed"], abs=1e-3)
    assert set(row["gait_parameters"]) == set(expected) and row["repaired"]["samples_repaired"] == 0


def test_what_a_file_assumes_and_states_is_said_once(folder, tmp_path, monkeypatch):
    walk = load_walk(folder / "a.csv")
    np.savez(tmp_path / "mm.npz", joints=walk.joints * 1000, fps=walk.fps)
    shown = gait("parameters", tmp_path / "mm.npz")
    assert (shown.stdout + shown.stderr).count("taken as millimetres") == 1 and "the file states" not in shown.stdout
    stated = [{"name": "left cadence", "stated": 110.5, "unit": "steps/min", "measured": 111.25, "measured_unit": "steps/min"}]
    monkeypatch.setattr("modeling_gait.recording.Recording.beside_the_file", lambda _: stated)
    assert answer("parameters", tmp_path / "mm.npz")[0]["stated_by_file"] == stated
    line = "the file states left cadence 110.5 steps/min, measured 111.2 steps/min"
    assert line in gait("parameters", tmp_path / "mm.npz").stdout


def test_a_file_without_a_clock_takes_fps(folder, tmp_path):
    np.save(tmp_path / "a.npy", load_walk(folder / "a.csv").joints)
    assert "fps" in gait("parameters", tmp_path / "a.npy", code=1).stderr
    slow, fast = (answer("parameters", tmp_path / "a.npy", "--fps", f)[0]["gait_parameters"]["speed"] for f in (15, 30))
    assert fast == pytest.approx(2 * slow, rel=0.15)


def test_classify_by_a_classifier_and_by_a_family(family_folder, folder, tmp_path):
    torch.manual_seed(0)
    GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8)).save_pretrained(tmp_path / "gru")
    for model in (tmp_path / "gru", family_folder):
        row = answer("classify", folder / "a.csv", "--model", model)[0]
        assert row["score"] == max(row["scores"].values()) == row["scores"][row["label"]]
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-4)
        unsure = [d for d in row["doubts"] if d.startswith("the model is not sure")]
        assert len(unsure) == (row["score"] < 0.5)
        told = gait("classify", folder / "a.csv", "--model", model)
        assert told.stdout.count("doubt: the model is not sure") == len(unsure) and "warning" not in told.stderr
    assert answer("classify", folder / "a.csv", "--model", tmp_path / "gru")[0]["score"] < 0.5, "else nothing was seen"
    assert f"{row['label']} {row['score']:.2f}" in gait("classify", folder / "a.csv", "--model", family_folder).stdout


def test_report(folder, tmp_path):
    from test_pipeline_gait_report import tiny

    tiny().save_pretrained(tmp_path / "model")
    words = ("report", folder / "a.csv", "--model", tmp_path / "model", "-o", tmp_path / "page.html")
    data = answer(*words)
    assert data["out"] == str(tmp_path / "page.html") and data["parameters"] and data["class_probabilities"]
    assert "<html" in (tmp_path / "page.html").read_text() and "--force" in gait(*words, code=1).stderr
    bad = ("report", folder / "bad.csv", "--model", tmp_path / "model", "-o", tmp_path / "bad.html")
    assert "bad.csv" in gait(*bad, code=1).stderr and not (tmp_path / "bad.html").exists()


# --- search, personalize, convert --------------------------------------------------------------------------------------------


def test_search_files_and_tables(dataset_folder, folder, tmp_path):
    gait_config = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "num_frames": 32,
    }
    model = tmp_path / "text"
    tiny_text(write_sentence_encoder(tmp_path / "encoder"), gait_config=gait_config).save_pretrained(model)
    GaitFeatureExtractor(num_frames=32).save_pretrained(model)
    walks = tmp_path / "walks"
    walks.mkdir()
    for name in ("a.csv", "b.bvh"):
        (walks / name).write_bytes((folder / name).read_bytes())
    best = answer("search", walks / "b.bvh", walks, "--model", model)
    assert len(best) == 2 and best[0]["file"] == str(walks / "b.bvh") and best[0]["score"] == pytest.approx(1, abs=1e-4)
    found = answer("search", "hobbling, cadence over 60", dataset_folder, "-k", 3, "--model", model, "--where", "speed<1.1")
    assert len(found) == 3 and found[0]["score"] >= found[2]["score"] and "walk_id" in found[0]
    assert [w["asked"] for w in found[0]["why"]] == ["cadence at least 60 steps/min", "the words"]
    assert "cadence over 60: cadence at least 60" in gait("search", "cadence over 60", dataset_folder, "--model", model).stdout
    index = walks / "index"
    (walks / "broken.txt").write_text("no walk")
    for gone in ("none", "a.csv"):  # made, then brought up to date
        (walks / gone).unlink(missing_ok=True)
        found = answer("search", walks / "b.bvh", walks, "--model", model, "--index", index, "--by", "person")
        assert len(found) == 2 - (gone == "a.csv") and found[0]["file"] == str(walks / "b.bvh")
    assert "no such file" in gait("search", "none.csv", walks, "--model", model, code=1).stderr
    assert "no such folder" in gait("search", "slow", tmp_path / "none", "--model", model, code=1).stderr


def test_personalize(tcn, folder, tmp_path):
    words = ("personalize", folder / "a.csv", folder / "b.bvh", "--model", tcn, "-o", tmp_path / "p01")
    data = answer(*words)
    assert data["cycles"] == sum(data["cycles_of_files"].values()) >= 2 and not list(tmp_path.glob(".gait*"))
    assert 0 < data["doubt"] < data["spread"] and data["activity"] == "any"
    walk = load_walk(folder / "a.csv")
    cycles = walk_cycles(canonicalise(walk.joints), walk.fps, points=20)
    assert data["cycles_of_files"][str(folder / "a.csv")] == len(cycles)
    adapted = GaitTCNModel.from_pretrained(tmp_path / "p01")
    assert adapted.adapter["steps"] == 0 and adapted.generate(2, seed=0).shape == (2, 20, 75)
    assert "--force" in gait(*words, code=1).stderr
    np.savez(tmp_path / "cycles.npz", values=cycles, channel_mask=np.ones(75, bool))
    gait("personalize", tmp_path / "cycles.npz", "--model", tcn, "-o", tmp_path / "p01", "--force")
    person = GaitTCNModel.from_pretrained(tcn).personalize(torch.from_numpy(cycles))
    torch.testing.assert_close(GaitTCNModel.from_pretrained(tmp_path / "p01").generate(2, seed=0), person.generate(2, seed=0))
    np.savez(tmp_path / "tall.npz", values=1.3 * cycles)
    two = (tmp_path / "cycles.npz", tmp_path / "tall.npz", "--model", tcn, "-o", tmp_path / "p04")
    assert any("is this one person, in one unit?" in d for d in answer("personalize", *two)["doubts"])
    assert not any("one person" in d for d in answer("personalize", two[0], *two[2:], "--force")["doubts"])
    for size, code in ((5.0, 0), (50.0, 1)):  # an untrained model expects 0, give or take 2 ** 0.5
        np.savez(tmp_path / "far.npz", values=np.full_like(cycles, size * 2**0.5))
        found = gait("personalize", tmp_path / "far.npz", "--model", tcn, "-o", tmp_path / "p03", "--force", code=code)
        told = "far.npz: support: 71 standard deviations from" if code else f"{size:.1f} times as far from the people"
        assert told in (found.stderr if code else found.stdout)
    broken = tmp_path / "broken.npz"
    broken.write_bytes((tmp_path / "cycles.npz").read_bytes()[:-200])
    assert "broken.npz: no NumPy arrays" in gait("personalize", broken, "--model", tcn, "-o", tmp_path / "p02", code=1).stderr
    (tmp_path / "mine").mkdir()
    assert "no adapter" in gait(*words[:-1], tmp_path / "mine", "--force", code=1).stderr


def test_a_film_is_converted_without_its_gaps_and_reported_without_a_model(tmp_path, monkeypatch):
    track = filmed(90, seconds=4)
    track.keypoints[50:53] = track.landmarks[50:53] = np.nan
    (tmp_path / "clip.mp4").write_bytes(b"film")
    monkeypatch.setattr("modeling_gait.video_walk.estimate_poses", lambda *_, **__: track)
    told = gait("convert", tmp_path / "clip.mp4", tmp_path / "walk.bvh").stderr
    assert "not measured, and put where a body at rest has them: spine" in told
    assert np.isfinite(load_walk(tmp_path / "walk.bvh").joints).all()
    answer("convert", tmp_path / "clip.mp4", tmp_path / "walk.csv")
    legs = load_walk(tmp_path / "walk.csv").joints[:, [KINECT_V2.index("left_knee"), KINECT_V2.index("right_ankle")]]
    assert len(legs) == 120 and np.isfinite(legs).all()
    row = answer("report", tmp_path / "clip.mp4", "--out", tmp_path / "report.html", "--height", 1.7, "--model", "none")
    assert not row["class_probabilities"] and "walking speed" in row["sentence"]
    assert "no figure of the film" in (tmp_path / "report.html").read_text()


def test_convert(folder, tmp_path):
    row = answer("convert", folder / "a.csv", tmp_path / "a.npz")[0]
    walk = load_walk(folder / "a.csv")
    assert row["frames"] == 120 and row["repaired"] is None
    np.testing.assert_array_equal(load_walk(tmp_path / "a.npz").joints, walk.joints)
    broken = walk.joints.copy()
    broken[40:43, 5] = np.nan
    write_csv(tmp_path / "gap.csv", broken, 30.0)
    assert "--clean" in gait("convert", tmp_path / "gap.csv", tmp_path / "gap.bvh", code=1).stderr
    assert not (tmp_path / "gap.bvh").exists() and not list(tmp_path.glob(".gait*"))
    row = answer("convert", tmp_path / "gap.csv", tmp_path / "gap.bvh", "--clean")[0]
    assert row["repaired"]["nan_samples"] == 3 and np.isfinite(load_walk(tmp_path / "gap.bvh").joints).all()
    row = answer("convert", folder / "a.csv", tmp_path / "a.npy")[0]
    assert (row["frames"], row["fps"]) == (len(np.load(tmp_path / "a.npy")), 20.0)
    assert "fps=20" in gait("parameters", tmp_path / "a.npy", code=1).stderr
    for out in ("a.xlsx", "a"):
        assert "expected one of .csv" in gait("convert", folder / "a.csv", tmp_path / out, code=1).stderr
    assert "unknown suffix" in gait("convert", tmp_path / "a.docx", tmp_path / "b.csv", code=1).stderr


def test_frames_that_the_clock_leaves_out_are_not_written_as_if_there_were_none(folder, tmp_path):
    lines = (folder / "a.csv").read_text().splitlines()
    (tmp_path / "third.csv").write_text("\n".join([lines[0]] + [x for i, x in enumerate(lines[1:]) if i % 3 != 2]))
    with pytest.warns(UserWarning, match="leaves out 39 frame"):
        assert len(load_walk(tmp_path / "third.csv").joints) == 80
    for out in ("b.csv", "b.npz", "b.gif"):
        said = gait("convert", tmp_path / "third.csv", tmp_path / out, code=1).stderr
        assert "clock leaves out 39 frame" in said and "--clean" in said and not (tmp_path / out).exists()
    row = answer("convert", tmp_path / "third.csv", tmp_path / "b.csv", "--clean")[0]
    walk, whole = load_walk(tmp_path / "b.csv"), load_walk(folder / "a.csv")
    assert row["frames"] == len(walk.joints) == 119 and walk.fps == 30
    np.testing.assert_allclose(walk.joints, whole.joints[:119], atol=0.02)
    stamps = [line.split(",", 1) for line in lines[1:]]
    stamps[50][0] = stamps[49][0]
    (tmp_path / "stood.csv").write_text("\n".join([lines[0]] + [",".join(s) for s in stamps]))
    assert "does not advance at 1 of them" in gait("convert", tmp_path / "stood.csv", tmp_path / "s.csv", code=1).stderr


def test_formats_tells_what_is_written(tmp_path):
    rows, text = answer("formats"), gait("formats").stdout
    written = [s for row in rows for s in row["written"]]
    assert written == [".csv", ".npz", ".npy", ".bvh", ".c3d", ".trc", ".mp4", ".gif"]
    assert sorted(text.partition("written:")[2].partition("(")[0].split()) == sorted(written)


# --- models, help, usage -----------------------------------------------------------------------------------------------------


def test_a_missing_or_wrong_model_says_what_to_do(tcn, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAIT_MODEL", raising=False)
    words = ("describe", folder / "a.csv")
    assert "cannot be reached" in gait(*words, "--model", "someone/gait", code=1).stderr  # the tests are offline
    assert "no such folder" in gait(*words, "--model", "no/such/folder", code=1).stderr
    message = gait(*words, "--model", tmp_path, code=1).stderr
    assert "config.json is missing" in message and "--model" in message and "Hub id" in message
    message = gait(*words, "--model", tcn, code=1).stderr
    assert "holds a network for gait cycles" in message and "needed is a model family" in message
    monkeypatch.setenv("GAIT_MODEL", str(tcn))
    assert str(tcn) in gait(*words, code=1).stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples(name):
    text = gait(name, "--help").stdout
    assert f"  gait {name} " in text and "--json" in text and "--debug" in text
    assert name in gait("--help").stdout


def test_usage_errors_and_debug(folder, tmp_path):
    for words in ([], ["fly"], ["generate", PROMPT, "-o", "a.csv", "-n", "0"], ["describe"]):
        gait(*words, code=2)
    result = CliRunner().invoke(app, ["convert", str(folder / "bad.csv"), str(tmp_path / "a.npz"), "--debug"])
    assert result.exit_code == 1 and isinstance(result.exception, ValueError) and "gait: error" not in result.stderr
    assert gait("--version").stdout.startswith("gait ")


def run(*words, cwd: Path) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "GAIT_MODEL"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "modeling_gait.cli.main", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_a_process_prints_json_alone_on_stdout(folder, tmp_path):
    done = run("parameters", folder / "a.csv", folder / "bad.csv", "--json", cwd=tmp_path)
    assert done.returncode == 1 and len(json.loads(done.stdout)) == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("gait: error: ")] and "Traceback" not in done.stderr


def test_a_process_without_network_and_model(folder, tmp_path):
    done = run("generate", PROMPT, "-o", "a.csv", "--model", "someone/gait", cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout and not list(tmp_path.iterdir())
    assert done.stderr.startswith("gait: error: someone/gait: ") and len(done.stderr.splitlines()) == 1


def test_compare_two_walks_and_two_sides(tmp_path):
    for name, speed in (("a", 1.2), ("b", 1.0)):
        joints = walker(6.0, speed=speed) + np.random.default_rng(0).normal(0, 0.005, (180, 25, 3))
        np.savez(tmp_path / f"{name}.npz", joints=joints, fps=FPS)
    page = tmp_path / "change.html"
    found = answer("compare", tmp_path / "a.npz", tmp_path / "b.npz", "--out", page)
    changes = {c["name"]: c for c in found["changes"]}
    assert changes["speed"]["beyond"] and changes["speed"]["change"] == pytest.approx(-0.2, abs=0.03) and page.is_file()
    gait("compare", tmp_path / "a.npz", "--sides")
    gait("compare", tmp_path / "a.npz", code=1)
