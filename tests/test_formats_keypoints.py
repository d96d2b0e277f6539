"""Keypoints in JSON and NTU's skeletons: 3D is read, 2D refused, one person wanted."""

import json

import numpy as np
import pytest
from test_formats_text import mediapipe
from test_loading import stick

from modeling_gait.loading import load_walk
from modeling_gait.points import BODY_25, COCO_17, joint_name, words
from modeling_gait.skeletons import KINECT_V2, OPENPOSE_18

KNEE = stick()[:, KINECT_V2.index("left_knee")]


def layout(titles):
    """stick() in another order of joints (T, K, 3), y down as cameras see it."""
    out = []
    for title in titles:
        name = joint_name(words(title))
        if name and KINECT_V2.has(name):
            out.append(stick()[:, KINECT_V2.index(name)])
        else:
            out.append(stick(OPENPOSE_18)[:, OPENPOSE_18.index(name)] if name else stick()[:, 3])
    return np.stack(out, axis=1)[..., [0, 2, 1]] * [1, -1, 1]


def test_openpose_folder_3d_and_2d(tmp_path):
    joints = layout(BODY_25)
    for t in range(6):
        flat = np.concatenate([joints[t], np.ones((25, 1))], axis=1).ravel().tolist()
        (tmp_path / f"walk_{t:012d}_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_3d": flat}]}))
    (tmp_path / "walk_000000000003_keypoints.json").write_text('{"people": []}')
    walk = load_walk(tmp_path, fps=30)
    at = walk.skeleton.index("left_knee")
    np.testing.assert_allclose(walk.joints[[0, 1, 2, 4, 5], at], KNEE[[0, 1, 2, 4, 5]], atol=1e-6)
    assert np.isnan(walk.joints[3]).all()
    (tmp_path / "walk_000000000001_keypoints.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": [1.0] * 75}]}))
    with pytest.raises(ValueError, match="frame 1: pose_keypoints_2d: 2D keypoints"):
        load_walk(tmp_path, fps=30)
    (tmp_path / "walk_000000000001_keypoints.json").write_text(json.dumps({"people": [{}, {}]}))
    with pytest.raises(ValueError, match="frame 1: 2 people"):
        load_walk(tmp_path, fps=30)


def test_a_folder_without_files(tmp_path):
    with pytest.raises(ValueError, match="folder without .json files"):
        load_walk(tmp_path, fps=30)


def test_coco_is_2d_and_lifted_keypoints_are_not(tmp_path):
    picture = (layout(COCO_17)[..., :2] * 200 + 400).round(1)
    rows = [{"image_id": t, "keypoints": np.dstack([picture, np.ones((6, 17))])[t].ravel().tolist()} for t in range(6)]
    (tmp_path / "w.json").write_text(json.dumps({"annotations": rows}))
    with pytest.raises(ValueError, match="2D keypoints"):
        load_walk(tmp_path / "w.json", fps=30)
    frames = [{"frame_id": t, "instances": [{"keypoints": layout(COCO_17)[t].tolist()}]} for t in range(6)]
    (tmp_path / "w.json").write_text(json.dumps({"instance_info": frames}))
    walk = load_walk(tmp_path / "w.json", fps=30)
    np.testing.assert_allclose(walk.joints[:, walk.skeleton.index("left_knee")], KNEE, atol=1e-6)
    assert not {"spine", "neck", "left_foot"} & set(walk.measured)
    as_openpose = load_walk(tmp_path / "w.json", fps=30, skeleton="openpose_18")  # its neck is between the shoulders
    assert as_openpose.measured is None
    pictures = [{"instances": [{"keypoints": np.dstack([picture, np.full((6, 17), 0.9)])[t].tolist()}]} for t in range(6)]
    (tmp_path / "w.json").write_text(json.dumps({"instance_info": pictures}))
    with pytest.raises(ValueError, match="confidence|nothing moves"):
        load_walk(tmp_path / "w.json", fps=30)


def test_mediapipe_world_landmarks(tmp_path):
    world = mediapipe()
    frames = [{"world_landmarks": [dict(zip("xyz", map(float, p)), visibility=1.0) for p in frame]} for frame in world]
    (tmp_path / "w.json").write_text(json.dumps(frames))
    walk = load_walk(tmp_path / "w.json", fps=30)
    np.testing.assert_allclose(walk.joints[:, KINECT_V2.index("left_knee")], KNEE, atol=1e-6)


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "line 1: is not readable JSON"),
        ("[" * 100000, "is not readable JSON"),
        ("[]", "no keypoints of a person"),
        ("3", "expected a list of frames"),
        ('[{"keypoints": [[1, 2, "a"]]}]', "expected numbers"),
        ('[{"keypoints_3d": [[1, 2, 3], [1, 2, 3]]}]', "2 keypoints; expected 25"),
    ],
)
def test_broken_json(tmp_path, text, message):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_walk(tmp_path / "w.json", fps=30)
    assert "w.json" in str(error.value)


def ntu(path):
    lines = ["6"]
    for frame in stick()[..., [0, 2, 1]] * [-1, 1, 1]:
        lines += ["1", "72057594037931101 0 1 1 1 1 0 0.02 0.19 2", "25"]
        lines += [" ".join(f"{v:.6f}" for v in p) + " 200 200 900 500 0 0 0 1 2" for p in frame]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_ntu(tmp_path):
    walk = load_walk(ntu(tmp_path / "S001C001P001R001A059.skeleton"))
    assert any("30 frames a second" in note for note in walk.notes)
    assert walk.fps == 30 and walk.skeleton is KINECT_V2
    np.testing.assert_allclose(walk.joints, stick(), atol=1e-6)
    lines = (tmp_path / "S001C001P001R001A059.skeleton").read_text().splitlines()
    for line, text, message in [(0, "7", "cut off"), (1, "x", "line 2: expected the number of bodies"), (4, "1 2 z", "line 5")]:
        broken = list(lines)
        broken[line] = text
        (tmp_path / "w.skeleton").write_text("\n".join(broken))
        with pytest.raises(ValueError, match=rf"w\.skeleton.*{message}"):
            load_walk(tmp_path / "w.skeleton")
