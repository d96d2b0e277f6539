"""The simulator's walks, judged by the package's own measurements (gait_parameters, joint_angles), not by its inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.gait_events import detect_gait_events
from modeling_gait.gait_norms import NORM_RANGES
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.kinematics import bone_lengths, joint_angles
from modeling_gait.recording import read_recording
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.simulation.gait_curves import CURVES, DEGREES, NORM_ANGLES, NORMAL, WAYS, curve_values, fourier
from modeling_gait.simulation.sensors import SENSORS, SHARES, record
from modeling_gait.skeletons import KINECT_V2

PLAIN = {"age": 35, "load": "none", "footwear": "trainers", "clothing": "trousers"}
OTHER = {"left": "right", "right": "left"}


def measured(n=8, **kwargs):
    """Mean gait parameters of n walks of 150 frames."""
    kwargs = {"frames": 150, "seed": 3, "attributes": PLAIN, **kwargs}
    walks = simulate_walks(n, **kwargs)
    rows = [compute_gait_parameters(x, walks.fps) for x in walks.joints]
    return {k: float(np.nanmean([r[k] for r in rows])) for k in rows[0]}


def phases(joints, side):
    """Frames' phase in the cycle of `side`, 0..1, nan before its first and after its last heel strike."""
    strikes = getattr(detect_gait_events(joints, 30.0), f"{side}_heel_strikes")
    t = np.interp(np.arange(len(joints)), strikes, np.arange(len(strikes)), left=np.nan, right=np.nan)
    return t % 1


def mean_curves(walks, names=tuple(NORM_ANGLES)):
    """Joint angles at 0, 10, ... 90 % of all cycles of both sides, meant: name -> (10,)."""
    out = {name: [] for name in names}
    for joints in walks.joints:
        angles, events = joint_angles(joints), detect_gait_events(joints, walks.fps)
        for side in ("left", "right"):
            strikes = getattr(events, f"{side}_heel_strikes")
            for a, b in zip(strikes[:-1], strikes[1:]):
                for name in names:
                    at = a + (b - a) * np.arange(10) / 10
                    out[name].append(np.interp(at, np.arange(len(joints)), angles[f"{name}_{side}"]))
    return {name: np.mean(rows, axis=0) for name, rows in out.items()}


@pytest.fixture(scope="module")
def adults():
    """Forty healthy walkers of 18 to 49 years at their own speed."""
    ages = np.random.default_rng(0).integers(18, 50, 40)
    return simulate_walks(40, frames=150, seed=11, pathology="normal", attributes=[{**PLAIN, "age": int(a)} for a in ages])


@pytest.fixture(scope="module")
def normal():
    return measured(pathology="normal")


# --- form --------------------------------------------------------------------------------------------------------------------


def test_shapes_and_frame():
    walks = simulate_walks(14, frames=40)
    assert len(walks) == 14 and walks.joints.shape == (14, 40, 25, 3) and walks.joints.dtype == np.float32
    assert np.isfinite(walks.joints).all()
    assert set(walks.pathology) == set(PATHOLOGIES)
    pelvis = walks.joints[:, :, KINECT_V2.root]
    assert np.abs(pelvis[:, 0, :2]).max() == 0
    assert (pelvis[:, -1, 1] > 0.3).all() and np.abs(pelvis[..., 0]).max() < 0.2  # walks forward along +y
    assert (walks.joints[:, :, KINECT_V2.index("left_hip"), 0] < walks.joints[:, :, KINECT_V2.index("right_hip"), 0]).all()
    assert len(simulate_walks(0)) == 0
    assert simulate_walks(1, frames=2).joints.shape == (1, 2, 25, 3)


def test_deterministic_by_seed():
    a, b, c = (simulate_walks(9, frames=20, seed=s, noise=0.01, dropout=0.1) for s in (5, 5, 6))
    np.testing.assert_array_equal(a.joints, b.joints)
    assert a.attributes == b.attributes
    assert not np.array_equal(a.joints, c.joints)


