"""Captions: what is said is measured, what is read back is what was said, and bad prompts are refused."""

import json
import math
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import TEXTS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.caption_faithfulness import gait_cases, measure
from modeling_gait.caption_grammar import captions_for, paraphrase
from modeling_gait.caption_words import CADENCE_BANDS, SPEED_BANDS, cadence_band, speed_band
from modeling_gait.captions import (
    WalkDescription,
    affected_side,
    check_faithfulness,
    describe_walk,
    fit_reference,
    gait_deviation_index,
    parse_prompt,
    read_prompt,
    severity_from_parameters,
    severity_level,
)
from modeling_gait.gait_classes import load_classes

PATHOLOGIES = load_classes().labels

STEPPAGE = WalkDescription("steppage", "right", 0.5, 0.657, 93.4, 0.84, 45.2, 62.1, attributes={"age": 67, "footwear": "boots"})


@st.composite
def descriptions(draw, complete: bool = False):
    """Descriptions whose speed, cadence and stride fit each other, parts left out at random unless `complete`."""
    pathology = draw(st.sampled_from(PATHOLOGIES))
    entry = load_classes()[pathology]
    sides = {"none": ("none",), "both": ("both", "unknown")}.get(entry.side, ("left", "right", "both", "unknown"))
    side = draw(st.sampled_from(sides))
    cadence, stride = draw(st.floats(50, 140)), draw(st.floats(0.4, 1.5))
    numbers = {
        "severity": draw(st.floats(0, 1)) if entry.graded else None,
        "speed": min(max(stride * cadence / 120 * draw(st.floats(0.85, 1.15)), 0.12), 2.9),
        "cadence": cadence,
        "stride_length": stride,
        "knee_range_left": draw(st.floats(5, 80)),
        "knee_range_right": draw(st.floats(5, 80)),
        "hip_range_left": draw(st.floats(5, 60)),
        "hip_range_right": draw(st.floats(5, 60)),
        "pelvic_obliquity_range": draw(st.floats(2, 25)),
        "trunk_lean": draw(st.floats(-20, 20)),
    }
    if not complete:
        numbers = {k: v if draw(st.booleans()) else None for k, v in numbers.items()}
    attributes = draw(st.sampled_from(({}, {"age": 34, "sex": "female", "load": "bag", "clothing": "coat"}, {"side": side})))
    return WalkDescription(pathology, side, attributes=attributes, **numbers)


# --- descriptions ---


def test_prompt_has_fixed_order_and_rounding():
    d = replace(STEPPAGE, knee_range_left=None, knee_range_right=None)
    assert d.to_prompt() == "steppage gait, right side, moderate, speed 0.65 m/s, cadence 94 steps/min, stride 0.84 m."
    assert WalkDescription("normal", "none", 0.0, speed=1.31).to_prompt() == "normal gait, speed 1.30 m/s."
    assert WalkDescription().to_prompt() == "gait."


@settings(max_examples=150, deadline=None)
@given(descriptions())
def test_prompt_round_trip_is_exact(d):
    assert parse_prompt(d.to_prompt()) == d.canonical()
    assert d.canonical().to_prompt() == d.to_prompt()
    assert len(d.to_prompt().split()) <= 35
    assert check_faithfulness(d.to_prompt(), d) == []


def test_rounded_numbers_of_a_very_slow_walk_still_fit_each_other():
    d = WalkDescription("antalgic", "left", None, speed=0.1748, cadence=59.0, stride_length=0.4063)
    assert parse_prompt(d.to_prompt()) == d.canonical()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pathology": "limping"}, "not one of"),
        ({"side": "up"}, "side"),
        ({"pathology": "normal", "side": "left"}, "no affected side"),
        ({"pathology": "lurch", "side": "none"}, "a lurch gait has an affected side"),
        ({"severity": 1.2}, "severity"),
        ({"speed": 9.0}, "speed"),
        ({"cadence": math.nan}, "cadence"),
    ],
)
def test_impossible_descriptions_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        WalkDescription(**fields)


