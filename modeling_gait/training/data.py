"""What a training step reads: rows of a data set, memory-mapped, and random windows of them.

In: a data set in the walk schema (a `load_dataset` name or a folder of Parquet); it may be larger than memory.
Out: rows of a step, and batches of tensors; both depend on (seed, step, process) alone, so a run that was killed and started
again sees what one that was not would have seen.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import torch
from datasets import ClassLabel, Dataset, Features, load_dataset
from transformers.utils import cached_file

from modeling_gait.caption_words import json_object, stated_attributes
from modeling_gait.cleaning import FASTEST_RATE, SLOWEST_RATE, at_rate
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_classes import CLASSES_FILE, GaitClasses, load_classes
from modeling_gait.gait_parameters import mirror_image, odd_input
from modeling_gait.skeletons import KINECT_V2, SKELETONS, mirror

WALK_COLUMNS = {"subject_id", "walk_id", "sensor", "pathology", "severity", "attributes", "fps", "joints"}
WALK_COLUMNS |= {"gait_parameters", "captions"}

_CHECKED = ("joints", "fps", "severity", "attributes", "gait_parameters")
LEAST_SECONDS = 0.5  # of a walk; the shortest of gist has 1.5

SAID = (  # what a data set says of its walks
    *("subject_id", "walk_id", "sensor", "pathology", "activity", "severity", "attributes", "fps"),
    *("gait_parameters", "captions"),
)


def open_rows(dataset: str) -> Dataset:
    """Rows of a `load_dataset` name or a folder of Parquet, memory-mapped.

    Raises ValueError for a folder without any, and for one with several data sets: files of other columns, types or classes.
    """
    if not Path(dataset).is_dir():
        return load_dataset(dataset, split="train")
    files = sorted(str(p) for p in Path(dataset).rglob("*.parquet"))
    if not files:
        raise ValueError(f"{dataset}: no Parquet files in this folder")
    if not any(parquet.read_metadata(file).num_rows for file in files):
        raise ValueError(f"{dataset}: its Parquet files hold no row")
    columns = {file: Features.from_arrow_schema(parquet.read_schema(file)) for file in files}
    if other := next((file for file in files if columns[file] != columns[files[0]]), None):
        raise ValueError(
            f"{dataset}: holds several data sets: {files[0]} and {other} differ in "
            f"{', '.join(_differing(columns[files[0]], columns[other]))}; give the folder of one"
        )
    return load_dataset("parquet", data_files=files, split="train")


def _differing(one: Features, other: Features) -> list[str]:
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def load_rows(
    dataset: str, columns: set[str], hint: str, exclude_subjects: list[str] = (), only_subjects: list[str] = ()
) -> Dataset:
    """Rows of a `load_dataset` name or a folder of Parquet, memory-mapped; people in `exclude_subjects` are left out.

    Raises ValueError where one of `columns` is missing (with `hint`), a person to hold out is not there, or no row is left.
    """
    data = open_rows(dataset)
    missing = columns - set(data.column_names)
    if missing:
        raise ValueError(f"{dataset}: columns missing: {', '.join(sorted(missing))}; {hint}")
    subjects = np.array([str(s) for s in data["subject_id"]])
    unknown = set(map(str, [*exclude_subjects, *only_subjects])) - set(subjects)
    if unknown:
        raise ValueError(
            f"{dataset}: no such subject: {', '.join(sorted(unknown))}; there are {', '.join(sorted(set(subjects)))}"
        )
    keep = ~np.isin(subjects, list(map(str, exclude_subjects)))
    if only_subjects:
        keep &= np.isin(subjects, list(map(str, only_subjects)))
    if not keep.any():
        raise ValueError(f"{dataset}: no rows left")
    return data if keep.all() else data.select(np.flatnonzero(keep))


def dataset_classes(dataset: str, labels: Sequence[str] = ()) -> GaitClasses:
    """What the gait_classes.json of a data set (folder or Hub id) and the package know; of these `labels` if any are given."""
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    file = cached_file(dataset, CLASSES_FILE, repo_type="dataset", **quiet)
    known = load_classes().merged(load_classes(file)) if file else load_classes()
    return known.select(labels) if labels else known


def load_walks(
    dataset: str, exclude_subjects: list[str] = (), only_subjects: list[str] = (), fps: float | None = None
) -> Dataset:
    """Rows of the walk schema as numpy; see `load_rows`. Raises ValueError, with the walk and its row of those left, also
    for what is no frame rate, another rate than `fps` where that is given, and what is no walk or cannot be (`_check_row`)."""
    rows = load_rows(dataset, WALK_COLUMNS, "the README shows the schema", exclude_subjects, only_subjects)
    rates = np.array(rows["fps"], float)
    right = (rates >= SLOWEST_RATE) & (rates <= FASTEST_RATE) if fps is None else np.isclose(rates, fps, rtol=1e-3, atol=0)
    if not right.all():
        row, wanted = int(np.argmin(right)), f"{SLOWEST_RATE:g} to {FASTEST_RATE:g}" if fps is None else f"{fps:g}"
        raise ValueError(f"{dataset}: walk {rows['walk_id'][row]} (row {row}) has {rates[row]:g} frames a second, not {wanted}")
    if not isinstance(rows.features["pathology"], ClassLabel):
        raise ValueError(f"{dataset}: column pathology: expected datasets.ClassLabel, whose names are the classes")
    rows, row = rows.with_format("numpy"), 0
    for part in rows.select_columns(["walk_id", *_CHECKED]).iter(256):
        for walk, *said in zip(part["walk_id"], *(part[name] for name in _CHECKED)):
            _check_row(f"{dataset}: walk {walk} (row {row})", *said)
            row += 1
    return rows


def _check_row(
    name: str, joints: np.ndarray, fps: float, severity: float | None, attributes: str | None, parameters: str | None
) -> None:
    """Raise ValueError, with `name`, for joints that are not finite, less than half a second, or, of kinect_v2, in another unit
    than metres, not upright along z or not on their way along +y; a severity outside 0 to 1; an unknown side; gait
    parameters that are no JSON object. One such row would spoil what is learnt from all others, without a word."""
    joints = np.asarray(joints)
    if len(joints) < LEAST_SECONDS * fps:
        raise ValueError(f"{name} has {len(joints)} frames, less than {LEAST_SECONDS:g} s")
    if not np.isfinite(joints).all():
        raise ValueError(f"{name} holds joints that are not finite; clean it first (modeling_gait.cleaning)")
    some = joints[np.linspace(0, len(joints) - 1, 9).astype(int)]
    if some.shape[1] == len(KINECT_V2) and (odd := odd_input(some)):
        raise ValueError(f"{name}: {'; '.join(odd)}")
    if severity is not None and not (np.isnan(severity) or 0 <= severity <= 1):
        raise ValueError(f"{name}: severity {severity:g}, expected 0 to 1, or nan where it is not known")
    stated_attributes(attributes, name)
    json_object(parameters, name, "gait_parameters, expected a JSON object as of `walk_row`")


def numbered(subjects: np.ndarray) -> list[str]:
    """Distinct subjects, by number where they are numbers."""
    return sorted(set(subjects.tolist()), key=lambda s: (not s.isdigit(), int(s) if s.isdigit() else 0, s))


class StepBatches:
    """Which rows step s of process r reads: shuffled epochs, a function of (seed, s, r) alone, no row twice in an epoch."""

    def __init__(self, num_rows: int, batch_size: int, seed: int, process: int = 0, num_processes: int = 1):
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self.process, self.num_processes = process, num_processes
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def rows(self, step: int) -> np.ndarray:
        first = (step * self.num_processes + self.process) * self.batch_size
        out = np.empty(self.batch_size, int)
        for i in range(self.batch_size):
            epoch, at = divmod(first + i, self.num_rows)
            if self._order[0] != epoch:
                self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.num_rows))
            out[i] = self._order[1][at]
        return out


class WindowLoader:
    """Windows of rows of a data set, as the models read them; walks of another rate than the models' are resampled."""

    def __init__(self, data: Dataset, extractor: GaitFeatureExtractor):
        self.extractor, self.skeleton = extractor, SKELETONS[extractor.skeleton]
        labels = extractor.labels
        self.label_of = np.array([labels.index(n) if n in labels else -100 for n in pathology_names(data)])
        self.columns = data.select_columns(["joints", "fps", "pathology", "gait_parameters"])

    def batch(self, rows: np.ndarray, seed: int | None = None, mirrored: np.ndarray | None = None) -> dict:
        """`joints` (B, N, J, 3) [m], `attention_mask` (B, N), `labels` (B,) and `measured`, the rows' gait parameters.

        `seed`: windows from anywhere in the walks; None: the middle ones. `mirrored`: (B,) bool, which to mirror, with their
        parameters.
        """
        items = self.columns[rows.tolist()]
        rng = np.random.default_rng(seed)
        cut = []
        for joints, fps in zip(items["joints"], items["fps"]):
            joints = at_rate(joints, float(fps), self.extractor.fps)
            late = max(len(joints) - self.extractor.num_frames, 0)
            cut.append(self.extractor.window(joints, None if seed is None else int(rng.integers(0, late + 1))))
        joints = torch.from_numpy(np.stack([c[0] for c in cut]))
        parameters = [json.loads(p) for p in items["gait_parameters"]]
        if mirrored is not None:
            joints = torch.where(torch.from_numpy(mirrored)[:, None, None, None], mirror(joints, self.skeleton), joints)
            parameters = [mirror_parameters(p) if m else p for p, m in zip(parameters, mirrored)]
        return {
            "joints": joints,
            "attention_mask": torch.from_numpy(np.stack([c[1] for c in cut])),
            "labels": torch.from_numpy(self.label_of[items["pathology"]]),
            "measured": parameters,
        }