def test_bones_are_rigid_and_feet_stay_above_the_floor():
    walks = simulate_walks(42, frames=60, severity=1.0)
    assert np.ptp(bone_lengths(walks.joints), axis=1).max() < 1e-3
    feet = walks.joints[:, :, [KINECT_V2.index("left_foot"), KINECT_V2.index("right_foot")], 2]
    assert feet.min() > -0.035 and np.median(feet.min(axis=(1, 2))) > 0
    assert feet.min(axis=-1).max() < 0.06  # never flies


@pytest.mark.parametrize("pathology", PATHOLOGIES)
def test_stance_foot_is_planted(pathology):
    walks = simulate_walks(4, frames=150, pathology=pathology, severity=1.0, seed=2)
    for joints, both in zip(walks.joints, walks.phase):
        for side, p in zip(("left", "right"), both):
            for start in np.flatnonzero((p[:-1] < 0.18) & (p[1:] >= 0.18)):
                stance = start + 1 + np.flatnonzero(p[start + 1 : start + 12] < 0.38)
                foot = joints[stance, KINECT_V2.index(f"{side}_foot")]
                assert np.ptp(foot, axis=0).max() < (0.02 if pathology == "antalgic" else 0.01)


def test_subject_keeps_body_and_age():
    walks = simulate_walks(12, frames=10, num_subjects=3)
    lengths = bone_lengths(walks.joints)[:, 0]
    assert len(set(walks.subject_ids)) == 3
    np.testing.assert_allclose(lengths[0], lengths[3], atol=1e-4)
    assert np.abs(lengths[0] - lengths[1]).max() > 0.002
    for i in range(9):
        for key in ("age", "sex", "height", "mass"):
            assert walks.attributes[i][key] == walks.attributes[i + 3][key]
    assert not np.array_equal(walks.joints[0], walks.joints[7])


def test_every_subject_walks_every_class():
    walks = simulate_walks(49, frames=3, num_subjects=7)
    assert len(set(zip(walks.subject_ids, walks.pathology))) == 49


# --- norms -------------------------------------------------------------------------------------------------------------------


def test_joint_angles_agree_with_published_norms(adults):
    for name, curve in mean_curves(adults).items():
        mean, deviation = np.array(NORM_ANGLES[name])
        assert np.sqrt(np.mean((curve - mean) ** 2)) < 6.5, name
        assert np.abs((curve - mean) / deviation).max() < 2, name
        assert np.corrcoef(curve, mean)[0, 1] > 0.85, name


def test_spatiotemporal_parameters_agree_with_published_norms(adults):
    rows = [compute_gait_parameters(x, 30.0) for x in adults.joints]
    inside = []
    for person, row in zip(adults.attributes, rows):
        values = {"cadence": row["cadence"], "speed": row["speed"], "stride_length": row["stride_length_left"]}
        inside += [low <= values[k] <= high for k, (low, high) in NORM_RANGES[person["sex"]].items()]
    assert np.mean(inside) > 0.95
    # Perry & Burnfield 2010: 1.37 m/s, 113 steps/min, 1.41 m, 20-24 % of double support, knee 60 deg, pelvis 8 deg
    mean = {k: np.nanmean([r[k] for r in rows]) for k in rows[0]}
    assert mean["speed"] == pytest.approx(1.37, abs=0.12)
    assert mean["cadence"] == pytest.approx(113, abs=6)
    assert mean["stride_length_left"] == pytest.approx(1.41, abs=0.1)
    assert 17 < mean["double_support_percent_left"] < 26
    assert 50 < mean["knee_range_left"] < 65 and 38 < mean["hip_range_left"] < 50 and 24 < mean["ankle_range_left"] < 36
    assert 5 < mean["pelvic_obliquity_range"] < 11
    assert 0.05 < mean["step_width"] < 0.15
    assert abs(mean["step_time_left"] - mean["step_time_right"]) < 0.02


def test_double_support_falls_and_ranges_grow_with_speed():
    slow, middle, fast = (measured(pathology="normal", speed=v) for v in (0.6, 1.1, 1.6))
    assert slow["double_support_percent_left"] > middle["double_support_percent_left"] + 4
    assert middle["double_support_percent_left"] > fast["double_support_percent_left"] + 4
    for name in ("hip_range_left", "knee_range_left", "cadence", "stride_length_left"):
        assert slow[name] < middle[name] < fast[name], name


