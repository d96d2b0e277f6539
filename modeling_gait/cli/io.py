"""What the commands of `cli.py` share: models by name, walks and gait cycles from files, output that is whole or absent, JSON.

In: what was typed. Out: folders, `Walk`s, arrays. Errors are ValueError or OSError with one line that says what to do.
Nothing heavy is imported here, so that `gait --help` is fast.
"""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..released import NAME, find_part, model_type, named

if TYPE_CHECKING:
    from ..configuration_gait_tcn import GaitTCNConfig

# model_type in config.json
FAMILY, CLASSIFIER, TEXT, TCN, KNOWLEDGE = "gpt2", "gait_classifier", "gait_dual_encoder", "gait_tcn", "gait_knowledge"
KINDS = {
    FAMILY: "a model family (train/train_gpt2.py)",
    CLASSIFIER: "a classifier (train/train_classifier.py)",
    TEXT: "a dual encoder of walks and texts (train/train_text.py)",
    TCN: "a network for gait cycles (train/train_maml.py)",
    KNOWLEDGE: "a knowledge model (GaitKnowledgeForSequenceClassification)",
}
WALK_SUFFIXES = (".csv", ".npz", ".bvh", ".trc", ".c3d", ".npy", ".gif", ".mp4")  # what `save_walk` writes
WHOLE_BODIES = (".bvh", ".npy", ".gif", ".mp4")  # of these, what has no place for a joint that was not measured
ADVICE = "give --model a folder or a Hub id, or set GAIT_MODEL; gait-small comes with the package"


# ---------------------------------------------------------------- models


def find_model(name: str | None, *kinds: str) -> tuple[Path, str]:
    """The folder of a model and which of `kinds` (model types) it is; one of the Hub is downloaded, or taken from the cache.

    `name`: gait-small, a folder or a Hub id; else the environment variable GAIT_MODEL, else gait-small. A family may hold
    models of other kinds in folders of their own, see `released.PARTS`.
    Raises ValueError where there is none, it is of another kind, or the Hub has none or cannot be reached.
    """
    wanted = " or ".join(KINDS[k] for k in kinds)
    name = named(name or os.environ.get("GAIT_MODEL") or NAME)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _download(name, wanted)
    found = find_part(folder, kinds)
    if not found and not (folder / "config.json").is_file():
        raise ValueError(f"{name}: not a model, config.json is missing; {ADVICE}: {wanted}")
    if not found:
        kind = model_type(folder)
        raise ValueError(f"{name}: holds {KINDS.get(kind, f'a model of type {kind!r}')}; needed is {wanted}; {ADVICE}")
    return found


def _download(name: str, wanted: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=["*.gif", "*.png", "*.mp4", "*.bin", "*.pt"]))
    except HFValidationError:
        why = "no such folder"
    except GatedRepoError:
        why = "no such folder; the Hub asks you to accept its terms there first (and `hf auth login`)"
    except RepositoryNotFoundError:
        why = "no such folder, and no such repository on the Hub (for a private one: `hf auth login`)"
    except OSError:  # no network, offline mode, the Hub is down
        why = "no such folder, and the Hugging Face Hub cannot be reached, nor was it downloaded before"
    raise ValueError(f"{name}: {why}; {ADVICE}: {wanted}")


def quiet() -> None:
    """Our models and pipelines known to transformers, and it without bars and notes."""
    from transformers.utils import logging

    from .. import GaitVQModel  # noqa: F401  all of the package is imported, and so registered

    logging.set_verbosity_error()
    logging.disable_progress_bar()


# ---------------------------------------------------------------- input


