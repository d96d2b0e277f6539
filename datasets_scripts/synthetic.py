"""Walks sampled from a model family -> Parquet shards and a data card: a synthetic data set that can be shared.

    python datasets_scripts/synthetic.py --model outputs/gist --trained_on "Pathological Gait Dataset" --output_dir OUT
    python datasets_scripts/synthetic.py --model outputs/gist_1 --dataset data/gist --exclude_subjects 1 --num_walks 10000 \
        --privacy model_cards/results/privacy_gist.json --output_dir OUT

In: a family folder or Hub id (GPT-2 and tokeniser at the top, `decoder/`). Prompts go through the model's classes in turn;
speed, cadence, severity and side are those of random walks of `--dataset` (the training people's), or else drawn about what the
model knows of its training people's normal walks. Out: one row a walk in the schema of `common.walk_features`; the same
arguments give the same rows, whatever `--num_proc` is. The card says where the walks come from and what was measured on them.
For `--privacy`, make the set, run experiments/privacy.py on it, and make it once more.
"""

import functools
import json
import math
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from modeling_gait import schema as common
from modeling_gait.augmentation import NEW_PEOPLE
from modeling_gait.captions import QUANTITIES, WalkDescription
from modeling_gait.evaluation.metrics import bone_length_variation, foot_skate, joint_limit_violations
from modeling_gait.gait_classes import GaitClass, GaitClasses
from modeling_gait.generation_gait import generate_walks
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.processing_gait import GaitProcessor
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.skeletons import SKELETONS
from modeling_gait.tokenization_gait import GaitTokenizer
from modeling_gait.training.data import load_walks
from modeling_gait.training.showing import PACE

BATCH = 64  # walks sampled at once; each batch's people have a seed of their own
SPREAD = {"speed": 0.15, "cadence": 0.08}  # SD over mean of unhurried adults, where the model holds none of its own
QUALITY = {  # measured on each walk
    "bone_length_variation": "variation of bone lengths over time (SD over mean)",
    "foot_skate": "speed of the feet on the floor [m/s]",
    "joint_limit_violations": "share of frames with a leg joint outside its limits",
}
TABLE = {  # gait parameters of the card's table, by class
    "speed": "speed [m/s]",
    "cadence": "cadence [steps/min]",
    "step_width": "step width [m]",
    "knee_range_left": "left knee range [deg]",
    "knee_range_right": "right knee range [deg]",
    "pelvic_obliquity_range": "pelvic obliquity range [deg]",
}


@dataclass(frozen=True)
class SyntheticConfig:
    """What is sampled.

    Attributes:
        model: folder or Hub id of a model family.
        num_walks, seed: how many; of all that is random.
        temperature: of sampling.
        dataset: walks whose descriptions are asked for; "": drawn from what the model knows.
        exclude_subjects: people of `dataset` whom the model never saw; none of their rows is read.
        trained_on: what the model was trained on, in words, for the card.
        privacy: result file of experiments/privacy.py for the card.
    """

    model: str
    num_walks: int = 600
    seed: int = 0
    temperature: float = 0.7
    dataset: str = ""
    exclude_subjects: tuple[str, ...] = ()
    trained_on: str = ""
    privacy: str = ""

    @property
    def generator(self) -> str:
        """The model's name, without this machine's folders."""
        return Path(self.model).name if Path(self.model).is_absolute() else self.model


@dataclass(frozen=True)
class Batch:
    """Walks that are sampled at once, the first of which is number `first`."""

    config: SyntheticConfig
    first: int
    descriptions: tuple[WalkDescription, ...]


@functools.lru_cache(maxsize=1)
def load_family(model: str) -> tuple[GPT2LMHeadModel, GaitTokenizer, GaitDecoderModel, int]:
    """GPT-2, tokeniser, decoder, frames a walk. Once a process."""
    decoder = GaitDecoderModel.from_pretrained(model, subfolder="decoder").eval()
    frames = GaitProcessor.from_pretrained(model).feature_extractor.num_frames
    return GPT2LMHeadModel.from_pretrained(model).eval(), GaitTokenizer.from_pretrained(model), decoder, frames


