"""Arrays: HumanML3D's features and AMASS's poses become joints; sizes are looked at before anything is read."""

import zipfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_loading import stick

from modeling_gait.loading import load_walk
from modeling_gait.skeletons import KINECT_V2, SMPL_22


def test_layouts_by_number_of_joints(tmp_path):
    np.save(tmp_path / "w.npy", np.concatenate([stick(SMPL_22), np.zeros((6, 2, 3))], axis=1))
    assert load_walk(tmp_path / "w.npy", fps=30).skeleton is SMPL_22
    np.save(tmp_path / "w.npy", stick()[:, :17])
    with pytest.raises(ValueError, match="has 17 joints, expected .* or 'joint_names'"):
        load_walk(tmp_path / "w.npy", fps=30)


def test_legs_by_name(tmp_path):
    names = [f"{s}_{n}" for s in "LR" for n in ("Hip", "Knee", "Ankle")]
    places = [KINECT_V2.index(f"{s}_{n}") for s in ("left", "right") for n in ("hip", "knee", "ankle")]
    np.savez(tmp_path / "w.npz", joints=stick()[:, places], joint_names=names, fps=30)
    walk = load_walk(tmp_path / "w.npz")
    assert set(walk.measured) == {KINECT_V2.joint_names[j] for j in places} | {"pelvis"}


def test_humanml3d_features(tmp_path):
    """A body that turns by 0.2 rad and moves 0.03 m a frame in its own heading, in features and in places."""
    rng, frames = np.random.default_rng(0), 8
    rest = (SMPL_22.rest_positions[:, [0, 2, 1]] * [-1, 1, 1]).astype(float)  # x left, y up, z forward
    around = rest + rng.normal(0, 0.01, (frames, 22, 3))
    features = np.zeros((frames, 263))
    features[:, 0], features[:, 2], features[:, 3] = 0.1, 0.03, around[:, 0, 1]  # half the turn
    features[:, 4:67] = (around[:, 1:] - around[:, :1] * [1, 0, 1]).reshape(frames, -1)
    np.save(tmp_path / "w.npy", features)
    walk = load_walk(tmp_path / "w.npy")
    assert walk.fps == 20 and walk.skeleton is SMPL_22 and "20 frames" in walk.notes[0]
    turn = Rotation.from_rotvec(np.outer(-0.2 * np.arange(frames), [0, 1, 0])).as_matrix()
    root = np.cumsum(np.concatenate([np.zeros((1, 3)), (turn @ [0, 0, 0.03])[1:]]), axis=0)
    local = around - around[:, :1] * [1, 0, 1]
    local[:, 0] = around[:, 0] * [0, 1, 0]
    places = np.einsum("tij,tkj->tki", turn, local) + root[:, None]
    np.testing.assert_allclose(walk.joints, places[..., [0, 2, 1]] * [-1, 1, 1], atol=1e-5)
    np.save(tmp_path / "w.npy", (features - 0.3) / 0.5)
    with pytest.raises(ValueError, match="normalised"):
        load_walk(tmp_path / "w.npy")


def test_amass(tmp_path):
    frames = 6
    poses, trans = np.zeros((frames, 156)), np.zeros((frames, 3))
    poses[:, 0] = np.pi / 2  # AMASS is z up
    poses[:, 12] = np.linspace(0, 1, frames)  # the left knee bends
    trans[:, 1] = -np.arange(frames) / 60
    np.savez(tmp_path / "w.npz", poses=poses, trans=trans, mocap_framerate=60.0, gender="male", betas=np.zeros(16))
    walk = load_walk(tmp_path / "w.npz")
    assert any("mean body" in note for note in walk.notes)
    assert walk.fps == 60 and walk.skeleton is SMPL_22
    joints = {n: walk.joints[:, SMPL_22.index(n)] for n in SMPL_22.joint_names}
    np.testing.assert_allclose(np.ptp(joints["pelvis"][:, 1]), 5 / 60, atol=1e-6)
    thigh, shank = joints["left_knee"] - joints["left_hip"], joints["left_ankle"] - joints["left_knee"]
    cosine = np.sum(thigh * shank, axis=1) / np.linalg.norm(thigh, axis=1) / np.linalg.norm(shank, axis=1)
    straight = np.arccos(cosine[0])
    assert np.arccos(cosine[-1]) == pytest.approx(1 + straight, abs=0.25) and straight < 0.25
    assert (joints["head"][:, 2] - joints["left_foot"][:, 2] > 1.3).all()
    with pytest.raises(ValueError, match="'trans' must have shape"):
        np.savez(tmp_path / "w.npz", poses=poses, trans=trans[:3])
        load_walk(tmp_path / "w.npz")


def test_only_known_arrays_are_read_and_lying_headers_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", joints=stick(), fps=30)
    with zipfile.ZipFile(tmp_path / "w.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.npy", b"\0" * 2**24)
    assert load_walk(tmp_path / "w.npz").joints.shape == (6, 25, 3)
    said = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999, 25, 3), }"
    header = b"\x93NUMPY\x01\x00\x76\x00" + said.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", header + b"\0" * 2**16)
    with pytest.raises(ValueError, match=r"'joints': float64 \(9999999, 25, 3\) in 65"):
        load_walk(tmp_path / "w.npz", fps=30)


def test_fortran_order_and_other_numbers(tmp_path):
    np.save(tmp_path / "w.npy", np.asfortranarray(stick().astype(">f4")))
    np.testing.assert_allclose(load_walk(tmp_path / "w.npy", fps=30).joints, stick(), atol=1e-6)
