"""Pipelines: `text-to-gait` (a description to a 3D walk) and `gait-to-text` (a walk to words and numbers).

In: prompts; or walks as arrays (T, J, 3) [m] or skeleton files. Out: dictionaries, see each class.
Both load a *family* folder or Hub repository: GPT-2, tokeniser and processor at the top, `vq/` and `decoder/` in it.
"""

import warnings
from dataclasses import replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, LogitsProcessorList, Pipeline
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import cached_file

from .captions import check_faithfulness, describe_walk, parse_prompt, read_prompt
from .checked_model import check_loaded
from .class_reading import OTHER_LEGS, class_doubts, walk_input
from .feature_extraction_gait import GaitFeatureExtractor
from .generation_gait import best_walks, generate_walks, measure_walks, sign_severity
from .modeling_gait_classifier import GaitForSequenceClassification
from .modeling_gait_decoder import GaitDecoderModel
from .modeling_gait_vq import GaitVQModel
from .pipeline_saving import walks_a_pass
from .processing_gait import GaitProcessor
from .recording import each_thing, is_one, not_none
from .skeletons import SKELETONS, convert_joints
from .tokenization_gait import GaitCodes, GaitTokenizer
from .walk_checks import leg_length

MOST_FRAMES = 18_000  # of one walk: ten minutes
MOST = 2**32 - 1  # of seeds, and of what has no limit of its own


def family_of(pipeline: Pipeline) -> dict[str, str]:
    """Where the other parts of a GPT-2's family are: its folder or repository, at the revision of its tokeniser."""
    revision = getattr(pipeline.tokenizer, "revision", None) or "main"
    return {"pretrained_model_name_or_path": pipeline.model.name_or_path, "revision": revision}


def check_gpt2(pipeline: Pipeline) -> None:
    """Raises as `check_loaded`; transformers itself loads a family's GPT-2. One that is wrapped or adapted passes."""
    if type(pipeline.model) is GPT2LMHeadModel and not pipeline.model._hf_peft_config_loaded:
        check_loaded(pipeline.model, *family_of(pipeline).values())


def family_classifier(pipeline: Pipeline, labels: list[str]) -> GaitForSequenceClassification | None:
    """The classifier that a GPT-2's family has in `classifier/`, of these classes in this order; None where it has none."""
    where = family_of(pipeline) | {"subfolder": "classifier"}
    name = where.pop("pretrained_model_name_or_path")
    quiet = {f"_raise_exceptions_for_{kind}": False for kind in ("missing_entries", "connection_errors")}
    if cached_file(name, "config.json", **quiet, **where) is None:
        return None
    model = GaitForSequenceClassification.from_pretrained(name, **where).to(pipeline.model.device).eval()
    return model if list(model.config.id2label.values()) == list(labels) else None


def save_family(
    pipeline: Pipeline,
    folder: str | Path,
    vq: GaitVQModel,
    decoder: GaitDecoderModel,
    classifier: GaitForSequenceClassification | None,
    **kwargs,
) -> None:
    """Write the whole family of a pipeline, with its code, to a folder that `pipeline` loads."""
    processor = GaitProcessor.from_pretrained(**family_of(pipeline))
    pipeline.model.config.auto_map = {"AutoConfig": "pipelines_gait.GaitFamilyConfig"}
    for part, name in ((pipeline.model, ""), (vq, "vq"), (decoder, "decoder")):
        part.save_pretrained(Path(folder) / name, **kwargs)
        if name:
            processor.feature_extractor.save_pretrained(Path(folder) / name)
    if classifier is not None:
        classifier.save_pretrained(Path(folder) / "classifier", **kwargs)
    processor.save_pretrained(folder)
    custom_object_save(pipeline, folder)


class GeneratedWalk(dict):
    """A result of `text-to-gait`: a dict that a notebook shows as a moving skeleton."""

    def _repr_html_(self) -> str | None:
        try:
            from modeling_gait.drawing.rendering import walk_html
        except ImportError:  # remote code without the package: the plain dict is shown
            return None
        return walk_html(self["joints"], self["fps"], self["skeleton"], self["description"].to_prompt())


