"""How well walks fit what is asked of them, and how alike their measured numbers are.

In: conditions of a query (`gait_query`), tables of `walk_vectors` (rows, M). Out: fits of 0 to 1 with what was found.
"""

from dataclasses import dataclass

import numpy as np

from .gait_parameters import without_side
from .gait_query import NEAR, SD, UNIT, Condition
from .walk_vectors import MEASURED

# Numbers by which gaits are compared, and how far apart makes them differ: five times what a number in a query means. Chosen on
# people 1 to 5 of gist among that, four and five times the cameras' spread, and the gallery's own spread.
STEMS = [without_side(name) for name in MEASURED]
ALIKE = [i for i, stem in enumerate(STEMS) if stem in SD and stem != "body_height"]
APART = np.array([5 * max(NEAR.get(STEMS[i], 0), SD[STEMS[i]]) for i in ALIKE], np.float32)
FARTHEST = 3.0  # one number that is wrong says no more than that
SHOWN = [MEASURED.index(name) for name in ("speed", "cadence", "stride_length")]
UNKNOWN = 0.05  # fit of what was not measured
LABEL = 0.98  # fit of a row's own label
LEAST = 1e-6  # fit of a single condition: so that one that fails does not hide how the others do
REACH = 0.01  # where no walk fits a number better than this, the answer is a sentence, and for a word the nearest walks


@dataclass(frozen=True)
class Part:
    """How well all walks fit one condition, (N,), what was found of them (N,), who judged it, and of which side it is."""

    condition: Condition
    fit: np.ndarray
    values: np.ndarray | None = None
    judge: str = ""
    sides: np.ndarray | None = None
    unknown: bool = False

    def why(self, row: int) -> dict:
        """Words of the query, what they ask for, what was found of a walk (None: not known) and how well it fits."""
        value = None if self.values is None else self.values[row].item()
        known = value is not None and value == value
        side = f" ({self.sides[row]})" if self.sides is not None and known else ""
        asked = f"{self.condition.asked}{side}{self.judge}"
        return {"words": self.condition.words, "asked": asked, "found": value if known else None, "fit": float(self.fit[row])}


def number_distances(rows: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """How far apart the numbers (N, M) and (M,) are, (N, len(ALIKE)) in units of `APART`; nan where one is not known."""
    out = rows[:, ALIKE]
    out -= measured[ALIKE]
    out /= APART
    return np.abs(out, out=out)


def alike(distances: np.ndarray) -> np.ndarray:
    """Likeness (N,), 0 to 1, of walks whose numbers are so far apart; as of a distance of 1 where none is known of both."""
    squares = np.minimum(distances, FARTHEST)
    squares *= squares
    known = (~np.isnan(distances)).sum(1)
    np.nan_to_num(squares, copy=False)
    return np.exp(-0.5 * np.where(known, squares.sum(1) / np.maximum(known, 1), 1.0))


def compared_numbers(row: np.ndarray, measured: np.ndarray, distances: np.ndarray) -> list[dict]:
    """Speed, cadence and stride of two walks, and the two of their other numbers that differ most."""
    others = [i for i in np.array(ALIKE)[np.argsort(-distances)] if i not in SHOWN and STEMS[i] != "stride_length"]
    both = [i for i in (*SHOWN, *others) if np.isfinite(row[i]) and np.isfinite(measured[i])]
    out = []
    for i in both[: len(SHOWN) + 2]:
        unit, apart = UNIT[STEMS[i]], distances[ALIKE.index(i)]
        asked = f"{MEASURED[i].replace('_', ' ')} {measured[i]:.3g} {unit}".rstrip()
        fit = float(np.exp(-0.5 * min(apart, FARTHEST) ** 2))
        out.append({"words": "this walk", "asked": asked, "found": float(row[i]), "fit": fit})
    return out


def within_reach(part: Part, rows: np.ndarray) -> Part:
    """Where none of these rows fits: of words ("slow"), the nearest come first.

    Raises ValueError for a number, class or side that none has.
    """
    c, fit, values = part.condition, part.fit, part.values
    measured = values is not None and not c.values
    known = rows[np.isfinite(values[rows])] if measured else rows
    if values is None or not len(known) or fit[known].max() > (REACH if measured else 1 - LABEL + 1e-9):
        return part
    if c.values and (values[rows] == "unknown").any():  # one of these may be it
        return part
    if c.values:
        there = ", ".join(sorted(set(values[rows]) - {"unknown"})[:20])
        raise ValueError(f"no walk here has {c.asked}; there are {there}")
    if not c.relative:
        low, high = values[known].min(), values[known].max()
        raise ValueError(f"no walk here has {c.asked} ({c.words!r}); they have {low:.3g} to {high:.3g}")
    outside = np.maximum(c.low - values, values - c.high)
    fit = REACH / (1 + ((outside - outside[known].min()) / c.spread) ** 2)
    judge = f"{part.judge} (no walk here; nearest first)"
    return Part(c, np.where(np.isfinite(fit), fit, LEAST), values, judge, part.sides)


__all__ = ["LABEL", "LEAST", "UNKNOWN", "Part", "alike", "compared_numbers", "number_distances", "within_reach"]
