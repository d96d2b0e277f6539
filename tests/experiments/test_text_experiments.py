"""retrieval.py, actions.py, appearance.py: measures against their definitions; the experiments on tiny data."""

import json

import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from test_modeling_gait_dual_encoder import write_sentence_encoder
from test_train_text import write_recordings

from experiments import actions, appearance, retrieval
from experiments.actions import UNSEEN, UNSHARED, fair_scores, recognition_scores, unseen_scores
from experiments.appearance import KINDS, WORDS, values_of, write_caption
from experiments.retrieval import (
    chance_ndcg,
    chance_scores,
    ndcg,
    parameter_scores,
    question_scores,
    ranks,
    retrieval_scores,
    shared_attributes,
)
from modeling_gait.captions import WalkDescription
from modeling_gait.training.recordings import ACTIVITIES

seeds = st.integers(0, 10_000)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, n=st.integers(2, 30), ties=st.booleans())
def test_ndcg_is_that_of_scikit_learn(seed, n, ties):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (5, n)).astype(float) if ties else rng.standard_normal((5, n))
    gains = rng.integers(0, 6, (5, n)).astype(float)
    gains[:, 0] = 1
    assert ndcg(scores, gains) == pytest.approx(ndcg_score(gains, scores, k=10))
    best = ndcg(gains + rng.random((5, n)) / 9, gains)
    assert best == pytest.approx(1) and chance_ndcg(gains) <= 1 + 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=seeds, n=st.integers(3, 40))
def test_rank_is_the_place_of_the_best_right_item(seed, n):
    rng = np.random.default_rng(seed)
    scores, right = rng.standard_normal((6, n)), rng.random((6, n)) < 0.3
    right[:, 0] = True
    order = np.argsort(-scores, axis=1)
    expected = [1 + next(i for i, j in enumerate(o) if r[j]) for o, r in zip(order, right)]
    assert ranks(scores, right).tolist() == expected


def test_a_constant_score_ranks_in_the_middle():
    assert ranks(np.zeros((1, 5)), np.eye(1, 5, dtype=bool)).tolist() == [3]


def test_chance_is_what_random_orders_give():
    rng = np.random.default_rng(0)
    walk_ids = np.repeat(np.arange(10), 4)
    gains = rng.integers(0, 5, (40, 40))
    expected = chance_scores(gains, walk_ids)
    drawn = [retrieval_scores(rng.standard_normal((40, 40)), gains, walk_ids) for _ in range(150)]
    for key in ("recall_at_5", "walk_recall_at_5", "ndcg_at_10", "ndcg_exponential_at_10"):
        assert np.mean([d[key] for d in drawn]) == pytest.approx(expected[f"chance_{key}"], abs=0.02)


def describe(**kwargs) -> WalkDescription:
    return WalkDescription(**{"pathology": "steppage", "side": "right", "speed": 0.8, "cadence": 90.0, **kwargs})


def test_shared_attributes_are_counted_and_unknown_ones_are_not():
    walks = [describe(), describe(speed=0.85), describe(speed=0.95, side="left"), describe(side="unknown", cadence=None)]
    shared = shared_attributes(walks)
    assert shared.tolist() == [[4, 4, 2, 2], [4, 4, 3, 2], [2, 3, 4, 1], [2, 2, 1, 2]]


def test_the_numbers_alone_find_the_nearest_walk():
    walks = [describe(speed=0.5), describe(speed=0.9), describe(speed=1.3, cadence=None)]
    scores = parameter_scores(walks)
    assert scores.argmax(1).tolist() == [0, 1, 2] and scores[1, 0] > scores[2, 0]


def test_questions_of_an_attribute():
    walks, texts = np.eye(3)[[0] * 6 + [1] * 6 + [2] * 2], np.eye(3)
    truth = np.array(["a"] * 6 + ["b"] * 6 + ["c"] * 2)
    found = question_scores(walks, texts, ["a", "b", "c"], truth)  # c is too rare to count
    assert found["f1"] == found["average_precision"] == found["accuracy"] == 1 and found["chance_f1"] == 0.5
    swapped = question_scores(walks, texts[[1, 0, 2]], ["a", "b", "c"], truth)
    assert swapped["f1"] == 0
    assert question_scores(walks, texts, ["a", "b"], np.array(["a"] * 14)) == {}


def test_metrics_are_paired_and_seeds_are_those_of_everybody():
    values = (("clip", "1", 0, 0.4), ("clip", "1", 1, 0.6), ("clip", "2", 0, 0.9), ("clip", "3", 0, 0.1))
    values += (("mse", "1", 0, 0.3), ("mse", "2", 0, 0.7))
    rows = [{"variant": v, "subject": s, "seed": i, "ndcg_at_10": x, "questions": {}} for v, s, i, x in values]
    found = retrieval.result_metrics(rows)
    assert found["clip_ndcg_at_10"] == pytest.approx((0.5 + 0.9 + 0.1) / 3)
    assert (found["clip_subjects"], found["clip_seeds"]) == (3, 1)
    assert found["mse_ndcg_at_10_difference"] == pytest.approx(-0.15), "seed 1 of subject 1 has no pair"
    assert found["mse_ndcg_at_10_difference_ci_low"] == pytest.approx(-0.2)


