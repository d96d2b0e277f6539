"""sim_to_real.py: what is asked of the shipped family, and what rows become."""

import numpy as np
import pytest

from experiments.sim_to_real import CLASSES, asked_of, scores, summarise
from modeling_gait.captions import read_prompt


def test_prompts_ask_for_each_class_as_gist_shows_it():
    asked = asked_of(12, 0)
    assert [a.pathology for a in asked] == [*CLASSES, *CLASSES] and asked_of(12, 0) == asked != asked_of(12, 1)
    assert {a.side for a in asked if a.pathology != "normal"} == {"right"}
    assert all(0.6 <= a.severity <= 1 for a in asked if a.pathology != "normal") and asked[0].severity is None
    assert [read_prompt(a.to_prompt()).pathology for a in asked] == [*CLASSES, *CLASSES]


def test_rows_become_means_and_recalls():
    truth = np.repeat(np.arange(6), 2)
    half, none = scores(truth, np.where(np.arange(12) % 2, truth, 0)), scores(truth, truth)
    made = {f"generated_{k}": v for k, v in half.items()}
    rows = [
        {"arm": "simulated", "held_out": "0", "seed": 0, "fgd": 3.0, **half},
        {"arm": "simulated", "held_out": "1", "seed": 0, "fgd": 5.0, **none},
        {"arm": "released", "held_out": "none", "seed": 0, "fgd_generated": 7.0, **made},
    ]
    found = summarise(rows)
    assert half["accuracy"] == pytest.approx(7 / 12) and found["generated_read_as_asked"] == pytest.approx(7 / 12, abs=1e-4)
    assert found["accuracy"] == pytest.approx(19 / 24, abs=1e-4) and found["fgd"] == 4 and found["fgd_generated"] == 7
    assert found["recall_normal"] == 1 and found["recall_lurch"] == 0.75 and "no_patient_accuracy" not in found