def test_describe_walk_leaves_out_what_was_not_measured():
    measured = {
        "speed": 0.6,
        "cadence": math.nan,
        "stride_length_left": 0.8,
        "stride_length_right": math.nan,
        "knee_range_left": 400.0,
    }
    d = describe_walk(measured, "antalgic", severity=math.nan, attributes={"side": "left", "age": 50})
    assert (d.speed, d.cadence, d.stride_length, d.knee_range_left, d.severity) == (0.6, None, 0.8, None, None)
    assert d.side == "left" and d.attributes["age"] == 50
    assert describe_walk({}, "normal", side="none").side == "none"
    assert describe_walk({}, "parkinsonian", side="none").side == "unknown"
    assert describe_walk({}).to_prompt() == "gait."


def test_text_states_every_fact_and_the_knowledge():
    text = STEPPAGE.to_text()
    for part in (
        "steppage gait",
        "side: right",
        "0.50 (moderate)",
        "0.66 m/s",
        "93 steps/min",
        "0.84 m",
        "62 deg",
        "67 years old",
        "boots",
    ):
        assert part in text
    assert STEPPAGE.entry.sentences[0].text in text
    assert check_faithfulness(text, STEPPAGE) == []


def test_severity_words_change_at_thirds():
    assert [severity_level(s) for s in (0, 0.33, 1 / 3, 0.66, 2 / 3, 1)] == [
        "mild",
        "mild",
        "moderate",
        "moderate",
        "severe",
        "severe",
    ]


# --- side and severity from parameters ---


def mirrored(parameters: dict) -> dict:
    swap = {"left": "right", "right": "left"}
    out = {re.sub("left$|right$", lambda m: swap[m[0]], k): v for k, v in parameters.items()}
    return {k: -v if k.endswith("asymmetry") else v for k, v in out.items()}


RIGHT = {
    "antalgic": {"stance_asymmetry": -0.2, "swing_time_left": 0.35, "swing_time_right": 0.5},
    "stiff_legged": {"knee_range_left": 45.0, "knee_range_right": 20.0},
    "steppage": {"knee_range_left": 42.0, "knee_range_right": 64.0, "hip_range_left": 35.0, "hip_range_right": 50.0},
    "lurch": {"hip_range_left": 35.0, "hip_range_right": 55.0, "stance_asymmetry": -0.1},
}


@pytest.mark.parametrize("pathology", RIGHT)
def test_affected_side_mirrors_with_the_walk(pathology):
    assert affected_side(RIGHT[pathology], pathology) == "right"
    assert affected_side(mirrored(RIGHT[pathology]), pathology) == "left"


def test_affected_side_is_unknown_without_evidence():
    assert affected_side({}, "antalgic") == "unknown"
    assert affected_side({"knee_range_left": 40.0, "knee_range_right": 41.0}, "stiff_legged") == "unknown"
    assert affected_side({"knee_range_left": math.nan, "knee_range_right": 41.0}, "stiff_legged") == "unknown"
    with pytest.raises(ValueError, match="not one of"):
        affected_side({}, "limping")


def normal_walks(n: int) -> list[dict]:
    rng = np.random.default_rng(0)
    mean = {
        "speed": 1.1,
        "cadence": 105,
        "knee_range_left": 55,
        "knee_range_right": 55,
        "stance_asymmetry": 0,
        "step_width": 0.12,
    }
    return [{k: v + rng.standard_normal() * (0.06 * abs(v) + 0.02) for k, v in mean.items()} for _ in range(n)]


def test_severity_grows_with_distance_from_normal():
    walks = normal_walks(60)
    reference = json.loads(json.dumps(fit_reference(walks)))
    scores = [gait_deviation_index(w, reference) for w in walks]
    assert np.mean(scores) == pytest.approx(100, abs=1e-6) and np.std(scores) == pytest.approx(10, abs=1e-6)
    mean = {k: np.mean([w[k] for w in walks]) for k in walks[0]}
    stiff = [severity_from_parameters(mean | {"knee_range_right": 55 - x}, "stiff_legged", reference) for x in (0, 15, 30, 50)]
    assert stiff[0] == 0 and stiff == sorted(stiff) and 0 < stiff[2] < stiff[3] <= 1
    assert severity_from_parameters(mean, "normal", reference) == 0
    assert math.isnan(severity_from_parameters({"speed": 1.0}, "lurch", reference))


def test_reference_needs_enough_walks():
    with pytest.raises(ValueError, match="at least 5"):
        fit_reference(normal_walks(4))
    with pytest.raises(ValueError, match="none of"):
        fit_reference([{"speed": math.nan}] * 6)


# --- paraphrases and the faithfulness check ---


