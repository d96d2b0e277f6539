"""Queries and filters: what is read of them, and which sentence a bad one gets."""

import numpy as np
import pytest
from conftest import TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.caption_grammar import paraphrase
from modeling_gait.gait_filters import read_where
from modeling_gait.gait_query import read_query
from modeling_gait.walk_description import WalkDescription


def read(text: str) -> dict[str, list]:
    """quantity -> (low, high), or names with a minus before those that are denied."""
    return {
        c.quantity: [("-" if c.negated else "") + v for v in c.values] or [round(c.low, 3), round(c.high, 3)]
        for c in read_query(text).conditions
    }


@pytest.mark.parametrize(("text", "expected"), TEXTS["queries_read"])
def test_what_is_read(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("foot clearance over 15 cm on the right", "right foot clearance over 15 cm"),
        ("foot clearance over 15 cm of the right foot", "right foot clearance over 15 cm"),
        ("knee range below 55 degrees on the left", "left knee range below 55 degrees"),
        ("knee range below 55 degrees (left)", "left knee range below 55 degrees"),
        ("step length 40 cm on the left side, slow", "left step length 40 cm, slow"),
        ("reduced knee flexion on the left", "reduced left knee flexion"),
        ("slow, the knee hardly bends on the right side", "slow, the right knee hardly bends"),
    ],
)
def test_the_side_of_a_number_is_no_affected_side(text, same):
    assert read(text) == read(same) and "side" not in read(text) and read_query(text).words == ""
    assert read("cadence below 90 on the left")["side"] == ["left"]
    assert read("knee range below 55 degrees in a steppage gait on the left")["side"] == ["left"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("less than average speed", {"speed": [-np.inf, 0.8]}),
        ("lower than normal speed", {"speed": [-np.inf, 0.8]}),
        ("no less than average speed", {"speed": [0.8, np.inf]}),
        ("higher than normal cadence", {"cadence": [125, np.inf]}),
        ("shorter steps than 50 cm", {"stride_length": [-np.inf, 1.0]}),
        ("no shorter steps than 50 cm", {"stride_length": [1.0, np.inf]}),
        ("without steps shorter than 50 cm", {"stride_length": [1.0, np.inf]}),
        ("does not take shorter steps than 50 cm", {"stride_length": [1.0, np.inf]}),
        ("a lower cadence than 90", {"cadence": [-np.inf, 90]}),
        ("smaller left knee range than 55 degrees", {"knee_range_left": [-np.inf, 55]}),
        ("left knee does not bend, right knee bends", {"knee_range_left": [-np.inf, 35], "knee_range_right": [35, np.inf]}),
        ("between one and two m/s", {"speed": [1, 2]}),
        ("knee range 20 degrees or less on the left", {"knee_range_left": [-np.inf, 20]}),
    ],
)
def test_what_is_compared_is_a_limit(text, expected):
    assert read(text) == expected and read_query(text).words == ""
    assert read("longer slow walks") == {"speed": [-np.inf, 0.8]}


@pytest.mark.parametrize("text", ["speed lower than normal", "slower than normal speed", "speed below average"])
def test_below_normal_is_no_normal_gait(text):
    (c,) = read_query(text).conditions
    assert (c.quantity, c.best) == ("speed", -1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knee range 20 degrees less on the left", "sides are not compared .'20 degrees less"),
        ("step length 10 cm shorter on the left", "sides are not compared"),
        ("left knee range 20 degrees less", "sides are not compared"),
        ("between one and 1.5 m/s", "range 'between one and 1.5 m/s' is not read"),
    ],
)
def test_comparisons_and_ranges_that_are_not_read_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_query(text)


def test_words_are_what_the_conditions_do_not_say():
    assert read_query("steppage gait, right side, 0.7 m/s").words == ""
    assert read_query("walks without a limp at 0.7 m/s").words == ""
    assert read_query("hobbles along at 0.7 m/s").words == "hobbles along at 0.7 m/s"


