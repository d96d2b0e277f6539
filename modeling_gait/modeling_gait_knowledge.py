"""Gait classifier with medical knowledge and numbers (after Enhancing Gait Video Analysis by Knowledge Augmentation in a Vision
Language Model, arXiv 2403.13756).

In: skeletons `input_values` (B, T, 3 J + 1) of `prepare_knowledge_input`, videos `pixel_values` (B, T, 3, H, W), or both.
Out: logits (B, K) and unit vectors (B, P) of the walks, unit vectors (K, P) of the classes, gait parameters (B, 29) in units.

    model = AutoModelForSequenceClassification.from_pretrained(FOLDER)
    output = model(input_values=torch.from_numpy(prepare_knowledge_input([joints], fps=30)))
    output.logits.softmax(-1), output.parameters  # class probabilities; speed, cadence, ... in the order of GAIT_PARAMETERS
    model.class_parameters()                      # what the classes' vectors say: (K, 29)

Classes are vectors of prompts: learned context, projected embeddings of their medical descriptions and keywords, read by a
frozen text encoder. Gait parameters are numerical text: sentences with value-weighted learned [NUM] embeddings, read by the
same encoder. It is no part of the weights and is needed for training only: a checkpoint keeps the classes' vectors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .checked_model import CheckedModel
from .configuration_gait_knowledge import GaitKnowledgeConfig
from .gait_parameters import GAIT_PARAMETERS
from .modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from .modeling_gait_dual_encoder import GaitDualEncoderModel, clip_loss
from .modeling_gait_knowledge_branches import GaitTiming, VideoBranch, change_walks
from .numeric_text import NUM_TOKEN, numeric_sentence
from .sentence_encoder import SentenceEncoder
from .skeletons import SKELETONS


@dataclass
class GaitKnowledgeOutput(ModelOutput):
    """Output of `GaitKnowledgeForSequenceClassification`.

    Attributes:
        loss: scalar; only where labels or (with `use_numeric`) gait parameters were given.
        logits: (B, K), scaled cosines of walks and classes; outside training divided by the calibration temperature.
        embeds: (B, P) and class_embeds: (K, P), unit vectors of the walks and the classes.
        parameters: (B, 29), gait parameters in units, in the order of `GAIT_PARAMETERS`; None without `use_numeric`. Of a
            skeleton, the mean of what its vector and its rhythm (`GaitTiming`) say; of a video, what its vector says.
        kinematics: (B, 17), those of `KINEMATIC_PARAMETERS`; None for a model that has not learned them.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    embeds: torch.Tensor | None = None
    class_embeds: torch.Tensor | None = None
    parameters: torch.Tensor | None = None
    kinematics: torch.Tensor | None = None


def prepare_knowledge_input(
    joints: Sequence[np.ndarray], fps: float | Sequence[float], frames: int = 64, root: int = 0
) -> np.ndarray:
    """Whole walks as input of the skeleton branch.

    As `prepare_classifier_input`, which is blind to speed and time; so the columns of the root (0 there) hold the root's
    velocity [m/s], and one more column the time between two frames of the result [s].

    Args:
        joints: N walks (T_n, J, 3) [m], finite; lengths may differ.
        fps: frames a second, of all or of each.
        frames, root: frames of the result, index of the root joint.

    Returns: float32 (N, frames, 3 J + 1). Raises ValueError as `prepare_classifier_input`, and where fps is not positive.
    """
    out = prepare_classifier_input(joints, frames, root)
    rates = np.broadcast_to(np.asarray(fps, np.float64), len(joints))
    if not (rates > 0).all():
        raise ValueError(f"fps must be positive, got {rates.min()}")
    step = np.empty((len(joints), frames, 1), np.float32)
    for n, (walk, rate) in enumerate(zip(joints, rates)):
        path = np.asarray(walk, np.float64)[:, root]
        velocity = np.gradient(path, 1 / rate, axis=0) if len(path) > 1 else np.zeros_like(path)
        at = np.linspace(0, len(path) - 1, frames)
        for axis in range(3):
            out[n, :, 3 * root + axis] = np.interp(at, np.arange(len(path)), velocity[:, axis])
        step[n] = (len(path) - 1) / (max(frames - 1, 1) * rate)
    return np.concatenate((out, step), axis=-1)


