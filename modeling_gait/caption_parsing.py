"""Reading captions and prompts: which gait class, side, severity and numbers does a text state?

In: free English text. Out: `Facts` (numbers in m/s, steps/min, m and degrees, with the rounding error of how they were
written). Nothing is judged here: `captions.parse_prompt` turns facts into a description or an error,
`captions.check_faithfulness` compares them with one.
"""

import re
import unicodedata
from dataclasses import dataclass, field

from .caption_context import (
    BOUND,
    BRAIN_SIDE,
    COMPARED,
    DENIED_BEHIND,
    DROPPED,
    MOVERS,
    NOT_ANY_MORE,
    NOT_NOW,
    OPEN_END,
    SOUND,
    STANDING,
    is_affected,
    is_severity,
    of_another,
    of_the_walk,
    with_neighbours,
)
from .caption_words import APPEARANCE, BENIGN_WORDS, CADENCE_BANDS, PLAIN_WORDS, SEVERITY_SYNONYMS, SPEED_BANDS
from .gait_classes import GaitClasses, load_classes, phrases_pattern


@dataclass(frozen=True)
class Number:
    """A number of the text: the quantity it gives, its value, how far rounding may have moved it, and its words."""

    quantity: str
    value: float
    tolerance: float
    text: str


@dataclass
class Facts:
    """Everything that a text states; lists, because a text may contradict itself."""

    pathologies: list[str] = field(default_factory=list)
    weak_pathologies: list[str] = field(default_factory=list)
    negated_pathologies: list[str] = field(default_factory=list)
    past_pathologies: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    unknown_names: list[str] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)
    dropped_sides: list[str] = field(default_factory=list)
    sound_sides: list[str] = field(default_factory=list)
    severities: list[str] = field(default_factory=list)
    speed_words: list[str] = field(default_factory=list)
    cadence_words: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    unread_numbers: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    unread_words: list[str] = field(default_factory=list)
    mentions_walking: bool = False


