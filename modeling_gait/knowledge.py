"""What medicine says of each class of gait: sentences with their sources, read from a JSON or YAML file.

In: the name of a set in gait_knowledge.json ("gist", "updrs", "dementia"), or a user's file in the same format:

    {"sources": {"perry2010": "Perry J, Burnfield JM. Gait Analysis. 2nd ed. 2010."},
     "sets": {"mine": {"classes": [{"name": "ataxic", "keywords": ["wide base"],
                                    "descriptions": [{"text": "The feet are set wide apart.", "source": "perry2010"}]}]}}}

Out: a `Knowledge`. `with_class` adds a class; `to_dict` gives the format above again, so that a config can carry it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

PACKAGED_KNOWLEDGE = Path(__file__).parent / "gait_knowledge.json"


@dataclass(frozen=True)
class KnowledgeSentence:
    """One sentence about a class, and the key of its source."""

    text: str
    source: str


@dataclass(frozen=True)
class ClassKnowledge:
    """A class, its sentences and the few words it is known by."""

    name: str
    descriptions: tuple[KnowledgeSentence, ...]
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Knowledge:
    """The classes of one set in the order of their labels, and the citation behind each source's key."""

    name: str
    classes: tuple[ClassKnowledge, ...]
    sources: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def __getitem__(self, label: str) -> ClassKnowledge:
        for c in self.classes:
            if c.name == label:
                return c
        raise KeyError(f"knowledge {self.name!r} has no class {label!r}; it has {', '.join(self.labels)}")

    def config_fields(self, labels: Iterable[str] | None = None) -> dict[str, dict[str, list[str]]]:
        """What a `GaitKnowledgeConfig` carries of these classes (default: all): sentences, their citations, keywords.

        Raises KeyError for a label that is not known.
        """
        own = [self[label] for label in (self.labels if labels is None else labels)]
        return {
            "class_descriptions": {c.name: [s.text for s in c.descriptions] for c in own},
            "class_sources": {c.name: [self.sources[s.source] for s in c.descriptions] for c in own},
            "class_keywords": {c.name: list(c.keywords) for c in own},
        }

    def with_class(self, new: ClassKnowledge, sources: Mapping[str, str] | None = None) -> "Knowledge":
        """This knowledge and one more class, with the citations that its sentences need. Raises as `parse_knowledge`."""
        longer = replace(self, classes=(*self.classes, new), sources={**self.sources, **(sources or {})})
        return parse_knowledge(longer.to_dict(), where=f"knowledge {self.name!r}")

    def to_dict(self) -> dict:
        """The format of the file."""
        classes = [
            {**asdict(c), "keywords": list(c.keywords), "descriptions": list(map(asdict, c.descriptions))} for c in self.classes
        ]
        return {"sources": dict(self.sources), "sets": {self.name: {"classes": classes}}}


def load_knowledge(name_or_path: str | Path = "gist", name: str | None = None) -> Knowledge:
    """Knowledge by the name of a set in the package, or from a .json, .yaml or .yml file (of several sets the one of `name`).

    Raises ValueError naming file, class and field: neither a set nor a file, broken syntax, or as `parse_knowledge`.
    """
    packaged = json.loads(PACKAGED_KNOWLEDGE.read_text(encoding="utf-8"))
    if str(name_or_path) in packaged["sets"]:
        return parse_knowledge(packaged, str(name_or_path), PACKAGED_KNOWLEDGE.name)
    path = Path(name_or_path)
    if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
        raise ValueError(f"{path}: neither one of {', '.join(packaged['sets'])} nor a .json, .yaml or .yml file that exists")
    try:
        data = (json.loads if path.suffix == ".json" else yaml.safe_load)(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from error
    return parse_knowledge(data, name, str(path))


def parse_knowledge(data: dict, name: str | None = None, where: str = "knowledge") -> Knowledge:
    """The set `name` (it may be left out if there is but one) of `data` in the file's format, checked.

    Raises ValueError, beginning with `where`: a field missing, unknown, empty or of the wrong type; a class twice; a source
    that is not listed.
    """
    sets = _fields(data, {"sources": dict, "sets": dict}, where)["sets"]
    for key, citation in data["sources"].items():
        _text(citation, f"{where}: source {key!r}")
    if name is None and len(sets) > 1:
        raise ValueError(f"{where}: holds {', '.join(map(str, sets))}; say which by `name`")
    name = next(iter(sets)) if name is None else name
    if name not in sets:
        raise ValueError(f"{where}: no set {name!r}; it has {', '.join(map(str, sets))}")
    where += f": set {name!r}"
    rows = _fields(sets[name], {"classes": list}, where)["classes"]
    classes = tuple(_parse_class(row, data["sources"], f"{where}, class {i}") for i, row in enumerate(rows))
    if len(set(labels := [c.name for c in classes])) < len(labels):
        raise ValueError(f"{where}: class {max(labels, key=labels.count)!r} is there twice")
    used = {s.source for c in classes for s in c.descriptions}
    return Knowledge(name, classes, {key: data["sources"][key] for key in sorted(used)})


def _parse_class(row: dict, sources: Mapping[str, str], where: str) -> ClassKnowledge:
    if isinstance(row, dict) and isinstance(row.get("name"), str):
        where += f" ({row['name']!r})"
    row = _fields(row, {"name": str, "keywords": list, "descriptions": list}, where)
    keywords = tuple(_text(word, f"{where}, keyword {i}") for i, word in enumerate(row["keywords"]))
    sentences = []
    for i, item in enumerate(row["descriptions"]):
        at = f"{where}, description {i}"
        sentences.append(KnowledgeSentence(**_fields(item, {"text": str, "source": str}, at)))
        if sentences[-1].source not in sources:
            raise ValueError(f"{at}: source {sentences[-1].source!r} is not listed under sources")
    return ClassKnowledge(row["name"], tuple(sentences), keywords)


def _fields(row: dict, fields: dict[str, type], where: str) -> dict:
    """`row`, once it has just these fields, of these types and not empty."""
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected the fields {', '.join(fields)}, got {type(row).__name__}")
    unknown = [str(key) for key in row if key not in fields]
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; the fields are {', '.join(fields)}")
    for field, kind in fields.items():
        if field not in row:
            raise ValueError(f"{where}: field {field!r} is missing")
        if not isinstance(row[field], kind):
            raise ValueError(f"{where}: {field!r} must be {kind.__name__}, got {type(row[field]).__name__}")
        if not row[field] or (kind is str and not row[field].strip()):
            raise ValueError(f"{where}: {field!r} is empty")
    return row


def _text(value: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: expected text, got {value!r}")
    return value
