"""Following people through a film; the estimator is one that finds painted boxes, and once MediaPipe itself."""

import os

import numpy as np
import pytest

from modeling_gait.camera_motion import Background
from modeling_gait.drawing.video_rendering import Camera, render_video
from modeling_gait.points import MEDIAPIPE_33
from modeling_gait.pose_estimation import FEET, HIPS, NOSE, Crowd, Pose, Track, _Silence, choose, estimate_poses, walked
from modeling_gait.simulation.simulator import simulate_walks
from modeling_gait.video import write_video
from modeling_gait.video_crops import find_person
from modeling_gait.video_walk import read_video_walk

FPS, SIZE = 30.0, (320, 180)
COLOURS = {1: (200, 30, 30), 2: (30, 200, 30), 3: (30, 30, 200)}


class Boxes:
    """Finds boxes of `COLOURS` as people, the nearest to where it found one last; their ankles swing as they get along. Whom it
    has not yet, it finds only where they are a share `least` of the longer side of the picture."""

    def __init__(self, least: float = 0.0):
        self.least = least

    def follower(self):
        last = [None]

        def follow(image):
            found, least = [], self.least * max(image.shape) * (last[0] is None)
            for colour in COLOURS.values():
                y, x = np.nonzero((image == colour).all(-1))
                if len(y) > 200 and np.ptp(y) > least:
                    found.append((x.mean(), x.min(), y.min(), x.max(), y.max()))
            if last[0] is not None:
                found = [f for f in found if abs(f[0] - last[0]) < 45]
                found.sort(key=lambda f: abs(f[0] - last[0]))
            if not found:
                last[0] = None
                return None
            middle, left, top, right, bottom = found[0]
            last[0] = middle
            rng = np.random.default_rng(0)
            points = rng.uniform(0, 1, (33, 2)) * (right - left, bottom - top) + (left, top)
            height = bottom - top
            for n, side in enumerate(("left", "right")):
                for part, share in (("hip", 0.5), ("knee", 0.75), ("ankle", 0.95)):
                    swing = (1 - 2 * n) * 0.2 * height * np.sin(middle / 6) if part == "ankle" else 0
                    points[MEDIAPIPE_33.index(f"{side}_{part}")] = middle + swing, top + share * height
            points[0], points[-1] = (middle, top), (middle, bottom)
            return Pose(points, rng.normal(0, 0.3, (33, 3)), np.ones(33))

        return follow


def scene(frames: int, people: dict, cut: int | None = None, pan: float = 0.0, seed: int = 0) -> list[np.ndarray]:
    """Pictures of a wall with patterns; people: number -> function of the frame to the left edge, or None where not there."""
    rng = np.random.default_rng(seed)
    wall = np.kron(rng.integers(60, 150, (2, 18, 120, 1)), np.ones((1, 10, 10, 3))).astype(np.uint8)
    wall[1] = np.roll(wall[1], (4, 5), (0, 1))
    out = []
    for t in range(frames):
        shift = int(pan * t)
        image = wall[int(cut is not None and t >= cut), :, shift : shift + SIZE[0]].copy()
        for number, place in people.items():
            left = place(t)
            if left is not None:
                image[40:160, max(0, int(left)) : max(0, int(left) + 24)] = COLOURS[number]
        out.append(image)
    return out


def follow(images, person=None, least=0.0):
    crowd, background = Crowd(Boxes(least).follower, FPS), Background()
    for image in images:
        background.add(image)
        crowd.add(image, bool(background.cuts) and background.cuts[-1] == len(background.shifts) - 1)
    return choose(crowd, background, FPS, SIZE, person, "film.mp4")


def lefts(track) -> np.ndarray:
    return track.keypoints[:, [23, 24], 0].mean(1) - 12


