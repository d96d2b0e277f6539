"""The schema of every skeleton data set and the writer of Parquet shards and data card.

In: an iterator of rows (dicts in the schema of `walk_features`). Out: a folder that `load_dataset(FOLDER)` reads offline:
data/train-00000-of-0000N.parquet and README.md (the data card). It is written under a temporary name and renamed, so an
interrupted run leaves no half-made data set.
"""

import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import datasets
import numpy as np
from tqdm import tqdm

try:
    from modeling_gait.captions import PATHOLOGIES
except ImportError:
    PATHOLOGIES = ("normal", "antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg", "parkinsonian")

ROWS_PER_SHARD = 1200  # about 40 MB


def walk_features(num_joints: int = 25) -> datasets.Features:
    """Columns of a skeleton walk data set; `joints` is (T, num_joints, 3) [m], x right, y forward, z up."""
    return datasets.Features(
        {
            "subject_id": datasets.Value("string"),
            "walk_id": datasets.Value("string"),
            "sensor": datasets.Value("string"),
            "pathology": datasets.ClassLabel(names=list(PATHOLOGIES)),
            "severity": datasets.Value("float32"),
            "attributes": datasets.Value("string"),
            "fps": datasets.Value("float32"),
            "joints": datasets.Array3D((None, num_joints, 3), "float32"),
            "gait_parameters": datasets.Value("string"),
            "captions": datasets.Sequence(datasets.Value("string")),
        }
    )


def walk_row(
    joints: np.ndarray,
    fps: float,
    *,
    subject_id: str,
    walk_id: str,
    sensor: str,
    pathology: str,
    severity: float = math.nan,
    attributes: dict | None = None,
) -> dict:
    """One row of the schema from canonical joints (T, 25, 3) [m]; gait parameters and captions are computed."""
    attributes = attributes or {}
    parameters: dict[str, float | None] = {}
    captions: list[str] = []
    try:
        from modeling_gait.captions import describe_walk, paraphrase
        from modeling_gait.gait_parameters import compute_gait_parameters
    except ImportError:
        pass
    else:
        measured = compute_gait_parameters(joints, fps)
        side = attributes.get("side", "unknown")
        description = describe_walk(measured, pathology=pathology, severity=severity, side=side)
        rng = np.random.default_rng(zlib.crc32(f"{walk_id}/{sensor}".encode()))
        captions = [paraphrase(description, rng) for _ in range(3)]
        parameters = {k: round(float(v), 5) if math.isfinite(v) else None for k, v in measured.items()}
    return {
        "subject_id": subject_id,
        "walk_id": walk_id,
        "sensor": sensor,
        "pathology": pathology,
        "severity": severity,
        "attributes": json.dumps(attributes, sort_keys=True),
        "fps": fps,
        "joints": joints,
        "gait_parameters": json.dumps(parameters),
        "captions": captions,
    }


def write_dataset(rows: Iterable[dict], output_dir: Path, card: str, rows_per_shard: int = ROWS_PER_SHARD) -> int:
    """Write rows as Parquet shards and `card` as README.md; returns the number of rows.

    Raises:
        ValueError: `output_dir` exists and holds something other than an earlier data set of this kind, or there is no row.
    """
    output_dir = Path(output_dir)
    check_output(output_dir)
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output_dir.name}-", dir=output_dir.parent))
    try:
        (work / "data").mkdir()
        shards, batch, total = [], [], 0
        for row in rows:
            batch.append(row)
            if len(batch) == rows_per_shard:
                shards.append(_write_shard(batch, work / "data" / f"part-{len(shards):05d}"))
                total, batch = total + len(batch), []
        if batch:
            shards.append(_write_shard(batch, work / "data" / f"part-{len(shards):05d}"))
            total += len(batch)
        if not total:
            raise ValueError("no row to write: every file was skipped or there was none")
        for i, shard in enumerate(shards):
            shard.rename(work / "data" / f"train-{i:05d}-of-{len(shards):05d}.parquet")
        (work / "README.md").write_text(card() if callable(card) else card)
        os.chmod(work, 0o755)
        if output_dir.exists():
            shutil.rmtree(output_dir)
        work.rename(output_dir)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return total


def check_output(output_dir: Path) -> None:
    """Raise ValueError unless `output_dir` is absent, empty, or an earlier data set that may be replaced."""
    if output_dir.exists():
        names = {p.name for p in output_dir.iterdir()} if output_dir.is_dir() else {"a file"}
        if names - {"data", "README.md"}:
            raise ValueError(f"{output_dir} exists and is not a data set folder (it holds {', '.join(sorted(names)[:5])})")


def _write_shard(rows: list[dict], path: Path) -> Path:
    table = {name: [row[name] for row in rows] for name in rows[0]}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(table, features=walk_features(rows[0]["joints"].shape[1])).to_parquet(path)
    return path


def progress(items: Iterable, total: int, unit: str) -> Iterable:
    """`items` with a progress bar on the terminal (rate and time left)."""
    return tqdm(items, total=total, unit=f" {unit}", smoothing=0.05)
