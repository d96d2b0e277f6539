"""Every form of a walk goes in by one way and comes out as the same numbers; what is no walk is refused in one line."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d
from transformers.pipelines.pt_utils import KeyDataset
from walkers import SPEED, STEP, walker

from modeling_gait.cleaning import clean_walk
from modeling_gait.export import write_csv, write_npz
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.loading import Walk, load_walk
from modeling_gait.recording import _unsure, is_one, read_recording, read_recordings
from modeling_gait.schema import walk_row
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import AZURE_KINECT, KINECT_V2, OPENPOSE_18, SKELETONS, SMPL_22, check_walk, convert_joints

WALK = walker(5).astype(np.float32)
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"
Y_UP = np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]])


NUMBERS = ("speed", "cadence", "step_length_left", "step_width", "knee_range_right")


def numbers(walk) -> list[float]:
    return [walk.gait_parameters[n] for n in NUMBERS]


TRUTH = numbers(read_recording({"joints": WALK, "fps": 30}))


def test_the_walker_is_measured_as_it_was_made():
    assert TRUTH[:3] == pytest.approx([SPEED, 110, STEP], rel=0.01)


def test_every_form_of_a_walk_is_the_same_walk(tmp_path):
    write_csv(tmp_path / "a.csv", WALK, 30.0)
    write_npz(tmp_path / "a.npz", WALK, 30.0)
    row = walk_row(WALK, 30.0, subject_id="a", walk_id="a", sensor="s", pathology="normal")
    forms = [tmp_path / "a.csv", str(tmp_path / "a.npz"), load_walk(tmp_path / "a.npz"), Walk(WALK, 30.0, KINECT_V2, "a"), row]
    forms += [{"joints": WALK.tolist(), "fps": 30.0}, {"joints": torch.from_numpy(WALK), "fps": torch.tensor(30.0)}]
    forms += [{"joints": WALK * 1000, "times": np.arange(150) / 30, "skeleton": "kinect_v2"}]
    for form in forms:
        assert is_one(form)
        assert numbers(read_recording(form)) == pytest.approx(TRUTH, rel=1e-3)
    for array in (WALK, torch.from_numpy(WALK).double(), WALK.reshape(150, -1), WALK @ Y_UP, WALK.tolist()):
        assert numbers(read_recording(array, fps=30)) == pytest.approx(TRUTH, rel=1e-3)
    read = read_recording(row)
    assert read_recording(read) is read


def test_several_walks(tmp_path):
    rows = [walk_row(WALK, 30.0, subject_id=n, walk_id=n, sensor="s", pathology="normal") for n in "ab"]
    data = Dataset.from_list(rows)
    data.to_parquet(tmp_path / "two.parquet")
    for several in (rows, data, KeyDataset(data, "joints"), np.stack([WALK, WALK]), tmp_path / "two.parquet", iter(rows)):
        walks = read_recordings(several, default_fps=30.0)
        assert len(walks) == 2 and numbers(walks[1]) == pytest.approx(TRUTH, rel=1e-3)
    with pytest.raises(ValueError, match="walk 1: .*nobody walks"):
        read_recordings([WALK, np.repeat(WALK[:1], 90, 0)], fps=30)
    with pytest.raises(ValueError, match="at least one walk"):
        read_recordings([])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    (tmp_path / "y.parquet").write_text("no table")
    for name, message in (("x.parquet", "not in the walk schema"), ("y.parquet", "not a Parquet file")):
        with pytest.raises(ValueError, match=message):
            read_recordings(tmp_path / name)


def test_the_clock_of_a_walk_is_kept():
    """Two gaps of 0.4 s: the frames beside them are not neighbours."""
    long = walker(10)
    seen = np.delete(np.arange(300), [*range(80, 92), *range(180, 192)])
    thing = {"joints": long[seen], "times": 7 + seen / 30}
    for rate in (None, 30.0, 100.0):
        walk = read_recording(thing, rate=rate)
        assert walk.gait_parameters["cadence"] == pytest.approx(110, rel=0.01)
        assert walk.times[0] == pytest.approx(7) and walk.times[-1] == pytest.approx(7 + 299 / 30, abs=0.04)


def test_no_frame_rate_is_refused_or_doubted():
    with pytest.raises(ValueError, match="states no frame rate"):
        read_recording(WALK)
    assert "taken as 30 a second" in read_recording(WALK, default_fps=30).doubts[0]
    for fps in (0, -1, 2, 1500, np.nan):
        with pytest.raises(ValueError, match="fps|frames a second"):
            read_recording(WALK, fps=fps)
        with pytest.raises(ValueError, match="frames a second"):
            read_recording(Walk(WALK, fps, KINECT_V2, "a"))


@pytest.mark.parametrize("wrong", [None, 5, object(), {"joints": None}, {"joints": 5}, [WALK, [WALK]], {"x": WALK}])
def test_what_cannot_be_a_walk(wrong):
    with pytest.raises((TypeError, ValueError), match="expected"):
        read_recording(wrong, fps=30)


@pytest.mark.parametrize("lost", [("head",), ("left_foot", "right_foot"), ("spine_shoulder", "neck", "left_shoulder")])
def test_joints_that_were_not_measured_stay_so(lost):
    joints = WALK.copy()
    joints[:, [KINECT_V2.index(n) for n in lost]] = np.nan
    walk = read_recording(joints, fps=30)
    null = {n for n, v in walk.gait_parameters.items() if np.isnan(v)}
    expected = {
        "head": {"body_height"},
        "left_foot": {f"{n}_{s}" for n in ("foot_progression_angle", "ankle_range") for s in ("left", "right")},
        "spine_shoulder": {"trunk_lean_sagittal", "trunk_lean_range_sagittal", "trunk_lean_range_frontal"},
    }[lost[0]]
    assert null == expected and set(walk.measured) == set(KINECT_V2.joint_names) - set(lost)
    assert all(n in walk.doubts[0] for n in (*lost, *expected))
    assert np.isnan(walk.joints[:, KINECT_V2.index(lost[0])]).all()
    assert np.isfinite(walk.for_model(SMPL_22, 30.0)).all()


LONG = simulate_walks(1, frames=360, fps=30.0, seed=3, pathology="normal", speed=1.2, cadence=110.0).joints[0]


@pytest.mark.parametrize(
    "lost, names",
    [
        (("right_knee",), ("knee_range_right", "peak_knee_flexion_right", "hip_range_right")),
        (("left_hip",), ("pelvic_obliquity_range", "hip_range_left")),
        (("spine_shoulder",), ("trunk_lean_range_frontal", "trunk_lean_range_sagittal", "trunk_lean_sagittal")),
        (
            ("left_ankle", "left_foot"),
            ("step_length_left", "cycle_time_left", "swing_time_left", "step_width", "foot_height_left"),
        ),
        (("head",), ("body_height",)),
    ],
)
def test_a_joint_lost_for_a_while_is_told_and_its_strides_left_out(lost, names):
    """As much as the strides that are left differ from all."""
    joints = LONG.copy()
    joints[90:270, [KINECT_V2.index(n) for n in lost]] = np.nan
    true, walk = read_recording(LONG, fps=30), read_recording(joints, fps=30)
    assert true.doubts == ()
    for name in (*names, *NUMBERS):
        assert walk.gait_parameters[name] == pytest.approx(true.gait_parameters[name], rel=0.04, abs=0.15), name
    (doubt,) = walk.doubts
    told = " and ".join(n.replace("_", " ") for n in lost)
    assert doubt.startswith(f"the {told} {'were' if len(lost) > 1 else 'was'} not seen for 6.0 s of 12.0 s: ")
    assert np.isfinite(walk.for_model(KINECT_V2, 30.0)).all()
    strikes = walk.gait_events["left_heel_strikes"]
    assert ((strikes > 3) & (strikes < 9)).any() == ("left_ankle" not in lost)


def test_a_joint_lost_in_all_strides_has_no_numbers():
    joints = WALK[:75].copy()
    joints[25:50, KINECT_V2.index("right_knee")] = np.nan
    walk = read_recording(joints, fps=30)
    null = {n for n, v in walk.gait_parameters.items() if np.isnan(v)}
    assert null >= {"knee_range_right", "hip_range_right", "peak_knee_flexion_right", "knee_range_asymmetry"}
    assert not null & {"knee_range_left", "speed", "cadence", "step_length_left", "step_length_right"}
    (doubt,) = [d for d in walk.doubts if "not seen" in d]
    assert (
        "the right knee was not seen for 0.8 s of 2.5 s" in doubt
        and "none is left for hip_range_right, knee_range_right" in doubt
    )


def test_what_a_masked_array_hides_is_not_measured():
    """It was: three gaps of 0.2 s in a leg made 72 steps/min of 105."""
    hidden = np.zeros(WALK.shape, bool)
    for start in (20, 50, 80):
        hidden[start : start + 6, [KINECT_V2.index(f"left_{n}") for n in ("knee", "ankle", "foot")]] = True
    shown, masked = np.where(hidden, np.nan, WALK), np.ma.masked_array(np.where(hidden, 0, WALK), hidden)
    assert numbers(read_recording(masked, fps=30)) == numbers(read_recording(shown, fps=30))
    times = np.arange(150) / 30
    np.testing.assert_array_equal(*(clean_walk(times, x, 30.0)[0] for x in (masked, shown)))
    np.testing.assert_array_equal(check_walk(masked, 30.0, KINECT_V2), shown)
    with pytest.raises(ValueError, match="not finite; clean them first"):
        compute_gait_parameters(masked, 30.0)


def test_a_joint_lost_for_a_moment_is_filled_in():
    joints = LONG.copy()
    for start in (60, 200):
        joints[start : start + 6, KINECT_V2.index("right_knee")] = np.nan
    walk = read_recording(joints, fps=30)
    assert walk.doubts == () and not walk.filled.any()


def test_without_ankles_no_walk_is_seen():
    joints = LONG.copy()
    joints[200:300, [KINECT_V2.index("left_ankle"), KINECT_V2.index("right_ankle")]] = np.nan
    walk = read_recording(joints, fps=30)
    assert len(walk.joints) == 200 and any("160 of 360 frames were left out" in d for d in walk.doubts)
    assert numbers(walk) == pytest.approx(numbers(read_recording(LONG[:200], fps=30)), rel=0.02)


def test_a_gap_of_the_whole_body_is_told():
    seen = np.delete(np.arange(360), range(150, 162))
    walk = read_recording({"joints": LONG[seen], "times": seen / 30})
    assert "most of the body was not seen for 0.4 s of 12.0 s" in walk.doubts[0]
    assert numbers(walk) == pytest.approx(numbers(read_recording(LONG, fps=30)), rel=0.02)


@pytest.mark.parametrize("fps", [15, 30, 100])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_frames_lost_without_a_clock_are_told(fps, share):
    whole = simulate_walks(1, frames=15 * fps, fps=fps, seed=1, pathology="normal", speed=1.2, cadence=110.0).joints[0]
    keep = np.random.default_rng(0).random(len(whole)) >= share
    walk = read_recording(whole[keep], fps=fps)
    (doubt,) = [d for d in walk.doubts if "is missing and no clock says so" in d]
    assert int(re.search(r"one frame in (\d+)", doubt)[1]) == pytest.approx(1 / share, rel=0.5)
    for clean in (whole, {"joints": whole[keep], "times": np.flatnonzero(keep) / fps}):
        assert not any("missing" in d for d in read_recording(clean, fps=fps if clean is whole else None).doubts)


def test_legs_suffice():
    names = [f"{s}_{n}" for n in ("hip", "knee", "ankle") for s in ("left", "right")]
    joints = WALK[:, [KINECT_V2.index(n) for n in names]]
    walk = read_recording({"joints": joints, "fps": 30.0, "joint_names": np.array(names)})
    assert numbers(walk) == pytest.approx(TRUTH, rel=0.01) and np.isnan(walk.gait_parameters["trunk_lean_sagittal"])
    assert walk.doubts[0].endswith(
        "without head, trunk, arms class and words are less sure, and wrong of a model that saw whole bodies alone"
    )
    hands = WALK.copy()
    hands[:, [j for j, n in enumerate(KINECT_V2.joint_names) if "hand" in n or n == "head"]] = np.nan
    assert "unsure" not in read_recording(hands, fps=30).doubts[0]


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_every_skeleton_walks_alike(skeleton):
    walk = read_recording(convert_joints(WALK, KINECT_V2, skeleton), fps=30)
    assert walk.skeleton is skeleton and numbers(walk)[:3] == pytest.approx(TRUTH[:3], rel=0.01)
    for target in (KINECT_V2, AZURE_KINECT, OPENPOSE_18):
        made = walk.for_model(target, 25.0)
        assert made.shape[1:] == (len(target), 3) and made.dtype == np.float32 and np.isfinite(made).all()
        assert len(made) == pytest.approx(len(WALK) * 25 / 30, abs=1.5)


def test_a_real_walk_of_lower_body_markers():
    """Fukuchi et al. 2018 (see tests/data/README.md): right heel strikes at frames 83 and 246 of 150 a second."""
    walk = read_recording(Path(__file__).parent / "data" / "real_lower_body_markers_150hz.csv", up="y")
    assert walk.gait_parameters["cadence"] == pytest.approx(120 / (163 / 150), rel=0.02)
    assert walk.gait_parameters["speed"] == pytest.approx(1.26, rel=0.02)
    assert np.isnan(walk.gait_parameters["trunk_lean_sagittal"]) and len(walk.measured) == 9


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(0, 60), st.sampled_from([6, 18, 22, 25, 32])),
    scale=st.sampled_from([1e-3, 1.0, 1e3, 1e30]),
    holes=st.floats(0, 1),
)
def test_noise_is_refused_in_one_line(seed, shape, scale, holes):
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, scale, (*shape, 3))
    joints[rng.random(joints.shape) < holes] = rng.choice([np.nan, np.inf, 0, 1e31])
    with pytest.raises(ValueError, match="^[^\n]*$"):
        read_recording({"joints": joints, "fps": 30})


@settings(max_examples=100, deadline=None, derandomize=True)
@example(seed=65, holes=0.25, cut=63, spikes=0)
@example(seed=760486, holes=0.03, cut=65, spikes=6)
@example(seed=901108, holes=0.1, cut=66, spikes=2)
@given(seed=st.integers(0, 10**6), holes=st.floats(0, 0.3), cut=st.integers(30, 150), spikes=st.integers(0, 10))
def test_a_damaged_walk_is_measured_or_refused(seed, holes, cut, spikes):
    """Numbers of what is left are within 10 %, or nan, or doubted."""
    rng = np.random.default_rng(seed)
    joints = WALK[:cut].copy()
    joints[rng.random(joints.shape[:2]) < holes] = np.nan
    for _ in range(spikes):
        joints[rng.integers(cut), rng.integers(25)] += rng.normal(0, 1, 3)
    try:
        walk = read_recording(joints, fps=30)
    except ValueError:
        return
    for name, measured, true in zip(NUMBERS, numbers(walk), TRUTH):
        if name != "step_width":
            assert np.isnan(measured) or measured == pytest.approx(true, rel=0.1) or walk.doubts, name


LATER = (np.arange(len(LONG)) >= len(LONG) // 2)[:, None, None]
LEFT_ANKLE = (np.arange(25) == KINECT_V2.index("left_ankle"))[:, None]


def test_what_is_sure_is_not_doubted():
    assert read_recording(WALK, fps=30).sentences() == []
    holes = WALK.copy()
    holes[np.random.default_rng(0).random(WALK.shape[:2]) < 0.03] = np.nan
    assert read_recording(holes, fps=30).doubts == ()


@pytest.mark.parametrize(
    "broken, said",
    [
        (lambda: {"joints": WALK[:60], "fps": 30}, "too few strides"),
        (lambda: {"joints": WALK, "fps": 12}, "in slow motion?"),
        (lambda: {"joints": WALK, "fps": 60}, "faster than life?"),
        (lambda: {"joints": np.delete(WALK, range(70, 74), 0), "fps": 30}, "were frames lost"),
        (lambda: {"joints": WALK, "times": np.cumsum(np.tile([0.02, 0.045], 75))}, "is it a clock"),
        (lambda: {"joints": np.where(np.arange(150)[:, None, None] % 4 == 1, np.nan, WALK), "fps": 30}, "were filled in"),
        (lambda: {"joints": np.delete(WALK, range(0, 120, 10), 0), "times": np.delete(np.arange(150), range(0, 120, 10)) / 30},
         "frames are missing between others"),
        (lambda: {"joints": WALK * np.linspace(1, 1.2, 150)[:, None, None], "fps": 30}, "the legs get 15 % longer on the way"),
        (lambda: {"joints": WALK * np.linspace(1.2, 1, 150)[:, None, None], "fps": 30}, "the legs get 13 % shorter on the way"),
        (lambda: {"joints": uniform_filter1d(LONG, 13, axis=0), "fps": 30}, "both feet are off the floor at once"),
        (lambda: {"joints": LONG + 0.2 * LATER * LEFT_ANKLE * [0, 1, 0], "fps": 30}, "the left foot points"),
    ],
)  # fmt: skip
def test_what_is_unsure_is_said(broken, said):
    sentences = read_recording(broken()).sentences()
    assert any(said in s for s in sentences), sentences


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"step_time_left": 0.72, "step_time_right": np.nan, "cycle_time_right": 0.75, "cycle_time_left": np.nan},
         "steps of 0.72 s (left) contradict strides of 0.75 s"),
        ({"step_time_left": 0.3, "step_time_right": 0.3, "cycle_time_left": 0.8, "cycle_time_right": 0.8},
         "steps of 0.30 s (left) and 0.30 s (right) contradict strides of 0.80 s"),
        ({"step_time_left": 0.25, "step_time_right": 0.55, "cycle_time_left": 0.8, "cycle_time_right": 0.8}, ""),
    ],
)  # fmt: skip
def test_steps_that_make_no_stride_are_said(monkeypatch, changed, said):
    walk = read_recording(WALK, fps=30)
    monkeypatch.setitem(walk.__dict__, "gait_parameters", walk.gait_parameters | changed)
    told = [s for s in _unsure(walk) if "contradict strides of" in s]
    assert told == ([said] if said else [])


def test_what_the_file_states_stands_beside_what_is_measured():
    events = {"left_heel_strikes": np.array([1.0]), "right_toe_offs": np.array([2.0])}
    stated = {"left cadence": (108.0, "steps/min"), "left step length": (65.0, "cm"), "right stride time": (1.1, "s"),
              "left single support": (40.0, "%"), "left foot off": (61.0, "%")}  # fmt: skip
    walk = read_recording(Walk(WALK, 30.0, KINECT_V2, "a", events=events, stated=stated))
    rows, ours = {row["name"]: row for row in walk.beside_the_file()}, walk.gait_parameters
    names = ("cadence", "step_length_left", "cycle_time_right", "single_support_percent_left")
    for name, own in zip(stated, names):  # there are four of five
        assert rows[name]["measured"] == ours[own] and rows[name]["stated"] == stated[name][0]
    assert rows["left step length"]["unit"] == "cm" and rows["left step length"]["measured_unit"] == "m"
    assert rows["left foot off"]["measured"] is None
    strikes = rows["left heel strikes"]
    assert strikes["stated"] == [1.0] and np.diff(strikes["measured"]) == pytest.approx(120 / 110, abs=0.02)
    assert read_recording(WALK, fps=30).beside_the_file() == []


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
def test_every_case_is_right():
    from experiments.cases import run

    assert [row["case"] for row in run(CASES) if not row["right"]] == []
