"""A small sentence encoder that reads descriptions of walks as a large one does, by distillation (train/release.py).

In: texts, and the frozen encoder to learn from. Out: a folder of sentence-transformers: BERT of two layers, and their mean.

Its words are those of the teacher's vocabulary that the texts use, and the teacher's most frequent ones; their vectors begin as
the principal components of the teacher's. It learns the teacher's embeddings, reduced to as many components (Reimers and
Gurevych 2020, arXiv 2004.09813; Turc et al. 2019, arXiv 1908.08962).
"""

import json
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer
from torch.nn import functional as F
from tqdm import tqdm
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from modeling_gait.caption_grammar import paraphrase, partial_description
from modeling_gait.files import atomic_folder
from modeling_gait.gait_classes import load_classes
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.training.loop import optimizer_step, schedule, seed_step
from modeling_gait.walk_description import QUANTITIES, WalkDescription

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
FRAMES = ("{}", "{} walk", "a {} walk", "walks {}", "the {} is {}", "{} {}", "a person whose {} is {}", "{} and {}")


def description_texts(count: int, seed: int = 0) -> list[str]:
    """Descriptions of walks of every class, at random: prompts, paraphrases, and what is known of the classes."""
    rng = np.random.default_rng(seed)
    classes = load_classes("gait")
    texts = [s.text for c in classes.classes for s in c.sentences] + [w for c in classes.classes for w in c.keywords]
    while len(texts) < count:
        entry = classes.classes[rng.integers(len(classes.classes))]
        side = {"none": "none", "both": "both"}.get(entry.side, ("left", "right")[rng.integers(2)])
        numbers = {"speed": rng.uniform(0.2, 1.8), "cadence": rng.uniform(50, 140), "stride_length": rng.uniform(0.3, 1.7)}
        numbers |= {f"knee_range_{s}": rng.uniform(5, 75) for s in ("left", "right")}
        numbers = {k: float(np.clip(v, QUANTITIES[k].low, QUANTITIES[k].high)) for k, v in numbers.items()}
        full = WalkDescription(entry.name, side, float(rng.random()) if entry.graded else None, **numbers, classes=classes)
        said = partial_description(full, rng)
        texts.append(said.to_prompt() if rng.random() < 0.3 else paraphrase(said, rng))
    return texts


def cut_vocabulary(teacher: SentenceEncoder, texts: list[str], common: int) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """The teacher's WordPiece tokeniser with the tokens of `texts`, single characters and its first `common` words; and the
    teacher's ids of them. Raises ValueError where it is no WordPiece tokeniser."""
    content = json.loads(teacher.tokenizer.backend_tokenizer.to_str())
    if content["model"]["type"] != "WordPiece":
        raise ValueError(f"{teacher.name}: expected a WordPiece tokeniser, got {content['model']['type']}")
    vocabulary = content["model"]["vocab"]
    used = {i for ids in teacher.tokenizer(texts, verbose=False)["input_ids"] for i in ids}
    words = [i for w, i in sorted(vocabulary.items(), key=lambda p: p[1]) if w.isascii() and w.isalpha() and len(w) > 1]
    used |= {i for w, i in vocabulary.items() if w.isascii() and len(w.removeprefix("##")) == 1} | set(words[:common])
    kept = [vocabulary[s] for s in SPECIAL] + sorted(used - {vocabulary[s] for s in SPECIAL})
    names = {i: w for w, i in vocabulary.items()}
    content["model"]["vocab"] = {names[i]: n for n, i in enumerate(kept)}
    content["added_tokens"] = [
        t | {"id": SPECIAL.index(t["content"])} for t in content["added_tokens"] if t["content"] in SPECIAL
    ]
    for name, token in content["post_processor"].get("special_tokens", {}).items():
        token["ids"] = [SPECIAL.index(name)]
    content["padding"] = content["truncation"] = None
    pad, unknown, cls, sep = SPECIAL
    about = {"pad_token": pad, "unk_token": unknown, "cls_token": cls, "sep_token": sep, "model_max_length": 128}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(content)), **about), kept


def word_texts(tokenizer: PreTrainedTokenizerFast, count: int, seed: int = 0) -> list[str]:
    """Short texts of common words, so that words beyond those of the descriptions keep their place."""
    rng = np.random.default_rng(seed)
    words = [w for w in tokenizer.get_vocab() if w.isalpha()]
    frames = [FRAMES[i] for i in rng.integers(len(FRAMES), size=count)]
    return [f.format(*(words[i] for i in rng.integers(len(words), size=f.count("{}")))) for f in frames]


def fit_sentence_encoder(
    teacher: SentenceEncoder,
    texts: list[str],
    folder: str | Path,
    common: int = 4000,
    hidden_size: int = 128,
    steps: int = 2500,
    batch_size: int = 96,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> float:
    """Distil `teacher` over `texts` and as many texts of common words, and write the encoder to `folder`.

    Returns the mean cosine of its embeddings and the teacher's, their means taken off, over texts of the last steps.
    """
    tokenizer, kept = cut_vocabulary(teacher, texts, common)
    texts = sorted({*texts, *word_texts(tokenizer, len(texts), seed)})
    target = teacher.encode(texts, progress=True)
    values, axes = torch.linalg.eigh(torch.cov(target.T.double()))
    target = F.normalize(target @ axes.flip(1)[:, :hidden_size].float(), dim=-1)
    mean = target.mean(0)
    seed_step(seed, 0, 0)
    sizes = {"hidden_size": hidden_size, "intermediate_size": 3 * hidden_size, "num_attention_heads": 4}
    config = BertConfig(vocab_size=len(kept), num_hidden_layers=2, max_position_embeddings=128, pad_token_id=0, **sizes)
    model = BertModel(config)
    with torch.no_grad():
        words = teacher.model.get_input_embeddings().weight[kept].float()
        words = (words - words.mean(0)) @ torch.linalg.svd(words - words.mean(0), full_matrices=False)[2][:hidden_size].T
        model.get_input_embeddings().weight.copy_(words / words.std() * config.initializer_range * 2)
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = np.argsort([len(i) for i in ids], kind="stable")
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    rng, last = np.random.default_rng(seed), []
    bar = tqdm(range(steps), desc="sentence encoder", mininterval=5)
    for step in bar:
        at = int(rng.integers(max(1, len(order) - 4 * batch_size)))  # neighbours in length: little padding
        rows = rng.permutation(order[at : at + 4 * batch_size])[:batch_size]
        batch = tokenizer.pad({"input_ids": [ids[r] for r in rows]}, return_tensors="pt")
        mask = batch["attention_mask"]
        states = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state * mask[..., None]
        said = F.normalize(states.sum(1) / mask.sum(1, keepdim=True), dim=-1)
        cosine = F.cosine_similarity(said - mean, target[rows] - mean, dim=-1).mean()
        loss = 1 - cosine + (said - target[rows]).square().sum(-1).mean()
        optimizer_step(optimizer, loss, learning_rate * schedule(step, 50, steps))
        last = [*last[-99:], cosine.item()]
        bar.set_postfix(cosine=f"{last[-1]:.3f}", refresh=False)
    with atomic_folder(folder) as temporary:
        model.eval().save_pretrained(temporary / "bert")
        tokenizer.save_pretrained(temporary / "bert")
        read = Transformer(str(temporary / "bert"), max_seq_length=128)
        SentenceTransformer(modules=[read, Pooling(hidden_size)], device="cpu").save_pretrained(
            str(temporary), create_model_card=False
        )
        for file in (temporary / "bert").iterdir():
            file.unlink()
        (temporary / "bert").rmdir()
    return float(np.mean(last))
