"""A walk as clinicians would note it: class, side, severity, speed, cadence, stride, ranges; from measured gait parameters.

In: gait parameters (dict name -> number: m/s, steps/min, m, degrees), class, severity 0..1, side, attributes.
Out: `WalkDescription` (its `to_prompt` and `to_text`), the affected side and a severity from the parameters alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .caption_words import SEVERITY_VALUES, SIDES, attribute_phrases, severity_level
from .gait_classes import GaitClass, GaitClasses, load_classes
from .gait_parameters import symmetry_index


@dataclass(frozen=True)
class Quantity:
    """Unit, plausible range (inclusive) and rounding step of a number that captions speak of."""

    unit: str
    low: float
    high: float
    step: float
    words: str


QUANTITIES = {
    "speed": Quantity("m/s", 0.1, 3.0, 0.05, "Speed"),
    "cadence": Quantity("steps/min", 20, 200, 2, "Cadence"),
    "stride_length": Quantity("m", 0.1, 2.4, 0.02, "Stride length"),
    "knee_range_left": Quantity("deg", 0, 150, 2, "Left knee range of motion"),
    "knee_range_right": Quantity("deg", 0, 150, 2, "Right knee range of motion"),
    "hip_range_left": Quantity("deg", 0, 120, 2, "Left hip range of motion"),
    "hip_range_right": Quantity("deg", 0, 120, 2, "Right hip range of motion"),
    "pelvic_obliquity_range": Quantity("deg", 0, 60, 2, "Pelvic obliquity range"),
    "trunk_lean": Quantity("deg", -60, 60, 2, "Trunk lean"),
}
IN_PROMPT = {
    "speed": "speed {} m/s",
    "cadence": "cadence {} steps/min",
    "stride_length": "stride {} m",
    "knee_range_left": "left knee range {} deg",
    "knee_range_right": "right knee range {} deg",
}


@dataclass(frozen=True)
class WalkDescription:
    """What is known of one walk; None (side: "unknown") is what is not.

    Attributes:
        pathology: name of one of the `classes`.
        side: affected side; "none" for a class without one only.
        severity: 0..1; mild < 1/3 <= moderate < 2/3 <= severe.
        speed [m/s], cadence [steps/min], stride_length [m], the others [deg]; ranges in QUANTITIES.
        attributes: anything else, e.g. age, sex, load, footwear, clothing.
        classes: what the words of the walk may mean; by default the package's.
        notes: what was guessed of a prompt, a sentence each; no part of the walk, so left out of what is derived.
        unused: words and numbers of a prompt that the generator does not use: appearance, hip and pelvis, what is unknown.

    Raises ValueError for a value outside these.
    """

    pathology: str | None = None
    side: str = "unknown"
    severity: float | None = None
    speed: float | None = None
    cadence: float | None = None
    stride_length: float | None = None
    knee_range_left: float | None = None
    knee_range_right: float | None = None
    hip_range_left: float | None = None
    hip_range_right: float | None = None
    pelvic_obliquity_range: float | None = None
    trunk_lean: float | None = None
    attributes: dict = field(default_factory=dict)
    classes: GaitClasses = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)
    unused: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.classes is None:
            object.__setattr__(self, "classes", load_classes())
        entry = self.classes.check(self.pathology)
        if self.side not in SIDES:
            raise ValueError(f"side {self.side!r} is not one of {', '.join(SIDES)}")
        if entry and entry.side == "none" and self.side not in ("none", "unknown"):
            raise ValueError(f"a {entry.title} has no affected side, got {self.side!r}")
        if entry and entry.side != "none" and self.side == "none":
            raise ValueError(f'a {entry.title} has an affected side; write "unknown" if it is not known')
        if self.severity is not None and not 0 <= self.severity <= 1:
            raise ValueError(f"severity {self.severity} is not within 0 and 1")
        for name, q in QUANTITIES.items():
            value = getattr(self, name)
            if value is not None and not q.low <= value <= q.high:
                raise ValueError(f"{name} {value:g} {q.unit} is not within {q.low:g} and {q.high:g} {q.unit}")

    @property
    def entry(self) -> GaitClass | None:
        """What is known of the walk's class."""
        return self.classes.check(self.pathology)

    @property
    def level(self) -> str | None:
        """The word of the severity; None where it is not known, or the class has none."""
        graded = self.severity is not None and (self.entry is None or self.entry.graded)
        return severity_level(self.severity) if graded else None

    def canonical(self) -> "WalkDescription":
        """What `to_prompt` says: numbers rounded, severity at the middle of its level, the rest left out."""
        numbers = {n: _rounded(getattr(self, n), QUANTITIES[n].step) for n in IN_PROMPT}
        level = SEVERITY_VALUES[self.level] if self.level and self.pathology else None
        side = "none" if self.entry and self.entry.side == "none" else "unknown" if self.side == "none" else self.side
        return WalkDescription(self.pathology, side, level, **numbers, classes=self.classes)

    def mirrored(self) -> "WalkDescription":
        """The description of the mirrored walk: left and right change places."""
        swap = {"left": "right", "right": "left"}
        sides = {f"{n}_{s}": getattr(self, f"{n}_{o}") for n in ("knee_range", "hip_range") for s, o in swap.items()}
        return replace(self, side=swap.get(self.side, self.side), **sides)

    def to_prompt(self, exact: bool = False) -> str:
        """The short canonical sentence that models are trained and asked with; fixed order, what is unknown left out.

        `exact`: with numbers as they are, not rounded, so that `parse_prompt` gives them back.
        """
        d = self if exact else self.canonical()
        parts = [d.entry.title if d.entry else "gait"]
        parts += {"left": ["left side"], "right": ["right side"], "both": ["both sides"]}.get(d.side, [])
        if d.level:
            parts.append(d.level if d.severity == SEVERITY_VALUES[d.level] else f"severity {_digits(d.severity)}")
        for name, form in IN_PROMPT.items():
            value = getattr(d, name)
            if value is not None:
                said = _digits(value) if exact else f"{value:.{2 if QUANTITIES[name].unit in ('m/s', 'm') else 0}f}"
                parts.append(form.format(said))
        return ", ".join(parts) + "."

    def to_text(self) -> str:
        """The structured description, one fact a line, with what is known of the class."""
        lines = [f"Gait class: {self.entry.title}"] if self.entry else []
        lines += [f"Affected side: {self.side}"] if self.side not in ("unknown", "none") else []
        lines += [f"Severity: {self.severity:.2f} ({self.level})"] if self.level else []
        for name, q in QUANTITIES.items():
            value = getattr(self, name)
            if value is not None and name != "trunk_lean":
                lines.append(f"{q.words}: {value:.{2 if q.unit in ('m/s', 'm') else 0}f} {q.unit}")
        if self.trunk_lean is not None:
            lines.append(f"Trunk lean: {abs(self.trunk_lean):.0f} deg {'backward' if self.trunk_lean < 0 else 'forward'}")
        who = attribute_phrases(self.attributes)
        lines += [f"The walker is {', '.join(who)}"] if who else []
        lines += [f"Known of this class: {s.text}" for s in self.entry.sentences[:1]] if self.entry else []
        return "\n".join(lines)


