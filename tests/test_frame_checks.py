"""Frames that are lost or repeated are told, what trembles, pauses or turns is not."""

import numpy as np
import pytest
from walkers import SPEED, bent, walker

from modeling_gait.frame_checks import lost_frames, repeated_frames
from modeling_gait.recording import read_recording


@pytest.mark.parametrize("fps", [10, 30, 100, 200])
def test_lost_frames_are_told_from_what_trembles(fps):
    """A pause, a turn, noise, a treadmill and a sensor that stands still for a frame lose none, nor does a clock that tells."""
    rng, walk = np.random.default_rng(0), walker(12, fps)
    still, times = walk.copy(), np.arange(len(walk)) / fps
    still[20::25] = still[19:-1:25]
    middle = len(walk) // 2
    pause = np.concatenate((walk[:middle], np.repeat(walk[middle : middle + 1], fps, 0), walk[middle:]))
    spot = walk - SPEED * times[:, None, None] * np.array([0, 1.0, 0])
    noisy = walk + rng.normal(0, min(0.003, 0.1 / fps), walk.shape)
    for joints in (walk, bent(walk, 0.5, 5, np.pi), pause, spot, noisy, still):
        assert lost_frames(joints, np.arange(len(joints)) / fps) == []
    keep = rng.random(len(walk)) >= 0.1
    for joints in (walk, bent(walk, 0.5, 5, np.pi), noisy):
        assert lost_frames(joints[keep], times[: keep.sum()]) and lost_frames(joints[keep], times[keep]) == []


@pytest.mark.parametrize("fps", [15, 30, 100])
@pytest.mark.parametrize("every", [1, 2, 5, 20])
def test_repeated_frames_are_told(fps, every):
    """As 24 frames a second are written at 30: half the speed where each frame stands twice, and not a word, before."""
    walk = walker(8, fps)
    joints = np.repeat(walk, np.where(np.arange(len(walk)) % every, 1, 2), axis=0)
    share = 1 - len(walk) / len(joints)
    (told,) = repeated_frames(joints, np.arange(len(joints)) / fps)
    assert told.endswith(f"speed and cadence are too low by {100 * share:.0f} %")
    assert told in read_recording(joints, fps=fps).doubts
    noisy = joints + np.random.default_rng(0).normal(0, 0.05 * SPEED / fps / 3, joints.shape)
    assert repeated_frames(noisy, np.arange(len(joints)) / fps) == [told]
    stopped = np.repeat(np.arange(len(walk)) / fps, np.where(np.arange(len(walk)) % every, 1, 2))  # the clock says so
    assert repeated_frames(joints, stopped) == []


def test_a_sensor_that_stands_still_for_a_frame_keeps_its_time():
    walk = walker(8)
    walk[1::5] = walk[:-1:5]
    (told,) = repeated_frames(walk, np.arange(len(walk)) / 30)
    assert told.startswith("48 of 240 frames repeat") and "the body jumps after them" in told
    once = walker(8)
    once[100] = once[99]
    assert repeated_frames(once, np.arange(len(once)) / 30) == []


@pytest.mark.parametrize("fps", [10, 30, 100])
def test_no_frame_of_a_walk_repeats_another(fps):
    walk = walker(8, fps)
    times = np.arange(len(walk)) / fps
    spot = walk - SPEED * times[:, None, None] * np.array([0, 1.0, 0])
    headless = np.where(np.arange(25)[:, None] == 3, np.nan, walk)
    for joints in (walk, spot, bent(walk, 0.5, 5, np.pi), headless):
        assert repeated_frames(joints, times) == []


def test_a_jump_of_the_hips_is_told():
    times = np.arange(240) / 30
    for axis, how in ((1, "jump by 0.1"), (2, "jump up or down by 0.1")):
        walk = walker(8)
        walk[120:, :, axis] += 0.1
        assert any(f"the hips {how}" in d for d in read_recording({"joints": walk, "times": times}).doubts)
