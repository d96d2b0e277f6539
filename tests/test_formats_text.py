"""Tables as programs write them: which columns are which joints, and what is refused."""

import numpy as np
import pytest
from test_loading import stick

from modeling_gait.loading import load_walk
from modeling_gait.points import MEDIAPIPE_33, joint_name, words
from modeling_gait.skeletons import KINECT_V2

LEGS = ["pelvis", *(f"{side}_{n}" for side in ("left", "right") for n in ("hip", "knee", "ankle", "foot"))]


def rows(path, header_lines, table, separator=","):
    path.write_text("\n".join([*header_lines, *(separator.join(f"{v:.7g}" for v in row) for row in table)]) + "\n")
    return path


def legs(frames=6):
    return {n: stick(frames=frames)[:, KINECT_V2.index(n)] for n in LEGS}


def flat(points):
    return np.concatenate(list(points.values()), axis=1)


def check(walk, fps=30, names=LEGS):
    assert walk.fps == fps and walk.skeleton is KINECT_V2 and set(walk.measured) == set(names)
    for name in KINECT_V2.joint_names:
        expected = stick()[:, KINECT_V2.index(name)] if name in names else np.full((6, 3), np.nan)
        np.testing.assert_allclose(walk.joints[:, KINECT_V2.index(name)], expected, atol=1e-6, err_msg=name)


def test_legs_suffice_and_the_pelvis_is_between_the_hips(tmp_path):
    points = legs()
    header = ["time", *(f"{n}_{a}" for n in points for a in "xyz")]
    table = np.column_stack([np.arange(6) / 30, flat(points)])
    check(load_walk(rows(tmp_path / "w.csv", [",".join(header)], table)))
    keep = [0, *range(4, len(header))]
    walk = load_walk(rows(tmp_path / "w.csv", [",".join(np.array(header)[keep])], table[:, keep]))
    middle = (points["left_hip"] + points["right_hip"]) / 2
    np.testing.assert_allclose(walk.joints[:, 0], middle, atol=1e-6)
    for missing in ("left_hip", "right_ankle"):
        keep = [c for c, title in enumerate(header) if missing not in title]
        with pytest.raises(ValueError, match=f"lacks {missing}"):
            load_walk(rows(tmp_path / "w.csv", [",".join(np.array(header)[keep])], table[:, keep]))


def test_blank_columns_are_not_measured(tmp_path):
    points = legs()
    header = ["time", *(f"{n}_{a}" for n in KINECT_V2.joint_names for a in "xyz")]
    lines = [",".join(header)]
    for t in range(6):
        cells = [f"{v:.7g}" for n in KINECT_V2.joint_names for v in (points[n][t] if n in points else [np.nan] * 3)]
        lines.append(",".join([f"{t / 30:.6f}", *cells]))
    (tmp_path / "w.csv").write_text("\n".join(lines).replace("nan", ""))
    check(load_walk(tmp_path / "w.csv"))


def test_a_name_for_three_columns(tmp_path):
    header = ", ".join(f"{' '.join(reversed(n.split('_')))} X, Y, Z" for n in LEGS)
    check(load_walk(rows(tmp_path / "w.csv", [header], flat(legs())), fps=30))


def test_deeplabcut(tmp_path):
    points = legs()
    heads = ["scorer" + ",net" * 27, ",".join(["bodyparts", *(n for n in LEGS for _ in "xyz")]), "coords" + ",x,y,z" * 9]
    check(load_walk(rows(tmp_path / "w.csv", heads, np.column_stack([np.arange(6), flat(points)])), fps=30))
    heads[2] = "coords" + ",x,y,likelihood" * 9
    with pytest.raises(ValueError, match="line 3: .*2D keypoints"):
        load_walk(rows(tmp_path / "w.csv", heads, np.column_stack([np.arange(6), flat(points)])), fps=30)


def mediapipe():
    """World landmarks (T, 33, 3): y down."""
    points = stick()[..., [0, 2, 1]] * [1, -1, 1]
    out = np.tile(points[:, [KINECT_V2.index("head")]], (1, 33, 1))
    for j, title in enumerate(MEDIAPIPE_33):
        if (name := joint_name(words(title))) and KINECT_V2.has(name):
            out[:, j] = points[:, KINECT_V2.index(name)]
    return out