def draw_descriptions(config: SyntheticConfig, processor: GaitProcessor) -> list[WalkDescription]:
    """What is asked for: the classes in turn, with speed, cadence, severity and side. Raises ValueError."""
    labels, rng = processor.feature_extractor.labels, np.random.default_rng(config.seed)
    if not labels:
        raise ValueError(f"{config.model}: its feature extractor names no classes (`labels`)")
    if config.dataset:
        return _descriptions_of_walks(config, processor, rng)
    reference = processor.normal_reference
    classes = processor.feature_extractor.classes
    return [_drawn(classes[labels[i % len(labels)]], classes, reference, rng) for i in range(config.num_walks)]


def _descriptions_of_walks(config: SyntheticConfig, processor: GaitProcessor, rng) -> list[WalkDescription]:
    """Of random walks of `config.dataset`."""
    data = load_walks(config.dataset, exclude_subjects=config.exclude_subjects)
    names, labels = data.features["pathology"].names, processor.feature_extractor.labels
    about = data.with_format(None).select_columns(["pathology", "severity", "attributes", "gait_parameters"]).to_pandas()
    rows = {label: np.flatnonzero(about["pathology"] == names.index(label)) if label in names else [] for label in labels}
    missing = [label for label in labels if not len(rows[label])]
    if missing:
        raise ValueError(f"{config.dataset}: no walk of {', '.join(missing)}, which the model knows; leave --dataset out")
    asked = []
    for i in range(config.num_walks):
        label = labels[i % len(labels)]
        row = about.iloc[int(rng.choice(rows[label]))]
        measured, attributes = json.loads(row["gait_parameters"]), json.loads(row["attributes"])
        d = processor.describe(measured, label, float(row["severity"]), {"side": attributes.get("side")})
        asked.append(WalkDescription(label, d.side, d.severity, d.speed, d.cadence, classes=d.classes))
    return asked


def _drawn(entry: GaitClass, classes: GaitClasses, reference: dict, rng: np.random.Generator) -> WalkDescription:
    """Speed and cadence about `PACE` times those of normal walks, more of both or less of both; severity and side at random."""
    mean, sd = reference.get("mean", {}), reference.get("sd", {})
    numbers, shift = {}, np.clip(rng.normal(), -2, 2)
    for name, factor, usual in zip(("speed", "cadence"), PACE.get(entry.name, (1.0, 1.0)), (1.25, 112.0)):
        spread = sd[name] / mean[name] if name in sd else SPREAD[name]
        value = factor * mean.get(name, usual) * (1 + spread * shift)
        numbers[name] = float(np.clip(value, QUANTITIES[name].low, QUANTITIES[name].high))
    severity, right = float(rng.uniform(0, 1)), rng.random() < 0.5
    side = {"one": "right" if right else "left"}.get(entry.side, entry.side)
    severity = severity if entry.graded else 0.0 if entry.name == "normal" else None
    return WalkDescription(entry.name, side, severity, **numbers, classes=classes)


