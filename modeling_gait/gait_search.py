"""Search among walks: numbers by what was measured, words by the dual encoder, a walk by its gait, its person, or both.

In: a folder of walks, or a data set with a column `joints` (T, J, 3) [m]; then queries or walks to look for.
Out: rows, best first, with `score` (0 to 1: how well all that was asked fits) and `why`: which words of the query met which
measured number, and how well.

    search = GaitSearch.from_folder(model, "walks/")            # or GaitSearch.from_dataset(model, load_dataset(...))
    search.by_text("steppage gait, slower than 0.7 m/s", k=5, where="cadence>80")
    search.by_walk("walk.csv", k=5, by="person")                # "gait", "person" or "both"
    search.attribute_scores({"side": ["left leg affected", "right leg affected"]})   # of every walk
    search.save("index/"); GaitSearch.load(model, "index/").add("new.csv")

What a query says of a number is weighed by the number that was measured and its error, class and side by a row's label where it
has one and else by the dual encoder, other words by the dual encoder; the score is the product. The search is exact; from
`EXACT_ROWS` walks on, `by_vector` asks an HNSW graph of FAISS (`pip install faiss-cpu`) through `datasets`.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, concatenate_datasets, load_from_disk
from scipy.special import expit, ndtr
from tqdm import tqdm

from .feature_extraction_gait import GaitFeatureExtractor
from .file_formats import SUFFIXES
from .files import atomic_folder
from .gait_classes import GaitClasses, load_classes
from .gait_filters import read_where
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from .gait_query import SIDED, Condition, GaitQuery, read_query
from .loading import VIDEO_SUFFIXES
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_zero_shot_gait import label_vectors, open_extractor, sensor_window
from .skeletons import SKELETONS

INDEX, ABOUT = "gait_embedding", "gait_search.json"
TABLES = ("embeddings", "measured", "bodies")
# What is measured of a walk, in this order: gait parameters, the mean stride, the mean size of three symmetry indices.
MEASURED = (*(p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)), "stride_length", "asymmetry")
EXACT_ROWS = 200_000
UNKNOWN = 0.05  # fit of what was not measured
LABEL = 0.98  # fit of a row's own label
LEAST = 1e-6  # fit of a single condition: so that one that fails does not hide how the others do
REACH = 0.01  # where no walk fits a number better than this, the answer is a sentence, and for a word the nearest walks


def read_joints(walks: Dataset, batch_size: int = 256) -> Iterator[np.ndarray]:
    """Joints (T, J, 3) of all rows, through Arrow: many times faster than rows as numpy."""
    for part in walks.select_columns(["joints"]).with_format("arrow").iter(batch_size=batch_size):
        column = part.column("joints").combine_chunks()
        storage = getattr(column, "storage", column)
        lengths = np.diff(storage.offsets.to_numpy())
        frames = storage.flatten()
        points = int(np.diff(frames.offsets.to_numpy()[:2])[0])
        values = frames.flatten().flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, points, 3)
        yield from np.split(values, np.cumsum(lengths)[:-1])


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
    list that gets (gait parameters or None, bone lengths) of each walk of a skeleton.
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
                about.append((_parameters(recording) if clean else None, body_row(joints, known)))
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
        self.embeddings, self.measured, self.bodies = embeddings, measured, bodies
        kept = [c for c in walks.column_names if c not in ("joints", "captions")]
        self.walks = walks.select_columns(kept).with_format(None) if kept else Dataset.from_dict({"row": range(rows)})
        self.failed: dict[str, str] = {}
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
        files = walk_files(folder)
        if not files:
            raise ValueError(f"{folder}: no walks; looked for {', '.join((*SUFFIXES, *VIDEO_SUFFIXES))}")
        tables, good, failed = _encode_files(model, files, extractor, progress, **about)
        if not good:
            raise ValueError(f"{folder}: none of {len(files)} files is a walk; the first: {next(iter(failed.values()))}")
        found = cls(model, Dataset.from_dict({"file": good}), *tables, extractor)
        found.failed = failed
        return found

    @classmethod
    def from_dataset(
        cls, model: GaitDualEncoderModel, walks: Dataset, extractor=None, clean: bool = False, progress: bool = True
    ) -> "GaitSearch":
        """Rows of the walk schema. `clean=True` for joints that were not cleaned when the data set was made."""
        if "joints" not in walks.column_names:
            raise ValueError(f"no column joints; there are {', '.join(walks.column_names)}")
        extractor, about = open_extractor(model, extractor), []
        vectors = encode_walks(model, read_joints(walks), extractor, clean=clean, progress=progress, about=about)
        measured = None
        if "gait_parameters" not in walks.column_names:
            fps, skeleton = extractor.fps, SKELETONS[extractor.skeleton]
            joints = read_joints(walks)
            known = (p if clean else compute_gait_parameters(j, fps, skeleton) for (p, _), j in zip(about, joints))
            measured = np.stack([measured_row(p) for p in known])
        return cls(model, walks, vectors, measured, np.stack([b for _, b in about]), extractor)

    def add(self, walk, fps: float | None = None, skeleton: str | None = None, **row) -> None:
        """One more walk: a file (whose name is its row's `file`), or anything else with the columns of its row."""
        about: list = []
        vector = encode_walks(self.model, [walk], self.extractor, fps, skeleton, about=about)
        parameters, body = about[0]
        columns = {name: [value] for name, value in (row or {"file": str(walk)}).items()}
        self._append(columns, (vector, measured_row(parameters)[None], body[None]))

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

    def update(self, folder: str | Path, **about) -> tuple[int, int]:
        """Read what is new in the folder and forget what is gone; numbers of both. Files are known by their paths."""
        known, files = list(self.walks["file"]), walk_files(folder)
        there = {str(f) for f in files}
        if gone := [f for f in known if f not in there]:
            self.keep([i for i, f in enumerate(known) if f in there])
        new = [f for f in files if str(f) not in set(known)]
        tables, good, failed = _encode_files(self.model, new, self.extractor, False, **about)
        self.failed |= failed
        if good:
            self._append({"file": good}, tables)
        return len(good), len(gone)

    # --- looking ---------------------------------------------------------------------------------------------------------

    def by_text(self, text: str, k: int = 10, where: str | None = None) -> list[dict]:
        """The k walks that fit a query best, see the head of this file.

        Raises ValueError, in a sentence, as `read_query` and `read_where`, where no walk passes the filter, and where a number,
        class or side that the query asks for is out of the reach of all walks here.
        """
        query, rows = read_query(text, self.classes), self.passing(where)
        weighed = [(c, *found) for c in query.conditions if (found := self._weigh(c)) is not None]
        parts = [(c.words, *_within_reach(c, fit, values, rows), values) for c, fit, values in weighed]
        if query.words or not parts:
            parts.append((query.text, "the words", self._fit_words(query.text), None))
        logs = sum(np.log(np.maximum(fit, LEAST)) for *_, fit, _ in parts)
        best = rows[_top(logs[rows], k)]
        return [self._row(r, float(np.exp(logs[r]))) | {"why": [_why(p, r) for p in parts]} for r in best]

    def scores(self, query: GaitQuery) -> np.ndarray:
        """Log scores (N,) of all walks for a query that was read."""
        fits = [found[0] for c in query.conditions if (found := self._weigh(c)) is not None]
        if query.words or not fits:
            fits.append(self._fit_words(query.text))
        return sum(np.log(np.maximum(fit, LEAST)) for fit in fits)

    def by_vector(self, vector: np.ndarray, k: int = 10, where: str | None = None) -> list[dict]:
        """The k rows nearest to a unit vector (P,), best first: the row's columns, and `score` (cosine), `row`."""
        vector = np.asarray(vector, np.float32)
        if len(self.walks) >= EXACT_ROWS and where is None:
            scores, rows = self.graph.search(INDEX, vector, k=_count(k, len(self.walks)))
            return [self._row(int(r), float(s)) for s, r in zip(scores, rows)]
        rows = self.passing(where)
        scores = self.embeddings @ vector
        return [self._row(r, float(scores[r])) for r in rows[_top(scores[rows], k)]]

    def by_walk(
        self,
        walk,
        k: int = 10,
        fps: float | None = None,
        skeleton: str | None = None,
        by: str = "gait",
        where: str | None = None,
    ) -> list[dict]:
        """The k walks most like a walk (as of `read_recording`): `by` "gait" (cosine in the dual encoder's space), "person"
        (bones: exp(-d^2 / 2), d in the gallery's SDs), or "both" (the product, of (1 + cosine) / 2)."""
        about: list = []
        vector = encode_walks(self.model, [walk], self.extractor, fps, skeleton, about=about)[0]
        return self.by_parts(vector, about[0][1] if about else None, k, by, where)

    def by_parts(
        self, vector: np.ndarray, body: np.ndarray | None, k: int = 10, by: str = "gait", where: str | None = None
    ) -> list[dict]:
        """As `by_walk`, of a walk's unit vector (P,) and `body_row` (B,)."""
        if by not in ("gait", "person", "both"):
            raise ValueError(f"by: expected gait, person or both, got {by!r}")
        if by == "gait":
            return self.by_vector(vector, k, where)
        if not self.bodies.shape[1]:
            raise ValueError("this index holds no bone lengths; make it anew from the walks to search by person")
        rows, scores = self.passing(where), self.person_scores(body)
        if by == "both":
            scores = scores * (1 + self.embeddings @ vector) / 2
        return [self._row(r, float(scores[r])) for r in rows[_top(scores[rows], k)]]

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

    def _weigh(self, c: Condition) -> tuple[np.ndarray, np.ndarray | None] | None:
        """How well each walk fits (N,), and what was measured (N,); None where nothing here tells."""
        if not c.values:
            values = self._measured(c)
            if values is None:
                return None
            if c.low == c.high:
                fit = np.exp(-0.5 * ((values - c.low) / c.spread) ** 2)
            else:
                fit = ndtr((values - c.low) / c.spread) * ndtr((c.high - values) / c.spread)
            return np.where(np.isfinite(values), fit, UNKNOWN), values
        labels, fit = self._labels(c.quantity), None
        if c.quantity == "pathology":
            names = list(self.classes.labels)
            own = self._softmax(self._titles)[:, [names.index(v) for v in c.values]].mean(1)
            others = (1 - own * len(c.values)) / max(len(names) - len(c.values), 1)
            fit = own / np.maximum(own + others, 1e-9)  # this class or another, as likely as each other beforehand
        elif c.quantity == "side":
            fit = self._softmax(("gait, left side.", "gait, right side."))[:, int(c.values[0] == "right")]
        if labels is not None:
            told = np.where(np.isin(labels, c.values), LABEL, 1 - LABEL)
            fit = np.where(labels == "unknown", UNKNOWN if fit is None else fit, told)
        return None if fit is None else (1 - fit if c.negated else fit, labels)

    def _measured(self, c: Condition) -> np.ndarray | None:
        """(N,) of a quantity; of one with two sides that the query does not tell apart, the side that fits better."""
        if c.quantity in SIDED:
            both = np.stack([self.column(f"{c.quantity}_{side}") for side in ("left", "right")])
            middle = np.clip(both, c.low, c.high)
            nearer = np.abs(both - middle)
            return np.where(np.nan_to_num(nearer[0], nan=np.inf) <= np.nan_to_num(nearer[1], nan=np.inf), *both)
        values = self.column(c.quantity)
        return None if values is None or values.dtype.kind != "f" or np.isnan(values).all() else values

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
            if values is None:
                known = [*self.walks.column_names, "speed", "cadence", "stride_length"]
                raise ValueError(
                    f"filter {f.name!r}: no such column, attribute or gait parameter; there are {', '.join(known)}, ..."
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
            (temporary / ABOUT).write_text(json.dumps(about | {"failed": self.failed}))

    @classmethod
    def load(cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None) -> "GaitSearch":
        """What `save` wrote, its tables memory-mapped. Raises ValueError where there is none, or the model is another one."""
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise ValueError(f"{folder}: no saved search, {ABOUT} is missing")
        about = json.loads((folder / ABOUT).read_text())
        if about.get("weights") != _weights(model):
            raise ValueError(f"{folder}: made with the model {about.get('model')!r}, not {model.name_or_path!r}")
        if about.get("measured") != list(MEASURED):
            raise ValueError(f"{folder}: made with other gait parameters; make it anew")
        tables = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in TABLES]
        found = cls(model, load_from_disk(str(folder / "walks")), *tables, extractor)
        found.failed = about["failed"]
        if (folder / "graph.faiss").is_file():
            found._graph = Dataset.from_dict({"row": range(len(found.walks))})
            found._graph.load_faiss_index(INDEX, str(folder / "graph.faiss"))
        return found


def walk_files(folder: str | Path) -> list[Path]:
    """Files under a folder that may hold a walk, by their suffix; those of a saved search are none."""
    suffixes = {*SUFFIXES, *VIDEO_SUFFIXES}
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    saved = {p.parent for p in Path(folder).rglob(ABOUT)}
    return [f for f in files if not saved.intersection(f.parents)]


def _encode_files(model, files: list[Path], extractor, progress: bool, **about) -> tuple[list, list[str], dict[str, str]]:
    """Tables of the files that are walks, their names, and why the others are not."""
    extractor, parts, good, failed = open_extractor(model, extractor), [], [], {}
    for file in tqdm(files, desc="walks", disable=not progress, mininterval=1):
        try:
            told: list = []
            vector = encode_walks(model, [file], extractor, about=told, **about)[0]
            parts.append((vector, measured_row(told[0][0]), told[0][1]))
            good.append(str(file))
        except (ValueError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            failed[str(file)] = message if message.startswith(str(file)) else f"{file}: {message}"
            warnings.warn(f"left out: {failed[str(file)]}", UserWarning, stacklevel=3)
    return [np.stack(p) for p in zip(*parts)], good, failed


def _within_reach(c: Condition, fit: np.ndarray, values: np.ndarray | None, rows: np.ndarray) -> tuple[str, np.ndarray]:
    """What is asked, and its fits (N,). Where none of these rows fits: of words ("slow"), the nearest come first.

    Raises ValueError for a number, class or side that none has.
    """
    measured = values is not None and not c.values
    known = rows[np.isfinite(values[rows])] if measured else rows
    if values is None or not len(known) or fit[known].max() > (REACH if measured else 1 - LABEL + 1e-9):
        return c.asked, fit
    if c.values and (values[rows] == "unknown").any():  # one of these may be it
        return c.asked, fit
    if c.values:
        there = ", ".join(sorted(set(values[rows]) - {"unknown"})[:20])
        raise ValueError(f"no walk here has {c.asked}; there are {there}")
    if not c.relative:
        low, high = values[known].min(), values[known].max()
        raise ValueError(f"no walk here has {c.asked} ({c.words!r}); they have {low:.3g} to {high:.3g}")
    outside = np.maximum(c.low - values, values - c.high)
    fit = REACH / (1 + ((outside - outside[known].min()) / c.spread) ** 2)
    return f"{c.asked} (no walk here; nearest first)", np.where(np.isfinite(fit), fit, LEAST)


def _count(k: int, most: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return min(k, most)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest scores, highest first; ties in their order."""
    k = _count(k, len(scores))
    some = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return some[np.argsort(-scores[some], kind="stable")][:k]


def _why(part: tuple, row: int) -> dict:
    words, asked, fit, values = part
    value = None if values is None else values[row].item()
    known = value is not None and value == value
    return {"words": words, "asked": asked, "found": value if known else None, "fit": float(fit[row])}


def _weights(model: GaitDualEncoderModel) -> str:
    """What tells a model's weights from another's."""
    return hashlib.sha256(model.gait_projection.weight.detach().float().cpu().numpy().tobytes()).hexdigest()[:16]


__all__ = ["MEASURED", "GaitSearch", "body_row", "encode_walks", "measured_row", "read_joints", "walk_files"]
