"""Gait events and parameters on a walker whose events are known by construction."""

import contextlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.gait_parameters import (
    ANGLE_PARAMETERS,
    GAIT_PARAMETERS,
    KINEMATIC_PARAMETERS,
    compute_gait_parameters,
    cycle_parameters,
    stride_values,
    symmetry_index,
)
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SKELETONS, convert_joints

NAMES = [p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)]


def walker(
    seconds=5.0,
    fps=30.0,
    cycle=1.2,
    step_left=0.55,
    step_right=0.55,
    stance_left=0.62,
    stance_right=0.62,
    right_at=0.5,
    lift=0.1,
) -> np.ndarray:
    """(T, 25, 3): a standing figure carried forward, whose feet stand still in stance and swing on a minimum-jerk path.

    The left heel strikes at 0, cycle, 2 cycle ...; the right `right_at` of a cycle later. step_left [m] is the left footprint
    ahead of the right one before it; stance_left is the share of the cycle the left foot stands.
    """
    time = np.arange(int(round(seconds * fps))) / fps
    stride = step_left + step_right
    joints = np.repeat(KINECT_V2.rest_positions[None].astype(np.float64), len(time), axis=0)
    joints[:, :, 1] += (time * stride / cycle)[:, None]
    for side, start, print_at, stance in (
        ("left", 0.0, 0.5 * step_left, stance_left),
        ("right", right_at * cycle, 0.5 * step_left + step_right, stance_right),
    ):
        number, phase = np.divmod((time - start) / cycle, 1.0)
        u = np.clip((phase - stance) / (1 - stance), 0, 1)
        foot_y = print_at + stride * (number + u**3 * (10 - 15 * u + 6 * u**2))
        for name in ("ankle", "foot"):
            j = KINECT_V2.index(f"{side}_{name}")
            joints[:, j, 1] = foot_y + (0.12 if name == "foot" else 0)
            joints[:, j, 2] += lift * np.sin(np.pi * u) ** 2
        hip, knee, ankle = (KINECT_V2.index(f"{side}_{n}") for n in ("hip", "knee", "ankle"))
        joints[:, knee] = (joints[:, hip] + joints[:, ankle]) / 2
        joints[:, knee, 1] += 0.1 * np.sin(np.pi * u)
    return joints


def measure(**options) -> dict[str, float]:
    return compute_gait_parameters(walker(**options), options.get("fps", 30.0))


def test_one_cycle_gives_what_its_joint_angles_give_in_the_whole_walk():
    joints = walker(seconds=6.0, fps=60.0)
    bent = joints[200:290] @ np.diag([1, 1, 1.3])  # another walk, of another length
    whole, (cycle, other) = (compute_gait_parameters(joints, 60.0), cycle_parameters([joints[100:173], bent]))  # 1.2 s
    assert set(cycle) == ANGLE_PARAMETERS and whole["knee_range_left"] > 5
    for name, value in cycle.items():
        assert value == pytest.approx(whole[name], abs=0.7), name
    assert [other] == cycle_parameters([bent]) and other["knee_range_left"] != cycle["knee_range_left"]


def test_there_are_29_parameters_with_units_and_unique_names():
    assert len(GAIT_PARAMETERS) == 29 and len(set(NAMES)) == len(NAMES)
    assert {p.unit for p in GAIT_PARAMETERS} == {"m/s", "steps/min", "s", "m", "%", "deg"}
    assert all(p.description and "{" not in p.description for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS))
    assert list(measure()) == NAMES