@pytest.mark.parametrize("pathology", ["normal", "steppage", "parkinsonian"])
@pytest.mark.parametrize("speed,cadence", [(0.6, 80), (1.0, 105)])
def test_walks_at_the_asked_speed_and_cadence(pathology, speed, cadence):
    got = measured(pathology=pathology, severity=0.7, speed=speed, cadence=cadence, frames=240)
    assert got["speed"] == pytest.approx(speed, rel=0.03)
    assert got["cadence"] == pytest.approx(cadence, rel=0.03)


def test_contradicting_speed_and_cadence_are_reported():
    walks = simulate_walks(4, frames=120, pathology="normal", speed=2.5, cadence=60)
    np.testing.assert_allclose(walks.cadence, 60)
    assert (walks.speed < 1.1).all()
    went = walks.joints[:, -1, 0, 1] / (119 / 30)
    np.testing.assert_allclose(went, walks.speed, rtol=0.05)


# --- signs of the pathologies, at severity 1 on either side ------------------------------------------------------------------

SIDED = pytest.mark.parametrize("side", ["left", "right"])


@SIDED
def test_antalgic_signs(side, normal):
    other = OTHER[side]
    got = measured(pathology="antalgic", severity=1.0, side=side)
    assert got[f"single_support_time_{side}"] < got[f"single_support_time_{other}"] - 0.03  # short stance on the pain
    assert got[f"step_time_{other}"] < got[f"step_time_{side}"] - 0.05  # the other leg hurries forward
    assert got[f"step_length_{side}"] < got[f"step_length_{other}"] - 0.03  # brought up to the other, not past it
    assert got["speed"] < 0.7 * normal["speed"]
    assert got[f"hip_range_{side}"] < got[f"hip_range_{other}"] - 5


@SIDED
def test_stiff_legged_signs(side, normal):
    other = OTHER[side]
    got = measured(pathology="stiff_legged", severity=1.0, side=side)
    assert got[f"knee_range_{side}"] < 24 < 40 < got[f"knee_range_{other}"]
    walks = simulate_walks(4, frames=150, seed=3, pathology="stiff_legged", severity=1.0, side=side, attributes=PLAIN)
    sign = {"left": -1, "right": 1}
    for joints in walks.joints:
        p, angles = phases(joints, side), joint_angles(joints)
        ankle = sign[side] * (joints[:, KINECT_V2.index(f"{side}_ankle"), 0] - joints[:, 0, 0])
        swing, stance = (p > 0.68) & (p < 0.85), (p > 0.2) & (p < 0.4)
        assert ankle[swing].mean() > ankle[stance].mean() + 0.05  # circumduction
        up = -sign[side] * angles["pelvic_obliquity"]  # own side up
        assert up[swing].mean() > 2  # hip hike


@SIDED
def test_lurch_signs(side, normal):
    got = measured(pathology="lurch", severity=1.0, side=side)
    assert got["trunk_lean_range_sagittal"] > 12 > normal["trunk_lean_range_sagittal"]
    leans = []
    for joints in simulate_walks(8, frames=150, seed=3, pathology="lurch", severity=1.0, side=side, attributes=PLAIN).joints:
        lean, own = joint_angles(joints)["trunk_lean_sagittal"], phases(joints, side)
        leans.append((lean[(own > 0.92) | (own < 0.05)].mean(), lean[(own > 0.25) & (own < 0.5)].mean()))
    strike, stance = np.mean(leans, axis=0)
    assert strike < -8 and stance > strike + 6  # thrown back as the weak leg lands


