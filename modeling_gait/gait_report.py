"""What is said of one walk: a `GaitReport`, its numbers beside their norms, and what the knowledge of its class says of them.

In: clean joints, what a model says of them. Out: dataclasses; `drawing.report_html` makes a page of them.
"""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .configuration_gait_classifier import GIST_LABELS
from .gait_norms import ADULT, normative_range
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, without_side
from .loading import Walk
from .numeric_text import NUM_TOKEN, NUMERIC_PHRASES, PARAMETER_NAMES, display_name, number, spoken_sentence
from .recording import Recording
from .skeletons import KINECT_V2
from .walk_checks import leg_length
from .walk_description import severity_from_parameters

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from .saliency import Saliency

SHORTEST_LEGS = 0.58  # m from hip to ankle, 0.49 of a stature of 1.2 m (Winter 2009, table 4.1); a Kinect sees adults of 0.6 m
SPOKEN = ("speed", "cadence", "stride_length_left", "stride_length_right", "step_time_difference")
SPOKEN += ("single_support_percent_left", "single_support_percent_right")
PARAMETERS = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)  # in the order in which a model says them
# What a sentence about a class says where it speaks of a parameter below or above its norm.
_SPEAKS_OF = (
    ("speed", "below", r"\bslow(er|ly)?\b|\bspeed\b[^,;]*\bfalls?\b|\blost of stride length and speed\b"),
    (
        "step_length stride_length",
        "below",
        r"\bshort(er)?\b[^,;]*\b(steps?|strides?)\b|\b(steps?|strides?)\b[^,;]*\b(short|small)",
    ),
    ("step_length stride_length", "below", r"\bsmall steps\b|\bsteps large enough\b|\bstride length\b[^,;]*\bfalls?\b"),
    ("stride_length", "below", r"\blost of stride length\b"),
    ("cadence", "above", r"\bhigher step rate\b|\bcadence\b[^,;]*\b(high|rises)"),
    ("step_time", "below", r"\bhurried forward\b"),
    ("single_support_percent", "below", r"\bsingle support\b[^,;]*\bshort|\bbrief support\b"),
    ("double_support_percent", "above", r"\bboth feet are on the floor\b|\bdouble support\b[^,;]*\b(grows|long)"),
    ("peak_knee_flexion", "below", r"\bknee\b[^,;]*\bflexes far less\b|\bknee flexion\b[^,;]*\breduced\b"),
    ("peak_knee_flexion", "above", r"\bknee flex more\b|\bknee is raised high\b"),
)
_CONTRASTS = re.compile(r"\b(unlike|whereas|instead|told from|tells? it|without dementia)\b", re.IGNORECASE)


@dataclass(frozen=True)
class ReportParameter:
    """One number of a walk.

    Attributes:
        name, unit, description: as in `gait_parameters`.
        value: nan is not known.
        origin: "measured" from the skeleton, or "model": what the model reads from the video.
        low, high, people, source: its norm; None where no norm is known.
        in_range: whether the value lies in the norm; None without a value or a norm.
        sd: one SD of the error of the method, where it is known (a camera's), in the unit.
    """

    name: str
    unit: str
    description: str
    value: float
    origin: str
    low: float | None = None
    high: float | None = None
    people: str | None = None
    source: str | None = None
    in_range: bool | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Evidence:
    """A parameter outside its norm, and what the knowledge of the class says of it."""

    parameter: str
    label: str
    statement: str  # "left stride length 0.52 m, below the norm of 0.94 to 1.85"
    sentence: str
    source: str