@pytest.mark.parametrize("layout", ["numbers", "names", "rows"])
def test_mediapipe(tmp_path, layout):
    world = mediapipe()
    if layout == "rows":
        body = [(t, j, *world[t, j], 0.9) for t in range(6) for j in range(33)]
        path = rows(tmp_path / "w.csv", ["frame,landmark_id,x,y,z,visibility"], body)
    else:
        pattern = "{a}{j}" if layout == "numbers" else "{n}_{a}"
        titles = [pattern.format(a=a, j=j, n=n) for j, n in enumerate(MEDIAPIPE_33) for a in "xyzv"]
        table = np.concatenate([world, np.ones((6, 33, 1))], axis=2).reshape(6, -1)
        path = rows(tmp_path / "w.csv", [",".join(titles)], table)
    walk = load_walk(path, fps=30)
    assert {"left_foot", "right_hip", "head", "pelvis"} <= set(walk.measured) and "spine" not in walk.measured
    knee = KINECT_V2.index("left_knee")
    np.testing.assert_allclose(walk.joints[:, knee], stick()[:, knee], atol=1e-6)


def test_landmarks_of_a_picture_are_refused(tmp_path):
    picture = mediapipe() / 4 + [0.5, 0.6, 0]
    titles = [f"{n}_{a}" for n in MEDIAPIPE_33 for a in "xyz"]
    with pytest.raises(ValueError, match="shares of a picture"):
        load_walk(rows(tmp_path / "w.csv", [",".join(titles)], picture.reshape(6, -1)), fps=30)


def test_vicon_trajectories(tmp_path):
    points = legs()
    heads = ["Trajectories", "50", ",,Anna:" + ",,,Anna:".join(LEGS) + ",,", "Frame,Sub Frame" + ",X,Y,Z" * 9]
    heads.append("," + ",mm" * 27)
    table = np.column_stack([np.arange(1, 7), np.zeros(6), 1000 * flat(points)])
    path = rows(tmp_path / "w.csv", heads, table)
    check(load_walk(path), fps=50)
    lost = load_walk(rows(tmp_path / "lost.csv", heads, np.delete(table, 3, axis=0)))
    np.testing.assert_allclose(lost.times, np.array([0, 1, 2, 4, 5]) / 50)
    path.write_text(path.read_text() + "\nModel Outputs\n50\n,,x\n")
    check(load_walk(path), fps=50)
    path.write_text(path.read_text().replace("Trajectories", "Devices"))
    with pytest.raises(ValueError, match="'Devices'; expected its export of 'Trajectories'"):
        load_walk(path)


def test_qualisys(tmp_path):
    heads = ["NO_OF_FRAMES\t6", "FREQUENCY\t100", "MARKER_NAMES\t" + "\t".join(LEGS)]
    check(load_walk(rows(tmp_path / "w.tsv", heads, 1000 * flat(legs()), "\t")), fps=100)
    with pytest.raises(ValueError, match="NO_OF_FRAMES is '6', but it holds 5 rows"):
        load_walk(rows(tmp_path / "w.tsv", heads, 1000 * flat(legs())[:5], "\t"))


@pytest.mark.parametrize("noise, quick", [("", True), ("# a comment\n", False)])
def test_the_line_of_a_bad_cell_is_right_below_several_header_lines(tmp_path, noise, quick):
    heads = ["NO_OF_FRAMES\t6", "FREQUENCY\t100", "MARKER_NAMES\t" + "\t".join(LEGS)]
    path = rows(tmp_path / "w.tsv", heads, 1000 * flat(legs()), "\t")
    lines = path.read_text().splitlines()
    lines[6] = lines[6].replace("\t", "\tx", 1)
    path.write_text("\n".join(lines[:5]) + "\n" + noise + "\n".join(lines[5:]))
    with pytest.raises(ValueError, match=rf"line {7 if quick else 8}, column 2: expected a number, got 'x"):
        load_walk(path)
