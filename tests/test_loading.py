"""`load_walk` on the layouts users have, and its messages on what is no walk."""

import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modeling_gait.export import write_bvh, write_csv, write_npz
from modeling_gait.loading import load_walk
from modeling_gait.skeletons import AZURE_KINECT, KINECT_V2, OPENPOSE_18, SKELETONS, SMPL_22

KINECT_NAMES = """SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight WristRight
    HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight SpineShoulder HandTipLeft ThumbLeft
    HandTipRight ThumbRight"""
AZURE_NAMES = """PELVIS SPINE_NAVEL SPINE_CHEST NECK CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HAND_LEFT HANDTIP_LEFT
    THUMB_LEFT CLAVICLE_RIGHT SHOULDER_RIGHT ELBOW_RIGHT WRIST_RIGHT HAND_RIGHT HANDTIP_RIGHT THUMB_RIGHT HIP_LEFT KNEE_LEFT
    ANKLE_LEFT FOOT_LEFT HIP_RIGHT KNEE_RIGHT ANKLE_RIGHT FOOT_RIGHT HEAD NOSE EYE_LEFT EAR_LEFT EYE_RIGHT EAR_RIGHT"""
OPENPOSE_NAMES = """Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye
    REar LEar"""
SMPL_NAMES = """Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar R_Collar
    Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist"""


def stick(skeleton=KINECT_V2, frames=6):
    """Upright walker (T, J, 3) [m] that swings its limbs a little and moves along y."""
    t = np.arange(frames)[:, None, None]
    rng = np.random.default_rng(3)
    sway = 0.03 * np.sin(t + rng.uniform(0, 6, (1, len(skeleton), 3)))
    return (skeleton.rest_positions + sway + t * [0, 0.03, 0]).astype(np.float32)


def save_text(path, table, header=None, separator=","):
    lines = [separator.join(header)] if header else []
    path.write_text("\n".join(lines + [separator.join(f"{v:.7g}" for v in row) for row in table]))
    return path


def timed(joints, fps=30):
    return np.column_stack([np.arange(len(joints)) / fps, joints.reshape(len(joints), -1)])


# ---------------------------------------------------------------- text layouts


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_positional_columns(tmp_path, skeleton, separator):
    joints = stick(skeleton)
    walk = load_walk(save_text(tmp_path / "w.csv", timed(joints), separator=separator))
    assert walk.skeleton is skeleton and walk.fps == 30
    np.testing.assert_allclose(walk.joints, joints, atol=1e-6)
    bare = load_walk(save_text(tmp_path / "b.txt", joints.reshape(6, -1), separator=separator), fps=20)
    np.testing.assert_array_equal(bare.joints, walk.joints)
    assert bare.fps == 20 and bare.times[1] == 0.05


def test_gist_layout_reads_ids_and_keeps_a_wrapping_clock(tmp_path):
    joints, order = stick(), np.random.default_rng(0).permutation(25)
    ids = np.broadcast_to(order[None, :, None], (6, 25, 1))
    times = np.array([59.9, 59.933, 59.967, 0.0, 0.033, 0.067])
    table = np.column_stack([times, np.concatenate([ids, joints[:, order]], axis=2).reshape(6, -1)])
    walk = load_walk(save_text(tmp_path / "w.csv", table, separator="\t"))
    np.testing.assert_allclose(walk.joints, joints, atol=1e-6)
    assert abs(walk.fps - 30) < 0.3
    np.testing.assert_allclose(walk.times, times)
    table[3, 1] = 9
    with pytest.raises(ValueError, match="joint ids 0 to 24"):
        load_walk(save_text(tmp_path / "w.csv", table, separator="\t"))


@pytest.mark.parametrize(
    "skeleton, names, pattern",
    [
        (KINECT_V2, KINECT_NAMES, "{}.x"),
        (KINECT_V2, KINECT_NAMES, "{}_X [m]"),
        (KINECT_V2, " ".join(KINECT_V2.joint_names), "x_{}"),
        (KINECT_V2, " ".join(KINECT_V2.joint_names).replace("_", ""), "{}x"),
        (AZURE_KINECT, AZURE_NAMES, "{}_X"),
        (OPENPOSE_18, OPENPOSE_NAMES, "{} x"),
        (SMPL_22, SMPL_NAMES, "{}.position.x"),
    ],
)
def test_header_names(tmp_path, skeleton, names, pattern):
    joints = stick(skeleton)
    x, upper = pattern.replace("{}", "\0"), "X" in pattern
    titles = [
        x.replace("X" if upper else "x", a.upper() if upper else a, 1).replace("\0", n) for n in names.split() for a in "xyz"
    ]
    shuffled = np.random.default_rng(1).permutation(len(titles))
    table = np.column_stack([timed(joints), np.full(6, 2.0)])
    header = ["Time", *titles, "confidence"]
    order = np.concatenate([1 + shuffled, [0, len(titles) + 1]])
    path = save_text(tmp_path / "w.csv", table[:, order], [header[i] for i in order])
    walk = load_walk(path)
    assert walk.skeleton is skeleton and walk.fps == 30
    np.testing.assert_allclose(walk.joints, joints, atol=1e-6)
    with pytest.warns(UserWarning, match="60 frames a second are taken as asked, the file states"):
        assert load_walk(path, fps=60).fps == 60


