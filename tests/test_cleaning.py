"""Tests of modeling_gait.cleaning: every artefact of a depth camera, heading and origin; and properties."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.cleaning import at_rate, canonicalise, clean_walk, floor_height, heading, missing_frames
from modeling_gait.loading import Walk, uneven_clock
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, OPENPOSE_18, SKELETONS, convert_joints

LEFT_FOOT, RIGHT_ANKLE, HEAD = (KINECT_V2.index(n) for n in ("left_foot", "right_ankle", "head"))
TIMES = {"frames_in", "frames_out", "longest_gap", "start"}  # not artefacts


def walk(frames: int = 90, fps: float = 30.0, speed: float = 1.0, start: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (T,) and joints (T, 25, 3): the rest pose moved along +y, the legs swinging a little."""
    times = start + np.arange(frames) / fps
    joints = np.tile(KINECT_V2.rest_positions.astype(np.float64), (frames, 1, 1))
    joints[..., 1] += speed * (times - start)[:, None]
    phase = 2 * np.pi * (times - start)
    for side, sign in (("left", 1), ("right", -1)):
        joints[:, KINECT_V2.index(f"{side}_knee"), 1] += 0.05 * sign * np.sin(phase)
        for name in ("ankle", "foot"):
            joints[:, KINECT_V2.index(f"{side}_{name}"), 1] += 0.1 * sign * np.sin(phase)
    return times, joints


def error(cleaned: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(cleaned[: len(expected)] - expected[: len(cleaned)]).max())


def test_a_clean_walk_comes_back_as_it_was():
    times, joints = walk()
    out, report = clean_walk(times, joints)
    assert out.dtype == np.float32 and out.shape == joints.shape
    assert error(out, joints) < 1e-5
    assert all(count == 0 for name, count in report.to_dict().items() if name not in TIMES)
    assert (report.frames_in, report.frames_out) == (90, 90)


def test_wrapped_clock_is_unwound():
    times, joints = walk(start=58.0)
    out, report = clean_walk(times % 60.0, joints)
    assert report.clock_wraps == 1 and report.long_gaps == 0 and error(out, joints) < 1e-5


def test_two_wraps_are_counted():
    times, joints = walk(frames=4000, speed=0.0, start=58.0)
    _, report = clean_walk(times % 60.0, joints)
    assert report.clock_wraps == 3 and report.frames_out == 4000


def test_repeated_and_backward_stamps_are_dropped():
    times, joints = walk()
    times[20] = times[19]
    times[50] = times[48] - 0.01
    times[70] = np.nan
    out, report = clean_walk(times, joints)
    assert report.repeated_stamps == 3 and report.clock_wraps == 0 and len(out) == 90
    assert error(out, joints) < 0.01


def test_irregular_stamps_become_uniform():
    rng = np.random.default_rng(0)
    times, joints = walk(frames=200)
    keep = np.sort(rng.choice(np.arange(1, 199), 150, replace=False))
    keep = np.concatenate(([0], keep, [199]))
    out, report = clean_walk(times[keep], joints[keep])
    assert len(out) == 200 and error(out, joints) < 0.02
    assert report.longest_gap == pytest.approx(np.diff(times[keep]).max())


@pytest.mark.parametrize("fps", [15.0, 25.0, 60.0, 100.0])
def test_any_frame_rate(fps):
    times, joints = walk()
    out, report = clean_walk(times, joints, fps=fps)
    assert abs(len(out) - ((len(times) - 1) / 30 * fps + 1)) < 1 and report.frames_out == len(out)
    step = np.linalg.norm(np.diff(out[:, 0], axis=0), axis=-1)
    np.testing.assert_allclose(step, 1.0 / fps, atol=1e-4)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (np.nan, "nan_samples"),
        (np.inf, "inf_samples"),
        (-np.inf, "inf_samples"),
        (1e31, "absurd_samples"),
        (-11.0, "absurd_samples"),
        (0.0, "stuck_samples"),
        (6.9e-310, "stuck_samples"),
    ],
)
def test_bad_samples_are_found_and_interpolated(value, field):
    times, joints = walk()
    broken = joints.copy()
    broken[30:33, HEAD] = value
    broken[60, LEFT_FOOT] = value
    out, report = clean_walk(times, broken)
    assert getattr(report, field) == 4
    assert (report.samples_repaired, report.frames_repaired, report.frames_cut) == (4, 4, 0)
    assert error(out, joints) < 0.02


