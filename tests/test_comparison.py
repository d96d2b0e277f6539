"""Before and after, left and right: changes beyond the error of measurement, and no others."""

import json
import re

import numpy as np
import pytest
from films import filmed
from walkers import FPS, walker

from modeling_gait.comparison import WALK_TO_WALK, compare_sides, compare_walks, comparison_page
from modeling_gait.recording import read_recording
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.video_walk import walk_from_poses


def noisy(seed: int, speed: float = 1.2, seconds: float = 8.0, noise: float = 0.008, stiff: str | None = None):
    """A walker with the noise of a depth camera; `stiff`: a side whose knee stays near the line from hip to ankle."""
    joints = walker(seconds, speed=speed)
    if stiff:
        hip, knee, ankle = (KINECT_V2.index(f"{stiff}_{n}") for n in ("hip", "knee", "ankle"))
        middle = (joints[:, hip] + joints[:, ankle]) / 2
        joints[:, knee] = middle + 0.5 * (joints[:, knee] - middle)
    return read_recording({"joints": joints + np.random.default_rng(seed).normal(0, noise, joints.shape), "fps": FPS})


def by_name(found) -> dict:
    return {c.name: c for c in found.changes}


def test_the_same_walk_twice_has_hardly_a_change_beyond_error():
    """95 % intervals: about one in 20 of the comparisons is beyond by chance."""
    beyond = [
        c.beyond for n in range(4) for c in compare_walks([noisy(2 * n)], [noisy(2 * n + 1)]).changes if c.error == c.error
    ]
    assert len(beyond) > 100 and np.mean(beyond) < 0.12


def test_a_slower_walk_is_told():
    found = compare_walks([noisy(0)], [noisy(1, speed=1.0)])
    speed = by_name(found)["speed"]
    assert speed.beyond and speed.change == pytest.approx(-0.2, abs=0.03) and 0 < speed.error < 0.2
    assert any(s.startswith("speed is lower after than before: 1.2 -> ") for s in found.sentences)
    assert not by_name(found)["cadence"].beyond, "the walker takes shorter steps as often"
    assert json.dumps(found.to_dict())


def test_nobody_walks_twice_alike():
    """Speeds that differ as one person's do from walk to walk are no change, however even the strides."""
    for speed, told in ((1.25, False), (1.4, True)):
        found = compare_walks([noisy(0, noise=0.001)], [noisy(1, speed=speed, noise=0.001)])
        assert by_name(found)["speed"].beyond is told and by_name(found)["speed"].error > 2 * WALK_TO_WALK["speed"]


def test_what_nobody_measured_from_walk_to_walk_has_no_error_in_single_recordings():
    """Strides of one walk are more alike than walks: their spread alone would call half of these changes beyond chance."""
    names = {f"{name}_{side}" for name in ("foot_progression_angle", "ankle_range") for side in ("left", "right")}
    one = compare_walks([noisy(0, noise=0.001)], [noisy(1, noise=0.001)])
    assert {c.name for c in one.changes if np.isnan(c.error) and not c.beyond} >= names
    assert any("left foot progression angle" in d and "three would do" in d for d in one.doubts)
    three = compare_walks([noisy(n) for n in range(3)], [noisy(n) for n in range(3, 6)])
    assert all(np.isfinite(by_name(three)[name].error) for name in names)


def test_copies_count_once_and_another_body_is_told():
    one, other = noisy(0), noisy(1)
    found = compare_walks([one, one, noisy(0)], [other])
    assert (
        repr(found.changes) == repr(compare_walks([one], [other]).changes)
        and "before: 2 of 3 recordings are copies" in found.doubts[0]
    )
    assert "1 of 2 recordings are copies" in compare_sides([one, one]).doubts[0]
    assert not any("one person" in d or "copies" in d for d in compare_walks([one], [other]).doubts)
    tall = read_recording({"joints": 1.2 * other.joints, "fps": FPS})
    for found in (compare_walks([one], [tall]), compare_walks([one, tall], [other]), compare_sides([one, tall])):
        assert "is this one person, in one unit?" in found.doubts[0]
    sentences = compare_walks([one], [noisy(1, speed=0.9)]).sentences
    assert "by chance alone about" in sentences[-1]


def test_more_noise_in_one_is_told():
    """It makes ranges of motion larger, which is no change of the person."""
    calm, shaky = noisy(0, noise=0.001), noisy(1, noise=0.015)
    found = compare_walks([calm], [shaky])
    assert any(c.beyond for c in found.changes if "obliquity" in c.name or "trunk" in c.name)
    assert re.match("the joints after jitter by 1[2-6] mm, before by 1:", found.doubts[0])
    assert "the joints before jitter" in compare_walks([shaky], [calm]).doubts[0]
    for pair in ((noisy(0), noisy(1)), (calm, noisy(1, noise=0.004))):
        assert not any("jitter" in d for d in compare_walks(*([w] for w in pair)).doubts)


def test_one_stiff_knee_is_told_against_the_other():
    found = compare_sides([noisy(0, stiff="right")])
    changes = by_name(found)
    assert changes["knee_range"].beyond and changes["knee_range"].change < -15
    assert not changes["step_length"].beyond and found.curves["knee_flexion"] > 5
    assert not by_name(compare_sides([noisy(0)]))["knee_range"].beyond


def test_three_recordings_each_give_the_error_by_their_spread():
    before = [noisy(n, speed=v) for n, v in enumerate((1.1, 1.2, 1.3))]
    after = [noisy(9 + n, speed=v) for n, v in enumerate((1.15, 1.25, 1.35))]
    speed = by_name(compare_walks(before, after))["speed"]
    assert speed.strides == (3, 3) and not speed.beyond and speed.error > 0.15, "a person who varies by 0.1 m/s"


def test_a_camera_adds_its_error_and_two_alike_share_a_stature():
    """What a film gets wrong it gets wrong anew in each; the stature that both take is wrong in both alike."""
    film, again, assumed = (read_recording(walk_from_poses(filmed(90, seconds=8, noise=0.003), h)) for h in (1.7, 1.7, None))
    share, amount = film.accuracy["speed"]
    alike, unlike = (by_name(compare_walks([film], [other]))["speed"].error for other in (again, assumed))
    assert share > 0 and 1.96**2 * 2 * (amount**2 + WALK_TO_WALK["speed"] ** 2) < alike**2 and alike < unlike
    assert by_name(compare_sides([film]))["step_length"].error > 1.96 * 2**0.5 * film.accuracy["step_length_left"][1]
    assert "step_width" not in by_name(compare_walks([film], [noisy(0)])), "the film does not show it"


def test_the_page(tmp_path):
    before, after = [noisy(0)], [noisy(1, speed=1.0)]
    comparison_page(compare_walks(before, after), tmp_path / "a.html", before, after)
    page = (tmp_path / "a.html").read_text()
    assert "data:image/png;base64," in page and "speed is lower" in page and "not a diagnosis" in page
    comparison_page(compare_sides(before), tmp_path / "b.html", before)
    assert "Left and right" in (tmp_path / "b.html").read_text()


def test_too_little_to_compare():
    with pytest.raises(ValueError, match="one or more recordings before and after"):
        compare_walks([], [noisy(0)])
    short = compare_walks([noisy(0, seconds=2.0)], [noisy(1, seconds=2.0)])
    assert any("too few strides or recordings" in d for d in short.doubts) and not any(
        c.beyond for c in short.changes if c.error != c.error
    )
