"""GaitDualEncoderModel: walks and words in one space (after Walking to LLM-Generated Textual Descriptions, arXiv 2404.12192).

In: `input_values` (B, T, C), frames of a walk (features of `GaitFeatureExtractor`, or sensor channels; nan = not measured), and
`attention_mask` (B, T), 1 for valid frames, which come first (padding on the right); texts, or the frozen sentence
encoder's embeddings of them (N, H).
Out: unit vectors (B, P) and (N, P) in the shared space, `logits_per_gait` (B, N), a loss.

    model = GaitDualEncoderModel.from_pretrained(FOLDER)
    walks = model.get_gait_features(**extractor(joints, fps=30))          # (1, P)
    words = model.get_text_features(["steppage gait, right side", "normal gait"])
    walks @ words.T                                                       # cosine similarities (1, 2)

The sentence encoder is frozen and no part of the model's weights: a checkpoint holds its name, and a fingerprint (its embedding
of one sentence) that is compared when it is loaded, so that no other encoder is taken for it.
"""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from huggingface_hub import CommitInfo
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from .caption_parsing import read_numbers
from .checked_model import CheckedModel
from .configuration_gait_dual_encoder import GaitDualEncoderConfig, GaitEncoderConfig
from .known_classes import KnownClasses
from .masks import check_valid_first
from .sentence_encoder import FINGERPRINT, PLACES, SentenceEncoder, own_encoder, push_encoder

# --- the motion encoder ------------------------------------------------------------------------------------------------------


@dataclass
class GaitDualEncoderOutput(ModelOutput):
    """Output of `GaitDualEncoderModel`.

    Attributes:
        loss: scalar, the weighted sum of the losses of the configuration; only on request.
        logits_per_gait: (B, N), scaled cosine similarities of walks and texts; logits_per_text: (N, B).
        gait_embeds: (B, P); text_embeds: (N, P), unit vectors.
    """

    loss: torch.Tensor | None = None
    logits_per_gait: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    gait_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