def test_about_is_wider_and_every_condition_names_its_words():
    exact, about = (read_query(t).conditions[0] for t in ("speed 0.70 m/s", "speed about 0.70 m/s"))
    assert about.spread == 2 * exact.spread and exact.words == "speed 0.70 m/s" and exact.asked == "speed 0.7 m/s"
    assert read_query("slower than 0.7 m/s").conditions[0].asked == "speed at most 0.7 m/s"


def test_two_limits_of_one_number_and_what_is_denied():
    limits = read_query("cadence > 80 and < 90").conditions
    assert [(c.quantity, c.low, c.high) for c in limits] == [("cadence", 80, np.inf), ("cadence", -np.inf, 90)]
    for text in ("not 0.7 m/s", "speed != 0.7", "speed not 0.7 m/s"):
        (c,) = read_query(text).conditions
        assert c.negated and c.low == c.high == 0.7 and c.asked == "speed not 0.7 m/s"
    assert not read_query("no limp, speed 0.7").conditions[0].negated


@pytest.mark.parametrize(
    ("text", "quantity", "best"),
    [("the slowest walk", "speed", -1), ("longest strides", "stride_length", 1), ("slower than average", "speed", -1)],
)
def test_the_most_and_the_least_are_asked_for(text, quantity, best):
    (c,) = read_query(text).conditions
    assert (c.quantity, c.best) == (quantity, best) and c.asked.endswith("as can be")


@pytest.mark.parametrize(
    "text", ["not the slowest", "slow, not the fastest walk", "not among the longest steps", "limping, not the most asymmetric"]
)
def test_the_most_and_the_least_are_not_denied(text):
    with pytest.raises(ValueError, match="is denied"):
        read_query(text)


@pytest.mark.parametrize("text", ["walks without anything wrong", "nothing abnormal", "no gait problem", "without complaints"])
def test_nothing_wrong_is_normal_gait(text):
    (c,) = read_query(text).conditions
    assert c.values == ("normal",) and not c.negated


def test_words_that_are_not_known_are_told():
    (doubt,) = read_query("stepage gait, slower than 0.7 m/s").doubts
    assert "'stepage'" in doubt and "did you mean 'steppage'" in doubt
    assert read_query("hobbles along, an old woman in sneakers, 0.7 m/s").doubts == ()
    assert read_query("the right knee is lifted high").doubts == ()  # lift is known
    assert read_query("slow, without a stick").doubts == ("'without a stick' is not known here and left out",)


@pytest.mark.parametrize(
    ("text", "denied"),
    [("the arms do not swing", "arms swing"), ("slow, no arm swing", "arm swing"), ("foot isn't lifted", "foot lifted")],
)
def test_who_does_not_is_denied_with_what(text, denied):
    query = read_query(text)
    assert [c.values for c in query.conditions if c.negated] == [(denied,)] and "swing" not in query.words


@pytest.mark.parametrize(("text", "message"), [*TEXTS["queries_refused"], ("x" * 1001, "1001 characters")])
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


def test_filters_as_people_write_them():
    filters = read_where("speed ≤ 0.7 and cadence==90 step_width>1e-1")
    assert [(f.name, f.sign, f.value) for f in filters] == [
        ("speed", "<=", 0.7),
        ("cadence", "=", 90),
        ("step_width", ">", 0.1),
    ]
    with pytest.raises(ValueError, match="speed holds numbers, and '0,7' is none"):
        read_where("speed<0,7")[0](np.array([0.6]))


@pytest.mark.parametrize(
    ("text", "message"), [("speed", "expected NAME"), ("", "empty"), ('a="b', "quotation"), ("speed<<3", "expected NAME")]
)
def test_bad_filters_get_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        read_where(text)
    with pytest.raises(ValueError, match="holds words"):
        read_where("pathology<3")[0](np.array(["a"]))