def read_cycles(path: Path, config: "GaitTCNConfig", fps: float | None, **options) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Gait cycles (K, P, C) of a file in the units of a model, a mask (K, C), True where a channel was measured, and doubts.

    A skeleton file, for a model of J x 3 channels: cycles from a right heel strike to the next, joints less the pelvis [m].
    NPZ or NPY for any model: array `values`, cycles (K, P, C) with optional `channel_mask` (K, C) or (C,); or, for 36 leg
    sensor channels in the order of HuGaDB, samples (T, 36) [m/s^2, rad/s] with `fps`.
    Raises ValueError naming the file.
    """
    values, channel_mask, doubts = None, None, []
    if path.suffix.lower() in (".npz", ".npy"):
        values, channel_mask, fps = _read_values(path, fps)
    try:
        if values is None:
            values, channel_mask, doubts = _skeleton_cycles(path, config, {**options, "fps": fps})
        elif values.ndim == 2:
            values = _sensor_cycles(values, config, fps)
        if values.ndim != 3 or values.shape[1:] != (config.num_phases, config.num_channels) or not len(values):
            raise ValueError(f"expected cycles (K, {config.num_phases}, {config.num_channels}), got {values.shape}")
        mask = np.ones(config.num_channels, bool) if channel_mask is None else np.asarray(channel_mask)
        if mask.dtype != bool or mask.shape not in ((config.num_channels,), (len(values), config.num_channels)):
            expected = f"bool ({len(values)}, {config.num_channels})"
            raise ValueError(f"channel_mask: expected {expected}, got {mask.dtype} {mask.shape}")
        return values.astype(np.float32), np.broadcast_to(mask, (len(values), config.num_channels)), doubts
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def read_group(place: Path, **options) -> list:
    """`Recording`s of a file, or of all walks in a folder by name. Raises ValueError for an empty folder."""
    from ..file_formats import SUFFIXES
    from ..loading import VIDEO_SUFFIXES
    from ..recording import read_recordings

    if not place.is_dir():
        return read_recordings(place, **options)
    files = sorted(f for f in place.iterdir() if f.suffix.lower() in (*SUFFIXES, *VIDEO_SUFFIXES, ".parquet"))
    if not files:
        raise ValueError(f"{place}: no walk in this folder; see `gait formats`")
    return [walk for file in files for walk in read_recordings(file, **options)]


def _read_values(path: Path, fps: float | None) -> tuple[np.ndarray | None, np.ndarray | None, float | None]:
    """`values`, `channel_mask` and `fps` of an NPZ or NPY; None for values where it is a skeleton walk."""
    try:
        loaded = np.load(path, allow_pickle=False)
        named = ("values", "channel_mask", "fps")
        arrays = {"values": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in named if k in loaded.files}
    except OSError:
        raise
    except Exception as error:  # numpy, zip and zlib raise a dozen kinds
        raise ValueError(f"{path}: no NumPy arrays in it ({error})") from error
    values = arrays.get("values")
    if values is None or values.dtype.kind not in "fiu" or (values.ndim == 3 and values.shape[2] == 3):
        return None, None, fps
    stated = float(arrays["fps"]) if "fps" in arrays else None
    return values, arrays.get("channel_mask"), fps or stated


def _skeleton_cycles(path: Path, config: "GaitTCNConfig", options: dict) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Cycles (K, P, C) of walks that `read_recordings` reads, the channels (C,) of joints that all measured, and doubts."""
    from ..gait_cycles import walk_cycles
    from ..recording import read_recordings
    from ..skeletons import KINECT_V2, convert_joints

    cycles, mask, doubts = [], np.ones(config.num_channels, bool), []
    for walk in read_recordings(path, **options):
        doubts += walk.doubts
        ours = walk.skeleton if 3 * len(walk.skeleton) == config.num_channels else KINECT_V2
        if 3 * len(ours) != config.num_channels:
            raise ValueError(
                f"a skeleton of {len(walk.skeleton)} joints; the model reads {config.num_channels} channels, "
                "see `gait personalize --help`"
            )
        seen = ~np.isnan(walk.joints).all((0, 2))
        there = {n for n, s in zip(walk.skeleton.joint_names, seen) if s}
        mask &= np.repeat([n in there for n in ours.joint_names], 3)
        for stretch in walk.stretches:
            joints = convert_joints(walk.straight(stretch), walk.skeleton, ours)
            try:
                cycles.append(walk_cycles(joints, walk.fps, ours, points=config.num_phases))
            except ValueError:
                if len(walk.stretches) == 1:
                    raise
    if not cycles:
        raise ValueError("no whole gait cycle in its straight parts")
    return np.concatenate(cycles), mask, doubts


def _sensor_cycles(values: np.ndarray, config: "GaitTCNConfig", fps: float | None) -> np.ndarray:
    """As datasets_scripts/hugadb.py finds them: the right foot's and shin's accelerations change most at initial contact."""
    from ..gait_cycles import find_cycles, resample_cycle

    if values.shape[1] != config.num_channels or config.num_channels != 36:
        raise ValueError(
            f"samples (T, {values.shape[1]}); only (T, 36) are cut into cycles, and the model must read 36 channels"
        )
    if fps is None:
        raise ValueError("states no rate of its samples; give --fps")
    change = np.diff(values.astype(np.float64), axis=0, prepend=values[:1])
    contact = np.linalg.norm(change[:, 0:3], axis=1) + np.linalg.norm(change[:, 6:9], axis=1)
    return np.stack([resample_cycle(values, a, b, config.num_phases) for a, b in find_cycles(contact, fps)])


# ---------------------------------------------------------------- output


def output_files(out: Path, count: int, suffixes: tuple[str, ...], force: bool) -> list[Path]:
    """Where `count` walks go: `out`, or if there are several out_01, out_02, ...

    Raises ValueError for another suffix; FileExistsError where a file is there and `force` is not set.
    """
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"{out}: cannot write {out.suffix!r}; expected one of {', '.join(suffixes)}")
    digits = max(2, len(str(count)))
    numbered = [out.with_name(f"{out.stem}_{n:0{digits}d}{out.suffix}") for n in range(1, count + 1)]
    files = [out] if count == 1 else numbered
    for file in files:
        refuse_existing(file, force)
    return files


def refuse_existing(path: Path, force: bool) -> None:
    """Raises FileExistsError where there is something at `path` that may not be replaced."""
    if path.is_dir() and path.suffix:
        raise FileExistsError(f"{path}: is a folder")
    if path.exists() and not force:
        raise FileExistsError(f"{path}: is there already; --force replaces it")


@contextmanager
def whole_files(files: list[Path]) -> Iterator[list[Path]]:
    """Temporary paths with the names of `files`; moved to their places when all are written, removed if not.

    Raises OSError that names the first file where its folder cannot be written in."""
    folder = files[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=".gait-", dir=folder)
    except OSError as error:
        why = f"{folder} is no folder" if isinstance(error, FileExistsError) else error.strerror
        raise OSError(error.errno, f"cannot be written: {why}", str(files[0])) from error
    with made as temporary:
        paths = [Path(temporary) / f.name for f in files]
        yield paths
        for path, file in zip(paths, files):
            os.replace(path, file)


def write_parquet(path: Path, walks: list[dict], model: str, seed: int) -> None:
    """Results of `text-to-gait` in the walk schema with the columns of train/generate.py."""
    from datasets import Dataset

    from ..schema import generated_row, walk_features
    from ..skeletons import SKELETONS

    features = walk_features(len(SKELETONS[walks[0]["skeleton"]]), walks[0]["description"].classes.labels, generated=True)
    rows = [generated_row(walk, model, seed, number) for number, walk in enumerate(walks)]
    Dataset.from_list(rows, features=features).to_parquet(path)


def plain(value: object) -> object:
    """What JSON can say of a value: dataclasses as objects, arrays as lists, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in fields(value) if f.repr})
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
