"""Captions: measured gait parameters and a class become words, and words become a description again.

In: gait parameters (dict name -> number: m/s, steps/min, m, degrees), class, severity 0..1, side, attributes; or free text.
Out: `WalkDescription`, its canonical text and prompt, a list of a text's untruths
(`check_faithfulness`), or a ValueError that says what is wrong with a prompt.

    description = describe_walk(compute_gait_parameters(joints, fps), "steppage", severity=0.5, side="right")
    description.to_prompt()   # steppage gait, right side, moderate, speed 0.65 m/s, cadence 94 steps/min, stride 0.82 m.
    parse_prompt("a slow, severe Trendelenburg walk, left side").severity   # 0.833...

This file checks captions; `caption_grammar.py` writes them, the description is made in `walk_description.py`, the words are
in `caption_words.py`, those of classes in `gait_classes.json`, reading is in `caption_parsing.py`, `caption_context.py` and
`caption_prompts.py`.
`classes=` says which kinds of gait there are (default: the package's).
"""

import re

from .caption_parsing import read_facts
from .caption_prompts import parse_prompt, read_prompt
from .caption_words import ALSO, CADENCE_BANDS, SPEED_BANDS, cadence_band, severity_level, speed_band
from .gait_classes import GaitClasses
from .walk_description import (
    QUANTITIES,
    WalkDescription,
    affected_side,
    describe_walk,
    fit_reference,
    gait_deviation_index,
    severity_from_parameters,
)

__all__ = [
    "QUANTITIES",
    "WalkDescription",
    "affected_side",
    "check_class",
    "check_faithfulness",
    "describe_walk",
    "fit_reference",
    "gait_deviation_index",
    "parse_prompt",
    "read_prompt",
    "severity_from_parameters",
    "severity_level",
]


# --- faithfulness ------------------------------------------------------------------------------------------------------------


def check_faithfulness(text: str, description: WalkDescription) -> list[str]:
    """What `text` says that `description` does not: problems in words, empty if the text is faithful.

    A number may differ by its own rounding and half a step of QUANTITIES; a number that gives nothing of the description, a
    side, class, severity or speed word that differs, and a class that is not named at all are problems. Leaving anything
    else out is not one.
    """
    d, facts = description, read_facts(text, description.classes)
    problems = [f"the number {n!r} has no counterpart" for n in facts.unread_numbers]
    problems += [f"the range {r!r} has no counterpart" for r in facts.ranges]
    problems += [p for number in facts.numbers for p in _number_problems(number, d)]
    wrong = [p for p in facts.pathologies if p != d.pathology] + facts.unsupported
    allowed_weak = {"person", d.pathology, *(d.entry.also if d.entry else ())}
    wrong += [p for p in facts.weak_pathologies if p not in allowed_weak]
    problems += [f"the text says {p} gait, the walk is {d.pathology or 'of no known class'}" for p in dict.fromkeys(wrong)]
    if d.pathology in facts.negated_pathologies:
        problems.append(f"the text says that the gait is not {d.pathology}")
    weak_normal = d.pathology == "normal" and "normal" in facts.weak_pathologies
    if d.pathology is not None and d.pathology not in facts.pathologies and not weak_normal:
        problems.append(f"the text does not name the class {d.pathology}")
    sides = (d.side, "both") if d.entry and d.entry.side == "none" else (d.side,)
    problems += [f"the text says side {s}, the walk's is {d.side}" for s in dict.fromkeys(facts.sides) if s not in sides]
    problems += [f"the text says that the {d.side} side is well" for _ in facts.sound_sides[:1] if d.side in facts.sound_sides]
    said = dict.fromkeys(facts.severities)
    problems += [f"the text says {s}, the walk's severity is {d.level}" for s in said if s != d.level]
    for name, words, band_of, bands in (
        ("speed", facts.speed_words, speed_band, SPEED_BANDS),
        ("cadence", facts.cadence_words, cadence_band, CADENCE_BANDS),
    ):
        value = getattr(d, name)
        for word in dict.fromkeys(words):
            if value is None or (word != band_of(value) and not bands[word].low <= value < bands[word].high):
                problems.append(f"the text says {word} {name}, the walk's is {value}")
    for key, value in facts.attributes:
        known = str(d.attributes.get(key))
        if value not in {known, *ALSO.get(known, ())}:
            problems.append(f"the text says {key} {value}, the description {d.attributes.get(key)}")
    return problems


def check_class(name: str, classes: GaitClasses) -> None:
    """Raise ValueError where a prompt or caption of a class would not be read as that class, naming it and what was read."""
    c = classes[name]
    plain = read_facts(
        "A person walks: the gait of a patient at a speed and cadence, with strides and steps, on a side.", classes
    )
    if re.search(r"(?<![a-z])(?:left|right)(?![a-z])", f"{c.name} {c.title}"):
        raise ValueError(f"class {c.name!r}: the words {c.title!r} name a side, which a mirrored walk changes; give side apart")
    if c.name in plain.pathologies:
        raise ValueError(f"class {c.name!r}: the words {c.phrases} do not say it, they stand in any text; give it other words")
    side = {"one": "right"}.get(c.side, c.side)
    d = WalkDescription(c.name, side, 0.5 if c.graded else None, 0.65, 94.0, classes=classes)
    for text in (d.to_prompt(), *(f"{name}, 0.65 m/s." for name in c.names), *(f"One walks with {s}." for s in c.signs)):
        try:
            problems = check_faithfulness(text, d) or [f"read as {parse_prompt(text, classes).pathology}"]
        except ValueError as error:
            problems = [str(error)]
        if problems != [f"read as {c.name}"]:
            raise ValueError(f"class {c.name!r}: the words {text!r} do not say it ({problems[0]}); give it other words")


def _number_problems(number, d: WalkDescription) -> list[str]:
    name = number.quantity
    truth = d.attributes.get("age") if name == "age" else getattr(d, name, None)
    if name in ("knee_range", "hip_range"):  # no side given: the affected one, or both
        sides = [getattr(d, f"{name}_{s}") for s in (("left", "right") if d.side not in ("left", "right") else (d.side,))]
        fits = all(s is not None and abs(s - number.value) <= 1 + 1e-6 for s in sides)
        return [] if fits else [f"{number.text!r} names no side and does not fit the affected one"]
    if truth is None:
        return [f"the description has no {name.replace('_', ' ')}, the text says {number.text!r}"]
    step = {"severity": 0.02, "age": 1.0}.get(name) or QUANTITIES[name].step
    if abs(truth - number.value) > max(number.tolerance, step / 2) + 1e-6:
        return [f"the text says {name.replace('_', ' ')} {number.text!r}, measured is {truth:.3g}"]
    return []
