"""Rendered videos show the walk: the person is in the picture, coloured, moves as the joints do, and repeats with its seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.drawing import rendering
from modeling_gait.drawing.video_rendering import STYLES, Camera, _capsules, render_video
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SKELETONS

WALK = simulate_walks(1, frames=40, seed=2, pathology="normal").joints[0]
SIDE = Camera(90, 1.2, 4.0)


def person(frames: np.ndarray) -> np.ndarray:
    """bool (T, H, W): pixels unlike the median over time (of a camera that stands still)."""
    return np.abs(frames.astype(int) - np.median(frames, axis=0)).max(-1) > 25


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("crop", [True, False])
def test_shape_and_seed(style, crop):
    frames = render_video(WALK, size=(48, 64), style=style, seed=5, crop=crop)
    assert frames.shape == (40, 48, 64, 3) and frames.dtype == np.uint8
    assert np.array_equal(frames, render_video(WALK, size=(48, 64), style=style, seed=5, crop=crop))
    assert not np.array_equal(frames, render_video(WALK, size=(48, 64), style=style, seed=6, crop=crop))
    assert np.abs(np.diff(frames.astype(int), axis=0)).max(axis=(1, 2, 3)).min() > 20, "every frame moves"


def test_the_person_walks_through_a_standing_cameras_view():
    far = simulate_walks(1, frames=100, seed=2, pathology="normal").joints[0]
    found = person(render_video(far, size=(60, 120), camera=SIDE, seed=1, crop=False))
    columns = np.array([np.flatnonzero(frame.any(0)).mean() for frame in found])
    assert (np.diff(columns[::10]) > 0).all(), "from the right of the walker, +y is to the right"
    assert columns[0] < 40 and columns[-1] > 80
    mirrored = person(render_video(far, size=(60, 120), camera=Camera(270, 1.2, 4.0), seed=1, crop=False))
    assert np.flatnonzero(mirrored[0].any(0)).mean() > 80


def test_a_crop_keeps_the_person_in_the_middle_and_at_one_size():
    for azimuth in (0.0, 90.0, 200.0):
        frames = render_video(WALK, size=(64, 64), camera=Camera(azimuth), seed=3)
        border = np.concatenate([frames[:, 0], frames[:, :, 0], frames[:, :, -1]], axis=1).astype(int)
        middle = np.median(border, axis=1)[:, None, None]
        unlike = np.abs(frames.astype(int) - middle).max(-1) > 60
        rows, columns = unlike.any(2), unlike.any(1)
        assert (rows.sum(1) > 38).all() and (rows.sum(1) < 64).all()
        assert abs(np.mean([np.flatnonzero(c).mean() for c in columns]) - 31.5) < 6


def test_a_person_who_comes_nearer_grows():
    walk = simulate_walks(1, frames=100, seed=2, pathology="normal").joints[0]
    found = person(render_video(walk, size=(96, 96), camera=Camera(0, 1.2, 3.0), seed=1, crop=False))
    assert found[-1].any(1).sum() > 1.3 * found[0].any(1).sum()


def test_clothes_differ_and_hide_nothing():
    """Upper body, lower body and background have different colours in most seeds."""
    apart = []
    for seed in range(12):
        frame = render_video(WALK[:5], size=(64, 64), camera=SIDE, seed=seed)[2].astype(int)
        chest, thigh, corner = frame[24, 32], frame[38, 32], frame[4, 4]
        apart += [np.abs(chest - corner).max() > 30, np.abs(thigh - corner).max() > 30, np.abs(chest - thigh).max() > 20]
    assert np.mean(apart) > 0.8


def test_gaps_are_bridged_and_unseen_joints_stand_in():
    broken = WALK.copy()
    broken[5:9] = np.nan  # frames without a body
    broken[:, KINECT_V2.index("left_hand_tip")] = np.nan
    broken[20, KINECT_V2.index("head")] = 1e31
    broken[25, KINECT_V2.index("head")] = 40.0
    whole, repaired = (render_video(w, seed=4, size=(64, 64)).astype(int) for w in (WALK, broken))
    assert np.abs(whole - repaired).mean() < 4
    with pytest.raises(ValueError, match="no finite joint"):
        render_video(np.full_like(WALK, np.nan))


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_every_skeleton(name):
    skeleton = SKELETONS[name]
    still = np.tile(skeleton.rest_positions, (3, 1, 1))
    frames = render_video(still, skeleton=skeleton, size=(64, 64), camera=Camera(0.0), seed=1)
    assert np.abs(frames[0, 32].astype(int) - frames[0, 32, 2]).max() > 30, "a body across the middle row"


def test_wrong_arguments():
    with pytest.raises(ValueError, match="unknown style 'ghost'"):
        render_video(WALK, style="ghost")
    with pytest.raises(ValueError, match="at least 16 pixels"):
        render_video(WALK, size=(8, 64))
    with pytest.raises(ValueError, match="expected joints"):
        render_video(WALK[:, :20])
    with pytest.raises(ValueError, match="cannot write '.gif'"):
        render_video(WALK, "walk.gif", size=(16, 16))


def test_rendering_has_it_too(tmp_path):
    av = pytest.importorskip("av")
    frames = rendering.render_video(WALK, tmp_path / "walk.mp4", fps=25, size=(64, 64), seed=1)
    with av.open(str(tmp_path / "walk.mp4")) as container:
        assert container.streams.video[0].average_rate == 25
        read = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert read.shape == frames.shape and np.abs(read.astype(int) - frames).mean() < 8
    assert [p.name for p in tmp_path.iterdir()] == ["walk.mp4"], "no temporary file is left"


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.5, 20), st.floats(0.5, 20))
@settings(max_examples=60, deadline=None)
def test_a_capsule_is_the_hull_of_its_two_circles(x, y, r0, r1):
    rim = _capsules(np.array([[[[0.0, 0.0], [x, y]]]]), np.array([[[r0, r1]]])).reshape(-1, 2)
    first, second = np.linalg.norm(rim, axis=-1) - r0, np.linalg.norm(rim - [x, y], axis=-1) - r1
    assert (np.minimum(abs(first), abs(second)) < 1e-6).all(), "every corner is on one of the circles"
    big, small = ((0.0, 0.0), r0), ((x, y), r1)
    for (cx, cy), r in (big, small) if np.hypot(x, y) > abs(r0 - r1) else ((big,) if r0 > r1 else (small,)):
        for turn in np.linspace(0, 2 * np.pi, 8, endpoint=False):  # as far out as the circle, but for the corners
            out = np.array([np.cos(turn), np.sin(turn)])
            assert (rim @ out).max() >= r * 0.9 + np.dot((cx, cy), out) - 1e-6
