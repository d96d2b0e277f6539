"""How well sampled walks follow their prompts, when one of several candidates is chosen.

    python -m experiments.prompt_control --dataset data/gist --families outputs/gist_10 outputs/gist_1 --subjects 10 1

As `sampled` of chain.py: prompts are descriptions of training walks; a judge (GRU), trained on the family's own people, is not
the model that chooses. Out: a row a subject and number of candidates, `model_cards/results/prompt_control_gist.json`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from experiments.chain import Family, FamilyArguments, families_of, judge_of, sampled, windows_of
from experiments.runner import parse, rounded, run_all, write_result
from modeling_gait.training.data import load_walks

CANDIDATES = (1, 4, 8)


@dataclass(kw_only=True)
class PromptArguments(FamilyArguments):
    """Arguments of the experiment."""

    output_dir: str = "outputs/prompt_control_gist"
    name: str = "prompt_control_gist"
    samples: int = 500


def main() -> None:
    args = parse(PromptArguments)
    families = families_of(args)

    @lru_cache(1)
    def opened(subject: str) -> tuple:
        family, data = Family(families[subject]), load_walks(args.dataset, exclude_subjects=[subject])
        windows = windows_of(data, family.extractor, [None])
        return family, judge_of(windows, family.extractor.labels), data, windows

    def measure(run: dict) -> dict:
        found = sampled(*opened(run["subject"]), args, run["candidates"])
        return rounded(found) | {"family": families[run["subject"]]}

    runs = [{"subject": subject, "candidates": count} for subject in families for count in CANDIDATES]
    rows = run_all(args, runs, measure, listed=("families",))
    keys = [k for k, v in rows[0].items() if isinstance(v, float)]
    metrics = {
        f"{key}_{count}": np.mean([r[key] for r in rows if r["candidates"] == count]) for count in CANDIDATES for key in keys
    }
    protocol = (
        f"{args.samples} walks sampled for descriptions of training walks; the candidate is chosen by the tokeniser's class "
        "head and the measured speed and cadence; judged by a GRU trained on the same people; families trained without the "
        "subject named; means over families"
    )
    print(write_result(args.name, args.dataset, protocol, rounded(metrics), rows))


if __name__ == "__main__":
    main()