@SIDED
def test_steppage_signs(side, normal):
    other = OTHER[side]
    got = measured(pathology="steppage", severity=1.0, side=side)
    assert got[f"peak_knee_flexion_{side}"] > 70 and got[f"peak_knee_flexion_{side}"] > got[f"peak_knee_flexion_{other}"] + 15
    assert got[f"hip_range_{side}"] > got[f"hip_range_{other}"] + 8
    assert got[f"foot_height_{side}"] > got[f"foot_height_{other}"] + 0.04
    for joints in simulate_walks(4, frames=150, seed=3, pathology="steppage", severity=1.0, side=side, attributes=PLAIN).joints:
        angles = joint_angles(joints)
        own, rest = phases(joints, side), phases(joints, other)
        swing = angles[f"ankle_dorsiflexion_{side}"][(own > 0.72) & (own < 0.95)].mean()
        assert swing < -12 < angles[f"ankle_dorsiflexion_{other}"][(rest > 0.72) & (rest < 0.95)].mean()  # foot drop
        foot = joints[:, KINECT_V2.index(f"{side}_foot"), 2] - joints[:, KINECT_V2.index(f"{side}_ankle"), 2]
        usual = joints[:, KINECT_V2.index(f"{other}_foot"), 2] - joints[:, KINECT_V2.index(f"{other}_ankle"), 2]
        assert foot[own > 0.95].mean() < usual[rest > 0.95].mean() - 0.01  # no heel strike


@SIDED
@pytest.mark.parametrize("ways,over", [(None, -1), ({"pelvic_drop": 1.2, "lean_over": 1.5}, 1)], ids=["follows", "compensated"])
def test_trendelenburg_signs(side, ways, over, normal):
    """The trunk follows the pelvis to the swing side, or, where it is asked for, leans over the stance leg (Duchenne)."""
    got = measured(pathology="trendelenburg", severity=1.0, side=side, ways=ways)
    assert got["pelvic_obliquity_range"] > normal["pelvic_obliquity_range"] + 2
    walks = simulate_walks(
        8, frames=150, seed=3, pathology="trendelenburg", severity=1.0, side=side, ways=ways, attributes=PLAIN
    )
    sign, leans = {"left": 1, "right": -1}[side], []
    for joints in walks.joints:
        angles, p = joint_angles(joints), phases(joints, side)
        stance = (p > 0.05) & (p < 0.3)
        assert (sign * angles["pelvic_obliquity"])[stance].mean() > 3  # the swing side hangs
        lean = -sign * angles["trunk_lean_frontal"]
        leans.append(lean[stance].mean() - lean[p > 0.6].mean())
    assert over * np.mean(leans) > 1


def test_parkinsonian_signs_grow_with_the_updrs_score():
    scores = [measured(pathology="parkinsonian", severity=s / 3, n=8) for s in range(4)]
    for name in ("speed", "stride_length_left", "hip_range_left", "knee_range_left"):
        assert all(a[name] > b[name] for a, b in zip(scores, scores[1:])), name
    assert all(a["trunk_lean_sagittal"] < b["trunk_lean_sagittal"] for a, b in zip(scores, scores[1:]))
    planned = [simulate_walks(8, seed=3, pathology="parkinsonian", severity=s, attributes=PLAIN).stance.mean() for s in (0, 1)]
    assert planned[1] > planned[0] + 0.04  # not what is measured: feet of the simulator glide in double support
    assert scores[3]["stride_length_left"] < 0.85 and scores[3]["cadence"] > 85  # a shuffle: short steps, not slow ones

    def arm_swing(severity):
        joints = simulate_walks(6, frames=90, seed=3, pathology="parkinsonian", severity=severity, attributes=PLAIN).joints
        return np.ptp((joints[:, :, KINECT_V2.index("left_wrist")] - joints[:, :, 0])[..., 1], axis=1).mean()

    assert arm_swing(1.0) < 0.5 * arm_swing(0.0)
    walk = simulate_walks(1, frames=5, pathology="parkinsonian", severity=2 / 3)
    assert walk.attributes[0]["updrs_gait"] == 2 and walk.side == ["none"]


def test_severity_is_graded():
    knee = [measured(pathology="stiff_legged", severity=s, side="right", n=4)["knee_range_right"] for s in (0.0, 0.5, 1.0)]
    assert knee[0] > knee[1] + 8 > knee[2] + 16
    assert (simulate_walks(3, frames=3, pathology="normal", severity=0.8).severity == 0).all()


# --- attributes and sensor ---------------------------------------------------------------------------------------------------


