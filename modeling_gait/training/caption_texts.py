"""Captions of appearance and of actions: words, a grammar that writes them, checks that find what a text makes up.

In: attributes (the simulator's or DenseGait's, see `appearance_words`), or action labels (HuGaDB's, BABEL's, any other).
Out: English captions; a list of a text's untruths, empty if it is faithful. Captions of the gait
itself are modeling_gait/captions.py's.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from modeling_gait.caption_parsing import normalise, read_facts, take
from modeling_gait.caption_words import ALSO, APPEARANCE, LOADS, with_article
from modeling_gait.captions import WalkDescription, check_faithfulness

_TEXTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
RULES = _TEXTS["RULES"]
GAIT_STYLES, APPEARANCE_STYLES, ACTION_STYLES = (_TEXTS[f"{n}_STYLES"] for n in ("GAIT", "APPEARANCE", "ACTION"))
MADE_UP, PRONOUNS, _NOUNS, _AGES, _VIEWS = (_TEXTS[n] for n in ("MADE_UP", "PRONOUNS", "_NOUNS", "_AGES", "_VIEWS"))

# --- appearance --------------------------------------------------------------------------------------------------------------

_OBJECT = (
    r"\b(?:wear(?:s|ing)?|(?:dressed|clad) in|carr(?:y|ies|ying)|hold(?:s|ing)?|eat(?:s|ing)?|push(?:es|ing)?)"
    r"(?: (?:an?|the|some))? (?!(?:an?|the|some)\b)([a-z][\w-]*)"
)
_NEGATED = r"(?:\b(?:no|not|without|never|neither|nor|isn't|lacks?|lacking)\b|n't\b)(?: \w+){0,2}[ -]*$"
_CHECKED_AGAIN = (r"\btwo (?:legs|feet|arms|hands)\b", r"\bone (?:foot|leg|hand|after|step)\b")


def appearance_words(attributes: Mapping) -> dict[str, list[str]]:
    """Attributes of a row -> attribute of `APPEARANCE` -> values; what it has no words for is left out.

    A numeric age gives the group (child < 18 <= young < 35 <= middle-aged < 55 <= old < 70 <= senior; DenseGait publishes no
    limits), height and mass the body (WHO: body-mass index below 18.5 slim, from 25 overweight).
    """
    given = dict(attributes)
    age, height, mass = (given.get(k) for k in ("age", "height", "mass"))
    if "age_group" not in given and isinstance(age, int | float):
        limits = ((18, "child"), (35, "young adult"), (55, "middle-aged adult"), (70, "old adult"), (999, "senior"))
        given["age_group"] = next(word for limit, word in limits if age < limit)
    if "body" not in given and all(isinstance(v, int | float) and v > 0 for v in (height, mass)):
        index = mass / height**2
        given["body"] = "slim" if index < 18.5 else "normal weight" if index < 25 else "overweight"
    out = {}
    for key, values in APPEARANCE.items():
        words = [w.strip() for w in str(given.get(key, "")).split(",")]
        if known := [w for w in words if w in values]:
            out[key] = known
    return out


def appearance_text(words: Mapping[str, Sequence[str]], age: float | None = None) -> str:
    """The facts, one a line, as a language model gets them."""
    lines = [f"{key.replace('_', ' ')}: {', '.join(values)}" for key, values in words.items()]
    return "\n".join([*lines, *([f"age: {age:.0f} years"] if age is not None else [])])


def appearance_caption(words: Mapping[str, Sequence[str]], rng: np.random.Generator, age: float | None = None) -> str:
    """One caption; it may leave attributes out, but says at least two where there are two."""

    def pick(options):
        return options[int(rng.integers(len(options)))]

    keep = {key: values for key, values in words.items() if rng.random() < 0.8}
    for key in list(words)[:2] if len(keep) < 2 else ():
        keep[key] = words[key]
    group, sex = keep.get("age_group", [""])[0], keep.get("sex", [""])[0]
    noun = pick(_NOUNS[sex]) if sex else pick(("person", "pedestrian", "walker"))
    if group == "child":
        noun = {"female": "girl", "male": "boy"}.get(sex, "child")
    adjectives = [pick(_AGES[group])] if group in _AGES else []
    body = keep.get("body", [""])[0]
    adjectives = [body, *adjectives] if body and body != "normal weight" else adjectives
    noun = " ".join([*adjectives, noun]) + (" of normal weight" if body == "normal weight" else "")
    clothes = [with_article(w) for w in keep.get("clothing", [])]
    shoes = [w for w in keep.get("footwear", []) if w != "barefoot"]
    parts = [pick(("wearing ", "dressed in ")) + " and ".join(clothes)] if clothes else []
    parts += [pick(("in ", "wearing ")) + " and ".join(shoes)] if shoes else []
    parts += ["barefoot"] if "barefoot" in keep.get("footwear", []) else []
    parts += [LOADS[w] for w in keep.get("load", [])]
    parts += [w if w != "gathering" else "in a group" for w in keep.get("activity", [])]
    parts += [pick(_VIEWS[w]) for w in keep.get("viewpoint", [])]
    parts = [parts[i] for i in rng.permutation(len(parts))]
    opening = pick(("{A} walks{p}.", "This is {a} walking{p}.", "The walk of {a}{p}.", "{A}{p}.", "We see {a}{p}."))
    article = "an" if noun[0] in "aeio" else "a"
    tail = "".join(f", {p}" for p in parts)
    text = opening.format(A=f"{article.capitalize()} {noun}", a=f"{article} {noun}", p=tail)
    aged = pick((" The walker is {age:.0f} years old.", " Age: {age:.0f}.", "", "")) if age is not None else ""
    return text + aged.format(age=age)


def check_appearance(text: str, words: Mapping[str, Sequence[str]], description: WalkDescription | None = None) -> list[str]:
    """What `text` says of a person that the attributes do not: problems in words, empty if it is faithful.

    A word of another value, of an attribute that is not known, a negated true one, anything of `MADE_UP`, anything else that is
    worn or carried, and what `check_faithfulness` finds in the rest (numbers, sides, gait classes, speed; `description` holds
    age, speed, cadence) are problems; so is a text that says fewer than two of the attributes (one, where there is one).
    """
    whole = rest = normalise(text)
    problems, said = [], set()
    shared = {"girl", "girls", "boy", "boys"}  # name sex and age at once
    for key, values in APPEARANCE.items():
        allowed = set(words.get(key, ())) | {other for w in words.get(key, ()) for other in ALSO.get(w, ())}
        seen = whole if key == "age_group" else rest
        for value, pattern in values.items():
            seen, found = take(seen, f"{pattern}|{PRONOUNS[value]}" if value in PRONOUNS else pattern)
            for m in found:
                if re.search(_NEGATED, whole[max(0, m.start() - 40) : m.start()]) and value not in ("none", "barefoot"):
                    problems += [f"the text denies {key} {value}"] if value in words.get(key, ()) else []
                elif value in allowed:
                    said.add(key)
                elif not (key == "age_group" and m[0] in shared and not words.get(key)):
                    problems.append(
                        f"the text says {key} {value} ({m[0]!r}), known is {', '.join(words.get(key, ())) or 'nothing'}"
                    )
        rest = rest if key == "age_group" else seen
    rest, _ = take(rest, "|".join(APPEARANCE["age_group"].values()))
    rest, made_up = take(rest, MADE_UP)
    problems += [f"the text says {m[0]!r}, which no attribute tells" for m in made_up]
    problems += [f"the text speaks of {m[0]!r}, which no attribute tells" for m in re.finditer(_OBJECT, rest)]
    problems += _counted(rest)
    known = description or WalkDescription()
    problems += check_faithfulness(re.sub(r"\b(?:age|aged)[: ]+(\d+)\b", r"\1 years old", rest), known)
    if len(said) < min(2, len(words)):
        problems.append(f"the text says {len(said)} of the attributes, expected at least {min(2, len(words))}")
    return problems


def _counted(text: str) -> list[str]:
    """Counts in words, which `normalise` leaves alone."""
    for pattern in _CHECKED_AGAIN:
        text = re.sub(pattern, "~", text)
    return [
        f"the text counts {m[0]!r}"
        for m in re.finditer(r"\b(?:two|three|four|five|six|seven|eight|nine|ten|twice|thrice|several|pair)\b", text)
    ]


# --- actions -----------------------------------------------------------------------------------------------------------------

# action -> `doing` (what "a person is"), `pattern` (its names in a text), `moves` (how the body moves), `exclusive` (a text of
# others may not name it, but those that it `implies`), `aliases`. HuGaDB's activities, BABEL's 60 commonest.
ACTIONS: dict[str, dict] = json.loads((Path(__file__).parent / "actions.json").read_text(encoding="utf-8"))
ALIASES = {alias: name for name, entry in ACTIONS.items() for alias in entry.get("aliases", ())}


def canonical_action(label: str) -> str:
    """The table's name of a label; a label that it does not know is returned in lower case."""
    name = label.replace("_", " ").strip().lower()
    return ALIASES.get(name, name)


