"""The generators of the leave-one-subject-out experiment: a model family for each fold, and walks sampled from it.

    python -m experiments.loso_generator --dataset data/gist                               # all folds
    python -m experiments.loso_generator --dataset data/gist --subjects 3 --share 0.05     # from 5 % of the walks of the others
    python -m experiments.loso_generator --dataset data/gist --variant naive

In: walks of the walk schema. Out: `OUTPUT_DIR/fold_SUBJECT[_share_S]/`, the family (train_vq.py and train_gpt2.py, run
without that subject) and `SET.safetensors`: `input_values` (M, 64, F) float16 [m], classifier inputs of M sampled walks,
`labels` (M,), `judged` (M,): what a validity model takes them for; of `words`, the parts of sampled walks: `persons`, `ways`
(M, R, C) float16 [m], `labels`. What exists is kept, so the same command goes on after an interruption.

A walk is sampled for the description of a training walk, drawn at random with equal classes, of a length
drawn from the training walks of its class; `words` ask for a severity at random. Sets beside `words` and `samples`, each from
a variant or another way of sampling:

    naive                    class-conditional: few codes, no pathological part, no words (one word of class), no skeleton
    no_pathological_tokens   ours, but the pathological codes carry nothing beside the name of the class
    label                    ours, asked by class name alone
    unconstrained            ours without the sensor, as waves instead of a skeleton
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from datasets import Dataset
from safetensors.numpy import save_file
from tqdm import tqdm
from transformers import GPT2LMHeadModel

from experiments.loso import fold_folder
from experiments.runner import ROOT, held_out, parse
from modeling_gait.captions import WalkDescription, describe_walk
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.files import atomic_folder, atomic_path
from modeling_gait.generation_gait import generate_walks
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.tokenization_gait import GaitTokenizer, stack_codes
from modeling_gait.training.classifier import load_inputs, predict, share_of_walks, train_classifier
from modeling_gait.training.data import class_labels, load_walks, open_rows
from modeling_gait.training.loop import own_device

TRAIN = ROOT / "train"
BATCH = 270  # walks sampled at a time
# Arguments beside those of configs/*_gist.json, by variant: tokeniser, decoder, GPT-2.
STEPS = {"vq": [], "gpt2": []}
VARIANTS = {
    "ours": STEPS,
    "no_pathological_tokens": STEPS | {"vq": ["--pathology", "False"]},
    "naive": {
        "vq": ["--pathology", "False", "--num_spatial_tokens", "12", "--num_sensor_tokens", "2"],
        "gpt2": ["--max_steps", "600", "--describe_share", "0", "--no_text_share", "0", "--class_only", "True"],
    },
}
SETS = {
    "ours": ("words", "samples", "label", "unconstrained"),
    "no_pathological_tokens": ("no_pathological_tokens",),
    "naive": ("naive",),
}


@dataclass
class GeneratorArguments:
    """Arguments of the generators."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    output_dir: str = "outputs/loso_gist"
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    share: float = field(default=1.0, metadata={"help": "share of the real walks that is used"})
    variant: str = field(default="ours", metadata={"choices": tuple(VARIANTS)})
    sets: list[str] = field(default_factory=list, metadata={"help": "sets to sample; default: the variant's first"})
    walks: int = field(default=3240, metadata={"help": "walks to sample for a set"})
    temperature: float = 1.0
    num_threads: int = 0


def train_family(folder: Path, dataset: str, subject: str, variant: str, num_threads: int) -> None:
    """Run the training scripts whose model is not there yet."""
    extra = VARIANTS[variant]
    for name, target in (("vq", folder / "vq"), ("gpt2", folder)):
        if (target / "model.safetensors").exists():
            continue
        command = [sys.executable, str(TRAIN / f"train_{name}.py"), str(TRAIN / "configs" / f"{name}_gist.json")]
        command += ["--dataset", dataset, "--exclude_subjects", subject, "--output_dir", str(target)]
        command += ["--num_threads", str(num_threads), *extra[name]]
        if name == "gpt2":
            command += ["--vq", str(folder / "vq")]
        subprocess.run(command, check=True)


def share_dataset(dataset: str, folder: Path, share: float) -> str:
    """The data set, or a folder with a share of its walks."""
    if share == 1:
        return dataset
    target = folder / "data"
    if not target.exists():
        data = load_walks(dataset)
        keep = np.flatnonzero(share_of_walks(load_inputs(dataset), share))
        with atomic_folder(target) as temporary:
            (temporary / "data").mkdir()
            data.select(keep).to_parquet(temporary / "data" / "train-00000-of-00001.parquet")
    return str(target)


def draw_descriptions(
    data: Dataset, labels: list[str], count: int, class_only: bool
) -> tuple[list[WalkDescription], np.ndarray]:
    """Descriptions of random training walks, equal classes, and lengths [frames] of other walks of these classes."""
    rng = np.random.default_rng(0)
    classes, names = class_labels(data)
    pathologies = np.array(names)[classes]
    frames = np.array([len(j) for part in data.select_columns(["joints"]).iter(256) for j in part["joints"]])
    about = data.select_columns(["gait_parameters", "attributes"])
    descriptions, lengths = [], np.empty(count, int)
    for i in range(count):
        rows = np.flatnonzero(pathologies == labels[i % len(labels)])
        row = about[int(rng.choice(rows))]
        attributes = json.loads(str(row["attributes"]))
        measured = {} if class_only else json.loads(str(row["gait_parameters"]))
        descriptions.append(describe_walk(measured, labels[i % len(labels)], attributes=attributes))
        lengths[i] = frames[rng.choice(rows)]
    return descriptions, lengths


