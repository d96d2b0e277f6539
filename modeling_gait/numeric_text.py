"""Gait parameters as numerical text, and back (after Enhancing Gait Video Analysis by Knowledge Augmentation in a VLM,
arXiv 2403.13756).

In: the 29 parameters of `GAIT_PARAMETERS`, as a dict name -> number or an array (29,) in that order; nan is not measured.
Out: sentences of a few weakly correlated parameters, with a [NUM] slot each that a model fills by a value-weighted learned
embedding ("walking speed [NUM] m/s, left step time [NUM] s"), or spoken with the numbers ("walking speed 0.61 m/s, ...").
`parse_spoken` reads the numbers of such a text and `check_spoken` compares them with what was measured.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from .gait_parameters import GAIT_PARAMETERS

NUM_TOKEN = "[NUM]"
PARAMETER_NAMES = tuple(p.name for p in GAIT_PARAMETERS)
UNITS = {p.name: p.unit for p in GAIT_PARAMETERS}
# Digits after the point that a number is spoken with, by unit.
DECIMALS = {"m/s": 2, "steps/min": 0, "s": 2, "m": 2, "%": 1, "deg": 1}

_WORDS = {
    "speed": "walking speed",
    "cadence": "cadence",
    "foot_height": "foot height in swing",
    "single_support_percent": "single support",
    "double_support_percent": "double support",
    "foot_progression_angle": "toe-out angle",
}
_SPOKEN_UNITS = {"%": "% of the cycle", "deg": "degrees"}


def _phrase(name: str) -> str:
    """ "step_time_difference" -> "right minus left step time [NUM] s"."""
    stem, _, side = name.rpartition("_")
    if side not in ("left", "right", "difference"):
        stem, side = name, ""
    words = f"{'right minus left' if side == 'difference' else side} {_WORDS.get(stem, stem.replace('_', ' '))}"
    return f"{words} {NUM_TOKEN} {_SPOKEN_UNITS.get(UNITS[name], UNITS[name])}".lstrip()


NUMERIC_PHRASES = {name: _phrase(name) for name in PARAMETER_NAMES}


def display_name(label: str) -> str:
    """ "stiff_legged" -> "stiff legged", "2" -> "score 2"."""
    return f"score {label}" if label.isdigit() else label.replace("_", " ")


def number(value: float, unit: str) -> str:
    """With the digits that are usual for the unit; "" for nan."""
    digits = DECIMALS.get(unit, 2)
    return f"{round(value, digits) + 0.0:.{digits}f}" if np.isfinite(value) else ""


def parameter_vector(values: Mapping[str, float] | np.ndarray) -> np.ndarray:
    """Float64 (29,) in the order of `GAIT_PARAMETERS` from a dict (names that lack are nan, others are left out) or an array.

    Raises ValueError: another shape, a dict with none of the names, an infinite value.
    """
    if isinstance(values, Mapping):
        if not set(PARAMETER_NAMES) & set(values):
            raise ValueError(f"none of the gait parameters {', '.join(PARAMETER_NAMES[:3])}, ... is among {list(values)[:5]}")
        values = [values.get(name, np.nan) for name in PARAMETER_NAMES]
    return _checked(values, 1)


def _checked(values, ndim: int) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != ndim or values.shape[-1] != len(PARAMETER_NAMES) or not len(values):
        raise ValueError(f"expected gait parameters {'(29,)' if ndim == 1 else '(N, 29)'}, got shape {values.shape}")
    if np.isinf(values).any():
        raise ValueError(f"gait parameter {PARAMETER_NAMES[int(np.argwhere(np.isinf(values))[0][-1])]} is infinite")
    return values


def group_parameters(values: np.ndarray, size: int = 4) -> list[tuple[int, ...]]:
    """All 29 indices in groups of `size` (the last may be smaller) whose members correlate weakly in the rows (N, 29).

    Greedy: the parameters that correlate most with the others come first; each goes to the group, of those with room, where its
    largest absolute correlation is smallest. Correlation is Pearson's over the rows that have both; 0 where it is not defined.

    Raises ValueError: wrong shape, infinite values, size < 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    strength = correlation_strength(values)
    count = len(PARAMETER_NAMES)
    room = [min(size, count - start) for start in range(0, count, size)]
    groups: list[list[int]] = [[] for _ in room]
    for i in np.argsort(-strength.sum(axis=0), kind="stable"):
        costs = [strength[i, g].max(initial=0.0) if len(g) < r else np.inf for g, r in zip(groups, room)]
        groups[int(np.argmin(costs))].append(int(i))
    return [tuple(sorted(g)) for g in groups]


