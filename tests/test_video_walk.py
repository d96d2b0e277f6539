"""A walk in metres from poses in a film: walkers with known numbers before a pinhole camera."""

import numpy as np
import pytest
from films import filmed
from walkers import CADENCE, SPEED, STEP, WIDTH, walker

from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.recording import read_recording
from modeling_gait.training.filmed import landmarks_of
from modeling_gait.video_walk import STATURE, stature, walk_from_poses

ACROSS = ("step_width", "pelvic_obliquity_range", "trunk_lean_range_frontal", "foot_progression_angle_left", "body_height")
ALONG = (
    "speed",
    "step_length_left",
    "stride_length_difference",
    "step_length_asymmetry",
    "knee_range_right",
    "trunk_lean_sagittal",
)

HEIGHT = stature(landmarks_of(walker(1.0)))
TRUE = compute_gait_parameters(walker(4.0), 30)


def read(track, height=HEIGHT):
    return read_recording(walk_from_poses(track, height))


@pytest.mark.parametrize("azimuth", [90, -90])
def test_from_the_side(azimuth):
    walk = read(filmed(azimuth, noise=0.005))
    found = walk.gait_parameters
    assert found["speed"] == pytest.approx(SPEED, rel=0.03)
    assert found["cadence"] == pytest.approx(CADENCE, rel=0.02)
    for side in ("left", "right"):
        assert found[f"step_length_{side}"] == pytest.approx(STEP, rel=0.04)
        assert found[f"knee_range_{side}"] == pytest.approx(TRUE[f"knee_range_{side}"], abs=4)
        assert found[f"hip_range_{side}"] == pytest.approx(TRUE[f"hip_range_{side}"], abs=4)
    assert all(np.isnan(found[n]) for n in ACROSS), "what moves sideways is not seen"
    assert any("from the side" in d for d in walk.doubts)
    assert 0.02 < walk.uncertainty["speed"] < 0.1
    assert set(walk.uncertainty) == {n for n, v in found.items() if np.isfinite(v)}, "each number has its error"


@pytest.mark.parametrize("azimuth", [0, 180])
def test_from_the_front_and_behind(azimuth):
    found = read(filmed(azimuth, distance=8)).gait_parameters
    assert found["cadence"] == pytest.approx(CADENCE, rel=0.03)
    assert found["step_width"] == pytest.approx(WIDTH, abs=0.03)
    assert all(np.isnan(found[n]) for n in ALONG), "what moves to the camera is not seen"


@pytest.mark.parametrize("azimuth", [45, -45, 135])
def test_obliquely(azimuth):
    walk = read(filmed(azimuth, distance=7))
    found = walk.gait_parameters
    assert found["speed"] == pytest.approx(SPEED, rel=0.08) and found["step_width"] == pytest.approx(WIDTH, abs=0.05)
    assert found["knee_range_left"] == pytest.approx(TRUE["knee_range_left"], abs=8)
    assert any("obliquely" in d for d in walk.doubts)
    assert walk.uncertainty["speed"] > read(filmed(90)).uncertainty["speed"]


def test_a_camera_that_goes_along_takes_the_speed_from_the_standing_foot():
    walk = read(filmed(90, follow=True))
    assert walk.belt == pytest.approx(SPEED, rel=0.08)
    assert walk.gait_parameters["speed"] == pytest.approx(SPEED, rel=0.08)


def test_lengths_go_with_the_stature():
    track = filmed(90)
    small, assumed = read(track, HEIGHT / 2).gait_parameters["speed"], walk_from_poses(track)
    assert small == pytest.approx(SPEED / 2, rel=0.05)
    assert any(f"{STATURE:.2f} m that was assumed" in n for n in assumed.notes)
    assert assumed.accuracy["speed"][0] > walk_from_poses(track, 1.7).accuracy["speed"][0]
    with pytest.raises(ValueError, match=r"film.mp4: height: expected 0.5 to 2.5 m, got 170"):
        walk_from_poses(track, 170)


def test_a_rolled_camera_is_levelled():
    track = filmed(90)
    a = np.radians(8)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    keypoints = (track.keypoints - np.array(track.size) / 2) @ turn + np.array(track.size) / 2
    landmarks = track.landmarks.copy()
    landmarks[..., :2] = landmarks[..., :2] @ turn
    rolled = type(track)(**{**track.__dict__, "keypoints": keypoints, "landmarks": landmarks})
    found, level = read(rolled).gait_parameters, read(track).gait_parameters
    for name in ("speed", "foot_height_left", "trunk_lean_sagittal"):
        assert found[name] == pytest.approx(level[name], rel=0.05, abs=1.0 if "lean" in name else 0.01)


def test_gaps_stay_gaps_and_nobody_is_refused():
    track = filmed(90)
    track.keypoints[50:53] = track.landmarks[50:53] = np.nan
    assert np.isnan(walk_from_poses(track, HEIGHT).joints[50:53]).all()
    track.landmarks[5:] = np.nan
    with pytest.raises(ValueError, match="only 5 frames"):
        walk_from_poses(track)
