"""What somebody who looks for a walk asks for: numbers, ranges, class, side and words, each to be weighed as what it is.

In: a query, "steppage gait, slower than 0.7 m/s, no more than 90 steps/min, not on the left". Out: `GaitQuery`, whose
`Condition`s hold ranges in m/s, steps/min, m, s, degrees, %, or names. ValueError in one sentence where a query says nothing,
contradicts itself, is not English, or wants what no walk has.

`gait_search.py` weighs conditions against what was measured; units and class names are read by `caption_parsing.py`.
"""

import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from .caption_parsing import (
    CADENCE_UNITS,
    CADENCE_WORDS,
    LENGTH_UNITS,
    SPEED_UNITS,
    SPEED_WORDS,
    Reader,
    read_angles,
    read_facts,
    read_scores,
)
from .caption_words import APPEARANCE, CADENCE_BANDS, SPEED_BANDS
from .gait_classes import GaitClasses, load_classes
from .gait_parameters import without_side

EXAMPLE = 'write for example "steppage gait, right side, slower than 0.7 m/s"'
MAX_CHARACTERS = 1000

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
QUANTITIES, SIDED, NEAR, MEANT, EXTREMES = (_TABLES[name] for name in ("QUANTITIES", "SIDED", "NEAR", "MEANT", "EXTREMES"))
SD = {name: about[3] for name, about in QUANTITIES.items()} | {"asymmetry": 0.09}
UNIT = {name: about[1] for name, about in QUANTITIES.items()} | {"asymmetry": ""}
WORDS = "words"  # the quantity of what the dual encoder judges


@dataclass(frozen=True)
class Condition:
    """One thing that a query says.

    Attributes:
        words: of the query.
        quantity: of `QUANTITIES` (with its side, if the query gives one), "asymmetry", "pathology", "side" or an attribute.
        low, high: range [unit of the quantity] in which a walk fits; equal for "0.7 m/s".
        spread: SD of how far outside one still does.
        values: names that fit, of a class, side or attribute.
        negated: those, or that range, do not fit.
        relative: said in a word, as "slow": where no walk is, the nearest are meant.
        best: 1 for the most, -1 for the least of all walks there are ("the slowest"), else 0.
    """

    words: str
    quantity: str
    low: float = -math.inf
    high: float = math.inf
    spread: float = 0.0
    values: tuple[str, ...] = ()
    negated: bool = False
    relative: bool = False
    best: int = 0

    @property
    def asked(self) -> str:
        """The condition in numbers: "speed below 0.7 m/s"."""
        name = self.quantity.replace("_", " ")
        if self.quantity == WORDS:
            return "not the words" if self.negated else "the words"
        if self.best:
            return f"{name} as {'high' if self.best > 0 else 'low'} as can be"
        if self.values:
            return f"{name} {'not ' if self.negated else ''}{' or '.join(self.values)}"
        stem, name = without_side(self.quantity), f"{name} not" if self.negated else name
        unit = f" {UNIT.get(stem, '')}".rstrip()
        if self.low == self.high:
            return f"{name} {self.low:.4g}{unit}"
        if self.low == -math.inf or self.high == math.inf:
            return f"{name} at most {self.high:.4g}{unit}" if self.low == -math.inf else f"{name} at least {self.low:.4g}{unit}"
        return f"{name} {self.low:.4g} to {self.high:.4g}{unit}"


@dataclass(frozen=True)
class GaitQuery:
    """`conditions` as read; `words`: the query itself where it says more than they do, else "", without what it denies;
    `doubts`: sentences on what may have been understood wrongly."""

    text: str
    conditions: tuple[Condition, ...]
    words: str
    doubts: tuple[str, ...] = ()


