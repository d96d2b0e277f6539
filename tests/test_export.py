"""Files written by `modeling_gait.export` are read back by `load_walk` and compared with what went in."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from modeling_gait.export import save_walk, write_bvh, write_csv, write_humanml3d, write_npz, written_frames
from modeling_gait.forward_kinematics import forward_kinematics
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.loading import load_walk
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SKELETONS, Skeleton, convert_joints


def random_walk(skeleton: Skeleton, seed: int = 0, frames: int = 5, swing: float = 30.0):
    """Local rotations (T, J, 3, 3) of up to `swing` degrees, a root path (T, 3) and offsets (J, 3), upright."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-swing, swing, (frames, len(skeleton), 3))
    angles[:, skeleton.root] /= 3
    rotations = Rotation.from_euler("xyz", angles.reshape(-1, 3), degrees=True).as_matrix().reshape(frames, -1, 3, 3)
    root = np.stack([rng.normal(0, 0.1, frames), np.arange(frames) / 10, np.full(frames, 0.9)], axis=1)
    offsets = np.array(skeleton.rest_offsets) * rng.uniform(0.8, 1.2)
    return rotations, root, offsets


def positions(walk, skeleton: Skeleton) -> np.ndarray:
    return forward_kinematics(*map(torch.as_tensor, walk), skeleton).numpy().astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(SKELETONS)), st.integers(0, 2**31), st.integers(2, 7), st.sampled_from([25, 29.97, 30, 58.8, 120])
)
def test_csv_and_npz_keep_every_bit(tmp_path_factory, name, seed, frames, fps):
    skeleton, folder = SKELETONS[name], tmp_path_factory.mktemp("walk")
    joints = positions(random_walk(skeleton, seed, frames), skeleton)
    for suffix, write in ((".csv", write_csv), (".npz", write_npz)):
        write(folder / f"a{suffix}", joints, fps, skeleton)
        walk = load_walk(folder / f"a{suffix}")
        np.testing.assert_array_equal(walk.joints, joints)
        assert (walk.skeleton, walk.name, walk.fps) == (skeleton, "a", fps)
        np.testing.assert_allclose(walk.times, np.arange(frames) / fps, atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(SKELETONS)), st.integers(0, 2**31), st.sampled_from([20.0, 180.0]))
def test_bvh_keeps_a_constant_length_skeleton(tmp_path_factory, name, seed, swing):
    skeleton, path = SKELETONS[name], tmp_path_factory.mktemp("walk") / "a.bvh"
    walk = random_walk(skeleton, seed, swing=swing)
    write_bvh(path, walk, 30, skeleton)
    back = load_walk(path, up="y")
    assert (back.skeleton, back.fps) == (skeleton, 30)
    assert np.abs(back.joints - positions(walk, skeleton)).max() < 1e-5  # metres


