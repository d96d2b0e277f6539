"""Gait events of walkers whose contacts are known: analytic ones, whose feet have the speeds of real ones; a real snippet."""

from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from modeling_gait.gait_events import _cycle, detect_gait_events, smooth_positions
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.skeletons import KINECT_V2, OPENPOSE_18, convert_joints

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
KINDS = ("left_heel_strikes", "left_toe_offs", "right_heel_strikes", "right_toe_offs")


def foot_way(phase: np.ndarray, stance: float, rolling: float, leaving: float) -> np.ndarray:
    """Way of a foot (in strides) at phases (T,) in cycles: 0.5 of the walking speed at 0, `leaving` of it at `stance`.

    It stands still from 0.08 until it starts to roll off, `rolling` cycles before `stance`, as real ankles and toes do.
    """
    at = [0, 0.04, 0.08, stance - rolling, stance, (1 + 2 * stance) / 3, (2 + stance) / 3, 0.96, 1]

    def speed(peak):
        return PchipInterpolator(at, [0.5, 0.15, 0, 0, leaving, 0.9 * peak, peak, 1.5, 0.5])

    peak = brentq(lambda p: speed(p).integrate(0, 1) - 1, 1, 20)
    way = speed(peak).antiderivative()
    return np.floor(phase) + way(phase % 1)


def walker(seconds=8.0, fps=100.0, cadence=110.0, stride=1.3, stance=(0.62, 0.62), right_at=0.5, belt=0.0) -> np.ndarray:
    """(T, 25, 3) whose left heel strikes at whole cycles, the right `right_at` later; toes leave at `stance` of each cycle."""
    time = np.arange(int(seconds * fps)) / fps
    joints = np.repeat(KINECT_V2.rest_positions[None].astype(float), len(time), axis=0)
    cycles = time * cadence / 120
    joints[:, :, 1] += stride * cycles[:, None]
    for side, share, start in (("left", stance[0], 0.0), ("right", stance[1], right_at)):
        ankle, toe = (KINECT_V2.index(f"{side}_{name}") for name in ("ankle", "foot"))
        phase = cycles - start + 3
        ahead = stride * (0.25 + start - 3)  # the foot strikes a quarter of a stride ahead of the pelvis
        joints[:, ankle, 1] = ahead + stride * foot_way(phase, share, 0.2, 1.45)
        joints[:, toe, 1] = ahead + 0.14 + stride * foot_way(phase, share, 0.08, 0.9)
        apart = joints[:, toe, 1] - joints[:, ankle, 1]
        joints[:, toe, 2] = 0.02 + 0.05 * np.sin(np.pi * np.clip((phase % 1 - share) / (1 - share), 0, 1)) ** 2
        joints[:, ankle, 2] = joints[:, toe, 2] + np.sqrt(0.155**2 - apart**2)  # a rigid foot
    joints[:, :, 1] -= belt * time[:, None]
    return joints


def errors(joints, skeleton=KINECT_V2, fps=100.0, cadence=110.0, stance=(0.62, 0.62), right_at=0.5) -> dict[str, np.ndarray]:
    """Errors [s] of each kind; every contact in the middle of the walk must be found, and nothing else."""
    events, out = vars(detect_gait_events(joints, fps, skeleton)), {}
    cycle, length = 120 / cadence, len(joints) / fps
    for kind, start in zip(KINDS, (0, stance[0], right_at, right_at + stance[1])):
        true = (np.arange(-3, 200) + start) * cycle
        found = events[kind] / fps
        inside = (found > 0.3 * cycle) & (found < length - 0.3 * cycle)
        true = true[(true > 0.3 * cycle) & (true < length - 0.3 * cycle)]
        nearest = np.abs(found[:, None] - true).argmin(axis=1)[inside]
        assert len(np.unique(nearest)) == len(nearest) and len(nearest) >= len(true) - 1, kind
        out[kind] = found[inside] - true[nearest]
    return out


def test_who_walks_backwards_is_read_in_reversed_time():
    """Along +y and facing -y: where that foot left the floor, this one meets it."""
    joints = walker(5)
    forward, back = (vars(detect_gait_events(j, 100.0)) for j in (joints, joints[::-1] * [-1, -1, 1]))
    for side in ("left", "right"):
        for kind, other in (("heel_strikes", "toe_offs"), ("toe_offs", "heel_strikes")):
            assert len(back[f"{side}_{kind}"]) > 2
            np.testing.assert_allclose(back[f"{side}_{kind}"], 499 - forward[f"{side}_{other}"][::-1], atol=1e-6)


@pytest.mark.parametrize("fps", [15.0, 30.0, 100.0, 150.0, 1000.0])
def test_contacts_are_found_at_any_frame_rate(fps):
    for kind, found in errors(walker(5, fps), fps=fps).items():
        assert np.abs(found).max() < 0.025, kind
        assert np.ptp(found) < 0.005, kind


@pytest.mark.parametrize(
    "walk",
    [
        {"cadence": 33.0, "stride": 0.7},
        {"cadence": 150.0, "stride": 1.6},
        {"stride": 0.3},
        {"stance": (0.72, 0.56), "right_at": 0.58},
        {"belt": 1.3 * 110 / 120},
    ],
    ids=["33 steps a minute", "fast", "shuffling", "antalgic", "treadmill"],
)
def test_contacts_are_found_in_any_walk(walk):
    same = {k: v for k, v in walk.items() if k in ("cadence", "stance", "right_at")}
    for kind, found in errors(walker(seconds=16.0, **walk), **same).items():
        assert np.abs(found).max() < 0.015, kind


