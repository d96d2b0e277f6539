"""Measures of retrieval against their definitions; the scripts on tiny data."""

import json

import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score
from test_modeling_gait_dual_encoder import write_sentence_encoder

from experiments import retrieval as evaluate_retrieval
from experiments.retrieval import (
    chance_ndcg,
    chance_scores,
    gather,
    ndcg,
    paired_difference,
    parameter_scores,
    question_scores,
    ranks,
    retrieval_scores,
    shared_attributes,
)
from modeling_gait.captions import WalkDescription

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


def test_differences_are_paired_by_subject_and_seed():
    rows = [{"variant": v, "subject": s, "seed": 0, "ndcg_at_10": x} for v, s, x in (
        ("clip", "1", 0.5), ("clip", "2", 0.9), ("clip", "3", 0.1), ("mse", "1", 0.4), ("mse", "2", 0.7),
    )]  # fmt: skip
    found = paired_difference(rows, "mse", "clip", "mse_")
    assert found["mse_ndcg_at_10_difference"] == pytest.approx(-0.15)
    assert found["mse_ndcg_at_10_difference_ci_low"] == pytest.approx(-0.2)
    assert paired_difference(rows, "siglip", "clip", "siglip_") == {}


def test_means_are_over_seeds_first_and_the_seeds_stated_are_those_of_everybody(tmp_path):
    (tmp_path / "rows").mkdir()
    for subject, seed, value in (("1", 0, 0.4), ("1", 1, 0.6), ("2", 0, 0.9)):
        row = {"variant": "clip", "subject": subject, "seed": seed, "ndcg_at_10": value, "questions": {}}
        (tmp_path / "rows" / f"{subject}-{seed}.json").write_text(json.dumps(row))
    metrics, rows = gather(tmp_path, "clip")
    assert metrics["ndcg_at_10"] == pytest.approx(0.7) and (metrics["subjects"], metrics["seeds"], len(rows)) == (2, 1, 3)


def write_config(folder, **kwargs):
    values = {"dataset": "x", "output_dir": "y", "max_steps": 3, "batch_size": 6, "num_frames": 32, "hidden_size": 16}
    values |= {"num_layers": 1, "num_heads": 2, "projection_size": 8, "warmup_steps": 1, "text_cache": str(folder / "cache")}
    values |= {"text_model": str(write_sentence_encoder(folder / "encoder", limit=512))}
    (folder / "config.json").write_text(json.dumps(values | kwargs))
    return folder / "config.json"


def test_script_makes_rows_once_and_gathers_them(dataset_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_retrieval, "ROOT", tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
    monkeypatch.setattr(evaluate_retrieval, "TSNE", lambda **_: type("T", (), {"fit_transform": lambda self, x: x[:, :2]})())
    seen = []
    real = evaluate_retrieval.fit_model
    monkeypatch.setattr(evaluate_retrieval, "fit_model", lambda a, w, *r: seen.append(len(w)) or real(a, w, *r))
    common = [
        "--dataset",
        dataset_folder,
        "--config",
        write_config(tmp_path),
        "--output_dir",
        tmp_path / "out",
        "--name",
        "tiny",
    ]
    arguments = [*common, "--subjects", "sim0_0001", "--variants", "clip", "label", "paper"]
    run_script(evaluate_retrieval, arguments)
    assert seen == [14, 14, 14]  # 21 walks of three people, without one person's
    result = json.loads((tmp_path / "model_cards" / "results" / "tiny.json").read_text())
    assert {r["variant"] for r in result["rows"]} == {"clip", "label", "paper"}
    metrics = result["metrics"]
    assert metrics["recall_at_10"] >= metrics["recall_at_1"] and 0 < metrics["chance_ndcg_at_10"] < 1
    assert metrics["label_ndcg_at_10"] > 0 and metrics["paper_ndcg_at_10"] > 0 and "label_chance_ndcg_at_10" not in metrics
    assert (tmp_path / "model_cards" / "figures" / "tiny.png").stat().st_size > 5000
    run_script(evaluate_retrieval, arguments)
    assert len(seen) == 3
    with pytest.raises(ValueError, match="no such subject: 99"):
        run_script(evaluate_retrieval, [*common, "--subjects", "99"])
    with pytest.raises(ValueError, match="unknown variants"):
        run_script(evaluate_retrieval, [*common, "--variants", "magic"])