_NUM = r"(?<![\w.,])(?P<n>(?:(?<![\w)])[-+])?(?:\d+(?:[.,]\d+)?|\.\d+))"
_PER = r"(?: ?/ ?|[ -](?:per|an?|each|every|in (?:an?|each|every))[ -])"
_SECOND, _MINUTE, _HOUR = r"s(?:ec(?:ond)?s?)?\b", r"min(?:ute)?s?\b", r"h(?:(?:ou)?rs?)?\b"
SPEED_UNITS = {
    rf"(?:m|met(?:er|re)s?){_PER}{_SECOND}|m ?s ?\^? ?-1\b|m·s\^?-1\b|mps\b": 1.0,
    rf"(?:cm|centimet(?:er|re)s?){_PER}{_SECOND}": 0.01,
    rf"(?:km|kilomet(?:er|re)s?){_PER}{_HOUR}|kph\b|kmh\b": 1 / 3.6,
    rf"mph\b|mi(?:les?)?{_PER}{_HOUR}": 0.44704,
    rf"(?:ft|feet|foot){_PER}{_SECOND}": 0.3048,
    rf"m(?:et(?:er|re)s?)?{_PER}{_MINUTE}": 1 / 60,
}
_EACH_LEG = r"[ ,(]*\b(?:per|(?:(?:with|by|of|for|on) )?(?:each|either|every)) (?:leg|foot|side|limb)\b\)?"
_STRIDES = r"(?:strides?|(?:gait )?cycles?|double[ -]steps?)"
CADENCE_UNITS = {  # a stride, or the step of one leg, is two steps
    rf"{_STRIDES}{_PER}{_MINUTE}|steps?{_EACH_LEG}{_PER}{_MINUTE}|(?:steps?{_PER}{_MINUTE}|spm\b){_EACH_LEG}": 2.0,
    rf"{_STRIDES}{_PER}{_SECOND}|steps?{_EACH_LEG}{_PER}{_SECOND}|steps?{_PER}{_SECOND}{_EACH_LEG}": 120.0,
    rf"steps?{_PER}{_MINUTE}|spm\b": 1.0,
    rf"steps?{_PER}{_SECOND}": 60.0,
}
_OF_CADENCE = (  # what may follow the number of "cadence 55"; nothing that would make it another unit may be left behind it
    rf"(?![.,]?\d)(?: ?\(?(?:(?P<strides>{_STRIDES}\b)|steps?\b|beats\b|bpm\b)?"
    rf"(?:(?P<second> ?(?:hz|hertz)\b|{_PER}{_SECOND})|{_PER}{_MINUTE})?(?P<each>{_EACH_LEG})?\)?)"
    rf"(?!\w| ?\(?(?:{_STRIDES}|steps?|beats|hz|hertz|per|each|every|a (?:second|minute|hour)|"
    r"/|%|percent|°|deg|[ckm]?m\b|rp[ms]|rev))"
)
_HERTZ = (80, 200)  # [steps/min] of a cadence in 1/s; below, it could be that of strides
LENGTH_UNITS = {
    r"m\b|met(?:er|re)s?\b": 1.0,
    r"cm\b|centimet(?:er|re)s?\b": 0.01,
    r"(?:ft\b|feet\b|foot\b)": 0.3048,
    r"inch(?:es)?\b|in\b(?=$|[.,;)]| (?:and|or|at|on|with|per|long|wide|tall)\b)": 0.0254,
}
_DEGREES = r"(?:°|deg\b|degrees?\b)"
_GLUE = (
    r"(?: (?:length|is|are|was|were|of|at|about|around|roughly|approximately|some|equal to|to|set|measures?|measuring|near))*"
)
_NO_NUMBER = (  # where a number is asked for
    r"\b(?:severity|speed|velocity|pace|cadence|stride|step|age[d:]?|range|rom|lean|obliquity)"
    rf"{_GLUE}[ :=(]*[-+]?(?:nan|inf(?:init[ey])?|∞)(?!\w)"
)
_MAX_TOLERANCE = {"speed": 0.05, "cadence": 2.5, "stride_length": 0.05, "severity": 0.05}
_JOINTS = {
    "knee": ("knee_range_left", "knee_range_right"),
    "hip": ("hip_range_left", "hip_range_right"),
    "pelvi": ("pelvic_obliquity_range", "pelvic_obliquity_range"),
    "trunk": ("trunk_lean", "trunk_lean"),
    "torso": ("trunk_lean", "trunk_lean"),
}
_RANGE_WORDS = r"\b(?:range|rom|excursion|through|motion|moves?|lean|leans|leaning|leaned|obliquity)\b"

_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
_SMALL = {w: i for i, w in enumerate(_ONES.split(), 1)} | {"zero": 0, "nineteen": 19}
_TENS = {w: 10 * i for i, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)}
_UNIT_AHEAD = (
    r"(?= ?(?:degrees?|deg|met(?:er|re)s?|centimet|kilomet|miles?|[ck]?m\b|mph\b|feet|inch|percent|point|"
    rf"(?:steps?|strides?){_PER}))"
)


