"""Pipeline `zero-shot-gait-classification`: which of the given descriptions fits a walk best?

In: a walk (a skeleton file; joints (T, J, 3) [m] with `fps` and `skeleton`; sensor samples (T, C) with `fps` where the model
reads an IMU) and candidate labels. Out: dictionaries, see `ZeroShotGaitClassificationPipeline`. The model is a
`GaitDualEncoderModel`.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import CommitInfo
from tqdm import tqdm
from transformers import AutoModel, Pipeline

from .configuration_gait_dual_encoder import GaitDualEncoderConfig
from .feature_extraction_gait import GaitFeatureExtractor
from .modeling_gait_dual_encoder import GaitDualEncoderModel
from .pipeline_saving import know_pipeline, save_pipeline, walks_a_pass
from .recording import each_thing, is_one, not_none
from .sentence_encoder import push_encoder
from .skeletons import check_fps

TASK = "zero-shot-gait-classification"
NONE = "none of these"


def open_extractor(model: GaitDualEncoderModel, extractor: GaitFeatureExtractor | None = None) -> GaitFeatureExtractor | None:
    """The feature extractor saved beside a model of skeletons; None for a model of sensors. Raises ValueError for a model of
    another type or skeleton."""
    if model.config.model_type != GaitDualEncoderConfig.model_type:
        raise ValueError(f"expected a {GaitDualEncoderConfig.model_type} model, got one of type {model.config.model_type!r}")
    if model.config.gait_config.layout == "imu":
        return None
    extractor = extractor or GaitFeatureExtractor.from_pretrained(model.name_or_path)
    if extractor.skeleton != model.config.gait_config.layout:
        raise ValueError(
            f"the model reads skeleton {model.config.gait_config.layout}, the extractor makes {extractor.skeleton}"
        )
    return extractor


def sensor_window(config, samples: np.ndarray, fps: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples (T, C) of sensors -> `input_values` (N, C) and `attention_mask` (N,) of their middle window.

    Raises ValueError for another number of channels, or a rate that is not positive.
    """
    values = np.asarray(samples, np.float32)
    if values.ndim != 2 or values.shape[1] != config.num_channels or not len(values):
        raise ValueError(f"expected sensor samples (T, {config.num_channels}), got {values.shape}")
    if fps is not None:
        check_fps(fps)
        if abs(fps - config.fps) > 0.01 * config.fps:
            at = np.arange(0, len(values) - 1 + 1e-6, fps / config.fps)
            values = np.stack([np.interp(at, np.arange(len(values)), c) for c in values.T], axis=1).astype(np.float32)
    begin = max(0, (len(values) - config.num_frames) // 2)
    values = torch.from_numpy(values[begin : begin + config.num_frames])
    short = config.num_frames - len(values)
    mask = torch.cat((torch.ones(len(values)), torch.zeros(short)))
    return torch.cat((values, values.new_zeros(short, config.num_channels))), mask


def model_window(
    model: GaitDualEncoderModel,
    extractor: GaitFeatureExtractor | None,
    walk,
    fps: float | None = None,
    skeleton: str | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One walk, as of `read_recording`, or sensor samples (T, C) -> `input_values` (N, C) and `attention_mask` (N,) of its
    middle window."""
    if extractor is None:
        return sensor_window(model.config.gait_config, walk, fps)
    window, mask = extractor.window(extractor.prepare(walk, fps, skeleton))
    return extractor.to_features(torch.from_numpy(window)[None])[0], torch.from_numpy(mask)


class ZeroShotGaitClassificationPipeline(Pipeline):
    """Walks to scores of descriptions that the model need not have been trained on.

        classify = pipeline("zero-shot-gait-classification", model=FOLDER)
        classify("walk.csv", candidate_labels=["normal gait", "steppage gait"])
        # [{"label": "steppage gait", "score": 0.9}, {"label": "normal gait", "score": 0.1}]
        classify("walk.csv", candidate_labels={"pathology": ["normal gait", "limping"], "side": ["left leg", "right leg"]})
        # {"pathology": [...], "side": [...]}: the scores of each attribute sum to 1

    `fair=True`: descriptions that were never trained on compete with those that were (`GaitDualEncoderModel.fair_scores`).
    `none_of_these=True`: "none of these" is among the answers; likely where the walk is of none of the classes that the model
    was trained on (`KnownClasses`), or less like any of the descriptions than 95 % of the training walks are like their own. A
    model without known classes goes by its descriptions alone, with a warning: new people are less like their texts.

    `hypothesis_template`: what is said of a walk, with {} for the label; "{}" by default. A label may be a list of descriptions
    in a mapping, `{"normal": ["normal gait", "a healthy walk"]}` under `descriptions`: their vectors are averaged.
    """

    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    _load_processor = False

    def __init__(self, *args, extractor: GaitFeatureExtractor | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.extractor = open_extractor(self.model, extractor)

    def _sanitize_parameters(self, fps=None, skeleton=None):
        return not_none(fps=fps, skeleton=skeleton), {}, {}

    def __call__(
        self,
        walks,
        candidate_labels: Sequence[str] | Mapping[str, Sequence[str]],
        hypothesis_template: str = "{}",
        descriptions: Mapping[str, Sequence[str]] | None = None,
        fps: float | None = None,
        skeleton: str | None = None,
        fair: bool = False,
        none_of_these: bool = False,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> list | dict:
        """One walk -> one result, a list -> a list of results; one by one, whatever `batch_size` and `num_workers` say.

        Raises ValueError where labels are missing, empty, given twice or too long, or the template has no {}.
        """
        walks_a_pass(self, batch_size, num_workers)
        groups = dict(candidate_labels) if isinstance(candidate_labels, Mapping) else {None: candidate_labels}
        if not groups:
            raise ValueError("candidate_labels: expected descriptions, or attributes with descriptions, got none")
        groups = {name: _checked(labels, none_of_these) for name, labels in groups.items()}
        texts = {name: self._vectors(labels, hypothesis_template, descriptions or {}) for name, labels in groups.items()}
        if none_of_these and self.model.known_classes is None:
            warnings.warn("this model does not know what its classes look like: its doubt is not calibrated", stacklevel=2)
        options = self._preprocess_params | self._sanitize_parameters(fps, skeleton)[0]
        single = is_one(walks)
        results = []
        for walk in tqdm([walks] if single else each_thing(walks), desc="walks", disable=single):
            found = self._forward(self.preprocess(walk, **options))
            asked = found | {"fair": fair, "none": none_of_these}
            result = {name: self.postprocess(asked | {"labels": groups[name], "text": t}) for name, t in texts.items()}
            results.append(result.get(None, result))
        return results[0] if single else results

    def _vectors(self, labels: Sequence[str], template: str, descriptions: Mapping) -> torch.Tensor:
        """Unit vectors (K, P) of the labels."""
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(f"hypothesis_template: expected {{}} where the label goes, got {template!r}")
        told = [list(descriptions.get(label, [label])) for label in labels]
        if not all(told):
            raise ValueError(f"descriptions: none for {labels[told.index([])]!r}")
        return label_vectors(self.model, [[template.replace("{}", d) for d in texts] for texts in told])

    def preprocess(self, walk, fps: float | None = None, skeleton: str | None = None) -> dict:
        if self.extractor is not None:
            walk = self.extractor.read(walk, fps, skeleton)
            for doubt in walk.doubts:
                warnings.warn(f"{walk.name}: {doubt}", stacklevel=2)
        values, mask = model_window(self.model, self.extractor, walk, fps, skeleton)
        return {"input_values": values[None].to(self.model.device), "attention_mask": mask[None].to(self.model.device)}

    @torch.no_grad()
    def _forward(self, inputs: dict) -> dict:
        known, gait = self.model.known_classes, self.model.get_gait_features(**inputs)[0]
        return {"gait": gait, "doubt": gait.new_zeros(()) if known is None else known(**inputs)[0]}

    def postprocess(self, outputs: dict) -> list[dict]:
        scale, gait, text = self.model.logit_scale.exp().clamp(max=100), outputs["gait"], outputs["text"]
        cosines = text @ gait
        logits = self.model.fair_scores(gait[None], text)[0] if outputs.get("fair") else cosines
        scores, labels = (logits * scale).softmax(-1), list(outputs["labels"])
        if outputs.get("none"):
            if not len(self.model.known_walks):
                raise ValueError("this model carries no known walks, so it cannot tell that a walk is none of these")
            none = none_score(self.model, cosines.max(), outputs["doubt"])
            scores, labels = torch.cat((scores * (1 - none), none[None])), [*labels, NONE]
        ranked = sorted(zip(scores.tolist(), labels), reverse=True)
        return [{"label": label, "score": score} for score, label in ranked]

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """The model, the sentence encoder where it came with it, its feature extractor, and this pipeline's code; see
        `save_pipeline`."""
        save_pipeline(self, save_directory, ZeroShotGaitConfig, **kwargs)
        if self.extractor is not None:
            self.extractor.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **kwargs) -> CommitInfo:
        """As `GaitDualEncoderModel.push_to_hub`."""
        with self.model.saved_without_encoder():
            pushed = super().push_to_hub(repo_id, **kwargs)
        return push_encoder(self.model, pushed, kwargs.get("token"), kwargs.get("revision"))


class ZeroShotGaitConfig(GaitDualEncoderConfig):
    """The configuration in a folder saved by the pipeline; see `save_pipeline`."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> GaitDualEncoderConfig | tuple[GaitDualEncoderConfig, dict]:
        """As `GaitDualEncoderConfig.from_pretrained`."""
        return know_pipeline(
            GaitDualEncoderConfig.from_pretrained(*args, **kwargs), TASK, ZeroShotGaitClassificationPipeline, AutoModel
        )


def _checked(labels: Sequence[str], none_of_these: bool) -> list[str]:
    """Labels as a list. Raises ValueError for no text, none, and one that is there twice."""
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise ValueError(f"candidate_labels: expected a list of one or more descriptions, got {labels!r}")
    labels = list(labels)
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise ValueError(f"candidate_labels: expected a list of one or more descriptions, got {labels}")
    plain = [" ".join(label.lower().split()) for label in [*labels, *[NONE] * none_of_these]]
    if len(set(plain)) < len(plain):
        raise ValueError(f"candidate_labels: each once{f', and {NONE!r} is among them' * none_of_these}, got {labels}")
    return labels


def none_score(model: GaitDualEncoderModel, cosine: torch.Tensor, doubt: torch.Tensor) -> torch.Tensor:
    """How likely a walk is of none of some descriptions, from its cosine with the nearest and the doubt of `KnownClasses`: it
    is when one of the two says so."""
    fits = (model.logit_scale.exp().clamp(max=100) * (cosine - model.known_cosine)).sigmoid()
    return 1 - fits * (1 - doubt)


@torch.no_grad()
def label_vectors(model: GaitDualEncoderModel, descriptions: Sequence[Sequence[str]]) -> torch.Tensor:
    """A unit vector (K, P) for each label, the mean of those of its descriptions."""
    found = [model.get_text_features(list(texts)).mean(0) for texts in descriptions]
    return torch.nn.functional.normalize(torch.stack(found), dim=-1)


__all__ = [
    "ZeroShotGaitClassificationPipeline",
    "ZeroShotGaitConfig",
    "label_vectors",
    "model_window",
    "none_score",
    "open_extractor",
]