def test_bvh_of_positions_has_their_directions_and_one_length_a_bone(tmp_path):
    joints = positions(random_walk(KINECT_V2), KINECT_V2)
    joints += np.random.default_rng(1).normal(0, 0.01, joints.shape).astype(np.float32)
    with pytest.warns(UserWarning, match=r"a\.bvh: bones change their length.* \d+ mm off on average, \w+ by \d+ mm"):
        write_bvh(tmp_path / "a.bvh", joints, 30)
    back, parents = load_walk(tmp_path / "a.bvh", up="y").joints, np.maximum(KINECT_V2.parents, 0)
    bones, seen = (w - w[:, parents] for w in (back, joints))
    np.testing.assert_allclose(np.linalg.norm(bones, axis=-1).std(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(bones, axis=-1)[0], np.median(np.linalg.norm(seen, axis=-1), axis=0), atol=1e-5)
    assert np.linalg.norm(np.cross(bones, seen), axis=-1).max() < 1e-5  # as on a joint that turns all its bones together


@pytest.mark.parametrize("pathology", ["trendelenburg", "lurch", "steppage"])
def test_bvh_keeps_the_clinical_signs(tmp_path, pathology):
    """Hips move against the trunk: one turn for both wrote 4.6 degrees of pelvic obliquity in the place of 13.3."""
    walk = simulate_walks(1, frames=120, seed=1, pathology=pathology, severity=0.9).joints[0]
    write_bvh(tmp_path / "a.bvh", walk, 30)
    before, after = (compute_gait_parameters(w, 30) for w in (walk, load_walk(tmp_path / "a.bvh").joints))
    np.testing.assert_allclose(list(after.values()), list(before.values()), atol=0.02)
    if pathology == "trendelenburg":
        assert before["pelvic_obliquity_range"] > 10


def test_bvh_tells_what_constant_bones_cannot_hold(tmp_path):
    """OpenPose's hips hang on the neck, at lengths that change when the pelvis drops."""
    skeleton = SKELETONS["openpose_18"]
    walk = simulate_walks(1, frames=120, seed=1, pathology="trendelenburg", severity=0.9).joints[0]
    with pytest.warns(UserWarning, match=r"mm off on average, (left|right)_"):
        write_bvh(tmp_path / "a.bvh", convert_joints(walk, KINECT_V2, skeleton), 30, skeleton)


def test_bvh_format(tmp_path):
    skeleton = KINECT_V2
    write_bvh(tmp_path / "a.bvh", random_walk(skeleton, frames=3), 25)
    text = (tmp_path / "a.bvh").read_text()
    assert text.count("JOINT") == 24 and text.count("ROOT") == 1
    assert text.count("End Site") == sum(not c for c in skeleton.children)
    assert text.count("{") == text.count("}")
    assert "Frames: 3\nFrame Time: 0.040000000\n" in text
    assert len(text.splitlines()[-1].split()) == 3 + 3 * 25


def test_bvh_faces_forward_and_stands_on_y(tmp_path):
    """A walker 1 m ahead at rest: BVH's z is forward, y up, x to the left, in centimetres."""
    rest = (np.tile(np.eye(3), (2, 25, 1, 1)), np.array([[0.2, 1.0, 0.9]] * 2), np.array(KINECT_V2.rest_offsets))
    write_bvh(tmp_path / "a.bvh", rest, 30)
    assert (tmp_path / "a.bvh").read_text().splitlines()[-1].split()[:3] == ["-20.000000", "90.000000", "100.000000"]


def test_missing_values_survive_csv_and_npz_and_stop_bvh(tmp_path):
    joints = positions(random_walk(KINECT_V2), KINECT_V2)
    joints[2, 7] = np.nan
    for name in ("a.csv", "a.npz"):
        save_walk(tmp_path / name, joints, 30)
        np.testing.assert_array_equal(load_walk(tmp_path / name).joints, joints)
    with pytest.raises(ValueError, match="not finite"):
        save_walk(tmp_path / "a.bvh", joints, 30)


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".bvh"])
def test_failure_leaves_the_old_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("old")
    for joints, fps in ((np.zeros((3, 24, 3)), 30), (np.zeros((0, 25, 3)), 30), (np.zeros((3, 25, 3)), 0)):
        with pytest.raises(ValueError):
            save_walk(path, joints, fps)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_save_walk_names_the_suffixes(tmp_path):
    with pytest.raises(ValueError, match="unknown skeleton 'kinect'"):
        save_walk(tmp_path / "a.csv", np.zeros((3, 25, 3)), 30, "kinect")
    with pytest.raises(ValueError, match=r"'\.fbx'; expected one of \.csv, \.npz, \.bvh, \.trc, \.c3d, \.npy, \.gif, \.mp4"):
        save_walk(tmp_path / "a.fbx", np.zeros((3, 25, 3)), 30)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(sorted(SKELETONS)), st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([25, 58.8, 120]))
def test_trc_and_c3d_keep_a_walk_and_its_gaps(tmp_path_factory, name, seed, frames, fps):
    skeleton, folder = SKELETONS[name], tmp_path_factory.mktemp("walk")
    joints = positions(random_walk(skeleton, seed, frames), skeleton)
    joints[0, seed % len(skeleton)] = np.nan
    for suffix in (".trc", ".c3d"):
        save_walk(folder / f"a{suffix}", joints, fps, name)
        walk = load_walk(folder / f"a{suffix}", up={".trc": "y", ".c3d": "z"}[suffix])
        assert (walk.skeleton, walk.fps, walk.measured) == (skeleton, fps, None) and "taken as" not in str(walk.notes)
        np.testing.assert_allclose(walk.joints, joints, atol=2e-6)
        np.testing.assert_allclose(walk.times, np.arange(frames) / fps, atol=1e-6)


def test_humanml3d_has_20_frames_a_second(tmp_path):
    joints = positions(random_walk(SKELETONS["smpl_22"], frames=7), SKELETONS["smpl_22"])
    write_humanml3d(tmp_path / "a.npy", joints, 40, SKELETONS["smpl_22"])
    assert np.load(tmp_path / "a.npy").shape == (4, 22, 3)
    assert written_frames(tmp_path / "a.npy", 7, 40) == (4, 20.0) and written_frames("a.csv", 7, 40) == (7, 40)
    walk = load_walk(tmp_path / "a.npy", fps=20, up="y")
    np.testing.assert_allclose(walk.joints, joints[::2], atol=1e-6)
    joints[2, 3] = np.nan
    with pytest.raises(ValueError, match="no missing joints"):
        write_humanml3d(tmp_path / "a.npy", joints, 40, SKELETONS["smpl_22"])


def test_write_bvh_checks_shapes(tmp_path):
    rotations, root, offsets = random_walk(KINECT_V2)
    for bad in ((rotations[:, :24], root, offsets), (rotations, root[:2], offsets), (rotations, root, offsets[:5])):
        with pytest.raises(ValueError, match="expected rotations"):
            write_bvh(tmp_path / "a.bvh", bad, 30)
