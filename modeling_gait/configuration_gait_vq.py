"""Configuration of `GaitVQModel`."""

import math

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class GaitVQConfig(PreTrainedConfig):
    r"""Configuration of the pathology VQ tokeniser.

    Args:
        skeleton (`str`): name in `modeling_gait.skeletons.SKELETONS`; it must have ankles.
        fps (`float`), num_frames (`int`): frames a second and frames of a window.
        num_harmonics (`int`): of a gait cycle.
        codebook_size (`int`): codes a codebook; every token but the class has one.
        num_spatial_tokens, spatial_components (`int`): codes of the person's own cycle, and principal components behind them.
        num_pathological_tokens, pathological_components (`int`): the first code is class and side, the others what this walk
        has of it.
        num_sensor_tokens, drift_components (`int`): the last code is the level of the noise, the others slow drift.
        num_labels (`int`): classes, among `id2label`; that named "normal" has no pathology.
        footing (`list[float]`): 5th and 95th percentile of the training windows of their `gait_waves.footing`, within which the
            decoder keeps every walk, so that feet do not slide; None: as it comes.
        head_components, hidden_size (`int`): of the head that reads class and side from a cycle.
    """

    model_type = "gait_vq"

    skeleton: str = "kinect_v2"
    fps: float = 30.0
    num_frames: int = 96
    num_harmonics: int = 5
    codebook_size: int = 256
    num_spatial_tokens: int = 50
    spatial_components: int = 192
    num_pathological_tokens: int = 8
    pathological_components: int = 24
    num_sensor_tokens: int = 17
    drift_components: int = 64
    footing: list[float] | None = None
    head_components: int = 96
    hidden_size: int = 192

    num_temporal_tokens = 4

    @property
    def slots(self) -> dict[str, list[int]]:
        """Sizes of the codebooks of each kind of code, in the order of a sentence."""
        size = self.codebook_size
        return {
            "temporal": [size] * self.num_temporal_tokens,
            "pathological": [2 * self.num_labels] + [size] * (self.num_pathological_tokens - 1),
            "spatial": [size] * self.num_spatial_tokens,
            "sensor": [size] * self.num_sensor_tokens,
        }

    @property
    def bits_per_window(self) -> float:
        """Bits that the codes of a window take."""
        return sum(math.log2(n) for sizes in self.slots.values() for n in sizes)


GaitVQConfig.register_for_auto_class()

__all__ = ["GaitVQConfig"]
