"""evaluate_knowledge.py: metrics, numeracy, resuming."""

import json

import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score
from test_train_knowledge import encoder_folder, knowledge_file, walks  # noqa: F401

from experiments import knowledge as evaluate_knowledge
from experiments.knowledge import correlation, gather, macro_f1, moments, numeracy
from modeling_gait.training.knowledge import PARAMETERS

COUNT = len(PARAMETERS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(1, 40))
def test_macro_f1_of_a_confusion_matrix(seed, size):
    rng = np.random.default_rng(seed)
    true, said = rng.integers(0, 4, (2, size))
    expected = f1_score(true, said, labels=range(4), average="macro", zero_division=0)
    assert macro_f1(confusion_matrix(true, said, labels=range(4))) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_sums_of_parts_give_the_correlation_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    said, measured = rng.normal(3, 1, (2, 30, COUNT))
    measured[rng.random(measured.shape) < 0.2] = np.nan
    parts = [moments(said[i::3], measured[i::3]) for i in range(3)]
    for i, p in enumerate(PARAMETERS):
        known = np.isfinite(measured[:, i])
        total = np.sum([part[p.name] for part in parts], axis=0)
        assert total[0] == known.sum()
        assert correlation(total) == pytest.approx(np.corrcoef(said[known, i], measured[known, i])[0, 1], abs=1e-6)
        assert total[6] / total[0] == pytest.approx(np.abs(said - measured)[known, i].mean())
    assert np.isnan(correlation(np.zeros(7)))


def row(arm: str, subject: str, accuracy: float, seed: int = 0, share: float = 1.0) -> dict:
    out = {"arm": arm, "classifier": "skeleton", "subject": subject, "seed": seed, "share": share}
    out |= {"accuracy": accuracy, "accuracy_by_walk": accuracy, "macro_f1": accuracy, "confusion": [[1, 0], [0, 1]]}
    if arm == "both":
        rng = np.random.default_rng(int(subject))
        measured = rng.normal(size=(12, COUNT)) + int(subject)
        said = measured + rng.normal(size=measured.shape) * np.where(np.arange(COUNT) < 5, 0.01, 50)
        out |= {"parameters": moments(said, measured), "class_parameters": moments(said[:6], measured[:6])}
    return out


def test_metrics_of_a_folder(tmp_path):
    rows = [row(arm, s, 0.7 + 0.1 * (arm == "both")) for arm in ("plain", "both") for s in "123"]
    rows += [
        row(arm, s, 0.5 + gain * (arm == "both"), 1, 0.05) for arm in ("plain", "both") for s, gain in zip("123", (0, 0.1, 0.2))
    ]
    rows.append(row("numeric", "1", 0.9))  # not run for everybody
    (tmp_path / "rows").mkdir()
    for i, r in enumerate(rows):
        (tmp_path / "rows" / f"{i}.json").write_text(json.dumps(r))
    metrics, numbers, kept = gather(tmp_path)
    assert len(kept) == 13 and "accuracy_numeric" not in metrics and "video_accuracy_plain" not in metrics
    assert metrics["accuracy_plain"] == pytest.approx(0.7) and metrics["accuracy_both"] == pytest.approx(0.8)
    assert metrics["gain_points"] == pytest.approx(10) and metrics["seeds_both"] == 1
    assert metrics["gain_points_at_5_percent"] == pytest.approx(10)
    assert 0 <= metrics["gain_points_at_5_percent_ci_low"] < 10 < metrics["gain_points_at_5_percent_ci_high"] <= 20 + 1e-9
    assert metrics["parameters_r_at_least_08"] == 5 and len(numbers) == COUNT
    assert [n["r"] > 0.99 for n in numbers] == [True] * 5 + [False] * 41
    assert numeracy([r for r in rows if r["arm"] == "both" and r["share"] == 1])[0]["error"] < 0.02


def test_it_runs_each_arm_once(dataset_folder, encoder_folder, knowledge_file, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
    monkeypatch.setattr(evaluate_knowledge, "ROOT", tmp_path)
    given = ["--dataset", dataset_folder, "--output_dir", "out", "--knowledge", knowledge_file, "--text_model", encoder_folder]
    given += ["--epochs", 0.1, "--min_steps", 2, "--batch_size", 6, "--arms", "plain", "both", "--mixed_precision", "no"]
    run_script(evaluate_knowledge, given)
    result = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    assert {(r["arm"], r["subject"]) for r in result["rows"]} == {
        (a, f"sim0_{i:04d}") for a in ("plain", "both") for i in range(3)
    }
    assert all(r["training_rows"] == 14 for r in result["rows"])
    assert {"accuracy_plain", "accuracy_both", "gain_points", "macro_f1_both"} <= set(result["metrics"])
    assert len(result["numeracy"]) == COUNT
    assert (tmp_path / "model_cards/figures/out_numeracy.png").stat().st_size > 5000
    monkeypatch.setattr(evaluate_knowledge, "train_model", lambda *_: pytest.fail("run again"))
    run_script(evaluate_knowledge, given)
    with pytest.raises(ValueError, match="no such subject: 77"):
        run_script(evaluate_knowledge, [*given, "--subjects", "77"])
    with pytest.raises(ValueError, match="unknown arms all"):
        run_script(evaluate_knowledge, [*given, "--arms", "all"])