def normalise(text: str) -> str:
    """Lower case, one kind of dash, apostrophe and space, a line as a sentence, spelled-out numbers as digits."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"[‐-―−]", "-", text).replace("’", "'").replace("˚", "°").replace("_", " ")
    text = re.sub(r"\s+", " ", re.sub(r"[.;,]?\s*\n\s*", ". ", text.strip()))
    return _spelled_numbers(re.sub(r"(?<=[a-z)]),(?=\d)", ", ", text))


def _spelled_numbers(text: str) -> str:
    small, tens = "|".join(_SMALL), "|".join(_TENS)
    below_100 = rf"(?:(?:{tens})(?:[ -](?:{small}))?|(?:{small}))"
    hundreds = rf"(?:(?:{small}|a) hundred(?:(?: and)? {below_100})?)"
    decimals = rf"(?: point(?: (?:{small}))+\b| and a half\b{_UNIT_AHEAD})"
    named = r"(?:severity|cadence|updrs(?:[- ](?:gait|item|score|part|iii|3\.10))*)(?: level| grade| score)?"

    def value(match: re.Match) -> str:
        whole, _, fraction = match[0].replace(" and a half", " point five").partition(" point ")
        many, hundred, rest = whole.rpartition("hundred")
        total = sum(_SMALL.get(w, 0) + _TENS.get(w, 0) for w in re.split(r"[ -]", rest))
        total += 100 * _SMALL.get(many.strip(), 1) * bool(hundred)
        return f"{total}." + "".join(str(_SMALL[w]) for w in fraction.split()) if fraction else str(total)

    text = re.sub(rf"\b(?:{hundreds}|{below_100}){decimals}", value, text)
    ahead = rf"(?:{_UNIT_AHEAD}|(?= (?:to|or) {below_100}{_UNIT_AHEAD}))"  # "one to two m/s"
    text = re.sub(rf"\b(?:{hundreds}|(?:{tens})(?:[ -](?:{small}))?|(?:{small}){ahead})\b", value, text)
    behind = rf"(\b{named}{_GLUE}[ :=(]*|\bout of )({small})\b(?!-| (?:of|or|to|sided|step|leg|side|half|thirds?|quarters?)\b)"
    return re.sub(behind, lambda m: f"{m[1]}{_SMALL[m[2]]}", text)


def _phrases(phrases: str) -> str:
    return phrases_pattern(tuple(phrases.split("|")))


def take(text: str, pattern: str) -> tuple[str, list[re.Match]]:
    """The text with whole-word matches of `pattern` blanked out, and the matches."""
    found = list(re.finditer(rf"(?<![\w'-])(?:{pattern})(?![\w'])", text))
    for m in found:
        text = text[: m.start()] + "~" * len(m[0]) + text[m.end() :]
    return text, found


_NEGATORS = (
    "no|not|without|never|lacks?|lacking|free of|absence of|non|nor|neither|rather than|instead of|unlike|"
    "anything except|except|excluding|other than|anything but|everything but|all but|free from|no longer|"
    "hardly|scarcely|far from|stopped|used to|recovered from|cured of|history of|formerly"
)
_ADJACENT = (
    r"(?:(?:the|on|in|at|a|an|of|very|too|so|that|especially|particularly) )*"  # "not on the left", but not "not bend the left"
)


class Reader:
    """The text with what has been read blanked out, so that no word is read twice."""

    def __init__(self, text: str, classes: GaitClasses) -> None:
        self.classes = classes
        self.whole = self.rest = normalise(text)
        self.facts = Facts()
        self.names = "|".join([classes.everything, *(pattern for _, pattern in classes.hints)]) if classes else ""

    def take(self, start: int, end: int) -> None:
        self.rest = self.rest[:start] + "~" * (end - start) + self.rest[end:]

    def find(self, pattern: str) -> list[re.Match]:
        """All matches in what is left, blanked out."""
        found = list(re.finditer(pattern, self.rest))
        for m in found:
            self.take(*m.span())
        return found

    def negated(self, start: int, between: str = r"(?:[\w']+[ -]+){0,3}") -> bool:
        """Does a "no", "not", "without" ... stand before the word at `start`, with nothing but `between` in between?"""
        cut = r"[,.;:!?](?!\d)|\b(?:(?<!anything )(?<!everything )(?<!all )but|while|only|(?<!not )(?:with|at))\b"
        clause = re.split(cut, self.whole[max(0, start - 80) : start])[-1]
        return bool(re.search(rf"(?:\b(?:{_NEGATORS})\b|n't\b)[ -]*{between}$", clause))

    def denied(self, m: re.Match) -> bool:
        """`negated`, or denied by what follows: "pain-free", "limping no more"."""
        return self.negated(m.start()) or bool(DENIED_BEHIND.match(self.whole, m.end()))

    def not_now(self, m: re.Match) -> bool:
        """Is it what was, what is to be ruled out, or what a brother has? Told, as it is not read."""
        clause = re.split(r"[,.;:!?](?!\d)|\bbut\b", self.whole[max(0, m.start() - 80) : m.start()])[-1]
        found = bool(NOT_NOW.search(clause) or NOT_ANY_MORE.match(self.whole, m.end()))
        self.facts.unread_words += [m[0]] * found
        return found

    def tell(self, start: int, end: int) -> None:
        """Blank out, and keep among the words that are not read."""
        self.facts.unread_words.append(self.whole[start:end].strip())
        self.take(start, end)

    def number(self, quantity: str, match: re.Match, factor: float = 1.0) -> None:
        """Record the match's number; half the last written digit is its rounding error, at most _MAX_TOLERANCE.

        A speed, cadence or length that is not the walk's own is no number that is read.
        """
        of_walk = quantity in ("speed", "cadence", "stride_length")
        if of_walk and (words := of_another(self.whole, *match.span(), self.names)):
            self.facts.unread_numbers.append(words)
            return
        written = match["n"].replace(",", ".")
        decimals = len(written.partition(".")[2])
        tolerance = min(0.5 * 10.0**-decimals * abs(factor), _MAX_TOLERANCE.get(quantity, 1.0))
        self.facts.numbers.append(Number(quantity, float(written) * factor, tolerance, match[0].strip()))


def read_facts(text: str, classes: GaitClasses | None = None) -> Facts:
    """Everything `text` states about a gait (see `Facts`), whose kinds are `classes`; never raises on a string."""
    r = Reader(text, classes or load_classes())
    r.facts.mentions_walking = bool(re.search(r"\b(?:walk(?:s|ing|ed|er)?|gait|stroll\w*|stride[sd]?|steps?|pace)\b", r.whole))
    seen: list[re.Match] = []
    for key in ("sex", "load", "footwear", "clothing"):
        rest = r.whole
        for value, pattern in APPEARANCE[key].items():
            rest, found = take(rest, pattern)
            r.facts.attributes += [(key, value)] if found else []
            seen += found
    _read_ranges(r)
    _read_bounds(r)
    _read_speed_cadence_length(r)
    read_scores(r)
    read_angles(r)
    _read_sound_sides(r)
    _read_speed_words(r)
    _read_severity_words(r)
    _read_pathologies(r)
    _read_sides(r)
    left = re.sub(r"\b[23]d\b", "", r.rest)
    unit = r"m ?/ ?s\b|km ?/ ?h\b|mph\b|steps ?/ ?min\b|spm\b"  # a unit without a number that was understood, as in "nan m/s"
    rest = r.rest
    for m in seen:
        rest = rest[: m.start()] + "~" * len(m[0]) + rest[m.end() :]
    lean = {"lean", "leans", "leaning"} if any(n.quantity == "trunk_lean" for n in r.facts.numbers) else set()
    words = re.findall(r"(?<![\w~'-])(?:[a-z][a-z'-]+|[lr])(?![\w~'])", rest)
    r.facts.unread_words += [w for w in words if w not in PLAIN_WORDS | lean]
    r.facts.unread_numbers += [m[0].strip("~.,;:()") for m in re.finditer(rf"[^\s~]*\d[^\s~]*|\S* ?(?:{unit})", left)]
    r.facts.unread_numbers += [m[0] for m in re.finditer(_NO_NUMBER, r.whole)]
    return r.facts


def read_numbers(text: str) -> tuple[str, list[Number]]:
    """The text in lower case with # for each number of a walk that it gives, and those numbers; ranges and ages give none."""
    r = Reader(text, None)
    _read_ranges(r)
    read_scores(r)
    _read_speed_cadence_length(r)
    read_angles(r)
    return re.sub(r"~+", "#", r.rest), r.facts.numbers