class GaitEncoderLayer(nn.Module):
    """Pre-norm transformer layer: (B, S, D) -> (B, S, D); `mask` (B, 1, 1, S) True where a token may be read."""

    def __init__(self, config: GaitEncoderConfig):
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, config.intermediate_size), nn.Linear(config.intermediate_size, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.dropout(self.out(read.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class GaitEncoder(nn.Module):
    """Frames (B, T, C) -> summary (B, D): tokens of `frames_per_token` frames and a learned summary token that reads them."""

    def __init__(self, config: GaitEncoderConfig):
        super().__init__()
        self.config = config
        self.register_buffer("channel_mean", torch.zeros(config.num_channels))
        self.register_buffer("channel_std", torch.ones(config.num_channels))
        self.embed = nn.Linear(config.num_channels * config.frames_per_token, config.hidden_size)
        self.summary = nn.Parameter(torch.zeros(config.hidden_size))
        self.layers = nn.ModuleList(GaitEncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        if input_values.ndim != 3 or input_values.shape[-1] != self.config.num_channels:
            raise ValueError(
                f"input_values: expected (B, T, {self.config.num_channels}), {self.config.layout} frames, "
                f"got {tuple(input_values.shape)}"
            )
        size = self.config.frames_per_token
        x = (input_values.float() - self.channel_mean) / self.channel_std
        x = torch.nan_to_num(x).clamp(-20, 20)
        mask = x.new_ones(x.shape[:2]) if attention_mask is None else attention_mask
        if mask.shape != x.shape[:2]:
            raise ValueError(f"attention_mask: expected {tuple(x.shape[:2])}, got {tuple(mask.shape)}")
        mask = mask > 0
        if not mask.any(1).all():
            raise ValueError(f"walk {int((~mask.any(1)).nonzero()[0])} of the batch has no valid frame")
        check_valid_first(mask)
        x = x * mask[..., None]
        short = -x.shape[1] % size
        x, mask = F.pad(x, (0, 0, 0, short)), F.pad(mask, (0, short))
        x = self.embed(x.unflatten(1, (-1, size)).flatten(2).to(self.embed.weight.dtype))
        x = self.dropout(x + self._positions(x.shape[1]).to(x))
        x = torch.cat((self.summary.to(x).expand(len(x), 1, -1), x), dim=1)
        valid = F.pad(mask.unflatten(1, (-1, size)).any(-1), (1, 0), value=True)[:, None, None]
        for layer in self.layers:
            x = layer(x, valid)
        return self.norm(x[:, 0])

    def _positions(self, tokens: int) -> torch.Tensor:
        """Sines and cosines (tokens, D) of the token's place (Vaswani et al. 2017)."""
        width = self.config.hidden_size
        rate = torch.exp(torch.arange(0, width, 2, device=self.summary.device) * (-math.log(1e4) / width))
        angle = torch.arange(tokens, device=rate.device)[:, None] * rate
        return 0.5 * torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class NumberFeatures(nn.Module):
    """Numbers (..., Q) in units of their spread, nan where not known -> (..., Q K): how near each is to K places (numeric
    embeddings by radial functions, as of Gorishniy et al. 2022, arXiv 2203.05556, with fixed places); 0 where not known."""

    size = 13

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        places = torch.linspace(-3, 3, self.size, device=values.device)
        near = torch.exp(-2 * (values.clamp(-3, 3)[..., None] - places) ** 2)
        return torch.nan_to_num(near).flatten(-2)


# --- both --------------------------------------------------------------------------------------------------------------------


class GaitDualEncoderModel(CheckedModel):
    """Dual encoder of walks and words. See the head of this file."""

    config_class = GaitDualEncoderConfig
    base_model_prefix = "gait_dual_encoder"
    main_input_name = "input_values"
    supports_gradient_checkpointing = False

    def __init__(self, config: GaitDualEncoderConfig):
        super().__init__(config)
        width, text = config.projection_size, config.text_config.hidden_size
        self.gait_encoder = GaitEncoder(config.gait_config)
        self.number_features, count = NumberFeatures(), len(config.numbers)
        extra = count * NumberFeatures.size
        self.number_head = nn.Linear(config.gait_config.hidden_size, count) if count else None
        self.gait_projection = nn.Linear(config.gait_config.hidden_size + extra, width, bias=False)
        layers = {
            0: [],
            1: [nn.Linear(text + extra, width)],
            2: [nn.Linear(text + extra, 2 * width), nn.GELU(), nn.Linear(2 * width, width)],
        }
        self.text_projection = nn.Sequential(*layers[config.text_projection_layers])
        self.register_buffer("text_mean", torch.zeros(text))
        self.register_buffer("text_std", torch.ones(text))
        self.register_buffer("number_mean", torch.zeros(count))
        self.register_buffer("number_std", torch.ones(count))
        gait = config.gait_config
        about = gait.layout, gait.num_channels, gait.fps, config.known_classes
        self.known_classes = KnownClasses(*about) if config.known_classes else None
        self.register_buffer("known_walks", torch.zeros(config.known_walks, width))
        self.register_buffer("known_cosine", torch.zeros(()))
        self.register_buffer("text_fingerprint", torch.zeros(text))  # zero: not known yet
        self.logit_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale_init)))
        self.logit_bias = nn.Parameter(torch.tensor(float(config.logit_bias_init)), requires_grad="siglip" in config.losses)
        self._sentence_encoder: SentenceEncoder | None = None
        self._whole = True  # False while it is pushed, see `saved_without_encoder`
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, GaitEncoder):
            init.normal_(module.summary, std=0.5)
            init.zeros_(module.channel_mean)
            init.ones_(module.channel_std)
        elif isinstance(module, KnownClasses):
            module.reset()
        elif isinstance(module, GaitDualEncoderModel):
            init.constant_(module.logit_scale, math.log(module.config.logit_scale_init))
            init.constant_(module.logit_bias, module.config.logit_bias_init)
            init.zeros_(module.text_mean)
            init.ones_(module.text_std)
            init.zeros_(module.number_mean)
            init.ones_(module.number_std)
            init.zeros_(module.known_walks)
            init.zeros_(module.known_cosine)
            init.zeros_(module.text_fingerprint)

    @property
    def sentence_encoder(self) -> SentenceEncoder:
        """The frozen encoder, loaded when first needed. Raises OSError where it cannot be, ValueError if it is another."""
        if self._sentence_encoder is None:
            about = self.config.text_config
            self.set_sentence_encoder(SentenceEncoder(str(own_encoder(self) or about.name), about.revision))
        return self._sentence_encoder

    def save_pretrained(self, save_directory: str | Path, *args, **kwargs) -> None:
        """As of transformers; a sentence encoder that is a folder or comes with model or package is saved with it."""
        super().save_pretrained(save_directory, *args, **kwargs)
        source, target = own_encoder(self), Path(save_directory, PLACES[0])
        if source and source.resolve() != target.resolve() and self._whole and kwargs.get("is_main_process", True):
            shutil.copytree(source, target, dirs_exist_ok=True)

    @contextmanager
    def saved_without_encoder(self) -> Iterator[None]:
        """Inside, `save_pretrained` leaves the sentence encoder out: transformers pushes no folder within a folder."""
        self._whole = False
        try:
            yield
        finally:
            self._whole = True

    def push_to_hub(self, repo_id: str, **kwargs) -> CommitInfo:
        """As of transformers; a sentence encoder that is saved with the model is pushed after it, in a commit of its own."""
        with self.saved_without_encoder():
            pushed = super().push_to_hub(repo_id, **kwargs)
        return push_encoder(self, pushed, kwargs.get("token"), kwargs.get("revision"))

    def set_sentence_encoder(self, encoder: SentenceEncoder) -> None:
        """Use this encoder. Raises ValueError where it is not the one that the model was trained with."""
        width = self.config.text_config.hidden_size
        if encoder.hidden_size != width:
            raise ValueError(f"sentence encoder {encoder.name!r}: embeddings of width {encoder.hidden_size}, not {width}")
        encoder.modules.to(self.device)
        own = encoder.encode([FINGERPRINT])[0].to(self.text_fingerprint)
        if not self.text_fingerprint.any():
            self.text_fingerprint.copy_(own)
        elif not (own.float() * self.text_fingerprint.float()).sum() >= 0.99:  # nan too
            raise ValueError(f"sentence encoder {encoder.name!r} is not the one that this model was trained with")
        self._sentence_encoder = encoder

    def set_normalization(self, gait, text=None, numbers=None) -> None:
        """(mean, SD) of the channels (C,), the sentence embeddings (H,) and the numbers (Q,), of training data."""
        for module, name, values in ((self.gait_encoder, "channel", gait), (self, "text", text), (self, "number", numbers)):
            for kind, value in zip(("mean", "std"), values or ()):
                getattr(module, f"{name}_{kind}").copy_(torch.as_tensor(value))

    def get_gait_features(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None, **_) -> torch.Tensor:
        """Walks (B, T, C) -> unit vectors (B, P). Raises ValueError for frames of another layout, and where the valid ones are
        not the first."""
        return self._gait(input_values, attention_mask)[0]

    def _gait(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors (B, P), and the numbers (B, Q) that are read off the walks, in units of their spread."""
        summary = self.gait_encoder(input_values, attention_mask)
        numbers = summary.new_zeros(len(summary), 0) if self.number_head is None else self.number_head(summary)
        both = torch.cat((summary, self.number_features(numbers.float()).to(summary)), dim=-1)
        return F.normalize(self.gait_projection(both).float(), dim=-1), numbers.float()

    def read_texts(self, texts: list[str], progress: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Texts -> sentence embeddings (N, H) and the numbers that they state (N, Q), nan where they state none."""
        names, numbers = self.config.numbers, torch.full((len(texts), len(self.config.numbers)), torch.nan)
        if names:
            self.sentence_encoder.check(texts)
            read = [read_numbers(text) for text in texts]
            texts = [text for text, _ in read]
            for row, (_, found) in zip(numbers, read):
                for number in found:
                    if number.quantity in names:
                        row[names.index(number.quantity)] = number.value
        return self.sentence_encoder.encode(texts, progress=progress), numbers

    def get_text_features(
        self,
        texts: str | list[str] | None = None,
        sentence_embeds: torch.Tensor | None = None,
        numbers: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Texts, or their sentence embeddings (N, H) and numbers (N, Q) as of `read_texts` -> unit vectors (N, P).

        Raises ValueError for an empty text, one over the encoder's limit, or neither or both arguments given.
        """
        if (texts is None) == (sentence_embeds is None):
            raise ValueError("give either texts or sentence_embeds")
        if sentence_embeds is None:
            sentence_embeds, numbers = self.read_texts([texts] if isinstance(texts, str) else list(texts))
        return self._text(sentence_embeds, self._scaled(sentence_embeds, numbers))

    def _scaled(self, sentence_embeds: torch.Tensor, numbers: torch.Tensor | None) -> torch.Tensor:
        """Numbers (N, Q) of texts in units of their spread; unknown, where none are given."""
        if numbers is None:
            numbers = sentence_embeds.new_full((len(sentence_embeds), len(self.config.numbers)), torch.nan)
        return (numbers.to(self.number_mean) - self.number_mean) / self.number_std

    def _text(self, sentence_embeds: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        words = (sentence_embeds.to(self.text_mean) - self.text_mean) / self.text_std
        both = torch.cat((words, self.number_features(numbers).to(words)), dim=-1)
        return F.normalize(self.text_projection(both).float(), dim=-1)

    def set_known_walks(self, gait: torch.Tensor, text: torch.Tensor) -> None:
        """Vectors (K, P) of training walks and of their own texts, K = `config.known_walks`."""
        self.known_walks.copy_(gait)
        self.known_cosine.copy_((gait * text).sum(-1).quantile(0.05))

    def fair_scores(self, gait: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Similarities (B, K) of unit vectors (B, P) and (K, P), each less what nearly all (98 %) training walks stay below:
        a description of what was never trained on competes with those that training pulled close. Raises ValueError for a
        model that carries no `known_walks`."""
        if not len(self.known_walks):
            raise ValueError("this model carries no known walks; train it with --known_walks")
        return gait @ text.T - (self.known_walks @ text.T).quantile(0.98, dim=0)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        texts: list[str] | None = None,
        sentence_embeds: torch.Tensor | None = None,
        numbers: torch.Tensor | None = None,
        walk_numbers: torch.Tensor | None = None,
        description_ids: torch.Tensor | None = None,
        return_loss: bool = False,
    ) -> GaitDualEncoderOutput:
        """Similarities of B walks and N texts, and the loss of B pairs.

        Args:
            texts, sentence_embeds, numbers: see `get_text_features`.
            walk_numbers: (B, Q) what was measured of the walks, for the loss "numbers"; default: what their texts state.
            description_ids: (B,) integers, equal for texts that describe the same: these are never negatives of each other.
                By default each text is its own description, but equal texts have one.
            return_loss: texts belong to the walks, pair by pair. In training by several processes the loss is that of all
                their pairs together, of each as many; `description_ids` must be given then.
        """
        gait, read = self._gait(input_values, attention_mask)
        if (texts is None) == (sentence_embeds is None):
            raise ValueError("give either texts or sentence_embeds")
        if sentence_embeds is None:
            sentence_embeds, numbers = self.read_texts([texts] if isinstance(texts, str) else list(texts))
        numbers = self._scaled(sentence_embeds, numbers)
        text = self._text(sentence_embeds, numbers)
        with torch.autocast(gait.device.type, enabled=False):  # bfloat16 is too coarse for what a softmax is to tell apart
            similarity = gait @ text.T
        logits = similarity * self.logit_scale.exp().clamp(max=100)
        loss = None
        if return_loss:
            if len(gait) != len(text):
                raise ValueError(f"{len(gait)} walks and {len(text)} texts: the loss wants a text for each walk")
            together = self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
            if together and description_ids is None:
                raise ValueError("several processes train together: give description_ids, equal for equal descriptions")
            if description_ids is None and texts is not None:
                number = {t: i for i, t in enumerate(dict.fromkeys(texts))}
                description_ids = torch.tensor([number[t] for t in texts])
            ids = torch.arange(len(gait)) if description_ids is None else description_ids
            changed = [self._text(sentence_embeds, one_changed(numbers)) for _ in range(self.config.hard_negatives)]
            wrong = torch.stack([(gait * t).sum(-1) for t in changed], 1) if changed else gait.new_zeros(len(gait), 0)
            wrong = torch.where(numbers.isfinite().any(1, keepdim=True), wrong, -1.0) if changed else wrong
            known = numbers if walk_numbers is None else self._scaled(sentence_embeds, walk_numbers)
            pairs = gait, text, ids.to(gait.device), read, known, wrong
            loss = self._loss(*(map(Everybody.apply, pairs) if together else pairs))
        if "siglip" in self.config.losses:
            logits = logits + self.logit_bias
        return GaitDualEncoderOutput(loss, logits, logits.T, gait, text)

    def _loss(self, gait, text, ids, read, numbers, wrong) -> torch.Tensor:
        """The weighted losses of matched pairs of unit vectors (B, P); pairs of equal `ids` (B,) describe the same. `read` and
        `numbers` (B, Q): of the walks and of their texts; `wrong` (B, K): similarities of walks and hard negatives."""
        same = ids[:, None] == ids
        with torch.autocast(gait.device.type, enabled=False):
            similarity = gait @ text.T
        logits = similarity * self.logit_scale.exp().clamp(max=100)
        stated = numbers.isfinite()
        terms = {
            "mse": lambda: (gait - text.detach()).square().sum(-1).mean(),
            "triplet": lambda: triplet_loss(similarity, same, self.config.triplet_margin),
            "clip": lambda: clip_loss(logits, same, wrong * self.logit_scale.exp().clamp(max=100)),
            "siglip": lambda: siglip_loss(logits + self.logit_bias, same),
            "numbers": lambda: (
                F.smooth_l1_loss(read[stated], numbers[stated].clamp(-3, 3), reduction="sum") / stated.sum().clamp(min=1)
            ),
        }
        return sum(weight * terms[name]() for name, weight in self.config.losses.items())


class Everybody(torch.autograd.Function):
    """Rows (B, ...) of all R processes (R B, ...), as many of each; a gradient goes back to the process of its row."""

    @staticmethod
    def forward(ctx, values: torch.Tensor) -> torch.Tensor:
        ctx.rows = len(values)
        out = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(out, values.contiguous())
        return torch.cat(out)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)  # each process has the loss of all pairs
        return gradient[dist.get_rank() * ctx.rows :][: ctx.rows]