def _digits(value: float) -> str:
    return np.format_float_positional(round(value, 6), trim="-")


def _rounded(value: float | None, step: float) -> float | None:
    return None if value is None else round(round(value / step) * step, 6)


# --- from measured parameters ------------------------------------------------------------------------------------------------

SIDE_THRESHOLD = 0.1


def affected_side(parameters: Mapping[str, float], pathology: str, classes: GaitClasses | None = None) -> str:
    """The affected side as the asymmetry of the measured parameters shows it: "left", "right", "both" or "unknown".

    The sum of the symmetry indices (right - left) / (0.5 (right + left)) of the class's `affected` parameters, minus where it
    says "down", is compared with +-SIDE_THRESHOLD; a missing index counts as 0. Within the threshold the side is "unknown", as
    it always is for a class that has none or says nothing: Trendelenburg gait shows its side in the sign of the pelvic tilt,
    which the parameters lack, and its time asymmetries point one way in gist (longer on the affected leg) and the other way in
    the literature. A class of both sides is "both".
    """
    entry = (classes or load_classes()).check(pathology)
    if entry.side != "one":
        return "both" if entry.side == "both" else "unknown"
    terms = [(1 if way == "up" else -1) * _symmetry(parameters, name) for name, way in entry.affected.items()]
    total = sum(t for t in terms if math.isfinite(t))
    return "unknown" if abs(total) < SIDE_THRESHOLD else "right" if total > 0 else "left"


def _symmetry(parameters: Mapping[str, float], name: str) -> float:
    if name.endswith("_asymmetry"):
        value = _number(parameters.get(name))
        return math.nan if value is None else value
    left, right = _number(parameters.get(f"{name}_left")), _number(parameters.get(f"{name}_right"))
    return math.nan if left is None or right is None else symmetry_index(left, right)


def _number(value) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


SEVERITY_FEATURES = (
    "speed", "cadence", "stride_length_left", "stride_length_right", "hip_range_left", "hip_range_right", "knee_range_left",
    "knee_range_right", "peak_knee_flexion_left", "peak_knee_flexion_right", "pelvic_obliquity_range", "trunk_lean_sagittal",
    "trunk_lean_range_frontal", "trunk_lean_range_sagittal", "step_width", "knee_range_asymmetry", "step_length_asymmetry",
    "stance_asymmetry",
)  # fmt: skip
SEVERITY_GDI = (90.0, 20.0)  # deviation index at which severity is 0 and 1: one and eight SD of normal walks away