def _read_ranges(r: Reader) -> None:
    units = r"(?:m ?/|km|mph|cm|m\b|met|steps|strides|spm|°|deg)"
    r.facts.ranges = [m[0] for m in r.find(rf"(?<![\w.])\d+(?:[.,]\d+)? ?(?:-|to|or) ?\d+(?:[.,]\d+)? ?{units}[^ ,]*")]


def _read_bounds(r: Reader) -> None:
    """Limits, shares and what is denied of a number: "at least 1.2 m/s", "1.2 m/s or more", "half of 1.2 m/s"."""
    units = "|".join([*SPEED_UNITS, *CADENCE_UNITS, *LENGTH_UNITS, _DEGREES, r"%|percent\b|years?\b"])
    bounds = (
        rf"(?:(?<![\w'])|(?=n't)){BOUND}{_NUM}[ -]?(?:{units})",
        rf"{_NUM}[ -]?(?:{units}){OPEN_END}",
        rf"\b(?:cadence|age[d:]?|severity)(?: is| of)? {BOUND}{_NUM}",
        rf"\b(?:cadence|age[d:]?|severity){_GLUE}[ :=]*{_NUM}{OPEN_END}",
    )
    r.facts.ranges += [m[0].strip() for pattern in bounds for m in r.find(pattern)]


