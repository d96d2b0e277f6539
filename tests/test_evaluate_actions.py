"""Action recognition by description: scores, and the script on tiny recordings."""

import json

import numpy as np
import pytest
from conftest import run_script
from test_modeling_gait_dual_encoder import write_sentence_encoder
from test_train_text import write_recordings

from experiments import actions as evaluate_actions
from experiments.actions import UNSEEN, UNSHARED, recognition_scores, unseen_scores
from modeling_gait.training.recordings import ACTIVITIES


def test_recognition_scores():
    labels = np.array([ACTIVITIES.index(a) for a in ("walking", "standing", "up_by_elevator", "bicycling")])
    scores = np.zeros((4, 12))
    scores[0, labels[0]] = 1
    scores[1, ACTIVITIES.index("up_by_elevator")] = 2
    scores[1, labels[1]] = 1
    scores[2, ACTIVITIES.index("standing")] = 1
    scores[2, ACTIVITIES.index("running")] = 3
    scores[3, labels[3]] = 1
    found = recognition_scores(scores, labels)
    assert found["top1"] == pytest.approx(1 / 3) and found["top1_merged"] == pytest.approx(2 / 3)
    assert found["unshared_top1"] == 1 and np.array(found["confusion"]).sum() == 4
    assert found["top5"] >= 2 / 3 and "unshared_top1" not in recognition_scores(scores[:3], labels[:3])


def test_unseen_scores_choose_among_the_three_and_among_all():
    unseen = ("running", "sitting", "up_by_elevator")
    ids = [ACTIVITIES.index(a) for a in unseen]
    labels = np.array([ids[0], ids[0], ids[1], ACTIVITIES.index("walking")])
    scores = np.full((4, 12), -1.0)
    scores[0, ids[0]] = 1
    scores[1, [ids[0], ACTIVITIES.index("walking")]] = 1, 2  # right among the three only
    scores[2, ids[2]] = 1
    found = unseen_scores(scores, labels, unseen)
    assert found["zero_shot_each"] == {"running": 1.0, "sitting": 0.0}
    assert found["zero_shot_top1"] == 0.5 and found["zero_shot_top1_of_all"] == 0.25
    assert found["zero_shot_chance"] == pytest.approx(1 / 3)


def test_every_activity_is_unseen_once():
    assert sorted(a for group in UNSEEN for a in group) == sorted(ACTIVITIES) and set(UNSHARED) <= set(UNSEEN[3])


def test_script_makes_rows_once_and_gathers_them(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_actions, "ROOT", tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
    encoder = write_sentence_encoder(tmp_path / "encoder", limit=512)
    real = evaluate_actions.TextArguments
    monkeypatch.setattr(evaluate_actions, "TextArguments", lambda **k: real(**k, text_model=str(encoder)))
    fits = []
    fit = evaluate_actions.fit_model

    def spy(args, windows, *rest):
        fits.append((set(windows.recordings.subjects), {ACTIVITIES[i] for i in windows.recordings.labels}))
        return fit(args, windows, *rest)

    monkeypatch.setattr(evaluate_actions, "fit_model", spy)
    data = write_recordings(tmp_path / "data", subjects=("1", "2", "3"))
    common = ["--dataset", data, "--output_dir", tmp_path / "out", "--name", "tiny", "--text_cache", tmp_path / "cache"]
    size = [
        "--max_steps",
        "3",
        "--batch_size",
        "6",
        "--hidden_size",
        "16",
        "--num_layers",
        "1",
        "--num_folds",
        "3",
        "--mixed_precision",
        "no",
    ]
    arguments = [*common, *size, "--folds", "0", "--kinds", "descriptions", "classifier", "unseen_0", "unseen_2"]
    run_script(evaluate_actions, arguments)
    assert fits == [({"2", "3"}, {"walking", "sitting", "standing"}), ({"2", "3"}, {"walking", "standing"})]
    result = json.loads((tmp_path / "model_cards" / "results" / "tiny.json").read_text())
    assert {r["kind"] for r in result["rows"]} == {"descriptions", "classifier", "unseen_0"}  # nobody shows those of unseen_2
    metrics = result["metrics"]
    assert {"top1", "top5", "probe_top1", "classifier_top1", "zero_shot_top1", "zero_shot_sitting"} <= set(metrics)
    assert metrics["probe_top1"] > 0.9  # the activities are 4 standard deviations apart
    assert (tmp_path / "model_cards" / "figures" / "tiny.png").stat().st_size > 5000
    run_script(evaluate_actions, arguments)
    assert len(fits) == 2
    with pytest.raises(ValueError, match="unknown kinds"):
        run_script(evaluate_actions, [*common, "--kinds", "magic"])
    with pytest.raises(ValueError, match="num_folds"):
        run_script(evaluate_actions, [*common, "--num_folds", "9"])
