"""From descriptions to walks: sampling the codes of GPT-2 under the grammar, decoding them, choosing among candidates.

In: a family's parts (GPT-2, tokeniser, decoder; for choosing its tokeniser of walks) and descriptions.
Out: codes; joints float32 (N, T, J, 3) [m], x right, y forward, z up.

What is asked for and is a part of the code is set, not sampled: class, side, speed and cadence; severity grades the pathology
that was sampled until the walk shows the clinical sign so much. GPT-2 writes the rest, knowing all of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from .captions import WalkDescription
from .class_reading import walk_input
from .gait_classes import GaitClass, GaitClasses
from .gait_events import SIDES
from .gait_parameters import ANGLE_PARAMETERS, compute_gait_parameters, cycle_parameters, mirror_image
from .kinematics import joint_track
from .modeling_gait_classifier import GaitForSequenceClassification
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_vq import GaitVQModel
from .tokenization_gait import GAIT_START, GaitCodes, GaitTokenizer, stack_codes
from .walk_checks import standing_slide
from .walk_description import QUANTITIES

AMOUNTS = np.array([0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8])  # of the mean pathology, which are tried for a severity
WAYS = ((1.0, AMOUNTS), (0.0, 1.5 * AMOUNTS))  # share of a walk's own way that is kept, and amounts: one after the other
MISSED = 0.1  # of the range of severity: a sign farther from what was asked is sought in the next way
STRIDES = 3.2  # that a clinical sign of events is measured over


class _ReservedLayer(DynamicLayer):
    """Keys and values with room for `length` tokens from the start: `DynamicLayer` copies all of them for every token."""

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def update(self, keys: torch.Tensor, values: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.room = [x.new_empty(*x.shape[:2], self.length, x.shape[3]) for x in (keys, values)]
        seen = self.get_seq_length()
        now = seen + keys.shape[2]
        for room, new in zip(self.room, (keys, values)):
            room[:, :, seen:now] = new
        self.keys, self.values = (room[:, :, :now] for room in self.room)
        return self.keys, self.values


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
    """One walk for each prompt (none for none), sampled by GPT-2 under the grammar, so that all can be decoded.

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
    if not prompts:
        return []
    texts = [tokenizer.eos_token + prompt + GAIT_START for prompt in prompts]
    if guidance != 1:
        texts += [tokenizer.eos_token + tokenizer.number_tokens() + GAIT_START] * len(prompts)
    inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False).to(model.device)
    allowed = tokenizer.grammar(sensor)[:-1]
    length = inputs["input_ids"].shape[1] + len(allowed)
    if length > model.config.n_positions:
        raise ValueError(f"prompt and walk make {length} tokens, the model takes {model.config.n_positions}: say less")
    generators = [np.random.default_rng(None if seed is None else [seed, first + i]) for i in range(len(prompts))]
    sizes = np.array([high - low for low, high in allowed])
    noise = torch.from_numpy(np.stack([g.standard_exponential(sizes.sum(), np.float32) for g in generators]))
    noise = noise.to(model.device).split(sizes.tolist(), dim=1)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    cache = Cache(layers=[_ReservedLayer(length) for _ in range(model.config.n_layer)])
    rows, drawn = model.get_output_embeddings().weight, []
    for at, (low, high) in enumerate(allowed):
        position = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = model.transformer(ids, attention_mask=mask, position_ids=position, cache=cache, use_cache=True)
        scores = (output.last_hidden_state[:, -1] @ rows[low:high].T).float()
        if guidance != 1:
            asked, free = scores.chunk(2)
            scores = free + guidance * (asked - free)
        probabilities = _nucleus((scores / temperature).softmax(-1), top_p)
        ids = (probabilities / noise[at]).argmax(-1, keepdim=True)  # as multinomial draws
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