def read_scores(r: Reader) -> None:
    for m in r.find(rf"{_NUM}[ -]?years?[ -]olds?\b|\bage[d:]? ?(?P<age>\d+)\b"):
        age = m["n"] or m["age"]
        r.facts.numbers.append(Number("age", float(age.replace(",", ".")), 0.5, m[0]))
    for pattern, factor in (
        (rf"\bseverity{_GLUE}[ :=]*{_NUM} ?(?:%|percent\b)", 0.01),
        (rf"{_NUM} ?(?:%|percent) sever(?:ity|e)\b", 0.01),
        (rf"\bseverity{_GLUE}[ :=]*{_NUM} ?(?:/|out of|of) ?10\b", 0.1),
        (rf"\bseverity{_GLUE}(?: (?:mild|moderate|severe))?[ :=(]*{_NUM}", 1.0),
        (rf"{_NUM} severity\b", 1.0),
    ):
        for m in r.find(pattern):
            r.number("severity", m, factor)
    for m in r.find(rf"\b(?:mds[- ])?updrs(?:[- ](?:gait|item|score|part|iii|3\.10))*{_GLUE}[ :=]*{_NUM}"):
        r.facts.numbers.append(Number("severity", float(m["n"].replace(",", ".")) / 3, 1 / 6, m[0]))  # as the simulator


def _read_speed_cadence_length(r: Reader) -> None:
    for quantity, units in (("speed", SPEED_UNITS), ("cadence", CADENCE_UNITS)):
        for unit, factor in units.items():
            for m in r.find(rf"(?<!wind )(?<!wind of ){_NUM}[ -]?(?:{unit})(?! (?:head|tail)?wind\b)"):
                r.number(quantity, m, factor)
    for m in r.find(rf"\b(?:(?P<stride>stride|cycle) |step )?cadence{_GLUE}[ :=]*{_NUM}{_OF_CADENCE}"):
        per_second = _HERTZ[0] <= 60 * float(m["n"].replace(",", ".")) <= _HERTZ[1]
        if m["second"] and not (per_second or m["strides"] or m["stride"] or m["each"]):
            r.facts.unread_numbers.append(m[0])
        else:
            r.number("cadence", m, (60 if m["second"] else 1) * (2 if m["strides"] or m["stride"] or m["each"] else 1))
    for unit, factor in LENGTH_UNITS.items():
        named = rf"\b(?P<what>stride|step)s?(?:[ -]length)?{_GLUE}(?: only| just| each)?[ :=]*"
        for m in r.find(rf"{named}{_NUM} ?(?:{unit})(?! (?:wide|apart|high))"):
            r.number("stride_length", m, factor * (2 if m["what"] == "step" else 1))
        for m in r.find(rf"{_NUM}[ -]?(?:{unit})[ -]?(?:long )?(?P<what>stride|step)s?\b(?! (?:/|per|a) )"):
            r.number("stride_length", m, factor * (2 if m["what"] == "step" else 1))


