"""Pictures are written, have the right size and time, and show what went in."""

import sys

import numpy as np
import pytest
from PIL import Image

from modeling_gait.drawing.rendering import (
    SIDE_COLOURS,
    angle_cycles,
    normative_curves,
    plot_joint_angles,
    plot_pose_strip,
    render_animation,
    render_frames,
)
from modeling_gait.export import save_walk
from modeling_gait.loading import Walk
from modeling_gait.skeletons import KINECT_V2, SKELETONS

FPS = 30


def stick_walk(seconds: float = 4.0, period: float = 1.2, skeleton=KINECT_V2) -> np.ndarray:
    """A walker (T, J, 3) [m] along y at 1 m/s: straight thighs swing as sines, the shin flexes up to 50 deg while the thigh
    comes forward; left and right half a cycle apart."""
    t = np.arange(round(seconds * FPS)) / FPS
    joints = np.tile(skeleton.rest_positions, (len(t), 1, 1)).astype(np.float64)
    for side, shift in (("left", 0.0), ("right", 0.5)):
        phase = 2 * np.pi * (t / period + shift)
        thigh, knee = np.radians(22) * np.cos(phase), np.radians(50) * np.maximum(-np.sin(phase), 0)
        place = joints[:, skeleton.index(f"{side}_hip")].copy()
        for joint, angle in (("knee", thigh), ("ankle", thigh - knee), ("foot", thigh - knee)):
            if skeleton.has(f"{side}_{joint}"):
                _, y, z = skeleton.rest_offsets[skeleton.index(f"{side}_{joint}")]
                turned = [0 * t, y * np.cos(angle) - z * np.sin(angle), y * np.sin(angle) + z * np.cos(angle)]
                place = place + np.stack(turned, axis=-1)
                joints[:, skeleton.index(f"{side}_{joint}")] = place
    joints[..., 1] += t[:, None]
    return joints.astype(np.float32)


def pixels_of(image: Image.Image, side: str, box=None) -> np.ndarray:
    """Rows and columns (N, 2) of the pixels that are nearer to the side's colour than to any other colour of the picture."""
    rgb = np.asarray(image.convert("RGB").crop(box) if box else image.convert("RGB"), np.float64)
    hue = rgb - rgb.mean(-1, keepdims=True)
    wanted = np.array([int(SIDE_COLOURS[side][i : i + 2], 16) for i in (1, 3, 5)], float)
    wanted -= wanted.mean()
    match = hue @ wanted / (np.linalg.norm(hue, axis=-1) * np.linalg.norm(wanted) + 1e-9)
    return np.argwhere((match > 0.95) & (np.linalg.norm(hue, axis=-1) > 40))


# ---------------------------------------------------------------- animation


def test_gif_has_every_frame_in_real_time(tmp_path):
    render_animation(stick_walk(1.0), tmp_path / "w.gif", fps=FPS, size=(160, 200))
    with Image.open(tmp_path / "w.gif") as gif:
        assert gif.size == (160, 200) and gif.n_frames == 30 and gif.info["loop"] == 0
        durations = []
        for k in range(gif.n_frames):
            gif.seek(k)
            durations.append(gif.info["duration"])
    assert sum(durations) == 1000
    assert list(tmp_path.iterdir()) == [tmp_path / "w.gif"]


def test_fast_gif_skips_frames_but_keeps_the_time(tmp_path):
    render_animation(stick_walk(1.0), tmp_path / "w.gif", fps=120, size=(80, 100))  # 30 frames at 120 / s
    with Image.open(tmp_path / "w.gif") as gif:
        assert gif.n_frames == 10


