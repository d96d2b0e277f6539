"""knowledge.py, severity.py: metrics, numeracy, whole experiments on tiny data."""

import json

import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score
from test_train_knowledge import encoder_folder, knowledge_file, walks  # noqa: F401

from experiments import knowledge, severity
from experiments.knowledge import correlation, macro_f1, moments, numeracy, result_metrics, with_kept
from experiments.severity import intervals, measure, simulate_scores, split_people
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


def test_metrics():
    rows = [row(arm, s, 0.7 + 0.1 * (arm == "both")) for arm in ("plain", "both") for s in "123"]
    rows += [
        row(arm, s, 0.5 + gain * (arm == "both"), 1, 0.05) for arm in ("plain", "both") for s, gain in zip("123", (0, 0.1, 0.2))
    ]
    rows.append(row("numeric", "1", 0.9))  # not run for everybody
    metrics, numbers = result_metrics(rows)
    assert "accuracy_numeric" not in metrics and "video_accuracy_plain" not in metrics
    assert metrics["accuracy_plain"] == pytest.approx(0.7) and metrics["accuracy_both"] == pytest.approx(0.8)
    assert metrics["gain_points"] == pytest.approx(10) and metrics["seeds_both"] == 1
    assert metrics["gain_points_at_5_percent"] == pytest.approx(10)
    assert 0 <= metrics["gain_points_at_5_percent_ci_low"] < 10 < metrics["gain_points_at_5_percent_ci_high"] <= 20 + 1e-9
    assert metrics["parameters_r_at_least_08"] == 5 and len(numbers) == COUNT
    assert [n["r"] > 0.99 for n in numbers] == [True] * 5 + [False] * 41
    assert numeracy([r for r in rows if r["arm"] == "both" and r["share"] == 1])[0]["error"] < 0.02


def test_numeracy_of_a_branch_that_was_kept_stays(tmp_path):
    path, mine = tmp_path / "result.json", {"filmed_parameters_r_at_least_08": 5, "accuracy": 0.9}
    assert with_kept(mine, [{"branch": "filmed"}], path) == (mine, [{"branch": "filmed"}])
    old = {"parameters_r_at_least_08": 15, "filmed_parameters_r_at_least_08": 1, "accuracy": 0.1}
    path.write_text(json.dumps({"metrics": old, "numeracy": [{"branch": "skeleton"}, {"branch": "filmed", "r": 0.1}]}))
    metrics, numbers = with_kept(mine, [{"branch": "filmed"}], path)
    assert metrics == mine | {"parameters_r_at_least_08": 15} and numbers == [{"branch": "skeleton"}, {"branch": "filmed"}]


def test_it_runs_each_arm_once(dataset_folder, encoder_folder, knowledge_file, tmp_path, cards, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    given = ["--dataset", dataset_folder, "--output_dir", "out", "--name", "out", "--knowledge", knowledge_file]
    given += ["--text_model", encoder_folder]
    given += ["--epochs", 0.1, "--min_steps", 2, "--batch_size", 6, "--arms", "plain", "both", "--mixed_precision", "no"]
    run_script(knowledge, given)
    result = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    assert {(r["arm"], r["subject"]) for r in result["rows"]} == {
        (a, f"sim0_{i:04d}") for a in ("plain", "both") for i in range(3)
    }
    assert all(r["training_rows"] == 14 for r in result["rows"])
    assert {"accuracy_plain", "accuracy_both", "gain_points", "macro_f1_both"} <= set(result["metrics"])
    assert len(result["numeracy"]) == COUNT
    assert (tmp_path / "model_cards/figures/out_numeracy.png").stat().st_size > 5000
    few = [*given, "--train_people", 1, "--subjects", "sim0_0001", "--branch", "filmed", "--rows", "keep"]
    run_script(knowledge, few)
    more = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    rows = [r for r in more["rows"] if "people" in r]
    assert [(r["arm"], r["subject"], r["people"]) for r in rows] == [(a, "sim0_0001", 1) for a in ("both", "plain")]
    assert all(14 < r["training_rows"] <= 49 for r in rows), "as recorded, and six films of each"
    assert {"filmed_accuracy_plain_1_people", "filmed_both_gain_points_1_people"} <= set(more["metrics"])
    assert set(result["metrics"]) <= set(more["metrics"]), "those of before stay"
    monkeypatch.setattr(knowledge, "train_model", lambda *_: pytest.fail("run again"))
    run_script(knowledge, given)
    with pytest.raises(ValueError, match="no such subject: 77"):
        run_script(knowledge, [*given, "--subjects", "77"])
    with pytest.raises(SystemExit):
        run_script(knowledge, [*given, "--arms", "all"])
    assert "argument --arms: invalid choice: 'all'" in capsys.readouterr().err


def test_scores_follow_the_severity_and_people_are_split():
    found = simulate_scores(10, 4, noise=0.0, seed=3)
    assert found.inputs.shape == (40, 64, 76) and found.names == ["0", "1", "2", "3"]
    severity = np.random.default_rng([3, 1]).uniform(0, 1, 40)
    np.testing.assert_array_equal(found.labels, np.round(3 * severity))
    assert np.corrcoef(found.parameters[:, 0], severity)[0, 1] < -0.5  # the worse, the slower
    parts = split_people(found.subjects, seed=0)
    people = [set(found.subjects[rows]) for rows in parts]
    assert [len(p) for p in people] == [6, 2, 2] and len(set.union(*people)) == 10
    assert sorted(np.concatenate(parts).tolist()) == list(range(40))
    with pytest.raises(ValueError, match="too few"):
        split_people(np.array(["a", "b"]), 0)


def test_measures_of_perfect_and_of_blind_predictions(monkeypatch):
    monkeypatch.setattr(severity, "DRAWS", 100)
    labels = np.arange(40) % 4
    perfect = measure(np.eye(4)[labels] * 50, labels)
    assert perfect["quadratic_kappa"] == 1 and perfect["ece"] < 1e-6 and perfect["mean_absolute_error"] < 1e-6
    blind = measure(np.zeros((40, 4)), labels)
    assert blind["quadratic_kappa"] == 0 and blind["accuracy"] == 0.25 and blind["ece"] < 1e-6
    rng = np.random.default_rng(0)
    logits, subjects = np.eye(4)[labels] + rng.normal(size=(40, 4)), np.repeat(np.arange(8), 5)
    found, around = measure(logits, labels), intervals(logits, labels, subjects)
    assert around["quadratic_kappa_ci_low"] < found["quadratic_kappa"] < around["quadratic_kappa_ci_high"]


def test_severity_from_simulation_to_result(encoder_folder, tmp_path, cards, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(severity, "DRAWS", 20)
    given = ["--num_subjects", 10, "--walks_per_subject", 4, "--max_steps", 3, "--text_model", encoder_folder]
    run_script(severity, [*given, "--mixed_precision", "no", "--output_dir", "out", "--name", "out"])
    result = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    metrics = result["metrics"]
    assert metrics["people_trained_on"] == 6 and metrics["people_tested"] == 2 and len(result["rows"]) == 2
    assert {"quadratic_kappa", "ece", "ece_uncalibrated", "ece_ci_high"} <= set(metrics)
    assert (tmp_path / "model_cards/figures/out_reliability.png").stat().st_size > 5000
    about = json.loads((tmp_path / "out/config.json").read_text())
    assert about["id2label"] == {"0": "0", "1": "1", "2": "2", "3": "3"} and about["class_descriptions"]["3"]
