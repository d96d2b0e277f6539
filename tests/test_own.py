"""Data of one's own: files of other layouts -> Parquet -> a fine-tuned family -> a generated walk; and what is refused.

All walks here are simulated ones, written in other layouts, units and axes.
"""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import interrupted_at, run_script
from datasets import load_dataset
from safetensors.torch import load_file
from transformers import pipeline

from datasets_scripts import own
from datasets_scripts.simulated import SimulatedConfig
from datasets_scripts.simulated import prepare as simulate
from modeling_gait import GaitFeatureExtractor, GaitVQModel
from modeling_gait.cleaning import canonicalise
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.skeletons import AZURE_KINECT, KINECT_V2, OPENPOSE_18, convert_joints
from modeling_gait.training.arguments import check_tokeniser
from train import train_gpt2, train_vq

CLASSES = ("normal", "steppage", "stiff_legged")
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
Y_UP = np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]])  # x to the walker's left, y up, z forward
STEPS = ["--max_steps", "2", "--batch_size", "4", "--save_steps", "1", "--warmup_steps", "1"]


def azure_name(joint: str) -> str:
    """`left_knee` -> `KNEE_LEFT`, as Microsoft's body tracking writes it."""
    side, _, rest = joint.partition("_")
    return (f"{rest}_{side}" if side in ("left", "right") else {"spine": "spine_navel"}.get(joint, joint)).upper()


def write_azure(path, joints) -> None:
    """A Kinect v2 walk (T, 25, 3) [m] as Azure Kinect CSV: 32 joints, millimetres, y up, walking askew."""
    joints = convert_joints(joints, KINECT_V2, AZURE_KINECT) @ TURN.T @ Y_UP.T * 1000 + [300, -800, 2000]
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", *(f"{azure_name(j)}.{axis}" for j in AZURE_KINECT.joint_names for axis in "xyz")])
        rows.writerows([f"{t / 30:.6f}", *(f"{v:.2f}" for v in frame.ravel())] for t, frame in enumerate(joints))


