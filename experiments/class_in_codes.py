"""Which codes of a tokeniser carry the class of a walk?  (Why the ablation without pathological codes is no worse.)

    python -m experiments.class_in_codes --dataset data/gist --folder outputs/loso_gist --subjects 1 3 5 7 9

In: walks of the walk schema; the folds of `loso_generator.py`. For each kind of code a logistic regression on how often
a walk uses each code is fitted to the people that the tokeniser was trained on, and tested on the person it never saw; the same
of the variant `no_pathological_tokens` where a fold has it, and how many of the sampled walks the fold's judge takes for
the class asked for. Out: rows, `model_cards/results/class_in_codes.json`.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.chain import windows_of
from experiments.runner import RunArguments, parse, rounded, run_all, write_result
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.training.data import load_walks

VARIANTS = ("ours", "no_pathological_tokens")


@dataclass(kw_only=True)
class CodeArguments(RunArguments):
    """Arguments of the experiment."""

    folder: str = field(metadata={"help": "output_dir of loso_generator.py"})
    subjects: list[str] = field(metadata={"help": "held-out subjects whose folds are there"})
    output_dir: str = field(default="outputs/class_in_codes", metadata={"help": "rows"})
    name: str = "class_in_codes"


@torch.no_grad()
def code_counts(folder: Path, windows: dict, batch_size: int = 240) -> dict[str, np.ndarray]:
    """Kind of code -> (N, K) how often each of N walks uses each code."""
    vq = GaitVQModel.from_pretrained(folder / "vq").eval()
    extractor = GaitFeatureExtractor.from_pretrained(folder / "vq")
    config, parts = vq.config, []
    for i in range(0, len(windows["joints"]), batch_size):
        joints, mask = (windows[k][i : i + batch_size] for k in ("joints", "attention_mask"))
        output = vq.encode(extractor.to_features(joints), mask)
        steps = mask[:, :: config.downsampling]
        spatial, temporal = output.motion_codes.split([config.num_spatial_quantizers, config.num_temporal_quantizers], -1)
        used = {
            "spatial": counts(spatial, config.spatial_codebook_size, steps),
            "temporal": counts(temporal, config.temporal_codebook_size, steps),
            "body": counts(output.body_codes, config.body_codebook_size),
        }
        if config.pathological_codebook_size > 1:
            used["pathological"] = counts(output.pathological_codes, config.pathological_codebook_size)
        parts.append(used)
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def counts(codes: torch.Tensor, size: int, mask: torch.Tensor | None = None) -> np.ndarray:
    """Codes (N, Q), each column with a codebook of its own, or (N, T, Q) with a mask (N, T), to counts (N, Q * size)."""
    if codes.ndim == 2:
        return torch.nn.functional.one_hot(codes, size).flatten(1).numpy().astype(np.float32)
    return (torch.nn.functional.one_hot(codes, size) * mask[:, :, None, None]).sum(1).flatten(1).numpy().astype(np.float32)


def class_from_counts(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Accuracy on the held-out person."""
    seen = train.any(0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return float(model.fit(train[:, seen], train_labels).score(test[:, seen], test_labels))


def measure(run: dict, args: CodeArguments) -> dict | None:
    """Numbers of the family of a fold, or of its variant without pathological codes; None where the fold lacks it."""
    home, subject = Path(args.folder) / f"fold_{run['subject']}", run["subject"]
    folder = home if run["variant"] == "ours" else home / run["variant"]
    if not (folder / "vq" / "model.safetensors").exists():
        return None
    extractor = GaitFeatureExtractor.from_pretrained(home / "vq")
    data = load_walks(args.dataset, exclude_subjects=[subject])
    train = windows_of(data.select(range(0, len(data), 3)), extractor, [None])  # a third of the walks is enough
    test = windows_of(load_walks(args.dataset, only_subjects=[subject]), extractor, [None])
    known, new = code_counts(folder, train), code_counts(folder, test)
    for used in (known, new):
        used["motion_and_body"] = np.concatenate([used[k] for k in ("spatial", "temporal", "body")], 1)
    labels = train["labels"].numpy(), test["labels"].numpy()
    row = {f"class_from_{k}": class_from_counts(known[k], labels[0], new[k], labels[1]) for k in known}
    sampled = home / f"{'language' if run['variant'] == 'ours' else run['variant']}.safetensors"
    if sampled.exists():
        walks = load_file(sampled)
        row["sampled_as_asked"] = float((walks["judged"] == walks["labels"]).mean())
    return row


def main() -> None:
    args = parse(CodeArguments)
    runs = [{"subject": subject, "variant": variant} for subject in args.subjects for variant in VARIANTS]
    rows = run_all(args, runs, lambda run: measure(run, args))
    metrics = {}
    for variant in sorted({r["variant"] for r in rows}):
        mine = [r for r in rows if r["variant"] == variant]
        keys = dict.fromkeys(k for r in mine for k, v in r.items() if isinstance(v, float))
        metrics |= {f"{variant}_{k}": float(np.mean([r[k] for r in mine if k in r])) for k in keys}
    protocol = (
        "tokenisers of loso_generator.py; logistic regression on counts of codes, fitted to the other people (every "
        "third walk), accuracy on the held-out person; sampled_as_asked: by the fold's judge"
    )
    print(write_result(args.name, args.dataset, protocol, rounded(metrics, 4), rows))


if __name__ == "__main__":
    main()
