"""Training of gait classifiers (train/train_classifier.py): GRU, LSTM, CNN or graph model.

In: rows of the walk schema, or their `prepare_classifier_input` (N, 64, F) [m] (root-relative joints of whole walks resampled
to 64 frames). Out: a model; `train` saves a folder that `AutoModelForSequenceClassification` and
`pipeline("gait-classification")` load.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from tqdm import tqdm

from modeling_gait.augmentation import Augmentation
from modeling_gait.caption_words import stated_attributes
from modeling_gait.class_reading import learnt_from
from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from modeling_gait.pipeline_gait_classification import GaitClassificationPipeline
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.arguments import PRECISIONS
from modeling_gait.training.data import StepBatches, class_labels, load_walks
from modeling_gait.training.loop import (
    bf16_is_fast,
    optimizer_step,
    own_device,
    save_model,
    schedule,
    seed_step,
    share_buffers,
    start,
)
from modeling_gait.walk_checks import leg_length


@dataclass
class ClassifierArguments:
    """Arguments of a classifier's training."""

    makes: ClassVar[str] = GaitClassifierConfig.model_type
    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    output_dir: str = field(metadata={"help": "folder of the trained model"})
    exclude_subjects: list[str] = field(default_factory=list, metadata={"help": "people held out"})
    architecture: str = field(default="gru", metadata={"choices": ("gru", "lstm", "cnn", "graph")})
    epochs: float = 12
    max_steps: int = field(default=0, metadata={"help": "optimiser steps; 0: as many as epochs asks for"})
    batch_size: int = field(default=64, metadata={"help": "walks a step and process"})
    learning_rate: float = 1e-3
    seed: int = 0
    mixed_precision: str = field(default="no", metadata={"choices": PRECISIONS})
    num_threads: int = field(default=0, metadata={"help": "CPU threads a process, 0 = torch's choice"})


