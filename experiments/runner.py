"""The one runner: every run (an arm, a held-out person or group, a seed) leaves a row, and the rows become a result.

An experiment says which runs there are, how one is made, and what its rows mean; everything else is here.

In: runs, dicts of what names them; `measure(run)` -> the numbers of its row, of its rows (a list of dicts), or None where there
is nothing to measure.
Out: `OUTPUT_DIR/rows/A-B-0.json`, whole or absent, so that the same command goes on after an interruption, and from all rows of
the folder `model_cards/results/NAME.json`: experiment, dataset, protocol, command, seeds, versions, date, metrics, rows.

Rows keep the arguments that they were made with, and other arguments in the same folder are refused by name. Several processors
or GPUs: start the same command several times (OMP_NUM_THREADS=1 each); a run is taken by one of them, a killed one lets go.
"""

import fcntl
import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.evaluation.bootstrap import bootstrap
from modeling_gait.files import atomic_path, write_json
from modeling_gait.training.data import numbered

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "model_cards"
PACKAGES = ("torch", "transformers", "datasets", "numpy")
# Arguments that name runs and places, and say nothing of how a row is made.
PLACES = {"output_dir", "name", "rows", "num_threads", "seeds", "subjects", "folds"}


@dataclass(kw_only=True)
class RunArguments:
    """Arguments that all experiments share."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet"})
    output_dir: str = field(metadata={"help": "rows, and the models that they need"})
    name: str = field(metadata={"help": "model_cards/results/NAME.json and figures"})
    seeds: list[int] = field(default_factory=lambda: [0])
    rows: str = field(
        default="", metadata={"choices": ("keep", "drop"), "help": "rows of the result that the folder lacks (default: refuse)"}
    )
    num_threads: int = field(default=0, metadata={"help": "CPU threads, 0 = torch's choice"})


def parse(kind: type) -> RunArguments:
    """Arguments of the command line."""
    args = HfArgumentParser(kind).parse_args_into_dataclasses()[0]
    if getattr(args, "num_threads", 0):
        torch.set_num_threads(args.num_threads)
    return args


def held_out(subjects: np.ndarray, asked: list[str], dataset: str = "") -> list[str]:
    """The people to hold out in turn, by default all. Raises ValueError where one of `asked` is not there."""
    everyone = numbered(np.asarray(subjects))
    nobody = set(asked) - set(everyone)
    if nobody:
        raise ValueError(f"{dataset}: no such subject: {', '.join(sorted(nobody))}; there are {', '.join(everyone)}")
    return list(asked) or everyone


def groups(subjects: np.ndarray, count: int, asked: list[int] = (), least: int = 2) -> list[list[str]]:
    """The people in `count` groups, each every count-th by number. Raises ValueError where one asked for cannot be."""
    order = numbered(np.asarray(subjects))
    if not least <= count <= len(order) or set(asked) - set(range(count)):
        raise ValueError(f"num_folds must be {least} to {len(order)} and folds below it, got {count}, {list(asked)}")
    return [order[i::count] for i in range(count)]


def split(subjects: np.ndarray, test: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of everyone else, and rows of these people: no person is in both."""
    mine = np.isin(subjects, test)
    return np.flatnonzero(~mine), np.flatnonzero(mine)


# --- rows --------------------------------------------------------------------------------------------------------------------


def run_name(run: dict) -> str:
    return "-".join(f"{v:g}" if isinstance(v, float) else str(v) for v in run.values())


def _run_of(row: dict, keys: Iterable[str]) -> dict:
    return {k: row[k] for k in keys if k in row}


