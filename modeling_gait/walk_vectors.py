"""Walks as rows of the tables that a search keeps: what the dual encoder says, what was measured, how long the bones are.

In: walks as of `read_recording`, joints (T, J, 3) [m], files of a folder. Out: unit vectors (N, P), measured numbers (N, M) in
the order of `MEASURED`, nan where there is none, bone lengths (N, B) [m], and doubts, a sentence each.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from .cleaning import at_rate
from .feature_extraction_gait import GaitFeatureExtractor
from .file_formats import SUFFIXES
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS
from .loading import VIDEO_SUFFIXES
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_zero_shot_gait import open_extractor, sensor_window
from .skeletons import SKELETONS

ABOUT = "gait_search.json"  # of a saved search
# What is measured of a walk, in this order: gait parameters, the mean stride, the mean size of three symmetry indices.
MEASURED = (*(p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)), "stride_length", "asymmetry")


def read_rows(walks: Dataset, batch_size: int = 256) -> Iterator[dict]:
    """`joints` (T, J, 3), `name` and, where there is such a column, `fps` of all rows, through Arrow: many times faster than
    rows as numpy."""
    columns, number = [c for c in ("joints", "fps") if c in walks.column_names], 0
    for part in walks.select_columns(columns).with_format("arrow").iter(batch_size=batch_size):
        column = part.column("joints").combine_chunks()
        storage = getattr(column, "storage", column)
        lengths = np.diff(storage.offsets.to_numpy())
        frames = storage.flatten()
        points = int(np.diff(frames.offsets.to_numpy()[:2])[0])
        values = frames.flatten().flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, points, 3)
        rates = part.column("fps").to_numpy().astype(float).tolist() if "fps" in columns else []
        for row, joints in enumerate(np.split(values, np.cumsum(lengths)[:-1])):
            yield {"joints": joints, "name": f"row {number}"} | ({"fps": rates[row]} if rates else {})
            number += 1


def read_joints(walks: Dataset, fps: float) -> Iterator[np.ndarray]:
    """Joints (T, J, 3) of all rows at this rate: rows of another `fps` are resampled, without that column all have it.

    Raises ValueError, with the row, for what is no rate.
    """
    for row in read_rows(walks):
        try:
            yield at_rate(row["joints"], row.get("fps", fps), fps)
        except ValueError as error:
            raise ValueError(f"{row['name']}: {error}") from error


def measured_row(parameters: Mapping[str, float]) -> np.ndarray:
    """Gait parameters, name -> number or None -> float32 (M,) in the order of `MEASURED`, nan for what is not known."""
    values = {k: np.nan if parameters.get(k) is None else float(parameters[k]) for k in MEASURED[:-2]}
    strides = np.array([values["stride_length_left"], values["stride_length_right"]])
    indices = np.abs([values[f"{n}_asymmetry"] for n in ("knee_range", "step_length", "stance")])
    both = [np.nan if np.isnan(x).all() else np.nanmean(x) for x in (strides, indices)]
    return np.array([*values.values(), *both], np.float32)


def body_row(joints: np.ndarray, skeleton) -> np.ndarray:
    """Median lengths [m] of the bones of a walk (T, J, 3), mean of left and right: float32 (J - 1,)."""
    bones = [(j, p) for j, p in enumerate(skeleton.parents) if p >= 0]
    lengths = np.linalg.norm(joints[:, [j for j, _ in bones]] - joints[:, [p for _, p in bones]], axis=-1)
    middle = np.zeros(len(skeleton), np.float32)
    middle[[j for j, _ in bones]] = np.nanmedian(lengths, axis=0)
    return ((middle + middle[list(skeleton.mirror)]) / 2)[[j for j, _ in bones]]


@torch.no_grad()
def encode_walks(
    model: GaitDualEncoderModel,
    walks: Iterable,
    extractor: GaitFeatureExtractor | None = None,
    fps: float | None = None,
    skeleton: str | None = None,
    clean: bool = True,
    batch_size: int = 64,
    progress: bool = False,
    about: list | None = None,
) -> np.ndarray:
    """Walks (as of `read_recording`, or sensor samples) -> unit vectors float32 (N, P).

    `clean=False`: joints are already at the extractor's rate, clean, heading along +y (rows of the walk schema). `about`: a
    list that gets (gait parameters or None, bone lengths, doubts) of each walk of a skeleton.
    """
    extractor = open_extractor(model, extractor)
    parts, batch = [], []

    def flush() -> None:
        values, masks = (torch.stack(p).to(model.device) for p in zip(*batch))
        parts.append(model.get_gait_features(values, masks).cpu().numpy())
        batch.clear()

    for walk in tqdm(walks, desc="walks", disable=not progress, mininterval=1):
        if extractor is None:
            batch.append(sensor_window(model.config.gait_config, walk, fps))
        else:
            known = SKELETONS[extractor.skeleton]
            recording = extractor.read(walk, fps, skeleton) if clean else None
            joints = recording.for_model(known, extractor.fps) if clean else walk
            if about is not None:
                told = (_parameters(recording), list(recording.doubts)) if clean else (None, [])
                about.append((told[0], body_row(joints, known), told[1]))
            window, mask = extractor.window(joints)
            batch.append((extractor.to_features(torch.from_numpy(window)[None])[0], torch.from_numpy(mask)))
        if len(batch) == batch_size:
            flush()
    if batch:
        flush()
    return np.concatenate(parts) if parts else np.zeros((0, model.config.projection_size), np.float32)


def _parameters(recording) -> dict[str, float]:
    try:
        return recording.gait_parameters
    except ValueError:  # too short to measure; it can still be found by words
        return {}


def walk_files(folder: str | Path) -> list[Path]:
    """Files under a folder that may hold a walk, by their suffix; those of a saved search are none."""
    suffixes = {*SUFFIXES, *VIDEO_SUFFIXES}
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    saved = {p.parent for p in Path(folder).rglob(ABOUT)}
    return [f for f in files if not saved.intersection(f.parents)]


def stamp(file: Path) -> list:
    """What tells whether a file is the one that was read: its place, size and time."""
    about = file.stat()
    return [str(file.resolve()), about.st_size, about.st_mtime_ns]


def encode_files(model, files: list[Path], extractor, progress: bool, **about) -> tuple[list, dict[str, list], dict[str, str]]:
    """Tables of the files that are walks, the columns `file` and `doubts` of their rows, and why the others are none."""
    parts, rows, failed = [], {"file": [], "doubts": []}, {}
    for file in tqdm(files, desc="walks", disable=not progress, mininterval=1):
        try:
            told: list = []
            vector = encode_walks(model, [file], extractor, about=told, **about)[0]
        except (ValueError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            failed[str(file)] = message if message.startswith(str(file)) else f"{file}: {message}"
            continue
        ((parameters, body, doubts),) = told
        parts.append((vector, measured_row(parameters), body))
        rows["file"].append(str(file))
        rows["doubts"].append(doubts)
    return [np.stack(p) for p in zip(*parts)], rows, failed


__all__ = [
    "ABOUT",
    "MEASURED",
    "body_row",
    "encode_files",
    "encode_walks",
    "measured_row",
    "read_joints",
    "read_rows",
    "stamp",
    "walk_files",
]
