"""Walks as rows and tables: made, kept, brought up to date."""

import copy
import json

import numpy as np
import pytest
from conftest import at_another_rate
from datasets import load_dataset
from test_gait_search import joints, parts, search  # noqa: F401
from test_modeling_gait_dual_encoder import tiny

from modeling_gait import gait_index, walk_vectors
from modeling_gait.export import save_walk
from modeling_gait.gait_search import GaitSearch, encode_walks


@pytest.mark.parametrize("clean", [False, True])
def test_rows_of_another_rate_are_as_fast(parts, dataset_folder, clean):  # noqa: F811
    model, extractor = parts
    rows = load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train").select(range(3))
    rows = rows.remove_columns("gait_parameters")
    one, other = (
        GaitSearch.from_dataset(model, r, extractor, clean, progress=False) for r in (rows, at_another_rate(rows, 60.0))
    )
    np.testing.assert_allclose(one.column("speed"), other.column("speed"), rtol=0.02)
    assert (one.embeddings * other.embeddings).sum(1).min() > 0.99


@pytest.mark.parametrize("clean", [False, True])
def test_a_row_without_a_rate_is_named(parts, dataset_folder, clean):  # noqa: F811
    rows = load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train").select(range(2))
    rows = rows.map(lambda _, i: {"fps": None if i else 30.0}, with_indices=True)
    with pytest.raises(ValueError, match="row 1: .*fps|row 1: .*frames a second"):
        GaitSearch.from_dataset(parts[0], rows, parts[1], clean, progress=False)


def test_a_folder_with_a_broken_file_is_searched_saved_and_updated(parts, walks, tmp_path):  # noqa: F811
    model, extractor = parts
    folder, index = tmp_path / "walks", tmp_path / "walks" / "index"
    folder.mkdir()
    with pytest.raises(ValueError, match="no walks; looked for .*\\.json.*\\.mp4"):
        GaitSearch.from_folder(model, folder, extractor)
    (folder / "bad.txt").write_text("this,is\nno,walk\n")
    with pytest.warns(UserWarning, match=r"left out.*bad\.txt"), pytest.raises(ValueError, match="none of 1 files is a walk"):
        GaitSearch.from_folder(model, folder, extractor, progress=False)
    for i in range(3):
        save_walk(folder / f"walk{i}.npz", walks.joints[i], 30.0)
    with pytest.warns(UserWarning, match=r"left out.*bad\.txt"):
        search = GaitSearch.from_folder(model, folder, extractor, progress=False)
    assert list(search.failed) == [str(folder / "bad.txt")] and len(search.walks) == 3
    assert search.by_walk(folder / "walk1.npz", k=1)[0]["file"].endswith("walk1.npz")
    search.save(index)
    save_walk(folder / "walk3.npz", walks.joints[3], 30.0)
    (folder / "walk0.npz").unlink()
    again = GaitSearch.load(model, index, extractor)
    assert again.update(folder) == (1, 1) and again.update(folder) == (0, 0)
    assert [f[-9:-4] for f in again.walks["file"]] == ["walk1", "walk2", "walk3"]
    fresh = GaitSearch.from_folder(model, folder, extractor, progress=False)
    for name in ("embeddings", "measured", "bodies"):
        np.testing.assert_allclose(getattr(again, name), getattr(fresh, name), atol=1e-5)
    again.save(index)
    assert len(GaitSearch.load(model, index, extractor).walks) == 3


def test_saved_search_finds_the_same_and_knows_its_model(search, tmp_path):  # noqa: F811
    search.save(tmp_path / "index")
    again = GaitSearch.load(search.model, tmp_path / "index", search.extractor)
    assert again.by_text("limping, cadence over 40", k=5) == search.by_text("limping, cadence over 40", k=5)
    with pytest.raises(ValueError, match="no saved search"):
        GaitSearch.load(search.model, tmp_path, search.extractor)
    other = tiny(search.model.config.text_config.name, gait_config=search.model.config.gait_config.to_dict())
    other.gait_projection.weight.data += 1
    with pytest.raises(ValueError, match="made with the model"):
        GaitSearch.load(other, tmp_path / "index", search.extractor)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    with pytest.raises(FileExistsError, match="no saved search"):
        search.save(tmp_path / "full")


def test_a_row_that_is_added_needs_its_columns(search, joints):  # noqa: F811
    with pytest.raises(ValueError, match="needs .*subject_id"):
        search.add(joints[0], fps=30, walk_id="w")


@pytest.fixture
def places(parts, tmp_path, monkeypatch):  # noqa: F811
    """A model, the extractor that is opened for it, an empty folder of walks and a place for their index."""
    model, extractor = parts
    monkeypatch.setattr(gait_index, "open_extractor", lambda *_: extractor)
    monkeypatch.setattr(walk_vectors, "open_extractor", lambda *_: extractor)
    folder, index = tmp_path / "walks", tmp_path / "index"
    folder.mkdir()
    return model, extractor, folder, index


