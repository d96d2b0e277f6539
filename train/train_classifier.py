"""Train a gait classifier on walks of a data set: GRU, LSTM, CNN or graph model.

    python train/train_classifier.py --dataset data/gist --exclude_subjects 10 --output_dir outputs/gist_10/gru
    python train/train_classifier.py --architecture cnn ...

In: walks of the walk schema. Out: a folder that `AutoModelForSequenceClassification` loads; the input of the model is
`prepare_classifier_input` of whole walks (root-relative joints resampled to 64 frames).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from common import StepBatches, load_walks, save_model, schedule, seed_step
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import GaitClassifierForSequenceClassification, prepare_classifier_input


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
) -> GaitClassifierForSequenceClassification:
    """Fit a classifier to inputs (N, T, F) [m] and labels (N,) that index `names`; returns it in eval mode."""
    seed_step(seed, 0, 0)
    config = GaitClassifierConfig(
        architecture=architecture, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)}
    )
    model = GaitClassifierForSequenceClassification(config)
    flat = inputs.reshape(-1, inputs.shape[-1])
    model.set_normalization(flat.mean(0), np.maximum(flat.std(0), 0.01))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    batches = StepBatches(len(inputs), min(batch_size, len(inputs)), seed)
    steps = max(1, round(epochs * len(inputs) / batches.batch_size))
    for step in tqdm(range(steps), desc=architecture, mininterval=5):
        rows = batches.rows(step)
        loss = model(input_values=torch.from_numpy(inputs[rows]), labels=torch.from_numpy(labels[rows])).loss
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, 20, steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def predict(model: GaitClassifierForSequenceClassification, inputs: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Predicted label index (N,) of inputs (N, T, F)."""
    parts = [model(input_values=torch.from_numpy(inputs[i : i + batch_size])).logits for i in range(0, len(inputs), batch_size)]
    return torch.cat(parts).argmax(-1).numpy()


def main() -> None:
    args = HfArgumentParser(ClassifierArguments).parse_args_into_dataclasses()[0]
    data = load_walks(args.dataset, args.exclude_subjects)
    names = data.features["pathology"].names
    present = sorted({int(p) for p in data["pathology"]})
    labels = np.array([present.index(int(p)) for p in data["pathology"]])
    inputs = np.concatenate([prepare_classifier_input(part["joints"]) for part in data.iter(batch_size=256)])
    options = {k: getattr(args, k) for k in ("architecture", "epochs", "batch_size", "learning_rate", "seed")}
    model = train_classifier(inputs, labels, [names[i] for i in present], **options)
    save_model(args.output_dir, model)


if __name__ == "__main__":
    main()
