"""Result files of experiments: JSON with the command, the seeds and the versions, and intervals of means.

In: metrics and rows, one a run. Out: `model_cards/results/NAME.json`, whole or not at all.
"""

import json
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

from modeling_gait.files import atomic_path

ROOT = Path(__file__).resolve().parents[2]


def bootstrap(values: np.ndarray, draws: int = 10000) -> tuple[float, float]:
    """95 % interval of the mean of values (N,), one a held-out subject or group."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def write_result(
    name: str,
    dataset: str,
    protocol: str,
    metrics: dict,
    rows: list[dict],
    packages: tuple[str, ...] = ("torch", "transformers", "datasets", "numpy"),
    folder: Path | None = None,
    gathered: bool = False,
    **extra,
) -> Path:
    """`results/NAME.json` in `folder` (model_cards), with the command that runs now; its seeds are those of the rows, or 0.

    `gathered`: the rows are those of several commands, so the commands that stand there stay. `extra`: further keys, or other
    values of "command", "seeds".
    """
    script = Path(sys.argv[0]).resolve()
    path = (folder or ROOT / "model_cards") / "results" / f"{name}.json"
    place = f"{script.parent.name}/{script.name}"
    if script.parent.name == "experiments":
        place = f"-m experiments.{script.stem}"
    command = "python " + " ".join([place, *sys.argv[1:]])
    if gathered and path.exists():
        command = "; ".join(dict.fromkeys([*json.loads(path.read_text())["command"].split("; "), command]))
    content = {
        "experiment": name,
        "dataset": Path(dataset).name,
        "protocol": protocol,
        "command": command,
        "seeds": sorted({r.get("seed", 0) for r in rows}),
        "versions": {p: platform.python_version() if p == "python" else version(p) for p in packages},
        "date": date.today().isoformat(),
        "metrics": metrics,
        **extra,
        "rows": rows,
    }
    write_json(path, content)
    return path