def write_config(folder, **kwargs):
    values = {"dataset": "x", "output_dir": "y", "max_steps": 3, "batch_size": 6, "num_frames": 32, "hidden_size": 16}
    values |= {"num_layers": 1, "num_heads": 2, "projection_size": 8, "warmup_steps": 1, "text_cache": str(folder / "cache")}
    values |= {"text_model": str(write_sentence_encoder(folder / "encoder", limit=512))}
    (folder / "config.json").write_text(json.dumps(values | kwargs))
    return folder / "config.json"


def of(folder, data, *more) -> list:
    return ["--dataset", data, "--config", write_config(folder), "--output_dir", folder / "out", "--name", "tiny", *more]


def result_of(cards) -> dict:
    assert (cards / "figures" / "tiny.png").stat().st_size > 5000
    return json.loads((cards / "results" / "tiny.json").read_text())


def test_retrieval(dataset_folder, tmp_path, cards, monkeypatch, capsys):
    seen, real = [], retrieval.fit_model
    monkeypatch.setattr(retrieval, "fit_model", lambda a, w, *r: seen.append(len(w)) or real(a, w, *r))
    arguments = of(tmp_path, dataset_folder, "--subjects", "sim0_0001", "--variants", "values", "label", "paper")
    run_script(retrieval, arguments)
    assert seen == [14, 14, 14]  # 21 walks of three people, without one person's
    result = result_of(cards)
    metrics = result["metrics"]
    assert {r["variant"] for r in result["rows"]} == {"values", "label", "paper"}
    assert metrics["recall_at_10"] >= metrics["recall_at_1"] and 0 < metrics["chance_ndcg_at_10"] < 1
    assert metrics["hybrid_ndcg_at_10"] > max(metrics["ndcg_at_10"], metrics["chance_ndcg_at_10"])
    assert metrics["hybrid_paraphrase_ndcg_at_10"] > metrics["chance_ndcg_at_10"] and "label_hybrid_ndcg_at_10" not in metrics
    assert metrics["label_ndcg_at_10"] > 0 and metrics["paper_ndcg_at_10"] > 0 and "label_chance_ndcg_at_10" not in metrics
    run_script(retrieval, arguments)
    assert len(seen) == 3
    with pytest.raises(ValueError, match="no such subject: 99"):
        run_script(retrieval, of(tmp_path, dataset_folder, "--subjects", "99"))
    with pytest.raises(SystemExit):
        run_script(retrieval, of(tmp_path, dataset_folder, "--variants", "magic"))
    assert "argument --variants: invalid choice: 'magic'" in capsys.readouterr().err


# --- appearance --------------------------------------------------------------------------------------------------------------

PERSON = {"age": 70, "sex": "female", "height": 1.6, "mass": 70.0, "load": "none", "footwear": "heels", "clothing": "coat"}


def test_values_are_bands_of_the_attributes():
    expected = {"sex": "female", "age": "old", "stature": "short", "build": "heavy", "load": "no load", "footwear": "heels"}
    assert values_of(PERSON) == expected | {"clothing": "coat"}
    with pytest.raises(ValueError, match="mass missing"):
        values_of({k: v for k, v in PERSON.items() if k != "mass"})
    with pytest.raises(ValueError, match="load 'piano' has no words"):
        values_of(PERSON | {"load": "piano"})


@settings(max_examples=20, deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS))
def test_captions_say_every_value_and_no_other(seed, kind):
    rng = np.random.default_rng(seed)
    values = {name: list(words)[rng.integers(len(words))] for name, words in WORDS.items()}
    text = write_caption(values, kind, rng)
    if kind == "raw":
        assert sorted(text.split(", ")) == sorted(values.values())
        return
    for name, words in WORDS.items():
        said = {v for v, phrases in words.items() for p in phrases for end in (",", " and", ".") if f" {p}{end}" in text}
        assert said == {values[name]}, (name, text)


def test_appearance(dataset_folder, tmp_path, cards):
    run_script(appearance, of(tmp_path, dataset_folder, "--num_folds", "3", "--folds", "0", "1"))
    result = result_of(cards)
    metrics = result["metrics"]
    assert {(r["kind"], r["fold"]) for r in result["rows"]} == {(k, f) for k in KINDS for f in (0, 1)}
    assert metrics["rich_minus_raw_ndcg_at_10"] == pytest.approx(metrics["rich_ndcg_at_10"] - metrics["raw_ndcg_at_10"])
    assert metrics["rich_ndcg_at_10_ci_low"] <= metrics["rich_ndcg_at_10"] and 0 < metrics["chance_ndcg_at_10"] < 1
    with pytest.raises(ValueError, match="num_folds"):
        run_script(appearance, of(tmp_path, dataset_folder, "--num_folds", "99"))


