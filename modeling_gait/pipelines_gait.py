"""Pipelines: `text-to-gait` (a description to a 3D walk) and `gait-to-text` (a walk to words and numbers).

In: prompts; or walks as arrays (T, J, 3) [m] or skeleton files. Out: dictionaries, see each class.
Both load a *family* folder or Hub repository: GPT-2, tokeniser and processor at the top, `vq/` and `decoder/` in it.
"""

import warnings
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    GPT2Config,
    LogitsProcessor,
    LogitsProcessorList,
    Pipeline,
    PreTrainedModel,
)
from transformers.pipelines import PIPELINE_REGISTRY

from .augmentation import mirror
from .captions import PATHOLOGIES, WalkDescription, check_faithfulness, describe_walk, parse_prompt
from .feature_extraction_gait import GaitFeatureExtractor
from .gait_parameters import compute_gait_parameters
from .loading import load_walk
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_vq import GaitVQModel
from .skeletons import SKELETONS
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
        output = model.base_model(ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True)
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


def family_of(pipeline: Pipeline) -> dict[str, str]:
    """Where the other parts of a GPT-2's family are: its folder or repository, at the revision of its tokeniser."""
    revision = getattr(pipeline.tokenizer, "revision", None) or "main"
    return {"pretrained_model_name_or_path": pipeline.model.name_or_path, "revision": revision}


def _refuse_unknown(options: dict, *known: str) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"unknown option {', '.join(unknown)}; known: {', '.join(known)}")


