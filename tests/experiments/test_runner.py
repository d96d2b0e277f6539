"""runner.py: rows are made once, say how, are shared and are not mixed; numbers are paired; results name what made them."""

import json
import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from experiments import runner
from experiments.runner import Rows, RunArguments, claimed, groups, held_out, interval, read_rows, run_all, split

RUNS = [{"arm": a, "subject": s, "seed": 0} for a in ("x", "y") for s in ("1", "2")]


@dataclass(kw_only=True)
class Arguments(RunArguments):
    steps: int = 5
    arms: list[str] = field(default_factory=list)


@pytest.fixture
def args(tmp_path, cards) -> Arguments:
    return Arguments(dataset="data/toy", output_dir=str(tmp_path / "out"), name="toy")


def made(calls: list):
    return lambda run: calls.append(run) or {"value": float(len(calls))}


def test_a_run_is_made_once_whole_or_not_at_all(args, tmp_path):
    calls = []

    def broken(run):
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made(calls)(run)

    with pytest.raises(KeyboardInterrupt):
        run_all(args, RUNS, broken)
    assert len(read_rows(args.output_dir)) == 2
    rows = run_all(args, RUNS, made(calls))
    assert calls == RUNS and [r["value"] for r in rows] == [1, 2, 3, 4]
    assert rows[0]["about"]["arguments"] == {"dataset": "toy", "steps": 5, "arms": []}
    assert {p.name for p in (tmp_path / "out" / "rows").glob("*.json")} == {f"{a}-{s}-0.json" for a in "xy" for s in "12"}
    run_all(args, RUNS, lambda run: pytest.fail("made again"))


def test_other_arguments_are_refused_by_name(args):
    run_all(args, RUNS[:1], made([]), listed=("arms",))
    args.steps = 6
    with pytest.raises(ValueError, match=r"x-1-0 was made with --steps 5, not 6: another --output_dir"):
        run_all(args, RUNS, made([]), listed=("arms",))
    with pytest.raises(ValueError, match="--steps 5, not 6"):
        run_all(args, RUNS[1:2], made([]), listed=("arms",), within=("arm",))
    assert len(run_all(args, RUNS[2:], made([]), listed=("arms",), within=("arm",))) == 3, "rows that differ in arm may"
    args.steps, args.seeds, args.arms = 5, [0, 1], ["x"]
    run_all(args, RUNS[:2], made([]), listed=("arms",), within=("arm",))


def test_a_run_may_have_no_row_or_many(args):
    rows = run_all(args, RUNS[:2], lambda run: None if run["subject"] == "1" else [{"k": 1}, {"k": 2}])
    assert [(r["subject"], r["k"]) for r in rows] == [("2", 1), ("2", 2)]


def test_rows_of_a_result_are_not_lost_unasked(args, cards, tmp_path):
    old = [run | {"value": 0.5} for run in RUNS[:2]]
    (cards / "results").mkdir(parents=True)
    runner.result_path("toy").write_text(json.dumps({"rows": old, "command": "python -m experiments.old"}))
    with pytest.raises(ValueError, match=r"toy.json has 2 of 2 rows that .* lacks: --rows keep, --rows drop"):
        run_all(args, RUNS, made([]))
    args.rows = "keep"
    calls = []
    rows = run_all(args, RUNS, made(calls))
    assert calls == RUNS[2:] and [r["value"] for r in rows] == [0.5, 0.5, 1, 2]
    runner.write_result("toy", "data/toy", "by hand", {}, rows)
    result = json.loads(runner.result_path("toy").read_text())
    assert result["command"].startswith("python -m experiments.old; python") and "about" not in result["rows"][0]
    args.rows, args.output_dir = "drop", str(tmp_path / "anew")
    run_all(args, RUNS, made(calls))
    assert calls == RUNS[2:] + RUNS


def test_processes_share_the_runs(args):
    """Here they are threads; each opens the claims by itself, as processes do."""
    calls = []
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(run_all, args, RUNS * 5, made(calls)) for _ in range(2)]
        [future.result() for future in both]
    assert sorted(map(str, calls)) == sorted(map(str, RUNS)), "each run once"


def die_with(path) -> None:
    with claimed(path) as mine:
        os._exit(0 if mine else 1)


def test_a_process_that_dies_lets_go(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=die_with, args=(tmp_path / "x.lock",))
    process.start()
    process.join()
    assert process.exitcode == 0
    with claimed(tmp_path / "x.lock") as mine, claimed(tmp_path / "x.lock") as other:
        assert mine and not other


# --- people ------------------------------------------------------------------------------------------------------------------


def test_everyone_is_held_out_once():
    subjects = np.array([str(i) for i in (10, 2, 1, 3, 3, 7)])
    assert held_out(subjects, []) == ["1", "2", "3", "7", "10"] and held_out(subjects, ["7"]) == ["7"]
    with pytest.raises(ValueError, match="toy: no such subject: 4; there are 1, 2, 3, 7, 10"):
        held_out(subjects, ["4"], "toy")
    parts = groups(subjects, 2)
    assert parts == [["1", "3", "10"], ["2", "7"]]
    train, test = split(subjects, parts[0])
    assert test.tolist() == [0, 2, 3, 4] and train.tolist() == [1, 5]
    for count, asked in ((1, []), (6, []), (2, [2])):
        with pytest.raises(ValueError, match="num_folds must be 2 to 5"):
            groups(subjects, count, asked)


# --- numbers -----------------------------------------------------------------------------------------------------------------


def test_intervals():
    assert interval("x", np.array([2.0])) == {"x": 2.0}, "one person has no interval"
    assert interval("x", np.array([2.0, 2.0])) == {"x": 2.0, "x_ci_low": 2.0, "x_ci_high": 2.0}


def test_gains_are_paired_and_seeds_do_not_weigh():
    cells = [("a", "1", 0, 5), ("a", "1", 1, 9), ("a", "2", 0, 1)]
    cells += [("b", "1", 0, 6), ("b", "1", 2, 99), ("b", "2", 0, 4), ("b", "3", 0, 8)]
    table = Rows([{"arm": a, "subject": s, "seed": i, "v": float(v)} for a, s, i, v in cells])
    assert table.units == ["1", "2", "3"] and table.means("v", arm="a").tolist() == [7, 1]
    assert table.gains("v", {"arm": "b"}, {"arm": "a"}).tolist() == [1, 3]
    assert table.complete(arm="b") and not table.complete(arm="a")


# --- results -----------------------------------------------------------------------------------------------------------------


def test_a_command_names_no_place_of_this_machine(monkeypatch):
    words = ["--dataset", "/somewhere/data/gist", "--config", str(runner.ROOT / "train" / "x.json"), "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["/elsewhere/experiments/loso.py", *words])
    assert runner.command() == "python -m experiments.loso --dataset gist --config train/x.json --seeds 1"


def test_a_number_that_is_not_finite_is_refused(args):
    with pytest.raises(ValueError):
        runner.write_result("toy", "toy", "", {"x": float("nan")}, [])
    assert not runner.result_path("toy").exists()
    assert runner.rounded({"a": float("nan"), "b": np.float32(0.123456), "c": 3}, 2) == {"b": 0.12, "c": 3}
