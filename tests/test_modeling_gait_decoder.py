"""The decoder: a skeleton of constant bones, any length, severity, noise, limits, what survives it, errors, saving."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SIZES, tiny_decoder, tiny_vq
from transformers import AutoModel

from modeling_gait.configuration_gait_decoder import GaitDecoderConfig
from modeling_gait.forward_kinematics import positions_from_bones, skeleton_from_positions
from modeling_gait.kinematics import bone_lengths, joint_angles
from modeling_gait.modeling_gait_decoder import GaitDecoderModel, GaitDecoderOutput, limit_rotations
from modeling_gait.modeling_gait_vq import GaitParts
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SMPL_22
from modeling_gait.training.fit_parts import waves_of

N = SIZES["num_frames"]


def random_codes(count=3, seed=0, **sizes) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    slots = GaitDecoderConfig(**{**SIZES, **sizes}).slots
    return {
        f"{kind}_codes": torch.stack([torch.randint(n, (count,), generator=generator) for n in each], dim=1)
        for kind, each in slots.items()
    }


@pytest.fixture(scope="module")
def walking() -> tuple[GaitDecoderModel, GaitParts, torch.Tensor]:
    """A decoder, the parts of three simulated walks whose bones vary, and their joints."""
    vq = tiny_vq(num_frames=96)
    walks = simulate_walks(3, frames=96, seed=3, noise=0.01, pathology=["normal", "steppage", "lurch"])
    joints = torch.from_numpy(np.stack(walks.joints)).float()
    waves = waves_of(vq, joints, torch.ones(3, 96))
    pathology = waves.cycle / 2
    pathology[:, 0] = 0
    person = vq.codebooks.person_of(waves.cycle, pathology)
    parts = GaitParts(person, pathology, waves.rhythm, waves.drift, torch.full((3, 8), -5.0))
    return GaitDecoderModel.from_vq(vq), parts, joints


def test_codes_give_a_walk_of_constant_bones():
    out = tiny_decoder()(**random_codes())
    assert isinstance(out, GaitDecoderOutput) and out.joints.shape == (3, N, 25, 3) and out.root.shape == (3, N, 3)
    assert out.rotations.shape == (3, N, 25, 3, 3) and out.offsets.shape == (3, 25, 3)
    assert np.ptp(bone_lengths(out.joints.numpy()), axis=1).max() < 1e-5
    torch.testing.assert_close(positions_from_bones(out.rotations, out.root, out.offsets[:, None]), out.joints)
    assert tiny_decoder(skeleton="smpl_22")(**random_codes()).joints.shape == (3, N, len(SMPL_22), 3)


def test_any_length_and_severity(walking):
    decoder, parts, joints = walking
    whole = decoder(parts=parts).joints
    assert (whole - whole[:, :, [0]] - joints + joints[:, :, [0]]).norm(dim=-1).mean() < 0.03
    assert decoder(parts=parts, num_frames=301).joints.shape == (3, 301, 25, 3)
    none, some, twice = (decoder(parts=parts, severity=torch.full((3,), s), num_frames=50).joints for s in (0.0, 1.0, 2.0))
    assert (twice - none).norm() > 1.5 * (some - none).norm() > 0


def test_no_pathology_changes_a_bone(walking):
    decoder, parts, joints = walking
    own = bone_lengths(decoder(parts=parts).joints.numpy())[:, 0]
    for other in (decoder(parts=parts, severity=1.8), decoder(parts=replace(parts, pathology=parts.pathology.flip(0)))):
        np.testing.assert_allclose(bone_lengths(other.joints.numpy())[:, 0], own, atol=1e-5)
    np.testing.assert_allclose(own[:, :21], bone_lengths(joints.numpy()).mean(1)[:, :21], atol=0.02)


def test_frames_that_do_not_count_change_no_bone(walking):
    decoder, parts, _ = walking
    mask = (torch.arange(96) < 60).float().expand(3, -1)
    torch.testing.assert_close(
        decoder(parts=parts, attention_mask=mask).joints[:, :60], decoder(parts=parts, num_frames=60).joints
    )


def test_gait_survives_the_skeleton_in_distribution(walking):
    """Ranges and rates of the joint angles, not only places: the pelvis is not rocked by what is wrong of the thighs."""
    generator, (_, _, joints) = torch.Generator().manual_seed(0), walking
    legs = torch.tensor([n.endswith(("knee", "ankle", "foot")) for n in KINECT_V2.joint_names])[:, None]
    noisy = joints + 0.015 * torch.randn(joints.shape, generator=generator) * legs
    relative = noisy - noisy[:, :, [0]]
    rotations, offsets = skeleton_from_positions(relative, torch.ones(3, 96, 1))
    fitted = positions_from_bones(rotations, relative[:, :, 0], offsets[:, None])
    assert (fitted - relative).norm(dim=-1).mean() < 0.025
    for before, after in zip(relative.numpy(), fitted.numpy()):
        before, after = joint_angles(before), joint_angles(after)
        for name in ("pelvic_obliquity", "hip_flexion_left", "knee_flexion_right", "hip_adduction_left"):
            rates = [np.sqrt(np.mean(np.diff(a[name]) ** 2)) for a in (before, after)]
            assert rates[1] == pytest.approx(rates[0], rel=0.3), name


def test_knees_and_elbows_do_not_bend_the_wrong_way(walking):
    decoder, parts, _ = walking
    out = decoder(parts=parts)
    knee, shank = KINECT_V2.index("left_knee"), [KINECT_V2.index(f"left_{n}") for n in ("ankle", "foot")]
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # a quarter turn: the shank points forward
    broken = out.rotations.clone()
    broken[:, :, shank] = turn @ broken[:, :, shank]
    mended = limit_rotations(broken, out.offsets, KINECT_V2)
    bones = (mended @ out.offsets[:, None, ..., None])[..., 0]
    pitch = [torch.atan2(bones[:, :, j, 1], -bones[:, :, j, 2]) for j in (knee, shank[0])]
    assert (pitch[0] - pitch[1]).min() > -0.18
    torch.testing.assert_close(limit_rotations(mended, out.offsets, KINECT_V2), mended, atol=1e-5, rtol=1e-5)


def test_the_lower_foot_keeps_its_mean_height(walking):
    decoder, parts, _ = walking
    feet = [KINECT_V2.index(f"{s}_{n}") for s in ("left", "right") for n in ("ankle", "foot")]
    free = GaitDecoderModel.from_vq(tiny_vq(num_frames=96), constrained=False)
    heights = [d(parts=parts).joints[:, :, feet, 2].amin(2).mean(1) for d in (decoder, free)]
    torch.testing.assert_close(heights[0], heights[1], atol=1e-4, rtol=0)


def test_noise_needs_the_sensor_and_follows_the_generator():
    decoder, codes = tiny_decoder(), random_codes()
    decoder.codebooks.noise.spectrum += 1
    decoder.codebooks.noise.shape += 1
    decoder.codebooks.noise.mix += torch.eye(75)
    one, again, other = (decoder(**codes, noise=True, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.rotations is None and torch.equal(one.joints, again.joints) and not torch.equal(one.joints, other.joints)
    del codes["sensor_codes"]
    assert torch.isfinite(decoder(**codes).joints).all()
    with pytest.raises(ValueError, match="noise is what the sensor codes describe"):
        decoder(**codes, noise=True)


def test_missing_and_foreign_codes_are_refused():
    codes = random_codes()
    with pytest.raises(ValueError, match="needs temporal_codes, pathological_codes and spatial_codes, or parts"):
        tiny_decoder()(codes["temporal_codes"])
    with pytest.raises(ValueError, match=r"expected codes \(B, 4\)"):
        tiny_decoder()(**codes | {"temporal_codes": codes["temporal_codes"][:, :3]})
    with pytest.raises(ValueError, match="outside a codebook of 8"):
        tiny_decoder()(**codes | {"spatial_codes": codes["spatial_codes"] + 8})


def test_arguments_that_do_not_fit_the_codes_are_refused():
    decoder, codes = tiny_decoder(), random_codes()
    for options, message in (
        ({"num_frames": 0}, "num_frames: expected a whole number of 1 or more, got 0"),
        ({"num_frames": 8.5}, "num_frames: expected"),
        ({"severity": torch.ones(2)}, r"severity: expected a number or \(3,\)"),
        ({"severity": torch.ones(1)}, "severity: expected"),
        ({"attention_mask": torch.ones(1, N)}, r"attention_mask: expected \(3, T\)"),
        ({"attention_mask": torch.arange(N).expand(3, -1) % 9}, "walk 0 of the batch: .* valid frames must come first"),
        ({"attention_mask": torch.ones(N)}, "attention_mask: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            decoder(**codes, **options)


def test_it_is_the_tokenisers_and_saves_exactly(tmp_path):
    vq = tiny_vq()
    decoder = GaitDecoderModel.from_vq(vq)
    assert all(torch.equal(a, b) for a, b in zip(decoder.codebooks.state_dict().values(), vq.codebooks.state_dict().values()))
    decoder.save_pretrained(tmp_path)
    half = GaitDecoderModel.from_pretrained(tmp_path, dtype=torch.float16)
    for loaded in (GaitDecoderModel.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path), half):
        assert type(loaded) is GaitDecoderModel and loaded.config.slots == vq.config.slots
        torch.testing.assert_close(loaded(**random_codes()).joints, decoder(**random_codes()).joints)
