"""Search among walks by words and by a walk."""

import sys

import numpy as np
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder

from modeling_gait.export import save_walk
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_search import GaitSearch, encode_walks


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


def test_text_search_is_the_exact_order_of_cosines(search):
    text = "a slow walk"
    cosines = search.embeddings @ search.model.get_text_features(text)[0].detach().numpy()
    found = search.by_text(text, k=21)
    assert [f["score"] for f in found] == pytest.approx(sorted(cosines.tolist(), reverse=True), abs=1e-5)
    assert [cosines[f["row"]] for f in found] == pytest.approx([f["score"] for f in found], abs=1e-5)
    assert found[0]["walk_id"] == search.walks[found[0]["row"]]["walk_id"] and "joints" not in found[0]
    assert len(search.by_text(text, k=3)) == 3 and len(search.by_text(text, k=99)) == 21


def test_a_walk_finds_itself(search):
    joints = np.asarray(search.walks[4]["joints"], np.float32)
    best = search.by_vector(encode_walks(search.model, [joints], search.extractor, clean=False)[0], k=1)[0]
    assert best["row"] == 4 and best["score"] == pytest.approx(1, abs=1e-5)
    assert 4 in [f["row"] for f in search.by_walk(joints, k=3, fps=30)]


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


def test_folder_of_files(parts, walks, tmp_path):
    model, extractor = parts
    for i in range(3):
        save_walk(tmp_path / f"walk{i}.npz", walks.joints[i], 30.0)
    search = GaitSearch.from_folder(model, tmp_path, extractor)
    assert search.by_walk(tmp_path / "walk1.npz", k=1)[0]["file"].endswith("walk1.npz")
    with pytest.raises(ValueError, match="no walks"):
        GaitSearch.from_folder(model, tmp_path / "none", extractor)
    (tmp_path / "bad.csv").write_text("this,is\nno,walk\n")
    with pytest.raises(ValueError, match=r"bad\.csv"):
        GaitSearch.from_folder(model, tmp_path, extractor)


def test_saved_search_finds_the_same(search, tmp_path):
    search.save(tmp_path)
    again = GaitSearch.load(search.model, tmp_path, search.extractor)
    assert [f["row"] for f in again.by_text("limping", k=5)] == [f["row"] for f in search.by_text("limping", k=5)]
    with pytest.raises(ValueError, match="no saved search"):
        GaitSearch.load(search.model, tmp_path / "walks", search.extractor)


def test_bad_input_gets_a_clear_error(search, monkeypatch):
    for wrong, message in (("", "empty"), ("x" * 99, "tokens")):
        with pytest.raises(ValueError, match=message):
            search.by_text(wrong)
    with pytest.raises(TypeError, match="one text"):
        search.by_text(["a", "b"])
    with pytest.raises(ValueError, match="k must be"):
        search.by_text("slow", k=0)
    with pytest.raises(ValueError, match="unknown skeleton"):
        search.by_walk(np.zeros((40, 25, 3)), fps=30, skeleton="octopus")
    with pytest.raises(ValueError, match="embeddings: expected"):
        GaitSearch(search.model, search.walks, search.embeddings[:3], search.extractor)


@settings(max_examples=10, deadline=None)
@given(k=st.integers(1, 25), seed=st.integers(0, 99))
def test_best_come_first(search, k, seed):
    vector = np.random.default_rng(seed).standard_normal(8)
    found = search.by_vector(vector / np.linalg.norm(vector), k)
    scores = [f["score"] for f in found]
    assert len(found) == min(k, 21) and scores == sorted(scores, reverse=True)
    assert len({f["row"] for f in found}) == len(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "faiss", None)  # as where FAISS is not installed
        without = GaitSearch(search.model, search.walks, search.embeddings, search.extractor)
    assert [f["row"] for f in without.by_vector(vector, k)] == [f["row"] for f in found]
