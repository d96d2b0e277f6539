"""Pretraining of a small vision encoder (train/train_video.py): from one frame of a drawn walk, the pose.

In: walks of the walk schema; each is drawn several times, with another camera, background and clothes. Out: a folder for
`AutoModel.from_pretrained` (a ResNet).

The pose: joints less the pelvis, as the camera sees them (right, away, up), in heights of the person.
"""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AutoModel

from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig, vision_config
from modeling_gait.drawing.video_rendering import Camera, render_video
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.arguments import PRECISIONS, TrainArguments
from modeling_gait.training.data import StepBatches, fingerprint, load_walks
from modeling_gait.training.knowledge import VIDEO_FRAMES, VIDEO_SIZE, clip_rows
from modeling_gait.training.loop import save_model, start, training_loop


@dataclass
class VideoArguments(TrainArguments):
    """Arguments of the pretraining."""

    makes: ClassVar[str] = vision_config(None).model_type
    max_steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 3e-3
    mixed_precision: str = field(default="bf16", metadata={"choices": PRECISIONS})
    copies: int = field(default=2, metadata={"help": "videos drawn of a walk; of each, 16 frames of 12 kB stay in memory"})


def seen_pose(joints: np.ndarray, azimuth: float) -> np.ndarray:
    """Joints (T, J, 3) [m] -> (T, J, 3), less the pelvis, right of, away from and above it for a camera at `azimuth` [deg], in
    heights of the person (from the lowest to the highest joint, median over time)."""
    turn = np.radians(azimuth)
    axes = np.array([[-np.cos(turn), np.sin(turn), 0], [-np.sin(turn), -np.cos(turn), 0], [0, 0, 1]])
    height = np.median(np.ptp(joints[..., 2], axis=1))
    return ((joints - joints[:, [KINECT_V2.root]]) @ axes.T / height).astype(np.float32)


def draw_frames(walks, copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (N * copies * 16, 3, 64, 64) and their poses float32 (..., J, 3)."""
    shape = (len(walks) * copies, VIDEO_FRAMES)
    frames = np.empty((*shape, 3, VIDEO_SIZE, VIDEO_SIZE), np.uint8)
    poses = np.empty((*shape, len(KINECT_V2), 3), np.float32)
    for n, row in enumerate(tqdm(walks.select_columns(["joints"]), desc="frames", mininterval=5)):
        for copy in range(copies):
            at, rng = n * copies + copy, np.random.default_rng([n, copy])
            camera, clip = Camera.random(rng), clip_rows(row["joints"], rng)
            drawn = render_video(clip, size=(VIDEO_SIZE, VIDEO_SIZE), camera=camera, seed=int(rng.integers(2**31)))
            frames[at], poses[at] = drawn.transpose(0, 3, 1, 2), seen_pose(clip, camera.azimuth)
    return frames.reshape(-1, *frames.shape[2:]), poses.reshape(-1, *poses.shape[2:])


class PoseNetwork(nn.Module):
    """Pixels uint8 (B, 3, H, W) -> pose (B, J, 3): a vision encoder and a linear head, with the pixels scaled as in
    `GaitKnowledgeConfig`."""

    def __init__(self, encoder: nn.Module, width: int, mean: list[float], std: list[float]):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, 3 * len(KINECT_V2))
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = ((pixels / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.head(self.encoder(pixels).pooler_output.flatten(1)).unflatten(1, (-1, 3))


def train(args: VideoArguments) -> nn.Module:
    """Train and save; returns the encoder in eval mode."""
    began = time.perf_counter()
    accelerator = start(args)
    walks = load_walks(args.dataset, args.exclude_subjects)
    frames, poses = draw_frames(walks, args.copies)
    config = vision_config(None)
    about = GaitKnowledgeConfig(branches=["video"])
    network = PoseNetwork(AutoModel.from_config(config), config.hidden_sizes[-1], about.image_mean, about.image_std)
    batches = StepBatches(len(frames), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)
    scale = poses.std(0) + 0.01

    def step_loss(prepared: nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = batches.rows(step)
        error = prepared(torch.from_numpy(frames[rows]).to(accelerator.device)).float().cpu() - torch.from_numpy(poses[rows])
        loss = F.smooth_l1_loss(error / torch.from_numpy(scale), torch.zeros_like(error))
        return loss, {"loss": loss.item(), "percent_of_height": 100 * error.detach().norm(dim=-1).mean().item()}

    network = training_loop(accelerator, network, args, step_loss, "pose", fingerprint(walks)).cpu()
    save_model(args.output_dir, network.encoder)
    accelerator.print(f"{args.output_dir}: {len(frames):,} frames, {time.perf_counter() - began:.0f} s")
    return network.encoder
