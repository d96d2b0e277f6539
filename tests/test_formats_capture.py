"""C3D, TRC and MOT: marker sets become joint centres; events, units and angles are the file's."""

import c3d
import numpy as np
import pytest
from test_loading import stick

from modeling_gait.formats_markers import from_markers
from modeling_gait.kinematics import joint_angles
from modeling_gait.loading import load_walk
from modeling_gait.points import Points
from modeling_gait.skeletons import KINECT_V2


def markers():
    """A pelvis of 240 mm width and 150 mm depth, looking along y, over straight legs; lateral markers 50 and 40 mm off [mm]."""
    out = {"LASI": (-120, 0, 1000), "RASI": (120, 0, 1000), "LPSI": (-40, -150, 1000), "RPSI": (40, -150, 1000)}
    for side, s in (("L", -1), ("R", 1)):
        x, y, z = s * (0.33 * 240 + 7.3), -0.24 * 150 - 9.9, 1000 - 0.30 * 240 - 10.9  # Harrington et al. 2007
        out |= {f"{side}KNE": (x + 50 * s, y, z - 420), f"{side}ANK": (x + 40 * s, y, z - 830), f"{side}TOE": (x, y + 150, 40)}
    return {n: np.tile(p, (6, 1)) + np.arange(6)[:, None] * (0, 30, 0.0) for n, p in out.items()}


WIDTHS = {"left_knee": 100, "right_knee": 100, "left_ankle": 80, "right_ankle": 80}
HIP = np.array([0.33 * 240 + 7.3, -45.9, 917.1])


def test_hips_of_harrington_and_knees_beside_their_markers():
    out = from_markers(markers(), Points({}), "w.c3d", WIDTHS)
    for side, s in (("left", -1), ("right", 1)):
        np.testing.assert_allclose(out.points[f"{side}_hip"][0], HIP * (s, 1, 1), atol=1e-9)
        np.testing.assert_allclose(out.points[f"{side}_knee"][0], HIP * (s, 1, 1) - (0, 0, 420), atol=7)
        np.testing.assert_allclose(out.points[f"{side}_ankle"][0], HIP * (s, 1, 1) - (0, 0, 830), atol=7)
    assert "Harrington" in out.notes[0] and len(out.notes) == 1
    guessed = from_markers(markers(), Points({}), "w.c3d")
    assert "widths of knees" in guessed.notes[1]
    np.testing.assert_allclose(guessed.points["left_knee"], out.points["left_knee"], atol=5)


@pytest.mark.parametrize("factor", [1, 0.1, 0.001])
def test_the_regression_knows_the_unit(factor):
    out = from_markers({n: p * factor for n, p in markers().items()}, Points({}), "w.c3d")
    np.testing.assert_allclose(out.points["right_hip"][0], HIP * factor, rtol=1e-9)


def test_names_of_other_sets_and_medial_markers():
    titles = {"LASI": "L.ASIS", "RASI": "r.ASIS_study", "LPSI": "LIPS", "RPSI": "RPSIS", "LKNE": "L_knee_study", "RKNE": "RFLE"}
    titles |= {"LANK": "LFAL", "RANK": "R.Ankle"}
    points = {titles.get(n, n): p for n, p in markers().items()}
    points["L_mknee_study"] = markers()["LKNE"] + (100, 0, 0)
    out = from_markers(points, Points({}), "w.trc", WIDTHS)
    np.testing.assert_allclose(out.points["left_knee"][0], HIP * (-1, 1, 1) - (0, 0, 420), atol=1e-9)
    np.testing.assert_allclose(out.points["right_hip"][0], HIP, atol=1e-9)


def test_what_the_files_own_model_computed_comes_first():
    points = markers() | {f"{s}{n}": np.full((6, 3), 10.0 * i) for i, n in enumerate(("FEP", "FEO", "TIO"), 1) for s in "LR"}
    out = from_markers(points, Points({}), "w.c3d")
    assert [out.points[f"left_{n}"][0, 0] for n in ("hip", "knee", "ankle")] == [10, 20, 30] and "own model" in out.notes[0]