def test_one_bad_coordinate_condemns_the_sample():
    times, joints = walk()
    broken = joints.copy()
    broken[40, HEAD, 0] = 419.0
    broken[40, HEAD, 1:] = 6.9e-310
    out, report = clean_walk(times, broken)
    assert report.absurd_samples == 1 and error(out, joints) < 1e-4


def test_a_joint_in_the_plane_of_the_sensor_is_not_stuck():
    times, joints = walk()
    joints[:, HEAD, 0] = 0.0  # two zeros are not a stuck joint
    joints[0, HEAD, 1] = 0.0
    _, report = clean_walk(times, joints)
    assert report.stuck_samples == 0


def test_a_spike_stands_out_of_the_noise_of_its_joint():
    """Noise of 3 cm: 0.2 m is within six deviations of it, 0.6 m is not."""
    times, joints = walk()
    joints[:, HEAD, 2] += np.random.default_rng(0).normal(0, 0.03, len(times))
    for frame, size, spikes in ((40, 0.2, 0), (50, 0.6, 1)):
        moved = joints.copy()
        moved[frame, HEAD, 2] = np.median(joints[:, HEAD, 2]) + size
        assert clean_walk(times, moved)[1].spike_samples == spikes


def test_spikes_are_removed():
    times, joints = walk()
    broken = joints.copy()
    broken[30, RIGHT_ANKLE] += (0.3, -0.2, 0.1)
    broken[50:52, LEFT_FOOT] += 0.4
    broken[70, 0, 1] += 0.5  # the root jumps there and back
    out, report = clean_walk(times, broken)
    assert report.spike_samples == 4 and report.root_jumps == 2 and report.frames_cut == 0
    assert error(out, joints) < 0.02


def test_a_body_that_vanishes_at_the_end_is_cut():
    times, joints = walk()
    broken = joints.copy()
    broken[80:] = 6.9e-310
    out, report = clean_walk(times, broken)
    assert len(out) == 80 and report.frames_cut == 10 and error(out, joints) < 1e-5


def test_a_tracker_that_moves_to_another_body_is_cut():
    times, joints = walk()
    broken = joints.copy()
    broken[84:, :, 1] -= 2.0
    out, report = clean_walk(times, broken)
    assert report.root_jumps == 1 and len(out) == 84 and error(out, joints) < 1e-5


def test_a_body_that_sinks_or_falls_apart_at_the_end_is_cut():
    times, joints = walk()
    broken = joints.copy()
    broken[86:, :, 2] -= 0.25
    broken[85, :, 2] *= 0.3
    out, report = clean_walk(times, broken)
    assert report.broken_frames == 5 and len(out) == 85


def test_a_long_gap_keeps_the_longer_piece():
    times, joints = walk()
    times[30:] += 1.0
    out, report = clean_walk(times, joints)
    assert report.long_gaps == 1 and report.frames_cut == 30
    np.testing.assert_allclose(out, joints[30:], atol=1e-5)


def test_a_short_gap_is_bridged():
    times, joints = walk()
    keep = np.r_[0:40, 50:90]
    out, report = clean_walk(times[keep], joints[keep])
    assert len(out) == 90 and report.long_gaps == 0 and error(out, joints) < 0.1


@pytest.mark.parametrize("lost", [slice(0, 10), slice(80, 90)])
def test_a_joint_lost_at_an_end_moves_with_the_body(lost):
    times, joints = walk()
    broken = joints.copy()
    broken[lost, HEAD] = np.nan
    out, report = clean_walk(times, broken)
    assert report.samples_repaired == 10 and report.frames_cut == 0 and error(out, joints) < 1e-4


def test_a_joint_never_seen_stays_unmeasured():
    times, joints = walk()
    broken = joints.copy()
    broken[:, HEAD] = np.nan
    out, report = clean_walk(times, broken)
    assert report.joints_missing == 1 and np.isnan(out[:, HEAD]).all()
    seen = [j for j in range(25) if j != HEAD]
    assert error(out[:, seen], joints[:, seen]) < 1e-4