def read_angles(r: Reader) -> None:
    """Joint ranges: the joint named last before the number; the side right after it, or next to the joint before it."""
    previous = 0
    for m in list(re.finditer(rf"{_NUM} ?{_DEGREES}", r.rest)):
        start = max(x.end() for x in re.finditer(r"[.;!?] |^", r.rest[: m.start()]))
        end = m.end() + len(re.split(r"[.;!?](?: |$)", r.rest[m.end() :])[0])
        names = "|".join(_JOINTS)
        joints = re.findall(names, r.rest[start : m.start()])[-1:] or re.findall(names, r.rest[m.end() : end])[:1]
        if not joints or not re.search(_RANGE_WORDS, r.whole[start:end]):
            continue  # stays among the unread numbers
        left, right = _JOINTS[joints[0]]
        after = re.compile(
            r" ?(?:of [\w ]{0,20})?(?:on|in|at|for) the (left|right)(?: (?:side|leg|knee|hip))?\b| ?\((left|right)\)"
        )
        before = re.compile(r"\b(left|right) (?:knee|hip)\b")
        sides = [after.match(r.rest, m.end())]
        sides += list(before.finditer(r.rest, max(start, previous), m.start()))[-1:] if sides[0] is None else []
        if left == right:
            backward = left == "trunk_lean" and re.search(r"\b(?:back|backwards?|rearward)\b", r.whole[start:end])
            r.number(left, m, -1.0 if backward else 1.0)
        elif sides and sides[-1]:
            r.number(left if "left" in sides[-1].groups() else right, m)
            r.take(*sides[-1].span())
        else:
            r.number(joints[0] + "_range", m)
        r.take(*m.span())
        previous = m.end()


_PACE = r"(?:pace|speed|tempo|velocity)"
_RHYTHM = r"(?:cadence|rhythm|step rate|step frequency)"
_PACED = rf"{_PACE}|{_RHYTHM}|step|crawl"
_SLOW = r"slow(?:ly|ed|er)?|low|reduced|leisurely|unhurried"
_EASY = r"comfortabl[ey]|normal|easy|usual|natural|self[- ]selected|average|medium|moderate|typical|ordinary|preferred"
_FAST = r"fast(?:er)?|quick(?:ly)?|brisk(?:ly)?|high|rapid(?:ly)?|hurried|swift"
_VERY = r"(?:very|extremely|really)"


def _behind(noun: str, words: str) -> str:
    """ "The cadence is slow", "cadence: slow"; but not "cadence slow walk"."""
    said = rf"\b{noun}(?: (?:is|was|being|remains?|stays?|looks?|seems?))*[ :=(]+(?:(?:rather|quite|fairly|{_VERY}) )*"
    return rf"{said}(?:{words})\b(?![ -](?:walk|gait|step|stride|{_PACE}|{_RHYTHM}|by|to|from|th[ae]n)| ?[~\d])"


