"""Medical knowledge: what the package holds, a user's file, and errors that say where."""

import copy
import json

import pytest
import yaml
from modeling_gait.knowledge import (
    PACKAGED_KNOWLEDGE,
    ClassKnowledge,
    KnowledgeSentence,
    load_knowledge,
    parse_knowledge,
)

from modeling_gait.configuration_gait_classifier import GIST_LABELS

LABELS = {
    "gist": GIST_LABELS,
    "updrs": ("0", "1", "2", "3"),
    "dementia": ("healthy", "dementia_with_lewy_bodies", "alzheimers"),
}
MINE = {
    "sources": {"book": "A. Author. A Book. 2001.", "unused": "B. Author. Another Book. 2002."},
    "sets": {
        "mine": {
            "classes": [
                {
                    "name": "ataxic",
                    "keywords": ["wide base"],
                    "descriptions": [{"text": "The feet are set wide apart.", "source": "book"}],
                }
            ]
        }
    },
}


@pytest.mark.parametrize("name", LABELS)
def test_packaged_set(name):
    knowledge = load_knowledge(name)
    assert knowledge.name == name
    assert knowledge.labels == LABELS[name]
    texts = [s for c in knowledge.classes for s in c.descriptions]
    assert all(5 <= len(c.descriptions) <= 8 and len(c.keywords) >= 3 for c in knowledge.classes)
    assert {s.source for s in texts} == set(knowledge.sources)
    assert len({s.text for s in texts}) == len(texts), "no sentence serves two classes"
    assert all(s.text.endswith(".") and len(s.text) < 150 for s in texts), "short enough for CLIP's 77 tokens"
    assert not any(ch.isdigit() for s in texts for ch in s.text), "numbers belong to measured parameters"
    fields, first = knowledge.config_fields(), knowledge.classes[0]
    assert fields["class_descriptions"][first.name] == [s.text for s in first.descriptions]
    assert fields["class_sources"][first.name] == [knowledge.sources[s.source] for s in first.descriptions]
    assert fields["class_keywords"] == {c.name: list(c.keywords) for c in knowledge.classes}


def test_all_sources_are_cited_with_a_year_and_used():
    data = json.loads(PACKAGED_KNOWLEDGE.read_text(encoding="utf-8"))
    assert all(key[-4:].isdigit() and key[-4:] in citation for key, citation in data["sources"].items())
    assert set().union(*(load_knowledge(name).sources for name in data["sets"])) == set(data["sources"])


def test_lookalikes_are_told_apart():
    gist = load_knowledge()
    lurch, trendelenburg = (" ".join(s.text for s in gist[name].descriptions) for name in ("lurch", "trendelenburg"))
    assert "gluteus maximus" in lurch and "trunk is thrown backward" in lurch
    assert "gluteus medius" in trendelenburg and "pelvis drops on the opposite, swinging side" in trendelenburg
    assert gist["steppage"].name == "steppage"
    with pytest.raises(KeyError, match="no class 'limp'"):
        gist["limp"]


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_users_file(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_text(json.dumps(MINE) if suffix == ".json" else yaml.safe_dump(MINE), encoding="utf-8")
    mine = load_knowledge(path)
    assert mine.labels == ("ataxic",)
    assert mine.classes[0].keywords == ("wide base",)
    assert mine.sources == {"book": MINE["sources"]["book"]}
    assert load_knowledge(path, "mine") == mine


def test_several_sets_need_a_name(tmp_path):
    path = tmp_path / "two.json"
    path.write_text(json.dumps({**MINE, "sets": MINE["sets"] | {"other": MINE["sets"]["mine"]}}))
    assert load_knowledge(path, "other").name == "other"
    with pytest.raises(ValueError, match="two.json: holds mine, other; say which"):
        load_knowledge(path)
    with pytest.raises(ValueError, match="no set 'third'; it has mine, other"):
        load_knowledge(path, "third")


@pytest.mark.parametrize("name", LABELS)
def test_dict_round_trip(name):
    knowledge = load_knowledge(name)
    assert parse_knowledge(json.loads(json.dumps(knowledge.to_dict()))) == knowledge


def test_with_class():
    gist = load_knowledge()
    new = ClassKnowledge("ataxic", (KnowledgeSentence("The feet are set wide apart.", "book"),), ("wide base",))
    longer = gist.with_class(new, {"book": "A. Author. A Book. 2001."})
    assert longer.labels == (*gist.labels, "ataxic")
    assert longer["ataxic"] == new and "book" in longer.sources
    assert gist.labels == GIST_LABELS, "the old knowledge stays as it was"
    with pytest.raises(ValueError, match=r"class 6 \('ataxic'\), description 0: source 'book' is not listed"):
        gist.with_class(new)
    with pytest.raises(ValueError, match="class 'lurch' is there twice"):
        gist.with_class(gist["lurch"])


def _broken(change) -> dict:
    data = copy.deepcopy(MINE)
    change(data, data["sets"]["mine"]["classes"][0])
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, c: d.pop("sources"), "file.json: field 'sources' is missing"),
        (lambda d, c: d["sets"]["mine"].update(classes=[]), "set 'mine': 'classes' is empty"),
        (lambda d, c: d["sets"]["mine"]["classes"].append(c), "class 'ataxic' is there twice"),
        (lambda d, c: d["sources"].update(book=""), "source 'book': expected text"),
        (lambda d, c: c.pop("descriptions"), r"class 0 \('ataxic'\): field 'descriptions' is missing"),
        (lambda d, c: c.update(descriptions=[]), r"class 0 \('ataxic'\): 'descriptions' is empty"),
        (lambda d, c: c.update(name=3), "class 0: 'name' must be str, got int"),
        (lambda d, c: c.update(keyword=["x"]), r"class 0 \('ataxic'\): unknown field 'keyword'"),
        (lambda d, c: c.update(keywords="wide"), "'keywords' must be list, got str"),
        (lambda d, c: c.update(keywords=[" "]), "keyword 0: expected text"),
        (lambda d, c: c["descriptions"][0].update(text="  "), "description 0: 'text' is empty"),
        (lambda d, c: c["descriptions"][0].pop("source"), "description 0: field 'source' is missing"),
        (lambda d, c: c["descriptions"][0].update(source="web"), "description 0: source 'web' is not listed"),
        (lambda d, c: c["descriptions"].append("A sentence."), "description 1: expected the fields text, source, got str"),
    ],
)
def test_errors_name_file_class_and_field(tmp_path, change, message):
    path = tmp_path / "file.json"
    path.write_text(json.dumps(_broken(change)))
    with pytest.raises(ValueError, match=message) as error:
        load_knowledge(path)
    assert str(error.value).startswith(str(path))


def test_no_such_file_or_broken_syntax(tmp_path):
    with pytest.raises(ValueError, match="limps: neither one of gist, updrs, dementia nor a .json"):
        load_knowledge("limps")
    for name, text in (("a.json", "{"), ("a.yaml", "sets: [")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not valid {name[2:].upper()}"):
            load_knowledge(tmp_path / name)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match="list.json: expected the fields sources, sets, got list"):
        load_knowledge(tmp_path / "list.json")