def sample_sets(folder: Path, targets: list[Path], data: Dataset, args: GeneratorArguments) -> None:
    """Sample walks from the family in `folder` and write their classifier inputs, a file for each set."""
    device = own_device()
    model = GPT2LMHeadModel.from_pretrained(folder).eval().to(device)
    tokenizer = GaitTokenizer.from_pretrained(folder)
    extractor = GaitFeatureExtractor.from_pretrained(folder / "vq")
    vq = GaitVQModel.from_pretrained(folder / "vq").eval().to(device)
    judge = train_judge(data, extractor.labels) if {t.stem for t in targets} != {"words"} else None
    for target in targets:
        name = target.stem
        if name == "words":
            write_parts(model, tokenizer, GaitDecoderModel.from_vq(vq), target, data, extractor.labels, args)
            continue
        plain = name in ("naive", "unconstrained")
        decoder = GaitDecoderModel.from_vq(vq, constrained=not plain)
        descriptions, lengths = draw_descriptions(data, extractor.labels, args.walks, name in ("naive", "label"))
        parts = []
        for at in tqdm(range(0, args.walks, BATCH), desc=f"{folder.name} {name}"):
            asked, ends = descriptions[at : at + BATCH], lengths[at : at + BATCH]
            options = {"temperature": args.temperature, "seed": 0, "first": at, "sensor": not plain}
            walks, _ = generate_walks(model, tokenizer, decoder, asked, int(ends.max()), **options)
            parts.append(prepare_classifier_input([w[:n] for w, n in zip(walks, ends)]).astype(np.float16))
        labels, inputs = np.array([extractor.labels.index(d.pathology) for d in descriptions]), np.concatenate(parts)
        judged = predict(judge, inputs.astype(np.float32))
        with atomic_path(target) as temporary:
            save_file({"input_values": inputs, "labels": labels, "judged": judged}, temporary)


def write_parts(model, tokenizer, decoder: GaitDecoderModel, target: Path, data: Dataset, labels: list[str], args) -> None:
    """The people and the pathologies of walks that GPT-2 writes for words with severities at random, as cycles."""
    descriptions, _ = draw_descriptions(data, labels, args.walks, False)
    severities = np.random.default_rng(1).uniform(0, 1, len(descriptions)).round(2)
    descriptions = [d if d.pathology == "normal" else replace(d, severity=float(s)) for d, s in zip(descriptions, severities)]
    persons, ways = [], []
    for at in tqdm(range(0, args.walks, BATCH), desc=f"{target.parent.name} words"):
        options = {"temperature": args.temperature, "seed": 2, "first": at}
        _, codes = generate_walks(model, tokenizer, decoder, descriptions[at : at + BATCH], 2, **options)
        stacked = stack_codes(codes)
        names = ("temporal", "pathological", "spatial")
        parts = decoder.codebooks.lookup(*(stacked[f"{name}_codes"].to(decoder.device) for name in names))
        persons.append(parts.person.half().cpu().numpy())
        ways.append(parts.pathology.half().cpu().numpy())
    content = {"persons": np.concatenate(persons), "ways": np.concatenate(ways)}
    with atomic_path(target) as temporary:
        save_file(content | {"labels": np.array([labels.index(d.pathology) for d in descriptions])}, temporary)


def train_judge(data: Dataset, labels: list[str], epochs: float = 5) -> GaitForSequenceClassification:
    """The validity model: a GRU trained briefly on the real training walks. What it takes for another class is refused."""
    classes, names = class_labels(data)
    inputs = np.concatenate([prepare_classifier_input(part["joints"]) for part in data.iter(batch_size=256)])
    classes = np.array([labels.index(name) for name in names])[classes]
    options = {"batch_size": 128, "learning_rate": 1.5e-3, "epochs": epochs, "seed": 1000, "bf16": True}
    return train_classifier(inputs, classes, labels, **options)


def main() -> None:
    args = parse(GeneratorArguments)
    if set(args.sets) - set(SETS[args.variant]):
        raise ValueError(f"--sets: unknown {args.sets}; variant {args.variant} has {', '.join(SETS[args.variant])}")
    for subject in held_out(np.array(open_rows(args.dataset)["subject_id"]), args.subjects, args.dataset):
        home = fold_folder(Path(args.output_dir), subject, args.share)
        folder = home if args.variant == "ours" else home / args.variant
        targets = [home / f"{name}.safetensors" for name in args.sets or SETS[args.variant][:1]]
        dataset = share_dataset(args.dataset, home.with_name(f"share_{args.share:g}"), args.share)
        train_family(folder, dataset, subject, args.variant, args.num_threads)
        data = load_walks(dataset, exclude_subjects=[subject], fps=30.0)
        missing = [t for t in targets if not t.exists()]
        if missing:
            sample_sets(folder, missing, data, args)


if __name__ == "__main__":
    main()