CADENCE_WORDS = {  # read before speed words
    "low": rf"\b(?:{_SLOW}) {_RHYTHM}\b|{_behind(_RHYTHM, _SLOW)}",
    "usual": rf"\b(?:{_EASY}) {_RHYTHM}\b|{_behind(_RHYTHM, _EASY)}",
    "high": rf"\b(?:{_FAST}) {_RHYTHM}\b|{_behind(_RHYTHM, _FAST)}|\b(?:quick|fast|rapid|hurried) steps\b",
}
SPEED_WORDS = {
    "very slow": rf"\b{_VERY} (?:(?:{_SLOW}) {_PACE}\b|slow(?:ly)?\b)(?:[- ]paced\b)?|\bat a crawl\b|"
    rf"{_behind(_PACE, f'{_VERY} (?:{_SLOW})')}",
    "slow": rf"\b(?:{_SLOW})[ -](?:walking )?{_PACE}d?\b|{_behind(_PACE, _SLOW)}|\bslow(?:ly|ed)?\b|\bunhurried\b|"
    r"\bleisurely\b",
    "comfortable": rf"\b(?:{_EASY})(?:ly)?[ -](?:walking )?{_PACE}d?\b|{_behind(_PACE, _EASY)}|\bnormally[ -]paced\b",
    "fast": rf"\b(?:very |extremely )?(?:(?:{_FAST})[ -](?:walking )?{_PACE}d?\b|fast\b|quick(?:ly)?\b|brisk(?:ly)?\b|"
    rf"rapid(?:ly)?\b|hurr\w+\b)|{_behind(_PACE, _FAST)}",
}
_NO_PACE = (  # a rate may be that of steps or of metres; what is slow may be a hand
    rf"\b(?:{_SLOW}|{_EASY}|{_FAST}) (?:walking )?rates?\b|{_behind('rate', f'{_SLOW}|{_EASY}|{_FAST}')}|"
    rf"\b(?:{MOVERS}) (?:{_PACE}|rhythm)(?: (?:is|was))?[ :=(]+(?:{_VERY} )?(?:{_SLOW}|{_EASY}|{_FAST})\b|"
    rf"\b(?:{_SLOW}|{_EASY}|{_FAST}) (?:{MOVERS}) (?:{_PACE}|rhythm|rate)\b"
)


def _read_speed_words(r: Reader) -> None:
    assert set(SPEED_WORDS) == set(SPEED_BANDS) and set(CADENCE_WORDS) == set(CADENCE_BANDS)
    for m in [*re.finditer(COMPARED, r.rest), *re.finditer(_NO_PACE, r.rest)]:
        if "~" not in r.rest[m.start() : m.end()]:
            r.tell(*m.span())
    for words, out in ((CADENCE_WORDS, r.facts.cadence_words), (SPEED_WORDS, r.facts.speed_words)):
        for band, pattern in words.items():
            for m in list(re.finditer(pattern, r.rest)):
                if r.negated(m.start(), _ADJACENT):
                    r.tell(*m.span())
                elif re.search(_PACED, m[0]) or of_the_walk(r.whole, *m.span(), r.names):
                    out.append(band)
                    r.take(*m.span())
    for m in list(re.finditer(rf"\b(?:{_EASY}) (?:strides?|steps?|(?:step|stride) length|range|knee range)\b", r.rest)):
        r.tell(*m.span())  # 'normal' here is no class


def _read_severity_words(r: Reader) -> None:
    for level, phrases in SEVERITY_SYNONYMS.items():
        for m in list(re.finditer(_phrases(phrases), r.rest)):
            if is_severity(r.whole, *m.span(), r.names) and not r.negated(m.start(), _ADJACENT):
                r.facts.severities.append(level)
                r.take(*m.span())


# "normal steppage", "healthy, severe left lurch": two kinds at once
_CALLED_NORMAL = (
    r"(?<!otherwise )(?<!previously )\b(?:normal|healthy)(?:[ ,-]+(?:and|but|yet|left|right|both|bilateral|sided|slow|fast|"
    r"mild|moderate|severe|slightly|mildly|moderately|severely))*[ ,-]+$"
)