# --- actions -----------------------------------------------------------------------------------------------------------------


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


def test_fair_scores_weigh_each_activity_and_both_groups():
    unseen, trained = ("running", "sitting"), np.array([ACTIVITIES.index(a) for a in ("walking", "standing")])
    labels = np.array([ACTIVITIES.index(a) for a in ("running", "running", "sitting", "walking", "walking", "standing")])
    plain = np.full((6, 12), -1.0)
    plain[:, trained[0]] = (0.1, 0.2, 0.3, 0.9, 0.8, 0.7)
    fair = np.zeros((6, 12))
    fair[np.arange(6), [labels[0], trained[0], labels[2], labels[3], labels[4], labels[0]]] = 1
    found = fair_scores(fair, plain, np.array([0.9, 0.8, 0.7, 0.1, 0.2, 0.3]), labels, unseen, trained)
    assert (found["zero_shot_top1_of_all"], found["seen_top1_of_all"]) == (0.75, 0.5)
    assert (found["zero_shot_top1_of_all_plain"], found["seen_top1_of_all_plain"]) == (0, 0.5)
    assert found["harmonic_mean"] == pytest.approx(0.6) and found["none_of_these_auroc"] == 1
    fair[1] = np.eye(12)[ACTIVITIES.index("walking")]
    fair[2] = np.eye(12)[ACTIVITIES.index("sitting_in_car")]
    merged = fair_scores(fair, plain, np.arange(6), labels, unseen, trained)
    assert (merged["zero_shot_top1_of_all"], merged["zero_shot_top1_of_all_merged"]) == (0.25, 0.75)


def test_an_interval_is_of_the_rows_that_its_mean_is_of():
    rows = [{"kind": "unseen_0", "fold": f, "seed": 0, "zero_shot_top1_of_all": 0.0} for f in (0, 1)]
    metrics = actions.result_metrics([*rows, {"kind": "fair_0", "fold": 0, "seed": 0, "zero_shot_top1_of_all": 0.5}])
    assert metrics == {"zero_shot_top1_of_all": 0.5}


def test_actions(tmp_path, cards, monkeypatch, capsys):
    encoder, real, fit, fits = (
        write_sentence_encoder(tmp_path / "encoder", limit=512),
        actions.TextArguments,
        actions.fit_model,
        [],
    )
    monkeypatch.setattr(actions, "TextArguments", lambda **k: real(**k, text_model=str(encoder)))

    def spy(args, windows, *rest):
        fits.append((set(windows.recordings.subjects), {ACTIVITIES[i] for i in windows.recordings.labels}))
        return fit(args, windows, *rest)

    monkeypatch.setattr(actions, "fit_model", spy)
    data = write_recordings(tmp_path / "data", subjects=("1", "2", "3"))
    common = ["--dataset", data, "--output_dir", tmp_path / "out", "--name", "tiny", "--text_cache", tmp_path / "cache"]
    size = "--max_steps 3 --batch_size 6 --hidden_size 16 --num_layers 1 --num_folds 3 --mixed_precision no"
    arguments = [
        *common,
        *size.split(),
        "--folds",
        "0",
        "--kinds",
        "descriptions",
        "classifier",
        "unseen_0",
        "unseen_2",
        "fair_0",
    ]
    run_script(actions, arguments)
    assert fits == [({"2", "3"}, {"walking", "sitting", "standing"}), *[({"2", "3"}, {"walking", "standing"})] * 2]
    result = result_of(cards)
    assert {r["kind"] for r in result["rows"]} == {
        "descriptions",
        "classifier",
        "unseen_0",
        "fair_0",
    }  # nobody shows those of unseen_2
    metrics = result["metrics"]
    assert {"top1", "top5", "probe_top1", "classifier_top1", "zero_shot_top1", "zero_shot_sitting"} <= set(metrics)
    fair = {"seen_top1_of_all", "harmonic_mean", "none_of_these_auroc", "none_of_these_auroc_described"}
    assert fair | {"zero_shot_top1_of_all_plain"} <= set(metrics)
    assert metrics["probe_top1"] > 0.9  # the activities are 4 standard deviations apart
    run_script(actions, arguments)
    assert len(fits) == 3
    with pytest.raises(SystemExit):
        run_script(actions, [*common, "--kinds", "magic"])
    assert "argument --kinds: invalid choice: 'magic'" in capsys.readouterr().err
