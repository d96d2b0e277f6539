"""How well sampled walks follow their prompts, when one of several candidates is chosen.

    python -m experiments.prompt_control --dataset data/gist --families outputs/gist_10 outputs/gist_1 --subjects 10 1

As `sampled` of experiments/chain.py: prompts are descriptions of training walks; a judge (GRU), trained on the family's own
people, is not the model that chooses. Writes model_cards/results/prompt_control_gist.json.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]

from experiments.chain import EvaluateArguments, Family, judge_inputs, sampled, windows_of  # noqa: E402
from modeling_gait.training.classifier import train_classifier  # noqa: E402
from modeling_gait.training.data import load_walks  # noqa: E402
from modeling_gait.training.results import write_result  # noqa: E402

CANDIDATES = (1, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--families", nargs="+", required=True, help="families, each trained without its subject")
    parser.add_argument("--subjects", nargs="+", required=True)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--num_threads", type=int, default=0)
    args = parser.parse_args()
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    rows = []
    for folder, subject in tqdm(list(zip(args.families, args.subjects, strict=True)), desc="families"):
        family, data = Family(folder), load_walks(args.dataset, exclude_subjects=[subject])
        windows = windows_of(data, family.extractor, [None])
        inputs = judge_inputs(windows["joints"], windows["attention_mask"])
        judge = train_classifier(inputs, windows["labels"].numpy(), family.extractor.labels, epochs=8, seed=0)
        for count in CANDIDATES:
            about = EvaluateArguments(args.dataset, [folder], [subject], samples=args.samples, candidates=count)
            row = {"subject": subject, "candidates": count} | sampled(family, judge, data, windows, about)[0]
            rows.append({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()})
    keys = [k for k, v in rows[0].items() if isinstance(v, float)]
    metrics = {
        f"{key}_{count}": round(float(np.mean([r[key] for r in rows if r["candidates"] == count])), 5)
        for count in CANDIDATES
        for key in keys
    }
    protocol = (
        f"{args.samples} walks sampled for descriptions of training walks; the candidate is chosen by the tokeniser's class "
        "head and the measured speed and cadence; judged by a GRU trained on the same people; families trained without the "
        "subject named; means over families"
    )
    write_result("prompt_control_gist", args.dataset, protocol, metrics, rows)
    print(metrics)


if __name__ == "__main__":
    main()
