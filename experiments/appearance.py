"""What of a person's appearance leaves a trace in gait, and do rich captions show it better than raw labels? (simulated data)

    python datasets_scripts/simulated.py --num_walks 4000 --num_subjects 400 --frames 128 --noise 0.01 --pathologies normal \\
        --output_dir data/appearance
    python -m experiments.appearance --dataset data/appearance --seeds 0 1 2 --num_threads 1

In: walks of the walk schema whose `attributes` hold age, sex, height, mass, load, footwear and clothing. Out: a model and a row
for each kind of caption, group of held-out people and seed; `model_cards/results/NAME.json`; a figure.

Kinds: `raw`, the values in a list ("female, young, backpack, ..."); `rich`, the same values in sentences that say what each
does to the way of walking. Both know the same: age, height and mass as the bands of `values_of`. An attribute is asked for by
the words of its values; `f1` and `average_precision` are means over values, `chance_f1` is that of guesses by frequency.
Intervals are 95 % bootstrap intervals over the groups. The simulator lets clothing leave no trace, on purpose.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from experiments.retrieval import (
    DIGITS,
    chance_ndcg,
    embed_texts,
    embed_walks,
    flat,
    ndcg,
    question_scores,
    text_arguments,
    trained,
)
from experiments.runner import Rows, RunArguments, bars, groups, interval, parse, run_all, save_figure, split, write_result
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_search import read_joints
from modeling_gait.training.data import load_walks
from modeling_gait.training.text import WalkWindows, open_encoder

WORDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
KINDS = ("rich", "raw")


@dataclass(kw_only=True)
class AppearanceArguments(RunArguments):
    """Arguments of the evaluation."""

    config: str = field(default="train/configs/text_gist.json", metadata={"help": "arguments of train_text.py"})
    output_dir: str = field(default="outputs/appearance", metadata={"help": "models and rows"})
    name: str = "appearance_simulated"
    num_folds: int = field(default=5, metadata={"help": "groups that the people are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    max_steps: int = field(default=0, metadata={"help": "instead of the configuration's"})


def values_of(attributes: dict) -> dict[str, str]:
    """The values of WORDS of a walk's attributes; age, height and body-mass index in three bands.

    Raises ValueError naming an attribute that is missing or has a value without words.
    """
    missing = {"age", "sex", "height", "mass", "load", "footwear", "clothing"} - set(attributes)
    if missing:
        raise ValueError(f"attributes: {', '.join(sorted(missing))} missing")
    index = attributes["mass"] / attributes["height"] ** 2
    out = {
        "sex": attributes["sex"],
        "age": "young" if attributes["age"] < 40 else "middle-aged" if attributes["age"] < 60 else "old",
        "stature": "short" if attributes["height"] < 1.63 else "medium height" if attributes["height"] < 1.75 else "tall",
        "build": "slim" if index < 22.5 else "medium build" if index < 25.5 else "heavy",
        "load": "no load" if attributes["load"] == "none" else attributes["load"],
        "footwear": attributes["footwear"],
        "clothing": attributes["clothing"],
    }
    for name, value in out.items():
        if value not in WORDS[name]:
            raise ValueError(f"attributes: {name} {value!r} has no words; known: {', '.join(WORDS[name])}")
    return out


def write_caption(values: dict[str, str], kind: str, rng: np.random.Generator) -> str:
    """One caption of these values, in random order."""
    names = [list(WORDS)[i] for i in rng.permutation(len(WORDS))]
    if kind == "raw":
        return ", ".join(values[n] for n in names)
    said = [WORDS[n][values[n]][rng.integers(len(WORDS[n][values[n]]))] for n in names]
    middle = len(said) // 2
    parts = (said[:middle], said[middle:])
    return " ".join(f"{who} {', '.join(p[:-1])} and {p[-1]}." for who, p in zip(("Someone", "This person"), parts))


class Experiment:
    """Trains and tests one kind of caption, group of people and seed at a time."""

    def __init__(self, args: AppearanceArguments):
        data = load_walks(args.dataset)
        self.args, self.joints = args, list(read_joints(data, GaitFeatureExtractor().fps))
        self.values = [values_of(json.loads(a)) for a in data["attributes"]]
        self.subjects = np.array(data["subject_id"])
        self.groups = groups(self.subjects, args.num_folds, args.folds)
        self.base = replace(text_arguments(args, output_dir=args.output_dir), losses=["clip"], **DIGITS)  # no numbers are said
        self.encoder = open_encoder(self.base)
        rng = np.random.default_rng(0)
        self.texts = {k: [[write_caption(v, k, rng) for _ in range(3)] for v in self.values] for k in KINDS}
        self.same = np.unique([json.dumps(v, sort_keys=True) for v in self.values], return_inverse=True)[1]

    def run(self, run: dict) -> dict:
        """Numbers of one run."""
        texts, (train, test) = self.texts[run["kind"]], split(self.subjects, self.groups[run["fold"]])
        folder = str(Path(self.args.output_dir) / "{kind}-{fold}-{seed}".format(**run))
        walks = [self.joints[i] for i in train], [texts[i] for i in train], self.same[train]
        model, extractor = trained(replace(self.base, seed=run["seed"], output_dir=folder), self.encoder, walks)
        gait = embed_walks(model, WalkWindows([self.joints[i] for i in test], [texts[i] for i in test], test, extractor))
        truth = {n: np.array([self.values[i][n] for i in test]) for n in WORDS}
        gains = sum((v[:, None] == v).astype(float) for v in truth.values())
        row = {
            "walks": len(test),
            "ndcg_at_10": ndcg(embed_texts(model, [texts[i][0] for i in test]) @ gait.T, gains),
            "chance_ndcg_at_10": chance_ndcg(gains),
            "attributes": {},
        }
        for name, words in WORDS.items():
            asked = [[v] if run["kind"] == "raw" else [f"Someone {w}." for w in words[v]] for v in words]
            vectors = np.stack([embed_texts(model, a).mean(0) for a in asked])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            row["attributes"][name] = question_scores(gait, vectors, list(words), truth[name])
        return row


def result_metrics(rows: list[dict]) -> dict[str, float]:
    """Means over seeds and groups, with 95 % intervals over groups; `rich_minus_raw_` is paired."""
    table, metrics = Rows([flat(r, "attributes") for r in rows], unit="fold"), {}
    for key in sorted({k for r in table.rows for k, v in r.items() if isinstance(v, float)}):
        for kind in KINDS:
            means = table.means(key, kind=kind)
            if "chance" in key and len(means):
                metrics[key] = float(means.mean())
            elif len(means):
                metrics |= interval(f"{kind}_{key}", means)
        gains = table.gains(key, {"kind": "rich"}, {"kind": "raw"})
        if "chance" not in key and len(gains):
            metrics |= interval(f"rich_minus_raw_{key}", gains)
    return metrics


def draw(metrics: dict, name: str) -> None:
    """F1 of each attribute by kind of caption, with intervals, and chance."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axis = figure.subplots()
    ends = ("", "_ci_low", "_ci_high")
    shown = {
        f"{kind} captions": [
            tuple(metrics.get(f"{kind}_{a}_f1{end}", metrics[f"{kind}_{a}_f1"]) for end in ends)
            if f"{kind}_{a}_f1" in metrics
            else None
            for a in WORDS
        ]
        for kind in KINDS
    }
    bars(axis, list(WORDS), shown, [metrics.get(f"{a}_chance_f1") for a in WORDS])
    axis.set(ylim=(0, 1), ylabel="F1, mean over values", title="appearance from gait, simulated people held out")
    save_figure(figure, name)


def main() -> None:
    args = parse(AppearanceArguments)
    experiment = Experiment(args)
    folds = args.folds or range(args.num_folds)
    runs = [{"kind": k, "fold": f, "seed": s} for s in args.seeds for f in folds for k in KINDS]
    rows = run_all(args, runs, experiment.run)
    metrics = result_metrics(rows)
    protocol = (
        f"simulated walks; {args.num_folds} groups of people held out in turn; attributes asked for by words; gain of nDCG: "
        "how many of seven are shared; means over seeds, then groups"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows))
    draw(metrics, args.name)


if __name__ == "__main__":
    main()
