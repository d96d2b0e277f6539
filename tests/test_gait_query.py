"""Queries and filters: what is read of them, and which sentence a bad one gets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.caption_grammar import paraphrase
from modeling_gait.gait_filters import read_where
from modeling_gait.gait_query import read_query
from modeling_gait.walk_description import WalkDescription

INF = math.inf


def read(text: str) -> dict[str, tuple]:
    """quantity -> (low, high), or names with a minus before those that are denied."""
    return {
        c.quantity: tuple(("-" if c.negated else "") + v for v in c.values) or (round(c.low, 3), round(c.high, 3))
        for c in read_query(text).conditions
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steppage gait, slower than 0.7 m/s", {"pathology": ("steppage",), "speed": (-INF, 0.7)}),
        ("no more than 90 steps/min", {"cadence": (-INF, 90)}),
        ("at least 100 steps per minute, not slow", {"cadence": (100, INF), "speed": (0.8, INF)}),
        ("cadence below 90 but faster than 0.6 m/s", {"cadence": (-INF, 90), "speed": (0.6, INF)}),
        ("between 0.5 and 0.8 m/s", {"speed": (0.5, 0.8)}),
        ("antalgic, 0.5-0.7 m/s", {"pathology": ("antalgic",), "speed": (0.5, 0.7)}),
        ("speed < 2.7 km/h", {"speed": (-INF, 0.75)}),
        ("not slower than 0.9 m/s", {"speed": (0.9, INF)}),
        ("cadence 100 or more", {"cadence": (100, INF)}),
        ("strides longer than 120 cm", {"stride_length": (1.2, INF)}),
        ("with steps of 0.57 m", {"stride_length": (1.14, 1.14)}),
        ("right step length under 40 cm", {"step_length_right": (-INF, 0.4)}),
        ("the knee range on the right is under 30 degrees", {"knee_range_right": (-INF, 30)}),
        ("left knee range 27 deg, right knee range 20 deg", {"knee_range_left": (27, 27), "knee_range_right": (20, 20)}),
        ("knee flexion above 60 degrees", {"peak_knee_flexion": (60, INF)}),
        ("double support more than 40 %", {"double_support_percent": (40, INF)}),
        ("wide base, short steps", {"step_width": (0.15, INF), "stride_length": (-INF, 0.9)}),
        ("the right knee hardly bends", {"knee_range_right": (-INF, 35)}),
        ("no limp, comfortable pace", {"pathology": ("-antalgic",), "speed": (0.8, 1.35)}),
        ("steppage or lurch gait on the left", {"pathology": ("steppage", "lurch"), "side": ("left",)}),
        ("lurch gait, not on the left", {"pathology": ("lurch",), "side": ("-left",)}),
        ("somebody taller than 1.6 m", {"body_height": (1.6, INF)}),
        ("abnormal gait", {"pathology": ("-normal",)}),
        ("women older than 60 years", {"sex": ("female",), "age": (60, INF)}),
        ("slower than half a metre per second", {"speed": (-INF, 0.5)}),
    ],
)
def test_what_is_read(text, expected):
    assert read(text) == expected


def test_words_are_what_the_conditions_do_not_say():
    assert read_query("steppage gait, right side, 0.7 m/s").words == ""
    assert read_query("walks without a limp at 0.7 m/s").words == ""
    assert read_query("hobbles along at 0.7 m/s").words == "hobbles along at 0.7 m/s"


def test_about_is_wider_and_every_condition_names_its_words():
    exact, about = (read_query(t).conditions[0] for t in ("speed 0.70 m/s", "speed about 0.70 m/s"))
    assert about.spread == 2 * exact.spread and exact.words == "speed 0.70 m/s" and exact.asked == "speed 0.7 m/s"
    assert read_query("slower than 0.7 m/s").conditions[0].asked == "speed at most 0.7 m/s"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", "is empty"),
        ("x" * 1001, "1001 characters"),
        ("qwert asdf", "says nothing about a walk"),
        ("ein langsamer Gang mit Hinken rechts", "English only"),
        ("慢走", "English only"),
        ("marche lente avec boiterie", "English only"),
        ("walk 42", "what is the number '42'"),
        ("speed 9 m/s", "out of reach of any walk; expected 0 to 6 m/s"),
        ("faster than 1.2 m/s and slower than 0.8 m/s", "contradicts itself"),
        ("fast walk at 0.5 m/s", "contradicts itself"),
        ("steppage and lurch gait", "names 2 kinds of gait"),
        ("steppage gait, no steppage", "both asks for and excludes"),
        ("left knee, right side", "two sides"),
        ("normal gait, left side", "no affected side"),
    ],
)
def test_bad_queries_get_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        read_query(text)
    with pytest.raises(TypeError, match="one text"):
        read_query([text])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_paraphrases_of_a_walk_are_read_and_fit_it(seed):
    """Every number and class that a paraphrase states fits the walk that it was made from."""
    rng = np.random.default_rng(seed)
    knee = {f"knee_range_{s}": float(rng.integers(20, 80)) for s in ("left", "right")}
    speed, cadence = rng.uniform(0.35, 1.4), rng.uniform(75, 130)
    d = WalkDescription("stiff_legged", "right", None, speed, cadence, 120 * speed / cadence, **knee)
    for c in read_query(paraphrase(d, rng)).conditions:
        if c.values:
            assert c.values[0] in (d.pathology, d.side) and not c.negated
        elif hasattr(d, c.quantity):
            value = getattr(d, c.quantity)
            assert c.low - 2 * c.spread <= value <= c.high + 2 * c.spread, (c, value)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.text(alphabet="0123456789.-<>=%°/ msdegknlftrighspaw", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        query = read_query(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert query.conditions or query.words


def test_filters():
    filters = read_where('pathology=steppage speed < 0.7 file!="my walk.csv"')
    assert [(f.name, f.sign, f.value) for f in filters] == [
        ("pathology", "=", "steppage"),
        ("speed", "<", 0.7),
        ("file", "!=", "my walk.csv"),
    ]
    assert filters[0](np.array(["Steppage", "lurch"])).tolist() == [True, False]
    assert filters[1](np.array([0.6, 0.7, np.nan])).tolist() == [True, False, False]
    assert read_where("subject_id=3")[0](np.array(["3", "10"])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"), [("speed", "expected NAME"), ("", "empty"), ('a="b', "quotation"), ("speed<<3", "expected NAME")]
)
def test_bad_filters_get_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        read_where(text)
    with pytest.raises(ValueError, match="holds words"):
        read_where("pathology<3")[0](np.array(["a"]))
