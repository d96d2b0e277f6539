"""Analytic walkers with known numbers, changed as labs and cameras change them: they stay, or a sentence says why not."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from walkers import CADENCE, LEGS, SPEED, STEP, WIDTH, bent, exchanged, no_walks, on_the_spot, turned, walker

from modeling_gait.exchanged_joints import exchanged_frames
from modeling_gait.recording import read_recording
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.walk_checks import check_space

WALK = walker(8)
TRUTH = {
    **{"speed": SPEED, "cadence": CADENCE, "step_width": WIDTH, "foot_height_left": 0.12, "foot_height_right": 0.12},
    **{f"step_length_{side}": STEP for side in ("left", "right")},
    **{f"foot_progression_angle_{side}": 7.125 for side in ("left", "right")},
}


def read(joints, **options):
    return read_recording({"joints": joints, "fps": 30.0}, **options)


def is_true(walk, *but: str, within: float = 0.03) -> None:
    for name, value in TRUTH.items():
        if name not in but:
            assert walk.gait_parameters[name] == pytest.approx(value, rel=within), name


def test_a_straight_walk_is_not_doubted():
    walk = read(WALK)
    is_true(walk)
    assert not walk.doubts and walk.belt is None and not walk.backwards
    assert [(s.start, s.stop, s.curved) for s in walk.stretches] == [(0, len(WALK), False)]


@pytest.mark.parametrize("what", no_walks())
def test_nobody_walks(what):
    with pytest.raises(ValueError, match="nobody walks in it|not the legs of a body"):
        read(no_walks()[what])


@pytest.mark.parametrize(
    ("joints", "parts", "words"),
    [
        (bent(WALK, 0.4, 4.5, np.pi), 2, "turns 1 time"),
        (bent(WALK, 1.0, 4.5, np.pi / 2), 2, "turns 1 time"),
        (np.concatenate((np.repeat(WALK[:1], 60, 0), WALK)), 1, "stands 1 time"),
        (np.concatenate((WALK[:120], np.repeat(WALK[119:120], 60, 0), WALK[120:])), 2, "stands 1 time"),
        (bent(bent(WALK, 0.5, 6.5, np.pi), 0.5, 3.2, np.pi / 2), 3, "turns 2 times"),
    ],
    ids=["out and back", "round a corner", "stands first", "stands between", "two turns"],
)
def test_parts_without_turns_and_pauses_are_measured(joints, parts, words):
    walk = read(joints)
    is_true(walk)
    assert len(walk.stretches) == parts and words in " ".join(walk.doubts)


@pytest.mark.parametrize("radius", [2.0, 3.0, 8.0])
def test_a_circle_is_measured_along_the_curve(radius):
    walk = read(bent(walker(12), radius))
    is_true(walk, "foot_progression_angle_left", "foot_progression_angle_right", within=0.05)
    assert "along a curve" in " ".join(walk.doubts)


@pytest.mark.parametrize("degrees", [10, 20, 30])
def test_a_slight_bend_changes_nothing(degrees):
    is_true(read(bent(WALK, 0.5, 4.5, np.radians(degrees))), "foot_progression_angle_left", "foot_progression_angle_right")


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("angle", [0, 77])
def test_treadmills_and_cameras_that_follow(share, angle):
    walk = read(turned(on_the_spot(WALK, share), angle))
    is_true(walk)
    assert walk.belt == pytest.approx(share * SPEED, rel=0.02) and "treadmill" in walk.doubts[0]
    assert f"slides at {walk.belt:.2f} m/s" in walk.doubts[0]
    own = re.search(r"moves on at (.*) m/s besides, and the speed is the sum", walk.doubts[0])
    assert own is None if share == 1 else float(own[1]) + walk.belt == pytest.approx(SPEED, rel=0.02)


@pytest.mark.parametrize("angle", [0, 77])
@pytest.mark.parametrize("backwards", [False, True])
def test_toes_and_knees_that_point_aside_do_not_turn_a_belt(angle, backwards):
    """A camera at one side sees both feet point to it."""
    joints = WALK.copy()
    for side in ("left", "right"):
        ankle, foot = (KINECT_V2.index(f"{side}_{n}") for n in ("ankle", "foot"))
        joints[:, foot] = joints[:, ankle] + turned(joints[:, foot] - joints[:, ankle], -25)
    ground, belt = (read(turned(j[:: -1 if backwards else 1], angle)) for j in (joints, on_the_spot(joints)))
    assert belt.belt == pytest.approx(SPEED, rel=0.02) and belt.backwards == backwards
    for name in ("speed", "step_length_left", "step_length_right"):
        assert belt.gait_parameters[name] == pytest.approx(ground.gait_parameters[name], rel=0.03)
    for name in ("foot_progression_angle_left", "foot_progression_angle_right"):
        assert belt.gait_parameters[name] == pytest.approx(ground.gait_parameters[name], abs=1.5)


def test_a_walk_centred_on_the_pelvis_has_no_foot_height():
    walk = read(WALK - WALK[:, :1])
    is_true(walk, "foot_height_left", "foot_height_right", within=0.12)
    assert np.isnan(walk.gait_parameters["foot_height_left"]) and "centred on the pelvis" in walk.doubts[0]


@pytest.mark.parametrize("on_a_belt", [False, True])
def test_walking_backwards_is_said(on_a_belt):
    walk = read((on_the_spot(WALK) if on_a_belt else WALK)[::-1])
    is_true(walk)
    assert walk.backwards and "walks backwards" in " ".join(walk.doubts)
    assert "classes and words of models, which learnt from forward walks, do not hold for it" in " ".join(walk.doubts)


@pytest.mark.parametrize("pathology", ["normal", "antalgic", "stiff_legged"])
def test_who_walks_backwards_stands_as_long_on_each_foot(pathology):
    """The same walk in reversed time touches the floor for the same times."""
    joints = np.asarray(simulate_walks(1, frames=240, fps=30, seed=1, pathology=pathology, speed=0.9).joints[0])
    forward, back = read(joints).gait_parameters, read(joints[::-1]).gait_parameters
    for side in ("left", "right"):
        for name in ("swing_time", "single_support_time", "double_support_time", "cycle_time"):
            assert back[f"{name}_{side}"] == pytest.approx(forward[f"{name}_{side}"], abs=0.02), name
        for name in ("single_support_percent", "double_support_percent"):
            assert back[f"{name}_{side}"] == pytest.approx(forward[f"{name}_{side}"], abs=1.0), name
        other = "right" if side == "left" else "left"  # the foot that was put ahead of the other has it put behind it
        assert back[f"step_length_{side}"] == pytest.approx(forward[f"step_length_{other}"], abs=0.03)
    assert back["stance_asymmetry"] == pytest.approx(forward["stance_asymmetry"], abs=0.02)


@pytest.mark.parametrize("mirror", [lambda j: j * [-1, 1, 1], lambda j: j[:, list(KINECT_V2.mirror)]], ids=["axes", "labels"])
def test_sides_exchanged_for_good_are_said(mirror):
    walk = read(mirror(WALK))
    is_true(walk)
    assert walk.repairs["sides_exchanged"] == 1 and "left and right are exchanged" in " ".join(walk.doubts)


@settings(max_examples=25, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(0, 225), st.integers(1, 14)), min_size=1, max_size=5),
    parts=st.sampled_from([LEGS, LEGS[2:], LEGS[4:], [j for j in range(25) if KINECT_V2.mirror[j] != j]]),
    noise=st.sampled_from([0, 0.005]),
)
def test_legs_exchanged_in_any_frames_are_put_right(runs, parts, noise):
    frames = np.unique(np.concatenate([np.arange(a, a + n) for a, n in runs]))
    clean = WALK + np.random.default_rng(0).normal(0, noise, WALK.shape)
    repaired, count = exchanged_frames(exchanged(clean, frames, parts), KINECT_V2)
    assert np.abs(repaired - clean)[:, LEGS].max() == 0 and count == len(frames)


def test_legs_that_were_not_exchanged_stay():
    noisy = WALK + np.random.default_rng(1).normal(0, 0.01, WALK.shape)
    repaired, count = exchanged_frames(noisy, KINECT_V2)
    assert count == 0 and (repaired == noisy).all()
    walk = read(exchanged(WALK, np.arange(50, 70)))
    is_true(walk)
    assert walk.repairs["legs_exchanged"] == 20 and "exchanged in 20 of 240 frames" in " ".join(walk.doubts)


@settings(max_examples=15, deadline=None)
@example(pitch=1.0, heading=0.0, x=0.0, y=0.0)
@example(pitch=-1.0, heading=0.0, x=0.0, y=0.0)
@given(pitch=st.floats(-18, 18), heading=st.floats(0, 360), x=st.floats(-30, 30), y=st.floats(-30, 30))
def test_a_tilted_camera_is_levelled(pitch, heading, x, y):
    walk = read(turned(turned(turned(WALK, pitch, "x"), heading), 0) + [x, y, 1.0])
    small = abs(pitch) < 1.1  # up to 1 degree nothing is levelled: feet rise by 9 % of 0.12 m more or less, trunks lean by it
    heights = [f"foot_height_{side}" for side in ("left", "right")]
    is_true(walk, *heights, within=0.06 if small else 0.03)
    assert [walk.gait_parameters[n] for n in heights] == pytest.approx([TRUTH[n] for n in heights], rel=0.1 if small else 0.03)
    assert walk.gait_parameters["trunk_lean_sagittal"] == pytest.approx(0, abs=1.2 if small else 0.7)
    assert any("floor sloped" in d for d in walk.doubts) or abs(pitch) < 3.2


@pytest.mark.parametrize("pitch", [-12, -8, 5, 8, 12])
@pytest.mark.parametrize("where", ["few prints", "a belt", "half a belt"])
def test_a_tilted_camera_is_levelled_where_few_feet_stand_or_all_slide(pitch, where):
    joints = np.asarray(simulate_walks(1, frames=150, fps=30, seed=5, pathology="normal", speed=SPEED).joints[0], np.float64)
    joints = joints[:66] if where == "few prints" else on_the_spot(joints, 1.0 if where == "a belt" else 0.5)
    straight, tilted = read(joints), read(turned(joints, pitch, "x"))
    assert not any("slope" in d for d in straight.doubts)
    assert any("the floor sloped by" in d for d in tilted.doubts), tilted.doubts
    assert any("way of the hips" in d for d in tilted.doubts) == (where == "few prints")
    for name, within in (("trunk_lean_sagittal", 1.0), ("speed", 0.03), ("step_width", 0.02)):
        assert tilted.gait_parameters[name] == pytest.approx(straight.gait_parameters[name], abs=within), name


@pytest.mark.parametrize("seed", range(6))
def test_short_clean_walks_are_not_called_tilted(seed):
    for joints in np.asarray(simulate_walks(3, frames=70, fps=30, seed=seed).joints):
        walk = read(joints)
        assert not any("slope" in d for d in walk.doubts) and walk.repairs["floor_levelled_degrees"] < 3, walk.doubts


@pytest.mark.parametrize("lean", [0, 4, 7])
@pytest.mark.parametrize("pitch", [5, 8, 10])
def test_a_tilt_is_not_told_as_a_slope_where_it_may_be_either(lean, pitch):
    """Of a body that leans forward before a camera that makes it lean back."""
    joints = WALK.copy()
    joints[..., 1] += np.tan(np.radians(lean)) * (joints[..., 2] - joints[..., 2].min())
    said = " ".join(read(turned(joints, pitch, "x")).doubts)
    assert "tilted" in said, said


@pytest.mark.parametrize("roll", [-8, 4, 8])
def test_a_rolled_camera_is_levelled(roll):
    walk = read(turned(WALK, roll, "y"))
    is_true(walk)
    assert "sideways" in walk.doubts[0]


def test_a_ramp_is_no_tilted_camera():
    ramp = WALK.copy()
    ramp[..., 2] += np.tan(np.radians(7)) * ramp[..., 1]
    walk = read(ramp)
    is_true(walk)
    assert "on a slope of 7.0 degrees" in " ".join(walk.doubts) and walk.gait_parameters[
        "trunk_lean_sagittal"
    ] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("speed", "cadence"), [(0.1, 40), (0.2, 50), (0.6, 80), (1.9, 140)])
def test_slow_and_fast_walks_are_walks(speed, cadence):
    walk = read(walker(14, speed=speed, cadence=cadence))
    assert walk.gait_parameters["speed"] == pytest.approx(speed, rel=0.03) and not walk.doubts
    assert walk.gait_parameters["cadence"] == pytest.approx(cadence, rel=0.03)


@pytest.mark.parametrize(
    "a, b, axis, said",
    [
        ("left_foot", "right_knee", 0, "apart sideways"),
        ("left_ankle", "right_foot", 0, "leans sideways"),
        ("left_knee", "pelvis", 0, "away from the middle of the hips"),
        ("left_ankle", "left_knee", 1, "slides|bends forward|changes its length"),
    ],
)
def test_exchanged_columns_that_leave_the_bones_plausible(a, b, axis, said):
    joints = np.asarray(simulate_walks(1, frames=96, fps=30, seed=3, pathology="normal", speed=1.2).joints[0])
    assert read_recording(joints, fps=30).doubts == ()
    joints[:, [KINECT_V2.index(n) for n in (a, b)], axis] = joints[:, [KINECT_V2.index(n) for n in (b, a)], axis]
    doubts = read_recording(joints, fps=30).doubts
    assert any(re.search(said, d) for d in doubts), doubts


def test_a_foot_that_slides_is_told():
    joints = walker(5)
    left = [KINECT_V2.index(f"left_{n}") for n in ("knee", "ankle", "foot")]
    joints[:, left, 1] = joints[:, [0], 1] + 0.6 * (joints[:, left, 1] - joints[:, [0], 1])
    assert any("left foot slides by 0.5 m/s" in d for d in read_recording(joints, fps=30).doubts)


def test_pixels_with_a_confidence_beside_them_are_no_walk():
    joints, rng = walker(4), np.random.default_rng(0)
    pixels = np.stack((200 * joints[..., 1], -200 * joints[..., 2], rng.uniform(0.3, 1, joints.shape[:2])), axis=-1)
    with pytest.raises(ValueError, match="w.npy: all joints lie in a plane"):
        check_space(pixels, "w.npy")
    check_space(1000 * joints, "w.npy")