def test_one_person():
    track = follow(scene(60, {1: lambda t: 60 + 2 * t}))
    assert track.keypoints.shape == (60, 33, 2) and track.start == 0 and not track.camera_moves and not track.notes
    assert np.nanmax(np.abs(lefts(track) - (60 + 2 * np.arange(60)))) < 1


def test_the_one_who_walks_and_any_other_by_number():
    images = scene(80, {1: lambda t: 30, 2: lambda t: 60 + 2.5 * t, 3: lambda t: 280})
    track = follow(images)
    assert lefts(track)[-1] > 200 and "3 people are seen: measured is person 2" in track.notes[0]
    assert np.ptp(lefts(follow(images, 1))) < 1 and lefts(follow(images, 1))[0] == pytest.approx(30, abs=1)
    with pytest.raises(ValueError, match=r"film.mp4: person 4 of 3 found; expected 1 to 3"):
        follow(images, 4)


@pytest.mark.parametrize("first", [40, 150, 250])
def test_somebody_far_away_is_found_in_a_part_of_the_picture(first):
    """120 of 320 pixels, of whom the estimator sees who has half of the longer side."""
    images = scene(60, {1: lambda t: first + 0.5 * t})
    track = follow(images, least=0.5)
    true = first + 0.5 * (track.start + np.arange(len(track.keypoints)))
    assert len(true) > 45 and np.nanmax(np.abs(lefts(track) - true)) < 1.5
    with pytest.raises(ValueError, match="nobody found"):
        follow(images, least=0.9)


def test_who_jumps_all_the_time_does_not_walk():
    images = scene(110, {1: lambda t: 40 + 10 * np.sin(t), 2: lambda t: 90 + 3 * (t - 60) if t >= 60 else None})
    track = follow(images)
    assert lefts(track)[-1] > 200 and "measured is person 2 from the left, who walks farthest" in track.notes[0]


@pytest.mark.parametrize(
    "left, tall, way",
    [
        (lambda t: 60 + 2 * t, lambda t: 120, 2.0),
        (lambda t: 160, lambda t: 120 / (1 + t / 100), 2.7),  # away
        (lambda t: 160, lambda t: 120 if t % 30 < 20 else 60, 0.0),  # crouches again and again
        (lambda t: 160, lambda t: 120 if t < 110 else 60, 0.0),  # and in the end
        (lambda t: 3 * t, lambda t: 30, 4.8),  # a shape that flies: no farther than anybody walks
    ],
)
def test_the_way_of_a_person_is_that_of_an_upright_body(left, tall, way):
    poses = {}
    for t in range(120):
        keypoints = np.full((33, 2), 100.0)
        keypoints[HIPS, 0], keypoints[FEET, 1], keypoints[NOSE, 1] = left(t), 100 + tall(t) / 2, 100 - tall(t) / 2
        poses[t] = Pose(keypoints, np.zeros((33, 3)), np.ones(33))
    assert walked(Track(None, poses), np.zeros((120, 2)), 320, FPS)[0] == pytest.approx(way, abs=0.1)