@dataclass
class Walks:
    """Classifier inputs (N, 64, F) [m] of all walks, labels that index `names`, whose they are, their median rate [Hz], and
    what a model that learns from them keeps of them (`learnt_from`)."""

    inputs: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    walk_ids: np.ndarray
    names: list[str]
    fps: float = 30.0
    known: dict = field(default_factory=dict)

    def fold(self, subject: str, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on, of a share of the walks of everyone else, and rows to test on."""
        test = self.subjects == subject
        return np.flatnonzero(~test & share_of_walks(self, share)), np.flatnonzero(test)


def share_of_walks(walks: Walks, share: float) -> np.ndarray:
    """(N,) bool: a random share of each person's walks of each class, at least one, with all sensors; always the same."""
    keep = np.ones(len(walks.labels), bool)
    if share < 1:
        for subject in np.unique(walks.subjects):
            for label in range(len(walks.names)):
                cell = (walks.subjects == subject) & (walks.labels == label)
                ids = np.unique(walks.walk_ids[cell])
                order = np.random.default_rng([int(label), sum(map(ord, subject))]).permutation(ids)
                keep[cell] = np.isin(walks.walk_ids[cell], order[: max(1, round(share * len(ids)))])
    return keep


def load_inputs(dataset: str, exclude_subjects: Sequence[str] = ()) -> Walks:
    """All walks of a data set as classifier inputs, but those of people in `exclude_subjects`."""
    data = load_walks(dataset, exclude_subjects)
    labels, names = class_labels(data)
    subjects, walk_ids, fps = np.array(data["subject_id"]), np.array(data["walk_id"]), float(np.median(data["fps"]))
    inputs, known = inputs_of(data, prepare_classifier_input, fps)
    return Walks(inputs, labels, subjects, walk_ids, names, fps, known)


def inputs_of(data: Dataset, prepare: Callable, fps: float, *columns: str) -> tuple[np.ndarray, dict]:
    """Inputs (N, 64, F) of rows, `prepare` taking their joints and these columns, and what `learnt_from` says of them."""
    inputs, frames, legs = [], [], []
    for part in data.select_columns(["joints", *columns]).iter(batch_size=256):
        inputs.append(prepare(part["joints"], *(part[name] for name in columns)))
        frames += map(len, part["joints"])
        legs += [leg_length(np.asarray(walk), KINECT_V2) for walk in part["joints"]]
    sides = [stated_attributes(a).get("side") for a in data["attributes"]]
    return np.concatenate(inputs), learnt_from(frames, data["fps"], fps, sides, legs)


def train_classifier(
    inputs: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    architecture: str = "gru",
    epochs: float = 12,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    steps: int | None = None,
    synthetic: tuple[np.ndarray, np.ndarray] | None = None,
    augmentation: Augmentation | None = None,
    bf16: bool = False,
    progress: bool = True,
    accelerator: Accelerator | None = None,
) -> GaitForSequenceClassification:
    """Fit a classifier to inputs (N, T, F) [m] and labels (N,) that index `names`; returns it in eval mode.

    Args:
        steps: optimiser steps, instead of `epochs` over the inputs.
        synthetic: inputs and labels of synthetic walks, which make up half of every batch.
        augmentation: changes half of the walks of every batch, real and synthetic alike, anew at every step.
        accelerator: of several processes, which then share out the steps' walks; None: this process is alone.
    """
    process = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    seed_step(seed, 0, 0)
    config = GaitClassifierConfig(
        architecture=architecture, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    model = GaitForSequenceClassification(config)
    flat = inputs.reshape(-1, inputs.shape[-1])
    model.set_normalization(flat.mean(0), np.maximum(flat.std(0), 0.01))
    device = accelerator.device if accelerator else own_device()
    trained = model.train().to(device) if accelerator is None else accelerator.prepare_model(model.train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    batch_size = min(batch_size, len(inputs))
    if steps is None:
        steps = max(1, round(epochs * len(inputs) / batch_size / process[1]))
    made = 0 if synthetic is None else batch_size // 2
    sources = [(inputs, labels, StepBatches(len(inputs), batch_size - made, seed, *process))]
    if made:
        sources.append((*synthetic, StepBatches(len(synthetic[0]), made, seed, *process)))
    for step in tqdm(range(steps), desc=architecture, mininterval=5, disable=not progress or process[0] > 0):
        drawn = [(x, y, batches.rows(step)) for x, y, batches in sources]
        values = torch.from_numpy(np.concatenate([x[rows] for x, _, rows in drawn])).float()
        targets = torch.from_numpy(np.concatenate([y[rows] for _, y, rows in drawn]))
        if augmentation is not None:
            values[::2] = augment_inputs(values[::2], augmentation, seed_step(seed, step, process[0]))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16 and bf16_is_fast()):
            loss = trained(input_values=values.to(device), labels=targets.to(device)).loss
        optimizer_step(optimizer, loss, learning_rate * schedule(step, 20, steps))
    if accelerator is not None:
        share_buffers(accelerator, model)
    return model.eval().cpu()


def augment_inputs(inputs: torch.Tensor, augmentation: Augmentation, seed: int) -> torch.Tensor:
    """Augmented root-relative walks (N, T, J x 3) [m], root-relative again."""
    joints = augmentation(inputs.unflatten(-1, (-1, 3)), torch.Generator().manual_seed(seed))
    return (joints - joints[:, :, [augmentation.skeleton.root]]).flatten(2)


@torch.no_grad()
def predict_logits(model: GaitForSequenceClassification, inputs: np.ndarray, batch_size: int = 256) -> torch.Tensor:
    """Logits (N, K) of inputs (N, T, F)."""
    parts = [model(input_values=torch.from_numpy(inputs[i : i + batch_size])).logits for i in range(0, len(inputs), batch_size)]
    return torch.cat(parts)


def predict(model: GaitForSequenceClassification, inputs: np.ndarray) -> np.ndarray:
    """Predicted label index (N,) of inputs (N, T, F)."""
    return predict_logits(model, inputs).argmax(-1).numpy()


def train(args: ClassifierArguments) -> GaitForSequenceClassification:
    """Train on the walks of `args.dataset` and save; returns the classifier in eval mode.

    Of several processes each reads other walks of a step.
    """
    accelerator = start(args)
    walks = load_inputs(args.dataset, args.exclude_subjects)
    options = {k: getattr(args, k) for k in ("architecture", "epochs", "batch_size", "learning_rate", "seed")}
    options |= {"steps": args.max_steps or None, "bf16": args.mixed_precision == "bf16", "accelerator": accelerator}
    model = train_classifier(walks.inputs, walks.labels, walks.names, **options)
    model.config.update({"fps": walks.fps} | walks.known)  # the pipeline reads a walk by them
    save_model(args.output_dir, GaitClassificationPipeline(model, device="cpu"))
    return model
