"""Forward kinematics, fit_skeleton and joint angles: round trips, known answers, rotation properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from modeling_gait.forward_kinematics import (
    forward_kinematics,
    positions_from_bones,
    positions_from_global,
    rotation_6d_to_matrix,
    skeleton_from_positions,
)
from modeling_gait.kinematics import JOINT_ANGLES, _shortest_rotation, bone_lengths, fit_skeleton, joint_angles
from modeling_gait.skeletons import KINECT_V2, SKELETONS

EACH_SKELETON = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
SEEDS = st.integers(0, 2**32 - 1)
LEFT = [KINECT_V2.index(f"left_{n}") for n in ("hip", "knee", "ankle", "foot")]
RIGHT = [KINECT_V2.index(f"right_{n}") for n in ("hip", "knee", "ankle", "foot")]


def random_rotations(rng, *shape) -> torch.Tensor:
    count = int(np.prod(shape))
    return torch.from_numpy(Rotation.random(count, rng=rng).as_matrix().reshape(*shape, 3, 3))


def standing(skeleton=KINECT_V2, frames=1) -> np.ndarray:
    return np.repeat(skeleton.rest_positions[None].astype(np.float64), frames, axis=0)


@EACH_SKELETON
def test_fk_of_the_rest_pose_gives_the_rest_positions(skeleton):
    rest = torch.tensor(skeleton.rest_offsets, dtype=torch.float64)
    out = forward_kinematics(torch.eye(3, dtype=torch.float64).expand(len(skeleton), 3, 3), rest[skeleton.root], rest, skeleton)
    np.testing.assert_allclose(out, skeleton.rest_positions, atol=1e-6)


def test_fk_bends_only_what_hangs_on_the_joint():
    local = torch.eye(3, dtype=torch.float64).repeat(25, 1, 1)
    local[KINECT_V2.index("left_knee")] = torch.from_numpy(Rotation.from_euler("x", -90, degrees=True).as_matrix())
    offsets = torch.tensor(KINECT_V2.rest_offsets, dtype=torch.float64)
    out = forward_kinematics(local, offsets[0], offsets).numpy()
    rest = KINECT_V2.rest_positions
    ankle, knee = LEFT[2], LEFT[1]
    np.testing.assert_allclose(out[ankle] - out[knee], [0, -0.4, 0], atol=1e-12)  # the shank points backwards
    still = [j for j in range(25) if j not in (ankle, LEFT[3])]
    np.testing.assert_allclose(out[still], rest[still], atol=1e-6)


@EACH_SKELETON
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_fk_keeps_bone_lengths_and_turns_with_the_root(skeleton, seed):
    rng = np.random.default_rng(seed)
    rotations, turn = random_rotations(rng, 3, len(skeleton)), random_rotations(rng, 1)[0]
    offsets = torch.from_numpy(rng.normal(0, 0.3, (len(skeleton), 3)))
    out = positions_from_global(rotations, torch.zeros(3, 3, dtype=torch.float64), offsets, skeleton)
    lengths = np.delete(bone_lengths(out.numpy(), skeleton), skeleton.root, axis=-1)
    expected = np.delete(np.linalg.norm(offsets, axis=-1), skeleton.root)
    np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), atol=1e-12)
    turned = positions_from_global(turn @ rotations, torch.zeros(3, 3, dtype=torch.float64), offsets, skeleton)
    np.testing.assert_allclose(turned, out @ turn.T, atol=1e-12)


def test_fk_is_differentiable():
    six = torch.randn(2, 25, 6, dtype=torch.float64, requires_grad=True)
    offsets = torch.tensor(KINECT_V2.rest_offsets, dtype=torch.float64)
    forward_kinematics(rotation_6d_to_matrix(six), torch.zeros(2, 3, dtype=torch.float64), offsets).square().sum().backward()
    assert torch.isfinite(six.grad).all() and six.grad[:, KINECT_V2.root].abs().sum() > 0


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=6))
def test_6d_gives_rotations(values):
    six = torch.tensor(values, dtype=torch.float64)
    x, y = six[:3], six[3:]
    if torch.linalg.cross(x, y).norm() < 1e-3 or x.norm() < 1e-3:
        return  # Gram-Schmidt is not defined on parallel vectors
    matrix = rotation_6d_to_matrix(six)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert torch.linalg.det(matrix) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(rotation_6d_to_matrix(matrix[:, :2].T.flatten()), matrix, atol=1e-9)


@EACH_SKELETON
@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_fit_skeleton_reproduces_positions_made_by_fk(skeleton, seed):
    rng = np.random.default_rng(seed)
    offsets = torch.tensor(skeleton.rest_offsets, dtype=torch.float64) * torch.from_numpy(
        rng.uniform(0.7, 1.4, (len(skeleton), 1))
    )
    offsets += torch.from_numpy(rng.normal(0, 0.02, (len(skeleton), 3)))  # another person, not only another size
    made = forward_kinematics(
        random_rotations(rng, 6, len(skeleton)), torch.randn(6, 3, dtype=torch.float64), offsets, skeleton
    )
    local, path, fitted = fit_skeleton(made.numpy(), skeleton)
    again = forward_kinematics(*(torch.from_numpy(x) for x in (local, path, fitted)), skeleton)
    assert np.abs(again - made).max() < 1e-6
    np.testing.assert_allclose(np.linalg.det(local), 1, atol=1e-9)


def test_fit_skeleton_gives_constant_lengths_on_noisy_positions():
    noisy = standing(frames=20) + np.random.default_rng(0).normal(0, 0.01, (20, 25, 3))
    local, root, offsets = fit_skeleton(noisy)
    again = forward_kinematics(*(torch.from_numpy(x) for x in (local, root, offsets))).numpy()
    assert bone_lengths(again).std(axis=0).max() < 1e-12
    assert np.linalg.norm(again - noisy, axis=-1).mean() < 0.05


def test_fit_skeleton_refuses_bad_input():
    with pytest.raises(ValueError, match=r"expected joints \(T, 25, 3\)"):
        fit_skeleton(np.zeros((4, 18, 3)))
    bad = standing(frames=2)
    bad[0, 3, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_skeleton(bad)


@given(angle=st.floats(0, np.pi), seed=SEEDS)
@settings(deadline=None)
def test_shortest_rotation_reaches_every_direction(angle, seed):
    rest, across = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()[:2]
    near_half_turn = np.pi - angle * 1e-3
    seen = np.stack([np.cos(a) * rest + np.sin(a) * across for a in (angle, near_half_turn, np.pi)])
    out = _shortest_rotation(rest, seen)
    np.testing.assert_allclose(out @ rest, seen, atol=1e-8)
    np.testing.assert_allclose(out @ np.swapaxes(out, -1, -2), np.broadcast_to(np.eye(3), out.shape), atol=1e-8)


@EACH_SKELETON
def test_joint_angles_of_standing_are_zero(skeleton):
    angles = joint_angles(standing(skeleton, 3), skeleton)
    assert tuple(angles) == JOINT_ANGLES
    slack = 11 if skeleton.name == "smpl_22" else 1e-4  # SMPL's knees stand inwards and its ankles back
    for name, values in angles.items():
        assert values.shape == (3,)
        if name.startswith("ankle") and not skeleton.has("left_foot"):
            assert np.isnan(values).all()
        else:
            assert np.abs(values).max() < slack, name


def turned(axis: str, degrees: float, joints: list[int], centre: int) -> np.ndarray:
    """Standing (1, 25, 3) with `joints` turned about `centre`, right-handed about +axis."""
    out = standing()
    rotation = Rotation.from_euler(axis, degrees, degrees=True)
    out[0, joints] = rotation.apply(out[0, joints] - out[0, centre]) + out[0, centre]
    return out


@pytest.mark.parametrize(
    ("name", "axis", "degrees", "joints", "centre", "expected"),
    [
        ("hip_flexion_left", "x", 30, LEFT[1:], LEFT[0], 30),  # about +x the leg swings forward
        ("hip_flexion_right", "x", -20, RIGHT[1:], RIGHT[0], -20),
        ("knee_flexion_left", "x", -60, LEFT[2:], LEFT[1], 60),
        ("knee_flexion_right", "x", -60, RIGHT[2:], RIGHT[1], 60),
        ("hip_adduction_left", "y", -10, LEFT[1:], LEFT[0], 10),  # about -y the hanging leg goes to +x, the midline of the left
        ("hip_adduction_right", "y", -10, RIGHT[1:], RIGHT[0], -10),
        ("pelvic_obliquity", "y", 8, [LEFT[0], RIGHT[0]], 0, 8),
        ("pelvic_rotation", "z", 12, [LEFT[0], RIGHT[0]], 0, 12),
        ("trunk_lean_sagittal", "x", -15, [1, 2, 3, 20], 0, 15),
        ("trunk_lean_frontal", "y", 5, [1, 2, 3, 20], 0, 5),
    ],
)
def test_joint_angle_signs(name, axis, degrees, joints, centre, expected):
    assert joint_angles(turned(axis, degrees, joints, centre))[name][0] == pytest.approx(expected, abs=1e-4)


def test_toes_up_is_dorsiflexion():
    for side in (LEFT, RIGHT):
        name = f"ankle_dorsiflexion_{'left' if side is LEFT else 'right'}"
        assert joint_angles(turned("x", 10, side[3:], side[2]))[name][0] == pytest.approx(10, abs=0.1)
        assert joint_angles(turned("x", -10, side[3:], side[2]))[name][0] == pytest.approx(-10, abs=0.1)


def test_dropping_the_other_side_of_the_pelvis_adducts_the_stance_hip():
    """Trendelenburg's sign: standing on the right leg the left side of the pelvis drops, and the right hip adducts."""
    angles = joint_angles(turned("y", -8, [LEFT[0]], RIGHT[0]))
    assert angles["pelvic_obliquity"][0] == pytest.approx(-8, abs=1e-4)
    assert angles["hip_adduction_right"][0] == pytest.approx(8, abs=1e-4)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_mirroring_a_pose_swaps_the_sides(seed):
    joints = standing() + np.random.default_rng(seed).normal(0, 0.05, (1, 25, 3))
    angles, mirrored = joint_angles(joints), joint_angles(joints[:, list(KINECT_V2.mirror)] * [-1, 1, 1])
    for name in JOINT_ANGLES:
        if name.endswith(("_left", "_right")):
            swap = name.replace("_left", "_RIGHT").replace("_right", "_left").lower()
            np.testing.assert_allclose(mirrored[swap], angles[name], atol=1e-6)
        else:
            sign = 1 if name == "trunk_lean_sagittal" else -1
            np.testing.assert_allclose(mirrored[name], sign * angles[name], atol=1e-6)


