"""The Space's search without a browser: words, filters, a visitor's walk, what is refused; one visitor never sees another's."""

import json

import numpy as np
import pytest
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder

for _library in ("gradio", "plotly", "gradio_client"):
    pytest.importorskip(_library, reason=f"{_library} is not installed: pip install -e '.[demo]'")

import app  # noqa: E402
import gait_finder  # noqa: E402
from test_space import demo, walk_file  # noqa: E402, F401

from modeling_gait.export import write_csv  # noqa: E402
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor  # noqa: E402
from modeling_gait.loading import load_walk  # noqa: E402


@pytest.fixture(scope="module")
def finder(tmp_path_factory) -> gait_finder.GaitFinder:
    """An untrained dual encoder: numbers, classes and sides do not need its words."""
    root = tmp_path_factory.mktemp("finder")
    gait = {"layout": "kinect_v2", "hidden_size": 16, "num_attention_heads": 2, "num_frames": 32}
    model = tiny(write_sentence_encoder(root / "encoder"), gait_config=gait)
    model.get_text_features("fixes the fingerprint")
    model.save_pretrained(root / "words")
    GaitFeatureExtractor(num_frames=32).save_pretrained(root / "words")
    return gait_finder.GaitFinder(str(root / "words"))


def test_words_and_numbers_find_walks_and_say_why(finder):
    hits = finder.by_text("steppage gait, right side, slower than 1.1 m/s", "", ())
    assert len(hits) == gait_finder.HITS and "steppage gait, right side" in hits[0].name
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True) and hits[0].score > 0.9
    assert any("slower than 1.1 m/s" in w and "found" in w for w in hits[0].why)
    speeds = [h.joints[-1, 0, 1] - h.joints[0, 0, 1] for h in hits[:3]]
    assert max(speeds) / (len(hits[0].joints) / 30) < 1.15
    filtered = finder.by_text("steppage gait", 'person="person 3"', ())
    assert {h.name.split(",")[0] for h in filtered} == {"person 3"}


@pytest.mark.parametrize(
    ("query", "where", "message"),
    [
        ("", "", "empty"),
        ("ein langsamer Gang", "", "English"),
        ("normal gait, 4 m/s", "", "no walk here has speed"),
        ("normal gait", "speed<<1", "filter"),
        ("normal gait", "colour=red", "no such column"),
        ("normal gait", "speed>9", "passes the filter"),
    ],
)
def test_bad_queries_get_a_sentence(finder, query, where, message):
    with pytest.raises(ValueError, match=message):
        finder.by_text(query, where, ())


@pytest.mark.parametrize("by", ["gait", "person", "both"])
def test_a_walk_finds_walks_like_it(finder, walk_file, tmp_path, by):  # noqa: F811
    own = finder.read(walk_file, 0, ())
    alone = finder.by_walk("my_walk.csv", by, "", own)
    assert len(alone) == gait_finder.HITS and not any("yours" in h.name for h in alone)
    unlabelled = finder.by_text("steppage gait", "person=you", own)  # may be it: not refused
    assert [h.name for h in unlabelled] == ["my_walk.csv (yours)"]
    assert alone[0].why[0].startswith("your walk: the ") and any("speed" in w and "found" in w for w in alone[0].why)
    own = finder.read(walk_file, 0, own)  # the same once more: the nearest by far
    hits = finder.by_walk("my_walk.csv", by, "", own)
    assert hits[0].name == "my_walk.csv (2) (yours)" and hits[0].score > 0.99
    np.testing.assert_array_equal(hits[0].joints, own[1].joints)
    taller = load_walk(walk_file).joints * 1.3
    write_csv(tmp_path / "taller.csv", taller, 30.0)
    both = finder.by_walk("my_walk.csv", "person", "", finder.read(tmp_path / "taller.csv", 0, own))
    assert both[0].name == "my_walk.csv (2) (yours)" and not both[1].name.startswith("taller")


def test_what_cannot_be_looked_for_is_refused(finder, walk_file, tmp_path, monkeypatch):  # noqa: F811
    with pytest.raises(ValueError, match="hand in a walk first"):
        finder.by_walk("", "gait", "", ())
    (tmp_path / "broken.csv").write_text("time,left_knee_x\n0,a\n")
    with pytest.raises(ValueError, match=r"^broken\.csv"):
        finder.read(tmp_path / "broken.csv", 0, ())
    monkeypatch.setattr(gait_finder, "MOST_OWN", 1)
    with pytest.raises(ValueError, match="at most 1"):
        finder.read(walk_file, 0, finder.read(walk_file, 0, ()))


def test_the_page_has_the_search_where_there_is_a_finder(demo, finder):  # noqa: F811
    with_it, without = (json.dumps(app.build(demo, *f).get_config_file(), default=str) for f in ([finder], []))
    assert "own-file" in with_it and "own-file" not in without