@dataclass
class GaitReport:
    """What the pipeline `gait-report` says of one walk.

    Attributes:
        name: of the file or walk.
        class_probabilities: label -> probability, the most likely first.
        severity: a score on `severity_scale`, or None.
        severity_scale: "UPDRS gait score, 0 to 3", or "0 (as normal walks) to 1".
        parameters: gait and kinematic parameters, each with its norm.
        sentence: the main ones in words and numbers.
        evidence: for parameters outside their norms, what the knowledge of the most likely class says of them.
        saliency: what the class hangs on, of one walk (B = 1).
        problems: what a reader should know before believing the rest.
        walk: the skeleton, cleaned and walking along +y; None without one.
        video: uint8 (T, H, W, 3), the frames that the model saw; None without one.
        stated: what the file itself states, beside what was measured: rows of `Recording.beside_the_file`.
        poses: of a film, where the person is in it (`Recording.poses`), for the picture of the skeleton over the film.

    Without a model (`measured_report`) there are no probabilities, no label, no evidence and no saliency.
    """

    name: str
    class_probabilities: dict[str, float]
    severity: float | None
    severity_scale: str | None
    parameters: list[ReportParameter]
    sentence: str
    evidence: list[Evidence]
    saliency: "Saliency | None"
    problems: list[str] = field(default_factory=list)
    walk: Walk | None = None
    video: np.ndarray | None = None
    video_fps: float = 30.0
    stated: list[dict] = field(default_factory=list)
    poses: object | None = None

    @property
    def label(self) -> str | None:
        """The most likely class; None where no model was asked."""
        return next(iter(self.class_probabilities), None)

    def disagreement(self, pathology: str | None) -> list[str]:
        """A sentence where a text about the same walk, by another model, names another of the classes than the report."""
        if pathology == self.label or pathology not in self.class_probabilities:
            return []
        said, other = pathology.replace("_", " "), self.label.replace("_", " ")
        chance = self.class_probabilities[self.label]
        return [f"two models disagree: the text says {said}, the report {other} (probability {chance:.2f})"]

    def _repr_html_(self) -> str | None:
        """The page, for notebooks; None (the plain text) where the package that draws it is not installed."""
        try:
            from modeling_gait.drawing.report_html import report_page
        except ImportError:
            return None
        return f'<iframe srcdoc="{html.escape(report_page(self))}" width="100%" height="900" style="border:0"></iframe>'


def measured_report(recording: Recording, age: float | None = None, sex: str | None = None) -> GaitReport:
    """What can be said of a walk without a model: its numbers beside their norms, in words, curves and doubts."""
    parameters = report_parameters(recording.gait_parameters, None, False, age, sex, recording.uncertainty)
    walk = Walk(recording.for_model(KINECT_V2, recording.fps), recording.fps, KINECT_V2, recording.name)
    return GaitReport(
        name=recording.name,
        class_probabilities={},
        severity=None,
        severity_scale=None,
        parameters=parameters,
        sentence=report_sentence(parameters),
        evidence=[],
        saliency=None,
        problems=[*recording.sentences(), *measured_doubts(parameters, walk, age)],
        walk=walk,
        stated=recording.beside_the_file(),
        poses=recording.poses,
    )


def report_sentence(parameters: list[ReportParameter]) -> str:
    """The main numbers in words; "" where there are none."""
    values = {p.name: p.value for p in parameters}
    return spoken_sentence(values, [PARAMETER_NAMES.index(n) for n in SPOKEN]) if values else ""


def measured_doubts(parameters: list[ReportParameter], walk: Walk, age: float | None) -> list[str]:
    """Sentences on numbers that are measured otherwise, or of other people, than their norms, and on those that are missing."""
    out = []
    if age is None and (legs := leg_length(walk.joints, walk.skeleton)) < SHORTEST_LEGS:
        out.append(f"legs of {legs:.2f} m are a child's, the norms are of adults: say the age, under {ADULT} none is given")
    if any(p.in_range is False and p.name.startswith("peak_knee_flexion") and p.value < p.low for p in parameters):
        out.append("the norm of the knee flexion is of angles from markers; depth cameras read lower ones")
    missing = [p for p in parameters if p.origin == "measured" and not np.isfinite(p.value)]
    if missing:
        names = ", ".join(p.name.replace("_", " ") for p in missing[:6]) + (", ..." if len(missing) > 6 else "")
        out.append(f"{len(missing)} of {len(parameters)} parameters could not be measured: {names}")
    return out


