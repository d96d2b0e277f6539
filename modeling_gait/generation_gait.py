"""From descriptions to walks: sampling the codes of GPT-2 under the grammar, decoding them, choosing among candidates.

In: a family's parts (GPT-2, tokeniser, decoder; for choosing its tokeniser of walks and feature extractor) and descriptions.
Out: codes; joints float32 (N, T, J, 3) [m], x right, y forward, z up.
"""

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from .captions import WalkDescription
from .feature_extraction_gait import GaitFeatureExtractor
from .gait_parameters import compute_gait_parameters
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_vq import GaitVQModel
from .skeletons import SKELETONS, mirror
from .tokenization_gait import GAIT_START, GaitCodes, GaitTokenizer


@torch.no_grad()
def sample_codes(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    prompts: list[str],
    num_steps: int,
    temperature: float = 0.7,
    top_p: float = 1.0,
    seed: int | None = None,
    body_codes: np.ndarray | None = None,
) -> list[GaitCodes]:
    """One walk of `num_steps` latent steps for each prompt, sampled by GPT-2 under the grammar, so that all can be decoded.

    At each position only the codes that the grammar allows are scored, so this is several times faster than `generate` with
    `GaitGrammarLogitsProcessor`, and draws from the same distribution. `seed` makes the draw repeatable without touching the
    caller's random state. An empty prompt gives an unconditional walk. `body_codes` (S,) or (B, S): the walks of these people,
    instead of sampled ones. Raises ValueError where a walk is longer than the model, or the body codes do not fit.
    """
    given = {} if body_codes is None else given_tokens(tokenizer, body_codes, len(prompts))
    texts = [tokenizer.eos_token + prompt + GAIT_START for prompt in prompts]
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(model.device)
    length = inputs["input_ids"].shape[1] + len(tokenizer.grammar(num_steps)) - 1
    if length > model.config.n_positions:
        raise ValueError(
            f"prompt and walk make {length} tokens, the model takes {model.config.n_positions}: ask for fewer frames"
        )
    generator = torch.Generator(model.device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    ids, mask, cache = inputs["input_ids"], inputs["attention_mask"], DynamicCache()
    rows, drawn = model.get_output_embeddings().weight, []
    for at, (low, high) in enumerate(tokenizer.grammar(num_steps)[:-1]):
        position = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model.base_model(ids, attention_mask=mask, position_ids=position, cache=cache, use_cache=True)
        scores = output.last_hidden_state[:, -1] @ rows[low:high].T
        probabilities = _nucleus((scores.float() / temperature).softmax(-1), top_p)
        ids = low + torch.multinomial(probabilities, 1, generator=generator)
        if at in given:
            ids = given[at].to(ids)
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        drawn.append(ids)
    walks = torch.cat(drawn, dim=1).cpu().tolist()
    return [tokenizer.decode_codes([tokenizer.gait_start_id, *walk, tokenizer.gait_end_id]) for walk in walks]


def given_tokens(tokenizer: GaitTokenizer, body_codes: np.ndarray, count: int) -> dict[int, torch.Tensor]:
    """Position after `<gait>` -> ids (count, 1) of body codes (S,) or (count, S)."""
    first, (_, slots, size) = tokenizer.motion_blocks[0][1], tokenizer.motion_blocks[1]
    codes = np.atleast_2d(body_codes)
    if codes.shape[1] != slots or len(codes) not in (1, count) or codes.min() < 0 or codes.max() >= size:
        raise ValueError(f"body_codes: expected ({slots},) or ({count}, {slots}) codes below {size}, got {codes.shape}")
    starts = torch.tensor(tokenizer.slot_starts()["bdy"])
    ids = (torch.from_numpy(codes.astype(np.int64)) + starts).expand(count, -1)
    return {first + slot: ids[:, [slot]] for slot in range(slots)}


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probabilities (B, V) without the least likely codes beyond a sum of `top_p` (Holtzman et al. 2020, arXiv 1904.09751)."""
    if top_p >= 1:
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return torch.zeros_like(probabilities).scatter(-1, order, ordered)


@torch.no_grad()
def decode_walks(decoder: GaitDecoderModel, codes: list[GaitCodes], batch_size: int = 128) -> np.ndarray:
    """Codes of N walks of equal length -> joints float32 (N, T, J, 3) [m]."""
    out = []
    for at in range(0, len(codes), batch_size):
        part = codes[at : at + batch_size]
        motion, body, pathological = (
            torch.from_numpy(np.stack([getattr(c, name) for c in part])).to(decoder.device)
            for name in ("motion", "body", "pathological")
        )
        out.append(decoder(motion, body, pathological).joints.float().cpu().numpy())
    return np.concatenate(out)


def generate_walks(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    decoder: GaitDecoderModel,
    descriptions: list[WalkDescription],
    num_frames: int = 96,
    **options,
) -> tuple[np.ndarray, list[GaitCodes]]:
    """Descriptions -> joints (N, num_frames, J, 3) [m] and codes, of equal length; `options` go to `sample_codes`.

    GPT-2 has learnt right-affected walks, so one that is affected on the left is asked for and sampled as its mirror image, and
    its joints are mirrored (its codes are not).
    """
    left = [d.side == "left" for d in descriptions]
    prompts = [(d.mirrored() if m else d).to_prompt() for d, m in zip(descriptions, left)]
    codes = sample_codes(model, tokenizer, prompts, num_frames // decoder.config.downsampling, **options)
    joints = decode_walks(decoder, codes)
    if any(left):
        joints[left] = mirror(torch.from_numpy(joints[left]), decoder.skeleton).numpy()
    return joints, codes


# What a walk's number may differ from the one asked for and still be near it.
NEAR = {"speed": 0.1, "cadence": 6.0}  # m/s, steps/min


@torch.no_grad()
def choose_walks(
    joints: np.ndarray, descriptions: list[WalkDescription], vq: GaitVQModel, extractor: GaitFeatureExtractor
) -> np.ndarray:
    """Rows (N,) of the one walk of each description that fits it best, of joints (N * K, T, J, 3) [m], K walks of each in turn.

    Least is: minus the log probability of the class, read by the tokeniser from the walk, plus the squares of how far measured
    speed and cadence are from those asked for, in `NEAR`; what cannot be measured counts as three of these away.
    """
    count = len(joints) // len(descriptions)
    turned = torch.from_numpy(joints.copy())  # as they were sampled, so that left and right choose alike
    left = torch.tensor([d.side == "left" for d in descriptions]).repeat_interleave(count)
    turned[left] = mirror(turned[left], SKELETONS[extractor.skeleton])
    features = extractor.to_features(turned).to(vq.device)
    mask = torch.ones(features.shape[:2], dtype=torch.long, device=vq.device)
    logits = torch.cat([vq.pathology_logits(f, m) for f, m in zip(features.split(250), mask.split(250))])
    misfit = -logits.float().log_softmax(-1).cpu().numpy()
    cost = np.empty(len(joints))
    for i, walk in enumerate(joints):
        asked = descriptions[i // count]
        cost[i] = misfit[i, extractor.labels.index(asked.pathology)]
        numbers = {k: getattr(asked, k) for k in NEAR if getattr(asked, k) is not None}
        if numbers:
            measured = compute_gait_parameters(walk, extractor.fps, SKELETONS[extractor.skeleton])
            away = [(measured[k] - v) / NEAR[k] for k, v in numbers.items()]
            cost[i] += sum(a * a if np.isfinite(a) else 9.0 for a in away)
    return cost.reshape(-1, count).argmin(1) + count * np.arange(len(descriptions))


def best_walks(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    decoder: GaitDecoderModel,
    vq: GaitVQModel,
    extractor: GaitFeatureExtractor,
    descriptions: list[WalkDescription],
    num_frames: int,
    candidates: int,
    **options,
) -> tuple[np.ndarray, list[GaitCodes]]:
    """As `generate_walks`, the best of so many candidates for each description by `choose_walks`."""
    each = [d for d in descriptions for _ in range(candidates)]
    joints, codes = generate_walks(model, tokenizer, decoder, each, num_frames, **options)
    chosen = choose_walks(joints, descriptions, vq, extractor)
    return joints[chosen], [codes[i] for i in chosen]