def test_decimal_commas_comments_and_byte_order_mark(tmp_path):
    save_text(tmp_path / "w.csv", timed(stick()), separator=";")
    text = (tmp_path / "w.csv").read_text().replace(".", ",")
    (tmp_path / "w.csv").write_text("# recorded in Graz\n\n" + text + "\n\n", encoding="utf-8-sig")
    np.testing.assert_allclose(load_walk(tmp_path / "w.csv").joints, stick(), atol=1e-6)


def test_empty_and_infinite_cells_are_missing(tmp_path):
    joints = stick()
    write_csv(tmp_path / "w.csv", joints, 30)
    lines = (tmp_path / "w.csv").read_text().splitlines()
    cells = lines[2].split(",")
    cells[1:7] = ["", "NaN", "inf", "1e31", "NA", "-Infinity"]
    lines[2] = ",".join(cells)
    (tmp_path / "w.csv").write_text("\n".join(lines))
    walk = load_walk(tmp_path / "w.csv")
    assert np.isnan(walk.joints[1, :2]).all() and np.isnan(walk.joints).sum() == 6


# ---------------------------------------------------------------- units, axes, time


@pytest.mark.parametrize("factor, unit", [(1000, "millimetres"), (100, "centimetres")])
def test_units_are_recognised(tmp_path, factor, unit):
    path = save_text(tmp_path / "w.csv", np.column_stack([np.arange(6) / 30, factor * stick().reshape(6, -1)]))
    walk = load_walk(path)
    assert any(unit in note for note in walk.notes)
    np.testing.assert_allclose(walk.joints, stick(), atol=1e-5)


def test_metres_of_a_child_are_left_alone(tmp_path):
    walk = load_walk(save_text(tmp_path / "w.csv", timed(0.5 * stick())))
    assert walk.notes == ()
    np.testing.assert_allclose(walk.joints, 0.5 * stick(), atol=1e-6)


# new axes of the file, in terms of x right, y forward, z up; all right-handed
FILE_AXES = {"y": (-1, 3, 2), "-y": (1, -3, 2), "z": (1, 2, 3), "-z": (-1, 2, -3)}


@pytest.mark.parametrize("up", FILE_AXES)
def test_up_axis_is_found(tmp_path, up):
    axes = np.array(FILE_AXES[up])
    joints = stick()[..., np.abs(axes) - 1] * np.sign(axes)
    write_npz(tmp_path / "w.npz", joints, 30)
    for said in ("auto", up):
        np.testing.assert_array_equal(load_walk(tmp_path / "w.npz", up=said).joints, stick())


def test_lying_walker_needs_up(tmp_path):
    write_npz(tmp_path / "w.npz", stick()[..., [2, 0, 1]], 30)
    with pytest.raises(ValueError, match="cannot tell which axis is up"):
        load_walk(tmp_path / "w.npz")
    assert load_walk(tmp_path / "w.npz", up="z").joints[0, 3, 0] > 1.5


@pytest.mark.parametrize("factor, unit", [(1e3, "milli"), (1e6, "micro")])
def test_time_stamps_in_other_units(tmp_path, factor, unit):
    table = timed(stick())
    table[:, 0] = np.round(table[:, 0] * factor)
    walk = load_walk(save_text(tmp_path / "w.csv", table))
    assert any(unit in note for note in walk.notes)
    assert abs(walk.fps - 30) < 0.1 and abs(walk.times[-1] - 5 / 30) < 1e-3


def test_frame_counter_is_no_clock(tmp_path):
    table = timed(stick(), fps=1)
    with pytest.raises(ValueError, match="pass fps="):
        load_walk(save_text(tmp_path / "w.csv", table))
    assert load_walk(tmp_path / "w.csv", fps=30).fps == 30
    header = ["frame", "time", *(f"{n}_{a}" for n in KINECT_V2.joint_names for a in "xyz")]
    table = np.column_stack([np.arange(6), np.arange(6) / 50, table[:, 1:]])
    assert load_walk(save_text(tmp_path / "w.csv", table, header)).fps == 50


# ---------------------------------------------------------------- messages


def broken(path, *, line, column, cell):
    lines = path.read_text().splitlines()
    cells = lines[line - 1].split(",")
    cells[column - 1 : column] = cell
    lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(lines))
    return path


