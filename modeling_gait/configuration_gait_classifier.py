"""Configuration of the gait classifiers. In: keyword arguments. Out: a validated `GaitClassifierConfig`."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .skeletons import SKELETONS

# The six classes of the gist data set (Jun et al. 2020), in the order of gait_classes.json; kept here so that an exported
# checkpoint carries no more code than it needs.
GIST_LABELS = ("normal", "antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg")


@strict
class GaitClassifierConfig(PreTrainedConfig):
    """Configuration of `GaitForSequenceClassification`.

    Args:
        architecture: "gru" and "lstm" (plain recurrent layers), "cnn" (a residual 1-D convolution over time) or "graph"
            (spatio-temporal graph convolution on the skeleton).
        skeleton: name in `modeling_gait.skeletons.SKELETONS`; the graph model takes its edges from it.
        num_joints: J; by default that of the skeleton.
        num_features: F, values per frame; by default 3 J. The graph model wants a multiple of J, joint by joint.
        hidden_size: width of the recurrent and convolution layers and of the embedding, a multiple of 4.
        num_layers: recurrent layers, or residual blocks after the first (cnn, graph).
        kernel_size: frames a convolution sees (cnn, graph), odd.
        dropout: probability, between recurrent layers or blocks and before the head.
        resample_frames: frames that `prepare_classifier_input` resamples a whole walk to; the model itself takes any length.
        fps, max_frames, both_sides, leg_range: what is known of the walks that the model learnt from, see `class_reading.py`:
            frames a second; frames of a walk that are resampled as one; whether they are affected on either side; lengths of
            legs [m]. None: unknown.
        id2label, label2id, num_labels: as everywhere in transformers; by default the six classes of gist.

    Raises:
        huggingface_hub.errors.StrictDataclassError: an unknown skeleton or architecture, or sizes that do not fit each other.
    """

    model_type = "gait_classifier"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["embedding"]

    architecture: Literal["gru", "lstm", "cnn", "graph"] = "gru"
    skeleton: str = "kinect_v2"
    num_joints: int | None = None
    num_features: int | None = None
    hidden_size: int = 128
    num_layers: int = 2
    kernel_size: int = 5
    dropout: float | int = 0.0
    resample_frames: int = 64
    fps: float | int | None = None
    max_frames: int | None = None
    both_sides: bool = False
    leg_range: list[float] | None = None

    def __post_init__(self, **kwargs):
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = dict(enumerate(GIST_LABELS))
        if self.num_joints is None and self.skeleton in SKELETONS:
            self.num_joints = len(SKELETONS[self.skeleton])
        if self.num_features is None and self.num_joints is not None:
            self.num_features = 3 * self.num_joints
        super().__post_init__(**kwargs)
        if self.label2id is None:
            self.label2id = {label: i for i, label in self.id2label.items()}

    def validate_architecture(self):
        """Part of the `strict` validation."""
        if len(self.id2label) < 2:
            told = ", ".join(self.id2label.values())
            raise ValueError(f"a classifier needs two or more classes; its classes are: {told}")
        if self.skeleton not in SKELETONS:
            raise ValueError(f"unknown skeleton {self.skeleton!r}; expected one of {', '.join(SKELETONS)}")
        if self.architecture == "graph":
            if self.num_joints != len(SKELETONS[self.skeleton]):
                raise ValueError(
                    f"skeleton {self.skeleton!r} has {len(SKELETONS[self.skeleton])} joints, num_joints is {self.num_joints}"
                )
            if self.num_features % self.num_joints:
                raise ValueError(
                    f"num_features ({self.num_features}) must be a multiple of num_joints ({self.num_joints}) for a graph"
                )
        if self.hidden_size < 4 or self.hidden_size % 4:
            raise ValueError(f"hidden_size must be a positive multiple of 4, got {self.hidden_size}")
        if self.num_layers < 1 or self.resample_frames < 1:
            raise ValueError(f"num_layers and resample_frames must be positive, got {self.num_layers}, {self.resample_frames}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive or None, got {self.fps}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames must be positive or None, got {self.max_frames}")
        if self.leg_range is not None and (len(self.leg_range) != 2 or not 0 < self.leg_range[0] <= self.leg_range[1]):
            raise ValueError(f"leg_range: expected two lengths, the shorter first, or None, got {self.leg_range}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and positive, got {self.kernel_size}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


GaitClassifierConfig.register_for_auto_class()

__all__ = ["GIST_LABELS", "GaitClassifierConfig"]
