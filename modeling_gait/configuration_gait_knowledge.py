"""Configuration of the knowledge-augmented gait classifier. In: keyword arguments. Out: a validated `GaitKnowledgeConfig`."""

from typing import ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, ResNetConfig

from .configuration_gait_classifier import GIST_LABELS, GaitClassifierConfig
from .configuration_gait_dual_encoder import SentenceEncoderConfig
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS
from .skeletons import SKELETONS

BRANCHES = ("skeleton", "video")
# A vision encoder that is trained from nothing: small, for videos of single persons.
# Convolutions learn from a thousand videos what a vision transformer of this size does not.
SMALL_VISION = {
    "image_size": 64,
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 64],
    "depths": [1, 1, 1],
    "layer_type": "basic",
}


@strict
class GaitKnowledgeConfig(PreTrainedConfig):
    """Configuration of `GaitKnowledgeForSequenceClassification`.

    Args:
        branches: "skeleton", "video" or both; by default ["skeleton"].
        skeleton_config: `GaitClassifierConfig` or its dict, the network that reads skeletons; by default the baseline GRU on
            the features of `prepare_knowledge_input` (3 J + 1 a frame).
        video_config: configuration of any transformers vision encoder, or its dict with `model_type`, or the Hub name (or
            folder) of a model that has one; by default a small ResNet.
        text_config: `SentenceEncoderConfig` or its dict, the frozen text encoder.
        projection_size: P, width of the space of walks, classes and numbers.
        timing_size: width of the layer that reads the timing of a walk (`GaitTiming`).
        num_frames: frames of a video that are read, spread evenly.
        temporal_layers, num_global_tokens: of the transformer over frames; its global tokens are learned prompts.
        image_mean, image_std: of the pixels in 0..1, by channel.
        use_knowledge: classes are vectors of prompts with medical knowledge; else learned vectors.
        class_descriptions: {label: sentences}, the medical descriptions of each class.
        class_sources: {label: citations}, of each of these sentences.
        class_keywords: {label: words}, its keywords.
        num_context_tokens: learned vectors at the head of each prompt.
        use_numeric: gait parameters are learned too, as numerical text and as numbers.
        numeric_weight: of the alignment of walks and numerical text; 0.05 in arXiv 2403.13756.
        numeric_batch_size: walks of a batch that are aligned, at most.
        parameter_weight: of the numbers' regression.
        parameter_mean, parameter_std: of G gait parameters in the training walks, in their units: the 29 of `GAIT_PARAMETERS`,
            by default followed by the 17 of `KINEMATIC_PARAMETERS`.
        parameter_groups: indices of the parameters that share a sentence (`numeric_text.group_parameters`).
        loss, focal_gamma: "cross_entropy", or "focal" (Lin et al. 2017, arXiv 1708.02002).
        label_smoothing: of the cross-entropy.
        logit_scale: factor of the cosine similarities, learned from there on if `learn_temperature`.
        id2label, label2id, num_labels: as everywhere in transformers; by default the six classes of gist.

    Raises:
        huggingface_hub.errors.StrictDataclassError: values that do not fit each other, knowledge of an unknown class or none of
            a known one.
    """

    model_type = "gait_knowledge"
    sub_configs: ClassVar[dict] = {
        "skeleton_config": GaitClassifierConfig,
        "video_config": AutoConfig,
        "text_config": SentenceEncoderConfig,
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["embeds", "class_embeds", "parameters"]

    branches: list[str] | None = None
    skeleton_config: dict | PreTrainedConfig | None = None
    video_config: dict | PreTrainedConfig | str | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_size: int = 128
    timing_size: int = 128
    num_frames: int = 16
    temporal_layers: int = 2
    num_global_tokens: int = 4
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    use_knowledge: bool = False
    class_descriptions: dict[str, list[str]] | None = None
    class_sources: dict[str, list[str]] | None = None
    class_keywords: dict[str, list[str]] | None = None
    num_context_tokens: int = 4
    use_numeric: bool = False
    numeric_weight: float | int = 0.05
    numeric_batch_size: int = 16
    parameter_weight: float | int = 0.1
    parameter_mean: list[float] | None = None
    parameter_std: list[float] | None = None
    parameter_groups: list[list[int]] | None = None
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: float | int = 2.0
    label_smoothing: float | int = 0.0
    logit_scale: float | int = 10.0
    learn_temperature: bool = True

    def __post_init__(self, **kwargs):
        if self.id2label is None and kwargs.get("num_labels") is None:
            self.id2label = dict(enumerate(GIST_LABELS))
        self.branches = ["skeleton"] if self.branches is None else self.branches
        if "skeleton" not in self.branches:
            self.skeleton_config = None
        elif not isinstance(self.skeleton_config, PreTrainedConfig):
            self.skeleton_config = GaitClassifierConfig(**{"num_features": 76} | _fields(self.skeleton_config))
        self.video_config = vision_config(self.video_config) if "video" in self.branches else None
        if not isinstance(self.text_config, PreTrainedConfig):
            self.text_config = SentenceEncoderConfig(**_fields(self.text_config))
        self.image_mean = self.image_mean or [0.481, 0.458, 0.408]  # CLIP's
        self.image_std = self.image_std or [0.269, 0.261, 0.276]
        count = range(len(GAIT_PARAMETERS))
        self.parameter_mean = self.parameter_mean or [0.0 for _ in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)]
        self.parameter_std = self.parameter_std or [1.0 for _ in self.parameter_mean]
        self.parameter_groups = self.parameter_groups or [list(count[i : i + 4]) for i in count[::4]]
        super().__post_init__(**kwargs)
        self.label2id = {label: i for i, label in self.id2label.items()}

    def validate_architecture(self):
        """Part of the `strict` validation."""
        if not self.branches or set(self.branches) - set(BRANCHES) or len(set(self.branches)) < len(self.branches):
            raise ValueError(f"branches: expected some of {', '.join(BRANCHES)}, got {self.branches}")
        for name in (
            "projection_size",
            "timing_size",
            "num_frames",
            "temporal_layers",
            "num_global_tokens",
            "num_context_tokens",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if min(self.numeric_weight, self.parameter_weight, self.focal_gamma) < 0 or not 0 <= self.label_smoothing < 1:
            raise ValueError("numeric_weight, parameter_weight and focal_gamma must not be negative, label_smoothing in [0, 1)")
        if not self.logit_scale > 0:
            raise ValueError(f"logit_scale must be positive, got {self.logit_scale}")
        if len(self.image_mean) != 3 or len(self.image_std) != 3 or min(self.image_std) <= 0:
            raise ValueError(f"image_mean, image_std: expected three numbers each, got {self.image_mean}, {self.image_std}")
        if self.use_numeric and self.skeleton_config is not None:
            wanted = 3 * len(SKELETONS[self.skeleton_config.skeleton]) + 1
            if self.skeleton_config.num_features != wanted:
                name, count = self.skeleton_config.skeleton, self.skeleton_config.num_features
                raise ValueError(f"skeleton_config: a {name} walk has {wanted} features, num_features is {count}")
        self._validate_knowledge()
        self._validate_parameters()

    def _validate_knowledge(self):
        labels = set(self.id2label.values())
        if len(labels) < 2 or len(labels) < len(self.id2label):
            told = ", ".join(self.id2label.values())
            raise ValueError(f"a classifier needs two or more classes, each once; its classes are: {told}")
        for name in ("class_descriptions", "class_sources", "class_keywords"):
            unknown = set(getattr(self, name) or {}) - labels
            if unknown:
                raise ValueError(f"{name}: unknown label {', '.join(sorted(unknown))}; labels: {', '.join(sorted(labels))}")
        for label, sources in (self.class_sources or {}).items():
            if len(sources) != len((self.class_descriptions or {}).get(label, ())):
                raise ValueError(f"class_sources: expected a citation for each sentence of {label}, got {len(sources)}")
        if self.use_knowledge:
            missing = [label for label in sorted(labels) if not (self.class_descriptions or {}).get(label)]
            if missing:
                raise ValueError(f"use_knowledge: class_descriptions has no sentence for {', '.join(missing)}")

    def _validate_parameters(self):
        count = len(GAIT_PARAMETERS)
        counts = (count, count + len(KINEMATIC_PARAMETERS))
        if len(self.parameter_mean) not in counts or len(self.parameter_std) != len(self.parameter_mean):
            raise ValueError(f"parameter_mean, parameter_std: expected {' or '.join(map(str, counts))} numbers each")
        if min(self.parameter_std) <= 0:
            raise ValueError("parameter_std: expected numbers above 0")
        if not all(group and set(group) <= set(range(count)) for group in self.parameter_groups):
            raise ValueError(f"parameter_groups: expected lists of indices below {count}, got {self.parameter_groups}")


def _fields(value: dict | None) -> dict:
    return {k: v for k, v in (value or {}).items() if k != "model_type"}


def vision_config(value: dict | PreTrainedConfig | str | None) -> PreTrainedConfig:
    """The configuration of a vision encoder, from itself, its dict, or the name of a model that is or has one."""
    if value is None:
        return ResNetConfig(**SMALL_VISION)
    if isinstance(value, dict):
        if "model_type" not in value:
            raise ValueError("video_config: a dict needs model_type, such as clip_vision_model or vit")
        return AutoConfig.for_model(**value)
    config = AutoConfig.from_pretrained(value) if isinstance(value, str) else value
    config = getattr(config, "vision_config", config)
    config._name_or_path = ""  # its weights are the model's; a folder of this machine is not to be published
    return config


GaitKnowledgeConfig.register_for_auto_class()

__all__ = ["BRANCHES", "GaitKnowledgeConfig", "vision_config"]
