"""mutants.yaml: its parts stand in their files and its tests are there, so that `make mutants` runs."""

import pytest

from experiments import mutants


def test_every_part_stands_once_in_its_file_and_every_test_is_there():
    mutants.check(mutants.MUTANTS)


@pytest.mark.parametrize(
    ("old", "tests", "message"),
    [
        ("nowhere", "files", "stands there 0 times"),
        ("def check(", "no_such", "which is not there"),
        ("def check(", "experiments/test_mutants.py::test_no_such", "which is not there"),
    ],
)
def test_what_is_not_there_is_told(old, tests, message):
    with pytest.raises(ValueError, match=message):
        mutants.check([("experiments/mutants.py", old, "", tests)])
