"""Training of the tokeniser (train/train_vq.py).

In: rows of the walk schema. Out: a folder of GaitVQModel and GaitFeatureExtractor.
"""

from dataclasses import dataclass, field

import torch
from datasets import Dataset

from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.training.arguments import TrainArguments, check_sizes
from modeling_gait.training.data import (
    AUGMENTATION,
    STRETCH,
    StepBatches,
    WindowLoader,
    dataset_classes,
    fingerprint,
    fit_extractor,
    load_walks,
)
from modeling_gait.training.loop import save_model, start, training_loop

# What the pathological codes must carry, beside the class: ranges of motion, posture, asymmetry, double support.
_PAIRED = ("hip_range", "knee_range", "peak_knee_flexion", "double_support_percent")
PATHOLOGY_PARAMETERS = (
    *(f"{name}_{side}" for name in _PAIRED for side in ("left", "right")),
    *("pelvic_obliquity_range", "trunk_lean_sagittal", "trunk_lean_range_frontal", "trunk_lean_range_sagittal"),
    *("step_width", "knee_range_asymmetry", "stance_asymmetry"),
)


@dataclass
class VQArguments(TrainArguments):
    """Arguments of the tokeniser's training."""

    init_from: str = field(default="", metadata={"help": "family (folder or Hub id) to fine-tune; empty: from scratch"})
    num_frames: int = field(default=96, metadata={"help": "frames a window"})
    hidden_size: int = 192
    num_layers: int = 3
    code_dim: int = 32
    codebook_size: int = field(default=1024, metadata={"help": "codes of a spatial or temporal codebook"})
    num_spatial_quantizers: int = 1
    num_body_tokens: int = 20
    body_codebook_size: int = 256
    num_pathological_tokens: int = 4
    pathological_codebook_size: int = 64
    codebook_decay: float = 0.9
    commitment_weight: float = 0.5
    class_weight: float = 0.1
    parameter_weight: float = 0.05
    adversary_weight: float = 0.01
    augment: bool = field(default=True, metadata={"help": "random bodies, headings, scales and mirroring"})


def build(args: VQArguments, data: Dataset) -> tuple[GaitVQModel, GaitFeatureExtractor]:
    """A new tokeniser for the classes and scales of `data`, or that of the family to fine-tune, with its classes and scales.

    Fine-tuning leaves the codebooks as they are (a decay of 1), so that the family's decoder and GPT-2 still know the codes.
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
        losses = {k: getattr(args, k) for k in vars(args) if k.endswith("_weight")}
        model = GaitVQModel.from_pretrained(args.init_from, subfolder="vq", codebook_decay=1.0, **losses)
        others = (*losses, "codebook_decay")
        sizes = {k: getattr(model.config, k) for k in vars(args) if hasattr(GaitVQConfig, k) and k not in others}
        sizes |= {"num_frames": extractor.num_frames, "codebook_size": model.config.spatial_codebook_size}
        check_sizes(args, sizes)
        return model, extractor
    extractor = GaitFeatureExtractor(num_frames=args.num_frames, parameter_names=PATHOLOGY_PARAMETERS, labels=present)
    extractor.gait_classes = dataset_classes(args.dataset, present).to_dict()
    fit_extractor(data, extractor)
    config = GaitVQConfig(
        **{k: getattr(args, k) for k in vars(args) if hasattr(GaitVQConfig, k)},
        num_features=extractor.num_features,
        spatial_codebook_size=args.codebook_size,
        temporal_codebook_size=args.codebook_size,
        num_gait_parameters=len(PATHOLOGY_PARAMETERS),
        id2label=dict(enumerate(extractor.labels)),
        label2id={n: i for i, n in enumerate(extractor.labels)},
    )
    return GaitVQModel(config), extractor


def train(args: VQArguments) -> GaitVQModel:
    """Train on the rows of `args.dataset` and save; returns the tokeniser in eval mode."""
    accelerator = start(args)
    data = load_walks(args.dataset, args.exclude_subjects)
    model, extractor = build(args, data)
    loader = WindowLoader(data, extractor, *((AUGMENTATION, 0.5, STRETCH) if args.augment else ()))
    batches = StepBatches(len(data), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        batch = loader.batch(batches.rows(step), seed)
        output = prepared(
            input_values=extractor.to_features(batch["joints"]).to(accelerator.device),
            attention_mask=batch["attention_mask"].to(accelerator.device),
            labels=batch["labels"].to(accelerator.device),
            gait_parameters=batch["gait_parameters"].to(accelerator.device),
        )
        return output.loss, {"reconstruction": output.reconstruction_loss.item(), "class": output.class_loss.item()}

    model = training_loop(accelerator, model, args, step_loss, "tokeniser", fingerprint(data))
    save_model(args.output_dir, model, extractor)
    return model
