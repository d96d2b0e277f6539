"""Files of other labs: read right, refused with a reason, or silently wrong?

    python -m experiments.files_real --folder FILES

FILES holds the files of experiments/files_real_table.json, REPOSITORY/PATH each (repository: owner+name); none is part of this
project. A file of the table has `repository`, `path`, `licence`, `format`, and either `refuse` (why it can't be measured as a
walk) or `reference`: name of a gait parameter -> number that the file or its authors state, or [least, most] of healthy or of
that patient's walking; `of` says whose numbers these are. It is
- right, if each number is within 10 % of its reference, or null and said to be, or within the range;
- refused with reason, if the error names the file in one line;
- silently wrong, if a number is off, or something refusable is measured, without a sentence of the recording beyond what its
  reader assumed. Writes model_cards/results/files_real.json.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas

from experiments.runner import write_result
from modeling_gait.export import write_csv
from modeling_gait.loading import load_walk
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks

TABLE = Path(__file__).with_name("files_real_table.json")


def judge(path: Path, row: dict) -> dict:
    """The row with `outcome`, `numbers`, `said`."""
    try:
        recording = read_recording(path, fps=row.get("fps"), up=row.get("up", "auto"))
    except (ValueError, OSError) as error:
        named = path.stem in str(error) and "\n" not in str(error)
        return row | {"outcome": "refused" if named else "crash", "said": str(error).replace(str(path), path.name)[:300]}
    measured = recording.gait_parameters
    names = row.get("reference", {"speed": None, "cadence": None})
    numbers = {n: round(measured[n], 3) if np.isfinite(measured[n]) else None for n in names}
    said = [s for s in recording.doubts if not s.startswith("not measured")]
    off = [n for n, wanted in row.get("reference", {}).items() if numbers[n] is not None and not _near(numbers[n], wanted)]
    wrong = off or row.get("refuse") or not any(v is not None for v in numbers.values())
    warned = any(word in s for s in said for word in ("turns", "left out", "exchanged", "curve", "crossed", "backwards"))
    outcome = "right" if not wrong else "wrong, with a doubt" if warned else "silently wrong"
    return row | {"outcome": outcome, "numbers": numbers, "off": off, "said": said}


def _near(value: float, wanted: float | list[float]) -> bool:
    if isinstance(wanted, list):
        return wanted[0] <= value <= wanted[1]
    return abs(value - wanted) <= 0.1 * abs(wanted)


def csv_times_pandas(frames: int = 12_000, repeats: int = 9) -> float:
    """Time in which `load_walk` reads a CSV of 10 MB, in times of `pandas.read_csv`; the least processor time of each."""
    walk = simulate_walks(1, frames=frames, fps=30, seed=3, pathology="normal", speed=1.2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walk.csv"
        write_csv(path, np.asarray(walk.joints[0], np.float32), 30.0)
        least = {load_walk: np.inf, pandas.read_csv: np.inf}
        for _ in range(repeats):
            for read in least:
                start = time.process_time()
                read(path)
                least[read] = min(least[read], time.process_time() - start)
    return round(least[load_walk] / least[pandas.read_csv], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = [judge(args.folder / row["repository"] / row["path"], row) for row in json.loads(TABLE.read_text())]
    found = Counter(row["outcome"] for row in rows)
    metrics = {
        "files_tried": len(rows),
        "formats": len({row["format"] for row in rows}),
        "files_right": found["right"],
        "files_refused_with_reason": found["refused"],
        "files_wrong_with_a_doubt": found["wrong, with a doubt"],
        "files_silently_wrong": found["silently wrong"],
        "crashes": found["crash"],
        "csv_10mb_times_pandas": csv_times_pandas(),
        "walks_refused": sum(row["outcome"] == "refused" and "reference" in row for row in rows),
    }
    protocol = "see experiments/files_real.py; references in the rows are the files' own or their authors', or published ranges"
    write_result("files_real", "files of other labs", protocol, metrics, rows, ("numpy", "scipy", "pandas", "c3d"), seeds=[])
    print(metrics)
    for row in rows:
        print(row["outcome"], row["path"], row.get("numbers", ""), row.get("reference", row.get("refuse")), row["said"])


if __name__ == "__main__":
    main()
