"""Time of 1,000 and of 10,000 walks from text to joints.

    python -m experiments.generation_speed --family outputs/gist_10

Three runs of 1,000 after a short warm-up and one of 10,000, with torch's own choice of threads; writes
model_cards/results/generation_speed.json.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
from transformers import pipeline

ROOT = Path(__file__).resolve().parents[1]

import modeling_gait  # noqa: E402, F401  registers the pipeline
from modeling_gait.training.results import write_result  # noqa: E402

PROMPTS = ("steppage gait, right side, 0.7 m/s, 84 steps/min", "normal gait, 1.0 m/s, 104 steps/min", "lurch gait, 0.6 m/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", required=True)
    args = parser.parse_args()
    pipe = pipeline("text-to-gait", model=args.family)
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(10_000)]
    pipe(prompts[:50], seed=0)
    rows = []
    for seed, walks in enumerate((1000, 1000, 1000, 10_000)):
        began = time.perf_counter()
        assert len(pipe(prompts[:walks], seed=seed)) == walks
        rows.append({"walks": walks, "seconds": round(time.perf_counter() - began, 2)})
    protocol = (
        f"walks of 96 frames, text to joints; 1,000 walks: median of three runs; "
        f"{torch.get_num_threads()} threads on {os.cpu_count()} processors"
    )
    metrics = {
        "seconds_per_1000_walks": statistics.median(r["seconds"] for r in rows[:3]),
        "seconds_per_10000_walks": rows[3]["seconds"],
    }
    packages = ("torch", "transformers")
    write_result("generation_speed", "none: prompts only", protocol, metrics, rows, packages, seeds=[0, 1, 2, 3])
    print(rows)


if __name__ == "__main__":
    main()