def triplet_loss(similarity: torch.Tensor, same: torch.Tensor, margin: float) -> torch.Tensor:
    """Hinge of each pair (diagonal of (B, B)) against every text and every walk of another description; mean over the hinges
    that are not zero (Hermans et al. 2017, arXiv 1703.07737)."""
    own = similarity.diagonal()[:, None]
    hinges = torch.stack((margin + similarity - own, margin + similarity.T - own)).clamp(min=0) * ~same
    return hinges.sum() / (hinges > 0).sum().clamp(min=1)


def one_changed(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers (N, Q) in units of their spread, one of the known ones of each row 0.3 to 2 up or down; none if none is known."""
    chosen = torch.where(numbers.isfinite(), torch.rand_like(numbers), -1.0).argmax(1, keepdim=True)
    step = (0.3 + 1.7 * torch.rand_like(numbers)) * (2 * torch.randint_like(numbers, 2) - 1)
    return numbers + torch.zeros_like(numbers).scatter(1, chosen, step.gather(1, chosen))


def clip_loss(logits: torch.Tensor, same: torch.Tensor, wrong: torch.Tensor | None = None) -> torch.Tensor:
    """Symmetric cross-entropy (Radford et al. 2021); pairs of the same description share the target (Khosla et al. 2020).
    `wrong` (B, K): logits of each walk with further texts that do not describe it."""
    target = same.float() / same.sum(1, keepdim=True)
    rows, row_target = logits, target
    if wrong is not None and wrong.shape[1]:
        rows, row_target = torch.cat((logits, wrong), 1), F.pad(target, (0, wrong.shape[1]))
    return 0.5 * (F.cross_entropy(rows, row_target) + F.cross_entropy(logits.T, target))


def siglip_loss(logits: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Sigmoid loss of each walk and text (Zhai et al. 2023, arXiv 2303.15343), summed over texts."""
    return -F.logsigmoid(torch.where(same, logits, -logits)).sum(1).mean()


GaitDualEncoderModel.register_for_auto_class("AutoModel")

__all__ = ["GaitDualEncoderModel", "GaitDualEncoderOutput", "clip_loss", "siglip_loss", "triplet_loss"]
