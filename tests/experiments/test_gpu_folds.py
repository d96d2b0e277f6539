"""gpu_folds.py: what is packed comes back to half a millimetre, and every fold is run, the failed ones by name."""

import json
import sys

import numpy as np
import pytest

from experiments import gpu_folds
from modeling_gait.training.data import open_rows


def test_packed_walks_come_back(dataset_folder, tmp_path):
    data = open_rows(str(dataset_folder))
    gpu_folds.pack(data, tmp_path / "walks.npz")
    assert gpu_folds.unpack(tmp_path / "walks.npz", tmp_path / "data") == len(data)
    again = open_rows(str(tmp_path / "data"))
    assert again.features == data.features
    for was, now in zip(data, again):
        np.testing.assert_allclose(was["joints"], now["joints"], atol=0.00051)
        for name in ("subject_id", "walk_id", "sensor", "pathology", "attributes", "fps"):
            assert was[name] == now[name]
        speeds = [json.loads(row["gait_parameters"])["speed"] for row in (was, now)]
        assert speeds[1] == pytest.approx(speeds[0], abs=0.01)


def test_failed_folds_are_named(dataset_folder, tmp_path, monkeypatch):
    data = open_rows(str(dataset_folder))
    people = sorted(set(data["subject_id"]))[:2]
    gpu_folds.pack(data, tmp_path / "walks.npz")
    false = tmp_path / "false"
    false.write_text(f"#!{sys.executable}\nimport sys\nsys.exit(sys.argv[-1] == '{people[1]}')\n")
    false.chmod(0o755)
    monkeypatch.setattr(gpu_folds.sys, "executable", str(false))
    with pytest.raises(RuntimeError, match=f"folds {people[1]} failed"):
        gpu_folds.run(tmp_path / "walks.npz", tmp_path / "out", people, 1)
    assert (tmp_path / "out" / f"fold_{people[0]}.log").exists()
