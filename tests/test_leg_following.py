"""Legs exchanged by an estimator: walkers filmed, legs exchanged or put in one place where one hides the other."""

from dataclasses import replace

import numpy as np
import pytest
from films import filmed
from walkers import CADENCE

from modeling_gait.leg_following import LEFT, RIGHT, follow_legs
from modeling_gait.recording import read_recording
from modeling_gait.video_walk import walk_from_poses


def spoilt(track, swapped=(), merged=()):
    """The legs of some frames exchanged, of others both in one place."""
    keypoints, landmarks = track.keypoints.copy(), track.landmarks.copy()
    for values in (keypoints, landmarks):
        values[np.ix_(swapped, LEFT + RIGHT)] = values[np.ix_(swapped, RIGHT + LEFT)]
        both = (values[np.ix_(merged, LEFT)] + values[np.ix_(merged, RIGHT)]) / 2
        values[np.ix_(merged, LEFT)] = values[np.ix_(merged, RIGHT)] = both
    return replace(track, keypoints=keypoints, landmarks=landmarks)


@pytest.mark.parametrize("azimuth", [90, -90, 45, 0])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_legs_that_are_right_stay_as_they_are(azimuth, noise):
    track = filmed(azimuth, noise=noise)
    found, said = follow_legs(track)
    assert found is track and said == ""


@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_legs_that_are_right_stay_so_in_few_frames_a_second(noise):
    track = filmed(90, noise=noise, fps=15.0, seconds=6)
    found, said = follow_legs(track)
    assert said == "" and read_recording(walk_from_poses(found)).gait_parameters["cadence"] == pytest.approx(CADENCE, abs=3)


@pytest.mark.parametrize("swapped", [range(40, 75), [20], [30, 31, 60, 61, 62, 100], range(3, 20), range(80, 120)])
@pytest.mark.parametrize("azimuth, noise", [(90, 0.0), (90, 0.01), (45, 0.005)])
def test_exchanged_legs_are_put_right(swapped, azimuth, noise):
    track = filmed(azimuth, noise=noise)
    found, said = follow_legs(spoilt(track, list(swapped)))
    assert said == f"left and right leg were exchanged in {len(swapped)} of 120 frames: put right"
    np.testing.assert_array_equal(found.keypoints, track.keypoints)
    np.testing.assert_array_equal(found.landmarks, track.landmarks)


def test_a_second_of_exchanged_legs_behind_one_another():
    """Put in one place before and after a second in which they are exchanged, as MediaPipe does with dark trousers."""
    track = filmed(90, noise=0.005)
    ankles = np.abs(track.keypoints[:, LEFT[1], 0] - track.keypoints[:, RIGHT[1], 0])
    start, end = (a + int(ankles[a : a + 20].argmin()) for a in (35, 70))
    wrong = spoilt(track, list(range(start, end)), [start - 1, start, end - 1, end])
    found, said = follow_legs(wrong)
    taken = np.isfinite(found.keypoints[:, LEFT[1], 0])
    assert taken.sum() >= 116 and "exchanged in" in said
    clear = taken & ~np.isin(np.arange(120), [start - 1, start, end - 1, end])
    np.testing.assert_array_equal(found.keypoints[clear], track.keypoints[clear])
    assert read_recording(walk_from_poses(wrong)).gait_parameters["cadence"] == pytest.approx(CADENCE, abs=2)


def test_legs_that_cannot_be_told_apart_are_left_out_and_named():
    """For a second each leg is in random places of both."""
    track, rng = filmed(90), np.random.default_rng(1)
    keypoints = track.keypoints.copy()
    keypoints[40:70, LEFT + RIGHT] += rng.normal(0, 100, (30, 8, 2))
    found, said = follow_legs(replace(track, keypoints=keypoints))
    assert np.isnan(found.keypoints[45:65, LEFT]).all() and "not told apart in" in said
    assert np.isfinite(found.keypoints[:, 23]).all(), "the trunk stays"