@pytest.mark.parametrize("missing, message", [("LASI", "left_asis"), ("RKNE", "no right knee"), ("LPSI", "one psis")])
def test_missing_markers_are_named(missing, message):
    points = {n: p for n, p in markers().items() if n != missing}
    with pytest.raises(ValueError, match=f"w.c3d: .*{message}"):
        from_markers(points, Points({}), "w.c3d")


def write_c3d(path, points, units="mm"):
    writer = c3d.Writer(point_rate=100, point_units=units)
    writer.set_point_labels([f"Anna:{n}" for n in points])
    stacked = np.stack(list(points.values()), axis=1)
    frames = np.concatenate([stacked, np.zeros((*stacked.shape[:2], 2))], axis=2).astype(np.float32)
    writer.add_frames([(frame, np.empty((0, 0))) for frame in frames])
    events = writer.add_group(60, "EVENT", "")
    events.add_str("LABELS", "", "Foot StrikeFoot Off   ", 11, 2)
    events.add_str("CONTEXTS", "", "Left Right", 5, 2)
    events.add_array("TIMES", "", np.array([[0, 0.03], [1, 0.04]], np.float32))
    analysis = writer.add_group(61, "ANALYSIS", "")
    analysis.add_str("NAMES", "", "Cadence", 7, 1)
    analysis.add_str("CONTEXTS", "", "Left", 4, 1)
    analysis.add_str("UNITS", "", "steps/min", 9, 1)
    analysis.add_array("VALUES", "", np.array([110.5], np.float32))
    with open(path, "wb") as file:
        writer.write(file)
    return path


@pytest.mark.filterwarnings("ignore")
def test_c3d(tmp_path):
    walk = load_walk(write_c3d(tmp_path / "w.c3d", markers()))
    assert walk.fps == 100 and walk.skeleton is KINECT_V2 and "left_foot" in walk.measured and "neck" not in walk.measured
    np.testing.assert_allclose(walk.joints[0, KINECT_V2.index("right_hip")], HIP / 1000, atol=1e-6)
    np.testing.assert_allclose(walk.events["left_heel_strikes"], [0.03], atol=1e-6)
    np.testing.assert_allclose(walk.events["right_toe_offs"], [60.04], atol=1e-5)
    assert walk.stated == {"left cadence": (110.5, "steps/min")}
    metres = load_walk(write_c3d(tmp_path / "m.c3d", {n: p / 1000 for n, p in markers().items()}, "m"))
    np.testing.assert_allclose(metres.joints, walk.joints, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_cut_or_foreign_c3d_is_refused(tmp_path):
    data = write_c3d(tmp_path / "w.c3d", markers()).read_bytes()
    for broken in (data[:300], data[:1500], b"P" * 2000, data[:-400]):
        (tmp_path / "w.c3d").write_bytes(broken)
        with pytest.raises(ValueError, match=r"w\.c3d: is not a readable C3D file"):
            load_walk(tmp_path / "w.c3d")


# ---------------------------------------------------------------- TRC


def trc(path, change=lambda text: text, units="mm", names=KINECT_V2.joint_names):
    table = 1000 * stick()[:, [KINECT_V2.index(n) for n in names]][..., [1, 2, 0]].reshape(6, -1)
    axes = "\t".join(f"{a}{j + 1}" for j in range(len(names)) for a in "XYZ")
    lines = ["PathFileType\t4\t(X/Y/Z)\tw.trc", "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits"]
    lines += [f"30\t30\t6\t{len(names)}\t{units}", "Frame#\tTime\t" + "\t\t\t".join(names), "\t\t" + axes, ""]
    lines += ["\t".join([str(t + 1), f"{t / 30:.4f}", *(f"{v:.3f}" for v in row)]) for t, row in enumerate(table)]
    path.write_text(change("\n".join(lines) + "\n"))
    return path


def test_trc(tmp_path):
    walk = load_walk(trc(tmp_path / "w.trc"))
    assert walk.fps == 30 and walk.measured is None and walk.notes == ()
    np.testing.assert_allclose(walk.joints, stick(), atol=1e-6)  # x of the file is ahead, z to the right
    commas = load_walk(trc(tmp_path / "c.trc", lambda text: text.replace("\t", ",")))
    np.testing.assert_array_equal(commas.joints, walk.joints)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t[5:], "line 1: expected PathFileType"),
        (lambda t: t.replace("\n30\t", "\nfast\t"), "line 3: DataRate"),
        (lambda t: t.replace("\n30\t30\t6", "\n30\t30\t9"), "cut off: NumFrames is 9"),
        (lambda t: t.replace("X1\tY1\tZ1", "X1\tY1\tW1"), "line 5: expected X1, Y1, Z1"),
        (lambda t: t.replace("\n3\t0.06", "\n3\tx.06"), r"line 9, column 2 .*expected a number"),
        (lambda t: t.replace("left_knee", "dog"), "lacks|no hips"),
    ],
)
def test_broken_trc(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf"w\.trc.*{message}"):
        load_walk(trc(tmp_path / "w.trc", change))