def test_text_in_a_cell_is_located(tmp_path):
    write_csv(tmp_path / "w.csv", stick(), 30)
    broken(tmp_path / "w.csv", line=4, column=3, cell=["1.2.3"])
    with pytest.raises(ValueError, match=r"w\.csv, line 4, column 3 \(pelvis_y\): expected a number, got '1\.2\.3'"):
        load_walk(tmp_path / "w.csv")


def test_text_in_the_first_row_is_no_header(tmp_path):
    save_text(tmp_path / "w.csv", timed(stick()))
    with pytest.raises(ValueError, match=r"line 1, column 5: expected a number, got 'lost'"):
        load_walk(broken(tmp_path / "w.csv", line=1, column=5, cell=["lost"]))


@pytest.mark.parametrize("cell, count", [([], 75), (["1", "2"], 77)])
def test_ragged_row_is_located(tmp_path, cell, count):
    write_csv(tmp_path / "w.csv", stick(), 30)
    with pytest.raises(ValueError, match=rf"w\.csv, line 5: has {count} columns, expected 76"):
        load_walk(broken(tmp_path / "w.csv", line=5, column=9, cell=cell))


def test_header_without_a_joint_or_a_coordinate(tmp_path):
    write_csv(tmp_path / "w.csv", stick(), 30)
    text = (tmp_path / "w.csv").read_text()
    for change, message in [
        (("left_knee_z", "other"), "no column left_knee_z"),
        (("left_knee_", "tail_"), "lacks left_knee; hips, knees and ankles are needed"),
        (("left_knee_z", "KneeLeft.y"), "second column for left_knee_y"),
    ]:
        (tmp_path / "w.csv").write_text(text.replace(*change))
        with pytest.raises(ValueError, match=message):
            load_walk(tmp_path / "w.csv")
    (tmp_path / "w.csv").write_text("patient,score\nA,3\n")
    with pytest.raises(ValueError, match="no column is named after a joint"):
        load_walk(tmp_path / "w.csv")


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("w.csv", b"", "is empty"),
        ("w.csv", b"\n \n", "is empty"),
        ("w.csv", b"# only a note\n", "only comments"),
        ("w.csv", b"\x89PNG\r\n\x1a\n\xff", "not a UTF-8 text file"),
        ("w.csv", b"a\0b", "binary"),
        ("w.csv", b"left_knee_x,left_knee_y\n", "no frames"),
        ("w.csv", b"1,2,3\n4,5,6\n", "has 3 columns; .* 25 \\(kinect_v2\\)"),
        ("w.csv", b",".join([b"1"] * 75), "1 frame"),
        ("w.csv", b"\n".join([b",".join([b"nan"] * 75)] * 3), "no joint with three finite"),
        ("w.npz", b"", "is empty"),
        ("w.npz", b"PK\x03\x04garbage", "not a readable NPZ"),
        ("w.bvh", b"\n", "is empty"),
        ("w.doc", b"a", "unknown suffix '.doc'; expected one of .csv"),
    ],
)
def test_messages(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_walk(tmp_path / name, fps=30)
    assert name in str(error.value)


def test_missing_file_and_bad_arguments(tmp_path):
    for name in ("no.csv", "no.npz", "no.bvh"):
        with pytest.raises(OSError):
            load_walk(tmp_path / name)
    write_csv(tmp_path / "w.csv", stick(), 30)
    for arguments, message in [
        ({"fps": 0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"up": "x"}, "up must be"),
        ({"skeleton": "cow"}, "unknown skeleton 'cow'"),
        ({"fps": 4}, "fps must be from 5 to 1000"),
        ({"fps": 1001}, "fps must be from 5 to 1000"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_walk(tmp_path / "w.csv", **arguments)


# ---------------------------------------------------------------- NPZ and NPY


def test_pickled_npz_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", joints=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="without pickled objects"):
        load_walk(tmp_path / "w.npz")


def test_npz_contents(tmp_path):
    joints, order = stick(SMPL_22), np.random.default_rng(0).permutation(22)
    np.savez(
        tmp_path / "w.npz", joints=joints[:, order], joint_names=np.array(SMPL_NAMES.split())[order], times=np.arange(6) / 20
    )
    walk = load_walk(tmp_path / "w.npz")
    np.testing.assert_array_equal(walk.joints, joints)
    assert walk.fps == 20 and walk.skeleton is SMPL_22
    for arrays, message in [
        ({"poses": joints}, "no array 'joints' .*, only poses"),
        ({"joints": joints[:, :20], "fps": 30}, "has 20 joints, expected 25"),
        ({"joints": joints[..., :2], "fps": 30}, r"must have shape \(T, J, 3\)"),
        ({"joints": joints.astype(str), "fps": 30}, "must hold numbers"),
        ({"joints": joints, "fps": -1}, "'fps' must be one positive number"),
        ({"joints": joints, "times": np.arange(5)}, "'times' must hold 6 numbers"),
        ({"joints": joints, "fps": 30, "joint_names": ["head"]}, "1 'joint_names' for 22 joints"),
        ({"joints": joints}, "pass fps="),
    ]:
        np.savez(tmp_path / "w.npz", **arrays)
        with pytest.raises(ValueError, match=message):
            load_walk(tmp_path / "w.npz")


def test_humanml3d_npy(tmp_path):
    np.save(tmp_path / "000021.npy", stick(SMPL_22)[..., [0, 2, 1]] * [-1, 1, 1])  # x left, y up, z forward
    walk = load_walk(tmp_path / "000021.npy", fps=20)
    assert walk.skeleton is SMPL_22 and walk.name == "000021"
    np.testing.assert_allclose(walk.joints, stick(SMPL_22), atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files(tmp_path, share):
    write_bvh(tmp_path / "w.bvh", stick(), 30)
    write_npz(tmp_path / "w.npz", stick(), 30)
    write_csv(tmp_path / "w.csv", stick(), 30)
    for name in ("w.bvh", "w.npz", "w.csv"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=name):
            load_walk(tmp_path / name)


# ---------------------------------------------------------------- garbage

pieces = st.sampled_from(
    ["HIERARCHY", "ROOT a", "JOINT b", "End Site", "{", "}", "OFFSET 1 2 3", "CHANNELS 1 Xrotation", "CHANNELS 0", "MOTION"]
    + [
        "Frames: 1",
        "Frames: 2",
        "Frame Time: 0.1",
        "Frame Time: nan",
        "1",
        "1e400",
        "nan nan",
        "left_knee_x,time",
        "1,2",
        '"',
        ",",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([".csv", ".npz", ".npy", ".bvh"]),
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(pieces, max_size=12).map("\n".join).map(str.encode),
    ),
)
@example(
    ".npy",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 25, 3), }" + b" " * 30 + b"\n",
)
@example(".bvh", b"HIERARCHY\nROOT a\n{\nCHANNELS 1 Xrotation\n}\nMOTION\nFrames: 1\nFrame Time: 1\ninf")
def test_garbage_raises_only_value_error(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("garbage") / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="w\\" + suffix):
        load_walk(path, fps=30)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["w.csv", "w.npz", "w.bvh"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_damaged_files_load_or_raise_value_error(tmp_path_factory, name, place, content):
    path = tmp_path_factory.mktemp("damaged") / name
    {".csv": write_csv, ".npz": write_npz, ".bvh": write_bvh}[path.suffix](path, stick(frames=2), 30)
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + len(content)] = content
    path.write_bytes(data)
    try:
        walk = load_walk(path)
    except ValueError as error:
        assert name in str(error)
    else:
        assert walk.joints.shape == (2, len(walk.skeleton), 3) and walk.joints.dtype == np.float32


# ---------------------------------------------------------------- files made to fill the memory


def _npz(path):  # 584 kB of zeros that were 569 MB
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("joints.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (1_900_000, 25, 3)})
        for _ in range(570):
            member.write(bytes(1_000_000))


def _bvh(path):  # 100 kB, 3,000 joints in each of 5,000 frames
    joints = "JOINT j {\nOFFSET 0 0 0\n" * 3000 + "}" * 3000
    path.write_text(
        f"HIERARCHY\nROOT r {{\nOFFSET 0 0 0\nCHANNELS 1 Xposition\n{joints}}}\nMOTION\nFrames: 5000\nFrame Time: 1\n"
        + "0\n" * 5000
    )


def _table(header, row, rows, end=""):
    return lambda path: path.write_text(header + row * rows + end)


_WIDE = ",".join(f"{n}_{a}" for n in KINECT_V2.joint_names for a in "xyz") + ",other" * 12_000 + "\n"
_TRC = (
    "PathFileType\t4\nDataRate\tNumFrames\n30\t20000\nFrame#\tTime\t"
    + "m\t\t\t" * 4000
    + "\n\t\t"
    + "X1\tY1\tZ1\t" * 4000
    + "\n"
)


@pytest.mark.parametrize(
    "name, write",
    [
        ("w.npz", _npz),
        ("w.bvh", _bvh),
        ("w.csv", _table(_WIDE, "1\n", 20_000)),
        ("w.trc", _table(_TRC, "1\n", 20_000)),
        ("w.skeleton", _table("1000000\n", "0\n", 1_000_000)),
        ("w.json", _table('[{"people": [{"pose_keypoints_3d": [' + "1," * 99 + "1]}]}", ", {}", 50_000, "]")),
    ],
)
def test_files_that_grow_are_refused_before_they_do(tmp_path, name, write):
    """Each takes less than 100 MB."""
    path = tmp_path / name
    write(path)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"w\.{path.suffix[1:]}.*times its size"):
            load_walk(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