def test_paraphrases_are_many_and_reproducible():
    rng = np.random.default_rng(0)
    assert len({paraphrase(STEPPAGE, rng) for _ in range(3000)}) > 2500
    assert paraphrase(STEPPAGE, np.random.default_rng(5)) == paraphrase(STEPPAGE, np.random.default_rng(5))


@settings(max_examples=200, deadline=None)
@given(descriptions(), st.integers(0, 2**32 - 1))
def test_paraphrase_is_faithful_and_can_be_read_back(d, seed):
    text = paraphrase(d, np.random.default_rng(seed))
    assert check_faithfulness(text, d) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no fallback may be needed
        read = parse_prompt(text)
    assert read.pathology == d.pathology
    assert read.side == d.side or (read.side == "unknown" and not re.search("left|right|both|bilateral", _without_ranges(text)))
    if read.severity is not None:
        assert severity_level(read.severity) == severity_level(d.severity)
    for name, tolerance in (
        ("stride_length", 0.011),
        ("knee_range_left", 1.01),
        ("hip_range_right", 1.01),
        ("trunk_lean", 1.01),
    ):
        if getattr(read, name) is not None:
            assert getattr(read, name) == pytest.approx(getattr(d, name), abs=tolerance)
    for name, tolerance, band_of, bands in (
        ("speed", 0.027, speed_band, SPEED_BANDS),
        ("cadence", 1.01, cadence_band, CADENCE_BANDS),
    ):
        value = getattr(read, name)
        if value is not None and abs(value - getattr(d, name)) > tolerance:  # said by a word
            assert bands[band_of(getattr(d, name))].low <= value <= bands[band_of(getattr(d, name))].high
            assert not re.search(
                {"speed": r"\d ?(m/s|m\w+ per|k\w+/h|k\w+ per|mph)", "cadence": r"\d ?(steps|spm)"}[name], text
            )


def _without_ranges(text: str) -> str:
    return re.sub(r"(left|right)\b[^.,;|]*?(deg|°)|(deg\w*|°) ?(on the |\()(left|right)", "", text)


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_every_name_and_sign_is_read_as_its_class(pathology):
    entry = load_classes()[pathology]
    said = (*entry.names, *(f"walks with {s}" for s in entry.signs))
    for phrase in (*said, *(s.text for s in entry.sentences)):
        others = check_faithfulness(phrase, WalkDescription(pathology))
        assert [p for p in others if "does not name" not in p] == []
    for phrase in said:
        assert parse_prompt(phrase).pathology == pathology


def test_faithfulness_check_catches_corrupted_captions():
    refused, _ = measure(gait_cases(250, seed=1), "gait")
    assert np.mean(refused.pop("")) == 0, "faithful ones pass"
    assert {"side", "number", "class", "severity"} <= set(refused) and sum(map(len, refused.values())) > 600
    for kind in ("side", "number", "class", "severity"):
        assert np.mean(refused[kind]) >= 0.98, kind


@pytest.mark.parametrize("text, problem", TEXTS["unfaithful"])
def test_faithfulness_check_names_the_problem(text, problem):
    assert any(problem in p for p in check_faithfulness(text, STEPPAGE)), check_faithfulness(text, STEPPAGE)


def test_faithfulness_check_accepts_other_units():
    for text in (
        "steppage at 2.4 km/h",
        "steppage at 1.5 mph",
        "steppage, steps of 42 cm",
        "Steppage: zero point six six metres per second",
    ):
        assert check_faithfulness(text, STEPPAGE) == []


# --- prompts ---


@pytest.mark.parametrize("text, expected", TEXTS["prompts_understood"])
def test_prompts_are_understood(text, expected):
    d = parse_prompt(text)
    assert {k: getattr(d, k) for k in expected} == expected


@pytest.mark.parametrize("text, expected, unused", TEXTS["prompts_told"])
@pytest.mark.filterwarnings("ignore:the prompt")
def test_what_is_said_of_something_else_is_told(text, expected, unused):
    d = parse_prompt(text)
    assert {k: pytest.approx(v, abs=1e-6) if isinstance(v := getattr(d, k), float) else v for k in expected} == expected
    assert list(d.unused) == unused