def test_joint_angles_refuse_another_skeletons_joints():
    with pytest.raises(ValueError, match="azure_kinect"):
        joint_angles(standing(), SKELETONS["azure_kinect"])


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_skeleton_from_positions_explains_walks_of_constant_bones(skeleton):
    """Walks whose bones are constant come back exactly; the lengths are constant and the rotations are rotations."""
    rng = np.random.default_rng(0)
    local = np.stack([Rotation.from_rotvec(0.4 * rng.standard_normal((len(skeleton), 3))).as_matrix() for _ in range(6)])
    offsets = torch.tensor(skeleton.rest_offsets, dtype=torch.float64)
    joints = forward_kinematics(torch.tensor(local), torch.zeros(6, 3, dtype=torch.float64), offsets, skeleton)[None]
    positions = joints - joints[:, :, [skeleton.root]]
    rotations, constant = skeleton_from_positions(positions, torch.ones(1, 6, 1, dtype=torch.float64), skeleton)
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    torch.testing.assert_close(rotations @ rotations.transpose(-1, -2), identity)
    again = positions_from_bones(rotations, joints[:, :, skeleton.root], constant[:, None], skeleton)
    torch.testing.assert_close(again, joints)


def test_skeleton_from_positions_stays_near_positions_whose_bones_vary():
    walk = torch.from_numpy(np.tile(KINECT_V2.rest_positions, (1, 8, 1, 1))).double()
    walk = walk - walk[:, :, [0]]
    noisy = walk + 0.02 * torch.randn(walk.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noisy[:, :, 0] = 0
    mask = torch.ones(1, 8, 1, dtype=torch.float64)
    errors = []
    for iterations in (0, 6):
        rotations, offsets = skeleton_from_positions(noisy, mask, iterations=iterations)
        fitted = positions_from_bones(rotations, noisy[:, :, 0], offsets[:, None])
        lengths = bone_lengths(fitted.numpy())
        assert np.ptp(lengths, axis=1).max() < 1e-9
        errors.append((fitted - noisy).norm(dim=-1).mean().item())
    assert errors[1] < errors[0] < 0.05