def fingerprint(*parts: object) -> str:
    """Digest of arrays, tensors, weights of networks, lists of text or numbers, and data sets (what is said of each walk, and
    64 of the walks)."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, torch.nn.Module):
            for name, tensor in part.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
            continue
        if isinstance(part, Dataset):
            columns = [c for c in SAID if c in part.column_names]
            digest.update(repr([(c, getattr(part.features[c], "names", None)) for c in columns]).encode())
            for rows in part.select_columns(columns).with_format(None).iter(1024):
                digest.update(repr([rows[c] for c in columns]).encode())
            some = part.with_format("numpy")[np.unique(np.linspace(0, len(part) - 1, 64).astype(int)).tolist()]
            part = [np.asarray(v).tobytes() for v in some.get("joints", [])]
        digest.update(
            np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray | torch.Tensor) else repr(part).encode()
        )
    return digest.hexdigest()


def class_labels(data: Dataset) -> tuple[np.ndarray, list[str]]:
    """Class of each walk (N,), an index into the names of the classes that occur. Raises ValueError where one is unknown."""
    classes = np.array([int(p) for p in data["pathology"]])
    if (classes < 0).any():
        row = int(np.flatnonzero(classes < 0)[0])
        raise ValueError(
            f"walk {data['walk_id'][row]} (row {row}): pathology -1 is an unknown class, but a classifier needs one of each; "
            f"leave such rows out ({int((classes < 0).sum())} of {len(classes)})"
        )
    present, labels = np.unique(classes, return_inverse=True)
    return labels, [data.features["pathology"].names[i] for i in present]


def pathology_names(data: Dataset) -> list[str | None]:
    """Names by class index; None, the last one, is that of -1, an unknown pathology."""
    return [*data.features["pathology"].names, None]


def mirror_parameters(parameters: dict[str, float | None]) -> dict[str, float | None]:
    """Gait parameters of the mirrored walk: left and right swapped, differences and asymmetries with the other sign."""
    out = {}
    for name in parameters:
        other, sign = mirror_image(name)
        out[name] = None if parameters[other] is None else sign * parameters[other]
    return out
