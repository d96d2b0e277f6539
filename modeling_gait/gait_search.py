"""Search among walks by words or by a walk, with a FAISS index of `datasets` where FAISS is installed.

In: a folder of skeleton files, or a data set with a column `joints` (T, J, 3) [m]; then texts or walks to look for.
Out: the rows found, best first, with their cosine similarity.

    search = GaitSearch.from_folder(model, "walks/")           # or GaitSearch.from_dataset(model, load_dataset(...))
    search.by_text("a slow walk, the right knee hardly bends", k=5)
    search.by_walk("walk.csv", k=5)
    search.attribute_scores({"side": ["left leg affected", "right leg affected"]})   # of every walk
    search.save("index/"); GaitSearch.load(model, "index/")

The search is exact (inner product of unit vectors), with FAISS (`pip install faiss-cpu`) or without.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, load_from_disk
from tqdm import tqdm

from .feature_extraction_gait import GaitFeatureExtractor
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_zero_shot_gait import label_vectors, model_window, open_extractor

SUFFIXES = (".csv", ".tsv", ".npz", ".npy", ".bvh", ".c3d", ".trc")
INDEX, ABOUT = "gait_embedding", "gait_search.json"


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
) -> np.ndarray:
    """Walks (as `model_window` takes them) -> unit vectors float32 (N, P).

    `clean=False`: joints are already at the extractor's rate, clean, heading along +y (rows of the walk schema).
    """
    extractor = open_extractor(model, extractor)
    parts, batch = [], []

    def flush() -> None:
        values, masks = (torch.stack(p).to(model.device) for p in zip(*batch))
        parts.append(model.get_gait_features(values, masks).cpu().numpy())
        batch.clear()

    for walk in tqdm(walks, desc="walks", disable=not progress, mininterval=1):
        if clean or extractor is None:
            batch.append(model_window(model, extractor, walk, fps, skeleton))
        else:
            joints, mask = extractor.window(walk)
            batch.append((extractor.to_features(torch.from_numpy(joints)[None])[0], torch.from_numpy(mask)))
        if len(batch) == batch_size:
            flush()
    if batch:
        flush()
    return np.concatenate(parts) if parts else np.zeros((0, model.config.projection_size), np.float32)


class GaitSearch:
    """Walks that can be searched; see the head of this file.

    Args:
        model: the dual encoder, in eval mode.
        walks: a data set, a row a walk.
        embeddings: float32 (N, P), unit vectors of the walks, in the order of the rows.
        extractor: by default the one beside the model.

    Raises:
        ValueError: no walk, or embeddings that do not fit.
    """

    def __init__(
        self, model: GaitDualEncoderModel, walks: Dataset, embeddings: np.ndarray, extractor: GaitFeatureExtractor | None = None
    ):
        if len(walks) == 0:
            raise ValueError("no walks to search")
        if embeddings.shape != (len(walks), model.config.projection_size):
            raise ValueError(f"embeddings: expected {(len(walks), model.config.projection_size)}, got {embeddings.shape}")
        self.model, self.extractor = model, open_extractor(model, extractor)
        self.embeddings = np.ascontiguousarray(embeddings, np.float32)
        self.walks = walks
        columns = [c for c in walks.column_names if c != "joints"]
        self._shown = walks.select_columns(columns) if columns else Dataset.from_dict({"row": range(len(walks))})
        self._index = None
        if find_spec("faiss"):
            from faiss import METRIC_INNER_PRODUCT

            # an index beside the rows, over the vectors alone, so that no search reads a walk
            self._index = Dataset.from_dict({"row": range(len(walks))})
            self._index.add_faiss_index_from_external_arrays(self.embeddings, INDEX, metric_type=METRIC_INNER_PRODUCT)

    @classmethod
    def from_folder(
        cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None, progress: bool = True, **about
    ) -> "GaitSearch":
        """All skeleton files under a folder; `about` (fps, skeleton) goes to `load_walk`. Rows: `file`.

        Raises ValueError for a folder without walks, and with the file's name for one that cannot be read.
        """
        files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            raise ValueError(f"{folder}: no walks; looked for {', '.join(SUFFIXES)}")
        embeddings = encode_walks(model, files, extractor, progress=True, **about)
        return cls(model, Dataset.from_dict({"file": [str(f) for f in files]}), embeddings, extractor)

    @classmethod
    def from_dataset(
        cls, model: GaitDualEncoderModel, walks: Dataset, extractor=None, clean: bool = False, progress: bool = True
    ) -> "GaitSearch":
        """Rows of the walk schema. `clean=True` for joints that were not cleaned when the data set was made."""
        if "joints" not in walks.column_names:
            raise ValueError(f"no column joints; there are {', '.join(walks.column_names)}")
        vectors = encode_walks(model, read_joints(walks), extractor, clean=clean, progress=progress)
        return cls(model, walks, vectors, extractor)

    def by_vector(self, vector: np.ndarray, k: int = 10) -> list[dict]:
        """The k rows nearest to a unit vector (P,), best first: the row's columns without `joints`, and `score`, `row`."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        vector, k = np.asarray(vector, np.float32), min(k, len(self.walks))
        if self._index is None:
            scores = self.embeddings @ vector
            rows = np.argsort(-scores, kind="stable")[:k]
            scores = scores[rows]
        else:
            scores, rows = self._index.search(INDEX, vector, k=k)
        return [self._shown[int(r)] | {"score": float(s), "row": int(r)} for s, r in zip(scores, rows)]

    @torch.no_grad()
    def by_text(self, text: str, k: int = 10) -> list[dict]:
        """The k walks that a text describes best. Raises ValueError for an empty text or one over the limit."""
        if not isinstance(text, str):
            raise TypeError(f"expected one text, got {type(text).__name__}")
        return self.by_vector(self.model.get_text_features([text])[0].cpu().numpy(), k)

    def by_walk(self, walk, k: int = 10, fps: float | None = None, skeleton: str | None = None) -> list[dict]:
        """The k walks most like a walk: a skeleton file, or joints (T, J, 3) [m] with `fps` and `skeleton`."""
        return self.by_vector(encode_walks(self.model, [walk], self.extractor, fps, skeleton)[0], k)

    def attribute_scores(self, attributes: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
        """attribute -> values in words  ->  attribute -> probabilities (N, values) of every walk."""
        scale = float(self.model.logit_scale.detach().exp().clamp(max=100))
        out = {}
        for name, values in attributes.items():
            vectors = label_vectors(self.model, [[v] for v in values]).cpu().numpy()
            out[name] = torch.from_numpy(scale * self.embeddings @ vectors.T).softmax(-1).numpy()
        return out

    def save(self, folder: str | Path) -> None:
        """Rows and vectors into a new folder."""
        folder = Path(folder)
        self.walks.save_to_disk(folder / "walks")
        np.save(folder / "embeddings.npy", self.embeddings, allow_pickle=False)
        (folder / ABOUT).write_text(json.dumps({"model": self.model.name_or_path, "walks": len(self.walks)}))

    @classmethod
    def load(cls, model: GaitDualEncoderModel, folder: str | Path, extractor=None) -> "GaitSearch":
        """What `save` wrote. Raises ValueError where there is none, or the model is another one."""
        folder = Path(folder)
        if not (folder / ABOUT).exists():
            raise ValueError(f"{folder}: no saved search, {ABOUT} is missing")
        about = json.loads((folder / ABOUT).read_text())
        if about["model"] != model.name_or_path:
            raise ValueError(f"{folder}: made with the model {about['model']!r}, not {model.name_or_path!r}")
        embeddings = np.load(folder / "embeddings.npy", allow_pickle=False)
        return cls(model, load_from_disk(str(folder / "walks")), embeddings, extractor)


__all__ = ["GaitSearch", "encode_walks", "read_joints"]
