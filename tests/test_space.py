"""The Space without a browser: walks, files, figures, the page's two endpoints as gradio_client calls them, bad input."""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from films import filmed
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

for _library in ("gradio", "plotly", "gradio_client"):
    pytest.importorskip(_library, reason=f"{_library} is not installed: pip install -e '.[demo]'")


import app  # noqa: E402
import figures  # noqa: E402
import gait_demo  # noqa: E402

from modeling_gait import GaitClassifierConfig, GaitForSequenceClassification, parse_prompt  # noqa: E402
from modeling_gait.export import write_csv  # noqa: E402
from modeling_gait.loading import load_walk  # noqa: E402
from modeling_gait.released import released  # noqa: E402
from modeling_gait.simulation import PATHOLOGIES, simulate_walks  # noqa: E402
from modeling_gait.skeletons import SKELETONS  # noqa: E402
from modeling_gait.video import read_video, write_video  # noqa: E402
from modeling_gait.video_walk import walk_from_poses  # noqa: E402

PROMPT = "severe steppage gait, right side, 0.6 m/s"


@pytest.fixture(scope="module")
def demo(family_folder) -> gait_demo.GaitDemo:
    return gait_demo.GaitDemo(str(family_folder))


@pytest.fixture(scope="module")
def url(demo):
    """The served page."""
    page = app.build(demo)
    _, address, _ = app.launch(page, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    page.close()


@pytest.fixture(scope="module")
def walk_file(tmp_path_factory) -> Path:
    """Five seconds of a steppage walk."""
    path = tmp_path_factory.mktemp("visitor") / "my_walk.csv"
    joints = simulate_walks(1, frames=150, seed=3, pathology="steppage", severity=0.9, side="right").joints[0]
    write_csv(path, joints, 30.0)
    return path


# ---------------------------------------------------------------- a prompt to a walk


def test_a_seed_repeats_a_walk_and_no_seed_draws_one(demo):
    one, again, other = (demo.generate(PROMPT, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.joints, again.joints) and np.array_equal(one.normal, again.normal)
    assert not np.array_equal(one.joints, other.joints)
    drawn = demo.generate(PROMPT)
    assert np.array_equal(demo.generate(PROMPT, drawn.seed).joints, drawn.joints)


def test_the_normal_walk_has_the_same_body(demo, monkeypatch):
    """Also where the walk is affected on the left."""
    real, asked = gait_demo.generate_walks, []
    monkeypatch.setattr(gait_demo, "generate_walks", lambda *a, **k: asked.append((a[3], k["person"])) or real(*a, **k))
    right, left = (demo.generate(f"severe steppage gait, {side} side", 1) for side in ("right", "left"))
    body = demo.writer("severe steppage gait, right side", num_frames=32, seed=1, candidates=gait_demo.CANDIDATES)[
        "codes"
    ].spatial
    assert all(d[0].pathology == "normal" and np.array_equal(codes, body) for d, codes in asked)
    assert right.normal.shape == right.joints.shape
    np.testing.assert_allclose(left.normal, right.normal, atol=1e-5)
    assert demo.generate("normal gait", 1).normal is None and len(asked) == 2


def test_what_was_guessed_is_noted(demo):
    walk = demo.generate("somebody walks at 1.1 m/s", 0)
    assert walk.description.pathology == "normal" and any("taken as normal" in note for note in walk.notes)


@pytest.mark.parametrize(
    "prompt, seed, message",
    [
        ("", 0, "empty"),
        (None, 0, "empty"),
        ("a purple elephant", 0, "names no gait"),
        (PROMPT, -1, "seed"),
        (PROMPT, 2**31, "seed"),
    ],
)
def test_bad_prompts_and_seeds_are_refused(demo, prompt, seed, message):
    with pytest.raises(ValueError, match=message):
        demo.generate(prompt, seed)


@given(
    st.sampled_from(PATHOLOGIES),
    st.sampled_from(("", "left", "right")),
    st.sampled_from((0, 0.2, 0.5, 0.95)),
    st.sampled_from((0, 0.3, 0.85, 1.6)),
    st.sampled_from((0, 60, 100, 140)),
)
def test_the_controls_write_a_prompt_that_is_read_as_they_stand(gait, side, severity, speed, cadence):
    prompt = gait_demo.write_prompt(gait, side, severity, speed, cadence)
    if (speed, cadence) == (1.6, 60):
        with pytest.raises(ValueError, match="makes strides of 3.20 m"):
            parse_prompt(prompt)
        return
    said, normal = parse_prompt(prompt), gait == "normal"
    sided = "unknown" if gait == "parkinsonian" else side or "unknown"  # which has no walks of one side
    assert (said.pathology, said.side, said.unused) == (gait, "none" if normal else sided, ())
    assert said.severity == (severity if severity and not normal else None)
    assert (said.speed or 0, said.cadence or 0) == (pytest.approx(speed), pytest.approx(cadence))


def test_examples_can_be_read():
    assert {parse_prompt(e).pathology for e in app.EXAMPLES} == {"steppage", "antalgic", "trendelenburg", "normal"}


def test_files_hold_the_walk(demo):
    walk = demo.generate(PROMPT, 0)
    files = [Path(f) for f in gait_demo.write_files(walk)]
    assert [f.suffix for f in files] == [".bvh", ".csv", ".gif"] and files[2].read_bytes()[:3] == b"GIF"
    np.testing.assert_allclose(load_walk(files[1]).joints, walk.joints, atol=1e-6)
    assert load_walk(files[0]).joints.shape == walk.joints.shape


def test_old_files_are_removed(monkeypatch):
    old = gait_demo.new_folder()
    monkeypatch.setattr(gait_demo, "KEEP_SECONDS", -1)
    assert gait_demo.new_folder().exists() and not old.exists()


# ---------------------------------------------------------------- figures


def test_the_drawn_bones_are_the_skeletons():
    for skeleton in SKELETONS.values():
        drawn = []
        for chain in figures._chains(skeleton).values():
            drawn += [(a, b) for a, b in zip(chain, chain[1:]) if a is not None and b is not None]
        assert sorted(drawn) == sorted((j, p) for j, p in enumerate(skeleton.parents) if p >= 0)


def test_walkers_stay_in_their_lanes_and_the_floor_passes_at_their_speed(walks):
    joints = simulate_walks(1, frames=90, seed=2, pathology="normal", speed=1.2).joints[0]
    figure = figures.walk_figure({"one": joints, "two": joints[:40]}, 30.0)
    meta = figure.layout.meta
    assert len(meta["frames"]) == 90 and len(meta["traces"]) == len(meta["frames"][0]) == 10
    assert len(figure.to_json()) < 300_000
    spread = [[np.ptp([v for v in part["x"] if v is not None]) for part in frame[:2]] for frame in meta["frames"]]
    assert np.max(spread) < 1.0
    ys = np.array([frame[4]["y"][0] for frame in meta["frames"]])  # a stripe that moves back, and begins anew
    assert np.ptp(ys) <= 0.5 and 30 * -np.median(np.diff(ys)) == pytest.approx(1.2, rel=0.1)
    ends = [[part["y"] for part in frame[5:]] for frame in meta["frames"][-2:]]
    assert ends[0] == ends[1]  # the shorter walk holds its last pose
    low = min(v for frame in meta["frames"] for part in frame[:2] for v in part["z"] if v is not None)
    assert -0.1 < low < 0.1
    with pytest.raises(ValueError, match="one or two"):
        figures.walk_figure({}, 30.0)


def test_long_walks_are_cut(walks):
    figure = figures.walk_figure({"long": np.tile(walks.joints[0], (6, 1, 1))}, 30.0)
    assert len(figure.layout.meta["frames"]) == figures.MAX_FRAMES


def test_joint_angles_have_bands_cycles_or_a_reason():
    joints = simulate_walks(1, frames=150, seed=3, pathology="normal").joints[0]
    names = [t.name or "" for t in figures.angles_figure(joints, 30.0).data]
    assert sum("unimpaired" in n for n in names) == 4 and sum(n.startswith("left, mean of") for n in names) == 4
    part = figures.angles_figure(joints, 30.0, unseen=("hip_flexion", "pelvic_obliquity"))
    curves = [t for t in part.data if (t.name or "").startswith("left, mean of")]
    assert len(curves) == 2 and curves[0].showlegend, "what a camera does not show is not drawn"
    assert sum(a.text == "not measured" for a in part.layout.annotations) == 2
    short = figures.angles_figure(joints[:12], 30.0)
    assert any("no complete gait cycle" in a.text for a in short.layout.annotations)


def test_parameter_table(demo):
    parameters = gait_demo.compute_gait_parameters(simulate_walks(1, frames=150, seed=3, pathology="normal").joints[0], 30.0)
    rows = {row[0]: row[1:] for row in gait_demo.parameter_rows(parameters)}
    assert len(rows) == 46 and rows["speed"][0] == f"{parameters['speed']:.2f}" and rows["speed"][3] == "m/s"
    assert re.fullmatch(r"[\d.]+ to [\d.]+", rows["speed"][2]) and rows["speed"][1] == ""
    assert rows["knee range asymmetry"][3] == ""
    assert all(row[1:3] == ["", ""] for row in gait_demo.parameter_rows({"speed": float("nan")}))


# ---------------------------------------------------------------- a file to words


def test_a_file_is_read(demo, walk_file):
    reading = demo.read(walk_file)
    assert reading.name == "my_walk.csv" and reading.joints.shape[1:] == (25, 3) and reading.report is None
    assert sum(reading.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert reading.parameters["peak_knee_flexion_right"] > reading.parameters["peak_knee_flexion_left"]
    outputs = app.read(reading)
    assert outputs[0] == (reading.text or "(no words)") and len(outputs[2].layout.meta["frames"]) == len(reading.joints)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("words.csv", b"time,left_knee_x\n0,a\n", "words.csv"),
        ("broken.npz", b"PK\x03\x04", "broken.npz"),
        ("film.mp4", b"\0\0", "film.mp4: not a video"),
        ("walk.doc", b"x", "unknown suffix"),
    ],
)
def test_broken_files_are_refused_by_name_and_without_our_paths(demo, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        demo.read(tmp_path / name)
    assert name in str(error.value) and str(tmp_path) not in str(error.value)


def test_a_film_is_shown_with_its_skeleton(demo, tmp_path, monkeypatch):
    pytest.importorskip("av")
    track, path = filmed(90, seconds=4), tmp_path / "clip.mp4"
    write_video(np.full((len(track.keypoints), 180, 320, 3), 120, np.uint8), path, track.fps)
    track = replace(track, name=str(path), keypoints=track.keypoints / 4, size=(320, 180))
    monkeypatch.setattr(gait_demo, "as_walk", lambda *_: (walk_from_poses(track), str(path)))
    reading = demo.read(path)
    seen = read_video(reading.film).frames
    assert len(seen) == len(track.keypoints) and np.ptp(seen.astype(int), axis=(1, 2, 3)).min() > 100
    assert reading.joints is not None and app.read(reading)[6].visible
    assert not app.read(replace(reading, film=None))[6].visible


def test_what_was_doubted_of_one_file_is_not_said_of_another(demo, walk_file, tmp_path):
    """Two visitors at once, again and again."""
    walk = load_walk(walk_file)
    np.savez(tmp_path / "mm.npz", joints=1000 * walk.joints, fps=30.0)
    visits = [(walk_file, "somebody walks at 1.1 m/s"), (tmp_path / "mm.npz", "normal gait")] * 4
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(demo.read, (file for file, _ in visits)))
        written = list(pool.map(demo.generate, (prompt for _, prompt in visits), range(8)))
    for n, (file, walk) in enumerate(zip(read, written)):
        assert any("taken as millimetres" in note for note in file.notes) == bool(n % 2)
        assert any("taken as normal" in note for note in walk.notes) == (not n % 2)


def test_who_does_not_walk_is_refused_in_words(demo, walk_file, tmp_path):
    write_csv(tmp_path / "still.csv", np.repeat(load_walk(walk_file).joints[:1], 150, axis=0), 30.0)
    with pytest.raises(ValueError, match=r"^still\.csv: nobody walks in it"):
        demo.read(tmp_path / "still.csv")


def test_repairs_are_shown(demo, walk_file, tmp_path):
    joints = load_walk(walk_file).joints.copy()
    joints[40:44, 5] = np.nan
    write_csv(tmp_path / "gap.csv", joints, 30.0)
    assert "- 4 frames had missing or wrong joints" in app.read(demo.read(tmp_path / "gap.csv"))[5]


def test_what_is_too_large_is_refused(demo, walk_file, tmp_path):
    (tmp_path / "large.csv").write_bytes(walk_file.read_bytes() + bytes(gait_demo.MAX_BYTES))
    with pytest.raises(ValueError, match=r"large\.csv: is larger than 8 MiB"):
        demo.read(tmp_path / "large.csv")
    np.savez_compressed(tmp_path / "long.npz", joints=np.zeros((gait_demo.MAX_FRAMES * 10, 25, 3), np.float32), fps=30)
    with pytest.raises(ValueError, match=r"long\.npz.*times its size"):
        demo.read(tmp_path / "long.npz")
    np.savez(tmp_path / "long.npz", joints=np.tile(load_walk(walk_file).joints, (241, 1, 1)).astype(np.float16), fps=30)
    with pytest.raises(ValueError, match=r"long\.npz: holds 36150 frames"):
        demo.read(tmp_path / "long.npz")


def test_a_file_without_a_clock_takes_the_visitors(demo, walk_file, tmp_path):
    path = tmp_path / "joints.npy"
    np.save(path, load_walk(walk_file).joints)
    with pytest.raises(ValueError, match="no frame rate"):
        demo.read(path, 0)
    assert demo.read(path, 30).parameters["speed"] == pytest.approx(demo.read(walk_file).parameters["speed"], rel=0.02)


def test_a_classifier_gives_the_probabilities(family_folder, walk_file, tmp_path):
    config = GaitClassifierConfig(hidden_size=8, num_labels=2, id2label={0: "normal", 1: "steppage"})
    GaitForSequenceClassification(config).save_pretrained(tmp_path)
    reading = gait_demo.GaitDemo(str(family_folder), classifier=str(tmp_path)).read(walk_file)
    assert set(reading.probabilities) == {"normal", "steppage"}


def test_a_knowledge_model_writes_the_report(family_folder, walk_file, tmp_path, monkeypatch):
    pytest.importorskip("modeling_gait.pipeline_gait_report", exc_type=ImportError)
    from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
    from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification

    sizes = {"projection_size": 16, "num_frames": 4, "temporal_layers": 1, "text_config": {"hidden_size": 8}}
    sizes["skeleton_config"] = {"hidden_size": 16, "num_layers": 1}
    config = GaitKnowledgeConfig(branches=["skeleton"], use_numeric=True, **sizes)
    GaitKnowledgeForSequenceClassification(config).save_pretrained(tmp_path / "knowledge")
    knowing = gait_demo.GaitDemo(str(family_folder), knowledge=str(tmp_path / "knowledge"))
    reading = knowing.read(walk_file)
    assert "diagnosis" in reading.report.read_text(encoding="utf-8")
    said = parse_prompt(reading.text, knowing.classes).pathology
    other = next(name for name in knowing.labels if name != said)
    report = replace(knowing.report(walk_file), class_probabilities={other: 0.75, said: 0.25})
    monkeypatch.setattr(knowing, "_write_report", lambda walk: (report, reading.report))
    told = f"two models disagree: the text says {said}, the report {other} (probability 0.75)".replace("_", " ")
    assert told in knowing.read(walk_file).notes
    monkeypatch.undo()
    assert report.disagreement(other) == report.disagreement("a gait it does not know") == report.disagreement(None) == []
    frame, file = app.read(reading)[-2:]
    assert frame.startswith("<iframe srcdoc=") and "<html" not in frame and file.endswith("report.html")
    (tmp_path / "film.mp4").write_bytes(b"\0\0")
    with pytest.raises(ValueError, match="film.mp4"):
        knowing.read(tmp_path / "film.mp4")
    assert "Report" in json.dumps(app.build(knowing).get_config_file(), default=str)


# ---------------------------------------------------------------- the page


def test_a_program_calls_the_two_endpoints(url, demo, walk_file, tmp_path):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(url, verbose=False, download_files=str(tmp_path))
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/generate", "/describe"}
    about, files = client.predict(PROMPT, 5, api_name="/generate")
    assert (
        about["seed"] == 5 and "steppage gait, right side" in about["understood"] and set(about["gait_parameters"]) > {"speed"}
    )
    csv = next(f for f in files if f.endswith(".csv"))
    np.testing.assert_allclose(load_walk(csv).joints, demo.generate(PROMPT, 5).joints, atol=1e-6)
    read = client.predict(handle_file(str(walk_file)), 0, api_name="/describe")
    assert read["gait_parameters"]["speed"] == pytest.approx(demo.read(walk_file).parameters["speed"], abs=1e-5)
    assert isinstance(read["text"], str) and sum(read["class_probabilities"].values()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(AppError, match="names no gait"):
        client.predict("a purple elephant", 0, api_name="/generate")
    broken = tmp_path / "broken.csv"
    broken.write_text("time,left_knee_x\n0,a\n")
    with pytest.raises(AppError, match="broken.csv.*left_knee"):
        client.predict(handle_file(str(broken)), 0, api_name="/describe")


def test_the_page_says_what_it_is(demo):
    page = json.dumps(app.build(demo).get_config_file(), default=str)
    assert "Research software, not a medical device" in page and "nothing here is" in page


def test_which_models(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("GAIT_MODEL", raising=False)
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit):
        app.main()
    assert "no model family at" in capsys.readouterr().err
    shown = []
    monkeypatch.setattr(app, "launch", lambda page, **_: None)
    monkeypatch.setattr(app, "build", lambda *given: shown.extend(given))
    monkeypatch.setattr(sys, "argv", ["app.py"])
    app.main()
    demo, finder = shown
    found = [demo.family, demo.classifier, demo.knowledge, finder.words]
    assert found == [released(part) for part in ("", "classifier", "knowledge", "text")]


def test_front_matter_and_requirements_agree_with_the_package():
    import tomllib

    import huggingface_hub

    data = huggingface_hub.SpaceCard.load(ROOT / "space" / "README.md").data
    assert (data.sdk, data.license, data.app_file) == ("gradio", "apache-2.0", "app.py") and len(data.short_description) <= 60
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = [r for group in (project["dependencies"], *project["optional-dependencies"].values()) for r in group]
    ranges = {r.name: r.specifier for r in map(Requirement, ours)}
    assert ranges["gradio"].contains(data.sdk_version)
    lines = (ROOT / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = [Requirement(line.split("#")[0]) for line in lines if line and line[0] not in "#-"]
    assert len(asked) > 5 and all(ranges[r.name] == r.specifier for r in asked)
