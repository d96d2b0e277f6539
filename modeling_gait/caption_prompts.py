"""Prompts: free text becomes a `WalkDescription`, or a ValueError that says what to write instead.

In: a user's text, or a text that a model wrote about a walk. Out: `WalkDescription` (m/s, steps/min, m, degrees).
`caption_parsing.py` finds what the text states; here it is decided whether that makes sense.
"""

import difflib
import logging
import re
import warnings
from collections.abc import Mapping

import numpy as np

from .caption_context import NOW_NORMAL
from .caption_parsing import Facts, read_facts
from .caption_words import CADENCE_BANDS, SEVERITY_VALUES, SPEED_BANDS, severity_level
from .gait_classes import GaitClass, GaitClasses, load_classes
from .walk_description import IN_PROMPT, QUANTITIES, WalkDescription

logger = logging.getLogger(__name__)
MAX_PROMPT_CHARACTERS = 1000
WORD_MARGIN = {"speed": 0.15, "cadence": 10.0}  # a number may lie this far outside the band of its word [m/s, steps/min]
FIT = 0.25  # speed and stride / 2 * cadence / 60 may differ by this fraction of the larger


def parse_prompt(text: str, classes: GaitClasses | None = None) -> WalkDescription:
    """`read_prompt`, whose notes are warned of (`UserWarning`) and logged as well."""
    description = read_prompt(text, classes)
    for note in description.notes:
        logger.warning(note)
        warnings.warn(note, UserWarning, stacklevel=2)
    return description


