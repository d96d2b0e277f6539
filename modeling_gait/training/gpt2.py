"""Fine-tuning of GPT-2 on walks and words (train/train_gpt2.py), and the folder of the model family.

In: rows of the walk schema, the folder of a tokeniser. Out: GPT-2, tokeniser and processor at the top of a folder, the gait
tokeniser in `vq/`, the decoder of its codes in `decoder/`, a LoRA adapter in `adapter/`.

Sentences: `<|endoftext|> caption numbers <gait> codes </gait>` (the loss counts the codes) and
`<|endoftext|> <gait> codes </gait> caption <|endoftext|>` (the loss counts the caption). Captions are written anew at each step
from the window's own speed and cadence and its walk's parameters. In words-to-walk sentences every walk is affected on the
right, left ones
are mirrored; `generation_gait.generate_walks` samples a left-affected walk as its mirror image.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tqdm import tqdm
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel
from transformers.dynamic_module_utils import custom_object_save

from modeling_gait.caption_grammar import captions_for, paraphrase, partial_description
from modeling_gait.caption_words import stated_attributes
from modeling_gait.captions import fit_reference
from modeling_gait.checked_model import load_whole
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_classes import GaitClasses
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.pipelines_gait import TextToGaitPipeline
from modeling_gait.processing_gait import GaitProcessor
from modeling_gait.tokenization_gait import KINDS, GaitCodes, GaitTokenizer, train_text_tokenizer
from modeling_gait.training.arguments import TrainArguments, check_sizes, check_tokeniser, need
from modeling_gait.training.data import StepBatches, WindowLoader, fingerprint, load_walks, pathology_names
from modeling_gait.training.loop import save_model, schedule, seed_step, start, training_loop

IGNORE = -100


@dataclass
class GPT2Arguments(TrainArguments):
    """Arguments of GPT-2's training."""

    makes: ClassVar[str] = GPT2Config.model_type
    vq: str = field(default="", metadata={"help": "folder or Hub id of the trained tokeniser"})
    init_from: str = field(default="", metadata={"help": "family (folder or Hub id) to fine-tune; empty: from base_model"})
    base_model: str = field(default="", metadata={"help": "e.g. gpt2; empty: a small GPT-2 from configuration, no download"})
    n_embd: int = 128
    n_layer: int = 3
    n_head: int = 4
    text_vocab_size: int = field(default=768, metadata={"help": "of the small text tokeniser, where base_model is empty"})
    lora_rank: int = field(default=0, metadata={"help": "0: full fine-tuning"})
    g2l_steps: int = field(default=100, metadata={"help": "steps that learn the map from codebooks to embedding rows"})
    describe_share: float = field(default=0.25, metadata={"help": "share of walk-to-words sentences"})
    no_text_share: float = field(default=0.1, metadata={"help": "share of words-to-walk sentences without words"})
    class_only: bool = field(default=False, metadata={"help": "captions are the name of the class: no language"})
    max_caption_tokens: int = 96
    random_windows: bool = field(default=True, metadata={"help": "windows from anywhere in a walk, not its middle"})


class GaitToLanguage(torch.nn.Module):
    """G2L: embedding rows of the motion tokens as a learned map of what their codes stand for, one bias a slot.

    A code's features are the places of its centre along each component, and their squares: scores of a linear head are then
    those of a
    normal distribution over the components.
    """

    def __init__(self, vq: GaitVQModel, width: int):
        super().__init__()
        books, blocks = vq.codebooks, []
        for quantizer in (books.temporal, None, books.pathological, books.spatial, books.drift, books.level):
            if quantizer is None:  # class and side: nothing lies between them
                blocks += [torch.eye(2 * vq.config.num_labels)]
                continue
            z = quantizer.codebook / quantizer.codebook.std(0).clamp(min=1e-6)
            for token in range(quantizer.tokens):
                own = z[:, quantizer.group == token]
                blocks.append(torch.cat((own, own.square() - own.square().mean(0)), dim=1))
        self.register_buffer("codes", torch.block_diag(*blocks))
        self.register_buffer("slot", torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor([len(b) for b in blocks])))
        self.map = torch.nn.Linear(self.codes.shape[1], width)
        self.bias = torch.nn.Embedding(len(blocks), width)
        torch.nn.init.normal_(self.map.weight, std=0.02)
        torch.nn.init.normal_(self.bias.weight, std=0.02)

    def forward(self) -> torch.Tensor:
        """(number of motion tokens, width)"""
        return self.map(self.codes) + self.bias(self.slot)


