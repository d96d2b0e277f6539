"""GaitFeatureExtractor: measured walks to the standardised windows that the models read.

In: walks: whatever `recording.read_recording` takes.
Out: `joints` (B, N, J, 3) [m], `input_values` (B, N, 3 J) of them, `attention_mask` (B, N), N = `num_frames`.

Features of a frame: each joint relative to the pelvis, less the mean pose, in units of `position_scale`; the pelvis's own
slot holds its velocity to the right and forward [m/s] and its height [m], standardised.
"""

import json
import warnings
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin

from .gait_classes import GaitClasses, load_classes, parse_classes
from .recording import Recording, each_thing, read_recording
from .skeletons import SKELETONS, check_fps, check_metres


@lru_cache(maxsize=16)
def _classes(entries: str, labels: tuple[str, ...]) -> GaitClasses:
    known = parse_classes(json.loads(entries), where="preprocessor_config.json") if entries != "null" else load_classes()
    return known.select(labels) if labels else known


class GaitFeatureExtractor(FeatureExtractionMixin):
    """Clean, resample, turn to the canonical heading, cut or pad to a window, standardise.

    Args:
        skeleton: name in `SKELETONS` of the skeleton that the models know.
        fps: frames a second of a window.
        num_frames: N, frames a window.
        frame_multiple: valid frames are cut to a multiple of this (the tokeniser's stride).
        position_mean: 3 J numbers [m], mean joint positions relative to the pelvis (`fit`).
        position_scale: metres that become 1.
        root_mean, root_std: pelvis velocity right, forward [m/s] and height [m] (`fit`).
        labels: names of the pathologies in the order of the class head.
        gait_classes: what the labels mean, `GaitClasses.to_dict`; None: what the package knows of them.
    """

    model_input_names = ["joints", "input_values", "attention_mask"]

    def __init__(
        self,
        skeleton: str = "kinect_v2",
        fps: float = 30.0,
        num_frames: int = 96,
        frame_multiple: int = 4,
        position_mean: list[float] | None = None,
        position_scale: float = 0.1,
        root_mean: tuple[float, float, float] = (0.0, 0.8, 0.9),
        root_std: tuple[float, float, float] = (0.3, 0.3, 0.1),
        labels: tuple[str, ...] = (),
        gait_classes: dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if skeleton not in SKELETONS:
            raise ValueError(f"unknown skeleton {skeleton!r}; known: {', '.join(SKELETONS)}")
        check_fps(fps)
        if num_frames % frame_multiple:
            raise ValueError(f"num_frames {num_frames} is not a multiple of frame_multiple {frame_multiple}")
        self.skeleton, self.fps, self.num_frames, self.frame_multiple = skeleton, fps, num_frames, frame_multiple
        rest = SKELETONS[skeleton].rest_positions
        self.position_mean = position_mean or (rest - rest[SKELETONS[skeleton].root]).flatten().tolist()
        self.position_scale = position_scale
        self.root_mean, self.root_std = list(root_mean), list(root_std)
        self.labels, self.gait_classes = list(labels), gait_classes

    @property
    def classes(self) -> GaitClasses:
        """The classes of `labels` in their order, all that the package knows where there are none."""
        return _classes(json.dumps(self.gait_classes), tuple(self.labels))

    @property
    def num_features(self) -> int:
        return 3 * len(SKELETONS[self.skeleton])

    def fit(self, walks: Iterable[np.ndarray]) -> "GaitFeatureExtractor":
        """Set the means and scales from walks (T, J, 3) [m] (training people only)."""
        root = SKELETONS[self.skeleton].root
        total, count, roots = 0.0, 0, []
        for number, joints in enumerate(walks):
            joints = np.asarray(joints, np.float64)
            if len(joints) < 2:
                raise ValueError(f"walk {number} of those to fit to has {len(joints)} frames; expected at least 2")
            check_metres(joints, f"joints of walk {number}")
            if not np.isfinite(joints).all():
                raise ValueError(f"walk {number} of those to fit to holds joints that are not finite; clean it first")
            total = total + (joints - joints[:, [root]]).sum(0)
            count += len(joints)
            velocity = np.diff(joints[:, root, :2], axis=0) * self.fps
            roots.append((*velocity.mean(0), joints[:, root, 2].mean()))
        if not count:
            raise ValueError("no walks to fit the feature extractor to")
        self.position_mean = (total / count).flatten().tolist()
        self.root_mean = np.mean(roots, axis=0).tolist()
        return self

    def to_features(self, joints: torch.Tensor) -> torch.Tensor:
        """Joints (B, N, J, 3) [m] -> features (B, N, 3 J). Raises ValueError for another unit."""
        check_metres(joints[:, 0].detach().float().cpu().numpy())
        root = SKELETONS[self.skeleton].root
        path = joints[:, :, root]
        velocity = path[:, 1:, :2].sub(path[:, :-1, :2]) * self.fps
        velocity = torch.cat((velocity[:, :1], velocity), dim=1)
        features = (joints - joints[:, :, [root]]).flatten(2) - joints.new_tensor(self.position_mean)
        features = (features / self.position_scale).unflatten(2, (-1, 3)).clone()
        own = (torch.cat((velocity, path[..., 2:]), dim=-1) - joints.new_tensor(self.root_mean)) / joints.new_tensor(
            self.root_std
        )
        features[:, :, root] = own
        return features.flatten(2)

    def read(self, walk, fps: float | None = None, skeleton: str | None = None) -> Recording:
        """Whatever holds a walk (see `read_recording`) as a clean recording at `fps` of the extractor, which is also taken for
        the rate of joints that state none."""
        return read_recording(walk, fps, skeleton=skeleton, rate=self.fps, default_fps=self.fps)

    def prepare(self, walk, fps: float | None = None, skeleton: str | None = None) -> np.ndarray:
        """The longest straight stretch of a walk -> clean (T, J, 3) [m] of the models' skeleton and rate, along +y.

        Args and errors as `read`; what was assumed of it or looks wrong in it is warned of (`Recording.doubts`).
        """
        recording = self.read(walk, fps, skeleton)
        for doubt in recording.doubts:
            warnings.warn(f"{recording.name}: {doubt}", UserWarning, stacklevel=3)
        return recording.for_model(SKELETONS[self.skeleton], self.fps)

    def window(self, joints: np.ndarray, start: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Cut frames from `start` (default: the middle) of a clean walk (T, J, 3); pad with the last frame.

        Returns: joints (N, J, 3) with the pelvis of the first frame over the origin, mask (N,) float32. Raises ValueError for
        a walk that is too short, or not in metres.
        """
        frames = len(joints)
        if frames < self.frame_multiple:
            raise ValueError(f"a walk of {frames} frames is too short, at least {self.frame_multiple} are needed")
        check_metres(np.asarray(joints))
        start = max(0, (frames - self.num_frames) // 2) if start is None else start
        piece = np.asarray(joints[start : start + self.num_frames], np.float32)
        mask = np.zeros(self.num_frames, np.float32)
        mask[: len(piece) // self.frame_multiple * self.frame_multiple] = 1
        piece = np.concatenate((piece, np.repeat(piece[-1:], self.num_frames - len(piece), axis=0)))
        origin = piece[0, SKELETONS[self.skeleton].root] * np.array([1, 1, 0], np.float32)
        return piece - origin, mask

    def __call__(
        self, walks, fps: float | None = None, skeleton: str | None = None, return_tensors: str = "pt"
    ) -> BatchFeature:
        """One walk or several, as of `read_recordings` -> their middle windows as a batch (see the head of this file).

        `return_tensors`: "pt" or "np". Raises as `prepare` and `window`.
        """
        cut = [self.window(self.prepare(w, fps, skeleton)) for w in each_thing(walks)]
        if not cut:
            raise ValueError("no walks given")
        joints = torch.from_numpy(np.stack([c[0] for c in cut]))
        data = {"input_values": self.to_features(joints), "attention_mask": torch.from_numpy(np.stack([c[1] for c in cut]))}
        return BatchFeature({**data, "joints": joints}, tensor_type=return_tensors)


GaitFeatureExtractor.register_for_auto_class("AutoFeatureExtractor")

__all__ = ["GaitFeatureExtractor"]
