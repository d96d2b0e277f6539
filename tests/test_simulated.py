"""Tests of datasets_scripts/simulated.py: the simulator's walks as a data set."""

import json

import datasets
import numpy as np
import pytest

from datasets_scripts import simulated
from datasets_scripts.simulated import SimulatedConfig
from modeling_gait import schema as common
from modeling_gait.simulation import PATHOLOGIES

SMALL = {"num_walks": 28, "num_subjects": 4, "frames": 48}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> datasets.Dataset:
    out = tmp_path_factory.mktemp("sim")
    assert simulated.prepare(SimulatedConfig(**SMALL), out / "sim", num_proc=1) == 28
    return datasets.load_dataset(str(out / "sim"), split="train", cache_dir=str(out / "cache"))


def test_schema(loaded):
    assert loaded.features == common.walk_features() and len(loaded) == 28
    row = loaded.with_format("numpy")[3]
    assert row["joints"].shape == (48, 25, 3) and row["joints"].dtype == np.float32
    np.testing.assert_allclose(row["joints"][0, 0, :2], 0, atol=1e-6)
    attributes = json.loads(str(row["attributes"]))
    assert {"side", "age", "height", "footwear", "clothing", "load"} <= set(attributes)
    assert len(loaded[0]["captions"]) == 3


def test_every_subject_walks_every_class(loaded):
    cells = {(s, p) for s, p in zip(loaded["subject_id"], loaded["pathology"])}
    assert len(cells) == 4 * len(PATHOLOGIES)


def test_severity_is_known(loaded):
    severity = np.array(loaded["severity"])
    normal = np.array(loaded["pathology"]) == PATHOLOGIES.index("normal")
    assert (severity[normal] == 0).all() and ((severity >= 0) & (severity <= 1)).all() and severity.max() > 0


def test_captions_name_the_class(loaded):
    for row in loaded.remove_columns("joints"):
        name = PATHOLOGIES[row["pathology"]].replace("_", " ")
        assert name.split()[0] in row["captions"][0].replace("-", " "), row["captions"][0]


def test_the_seed_decides():
    configs = [SimulatedConfig(**SMALL, seed=s, domain=True) for s in (0, 0, 1)]
    rows = [simulated.make_row(simulated.list_walks(simulated.simulate(c), c)[5]) for c in configs]
    np.testing.assert_array_equal(rows[0]["joints"], rows[1]["joints"])
    assert rows[0]["captions"] == rows[1]["captions"]
    assert rows[0]["joints"].shape != rows[2]["joints"].shape or np.abs(rows[0]["joints"] - rows[2]["joints"]).max() > 0.01


def test_lost_samples_are_filled():
    clean = SimulatedConfig(num_walks=3, num_subjects=3, frames=60)
    lossy = SimulatedConfig(num_walks=3, num_subjects=3, frames=60, noise=0.01, dropout=0.05)
    walks = simulated.simulate(lossy)
    assert np.isnan(walks.joints).any()
    for walk, expected in zip(simulated.list_walks(walks, lossy), simulated.simulate(clean).joints):
        joints = simulated.make_row(walk)["joints"]
        assert np.isfinite(joints).all()
        if len(joints) == len(expected):  # nothing was cut at the ends
            assert np.median(np.abs(joints - (expected - expected[0, 0] * (1, 1, 0)))) < 0.03


def test_only_some_classes(tmp_path):
    simulated.prepare(
        SimulatedConfig(num_walks=4, num_subjects=2, frames=40, pathologies=("lurch", "steppage")), tmp_path / "o", 1
    )
    out = datasets.load_dataset(str(tmp_path / "o"), split="train", cache_dir=str(tmp_path / "c"))
    assert {PATHOLOGIES[p] for p in out["pathology"]} == {"lurch", "steppage"}
    card = (tmp_path / "o" / "README.md").read_text()
    assert "license: apache-2.0" in card and "never mix their numbers" in card and "| lurch | 2 |" in card


def test_builder_works_when_imported(tmp_path):
    builder = simulated.SimulatedBuilder(num_walks=7, num_subjects=1, frames=40, cache_dir=str(tmp_path))
    builder.download_and_prepare()
    assert len(builder.as_dataset("train")) == 7


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="num_walks and num_subjects must be at least 1, got 0 and 20"):
        simulated.prepare(SimulatedConfig(num_walks=0), tmp_path / "o", 1)
    with pytest.raises(SystemExit, match="error: .*dropout"):
        simulated.main(["--output_dir", str(tmp_path / "o"), "--dropout", "2"])
    assert not (tmp_path / "o").exists()


def test_command_line(tmp_path, capsys):
    simulated.main(
        ["--output_dir", str(tmp_path / "o"), "--num_walks", "3", "--num_subjects", "3", "--frames", "40", "--num_proc", "2"]
    )
    assert "3 rows in" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        simulated.main(["--help"])
    assert "--num_subjects" in capsys.readouterr().out