def correlation_strength(values: np.ndarray) -> np.ndarray:
    """|Pearson correlation| (29, 29) over the rows (N, 29) that have both; 0 on the diagonal and where not defined.

    Not defined: fewer than three such rows, or a parameter that does not vary.
    """
    import pandas as pd

    values = _checked(values, 2)
    out = pd.DataFrame(values).corr(min_periods=3).abs().fillna(0).round(9).to_numpy(copy=True)
    np.fill_diagonal(out, 0)
    return out


def numeric_sentence(indices: Sequence[int]) -> str:
    """The phrases of these parameters with their [NUM] slots, in their order. Raises ValueError for an index not in 0..28."""
    for i in indices:
        if not 0 <= i < len(PARAMETER_NAMES):
            raise ValueError(f"gait parameter {i} is not one of 0..{len(PARAMETER_NAMES) - 1}")
    return ", ".join(NUMERIC_PHRASES[PARAMETER_NAMES[i]] for i in indices)


def spoken_sentence(
    values: Mapping[str, float] | np.ndarray, indices: Sequence[int] | None = None, decimals: Mapping[str, int] | None = None
) -> str:
    """The parameters with their numbers, "walking speed 0.61 m/s, cadence 96 steps/min"; "" if none is measured.

    Args:
        values: dict name -> number or (29,), in units; nan is left out.
        indices: which parameters and in which order; all by default.
        decimals: unit -> digits after the point, where other than `DECIMALS`.

    Raises ValueError as `parameter_vector` and `numeric_sentence`.
    """
    values = parameter_vector(values)
    indices = range(len(values)) if indices is None else indices
    numeric_sentence(indices)  # checks them
    decimals = {**DECIMALS, **(decimals or {})}
    parts = []
    for i in (i for i in indices if np.isfinite(values[i])):
        digits = decimals[UNITS[PARAMETER_NAMES[i]]]
        number = f"{round(float(values[i]), digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0
        parts.append(numeric_sentence([i]).replace(NUM_TOKEN, number))
    return ", ".join(parts)


_NUMBER = r"-?\d+(?:\.\d+)?"
# Words after "minus" begin no parameter: "right minus left step time" is not the left one. One group a parameter.
_SPOKEN = re.compile(
    "|".join(
        rf"(?<!minus )\b{re.escape(phrase).replace(re.escape(NUM_TOKEN), f'(?P<{name}>{_NUMBER})')}(?![\w/^])"
        for name, phrase in NUMERIC_PHRASES.items()
    ),
    re.IGNORECASE,
)


def _mentions(text: str) -> list[tuple[str, float]]:
    return [(m.lastgroup, float(m[m.lastgroup])) for m in _SPOKEN.finditer(text)]


def parse_spoken(text: str) -> dict[str, float]:
    """Name -> value of every gait parameter that a text speaks of in the words of `spoken_sentence`; other words are skipped.

    Raises ValueError where the text gives one parameter two values.
    """
    out: dict[str, float] = {}
    for name, value in _mentions(text):
        if out.setdefault(name, value) != value:
            raise ValueError(f"the text says two values of {name}: {out[name]:g} and {value:g}")
    return out


def check_spoken(
    text: str, measured: Mapping[str, float] | np.ndarray, tolerance: Mapping[str, float] | None = None
) -> list[str]:
    """What is wrong with the numbers of a text: each problem with the parameter, the said and the measured value; [] if none.

    A number that belongs to no gait parameter (unknown words, wrong unit) is a problem too.

    Args:
        measured: dict name -> number or (29,), in units; nan is not measured.
        tolerance: unit -> largest difference; by default half a step of the last digit of `DECIMALS`.
    """
    allowed = {unit: 0.5 * 10.0**-digits for unit, digits in DECIMALS.items()} | dict(tolerance or {})
    measured = dict(zip(PARAMETER_NAMES, parameter_vector(measured)))
    problems = []
    for name, said in _mentions(text):
        if np.isnan(measured[name]):
            problems.append(f"{name}: said {said:g} {UNITS[name]}, not measured")
        elif abs(said - measured[name]) > allowed[UNITS[name]] + 1e-9:
            problems.append(f"{name}: said {said:g} {UNITS[name]}, measured {measured[name]:.4g} {UNITS[name]}")
    return problems + [f"the number {n} belongs to no gait parameter" for n in re.findall(_NUMBER, _SPOKEN.sub(" ", text))]
