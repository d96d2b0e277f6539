"""From descriptions to walks: sampling the codes of GPT-2 under the grammar, decoding them, choosing among candidates.

In: a family's parts (GPT-2, tokeniser, decoder; for choosing its tokeniser of walks) and descriptions.
Out: codes; joints float32 (N, T, J, 3) [m], x right, y forward, z up.

What is asked for and is a part of the code is set, not sampled: class, side, speed and cadence; severity grades the pathology
that was sampled. GPT-2 writes the rest, knowing all of it.
"""

from dataclasses import replace

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from .captions import WalkDescription
from .gait_parameters import compute_gait_parameters
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_vq import GaitVQModel
from .tokenization_gait import GAIT_START, GaitCodes, GaitTokenizer, stack_codes


@torch.no_grad()
def sample_codes(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    prompts: list[str],
    given: dict[int, np.ndarray] | None = None,
    sensor: bool = True,
    temperature: float = 1.0,
    top_p: float = 1.0,
    guidance: float = 1.0,
    seed: int | None = None,
    first: int = 0,
) -> list[GaitCodes]:
    """One walk for each prompt, sampled by GPT-2 under the grammar, so that all can be decoded.

    At each position only the codes that the grammar allows are scored, so this is several times faster than `generate` with
    `GaitGrammarLogitsProcessor`, and draws from the same distribution.

    Args:
        prompts: words, then `tokenizer.number_tokens`.
        given: position after `<gait>` -> codes (N,), below 0 where it is to be sampled.
        sensor: with sensor codes.
        guidance: classifier-free (Ho and Salimans 2022, arXiv 2207.12598): scores u + guidance (c - u), u without a prompt;
            1: none.
        seed: makes the draw repeatable without touching the caller's random state: prompt i draws by (seed, `first` + i) alone,
            so a list may be sampled in parts.

    Raises: ValueError where prompt and walk are longer than the model.
    """
    texts = [tokenizer.eos_token + prompt + GAIT_START for prompt in prompts]
    if guidance != 1:
        texts += [tokenizer.eos_token + tokenizer.number_tokens() + GAIT_START] * len(prompts)
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(model.device)
    allowed = tokenizer.grammar(sensor)[:-1]
    length = inputs["input_ids"].shape[1] + len(allowed)
    if length > model.config.n_positions:
        raise ValueError(f"prompt and walk make {length} tokens, the model takes {model.config.n_positions}: say less")
    generators = [np.random.default_rng(None if seed is None else [seed, first + i]) for i in range(len(prompts))]
    ids, mask, cache = inputs["input_ids"], inputs["attention_mask"], DynamicCache()
    rows, drawn = model.get_output_embeddings().weight, []
    for at, (low, high) in enumerate(allowed):
        position = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model.base_model(ids, attention_mask=mask, position_ids=position, cache=cache, use_cache=True)
        scores = (output.last_hidden_state[:, -1] @ rows[low:high].T).float()
        if guidance != 1:
            asked, free = scores.chunk(2)
            scores = free + guidance * (asked - free)
        probabilities = _nucleus((scores / temperature).softmax(-1), top_p)
        noise = np.stack([g.standard_exponential(high - low, np.float32) for g in generators])
        ids = (probabilities / torch.from_numpy(noise).to(probabilities)).argmax(-1, keepdim=True)  # as multinomial draws
        if given and at in given:
            set_to = torch.tensor(given[at]).to(ids)[:, None]
            ids = torch.where(set_to >= 0, set_to, ids)
        drawn.append(low + ids)
        ids = (low + ids).repeat(2 if guidance != 1 else 1, 1)
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
    walks = torch.cat(drawn, dim=1).cpu().tolist()
    return [tokenizer.decode_codes([tokenizer.gait_start_id, *walk, tokenizer.gait_end_id]) for walk in walks]


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probabilities (B, V) without the least likely codes beyond a sum of `top_p` (Holtzman et al. 2020, arXiv 1904.09751)."""
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)


def given_codes(
    decoder: GaitDecoderModel, descriptions: list[WalkDescription], person: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """What descriptions (and the spatial codes (S,) or (N, S) of a person) say of the codes, for `sample_codes`."""
    config, grid = decoder.config, decoder.codebooks.temporal.codebook.detach().cpu().numpy()

    def nearest(column: int, values: list[float | None]) -> np.ndarray:
        return np.array([-1 if v is None else np.abs(grid[:, column] - v).argmin() for v in values])

    labels = {name: i for i, name in config.id2label.items()}
    given = {
        0: nearest(0, [None if d.cadence is None else d.cadence / 120 for d in descriptions]),
        1: nearest(1, [d.speed for d in descriptions]),
        config.num_temporal_tokens: np.array([int(labels.get(d.pathology, -1)) for d in descriptions]),
    }
    if person is not None:
        person = np.atleast_2d(person)
        size = config.codebook_size
        if (
            person.shape[1] != config.num_spatial_tokens
            or len(person) not in (1, len(descriptions))
            or not (person >= 0).all()
            or not (person < size).all()
        ):
            raise ValueError(f"person: expected ({config.num_spatial_tokens},) spatial codes below {size}, got {person.shape}")
        first = config.num_temporal_tokens + config.num_pathological_tokens
        given |= {first + i: np.broadcast_to(person[:, i], len(descriptions)) for i in range(person.shape[1])}
    return given


@torch.no_grad()
def decode_walks(
    decoder: GaitDecoderModel,
    codes: list[GaitCodes],
    num_frames: int | None = None,
    noise: bool = False,
    seed: int = 0,
    batch_size: int = 128,
) -> np.ndarray:
    """Codes of N walks -> joints float32 (N, num_frames, J, 3) [m]; `noise` as the sensor would measure them."""
    generator, out = torch.Generator().manual_seed(seed), []
    for at in range(0, len(codes), batch_size):
        part = {k: v.to(decoder.device) for k, v in stack_codes(codes[at : at + batch_size]).items()}
        out.append(decoder(**part, num_frames=num_frames, noise=noise, generator=generator).joints.float().cpu().numpy())
    return np.concatenate(out)


@torch.no_grad()
def generate_walks(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    decoder: GaitDecoderModel,
    descriptions: list[WalkDescription],
    num_frames: int | None = None,
    sensor: bool = False,
    person: np.ndarray | None = None,
    **options,
) -> tuple[np.ndarray, list[GaitCodes]]:
    """Descriptions -> joints (N, num_frames, J, 3) [m] and codes; `options` go to `sample_codes`.

    GPT-2 has learnt right-affected walks: one that is affected on the left is asked for as its mirror image, and its class
    code then says left, so that the pathology is on the left of the same person.

    Args:
        num_frames: any number; beyond a window the walk goes on by its own cycles.
        sensor: as the sensor of the training data would measure it, with drift and noise, instead of a skeleton.
        person: spatial codes (S,) or (N, S) of somebody.
    """
    left = [d.side == "left" for d in descriptions]
    asked = [d.mirrored() if m else d for d, m in zip(descriptions, left)]
    prompts = [d.to_prompt() + tokenizer.number_tokens(d) for d in asked]
    codes = sample_codes(model, tokenizer, prompts, given_codes(decoder, asked, person), sensor, **options)
    pathological = torch.from_numpy(np.stack([c.pathological for c in codes])).to(decoder.device)
    wanted = torch.tensor([np.nan if d.severity is None else d.severity for d in asked], device=decoder.device)
    pathological = decoder.codebooks.graded(
        pathological, decoder.codebooks.severity_line[0] + decoder.codebooks.severity_line[1] * wanted
    )
    pathological[:, 0] += torch.tensor(left, device=decoder.device).long() * decoder.config.num_labels
    codes = [replace(c, pathological=p) for c, p in zip(codes, pathological.cpu().numpy())]
    return decode_walks(
        decoder, codes, num_frames, noise=sensor, seed=1_000_003 * (options.get("seed") or 0) + options.get("first", 0)
    ), codes


# What a walk's number may differ from the one asked for and still be near it.
NEAR = {"speed": 0.1, "cadence": 6.0}  # m/s, steps/min


@torch.no_grad()
def choose_walks(
    joints: np.ndarray, codes: list[GaitCodes], descriptions: list[WalkDescription], vq: GaitVQModel
) -> np.ndarray:
    """Rows (N,) of the one walk of each description that fits it best, of joints (N * K, T, J, 3) [m], K walks of each in turn.

    Least is the sum of the squares of how far speed and cadence are from those asked for, in `NEAR`, of how far what was not
    asked for is from the middle of the candidates, in five times that, so that the likely wins over the extreme; and 10 where
    the tokeniser reads another class or side. What cannot be measured counts as three of these away.
    """
    count, config = len(joints) // len(descriptions), vq.config
    labels = {name: int(i) for i, name in config.id2label.items()}
    walks = torch.from_numpy(joints).to(vq.device).split(120)
    said = torch.cat([vq.logits(vq.waves(part)) for part in walks]).argmax(-1).cpu().numpy()
    wanted = np.repeat([labels[d.pathology] + config.num_labels * (d.side == "left") for d in descriptions], count)
    amount = vq.codebooks.amount(stack_codes(codes)["pathological_codes"].to(vq.device)).nan_to_num(1.0).cpu().numpy()
    measured = [compute_gait_parameters(walk, config.fps, vq.codebooks.skeleton) for walk in joints]
    cost = 10.0 * (said != wanted).reshape(-1, count)
    amount = amount.reshape(-1, count)
    cost += ((amount - np.median(amount, axis=1, keepdims=True)) / 0.5) ** 2
    for name, near in NEAR.items():
        value = np.array([m[name] for m in measured]).reshape(-1, count)
        asked = np.array([np.nan if getattr(d, name) is None else getattr(d, name) for d in descriptions])[:, None]
        middle = np.nanmedian(np.where(np.isfinite(value).any(1, keepdims=True), value, 0), axis=1, keepdims=True)
        away = np.where(np.isfinite(asked), (value - asked) / near, (value - middle) / (5 * near))
        cost += np.where(np.isfinite(away), away, 3.0) ** 2
    return cost.argmin(1) + count * np.arange(len(descriptions))


def best_walks(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    decoder: GaitDecoderModel,
    vq: GaitVQModel,
    descriptions: list[WalkDescription],
    candidates: int,
    first: int = 0,
    **options,
) -> tuple[np.ndarray, list[GaitCodes]]:
    """As `generate_walks`, the best of so many candidates for each description by `choose_walks`."""
    each = [d for d in descriptions for _ in range(candidates)]
    joints, codes = generate_walks(model, tokenizer, decoder, each, first=first * candidates, **options)
    chosen = choose_walks(joints, codes, descriptions, vq)
    return joints[chosen], [codes[i] for i in chosen]
