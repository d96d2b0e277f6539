"""Filters of walks: `pathology=steppage speed<0.7`.

In: a text. Out: `Filter`s, each a function of a column's values (N,) that says which of them pass.
ValueError for anything else.
"""

import operator
import re
import shlex
from dataclasses import dataclass

import numpy as np

_COMPARE = {"<=": operator.le, ">=": operator.ge, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Filter:
    """`name` of a column or gait parameter, one of `= != < <= > >=`, and a value, a number where it can be read as one."""

    name: str
    sign: str
    value: float | str

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Which of the values (N,) pass; nan and None never do, but for !=. Raises ValueError for words that are compared."""
        values = np.asarray(values)
        words = values.dtype.kind not in "fiu"
        if words and self.sign not in ("=", "!="):
            raise ValueError(f"{self.name}{self.sign}{self.value}: {self.name} holds words; use = or !=")
        if not words and isinstance(self.value, str):
            raise ValueError(f"{self.name}{self.sign}{self.value}: {self.name} holds numbers, and {self.value!r} is none")
        if words:
            text = f"{self.value:g}" if isinstance(self.value, float) else self.value
            return _COMPARE[self.sign](np.char.lower(values.astype(str)), text.lower())
        return _COMPARE[self.sign](values.astype(float), self.value)


def read_where(text: str) -> list[Filter]:
    """Filters that must all hold: `pathology=steppage speed<0.7 file="my walk.csv"`. Raises ValueError for anything else."""
    signs = text.replace("≤", "<=").replace("≥", ">=").replace("≠", "!=")
    try:
        parts = shlex.split(re.sub(r" *(<=|>=|!=|<|>|==?) *", lambda m: m[1].replace("==", "="), signs))
    except ValueError as error:
        raise ValueError(f"filter {text!r}: {error}") from error
    out = []
    for part in [p for p in parts if p.lower() not in ("and", "&")]:
        m = re.fullmatch(r"(\w+)(<=|>=|!=|=|<|>)([^<>=].*)", part)
        if m is None:
            raise ValueError(f'filter {part!r}: expected NAME, one of = != < <= > >=, and a value, as in "speed<0.7"')
        number = re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", m[3])
        out.append(Filter(m[1], m[2], float(m[3]) if number else m[3]))
    if not out:
        raise ValueError("the filter is empty")
    return out


__all__ = ["Filter", "read_where"]