def test_mp4_frames_rate_and_even_size(tmp_path):
    av = pytest.importorskip("av")
    save_walk(tmp_path / "a.mp4", stick_walk(0.5), FPS)
    render_animation(stick_walk(0.5), tmp_path / "w.mp4", fps=FPS, size=(161, 201))
    with av.open(str(tmp_path / "w.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (160, 200, 30)
        frames = [f.to_image() for f in video.decode(stream)]
    assert len(frames) == 15 and len(pixels_of(frames[3], "left")) > 50


def test_mp4_without_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install av"):
        render_animation(stick_walk(0.2), tmp_path / "w.mp4")
    assert not list(tmp_path.iterdir())


def draw_one(joints, view, skeleton=KINECT_V2) -> Image.Image:
    return next(iter(render_frames([Walk(joints, FPS, skeleton, "")], FPS, view=view, size=(200, 260))))


def test_views_put_left_and_right_where_they_are():
    standing = np.tile(KINECT_V2.rest_positions, (2, 1, 1))
    body = (0, 0, 200, 235)  # without the legend
    columns = {
        (v, s): pixels_of(draw_one(standing, v), s, body)[:, 1].mean() for v in ("front", "back") for s in ("left", "right")
    }
    assert columns["back", "left"] < 95 and columns["back", "right"] > 105  # as the walker sees it
    assert columns["front", "left"] > 105 and columns["front", "right"] < 95
    standing[:, KINECT_V2.index("left_knee"), 1] += 0.3  # seen from the right, forward is to the right
    assert pixels_of(draw_one(standing, "side"), "left", body)[:, 1].max() > 125
    standing[:, KINECT_V2.index("left_knee"), 1] -= 0.6
    assert pixels_of(draw_one(standing, "side"), "left", body)[:, 1].min() < 75


def test_camera_follows():
    walk = stick_walk(3.0)
    frames = list(render_frames([Walk(walk, FPS, KINECT_V2, "")], FPS, view="side", size=(200, 260)))
    middles = [pixels_of(f, "right", (0, 0, 200, 130))[:, 1].mean() for f in frames[::15]]  # the right arm
    assert np.ptp(middles) < 12  # the walker covers 3 m, more than twice the picture


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_every_skeleton_is_drawn(skeleton):
    image = draw_one(stick_walk(0.2, skeleton=skeleton), "oblique", skeleton)
    assert min(len(pixels_of(image, s, (0, 0, 200, 235))) for s in ("left", "right")) > 200


def test_missing_and_stray_joints_are_left_out():
    walk = stick_walk(0.3)
    walk[0] = np.nan
    walk[1, KINECT_V2.index("left_knee")] = np.nan
    walk[2, KINECT_V2.index("left_hand")] = [0, 500, 1e30]
    walk[3, KINECT_V2.index("left_hand")] = np.inf
    frames = list(render_frames([Walk(walk, FPS, KINECT_V2, "")], FPS, size=(200, 260)))
    count = [len(pixels_of(f, "left", (0, 0, 200, 235))) for f in frames]
    assert count[0] == 0 and 0 < count[1] < 0.8 * count[4] and count[2] > 0.6 * count[4]


def test_walks_side_by_side_with_their_own_clocks(tmp_path):
    long, short = Walk(stick_walk(1.0), 30, KINECT_V2, "a"), Walk(stick_walk(1.0), 60, KINECT_V2, "b", np.zeros(0))
    render_animation([long, short], tmp_path / "w.gif", fps=20, titles=["slow", "a longer title " * 4], size=(120, 150))
    with Image.open(tmp_path / "w.gif") as gif:
        assert gif.size == (240, 150) and gif.n_frames == 20
        gif.seek(12)
        first = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(17)
        change = np.abs(np.asarray(gif.convert("RGB")) - first).sum(-1)[:125]
    assert change[:, :120].max() > 100 and change[:, 120:].max() < 30  # the second walk ended after half a second


def test_animation_messages(tmp_path):
    walk = stick_walk(0.2)
    for arguments, message in [
        ({"path": "w.webm"}, "expected .gif or .mp4"),
        ({"view": "above"}, "unknown view 'above'"),
        ({"titles": ["a", "b"]}, "as many titles, got 1 and 2"),
        ({"walks": []}, "at least one walk"),
        ({"walks": walk[:, :20]}, r"expected joints \(T, 25, 3\)"),
        ({"walks": np.full((3, 25, 3), np.nan)}, "no finite joint"),
        ({"fps": 0}, "fps must be"),
    ]:
        arguments = {"walks": walk, "path": "w.gif"} | arguments
        with pytest.raises(ValueError, match=message):
            render_animation(**(arguments | {"path": tmp_path / arguments["path"]}))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- figures


def test_angle_cycles_recover_the_knee(tmp_path):
    cycles = angle_cycles(stick_walk(6.0), FPS)
    for side in ("left", "right"):
        assert len(cycles[side]["knee_flexion"]) >= 2 and cycles[side]["knee_flexion"].shape[1] == 101
        # flexed 50 deg at most, but for the small bend of the rest pose
        np.testing.assert_allclose(cycles[side]["knee_flexion"].max(1), 50, atol=3)
        np.testing.assert_allclose(cycles[side]["hip_flexion"].max(1), 22, atol=3)
        # each starts at foot contact: the thigh is forward, and the knee peaks in the second half
        assert (cycles[side]["hip_flexion"][:, 0] > 10).all() and (cycles[side]["knee_flexion"].argmax(1) > 50).all()


def test_pelvis_is_seen_from_the_own_side():
    walk = stick_walk(6.0)
    walk[:, KINECT_V2.index("left_hip"), 2] += 0.05
    cycles = angle_cycles(walk, FPS)
    assert cycles["left"]["pelvic_obliquity"].min() > 10 and cycles["right"]["pelvic_obliquity"].max() < -10


def test_normative_curves_hold_the_textbook_peaks():
    curves = normative_curves()
    knee, spread = curves["knee_flexion"]
    assert knee.shape == spread.shape == (101,) and 55 < knee.max() < 65 and 68 <= knee.argmax() <= 77
    assert curves["ankle_dorsiflexion"][0].argmin() in range(58, 68)
    assert -25 < curves["hip_flexion"][0].min() < -15
    pelvis = curves["pelvic_obliquity"][0]
    np.testing.assert_allclose(pelvis[:50], -pelvis[50:100], atol=1e-9)  # what one side gains the other loses


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_figures_are_written(tmp_path, suffix):
    walk = stick_walk()
    plot_joint_angles({"one": (walk, FPS), "two": (walk, FPS)}, tmp_path / f"a{suffix}", title="Two walks")
    plot_pose_strip(walk, tmp_path / f"b{suffix}", FPS, title="A walk")
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{n}{suffix}" for n in "ab"]
    assert all(p.read_bytes().startswith(magic) for p in tmp_path.iterdir())


def test_joint_angle_figure_of_one_walk_has_both_sides(tmp_path):
    plot_joint_angles({"one": (stick_walk(), FPS)}, tmp_path / "a.png", normative=False)
    with Image.open(tmp_path / "a.png") as image:
        assert min(len(pixels_of(image, s)) for s in ("left", "right")) > 500


@pytest.mark.parametrize("view", ["side", "front"])
def test_pose_strip_shows_each_pose(tmp_path, view):
    walk = stick_walk()
    walk[0, KINECT_V2.index("left_foot")] = np.nan
    plot_pose_strip(walk, tmp_path / "a.png", FPS, frames=4, view=view)
    with Image.open(tmp_path / "a.png") as image:
        columns = np.unique(pixels_of(image, "right")[:, 1])
    assert (np.diff(columns) > 15).sum() >= 3  # gaps between four figures


def test_figure_messages(tmp_path):
    walk = stick_walk()
    for call, message in [
        (lambda: plot_pose_strip(walk, tmp_path / "a.jpg"), "expected a picture .png, .pdf or .svg"),
        (lambda: plot_pose_strip(walk, tmp_path / "a.png", view="top"), "expected view"),
        (lambda: plot_joint_angles({}, tmp_path / "a.png"), "at least one walk"),
        (lambda: plot_joint_angles({"still": (walk[:8], FPS)}, tmp_path / "a.png"), "'still': no complete gait cycle"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert not list(tmp_path.iterdir())
