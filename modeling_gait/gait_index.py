"""The walks that a search looks among, as rows and tables: made, kept in a folder, brought up to date.

In: a folder of walks, or a data set with a column `joints` (T, J, 3) [m]. Out: a `GaitIndex`: the rows without their joints,
unit vectors (N, P) of the dual encoder, measured numbers (N, M), bone lengths (N, B) [m]; a graph of FAISS over the vectors.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from datasets import Dataset, concatenate_datasets, load_dataset, load_from_disk

from .feature_extraction_gait import GaitFeatureExtractor
from .file_formats import SUFFIXES
from .files import atomic_folder
from .gait_classes import GaitClasses, load_classes
from .gait_parameters import compute_gait_parameters
from .loading import VIDEO_SUFFIXES
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_zero_shot_gait import open_extractor
from .skeletons import SKELETONS
from .walk_vectors import ABOUT, MEASURED, encode_files, encode_walks, measured_row, read_joints, read_rows, stamp, walk_files

INDEX = "gait_embedding"
TABLES = ("embeddings", "measured", "bodies")


class GaitIndex:
    """Rows and tables of walks; see the head of this file, and `gait_search.GaitSearch`, which looks among them.

    Args:
        model: the dual encoder, in eval mode.
        walks: a data set, a row a walk; `joints` are not kept. Columns `pathology` and `attributes` are a row's labels.
        embeddings: float32 (N, P), unit vectors of the walks, in the order of the rows.
        measured: float32 (N, M), `measured_row` of each walk; default: the column `gait_parameters`, else nothing.
        bodies: float32 (N, B), `body_row` of each walk; default: not known.
        extractor: by default the one beside the model.
        classes: what the names of classes mean; default: the package's.

    Attributes:
        failed: files of `from_folder` that could not be read -> why.
        files: those that were read -> their `stamp`.
        added: those that `add` was given; bringing up to date leaves out, with a warning, what is not in the folder.
        read_with: the keyword arguments that they were read with; None: not known.

    Raises:
        ValueError: no walk, or tables that do not fit the rows.
    """

    def __init__(
        self,
        model: GaitDualEncoderModel,
        walks: Dataset,
        embeddings: np.ndarray,
        measured: np.ndarray | None = None,
        bodies: np.ndarray | None = None,
        extractor: GaitFeatureExtractor | None = None,
        classes: GaitClasses | None = None,
    ):
        if len(walks) == 0:
            raise ValueError("no walks to search")
        if measured is None and "gait_parameters" in walks.column_names:
            measured = np.stack([measured_row(json.loads(p)) for p in walks["gait_parameters"]])
        rows = len(walks)
        measured = np.full((rows, len(MEASURED)), np.nan, np.float32) if measured is None else measured
        bodies = np.zeros((rows, 0), np.float32) if bodies is None else bodies
        for name, table, shape in (
            ("embeddings", embeddings, (rows, model.config.projection_size)),
            ("measured", measured, (rows, len(MEASURED))),
            ("bodies", bodies, (rows, bodies.shape[-1])),
        ):
            if table.shape != shape:
                raise ValueError(f"{name}: expected {shape}, got {table.shape}")
        self.model, self.extractor, self.classes = model, open_extractor(model, extractor), classes or load_classes()
        if classes is None and self.extractor is not None and self.extractor.gait_classes:  # of a data set's own
            self.classes = self.extractor.classes
        self.embeddings, self.measured, self.bodies = embeddings, measured, bodies
        kept = [c for c in walks.column_names if c not in ("joints", "captions")]
        self.walks = walks.select_columns(kept).with_format(None) if kept else Dataset.from_dict({"row": range(rows)})
        self.failed: dict[str, str] = {}
        self.files: dict[str, list] = {}
        self.added: list[str] = []
        self.read_with: dict | None = {}
        self.trained = tuple(self.extractor.labels) if self.extractor is not None else ()  # classes; (): not known
        self._graph: Dataset | None = None
        self._known: dict = {}  # what was worked out of the rows that are there now

    @classmethod
    def from_folder(
        cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None, progress: bool = True, **about
    ) -> Self:
        """All walks under a folder, of any format that is read; `about` (fps, skeleton) goes to `read_recording`. Rows: `file`.

        A file that cannot be read is left out, with a warning, and stands in `failed`. Raises ValueError where none can.
        """
        files = _some_walks(folder)
        tables, rows, failed = encode_files(model, files, open_extractor(model, extractor), progress, **about)
        _warn(failed)
        if not tables:
            raise ValueError(f"{folder}: none of {len(files)} files is a walk; the first: {next(iter(failed.values()))}")
        found = cls(model, Dataset.from_dict(rows), *tables, extractor)
        found.failed, found.files = failed, {str(f): stamp(f) for f in files}
        found.read_with = _given(about)
        return found

    @classmethod
    def open(cls, model: GaitDualEncoderModel, folder: str | Path, index: str | Path | None = None, **about) -> Self:
        """A folder's Parquet in the walk schema, else its files, as `from_folder`; `index`: a saved search of that folder,
        which is made, or brought up to date. Raises ValueError also where the index is of another folder."""
        folder, found = Path(folder), None
        tables = sorted(folder.rglob("*.parquet"))
        others = walk_files(folder) if tables else _some_walks(folder)
        if tables and others:
            warnings.warn(f"{folder}: holds Parquet, so its {len(others)} other files are left out", stacklevel=2)
        if index is not None and (Path(index) / ABOUT).is_file():
            found = cls.load(model, index)
            if found.files and not {s[0] for s in found.files.values()} & {str(f.resolve()) for f in tables or others}:
                raise ValueError(f"{index}: an index of other walks, none of {folder}; name another one, or remove it")
        before, read_with = (None, None) if found is None else (found.files, found.read_with)
        now = {str(t): stamp(t) for t in tables}
        if tables and (before is None or sorted(now.values()) != sorted(before.values())):
            if found is not None:
                found._leave_out(found.added, folder)
            found = cls.from_dataset(model, load_dataset("parquet", data_files=list(now), split="train"))
            found.files = now
        elif found is None:
            found = cls.from_folder(model, folder, **about)
        elif not tables:
            found.update(folder, **about)
        if index is not None and (found.files != before or found.read_with != read_with):
            found.save(index)
        return found

    @classmethod
    def from_dataset(
        cls, model: GaitDualEncoderModel, walks: Dataset, extractor=None, clean: bool = False, progress: bool = True
    ) -> Self:
        """Rows of the walk schema; without a column `fps` they have the model's rate. `clean=True` for joints that were not
        cleaned when the data set was made."""
        if "joints" not in walks.column_names:
            raise ValueError(f"no column joints; there are {', '.join(walks.column_names)}")
        extractor, about = open_extractor(model, extractor), []
        fps, skeleton = extractor.fps, SKELETONS[extractor.skeleton]
        rows = read_rows(walks) if clean else read_joints(walks, fps)
        vectors = encode_walks(model, rows, extractor, clean=clean, progress=progress, about=about)
        measured = None
        if "gait_parameters" not in walks.column_names:
            joints = read_joints(walks, fps)
            known = [p for p, *_ in about] if clean else (compute_gait_parameters(j, fps, skeleton) for j in joints)
            measured = np.stack([measured_row(p) for p in known])
        return cls(model, walks, vectors, measured, np.stack([b for _, b, _ in about]), extractor)

    def add(self, walk, fps: float | None = None, skeleton: str | None = None, **row) -> None:
        """One more walk: a file (whose name is its row's `file`), or anything else with the columns of its row."""
        about: list = []
        vector = encode_walks(self.model, [walk], self.extractor, fps, skeleton, about=about)
        parameters, body, doubts = about[0]
        columns = {"doubts": [doubts]} | {name: [value] for name, value in (row or {"file": str(walk)}).items()}
        if not row and _given({"fps": fps, "skeleton": skeleton}) == self.read_with:
            self.files[str(walk)] = stamp(Path(walk))
        self._append(columns, (vector, measured_row(parameters)[None], body[None]))
        self.added.append(str(row.get("file", next(iter(row.values()))) if row else walk))

    def _append(self, columns: dict[str, list], tables: Sequence[np.ndarray]) -> None:
        if lacking := set(self.walks.column_names) - set(columns):
            raise ValueError(f"the row of a walk that is added needs {', '.join(sorted(lacking))}")
        new = Dataset.from_dict({k: columns[k] for k in self.walks.column_names}, features=self.walks.features)
        self.walks = concatenate_datasets([self.walks, new])
        vectors, measured, bodies = tables
        tables = zip(TABLES, (vectors, measured, bodies[:, : self.bodies.shape[1]]))
        self._replace({name: np.concatenate((getattr(self, name), part)) for name, part in tables})

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all walks but those of these rows."""
        self.walks = self.walks.select(rows)
        self._replace({name: getattr(self, name)[rows] for name in TABLES})

    def _replace(self, tables: dict[str, np.ndarray]) -> None:
        for name, table in tables.items():
            setattr(self, name, table)
        self._graph, self._known = None, {}

    def _leave_out(self, added: Sequence[str], folder: str | Path) -> None:
        _warn({name: f"{name}: it was added, and is not in {folder}" for name in added})
        self.added = []

    def update(self, folder: str | Path, **about) -> tuple[int, int]:
        """Read what is new or has changed in the folder and forget what is gone or has; numbers of both. Where `about` is not
        what the files were read with, all are read again."""
        there = {str(f.resolve()): f for f in walk_files(folder)}
        before = self.files if self.read_with == _given(about) else {}
        same = {name: there[s[0]] for name, s in before.items() if s[0] in there and stamp(there[s[0]]) == s}
        new = [f for place, f in there.items() if place not in {self.files[name][0] for name in same}]
        tables, rows, failed = encode_files(self.model, new, self.extractor, False, **about)
        self.failed = {str(same[name]): why for name, why in self.failed.items() if name in same} | failed
        _warn(self.failed)
        names = list(self.walks["file"])
        kept = [i for i, name in enumerate(names) if name in same]
        if not kept and not tables:
            raise ValueError(f"{folder}: none of {len(there)} files is a walk")
        self._leave_out([name for name in self.added if str(Path(name).resolve()) not in there], folder)
        if len(kept) < len(names):
            self.keep(kept)
        called = [str(same[names[i]]) for i in kept]
        if called != list(self.walks["file"]):  # the folder is called by another name than before
            kind = self.walks.features["file"]
            self.walks = self.walks.remove_columns("file").add_column("file", called, feature=kind)
            self._known = {}
        if tables:
            self._append(rows, tables)
        self.files, self.read_with = {str(f): stamp(f) for f in there.values()}, _given(about)
        return len(rows["file"]), len(names) - len(kept)

    @property
    def graph(self) -> Dataset:
        """The HNSW graph of FAISS over the vectors, made when it is first needed. Raises ImportError without FAISS."""
        if self._graph is None:
            try:
                import faiss
            except ImportError as error:
                raise ImportError(f"searching {len(self.walks):,} walks needs FAISS: pip install faiss-cpu") from error
            self._graph = Dataset.from_dict({"row": range(len(self.walks))})
            vectors = np.ascontiguousarray(self.embeddings, np.float32)
            about = {"string_factory": "HNSW32", "metric_type": faiss.METRIC_INNER_PRODUCT}
            self._graph.add_faiss_index_from_external_arrays(vectors, INDEX, **about)
        return self._graph

    def save(self, folder: str | Path) -> None:
        """Rows, vectors and what was measured into a folder, whole or not at all; an earlier index there is replaced."""
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
            raise FileExistsError(f"{folder}: is there and is no saved search; it is not replaced")
        with atomic_folder(folder) as temporary:
            self.walks.flatten_indices().save_to_disk(temporary / "walks")
            for name in TABLES:
                np.save(temporary / f"{name}.npy", np.asarray(getattr(self, name), np.float32), allow_pickle=False)
            if self._graph is not None:
                self._graph.save_faiss_index(INDEX, str(temporary / "graph.faiss"))
            about = {"model": self.model.name_or_path, "weights": _weights(self.model), "measured": MEASURED}
            about |= {"failed": self.failed, "files": self.files, "added": self.added, "read_with": self.read_with}
            (temporary / ABOUT).write_text(json.dumps(about))

    @classmethod
    def load(cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None) -> Self:
        """What `save` wrote, its tables memory-mapped. Raises ValueError where there is none, or the model is another one."""
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise ValueError(f"{folder}: no saved search, {ABOUT} is missing")
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            about = {"files": {}, "added": [], "read_with": None} | {
                name: about[name] for name in ("model", "weights", "measured", "failed", *about)
            }
            tables = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in TABLES]
            walks = load_from_disk(str(folder / "walks"))
            if about["weights"] == _weights(model) and about["measured"] == list(MEASURED):
                found = cls(model, walks, *tables, extractor)
                if not np.allclose(np.linalg.norm(tables[0], axis=1), 1, atol=0.01):
                    raise ValueError("vectors that are not of length 1")
                if (folder / "graph.faiss").is_file():
                    found._graph = Dataset.from_dict({"row": range(len(walks))})
                    found._graph.load_faiss_index(INDEX, str(folder / "graph.faiss"))
        except (ValueError, TypeError, KeyError, OSError, EOFError, RuntimeError) as error:
            raise ValueError(f"{folder}: this saved search is damaged ({' '.join(str(error).split())}); remove it") from error
        if about["weights"] != _weights(model):
            raise ValueError(f"{folder}: made with the model {about['model']!r}, not {model.name_or_path!r}")
        if about["measured"] != list(MEASURED):
            raise ValueError(f"{folder}: made with other gait parameters; make it anew")
        for name in ("failed", "files", "added", "read_with"):
            setattr(found, name, about[name])
        return found


def _warn(failed: Mapping[str, str]) -> None:
    for why in failed.values():
        warnings.warn(f"left out: {why}", UserWarning, stacklevel=3)


def _some_walks(folder: str | Path) -> list[Path]:
    if files := walk_files(folder):
        return files
    raise ValueError(f"{folder}: no walks; looked for {', '.join((*SUFFIXES, *VIDEO_SUFFIXES))}")


def _given(about: Mapping) -> dict:
    return {name: getattr(value, "name", value) for name, value in about.items() if value is not None}  # a skeleton by its name


def _weights(model: GaitDualEncoderModel) -> str:
    """What tells a model's weights from another's."""
    return hashlib.sha256(model.gait_projection.weight.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


__all__ = ["GaitIndex"]
