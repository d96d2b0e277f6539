"""train_video.py: poses as the camera sees them, frames that go with them, and an encoder that learns to see them."""

import numpy as np
import pytest
import torch
from conftest import run_script
from transformers import AutoModel, ResNetModel

from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.drawing.video_rendering import Camera, render_video
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.data import load_walks
from modeling_gait.training.knowledge import VIDEO_FRAMES
from modeling_gait.training.video import draw_frames, seen_pose
from train import train_video


def test_pose_of_a_camera_behind_beside_and_before(walks):
    """A walker faces +y; left joints have negative x."""
    joints = walks.joints[0].astype(np.float64)
    left, right = (KINECT_V2.index(f"{side}_shoulder") for side in ("left", "right"))
    across = {azimuth: (p := seen_pose(joints, azimuth))[:, right] - p[:, left] for azimuth in (0, 90, 180)}
    assert (across[180][:, 0] > 0.1).all() and (across[0][:, 0] < -0.1).all(), "from behind, right is right"
    assert (across[90][:, 1] < -0.1).all(), "from the right, the right shoulder is nearer"
    for azimuth in (0, 90, 217):
        pose = seen_pose(joints, azimuth)
        assert np.abs(pose[:, KINECT_V2.root]).max() == 0 and np.median(np.ptp(pose[..., 2], axis=1)) == pytest.approx(1)
        lengths = np.linalg.norm(pose[:, left] - pose[:, right], axis=-1)
        np.testing.assert_allclose(lengths / lengths[0], np.linalg.norm(across[0], axis=-1) / lengths[0], rtol=1e-4)


@pytest.mark.parametrize(("azimuth", "side"), [(180, 1), (0, -1)], ids=["behind", "before"])
def test_the_picture_and_the_pose_agree_on_right_and_left(azimuth, side):
    """The right arm stretched out is on the right of the picture of a camera behind the walker, and on the left before."""
    arm = [KINECT_V2.index(f"right_{j}") for j in ("elbow", "wrist", "hand", "hand_tip", "thumb")]
    joints = np.tile(KINECT_V2.rest_positions, (2, 1, 1)).astype(np.float64)
    joints[1, arm] = joints[0, KINECT_V2.index("right_shoulder")] + np.linspace(0.25, 0.75, 5)[:, None] * [1, 0, 0]
    down, out = render_video(joints, camera=Camera(azimuth), crop=False, seed=1).astype(float)
    change = np.abs(out - down).sum((0, 2))
    assert side * (np.average(np.arange(64), weights=change) - 31.5) > 2
    assert (side * seen_pose(joints, azimuth)[1, arm, 0] > 0.1).all()


def test_frames_go_with_poses(dataset_folder):
    frames, poses = draw_frames(load_walks(str(dataset_folder)).select(range(3)), copies=2)
    assert frames.shape == (6 * VIDEO_FRAMES, 3, 64, 64) and poses.shape == (6 * VIDEO_FRAMES, 25, 3)
    assert np.isfinite(poses).all() and len(np.unique(frames[::VIDEO_FRAMES].reshape(6, -1), axis=0)) == 6


def test_an_encoder_learns_and_begins_a_video_branch(dataset_folder, tmp_path):
    arguments = ["--dataset", dataset_folder, "--output_dir", tmp_path / "pose", "--max_steps", 12, "--batch_size", 32]
    run_script(train_video, [*arguments, "--warmup_steps", 2, "--num_threads", 1, "--mixed_precision", "no"])
    encoder = AutoModel.from_pretrained(tmp_path / "pose")
    assert isinstance(encoder, ResNetModel) and not (tmp_path / "pose" / "checkpoint").exists()
    config = GaitKnowledgeConfig(branches=["video"], video_config=str(tmp_path / "pose"), id2label={0: "a", 1: "b"})
    model = GaitKnowledgeForSequenceClassification(config)
    model.load_video_encoder(str(tmp_path / "pose"))
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(model.video.encoder.state_dict()[name], value)
    assert model(pixel_values=torch.rand(1, 3, 3, 64, 64)).logits.shape == (1, 2)