class TextToGaitPipeline(Pipeline):
    """Descriptions to walks.

        pipe = pipeline("text-to-gait", model=FOLDER)
        walk = pipe("severe steppage gait, right side, 0.6 m/s, 96 steps/min")
        walk["joints"]   # float32 (96, 25, 3) [m], x right, y forward, z up

    Call arguments: `num_frames` (of 30 a second; beyond a window the walk goes on by its own cycles), `temperature` (1),
    `top_p` (1), `guidance` (1: none, see `sample_codes`), `batch_size`; `seed`, by which walk i of a list is drawn, whatever
    the batches are (`first`, 0: the number of the list's first walk), without one by torch's random state (`set_seed`);
    `candidates` (1): so many walks are sampled of each prompt and the one that fits it best is returned, see `choose_walks`;
    `sensor` (False): as the sensor of the training data would measure the walk, with its noise and no bones of one length;
    `person`: a walk of somebody, as `read_recording` takes it, whose spatial codes (bones, posture, own normal cycle) all walks
    get; a UserWarning where their legs will be of another length. What is given to `pipeline` itself holds for every call.
    Each result is a `GeneratedWalk`, a dict: `joints` (T, J, 3), `fps`, `skeleton`, `prompt` (as given), `description` (what
    was understood, a WalkDescription), `unused` (what the prompt says and nothing here uses), `codes` (GaitCodes), `measured`
    (of the walk: gait parameters, nan where it shows too little; severity by the clinical sign, None where the gait has none;
    pathology, its probability among `class_probabilities` and side, as read by the family's classifier or, where it has none,
    by the tokeniser, which is no independent judge) and `missed` (what of the prompt they miss, sentences).

    A prompt is read by `captions.parse_prompt`, which raises ValueError for one that is empty, names no gait that the family
    was trained on or contradicts itself; GPT-2 gets its canonical form, so it never sees a class that it was not trained on. A
    one-sided gait whose side is not said comes out affected on the right.
    """

    _load_tokenizer = True
    _load_processor = False

    def __init__(self, *args, decoder: GaitDecoderModel | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if decoder is None:
            decoder = GaitDecoderModel.from_pretrained(**family_of(self), subfolder="decoder")
            check_gpt2(self)
        self.decoder = decoder.to(self.model.device).eval()

    @cached_property
    def vq(self) -> GaitVQModel:
        """The family's tokeniser of walks, which also reads the results."""
        return GaitVQModel.from_pretrained(**family_of(self), subfolder="vq").to(self.model.device).eval()

    @cached_property
    def classifier(self) -> GaitForSequenceClassification | None:
        """The family's classifier, which then says the class of the results; None where it has none of walks such as these."""
        model, own = family_classifier(self, self.extractor.labels), self.vq.config
        same = model and (model.config.skeleton, model.config.fps or own.fps) == (own.skeleton, own.fps)
        return model if same else None

    @cached_property
    def extractor(self) -> GaitFeatureExtractor:
        return GaitFeatureExtractor.from_pretrained(**family_of(self))

    def _sanitize_parameters(
        self,
        num_frames=None,
        temperature=None,
        top_p=None,
        guidance=None,
        seed=None,
        first=None,
        person=None,
        candidates=None,
        sensor=None,
    ):
        whole = {"num_frames": (num_frames, 2, MOST_FRAMES), "seed": (seed, 0, MOST), "first": (first, 0, MOST)}
        for name, (value, low, high) in (whole | {"candidates": (candidates, 1, MOST)}).items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high):
                raise ValueError(f"{name}: expected {low} to {high}, a whole number, got {value!r}")
        for name, value in (("temperature", temperature), ("top_p", top_p), ("guidance", guidance)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
                raise ValueError(f"{name}: expected a number, got {value!r}")
        if temperature is not None and not 1e-8 <= temperature <= 100:
            raise ValueError(f"temperature must be positive, 1e-8 to 100, got {temperature}")
        if not isinstance(sensor, bool | None):
            raise ValueError(f"sensor: expected True or False, got {sensor!r}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")
        if guidance is not None and not 0 <= guidance < 100:
            raise ValueError(f"guidance must be 0 or more, got {guidance}")
        person = None if person is None else self._window(person)
        sampling = {"temperature": temperature, "top_p": top_p, "guidance": guidance, "seed": seed, "first": first}
        return {}, not_none(**sampling, num_frames=num_frames, candidates=candidates, sensor=sensor, person=person), {}

    def __call__(
        self, prompts: str | list[str], batch_size: int | None = None, num_workers: int | None = None, **kwargs
    ) -> dict | list[dict]:
        """One prompt -> one result, a list -> a list. Shows a progress bar for more than one batch."""
        options = self._forward_params | self._sanitize_parameters(**kwargs)[1]
        single = isinstance(prompts, str)
        batch_size = walks_a_pass(self, batch_size, num_workers, default=250)
        if "seed" not in options:
            options["seed"] = int(torch.randint(2**31, ()))
        if "person" in options:
            options["person"] = self._encoded(*options["person"])
        asked = [self.preprocess(p) for p in ([prompts] if single else each_thing(prompts))]
        results = []
        batch_size = max(1, batch_size // options.get("candidates", 1))
        starts = range(0, len(asked), batch_size)
        for at in tqdm(starts, desc="walks", disable=len(starts) < 2):
            now = options | {"first": options.get("first", 0) + at}
            results += self.postprocess(self._forward(asked[at : at + batch_size], **now))
        return results[0] if single else results

    def spatial_codes(self, person) -> np.ndarray:
        """Spatial codes (S,) of somebody's walk; what the family's tokeniser makes of its middle window. Warns where walks of
        these codes have legs of another length: nobody whom the family learnt from was so small, or so tall."""
        return self._encoded(*self._window(person))

    def _window(self, person) -> tuple[np.ndarray, np.ndarray]:
        """Joints (N, J, 3) [m] and mask (N,) of the middle of somebody's walk."""
        return self.extractor.window(self.extractor.prepare(person))

    @torch.no_grad()
    def _encoded(self, window: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Spatial codes (S,) by the tokeniser as it is now, so that a model that was trained on changes them."""
        window, mask = (torch.from_numpy(part)[None].to(self.vq.device) for part in (window, mask))
        codes = self.vq.encode(window, mask)
        names = ("temporal_codes", "pathological_codes", "spatial_codes")
        made = self.decoder(**{name: codes[name] for name in names}).joints[0].float().cpu().numpy()
        own, made = leg_length(window[0].cpu().numpy(), self.vq.codebooks.skeleton), leg_length(made, self.decoder.skeleton)
        if abs(made / own - 1) > OTHER_LEGS:
            warnings.warn(f"person: legs of {own:.2f} m, the walks will have legs of {made:.2f} m", UserWarning, stacklevel=3)
        return codes.spatial_codes[0].cpu().numpy()

    def preprocess(self, prompt: str) -> dict:
        if not isinstance(prompt, str):
            raise TypeError(f"expected a prompt or a list of prompts, got one of type {type(prompt).__name__}")
        return {"prompt": prompt, "description": parse_prompt(prompt, self.extractor.classes)}

    def _forward(self, asked: list[dict], candidates: int = 1, **options) -> dict:
        descriptions = [a["description"] for a in asked]
        models = self.model, self.tokenizer, self.decoder
        if candidates > 1:
            joints, codes = best_walks(*models, self.vq, descriptions, candidates, classifier=self.classifier, **options)
        else:
            joints, codes = generate_walks(*models, descriptions, **options)
        seen, own = joints, self.vq.codebooks.skeleton
        if self.decoder.skeleton is not own:
            seen = np.stack([convert_joints(walk, self.decoder.skeleton, own) for walk in joints]).astype(np.float32)
        measured = measure_walks(seen, descriptions, self.vq, self.classifier)
        return {"asked": asked, "codes": codes, "joints": joints, "measured": measured}

    def postprocess(self, outputs: dict) -> list[dict]:
        shared = {"fps": self.decoder.config.fps, "skeleton": self.decoder.config.skeleton}
        results = []
        for joints, asked, codes, measured in zip(*(outputs[k] for k in ("joints", "asked", "codes", "measured"))):
            told = {"unused": asked["description"].unused, "missed": measured.pop("missed"), "measured": measured}
            results.append(GeneratedWalk({"joints": joints, **shared, **asked, "codes": codes, **told}))
        return results

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """The whole family, see `save_family`."""
        save_family(self, save_directory, self.vq, self.decoder, family_classifier(self, self.extractor.labels), **kwargs)


class TextOnlyLogitsProcessor(LogitsProcessor):
    """Lets `generate` write words only, no motion tokens."""

    def __init__(self, tokenizer: GaitTokenizer):
        self.first = tokenizer.first_number_id

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        scores = scores.clone()
        scores[:, self.first :] = float("-inf")
        return scores


class GaitToTextPipeline(Pipeline):
    """Walks to words and numbers.

        pipe = pipeline("gait-to-text", model=FOLDER)
        pipe("walk.csv")["text"]   # "steppage gait, right side, moderate, speed 0.65 m/s, ..."

    In: a walk or several, as `recording.read_recordings` takes them: files, joints (T, J, 3) with `fps` and `skeleton`, dicts,
    ... Each result is a dict: `text` (class, side and severity, numbers as measured), `written` (GPT-2's own text),
    `pathology`, `class_probabilities`, `gait_parameters` (measured from the joints, nan where they show too little), `problems`
    (what in the text does not agree with them, see `captions.check_faithfulness`: nothing, as it is made of them), `doubts`
    (what was assumed of the walk or looks wrong in it, a sentence each). Where nobody walks: ValueError.

    The class is GPT-2's, the likeliest where it names none, and its probabilities are the tokeniser's, read from the cycle;
    but where the family has a classifier (`classifier/`) of the same classes both are the classifier's: codes of a tokeniser
    that saw simulated walks alone tell the classes of measured walks badly (experiments/LOG.md, 2026-11-28). Side and severity
    are GPT-2's where it names that class, else the side is as measured; a clinical sign that is measured on that side says the
    severity first.
    """

    _load_tokenizer = True
    _load_processor = False
    _load_feature_extractor = False

    def __init__(self, *args, vq: GaitVQModel | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if vq is None:
            vq = GaitVQModel.from_pretrained(**family_of(self), subfolder="vq")
            check_gpt2(self)
        self.vq = vq.to(self.model.device).eval()
        self.extractor = GaitFeatureExtractor.from_pretrained(**family_of(self))
        self.classifier = family_classifier(self, self.extractor.labels)

    def _sanitize_parameters(self, fps=None, skeleton=None):
        return not_none(fps=fps, skeleton=skeleton), {}, {}

    def __call__(self, walks, batch_size: int | None = None, num_workers: int | None = None, **kwargs) -> dict | list[dict]:
        """One walk -> one result, a list -> a list; one by one, whatever `batch_size` and `num_workers` say."""
        walks_a_pass(self, batch_size, num_workers)
        options = self._preprocess_params | self._sanitize_parameters(**kwargs)[0]
        single = is_one(walks)
        results = [
            self.postprocess(self._forward(self.preprocess(walk, **options)))
            for walk in tqdm([walks] if single else each_thing(walks), desc="descriptions", disable=single)
        ]
        return results[0] if single else results

    def preprocess(self, walk, fps: float | None = None, skeleton: str | None = None) -> dict:
        recording = self.extractor.read(walk, fps, skeleton)
        window, mask = self.extractor.window(recording.for_model(SKELETONS[self.extractor.skeleton], self.extractor.fps))
        return {"recording": recording, "window": torch.from_numpy(window)[None], "mask": torch.from_numpy(mask)[None]}

    @torch.no_grad()
    def _forward(self, inputs: dict) -> dict:
        output = self.vq(inputs["window"].to(self.model.device), inputs["mask"].to(self.model.device))
        kinds = ("temporal", "pathological", "spatial", "sensor")
        codes = GaitCodes(*(output[f"{kind}_codes"][0].cpu().numpy() for kind in kinds))
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
        each, doubts = self._classify(inputs["recording"], output.class_logits)
        out = {"text": text, "probabilities": each.mean(0), "doubts": doubts}
        return out | {"recording": inputs["recording"], "codes": codes}

    def _classify(self, recording, logits: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
        """Probabilities (N, L) by the family's classifier, else of these logits of the tokeniser; what makes them doubtful."""
        joints = config = None
        if self.classifier is not None:
            config = self.classifier.config
            joints = recording.for_model(SKELETONS[config.skeleton], config.fps or self.extractor.fps)
            logits = self.classifier(walk_input(joints, config).to(self.classifier.device)).logits
        each = logits.float().softmax(-1).cpu()
        return each, class_doubts(each, dict(enumerate(self.extractor.labels)), config, joints)

    def postprocess(self, outputs: dict) -> dict:
        parameters, classes = outputs["recording"].gait_parameters, self.extractor.classes
        probabilities = dict(zip(self.extractor.labels, outputs["probabilities"].tolist()))
        about = max(probabilities, key=probabilities.get), None, None
        try:
            said = read_prompt(outputs["text"], classes)
            if self.classifier is None or said.pathology == about[0]:
                about = said.pathology, said.severity, None if said.side == "unknown" else said.side
        except ValueError:
            pass  # GPT-2 wrote no description of one walk
        measured = describe_walk(parameters, *about, classes=classes)
        shown = sign_severity(self.vq, parameters, about[0], measured.side, classes)
        if shown is not None:
            measured = replace(measured, severity=shown)
        text = measured.to_prompt()
        return {
            "text": text,
            "written": outputs["text"],
            "pathology": about[0],
            "class_probabilities": probabilities,
            "gait_parameters": parameters,
            "problems": check_faithfulness(text, measured),
            "doubts": [*outputs["recording"].doubts, *outputs["doubts"]],
            "codes": outputs["codes"],
        }

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """The whole family, see `save_family`."""
        decoder = GaitDecoderModel.from_pretrained(**family_of(self), subfolder="decoder")
        save_family(self, save_directory, self.vq, decoder, self.classifier, **kwargs)


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
__all__ = ["GaitFamilyConfig", "GeneratedWalk", "GaitToTextPipeline", "TextToGaitPipeline"]