def action_text(actions: Sequence[str], label: str = "") -> str:
    """The facts as a language model gets them: the annotator's words where there are any, and the action's names."""
    doing = [ACTIONS[a]["doing"] if a in ACTIONS else a for a in map(canonical_action, actions)]
    return "\n".join([*([f"label: {label}"] if label else []), f"action: {', '.join(doing)}"])


def action_caption(actions: Sequence[str], rng: np.random.Generator, label: str = "") -> str:
    """One caption: what the person is doing, in most cases with how the body moves."""

    def pick(options):
        return options[int(rng.integers(len(options)))]

    names = list(dict.fromkeys(map(canonical_action, actions)))
    doing = [ACTIONS[a]["doing"] if a in ACTIONS else f'doing the action "{a}"' for a in names]
    moves = [pick(ACTIONS[a]["moves"]) for a in names if a in ACTIONS]
    text = ", ".join(doing[:-1]) + " and " * (len(doing) > 1) + doing[-1]
    who = pick(("A person", "Someone", "The person", "A human"))
    move = pick(moves) if moves else ""
    forms = [f"{who} is {text}.", f"This is {who.lower()} {text}.", f"In the recording {who.lower()} is {text}."]
    if move:
        said = f"{move[0].upper()}{move[1:]}"
        forms += [f"{who} is {text}: {move}.", f"{who} is {text}. {said}.", f"{said}: {who.lower()} is {text}."] * 2
    if label and label.lower() != text:
        forms += [f"{who} performs a movement described as: {label}.", f"{who} is {text} ({label})."]
    return pick(forms)