def fit_reference(normal_walks: Sequence[Mapping[str, float]]) -> dict:
    """Mean and spread of normal walks, JSON-serialisable, for `severity_from_parameters`; fit it on training subjects only.

    Returns {"mean", "sd": feature -> number; "log_distance_mean", "log_distance_sd", "walks": int}.
    Raises ValueError with fewer than five walks, or where no feature of SEVERITY_FEATURES was measured in five of them.
    """
    if len(normal_walks) < 5:
        raise ValueError(f"expected the parameters of at least 5 normal walks, got {len(normal_walks)}")
    mean, sd = {}, {}
    for name in SEVERITY_FEATURES:
        values = [v for v in (_number(p.get(name)) for p in normal_walks) if v is not None]
        if len(values) >= 5 and np.std(values) > 1e-9:
            mean[name], sd[name] = float(np.mean(values)), float(np.std(values))
    if not mean:
        raise ValueError(f"none of {', '.join(SEVERITY_FEATURES)} was measured in 5 normal walks")
    reference = {"mean": mean, "sd": sd, "walks": len(normal_walks)}
    logs = [math.log(max(d, 1e-3)) for d in (_distance(p, reference) for p in normal_walks) if d is not None]
    return reference | {"log_distance_mean": float(np.mean(logs)), "log_distance_sd": float(max(np.std(logs), 1e-3))}


def _distance(parameters: Mapping[str, float], reference: Mapping) -> float | None:
    """Root mean square of the z-scores; None with fewer than half of the reference's features."""
    z = [
        (v - reference["mean"][n]) / reference["sd"][n]
        for n in reference["mean"]
        if (v := _number(parameters.get(n))) is not None
    ]
    return float(np.sqrt(np.mean(np.square(z)))) if 2 * len(z) >= len(reference["mean"]) else None


def gait_deviation_index(parameters: Mapping[str, float], reference: Mapping) -> float:
    """A Gait Deviation Index of scalar parameters: 100 is the mean normal walk, each 10 points one SD of normal walks.

    As in Schwartz and Rozumalski 2008 (Gait & Posture 28:351), the logarithm of the distance from normal gait is scaled by
    normal walks' own; the distance is over z-scores of SEVERITY_FEATURES, not over their singular vectors of joint curves.
    nan if fewer than half of the features were measured.
    """
    distance = _distance(parameters, reference)
    if distance is None:
        return math.nan
    return 100 - 10 * (math.log(max(distance, 1e-3)) - reference["log_distance_mean"]) / reference["log_distance_sd"]


def severity_from_parameters(
    parameters: Mapping[str, float], pathology: str, reference: Mapping, classes: GaitClasses | None = None
) -> float:
    """Severity 0..1 of an unlabelled walk: `gait_deviation_index` scaled linearly between SEVERITY_GDI; 0 for normal gait.

    nan if too few parameters were measured, or the class has no severity. It says how far the walk is from normal, not what a
    clinician would score.
    """
    if pathology == "normal":
        return 0.0
    if classes and not classes[pathology].graded:
        return math.nan
    none, full = SEVERITY_GDI
    return float(np.clip((none - gait_deviation_index(parameters, reference)) / (none - full), 0, 1))


def describe_walk(
    parameters: Mapping[str, float],
    pathology: str | None = None,
    severity: float | None = None,
    side: str | None = None,
    attributes: Mapping | None = None,
    classes: GaitClasses | None = None,
) -> WalkDescription:
    """The description of a measured walk.

    Numbers that are missing, nan or outside QUANTITIES (failed measurements) are left out. `side`: given, else the one in
    `attributes`, else (None or "unknown") `affected_side` of the parameters. Raises ValueError for an unknown class or side.
    """
    attributes, classes = dict(attributes or {}), classes or load_classes()
    entry = classes.check(pathology)
    side = side if side not in (None, "unknown") else attributes.get("side")
    if entry and entry.side == "none":
        side = "none"
    elif side in (None, "unknown"):
        side = affected_side(parameters, pathology, classes) if entry else "unknown"
    elif side == "none":
        side = "unknown"

    def mean(*names: str) -> float | None:
        values = [v for v in (_number(parameters.get(n)) for n in names) if v is not None]
        return float(np.mean(values)) if values else None

    numbers = {name: mean(name) for name in QUANTITIES}
    numbers["stride_length"] = mean("stride_length_left", "stride_length_right")
    numbers["trunk_lean"] = mean("trunk_lean_sagittal")
    numbers = {n: v if v is not None and QUANTITIES[n].low <= v <= QUANTITIES[n].high else None for n, v in numbers.items()}
    return WalkDescription(pathology, side, _number(severity), attributes=attributes, classes=classes, **numbers)