def test_attributes_leave_their_traces_and_clothing_none():
    plain = simulate_walks(6, frames=60, pathology="normal", attributes=PLAIN)
    coat = simulate_walks(6, frames=60, pathology="normal", attributes={**PLAIN, "clothing": "coat"})
    np.testing.assert_array_equal(plain.joints, coat.joints)
    base = measured(pathology="normal")
    assert measured(pathology="normal", attributes={**PLAIN, "load": "backpack"})["trunk_lean_sagittal"] > (
        base["trunk_lean_sagittal"] + 4
    )
    heels = measured(pathology="normal", attributes={**PLAIN, "footwear": "heels"})
    assert heels["stride_length_left"] < base["stride_length_left"] - 0.04
    boots = measured(pathology="normal", attributes={**PLAIN, "footwear": "boots"})
    assert boots["ankle_range_left"] < base["ankle_range_left"] - 1
    old = measured(pathology="normal", attributes={**PLAIN, "age": 80})
    assert old["speed"] < 0.93 * base["speed"] and old["stride_length_left"] < base["stride_length_left"] - 0.06
    tall = simulate_walks(1, frames=3, pathology="normal", attributes={"height": 2.0}).joints[0, 0, :, 2].max()
    assert tall > simulate_walks(1, frames=3, pathology="normal", attributes={"height": 1.5}).joints[0, 0, :, 2].max() + 0.4


def test_noise_and_dropouts():
    clean = simulate_walks(20, frames=90, seed=2)
    noisy = simulate_walks(20, frames=90, seed=2, noise=0.01)
    error = (noisy.joints - clean.joints).std(axis=(0, 1, 3))
    assert error[KINECT_V2.index("spine")] == pytest.approx(0.01, rel=0.15)
    assert error[KINECT_V2.index("left_foot")] == pytest.approx(0.025, rel=0.15)
    holes = simulate_walks(20, frames=90, seed=2, dropout=0.05)
    assert np.isnan(holes.joints[..., 0]).mean() == pytest.approx(0.05, abs=0.01)
    seen = np.isfinite(holes.joints)
    np.testing.assert_array_equal(holes.joints[seen], clean.joints[seen])
    stuck = simulate_walks(20, frames=90, seed=2, dropout=0.05, dropout_kind="stuck")
    still = (np.diff(stuck.joints, axis=1) == 0).all(-1).mean()
    assert np.isfinite(stuck.joints).all() and 0.03 < still < 0.06


def test_domain_is_wider_than_the_norms_and_sensors_differ():
    usual, wide = (simulate_walks(40, frames=120, pathology="normal", seed=1, domain=d) for d in (False, True))
    assert wide.speed.mean() < usual.speed.mean() - 0.1 and wide.speed.std() > usual.speed.std() + 0.02
    knee = [np.ptp(joint_angles(j)["knee_flexion_left"]) for w in (usual, wide) for j in w.joints]
    assert np.mean(knee[40:]) < np.mean(knee[:40]) - 4
    clips, names = record(wide.joints, seed=1)
    assert set(names) == set(SENSORS) == set(SHARES) and len({len(c) for c in clips}) > 20 and min(map(len, clips)) >= 54
    assert all(np.isfinite(c).all() and np.abs(c[0, 0, :2]).max() < 1e-6 for c in clips)
    bones = {n: np.mean([bone_lengths(c).std(0).mean() for c, m in zip(clips, names) if m == n]) for n in set(names)}
    assert bones["markers"] < 0.5 * bones["azure_kinect"] < 0.5 * bones["kinect_v2"]
    again, _ = record(wide.joints, seed=1)
    np.testing.assert_array_equal(again[7], clips[7])