def test_parameters_of_symmetric_walking():
    out = measure()
    assert out["speed"] == pytest.approx(1.1 / 1.2, abs=0.01)
    assert out["cadence"] == pytest.approx(100, abs=1)
    for side in ("left", "right"):
        assert out[f"cycle_time_{side}"] == pytest.approx(1.2, abs=0.02)
        assert out[f"step_time_{side}"] == pytest.approx(0.6, abs=0.02)
        assert out[f"step_length_{side}"] == pytest.approx(0.55, abs=0.02)
        assert out[f"stride_length_{side}"] == pytest.approx(1.1, abs=0.02)
        assert out[f"foot_height_{side}"] == pytest.approx(0.1, abs=0.015)
        assert out[f"swing_time_{side}"] == pytest.approx(0.38 * 1.2, abs=0.13)  # of feet that start and stop gently
        assert 10 < out[f"double_support_percent_{side}"] < 50
        assert out[f"foot_progression_angle_{side}"] == pytest.approx(np.degrees(np.arctan2(15, 120)), abs=0.5)  # toes out
    assert out["step_width"] == pytest.approx(0.16, abs=0.005)
    for name in NAMES:
        if name.endswith(("_difference", "_asymmetry")):
            assert out[name] == pytest.approx(0, abs=0.02), name


def test_single_double_and_swing_add_up():
    out = measure(stance_right=0.7)
    for side, other in (("left", "right"), ("right", "left")):
        stance = out[f"single_support_time_{side}"] + out[f"double_support_time_{side}"]
        assert stance + out[f"swing_time_{side}"] == pytest.approx(out[f"cycle_time_{side}"], abs=0.03)
        assert out[f"single_support_time_{side}"] == pytest.approx(out[f"swing_time_{other}"], abs=0.03)


def test_antalgic_right_leg_is_seen_on_the_right_side():
    out = measure(stance_left=0.72, stance_right=0.55, step_left=0.35, step_right=0.55, right_at=0.58)
    assert out["stance_asymmetry"] < -0.1 and out["swing_time_difference"] > 0.1
    assert out["step_length_left"] == pytest.approx(0.35, abs=0.03)
    assert out["step_length_difference"] == pytest.approx(0.2, abs=0.04)
    assert out["step_time_right"] == pytest.approx(0.58 * 1.2, abs=0.05)
    assert out["step_length_asymmetry"] == pytest.approx(0.2 / 0.45, abs=0.1)
    assert out["single_support_percent_right"] < out["single_support_percent_left"]


@pytest.mark.parametrize(("cycle", "step"), [(0.8, 0.7), (1.2, 0.12), (2.2, 0.3)], ids=["fast", "shuffling", "slow"])
def test_fast_shuffling_and_slow_walking_keep_their_cadence(cycle, step):
    out = measure(seconds=6, cycle=cycle, step_left=step, step_right=step, lift=0.03)
    assert out["cadence"] == pytest.approx(120 / cycle, rel=0.03)
    assert out["step_length_left"] == pytest.approx(step, abs=0.03)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_noise_of_a_depth_camera_moves_little(seed):
    joints = walker(stance_right=0.68, right_at=0.55)
    clean = compute_gait_parameters(joints, 30)
    noisy = compute_gait_parameters(joints + np.random.default_rng(seed).normal(0, 0.01, joints.shape), 30)
    for name, slack in (
        ("cadence", 3),
        ("speed", 0.03),
        ("step_length_left", 0.04),
        ("swing_time_right", 0.08),
        ("step_width", 0.02),
    ):
        assert noisy[name] == pytest.approx(clean[name], abs=slack), name


def test_frame_rate_place_and_start_do_not_matter():
    reference = measure(stance_right=0.7)
    joints = walker(stance_right=0.7)
    others = {
        "60 fps": compute_gait_parameters(walker(fps=60.0, stance_right=0.7), 60),
        "moved": compute_gait_parameters(joints + [2.0, -5.0, 0.3], 30),
        "cropped": compute_gait_parameters(joints[13:], 30),
        "float32": compute_gait_parameters(joints.astype(np.float32), 30),
    }
    for what, out in others.items():
        for name in (
            "cadence",
            "speed",
            "step_length_left",
            "step_length_right",
            "swing_time_left",
            "knee_range_right",
            "body_height",
        ):
            assert out[name] == pytest.approx(reference[name], rel=0.06), (what, name)


