"""The skeleton over the film; the report and the figures of a walk that was filmed, without a model."""

from dataclasses import replace

import numpy as np
import pytest
from films import filmed
from PIL import Image
from walkers import SPEED, walker

from modeling_gait.drawing.overlay import draw_pose, overlay_strip, write_overlay
from modeling_gait.drawing.rendering import SIDE_COLOURS
from modeling_gait.drawing.report_html import report_page
from modeling_gait.gait_report import measured_report
from modeling_gait.points import MEDIAPIPE_33
from modeling_gait.recording import read_recording
from modeling_gait.training.filmed import landmarks_of
from modeling_gait.video import read_video, write_video
from modeling_gait.video_walk import stature, walk_from_poses

BLUE = tuple(int(SIDE_COLOURS["left"][i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture(scope="module")
def track(tmp_path_factory):
    """A walker filmed from the side, and a grey film of it, which begins three frames before."""
    pytest.importorskip("av")
    track, path = filmed(90, seconds=4), tmp_path_factory.mktemp("film") / "film.mp4"
    frames = np.full((len(track.keypoints) + 3, 360, 640, 3), 120, np.uint8)
    write_video(frames, path, track.fps)
    return replace(track, name=str(path), start=3, keypoints=track.keypoints / 2, size=(640, 360))


def test_left_is_blue_where_the_left_knee_is(track):
    image = draw_pose(np.zeros((360, 640, 3), np.uint8), track.keypoints[0], 2.0)
    assert image.shape == (720, 1280, 3)
    x, y = np.round(2 * track.keypoints[0, MEDIAPIPE_33.index("left_knee")]).astype(int)
    assert tuple(image[y, x]) == BLUE
    lost = track.keypoints[0].copy()
    lost[MEDIAPIPE_33.index("left_knee")] = np.nan
    assert tuple(draw_pose(np.zeros((360, 640, 3), np.uint8), lost, 2.0)[y, x]) != BLUE


def test_a_film_with_its_skeleton(track, tmp_path):
    write_overlay(track, tmp_path / "overlay.mp4", side=320)
    film = read_video(tmp_path / "overlay.mp4")
    assert film.frames.shape == (len(track.keypoints), 180, 320, 3)
    moved = np.abs(film.frames.astype(int) - 120).max(-1) > 60
    left = [np.nonzero(m)[1].mean() for m in moved[[5, -5]]]
    hips = track.keypoints[[5, -5]][:, [23, 24], 0].mean(1) / 2
    np.testing.assert_allclose(left, hips, atol=12)
    strip = overlay_strip(replace(track, keypoints=track.keypoints - (95, 0)), 4, 100)
    assert strip.shape[0] == 100 and strip[:5].min() > 90, "nothing of beyond the picture"


def test_a_report_without_a_model(track):
    recording = read_recording(walk_from_poses(track, stature(landmarks_of(walker(1.0)))))
    report = measured_report(recording)
    speed = next(p for p in report.parameters if p.name == "speed")
    assert speed.value == pytest.approx(SPEED, rel=0.05) and speed.sd == pytest.approx(recording.uncertainty["speed"])
    assert report.label is None and not report.class_probabilities and "walking speed" in report.sentence
    assert any("from the side" in p for p in report.problems)
    page = report_page(report)
    assert "Most like" not in page and "statistical model" not in page and "looked at" not in page
    assert page.count("data:image/png") == 3 and "skeleton drawn over the person" in page and f"±{speed.sd:.2f}" in page
    gone = report_page(replace(report, poses=replace(track, name="gone.mp4")))
    assert gone.count("data:image/png") == 2 and "no figure of the film: gone.mp4: no such file" in gone


def test_curves_that_a_view_does_not_show_are_not_drawn(track, tmp_path, monkeypatch):
    from modeling_gait.drawing import report_html

    drawn = []
    monkeypatch.setattr(
        report_html, "plot_joint_angles", lambda *_, unseen: drawn.append(unseen) or Image.new("RGB", (4, 4)).save(_[1])
    )
    for azimuth, unseen in ((90, ("pelvic_obliquity",)), (0, ("hip_flexion", "knee_flexion", "ankle_dorsiflexion"))):
        recording = read_recording(walk_from_poses(filmed(azimuth, distance=8), 1.7))
        report_page(replace(measured_report(recording), poses=None))
        assert drawn.pop() == unseen
