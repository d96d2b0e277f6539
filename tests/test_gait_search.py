"""Search among walks by numbers, words and walks."""

import sys

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder

from modeling_gait import gait_fits, gait_search
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_search import MEASURED, GaitSearch, body_row, encode_walks, measured_row
from modeling_gait.skeletons import KINECT_V2


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A tiny model of Kinect walks and its extractor."""
    gait = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "num_frames": 32}
    return tiny(write_sentence_encoder(tmp_path_factory.mktemp("encoder")), gait_config=gait), GaitFeatureExtractor(
        num_frames=32
    )


@pytest.fixture(scope="module")
def search(parts, dataset_folder):
    model, extractor = parts
    rows = load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train")
    return GaitSearch.from_dataset(model, rows, extractor, progress=False)


@pytest.fixture(scope="module")
def joints(dataset_folder):
    rows = load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train")
    return [np.asarray(j, np.float32) for j in rows["joints"]]


def test_numbers_come_first_with_what_was_measured(search):
    speeds = search.column("speed")
    low, high = np.nanpercentile(speeds, (30, 60))
    found = search.by_text(f"between {low:.2f} and {high:.2f} m/s", k=21)
    fits = [low - 0.005 <= speeds[f["row"]] <= high + 0.005 for f in found]
    assert fits == sorted(fits, reverse=True) and 0 < sum(fits) < 21
    assert [f["score"] for f in found] == sorted((f["score"] for f in found), reverse=True)
    (why,) = found[0]["why"]
    assert why["found"] == pytest.approx(speeds[found[0]["row"]]) and why["fit"] == pytest.approx(found[0]["score"])
    assert why["asked"].startswith("speed ") and 0.5 < why["fit"] <= 1
    assert found[0]["walk_id"] == search.walks[found[0]["row"]]["walk_id"] and "joints" not in found[0]


def test_labels_words_and_numbers_make_one_score(search):
    names = search.column("pathology")
    found = search.by_text(f"{names[0]} gait, hobbling, cadence over 40", k=len(names))
    same = [names[f["row"]] == names[0] for f in found]
    assert same == sorted(same, reverse=True)
    whys = {w["asked"].split()[0]: w for w in found[0]["why"]}
    assert set(whys) == {"pathology", "cadence", "the"} and whys["pathology"]["found"] == names[0]
    assert found[0]["score"] == pytest.approx(np.prod([w["fit"] for w in found[0]["why"]]), rel=1e-4)
    none = search.by_text(f"no {names[0]} gait, cadence over 40", k=1)[0]
    assert names[none["row"]] != names[0]


def test_without_labels_the_model_judges_class_and_side(search):
    bare = GaitSearch(
        search.model, Dataset.from_dict({"n": range(21)}), search.embeddings, search.measured, None, search.extractor
    )
    found = bare.by_text("steppage gait, right side", k=21)
    assert all(w["found"] is None and 0 < w["fit"] < 1 for f in found for w in f["why"])
    either, one, other = (
        np.array([f["why"][0]["fit"] for f in sorted(bare.by_text(t, k=21), key=lambda f: f["row"])])
        for t in ("steppage gait", "not steppage gait", "steppage or lurch gait")
    )
    np.testing.assert_allclose(either + one, 1, atol=1e-6)
    assert not np.allclose(either, other)


def test_columns_are_numbers_and_names_whatever_the_format(search, dataset_folder):
    rows = load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train").with_format("numpy")
    other = GaitSearch(search.model, rows, search.embeddings, extractor=search.extractor)
    assert other.column("fps").dtype.kind == "f" and other.column("severity").dtype.kind == "f"
    assert (other.column("pathology") == search.column("pathology")).all() and other.column("colour") is None
    assert set(other.column("side")) <= {"left", "right", "both", "none", "unknown"}


def test_filters_are_hard(search):
    speeds, subject = search.column("speed"), search.walks["subject_id"][0]
    least = round(float(np.nanmedian(speeds)), 3)
    found = search.by_text("cadence over 40", k=21, where=f"subject_id={subject} speed>{least}")
    mine = (np.array(search.walks["subject_id"]) == subject) & (speeds > least)
    assert {f["row"] for f in found} == set(np.flatnonzero(mine))
    with pytest.raises(ValueError, match="none of 21 walks passes"):
        search.by_text("cadence over 40", where="speed>5")
    with pytest.raises(ValueError, match="no such column"):
        search.by_text("cadence over 40", where="colour=red")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "empty"),
        ("hobbling " * 100, "tokens"),
        ("slower than 0.05 m/s", "no walk here has speed at most 0.05 m/s.*they have"),
        ("age over 110 years", "no walk here"),
    ],
)
def test_bad_queries_get_a_sentence(search, query, message):
    with pytest.raises(ValueError, match=message):
        search.by_text(query)


@pytest.mark.parametrize(("word", "quantity", "sign"), [("slow", "speed", 1), ("wide base", "step_width", -1)])
def test_a_word_that_no_walk_meets_finds_the_nearest(search, word, quantity, sign):
    """Those that were not measured come last, and numbers are still refused."""
    measured = search.measured.copy()
    value = np.random.default_rng(0).uniform(2, 3, 21) if sign > 0 else np.random.default_rng(0).uniform(0.01, 0.05, 21)
    value[3] = np.nan
    measured[:, MEASURED.index(quantity)] = value
    other = GaitSearch(search.model, search.walks, search.embeddings, measured, None, search.extractor)
    found = other.by_text(word, k=21)
    assert [f["row"] for f in found] == [*np.argsort(sign * value)[:-1], 3]
    assert all(f["why"][0]["asked"].endswith("(no walk here; nearest first)") and f["score"] <= 0.01 for f in found)
    with pytest.raises(ValueError, match="no walk here has .*they have"):
        other.by_text("speed below 0.7 m/s" if sign > 0 else "step width over 30 cm")
    assert "nearest" not in other.by_text("not slow" if sign > 0 else "no wide base", k=1)[0]["why"][0]["asked"]


def test_a_walk_finds_itself_and_its_person(search, joints):
    best = search.by_vector(encode_walks(search.model, [joints[4]], search.extractor, clean=False)[0], k=1)[0]
    assert best["row"] == 4 and best["score"] == pytest.approx(1, abs=1e-5)
    people = search.walks["subject_id"]
    for by in ("gait", "person", "both"):
        found = search.by_walk(joints[4], k=3, fps=30, by=by)
        assert 4 in [f["row"] for f in found]
    assert [people[f["row"]] for f in search.by_walk(joints[4], k=2, fps=30, by="person")] == [people[4]] * 2
    with pytest.raises(ValueError, match="gait, person or both"):
        search.by_walk(joints[4], fps=30, by="name")
    with pytest.raises(ValueError, match="unknown skeleton"):
        search.by_walk(np.zeros((40, 25, 3)), fps=30, skeleton="octopus")


def test_bones_do_not_depend_on_side_or_way(walks):
    body = body_row(walks.joints[0], KINECT_V2)
    turned = walks.joints[0] @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], np.float32)
    assert body.shape == (24,) and body == pytest.approx(body_row(turned, KINECT_V2), abs=1e-5)


def test_measured_row():
    row = dict(zip(MEASURED, measured_row({"speed": 0.7, "stride_length_left": 1.0, "cadence": None})))
    assert row["speed"] == pytest.approx(0.7) and row["stride_length"] == 1 and np.isnan(row["cadence"])
    assert np.isnan(row["asymmetry"])


def test_batches_do_not_change_the_vectors(parts, walks):
    model, extractor = parts
    one = encode_walks(model, list(walks.joints), extractor, clean=False, batch_size=2)
    np.testing.assert_allclose(one, encode_walks(model, list(walks.joints), extractor, clean=False), atol=1e-6)
    assert one.shape == (7, 8) and encode_walks(model, [], extractor).shape == (0, 8)


def test_scores_of_attributes_are_probabilities(search):
    scores = search.attribute_scores({"side": ["left side", "right side"], "pace": ["slow", "usual", "fast"]})
    assert scores["side"].shape == (21, 2) and scores["pace"].shape == (21, 3)
    for values in scores.values():
        np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)


def test_large_indices_ask_a_graph(search, monkeypatch, tmp_path):
    pytest.importorskip("faiss", reason="needs FAISS: pip install faiss-cpu")
    exact = search.by_vector(search.embeddings[3], k=5)
    monkeypatch.setattr(gait_search, "EXACT_ROWS", 20)
    found = search.by_vector(search.embeddings[3], k=5)
    assert [f["row"] for f in found] == [f["row"] for f in exact]
    search.save(tmp_path / "index")
    assert (tmp_path / "index" / "graph.faiss").is_file()
    again = GaitSearch.load(search.model, tmp_path / "index", search.extractor)
    assert again._graph is not None and again.by_vector(search.embeddings[3], k=1)[0]["row"] == 3
    search._graph = None
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        search.by_vector(search.embeddings[3])


def bare(search, measured=None, embeddings=None, extractor=None) -> GaitSearch:
    """The walks of `search` without their labels."""
    rows = Dataset.from_dict({"n": range(len(search.walks))})
    measured = search.measured if measured is None else measured
    embeddings = search.embeddings if embeddings is None else embeddings
    return GaitSearch(search.model, rows, embeddings, measured, search.bodies, extractor or search.extractor)


def test_what_nothing_tells_is_said_and_lowers_the_score(search):
    unlabelled = bare(search)
    with pytest.raises(ValueError, match="nothing tells of these walks: age at least 60 years"):
        unlabelled.by_text("age over 60")
    with pytest.raises(ValueError, match="nothing tells of these walks: side both"):
        unlabelled.by_text("both sides")
    (row,) = unlabelled.by_text("age over 60, cadence over 40", k=1)
    fits = {w["asked"]: w["fit"] for w in row["why"]}
    assert fits["age at least 60 years, which nothing here tells"] == gait_fits.UNKNOWN
    assert row["score"] < 1.01 * gait_fits.UNKNOWN


def test_classes_of_the_model_are_told_from_labels_and_those_never_seen_are_a_guess(search):
    assert search.by_text("steppage gait", k=1)[0]["why"][0]["asked"] == "pathology steppage"
    extractor = GaitFeatureExtractor(num_frames=32, labels=["normal", "steppage"])
    unlabelled = bare(search, extractor=extractor)
    assert unlabelled.by_text("steppage gait", k=1)[0]["why"][0]["asked"] == "pathology steppage, judged by the model"
    assert "never saw hemiplegic: a guess" in unlabelled.by_text("hemiplegic gait", k=1)[0]["why"][0]["asked"]


def test_the_side_of_a_number_is_told_and_the_most_comes_first(search):
    (why,) = search.by_text("knee range under 90 degrees", k=1)[0]["why"]
    side = why["asked"].split("(")[1].rstrip(")")
    assert why["found"] == search.column(f"knee_range_{side}")[search.by_text("knee range under 90 degrees", k=1)[0]["row"]]
    speeds = search.column("speed")
    assert [f["row"] for f in search.by_text("the slowest walk", k=3)] == list(np.argsort(speeds)[:3])
    assert search.by_text("fastest", k=1)[0]["row"] == np.argmax(speeds)
    speed = speeds[5]
    assert search.by_text(f"speed not {speed:.2f} m/s", k=21)[-1]["row"] in np.flatnonzero(np.abs(speeds - speed) < 0.05)


def test_a_gait_is_alike_by_its_numbers_too_and_says_why(search):
    """An encoder that finds all walks alike still gives the one that moves like it; the reasons are true."""
    same = np.repeat(search.embeddings[:1], len(search.walks), axis=0)
    other = bare(search, embeddings=same)
    found = other.by_parts(same[0], search.measured[7], search.bodies[7], k=21)
    assert found[0]["row"] == 7 and found[0]["score"] == pytest.approx(1, abs=1e-5)
    for row in found:
        model, numbers, *shown = row["why"]
        assert row["score"] == pytest.approx(model["fit"] * numbers["fit"], rel=1e-5) and 0 <= row["score"] <= 1
        assert "speed" in {w["asked"].split()[0] for w in shown} and len(shown) == 5
        assert shown[0]["found"] == search.column("speed")[row["row"]]
    speed = MEASURED.index("speed")
    measured = np.repeat(search.measured[:1], len(search.walks), axis=0)
    measured[:, speed] = np.linspace(0.3, 1.3, 21)
    found = bare(search, measured, same).by_parts(same[0], measured[4], None, k=21)
    assert [f["row"] for f in found[:3]] in ([4, 3, 5], [4, 5, 3])
    with pytest.raises(ValueError, match="no bone lengths"):
        other.by_parts(same[0], search.measured[7], None, by="person")


def test_what_is_doubtful_about_a_query_or_a_walk_is_told(search, joints):
    with pytest.warns(UserWarning, match="'stepage' is not known here.*did you mean 'steppage'"):
        search.by_text("stepage gait, cadence over 40", k=1)
    with pytest.warns(UserWarning, match="the walk that is looked for: only .* s of walking"):
        search.by_walk(joints[0][:45], k=1, fps=30)


def test_tables_must_fit_the_rows(search):
    with pytest.raises(ValueError, match="embeddings: expected"):
        GaitSearch(search.model, search.walks, search.embeddings[:3], extractor=search.extractor)
    for k in (0, 2.5, "3", None):
        with pytest.raises(ValueError, match="k must be a whole number"):
            search.by_text("slow", k=k)


@settings(max_examples=10, deadline=None)
@given(k=st.integers(1, 25), seed=st.integers(0, 99))
def test_best_come_first(search, k, seed):
    vector = np.random.default_rng(seed).standard_normal(8)
    found = search.by_vector(vector / np.linalg.norm(vector), k)
    scores = [f["score"] for f in found]
    assert len(found) == min(k, 21) and scores == sorted(scores, reverse=True)
    assert len({f["row"] for f in found}) == len(found)
