"""Saliency: classes that are made to hang on one joint, one half of the clip, one corner of a video must be found."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers.utils import ModelOutput

from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.drawing.saliency import plot_saliency, plot_video_saliency
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification
from modeling_gait.saliency import saliency
from modeling_gait.skeletons import KINECT_V2

FRAMES, JOINTS = 16, 25
KNEE = KINECT_V2.index("right_knee")


class OneJoint(nn.Module):
    """Class 1 is likely where the right knee stands high in the second half of the clip; nothing else counts."""

    def forward(self, input_values, **_):
        knee = input_values[:, FRAMES // 2 :, 3 * KNEE + 2].pow(2).mean(1)
        return ModelOutput(logits=torch.stack((-knee, knee, 0 * knee), dim=1))


class OneCorner(nn.Module):
    """Class 1 is likely where the upper left corner of the first frames is bright."""

    def forward(self, pixel_values, scale=1.0, **_):
        bright = scale * pixel_values[:, :3, :, :4, :4].mean((1, 2, 3, 4))
        return ModelOutput(logits=torch.stack((-bright, bright), dim=1))


def clips(batch=3, features=3 * JOINTS) -> torch.Tensor:
    return torch.randn(batch, FRAMES, features)


def test_the_joint_and_the_half_that_count_are_found():
    found = saliency(OneJoint().eval(), input_values=clips())
    assert found.frames.shape == (3, FRAMES) and found.joints.shape == (3, JOINTS) and found.pixels is None
    assert found.joints[:, KNEE].min() > 0.999
    assert found.frames[:, : FRAMES // 2].max() == 0
    np.testing.assert_allclose(found.frames.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["gru", "cnn"])
def test_a_trained_classifier_shows_the_joint_that_it_was_trained_on(architecture):
    config = GaitClassifierConfig(architecture=architecture, hidden_size=16, num_layers=1, num_labels=2)
    torch.manual_seed(0)
    model = GaitForSequenceClassification(config).train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(60):
        x, y = clips(16), torch.randint(2, (16,))
        x[:, FRAMES // 2 :, 3 * KNEE : 3 * KNEE + 3] += 3 * (2 * y - 1)[:, None, None]
        loss = model(x, labels=y).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    x, y = clips(16), torch.arange(16) % 2
    x[:, FRAMES // 2 :, 3 * KNEE : 3 * KNEE + 3] += 3 * (2 * y - 1)[:, None, None]
    found = saliency(model.eval(), input_values=x)
    assert (found.labels == y.numpy()).all()
    assert found.joints.mean(0).argmax() == KNEE


def test_a_sure_model_has_a_gradient():
    """The probability is 1 to float precision here; the log-odds still point at the knee."""
    found = saliency(OneJoint().eval(), label=1, input_values=100 * clips())
    assert found.joints[:, KNEE].min() > 0.999


def test_features_beside_the_joints_count_for_the_frames_only():
    class Extra(nn.Module):
        config = GaitClassifierConfig(num_features=76)

        def forward(self, input_values):
            last = input_values[:, 3, 75]
            return ModelOutput(logits=torch.stack((last, -last), dim=1))

    found = saliency(Extra().eval(), input_values=clips(features=76))
    assert found.joints.shape == (3, JOINTS) and found.joints.max() == 0
    assert found.frames[:, 3].min() > 0.999


def test_the_reference_is_the_training_mean():
    model = GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8, num_layers=1)).eval()
    x = clips(1)
    model.set_normalization(x[0].mean(0), np.ones(75))
    still = saliency(model, input_values=x.mean(1, keepdim=True).expand_as(x).contiguous(), samples=1)
    assert still.frames.sum() < 1e-3  # a walk that is the mean throughout differs in nothing


def test_the_corner_of_the_video_is_found_and_other_inputs_are_passed_on():
    video = torch.rand(2, 6, 3, 8, 8)
    found = saliency(OneCorner().eval(), label=1, pixel_values=video, scale=torch.tensor(2.0))
    assert found.pixels.shape == (2, 6, 8, 8) and found.joints is None
    assert found.pixels[:, :3, :4, :4].sum((1, 2, 3)).min() > 0.999
    np.testing.assert_allclose(found.frames, found.pixels.sum((2, 3)))
    assert saliency(OneCorner().eval(), label=1, pixel_values=video, scale=torch.tensor(0.0)).frames.max() == 0


def test_classes_by_name_and_for_each_walk():
    model = GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8, num_layers=1)).eval()
    x = clips(2)
    assert saliency(model, label="steppage", samples=1, input_values=x).labels.tolist() == [4, 4]
    assert saliency(model, label=torch.tensor([0, 5]), samples=1, input_values=x).labels.tolist() == [0, 5]
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "input_values or pixel_values"),
        ({"label": 3, "input_values": clips()}, "0..2"),
        ({"samples": 0, "input_values": clips()}, "samples"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        saliency(OneJoint().eval(), **arguments)


def test_a_model_in_training_mode_and_an_unknown_class_are_refused():
    model = GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8, num_layers=1))
    with pytest.raises(ValueError, match="eval"):
        saliency(model.train(), input_values=clips())
    with pytest.raises(ValueError, match="unknown class 'ataxic'"):
        saliency(model.eval(), label="ataxic", input_values=clips())


def test_pictures(walks, tmp_path):
    shares = np.full(FRAMES, 1 / FRAMES)
    plot_saliency(tmp_path / "s.png", shares, np.full(JOINTS, 1 / JOINTS), walks.joints[0])
    plot_video_saliency(tmp_path / "v.png", np.full((5, 8, 8), 1 / 320), np.zeros((5, 8, 8, 3), np.uint8))
    assert all((tmp_path / n).stat().st_size > 5000 for n in ("s.png", "v.png"))
    with pytest.raises(ValueError, match="shares"):
        plot_saliency(tmp_path / "x.png", shares, np.ones(3), walks.joints[0])
    with pytest.raises(ValueError, match="a video"):
        plot_video_saliency(tmp_path / "x.png", np.ones((5, 8, 8)), np.zeros((5, 9, 8, 3)))
    with pytest.raises(ValueError, match=".png"):
        plot_saliency(tmp_path / "x.gif", shares, np.ones(JOINTS) / JOINTS, walks.joints[0])