class TextToGaitPipeline(Pipeline):
    """Descriptions to walks.

        pipe = pipeline("text-to-gait", model=FOLDER)
        walk = pipe("severe steppage gait, right side, 0.6 m/s, 96 steps/min")
        walk["joints"]   # float32 (96, 25, 3) [m], x right, y forward, z up

    Call arguments: `num_frames` (of 30 a second, a multiple of 4), `temperature` (0.7), `top_p` (1), `seed`, `batch_size`;
    `candidates` (1): so many walks are sampled of each prompt and the one that fits it best is returned, see `choose_walks`;
    `person`: a walk of somebody, a skeleton file or joints (T, J, 3) [m] of 30 frames a second walking along +y, whose body
    codes (bones, posture, usual speed) all walks get.
    Each result is a dict: `joints` (T, J, 3), `fps`, `skeleton`, `prompt` (as given), `description` (what was understood,
    a WalkDescription), `codes` (GaitCodes).

    A prompt is read by `captions.parse_prompt`, which raises ValueError for one that is empty, names no known gait or
    contradicts itself; GPT-2 gets its canonical form, so it never sees a class that it was not trained on. A one-sided gait
    whose side is not said comes out affected on the right.
    """

    _load_tokenizer = True

    def __init__(self, *args, decoder: GaitDecoderModel | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if decoder is None:
            decoder = GaitDecoderModel.from_pretrained(**family_of(self), subfolder="decoder")
        self.decoder = decoder.to(self.model.device).eval()

    @cached_property
    def vq(self) -> GaitVQModel:
        """The family's tokeniser; needed for `person` and `candidates` only."""
        return GaitVQModel.from_pretrained(**family_of(self), subfolder="vq").to(self.model.device).eval()

    @cached_property
    def extractor(self) -> GaitFeatureExtractor:
        return GaitFeatureExtractor.from_pretrained(**family_of(self))

    def _sanitize_parameters(self, num_frames=None, temperature=None, top_p=None, seed=None, person=None, candidates=None, **_):
        if num_frames is not None and (num_frames < 4 or num_frames % self.decoder.config.downsampling):
            raise ValueError(f"num_frames must be a multiple of {self.decoder.config.downsampling}, got {num_frames}")
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
        if candidates is not None and candidates < 1:
            raise ValueError(f"candidates must be 1 or more, got {candidates}")
        given = {"num_frames": num_frames, "temperature": temperature, "top_p": top_p, "seed": seed, "candidates": candidates}
        if person is not None:
            given["body_codes"] = self.body_codes(person)
        return {}, {k: v for k, v in given.items() if v is not None}, {}

    def __call__(self, prompts: str | list[str], batch_size: int = 250, **kwargs) -> dict | list[dict]:
        """One prompt -> one result, a list -> a list. Shows a progress bar for more than one batch."""
        _refuse_unknown(kwargs, "num_frames", "temperature", "top_p", "seed", "person", "candidates")
        _, options, _ = self._sanitize_parameters(**kwargs)
        single = isinstance(prompts, str)
        asked = [self.preprocess(p) for p in ([prompts] if single else prompts)]
        results = []
        batch_size = max(1, batch_size // options.get("candidates", 1))
        starts = range(0, len(asked), batch_size)
        for at in tqdm(starts, desc="walks", disable=len(starts) < 2):
            now = dict(options, seed=options["seed"] + at) if "seed" in options else options
            results += self.postprocess(self._forward(asked[at : at + batch_size], **now))
        return results[0] if single else results

    @torch.no_grad()
    def body_codes(self, person: str | Path | np.ndarray) -> np.ndarray:
        """Body codes (S,) of somebody's walk; what the family's tokeniser makes of its middle window."""
        window, mask = self.extractor.window(prepare_walk(self.extractor, person))
        features = self.extractor.to_features(torch.from_numpy(window)[None])
        codes = self.vq.encode(features.to(self.vq.device), torch.from_numpy(mask)[None].to(self.vq.device))
        return codes.body_codes[0].cpu().numpy()

    def preprocess(self, prompt: str) -> dict:
        description = parse_prompt(prompt)
        known = getattr(self.model.config, "gait_labels", None) or PATHOLOGIES
        if description.pathology not in known:
            raise ValueError(f"this model was not trained on {description.pathology} gait; it knows {', '.join(known)}")
        return {"prompt": prompt, "description": description}

    def _forward(self, asked: list[dict], num_frames: int = 96, candidates: int = 1, **options) -> dict:
        descriptions = [a["description"] for a in asked]
        models = self.model, self.tokenizer, self.decoder
        if candidates > 1:
            parts = *models, self.vq, self.extractor
            joints, codes = best_walks(*parts, descriptions, num_frames, candidates, **options)
        else:
            joints, codes = generate_walks(*models, descriptions, num_frames, **options)
        return {"asked": asked, "codes": codes, "joints": joints}

    def postprocess(self, outputs: dict) -> list[dict]:
        shared = {"fps": self.decoder.config.fps, "skeleton": self.decoder.config.skeleton}
        return [
            {"joints": joints, **shared, **asked, "codes": codes}
            for joints, asked, codes in zip(outputs["joints"], outputs["asked"], outputs["codes"])
        ]


def prepare_walk(
    extractor: GaitFeatureExtractor, walk: str | Path | np.ndarray, fps: float | None = None, skeleton: str | None = None
) -> np.ndarray:
    """A skeleton file or joints (T, J, 3) [m] as the extractor wants them: its skeleton, its frame rate, along +y."""
    if isinstance(walk, str | Path):
        loaded = load_walk(walk, skeleton=skeleton, fps=fps)
        return extractor.prepare(loaded.joints, loaded.fps, loaded.skeleton.name, loaded.times)
    return extractor.prepare(walk, fps, skeleton)


class TextOnlyLogitsProcessor(LogitsProcessor):
    """Lets `generate` write words only, no motion tokens."""

    def __init__(self, tokenizer: GaitTokenizer):
        self.first = tokenizer.gait_start_id

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        scores = scores.clone()
        scores[:, self.first :] = float("-inf")
        return scores


class GaitToTextPipeline(Pipeline):
    """Walks to words and numbers.

        pipe = pipeline("gait-to-text", model=FOLDER)
        pipe("walk.csv")["text"]   # "steppage gait, right side, moderate, speed 0.65 m/s, ..."

    In: a skeleton file (CSV, NPZ, BVH), or joints (T, J, 3) [m] with `fps` and `skeleton`; or a list of these.
    Each result is a dict: `text` (written by GPT-2 from the codes), `pathology` (as GPT-2 names it, None if it names none),
    `class_probabilities` (read from the pathological codes), `gait_parameters` (measured from the joints), `problems` (what in
    the text does not agree with the measured numbers; see `captions.check_faithfulness`).
    """

    _load_tokenizer = True
    _load_feature_extractor = False

    def __init__(self, *args, vq: GaitVQModel | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.vq = (vq or GaitVQModel.from_pretrained(**family_of(self), subfolder="vq")).to(self.model.device).eval()
        self.extractor = GaitFeatureExtractor.from_pretrained(**family_of(self))

    def _sanitize_parameters(self, fps=None, skeleton=None, **_):
        return {k: v for k, v in (("fps", fps), ("skeleton", skeleton)) if v is not None}, {}, {}

    def __call__(self, walks, **kwargs) -> dict | list[dict]:
        """One walk -> one result, a list -> a list."""
        _refuse_unknown(kwargs, "fps", "skeleton")
        options, _, _ = self._sanitize_parameters(**kwargs)
        single = isinstance(walks, str | Path) or (isinstance(walks, np.ndarray) and walks.ndim == 3)
        results = [
            self.postprocess(self._forward(self.preprocess(walk, **options)))
            for walk in tqdm([walks] if single else walks, desc="descriptions", disable=single)
        ]
        return results[0] if single else results

    def preprocess(self, walk, fps: float | None = None, skeleton: str | None = None) -> dict:
        joints = prepare_walk(self.extractor, walk, fps, skeleton)
        window, mask = self.extractor.window(joints)
        return {"joints": joints, "window": torch.from_numpy(window)[None], "mask": torch.from_numpy(mask)[None]}

    @torch.no_grad()
    def _forward(self, inputs: dict) -> dict:
        features = self.extractor.to_features(inputs["window"]).to(self.model.device)
        output = self.vq(features, inputs["mask"].to(self.model.device))
        steps = int(inputs["mask"].sum()) // self.vq.config.downsampling
        codes = GaitCodes(
            output.motion_codes[0, :steps].cpu().numpy(),
            output.body_codes[0].cpu().numpy(),
            output.pathological_codes[0].cpu().numpy(),
        )
        prompt = torch.tensor([[self.tokenizer.eos_token_id, *self.tokenizer.encode_codes(codes)]], device=self.model.device)
        ids = self.model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=96,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([TextOnlyLogitsProcessor(self.tokenizer)]),
        )
        text = self.tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True).strip()
        return {
            "text": text,
            "probabilities": output.class_logits[0].softmax(-1).cpu(),
            "joints": inputs["joints"],
            "codes": codes,
        }

    def postprocess(self, outputs: dict) -> dict:
        parameters = compute_gait_parameters(outputs["joints"], self.extractor.fps, SKELETONS[self.extractor.skeleton])
        pathology = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                said = parse_prompt(outputs["text"])
            except ValueError as error:
                problems = [f"the text cannot be read: {error}"]
            else:
                pathology, side = said.pathology, None if said.side == "unknown" else said.side
                problems = check_faithfulness(outputs["text"], describe_walk(parameters, pathology, said.severity, side=side))
        return {
            "text": outputs["text"],
            "pathology": pathology,
            "class_probabilities": dict(zip(self.extractor.labels, outputs["probabilities"].tolist())),
            "gait_parameters": parameters,
            "problems": problems,
            "codes": outputs["codes"],
        }


class GaitFamilyConfig(GPT2Config):
    """What a family's `auto_map` names as its configuration: GPT-2's own, which knows the two pipelines as well.

    Only `trust_remote_code=True` reads it. Were `custom_pipelines` written to config.json, `pipeline` would ask for
    `trust_remote_code` also where this package is installed and has registered them.
    """

    @classmethod
    def from_pretrained(cls, *args, **kwargs) -> GPT2Config | tuple[GPT2Config, dict]:
        """As `GPT2Config.from_pretrained`."""
        loaded = GPT2Config.from_pretrained(*args, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        config.custom_pipelines = {
            task: {"impl": f"pipelines_gait.{kind.__name__}", "pt": ["AutoModelForCausalLM"]} for task, kind in PIPELINES
        }
        return loaded


PIPELINES = (("text-to-gait", TextToGaitPipeline), ("gait-to-text", GaitToTextPipeline))
for _task, _pipeline in PIPELINES:
    PIPELINE_REGISTRY.register_pipeline(_task, pipeline_class=_pipeline, pt_model=AutoModelForCausalLM, type="text")

__all__ = [
    "GaitFamilyConfig",
    "GaitToTextPipeline",
    "TextToGaitPipeline",
    "best_walks",
    "choose_walks",
    "decode_walks",
    "generate_walks",
    "sample_codes",
]
