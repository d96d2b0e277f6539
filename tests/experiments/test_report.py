"""loso_report.py, report.py: intervals of known differences, fair pairs, nothing that was not measured, tables that render."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from experiments import loso_report, report
from experiments.loso_report import LosoRows, arm_table, cell_list, other_table, result_metrics, run_of, section

PEOPLE = [str(i) for i in range(1, 11)]


def row(arm, subject, accuracy, seed=0, classifier="gru", share=1.0, confusion=None, **more) -> dict:
    right = round(100 * accuracy)
    confusion = confusion or [[right, 100 - right], [0, 100]]
    run = {"arm": arm, "classifier": classifier, "subject": str(subject), "seed": seed, "share": share}
    return run | {"accuracy": accuracy, "accuracy_by_walk": accuracy, "confusion": confusion} | more


def rows_of(arm, accuracies, people=PEOPLE, **more) -> list[dict]:
    return [row(arm, s, a, **more) for s, a in zip(people, accuracies)]


REAL = np.linspace(0.7, 0.97, 10)


# --- differences -----------------------------------------------------------------------------------------------------------


def test_interval_of_an_equal_gain_has_no_width():
    found = LosoRows(rows_of("real", REAL) + rows_of("ours", REAL + 0.02)).gain("ours", "real")
    assert found["seeds"] == 1
    assert [found[k] for k in ("points", "ci_low", "ci_high")] == pytest.approx([2, 2, 2])


def test_interval_of_two_people_spans_both():
    """The mean of two draws from gains of 0 and 10 points is 0 or 10 in a quarter of the cases each."""
    rows = rows_of("real", [0.5, 0.5], ["1", "2"]) + rows_of("ours", [0.5, 0.6], ["1", "2"])
    found = LosoRows(rows).gain("ours", "real")
    assert [found[k] for k in ("points", "ci_low", "ci_high")] == pytest.approx([5, 0, 10])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3))
def test_interval_is_that_of_the_mean_over_people(seed, gain):
    """Near 1.96 standard errors either way, whatever the number of seeds a person has."""
    people = [str(i) for i in range(40)]
    gains = np.random.default_rng(seed).normal(gain, 2, 40)
    rows = rows_of("real", np.full(40, 0.5), people) + rows_of("ours", 0.5 + gains / 100, people)
    many = rows + rows_of("real", np.full(40, 0.6), people, seed=1) + rows_of("ours", 0.6 + gains / 100, people, seed=1)
    one, two = (LosoRows(r).gain("ours", "real") for r in (rows, many))
    error = 1.96 * gains.std() / 40**0.5
    assert one["points"] == pytest.approx(gains.mean(), abs=1e-9)
    assert one["ci_low"] == pytest.approx(gains.mean() - error, abs=0.15 * error)
    assert one["ci_high"] == pytest.approx(gains.mean() + error, abs=0.15 * error)
    assert [two[k] for k in ("points", "ci_low", "ci_high")] == pytest.approx([one[k] for k in ("points", "ci_low", "ci_high")])
    assert (one["seeds"], two["seeds"]) == (1, 2), "more seeds of the same people make no narrower interval"


def test_gains_are_paired_by_subject_and_seed():
    """A seed that is good for both arms is no gain, and a seed that only one arm has does not count."""
    rows = rows_of("real", REAL - 0.2, seed=0) + rows_of("real", REAL, seed=1)
    rows += rows_of("ours", REAL - 0.19, seed=0) + rows_of("ours", REAL + 0.01, seed=1) + rows_of("ours", REAL * 0, seed=2)
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for some in (rows, shuffled):
        found = LosoRows(some).gain("ours", "real")
        assert [found[k] for k in ("points", "ci_low", "ci_high")] == pytest.approx([1, 1, 1]) and found["seeds"] == 2


def test_classifiers_and_shares_are_kept_apart():
    rows = rows_of("real", REAL) + rows_of("real", REAL / 2, classifier="cnn") + rows_of("real", REAL / 3, share=0.05)
    found = LosoRows(rows)
    assert found.units == PEOPLE, "by number"
    for arguments, factor in (((), 1), (("cnn",), 2), (("gru", 0.05), 3)):
        np.testing.assert_allclose(found.means("accuracy", **run_of("real", *arguments)), REAL / factor)


# --- metrics ---------------------------------------------------------------------------------------------------------------


def test_what_was_not_measured_is_absent(tmp_path):
    rows = rows_of("real", REAL)
    found = result_metrics(rows, tmp_path / "none.json")
    mean = pytest.approx(REAL.mean())
    assert found == {"gru_real": mean, "gru_real_by_walk": mean, "cells_under_50_percent_real": 0}
    rows += rows_of("ours", REAL + 0.01)[:-1]
    assert result_metrics(rows, tmp_path / "none.json") == found, "an arm counts where everybody was held out"
    rows += rows_of("ours", REAL + 0.01)[-1:] + rows_of("ours", REAL, classifier="lstm") + rows_of("ours", REAL, share=0.05)
    found = result_metrics(rows, tmp_path / "none.json")
    assert not [k for k in found if k.startswith(("lstm", "cnn", "graph", "gain_points_at", "synthetic", "no_path", "member"))]
    assert {k: found[k] for k in ("gru_gain_points", "gru_gain_ci_low", "gru_gain_ci_high")} == pytest.approx(
        {"gru_gain_points": 1, "gru_gain_ci_low": 1, "gru_gain_ci_high": 1}
    )


def test_metrics_of_a_whole_experiment(tmp_path):
    worse = REAL - np.where(np.arange(10) == 0, 0.1, 0)
    rows = rows_of("real", worse) + rows_of("classical", worse + 0.01) + rows_of("both", worse + 0.04)
    rows += rows_of("ours", worse + np.where(np.arange(10) == 0, 0.05, 0.01)) + rows_of("synthetic", worse / 2)
    rows += rows_of("no_pathological_tokens", worse - 0.02)
    for i, classifier in enumerate(("lstm", "cnn", "graph")):
        rows += rows_of("real", REAL, classifier=classifier) + rows_of("ours", REAL + i / 100, classifier=classifier)
    for share, gain in ((0.05, 0.02), (0.25, 0.015)):
        rows += rows_of("real", REAL - 0.3, share=share) + rows_of("ours", REAL - 0.3 + gain, share=share)
    (tmp_path / "privacy.json").write_text(json.dumps({"metrics": {"membership_auc": 0.51, "other": 1}}))
    found = result_metrics(rows, tmp_path / "privacy.json")
    expected = {
        "gru_gain_points": 1.4,
        "gru_both_gain_points": 4,
        "gru_classical_gain_points": 1,
        "worst_subject_gain_points": 5,
        "worst_subject_both_gain_points": 4,
        "gru_both_over_classical_points": 3,
        "lstm_gain_points": 0,
        "cnn_gain_points": 1,
        "graph_gain_points": 2,
        "gain_points_at_5_percent": 2,
        "gain_points_at_5_percent_ci_low": 2,
        "gain_points_at_25_percent": 1.5,
        "synthetic_only_ratio": 0.5,
        "no_pathological_tokens_gain_points": -2,
        "membership_auc": 0.51,
    }
    assert {k: found[k] for k in expected} == pytest.approx(expected, abs=1e-4)
    assert found["gru_gain_ci_low"] < 1.4 < found["gru_gain_ci_high"] and "other" not in found
    assert found["gru_real"] == pytest.approx(worse.mean(), abs=1e-5)


# --- cells -----------------------------------------------------------------------------------------------------------------


def test_cells_that_carry_the_errors():
    good = [[20, 0, 0], [0, 19, 1], [0, 0, 20]]
    bad = [[20, 0, 0], [3, 9, 8], [4, 0, 16]]  # 45 % of the antalgic walks, 80 % of the stiff-legged ones
    rows = [row("real", s, 0.9, seed, confusion=bad if s == "7" else good) for s in ("1", "7", "10") for seed in (0, 1)]
    cells = LosoRows(rows).cells_below("real", 0.9)
    assert cells == [("7", 1, pytest.approx(0.45), 2), ("7", 2, pytest.approx(0.8), 0)]
    assert LosoRows(rows).cells_below("real", 0.5) == cells[:1] and not LosoRows(rows).cells_below("real", 0.4)
    words = cell_list(LosoRows(rows), "real")
    assert "1 of 18 cells under 50 %, 2 under 90 %: 7 antalgic 45 % (to stiff_legged); 7 stiff_legged 80 %" in words
    np.testing.assert_array_equal(LosoRows(rows).confusion("real", "7"), 2 * np.array(bad))
    np.testing.assert_array_equal(LosoRows(rows).confusion("real"), 2 * np.array(bad) + 4 * np.array(good))


# --- tables ----------------------------------------------------------------------------------------------------------------


def whole() -> LosoRows:
    people = PEOPLE[:3]
    rows = [r for i, arm in enumerate(("real", "classical", "ours")) for r in rows_of(arm, REAL[:3] + i / 100, people)]
    rows += rows_of("real", REAL[:3], people, share=0.05) + rows_of("ours", REAL[:3] + 0.03, people, share=0.05)
    return LosoRows(
        rows + rows_of("real", REAL[:3], people, classifier="cnn") + rows_of("ours", REAL[:3], people, classifier="cnn")
    )


def cells_of(table: str) -> list[list[str]]:
    """Cells of a Markdown table; its rows are equally long and the second one makes it a table."""
    lines = [[c.strip() for c in line.strip().strip("|").split("|")] for line in table.splitlines()]
    assert len({len(line) for line in lines}) == 1 and set(lines[1]) == {"---"}
    return lines


def test_tables():
    table = cells_of(arm_table(whole()))
    assert table[0][:6] == ["arm", "seeds", "1", "2", "3", "mean"] and len(table) == 5
    assert table[2][:6] == ["real walks only", "1", "70.0", "73.0", "76.0", "**73.00**"] and table[2][-2:] == ["", ""]
    assert table[3][-2:] == ["+1.00 (+1.00 to +1.00)", ""]
    assert table[4][0].startswith("real + samples and new people") and table[4][-2:] == [
        "+2.00 (+2.00 to +2.00)",
        "+1.00 (+1.00 to +1.00)",
    ]
    table = cells_of(other_table(whole()))
    assert [line[:2] for line in table[2:]] == [["cnn", "100 %"], ["gru", "5 %"]]
    assert table[3][-3:] == ["73.0", "76.0", "+3.00 (+3.00 to +3.00)"]
    assert other_table(LosoRows(rows_of("real", REAL))) == ""


def test_arms_of_some_people_are_compared_on_these():
    rows = LosoRows(whole().rows + rows_of("naive", REAL[1:3] + 0.02, PEOPLE[1:3]))
    (line,) = [c for c in cells_of(other_table(rows)) if "naive" in c[2]]
    assert line[:2] == ["gru", "100 %"] and line[3:] == ["2 3", "1", "74.5", "76.5", "+2.00 (+2.00 to +2.00)"]
    assert "naive" not in rows.arms()


def test_figures(cards):
    more = [row | {"arm": "people"} for row in whole().rows if row["arm"] == "ours"]
    loso_report.draw(whole().rows + more, "x")
    assert {p.name for p in (cards / "figures").iterdir()} == {f"x_{n}.png" for n in ("subjects", "confusion", "share")}
    for picture in (cards / "figures").iterdir():
        with Image.open(picture) as image:
            assert min(image.size) > 300 and len(image.convert("L").getcolors()) > 10


def test_gains_without_pairs_are_absent(tmp_path, cards):
    for rows in (
        rows_of("ours", REAL),
        rows_of("ours", REAL, seed=1) + rows_of("real", REAL),
        rows_of("synthetic", REAL),
        rows_of("no_pathological_tokens", REAL, seed=1) + rows_of("real", REAL),
    ):
        found = result_metrics(rows, tmp_path / "none")
        assert all(np.isfinite(v) for v in found.values()) and not [k for k in found if "gain" in k or "ratio" in k]
        assert "nan" not in arm_table(LosoRows(rows))
        loso_report.draw(rows, "x")
    assert result_metrics([], tmp_path / "none") == {}


# --- report.py -------------------------------------------------------------------------------------------------------------

RESULT = {"dataset": "toy", "protocol": "held out", "command": "python -m experiments.x", "seeds": [0], "rows": []}


@pytest.fixture
def project(cards, monkeypatch):
    """A project of its own: README with markers, and results."""
    monkeypatch.setattr(report, "CARDS", cards)
    monkeypatch.setattr(report, "RESULTS", cards / "results")
    monkeypatch.setattr(report, "README", cards.parent / "README.md")
    (cards / "results").mkdir(parents=True)
    report.README.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    return cards


def write(project, name: str, **result) -> None:
    (project / "results" / f"{name}.json").write_text(json.dumps(RESULT | result))


def test_report_renders_results_and_readme(project):
    write(project, "loso_gist", rows=whole().rows, metrics={})
    write(project, "small", metrics={"auc": 0.5})
    write(project, "chain_gist", rows=[{"subject": "10", "fgd": 3.0}, {"subject": "2", "fgd": None}], metrics={"fgd": 3.0})
    write(project, "generation_speed", metrics={"seconds_per_1000_walks": 11.7, "seconds_per_1000_walks_with_severity": 40.2})
    (project / "figures").mkdir()
    (project / "figures" / "small_curve.png").write_bytes(b"")
    report.main()
    short, text = report.README.read_text(), (project / "RESULTS.md").read_text()
    assert short.startswith("before\n<!-- results -->\n") and short.endswith("<!-- /results -->\nafter\n")
    assert "old" not in short
    line = cells_of(short.split(report.START)[1].split(report.END)[0].strip())[2]
    assert line == ["1,000 walks, text to joints and numbers, two CPU cores", "", "12 s", "severity asked: 40 s"]
    assert all(part in text for part in section(RESULT | {"rows": whole().rows})) and "real + samples and new people" in text
    assert "![small curve](figures/small_curve.png)" in text
    assert "`results/small.json`: auc 0.5; toy; held out; `python -m experiments.x`" in text
    table = text[text.index("|  | subject 2") :].split("\n\n")[0]
    assert cells_of(table)[0] == ["", "subject 2", "subject 10", "mean"] and len(cells_of(table)) == 3
    assert cells_of(table)[2] == ["Frechet gait distance of sampled walks", "", "3.0", "3.0"]


def test_only_what_was_measured_is_shown():
    wanted = report.read_tables()["tables"]["same_person_gist"]
    metrics = {"person_gait_fgd": 7.25, "person_gait_fgd_nobody": 12.0}
    title, table = report.tables(RESULT | {"metrics": metrics}, wanted)
    assert "held out" in title and "`python -m experiments.x`" in title and "seeds 0" in title
    assert cells_of(table)[0] == ["", "1 cycle", "no cycle of theirs"]
    assert cells_of(table)[2:] == [["Frechet gait distance from their own real walks of the class", "7.2", "12.0"]]
    assert report.tables(RESULT | {"metrics": {"other": 1.0}}, wanted) == []


def test_every_row_has_one_place_for_its_column():
    for table in (t for many in report.read_tables()["tables"].values() for t in many if "columns" in t):
        assert all(row[1].count("{}") == 1 for row in table["rows"])


def test_a_readme_without_a_place_for_results_is_left_alone(project):
    report.README.write_text("nothing")
    with pytest.raises(ValueError, match="README.md: expected one <!-- results -->"):
        report.main()
    assert report.README.read_text() == "nothing"
