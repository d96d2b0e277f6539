"""Classes of gait as data: the package's entries, a user's file, errors that say where, words that are read back."""

import copy
import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.caption_grammar import captions_for, paraphrase
from modeling_gait.captions import (
    WalkDescription,
    affected_side,
    check_class,
    check_faithfulness,
    describe_walk,
    parse_prompt,
    severity_from_parameters,
)
from modeling_gait.configuration_gait_classifier import GIST_LABELS
from modeling_gait.gait_classes import GaitClass, GaitClasses, Sentence, _packaged, load_classes, parse_classes
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.simulation import PATHOLOGIES, simulate_walks

SETS = {
    "gait": load_classes().labels,
    "updrs": ("0", "1", "2", "3"),
    "dementia": ("healthy", "dementia_with_lewy_bodies", "alzheimers"),
}
MINE = {
    "sources": {"book": "A. Author. A Book. 2001.", "unused": "B. Author. Another Book. 2002."},
    "classes": [
        {
            "name": "prosthetic",
            "synonyms": ["artificial leg", "prosthesis"],
            "signs": ["an artificial leg"],
            "graded": False,
            "moves": {"speed": "down"},
            "affected": {"stance_asymmetry": "down"},
            "sentences": [{"text": "The weight is taken off the artificial leg early.", "source": "book"}],
            "keywords": ["artificial leg"],
            "descriptions": [{"text": "The weight is taken off the artificial leg early.", "source": "book"}],
        },
        {"name": "before", "side": "none"},
    ],
}
OWN = load_classes().merged(parse_classes(MINE)).select(("normal", "steppage", "prosthetic", "before", "after_op"))


def test_the_clinical_sign_grows_with_severity():
    for name in ("antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg"):
        walks = [simulate_walks(1, frames=180, seed=1, pathology=name, side="right", severity=s).joints[0] for s in (0.2, 0.9)]
        mild, severe = (load_classes()[name].sign(compute_gait_parameters(w, 30.0)) for w in walks)
        assert severe > mild, name


@pytest.mark.parametrize("name", SETS)
def test_packaged_set(name):
    """That parameters exist and sources are listed, `parse_classes` has seen."""
    classes = load_classes(None if name == "gait" else name)
    assert classes.name == name and classes.labels == SETS[name]
    texts = [s for c in classes.classes for s in c.descriptions]
    assert all(len(c.descriptions) >= (5 if c.name in GIST_LABELS else 2) and len(c.keywords) >= 3 for c in classes.classes)
    assert {s.source for c in classes.classes for s in (*c.descriptions, *c.sentences)} == set(classes.sources)
    assert len({s.text for s in texts}) == len(texts), "no sentence serves two classes"
    assert all(s.text.endswith(".") and len(s.text) < 150 for s in texts), "short enough for CLIP's 77 tokens"
    assert not any(ch.isdigit() for s in texts for ch in s.text), "numbers belong to measured parameters"
    fields, first = classes.config_fields(), classes.classes[0]
    assert fields["class_descriptions"][first.name] == [s.text for s in first.descriptions]
    assert fields["class_sources"][first.name] == [classes.sources[s.source] for s in first.descriptions]
    assert fields["class_keywords"] == {c.name: list(c.keywords) for c in classes.classes}


def test_sources_are_cited_with_a_year_and_used():
    data = _packaged()
    assert all(key[-4:].isdigit() and key[-4:] in citation for key, citation in data["sources"].items())
    assert set().union(*(load_classes(name).sources for name in data["sets"])) >= set(data["sources"]) - {"jun2020"}


def test_what_the_simulator_walks_and_what_prompts_name_is_known():
    classes = load_classes()
    assert set(PATHOLOGIES) < set(classes.labels) and all(classes[n].sentences for n in classes.labels)
    assert all(classes[n].moves for n in classes.labels if n != "normal")
    for words, name in (("foot drop", "steppage"), ("Toe-walking", "equinus"), ("stroke", "hemiplegic"), ("lurch", "lurch")):
        assert classes.find(words).name == name
    assert classes.find("quixotic") is None
    lurch, trendelenburg = (" ".join(s.text for s in classes[name].descriptions) for name in ("lurch", "trendelenburg"))
    assert "gluteus maximus" in lurch and "gluteus medius" in trendelenburg


