"""Training of the tokeniser (train/train_vq.py): its parts are fitted (fit_parts.py), then its class head is trained.

In: rows of the walk schema. Out: a folder of GaitVQModel and GaitFeatureExtractor.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from datasets import Dataset

from modeling_gait.augmentation import Augmentation
from modeling_gait.caption_words import stated_attributes
from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_waves import GaitWaves, mirror_cycle
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.training.arguments import TrainArguments, check_sizes
from modeling_gait.training.data import StepBatches, WindowLoader, dataset_classes, fingerprint, load_walks
from modeling_gait.training.fit_parts import fit_parts, waves_of
from modeling_gait.training.loop import save_model, start, training_loop

# What the class head sees beside the walks themselves.
VARIED = Augmentation(
    mirror=0, yaw=8, scale=0.08, window=0, jitter=0, body=0.1, bone=0.04, amplitude=0.15, posture=4.0, posture_bone=3.0
)


@dataclass
class VQArguments(TrainArguments):
    """Arguments of the tokeniser's training."""

    makes: ClassVar[str] = GaitVQConfig.model_type
    init_from: str = field(
        default="", metadata={"help": "family (folder or Hub id) whose class head to fine-tune; empty: from scratch"}
    )
    max_steps: int = field(default=800, metadata={"help": "optimiser steps of the class head"})
    batch_size: int = field(default=128, metadata={"help": "walks a step and process"})
    weight_decay: float = 0.01
    num_frames: int = field(default=96, metadata={"help": "frames a window"})
    max_walks: int = field(default=8000, metadata={"help": "walks to fit to, spread evenly over the data set"})
    copies: int = field(default=3, metadata={"help": "varied copies of each walk that the class head sees"})
    pathology: bool = field(default=True, metadata={"help": "False: no pathological part, all is of the person (ablation)"})
    codebook_size: int = 256
    num_spatial_tokens: int = 50
    spatial_components: int = 192
    num_pathological_tokens: int = 8
    pathological_components: int = 24
    num_sensor_tokens: int = 17
    drift_components: int = 64
    head_components: int = 96
    hidden_size: int = 192


def build(args: VQArguments, data: Dataset) -> tuple[GaitVQModel, GaitFeatureExtractor]:
    """A new tokeniser for the classes of `data`, or that of the family to fine-tune, with its classes.

    Fine-tuning trains the class head alone, so that the family's decoder and GPT-2 still know the codes.
    Raises ValueError where a size or a class is not the family's.
    """
    names = data.features["pathology"].names
    present = [names[i] for i in sorted({int(label) for label in data["pathology"]} - {-1})]  # -1: unknown
    if not (present or args.init_from):
        raise ValueError(f"{args.dataset}: no walk has a known pathology; a tokeniser learns to tell at least one")
    if args.init_from:
        extractor = GaitFeatureExtractor.from_pretrained(args.init_from)
        if unknown := set(present) - set(extractor.labels):
            raise ValueError(
                f"{args.dataset}: {args.init_from} does not know the class {', '.join(sorted(unknown))}, only "
                f"{', '.join(extractor.labels)}; leave its rows out, or train from scratch"
            )
        model = GaitVQModel.from_pretrained(args.init_from, subfolder="vq")
        check_sizes(args, {k: getattr(model.config, k) for k in vars(args) if hasattr(GaitVQConfig, k)})
        return model, extractor
    extractor = GaitFeatureExtractor(num_frames=args.num_frames, labels=present)
    extractor.gait_classes = dataset_classes(args.dataset, present).to_dict()
    config = GaitVQConfig(
        **{k: getattr(args, k) for k in vars(args) if hasattr(GaitVQConfig, k)},
        skeleton=extractor.skeleton,
        fps=extractor.fps,
        id2label=dict(enumerate(extractor.labels)),
        label2id={n: i for i, n in enumerate(extractor.labels)},
    )
    return GaitVQModel(config), extractor


def sided_labels(data: Dataset, extractor: GaitFeatureExtractor) -> torch.Tensor:
    """(N,) the class of each row, plus the number of classes where its left side is affected; -100: unknown."""
    labels = WindowLoader(data, extractor).label_of[np.array(data["pathology"])]
    left = np.array([stated_attributes(a).get("side") == "left" for a in data["attributes"]])
    return torch.from_numpy(np.where((labels >= 0) & left, labels + len(extractor.labels), labels))


def windows_of(data: Dataset, extractor: GaitFeatureExtractor) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle windows (N, T, J, 3) [m] and masks (N, T) of all rows."""
    loader = WindowLoader(data, extractor)
    parts = [loader.batch(np.arange(i, min(i + 256, len(data)))) for i in range(0, len(data), 256)]
    return torch.cat([p["joints"] for p in parts]), torch.cat([p["attention_mask"] for p in parts])


def train(args: VQArguments) -> GaitVQModel:
    """Fit and train on the rows of `args.dataset` and save; returns the tokeniser in eval mode."""
    accelerator = start(args)
    data = load_walks(args.dataset, args.exclude_subjects)
    model, extractor = build(args, data)
    given = {"init_from": fingerprint(model, extractor.labels)} if args.init_from else {}
    data = data.select(np.unique(np.linspace(0, len(data) - 1, min(len(data), args.max_walks)).astype(int)))
    joints, mask = windows_of(data, extractor)
    labels, count = sided_labels(data, extractor), len(extractor.labels)
    if not args.init_from:
        severity = torch.tensor([float(s) for s in data["severity"]])
        people = [str(s) for s in data["subject_id"]]
        fit_parts(model, joints, mask, labels, people, severity, args.pathology, args.seed, extractor.classes)
    generator = torch.Generator().manual_seed(args.seed)
    varied = [torch.cat([VARIED(part, generator) for part in joints.split(600)]) for _ in range(args.copies)]
    waves = [waves_of(model, j, mask) for j in (joints, *varied)]
    batches = StepBatches(len(data), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)
    normal = model.codebooks.normal
    model.codebooks.requires_grad_(False)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = np.random.default_rng(seed)
        rows, copy = batches.rows(step), rng.integers(len(waves), size=args.batch_size)
        mirrored = torch.from_numpy(rng.random(args.batch_size) < 0.5)
        cycle = torch.stack([waves[c].cycle[r] for c, r in zip(copy, rows)])
        rhythm = torch.stack([waves[c].rhythm[r] for c, r in zip(copy, rows)])
        cycle = torch.where(mirrored[:, None, None], mirror_cycle(cycle, model.codebooks.skeleton), cycle)
        target = labels[rows]
        sided = mirrored & (target >= 0) & (target % count != normal)
        target = torch.where(sided, (target + count) % (2 * count), target)
        drawn = GaitWaves(*(t.to(accelerator.device) for t in (cycle, cycle, rhythm)))
        output = prepared(waves=drawn, labels=target.to(accelerator.device))
        return output.loss, {"class": output.loss.item()}

    model = training_loop(accelerator, model, args, step_loss, "class head", fingerprint(data), **given)
    save_model(args.output_dir, model, extractor)
    return model