_NUMBER = r"(?:(?<![\w)])[-+])?(?:\d+(?:[.,]\d+)?|\.\d+)"
_LESS = r"less|lower|slower|smaller|shorter|fewer|narrower"
_MORE = r"more|greater|higher|faster|quicker|longer|larger|bigger|wider|taller"
_THAN = r"(?: th[ae]n)?(?: or equal(?: to)?)?"
_BELOW = (
    rf"(?:not|no|never) (?:{_MORE}|over|above){_THAN}|(?:{_LESS}){_THAN}|under|below|at most|up to|max(?:imum)?(?: of)?|"
    r"(?:does )?not exceed(?:ing)?|within|<=?|≤|younger than"
)
_ABOVE = (
    rf"(?:not|no|never) (?:{_LESS}|under|below){_THAN}|(?:{_MORE}){_THAN}|over|above|exceed(?:s|ing)?|at least|"
    r"min(?:imum)?(?: of)?|>=?|≥|older than"
)
_ABOUT = r"about|around|roughly|approximately|nearly|circa|some|~"
_UNITS = {
    **{unit: ("speed", factor) for unit, factor in SPEED_UNITS.items()},
    **{unit: ("cadence", factor) for unit, factor in CADENCE_UNITS.items()},
    **{unit: ("m", factor) for unit, factor in LENGTH_UNITS.items()},
    r"mm\b|millimet(?:er|re)s?\b": ("m", 0.001),
    r"°|deg\b|degrees?\b": ("deg", 1.0),
    r"%|percent\b": ("%", 1.0),
    r"ms\b|milliseconds?\b": ("s", 0.001),
    r"s\b|sec(?:ond)?s?\b": ("s", 1.0),
    r"years?(?:[- ]olds?)?\b": ("age", 1.0),
}
_NO_UNIT = re.compile(  # after a number or its unit: units that are not read
    r" ?(?:/|per) ?(?!min|s\b)|[ -]?(?:km|kilomet(?:er|re)s?|miles?|yards?|yd|knots?|kn|rpm|hz|hertz|rad(?:ians?)?|hours?|hrs?|"
    r"min(?:ute)?s?|bpm|kg|lbs?|pounds?)\b"
)
_UNIT = "|".join(f"(?P<u{i}>{unit})" for i, unit in enumerate(_UNITS))
_OR = (
    rf"(?: ?(?:or|and) (?:(?P<or_less>{_LESS}|below|under|younger)|(?P<or_more>{_MORE}|above|over|up|older))\b(?! than| ?\d)|"
    r"(?P<plus> ?\+))?"
)
_STATED = re.compile(
    rf"(?:(?P<below>{_BELOW})|(?P<above>{_ABOVE})|(?P<about>{_ABOUT})|(?P<between>between|from))? ?"
    rf"(?P<low>(?<![\w.,]){_NUMBER})(?: ?(?:{_UNIT.replace('(?P<u', '(?P<v')}))?"
    rf"(?: ?(?:-|to|and|or) ?(?P<high>{_NUMBER}))?[ -]?(?:{_UNIT})?{_OR}"
)
_LIMITS = ("low", "high")
_NAMED = r"\b(?:(left|right) )?(?:{})\b(?: (?:on|of|in) the (left|right))?"
_SIDE_BEHIND = re.compile(
    r" ?(?:\(|(?:on|at|in|of|for) (?:the|its|his|her|their) )(left|right)(?: (?:side|leg|limb|foot|knee|hip|ankle))?\b\)?"
)
_NAMES = {name: re.compile(_NAMED.format(about[0])) for name, about in QUANTITIES.items()}
_SPLIT = re.compile(r"[,;.:!?|](?!\d)|\b(?:and|but|with|while|whose)\b")
_COMPARED_BAND = re.compile(rf"\b(?:((?:{_LESS}) th[ae]n|below|under)|(?:{_MORE}) th[ae]n|above|over)[ -](?:(?:the|an?) )?$")

_FOREIGN, _ENGLISH, _SMALL = (frozenset(_TABLES[name].split()) for name in ("FOREIGN", "ENGLISH", "SMALL"))
# Words of numbers, paces and severities: known, though they alone say nothing of a walk.
_OTHER = frozenset(
    re.findall(r"[a-z]{4,}", f"{_LESS}|{_MORE}|slow slowly fast quick severe mild moderate speed cadence stride degrees")
)


def near(quantity: str) -> float:
    """SD of what "0.7 m/s" of a quantity means."""
    return NEAR.get(quantity) or 1.5 * SD.get(quantity, 0.1)