def test_a_film_in_slow_motion_has_the_frame_rate_that_is_given(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "slow.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for image in scene(60, {1: lambda t: 60 + 2 * t}):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    track, plain = (estimate_poses(tmp_path / "slow.mkv", progress=False, backend=Boxes(), fps=f) for f in (240, None))
    assert (track.fps, plain.fps) == (pytest.approx(240, rel=0.01), 30) and len(track.keypoints) == len(plain.keypoints) == 60
    assert any("taken with 240, as given" in n for n in track.notes) and not plain.notes


def test_two_who_cross_are_not_exchanged():
    """2 walks to the right in front of 1, who walks to the left."""
    images = scene(90, {1: lambda t: 270 - 2 * t, 2: lambda t: 30 + 2.5 * t})
    first, second = (lefts(follow(images, n)) for n in (1, 2))
    assert first[-1] == pytest.approx(30 + 2.5 * 89, abs=3)
    known = np.isfinite(second)
    assert np.abs(second[known] - (270 - 2 * np.arange(len(second)))[known]).max() < 12


def test_a_cut_ends_the_track():
    track = follow(scene(100, {1: lambda t: 40 + 2 * t if t < 70 else 100}, cut=70))
    assert track.start == 0 and len(track.keypoints) == 70
    assert any("cut at frame 70" in n for n in track.notes)


def test_a_change_of_light_is_no_cut():
    images = scene(60, {1: lambda t: 60 + 2 * t})
    dark = [(i * 0.6).astype(np.uint8) for i in images[30:]]
    background = Background()
    for image in images[:30] + dark:
        background.add(image)
    assert not background.cuts and not np.ptp(background.shifts, axis=0).any()


def test_a_camera_that_moves():
    images = scene(60, {1: lambda t: 140}, pan=3.0)
    track = follow(images)
    assert track.camera_moves and any("the camera moves" in n for n in track.notes)
    assert np.ptp(track.camera[:, 0]) == pytest.approx(3 * 59, rel=0.1)
    with pytest.raises(ValueError, match="the camera moves"):
        find_person(np.stack(images))


def test_who_leaves_the_picture_is_cut_off():
    track = follow(scene(80, {1: lambda t: 200 + 2 * t}))
    assert any("cut off by the edge" in n for n in track.notes) and len(track.keypoints) < 60


def test_what_cannot_be_is_refused_before_the_work():
    for wrong, said in (
        ({"height": 170}, "height: expected 0.5"),
        ({"person": 0}, "counted from 1"),
        ({"fps": -1}, "positive"),
    ):
        with pytest.raises(ValueError, match=said):
            read_video_walk("no_such_film.mp4", **wrong)


def test_nobody_and_too_small():
    with pytest.raises(ValueError, match="nobody found in 30 frames of 320 x 180"):
        follow(scene(30, {}))
    small = [i.copy() for i in scene(30, {})]
    for image in small:
        image[100:130, 100:120] = COLOURS[1]
    with pytest.raises(ValueError, match="too small: under 48"):
        follow(small)
    with pytest.raises(ValueError, match="legs are cut off"):
        follow(scene(40, {1: lambda t: -14}))


def test_stderr_comes_back_whichever_of_two_films_ends_first():
    before, null = os.fstat(2).st_ino, os.stat(os.devnull).st_ino
    silence = _Silence()
    silence.__enter__()
    silence.__enter__()
    silence.__exit__()
    assert os.fstat(2).st_ino == null, "the other film still runs"
    silence.__exit__()
    assert os.fstat(2).st_ino == before


def test_mediapipe_reads_a_film_and_finds_nobody_in_a_plain_one(tmp_path):
    pytest.importorskip("mediapipe", reason="the extra `video` is not installed")
    write_video(np.stack(scene(30, {})), tmp_path / "empty.mp4")
    with pytest.raises(ValueError, match=r"empty.mp4: nobody found in 30 frames"):
        estimate_poses(tmp_path / "empty.mp4", progress=False)


def test_mediapipe_finds_a_drawn_person(tmp_path):
    pytest.importorskip("mediapipe", reason="the extra `video` is not installed")
    joints = simulate_walks(1, frames=60, seed=2, pathology="normal").joints[0]
    frames = render_video(joints, size=(360, 480), camera=Camera(90, 1.2, 4.0), seed=0, crop=False)
    write_video(frames, tmp_path / "walk.mp4")
    track = estimate_poses(tmp_path / "walk.mp4", progress=False)
    assert len(track.keypoints) > 50 and np.isfinite(track.landmarks).all((1, 2)).mean() > 0.9
    feet, head = track.keypoints[:, 27:29, 1].max(1), track.keypoints[:, 0, 1]
    assert np.nanmedian(feet - head) == pytest.approx(0.5 * 360, rel=0.35), "a person upright, half of the picture high"
