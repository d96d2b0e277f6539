"""What the Space's search does, without its page: simulated walks, and a visitor's own, found by words, numbers or a walk.

In: a dual encoder, queries, files of a visitor. Out: `Hit`s, best first, each with why. A visitor's walks are a tuple that
the page keeps for that visit alone: nothing here remembers them. What is wrong with a query or a file is a ValueError in a
sentence.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset
from gait_demo import read_file, told_to_the_visitor, without_folder

from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.gait_search import GaitSearch, body_row, encode_walks, measured_row
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.pipeline_zero_shot_gait import open_extractor
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import SKELETONS, Skeleton

WALKS, PEOPLE, SECONDS = 56, 8, 4  # simulated; every person shows every class
HITS, MOST_OWN = 6, 20


@dataclass(frozen=True)
class OwnWalk:
    """A visitor's walk: joints (T, J, 3) [m], its rows of the three tables of `GaitSearch`, and what is doubtful."""

    name: str
    joints: np.ndarray
    vector: np.ndarray
    measured: np.ndarray
    body: np.ndarray
    notes: list[str]


@dataclass(frozen=True)
class Hit:
    """A walk that was found: joints (T, J, 3) [m], `score` 0 to 1, and reasons as sentences."""

    name: str
    joints: np.ndarray
    score: float
    why: list[str]


class GaitFinder:
    """Searches the simulated walks and those of one visitor.

    Args:
        words: folder of a `GaitDualEncoderModel` with its feature extractor.
    """

    def __init__(self, words: str):
        self.words = words

    @cached_property
    def model(self) -> GaitDualEncoderModel:
        return GaitDualEncoderModel.from_pretrained(self.words).eval()

    @cached_property
    def extractor(self):
        return open_extractor(self.model)

    @property
    def fps(self) -> float:
        return self.extractor.fps

    @property
    def skeleton(self) -> Skeleton:
        return SKELETONS[self.extractor.skeleton]

    @cached_property
    def shown(self) -> tuple[dict[str, list], list[np.ndarray], list[np.ndarray]]:
        """Columns, joints and tables of the simulated walks."""
        walks = simulate_walks(WALKS, frames=round(SECONDS * self.fps), fps=self.fps, num_subjects=PEOPLE, seed=0)
        about: list = []
        joints = list(walks.joints)
        vectors = encode_walks(self.model, joints, self.extractor, clean=False, about=about)
        measured = np.stack([measured_row(compute_gait_parameters(j, self.fps, self.skeleton)) for j in joints])
        people = [f"person {s % PEOPLE + 1}" for s in range(WALKS)]
        names = [f"{w}, {p.replace('_', ' ')} gait" for w, p in zip(people, walks.pathology)]
        names = [n if s == "none" else f"{n}, {s} side" for n, s in zip(names, walks.side)]
        severity = [float(s) for s in walks.severity]
        columns = {"walk": names, "person": people, "pathology": walks.pathology, "side": walks.side, "severity": severity}
        return columns, joints, [vectors, measured, np.stack([b for _, b, _ in about])]

    def read(self, path: str | Path, fps: float | None, own: tuple[OwnWalk, ...]) -> tuple[OwnWalk, ...]:
        """The visitor's walks with one more, a skeleton file or a film. Raises ValueError for what is none, or one too many."""
        path = Path(path)
        if len(own) >= MOST_OWN:
            raise ValueError(f"at most {MOST_OWN} walks of your own are searched here")
        with told_to_the_visitor(path):
            recording = read_file(path, fps, self.extractor)
            joints = recording.for_model(self.skeleton, self.fps)
        parameters = {}
        with suppress(ValueError):  # too short to measure
            parameters = recording.gait_parameters
        vector = encode_walks(self.model, [joints], self.extractor, clean=False)[0]
        names = [w.name for w in own]
        name = next(n for n in (path.name, *(f"{path.name} ({i})" for i in range(2, MOST_OWN + 2))) if n not in names)
        notes = [without_folder(note, path) for note in dict.fromkeys(recording.sentences())]
        return (*own, OwnWalk(name, joints, vector, measured_row(parameters), body_row(joints, self.skeleton), notes))

    def search(self, own: tuple[OwnWalk, ...]) -> GaitSearch:
        """Over the simulated walks and these."""
        columns, _, tables = self.shown
        mine = {"walk": [f"{w.name} (yours)" for w in own], "person": ["you"] * len(own)}
        rows = {name: [*values, *mine.get(name, [None] * len(own))] for name, values in columns.items()}
        more = ([getattr(w, name) for w in own] for name in ("vector", "measured", "body"))
        tables = [np.concatenate((table, *([np.stack(new)] if own else []))) for table, new in zip(tables, more)]
        return GaitSearch(self.model, Dataset.from_dict(rows), *tables, self.extractor)

    def by_text(self, query: str, where: str, own: tuple[OwnWalk, ...]) -> list[Hit]:
        """Raises ValueError as `GaitSearch.by_text`."""
        return [self._hit(row, own) for row in self.search(own).by_text(query or "", HITS, where or None)]

    def by_walk(self, name: str, by: str, where: str, own: tuple[OwnWalk, ...]) -> list[Hit]:
        """Walks most like the visitor's own of this name, itself left out. Raises ValueError as `GaitSearch.by_walk`."""
        mine = next((i for i, w in enumerate(own) if w.name == name), None)
        if mine is None:
            raise ValueError("hand in a walk first: then walks like it are looked for")
        search, walk = self.search(own), own[mine]
        found = search.by_parts(walk.vector, walk.measured, walk.body, HITS + 1, by, where or None)
        found = [row for row in found if row["row"] != WALKS + mine][:HITS]
        if not found:
            raise ValueError(f"no other walk passes the filter {where!r}")
        return [self._hit(row, own) for row in found]

    def _hit(self, row: dict, own: tuple[OwnWalk, ...]) -> Hit:
        at = row["row"]
        joints = self.shown[1][at] if at < WALKS else own[at - WALKS].joints
        return Hit(row["walk"], joints, row["score"], [_reason(w) for w in row["why"]])


def _reason(why: dict) -> str:
    found = why["found"]
    value = f"{found:.3g}" if isinstance(found, float) else str(found).replace("_", " ")
    asked = "is like it" if why["asked"] == "the words" else f"asks {why['asked']}"
    said = f"your walk: {why['asked']}" if why["words"] == "this walk" else f"“{why['words']}” {asked}"
    return said + (f", found {value}" if found is not None else "") + f": {why['fit']:.2f}"