@pytest.mark.parametrize("text, message", [*TEXTS["prompts_refused"], ("steppage " * 200, "at most 1000")])
def test_bad_prompts_get_a_clear_error(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_prompt(text)


@pytest.mark.parametrize(
    "text, pathology",
    [
        ("a person walking at 1.0 m/s", "normal"),
        ("someone walks without a limp at 1.2 m/s", "normal"),
        ("a walk without stiffness", "normal"),
        ("walks with a slight limp on the right", "antalgic"),
    ],
)
def test_fallbacks_are_stated(text, pathology):
    with pytest.warns(UserWarning, match="taken as"):
        assert parse_prompt(text).pathology == pathology


@pytest.mark.parametrize(
    "text",
    [
        "Trendelenburg gait, the pelvis drops on the left",
        "Trendelenburg gait, the hip drops on the left side",
        "left hip drop",
        "a pelvic drop on the left",
        "a dropping hip on the left",
        "Trendelenburg gait, drop of the left hemipelvis",
        "Trendelenburg gait, the left hemipelvis sinks",
    ],
)
def test_the_side_of_a_pelvis_that_drops_is_told_from_that_of_the_weak_leg(text):
    with pytest.warns(UserWarning, match="left side is read as that of the weak leg: when it stands, the pelvis"):
        assert parse_prompt(text).side == "left"
    assert not read_prompt("Trendelenburg gait, left side").notes
    assert not read_prompt("weak left hip abductors, pelvis drops right").notes


def test_no_caption_says_that_the_pelvis_drops_on_the_side_of_the_weak_leg():
    asked = WalkDescription("trendelenburg", side="left")
    said = [paraphrase(asked, np.random.default_rng(i)) for i in range(300)]
    assert any("on the left" in s for s in said) and any("hip abductor" in s for s in said)
    assert not [s for s in said if read_prompt(s).notes]


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=120)
    | st.lists(
        st.sampled_from(
            ["left", "right", "no", "not", "gait", "walk", "slow", "0.5", "-", "m/s", "steppage", "pain", "90", "deg", "knee"]
        )
    ).map(" ".join)
)
def test_any_text_gives_a_description_or_a_value_error(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert parse_prompt(text).pathology in PATHOLOGIES
        except ValueError as error:
            assert len(str(error)) > 10
    check_faithfulness(text, STEPPAGE)


# --- captions of a walk and language models ---


def test_captions_for_a_walk():
    measured = {"speed": 0.66, "cadence": 93.0, "stride_length_left": 0.85, "knee_range_left": 45.0, "knee_range_right": 62.0}
    captions = captions_for(measured, "steppage", 0.5, "right", {"age": 40}, n=5, seed=3)
    d = describe_walk(measured, "steppage", 0.5, "right", {"age": 40})
    assert captions[0] == d.to_prompt() and len(set(captions)) == 5
    assert all(check_faithfulness(c, d) == [] for c in captions)
    assert captions == captions_for(measured, "steppage", 0.5, "right", {"age": 40}, n=5, seed=3)
    assert captions_for({}, n=3) and captions_for(measured, "lurch", n=0) == []


def test_mirrored_description_swaps_sides_and_comes_back():
    d = WalkDescription("steppage", "left", 0.5, speed=0.6, knee_range_left=60.0, knee_range_right=40.0)
    m = d.mirrored()
    assert (m.side, m.knee_range_left, m.knee_range_right, m.speed) == ("right", 40.0, 60.0, 0.6)
    assert m.mirrored() == d
    assert WalkDescription("normal", "none").mirrored().side == "none"


@given(
    st.sampled_from(["steppage", "lurch", "antalgic", "normal"]),
    st.sampled_from(["left", "right", "unknown"]),
    st.none() | st.floats(0, 1).map(lambda v: round(v, 4)),
    st.none() | st.floats(0.1, 3).map(lambda v: round(v, 4)),
    st.none() | st.floats(20, 200).map(lambda v: round(v, 3)),
)
@settings(max_examples=60, deadline=None)
def test_an_exact_prompt_is_read_as_it_was_asked(name, side, severity, speed, cadence):
    assume(speed is None or cadence is None or 120 * speed / cadence < 2.1)  # m, a stride
    asked = WalkDescription(name, "none" if name == "normal" else side, None if name == "normal" else severity, speed, cadence)
    assert read_prompt(asked.to_prompt(exact=True)) == asked
    assert read_prompt(asked.to_prompt()) == asked.canonical()
