"""Tests of simulation/pathologies.py and datasets_scripts/pathologies.py: normal walks that are given pathologies."""

import json

import datasets
import numpy as np
import pytest
from conftest import GPT2_ARGUMENTS, VQ_ARGUMENTS, at_another_rate, run_script
from transformers import pipeline

from datasets_scripts import pathologies, simulated
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.simulation.pathologies import Pathologies
from train import train_gpt2, train_vq


@pytest.fixture(scope="module")
def normal(tmp_path_factory) -> datasets.Dataset:
    out = tmp_path_factory.mktemp("normal") / "set"
    config = simulated.SimulatedConfig(num_walks=4, num_subjects=4, frames=110, pathologies=("normal",), noise=0.005)
    simulated.prepare(config, out, num_proc=1)
    return pathologies.read_normal(out)


@pytest.fixture(scope="module")
def made(normal) -> list[dict]:
    out = Pathologies(severity=(1.0, 1.0), side="right", people=10).fit(normal)(normal[:], range(4))
    return [dict(zip(out, values)) for values in zip(*out.values())]


def test_a_row_and_its_index_draw_the_same_in_any_batch_and_normal_walks_stay(normal, made):
    assert len(made) == 24 and [m["pathology"] for m in made[:6]] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(made[0]["joints"], normal[0]["joints"])
    again = Pathologies(severity=(1.0, 1.0), side="right", people=10).fit(normal)(normal[2:3], [2])
    np.testing.assert_allclose(made[15]["joints"], again["joints"][3], atol=1e-4)
    sides = {json.loads(m["attributes"])["side"] for m in made if m["pathology"]}
    assert sides == {"right"} and made[0]["severity"] == 0 and made[1]["severity"] == 1


def test_signs_appear_on_the_affected_side_of_the_same_person(normal, made):
    found = {name: [] for name in PATHOLOGIES}
    for m in made:
        found[PATHOLOGIES[m["pathology"]]].append(compute_gait_parameters(m["joints"], 30.0))
    mean = {n: {k: np.nanmean([r[k] for r in rows]) for k in rows[0]} for n, rows in found.items() if rows}
    usual = mean["normal"]
    assert mean["stiff_legged"]["knee_range_right"] < usual["knee_range_right"] - 20
    assert mean["steppage"]["foot_height_right"] > usual["foot_height_right"] + 0.04
    assert mean["lurch"]["trunk_lean_range_sagittal"] > usual["trunk_lean_range_sagittal"] + 6
    assert mean["antalgic"]["step_length_right"] < mean["antalgic"]["step_length_left"] - 0.05
    for name in ("antalgic", "lurch", "trendelenburg"):
        assert mean[name]["speed"] < 0.85 * usual["speed"], name
    bones = [np.linalg.norm(m["joints"][:, 13] - m["joints"][:, 12], axis=-1).mean() for m in made[:6]]
    assert np.ptp(bones) < 0.12 * bones[0]  # the same legs, roughly


def test_severity_is_graded(normal):
    ranges = []
    for severity in (0.25, 1.0):
        make = Pathologies(classes=("stiff_legged", "normal"), copies=1, severity=(severity, severity), side="left", people=10)
        joints = make.fit(normal)(normal[:1], [0])["joints"][0]
        ranges.append(compute_gait_parameters(joints, 30.0)["knee_range_left"])
    assert ranges[1] < ranges[0] - 10


def test_errors_say_what_is_wrong(normal, tmp_path):
    with pytest.raises(ValueError, match="fit it"):
        Pathologies()(normal[:1], [0])
    with pytest.raises(ValueError, match="classes: expected some of"):
        Pathologies(classes=("limp",)).fit(normal)
    with pytest.raises(ValueError, match="row 0: has 60.0 frames a second, expected 30"):
        Pathologies().fit(at_another_rate(normal, 60.0))
    lurch = normal.map(lambda row: {"pathology": PATHOLOGIES.index("lurch")})
    with pytest.raises(ValueError, match="normal walks alone, got lurch"):
        Pathologies().fit(lurch)
    with pytest.raises(SystemExit, match="error: .*holds no data set and no walk file"):
        pathologies.main(["--normal", str(tmp_path), "--output_dir", str(tmp_path / "o")])


def test_a_folder_of_files_becomes_a_data_set(tmp_path, capsys):
    (tmp_path / "in" / "anna").mkdir(parents=True)
    for i, joints in enumerate(simulate_walks(2, frames=110, pathology="normal").joints):
        np.savez(tmp_path / "in" / ("anna" if i else ".") / f"w{i}.npz", joints=joints, fps=30.0)
    pathologies.main(
        ["--normal", str(tmp_path / "in"), "--output_dir", str(tmp_path / "o"), "--copies", "3", "--num_proc", "1"]
    )
    assert "6 rows in" in capsys.readouterr().out
    data = datasets.load_dataset(str(tmp_path / "o"), split="train", cache_dir=str(tmp_path / "c"))
    assert set(data["subject_id"]) == {"anna", "w0"} and len(data[0]["captions"]) == 3
    assert [PATHOLOGIES[p] for p in data["pathology"]] == [
        *("normal", "antalgic", "stiff_legged"),
        *("antalgic", "stiff_legged", "lurch"),
    ]


def test_a_tokeniser_and_gpt2_train_on_it(tmp_path):
    """Normal walks of two healthy people -> a family that writes the six gaits."""
    (tmp_path / "in").mkdir()
    for i, joints in enumerate(simulate_walks(4, frames=110, pathology="normal").joints):
        np.savez(tmp_path / "in" / f"w{i}.npz", joints=joints, fps=30.0)
    data = ["--normal", tmp_path / "in", "--output_dir", tmp_path / "o", "--copies", "6", "--num_proc", "1"]
    pathologies.main([str(a) for a in data])
    common = ["--dataset", tmp_path / "o", "--output_dir"]
    run_script(train_vq, [*common, tmp_path / "vq", *VQ_ARGUMENTS])
    run_script(train_gpt2, [*common, tmp_path / "family", "--vq", tmp_path / "vq", *GPT2_ARGUMENTS])
    write = pipeline("text-to-gait", model=str(tmp_path / "family"))
    made = write(["lurch gait, right side", "normal gait"], seed=0)
    assert [m["description"].pathology for m in made] == ["lurch", "normal"] and np.isfinite(made[0]["joints"]).all()
    with pytest.raises(ValueError, match="parkinsonian"):
        write("parkinsonian gait")
