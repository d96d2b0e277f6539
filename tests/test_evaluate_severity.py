"""The severity experiment: simulated people, measures, and the whole way to a result."""

import json

import numpy as np
import pytest
from conftest import run_script
from test_train_knowledge import encoder_folder  # noqa: F401

from experiments import severity as evaluate_severity
from experiments.severity import intervals, measure, simulate_scores, split_people


def test_scores_follow_the_severity_and_people_are_split():
    walks = simulate_scores(10, 4, noise=0.0, seed=3)
    assert walks.inputs.shape == (40, 64, 76) and walks.names == ["0", "1", "2", "3"]
    severity = np.random.default_rng([3, 1]).uniform(0, 1, 40)
    np.testing.assert_array_equal(walks.labels, np.round(3 * severity))
    assert np.corrcoef(walks.parameters[:, 0], severity)[0, 1] < -0.5  # the worse, the slower
    parts = split_people(walks.subjects, seed=0)
    people = [set(walks.subjects[rows]) for rows in parts]
    assert [len(p) for p in people] == [6, 2, 2] and len(set.union(*people)) == 10
    assert sorted(np.concatenate(parts).tolist()) == list(range(40))
    with pytest.raises(ValueError, match="too few"):
        split_people(np.array(["a", "b"]), 0)


def test_measures_of_perfect_and_of_blind_predictions(monkeypatch):
    monkeypatch.setattr(evaluate_severity, "DRAWS", 100)
    labels = np.arange(40) % 4
    perfect = measure(np.eye(4)[labels] * 50, labels)
    assert perfect["quadratic_kappa"] == 1 and perfect["ece"] < 1e-6 and perfect["mean_absolute_error"] < 1e-6
    blind = measure(np.zeros((40, 4)), labels)
    assert blind["quadratic_kappa"] == 0 and blind["accuracy"] == 0.25 and blind["ece"] < 1e-6
    rng = np.random.default_rng(0)
    logits, subjects = np.eye(4)[labels] + rng.normal(size=(40, 4)), np.repeat(np.arange(8), 5)
    found, around = measure(logits, labels), intervals(logits, labels, subjects)
    assert around["quadratic_kappa_ci_low"] < found["quadratic_kappa"] < around["quadratic_kappa_ci_high"]


def test_severity_from_simulation_to_result(encoder_folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate_severity, "ROOT", tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
    monkeypatch.setattr(evaluate_severity, "DRAWS", 20)
    given = ["--num_subjects", 10, "--walks_per_subject", 4, "--max_steps", 3, "--text_model", encoder_folder]
    run_script(evaluate_severity, [*given, "--mixed_precision", "no", "--output_dir", "out"])
    result = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    metrics = result["metrics"]
    assert metrics["people_trained_on"] == 6 and metrics["people_tested"] == 2 and len(result["rows"]) == 2
    assert {"quadratic_kappa", "ece", "ece_uncalibrated", "ece_ci_high"} <= set(metrics)
    assert (tmp_path / "model_cards/figures/out_reliability.png").stat().st_size > 5000
    about = json.loads((tmp_path / "out/config.json").read_text())
    assert about["id2label"] == {"0": "0", "1": "1", "2": "2", "3": "3"} and about["class_descriptions"]["3"]