def test_stated_units_that_cannot_be_are_told(tmp_path):
    walk = load_walk(trc(tmp_path / "w.trc", units="m"))
    assert any("another unit" in note for note in walk.notes)
    np.testing.assert_allclose(walk.joints[..., 2], stick()[..., 2], atol=1e-6)


# ---------------------------------------------------------------- MOT


def mot(path, degrees=True, knee_sign=1, **columns):
    names = ["pelvis_tilt", "pelvis_list", "pelvis_rotation", "pelvis_tx", "pelvis_ty", "pelvis_tz"]
    names += [f"{n}_{s}" for n in ("hip_flexion", "hip_adduction", "hip_rotation", "knee_angle", "ankle_angle") for s in "rl"]
    names += ["lumbar_extension"]
    table = {n: np.zeros(6) for n in ["time", *names]} | {"time": np.arange(6) / 50, "pelvis_ty": np.full(6, 0.95)} | columns
    table["knee_angle_r"] = table["knee_angle_r"] * knee_sign
    lines = ["Coordinates", "version=1", f"inDegrees={'yes' if degrees else 'no'}", "", "endheader"]
    lines += ["\t".join(table), *("\t".join(f"{v:.8f}" for v in row) for row in np.stack(list(table.values()), axis=1))]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sign", [1, -1])
def test_mot_angles_come_back(tmp_path, sign):
    knee, hip = np.linspace(5, 60, 6), np.linspace(-10, 30, 6)
    moves = {"knee_angle_r": knee, "hip_flexion_l": hip, "pelvis_tx": np.arange(6) / 40, "pelvis_list": np.arange(6) / 9}
    walk = load_walk(mot(tmp_path / "w.mot", knee_sign=sign, **moves))
    assert walk.fps == 50 and "head" not in walk.measured and "generic adult" in walk.notes[-1]
    turned = walk.joints
    way = turned[-1, 0, :2] - turned[0, 0, :2]
    assert "hip_flexion moves by 40 degrees on the left and 0 on the right" in walk.notes
    assert np.linalg.norm(way) == pytest.approx(0.125, abs=1e-4)
    forward = way / np.linalg.norm(way)
    joints = turned.copy()
    joints[..., 0] = turned[..., :2] @ [forward[1], -forward[0]]
    joints[..., 1] = turned[..., :2] @ forward
    angles = joint_angles(joints.astype(np.float64), KINECT_V2)
    np.testing.assert_allclose(angles["knee_flexion_right"], knee, atol=0.1)
    np.testing.assert_allclose(np.ptp(angles["hip_flexion_left"]), 40, atol=0.5)
    assert joints[0, KINECT_V2.index("right_hip"), 0] > joints[0, KINECT_V2.index("left_hip"), 0]


def test_mot_without_angles_is_refused(tmp_path):
    (tmp_path / "w.mot").write_text("forces\nendheader\ntime\tground_force_vx\n0\t1\n")
    with pytest.raises(ValueError, match="expected OpenSim's joint angles.*lacks hip_flexion_r"):
        load_walk(tmp_path / "w.mot")
