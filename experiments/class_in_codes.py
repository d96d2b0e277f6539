"""Which codes of a tokeniser carry the class of a walk?  (Why the ablation without pathological codes is no worse.)

    python -m experiments.class_in_codes --dataset data/gist --folder outputs/loso_gist --subjects 1 3 5 7 9

In: walks of the walk schema; the folds of `experiments/loso_generator.py`. For each kind of code a logistic regression on how
often a walk uses each code is fitted to the people the tokeniser was trained on, and tested on the person it never saw; the
same of the variant `no_pathological_tokens` where a fold has it, and how many of the sampled walks the fold's judge takes for
the class asked for. Out: `model_cards/results/class_in_codes.json`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]

from experiments.chain import windows_of  # noqa: E402
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor  # noqa: E402
from modeling_gait.modeling_gait_vq import GaitVQModel  # noqa: E402
from modeling_gait.training.data import load_walks  # noqa: E402
from modeling_gait.training.results import write_result  # noqa: E402


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


def measure(home: Path, subject: str, train, test, labels: np.ndarray, test_labels: np.ndarray) -> list[dict]:
    """A row for the family of a fold, and one for its variant without pathological codes."""
    rows = []
    for variant, folder in (("ours", home), ("no_pathological_tokens", home / "no_pathological_tokens")):
        if not (folder / "vq" / "model.safetensors").exists():
            continue
        known, new = code_counts(folder, train), code_counts(folder, test)
        known["motion and body"], new["motion and body"] = (
            np.concatenate([c[k] for k in ("spatial", "temporal", "body")], 1) for c in (known, new)
        )
        row = {"subject": subject, "variant": variant}
        row |= {f"class_from_{k}": class_from_counts(known[k], labels, new[k], test_labels) for k in known}
        sampled = home / f"{'language' if variant == 'ours' else variant}.safetensors"
        if sampled.exists():
            walks = load_file(sampled)
            row["sampled_as_asked"] = float((walks["judged"] == walks["labels"]).mean())
        rows.append({k.replace(" ", "_"): v for k, v in row.items()})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--folder", required=True, help="output_dir of experiments/loso_generator.py")
    parser.add_argument("--subjects", nargs="+", required=True)
    parser.add_argument("--num_threads", type=int, default=0)
    args = parser.parse_args()
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    rows = []
    for subject in tqdm(args.subjects):
        home = Path(args.folder) / f"fold_{subject}"
        extractor = GaitFeatureExtractor.from_pretrained(home / "vq")
        data = load_walks(args.dataset, exclude_subjects=[subject])
        train = windows_of(data.select(range(0, len(data), 3)), extractor, [None])  # a third of the walks is enough
        test = windows_of(load_walks(args.dataset, only_subjects=[subject]), extractor, [None])
        rows += measure(home, subject, train, test, train["labels"].numpy(), test["labels"].numpy())
    keys = [k for k in rows[0] if k not in ("subject", "variant")]
    metrics = {
        f"{variant}_{key}": round(float(np.mean([r[key] for r in rows if r["variant"] == variant and key in r])), 4)
        for variant in sorted({r["variant"] for r in rows})
        for key in keys
        if any(key in r for r in rows if r["variant"] == variant)
    }
    protocol = (
        "tokenisers of experiments/loso_generator.py; logistic regression on counts of codes, fitted to the other people "
        "(every third walk), accuracy on the held-out person; sampled_as_asked: by the fold's judge"
    )
    packages = ("torch", "transformers", "datasets", "scikit-learn")
    write_result("class_in_codes", args.dataset, protocol, metrics, rows, packages)
    print(metrics)


if __name__ == "__main__":
    main()