@pytest.mark.parametrize("fps", [30.0, 100.0])
@pytest.mark.parametrize(
    "lost, filled", [(range(40, 47), True), (range(40, 46), False), (range(0, 4), True), (range(3), False)]
)
def test_a_joint_lost_for_more_than_a_moment_is_filled_in(fps, lost, filled):
    times, joints = walk()
    joints[lost, HEAD] = np.nan
    joints[10:12, LEFT_FOOT] = joints[::5, RIGHT_ANKLE] = np.nan
    out, report = clean_walk(times, joints, fps=fps)
    seconds = report.filled.sum(0) / fps
    assert report.filled.shape == out.shape[:2] and np.isfinite(out).all()
    assert seconds[HEAD] == pytest.approx(len(lost) / 30 * filled, abs=0.02) and seconds.sum() == seconds[HEAD]
    assert "filled" not in report.to_dict()


def test_input_is_not_changed():
    times, joints = walk()
    joints[5, 3] = np.nan
    before = times.copy(), joints.copy()
    clean_walk(times, joints)
    np.testing.assert_array_equal(times, before[0])
    np.testing.assert_array_equal(joints, before[1])


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton(skeleton):
    times = np.arange(40) / 30
    joints = np.tile(skeleton.rest_positions.astype(np.float64), (40, 1, 1))
    joints[..., 1] += times[:, None]
    expected = joints.copy()
    joints[20, -1] = np.nan
    out, report = clean_walk(times, joints, skeleton=skeleton)
    assert report.nan_samples == 1 and error(out, expected) < 1e-4
    assert canonicalise(out, skeleton).shape == expected.shape


def test_a_walk_at_another_rate_is_as_fast():
    _, joints = walk(60)
    joints = joints.astype(np.float32)
    assert at_rate(joints, 30.0, 30.0) is joints
    faster = at_rate(joints, 30.0, 60.0)
    assert len(faster) == 119 and faster.dtype == np.float32
    np.testing.assert_allclose(at_rate(faster, 60.0, 30.0), joints, atol=1e-6)
    for fps in (0.0, np.nan, 2000.0):
        with pytest.raises(ValueError, match="frames a second; expected 5 to 1000"):
            at_rate(joints, fps, 30.0)


def test_errors_say_what_was_expected():
    times, joints = walk()
    with pytest.raises(ValueError, match=r"joints \(T, 25, 3\).*got \(90,\) and \(90, 24, 3\)"):
        clean_walk(times, joints[:, :24])
    with pytest.raises(ValueError, match="fps must be a positive number"):
        clean_walk(times, joints, fps=0)
    with pytest.raises(ValueError, match="none of 90 time stamps is a number"):
        clean_walk(np.full(90, np.nan), np.zeros((90, 25, 3)))
    with pytest.raises(ValueError, match="only 5 of 5 frames are usable, at least 8"):
        clean_walk(times[:5], joints[:5])
    with pytest.raises(ValueError, match="only 0 of 90 frames"):
        clean_walk(times, np.full_like(joints, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        canonicalise(np.full_like(joints, np.nan))
    with pytest.raises(ValueError, match=r"expected joints \(T, 25, 3\)"):
        canonicalise(joints[0])


# --- properties --------------------------------------------------------------------------------------------------------------

VALUES = st.sampled_from([np.nan, np.inf, -np.inf, 1e31, -1e31, 6.9e-310, 0.0, 50.0, 0.7])
DAMAGE = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 24), st.integers(0, 2), VALUES), max_size=60)


@settings(max_examples=60, deadline=None)
@given(DAMAGE, st.lists(st.floats(-100, 100) | st.just(np.nan), min_size=40, max_size=40) | st.none())
def test_whatever_comes_in_finite_and_near_comes_out(damage, stamps):
    times, joints = walk(frames=40)
    for frame, joint, axis, value in damage:
        joints[frame, joint, axis] = value
    if stamps is not None:
        times = np.array(stamps)
    try:
        out, report = clean_walk(times, joints)
    except ValueError as err:
        assert "frames are usable" in str(err)
        return
    assert np.isfinite(out).all() and np.abs(out).max() < 10.5 and out.shape[1:] == (25, 3)
    assert report.frames_out == len(out) and report.frames_in == 40
    assert all(count >= 0 for count in report.to_dict().values())
    again = canonicalise(out)
    assert np.isfinite(again).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 39), st.integers(1, 24), VALUES.filter(lambda v: v != 0.7 and v != 50.0))
