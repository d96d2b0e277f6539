"""Augmentation: each step alone against what it promises, on standing and walking poses of every skeleton."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from modeling_gait.augmentation import (
    PHASES,
    Augmentation,
    change_severity,
    gait_phase,
    random_body,
    random_posture,
    rotate_yaw,
    scale_axes,
    scale_bones,
    template,
    time_window,
    turn_bones,
)
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SKELETONS, mirror

NONE = Augmentation(mirror=0, yaw=0, scale=0, window=0, body=0, bone=0, jitter=0, amplitude=0)
every_skeleton = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def walks(batch=3, frames=20, skeleton=KINECT_V2, seed=0):
    """Rest pose moving forward 1 m, each joint swaying a little in its own way; double, so that equalities are sharp."""
    sway = torch.randn(batch, frames, len(skeleton), 3, generator=seeded(seed), dtype=torch.float64) * 0.02
    path = torch.linspace(0, 1, frames, dtype=torch.float64)[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
    return torch.from_numpy(skeleton.rest_positions).double() + path + sway


def bones(joints, skeleton=KINECT_V2):
    children = list(skeleton.order[1:])
    return joints[:, :, children] - joints[:, :, [skeleton.parents[j] for j in children]]


@every_skeleton
def test_mirror_twice_is_identity_and_swaps_sides(skeleton):
    x = walks(skeleton=skeleton)
    y = mirror(x, skeleton)
    torch.testing.assert_close(mirror(y, skeleton), x, rtol=0, atol=0)
    left, right = skeleton.index("left_knee"), skeleton.index("right_knee")
    torch.testing.assert_close(y[..., left, 1:], x[..., right, 1:])
    torch.testing.assert_close(y[..., left, 0], -x[..., right, 0])
    assert (y[..., left, 0] < 0).all(), "the left knee must stay on the left (negative x)"


def test_mirror_moves_a_limp_to_the_other_leg():
    x = walks(batch=1)
    x[:, :, KINECT_V2.index("left_foot"), 2] += 0.3
    y = mirror(x)
    foot_height = y[0, :, [KINECT_V2.index("left_foot"), KINECT_V2.index("right_foot")], 2].mean(0)
    assert foot_height[1] - foot_height[0] > 0.25


@settings(max_examples=20, deadline=None)
@given(st.floats(-180, 180))
def test_rotate_yaw_keeps_heights_and_distances(angle):
    x = walks(batch=2)
    y = rotate_yaw(x, torch.tensor([angle, -angle], dtype=torch.float64))
    torch.testing.assert_close(y[..., 2], x[..., 2])
    torch.testing.assert_close(bones(y).norm(dim=-1), bones(x).norm(dim=-1))
    torch.testing.assert_close(rotate_yaw(y, torch.tensor([-angle, angle], dtype=torch.float64)), x)


def test_rotate_yaw_is_counter_clockwise():
    x = torch.zeros(1, 1, 25, 3, dtype=torch.float64)
    x[..., 1] = 1  # forward
    torch.testing.assert_close(
        rotate_yaw(x, torch.tensor([90.0]))[0, 0, 0], torch.tensor([-1.0, 0, 0]).double(), atol=1e-6, rtol=0
    )


def test_scale_axes_scales_each_axis_of_each_walk():
    x = walks(batch=2)
    factors = torch.tensor([[1.0, 2.0, 3.0], [0.5, 1.0, 1.0]], dtype=torch.float64)
    y = scale_axes(x, factors)
    torch.testing.assert_close(y[0, ..., 2], x[0, ..., 2] * 3)
    torch.testing.assert_close(y[1, ..., 0], x[1, ..., 0] * 0.5)


def test_time_window_of_everything_is_identity_and_of_a_part_is_that_part():
    x = walks(batch=2, frames=21)
    zero, all_frames = torch.zeros(2).double(), torch.full((2,), 20.0).double()
    torch.testing.assert_close(time_window(x, zero, all_frames), x)
    part = time_window(x, torch.tensor([5.0, 0.0]).double(), torch.tensor([10.0, 10.0]).double())
    torch.testing.assert_close(part[0, ::2], x[0, 5:16])
    torch.testing.assert_close(part[1, 1::2], (x[1, :10] + x[1, 1:11]) / 2)


@every_skeleton
def test_scale_bones_keeps_directions_and_scales_lengths(skeleton):
    x = walks(skeleton=skeleton)
    factors = random_body(3, 0.1, 0.05, seeded(1), x, skeleton)
    before, after = bones(x, skeleton), bones(scale_bones(x, factors, skeleton), skeleton)
    expected = before * factors[:, None, list(skeleton.order[1:]), None]
    torch.testing.assert_close(after, expected)


def test_scale_bones_with_longer_legs_takes_longer_steps_on_the_same_floor():
    x = walks()
    factors = torch.ones(3, 25, dtype=torch.float64)
    for name in KINECT_V2.joint_names:
        if name.endswith(("knee", "ankle")):
            factors[:, KINECT_V2.index(name)] = 1.2
    y = scale_bones(x, factors)
    travel = (y[:, -1, 0] - y[:, 0, 0]) / (x[:, -1, 0] - x[:, 0, 0])
    torch.testing.assert_close(travel[:, :2], torch.full((3, 2), 1.2, dtype=torch.float64))
    feet = [KINECT_V2.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("ankle", "foot")]
    torch.testing.assert_close(y[:, :, feet, 2].amin(2).mean(1), x[:, :, feet, 2].amin(2).mean(1))
    rise = (y[:, :, 0, 2] - x[:, :, 0, 2]).mean()
    assert 0.12 < rise < 0.2, "legs of 0.82 m grown by 20 % must lift the pelvis by about 0.16 m"


def test_scale_bones_by_one_is_identity_even_where_all_joints_coincide():
    x = torch.cat((walks(), torch.zeros(1, 20, 25, 3, dtype=torch.float64)))
    torch.testing.assert_close(scale_bones(x, torch.ones(4, 25, dtype=torch.float64)), x)


def test_random_body_groups_are_symmetric_and_legs_go_together():
    factors = random_body(2000, 0.1, 0.0, seeded(), torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(factors, factors[:, list(KINECT_V2.mirror)])
    logs = factors.log()
    column = {name: logs[:, KINECT_V2.index(name)] for name in KINECT_V2.joint_names}
    torch.testing.assert_close(column["spine_shoulder"], column["spine"])  # trunk, not shoulders
    assert abs(column["left_elbow"].std() - 0.1) < 0.01
    assert abs(column["left_knee"].std() - 0.1 * 2**0.5) < 0.01

    def correlation(a, b):
        return torch.corrcoef(torch.stack((column[a], column[b])))[0, 1]

    assert abs(correlation("left_knee", "right_ankle") - 0.5) < 0.06
    assert abs(correlation("left_knee", "left_elbow")) < 0.08
    single = random_body(2000, 0.0, 0.1, seeded(), torch.zeros(1, dtype=torch.float64)).log()
    assert abs(torch.corrcoef(single[:, [13, 17]].T)[0, 1]) < 0.08, "single bones vary left and right independently"


def test_all_strengths_zero_change_nothing():
    x = walks()
    torch.testing.assert_close(NONE(x, seeded()), x, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["mirror", "yaw", "scale", "window", "body", "bone", "jitter", "amplitude", "posture", "posture_bone"]
)
def test_each_strength_alone_changes_walks_repeatably_and_leaves_the_input(name):
    x = walks(batch=8)
    kept = x.clone()
    one = replace(NONE, **{name: getattr(Augmentation(amplitude=0.2, posture=5, posture_bone=3), name)})
    y = one(x, seeded(3))
    torch.testing.assert_close(x, kept, rtol=0, atol=0)
    torch.testing.assert_close(y, one(x, seeded(3)), rtol=0, atol=0)
    changed = [not torch.equal(a, b) for a, b in zip(x, y)]
    assert any(changed) and (name == "mirror" or all(changed))
    assert not torch.equal(y, one(x, seeded(4)))
    assert y.shape == x.shape and y.dtype == x.dtype and torch.isfinite(y).all()


def test_mirror_probability():
    x = walks(batch=1).expand(400, -1, -1, -1)
    y = replace(NONE, mirror=0.25)(x, seeded())
    mirrored = (y == mirror(x)).flatten(1).all(1)
    assert ((y == x).flatten(1).all(1) ^ mirrored).all(), "each walk is either mirrored whole or left as it is"
    assert abs(mirrored.double().mean() - 0.25) < 0.07


def test_strengths_bound_what_happens():
    x = walks(batch=200, frames=12)
    turned = replace(NONE, yaw=17.0)(x, seeded())
    heading = torch.rad2deg(torch.atan2(-turned[:, -1, 0, 0], turned[:, -1, 0, 1])) - torch.rad2deg(
        torch.atan2(-x[:, -1, 0, 0], x[:, -1, 0, 1])
    )
    assert 14 < heading.abs().max() <= 17.001
    ratio = replace(NONE, scale=0.15)(x, seeded()) / x
    assert ratio.min() >= 0.85 - 1e-9 and ratio.max() <= 1.15 + 1e-9 and ratio.max() > 1.14
    noise = replace(NONE, jitter=5.0)(x, seeded()) - x
    assert abs(noise.std() - 0.005) < 1e-4 and abs(noise.mean()) < 1e-4


def test_window_keeps_the_start_at_the_origin_and_covers_less_ground():
    x = walks(batch=50, frames=30)
    y = replace(NONE, window=0.3)(x, seeded())
    torch.testing.assert_close(y[:, 0, 0, :2], x[:, 0, 0, :2])
    travel = y[:, -1, 0, 1] - y[:, 0, 0, 1]
    assert travel.min() > 0.55 and travel.max() < 1.1 and travel.mean() < 0.95


def test_float32_and_one_frame():
    y = Augmentation()(walks(frames=1).float(), seeded())
    assert y.shape == (3, 1, 25, 3) and y.dtype == torch.float32 and torch.isfinite(y).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"expected floating-point joints \(B, T, 25, 3\)"):
        Augmentation()(torch.zeros(2, 10, 24, 3), seeded())
    with pytest.raises(ValueError, match="floating-point"):
        Augmentation()(torch.zeros(2, 10, 25, 3, dtype=torch.long), seeded())
    with pytest.raises(ValueError, match="factors"):
        scale_bones(walks(), torch.ones(3, 24))
    with pytest.raises(ValueError, match="yaw must not be negative"):
        Augmentation(yaw=-1)
    with pytest.raises(ValueError, match="mirror must be at most 1"):
        Augmentation(mirror=1.5)


def test_amplitude_changes_the_motion_but_not_the_mean_pose_or_the_path():
    x = walks(batch=4)
    y = replace(NONE, amplitude=0.3)(x, seeded(1))
    root = KINECT_V2.root
    torch.testing.assert_close(y[:, :, root], x[:, :, root])
    before, after = ((w - w[:, :, [root]]) for w in (x, y))
    torch.testing.assert_close(before.mean(1), after.mean(1), atol=1e-5, rtol=1e-4)
    ratio = after.std(1) / before.std(1).clamp(min=1e-6)
    moving = before.std(1) > 1e-3
    assert (ratio[moving] - 1).abs().max() > 0.05


# --- postures --------------------------------------------------------------------------------------------------------------


def lower_foot(joints, skeleton=KINECT_V2):
    """Mean height of the lower foot (B,)."""
    feet = [j for j, name in enumerate(skeleton.joint_names) if name.endswith(("ankle", "foot"))]
    return joints[:, :, feet, 2].amin(2).mean(1)


@every_skeleton
def test_turn_bones_turns_each_bone_by_its_own_rotation(skeleton):
    """Lengths stay, the same rotation in every frame, the pelvis keeps its path and the lower foot its height."""
    x = walks(skeleton=skeleton)
    vectors = torch.randn(3, len(skeleton), 3, generator=seeded(2), dtype=torch.float64) * 0.3
    y = turn_bones(x, vectors, skeleton)
    children = list(skeleton.order[1:])
    turns = torch.from_numpy(Rotation.from_rotvec(vectors[:, children].reshape(-1, 3).numpy()).as_matrix())
    expected = torch.einsum("bjkl,btjl->btjk", turns.view(3, len(children), 3, 3), bones(x, skeleton))
    torch.testing.assert_close(bones(y, skeleton), expected)
    root = skeleton.root
    torch.testing.assert_close(y[:, :, root, :2], x[:, :, root, :2])
    rise = y[:, :, root, 2] - x[:, :, root, 2]
    torch.testing.assert_close(rise, rise[:, :1].expand_as(rise))
    torch.testing.assert_close(lower_foot(y, skeleton), lower_foot(x, skeleton))


def test_turning_a_thigh_carries_the_shank_along_and_leaves_the_rest():
    x = walks(batch=1)
    vectors = torch.zeros(1, 25, 3, dtype=torch.float64)
    vectors[0, KINECT_V2.index("left_knee")] = torch.tensor([np.deg2rad(30), 0, 0])  # about x: from down to forward
    y = turn_bones(x, vectors)
    moved = (y - x) - (y - x)[:, :, [KINECT_V2.root]]
    leg = [KINECT_V2.index(f"left_{joint}") for joint in ("knee", "ankle", "foot")]
    assert moved[:, :, leg, 1].min() > 0.1, "forward"
    torch.testing.assert_close(moved[:, :, leg], moved[:, :, leg[:1]].expand(-1, -1, 3, -1))
    rest = [j for j in range(25) if j not in leg]
    assert moved[:, :, rest].abs().max() < 1e-9


def test_turn_bones_by_nothing_is_identity_and_bad_vectors_are_refused():
    x = walks()
    torch.testing.assert_close(turn_bones(x, torch.zeros(3, 25, 3)), x)
    assert turn_bones(x.float(), torch.ones(3, 25, 3)).dtype == torch.float32
    for shape in ((3, 24, 3), (2, 25, 3), (3, 25)):
        with pytest.raises(ValueError, match=r"vectors: expected \(3, 25, 3\), got"):
            turn_bones(x, torch.zeros(shape))


def test_random_posture_turns_limbs_as_one():
    like = torch.zeros(1, dtype=torch.float64)
    turns = torch.rad2deg(random_posture(3000, 5.0, 0.0, seeded(), like))
    column = {name: turns[:, KINECT_V2.index(name)] for name in KINECT_V2.joint_names}
    for name in ("spine", "neck", "head", "left_shoulder"):
        torch.testing.assert_close(column["spine_shoulder"], column[name])  # the upper body
    assert not column["left_hip"].any() and not column["right_hip"].any(), "the pelvis stays"
    torch.testing.assert_close(column["left_ankle"], column["left_foot"])
    for name, shares in (("spine", 1), ("left_knee", 1), ("right_ankle", 2), ("left_elbow", 2), ("right_hand_tip", 3)):
        assert column[name].std(0) == pytest.approx(np.full(3, 5 * shares**0.5), rel=0.06), name

    def correlation(a, b):
        return float(torch.corrcoef(torch.stack((column[a][:, 0], column[b][:, 0])))[0, 1])

    assert correlation("left_knee", "left_ankle") == pytest.approx(0.5**0.5, abs=0.05)
    assert correlation("left_elbow", "right_elbow") == pytest.approx(0.5, abs=0.06), "through the trunk"
    for pair in (("left_knee", "right_knee"), ("left_knee", "left_elbow"), ("left_ankle", "right_ankle")):
        assert abs(correlation(*pair)) < 0.07, pair


def test_random_posture_turns_single_bones_each_their_own_way():
    turns = torch.rad2deg(random_posture(3000, 0.0, 3.0, seeded(), torch.zeros(1, dtype=torch.float64)))
    assert turns.std(0) == pytest.approx(np.full((25, 3), 3), rel=0.08)
    correlations = torch.corrcoef(turns.flatten(1).T) - torch.eye(75, dtype=torch.float64)
    assert correlations.abs().max() < 0.1
    assert not random_posture(4, 0.0, 0.0, seeded(), torch.zeros(1)).any()


def test_posture_keeps_bones_and_path_and_grows_with_its_strength():
    x = walks(batch=40)
    change = {}
    for strength in (2.0, 8.0):
        y = replace(NONE, posture=strength, posture_bone=strength)(x, seeded(1))
        torch.testing.assert_close(bones(y).norm(dim=-1), bones(x).norm(dim=-1))
        torch.testing.assert_close(y[:, :, 0, :2], x[:, :, 0, :2])
        change[strength] = (y - x).norm(dim=-1).mean()
    assert 3 < change[8.0] / change[2.0] < 5
    with pytest.raises(ValueError, match="posture must not be negative"):
        Augmentation(posture=-1)


@pytest.fixture(scope="module")
def two_people():
    """Classifier inputs of two people's normal and stiff-legged walks."""
    parts = [
        simulate_walks(
            6, pathology=name, severity=1.0, side=None if name == "normal" else "right", frames=120, seed=10 * person, noise=0.0
        ).joints
        for person in (1, 2)
        for name in ("normal", "stiff_legged")
    ]
    inputs = prepare_classifier_input([w for part in parts for w in part])
    return inputs, np.repeat([0, 1, 0, 1], 6), np.repeat([1, 1, 2, 2], 6)