class GaitKnowledgeForSequenceClassification(CheckedModel):
    """Classifies walks by their cosine with the vectors of the classes. See the head of this file."""

    config_class = GaitKnowledgeConfig
    base_model_prefix = "gait_knowledge"
    main_input_name = "input_values"
    accepts_loss_kwargs = False  # the loss is a mean over the batch

    def __init__(self, config: GaitKnowledgeConfig):
        super().__init__(config)
        width, text, count = config.projection_size, config.text_config.hidden_size, len(config.parameter_mean)
        if "skeleton" in config.branches:
            self.skeleton = GaitForSequenceClassification(config.skeleton_config)
            self.skeleton.head = nn.Linear(config.skeleton_config.hidden_size, width)  # its logits are the projection
        if "video" in config.branches:
            self.video = VideoBranch(config)
        if config.use_knowledge:
            self.context = nn.Parameter(torch.zeros(config.num_context_tokens, text))
            self.description_projection = nn.Linear(text, text)
            self.register_buffer("class_features", torch.zeros(config.num_labels, width))  # zero: not known yet
        else:
            self.class_vectors = nn.Parameter(torch.zeros(config.num_labels, width))
        if config.use_numeric:
            self.num_embedding, self.num_bias = nn.Parameter(torch.zeros(text)), nn.Parameter(torch.zeros(text))
            self.parameter_head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, count))
            if "skeleton" in config.branches:
                self.timing = GaitTiming(config.skeleton_config.num_features, count, width=config.timing_size)
            self.register_buffer("parameter_mean", torch.tensor(config.parameter_mean, dtype=torch.float32))
            self.register_buffer("parameter_std", torch.tensor(config.parameter_std, dtype=torch.float32))
        if config.use_knowledge or config.use_numeric:
            self.text_projection = nn.Linear(text, width)
            self.register_buffer("text_fingerprint", torch.zeros(text))
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale)), requires_grad=config.learn_temperature)
        self.register_buffer("calibration_temperature", torch.tensor(1.0))
        self._sentence_encoder: SentenceEncoder | None = None
        self._prompt_parts: tuple[torch.Tensor, ...] | None = None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, VideoBranch):
            for name in ("summary", "global_tokens", "local_tokens", "positions"):
                init.normal_(getattr(module, name), std=0.5)
            init.copy_(module.image_mean, torch.tensor(self.config.image_mean))
            init.copy_(module.image_std, torch.tensor(self.config.image_std))
        elif module is self:
            self._init_own_weights()

    def _init_own_weights(self) -> None:
        config = self.config
        scale = config.text_config.hidden_size**-0.5
        if config.use_knowledge:
            init.normal_(self.context, std=scale)
            init.zeros_(self.class_features)
        else:
            init.normal_(self.class_vectors)
        if config.use_numeric:
            init.normal_(self.num_embedding, std=scale)
            init.normal_(self.num_bias, std=scale)
            init.copy_(self.parameter_mean, torch.tensor(config.parameter_mean, dtype=torch.float32))
            init.copy_(self.parameter_std, torch.tensor(config.parameter_std, dtype=torch.float32))
        if config.use_knowledge or config.use_numeric:
            init.zeros_(self.text_fingerprint)
        init.constant_(self.log_scale, math.log(config.logit_scale))
        init.ones_(self.calibration_temperature)

    # The frozen encoder is handled as in the dual encoder: loaded when first needed, compared with the fingerprint.
    sentence_encoder = GaitDualEncoderModel.sentence_encoder
    set_sentence_encoder = GaitDualEncoderModel.set_sentence_encoder

    def set_normalization(self, mean: np.ndarray | torch.Tensor, std: np.ndarray | torch.Tensor) -> None:
        """Mean and standard deviation (F,) of the skeleton branch's input, from the training set only; raises ValueError."""
        self.skeleton.set_normalization(mean, std)

    def set_temperature(self, temperature: float) -> None:
        """Divide the logits by this from now on, outside training. Raises ValueError where it is not positive."""
        if not (temperature > 0 and math.isfinite(temperature)):
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.calibration_temperature.fill_(temperature)

    def load_video_encoder(self, name: str) -> None:
        """Take the vision encoder's weights from this Hub name or folder (of the model that `video_config` describes)."""
        self.video.encoder = type(self.video.encoder).from_pretrained(name, dtype=torch.float32)

    # --- text ----------------------------------------------------------------------------------------------------------------

    def _read_embeds(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token embeddings (N, S, H) -> (N, P), read by the frozen encoder; gradients reach the embeddings.

        What is common to the N texts tells nothing apart, so their mean is taken off.
        """
        encoder = self.sentence_encoder
        states = encoder.model.to(embeds.device)(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        pooled = encoder.pool(states.float(), mask)
        return F.normalize(
            self.text_projection((pooled - pooled.mean(0)).to(self.text_projection.weight.dtype)).float(), dim=-1
        )

    def _prompts(self) -> tuple[torch.Tensor, ...]:
        """Of each class: embeddings of the descriptions (K, D, H), keyword ids (K, W), and their masks."""
        if self._prompt_parts is None:
            encoder, config = self.sentence_encoder, self.config
            labels = [config.id2label[i] for i in range(config.num_labels)]
            sentences = [encoder.encode(config.class_descriptions[label]) for label in labels]
            words = [", ".join((config.class_keywords or {}).get(label, [])) for label in labels]
            ids = [torch.tensor(encoder.tokenizer(w, add_special_tokens=False)["input_ids"], dtype=torch.long) for w in words]
            pad = torch.nn.utils.rnn.pad_sequence
            parts = []
            for group in (sentences, ids):
                parts += [pad(group, batch_first=True), pad([torch.ones(len(g)) for g in group], batch_first=True)]
            self._prompt_parts = tuple(parts)
        return tuple(part.to(self.device) for part in self._prompt_parts)

    def get_class_embeds(self, update: bool = False) -> torch.Tensor:
        """Unit vectors (K, P) of the classes.

        With knowledge: as they were computed last, or (`update`, or never computed) anew by the text encoder, with gradients.
        """
        if not self.config.use_knowledge:
            return F.normalize(self.class_vectors.float(), dim=-1)
        if not update and self.class_features.any():
            return self.class_features
        sentences, sentence_mask, ids, id_mask = self._prompts()
        encoder, count = self.sentence_encoder, len(sentences)
        embed = encoder.model.to(self.device).get_input_embeddings()
        ends = embed(torch.tensor([encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id], device=self.device))
        first = torch.cat((ends[:1], self.context)).expand(count, -1, -1)
        last = ends[1:].expand(count, -1, -1)
        embeds = torch.cat((first, self.description_projection(sentences.to(self.context.dtype)), embed(ids), last), dim=1)
        mask = torch.cat((first.new_ones(first.shape[:2]), sentence_mask, id_mask, last.new_ones(last.shape[:2])), dim=1)
        features = self._read_embeds(embeds, mask)
        self.class_features.copy_(features.detach())
        return features

    def get_numeric_embeds(self, parameters: torch.Tensor, group: Sequence[int]) -> torch.Tensor:
        """Numerical text of some parameters: unit vectors (N, P), relative to the mean of the N.

        Args:
            parameters: (N, G) in units; those of the group must be measured.
            group: indices of the parameters that make up the sentence.
        """
        tokenizer = self.sentence_encoder.tokenizer
        parts = numeric_sentence(group).split(NUM_TOKEN)
        ids, slots = [tokenizer.cls_token_id], []
        for n, part in enumerate(parts):
            ids += tokenizer(part, add_special_tokens=False)["input_ids"]
            if n < len(group):
                slots.append(len(ids))
                ids.append(tokenizer.unk_token_id)
        ids = torch.tensor([*ids, tokenizer.sep_token_id], device=self.device)
        values = ((parameters - self.parameter_mean) / self.parameter_std)[:, list(group)]
        embeds = self.sentence_encoder.model.to(self.device).get_input_embeddings()(ids).repeat(len(values), 1, 1)
        embeds[:, slots] = values[..., None] * self.num_embedding + self.num_bias
        return self._read_embeds(embeds, embeds.new_ones(embeds.shape[:2]))

    # --- numbers -------------------------------------------------------------------------------------------------------------

    def decode_parameters(self, embeds: torch.Tensor) -> torch.Tensor:
        """Unit vectors (N, P) -> all parameters that were learned (N, G), in units. Raises ValueError without `use_numeric`."""
        return self._standardised(embeds) * self.parameter_std + self.parameter_mean

    def class_parameters(self) -> torch.Tensor:
        """Gait parameters (K, 29) in units that the classes' vectors stand for. Raises ValueError without `use_numeric`."""
        with torch.no_grad():
            return self.decode_parameters(self.get_class_embeds())[:, : len(GAIT_PARAMETERS)]

    def _standardised(self, embeds: torch.Tensor) -> torch.Tensor:
        if not self.config.use_numeric:
            raise ValueError("this model has learned no gait parameters; train it with use_numeric")
        return self.parameter_head((embeds * embeds.shape[-1] ** 0.5).to(self.parameter_head[0].weight.dtype)).float()

    def _timed(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Standardised parameters (B, G) that the rhythm of skeletons tells."""
        values = (input_values - self.skeleton.input_mean) / self.skeleton.input_std
        return self.timing(values, input_values[..., -1], attention_mask)

    # --- both ----------------------------------------------------------------------------------------------------------------

    def get_gait_embeds(self, input_values=None, pixel_values=None, attention_mask=None, video_mask=None) -> torch.Tensor:
        """Unit vectors (B, P) of walks; arguments and errors as `forward`."""
        given = {"skeleton": input_values, "video": pixel_values}
        names = {"skeleton": "input_values", "video": "pixel_values"}
        given = {k: v for k, v in given.items() if v is not None}
        if not given:
            raise ValueError(f"give {' or '.join(names[b] for b in self.config.branches)}")
        for branch in set(given) - set(self.config.branches):
            raise ValueError(f"{names[branch]}: this model has no {branch} branch; branches: {', '.join(self.config.branches)}")
        vectors = []
        if "skeleton" in given:
            if not torch.isfinite(input_values).all():
                raise ValueError("input_values hold values that are not finite; clean the walks first (modeling_gait.cleaning)")
            vectors.append(self.skeleton(input_values, attention_mask).logits)
        if "video" in given:
            vectors.append(self.video(pixel_values, video_mask))
        if len({len(v) for v in vectors}) > 1:
            raise ValueError(f"{len(vectors[0])} skeletons and {len(vectors[1])} videos: expected as many of both")
        return F.normalize(sum(F.normalize(v.float(), dim=-1) for v in vectors), dim=-1)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        video_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        gait_parameters: torch.Tensor | None = None,
        update_text: bool | None = None,
    ) -> GaitKnowledgeOutput:
        """Classify a batch of walks, by skeletons, videos or both.

        Args:
            input_values: (B, T, 3 J + 1), see `prepare_knowledge_input`; attention_mask (B, T): frames that count.
            pixel_values: (B, T, 3, H, W), videos of a person: uint8, or 0..1; video_mask (B, T): frames that count.
            labels: (B,) class indices, -100 where unknown.
            gait_parameters: (B, G) in units, nan where not measured; unused without `use_numeric`. G is 29, `GAIT_PARAMETERS`,
                or 46, with `KINEMATIC_PARAMETERS` after them, as the configuration has scales for.
            update_text: run the text encoder (costly): prompts anew, and alignment with numerical text; by default in training.

        Raises:
            ValueError: neither skeletons nor videos, or those of a branch that the model lacks; another shape; values that are
                not finite.
        """
        update = self.training if update_text is None else update_text
        input_values, gait_parameters = (None if v is None else v.float() for v in (input_values, gait_parameters))
        embeds = self.get_gait_embeds(input_values, pixel_values, attention_mask, video_mask)
        class_embeds = self.get_class_embeds(update)
        logits = self._cosines(embeds, class_embeds)
        if not self.training:
            logits = logits / self.calibration_temperature
        loss = None if labels is None else self.classification_loss(logits, labels)
        parameters = kinematics = None
        if self.config.use_numeric:
            standardised = self._standardised(embeds)
            seen = standardised if input_values is None else (standardised + self._timed(input_values, attention_mask)) / 2
            both = seen * self.parameter_std + self.parameter_mean
            parameters, kinematics = both[:, : len(GAIT_PARAMETERS)], both[:, len(GAIT_PARAMETERS) :]
            if gait_parameters is not None:
                if gait_parameters.shape != both.shape:
                    raise ValueError(f"gait_parameters: expected {tuple(both.shape)}, got {tuple(gait_parameters.shape)}")
                numbers = self.parameter_loss(standardised, gait_parameters, class_embeds, labels)
                if input_values is not None:
                    numbers = numbers + self.timing_loss(input_values, attention_mask, gait_parameters)
                loss = (0 if loss is None else loss) + self.config.parameter_weight * numbers
                if update:
                    loss = loss + self.config.numeric_weight * self.numeric_loss(embeds, gait_parameters)
            kinematics = kinematics if kinematics.shape[1] else None
        return GaitKnowledgeOutput(loss, logits, embeds, class_embeds, parameters, kinematics)

    def _cosines(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with torch.autocast(a.device.type, enabled=False):  # bfloat16 is too coarse for what a softmax is to tell apart
            return a.float() @ b.float().T * self.log_scale.exp().clamp(max=100)

    def classification_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy, or focal loss, of the walks whose label is known."""
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.config.label_smoothing)
        if self.config.loss == "focal":
            each = each * (1 - torch.exp(-each)) ** self.config.focal_gamma
        return each.sum() / (labels >= 0).sum().clamp(min=1)

    def parameter_loss(self, standardised, gait_parameters, class_embeds, labels) -> torch.Tensor:
        """Smooth L1 of the measured parameters (Girshick 2015), decoded from the walk and from the vector of its class."""
        loss = self._distance(standardised, gait_parameters)
        if labels is not None and (labels >= 0).any():
            said = self._standardised(class_embeds)[labels.clamp(min=0)]
            loss = loss + self._distance(said, torch.where((labels >= 0)[:, None], gait_parameters, torch.nan))
        return loss

    def timing_loss(self, input_values, attention_mask, gait_parameters) -> torch.Tensor:
        """Smooth L1 of what the rhythm says; in training of walks changed at random (`change_walks`)."""
        if self.training:
            skeleton = SKELETONS[self.config.skeleton_config.skeleton]
            input_values, gait_parameters = change_walks(input_values, gait_parameters, skeleton)
        return self._distance(self._timed(input_values, attention_mask), gait_parameters)

    def _distance(self, standardised: torch.Tensor, gait_parameters: torch.Tensor) -> torch.Tensor:
        target = (gait_parameters - self.parameter_mean) / self.parameter_std
        known = target.isfinite()
        loss = F.smooth_l1_loss(standardised, torch.where(known, target, 0.0), reduction="none") * known
        return loss.sum() / known.sum().clamp(min=1)

    def numeric_loss(self, embeds: torch.Tensor, gait_parameters: torch.Tensor) -> torch.Tensor:
        """Contrastive loss of walks and the numerical text of one group of parameters, drawn by chance.

        All walks have the sentence of the same group, so that only the numbers tell the texts apart.
        """
        groups = self.config.parameter_groups
        group = groups[int(torch.randint(len(groups), ()))]
        rows = gait_parameters[:, group].isfinite().all(1).nonzero()[: self.config.numeric_batch_size, 0]
        if len(rows) < 2:
            return embeds.new_zeros(())
        texts = self.get_numeric_embeds(gait_parameters[rows], group)
        return clip_loss(self._cosines(embeds[rows], texts), torch.eye(len(rows), dtype=torch.bool, device=embeds.device))


GaitKnowledgeForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")

__all__ = ["GaitKnowledgeForSequenceClassification", "GaitKnowledgeOutput", "prepare_knowledge_input"]
