"""300 files broken at random: a result or an error that names the file (experiments/fuzz.py runs 10,000)."""

import warnings

import numpy as np

from experiments.fuzz import CHANGES, JUDGED, good_files, measure, run, try_input


def test_broken_files_end_in_a_result_or_a_named_error(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = run(tmp_path, 300, seed=5, frames=64)
    assert not [row for row in rows if row["outcome"] == "crash"]
    assert {row["outcome"] for row in rows} >= {"error", "result"} and len({row["file"] for row in rows}) == 16
    assert sum(row["outcome"] in ("silently wrong", "restated") for row in rows) <= 3


def test_every_change_changes(tmp_path):
    data = good_files(tmp_path, 20)[0].read_bytes()
    for change in CHANGES:
        assert any(change(bytearray(data), np.random.default_rng(seed)) != data for seed in range(5)), change.__name__


def test_a_wrong_number_and_a_crash_are_told(tmp_path, monkeypatch):
    path = good_files(tmp_path, 64)[0]
    numbers, sentences, fps = measure(path)
    assert try_input(path, (numbers, sentences, fps)) == ("result", "")
    for name in JUDGED:
        assert try_input(path, (numbers | {name: numbers[name] + 50}, sentences, fps))[0] == "silently wrong"
    assert try_input(path, (numbers | {"speed": 9.0}, sentences, fps / 2))[0] == "restated"
    monkeypatch.setattr("experiments.fuzz.read_recording", lambda *_, **__: 1 / 0)
    assert try_input(path, (numbers, sentences, fps))[0] == "crash"
