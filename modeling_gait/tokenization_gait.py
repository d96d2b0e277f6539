"""GaitTokenizer: a GPT-2 tokeniser whose vocabulary ends with motion tokens, and the grammar of a gait sentence.

In: text, or gait codes (numpy or torch integers): motion (T', Q), body (S,), pathological (P,).
Out: token ids, and codes again.

A walk is written `<gait> <pth_0_3> ... <bdy_0_17> ... <spa_0_40> <tmp_0_7> <spa_0_2> ... </gait>`: first what makes the class,
then the body, then T' latent steps of Q tokens. Numbers are the slot (pathological position, residual stage) and the code.
Motion tokens are plain tokens at the end of the vocabulary, in blocks, so that id = start of the block + code.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LogitsProcessor, PreTrainedTokenizerFast

GAIT_START, GAIT_END, END_OF_TEXT, PADDING = "<gait>", "</gait>", "<|endoftext|>", "<|pad|>"


@dataclass(frozen=True)
class GaitCodes:
    """Codes of one walk: `motion` (T', Q), `body` (S,), `pathological` (P,) int64 arrays."""

    motion: np.ndarray
    body: np.ndarray
    pathological: np.ndarray


class GaitTokenizer(PreTrainedTokenizerFast):
    """Text tokens of a base tokeniser followed by motion tokens.

    Args:
        motion_blocks: `[prefix, slots, codebook size]` for each kind of code, in the order pth, bdy, spa, tmp; empty for a
            tokeniser that has no motion tokens yet (see `from_base`).
    """

    # No __init__ here: transformers rebuilds a tokeniser that has one from its vocabulary alone, without merges.
    @property
    def motion_blocks(self) -> list[tuple[str, int, int]]:
        return [tuple(block) for block in self.init_kwargs.get("motion_blocks", ())]

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> "GaitTokenizer":
        """As in transformers; `revision` is kept, since the other parts of a family must come from the same one."""
        tokenizer = super().from_pretrained(*args, **kwargs)
        tokenizer.revision = kwargs.get("revision")
        return tokenizer

    @classmethod
    def from_base(cls, base: PreTrainedTokenizerFast, vq_config) -> "GaitTokenizer":
        """Extend `base` (GPT-2's tokeniser, or `train_text_tokenizer`) by the motion tokens of a `GaitVQConfig`."""
        blocks = [
            ["pth", vq_config.num_pathological_tokens, vq_config.pathological_codebook_size],
            ["bdy", vq_config.num_body_tokens, vq_config.body_codebook_size],
            ["spa", vq_config.num_spatial_quantizers, vq_config.spatial_codebook_size],
            ["tmp", vq_config.num_temporal_quantizers, vq_config.temporal_codebook_size],
        ]
        tokenizer = cls(
            tokenizer_object=base.backend_tokenizer,
            motion_blocks=blocks,
            eos_token=END_OF_TEXT,
            bos_token=END_OF_TEXT,
            pad_token=PADDING,
            padding_side="left",
        )
        motion = [
            f"<{prefix}_{slot}_{code}>" for prefix, slots, size in blocks for slot in range(slots) for code in range(size)
        ]
        tokenizer.add_tokens([GAIT_START, GAIT_END, *motion])
        return tokenizer

    @property
    def gait_start_id(self) -> int:
        return self.convert_tokens_to_ids(GAIT_START)

    @property
    def gait_end_id(self) -> int:
        return self.convert_tokens_to_ids(GAIT_END)

    @property
    def first_motion_id(self) -> int:
        """Id of the first code token; all ids from here on are codes."""
        prefix = self.motion_blocks[0][0]
        return self.convert_tokens_to_ids(f"<{prefix}_0_0>")

    def slot_starts(self) -> dict[str, list[int]]:
        """First id of each slot, by prefix: `{"pth": [id of <pth_0_0>, id of <pth_1_0>, ...], ...}`."""
        starts, at = {}, self.first_motion_id
        for prefix, slots, size in self.motion_blocks:
            starts[prefix] = [at + slot * size for slot in range(slots)]
            at += slots * size
        return starts

    def grammar(self, num_steps: int) -> list[tuple[int, int]]:
        """Allowed id range [low, high) at each position after `<gait>` of a walk of `num_steps` steps, `</gait>` last."""
        starts = self.slot_starts()
        size = {prefix: size for prefix, _, size in self.motion_blocks}
        window = [(s, s + size[p]) for p in ("pth", "bdy") for s in starts[p]]
        step = [(s, s + size[p]) for p in ("spa", "tmp") for s in starts[p]]
        return window + step * num_steps + [(self.gait_end_id, self.gait_end_id + 1)]

    def encode_codes(self, codes: GaitCodes) -> list[int]:
        """Codes of one walk -> ids `<gait> ... </gait>`. Raises ValueError where a code does not fit its codebook."""
        flat = np.concatenate([np.ravel(codes.pathological), np.ravel(codes.body), np.ravel(codes.motion)]).astype(np.int64)
        allowed = self.grammar(len(codes.motion))[:-1]
        if len(flat) != len(allowed):
            raise ValueError(f"{len(flat)} codes do not make a walk of {len(codes.motion)} steps: {len(allowed)} expected")
        low, high = np.array(allowed, np.int64).reshape(-1, 2).T
        ids = low + flat
        if (flat < 0).any() or (ids >= high).any():
            at = int(np.argmax((flat < 0) | (ids >= high)))
            raise ValueError(f"code {flat[at]} at position {at} is outside its codebook of {high[at] - low[at]}")
        return [self.gait_start_id, *ids.tolist(), self.gait_end_id]

    def decode_codes(self, ids: list[int] | np.ndarray | torch.Tensor) -> GaitCodes:
        """The walk between `<gait>` and `</gait>` in ids -> codes. Raises ValueError where the grammar is broken."""
        ids = [int(i) for i in ids]
        try:
            start = ids.index(self.gait_start_id)
            inside = ids[start + 1 : ids.index(self.gait_end_id, start)]
        except ValueError:
            raise ValueError("no complete walk: expected <gait> ... </gait>") from None
        window = sum(b[1] for b in self.motion_blocks[:2])
        step = sum(b[1] for b in self.motion_blocks[2:])
        steps, rest = divmod(len(inside) - window, step)
        if steps < 1 or rest:
            raise ValueError(f"{len(inside)} motion tokens are no walk: {window} + a multiple of {step} expected")
        low, high = np.array(self.grammar(steps)[:-1], np.int64).T
        wrong = (inside < low) | (inside >= high)
        if wrong.any():
            at = int(np.argmax(wrong))
            expected = self.convert_ids_to_tokens(int(low[at]))
            raise ValueError(f"token {self.convert_ids_to_tokens(inside[at])} at position {at}, expected one like {expected}")
        codes = np.array(inside, np.int64) - low
        pathological, body = np.split(codes[:window], [self.motion_blocks[0][1]])
        return GaitCodes(codes[window:].reshape(steps, step), body, pathological)


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
        num_steps: latent steps T' of every walk; `max_new_tokens` is then `len(tokenizer.grammar(num_steps))`.
    """

    def __init__(self, tokenizer: GaitTokenizer, prompt_length: int, num_steps: int):
        self.prompt_length = prompt_length
        self.allowed = [*tokenizer.grammar(num_steps), (tokenizer.pad_token_id, tokenizer.pad_token_id + 1)]

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        low, high = self.allowed[min(input_ids.shape[1] - self.prompt_length, len(self.allowed) - 1)]
        out = torch.full_like(scores, float("-inf"))
        out[:, low:high] = scores[:, low:high]
        return out


GaitTokenizer.register_for_auto_class("AutoTokenizer")

__all__ = ["GaitCodes", "GaitGrammarLogitsProcessor", "GaitTokenizer", "train_text_tokenizer"]
