"""What was measured, as Markdown.

python -m experiments.report

From `model_cards/results/*.json` alone: `model_cards/RESULTS.md`, every table with its data, protocol, seeds and command, and
the short table of the README between `<!-- results -->` and `<!-- /results -->`. Which numbers stand where: tables.yaml.
"""

import json

import yaml

from experiments.loso_report import markdown, section
from experiments.runner import CARDS, ROOT
from modeling_gait.files import atomic_path

RESULTS, README = CARDS / "results", ROOT / "README.md"
START, END = "<!-- results -->", "<!-- /results -->"
ABOUT = """# What was measured

Made by `python -m experiments.report` from `results/*.json`, which also hold the single runs and versions. Every table names
its data, protocol, seeds and command. Numbers of simulated people never stand in a table with those of measured ones."""


def read_tables() -> dict:
    return yaml.safe_load((ROOT / "experiments" / "tables.yaml").read_text(encoding="utf-8"))


def headlines(lines: list[list[str]]) -> str:
    """The README's table; a line whose result is not there is left out."""
    shown = []
    for words, data, name, *texts in lines:
        path = RESULTS / f"{name}.json"
        metrics = json.loads(path.read_text())["metrics"] if path.exists() else {}
        try:
            shown.append([words, data, *(text.format(**metrics).replace("%", " %") for text in texts)])
        except KeyError:
            continue
    return markdown(["people held out", "data", "measured", "to compare"], shown)


def columns_of(table: dict, result: dict) -> list[tuple[str, str, dict]]:
    """(heading, what stands for {} in the keys, numbers) of each column."""
    if "by" not in table:
        return [(heading, stands, result["metrics"]) for heading, stands in table["columns"].items()]
    rows = sorted(result["rows"], key=lambda r: (len(str(r[table["by"]])), r[table["by"]]))
    return [(f"{table['by']} {r[table['by']]}", "", r) for r in rows] + [("mean", "", result["metrics"])]


def tables(result: dict, wanted: list[dict]) -> list[str]:
    """Markdown of a result: its tables, under what they stand on; nothing of what was not measured."""
    parts = []
    for table in wanted:
        rows = []
        for words, key, form, *interval in table["rows"]:
            rows.append((words, key, form))
            rows += [(f"... interval, {end}", f"{key}_ci_{end}", form) for end in ("low", "high") if interval]
        columns = [c for c in columns_of(table, result) if any(key.format(c[1]) in c[2] for _, key, _ in rows)]
        lines = []
        for words, key, form in rows:
            values = [numbers.get(key.format(stands)) for _, stands, numbers in columns]
            if any(v is not None for v in values):
                lines.append([words, *("" if v is None else format(v, form) for v in values)])
        if lines:
            seeds = ", ".join(map(str, result["seeds"]))
            about = f" (seeds {seeds}; {result['protocol']}; `{result['command']}`)" if not parts else ""
            parts += [f"{table['title']}{about}:", markdown(["", *(c[0] for c in columns)], lines)]
    return parts


def results_section(wanted: dict) -> str:
    """Markdown of what was measured so far, with its figures."""
    names = sorted((p.stem for p in RESULTS.glob("*.json")), key=lambda n: (n != "chain_gist", n != "loso_gist", n))
    parts = []
    for name in names:
        result = json.loads((RESULTS / f"{name}.json").read_text())
        shown = section(result) if name == "loso_gist" else tables(result, wanted.get(name, []))
        if not shown:
            few = [f"{k} {v}" for k, v in result["metrics"].items()] if len(result["metrics"]) < 4 else []
            about = "; ".join([*few, result["dataset"], result["protocol"], f"`{result['command']}`"])
            shown = [f"`results/{name}.json`: {about}"]
        pictures = sorted((CARDS / "figures").glob(f"{name}*.png"))
        parts += shown + [f"![{p.stem.replace('_', ' ')}](figures/{p.name})" for p in pictures]
    return "\n\n".join(parts)


def main() -> None:
    wanted, text = read_tables(), README.read_text()
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"{README}: expected one {START} and one {END}")
    before, rest = text.split(START)
    short = f"{before}{START}\n{headlines(wanted['headlines'])}\n{END}{rest.split(END)[1]}"
    everything = f"{ABOUT}\n\n{results_section(wanted['tables'])}\n"
    for path, content in ((CARDS / "RESULTS.md", everything), (README, short)):
        with atomic_path(path) as temporary:
            temporary.write_text(content)


if __name__ == "__main__":
    main()
