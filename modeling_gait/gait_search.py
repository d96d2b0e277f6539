"""Search among walks: numbers by what was measured, words by the dual encoder, a walk by its gait, its person, or both.

In: a folder of walks, or a data set with a column `joints` (T, J, 3) [m]; then queries or walks to look for.
Out: rows, best first, with `score` (0 to 1: how well all that was asked fits) and `why`: which words of the query, or what of
the walk, met which measured number, and how well. What is doubtful about a query or walk is told by a warning.

    search = GaitSearch.from_folder(model, "walks/")            # or GaitSearch.from_dataset(model, load_dataset(...))
    search.by_text("steppage gait, slower than 0.7 m/s", k=5, where="cadence>80")
    search.by_walk("walk.csv", k=5, by="person")                # "gait", "person" or "both"
    search.attribute_scores({"side": ["left leg affected", "right leg affected"]})   # of every walk
    search.save("index/"); GaitSearch.load(model, "index/").add("new.csv")
    search = GaitSearch.open(model, "walks/", "index/")         # makes the index, or brings it up to date

What a query says of a number is weighed by the number that was measured and its error, class and side by a row's label where it
has one and else by the dual encoder, other words by the dual encoder; the score is the product. A gait is as like another as
the dual encoder finds them times as their measured numbers are: an encoder that saw one kind of sensor takes healthy walkers of
another for patients (experiments/LOG.md, 2026-11-28, fifth session). The search is exact; from `EXACT_ROWS` walks on an HNSW
graph of FAISS (`pip install faiss-cpu`, through `datasets`) chooses the walks that are compared by gait.
"""

import difflib
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, concatenate_datasets, load_dataset, load_from_disk
from scipy.special import expit, ndtr

from .feature_extraction_gait import GaitFeatureExtractor
from .file_formats import SUFFIXES
from .files import atomic_folder
from .gait_classes import GaitClasses, load_classes
from .gait_filters import read_where
from .gait_fits import LABEL, LEAST, UNKNOWN, Part, alike, compared_numbers, number_distances, within_reach
from .gait_parameters import compute_gait_parameters
from .gait_query import SIDED, WORDS, Condition, GaitQuery, read_query
from .loading import VIDEO_SUFFIXES
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_zero_shot_gait import label_vectors, open_extractor
from .skeletons import SKELETONS
from .walk_vectors import (
    ABOUT,
    MEASURED,
    body_row,
    encode_files,
    encode_walks,
    measured_row,
    read_joints,
    read_rows,
    stamp,
    walk_files,
)

INDEX = "gait_embedding"
TABLES = ("embeddings", "measured", "bodies")
EXACT_ROWS, CANDIDATES = 200_000, 1000


