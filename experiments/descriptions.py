"""A motion encoder and frozen words on BABEL-60 and DenseGait, the data sets of arXiv 2404.12192: one command each.

    python -m experiments.descriptions --dataset data/babel --name babel             # made by datasets_scripts/babel.py
    python -m experiments.descriptions --dataset data/densegait --name densegait     # made by datasets_scripts/densegait.py

In: a data set in the walk schema, of any skeleton. With a column `actions`: trained on the rows of the training splits, tested
on the others; the classes are the `most` most frequent training actions, each told by its name. `top1`, `top5`: over all pairs
of a segment and one of its actions; `top1_norm`: mean over actions. Otherwise by `attributes`: people held out in groups;
queries are the captions of held-out walks among these, gain: shared words, `ndcg_at_10`; each attribute asked for by its words
where a walk has one of them (`ATTRIBUTE_f1`, `ATTRIBUTE_average_precision`). Out: a model and a row for each run, and
`model_cards/results/NAME.json`.
"""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from experiments.retrieval import chance_ndcg, embed_texts, embed_walks, flat, ndcg, question_scores, text_arguments, trained
from experiments.runner import Rows, RunArguments, groups, interval, parse, run_all, split, write_result
from modeling_gait.gait_search import read_joints
from modeling_gait.skeletons import SKELETONS
from modeling_gait.training.data import load_walks
from modeling_gait.training.text import WalkWindows, open_encoder


@dataclass(kw_only=True)
class DescriptionArguments(RunArguments):
    """Arguments of the evaluation."""

    config: str = field(default="train/configs/text_gist.json", metadata={"help": "arguments of train_text.py"})
    output_dir: str = field(default="outputs/descriptions", metadata={"help": "models and rows"})
    most: int = field(default=60, metadata={"help": "action classes"})
    num_folds: int = field(default=5, metadata={"help": "groups that the people are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    max_steps: int = field(default=0, metadata={"help": "instead of the configuration's"})


def action_scores(scores: np.ndarray, actions: list[list[str]], names: list[str]) -> dict[str, float]:
    """Scores (N, K) of classes `names` for segments with these actions; what is no class is not counted."""
    pairs = np.array([(i, names.index(a)) for i, found in enumerate(actions) for a in found if a in names])
    if not len(pairs):
        raise ValueError("no tested segment shows an action that was trained on")
    place = (scores[pairs[:, 0]] > scores[pairs[:, 0], pairs[:, 1]][:, None]).sum(1)
    each = [(place[pairs[:, 1] == k] == 0).mean() for k in np.unique(pairs[:, 1])]
    chance = 1 / len(names)
    out = {"top1": (place == 0).mean(), "top5": (place < 5).mean(), "top1_norm": np.mean(each), "chance_top1": chance}
    return {k: float(v) for k, v in out.items()} | {"classes": len(names), "segments": len(actions)}


def attribute_scores(embed, gait: np.ndarray, captions: list[str], words: list[dict[str, list[str]]]) -> dict:
    """nDCG of captions among walks (N, P) whose attributes have these words, and F1 of each attribute by its words."""
    said = sorted({(name, word) for w in words for name, values in w.items() for word in values})
    has = np.array([[word in w.get(name, ()) for name, word in said] for w in words], float)
    gains = has @ has.T
    out = {"ndcg_at_10": ndcg(embed(captions) @ gait.T, gains), "chance_ndcg_at_10": chance_ndcg(gains), "attributes": {}}
    for name in sorted({n for n, _ in said}):
        values = [v for n, v in said if n == name]
        one = [i for i, w in enumerate(words) if len(w.get(name, ())) == 1]
        truth = np.array([words[i][name][0] for i in one])
        out["attributes"][name] = question_scores(gait[one], embed(values), values, truth) if one else {}
    return out | {"walks": len(words)}


def words_of(attributes: str) -> dict[str, list[str]]:
    """The words of a row's attributes, numbers and scores left out."""
    found = json.loads(attributes or "{}")
    return {k: v.split(", ") for k, v in found.items() if isinstance(v, str) and v}


class Experiment:
    """Trains and tests one group of people and seed at a time."""

    def __init__(self, args: DescriptionArguments):
        data = load_walks(args.dataset)
        fps = float(data[0]["fps"])
        self.args, self.joints = args, list(read_joints(data, fps))
        points = self.joints[0].shape[1]
        self.about = {"skeleton": next(n for n, s in SKELETONS.items() if len(s) == points), "fps": fps}
        self.actions = [list(a) for a in data["actions"]] if "actions" in data.column_names else None
        self.words = [words_of(a) for a in data["attributes"]]
        if self.actions:
            self.texts = [list(dict.fromkeys((", ".join(a), label))) for a, label in zip(self.actions, data["label"])]
            same = [", ".join(sorted(a)) for a in self.actions]
            self.test = np.array([not s.startswith(("train", "extra_train")) for s in data["split"]])
            if self.test.all() or not self.test.any():
                raise ValueError(f"{args.dataset}: expected rows of a training split and of another")
        else:
            self.texts = [[str(c) for c in captions] for captions in data["captions"]]
            same = [json.dumps(w, sort_keys=True) for w in self.words]
            self.subjects = np.array(data["subject_id"])
            self.groups = groups(self.subjects, args.num_folds, args.folds)
        self.same = np.unique(same, return_inverse=True)[1]
        self.base = text_arguments(args, output_dir=args.output_dir, losses=["clip"], numbers=[], mirror=0.0)
        self.encoder = open_encoder(self.base)

    def run(self, run: dict) -> dict:
        """Numbers of one run."""
        if self.actions:
            train, test = np.flatnonzero(~self.test), np.flatnonzero(self.test)
        else:
            train, test = split(self.subjects, self.groups[run["fold"]])
        folder = Path(self.args.output_dir) / f"{self.args.name}-{run['fold']}-{run['seed']}"
        args = replace(self.base, seed=run["seed"], output_dir=str(folder))
        walks = [self.joints[i] for i in train], [self.texts[i] for i in train], self.same[train]
        model, extractor = trained(args, self.encoder, walks, **self.about)
        texts = [self.texts[i] for i in test]
        gait = embed_walks(model, WalkWindows([self.joints[i] for i in test], texts, test, extractor))
        if not self.actions:
            return attribute_scores(lambda t: embed_texts(model, t), gait, [t[0] for t in texts], [self.words[i] for i in test])
        names = [a for a, _ in Counter(a for i in train for a in self.actions[i]).most_common(self.args.most)]
        return action_scores(gait @ embed_texts(model, names).T, [self.actions[i] for i in test], names)


def main() -> None:
    args = parse(DescriptionArguments)
    experiment = Experiment(args)
    folds = [0] if experiment.actions else args.folds or range(args.num_folds)
    rows = run_all(args, [{"fold": f, "seed": s} for s in args.seeds for f in folds], experiment.run)
    table, metrics = Rows([flat(r, "attributes") for r in rows], unit="fold"), {}
    for key in sorted({k for r in table.rows for k, v in r.items() if isinstance(v, float)}):
        metrics |= interval(key, table.means(key))
    protocol = (
        f"trained on the training splits, tested on the others; {args.most} most frequent actions"
        if experiment.actions
        else f"{args.num_folds} groups of people held out in turn; gallery: their walks"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows))


if __name__ == "__main__":
    main()