def check_action(text: str, actions: Sequence[str], label: str = "") -> list[str]:
    """What `text` says that the action labels do not: problems in words, empty if it is faithful.

    Problems are: none of the actions is named; another exclusive action of `ACTIONS` is named that neither the labels nor
    the annotator's words name or imply; one side alone, a number or count, a speed, a gait class or a made-up thing that the
    `label` does not have; a denied action.
    """
    names = list(dict.fromkeys(map(canonical_action, actions)))
    given = normalise(f"{label} . {' . '.join(names)}")
    whole = normalise(text)
    found, given_found = _named(whole), _named(given)
    problems = []
    own = [a for a in names if a in ACTIONS]
    named = {a for a, _ in found}
    unknown = [a for a in names if a not in ACTIONS]
    if not named & set(own) and not any(_says(whole, a) for a in unknown) and not (label and _says(whole, label.lower())):
        problems.append(f"the text does not name {' or '.join(names)}")
    allowed = set(own) | {b for a in own for b in ACTIONS[a].get("implies", ())} | {a for a, _ in given_found}
    for name, start in found:
        denied = bool(re.search(_NEGATED, whole[max(0, start - 40) : start]))
        if denied and name in own:
            problems.append(f"the text denies {name}")
        elif not denied and name not in allowed and ACTIONS[name].get("exclusive"):
            problems.append(f"the text says {name}, the label is {', '.join(names)}")
    sides = {s for s in ("left", "right") if re.search(rf"\b{s}\b", whole)}
    if len(sides) == 1 and not re.search(rf"\b{next(iter(sides))}\b", given):
        problems.append(f"the text says {next(iter(sides))}, the label does not")
    facts, told = read_facts(text), read_facts(label)
    numbers = [m[0] for m in re.finditer(r"\d+(?:[.,]\d+)?", whole) if m[0] not in re.findall(r"\d+(?:[.,]\d+)?", given)]
    problems += [f"the number {n!r} has no counterpart" for n in numbers]
    problems += [p for p in _counted(whole) if p not in _counted(given)]
    problems += [f"the text says {w}, the label does not" for w in set(facts.speed_words) - set(told.speed_words)]
    cadences = set(facts.cadence_words) - set(told.cadence_words)
    problems += [f"the text says a {w} cadence, the label does not" for w in cadences]
    classes = {*facts.pathologies, *facts.weak_pathologies} - {"normal", "person", *told.pathologies, *told.weak_pathologies}
    problems += [f"the text says {p} gait, the label does not" for p in sorted(classes)]
    _, made_up = take(whole, MADE_UP)
    return problems + [f"the text says {m[0]!r}, which no label tells" for m in made_up if m[0] not in given]


def _named(text: str) -> list[tuple[str, int]]:
    """(action, where) of every action that a text names; longer names are read first, so "stand up" is not "stand"."""
    order = sorted(ACTIONS, key=lambda a: -len(a.split()) if ACTIONS[a].get("exclusive") else 1)
    found, rest = [], text
    for name in order:
        seen, matches = take(rest, ACTIONS[name]["pattern"])
        found += [(name, m.start()) for m in matches]
        rest = seen if ACTIONS[name].get("exclusive") else rest
    return found


def _says(text: str, label: str) -> bool:
    """Does a text have every longer word of a label, up to its ending?"""
    words = [w for w in re.findall(r"[a-z]+", label) if len(w) > 3] or re.findall(r"[a-z]+", label)
    return bool(words) and all(re.search(rf"\b{w[: max(4, len(w) - 3)]}", text) for w in words)