class GaitSearch:
    """Walks that can be searched; see the head of this file.

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
        self._vectors: dict[tuple, np.ndarray] = {}
        self._columns: dict[str, np.ndarray] = {}
        self._shares: dict[tuple, np.ndarray] = {}
        self._mean_class: np.ndarray | None = None

    @classmethod
    def from_folder(
        cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None, progress: bool = True, **about
    ) -> "GaitSearch":
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
    def open(cls, model: GaitDualEncoderModel, folder: str | Path, index: str | Path | None = None, **about) -> "GaitSearch":
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
    ) -> "GaitSearch":
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
        self._graph, self._columns, self._shares, self._mean_class = None, {}, {}, None

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
            self._columns = {}
        if tables:
            self._append(rows, tables)
        self.files, self.read_with = {str(f): stamp(f) for f in there.values()}, _given(about)
        return len(rows["file"]), len(names) - len(kept)

    # --- looking ---------------------------------------------------------------------------------------------------------

    def by_text(self, text: str, k: int = 10, where: str | None = None) -> list[dict]:
        """The k walks that fit a query best, see the head of this file.

        Raises ValueError, in a sentence, as `read_query` and `read_where`, where no walk passes the filter, and where a number,
        class or side that the query asks for is out of the reach of all walks here.
        """
        query, rows = read_query(text, self.classes), self.passing(where)
        for doubt in query.doubts:
            warnings.warn(doubt, stacklevel=2)
        parts = [within_reach(part, rows) for part in self._parts(query)]
        if all(part.unknown for part in parts):
            raise ValueError(f"nothing tells of these walks: {', '.join(part.condition.asked for part in parts)}")
        logs = sum(np.log(np.maximum(part.fit, LEAST)) for part in parts)
        best = rows[_top(logs[rows], k)]
        return [self._row(r, float(np.exp(logs[r]))) | {"why": [part.why(r) for part in parts]} for r in best]

    def scores(self, query: GaitQuery) -> np.ndarray:
        """Log scores (N,) of all walks for a query that was read."""
        return sum(np.log(np.maximum(part.fit, LEAST)) for part in self._parts(query))

    def by_vector(self, vector: np.ndarray, k: int = 10, where: str | None = None) -> list[dict]:
        """The k rows nearest to a unit vector (P,), best first: the row's columns, and `score` (cosine), `row`."""
        vector = np.asarray(vector, np.float32)
        if len(self.walks) >= EXACT_ROWS and where is None:
            return [self._row(int(r), float(s)) for s, r in zip(*self._nearest(vector, k))]
        rows = self.passing(where)
        scores = self.embeddings @ vector
        return [self._row(r, float(scores[r])) for r in rows[_top(scores[rows], k)]]

    def _nearest(self, vector: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and rows of the k nearest, by the graph."""
        scores, rows = self.graph.search(INDEX, np.asarray(vector, np.float32), k=_count(k, len(self.walks)))
        return np.asarray(scores), np.asarray(rows)

    def by_walk(
        self,
        walk,
        k: int = 10,
        fps: float | None = None,
        skeleton: str | None = None,
        by: str = "gait",
        where: str | None = None,
    ) -> list[dict]:
        """The k walks most like a walk (as of `read_recording`): `by` "gait" ((1 + cosine in the dual encoder's space) / 2,
        times the likeness of the measured numbers), "person" (bones: exp(-d^2 / 2), d in the gallery's SDs), or "both" (the
        product)."""
        about: list = []
        vector = encode_walks(self.model, [walk], self.extractor, fps, skeleton, about=about)[0]
        parameters, body, doubts = about[0] if about else ({}, None, [])
        for doubt in doubts:
            warnings.warn(f"the walk that is looked for: {doubt}", stacklevel=2)
        return self.by_parts(vector, measured_row(parameters), body, k, by, where)

    def by_parts(
        self,
        vector: np.ndarray,
        measured: np.ndarray,
        body: np.ndarray | None,
        k: int = 10,
        by: str = "gait",
        where: str | None = None,
    ) -> list[dict]:
        """As `by_walk`, of a walk's unit vector (P,), `measured_row` (M,) and `body_row` (B,)."""
        if by not in ("gait", "person", "both"):
            raise ValueError(f"by: expected gait, person or both, got {by!r}")
        if by != "gait" and (body is None or not self.bodies.shape[1]):
            raise ValueError("this index holds no bone lengths; make it anew from the walks to search by person")
        if by == "gait" and where is None and len(self.walks) >= EXACT_ROWS:
            rows = self._nearest(vector, max(CANDIDATES, 10 * k))[1]
        else:
            rows = self.passing(where)
        every = slice(None) if len(rows) == len(self.walks) else rows  # a copy of them all takes as long as the rest
        fits, distances = {}, number_distances(self.measured[every], measured)
        if by != "person":
            fits["the model finds them alike"] = (1 + self.embeddings[every] @ np.asarray(vector, np.float32)) / 2
            fits["the numbers are alike"] = alike(distances)
        if by != "gait":
            fits["the bones are alike"] = self.person_scores(body)[rows]
        scores = np.prod(list(fits.values()), axis=0)
        found = []
        for i in _top(scores, k):
            why = [{"words": "this walk", "asked": name, "found": None, "fit": float(fit[i])} for name, fit in fits.items()]
            row = self._row(rows[i], float(scores[i]))
            found.append(row | {"why": why + compared_numbers(self.measured[rows[i]], measured, distances[i])})
        return found

    def person_scores(self, body: np.ndarray) -> np.ndarray:
        """Likeness (N,), 0 to 1, of all walkers' bones to these (B,)."""
        spread = np.maximum(self.bodies.std(0), 1e-3)
        return np.exp(-0.5 * (((self.bodies - body) / spread) ** 2).mean(1))

    def attribute_scores(self, attributes: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """attribute -> values in words  ->  attribute -> probabilities (N, values) of every walk."""
        return {name: self._softmax(tuple(values)) for name, values in attributes.items()}

    # --- weighing --------------------------------------------------------------------------------------------------------

    @property
    def _scale(self) -> float:
        return float(self.model.logit_scale.detach().exp().clamp(max=100))

    def _text_vectors(self, texts: tuple[str, ...]) -> np.ndarray:
        if texts not in self._vectors:
            self._vectors[texts] = label_vectors(self.model, [[t] for t in texts]).float().cpu().numpy()
        return self._vectors[texts]

    def _softmax(self, texts: tuple[str, ...]) -> np.ndarray:
        """Probabilities (N, K) of texts that exclude each other."""
        if texts not in self._shares:
            logits = self._scale * (self.embeddings @ self._text_vectors(texts).T)
            self._shares[texts] = torch.from_numpy(logits).softmax(-1).numpy()
        return self._shares[texts]

    @property
    def _titles(self) -> tuple[str, ...]:
        return tuple(f"{c.title}." for c in self.classes.classes)

    def _fit_words(self, text: str) -> np.ndarray:
        """(N,) how much better a text fits than the mean class of gait does."""
        with torch.no_grad():
            own = self.embeddings @ self.model.get_text_features([text])[0].float().cpu().numpy()
        if self._mean_class is None:
            others = torch.from_numpy(self._scale * (self.embeddings @ self._text_vectors(self._titles).T))
            self._mean_class = (others.logsumexp(-1) - np.log(others.shape[1])).numpy()
        return expit(self._scale * own - self._mean_class)

    def _parts(self, query: GaitQuery) -> list[Part]:
        parts = [self._weigh(c) for c in query.conditions]
        if query.words:
            parts.append(Part(Condition(query.words, WORDS), self._fit_words(query.words)))
        return parts

    def _weigh(self, c: Condition) -> Part:
        """How well each walk fits (N,), and what of it was measured."""
        if c.quantity == WORDS:
            return Part(c, 1 - self._fit_words(c.values[0]))
        if not c.values:
            return self._weigh_number(c)
        labels, fit, judge = self._labels(c.quantity), None, ""
        if c.quantity == "pathology":
            names = [n for n in self.classes.labels if not self.trained or n in self.trained or n in c.values]
            titles = tuple(f"{self.classes[n].title}." for n in names)
            own = self._softmax(titles)[:, [names.index(v) for v in c.values]].mean(1)
            others = (1 - own * len(c.values)) / max(len(names) - len(c.values), 1)
            fit = own / np.maximum(own + others, 1e-9)  # this class or another, as likely as each other beforehand
            never = [v for v in c.values if self.trained and v not in self.trained]
            judge = ", judged by the model" + (f", which never saw {' or '.join(never)}: a guess" if never else "")
        elif c.quantity == "side" and c.values[0] in ("left", "right"):
            fit = self._softmax(("gait, left side.", "gait, right side."))[:, int(c.values[0] == "right")]
            judge = ", judged by the model"
        if labels is not None:
            told = np.where(np.isin(labels, c.values), LABEL, 1 - LABEL)
            fit, judge = np.where(labels == "unknown", UNKNOWN if fit is None else fit, told), ""
        if fit is None:
            return self._unknown(c)
        return Part(c, 1 - fit if c.negated else fit, labels, judge)

    def _unknown(self, c: Condition) -> Part:
        return Part(c, np.full(len(self.walks), UNKNOWN), judge=", which nothing here tells", unknown=True)

    def _weigh_number(self, c: Condition) -> Part:
        """Of a quantity with two sides that the query does not tell apart, the side that fits better."""
        sides = None
        if c.quantity in SIDED:
            both = np.stack([self.column(f"{c.quantity}_{side}") for side in ("left", "right")])
            off = np.nan_to_num(-c.best * both if c.best else np.abs(both - np.clip(both, c.low, c.high)), nan=np.inf)
            left = off[0] <= off[1]
            values, sides = np.where(left, *both), np.where(left, "left", "right")
        else:
            values = self.column(c.quantity)
        if values is None or values.dtype.kind != "f" or np.isnan(values).all():
            return self._unknown(c)
        if c.best:
            order = np.sort(c.best * values[np.isfinite(values)])
            fit = np.searchsorted(order, c.best * values, "right") / len(order)
        elif c.low == c.high:
            fit = np.exp(-0.5 * ((values - c.low) / c.spread) ** 2)
        else:
            fit = ndtr((values - c.low) / c.spread) * ndtr((c.high - values) / c.spread)
        fit = 1 - fit if c.negated else fit
        return Part(c, np.where(np.isfinite(values), fit, UNKNOWN), values, sides=sides)

    def _labels(self, name: str) -> np.ndarray | None:
        """Words (N,) of a column or an attribute, None where no row has one."""
        values = self.column(name)
        return values if values is not None and values.dtype.kind == "U" and (values != "unknown").any() else None

    def column(self, name: str) -> np.ndarray | None:
        """A gait parameter (nan: not measured), a column, or an attribute ("unknown" where there is none) of all rows (N,)."""
        if name in MEASURED:
            return self.measured[:, MEASURED.index(name)]
        if name not in self._columns:
            self._columns[name] = self._read_column(name)
        return self._columns[name]

    def _read_column(self, name: str) -> np.ndarray | None:
        if name in self.walks.column_names:
            values = self.walks[name][:]  # at once: a column gives its rows one by one
            feature = self.walks.features[name]
            if isinstance(feature, ClassLabel):
                values = [feature.int2str(int(v)) if v is not None and v >= 0 else None for v in values]
        elif "attributes" in self.walks.column_names:
            values = [json.loads(a or "{}").get(name) for a in self.walks["attributes"][:]]
        else:
            return None
        if all(isinstance(v, int | float) or v is None for v in values):
            values = np.array([np.nan if v is None else v for v in values], float)
            return None if np.isnan(values).all() else values
        return np.array(["unknown" if v is None else str(v) for v in values])

    def passing(self, where: str | None) -> np.ndarray:
        """Rows that pass a filter."""
        keep = np.ones(len(self.walks), bool)
        for f in read_where(where) if where else ():
            values = self.column(f.name)
            values = self.column(f.name.lower()) if values is None else values
            if values is None:
                known = [*self.walks.column_names, *MEASURED]
                near = difflib.get_close_matches(f.name.lower(), known, 3, 0.7) or [*known[: len(known) - len(MEASURED) + 2]]
                raise ValueError(
                    f"filter {f.name!r}: no such column, attribute or gait parameter of these walks; there are "
                    f"{', '.join(near)}, ..."
                )
            keep &= f(values)
        if not keep.any():
            raise ValueError(f"none of {len(self.walks)} walks passes the filter {where!r}")
        return np.flatnonzero(keep)

    def _row(self, row: int, score: float) -> dict:
        return self.walks[int(row)] | {"score": score, "row": int(row)}

    # --- keeping ---------------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> Dataset:
        """The HNSW graph of FAISS over the vectors, made when it is first needed. Raises ImportError without FAISS."""
        if self._graph is None:
            try:
                import faiss
            except ImportError as error:
                raise ImportError(f"searching {EXACT_ROWS:,} walks and more needs FAISS: pip install faiss-cpu") from error
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
    def load(cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None) -> "GaitSearch":
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


def _count(k: int, most: int) -> int:
    if not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
    return min(k, most)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest scores, highest first; ties in their order."""
    k = _count(k, len(scores))
    some = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return some[np.argsort(-scores[some], kind="stable")][:k]


def _weights(model: GaitDualEncoderModel) -> str:
    """What tells a model's weights from another's."""
    return hashlib.sha256(model.gait_projection.weight.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


__all__ = ["MEASURED", "GaitSearch", "body_row", "encode_walks", "measured_row", "read_joints", "walk_files"]