def test_one_bad_sample_anywhere_is_repaired(frame, joint, value):
    times, joints = walk(frames=40)
    broken = joints.copy()
    broken[frame, joint] = value
    out, report = clean_walk(times, broken)
    assert report.samples_repaired == 1 and len(out) == 40 and error(out, joints) < 0.05


@settings(max_examples=40, deadline=None)
@given(st.floats(-np.pi, np.pi), st.floats(-3, 3), st.floats(-3, 3), st.floats(-0.5, 0.5), st.sampled_from([0.0, 0.8]))
def test_canonicalise_undoes_heading_place_and_height(angle, dx, dy, dz, speed):
    _, joints = walk(frames=60, speed=speed)
    c, s = np.cos(angle), np.sin(angle)
    moved = joints @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + (dx, dy, dz)
    np.testing.assert_allclose(canonicalise(moved), canonicalise(joints), atol=2e-3)


def test_canonical_frame():
    _, joints = walk()
    out = canonicalise(joints @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]) + (2, 3, 0.4))
    np.testing.assert_allclose(out[0, 0, :2], 0, atol=1e-6)
    assert out[-1, 0, 1] > 2.8 and abs(out[-1, 0, 0]) < 0.05
    assert out[0, KINECT_V2.index("left_hip"), 0] < 0 < out[0, KINECT_V2.index("right_hip"), 0]
    assert abs(floor_height(out)) < 1e-6 and out[0, LEFT_FOOT, 2] == pytest.approx(0.02, abs=1e-3)
    np.testing.assert_allclose(heading(out), (0, 1), atol=1e-3)


def test_backward_walk_faces_backward():
    """The direction of travel decides, not where the walker looks."""
    _, joints = walk(speed=-1.0)
    out = canonicalise(joints)
    assert out[-1, 0, 1] > 2.5 and out[0, KINECT_V2.index("left_hip"), 0] > 0


def test_joints_that_a_layout_lacks_are_put_in_front_whatever_the_heading():
    """OpenPose 18 has no feet: those of a walk along +x must not point sideways."""
    straight = simulate_walks(1, frames=60, seed=0, pathology="normal").joints[0]
    along_x = straight[..., [1, 0, 2]] * np.array([1, -1, 1], np.float32)
    turned = canonicalise(convert_joints(along_x, KINECT_V2, OPENPOSE_18), OPENPOSE_18, KINECT_V2)
    assert turned.shape == straight.shape
    for side in ("left", "right"):
        foot = turned[:, KINECT_V2.index(f"{side}_foot")] - turned[:, KINECT_V2.index(f"{side}_ankle")]
        assert (foot[:, 1] > 0.05).all() and np.abs(foot[:, 0]).max() < 0.05


def test_frames_that_a_clock_leaves_out_are_counted_alike_by_all():
    """Of a clock that hurries at times, whose mean rate is not that of its median step."""
    steps = np.array(([0.033] * 3 + [0.045] * 2) * 20)
    steps[[10, 50]] = 0.053
    times = np.concatenate(([0.0], np.cumsum(steps)))
    joints = np.tile(KINECT_V2.rest_positions, (len(times), 1, 1)) + np.arange(len(times))[:, None, None] * [0, 0.02, 0]
    assert missing_frames(times) == clean_walk(times, joints)[1].frames_missing == 2
    assert missing_frames(times[:1]) == missing_frames(np.zeros(5)) == 0
    walk = Walk(joints.astype(np.float32), 1 / steps.mean(), KINECT_V2, "w", times)
    assert "leaves out 2 frame(s)" in uneven_clock(walk)
    walk = replace(walk, times=np.concatenate((times[:50], times[49:-1])))
    assert "leaves out 2 frame(s) and does not advance at 1 of them" in uneven_clock(walk)
