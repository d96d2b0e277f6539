"""Train a gait classifier on walks of a data set: GRU, LSTM, CNN or graph model.

    python train/train_classifier.py --dataset data/gist --exclude_subjects 10 --output_dir outputs/gist_10/gru
    python train/train_classifier.py --architecture cnn ...

In: walks of the walk schema. Out: a folder that `AutoModelForSequenceClassification` and `pipeline("gait-classification")`
load; the input of the model is `prepare_classifier_input` of whole walks (root-relative joints resampled to 64 frames).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.augmentation import Augmentation
from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification, prepare_classifier_input
from modeling_gait.pipeline_gait_classification import GaitClassificationPipeline
from modeling_gait.training.common import StepBatches, class_labels, load_walks, save_model, schedule, seed_step


@dataclass
class ClassifierArguments:
    """Arguments of a classifier's training."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    output_dir: str = field(metadata={"help": "folder of the trained model"})
    exclude_subjects: list[str] = field(default_factory=list, metadata={"help": "people held out"})
    architecture: str = field(default="gru", metadata={"help": "gru, lstm, cnn or graph"})
    epochs: float = 12
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0


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
) -> GaitForSequenceClassification:
    """Fit a classifier to inputs (N, T, F) [m] and labels (N,) that index `names`; returns it in eval mode.

    Args:
        steps: optimiser steps, instead of `epochs` over the inputs.
        synthetic: inputs and labels of synthetic walks, which make up half of every batch.
        augmentation: changes half of the walks of every batch, real and synthetic alike, anew at every step.
    """
    seed_step(seed, 0, 0)
    config = GaitClassifierConfig(
        architecture=architecture, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    model = GaitForSequenceClassification(config)
    flat = inputs.reshape(-1, inputs.shape[-1])
    model.set_normalization(flat.mean(0), np.maximum(flat.std(0), 0.01))
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    model.train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    batch_size = min(batch_size, len(inputs))
    if steps is None:
        steps = max(1, round(epochs * len(inputs) / batch_size))
    made = 0 if synthetic is None else batch_size // 2
    sources = [(inputs, labels, StepBatches(len(inputs), batch_size - made, seed))]
    if made:
        sources.append((*synthetic, StepBatches(len(synthetic[0]), made, seed)))
    for step in tqdm(range(steps), desc=architecture, mininterval=5, disable=not progress):
        drawn = [(x, y, batches.rows(step)) for x, y, batches in sources]
        values = torch.from_numpy(np.concatenate([x[rows] for x, _, rows in drawn])).float()
        targets = torch.from_numpy(np.concatenate([y[rows] for _, y, rows in drawn]))
        if augmentation is not None:
            values[::2] = augment_inputs(values[::2], augmentation, seed_step(seed, step, 0))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = model(input_values=values.to(device), labels=targets.to(device)).loss
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, 20, steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
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


def main() -> None:
    args = HfArgumentParser(ClassifierArguments).parse_args_into_dataclasses()[0]
    data = load_walks(args.dataset, args.exclude_subjects)
    labels, names = class_labels(data)
    inputs = np.concatenate([prepare_classifier_input(part["joints"]) for part in data.iter(batch_size=256)])
    options = {k: getattr(args, k) for k in ("architecture", "epochs", "batch_size", "learning_rate", "seed")}
    model = train_classifier(inputs, labels, names, **options)
    model.config.fps = float(np.median(data["fps"]))  # the pipeline resamples a measured walk to it
    save_model(args.output_dir, GaitClassificationPipeline(model, device="cpu"))


if __name__ == "__main__":
    main()
