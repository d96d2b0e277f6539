"""GaitTokenizer: a GPT-2 tokeniser whose vocabulary ends with numbers and motion tokens, and the grammar of a gait sentence.

In: text and the numbers asked for; or gait codes (numpy or torch integers), see `GaitCodes`.
Out: token ids, and codes again.

A walk is written `<gait> <tmp_0_90> ... <pth_0_4> ... <spa_0_40> ... <sen_0_7> ... </gait>`: its rhythm, its class and
pathology, the person, the sensor; the last may be left out. Numbers are the slot and the code. What is asked for is `words
<speed_20> <cadence_?> <severity_9>`: numbers as bins, `?` where none is asked for. All are plain tokens at the end of the
vocabulary, in blocks, so that id = start of the block + code.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LogitsProcessor, PreTrainedTokenizerFast

GAIT_START, GAIT_END, END_OF_TEXT, PADDING = "<gait>", "</gait>", "<|endoftext|>", "<|pad|>"
NUMBERS = {"speed": (0.0, 2.4), "cadence": (36.0, 204.0), "severity": (0.0, 1.0)}  # m/s, steps/min, 1
BINS = 64
KINDS = {"tmp": "temporal", "pth": "pathological", "spa": "spatial", "sen": "sensor"}


@dataclass(frozen=True)
class GaitCodes:
    """Codes of one walk, int64 arrays: `temporal` (4,), `pathological` (P,), `spatial` (S,), `sensor` (N,) or None."""

    temporal: np.ndarray
    pathological: np.ndarray
    spatial: np.ndarray
    sensor: np.ndarray | None = None


def stack_codes(codes: list[GaitCodes]) -> dict[str, torch.Tensor]:
    """Codes of N walks as the arguments of `GaitDecoderModel`: `temporal_codes` (N, 4) and so on; no sensor codes where
    one has none."""
    names = [f.name for f in fields(GaitCodes) if f.name != "sensor" or all(c.sensor is not None for c in codes)]
    return {f"{name}_codes": torch.from_numpy(np.stack([getattr(c, name) for c in codes]).astype(np.int64)) for name in names}


class GaitTokenizer(PreTrainedTokenizerFast):
    """Text tokens of a base tokeniser followed by numbers and motion tokens.

    Args:
        motion_blocks: `[prefix, sizes of the codebooks]` for each kind of code, in the order tmp, pth, spa, sen; empty for a
            tokeniser that has no motion tokens yet (see `from_base`).
    """

    # No __init__ here: transformers rebuilds a tokeniser that has one from its vocabulary alone, without merges.
    @property
    def motion_blocks(self) -> list[tuple[str, list[int]]]:
        return [tuple(block) for block in self.init_kwargs.get("motion_blocks", ())]

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> "GaitTokenizer":
        """As in transformers; `revision` is kept, since the other parts of a family must come from the same one."""
        tokenizer = super().from_pretrained(*args, **kwargs)
        tokenizer.revision = kwargs.get("revision")
        return tokenizer

    @classmethod
    def from_base(cls, base: PreTrainedTokenizerFast, vq_config) -> "GaitTokenizer":
        """Extend `base` (GPT-2's tokeniser, or `train_text_tokenizer`) by the tokens of a `GaitVQConfig`."""
        blocks = [[prefix, vq_config.slots[kind]] for prefix, kind in KINDS.items()]
        tokenizer = cls(
            tokenizer_object=base.backend_tokenizer,
            motion_blocks=blocks,
            eos_token=END_OF_TEXT,
            bos_token=END_OF_TEXT,
            pad_token=PADDING,
            padding_side="left",
        )
        numbers = [f"<{name}_{at}>" for name in NUMBERS for at in (*range(BINS), "?")]
        motion = [f"<{p}_{slot}_{code}>" for p, sizes in blocks for slot, size in enumerate(sizes) for code in range(size)]
        tokenizer.add_tokens([*numbers, GAIT_START, GAIT_END, *motion])
        return tokenizer

    @property
    def first_number_id(self) -> int:
        """Id of the first number; all ids below are text."""
        return self.convert_tokens_to_ids(f"<{next(iter(NUMBERS))}_0>")

    @property
    def gait_start_id(self) -> int:
        return self.convert_tokens_to_ids(GAIT_START)

    @property
    def gait_end_id(self) -> int:
        return self.convert_tokens_to_ids(GAIT_END)

    @property
    def first_motion_id(self) -> int:
        """Id of the first code token; all ids from here on are codes."""
        return self.gait_end_id + 1

    def number_tokens(self, description=None) -> str:
        """The numbers of a WalkDescription as tokens; None asks for none. Out of range: the nearest bin."""
        out = ""
        for name, (low, high) in NUMBERS.items():
            value = getattr(description, name, None)
            at = "?" if value is None else int(np.clip((value - low) / (high - low) * BINS, 0, BINS - 1))
            out += f"<{name}_{at}>"
        return out

    def grammar(self, sensor: bool = True) -> list[tuple[int, int]]:
        """Allowed id range [low, high) at each position after `<gait>`, `</gait>` last; `sensor`: with sensor codes."""
        out, at = [], self.first_motion_id
        for prefix, sizes in self.motion_blocks:
            for size in sizes:
                out += [(at, at + size)] if sensor or prefix != "sen" else []
                at += size
        return [*out, (self.gait_end_id, self.gait_end_id + 1)]

    def encode_codes(self, codes: GaitCodes) -> list[int]:
        """Codes of one walk -> ids `<gait> ... </gait>`. Raises ValueError where a code does not fit its codebook."""
        kinds = [k for k in KINDS.values() if k != "sensor" or codes.sensor is not None]
        for (_, sizes), kind in zip(self.motion_blocks, kinds):
            if np.shape(getattr(codes, kind)) != (len(sizes),):
                raise ValueError(f"{kind}: expected {len(sizes)} codes, got {np.shape(getattr(codes, kind))}")
        flat = np.concatenate([np.asarray(getattr(codes, kind), np.int64) for kind in kinds])
        low, high = np.array(self.grammar(codes.sensor is not None)[:-1], np.int64).T
        if ((flat < 0) | (low + flat >= high)).any():
            at = int(np.argmax((flat < 0) | (low + flat >= high)))
            raise ValueError(f"code {flat[at]} at position {at} is outside its codebook of {high[at] - low[at]}")
        return [self.gait_start_id, *(low + flat).tolist(), self.gait_end_id]

    def decode_codes(self, ids: list[int] | np.ndarray | torch.Tensor) -> GaitCodes:
        """The walk between `<gait>` and `</gait>` in ids -> codes. Raises ValueError where the grammar is broken."""
        ids = [int(i) for i in ids]
        try:
            start = ids.index(self.gait_start_id)
            inside = ids[start + 1 : ids.index(self.gait_end_id, start)]
        except ValueError:
            raise ValueError("no complete walk: expected <gait> ... </gait>") from None
        lengths = [len(sizes) for _, sizes in self.motion_blocks]
        if len(inside) not in (sum(lengths), sum(lengths[:-1])):
            raise ValueError(
                f"{len(inside)} motion tokens are no walk: {sum(lengths)}, or {sum(lengths[:-1])} without a sensor, expected"
            )
        low, high = np.array(self.grammar(len(inside) == sum(lengths))[:-1], np.int64).T
        wrong = (inside < low) | (inside >= high)
        if wrong.any():
            at = int(np.argmax(wrong))
            expected = self.convert_ids_to_tokens(int(low[at]))
            raise ValueError(f"token {self.convert_ids_to_tokens(inside[at])} at position {at}, expected one like {expected}")
        parts = np.split(np.array(inside, np.int64) - low, np.cumsum(lengths)[:-1])
        return GaitCodes(*parts[:3], parts[3] if len(parts[3]) else None)


def train_text_tokenizer(texts: list[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """A small byte-level BPE in GPT-2's manner (digits apart, so that numbers stay readable), for use without the Hub."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token=END_OF_TEXT, pad_token=PADDING)


class GaitGrammarLogitsProcessor(LogitsProcessor):
    """Lets `generate` sample only gait sentences: after `<gait>`, position by position, the codes of the slot in turn.

    Args:
        tokenizer: a GaitTokenizer.
        prompt_length: tokens of the (left-padded) prompts, whose last one is `<gait>`.
        sensor: with sensor codes; `max_new_tokens` is `len(tokenizer.grammar(sensor))`.
    """

    def __init__(self, tokenizer: GaitTokenizer, prompt_length: int, sensor: bool = True):
        self.prompt_length = prompt_length
        self.allowed = [*tokenizer.grammar(sensor), (tokenizer.pad_token_id, tokenizer.pad_token_id + 1)]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        low, high = self.allowed[min(input_ids.shape[1] - self.prompt_length, len(self.allowed) - 1)]
        out = torch.full_like(scores, float("-inf"))
        out[:, low:high] = scores[:, low:high]
        return out


GaitTokenizer.register_for_auto_class("AutoTokenizer")

__all__ = ["GaitCodes", "GaitGrammarLogitsProcessor", "GaitTokenizer", "stack_codes", "train_text_tokenizer"]
