"""The feature extractor: features, frame rates, skeletons, headings, windows, scales, saving, bad input."""

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoFeatureExtractor

from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2, SKELETONS, convert_joints


@pytest.fixture(scope="module")
def extractor(walks) -> GaitFeatureExtractor:
    return GaitFeatureExtractor(num_frames=32, labels=("normal", "lurch")).fit(walks.joints)


def distance(a, b) -> float:
    """Largest distance of corresponding joints [m]."""
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b), axis=-1).max())


@given(st.integers(0, 10_000), st.integers(2, 40))
@settings(max_examples=25, deadline=None)
def test_features_are_places_about_the_pelvis_and_its_velocity(seed, frames):
    """Of any motion, walk or not."""
    joints = torch.randn(2, frames, 25, 3, generator=torch.Generator().manual_seed(seed))
    extractor = GaitFeatureExtractor(fps=20.0, position_scale=0.2, root_mean=(0.1, 0.9, 1.0), root_std=(0.2, 0.5, 0.25))
    features = extractor.to_features(joints)
    assert features.shape == (2, frames, 75)
    slots, root = features.unflatten(2, (25, 3)), KINECT_V2.root
    mean = torch.tensor(extractor.position_mean).unflatten(0, (25, 3))
    back = slots * 0.2 + mean + joints[:, :, [root]]
    others = [j for j in range(25) if j != root]
    torch.testing.assert_close(back[:, :, others], joints[:, :, others], atol=1e-4, rtol=1e-4)
    own = slots[:, :, root] * torch.tensor([0.2, 0.5, 0.25]) + torch.tensor([0.1, 0.9, 1.0])
    torch.testing.assert_close(own[:, 1:, :2] / 20, joints[:, :, root, :2].diff(dim=1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(own[:, 0, :2], own[:, 1, :2])
    torch.testing.assert_close(own[..., 2], joints[:, :, root, 2], atol=1e-4, rtol=1e-4)


def test_batch(extractor, walks):
    batch = extractor(list(walks.joints[:3]))
    assert batch["input_values"].dtype == torch.float32
    assert batch["input_values"].shape == (3, 32, extractor.num_features) and batch["attention_mask"].shape == (3, 32)
    assert batch["joints"].shape == (3, 32, 25, 3) and batch["attention_mask"].all()
    one = extractor(walks.joints[1])
    torch.testing.assert_close(one["input_values"][0], batch["input_values"][1])


def test_fitted_features_are_standardised(extractor, walks):
    values = extractor(list(walks.joints))["input_values"]
    assert values.mean((0, 1)).abs().max() < 1.5 and values.std() < 3
    assert extractor.root_mean[1] == pytest.approx(np.diff(walks.joints[:, :, 0, 1], axis=1).mean() * 30, abs=0.02)


@pytest.mark.parametrize("name", sorted(set(SKELETONS) - {"kinect_v2"}))
def test_other_skeletons_are_converted(extractor, walks, name):
    other = convert_joints(walks.joints[0], KINECT_V2, SKELETONS[name])
    prepared = extractor.prepare(other, skeleton=name)
    assert prepared.shape[1:] == (25, 3) and np.isfinite(prepared).all()
    knees = [KINECT_V2.index("left_knee"), KINECT_V2.index("right_knee")]
    assert distance(np.diff(prepared[:, knees], axis=1), np.diff(extractor.prepare(walks.joints[0])[:, knees], axis=1)) < 0.05


def test_an_extractor_of_another_skeleton(walks, tmp_path):
    extractor = GaitFeatureExtractor(skeleton="smpl_22", num_frames=32)
    batch = extractor(walks.joints[0], skeleton="kinect_v2")
    assert batch["input_values"].shape == (1, 32, 66) and batch["joints"].shape == (1, 32, 22, 3)


@pytest.mark.parametrize("frames", [8, 13, 31])
def test_short_walks_are_padded_and_masked(extractor, walks, frames):
    batch = extractor(walks.joints[0][:frames])
    valid = frames // 4 * 4
    assert batch["attention_mask"][0].tolist() == [1.0] * valid + [0.0] * (32 - valid)
    assert torch.isfinite(batch["input_values"]).all()
    assert (batch["joints"][0, frames:] == batch["joints"][0, frames - 1]).all()


def test_long_walks_give_their_middle(extractor, walks):
    clean = extractor.prepare(walks.joints[0])
    window, mask = extractor.window(clean)
    start = (len(clean) - 32) // 2
    moved = window - clean[start : start + 32]
    assert mask.all() and np.abs(moved - moved[0, 0]).max() < 1e-5 and (window[0, 0, :2] == 0).all()
    other, _ = extractor.window(clean, start=0)
    assert distance(other, clean[:32]) < 1e-5


@pytest.mark.parametrize(
    "walk, kwargs, message",
    [
        (np.zeros((30, 23, 3)), {}, "23 joints, expected 25"),
        (np.zeros((30, 74)), {}, r"must have shape \(T, J, 3\), got \(30, 74\)"),
        (np.full((30, 25, 3), np.nan), {}, "usable|finite"),
        (np.zeros((0, 25, 3)), {}, r"0 frame\(s\)"),
        (np.zeros((30, 25, 3)), {"skeleton": "octopus"}, "unknown skeleton 'octopus'; expected one of kinect_v2"),
    ],
)
def test_bad_walks_are_refused(extractor, walk, kwargs, message):
    with pytest.raises(ValueError, match=message):
        extractor([walk], **kwargs)


def test_doubts_are_warned_of(extractor, walks):
    for walk, doubt in (
        (walks.joints[0], "no frame rate is stated: taken as 30"),
        ({"joints": walks.joints[0][::-1], "fps": 30.0}, "backwards"),
    ):
        with pytest.warns(UserWarning, match=doubt):
            extractor(walk)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extractor({"joints": simulate_walks(1, frames=300, seed=0).joints[0], "fps": 30.0})


def test_too_short_and_no_walks_are_refused(extractor, walks):
    with pytest.raises(ValueError, match="too short|frames"):
        extractor(walks.joints[0][:3])
    with pytest.raises(ValueError, match="no walks"):
        extractor([])
    with pytest.raises(ValueError, match="no walks"):
        GaitFeatureExtractor().fit([])
    with pytest.raises(ValueError, match="walk 1 of those to fit to has 1 frames"):
        GaitFeatureExtractor().fit([walks.joints[0], walks.joints[1][:1]])
    with pytest.raises(ValueError, match="walk 1 of those to fit to holds joints that are not finite"):
        GaitFeatureExtractor().fit([walks.joints[0], np.where(np.arange(25)[:, None] == 3, np.nan, walks.joints[1])])


@pytest.mark.parametrize("kwargs", [{"skeleton": "octopus"}, {"num_frames": 30, "frame_multiple": 4}])
def test_bad_arguments_are_refused(kwargs):
    with pytest.raises(ValueError, match="unknown skeleton|multiple"):
        GaitFeatureExtractor(**kwargs)


def test_save_and_load_is_exact(extractor, walks, tmp_path):
    extractor.save_pretrained(tmp_path / "family" / "vq")
    json.loads((tmp_path / "family" / "vq" / "preprocessor_config.json").read_text(), parse_constant=pytest.fail)
    for loaded in (
        GaitFeatureExtractor.from_pretrained(tmp_path / "family" / "vq"),
        AutoFeatureExtractor.from_pretrained(tmp_path / "family" / "vq", trust_remote_code=False),
        AutoFeatureExtractor.from_pretrained(tmp_path / "family", subfolder="vq"),
    ):
        assert type(loaded) is GaitFeatureExtractor and loaded.to_dict() == extractor.to_dict()
        a, b = loaded(walks.joints[0]), extractor(walks.joints[0])
        assert torch.equal(a["input_values"], b["input_values"]) and loaded.labels == ["normal", "lurch"]


def test_windows_of_other_units_than_metres_are_refused(extractor, walks):
    with pytest.raises(ValueError, match="what is the unit"):
        extractor.window(1000 * walks.joints[0])
    with pytest.raises(ValueError, match="walk 1: .*what is the unit"):
        GaitFeatureExtractor().fit([walks.joints[0], 100 * walks.joints[1]])