@pytest.mark.parametrize("classes", [load_classes(), OWN], ids=["packaged", "own"])
def test_every_word_of_a_class_is_read_as_it(classes):
    for c in classes.classes:
        check_class(c.name, classes)
        for phrase in c.phrases:
            assert parse_prompt(f"{phrase}, 1 m/s", classes).pathology == c.name, phrase


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_prompt_to_description_and_back(data):
    """Of every class, heard of or not: its prompt is read as it was, its paraphrases are faithful to it and to no other."""
    c = data.draw(st.sampled_from((*load_classes().classes, *OWN.classes)))
    classes = OWN if c.name in OWN else load_classes()
    sides = {"none": ("none",), "both": ("both", "unknown")}.get(c.side, ("left", "right", "both", "unknown"))
    side = data.draw(st.sampled_from(sides))
    severity = data.draw(st.floats(0, 1)) if c.graded else None
    d = WalkDescription(c.name, side, severity, data.draw(st.floats(0.2, 2)), classes=classes)
    assert parse_prompt(d.to_prompt(), classes) == d.canonical()
    text = paraphrase(d, np.random.default_rng(data.draw(st.integers(0, 999))))
    assert check_faithfulness(text, d) == [] and parse_prompt(text, classes).pathology == c.name
    other = data.draw(st.sampled_from([o for o in classes.classes if o.name != c.name]))
    assert check_faithfulness(text, WalkDescription(other.name, speed=d.speed, classes=classes))


def test_captions_of_a_class_never_heard_of():
    measured = {"speed": 0.9, "cadence": 100.0, "stance_asymmetry": -0.2}
    assert affected_side(measured, "prosthetic", OWN) == "right"
    captions = captions_for(measured, "prosthetic", n=6, classes=OWN)
    d = describe_walk(measured, "prosthetic", 0.4, classes=OWN)
    assert captions[0] == "prosthetic gait, right side, speed 0.90 m/s, cadence 100 steps/min." == d.to_prompt()
    assert np.isnan(severity_from_parameters(measured, "prosthetic", {}, OWN)), "this class has no severity"
    assert d.level is None and all(check_faithfulness(text, d) == [] for text in captions)
    assert "Known of this class: The weight is taken off the artificial leg early." in d.to_text()
    for text, problem in (
        ("A steppage gait at 0.90 m/s.", "steppage"),
        ("Hemiplegic gait, like someone with an artificial leg.", "hemiplegic"),
        ("Severe prosthetic gait.", "severe"),
    ):
        assert any(problem in p for p in check_faithfulness(text, d)), text


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("hemiplegic gait", "'hemiplegic gait' is not one of the gaits modelled here: normal, steppage, prosthetic"),
        ("walks with a limp", "antalgic gait, which is not one of"),
        ("prosthetic steppage gait", "names 2 kinds of gait"),
        ("severe prosthetic gait", "a prosthetic gait has no severity"),
        ("before gait, left side", "a before gait has no affected side"),
        ("normal prosthetic gait", "names 2 kinds of gait (normal, prosthetic)"),
        ("prosthetc gait", 'did you mean "prosthetic"'),
    ],
)
def test_what_a_family_does_not_know_or_cannot_be_is_refused(prompt, message):
    with pytest.raises(ValueError) as error:
        parse_prompt(prompt, OWN)
    assert message in str(error.value)


def test_a_family_without_normal_gait_takes_nothing_for_it():
    classes = load_classes().select(("before", "after"))
    assert parse_prompt("after, 1.2 m/s", classes).side == "unknown"
    for prompt in ("a person walking at 1.0 m/s", "a normal walk", "walks without a limp"):
        with pytest.raises(ValueError, match=r"not one of|names no gait"):
            parse_prompt(prompt, classes)


@pytest.mark.parametrize("name", ["mild", "left_knee", "slow", "normal_speed", "gait"])
def test_a_name_that_says_something_else_is_refused(name):
    with pytest.raises(ValueError, match=f"class '{name}': the words .* (do not say it|name a side)"):
        check_class(name, load_classes().select(("normal", name)))


