"""The judge of files of other labs, on a simulated walk."""

import json

import numpy as np
import pytest

from experiments.files_real import TABLE, judge
from modeling_gait.export import write_csv
from modeling_gait.simulation import simulate_walks


@pytest.mark.parametrize(
    "row, outcome",
    [
        ({"reference": {"speed": 1.2}}, "right"),
        ({"reference": {"speed": [1.0, 1.3], "cadence": [50, 200]}}, "right"),
        ({"reference": {"speed": 0.9}}, "silently wrong"),
        ({"reference": {"cadence": [20, 50]}}, "silently wrong"),
        ({"refuse": "a dog"}, "silently wrong"),
    ],
)
def test_outcomes(tmp_path, row, outcome):
    walk = simulate_walks(1, frames=96, seed=3, pathology="normal", speed=1.2)
    write_csv(tmp_path / "w.csv", walk.joints[0], walk.fps)
    assert judge(tmp_path / "w.csv", row)["outcome"] == outcome
    np.save(tmp_path / "w.npy", np.zeros((4, 5)))
    assert judge(tmp_path / "w.npy", row)["outcome"] == "refused"


def test_the_table_is_whole():
    rows = json.loads(TABLE.read_text())
    assert len(rows) >= 25 and len({row["format"] for row in rows}) >= 10
    for row in rows:
        assert {"repository", "path", "licence", "format"} <= row.keys() and ("reference" in row) != ("refuse" in row)
        assert "refuse" in row or row["of"]