def report_parameters(
    measured: Mapping[str, float],
    decoded: "torch.Tensor | None",
    video: bool,
    age: float | None,
    sex: str | None,
    uncertainty: Mapping[str, float] = MappingProxyType({}),
) -> list[ReportParameter]:
    """`measured` where there is a skeleton (else empty); from the model where only a video shows them."""
    said = dict(zip((p.name for p in PARAMETERS), decoded.tolist())) if decoded is not None and video else {}
    out = []
    for p in PARAMETERS:
        if p.name not in measured and p.name not in said:
            continue
        value, origin = measured.get(p.name, np.nan), "measured"
        if not np.isfinite(value) and p.name in said:
            value, origin = said[p.name], "model"
            if value < 0 and p.unit in ("m/s", "steps/min", "s", "m", "%") and not p.name.endswith("difference"):
                value = np.nan  # no such thing
        row = ReportParameter(p.name, p.unit, p.description, float(value), origin)
        norm = normative_range(p.name, age, sex)
        if norm:
            inside = norm.contains(value) if np.isfinite(value) else None
            row = ReportParameter(*list(vars(row).values())[:5], norm.low, norm.high, norm.people, norm.source, inside)
        out.append(replace(row, sd=uncertainty.get(p.name)) if origin == "measured" else row)
    return out


def report_severity(
    labels: list[str], probabilities: list[float], label: str, measured: dict[str, float], reference: Mapping | None
) -> tuple[float | None, str | None]:
    """The expected score where the labels are scores; else how far the measured walk is from the normal ones of a reference."""
    if all(name.isdigit() for name in labels):
        scores = np.array([int(name) for name in labels])
        return float(np.array(probabilities) @ scores), f"expected score, {scores.min()} to {scores.max()}"
    if reference is None or not measured:
        return None, None
    severity = severity_from_parameters(measured, label, reference)
    return (severity, "0 (as normal walks) to 1") if np.isfinite(severity) else (None, None)


def class_sentences(config: "PreTrainedConfig", label: str) -> list[tuple[str, str]]:
    """What the model was told of a class: sentences and their citations."""
    texts = (config.class_descriptions or {}).get(label, [])
    return list(zip(texts, (config.class_sources or {}).get(label) or ["class description of the model"] * len(texts)))


def find_evidence(
    parameters: list[ReportParameter], label: str, sentences: list[tuple[str, str]], labels: Iterable[str] = ()
) -> list[Evidence]:
    """For each parameter outside its norm the first sentence that says so of the class; contrasts to others are skipped."""
    plain = [s for s in sentences if not _CONTRASTS.search(s[0]) and not _names_another(s[0], label, labels)]
    out = []
    for p in parameters:
        if p.in_range is not False:
            continue
        side = "below" if p.value < p.low else "above"
        stem = without_side(p.name)
        patterns = [words for stems, way, words in _SPEAKS_OF if stem in stems.split() and way == side]
        match = next((s for s in plain if any(_says(words, s[0]) for words in patterns)), None)
        if match:
            said = f"{phrase(p)}, {side} the norm of {number(p.low, p.unit)} to {number(p.high, p.unit)}"
            out.append(Evidence(p.name, label, said, *match))
    return out


def _says(words: str, text: str) -> bool:
    """Whether the pattern is in the text and nothing before it denies it."""
    match = re.search(words, text, re.IGNORECASE)
    return match is not None and not re.search(r"\b(not?|without|never)\b", text[: match.start()], re.IGNORECASE)


def _names_another(text: str, label: str, labels: Iterable[str]) -> bool:
    """Whether a sentence names a class of gait other than its own, to tell them apart."""
    others = {*GIST_LABELS, *labels} - {label, "normal", "healthy", "lurch", "parkinsonian"}  # these are other words, too
    return any(display_name(n) in text.lower().replace("-", " ") for n in others)


def phrase(p: ReportParameter) -> str:
    """ "right stride length 0.52 m"."""
    value = number(p.value, p.unit)
    if p.name in NUMERIC_PHRASES:
        return NUMERIC_PHRASES[p.name].replace(NUM_TOKEN, value)
    stem, _, side = p.name.rpartition("_")
    words = f"{side} {stem}" if side in ("left", "right") else p.name
    return f"{words.replace('_', ' ')} {value} {({'deg': 'degrees', '1': ''}).get(p.unit, p.unit)}".rstrip()


__all__ = [
    "Evidence",
    "GaitReport",
    "PARAMETERS",
    "ReportParameter",
    "class_sentences",
    "find_evidence",
    "measured_report",
    "phrase",
    "report_parameters",
    "report_severity",
]
