"""Appearance captions and the evaluation on tiny simulated data."""

import json

import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from test_evaluate_retrieval import write_config

from experiments import appearance as evaluate_appearance
from experiments.appearance import KINDS, WORDS, values_of, write_caption

PERSON = {"age": 70, "sex": "female", "height": 1.6, "mass": 70.0, "load": "none", "footwear": "heels", "clothing": "coat"}


def test_values_are_bands_of_the_attributes():
    expected = {"sex": "female", "age": "old", "stature": "short", "build": "heavy", "load": "no load", "footwear": "heels"}
    assert values_of(PERSON) == expected | {"clothing": "coat"}
    with pytest.raises(ValueError, match="mass missing"):
        values_of({k: v for k, v in PERSON.items() if k != "mass"})
    with pytest.raises(ValueError, match="load 'piano' has no words"):
        values_of(PERSON | {"load": "piano"})


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), kind=st.sampled_from(KINDS))
def test_captions_say_every_value_and_no_other(seed, kind):
    rng = np.random.default_rng(seed)
    values = {name: list(words)[rng.integers(len(words))] for name, words in WORDS.items()}
    text = write_caption(values, kind, rng)
    if kind == "raw":
        assert sorted(text.split(", ")) == sorted(values.values())
        return
    for name, words in WORDS.items():
        said = [
            v for v, phrases in words.items() for p in phrases if f" {p}," in text or f" {p} and" in text or f" {p}." in text
        ]
        assert set(said) == {values[name]}, (name, text)


def test_script(dataset_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_appearance, "ROOT", tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
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
    run_script(evaluate_appearance, [*common, "--num_folds", "3", "--folds", "0", "1"])
    result = json.loads((tmp_path / "model_cards" / "results" / "tiny.json").read_text())
    assert {(r["kind"], r["fold"]) for r in result["rows"]} == {(k, f) for k in KINDS for f in (0, 1)}
    metrics = result["metrics"]
    assert metrics["rich_minus_raw_ndcg_at_10"] == pytest.approx(metrics["rich_ndcg_at_10"] - metrics["raw_ndcg_at_10"])
    assert metrics["rich_ndcg_at_10_ci_low"] <= metrics["rich_ndcg_at_10"] and 0 < metrics["chance_ndcg_at_10"] < 1
    assert (tmp_path / "model_cards" / "figures" / "tiny.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="num_folds"):
        run_script(evaluate_appearance, [*common, "--num_folds", "99"])
