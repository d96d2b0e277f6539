"""The paraphrase grammar: a walk's description in thousands of wordings, none of which changes a fact.

In: a `WalkDescription` and a numpy Generator. Out: one English text of one to four sentences. A paraphrase may
leave facts out (a prompt rarely gives all), but it always names the gait class if there is one. Each choice takes exactly one
draw, so that two descriptions that differ in one fact read alike elsewhere under the same seed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .caption_words import (
    CADENCE_PHRASES,
    SEVERITY_WORDS,
    SPEED_ADJECTIVES,
    SPEED_ADVERBS,
    attribute_phrases,
    cadence_band,
    severity_level,
    speed_band,
)
from .gait_classes import GaitClasses
from .walk_description import QUANTITIES, WalkDescription, describe_walk

# Openings by register; units, frames and sentences of numbers; joint ranges; sides.
WORDS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def paraphrase(description: WalkDescription, rng: np.random.Generator) -> str:
    """One wording of `description`: clinical, lay, an order to a generator, or a list of key words."""
    d, said = description, _Choice(description, rng)
    register = said.pick(("clinical", "lay", "imperative", "list"))
    numbers = _number_phrases(said)
    if register == "list":
        parts = [_noun_phrase(said, speed_adjective=False), *[short for _, short in numbers]]
        separator = said.pick((", ", "; ", " | ", ", "))
        order = said.rng.permutation(len(parts)) if said.chance(0.5) else range(len(parts))
        text = separator.join(parts[i] for i in order)
        return _finish(text) + said.pick(("", ".", "", "."))
    opening = said.pick(WORDS["openings"][register])
    adverb = said.speed_word(SPEED_ADVERBS)
    noun = _noun_phrase(said, speed_adjective="{v}" not in opening)
    sign = _sign_phrase(said)
    text = opening.format(a=_article(noun), A=_article(noun), n=noun, N=noun, v=adverb + " " if adverb else "", s=sign)
    attached = int(said.rng.random() * 3)
    head, rest = numbers[:attached], numbers[attached:]
    if head and text[-1] == "." and ":" not in text:
        text = text[:-1] + said.pick((" ", ", ")) + " and ".join(frame for frame, _ in head) + "."
    else:
        rest = numbers
    sentences = [_finish(text), *_number_sentences(said, [short for _, short in rest])]
    known = [s.text for s in d.entry.sentences] if d.entry else []
    knowledge = said.pick(known or ("",))
    if d.pathology and said.chance(0.2):
        sentences[(at := 1 + int(said.rng.random() * len(sentences))) : at] = [knowledge] if known else []
    who = _attributes(said)
    return " ".join(sentences + who)


class _Choice:
    """A description and the draws made for it."""

    def __init__(self, description: WalkDescription, rng: np.random.Generator) -> None:
        self.d, self.rng = description, rng
        self.speed_is_number = self.chance(0.65)
        self.speed_is_word = self.chance(0.35)

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def speed_word(self, words: dict[str, tuple[str, ...]]) -> str:
        """A word for the speed, or "" where the speed is unknown or given by a number only."""
        band = speed_band(self.d.speed) if self.d.speed is not None else "slow"
        word, adverse = self.pick(words[band]), self.chance(0.15)
        return word if self.d.speed is not None and (self.speed_is_word or adverse) else ""


def _noun_phrase(c: _Choice, speed_adjective: bool) -> str:
    """Class with side, severity and perhaps speed, without an article: "slow moderate right-sided steppage gait"."""
    d = c.d
    name = c.pick(d.entry.names) if d.entry else c.pick(("walk", "gait"))
    level = severity_level(d.severity) if d.severity is not None else "mild"
    adjective, say_severity = c.pick(SEVERITY_WORDS[level]), c.chance(0.85)
    severity_form = c.pick(("{s} {n}", "{s} {n}", "{n} of {s} severity", "{s} {n}", "{n} ({s})"))
    side_form = c.pick(WORDS["side_forms"]["one"]) if d.side in ("left", "right") else c.pick(WORDS["side_forms"]["both"])
    say_side, speed = c.chance(0.85), c.speed_word(SPEED_ADJECTIVES)
    if d.side in ("left", "right", "both") and say_side:
        name = side_form.format(n=name, d=d.side)
    if d.level and d.pathology and say_severity:
        name = severity_form.format(n=name, s=adjective)
    return f"{speed} {name}" if speed_adjective and speed else name


def _sign_phrase(c: _Choice) -> str:
    """What a layperson sees: "a dropped foot on the right side (moderate)"."""
    d = c.d
    sign = c.pick(d.entry.signs) if d.entry else "an unknown pattern"
    level = severity_level(d.severity) if d.severity is not None else "mild"
    adjective, say_severity, say_side = c.pick(SEVERITY_WORDS[level]), c.chance(0.7), c.chance(0.85)
    where = c.pick(("on the {d} side", "on the {d}", "of the {d} leg", "in the {d} leg"))
    if d.side in ("left", "right", "both") and say_side:
        sign += " " + (where.format(d=d.side) if d.side != "both" else "on both sides")
    if d.level and d.pathology and say_severity:
        sign += c.pick((f" ({adjective})", f", {adjective}", f" of {adjective} severity"))
    return sign


def _number_phrases(c: _Choice) -> list[tuple[str, str]]:
    """(phrase that joins the opening, short statement) of the numbers to be said, in random order."""
    d, out = c.d, []
    roughly = c.pick(("", "", "", "about ", "roughly ", "around "))
    say_cadence, say_stride, low_or_high = c.chance(0.6), c.chance(0.6), c.chance(0.3)
    units = c.pick(WORDS["speed"]), c.pick(WORDS["cadence"]), c.pick(WORDS["stride"])
    frames = c.pick(WORDS["speed_frames"]), c.pick(WORDS["cadence_frames"]), c.pick(WORDS["stride_frames"])
    shorts = tuple(c.pick(WORDS["sentences"][name]) for name in ("speed", "cadence", "stride_length"))
    phrase = c.pick(CADENCE_PHRASES[cadence_band(d.cadence or 0)])
    if d.speed is not None and c.speed_is_number:
        v = d.speed
        x = roughly + units[0].format(
            f=f"{v:.2f}", r=f"{round(v / 0.05) * 0.05:.2f}", k=f"{v * 3.6:.1f}", m=f"{v / 0.44704:.1f}"
        )
        out.append((frames[0].format(x=x), shorts[0].format(x=x)))
    if d.cadence is not None and say_cadence:
        x = units[1].format(c=f"{d.cadence:.0f}", e=f"{round(d.cadence / 2) * 2:.0f}")
        out.append((frames[1].format(x=x), shorts[1].format(x=x)))
    elif d.cadence is not None and low_or_high:
        out.append((f"with {phrase}", phrase))
    if d.stride_length is not None and say_stride:
        x, y = (units[2].format(f=f"{v:.2f}", c=f"{100 * v:.0f}") for v in (d.stride_length, d.stride_length / 2))
        out.append((frames[2].format(x=x, y=y), shorts[2].format(x=x, y=y)))
    return [out[i] for i in c.rng.permutation(len(out))]


def _number_sentences(c: _Choice, shorts: list[str]) -> list[str]:
    """Sentences of the remaining numbers and of the joint ranges."""
    d = c.d
    together = c.chance(0.5)
    joint = c.pick(("and", "while", "and", ";"))
    glue = "; " if joint == ";" else f", {joint} "
    out = [glue.join(shorts)] if together and len(shorts) == 2 else shorts
    for joint, probability in (("knee", 0.3), ("hip", 0.12)):
        form, say = c.pick(WORDS["ranges"]), c.chance(probability)
        left, right = getattr(d, f"{joint}_range_left"), getattr(d, f"{joint}_range_right")
        if say and left is not None and right is not None:
            out = [*out, form.format(j=joint, l=f"{left:.0f}", r=f"{right:.0f}")]
    form, say = (
        c.pick(("pelvic obliquity range {x} degrees", "the pelvis moves through {x} degrees", "pelvic obliquity range {x}°")),
        c.chance(0.12),
    )
    if say and d.pelvic_obliquity_range is not None:
        out = [*out, form.format(x=f"{d.pelvic_obliquity_range:.0f}")]
    form, say = c.pick(("the trunk leans {x} degrees {w}", "trunk lean {x}° {w}", "trunk lean of {x} deg {w}")), c.chance(0.15)
    if say and d.trunk_lean is not None and abs(d.trunk_lean) >= 1.5:
        out = [*out, form.format(x=f"{abs(d.trunk_lean):.0f}", w="forward" if d.trunk_lean > 0 else "backward")]
    return [_finish(s) + "." for s in out]


def _attributes(c: _Choice) -> list[str]:
    """A sentence about who walks, from the attributes that have words."""
    phrases, say = attribute_phrases(c.d.attributes), c.chance(0.4)
    if not phrases or not say:
        return []
    subject = c.pick(("The walker is ", "This person is ", "The subject is "))
    return [subject + ", ".join(phrases) + "."]


def _article(noun: str) -> str:
    return ("an " if noun[0].lower() in "aeiou" and not noun.startswith("un") or noun.startswith("unimpaired") else "a ") + noun


def _finish(text: str) -> str:
    return text[0].upper() + text[1:]


def captions_for(
    parameters: Mapping[str, float],
    pathology: str | None = None,
    severity: float | None = None,
    side: str | None = None,
    attributes: Mapping | None = None,
    n: int = 3,
    seed: int = 0,
    classes: GaitClasses | None = None,
) -> list[str]:
    """n captions of a measured walk: the canonical prompt, then in turn a paraphrase and a prompt with parts left out."""
    description = describe_walk(parameters, pathology, severity, side, attributes, classes)
    rng = np.random.default_rng(seed)
    captions = [description.to_prompt()][:n]
    for i in range(1, n):
        for _ in range(20):  # distinct where the description allows it
            caption = paraphrase(description, rng) if i % 2 else partial_description(description, rng).to_prompt()
            if caption not in captions:
                break
        captions.append(caption)
    return captions


def partial_description(d: WalkDescription, rng: np.random.Generator) -> WalkDescription:
    """The description with each part but the class left out half of the time."""
    dropped = {name: None for name in (*QUANTITIES, "severity") if rng.random() < 0.5}
    return replace(d, **dropped, side="unknown" if rng.random() < 0.5 and d.side != "none" else d.side)