def write_table(folder, rows, header=("file", "subject_id", "pathology", "severity", "side")) -> None:
    lines = [",".join(map(str, row)) for row in (header, *rows)]
    (folder / "walks.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def walks():
    names = [CLASSES[i // 3] for i in range(9)]
    return simulate_walks(9, frames=64, seed=5, num_subjects=3, pathology=names)


@pytest.fixture(scope="module")
def folder(walks, tmp_path_factory):
    """Nine Azure Kinect files of three people, and their table."""
    folder = tmp_path_factory.mktemp("mine")
    for i, joints in enumerate(walks.joints):
        write_azure(folder / f"{i}.csv", joints)
    about = zip(walks.subject_ids, walks.pathology, walks.severity, walks.side)
    write_table(folder, [(f"{i}.csv", s, p, f"{severity:.2f}", side) for i, (s, p, severity, side) in enumerate(about)])
    return folder


@pytest.fixture(scope="module")
def data(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("data") / "own"
    total, _, unused = own.prepare(folder, output, num_proc=1)
    assert total == 9 and unused == []
    return output


# --- from files to Parquet -------------------------------------------------------------------------------------------------


def test_another_layout_becomes_the_walk_schema(walks, data):
    rows = load_dataset(str(data), split="train").with_format("numpy")
    assert [PATHOLOGIES[p] for p in rows["pathology"]] == walks.pathology
    assert list(rows["subject_id"]) == walks.subject_ids and set(rows["sensor"]) == {"azure_kinect"}
    assert [json.loads(str(a))["side"] for a in rows["attributes"]] == walks.side
    assert list(rows["walk_id"]) == [str(i) for i in range(9)] and set(rows["fps"]) == {30.0}
    shared = [j for j, name in enumerate(KINECT_V2.joint_names) if AZURE_KINECT.has(name)]
    assert len(shared) == 24
    for joints, simulated in zip(rows["joints"], walks.joints):
        assert np.abs(joints - canonicalise(simulated))[:, shared].max() < 0.002  # m
    text = (data / "README.md").read_text()
    assert re.search(r"\| azure_kinect \| 9 \| 0\.[67]. to 0\.[78]. \| spine_shoulder \|", text) and "| steppage | 3 |" in text


def test_what_a_layout_lacks_is_computed_and_not_measured(walks, tmp_path):
    """OpenPose has no feet: they point forward, also where the walk went askew, and what rests on them is null."""
    folder = tmp_path / "openpose"
    folder.mkdir()
    joints = convert_joints(walks.joints[3], KINECT_V2, OPENPOSE_18) @ TURN.T
    np.savez(folder / "a.npz", joints=joints)
    header = (*own.REQUIRED, *own.OPTIONAL)
    write_table(folder, [("a.npz", "p", "Steppage", "w", "phone", "", "right", 30, '"walks, with a dropped foot"')], header)
    own.prepare(folder, tmp_path / "data", num_proc=1)
    row = load_dataset(str(tmp_path / "data"), split="train").with_format("numpy")[0]
    assert (row["walk_id"], row["sensor"], bool(np.isnan(row["severity"]))) == ("w", "phone", True)
    assert row["captions"][0] == "walks, with a dropped foot" and len(row["captions"]) == 4
    measured = json.loads(str(row["gait_parameters"]))
    assert measured["ankle_range_left"] is None and measured["foot_progression_angle_right"] is None
    assert measured["knee_range_left"] > 20 and measured["speed"] == pytest.approx(walks.speed[3], rel=0.1)
    feet = [KINECT_V2.index(f"left_{n}") for n in ("foot", "ankle")]
    way = row["joints"][:, feet[0]] - row["joints"][:, feet[1]]
    np.testing.assert_allclose(way, np.tile(KINECT_V2.rest_offsets[feet[0]], (len(way), 1)), atol=0.01)


def test_another_data_set_is_not_replaced(folder, tmp_path, capsys):
    out, given = tmp_path / "out", ["--num_proc", "1", "--output_dir", str(tmp_path / "out")]
    own.main(["--data_dir", str(folder), *given])
    shutil.copytree(folder, tmp_path / "others")
    with pytest.raises(SystemExit) as stopped:
        own.main(["--data_dir", str(tmp_path / "others"), *given])
    held = f"error: {out} holds another data set (Walks of {folder.name}); choose a new --output_dir"
    assert str(stopped.value.code) == held and f"Walks of {folder.name}" in (out / "README.md").read_text()
    with pytest.raises(ValueError, match="holds another data set"):
        simulate(SimulatedConfig(num_walks=1, num_subjects=1), out, num_proc=1)
    own.main(["--data_dir", str(folder), *given])  # the same one is made anew
    assert "9 rows" in capsys.readouterr().out


def test_files_that_the_table_does_not_name_are_told(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "mine")
    shutil.copy(folder / "0.csv", tmp_path / "mine" / "forgotten.csv")
    own.main(["--data_dir", str(tmp_path / "mine"), "--output_dir", str(tmp_path / "out"), "--num_proc", "1"])
    out = capsys.readouterr().out
    assert f"left out: {tmp_path / 'mine' / 'forgotten.csv'}" in out and "9 rows" in out


def test_all_that_is_wrong_with_the_table_is_listed(folder, tmp_path, capsys):
    bad = tmp_path / "mine"
    shutil.copytree(folder, bad)
    rows = [
        ("0.csv", "", "normal", "", ""),
        ("none.csv", "p", "stepage", "2", ""),
        ("1.csv", "p", "normal", "much", "left"),
        ("2.csv", "p", "steppage", "0.5", "east"),
        ("2.csv", "p", "steppage", "0.5", "right"),
        ("3.csv", "p", "steppage"),
    ]
    write_table(bad, rows)
    with pytest.raises(SystemExit) as stopped:
        own.main(["--data_dir", str(bad), "--output_dir", str(tmp_path / "out")])
    said = str(stopped.value.code)
    for place, what in (
        ("line 2, subject_id", "is empty"),
        ("line 3, file", "there is no"),
        ("line 3, severity", "'2' is not a number from 0 to 1"),
        ("line 3, pathology", "'stepage' is no class that is known, but 'steppage' is"),
        ("line 4, severity", "'much' is not a number"),
        ("line 4, side", "a normal gait has no affected side"),
        ("line 5, side", "'east' is not one of left"),
        ("line 6, file", "2.csv is in line 5 already"),
        ("line 7", "3 cells, expected 5"),
    ):
        (line,) = (line for line in said.splitlines() if f"{place}:" in line and what in line)
        assert line.startswith(f"error: {bad / 'walks.csv'}")
    assert len(said.splitlines()) == 9 and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,subject_id\n0.csv,a\n", "columns file, subject_id; expected file, subject_id, pathology and any of"),
        ("file,subject_id,pathology,severty\n", "expected file, .*severity"),
        ("file,subject_id,pathology\n", "holds no row below its header"),
        ("", "is empty"),
        ("file,subject_id,pathology,walk_id\n0.csv,a,normal,1\n1.csv,b,normal,1\n", "'1' is of subject b and, in line 2, of a"),
        ("file;subject_id;pathology;severity\n0.csv;a;normal;1,5\n", "severity: '1,5' is not a number from 0 to 1"),
        ("file,subject_id,pathology,fps\n0.csv,a,normal,0\n", "fps: '0' is not a number from 1 to 1000"),
        (
            "file,subject_id,pathology\n0.csv,a,Faller (+)\n1.csv,b,Faller (-)\n",
            r"line 3, pathology: 'Faller \(-\)' would be class 'faller', which is 'Faller \(\+\)' in line 2; names must differ",
        ),
        ("file,subject_id,pathology\n0.csv,a,Normal (+)\n", "'normal', which is a known class; names must differ"),
        ("file,subject_id,pathology\n0.csv,a,(+)\n", r"line 2, pathology: '\(\+\)' has no letter or digit"),
        ("file,subject_id,pathology\n0.csv,a,<left>\n", "line 2, pathology: '<left>': class 'left': .* name a side"),
    ],
)
def test_a_bad_table_is_a_clear_error(folder, tmp_path, table, message):
    shutil.copytree(folder, tmp_path / "mine")
    (tmp_path / "mine" / "walks.csv").write_text(table)
    with pytest.raises(ValueError, match=message):
        own.read_table(tmp_path / "mine")


def test_a_class_of_ones_own_is_named_by_its_letters_and_digits(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mine")
    written = ["Faller (+)", "faller (+)", "Pre op", "pre-op", "<50%", "normal", "Foot drop"]
    write_table(tmp_path / "mine", [(f"{i}.csv", "a", name) for i, name in enumerate(written)], own.REQUIRED)
    names = ["faller", "faller", "pre_op", "pre_op", "50", "normal", "steppage"]
    assert [row["pathology"] for row in own.read_table(tmp_path / "mine")] == names


def test_all_bad_files_are_listed_and_nothing_is_written(walks, tmp_path):
    bad, good = tmp_path / "mine", walks.joints[0]
    bad.mkdir()
    np.savez(bad / "good.npz", joints=good, fps=30)
    np.savez(bad / "stands.npz", joints=np.repeat(good[:1], 60, axis=0), fps=30)
    np.savez(bad / "giant.npz", joints=good * 2.0, fps=30)
    np.savez(bad / "short.npz", joints=good[:5], fps=30)
    np.savez(bad / "clockless.npz", joints=good)
    (bad / "text.csv").write_text("hello\n")
    expected = {
        "stands.npz": "nobody walks in it",
        "giant.npz": "legs of 1.[2-6].* are no body's in metres",
        "short.npz": "only 5 of 5 frames are usable",
        "clockless.npz": "states no frame rate",
        "text.csv": "holds a header and no frames",
    }
    write_table(bad, [("good.npz", "a", "normal"), *((name, "a", "normal") for name in expected)], own.REQUIRED)
    with pytest.raises(ValueError) as error:
        own.prepare(bad, tmp_path / "out", num_proc=1)
    lines = str(error.value).splitlines()
    assert len(lines) == len(expected) and not list(tmp_path.glob("*out*"))
    for number, (line, (name, message)) in enumerate(zip(lines, expected.items()), 3):
        assert f"line {number}: " in line and name in line
        assert re.search(message, line), line


def test_a_walk_of_two_people_or_twice_of_one_is_refused(walks, tmp_path):
    """Told to be somebody else's, by a copy or in another format, a walk would stand on both sides of a split by people."""
    folder = tmp_path / "mine"
    folder.mkdir()
    np.savez(folder / "a.npz", joints=walks.joints[0], fps=30)
    np.savez_compressed(folder / "b.npz", joints=walks.joints[0], fps=30)
    np.savez(folder / "c.npz", joints=walks.joints[1], fps=30)
    np.save(folder / "d.npy", walks.joints[1])
    rows = [
        ("a.npz", "x", "normal", ""),
        ("b.npz", "y", "normal", ""),
        ("c.npz", "x", "normal", ""),
        ("d.npy", "x", "normal", 30),
    ]
    write_table(folder, rows, (*own.REQUIRED, "fps"))
    with pytest.raises(ValueError) as error:
        own.prepare(folder, tmp_path / "out", num_proc=1)
    two, once = str(error.value).splitlines()
    assert "line 3, file: " in two and "subject y, b.npz in line 3 and subject x, a.npz in line 2" in two
    assert "line 5, file: " in once and "subject x, d.npy in line 5 and subject x, c.npz in line 4" in once
    assert not (tmp_path / "out").exists()


def test_doubts_are_in_the_card(walks, tmp_path):
    folder, good = tmp_path / "mine", walks.joints[0]
    folder.mkdir()
    np.savez(folder / "mirrored.npz", joints=good * [-1, 1, 1], fps=30)
    np.savez(folder / "treadmill.npz", joints=good - good[:, :1] * [0, 1, 0], fps=30)
    write_table(folder, [("mirrored.npz", "a", "normal"), ("treadmill.npz", "a", "normal")], own.REQUIRED)
    _, made, _ = own.prepare(folder, tmp_path / "out", num_proc=1)
    assert "exchanged" in made[0].doubts[0] and "treadmill" in made[1].doubts[0]
    assert all(f"{w.file}: {w.doubts[0]}" in (tmp_path / "out" / "README.md").read_text() for w in made)


# --- fine-tuning -----------------------------------------------------------------------------------------------------------


def fine_tune(data, family, output, *extra) -> None:
    """The walk-through's two training commands."""
    given, start = ["--dataset", data, *STEPS, *extra], ["--init_from", family]
    run_script(train_vq, [*given, *start, "--output_dir", output / "vq"])
    given += ["--vq", output / "vq"]
    run_script(train_gpt2, [*given, *start, "--output_dir", output])


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def tuned(data, family_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("tuned") / "own"
    fine_tune(data, family_folder, output)
    return output


def test_a_fine_tuned_family_writes_walks(data, family_folder, tuned):
    for part in (".", "vq", "decoder"):
        before, after = weights(family_folder / part), weights(tuned / part)
        assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
        changed = {k.split(".")[0] for k in before if not torch.allclose(before[k], after[k], atol=1e-6)}
        assert changed == {".": {"transformer"}, "vq": {"head"}, "decoder": set()}[part], "codes stay what they mean"
    scales = [vars(GaitFeatureExtractor.from_pretrained(folder)) for folder in (family_folder, tuned)]
    assert scales[0] == scales[1] and len(scales[1]["labels"]) == len(PATHOLOGIES)
    walk = pipeline("text-to-gait", model=str(tuned))("steppage gait, right side", num_frames=16, seed=0)
    assert walk["joints"].shape == (16, 25, 3) and np.isfinite(walk["joints"]).all()
    seen = simulate_walks(1, frames=64, seed=4).joints[0]
    read = pipeline("gait-to-text", model=str(tuned))(seen, fps=30.0)
    assert set(read["class_probabilities"]) == set(PATHOLOGIES)


def test_the_start_is_the_family(data, family_folder, tmp_path):
    """At a learning rate of 0 the tokeniser and GPT-2 stay the family's, and the decoder is the tokeniser's."""
    fine_tune(data, family_folder, tmp_path / "still", "--learning_rate", "0")
    for part in (".", "vq"):
        before, after = weights(family_folder / part), weights(tmp_path / "still" / part)
        for key in before:
            torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=1e-5)
    decoder = weights(tmp_path / "still" / "decoder")
    assert all(torch.equal(decoder[k], after[k]) for k in decoder)


def test_an_interrupted_fine_tuning_goes_on_to_the_same_weights(data, family_folder, tuned, tmp_path):
    given = ["--dataset", data, "--init_from", family_folder, *STEPS, "--vq", tuned / "vq"]
    with interrupted_at(1):
        run_script(train_gpt2, [*given, "--output_dir", tmp_path / "again"])
    assert (tmp_path / "again" / "checkpoint").is_dir()
    run_script(train_gpt2, [*given, "--output_dir", tmp_path / "again"])
    before, after = weights(tuned), weights(tmp_path / "again")
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_what_does_not_fit_the_family_is_refused(data, family_folder, vq_folder, tmp_path):
    given = ["--dataset", data, "--init_from", family_folder, *STEPS, "--output_dir", tmp_path / "x"]
    with pytest.raises(ValueError, match="--hidden_size 64 does not fit --init_from .*, which has 16"):
        run_script(train_vq, [*given, "--hidden_size", "64"])
    for arguments in (["--n_embd", "64"], ["--base_model", "gpt2"]):
        with pytest.raises(ValueError, match=f"{arguments[0]} {arguments[1]} does not fit"):
            run_script(train_gpt2, [*given, "--vq", vq_folder, *arguments])

    other = tmp_path / "other"
    shutil.copytree(vq_folder, other)
    vq = GaitVQModel.from_pretrained(vq_folder)
    vq.codebooks.class_means += 0.1
    vq.save_pretrained(other)
    with pytest.raises(ValueError, match="does not come from --init_from .*: class_means differ; fine-tune it first"):
        run_script(train_gpt2, [*given, "--vq", other])
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_harmonics": 4}))
    with pytest.raises(ValueError, match="num_harmonics differ"):
        check_tokeniser(str(other), str(family_folder))

    family = tmp_path / "family"
    shutil.copytree(family_folder, family)
    for file in ("processor_config.json", "preprocessor_config.json"):
        if (family / file).exists():
            text = (family / file).read_text()
            (family / file).write_text(text.replace('"steppage"', '"other"'))
    with pytest.raises(ValueError, match="does not know the class steppage, only normal"):
        run_script(train_vq, ["--dataset", data, "--init_from", family, *STEPS, "--output_dir", tmp_path / "x"])
    assert not (tmp_path / "x").exists()
