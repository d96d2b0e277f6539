"""Pathological Gait Dataset (gist; Jun et al. 2020): 7,200 Kinect v2 text files -> Parquet shards and a data card.

    python datasets_scripts/gist.py --data_dir Pathological_Gaits --output_dir OUT [--subjects 1 2] [--num_proc 2]

In: DIR with human{S}_{class}{R}/human{S}_{class}{R}_SkeletonData{K}.csv: tab separated, 101 columns: time [s], then 25 times
(joint id, x, y, z [m]). Out: rows in the schema of `common.walk_features` at 30 fps.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets_scripts import common  # noqa: E402
from modeling_gait.cleaning import CleaningReport, canonicalise, clean_walk  # noqa: E402

CLASSES = ("antalgic", "lurch", "normal", "steppage", "stiff_legged", "trendelenburg")
FILE_NAME = re.compile(rf"human(\d+)_({'|'.join(CLASSES)})(\d+)_SkeletonData(\d)\.csv")
FPS = 30.0
COLUMNS = 101


def read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    a = pd.read_csv(path, sep="\t", header=None, dtype=np.float64).to_numpy()
    return a[:, 0], a[:, 1:].reshape(len(a), 25, 4)[:, :, 1:]


def make_row(path: Path) -> tuple[dict, CleaningReport]:
    """Read, clean and describe one file."""
    subject, pathology, repetition, sensor = FILE_NAME.fullmatch(path.name).groups()
    joints, report = clean_walk(*read_file(path), fps=FPS)
    row = common.walk_row(
        canonicalise(joints),
        FPS,
        subject_id=subject,
        walk_id=f"human{subject}_{pathology}{repetition}",
        sensor=sensor,
        pathology=pathology,
    )
    return row, report


def rows(paths: list[Path], num_proc: int) -> Iterator[dict]:
    with ProcessPoolExecutor(num_proc) as pool:
        for row, _ in common.progress(pool.map(make_row, paths, chunksize=8), len(paths), "files"):
            yield row


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--data_dir", type=Path)
    p.add_argument("--output_dir", type=Path)
    p.add_argument("--num_proc", type=int, default=2)
    a = p.parse_args()
    key = lambda q: [int(x) if x.isdigit() else x for x in FILE_NAME.fullmatch(q.name).groups()]  # noqa: E731
    paths = sorted(a.data_dir.glob("*/*.csv"), key=key)
    print(common.write_dataset(rows(paths, a.num_proc), a.output_dir, "# gist\n"), "rows")
