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
import json
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from datasets import ClassLabel
from scipy.special import expit, ndtr

from .gait_filters import read_where
from .gait_fits import LABEL, LEAST, UNKNOWN, Part, alike, compared_numbers, number_distances, within_reach
from .gait_index import INDEX, GaitIndex
from .gait_query import SIDED, WORDS, Condition, GaitQuery, read_query
from .pipeline_zero_shot_gait import label_vectors
from .walk_vectors import MEASURED, body_row, encode_walks, measured_row, read_joints, walk_files

EXACT_ROWS, CANDIDATES = 200_000, 1000


class GaitSearch(GaitIndex):
    """Walks that can be searched; see the head of this file. Arguments, attributes and errors as of `GaitIndex`."""

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
        if ("vectors", texts) not in self._known:
            self._known["vectors", texts] = label_vectors(self.model, [[t] for t in texts]).float().cpu().numpy()
        return self._known["vectors", texts]

    def _softmax(self, texts: tuple[str, ...]) -> np.ndarray:
        """Probabilities (N, K) of texts that exclude each other."""
        if ("shares", texts) not in self._known:
            logits = self._scale * (self.embeddings @ self._text_vectors(texts).T)
            self._known["shares", texts] = torch.from_numpy(logits).softmax(-1).numpy()
        return self._known["shares", texts]

    @property
    def _titles(self) -> tuple[str, ...]:
        return tuple(f"{c.title}." for c in self.classes.classes)

    def _fit_words(self, text: str) -> np.ndarray:
        """(N,) how much better a text fits than the mean class of gait does."""
        with torch.no_grad():
            own = self.embeddings @ self.model.get_text_features([text])[0].float().cpu().numpy()
        if "mean class" not in self._known:
            others = torch.from_numpy(self._scale * (self.embeddings @ self._text_vectors(self._titles).T))
            self._known["mean class"] = (others.logsumexp(-1) - np.log(others.shape[1])).numpy()
        return expit(self._scale * own - self._known["mean class"])

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
        if ("column", name) not in self._known:
            self._known["column", name] = self._read_column(name)
        return self._known["column", name]

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


def _count(k: int, most: int) -> int:
    if not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
    return min(k, most)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest scores, highest first; ties in their order."""
    k = _count(k, len(scores))
    some = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return some[np.argsort(-scores[some], kind="stable")][:k]


__all__ = ["MEASURED", "GaitSearch", "body_row", "encode_walks", "measured_row", "read_joints", "walk_files"]
