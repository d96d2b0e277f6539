"""Configuration of the dual encoder of walks and words. In: keyword arguments. Out: a validated `GaitDualEncoderConfig`."""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .skeletons import SKELETONS
from .walk_description import QUANTITIES

LOSSES = ("mse", "triplet", "clip", "siglip", "numbers")


@strict
class GaitEncoderConfig(PreTrainedConfig):
    """Configuration of the motion encoder: a transformer over frames with a learned summary token.

    Args:
        layout: what a frame holds: "imu" (any sensor channels), or the name of a skeleton in `SKELETONS`, whose frames are the
            features of `GaitFeatureExtractor`, 3 numbers a joint.
        num_channels: C, numbers a frame; by default 3 for each joint of the skeleton.
        fps: frames a second.
        num_frames: frames of a training window; the encoder itself takes any number.
        frames_per_token: neighbouring frames that make one token; 1 as in GaitFormer, more is faster.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: of the transformer.
        dropout: probability, in the residual branches.

    Raises:
        huggingface_hub.errors.StrictDataclassError: an unknown layout, or sizes that do not fit each other.
    """

    model_type = "gait_encoder"
    base_config_key = "gait_config"

    layout: str = "kinect_v2"
    num_channels: int | None = None
    fps: float | int = 30.0
    num_frames: int = 128
    frames_per_token: int = 8
    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 384
    dropout: float | int = 0.1

    def __post_init__(self, **kwargs):
        if self.num_channels is None and self.layout in SKELETONS:
            self.num_channels = 3 * len(SKELETONS[self.layout])
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Part of the `strict` validation."""
        if self.layout != "imu" and self.layout not in SKELETONS:
            raise ValueError(f"unknown layout {self.layout!r}; expected imu or a skeleton: {', '.join(SKELETONS)}")
        if self.layout in SKELETONS and self.num_channels != 3 * len(SKELETONS[self.layout]):
            raise ValueError(
                f"skeleton {self.layout!r} has {3 * len(SKELETONS[self.layout])} channels, not {self.num_channels}"
            )
        sizes = ("num_channels", "num_frames", "frames_per_token", "hidden_size", "num_hidden_layers", "intermediate_size")
        for name in sizes:
            if (getattr(self, name) or 0) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.num_attention_heads < 1 or self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of twice num_attention_heads ({self.num_attention_heads})"
            )
        if not self.fps > 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"fps must be positive and dropout in [0, 1), got {self.fps}, {self.dropout}")


@strict
class SentenceEncoderConfig(PreTrainedConfig):
    """Which frozen sentence encoder a `GaitDualEncoderModel` reads text with; its weights are not part of the model's.

    Args:
        name: Hub name or folder of a sentence-transformers or plain transformers encoder, e.g. `WhereIsAI/UAE-Large-V1`.
        revision: of the Hub repository.
        hidden_size: width of its embeddings, set when it is loaded.
    """

    model_type = "gait_sentence_encoder"
    base_config_key = "text_config"

    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str | None = None
    hidden_size: int = 384


@strict
class GaitDualEncoderConfig(PreTrainedConfig):
    """Configuration of `GaitDualEncoderModel`.

    Args:
        gait_config: `GaitEncoderConfig` or its dict, the motion encoder.
        text_config: `SentenceEncoderConfig` or its dict, the frozen sentence encoder.
        projection_size: width of the shared space.
        text_projection_layers: 0: the shared space is the sentence encoder's own (width `text_config.hidden_size`), as in
            Walking to LLM-Generated Descriptions (arXiv 2404.12192); 1: a linear map of it; 2: a small network, which can also
            bring out the numbers in a caption.
        losses: name -> weight, of "mse", "triplet", "clip", "siglip", and "numbers": what the text states, read off the walk.
        numbers: quantities (of `QUANTITIES`) that are read as values of a text, in which # then stands for them.
        known_classes: classes trained on whose likeness a model carries (`KnownClasses`); 0: none.
        known_walks: vectors of training walks that a model carries, by which `fair_scores` judges; 0: none.
        hard_negatives: texts of a walk's own in which one number is changed, for each pair in training.
        triplet_margin: of the triplet loss, in cosine similarity.
        logit_scale_init: factor of the cosine similarities at the start of training; it is learned.
        logit_bias_init: added to them, learned with "siglip" only.

    Raises:
        huggingface_hub.errors.StrictDataclassError: an unknown loss, or sizes that do not fit each other.
    """

    model_type = "gait_dual_encoder"
    sub_configs: ClassVar[dict] = {"gait_config": GaitEncoderConfig, "text_config": SentenceEncoderConfig}

    gait_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_size: int = 128
    text_projection_layers: int = 2
    losses: dict[str, float | int] | None = None
    numbers: list[str] | None = None
    hard_negatives: int = 0
    known_classes: int = 0
    known_walks: int = 0
    triplet_margin: float | int = 0.2
    logit_scale_init: float | int = 14.0
    logit_bias_init: float | int = -10.0

    def __post_init__(self, **kwargs):
        for name, kind in self.sub_configs.items():
            value = getattr(self, name)
            if value is None or isinstance(value, dict):
                setattr(self, name, kind(**{k: v for k, v in (value or {}).items() if k != "model_type"}))
        if self.losses is None:
            self.losses = {"clip": 1.0}
        self.numbers = list(self.numbers or ())
        if self.text_projection_layers == 0:
            self.projection_size = self.text_config.hidden_size
        super().__post_init__(**kwargs)

    def validate_architecture(self):
        """Part of the `strict` validation."""
        if not self.losses or set(self.losses) - set(LOSSES) or min(self.losses.values()) <= 0:
            raise ValueError(f"losses: expected weights above 0 for some of {', '.join(LOSSES)}, got {self.losses}")
        if self.projection_size < 1 or self.text_projection_layers not in (0, 1, 2):
            raise ValueError(
                "projection_size must be positive and text_projection_layers 0, 1 or 2, "
                f"got {self.projection_size}, {self.text_projection_layers}"
            )
        if set(self.numbers) - set(QUANTITIES) or (self.numbers and not self.text_projection_layers):
            raise ValueError(f"numbers: expected some of {', '.join(QUANTITIES)}, with a text projection, got {self.numbers}")
        if not self.numbers and ("numbers" in self.losses or self.hard_negatives):
            raise ValueError("the loss numbers and hard negatives need numbers")
        if not self.logit_scale_init > 0 or not 0 <= self.triplet_margin <= 2:
            raise ValueError(
                "logit_scale_init must be positive and triplet_margin in [0, 2], "
                f"got {self.logit_scale_init}, {self.triplet_margin}"
            )


GaitDualEncoderConfig.register_for_auto_class()

__all__ = ["GaitEncoderConfig", "GaitDualEncoderConfig", "LOSSES", "SentenceEncoderConfig"]
