"""What a family of models does on people it has not seen, and what it says of one fixed input.

In: the folder of a family as `released` describes it; data sets in the walk schema, and their people who were held out.
Out: `measure`: dict name -> number. `probe`: dict name -> numbers that the same weights and code always give.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.stats import pearsonr
from transformers import GPT2LMHeadModel, PreTrainedModel, pipeline

from modeling_gait.captions import WalkDescription
from modeling_gait.class_reading import both_ways, walk_parts
from modeling_gait.gait_parameters import GAIT_PARAMETERS, compute_gait_parameters
from modeling_gait.gait_search import encode_walks, read_joints
from modeling_gait.gait_tcn_network import masked_mse
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification, prepare_knowledge_input
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.skeletons import SKELETONS
from modeling_gait.tokenization_gait import GaitCodes, GaitTokenizer
from modeling_gait.training.data import class_labels, load_walks
from modeling_gait.training.knowledge import KnowledgeWalks, load_knowledge_walks
from modeling_gait.training.knowledge import predict as read_knowledge
from modeling_gait.training.maml import load_cycles
from modeling_gait.training.vq import windows_of

PROMPT = "moderate steppage gait, right side, 0.80 m/s"


def measure(folder: Path, place: Path, held_out: dict[str, list[str]]) -> dict[str, float]:
    """Accuracies (of 1), errors and correlations of every part on the walks of people held out: what reads walks on those of
    `strangers` (as sensors give them), cycles on those of `data`."""
    dataset, people = place / "strangers", held_out["strangers"]
    data = load_walks(str(dataset), only_subjects=people)
    labels, names = class_labels(data)
    classifier = GaitForSequenceClassification.from_pretrained(folder / "classifier").eval()
    joints = list(read_joints(data, KnowledgeWalks.fps))
    out = {"walks": len(joints), "classifier_accuracy": (_read(classifier, joints, prepare_classifier_input) == labels).mean()}
    out |= _words(folder, classifier, names)
    vq, reader = GaitVQModel.from_pretrained(folder / "vq").eval(), pipeline("gait-to-text", model=str(folder))
    with torch.no_grad():
        said = [vq(*(t[None] for t in pair)).class_logits.argmax().item() for pair in zip(*windows_of(data, reader.extractor))]
    out["tokeniser_accuracy"] = (np.array(said) == labels).mean()
    knowledge = GaitKnowledgeForSequenceClassification.from_pretrained(folder / "knowledge").eval()
    walks = load_knowledge_walks(str(dataset), only_subjects=people)
    said = _read(knowledge, joints, partial(prepare_knowledge_input, fps=walks.fps))
    out["knowledge_accuracy"] = (said == labels).mean()
    numbers = read_knowledge(knowledge, walks, np.arange(len(labels)))[1]
    out["knowledge_parameters_r_08"] = sum(
        _correlated(walks.parameters[:, i], numbers[:, i]) for i in range(len(GAIT_PARAMETERS))
    )
    out |= _search(folder, data, joints, labels)
    return {k: round(float(v), 4) for k, v in (out | _cycles(folder, place / "data", held_out["data"])).items()}


@torch.no_grad()
def _read(model: PreTrainedModel, walks: list[np.ndarray], prepare: Callable) -> np.ndarray:
    """Index of the class of each walk, as the pipelines read it."""
    config = getattr(model.config, "skeleton_config", model.config)
    inputs = [torch.from_numpy(prepare(both_ways(walk_parts(walk, config), config))) for walk in walks]
    return np.array([model(input_values=x).logits.softmax(-1).mean(0).argmax().item() for x in inputs])


def _correlated(measured: np.ndarray, said: np.ndarray) -> bool:
    known = np.isfinite(measured)
    return known.sum() > 20 and measured[known].std() > 0 and pearsonr(measured[known], said[known])[0] >= 0.8


def _words(folder: Path, classifier, names: list[str], each: int = 12) -> dict[str, float]:
    """Walks from words, one sample each: read as asked by the classifier, and speed asked and measured."""
    write = pipeline("text-to-gait", model=str(folder))
    rng, known = np.random.default_rng(0), write.extractor.classes
    asked = [
        WalkDescription(c.name, severity=rng.random() if c.graded else None, speed=rng.uniform(0.4, 1.2), classes=known)
        for c in known.classes
        for _ in range(each)
    ]
    walks = write([d.to_prompt() for d in asked], seed=0)
    said = _read(classifier, [w["joints"] for w in walks], prepare_classifier_input)
    speeds = [compute_gait_parameters(w["joints"], w["fps"], SKELETONS[w["skeleton"]])["speed"] for w in walks]
    right = [names[s] == d.pathology for s, d in zip(said, asked)]
    return {"words_read_as_asked": np.mean(right), "words_speed_r": pearsonr([d.speed for d in asked], speeds)[0]}


def _search(folder: Path, data, joints: list, labels: np.ndarray) -> dict[str, float]:
    """A caption of each walk looks for walks: whether the first one found is of its class, how often its own is among ten."""
    model = GaitDualEncoderModel.from_pretrained(folder / "text").eval()
    walks = encode_walks(model, joints, clean=False)
    with torch.no_grad():
        words = model.get_text_features([str(c[0]) for c in data["captions"]]).numpy()
    order = np.argsort(-words @ walks.T, axis=1)
    own = (order[:, :10] == np.arange(len(order))[:, None]).any(1)
    return {"search_first_of_class": (labels[order[:, 0]] == labels).mean(), "search_own_in_ten": own.mean()}


def _cycles(folder: Path, dataset: Path, people: list[str]) -> dict[str, float]:
    """Mean squared error, in variances, of a person's expected cycle from none, one and three of their own."""
    model, cycles = GaitTCNModel.from_pretrained(folder / "tcn").eval(), load_cycles(str(dataset), only_subjects=people)
    errors: dict[int, list[float]] = {0: [], 1: [], 3: []}
    for rows in cycles.tasks(least=4):
        queries, seen = model.standardise(cycles.values[rows[3:]], cycles.mask[rows[3:]])
        for shots in errors:
            person = model.personalize(cycles.values[rows[:shots]]) if shots else model
            said, _ = model.standardise(person.generate(1, temperature=0))
            errors[shots].append(masked_mse(said.expand_as(queries), queries, seen).item())
    return {f"cycles_mse_{shots}": np.mean(v) for shots, v in errors.items()}