def test_an_index_follows_its_folder_and_no_other(places, walks, tmp_path, monkeypatch):
    model, extractor, folder, index = places
    model = copy.copy(model)
    for i in range(3):
        save_walk(folder / f"walk{i}.npz", walks.joints[i], 30.0)
    (folder / "bad.txt").write_text("no walk")
    with pytest.warns(UserWarning, match="left out"):
        first = GaitSearch.open(model, folder, index)
    read = []
    monkeypatch.setattr(
        gait_index, "encode_files", lambda m, f, *a, **k: (read.extend(f), walk_vectors.encode_files(m, f, *a, **k))[1]
    )
    with pytest.warns(UserWarning, match="left out.*bad"):
        assert GaitSearch.open(model, folder, index).files == first.files and read == []  # nor the broken one again
    save_walk(folder / "walk1.npz", walks.joints[5], 30.0)  # another walk in the same place
    again = GaitSearch.open(model, folder, index)
    assert [f.name for f in read] == ["walk1.npz"] and len(again.walks) == 3
    row = list(again.walks["file"]).index(str(folder / "walk1.npz"))
    fresh = encode_walks(model, [folder / "walk1.npz"], extractor)[0]
    np.testing.assert_allclose(again.embeddings[row], fresh, atol=1e-5)
    monkeypatch.chdir(tmp_path)
    assert sorted(GaitSearch.open(model, "walks", index).walks["file"]) == [f"walks/walk{i}.npz" for i in range(3)]
    (tmp_path / "others").mkdir()
    save_walk(tmp_path / "others" / "walk0.npz", walks.joints[0], 30.0)
    with pytest.raises(ValueError, match="an index of other walks"):
        GaitSearch.open(model, tmp_path / "others", index)
    (tmp_path / "others" / "walk0.npz").unlink()
    with pytest.raises(ValueError, match="others: no walks; looked for"):
        GaitSearch.open(model, tmp_path / "others", index)


def test_an_index_that_was_read_with_another_rate_is_read_again(places, walks):
    model, _, folder, index = places
    np.save(folder / "walk.npy", walks.joints[0])
    for fps in (60.0, 30.0, 30.0, 60.0):
        cadence = GaitSearch.open(model, folder, index, fps=fps).column("cadence")
        np.testing.assert_allclose(cadence, GaitSearch.from_folder(model, folder, progress=False, fps=fps).column("cadence"))
        assert GaitSearch.load(model, index).read_with == {"fps": fps}
    about = json.loads((index / "gait_search.json").read_text())
    del about["read_with"]  # as earlier versions wrote it
    (index / "gait_search.json").write_text(json.dumps(about))
    assert GaitSearch.open(model, folder, index, fps=30.0).column("cadence")[0] < 0.6 * cadence[0]


def test_an_added_walk_that_is_not_in_the_folder_is_left_out_with_a_warning(places, walks, tmp_path):
    model, _, folder, index = places
    for place, i in ((folder / "a.npz", 0), (tmp_path / "w.npz", 1)):
        save_walk(place, walks.joints[i], 30.0)
    first = GaitSearch.open(model, folder)
    save_walk(folder / "b.npz", walks.joints[2], 30.0)
    for place in (folder / "b.npz", tmp_path / "w.npz"):
        first.add(place)
    first.add(walks.joints[3], fps=30.0, file="mine")
    first.save(index)
    with pytest.warns(UserWarning) as told:
        found = GaitSearch.open(model, folder, index)
    left_out = [str(w.message) for w in told if "left out" in str(w.message)]
    assert len(left_out) == 2 and "w.npz: it was added" in left_out[0] and "mine: it was added" in left_out[1]
    assert list(found.walks["file"]) == [str(folder / "a.npz"), str(folder / "b.npz")]
    assert GaitSearch.load(model, index).added == []


@pytest.mark.parametrize("name", ["embeddings.npy", "measured.npy", "gait_search.json", "walks/state.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff\xfe\x00", "half"])
def test_a_damaged_index_is_refused_in_a_sentence(search, tmp_path, name, content):  # noqa: F811
    search.save(tmp_path / "index")
    file = tmp_path / "index" / name
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match="damaged|no saved search") as error:
        GaitSearch.load(search.model, tmp_path / "index", search.extractor)
    assert "\n" not in str(error.value)


def test_vectors_that_are_none_are_damage(search, tmp_path):  # noqa: F811
    search.save(tmp_path / "index")
    np.save(tmp_path / "index" / "embeddings.npy", search.embeddings * np.nan)
    with pytest.raises(ValueError, match="damaged .vectors"):
        GaitSearch.load(search.model, tmp_path / "index", search.extractor)