def _pace(asked: WalkDescription) -> tuple[float | None, float | None]:
    """Speed [m/s] and cadence [steps/min] asked for; where a stride length stands for one of them, that which goes with it."""
    speed, cadence, stride = asked.speed, asked.cadence, asked.stride_length
    if stride and speed is None and cadence is not None:
        speed = stride * cadence / 120
    elif stride and cadence is None and speed is not None:
        cadence = 120 * speed / stride
    return speed, cadence


def given_codes(
    decoder: GaitDecoderModel, descriptions: list[WalkDescription], person: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """What descriptions (and the spatial codes (S,) or (N, S) of a person) say of the codes, for `sample_codes`."""
    config, grid = decoder.config, decoder.codebooks.temporal.codebook.detach().cpu().numpy()

    def nearest(column: int, values: list[float | None]) -> np.ndarray:
        return np.array([-1 if v is None else np.abs(grid[:, column] - v).argmin() for v in values])

    labels = {name: i for i, name in config.id2label.items()}
    speeds, cadences = zip(*map(_pace, descriptions))
    given = {
        0: nearest(0, [None if cadence is None else cadence / 120 for cadence in cadences]),
        1: nearest(1, speeds),
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
    seed: int | None = 0,
    first: int = 0,
    batch_size: int = 128,
) -> np.ndarray:
    """Codes of N walks -> joints float32 (N, num_frames, J, 3) [m]; `noise` as the sensor would measure them, of walk i drawn
    by (seed, `first` + i)."""
    out = []
    for at in range(0, len(codes), batch_size):
        part = {k: v.to(decoder.device) for k, v in stack_codes(codes[at : at + batch_size]).items()}
        options = {"num_frames": num_frames, "noise": noise}
        if noise:
            keys = [None if seed is None else [seed, first + at + i] for i in range(len(part["temporal_codes"]))]
            states = [int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys]
            options["generator"] = [torch.Generator().manual_seed(state) for state in states]
        out.append(decoder(**part, **options).joints.float().cpu().numpy())
    return np.concatenate(out)


def _sign(entry: GaitClass, parameters: Mapping, left: bool) -> float:
    """The clinical sign of a class in gait parameters of a walk affected on the right, or on the left; nan: not measured."""
    values = {}
    for name in entry.shown:
        other, way = mirror_image(name) if left else (name, 1)
        values[name] = np.nan if parameters[other] is None else way * parameters[other]
    return entry.sign(values)


@torch.no_grad()
def shown_signs(decoder: GaitDecoderModel, codes: dict[str, torch.Tensor], entries: list[GaitClass]) -> np.ndarray:
    """Clinical signs (N,) of walks, on the side of their codes, of the skeleton without a sensor: one cycle is enough for those
    of joint angles, others are of heel strikes and toe offs in several strides."""
    fps, skeleton, names = decoder.config.fps, decoder.skeleton, decoder.config.num_labels
    stride = fps / decoder.codebooks.temporal.lookup(codes["temporal_codes"])[:, 0].cpu().numpy()
    brief = np.array([ANGLE_PARAMETERS.issuperset(entry.shown) for entry in entries])
    frames = np.ceil(np.where(brief, 1, STRIDES) * stride).astype(int) + 1
    signs = np.full(len(entries), np.nan)
    for at in filter(len, (np.flatnonzero(brief), np.flatnonzero(~brief))):
        walks = decoder(**{k: v[at] for k, v in codes.items()}, num_frames=int(frames[at].max())).joints.float().cpu().numpy()
        walks = [walk[: frames[i]] for i, walk in zip(at, walks)]
        one = brief[at[0]]
        found = cycle_parameters(walks, skeleton) if one else [compute_gait_parameters(w, fps, skeleton) for w in walks]
        lefts = codes["pathological_codes"][at, 0] >= names
        signs[at] = [_sign(entries[i], numbers, bool(left)) for i, numbers, left in zip(at, found, lefts)]
    return signs


def _between(fine: np.ndarray, amounts: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Signs at amounts `fine`, between those at `amounts` that were measured; 0 where none was."""
    known = np.isfinite(shown)
    return np.interp(fine, amounts[known], shown[known]) if known.any() else np.zeros(len(fine))


def _nearest_sign(
    decoder: GaitDecoderModel, codes: dict, entries: list[GaitClass], target: np.ndarray, own: float, amounts: np.ndarray
) -> tuple[torch.Tensor, np.ndarray]:
    """Pathological codes (N, P) of the amounts whose walks show signs nearest to `target` (N,), and how far (N,) they are."""

    def sign_at(amount: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        graded = books.graded(asked, torch.from_numpy(amount).to(books.class_means), own)
        return graded, shown_signs(decoder, codes | {"pathological_codes": graded}, entries)

    books, asked, fine = decoder.codebooks, codes["pathological_codes"], np.linspace(amounts[0], amounts[-1], 181)
    graded, shown = zip(*(sign_at(np.full(len(asked), a)) for a in amounts))
    between = np.stack([_between(fine, amounts, signs) for signs in np.stack(shown, axis=1)])
    last = sign_at(fine[np.abs(between - target[:, None]).argmin(1)])
    error = np.nan_to_num(np.abs(np.stack((*shown, last[1])) - target), nan=np.inf)
    return torch.stack((*graded, last[0]))[error.argmin(0), np.arange(len(asked))], error.min(0)


@torch.no_grad()
def grade(decoder: GaitDecoderModel, codes: list[GaitCodes], descriptions: list[WalkDescription]) -> list[GaitCodes]:
    """Codes of walks with as much pathology as the severities ask for; without one they stay.

    A class with a clinical sign (`GaitClass.shown`) gets the amount whose walk shows what training people showed at that
    severity, or the nearest to it; where their severities are unknown, 0 is their mildest tenth and 1 their severest fifth.
    Where the way in which the walk shows its class does not reach it, the mean way of the class takes its place.
    Any other class gets 0.4 to 1.6 of its mean pathology.
    """
    books, count = decoder.codebooks, decoder.config.num_labels
    label = [int(c.pathological[0]) % count for c in codes]
    rows = [i for i, d in enumerate(descriptions) if d.severity is not None and label[i] != books.normal]
    if not rows:
        return codes
    part = {k: v.to(decoder.device) for k, v in stack_codes([replace(codes[i], sensor=None) for i in rows]).items()}
    severity = torch.tensor([descriptions[i].severity for i in rows], device=decoder.device)
    entries = [descriptions[i].classes[decoder.config.id2label[label[i]]] for i in rows]
    low, high = books.sign_range[part["pathological_codes"][:, 0] % count].unbind(1)
    wanted, span = (t.cpu().numpy() for t in (low + (high - low) * severity, high - low))
    graded = books.graded(part["pathological_codes"], 0.4 + 1.2 * severity)
    missed = np.where([entry.shown and s > 0 for entry, s in zip(entries, span)], np.inf, -np.inf)
    for own, amounts in WAYS:
        at = np.flatnonzero(missed > MISSED * span)
        if len(at):
            some, shown_by = {k: v[at] for k, v in part.items()}, [entries[i] for i in at]
            found, error = _nearest_sign(decoder, some, shown_by, wanted[at], own, amounts)
            nearer = error < missed[at]
            graded[at[nearer]], missed[at[nearer]] = found[nearer], error[nearer]
    out = list(codes)
    for i, pathological in zip(rows, graded.cpu().numpy()):
        out[i] = replace(codes[i], pathological=pathological)
    return out


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
    turn = np.eye(1, decoder.config.num_pathological_tokens, dtype=np.int64)[0] * decoder.config.num_labels
    codes = grade(decoder, [replace(c, pathological=c.pathological + turn * m) for c, m in zip(codes, left)], descriptions)
    return decode_walks(decoder, codes, num_frames, sensor, options.get("seed"), options.get("first", 0)), codes


# What a walk's number may differ from the one asked for and still be near it.
NEAR = {"speed": 0.1, "cadence": 6.0}  # m/s, steps/min
TOLD = NEAR | {"stride_length": 0.15, "knee_range_left": 12.0, "knee_range_right": 12.0, "severity": 0.34}  # m, degrees, 1


def _read(
    joints: np.ndarray, vq: GaitVQModel, classifier: GaitForSequenceClassification | None
) -> tuple[torch.Tensor, np.ndarray]:
    """Probabilities of the classes (N, L) of walks (N, T, J, 3), by the classifier or, without one, by the tokeniser in their
    first window, and the likeliest class and side (N,) as `GaitVQModel.logits` counts them; the side is the tokeniser's."""
    windows = torch.from_numpy(joints[:, : vq.config.num_frames]).to(vq.device).split(120)
    each = torch.cat([vq.logits(vq.waves(part)) for part in windows]).softmax(-1).cpu().unflatten(-1, (2, -1))
    if classifier is None:
        chances = each.sum(1)
    else:
        values = torch.cat([walk_input(walk, classifier.config) for walk in joints]).to(classifier.device)
        logits = torch.cat([classifier(input_values=part).logits for part in values.split(1024)]).float().cpu()
        chances = logits.softmax(-1).unflatten(0, (len(joints), -1)).mean(1)
    label = chances.argmax(-1)
    left = each[torch.arange(len(label)), :, label].argmax(-1)
    return chances, (label + left * each.shape[-1]).numpy()


@torch.no_grad()
def measure_walks(
    joints: np.ndarray,
    descriptions: list[WalkDescription],
    vq: GaitVQModel,
    classifier: GaitForSequenceClassification | None = None,
) -> list[dict]:
    """What is measured in walks (N, T, J, 3), beside what was asked for: gait parameters; `class_probabilities`, the likeliest
    `pathology` and its `side`, see `_read`; `severity` by the clinical sign (None where the class has none); and `missed`,
    sentences."""
    config, out = vq.config, []
    for walk, d, chances, label in zip(joints, descriptions, *_read(joints, vq, classifier)):
        found = compute_gait_parameters(walk, config.fps, vq.codebooks.skeleton)
        strides = [found[f"stride_length_{s}"] for s in ("left", "right")]
        found |= {"stride_length": float(np.mean(strides)), "pathology": config.id2label[int(label) % config.num_labels]}
        found["class_probabilities"] = {config.id2label[i]: p for i, p in enumerate(chances.tolist())}
        sided = found["pathology"] in d.classes and d.classes[found["pathology"]].side == "one"
        found |= {"side": ("left" if label >= config.num_labels else "right") if sided else None}
        found["severity"] = sign_severity(vq, found, d.pathology, _side(d), d.classes)
        ankles = np.stack([joint_track(walk, vq.codebooks.skeleton, f"{s}_ankle")[:, 1] for s in SIDES])
        slide = standing_slide(np.gradient(ankles, axis=1) * config.fps, found["speed"]) if len(walk) > 4 else None
        slides = (
            [] if slide is None else [f"the standing foot slides by {abs(slide):.2f} m/s: the legs do not go with the speed"]
        )
        found["missed"] = (*_missed(found, d), *slides)
        out.append(found)
    return out


def sign_severity(
    vq: GaitVQModel, parameters: Mapping, pathology: str | None, side: str | None, classes: GaitClasses
) -> float | None:
    """Severity 0..1 by the clinical sign in gait parameters; None where the class has none, it was not measured, or it is the
    sign of one leg and `side` does not say of which."""
    label = {name: int(i) for i, name in vq.config.id2label.items()}.get(pathology)
    if label is None or not classes[pathology].shown:
        return None
    if side not in SIDES and any(mirror_image(name) != (name, 1) for name in classes[pathology].shown):
        return None
    low, high = vq.codebooks.sign_range[label].tolist()
    sign = _sign(classes[pathology], parameters, side == "left")
    return float(np.clip((sign - low) / (high - low), 0, 1)) if high > low and np.isfinite(sign) else None


def _side(asked: WalkDescription) -> str:
    """The side that a walk made for a description is affected on, if any: the right unless it says left."""
    return "left" if asked.side == "left" else "right"


def _missed(found: dict, asked: WalkDescription) -> Iterator[str]:
    if asked.pathology and found["pathology"] != asked.pathology:
        sure = max(found["class_probabilities"].values())
        yield f"{asked.pathology} gait was asked for, the walk is read as {found['pathology']} (probability {sure:.2f})"
    elif asked.side in ("left", "right") and asked.entry and asked.entry.side == "both":
        yield f"the {asked.side} side was asked for, a {asked.entry.title} is affected on both"
    elif asked.side in ("left", "right") and found["side"] not in (asked.side, None):
        yield f"the {asked.side} side was asked for, the walk is read as affected on the {found['side']}"
    elif asked.side == "both" and found["side"]:
        yield f"both sides were asked for, the walk is affected on the {found['side']}"
    for name, near in TOLD.items():
        wanted, value, unit = getattr(asked, name), found[name], QUANTITIES[name].unit if name in QUANTITIES else ""
        if wanted is None or (name == "severity" and not asked.entry.shown):
            continue
        words = name.replace("_", " ")
        if value is None or not np.isfinite(value):
            yield f"{words} {round(wanted, 2):g} {unit} was asked for and could not be measured".replace("  ", " ")
        elif abs(value - wanted) > near:
            yield f"{words} {round(wanted, 2):g} {unit} was asked for, {value:.2f} is measured".replace("  ", " ")


@torch.no_grad()
def choose_walks(
    joints: np.ndarray,
    codes: list[GaitCodes],
    descriptions: list[WalkDescription],
    vq: GaitVQModel,
    classifier: GaitForSequenceClassification | None = None,
) -> np.ndarray:
    """Rows (N,) of the one walk of each description that fits it best, of joints (N * K, T, J, 3) [m], K walks of each in turn.

    Least is the sum of the squares of how far speed and cadence are from those asked for, in `NEAR`, and the severity that the
    clinical sign shows, in `TOLD`; of how far what was not asked for is from the middle of the candidates, in five times that,
    so that the likely wins over the extreme; and 10 where another class or side is read, as `measure_walks` reads them. What
    cannot be measured counts as three of these away. Of equals, the first.
    """
    count, config = len(joints) // len(descriptions), vq.config
    labels = {name: int(i) for i, name in config.id2label.items()}
    said = _read(joints, vq, classifier)[1]
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
    for i, d in enumerate(descriptions):
        if d.severity is not None and d.entry.shown:
            of = [sign_severity(vq, m, d.pathology, _side(d), d.classes) for m in measured[i * count : (i + 1) * count]]
            cost[i] += [9.0 if s is None else ((s - d.severity) / TOLD["severity"]) ** 2 for s in of]
    return cost.round(3).argmin(1) + count * np.arange(len(descriptions))  # two are as far from their middle: not by rounding


def best_walks(
    model: PreTrainedModel,
    tokenizer: GaitTokenizer,
    decoder: GaitDecoderModel,
    vq: GaitVQModel,
    descriptions: list[WalkDescription],
    candidates: int,
    first: int = 0,
    classifier: GaitForSequenceClassification | None = None,
    **options,
) -> tuple[np.ndarray, list[GaitCodes]]:
    """As `generate_walks`, the best of so many candidates for each description by `choose_walks`."""
    each = [d for d in descriptions for _ in range(candidates)]
    joints, codes = generate_walks(model, tokenizer, decoder, each, first=first * candidates, **options)
    chosen = choose_walks(joints, codes, descriptions, vq, classifier)
    return joints[chosen], [codes[i] for i in chosen]