@contextmanager
def claimed(path: Path, wait: bool = False) -> Iterator[bool]:
    """Whether this process has `path` to itself until the block ends; a process that dies lets go. `wait`: until it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def read_rows(folder: str | Path) -> list[dict]:
    """All rows of an output folder, by name, each with `about`: arguments, command, versions and date, where that is known."""
    files = [json.loads(p.read_text()) for p in sorted((Path(folder) / "rows").glob("[!.]*.json"))]
    return [row | {"about": file["about"]} for file in files for row in file["rows"]]


def run_all(
    args: RunArguments,
    runs: list[dict],
    measure: Callable[[dict], dict | list[dict] | None],
    listed: tuple[str, ...] = (),
    within: tuple[str, ...] = (),
    packages: tuple[str, ...] = PACKAGES,
    sometimes: tuple[str, ...] = (),
) -> list[dict]:
    """Make the rows that are not there yet; returns all rows of the folder, each with `about`.

    Args:
        runs: dicts of the same keys; the values are the name of the row's file.
        listed: arguments that list runs (and so may change), beside those of PLACES.
        within: keys of a run; rows that differ in them may have been made with other arguments.
        sometimes: keys, after the others, that some runs of the experiment have.

    Raises ValueError where rows were made with other arguments, or the result has runs that the folder lacks.
    """
    folder, here = Path(args.output_dir), asdict(args)
    arguments = {k: v for k, v in here.items() if k not in PLACES.union(listed)}
    arguments["dataset"] = Path(args.dataset).name
    keys = list(dict.fromkeys([*runs[0], *sometimes]))
    restore(args, keys)
    wanted = {tuple(run[k] for k in within) for run in runs}
    for row in read_rows(folder):
        made = row["about"].get("arguments", {})
        if tuple(row[k] for k in within) in wanted and (other := [k for k in made if made[k] != arguments.get(k)]):
            said = "; ".join(f"--{k} {made[k]!r}, not {arguments.get(k)!r}" for k in other)
            raise ValueError(f"{folder}/rows: {run_name(_run_of(row, keys))} was made with {said}: another --output_dir")
    about = {"arguments": arguments, "command": command(), "versions": versions(packages), "date": date.today().isoformat()}
    paths = [(run, folder / "rows" / f"{run_name(run)}.json") for run in runs]
    for run, path in tqdm([p for p in paths if not p[1].exists()], desc="runs"):
        with claimed(path.with_suffix(".lock")) as mine:
            if mine and not path.exists() and (found := measure(run)) is not None:
                many = found if isinstance(found, list) else [found]
                write_json(path, {"rows": [run | row for row in many], "about": about})
    return read_rows(folder)


def restore(args: RunArguments, keys: list[str]) -> None:
    """Put the rows of a result file into a folder that lacks them (`--rows keep`), forget them (drop), or refuse."""
    path, folder = result_path(args.name), Path(args.output_dir) / "rows"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    lost: dict = {}
    for row in rows:
        file = folder / f"{run_name(_run_of(row, keys))}.json"
        if not file.exists():
            lost.setdefault(file, []).append(row)
    if lost and args.rows not in ("keep", "drop"):
        count = sum(map(len, lost.values()))
        what = f"{path} has {count} of {len(rows)} rows that {folder} lacks"
        raise ValueError(f"{what}: --rows keep, --rows drop, or another --name")
    for file, found in lost.items() if args.rows == "keep" else ():
        write_json(file, {"rows": found, "about": {}})


# --- numbers -----------------------------------------------------------------------------------------------------------------


def interval(name: str, values: np.ndarray, draws: int = 10000) -> dict[str, float]:
    """The mean of values (N,) as `name`, and where there are two or more, `name_ci_low` and `name_ci_high`."""
    out = {name: float(np.mean(values))}
    return out | dict(zip((f"{name}_ci_low", f"{name}_ci_high"), bootstrap(values, draws))) if len(values) > 1 else out


class Rows:
    """Rows of an experiment, picked by what names their runs; a unit is who is held out, a person or a group."""

    def __init__(self, rows: list[dict], unit: str = "subject"):
        self.rows, self.unit = rows, unit
        self.units = sorted({r[unit] for r in rows}, key=lambda u: (len(str(u)), u))

    def pick(self, **where) -> list[dict]:
        return [r for r in self.rows if all(r[k] == v for k, v in where.items())]

    def cells(self, key: str, **where) -> dict[tuple, float]:
        """(unit, seed) -> value, where it was measured."""
        return {(r[self.unit], r["seed"]): r[key] for r in self.pick(**where) if key in r}

    def means(self, key: str, **where) -> np.ndarray:
        """Mean over seeds of each unit that has it, in order."""
        cells = self.cells(key, **where)
        values = [[v for (u, _), v in cells.items() if u == unit] for unit in self.units]
        return np.array([np.mean(v) for v in values if v])

    def complete(self, **where) -> bool:
        """Whether every unit was held out in such a run."""
        return bool(self.units) and {r[self.unit] for r in self.pick(**where)} == set(self.units)

    def gains(self, key: str, ours: dict, theirs: dict) -> np.ndarray:
        """What `ours` has over `theirs` in each unit that both have: mean over the seeds that both have."""
        a, b = self.cells(key, **ours), self.cells(key, **theirs)
        pairs = [[a[k] - b[k] for k in a if k in b and k[0] == unit] for unit in self.units]
        return np.array([np.mean(p) for p in pairs if p])


# --- results -----------------------------------------------------------------------------------------------------------------


def result_path(name: str) -> Path:
    return CARDS / "results" / f"{name}.json"


def command() -> str:
    """The command that runs now; places outside the repository by their name alone."""
    words = []
    for word in sys.argv[1:]:
        path = Path(word)
        inside = path.is_absolute() and path.is_relative_to(ROOT)
        words.append(str(path.relative_to(ROOT)) if inside else path.name if path.is_absolute() else word)
    return " ".join(["python", "-m", f"experiments.{Path(sys.argv[0]).stem}", *words])


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    return {p: platform.python_version() if p == "python" else version(p) for p in packages}


def write_result(
    name: str, dataset: str, protocol: str, metrics: dict, rows: list[dict], packages: tuple[str, ...] = PACKAGES, **extra
) -> Path:
    """`model_cards/results/NAME.json`; commands, versions and date are those of the rows, if they say, else those of now.

    Raises ValueError where a number is not finite. `extra`: further keys, or other values of those above.
    """
    about = [r["about"] for r in rows if r.get("about")]
    path, commands = result_path(name), [a["command"] for a in about] or [command()]
    if any(r.get("about") == {} for r in rows):  # kept from the result
        commands = json.loads(path.read_text())["command"].split("; ") + commands
    content = {
        "experiment": name,
        "dataset": Path(dataset).name,
        "protocol": protocol,
        "command": "; ".join(dict.fromkeys(commands)),
        "seeds": sorted({r.get("seed", 0) for r in rows}),
        "versions": about[-1]["versions"] if about else versions(packages),
        "date": max([a["date"] for a in about] or [date.today().isoformat()]),
        "metrics": metrics,
        **extra,
        "rows": [{k: v for k, v in r.items() if k != "about"} for r in rows],
    }
    lines = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in content.pop("rows"))
    head = json.dumps(content, indent=1, allow_nan=False)[:-2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n')
    return path


def rounded(numbers: dict, digits: int = 5) -> dict:
    """The same, floats rounded and those that are not finite left out."""
    plain = {k: float(v) if isinstance(v, float | np.floating) else v for k, v in numbers.items()}
    return {k: round(v, digits) if isinstance(v, float) else v for k, v in plain.items() if v == v}


def figure_path(name: str) -> Path:
    return CARDS / "figures" / f"{name}.png"


def save_figure(figure, name: str, dpi: int = 110) -> Path:
    """`model_cards/figures/NAME.png`, whole or not at all."""
    path = figure_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)
    return path


def bars(axis, names: list[str], series: dict[str, list], chance: list | None = None) -> None:
    """Grouped bars: series label -> (value, low, high) of each name, None where it was not measured; chance as dotted lines."""
    width = 0.8 / max(len(series), 1)
    for i, (label, values) in enumerate(series.items()):
        at = np.array([j for j, v in enumerate(values) if v is not None]) + (i - (len(series) - 1) / 2) * width
        mean, low, high = np.array([v for v in values if v is not None], float).reshape(-1, 3).T
        axis.bar(at, mean, 0.92 * width, yerr=np.abs([mean - low, high - mean]), capsize=2, label=label)
    for j, value in enumerate(chance or ()):
        if value is not None:
            axis.hlines(value, j - 0.42, j + 0.42, color="black", linestyle=":", label="chance" if j == 0 else None)
    axis.set_xticks(range(len(names)), names)
    if series:
        axis.legend(frameon=False, fontsize=8, ncols=min(5, len(series) + 1), loc="upper center", bbox_to_anchor=(0.5, -0.1))
