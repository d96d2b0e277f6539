"""What stands in model_cards/results is made by commands that exist, and its metrics follow from its rows."""

import argparse
import importlib
import json
import shlex
import sys

import pytest

from experiments import runner

RESULTS = {p.stem: json.loads(p.read_text()) for p in sorted((runner.CARDS / "results").glob("*.json"))}
GATHERED = {
    "loso_gist": "loso_report",
    "retrieval_gist": "retrieval",
    "appearance_simulated": "appearance",
    "actions_hugadb": "actions",
    "personalisation_hugadb": "personalisation",
    "knowledge_gist": "knowledge",
}


class Parsed(Exception):
    """The arguments were understood."""


@pytest.mark.parametrize("name", RESULTS)
def test_every_command_exists(name, monkeypatch):
    """It is parsed by the experiment's own main, which stops there."""
    parse = argparse.ArgumentParser.parse_known_args

    def parsed(self, *given, **more):
        _, rest = parse(self, *given, **more)
        assert not rest, f"unknown arguments: {rest}"
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parsed)
    monkeypatch.setattr(argparse.ArgumentParser, "error", lambda self, message: pytest.fail(message))
    result = RESULTS[name]
    commands = {c for r in [result, *result["rows"]] for c in r.get("command", "").split(", as in")[0].split("; ") if c}
    for command in commands:
        python, flag, module, *words = shlex.split(command)
        assert (python, flag) == ("python", "-m") and module.startswith("experiments.")
        main = importlib.import_module(module).main
        if words:
            monkeypatch.setattr(sys, "argv", [module, *words])
            with pytest.raises(Parsed):
                main()


@pytest.mark.parametrize("name", GATHERED)
def test_metrics_follow_from_the_rows(name):
    """The ends of intervals to what another order of people in the bootstrap changes; numeracy needs more."""
    module, result = importlib.import_module(f"experiments.{GATHERED[name]}"), RESULTS[name]
    more = [runner.CARDS / "results" / "privacy_gist.json"] if name == "loso_gist" else []
    found = module.result_metrics(result["rows"], *more)
    found = found[0] if isinstance(found, tuple) else found
    expected = {k: v for k, v in result["metrics"].items() if "parameters_r_at_least" not in k}
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=6e-3 if "_ci_" in key else 1e-5), key