def build_tokenizer(args: GPT2Arguments, data: Dataset, vq: GaitVQModel, classes: GaitClasses) -> GaitTokenizer:
    """The family's, GPT-2's tokeniser, or a small one trained on captions; the latter two extended by the motion tokens."""
    if args.init_from:
        return GaitTokenizer.from_pretrained(args.init_from)
    if args.base_model:
        return GaitTokenizer.from_base(AutoTokenizer.from_pretrained(args.base_model), vq.config)
    rows = data.select_columns(["captions"])[np.unique(np.linspace(0, len(data) - 1, 2000).astype(int)).tolist()]
    texts = [str(c) for captions in rows["captions"] for c in captions]
    for i, name in enumerate(classes.labels):  # every class and word of the grammar, also where the data set has few rows
        for seed in range(40):
            parameters = {"speed": 0.3 + 0.05 * (seed % 25), "cadence": 60 + 2 * seed}
            side = ("left", "right")[seed % 2] if classes[name].side == "one" else None
            about = name, (seed % 3) / 2.5, side
            texts += captions_for(parameters, *about, n=4, seed=100 * i + seed, classes=classes)
    return GaitTokenizer.from_base(train_text_tokenizer(texts, args.text_vocab_size), vq.config)


def build_model(args: GPT2Arguments, tokenizer: GaitTokenizer) -> GPT2LMHeadModel:
    """The family's GPT-2; or one with its vocabulary extended to the tokeniser's."""
    if args.init_from:
        check_tokeniser(args.vq, args.init_from)
        model = load_whole(GPT2LMHeadModel.from_pretrained, args.init_from)
        check_sizes(args, {"base_model": ""} | {k: getattr(model.config, k) for k in ("n_embd", "n_layer", "n_head")})
        return model
    if args.base_model:
        model = load_whole(GPT2LMHeadModel.from_pretrained, args.base_model)
        model.resize_token_embeddings(len(tokenizer))
    else:
        config = GPT2Config(n_embd=args.n_embd, n_layer=args.n_layer, n_head=args.n_head, n_positions=320)
        config.vocab_size = len(tokenizer)
        config.activation_function = "gelu_pytorch_tanh"  # gelu_new, GPT-2's own, as one operation
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0  # a few passes over the data overfit nothing
        model = GPT2LMHeadModel(config)
    model.config.bos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = model.config.n_positions
    model.generation_config.update(
        bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


class SentenceLoader:
    """Token sentences of one step: `input_ids`, `attention_mask`, `labels` (B, L)."""

    def __init__(self, data: Dataset, vq: GaitVQModel, processor: GaitProcessor, args: GPT2Arguments):
        self.windows = WindowLoader(data, processor.feature_extractor)
        self.vq, self.processor, self.args = vq, processor, args
        self.about = data.select_columns(["pathology", "severity", "attributes"])
        self.names, self.subjects = pathology_names(data), [str(s) for s in data["subject_id"]]
        self.normal = self._normal_cycles(data)

    @torch.no_grad()
    def _normal_cycles(self, data: Dataset) -> dict[str, torch.Tensor]:
        """Mean cycle of the normal walks of each person; of nobody, where somebody has none."""
        normal = self.vq.codebooks.normal
        label = self.windows.label_of[np.array(data["pathology"])]
        cycles = {}
        for subject in sorted(set(self.subjects)):
            rows = np.array([i for i, s in enumerate(self.subjects) if s == subject and label[i] == normal], int)[:256]
            if normal < 0 or not len(rows):
                return {}
            window = self.windows.batch(rows)
            cycles[subject] = self.vq.normal_cycle(window["joints"], window["attention_mask"])
        return cycles

    def batch(self, rows: np.ndarray, seed: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(seed)
        about = self.about[rows.tolist()]
        attributes = [stated_attributes(a) for a in about["attributes"]]
        describe = rng.random(len(rows)) < self.args.describe_share
        left = np.array([a.get("side") == "left" for a in attributes])
        mirrored = np.where(describe, rng.random(len(rows)) < 0.5, left)
        windows = self.windows.batch(rows, seed if self.args.random_windows else None, mirrored)
        labels, count = windows["labels"], self.vq.config.num_labels
        sided = torch.from_numpy(left != mirrored) & (labels >= 0) & (labels != self.vq.codebooks.normal)
        normal = None
        if self.normal:
            normal = torch.stack([self.normal[self.subjects[r]] for r in rows])
            normal = self.vq.codebooks.turned(normal, torch.from_numpy(mirrored))
        with torch.no_grad():
            codes = self.vq.encode(windows["joints"], windows["attention_mask"], labels + count * sided, normal)
        parts = [codes[f"{kind}_codes"].numpy() for kind in KINDS.values()]
        rhythm = self.vq.codebooks.temporal.lookup(codes.temporal_codes)
        sentences = []
        for i in range(len(rows)):
            walk = self.processor.tokenizer.encode_codes(GaitCodes(*(part[i] for part in parts)))
            if mirrored[i]:
                swap = {"left": "right", "right": "left"}
                attributes[i]["side"] = swap.get(attributes[i].get("side"), attributes[i].get("side"))
            pathology, severity = self.names[about["pathology"][i]], float(about["severity"][i])
            parameters = self._parameters(windows["measured"][i], *rhythm[i, :2].tolist())
            description = self.processor.describe(parameters, pathology, severity, attributes[i])
            sentences.append(self._sentence(walk, description, describe[i], rng))
        return pad(sentences, self.processor.tokenizer.pad_token_id)

    @staticmethod
    def _parameters(measured: dict, stride_frequency: float, speed: float) -> dict:
        """The walk's gait parameters, with the speed, cadence and stride length of this window."""
        stride = {f"stride_length_{s}": speed / stride_frequency for s in ("left", "right")}
        return dict(measured, speed=speed, cadence=120 * stride_frequency, **stride)

    def _sentence(self, walk: list[int], description, describe: bool, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """(ids, labels) of one sentence."""
        tokenizer, limit = self.processor.tokenizer, self.args.max_caption_tokens
        end = [tokenizer.eos_token_id]
        if describe:
            caption = tokenizer(description.to_prompt())["input_ids"][:limit]
            return end + walk + caption + end, [IGNORE] * (1 + len(walk)) + caption + end
        caption, said = [], None
        if rng.random() >= self.args.no_text_share:
            said = partial_description(description, rng) if rng.random() < 0.5 else description
            text = said.to_prompt() if rng.random() < 0.6 else paraphrase(said, rng)
            text = said.pathology or "" if self.args.class_only else text
            caption = tokenizer(text)["input_ids"][:limit]
        numbers = tokenizer(tokenizer.number_tokens(None if self.args.class_only else said))["input_ids"]
        return end + caption + numbers + walk, [IGNORE] * (2 + len(caption) + len(numbers)) + walk[1:]


def pad(sentences: list[tuple[list[int], list[int]]], pad_id: int) -> dict[str, torch.Tensor]:
    """Sentences padded on the right to the longest."""
    longest = max(len(ids) for ids, _ in sentences)
    ids = torch.full((len(sentences), longest), pad_id)
    labels = torch.full((len(sentences), longest), IGNORE)
    for i, (words, targets) in enumerate(sentences):
        ids[i, : len(words)] = torch.tensor(words)
        labels[i, : len(targets)] = torch.tensor(targets)
    lengths = torch.tensor([len(words) for words, _ in sentences])
    return {"input_ids": ids, "attention_mask": (torch.arange(longest) < lengths[:, None]).long(), "labels": labels}


class GaitSentenceLoss(torch.nn.Module):
    """Mean cross-entropy of a batch of sentences, each token against those that the grammar allows in its place.

    A code is one of its slot's codebook, a word one of the text tokens; `</gait>` is certain and costs nothing. This is what
    `sample_codes` draws from, and without LoRA only the scores of these tokens are computed.
    """

    def __init__(self, model: torch.nn.Module, tokenizer: GaitTokenizer):
        super().__init__()
        self.model, self.text = model, tokenizer.first_number_id
        self.grammar = tokenizer.grammar()[:-1]
        low, high = torch.tensor(self.grammar).T
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("size", high - low, persistent=False)

    def tie_weights(self) -> None:
        """Accelerate asks for it where FSDP has moved the model."""
        self.model.tie_weights()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        inputs, targets = {"input_ids": input_ids, "attention_mask": attention_mask}, labels[:, 1:]
        words, motion = (targets >= 0) & (targets < self.text), targets >= self.low[0]
        slots, ranges = len(self.grammar), list(zip(self.low.tolist(), self.size.tolist()))
        most = max(size for _, size in ranges)
        if isinstance(self.model, PeftModel):  # whose rows are not in one weight
            scores = self.model(**inputs).logits[:, :-1].float()
            said, codes = scores[words][:, : self.text], scores[motion].unflatten(0, (-1, slots))
            scores = torch.stack(
                [torch.nn.functional.pad(codes[:, i, low : low + n], (0, most - n)) for i, (low, n) in enumerate(ranges)]
            )
        else:  # all slots at once: the states (P, B, width) of a slot with its rows (P, K, width)
            hidden = self.model.base_model(**inputs).last_hidden_state[:, :-1]
            rows = self.model.get_output_embeddings().weight
            said, states = hidden[words] @ rows[: self.text].T, hidden[motion].unflatten(0, (-1, slots)).transpose(0, 1)
            blocks = rows[self.low[0] :].split(self.size.tolist())
            blocks = torch.stack([torch.nn.functional.pad(b, (0, 0, 0, most - len(b))) for b in blocks])
            scores = states @ blocks.transpose(1, 2).to(states.dtype)
        beyond = torch.arange(most, device=scores.device) >= self.size[:, None]
        scores = scores.float().masked_fill(beyond[:, None], float("-inf"))
        target = (targets[motion].unflatten(0, (-1, slots)) - self.low).T
        total = torch.nn.functional.cross_entropy(said.float(), targets[words], reduction="sum")
        total = total + torch.nn.functional.cross_entropy(scores.flatten(0, 1), target.flatten(), reduction="sum")
        return total / (words.sum() + motion.sum()).clamp(min=1)


def learn_rows(
    accelerator: Accelerator,
    sentence_loss: GaitSentenceLoss,
    vq: GaitVQModel,
    loader: SentenceLoader,
    args: GPT2Arguments,
    num_rows: int,
) -> None:
    """G2L: learn the map from codes to embedding rows and write the rows; GPT-2's own weights stay where they are pretrained.

    Every process computes the same steps, so the rows are equal on all.
    """
    model = sentence_loss.model
    first = model.config.vocab_size - len(GaitToLanguage(vq, 1).codes)
    g2l = GaitToLanguage(vq, model.config.n_embd)
    trained = [*g2l.parameters()] + ([] if args.base_model else [*model.parameters()])
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate)
    own = int(np.random.SeedSequence([args.seed, 1]).generate_state(1)[0])  # no other run's batches
    batches = StepBatches(num_rows, args.batch_size, own)
    names = "model.transformer.wte.weight", "model.lm_head.weight"
    for step in tqdm(range(args.g2l_steps), desc="codebooks to rows", mininterval=5):
        batch = loader.batch(batches.rows(step), seed_step(own, step, 0))
        rows = torch.cat((model.transformer.wte.weight[:first], g2l()))
        with accelerator.autocast():
            loss = torch.func.functional_call(sentence_loss, dict.fromkeys(names, rows), kwargs=batch, tie_weights=False)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, args.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * schedule(step, 20, args.g2l_steps)
        optimizer.step()
    with torch.no_grad():
        model.transformer.wte.weight[first:] = g2l()


def with_lora(model: GPT2LMHeadModel, args: GPT2Arguments, tokenizer: GaitTokenizer) -> torch.nn.Module:
    """LoRA on attention and feed-forward; of the embedding only the new rows are trained, and they stay tied."""
    config = LoraConfig(
        r=args.lora_rank,
        lora_alpha=2 * args.lora_rank,
        target_modules=["c_attn", "c_proj", "c_fc"],
        fan_in_fan_out=True,
        trainable_token_indices=list(range(tokenizer.first_number_id, len(tokenizer))),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def normal_reference(data: Dataset, family: str = "") -> dict | None:
    """`fit_reference` on the normal walks of the training people; that of `family` where there are too few, if one is given."""
    names = data.features["pathology"].names
    rows = [i for i, p in enumerate(data["pathology"]) if p >= 0 and names[p] == "normal"][:2000]
    if len(rows) >= 5:
        return fit_reference([json.loads(str(p)) for p in data[rows]["gait_parameters"]])
    return GaitProcessor.from_pretrained(family).normal_reference if family else None


def train(args: GPT2Arguments) -> torch.nn.Module:
    """Train on the rows of `args.dataset` and save the family; returns GPT-2 in eval mode, a LoRA adapter merged in."""
    need(args, "vq")
    accelerator = start(args)
    data = load_walks(args.dataset, args.exclude_subjects)
    vq = GaitVQModel.from_pretrained(args.vq).eval().requires_grad_(False)
    extractor = GaitFeatureExtractor.from_pretrained(args.vq)
    tokenizer = build_tokenizer(args, data, vq, extractor.classes)
    processor = GaitProcessor(extractor, tokenizer, normal_reference=normal_reference(data, args.init_from))
    model = build_model(args, tokenizer)
    given = {"vq": fingerprint(vq, extractor.to_json_string())}
    given |= {name: fingerprint(model.transformer.h) for name in ("init_from", "base_model") if getattr(args, name)}
    if accelerator.device.type == "cpu":  # whose fused attention is slow backwards in bf16
        model.set_attn_implementation("eager")
    loader = SentenceLoader(data, vq, processor, args)
    if not (args.init_from or (Path(args.output_dir) / "checkpoint").exists()):
        learn_rows(accelerator, GaitSentenceLoss(model, tokenizer), vq, loader, args, len(data))
    if args.lora_rank:
        model = with_lora(model, args, tokenizer)
    batches = StepBatches(len(data), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = loader.batch(batches.rows(step), seed)
        loss = prepared(**{k: v.to(accelerator.device) for k, v in batch.items()})
        return loss, {"loss": loss.item()}

    sentence_loss = GaitSentenceLoss(model, tokenizer)
    model = training_loop(accelerator, sentence_loss, args, step_loss, "GPT-2", fingerprint(data), **given).model
    return save_family(args, model, processor, vq)


def save_family(args: GPT2Arguments, model: torch.nn.Module, processor: GaitProcessor, vq: GaitVQModel) -> torch.nn.Module:
    """The folder that pipelines load, see the head of this file; returns what is in it as GPT-2."""
    output = Path(args.output_dir)
    if args.lora_rank:
        save_model(output / "adapter", model)
        model = model.merge_and_unload()
    if (output / "vq").resolve() != Path(args.vq).resolve():
        save_model(output / "vq", vq, processor.feature_extractor)
    save_model(output / "decoder", GaitDecoderModel.from_vq(vq), processor.feature_extractor)
    model.config.gait_labels = processor.feature_extractor.labels
    model.config.auto_map = {"AutoConfig": "pipelines_gait.GaitFamilyConfig"}
    if PartialState().is_main_process:
        custom_object_save(TextToGaitPipeline, output)  # the package's code, for trust_remote_code
    save_model(output, model, processor)
    return model