def test_ankles_alone_suffice():
    joints = convert_joints(walker(), KINECT_V2, OPENPOSE_18)
    for kind, found in errors(joints, OPENPOSE_18).items():
        assert np.abs(found).max() < (0.015 if kind.endswith("strikes") else 0.03), kind


@pytest.mark.parametrize("toes", ["noisy", "copied", "missing"])
def test_toes_that_tell_nothing_are_not_asked(toes):
    joints = walker()
    feet, ankles = ([KINECT_V2.index(f"{s}_{n}") for s in ("left", "right")] for n in ("foot", "ankle"))
    alone = detect_gait_events(np.where(np.isin(np.arange(25), feet)[:, None], np.nan, joints), 100)
    with_toes = detect_gait_events(joints, 100)
    assert np.abs(with_toes.left_toe_offs[1:-1] - alone.left_toe_offs[1:-1]).min() > 1
    joints[:, feet] = {
        "noisy": joints[:, feet] + np.random.default_rng(0).normal(0, 0.03, (len(joints), 2, 3)),
        "copied": joints[:, ankles] + [0, 0.12, -0.07],
        "missing": np.nan,
    }[toes]
    for kind, found in vars(detect_gait_events(joints, 100)).items():
        np.testing.assert_allclose(found, getattr(alone, kind), atol=1e-6)


def test_noise_of_a_depth_camera_leaves_no_event_out_and_none_added():
    joints = walker(40, 30.0)
    noise = np.random.default_rng(0).normal(0, 0.02, joints.shape)
    for kind, found in errors(joints + noise, fps=30.0).items():
        assert abs(np.median(found)) < 0.03 and found.std() < 0.025, kind


def test_events_in_gaps_are_left_out_and_the_others_stay():
    joints = walker()
    whole = detect_gait_events(joints, 100)
    at = whole.right_heel_strikes[2]
    joints[int(at) - 4 : int(at) + 5] = np.nan
    joints[:40] = np.nan
    gaps = detect_gait_events(joints, 100)
    for kind, found in vars(gaps).items():
        before = getattr(whole, kind)
        kept = before[(before > 60) & (np.abs(before - at) > 8)]
        assert len(found) <= len(before[before > 42]) and np.abs(found - at).min() > 6
        assert np.abs(kept[:, None] - found).min(axis=1).max() < 1.5, kind


def test_who_stands_or_is_not_seen_has_no_events():
    rest = np.repeat(KINECT_V2.rest_positions[None], 90, axis=0).astype(float)
    noise = np.random.default_rng(0).normal(0, 0.005, rest.shape)
    for joints in (rest, rest + noise, np.full_like(rest, np.nan), walker()[:9]):
        assert all(len(e) == 0 for e in vars(detect_gait_events(joints, 30)).values())


def test_bad_input_is_refused():
    for joints, fps, message in ((walker(), 0, "fps"), (walker(), 1200, "5 to 1000"), (walker()[:, :18], 30, "25, 3")):
        with pytest.raises(ValueError, match=message):
            detect_gait_events(joints, fps)


@pytest.mark.parametrize(("cadence", "stance"), [(33.0, 0.7), (110.0, 0.62)])
def test_parameters_of_time_are_right(cadence, stance):
    out = compute_gait_parameters(walker(24.0, cadence=cadence, stance=(stance, stance)), 100)
    assert out["cadence"] == pytest.approx(cadence, rel=0.005)
    for side in ("left", "right"):
        assert out[f"double_support_percent_{side}"] == pytest.approx(200 * (stance - 0.5), abs=2.5)
        assert out[f"stride_length_{side}"] == pytest.approx(1.3, abs=0.01)


def test_heel_strikes_of_a_real_walk():
    path = CASES / "real_lower_body_markers_150hz.csv"
    if not path.exists():
        pytest.skip("the real snippet is not beside this project")
    table = np.genfromtxt(path, delimiter=",", names=True)
    joints = np.full((len(table), 25, 3), np.nan)
    for name in ("pelvis", "left_ankle", "right_ankle", "left_foot", "right_foot"):
        x, y, z = (table[f"{name}_{axis}"] / 1000 for axis in "xyz")
        joints[:, KINECT_V2.index(name)] = np.stack((z, x, y), axis=1)
    turn = np.arctan2(*(joints[-1, 0] - joints[0, 0])[:2])
    joints = joints @ [[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    strikes = detect_gait_events(joints, 150).right_heel_strikes
    np.testing.assert_allclose(strikes, [83, 246], atol=6)


def test_smoothing_has_no_lag_and_removes_what_is_above_the_cutoff():
    time = np.arange(150) / 30
    slow, fast = np.sin(2 * np.pi * time), np.sin(2 * np.pi * 13 * time)
    out = smooth_positions(slow + fast, 30)
    np.testing.assert_allclose(out[20:-20], slow[20:-20], atol=0.03)
    half_power = smooth_positions(np.sin(2 * np.pi * 6 * time), 30)[30:-30]
    assert half_power.max() == pytest.approx(np.sqrt(0.5), abs=0.05)  # -3 dB at the cutoff


@pytest.mark.parametrize("seed", range(6))
def test_feet_without_a_rhythm_give_no_error(seed):
    joints = np.random.default_rng(seed).normal(0, 0.1, (32, 25, 3)).cumsum(0).astype(np.float32)
    events = detect_gait_events(joints, 30.0)
    assert all(np.isfinite(getattr(events, kind)).all() for kind in KINDS)


def test_a_way_between_the_feet_that_never_repeats_has_no_cycle():
    way = np.random.default_rng(11777).normal(size=32).cumsum()  # its autocorrelation is negative at every peak
    assert _cycle(way, 30.0) == pytest.approx(1.2 * 30)
