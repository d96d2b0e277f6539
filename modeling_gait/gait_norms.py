"""Normative ranges of gait parameters of healthy adults at the speed that they choose, each with its source.

In: a parameter's name and, if known, the person's age [years] and sex. Out: a `Norm`, or None where no norm is known.

Only what the literature states for the same quantity is here. Parameters without a norm: swing and support times in seconds
(they follow from the cadence), the rise of the ankle, the toe-out angle (depth cameras see feet poorly), ranges of motion (the
literature's are of marker-based angles between segments), and right-left differences: published limits of asymmetry (about 5 %)
are means of many strides on a walkway, and a short clip's own error is larger.

Of the 1,200 recordings of normal gait in gist (norms of 18-49 years) 81 to 97 % lie inside each range, but only 41 and 47 %
inside that of the peak knee flexion, which the depth camera reads low: the norm is of angles from markers.
"""

from dataclasses import dataclass

ADULT, OLDEST = 18, 80

# 95 % limits of healthy adults of 18-49 years: Whittle's Gait Analysis, 5th ed. 2012, appendix 1.
NORM_RANGES = {
    "female": {"cadence": (98, 138), "stride_length": (1.06, 1.58), "speed": (0.94, 1.66)},
    "male": {"cadence": (91, 135), "stride_length": (1.25, 1.85), "speed": (1.10, 1.82)},
}
# 95 % limits: Whittle's Gait Analysis, 5th ed. 2012, appendix 1.
_WHITTLE = {
    ("female", 18): NORM_RANGES["female"],
    ("female", 50): {"cadence": (97, 137), "stride_length": (1.04, 1.56), "speed": (0.91, 1.63)},
    ("female", 65): {"cadence": (96, 136), "stride_length": (0.94, 1.46), "speed": (0.80, 1.52)},
    ("male", 18): NORM_RANGES["male"],
    ("male", 50): {"cadence": (82, 126), "stride_length": (1.22, 1.82), "speed": (0.96, 1.68)},
    ("male", 65): {"cadence": (81, 125), "stride_length": (1.11, 1.71), "speed": (0.81, 1.61)},
}
_WHITTLE_SOURCE = "Levine, Richards & Whittle, Whittle's Gait Analysis, 5th ed. 2012, appendix 1 (95 % limits)"
# Stance as % of the cycle, mean and standard deviation, of 91 Caucasian subjects younger and older than 45 years.
_STANCE = {18: (61.8, 2.5), 45: (63.6, 3.9)}
_STANCE_SOURCE = "Stance phase duration, normative values (clinicalgaitanalysis.com/data/stance.html), mean ± 2 SD"
_KNEE = (48, 72)  # the peak of drawing.rendering.normative_curves
_KNEE_SOURCE = "Perry & Burnfield, Gait Analysis, 2nd ed. 2010; SD after Winter 1991 and Kadaba et al. 1990; mean ± 2 SD"
# parameter without its side -> what it is computed from
_FROM_WHITTLE = {
    "speed": ("speed", ""),
    "cadence": ("cadence", ""),
    "stride_length": ("stride_length", ""),
    "step_length": ("stride_length", ", half of the stride"),
    "step_time": ("cadence", ", from the cadence"),
    "cycle_time": ("cadence", ", from the cadence"),
}


@dataclass(frozen=True)
class Norm:
    """The usual range of a parameter: low to high in `unit`, of which people (and how derived), from which source."""

    low: float
    high: float
    unit: str
    people: str
    source: str

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


def normative_range(name: str, age: float | None = None, sex: str | None = None) -> Norm | None:
    """The norm of a parameter of `GAIT_PARAMETERS` or `KINEMATIC_PARAMETERS`; None where none is known, and under 18 years.

    Args:
        age: in years; unknown: the lowest and highest limit of all adults. Above 80 the norms of 65-80 years are given.
        sex: "female" or "male"; unknown: the lowest and highest limit of both.

    Raises ValueError for another sex, or an age that is none.
    """
    if sex not in (None, "female", "male"):
        raise ValueError(f"sex must be 'female', 'male' or None, got {sex!r}")
    if age is not None and not 0 <= age <= 130:
        raise ValueError(f"age must be 0 to 130 years or None, got {age}")
    if age is not None and age < ADULT:
        return None
    stem = name.removesuffix("_left").removesuffix("_right")
    if stem in _FROM_WHITTLE:
        return _whittle(stem, age, sex)
    if stem in ("single_support_percent", "double_support_percent"):
        return _support(stem, age)
    if stem == "peak_knee_flexion":
        return Norm(*_KNEE, "deg", "adults, angles from markers", _KNEE_SOURCE)
    return None


def _whittle(stem: str, age: float | None, sex: str | None) -> Norm:
    quantity, how = _FROM_WHITTLE[stem]
    group = None if age is None else 65 if age >= 65 else 50 if age >= 50 else 18
    rows = [v[quantity] for (s, a), v in _WHITTLE.items() if sex in (None, s) and group in (None, a)]
    low, high = min(r[0] for r in rows), max(r[1] for r in rows)
    if stem == "step_length":
        low, high = low / 2, high / 2
    if stem in ("step_time", "cycle_time"):
        low, high = ((60 if stem == "step_time" else 120) / v for v in (high, low))
    who = {"female": "women", "male": "men", None: "adults"}[sex]
    ages = {None: f"{ADULT}-{OLDEST}", 18: "18-49", 50: "50-64", 65: "65-80"}[group]
    unit = {"speed": "m/s", "cadence": "steps/min", "step_time": "s", "cycle_time": "s"}.get(stem, "m")
    return Norm(round(low, 3), round(high, 3), unit, f"{who}, {ages} years{how}", _WHITTLE_SOURCE)


def _support(stem: str, age: float | None) -> Norm:
    """The other leg swings for 100 - stance, and both stand for 2 stance - 100 where the legs are alike."""
    rows = [_STANCE[45 if age >= 45 else 18]] if age is not None else list(_STANCE.values())
    low, high = min(m - 2 * s for m, s in rows), max(m + 2 * s for m, s in rows)
    low, high = (100 - high, 100 - low) if stem == "single_support_percent" else (2 * low - 100, 2 * high - 100)
    ages = "13-75" if age is None else "45-75" if age >= 45 else "13-44"
    return Norm(round(low, 1), round(high, 1), "%", f"{ages} years, both sexes, from the stance phase", _STANCE_SOURCE)


__all__ = ["NORM_RANGES", "Norm", "normative_range"]
