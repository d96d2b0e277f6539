"""Classes of gait are data: what each is called, what it looks like, which numbers it moves, what medicine says of it.

In: nothing (the classes of the package), the name of a set in gait_classes.json ("gait", "updrs", "dementia"), or a JSON or
YAML file of one's own, in which only the names are needed:

    sources: {smith2020: "Smith A. A Book. 2020."}
    classes:
      - name: prosthetic                        # rows and labels say this
        title: prosthetic gait                  # default: the name and "gait"
        synonyms: [artificial leg, prosthesis]  # read as the class in a prompt
        signs: [an artificial leg]              # what a layperson sees: a person walks with ...
        side: one                               # one (leg is affected), both, none
        graded: false                           # has it a severity?
        moves: {speed: down, step_time: up}     # gait parameters, of both legs where a left and a right one exist
        affected: {stance_asymmetry: down}      # the affected leg against the other
        sentences: [{text: "The weight is taken off the artificial leg early.", source: smith2020}]

Out: `GaitClasses`. A data set carries its own as gait_classes.json beside its card, a model in its feature extractor
(preprocessor_config.json), so that prompts, captions and reports know the classes that it was trained on.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cache, cached_property, lru_cache
from importlib import resources
from pathlib import Path

import yaml

from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS

CLASSES_FILE = "gait_classes.json"
_PARAMETERS = {p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)}


def plain_words(written: str) -> str:
    """A written class as `GaitClasses.find` compares it: lower case, one space for spaces, underscores and hyphens."""
    return re.sub(r"[\s_-]+", " ", written.strip().lower())


@dataclass(frozen=True)
class Sentence:
    """One sentence about a class, and the key of its source."""

    text: str
    source: str


@dataclass(frozen=True)
class GaitClass:
    """A class of gait.

    Attributes:
        name: what labels say; title: how prompts call it; names: noun phrases that may follow "a"; signs: what a layperson
            sees, follows "walks with".
        synonyms: read as the class wherever they stand; hints: only where nothing clearer is said.
        also: classes whose hints are true of this one, too (any walk but a normal one may "limp").
        side: "one" (leg is affected), "both" or "none"; graded: has it a severity?
        moves: gait parameter -> "up" or "down", against normal walks; affected: the same of the affected leg against the other.
        shown: gait parameters of a walk affected on the right -> weights; their sum is the clinical sign, by which severity is
            graded; none: it is graded by how much of the class's mean pathology a walk has.
        sentences: may stand in captions, so they name no number and no side; keywords and descriptions are for classifiers.
    """

    name: str
    title: str = ""
    names: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    also: tuple[str, ...] = ("antalgic",)
    side: str = "one"
    graded: bool = True
    moves: dict[str, str] = field(default_factory=dict)
    affected: dict[str, str] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    sentences: tuple[Sentence, ...] = ()
    keywords: tuple[str, ...] = ()
    descriptions: tuple[Sentence, ...] = ()

    def __post_init__(self) -> None:
        words = self.name.replace("_", " ")
        title = self.title or f"{words} gait"
        filled = {"title": title, "names": self.names or (title, f"{words} walk"), "signs": self.signs or (f"a {title}",)}
        for key, value in filled.items():
            object.__setattr__(self, key, value)

    def sign(self, parameters: Mapping[str, float]) -> float:
        """The clinical sign of a walk affected on the right (see `shown`); nan where a parameter was not measured."""
        return sum(weight * parameters[name] for name, weight in self.shown.items())

    @property
    def phrases(self) -> tuple[str, ...]:
        """All that is read as the class, lower case: its name, names, signs and synonyms."""
        words = self.name.replace("_", " ").lower()
        own = [w.lower() for w in (self.title, *self.names, *self.signs, *self.synonyms)]
        return tuple(dict.fromkeys(own if words in self.hints else [words, *own]))


@dataclass(frozen=True)
class GaitClasses:
    """Classes in the order of their labels, the citation behind each source's key, and words of gaits that are none of them.

    `others` are classes that are known but not among these: a prompt that names one is refused by its name.
    """

    classes: tuple[GaitClass, ...]
    sources: dict[str, str] = field(default_factory=dict)
    unsupported: tuple[str, ...] = ()
    others: tuple[GaitClass, ...] = ()
    name: str = "gait"

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def __contains__(self, label: str) -> bool:
        return label in self.labels

    def __getitem__(self, label: str) -> GaitClass:
        """A class by its name. Raises KeyError for one that is not known."""
        for c in self.classes:
            if c.name == label:
                return c
        raise KeyError(f"{self.name!r} has no class {label!r}; it has {', '.join(self.labels)}")

    def check(self, label: str | None) -> GaitClass | None:
        """The class, None of None. Raises ValueError for one that is not known."""
        if label is not None and label not in self:
            raise ValueError(f"pathology {label!r} is not one of {', '.join(self.labels)}")
        return None if label is None else self[label]

    def find(self, words: str) -> GaitClass | None:
        """The class that a name or a synonym says, None if none does."""
        words = plain_words(words)
        return next((c for c in self.classes if words in map(plain_words, c.phrases)), None)

    def select(self, labels: Iterable[str]) -> "GaitClasses":
        """These classes in this order, the words of the rest as `others`; an unknown label becomes a class of that name."""
        everything = {c.name: c for c in (*self.others, *self.classes)}
        chosen = tuple(everything.pop(label, None) or GaitClass(label) for label in labels)
        words = {"sentences": (), "keywords": (), "descriptions": (), "moves": {}, "affected": {}, "shown": {}}
        return replace(self, classes=chosen, others=tuple(replace(c, **words) for c in everything.values()))

    def merged(self, new: "GaitClasses") -> "GaitClasses":
        """These and new ones, which replace those of the same name."""
        names = set(new.labels)
        kept = tuple(c for c in self.classes if c.name not in names)
        others = tuple(c for c in self.others if c.name not in names)
        return replace(self, classes=kept + new.classes, others=others, sources={**self.sources, **new.sources})

    def config_fields(self, labels: Iterable[str] | None = None) -> dict[str, dict[str, list[str]]]:
        """What a `GaitKnowledgeConfig` carries of these classes (default: all): descriptions, their citations, keywords.

        Raises ValueError for a class that has none, KeyError for a label that is not known.
        """
        own = [self[label] for label in (self.labels if labels is None else labels)]
        for c in own:
            if not (c.descriptions and c.keywords):
                raise ValueError(f"class {c.name!r} has no descriptions and keywords, which a classifier with knowledge needs")
        return {
            "class_descriptions": {c.name: [s.text for s in c.descriptions] for c in own},
            "class_sources": {c.name: [self.sources[s.source] for s in c.descriptions] for c in own},
            "class_keywords": {c.name: list(c.keywords) for c in own},
        }

    def to_dict(self) -> dict:
        """JSON-serialisable, in the format of the file; defaults are left out."""
        out = {"sources": self.sources, "unsupported": self.unsupported, "classes": [_entry(c) for c in self.classes]}
        out |= {"others": [_entry(c) for c in self.others]}
        return json.loads(json.dumps({k: v for k, v in out.items() if v}))

    def save(self, folder: Path) -> None:
        """Write gait_classes.json in the folder of a data set that is being made."""
        (folder / CLASSES_FILE).write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")

    # What the reader of prompts looks for, made once.

    @cached_property
    def readable(self) -> list[tuple[str, str]]:
        """(name, pattern) of each class, then ("", pattern) of what is none of them; a phrase belongs to the first."""
        seen: set[str] = set()
        out = []
        rest = [p for c in self.others for p in c.phrases] + list(self.unsupported)
        for name, phrases in (*((c.name, c.phrases) for c in self.classes), ("", rest)):
            out.append((name, phrases_pattern(tuple(p for p in phrases if p not in seen))))
            seen |= set(phrases)
        return out

    @cached_property
    def everything(self) -> str:
        """One pattern of all phrases, the longest first."""
        known = [p for c in (*self.classes, *self.others) for p in c.phrases]
        return phrases_pattern((*known, *self.unsupported))

    @cached_property
    def hints(self) -> list[tuple[str, str]]:
        """(name, pattern) of what hints at a class, of the classes that are known but not here, too."""
        taken = {p for c in self.classes for p in c.phrases}
        every = (*self.classes, *self.others)
        left = ((c.name, tuple(p for p in c.hints if p not in taken)) for c in every)
        return [(name, phrases_pattern(phrases)) for name, phrases in left if phrases]


@lru_cache(maxsize=256)
def phrases_pattern(phrases: tuple[str, ...]) -> str:
    """Phrases as a regular expression of whole words, the longest first; a space also matches a hyphen. Nothing: no match."""
    if not phrases:
        return r"(?!)"
    ordered = sorted(set(phrases), key=lambda p: (-len(p), p))
    words = "|".join(re.sub(r"(?:\\ |\\-)+", "[ -]+", re.escape(p)) for p in ordered)
    return rf"(?<![\w'])(?:{words})(?![\w'])"


def _entry(c: GaitClass) -> dict:
    bare = asdict(GaitClass(c.name))
    return {k: v for k, v in asdict(c).items() if k == "name" or v != bare[k]}


# --- reading -----------------------------------------------------------------------------------------------------------------


@cache
def _packaged() -> dict:
    try:
        return json.loads((resources.files("modeling_gait") / CLASSES_FILE).read_text(encoding="utf-8"))
    except ModuleNotFoundError as error:  # a model's own code, without the package
        raise ValueError("this model says nothing of its classes; save it again, or install modeling_gait") from error


@cache
def _packaged_set(name: str) -> GaitClasses:
    return parse_classes(_packaged(), name, CLASSES_FILE)


def load_classes(name_or_path: str | Path | None = None, name: str | None = None) -> GaitClasses:
    """The package's classes, those of a set by its name, or of a .json, .yaml or .yml file (of several sets the one of `name`).

    Raises ValueError naming file, class and field: neither a set nor a file, broken syntax, or as `parse_classes`.
    """
    key = "gait" if name_or_path is None else str(name_or_path)
    if key in _packaged()["sets"]:
        return _packaged_set(key)
    path = Path(key)
    if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
        raise ValueError(f"{path}: neither one of {', '.join(_packaged()['sets'])} nor a .json, .yaml or .yml file that exists")
    try:
        data = (json.loads if path.suffix == ".json" else yaml.safe_load)(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not valid {path.suffix[1:].upper()}: {' '.join(str(error).split())}") from error
    return parse_classes(data, name, str(path))


def parse_classes(data: Mapping, name: str | None = None, where: str = "classes") -> GaitClasses:
    """Classes of a file's content, checked: `classes`, or the set `name` of `sets` (which may be left out if there is but one).

    Raises ValueError, beginning with `where`: a field missing, unknown, empty or of the wrong type; a class twice; a source
    that is not listed; a gait parameter that does not exist; a phrase that two classes claim.
    """
    if not isinstance(data, Mapping) or not ({"sets", "classes"} & set(data)):
        raise ValueError(f"{where}: expected the fields sources and classes (or sets), got {type(data).__name__}")
    if unknown := set(data) - {"sources", "unsupported", "classes", "others", "sets"}:
        raise ValueError(f"{where}: unknown field {min(unknown)!r}; the fields are sources, classes, sets")
    sources = data.get("sources") or {}
    for key, citation in _of_type(sources, dict, f"{where}: 'sources'").items():
        _of_type(citation, str, f"{where}: source {key!r}")
    if "sets" in data:
        sets = _of_type(data["sets"], dict, f"{where}: 'sets'")
        if name is None and len(sets) > 1:
            raise ValueError(f"{where}: holds {', '.join(map(str, sets))}; say which by `name`")
        name = next(iter(sets), None) if name is None else name
        if name not in sets:
            raise ValueError(f"{where}: no set {name!r}; it has {', '.join(map(str, sets))}")
        where, data = f"{where}: set {name!r}", {"unsupported": data.get("unsupported", []), **sets[name]}
    rows = _of_type(data.get("classes"), list, f"{where}: 'classes'")
    if not rows:
        raise ValueError(f"{where}: 'classes' is empty")
    parse = [_parse_class(row, sources, f"{where}, class {i}") for i, row in enumerate([*rows, *data.get("others", [])])]
    if len(set(labels := [c.name for c in parse])) < len(labels):
        raise ValueError(f"{where}: class {max(labels, key=labels.count)!r} is there twice")
    claimed: dict[str, str] = {}
    for c in parse[: len(rows)]:
        for phrase in c.phrases:
            if claimed.setdefault(phrase, c.name) != c.name:
                raise ValueError(f"{where}: {phrase!r} is said of {claimed[phrase]} and of {c.name}; it can mean but one")
    used = {s.source for c in parse for s in (*c.sentences, *c.descriptions)}
    cited = {key: sources[key] for key in sorted(used)}
    unsupported = tuple(data.get("unsupported", ()))
    return GaitClasses(tuple(parse[: len(rows)]), cited, unsupported, tuple(parse[len(rows) :]), name or "gait")


def _parse_class(row: Mapping, sources: Mapping[str, str], where: str) -> GaitClass:
    _of_type(row, dict, where)
    known = {f.name: f for f in fields(GaitClass)}
    if "name" not in row:
        raise ValueError(f"{where}: field 'name' is missing")
    if not re.fullmatch(r"\w[\w -]*", _of_type(row["name"], str, f"{where}: 'name'")):
        raise ValueError(f"{where}: 'name' must be letters, digits, _ and -, got {row['name']!r}")
    where += f" ({row['name']!r})"
    out: dict = {}
    for key, value in row.items():
        at = f"{where}, {key}"
        if key not in known:
            raise ValueError(f"{where}: unknown field {key!r}; the fields are {', '.join(known)}")
        default = known[key].default if known[key].default is not MISSING else {}
        if key in ("sentences", "descriptions"):
            out[key] = tuple(_sentence(s, sources, f"{at} {i}") for i, s in enumerate(_of_type(value, list, at)))
        elif isinstance(default, tuple):
            out[key] = tuple(_of_type(word, str, f"{at} {i}") for i, word in enumerate(_of_type(value, list, at)))
        else:
            out[key] = _of_type(value, str if default is MISSING else type(default) if key != "name" else str, at)
    if out.get("side", "one") not in ("one", "both", "none"):
        raise ValueError(f"{where}: side {out['side']!r} is not one of one, both, none")
    for parameter, way in ((p, w) for key in ("moves", "affected") for p, w in out.get(key, {}).items()):
        if not {parameter, f"{parameter}_left"} & _PARAMETERS:
            raise ValueError(f"{where}: there is no gait parameter {parameter!r}")
        if way not in ("up", "down"):
            raise ValueError(f"{where}: {parameter} goes {way!r}, expected up or down")
    for parameter, weight in out.get("shown", {}).items():
        if parameter not in _PARAMETERS or not isinstance(weight, int | float):
            raise ValueError(f"{where}, shown: expected gait parameters and their weights, got {parameter!r}: {weight!r}")
    for text in (s.text for s in out.get("sentences", ())):
        if found := re.search(r"\d+|\b(?:left|right)\b", text):
            raise ValueError(f"{where}: the sentence {text!r} says {found[0]!r}, but it may stand in the caption of any walk")
    return GaitClass(**out)


def _sentence(item: Mapping, sources: Mapping[str, str], where: str) -> Sentence:
    if not isinstance(item, Mapping) or set(item) != {"text", "source"}:
        raise ValueError(f"{where}: expected the fields text, source, got {item!r}")
    if item["source"] not in sources:
        raise ValueError(f"{where}: source {item['source']!r} is not listed under sources")
    return Sentence(_of_type(item["text"], str, f"{where}: 'text'"), item["source"])


def _of_type(value, kind: type, where: str):
    """`value`, once it is of this type, and no blank text."""
    if not isinstance(value, kind):
        raise ValueError(f"{where} must be {kind.__name__}, got {type(value).__name__}")
    if kind is str and not value.strip():
        raise ValueError(f"{where} is empty")
    return value


__all__ = [
    "CLASSES_FILE",
    "GaitClass",
    "GaitClasses",
    "Sentence",
    "load_classes",
    "parse_classes",
    "phrases_pattern",
    "plain_words",
]
