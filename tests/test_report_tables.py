"""Tables of results."""

import pytest

from experiments.report_tables import TABLES, tables

RESULT = {"seeds": [0], "protocol": "held out", "command": "python x.py", "dataset": "gist"}


def test_only_what_was_measured_is_shown():
    metrics = {"personalised_bone_error_mm": 7.25, "nobody_bone_error_mm": 12.0}
    title, table = tables("same_person_gist", RESULT | {"metrics": metrics})
    assert "held out" in title and "`python x.py`" in title and "seeds 0" in title
    lines = table.splitlines()
    assert lines[0] == "|  | personalised network | nobody |" and lines[1] == "|---|---|---|"
    assert lines[2:] == ["| bone lengths, mean error [mm] | 7.2 | 12.0 |"]
    assert tables("same_person_gist", RESULT | {"metrics": {"other": 1.0}}) == []


def test_results_without_a_table_show_none():
    assert tables("gait_parameters_gist", RESULT | {"metrics": {}}) == []


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_one_place_for_its_column(name):
    for table in TABLES[name]:
        assert all(key.count("{}") == 1 for _, key, _ in table.rows)