def knee_range(inputs: np.ndarray) -> np.ndarray:
    joints = inputs.reshape(*inputs.shape[:2], 25, 3)
    return np.array([compute_gait_parameters(w, 16.0)["knee_range_right"] for w in joints])


def test_phase_runs_through_all_of_the_cycle(two_people):
    phase = gait_phase(two_people[0])
    assert phase.shape == two_people[0].shape[:2] and (phase >= 0).all() and (phase < PHASES).all()
    steps = np.diff(phase, axis=1) % PHASES
    assert np.median(steps) < PHASES / 4, "phase must go forward in small steps"


def test_a_template_is_the_pose_at_its_phase():
    inputs = np.tile(np.arange(10.0)[:, None, None], (1, 64, 75))
    phase = np.repeat(np.arange(10.0)[:, None], 64, axis=1)
    np.testing.assert_allclose(template(inputs, phase)[:10, 0], np.arange(10), atol=1e-6)


def test_the_pathology_is_taken_away_and_made_stronger(two_people):
    inputs, labels, subjects = two_people
    ranges = {
        a: knee_range(change_severity(inputs, labels, subjects, np.full(24, a), 0))[labels == 1].mean() for a in (-1, 0, 0.3)
    }
    normal = knee_range(inputs[labels == 0]).mean()
    assert abs(ranges[-1] - normal) < 0.35 * abs(ranges[0] - normal)
    assert abs(ranges[0.3] - normal) > abs(ranges[0] - normal)


def test_what_a_change_of_severity_leaves(two_people):
    inputs, labels, subjects = two_people
    out = change_severity(inputs, labels, subjects, np.full(24, 0.5), 0)
    np.testing.assert_array_equal(out[labels == 0], inputs[labels == 0])
    np.testing.assert_allclose(change_severity(inputs, labels, subjects, np.zeros(24), 0), inputs, atol=1e-6)
    affected = labels == 1
    np.testing.assert_array_equal(
        change_severity(inputs[affected], labels[affected], subjects[affected], np.ones(12), 0), inputs[affected]
    )
    assert np.abs(out[:, :, :3]).max() == 0, "the root stays at the origin"


def test_phase_refuses_other_shapes():
    with pytest.raises(ValueError, match="expected walks"):
        gait_phase(np.zeros((3, 64, 10)))
