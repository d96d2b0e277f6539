"""unseen_class.py: words, features, and walks that do what the words say."""

import json

import numpy as np
import pytest
from conftest import run_script

from experiments import unseen_class
from experiments.unseen_class import FEATURES, features, foreseen, measure, words
from modeling_gait.gait_classes import load_classes


def test_features_are_means_and_differences_of_sides():
    row = dict.fromkeys(unseen_class.NAMES, 1.0) | {"knee_range_left": 50.0, "knee_range_right": 40.0, "speed": None}
    found = dict(zip(FEATURES, features([row | {"stance_asymmetry": -0.2}])[0]))
    assert found["knee_range"] == 45 and found["knee_range_between_sides"] == 10
    assert np.isnan(found["speed"]) and found["stance_asymmetry"] == pytest.approx(0.2)


def test_words_of_a_class():
    said = dict(zip(FEATURES, words(load_classes("gait")["stiff_legged"])))
    assert said["speed"] == said["peak_knee_flexion"] == -1 and said["pelvic_obliquity_range"] == 1
    assert said["knee_range_between_sides"] == 1 and said["cadence"] == 0
    assert not words(load_classes("gait")["normal"]).any()


def test_foreseen_moves_as_far_as_the_seen_classes_do():
    others, moved = np.array([[-1, 0, 1], [-1, 1, 0]]), np.array([[-2.0, 0.5, 3.0], [-4.0, 1.0, 0.1]])
    np.testing.assert_allclose(foreseen(np.array([1, 0, -1]), others, moved), [3.0, 0.5, -3.0])


def planted(walks=8):
    """Six people, normal and five classes that move what their words say by 3 SD, and nothing else."""
    rng, says = np.random.default_rng(0), np.zeros((6, len(FEATURES)))
    for k in range(1, 6):
        says[k, 3 * k : 3 * k + 4] = rng.choice([-1, 1], 4)  # two classes name each second feature
    labels = np.tile(np.repeat(np.arange(6), walks), 6)
    subjects = np.repeat([str(i) for i in range(6)], 6 * walks)
    return rng.normal(size=(len(labels), len(FEATURES))) + 3 * says[labels], labels, subjects, says


def test_a_class_that_does_what_its_words_say_is_found():
    x, labels, subjects, says = planted()
    found = measure(x, labels, subjects, says, "2", 3)
    r = lambda m, end="": np.corrcoef(m[f"foreseen{end}"], m["measured"])[0, 1]  # noqa: E731
    assert found["unseen_accuracy"] > 0.9 and found["seen_accuracy"] > 0.9 and r(found) > 0.8 > r(found, "_without_words")
    wrong = says.copy()
    wrong[3] = -says[3]
    assert r(measure(x, labels, subjects, wrong, "2", 3)) < -0.5


def test_nothing_of_the_person_or_the_class_held_out_is_fitted(monkeypatch):
    x, labels, subjects, says = planted()
    hidden = (subjects == "2") | (labels == 3)
    real, seen = unseen_class.place, []
    monkeypatch.setattr(unseen_class, "place", lambda *a: seen.append(real(*a)) or seen[-1])
    measure(x, labels, subjects, says, "2", 3)
    before, x[hidden] = list(seen), 99.0
    seen.clear()
    measure(x, labels, subjects, says, "2", 3)
    for a, b in zip(before, seen, strict=True):
        np.testing.assert_array_equal(a["moved"], b["moved"])
        np.testing.assert_array_equal(a["covariance"], b["covariance"])


def test_from_walks_to_a_result(tmp_path, cards, monkeypatch):
    rng = np.random.default_rng(0)
    names = ["antalgic", "normal", "steppage", "stiff_legged"]
    rows = [(s, n) for s in "123" for n in names for _ in range(6)]
    values = [json.dumps(dict(zip(unseen_class.NAMES, rng.normal(1 + names.index(n), 0.1, 46)))) for _, n in rows]
    data = {"subject_id": [s for s, _ in rows], "gait_parameters": values}
    monkeypatch.setattr(unseen_class, "load_walks", lambda _: data)
    monkeypatch.setattr(unseen_class, "class_labels", lambda _: (np.array([names.index(n) for _, n in rows]), names))
    monkeypatch.chdir(tmp_path)
    run_script(unseen_class, ["--dataset", "gist", "--output_dir", "out", "--name", "out"])
    result = json.loads((tmp_path / "model_cards/results/out.json").read_text())
    assert len(result["rows"]) == 12 and {r["unseen"] for r in result["rows"]} == set(names)
    keys = {"unseen_class_accuracy", "unseen_class_parameter_r", "words_gain_points_ci_low", "chance", "harmonic_mean"}
    assert keys <= set(result["metrics"]) and result["metrics"]["chance"] == 0.25
