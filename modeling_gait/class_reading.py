"""How a classifier reads a walk: in parts as long as the walks that it learnt from, and as the mirror image of it too.

In: a walk (T, J, 3) [m] along +y of the model's skeleton and rate, and a `GaitClassifierConfig`, which knows of the walks that
the model learnt from (`learnt_from`). Out: parts, the classifier's input of them (N, resample_frames, 3 J) [m], and of the
probabilities of the parts (N, L), whose mean is the answer, what makes them doubtful.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .configuration_gait_classifier import GaitClassifierConfig
from .modeling_gait_classifier import prepare_classifier_input
from .skeletons import SKELETONS, mirror
from .walk_checks import leg_length

_BOTH = 0.2  # of the one-sided walks, at least as many on either side: a mirror image is a walk as those learnt from
OTHER_LEGS = 0.08  # share by which legs may be shorter or longer than those learnt from


def learnt_from(
    frames: Sequence[int], rates: Sequence[float], fps: float, sides: Sequence[str | None], legs: Sequence[float]
) -> dict:
    """Fields of the configuration of a classifier that learns from these walks.

    Args:
        frames, rates: of each, and its frames a second; fps: of the model.
        sides: "left" or "right", which side is affected; anything else: none.
        legs: lengths [m], see `leg_length`.
    """
    left, right = (sum(side == one for side in sides) for one in ("left", "right"))
    return {
        "max_frames": int(np.ceil(np.percentile(np.divide(frames, rates), 95) * fps - 1e-6)),
        "both_sides": min(left, right) > _BOTH * (left + right),
        "leg_range": [round(float(leg), 3) for leg in np.percentile(legs, (1, 99))],
    }


def walk_parts(joints: np.ndarray, config: GaitClassifierConfig) -> list[np.ndarray]:
    """A walk (T, J, 3) as it is, or, of more than `config.max_frames` frames, parts of so many, as few as cover it evenly.

    A model knows strides as many as it learnt from: a minute resampled to the frames of a few seconds is no walk to it, and it
    would not say so.
    """
    most = min(config.max_frames or len(joints), len(joints))
    return [joints[start : start + most] for start in part_starts(len(joints), most).round().astype(int)]


def part_starts(frames: int, most: int) -> np.ndarray:
    """First frames (N,), not rounded, of the parts of `most` frames of a walk of `frames`."""
    return np.linspace(0, frames - most, -(-frames // most))


def both_ways(parts: list[np.ndarray], config: GaitClassifierConfig) -> list[np.ndarray]:
    """The parts, and of a model that learnt from walks affected on either side their mirror images after them: neither has
    another class than the other, so the mean of both is the better answer."""
    return parts + [mirror(part, SKELETONS[config.skeleton]) for part in parts] if config.both_sides else parts


def walk_input(joints: np.ndarray, config: GaitClassifierConfig) -> torch.Tensor:
    """`input_values` float32 (N, resample_frames, 3 J) [m] of what is read of a walk (T, J, 3); the first row of a walk of one
    part is that of its row in a data set."""
    parts = both_ways(walk_parts(joints, config), config)
    return torch.from_numpy(prepare_classifier_input(parts, config.resample_frames, SKELETONS[config.skeleton].root))


def class_doubts(
    each: torch.Tensor, labels: Mapping[int, str], config: GaitClassifierConfig | None = None, joints: np.ndarray | None = None
) -> list[str]:
    """What makes a class doubtful, sentences: of probabilities (N, L), those of `both_ways` where joints are given."""
    mean, doubts = each.mean(0), []
    if mean.max() < 0.5:
        doubts.append(f"the model is not sure: the most likely class has {100 * mean.max():.0f} %")
    if joints is None:
        return doubts
    ways = each.unflatten(0, (2, -1)) if config.both_sides else each[None]
    top = mean.argmax()
    parts, mirrored = ways.mean(0).argmax(-1), ways.mean(1).argmax(-1)
    if (mirrored != top).any():
        doubts.append(f"of the walk and its mirror image one is read as {labels[int(mirrored[mirrored != top][0])]}")
    if other := int((parts != top).sum()):
        doubts.append(f"{other} of {len(parts)} parts of the walk are read as another class")
    if config.leg_range:
        leg, (low, high) = leg_length(joints, SKELETONS[config.skeleton]), config.leg_range
        if not (1 - OTHER_LEGS) * low <= leg <= (1 + OTHER_LEGS) * high:
            doubts.append(f"legs of {leg:.2f} m; the classes were learnt from legs of {low:.2f} to {high:.2f} m")
    return doubts


__all__ = ["OTHER_LEGS", "both_ways", "class_doubts", "learnt_from", "part_starts", "walk_input", "walk_parts"]