def read_prompt(text: str, classes: GaitClasses | None = None) -> WalkDescription:
    """What a user's prompt asks for, in terms of `classes` (default: the package's).

    Understands class names and synonyms, side, severity (words, 0..1, %), speed (m/s, cm/s, km/h, mph, words), cadence, stride
    and step length (m, cm, ft), knee, hip and pelvis ranges, trunk lean, age, sex, load, footwear and clothing. A word for the
    speed or cadence stands for the middle of its band (SPEED_BANDS) unless a number says more.

    A side, severity or pace of something else (a hand, a backpack, "slower than normal") is not read but among `unused`; of a
    leg that is well the other one is affected.

    A fallback is said in the description's `notes`: a walk of no named class but with a stated speed, or one that only says
    what is absent ("walks without a limp"), is normal gait; a bare "limp" is antalgic, "stiffness" stiff-legged. So is the side
    of a pelvis that drops, which is not that of the weak leg.

    Raises ValueError, saying what to write instead: empty or too long text; a class that is unknown or not modelled; two
    classes, sides, severities or values of one number; a range or a bound ("at least 1 m/s"); numbers that are impossible,
    that do not fit a word, or that do not fit each other (speed = stride / 2 * cadence / 60 within 25 % and the rounding); a
    number whose meaning is unclear.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError('the prompt is empty; write for example "moderate steppage gait, right side, 0.7 m/s"')
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"the prompt has {len(text)} characters, at most {MAX_PROMPT_CHARACTERS} are read")
    classes = classes or load_classes()
    facts = read_facts(text, classes)
    if facts.ranges:
        raise ValueError(f"{facts.ranges[0]!r} is a range, not one number; give one")
    if facts.unread_numbers:
        raise ValueError(
            f"what is the number {facts.unread_numbers[0]!r}? Give what the walk itself shall have, with a unit, "
            "e.g. 0.8 m/s, 100 steps/min, stride 1.1 m, severity 0.5"
        )
    notes: list[str] = []
    pathology = _one_pathology(facts, text, classes, notes)
    entry = classes[pathology]
    numbers, said = _one_of_each(facts)
    side = _one_side(facts, entry)
    if pathology == "trendelenburg" and side in facts.dropped_sides:
        notes.append(f"the {side} side is read as that of the weak leg: when it stands, the pelvis drops on the other side")
    for joint in ("knee_range", "hip_range"):
        if joint in numbers:
            sides = {"left": ("left",), "right": ("right",), "both": ("left", "right"), "none": ("left", "right")}.get(side)
            if sides is None:
                raise ValueError(
                    f"which side has the {joint.replace('_', ' ')} of {numbers[joint]:g} degrees? Write left or right"
                )
            numbers |= {f"{joint}_{s}": numbers[joint] for s in sides}
            said |= {f"{joint}_{s}": said[joint] for s in sides}
            del numbers[joint]
    severity = _one_severity(facts, numbers.pop("severity", None), said.get("severity", ""))
    if severity and not entry.graded:
        raise ValueError(f"a {entry.title} has no severity; leave it out or name another gait")
    attributes = {"age": numbers.pop("age")} if "age" in numbers else {}
    for key, value in facts.attributes:
        if attributes.setdefault(key, value) != value:
            raise ValueError(f"the prompt gives two values of {key}: {attributes[key]} and {value}")
    for name, value in numbers.items():
        q = QUANTITIES[name]
        if not q.low <= value <= q.high:
            raise ValueError(
                f"{said[name]!r} is impossible here; expected a {name.replace('_', ' ')} of {q.low:g} to {q.high:g} {q.unit}"
            )
    _fit_together(facts, numbers)
    severity = severity if entry.graded else None
    unused = [f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in attributes.items()]
    unused += [
        f"{name.replace('_', ' ')} {v:g} {QUANTITIES[name].unit}" for name, v in numbers.items() if name not in IN_PROMPT
    ]
    if entry.side == "both" and side in ("left", "right"):  # it has no walks of one side
        unused, side = [*unused, f"{side} side"], "unknown"
    told = {"notes": tuple(notes), "unused": tuple(dict.fromkeys((*unused, *facts.unread_words)))}
    return WalkDescription(pathology, side, severity, attributes=attributes, **numbers, classes=classes, **told)


def _one_pathology(facts: Facts, text: str, classes: GaitClasses, notes: list[str]) -> str:
    """The class, and to `notes` how it was guessed."""
    listed = ", ".join(classes.labels)
    if facts.unsupported:
        raise ValueError(f"{facts.unsupported[0]!r} is not one of the gaits modelled here: {listed}")
    named = sorted(set(facts.pathologies), key=[*classes.labels, "normal"].index)
    if len(named) > 1:
        raise ValueError(f"the prompt names {len(named)} kinds of gait ({', '.join(named)}); name one")
    if named:
        if named[0] in facts.negated_pathologies:
            raise ValueError(f"the prompt both asks for and excludes {named[0]} gait")
        if named != ["normal"] and "normal" in facts.weak_pathologies and (now := NOW_NORMAL.search(text.lower())):
            raise ValueError(f"the prompt names {named[0]} gait and says {now[0]!r}; name what the walk is now")
        return named[0]
    weak = sorted(set(facts.weak_pathologies) - {"person"})
    if len(weak) > 1:
        raise ValueError(f"the prompt could mean {' or '.join(weak)} gait; name one of {listed}")
    if facts.unknown_names and weak != ["normal"]:
        name, close = facts.unknown_names[0], _suggestion(text, classes)
        raise ValueError(f"{name!r} is not one of the gaits modelled here: {listed}{close}")
    if weak and weak[0] not in classes:
        raise ValueError(f"the prompt could mean {weak[0]} gait, which is not one of the gaits modelled here: {listed}")
    if weak:
        if weak != ["normal"]:
            notes.append(f"the prompt does not name the gait; its wording is taken as {weak[0]} gait")
        return weak[0]
    absent = set(facts.negated_pathologies)
    stated = bool(facts.speed_words) or any(n.quantity == "speed" for n in facts.numbers)
    if facts.past_pathologies:
        raise ValueError(
            f"the prompt says {facts.past_pathologies[0]} gait only of what was, may be or another has; name one of {listed}"
        )
    if "normal" not in classes:
        raise ValueError(f"the prompt names no gait; name one of {listed}{_suggestion(text, classes)}")
    if absent and "normal" not in absent and facts.mentions_walking and re.search(r"\b(?:no|without|free)\b", text.lower()):
        notes.append("the prompt only says what the gait lacks; it is taken as normal gait")
    elif "person" in facts.weak_pathologies and facts.mentions_walking and not absent:
        pass
    elif facts.mentions_walking and stated and not absent and not _suggestion(text, classes):
        notes.append("the prompt names no kind of gait; it is taken as normal gait")
    else:
        raise ValueError(f"the prompt names no gait; name one of {listed}{_suggestion(text, classes)}")
    return "normal"


def _suggestion(text: str, classes: GaitClasses) -> str:
    known = [word for label in classes.labels for word in classes[label].title.lower().split()[:1]]
    for word in re.findall(r"[a-z-]{5,}", text.lower()):
        if close := difflib.get_close_matches(word, known, n=1, cutoff=0.82):
            return f' (did you mean "{close[0]}"?)'
    return ""


def _one_side(facts: Facts, entry: GaitClass) -> str:
    sides = sorted(set(facts.sides))
    dropped = set(facts.dropped_sides)
    if entry.name == "trendelenburg" and len(sides) == 2 and len(dropped) == 1 and "both" not in sides:
        weak = list(facts.sides)
        for side in facts.dropped_sides:
            weak.remove(side)
        sides = sorted({*weak} or dropped)  # the pelvis drops on the side of the swinging leg, not of the weak one
    if len(sides) > 1:
        raise ValueError(f'the prompt names contradictory sides ({", ".join(sides)}); write left, right or "both sides"')
    if entry.side == "none":
        if set(sides) - {"both"}:
            raise ValueError(f"a {entry.title} has no affected side, but the prompt names {sides[0]!r}")
        return "none"
    if sound := set(facts.sound_sides):
        if len(sound) > 1 or "both" in {*sound, *sides} or sound & set(sides):
            raise ValueError("the prompt says of the affected side that it is well; leave one of them out")
        return "left" if sound == {"right"} else "right"
    return sides[0] if sides else "unknown"


def _one_of_each(facts: Facts) -> tuple[dict[str, float], dict[str, str]]:
    """The value of each number, and the words that gave it."""
    out: dict[str, float] = {}
    said: dict[str, str] = {}
    tolerance: dict[str, float] = {}
    for number in facts.numbers:
        name = number.quantity
        if name in out and abs(out[name] - number.value) > tolerance[name] + number.tolerance + 1e-9:
            raise ValueError(f"the prompt gives two values of {name.replace('_', ' ')}: {out[name]:.3g} and {number.value:.3g}")
        out.setdefault(name, round(number.value, 6))
        said.setdefault(name, number.text)
        tolerance.setdefault(name, number.tolerance)
    return out, said


def _one_severity(facts: Facts, number: float | None, said: str) -> float | None:
    levels = sorted(set(facts.severities), key=list(SEVERITY_VALUES).index)
    if len(levels) > 1:
        raise ValueError(f"the prompt gives contradictory severities ({', '.join(levels)}); give one")
    if number is None:
        return SEVERITY_VALUES[levels[0]] if levels else None
    if not 0 <= number <= 1 and "updrs" in said:
        raise ValueError(f"{said!r}: of the scores of UPDRS item 3.10 only 0 to 3 walk without help; write one of them")
    if not 0 <= number <= 1:
        raise ValueError(f"{said!r} is not within 0 and 1; write for example severity 0.5 or moderate")
    if levels and severity_level(number) != levels[0]:
        raise ValueError(f"severity {number:g} is {severity_level(number)}, but the prompt also says {levels[0]}")
    return number


def _fit_together(facts: Facts, numbers: dict[str, float]) -> None:
    """Turn words for speed and cadence into numbers; raise where words and numbers contradict each other."""
    given = dict(numbers)
    for name, words, bands in (("cadence", facts.cadence_words, CADENCE_BANDS), ("speed", facts.speed_words, SPEED_BANDS)):
        if len(set(words)) > 1 and not set(words) <= {"slow", "very slow"}:
            raise ValueError(f"the prompt describes the {name} in contradictory words ({', '.join(sorted(set(words)))})")
        if not words:
            continue
        band = bands[min(words, key=list(bands).index)]
        if name not in given:
            numbers[name] = band.value
        elif not band.low - WORD_MARGIN[name] <= numbers[name] <= band.high + WORD_MARGIN[name]:
            raise ValueError(f"{words[0]!r} does not fit a {name} of {numbers[name]:.3g} {QUANTITIES[name].unit}")
    for name, words, bands in (("speed", facts.speed_words, SPEED_BANDS), ("cadence", facts.cadence_words, CADENCE_BANDS)):
        implied = _implied(numbers, name)
        if words and name not in given and implied is not None:  # the value within the word's band that fits the others best
            band = bands[min(words, key=list(bands).index)]
            numbers[name] = round(float(np.clip(implied, band.low, band.high - 1e-6)), 6)
    implied = _implied(numbers, "speed")
    rounding = QUANTITIES["speed"].step / 2  # of slow walks more than what FIT leaves
    speed = numbers.get("speed")
    if implied is not None and speed is not None and abs(implied - speed) > rounding + FIT * max(implied, speed):
        raise ValueError(
            f"a stride of {numbers['stride_length']:.3g} m at {numbers['cadence']:.3g} steps/min makes {implied:.2f} m/s, "
            f"but the prompt says {numbers['speed']:.2f} m/s; change one of them or leave it out"
        )
    longest = QUANTITIES["stride_length"].high
    if "speed" in given and "cadence" in given and (stride := 120 * given["speed"] / given["cadence"]) > longest:
        raise ValueError(
            f"{given['speed']:.3g} m/s at {given['cadence']:.3g} steps/min makes strides of {stride:.2f} m, longer than "
            f"{longest:g} m; change one of them or leave it out"
        )


def _implied(numbers: Mapping[str, float], name: str) -> float | None:
    """Speed from cadence and stride, or cadence from speed and stride; None where one is missing."""
    other = "cadence" if name == "speed" else "speed"
    if other not in numbers or "stride_length" not in numbers:
        return None
    return (
        numbers["stride_length"] * numbers["cadence"] / 120
        if name == "speed"
        else 120 * numbers["speed"] / numbers["stride_length"]
    )