@torch.no_grad()
def probe(folder: Path) -> dict[str, list[float]]:
    """What each part says of fixed codes and words; a change of weights or of the code that reads them changes it."""
    decoder = GaitDecoderModel.from_pretrained(folder / "decoder").eval()
    sizes = decoder.config.slots
    codes = {f"{kind}_codes": torch.tensor([[size // 3 for size in sizes[kind]]]) for kind in sizes}
    joints = decoder(**codes).joints[0].numpy()
    tokenizer, model = GaitTokenizer.from_pretrained(folder), GPT2LMHeadModel.from_pretrained(folder).eval()
    ids = tokenizer(PROMPT)["input_ids"] + tokenizer.encode_codes(GaitCodes(*(c[0].numpy() for c in codes.values())))
    classify, report = (
        pipeline(t, model=str(folder / p)) for t, p in (("gait-classification", "classifier"), ("gait-report", "knowledge"))
    )
    text = GaitDualEncoderModel.from_pretrained(folder / "text").eval()
    walk = {"joints": joints, "fps": decoder.config.fps, "skeleton": decoder.config.skeleton}
    said = report(walk)
    found = {
        "joints": joints[48].mean(0),
        "tokens": ids[:8],
        "logits": model(torch.tensor([ids])).logits[0, -2, :4],
        "classes": sorted((r["score"] for r in classify(walk)), reverse=True),
        "report": list(said.class_probabilities.values()),
        "words": text.get_text_features([PROMPT])[0, :6],
        "cycle": GaitTCNModel.from_pretrained(folder / "tcn").eval().generate(1, temperature=0)[0, 0, :6],
    }
    return {k: [round(float(x), 4) for x in v] for k, v in found.items()}