def sample_batch(batch: Batch) -> list[tuple[dict, dict]]:
    """Sample one batch, each walk of another person: its row, and its quality with what was asked for."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # one each; more would wait for ever for threads that were not forked
    config = batch.config
    *models, frames = load_family(config.model)
    sampling = {"temperature": config.temperature, "seed": config.seed, "first": batch.first}
    joints, _ = generate_walks(*models, list(batch.descriptions), frames, **sampling)
    seed = int(np.random.SeedSequence([config.seed, batch.first]).generate_state(1)[0])
    skeleton, fps = SKELETONS[models[2].config.skeleton], models[2].config.fps
    people = replace(NEW_PEOPLE, skeleton=skeleton)
    joints = people(torch.from_numpy(joints), torch.Generator().manual_seed(seed)).numpy()
    out = []
    for i, (walk, asked) in enumerate(zip(joints, batch.descriptions)):
        walk = walk - np.append(walk[0, skeleton.root, :2], 0).astype(np.float32)
        attributes = {"side": asked.side, "prompt": asked.to_prompt(), "seed": config.seed, "generator": config.generator}
        row = common.walk_row(
            walk,
            fps,
            subject_id="synthetic",
            walk_id=f"synthetic_{config.seed}_{batch.first + i:06d}",
            sensor="generated",
            pathology=asked.pathology,
            severity=math.nan if asked.severity is None else asked.severity,
            attributes=attributes,
            classes=asked.classes,
        )
        out.append((row, quality(walk, fps, skeleton) | {"asked_speed": asked.speed, "asked_cadence": asked.cadence}))
    return out


def quality(joints: np.ndarray, fps: float, skeleton) -> dict[str, float]:
    """Biomechanics of a walk (T, J, 3) [m]; see QUALITY."""
    return {
        "bone_length_variation": bone_length_variation(joints, skeleton),
        "foot_skate": foot_skate(joints, fps, skeleton),
        "joint_limit_violations": joint_limit_violations(joints, skeleton),
    }


def real_quality(config: SyntheticConfig, skeleton, walks: int = 300) -> list[dict[str, float]]:
    """The same of random walks of the data set, to compare with; empty where there is none."""
    if not config.dataset:
        return []
    data = load_walks(config.dataset, exclude_subjects=config.exclude_subjects).select_columns(["joints", "fps"])
    chosen = np.random.default_rng(config.seed).permutation(len(data))[:walks]
    rows = (data[int(i)] for i in np.sort(chosen))
    return [quality(r["joints"], float(r["fps"]), skeleton) for r in rows]


def prepare(config: SyntheticConfig, output_dir: Path, num_proc: int = 2) -> int:
    """Sampled walks -> Parquet shards and card in `output_dir`; returns the number of rows. Raises ValueError, OSError."""
    common.check_output(Path(output_dir))
    if config.num_walks < 1 or not config.temperature > 0:
        raise ValueError(
            f"num_walks must be at least 1 and temperature positive, got {config.num_walks} and {config.temperature}"
        )
    if config.exclude_subjects and not config.dataset:
        raise ValueError("--exclude_subjects names people of --dataset, which was not given")
    privacy = read_privacy(config.privacy) if config.privacy else None
    processor = GaitProcessor.from_pretrained(config.model)
    asked = draw_descriptions(config, processor)
    batches = [Batch(config, at, tuple(asked[at : at + BATCH])) for at in range(0, len(asked), BATCH)]
    measured: list[dict] = []

    def rows() -> Iterator[dict]:
        for part in common.parallel(sample_batch, batches, num_proc, "batches"):
            for row, numbers in part:
                known = json.loads(row["gait_parameters"])
                measured.append(numbers | {"pathology": row["pathology"]} | {k: known.get(k) for k in TABLE})
                yield row

    return common.write_dataset(
        rows(),
        Path(output_dir),
        lambda: card_body(config, measured, real_quality(config, SKELETONS[processor.feature_extractor.skeleton]), privacy),
        classes=None if set(processor.feature_extractor.labels) <= set(PATHOLOGIES) else processor.feature_extractor.classes,
        pretty_name="Synthetic pathological walks",
        license="other",
        license_name="terms-of-the-training-data",
    )


def read_privacy(path: str) -> dict:
    """A result file of experiments/privacy.py. Raises ValueError where it is none."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
        result["metrics"]["membership_auc"], result["protocol"], result["command"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a result of experiments/privacy.py with a membership_auc ({error!r})") from error
    return result


# --- the data card -----------------------------------------------------------------------------------------------------------


def _column(measured: list[dict], name: str) -> np.ndarray:
    """A column of numbers; nan where one is missing."""
    return np.array([np.nan if row[name] is None else row[name] for row in measured], float)


def _mean(values: np.ndarray, form: str = ".2f") -> str:
    return format(np.nanmean(values), form) if np.isfinite(values).any() else "-"


def class_table(measured: list[dict]) -> str:
    """Markdown: of each class the number of walks and the means of its gait parameters."""
    lines = ["| class | walks | asked speed [m/s] | " + " | ".join(TABLE.values()) + " |", "|---|" + "---:|" * (2 + len(TABLE))]
    for name in dict.fromkeys(row["pathology"] for row in measured):
        rows = [row for row in measured if row["pathology"] == name]
        means = [_mean(_column(rows, key)) for key in ("asked_speed", *TABLE)]
        lines.append(f"| {name} | {len(rows):,} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def quality_table(measured: list[dict], real: list[dict]) -> str:
    """Markdown: biomechanics, and how well the prompts were followed."""
    lines = ["| | this set" + (" | real walks" if real else "") + " |", "|---|---:|" + ("---:|" if real else "")]
    for name, words in QUALITY.items():
        values = [_mean(_column(rows, name), ".2g") for rows in (measured, real) if rows]
        lines.append(f"| {words} | " + " | ".join(values) + " |")
    for name in ("speed", "cadence"):
        pairs = np.stack([_column(measured, f"asked_{name}"), _column(measured, name)])
        pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
        if pairs.shape[1] > 2 and (pairs.std(axis=1) > 0).all():
            lines.append(
                f"| {name}: correlation of asked and measured | {np.corrcoef(pairs)[0, 1]:.2f} |{' - |' if real else ''}"
            )
    return "\n".join(lines)


def privacy_text(privacy: dict | None) -> str:
    """What is known about privacy."""
    if privacy is None:
        return """Not measured. Measure it before you share the set (`experiments/privacy.py`): synthetic walks may come
close to walks of the people that the model was trained on."""
    metrics = privacy["metrics"]
    words = {
        "membership_auc": "membership inference, area under the curve (0.5: guessing)",
        "membership_auc_ci_low": "... 95 % interval, low",
        "membership_auc_ci_high": "... 95 % interval, high",
        "person_auc": "the same against people that the model never saw",
        "copies": "share of walks nearer to a training walk than 95 % of unseen real walks are",
        "distance_ratio_gait": "distance to the nearest training walk over that of unseen real walks: movement",
        "distance_ratio_pose": "... body and posture",
    }
    lines = [f"| {text} | {metrics[name]:.3f} |" for name, text in words.items() if name in metrics]
    return "\n".join(["| | |", "|---|---:|", *lines, "", f"{privacy['protocol']}. `{privacy['command']}`"])


def command_of(config: SyntheticConfig) -> str:
    """The command that makes this set, without this machine's folders."""
    parts = [f"--model {config.generator} --num_walks {config.num_walks} --seed {config.seed}"]
    parts += [f"--temperature {config.temperature:g}"]
    parts += [f"--dataset {Path(config.dataset).name}"] if config.dataset else []
    parts += [f"--exclude_subjects {' '.join(config.exclude_subjects)}"] if config.exclude_subjects else []
    return f"python datasets_scripts/synthetic.py {' '.join(parts)} --output_dir OUT"


def card_body(config: SyntheticConfig, measured: list[dict], real: list[dict], privacy: dict | None) -> str:
    """The data card below its metadata."""
    data = config.trained_on or (Path(config.dataset).name if config.dataset else "not stated by who made this set")
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers", "datasets", "numpy"))
    if config.dataset:
        source = f"speed, cadence, severity and side of random walks of {Path(config.dataset).name}"
    else:
        source = "speed and cadence drawn about the normal walks that the model was trained on, severity and side at random"
    return common.card_text(
        __file__,
        walks=len(measured),
        config=config,
        data=data,
        held_out=", ".join(config.exclude_subjects) or "none stated",
        source=source,
        batch=BATCH,
        versions=versions,
        command=command_of(config),
        classes=class_table(measured),
        quality=quality_table(measured, real),
        privacy=privacy_text(privacy),
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__, on_error=False)
    default = SyntheticConfig(model="")
    parser.add_argument("--model", required=True, help="folder or Hub id of a model family")
    parser.add_argument("--num_walks", type=int, default=default.num_walks, help="walks in all (default %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of all that is random (default %(default)s)")
    parser.add_argument("--temperature", type=float, default=default.temperature, help="of sampling (default %(default)s)")
    parser.add_argument("--dataset", default="", help="walks whose descriptions are asked for (walk schema)")
    parser.add_argument("--exclude_subjects", nargs="+", default=[], help="people of --dataset that the model never saw")
    parser.add_argument("--trained_on", default="", help="what the model was trained on, for the card (default: --dataset)")
    parser.add_argument("--privacy", default="", help="result file of experiments/privacy.py, for the card")
    args = vars(parser.parse_args(argv))
    output_dir, num_proc = args.pop("output_dir"), args.pop("num_proc")
    config = replace(SyntheticConfig(**args), exclude_subjects=tuple(args["exclude_subjects"]))
    with common.errors_told():
        total = prepare(config, output_dir, num_proc)
    print(f"{total:,} rows in {output_dir}")


if __name__ == "__main__":
    main()