# --- files ---


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_users_file(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    path.write_text(json.dumps(MINE) if suffix == ".json" else yaml.safe_dump(MINE), encoding="utf-8")
    mine = load_classes(path)
    assert mine.labels == ("prosthetic", "before") and mine.sources == {"book": MINE["sources"]["book"]}
    assert mine["before"] == GaitClass("before", side="none") and mine["before"].title == "before gait"
    assert mine["prosthetic"].sentences == (Sentence("The weight is taken off the artificial leg early.", "book"),)
    assert mine.config_fields(["prosthetic"])["class_keywords"] == {"prosthetic": ["artificial leg"]}
    with pytest.raises(ValueError, match="'before' has no descriptions"):
        mine.config_fields()
    with pytest.raises(KeyError, match="no class 'limp'"):
        mine["limp"]


@pytest.mark.parametrize("classes", [load_classes(), load_classes("updrs"), OWN], ids=["packaged", "updrs", "own"])
def test_what_a_model_carries_is_the_same_again(classes):
    again = parse_classes(json.loads(json.dumps(classes.to_dict())))
    assert again.classes == classes.classes and again.others == classes.others and again.unsupported == classes.unsupported
    assert again.sources.items() <= classes.sources.items()


def test_several_sets_need_a_name(tmp_path):
    path = tmp_path / "two.json"
    path.write_text(json.dumps({"sets": {n: {"classes": [{"name": n}]} for n in ("mine", "other")}}))
    assert load_classes(path, "other").labels == ("other",)
    with pytest.raises(ValueError, match=r"two.json: holds mine, other; say which"):
        load_classes(path)
    with pytest.raises(ValueError, match="no set 'third'; it has mine, other"):
        load_classes(path, "third")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, c: d.update(classes=[]), "'classes' is empty"),
        (lambda d, c: d.update(clases=[]), "unknown field 'clases'"),
        (lambda d, c: d["classes"].append(c), "class 'prosthetic' is there twice"),
        (
            lambda d, c: d["classes"].append({"name": "x", "signs": ["Prosthesis"]}),
            "'prosthesis' is said of prosthetic and of x",
        ),
        (lambda d, c: d["sources"].update(book=""), "source 'book' is empty"),
        (lambda d, c: c.pop("name"), "class 0: field 'name' is missing"),
        (lambda d, c: c.update(name=3), "class 0: 'name' must be str, got int"),
        (lambda d, c: c.update(name="a/b"), "'name' must be letters"),
        (lambda d, c: c.update(keyword=["x"]), r"class 0 \('prosthetic'\): unknown field 'keyword'"),
        (lambda d, c: c.update(keywords="wide"), "keywords must be list, got str"),
        (lambda d, c: c.update(synonyms=[" "]), "synonyms 0 is empty"),
        (lambda d, c: c.update(graded="no"), "graded must be bool, got str"),
        (lambda d, c: c.update(side="left"), "side 'left' is not one of one, both, none"),
        (lambda d, c: c.update(moves={"sped": "down"}), "no gait parameter 'sped'"),
        (lambda d, c: c.update(moves={"speed": "less"}), "speed goes 'less', expected up or down"),
        (lambda d, c: c.update(shown={"knee": 1}), "expected gait parameters and their weights, got 'knee': 1"),
        (lambda d, c: c.update(shown={"speed": "much"}), "expected gait parameters and their weights, got 'speed': 'much'"),
        (lambda d, c: c["sentences"][0].update(text="The left leg drags."), "says 'left'"),
        (lambda d, c: c["descriptions"][0].update(text="  "), "'text' is empty"),
        (lambda d, c: c["descriptions"][0].pop("source"), "descriptions 0: expected the fields text, source"),
        (lambda d, c: c["descriptions"][0].update(source="web"), "source 'web' is not listed"),
    ],
)
def test_errors_name_file_class_and_field(tmp_path, change, message):
    data = copy.deepcopy(MINE)
    change(data, data["classes"][0])
    path = tmp_path / "file.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message) as error:
        load_classes(path)
    assert str(error.value).startswith(str(path))


def test_no_such_file_or_broken_syntax(tmp_path):
    with pytest.raises(ValueError, match=r"limps: neither one of gait, updrs, dementia nor a .json"):
        load_classes("limps")
    for name, text in (("a.json", "{"), ("a.yaml", "classes: [")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not valid {name[2:].upper()}"):
            load_classes(tmp_path / name)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ValueError, match=r"list.json: expected the fields sources and classes .*, got list"):
        load_classes(tmp_path / "list.json")
    assert isinstance(load_classes(), GaitClasses)
