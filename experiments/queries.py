"""Sixty free queries over walks of people held out: does what is found fit what was asked?

    python -m experiments.queries --dataset data/gist --models outputs/retrieval_gist --subjects 1 7
    python datasets_scripts/simulated.py --num_walks 1800 --num_subjects 60 --frames 128 --output_dir outputs/simulated
    python -m experiments.queries --dataset outputs/simulated --models gait-small --name queries_simulated \
        --output_dir outputs/queries_simulated --subjects sim0_0050+sim0_0051+sim0_0052+sim0_0053+sim0_0054

In: `queries.yaml`, the models of `experiments.retrieval` (`values-SUBJECT-0`), or a family whose text encoder saw none of these
people; walks of the walk schema. Out: a row for each held-out subject, or subjects joined by + (runner.py),
`model_cards/results/queries.json`.

The gallery is all of a subject's recordings, their labels hidden. A hit fits where its measured numbers and its label pass the
query's filter. `precision_at_5`: share of the first five hits that fit (of as many as there are, if fewer than five do), mean
over the queries that anything fits; `encoder_`: the dual encoder alone; `chance_`: of a random order. `refused`: share of the
bad queries that get a sentence; `refused_wrongly`: of the others.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from experiments.runner import Rows, RunArguments, held_out, interval, parse, run_all, write_result
from modeling_gait.gait_search import GaitSearch
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.released import named
from modeling_gait.training.data import load_walks, open_rows

LABELS = ["pathology", "attributes", "severity"]


@dataclass(kw_only=True)
class QueryArguments(RunArguments):
    """Arguments of the evaluation."""

    output_dir: str = field(default="outputs/queries", metadata={"help": "rows"})
    name: str = "queries"
    models: str = field(default="outputs/retrieval_gist", metadata={"help": "folder of experiments.retrieval, or gait-small"})
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out, A+B: together; default: every one"})


def passing(search: GaitSearch, fits: str | list[str]) -> np.ndarray:
    """Which walks (N,) pass a filter, or one of several."""
    out = np.zeros(len(search.walks), bool)
    for where in [fits] if isinstance(fits, str) else fits:
        try:
            out[search.passing(where)] = True
        except ValueError:  # none does
            continue
    return out


def precision(order: np.ndarray, right: np.ndarray, k: int = 5) -> float:
    """Share of the first k rows that are right, of as many as can be."""
    k = min(k, int(right.sum()))
    return float(right[order[:k]].mean())


def measure(run: dict, args: QueryArguments, queries: list[dict]) -> dict:
    """Numbers of one gallery."""
    family = named(args.models, "text")
    folder = Path(args.models) / f"values-{run['subject']}-{run['seed']}" if family == args.models else family
    model = GaitDualEncoderModel.from_pretrained(folder).eval()
    walks = load_walks(args.dataset, only_subjects=run["subject"].split("+"))
    search = GaitSearch.from_dataset(model, walks.remove_columns(LABELS), progress=False)
    truth = GaitSearch(model, walks, search.embeddings, search.measured, search.bodies, search.extractor)
    each, refused, wrongly = {}, [], []
    for entry in queries:
        text = entry["query"]
        try:
            found = np.array([f["row"] for f in search.by_text(text, k=5)])
        except ValueError:
            found = None
        if "fits" not in entry:
            refused.append(found is None)
            continue
        right = passing(truth, entry["fits"])
        if not right.any():
            continue
        wrongly.append(found is None)
        cosines = search.embeddings @ model.get_text_features(text)[0].detach().numpy()
        alone = precision(np.argsort(-cosines, kind="stable"), right)
        each[text] = [0.0 if found is None else precision(found, right), alone, float(right.mean())]
    hybrid, alone, chance = np.array(list(each.values())).T
    out = {"precision_at_5": hybrid.mean(), "encoder_precision_at_5": alone.mean(), "chance_precision_at_5": chance.mean()}
    out |= {"refused": np.mean(refused), "refused_wrongly": np.mean(wrongly)}
    return {k: float(v) for k, v in out.items()} | {"queries": len(each), "each": each}


def main() -> None:
    args = parse(QueryArguments)
    queries = yaml.safe_load((Path(__file__).parent / "queries.yaml").read_text(encoding="utf-8"))
    asked = [one for subject in args.subjects for one in subject.split("+")]
    everyone = held_out(np.array(open_rows(args.dataset)["subject_id"]), asked, args.dataset)
    subjects = args.subjects or everyone
    runs = [{"subject": s, "seed": i} for i in args.seeds for s in subjects]
    rows = Rows(run_all(args, runs, lambda run: measure(run, args, queries)))
    metrics: dict = {}
    for key in ("precision_at_5", "encoder_precision_at_5", "chance_precision_at_5", "refused", "refused_wrongly"):
        metrics |= interval(key, rows.means(key))
    metrics |= {"subjects": len(rows.units), "queries": len(queries)}
    protocol = (
        "60 queries written by hand; gallery: all recordings of a person held out, labels hidden; graded by measured numbers"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows.rows))


if __name__ == "__main__":
    main()