def test_mirroring_swaps_the_sides():
    joints = walker(stance_right=0.7, step_left=0.4, right_at=0.55)
    out, mirrored = (compute_gait_parameters(x, 30) for x in (joints, joints[:, list(KINECT_V2.mirror)] * [-1, 1, 1]))
    for name in NAMES:
        if name.endswith("_left"):
            assert mirrored[name[:-4] + "right"] == pytest.approx(out[name], abs=1e-6), name
        elif name.endswith(("_difference", "_asymmetry")):
            assert mirrored[name] == pytest.approx(-out[name], abs=1e-6), name
        elif not name.endswith("_right"):
            assert mirrored[name] == pytest.approx(out[name], abs=1e-6), name


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 9, 20, 40])
def test_short_walks_give_every_name_and_never_raise(frames):
    out = compute_gait_parameters(walker()[:frames], 30)
    assert list(out) == NAMES and all(isinstance(v, float) for v in out.values())
    assert out["body_height"] > 1.5
    if frames < 30:
        assert np.isnan(out["cadence"]) and np.isnan(out["stride_length_left"])


def test_standing_still_has_no_cadence():
    out = compute_gait_parameters(np.repeat(KINECT_V2.rest_positions[None], 90, axis=0), 30)
    assert out["speed"] == pytest.approx(0, abs=1e-9) and np.isnan(out["cadence"])


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_other_skeletons(skeleton):
    joints = convert_joints(walker(), KINECT_V2, skeleton)
    out = compute_gait_parameters(joints, 30, skeleton)
    assert out["cadence"] == pytest.approx(100, abs=1)
    assert out["knee_range_left"] == pytest.approx(measure()["knee_range_left"], abs=0.5)
    assert np.isnan(out["ankle_range_left"]) == (not skeleton.has("left_foot"))


def test_bad_input_is_refused():
    joints = walker()
    with pytest.raises(ValueError, match="fps"):
        compute_gait_parameters(joints, 0)
    with pytest.raises(ValueError, match="25, 3"):
        compute_gait_parameters(joints[:, :18], 30)
    joints[3, 4, 1] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        compute_gait_parameters(joints, 30)


def test_what_was_filled_in_is_no_measurement():
    joints, filled = walker(10), np.zeros((300, 25), bool)
    true = compute_gait_parameters(joints, 30)
    for name, null in (("right_knee", "knee_range_right"), ("left_hip", "pelvic_obliquity_range"), ("head", "body_height")):
        made_up, filled[:] = joints.copy(), False
        filled[100:200, KINECT_V2.index(name)] = True
        made_up[filled] += 0.3
        assert compute_gait_parameters(made_up, 30, filled=filled) == pytest.approx(true, rel=0.02, abs=0.02, nan_ok=True)
        assert stride_values(made_up, 30, filled=filled).get(null, np.zeros(1)).max() < true[null] + 1
        filled[:, KINECT_V2.index(name)] = True
        assert np.isnan(compute_gait_parameters(made_up, 30, filled=filled)[null])


def test_symmetry_index():
    assert symmetry_index(1, 3) == 1 and symmetry_index(2, 2) == 0
    assert np.isnan(symmetry_index(0, 0))


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda j: j * 2.0, "what is the unit"),
        (lambda j: j[..., [0, 2, 1]], "not upright"),
        (lambda j: j * [-1, -1, 1], "not along"),
    ],
)
def test_gross_misuse_is_told(wrong, said):
    joints = simulate_walks(1, frames=96, fps=30, seed=3, pathology="normal").joints[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_gait_parameters(joints, 30)
    with pytest.warns(UserWarning, match=f"{said}.*read_recording"), contextlib.suppress(ValueError):
        compute_gait_parameters(wrong(joints), 30)


@pytest.mark.parametrize("factor", [1000, 100, 39.37])
@pytest.mark.parametrize("unseen", [(), ("head", "left_hand")])
def test_other_units_than_metres_are_refused(factor, unseen):
    joints = factor * simulate_walks(1, frames=96, fps=30, seed=3, pathology="normal").joints[0]
    joints[:, [KINECT_V2.index(n) for n in unseen]] = np.nan
    for measure in (compute_gait_parameters, stride_values):
        with pytest.raises(ValueError, match="what is the unit"):
            measure(joints, 30)