def read_query(text: str, classes: GaitClasses | None = None) -> GaitQuery:
    """What a query asks for.

    Raises ValueError, saying what to write instead: empty or too long; not English; a number without a meaning or that no walk
    can have; two classes (unless joined by "or"), sides or ranges that exclude each other.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected one text, got {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"the query is empty; {EXAMPLE}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the query has {len(text)} characters, at most {MAX_CHARACTERS} are read")
    classes = classes or load_classes()
    _refuse_other_languages(text)
    reader = Reader(_plainer(text), classes)
    if m := _BETWEEN_SIDES.search(reader.whole):
        raise ValueError(f'sides are not compared ({m[0]!r}); write "asymmetric", or give each side its number or range')
    conditions = _stated(reader, compared=True) + _exact(reader) + _stated(reader) + _extremes(reader) + _meant(reader)
    conditions += _bands(reader)
    if m := re.search(r"\b(?:between|from) [a-z-]+ (?:and|to|or) ?~+", reader.rest):
        raise ValueError(f"the range {_tidy(reader.whole[slice(*m.span())])!r} is not read; write both numbers in digits")
    known = _vocabulary(classes)
    names = "|".join([classes.everything, *(pattern for _, pattern in classes.hints)])
    nameless = re.sub(names, lambda m: " " * len(m[0]), reader.rest.replace("~", " "))
    said_not = [m for m in _DENIED.finditer(nameless) if _content(m[2])]
    denied = [m for m in said_not if any(_forms(word) & known for word in _content(m[2]))]
    conditions += [
        Condition(_tidy(reader.whole[slice(*m.span())]), WORDS, values=(" ".join(filter(None, m.groups())),), negated=True)
        for m in denied
    ]
    for m in said_not:
        reader.take(*m.span())
    facts = read_facts(reader.rest.replace("~", " "), classes)
    if facts.unread_numbers or facts.ranges:
        what = (facts.unread_numbers or facts.ranges)[0]
        raise ValueError(f"what is the number {what!r}? Give it a name and a unit, e.g. speed 0.8 m/s, cadence 100 steps/min")
    if strange := [u for u in facts.unsupported if not _ABNORMAL.search(u)]:
        raise ValueError(f"no walk is known to be {strange[0]!r}; kinds of gait here: {', '.join(classes.labels)}")
    conditions += _classes(facts, reader, classes) + _sides(facts, reader)
    for key in dict.fromkeys(k for k, _ in facts.attributes):
        values = tuple(dict.fromkeys(v for k, v in facts.attributes if k == key))
        conditions.append(Condition(" or ".join(values), key, values=values))
    _refuse_contradictions(conditions)
    rest = re.sub(classes.everything, " ", reader.rest.replace("~", " "))
    left = _content(re.sub(r"\b(?:no|not|without|never|nor)\s+(?:any\s+|an?\s+)?\w+(?:\s+(?:gait|walk))?", " ", rest))
    strange = sorted((w for w in left if not _forms(w) & (known | _OTHER)), key=rest.index)
    doubts = tuple(f"the word {w!r} is not known here: the model alone judges it{_meant_word(w, known)}" for w in strange)
    doubts += tuple(f"{_tidy(m[0])!r} is not known here and left out" for m in said_not if m not in denied)
    if not conditions and not left & known:
        meant = _meant_word(strange[0], known) if strange else ""
        raise ValueError(f"the query {text.strip()!r} says nothing about a walk{meant or f'; {EXAMPLE}'}")
    said = reader.whole
    for m in said_not:
        said = said[: m.start()] + " " * len(m[0]) + said[m.end() :]
    return GaitQuery(
        text.strip(), tuple(conditions), (" ".join(said.split()) if said_not else text.strip()) if left else "", doubts
    )


_COMPARED_NOUN = re.compile(  # shorter (steps) than
    rf"\b((?:(?:no|not|never) )?(?:{_LESS}|{_MORE})) ((?:(?!(?:{_LESS}|{_MORE}|th[ae]n|and|but|or|with)\b)[a-z-]+ ){{0,3}}"
    r"(?:steps?|strides?|lengths?|speed|velocity|pace|cadence|rhythm|base|width|range|clearance|height|flexion|support|time))"
    r" than\b",
    re.IGNORECASE,
)
_NOTHING = (
    r"\b(?:nothing|(?:not|without) anything)(?: is)? (?:wrong|abnormal|pathological|amiss)\b|"
    r"\b(?:no|without)(?: any)?(?: (?:gait|walking))? (?:problems?|complaints?|deficits?)\b"
)


def _plainer(text: str) -> str:
    """The text with half a metre, feet and inches, 0.5 < speed < 0.7, "between one and two", "shorter steps than 50 cm" and
    "nothing wrong" in words that are read."""
    text = re.sub(r"\b(between [\w-]+) and (?=[a-z])", r"\1 to ", text, flags=re.IGNORECASE)
    text = _COMPARED_NOUN.sub(r"\2 \1 than", text)
    text = re.sub(r"\bhalf an? (?=m)", "0.5 ", text, flags=re.IGNORECASE)
    text = re.sub(r"\ball but\b", "except", text, flags=re.IGNORECASE)
    text = re.sub(_NOTHING, "no abnormality", text, flags=re.IGNORECASE)
    text = re.sub(
        r"(\d+) ?(?:ft|feet|foot|['′])[ -]?(\d+(?:\.\d+)?) ?(?:in\b|inch(?:es)?\b|[\"″]|'')",
        lambda m: f"{(12 * float(m[1]) + float(m[2])) * 0.0254:.3f} m",
        text,
    )
    text = re.sub(
        r"(\d+(?:\.\d+)?) ?\(?(?:±|\+ ?/? ?-) ?(\d+(?:\.\d+)?)\)?",
        lambda m: f"between {float(m[1]) - float(m[2]):.6g} and {float(m[1]) + float(m[2]):.6g}",
        text,
    )
    return re.sub(r"(\d[\d.,]*[^<>≤≥\d]*?)[<>≤≥]=?([^<>≤≥\d]+)[<>≤≥]=?(?= ?\d)", r"\2 between \1 and ", text)


_ABNORMAL = re.compile(r"\b(?:abnormal|pathologic)")
_BETWEEN_SIDES = re.compile(
    rf"(?:{_LESS}|{_MORE}) than (?:(?:the|on|its) )*(?:left|right|other)\b|\b(?:difference|asymmetry)\b[^,;]*\d|"
    rf"[\d.]+ ?(?:°|deg\b|degrees?|%|percent|[cm]?m\b|(?:centi)?met(?:er|re)s?|m/s|s\b|seconds?|steps/min) (?:{_LESS}|{_MORE})"
    r"(?: (?:on|in|at|for|of) | ?(?:$|[,.;]))"
)
_DENIED = re.compile(  # 1: who does not, 2: what
    r"(?:\b([a-z]+) (?=(?:do|does|did|can|is|are)(?:n[o']?t| not)\b))?(?:\b(?:do|does|did|can|is|are) (?=not\b))?"
    r"\b(?:no|not|without|never|nor|(?:does|do|did|can|is|are)n[o']?t)\s+([^,.;:!?]+?)(?=\s*(?:[,.;:!?]|$|\b(?:and|but|with|while)\b))"
)


def _content(text: str) -> set[str]:
    return set(re.findall(r"[a-z]{3,}", text)) - _SMALL


def _forms(word: str) -> set[str]:
    """A word, and what may stand before its ending: lifted, lift."""
    return {word.removesuffix(ending) for ending in ("", "s", "es", "ed", "d", "ing", "ly")}


def _meant_word(word: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known | _OTHER), 1, 0.75)
    return f"; did you mean {near[0]!r}?" if near else ""


def _refuse_other_languages(text: str) -> None:
    letters = [c for c in text if c.isalpha()]
    words = set(re.findall(r"[^\W\d_]+", text.lower()))
    foreign = words & _FOREIGN
    if sum(not c.isascii() for c in letters) > 0.3 * max(len(letters), 1) or len(foreign) > len(words & _ENGLISH):
        raise ValueError(f"queries are read in English only; {EXAMPLE}")


def _exact(reader: Reader) -> list[Condition]:
    """Joint ranges of a side as captions give them, ages and severities."""
    before = len(reader.facts.numbers)
    read_scores(reader)
    read_angles(reader)
    found = reader.facts.numbers[before:]
    names = {"trunk_lean": "trunk_lean_sagittal"}
    pairs = [(names.get(n.quantity, n.quantity), n) for n in found]
    return [Condition(n.text, name, n.value, n.value, near(without_side(name))) for name, n in pairs]


def _stated(reader: Reader, compared: bool = False) -> list[Condition]:
    """Numbers with what they are of; `compared`: only those in a range or a comparison."""
    out, previous, last = [], 0, (None, None)
    for m in list(_STATED.finditer(reader.rest)):
        if compared and not any(m[k] for k in ("below", "above", "high", "or_less", "or_more", "plus")):
            continue
        units = [k for k, v in m.groupdict().items() if re.fullmatch(r"[uv]\d+", k) and v]
        unit = list(_UNITS.values())[int(units[0][1:])] if units else None
        if wrong := _NO_UNIT.match(reader.rest, m.end()):
            raise ValueError(
                f"the unit of {_tidy(reader.rest[m.start() : wrong.end()])!r} is not read; write m, cm, m/s, steps/min"
            )
        quantity, side, named = _quantity(reader.rest, m, unit, previous)
        if quantity is None and compared and re.fullmatch(r" ?(?:and|but)? ?", reader.rest[previous : m.start()]):
            (quantity, side), named = last, m.span()  # "speed > 0.5 and < 0.7"
        if quantity is None:
            previous = m.end()
            continue
        own = unit[0] in (quantity, QUANTITIES[quantity][1]) if unit else True
        if not own:
            continue
        last = quantity, side
        factor = unit[1] if unit else 1.0
        if unit is None and QUANTITIES[quantity][1] == "%" and max(float(m[k].replace(",", ".")) for k in _LIMITS if m[k]) <= 1:
            factor = 100.0  # a share
        if quantity == "step_length" and side is None:  # of both legs on average
            quantity, factor = "stride_length", 2 * factor
        numbers = [float(m[k].replace(",", ".")) * factor for k in _LIMITS if m[k]]
        _refuse_impossible(quantity, numbers, m[0])
        half = 0.5 * 10.0 ** -len(m["low"].replace(",", ".").partition(".")[2]) * abs(factor)
        low, high, spread = min(numbers), max(numbers), SD[quantity]
        if m["below"] or m["or_less"]:
            low = -math.inf
        elif m["above"] or m["or_more"] or m["plus"]:
            high = math.inf
        elif len(numbers) == 1:
            spread = (2 if m["about"] else 1) * max(near(quantity), min(half, 2 * SD[quantity]))
        start, end = min(m.start(), named[0]), max(m.end(), named[1])
        name = f"{quantity}_{side}" if side and quantity in SIDED else quantity
        between = rf"(?:(?:at|of|a|an|the|have|takes?|steps?|walks?|be|equal to|exactly|about|{QUANTITIES[quantity][0]}) )*"
        negated = reader.negated(m.start(), between) or reader.whole[: m.start()].endswith(("!=", "≠"))
        if negated and not (math.isfinite(low) and math.isfinite(high)):
            low, high, negated = (high, math.inf, False) if low == -math.inf else (-math.inf, low, False)
        out.append(Condition(_tidy(reader.whole[start:end]), name, low, high, spread, negated=negated))
        reader.take(*m.span())
        reader.take(*named)
        if name != quantity and (behind := _SIDE_BEHIND.match(reader.rest, m.end())) and behind[1] == side:
            reader.take(*behind.span())  # the side of the number, not that which is affected
        previous = m.end()
    return out


def _quantity(text: str, m: re.Match, unit, previous: int) -> tuple[str | None, str | None, tuple[int, int]]:
    """(quantity, side, span of its name) of a number: the one that its unit says, else the last named before it in the
    clause, else the first after it."""
    fits = [n for n, about in QUANTITIES.items() if unit is None or unit[0] in (n, about[1])]
    cuts = [c.end() for c in _SPLIT.finditer(text, previous, m.start())]
    begin = max([previous, *cuts])
    after = _SPLIT.search(text, m.end())
    end = after.start() if after else len(text)
    for start, stop, last in ((begin, m.start(), True), (m.end(), end, False), (previous, m.start(), True)):
        found = [(x.start(), -x.end(), n, x) for n in fits for x in _NAMES[n].finditer(text, start, stop)]
        if found:
            _, _, name, x = max(found, key=lambda f: (-f[1], -f[0])) if last else min(found)
            return name, x[1] or x[2] or _side_near(text, m, begin, end), x.span()
    if unit and unit[0] in QUANTITIES:
        return unit[0], None, m.span()
    comparator = m["below"] or m["above"] or ""
    for words, name in ((r"slower|faster|quicker", "speed"), (r"taller", "body_height"), (r"wider|narrower", "step_width")):
        if re.match(words, comparator) and (unit is None or unit[0] == QUANTITIES[name][1]):
            return name, None, m.span()
    if unit and unit[0] == "deg" and (joint := re.search(r"(left |right )?(knee|hip|ankle)", text[begin:end])):
        return f"{joint[2]}_range", (joint[1] or "").strip() or None, m.span()
    return None, None, m.span()


def _side_near(text: str, m: re.Match, begin: int, end: int) -> str | None:
    found = re.search(r" ?(?:on|at|in|of) the (left|right)\b", text[m.end() : end]) or re.search(
        r"\b(left|right) (?:knee|hip|ankle|foot|step|leg)", text[begin : m.start()]
    )
    behind = _SIDE_BEHIND.match(text, m.end())
    return behind[1] if behind else found[1] if found else None


def _refuse_impossible(quantity: str, numbers: list[float], words: str) -> None:
    low, high = QUANTITIES[quantity][2]
    for value in numbers:
        if not low <= value <= high:
            unit = UNIT[quantity]
            said = f"{quantity.replace('_', ' ')} {value:.4g} {unit} ({_tidy(words)!r})"
            raise ValueError(f"{said} is out of reach of any walk; expected {low:g} to {high:g} {unit}")


def _tidy(words: str) -> str:
    return words.strip(" ,;:~-").rstrip(".")


def _extremes(reader: Reader) -> list[Condition]:
    """The slowest, the longest steps, slower than average. Raises ValueError for "not the slowest"."""
    out = []
    for words, quantity, best in EXTREMES:
        for m in reader.find(rf"\b(?:{words})\b"):
            if reader.negated(m.start(), r"(?:(?:a|an|the|is|are|one of|among|with|any) )*"):
                raise ValueError(f"{m[0]!r} is denied; write a limit instead, for example 'speed over 0.7 m/s'")
            out.append(Condition(m[0], quantity, best=best))
    return out


def _meant(reader: Reader) -> list[Condition]:
    """Words that stand for a range of a number; a side before or behind them is that of the number, as in `_stated`."""
    out = []
    for pattern, quantity, least, most in MEANT:
        for m in reader.find(rf"\b(?:{pattern})\b"):
            low, high = least, most
            side = next((v.strip() for k, v in m.groupdict().items() if k.startswith("side") and v), "")
            if not side and quantity in SIDED and (behind := _SIDE_BEHIND.match(reader.rest, m.end())):
                side = behind[1]
                reader.take(*behind.span())
            if reader.negated(m.start(), r"(?:(?:a|an|the|any|very) )*"):
                low, high = (high, math.inf) if low == -math.inf else (-math.inf, low)
            out.append(Condition(m[0], f"{quantity}_{side}" if side else quantity, low, high, SD[quantity], relative=True))
    return out


def _bands(reader: Reader) -> list[Condition]:
    """Slow, fast, a low cadence; "not slow"."""
    out = []
    for quantity, words, bands in (("cadence", CADENCE_WORDS, CADENCE_BANDS), ("speed", SPEED_WORDS, SPEED_BANDS)):
        names = list(bands)
        for name, pattern in words.items():
            for m in reader.find(pattern):
                low = (
                    -math.inf if name in names[: names.index("slow" if quantity == "speed" else "low") + 1] else bands[name].low
                )
                high = math.inf if name == names[-1] else bands[name].high
                start = m.start()
                if compared := _COMPARED_BAND.search(reader.whole[:start]):  # "less than average speed"
                    start = compared.start()
                    if compared[1]:
                        low, high = -math.inf, low if math.isfinite(low) else high
                    else:
                        low, high = high if math.isfinite(high) else low, math.inf
                    reader.take(start, m.end())
                if reader.negated(start, r"(?:(?:the|a|an|very|too|so|at|in) )*"):
                    if math.isfinite(low) and math.isfinite(high):
                        continue  # "not at a normal pace" may be either way
                    low, high = (high, math.inf) if low == -math.inf else (-math.inf, low)
                out.append(Condition(reader.whole[start : m.end()], quantity, low, high, 2 * SD[quantity], relative=True))
    return out


def _classes(facts, reader: Reader, classes: GaitClasses) -> list[Condition]:
    named = list(dict.fromkeys(facts.pathologies))
    denied = list(dict.fromkeys(facts.negated_pathologies))
    if both := set(named) & set(denied):
        raise ValueError(f"the query both asks for and excludes {min(both)} gait")
    if len(named) > 1 and not re.search(r"\bor\b|/", reader.whole):
        either = f'"{named[0]} or {named[1]}"'
        raise ValueError(f"the query names {len(named)} kinds of gait ({', '.join(named)}); name one, or write {either}")
    out = [Condition(" or ".join(named), "pathology", values=tuple(named))] if named else []
    known = [d for d in denied if d in classes]
    out += [Condition(f"no {' or '.join(known)}", "pathology", values=tuple(known), negated=True)] if known else []
    if not named and "normal" in facts.weak_pathologies and "normal" in classes:
        out.append(Condition("healthy", "pathology", values=("normal",)))
    if any(_ABNORMAL.search(u) for u in facts.unsupported) and "normal" in classes:
        out.append(Condition("abnormal", "pathology", values=("normal",), negated=True))
    return out


def _sides(facts, reader: Reader) -> list[Condition]:
    denied = [
        m[0] for m in re.finditer(r"\b(?:left|right)\b", reader.rest) if reader.negated(m.start(), r"(?:(?:the|on|in|a|of) )*")
    ]
    denied += facts.sound_sides
    if denied and not facts.sides:
        return [Condition(f"not {denied[0]}", "side", values=(denied[0],), negated=True)]
    sides = list(dict.fromkeys(facts.sides))
    if len(sides) > 1 and "both" not in sides:
        raise ValueError(f'the query names two sides ({" and ".join(sides)}); write left, right or "both sides"')
    return [Condition(sides[0], "side", values=(sides[0],))] if sides else []


def _refuse_contradictions(conditions: list[Condition]) -> None:
    normal = next((c for c in conditions if c.quantity == "pathology" and c.values == ("normal",) and not c.negated), None)
    side = next((c for c in conditions if c.quantity == "side"), None)
    if normal and side:
        raise ValueError(f"a normal gait has no affected side, but the query says {side.words!r}")
    for i, a in enumerate(conditions):
        for b in conditions[:i]:
            if (
                a.quantity == b.quantity
                and not (a.values or a.negated or b.negated or a.best or b.best)
                and (a.low > b.high + b.spread or b.low > a.high + a.spread)
            ):
                raise ValueError(f"the query contradicts itself: {b.asked} ({b.words!r}) and {a.asked} ({a.words!r})")


def _vocabulary(classes: GaitClasses) -> frozenset[str]:
    """Words that speak of a walk: those of the classes, of bodies and of how they move."""
    return (
        frozenset(re.findall(r"[a-z]{3,}", f"{json.dumps(classes.to_dict())} {_TABLES['BODY']} {APPEARANCE}".lower()))
        - _SMALL
        - _ENGLISH
    )


__all__ = ["Condition", "GaitQuery", "read_query"]