@pytest.mark.parametrize("sensor,unseen", [("lower_body", "spine"), ("lower_body_trunk", "head")])
def test_part_of_a_body_is_what_a_reader_makes_of_a_file_without_the_rest(sensor, unseen, tmp_path):
    """Of a file of the legs (and the trunk) alone the rest is read as the clip has it; what is seen is as markers see it."""
    walks = simulate_walks(3, frames=120, pathology="stiff_legged", seed=2, side="right")
    seen = ("pelvis", "hip", "knee", "ankle", "foot") + (("spine", "shoulder", "neck") if sensor != "lower_body" else ())
    rest = [j for j in range(25) if not KINECT_V2.joint_names[j].endswith(seen)]
    own = [j for j in range(25) if j not in rest]
    clips, names = record(walks.joints, shares={sensor: 1.0}, shortest=4.0)
    whole, _ = record(walks.joints, shares={"markers": 1.0}, shortest=4.0)
    assert names == [sensor] * 3 and len(own) == (9 if sensor == "lower_body" else 14)

    def holder(joint: int) -> int:
        """The joint that is seen and that this one hangs on: of legs alone the pelvis."""
        return joint if joint in own else holder(KINECT_V2.parents[joint])

    of_holder = lambda walk: walk[:, rest] - walk[:, [holder(j) for j in rest]]  # noqa: E731
    for i, (clip, full) in enumerate(zip(clips, whole)):
        np.testing.assert_allclose(clip[:, own], full[:, own], atol=1e-5)
        alone = full.copy()
        alone[:, rest] = np.nan
        np.savez(tmp_path / f"{i}.npz", joints=alone, fps=30.0)
        read = read_recording(tmp_path / f"{i}.npz")
        assert "head" not in read.measured and unseen not in read.measured
        np.testing.assert_allclose(of_holder(read.for_model(KINECT_V2, 30.0)), of_holder(clip), atol=1e-4)


@pytest.mark.parametrize(
    "name,kwargs",
    [
        ("pathology", {"pathology": "limp"}),
        ("pathology", {"pathology": ["normal"]}),
        ("severity", {"severity": 1.2}),
        ("severity", {"severity": -0.1}),
        ("severity", {"severity": [0.1, 0.2, 0.3]}),
        ("severity", {"severity": float("nan")}),
        ("side", {"side": "up"}),
        ("side", {"side": "none", "pathology": "lurch"}),
        ("speed", {"speed": 0.0}),
        ("speed", {"speed": -1.0}),
        ("cadence", {"cadence": 0.0}),
        ("frames", {"frames": 1}),
        ("fps", {"fps": 0.0}),
        ("num_subjects", {"num_subjects": 0}),
        ("noise", {"noise": -1.0}),
        ("dropout", {"dropout": 1.0}),
        ("dropout_kind", {"dropout_kind": "zero"}),
        ("attributes", {"attributes": {"hat": "red"}}),
        ("attributes", {"attributes": {"load": "piano"}}),
        ("attributes", {"attributes": {"height": 3.0}}),
        ("n", {"n": -1}),
        ("ways", {"ways": {"hop": 1.0}}),
        ("ways", {"ways": [{"tilt": 1.0}]}),
    ],
)
def test_bad_arguments_are_named(name, kwargs):
    with pytest.raises(ValueError, match=f"^{name}: "):
        simulate_walks(**{"n": 2, **kwargs})


@settings(max_examples=25, deadline=None)
@given(
    pathology=st.sampled_from(PATHOLOGIES),
    severity=st.floats(0, 1),
    side=st.sampled_from(["left", "right", "both"]),
    speed=st.floats(0.05, 4.0),
    cadence=st.floats(20, 260),
    height=st.floats(0.9, 2.3),
    seed=st.integers(0, 2**31),
)
def test_any_request_gives_a_finite_rigid_walk(pathology, severity, side, speed, cadence, height, seed):
    walks = simulate_walks(
        1, 40, 30.0, seed, pathology, severity, side, speed=speed, cadence=cadence, attributes={"height": height}
    )
    assert np.isfinite(walks.joints).all()
    assert np.ptp(bone_lengths(walks.joints), axis=1).max() < 2e-3
    assert walks.joints[..., 2].min() > -0.1 * height
    assert walks.stride_length[0] < 1.1 * height


# --- curves ------------------------------------------------------------------------------------------------------------------


def test_fourier_series_pass_their_key_points():
    for curve in CURVES:
        points = [tuple(map(float, p.split(":"))) for p in NORMAL[curve].split()]
        percent, value = np.array(points).T
        got = curve_values(fourier(NORMAL[curve])[None], percent / 100)[0]
        assert np.abs(got - value).max() < max(0.05 * np.ptp(value), 0.3), curve
    assert set(DEGREES) | {"normal", "parkinsonian"} == set(PATHOLOGIES)
    assert all(set(leg) <= set(CURVES) for legs in WAYS.values() for leg in legs)