def _read_pathologies(r: Reader) -> None:
    for m in re.finditer(r"\b((?!\d)[\w'-]+) (?:gaits?|walk)\b", r.rest):
        word = m[1].strip("-'")
        known = re.search(r.classes.everything, m[0]) or any(re.search(pattern, m[0]) for _, pattern in r.classes.hints)
        if word.rpartition("-")[2] not in BENIGN_WORDS and "~" not in word and not known:
            r.facts.unknown_names.append(m[0])
    for m in r.find(r.classes.everything):
        name = next(name for name, pattern in r.classes.readable if re.fullmatch(pattern, m[0]))
        if r.denied(m):
            r.facts.negated_pathologies.append(name or m[0])
            continue
        if r.not_now(m):
            r.facts.past_pathologies.append(name or m[0])
            continue
        (r.facts.pathologies if name else r.facts.unsupported).append(name or m[0])
        if name != "normal" and re.search(_CALLED_NORMAL, r.whole[: m.start()]):
            r.facts.pathologies.append("normal")
    for m in r.find(r"\b(?:otherwise|previously) (?:healthy|normal)\b|\bhealthy (?:person|adult|man|woman|subject|volunteer|"
                    r"participant|child|left|right|leg|side|limb|foot)\b"):  # fmt: skip
        if re.search("person|adult|man|subject|volunteer|participant|child", m[0]):
            r.facts.weak_pathologies.append("person")
    for name, pattern in r.classes.hints:
        for m in r.find(pattern):
            f = r.facts
            (f.negated_pathologies if r.denied(m) else f.past_pathologies if r.not_now(m) else f.weak_pathologies).append(name)
    if re.search(r"\b(?:abnormal(?:ly|ity)?|pathological)\b", r.rest) and not r.facts.pathologies:
        r.facts.unsupported.append("abnormal gait")


def _read_sound_sides(r: Reader) -> None:
    """Legs that are well: "the left leg is normal", "the sound side is the left"."""
    taken = [m.span() for m in re.finditer(r.classes.everything, r.rest) if not re.match("normal|healthy|unimpaired|no ", m[0])]
    for m in list(re.finditer(SOUND, r.rest)):
        side = next(filter(None, m.groups()))
        if not any(a < m.end() and m.start() < b for a, b in taken):
            r.facts.sound_sides.append(side)
            r.take(*m.span())


def _read_sides(r: Reader) -> None:
    both = (
        r"\bboth (?:sides|legs|limbs|feet|knees|hips|lower limbs)\b|\bbilateral(?:ly)?\b|\btwo[- ]sided\b|"
        r"\bleft and (?:the )?right\b|\bright and (?:the )?left\b"
    )
    aside = r"\bright (?:now|away|angles?|after|before|here)\b|\ball right\b|\bleft (?:over|behind|out)\b"
    signs = phrases_pattern(tuple(p.lower() for c in (*r.classes.classes, *r.classes.others) for p in (*c.names, *c.signs)))
    unnamed = re.sub(signs, lambda m: "~" * len(m[0]), r.whole)  # a "left stroke gait" is that of the left leg
    for m in [*BRAIN_SIDE.finditer(unnamed), *re.finditer(aside, r.rest)]:
        r.tell(*m.span())
    dropped, standing = ({m.start(m.lastgroup) for m in p.finditer(r.whole)} for p in (DROPPED, STANDING))
    for m in [*re.finditer(both, r.rest), *re.finditer(r"\b(?:left|right)\b", r.rest)]:
        if "~" in r.rest[m.start() : m.end()]:
            continue
        side = m[0] if m[0] in ("left", "right") else "both"
        if side == "both" and not re.search("left|right", m[0]):
            r.facts.sides.append(side)
        elif not (is_affected(r.whole, r.rest, *m.span()) or (dropped and m.start() in standing)):
            r.tell(*with_neighbours(r.rest, *m.span()))
        elif r.negated(m.start(), _ADJACENT):
            r.facts.sound_sides.append(side)
        else:
            r.facts.sides.append(side)
            r.facts.dropped_sides += [side] * (m.start() in dropped)
        r.take(*m.span())
