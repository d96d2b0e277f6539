"""Leave one subject out: do medical knowledge and numbers help, and which gait parameters does a model recover?

    python -m experiments.knowledge --dataset data/gist --shares 1.0 --seeds 0
    python -m experiments.knowledge --dataset data/gist --shares 0.05 --seeds 0 1 2
    python -m experiments.knowledge --dataset data/gist --branch video --video_encoder outputs/pose --batch_size 32 \\
        --epochs 24 --arms plain both          # outputs/pose: of train_video.py
    python -m experiments.knowledge --dataset data/gist --subjects 1 3 5 7 9 --train_people 2 5 --arms plain both --rows keep
    python -m experiments.knowledge --dataset data/gist --subjects 1 3 5 7 9 --branch filmed --arms plain --rows keep
    python -m experiments.knowledge --dataset data/gist --people 1 2 3 4 5 --parameter_weight 1 \\
        --output_dir outputs/half --name half

In: walks of the walk schema. Out: a row a run (arm, branch, held-out subject, seed, share of walks; runner.py),
`model_cards/results/NAME.json` and a figure of the numbers.

Arms: plain (learned class vectors), knowledge (classes are prompts of medical descriptions), numeric (plain, and 29 gait
parameters as numerical text and, with 17 kinematic ones, as numbers), both. All of them have the same network, steps and rows;
each run sees the other subjects only, whatever is fitted. Videos are drawn of the walks, eight a walk, each with a camera,
background and clothes of its own; the first of a walk is tested on.
filmed: one sensor's walk, trained on as recorded and as filmed: projected before a camera anywhere, with the errors that a pose
estimator has on real films, then read as a film is (training/filmed.py; MediaPipe itself sees none of it); tested as filmed.
`--train_people`: trained on that many people alone, those who come after the held-out one by number (after the last the
first): nested sets, and everyone is trained on as often.
Numeracy: decoded against measured parameters of held-out people; for r over all people each row keeps sums, not the numbers.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.special import softmax

from experiments.loso import scores
from experiments.loso_report import LosoRows, named
from experiments.runner import RunArguments, held_out, parse, result_path, rounded, run_all, save_figure, write_result
from modeling_gait.gait_parameters import GAIT_PARAMETERS
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.training.arguments import PRECISIONS
from modeling_gait.training.data import numbered
from modeling_gait.training.knowledge import (
    PARAMETERS,
    KnowledgeArguments,
    KnowledgeWalks,
    load_knowledge_walks,
    predict,
    train_model,
)

# arm -> knowledge, numbers
ARMS = {"plain": (False, False), "knowledge": (True, False), "numeric": (False, True), "both": (True, True)}
PROTOCOL = (
    "leave one subject out; whatever is fitted sees the other subjects only; accuracy by file (videos: one a walk), mean over "
    "seeds, then subjects; gains over plain: 95 % intervals, bootstrapped over subjects, paired by subject and seed; r and "
    "errors of gait parameters: arm both, all walks of held-out people"
)
OPTIONS = ("batch_size", "text_model", "numeric_weight", "parameter_weight", "video_encoder", "mixed_precision", "num_threads")


@dataclass(kw_only=True)
class EvaluationArguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/knowledge_gist", metadata={"help": "rows and videos"})
    name: str = "knowledge_gist"
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    arms: list[str] = field(default_factory=lambda: list(ARMS), metadata={"choices": tuple(ARMS)})
    branch: str = field(default="skeleton", metadata={"choices": ("skeleton", "video", "filmed")})
    shares: list[float] = field(default_factory=lambda: [1.0], metadata={"help": "shares of the walks that are trained on"})
    knowledge: str = field(default="gait", metadata={"help": "a set of gait_classes.json, or a JSON or YAML file"})
    text_model: str = field(default="sentence-transformers/all-MiniLM-L6-v2", metadata={"help": "frozen text encoder"})
    train_people: list[int] = field(
        default_factory=list, metadata={"help": "numbers of people to train on; default: all others"}
    )
    people: list[str] = field(default_factory=list, metadata={"help": "use no others (to choose weights without test people)"})
    video_encoder: str | None = field(default=None, metadata={"help": "vision encoder to begin with, see train_video.py"})
    numeric_weight: float = KnowledgeArguments.numeric_weight
    parameter_weight: float = KnowledgeArguments.parameter_weight
    mixed_precision: str = field(default="bf16", metadata={"choices": PRECISIONS})
    epochs: float = 12
    min_steps: int = field(default=300, metadata={"help": "steps at least, for small shares and videos"})
    batch_size: int = 128


class Experiment:
    """Trains and tests one model at a time and writes its row."""

    def __init__(self, args: EvaluationArguments, walks: KnowledgeWalks):
        self.args, self.walks = args, walks
        self.encoder: SentenceEncoder | None = None

    def run(self, run: dict) -> dict:
        """Numbers of one run."""
        args, walks = self.args, self.walks
        films = None
        if run["classifier"] == "filmed":
            walks, films = walks.with_filmed()
        train, test = walks.fold(run["subject"], run["share"])
        lost = np.zeros(len(test), bool)
        if films is not None:
            readable = np.isfinite(walks.inputs).all((1, 2))
            train, test = train[readable[train]], test[films[test] < 1]
            lost = ~readable[test]
            walks.inputs[test[lost]] = 0.0
        if "people" in run:
            order = numbered(walks.subjects)
            at = order.index(run["subject"])
            train = train[np.isin(walks.subjects[train], (order[at + 1 :] + order[:at])[: run["people"]])]
        assert not set(walks.subjects[train]) & set(walks.subjects[test]), "a test subject among the training rows"
        knowledge, numeric = ARMS[run["arm"]]
        if self.encoder is None and (knowledge or numeric):
            self.encoder = SentenceEncoder(args.text_model)
        steps = max(args.min_steps, round(args.epochs * len(train) / args.batch_size))
        training = KnowledgeArguments(
            dataset=args.dataset,
            output_dir=str(Path(args.output_dir) / "unsaved"),
            max_steps=steps,
            save_steps=steps,
            knowledge=args.knowledge if knowledge else "none",
            numeric=numeric,
            branches=["skeleton" if films is not None else run["classifier"]],
            seed=run["seed"],
            **{name: getattr(args, name) for name in OPTIONS},
        )
        model = train_model(training, walks, train, self.encoder if knowledge or numeric else None)
        logits, parameters = predict(model, walks, test)
        logits[lost, (walks.labels[test][lost] + 1) % logits.shape[1]] = 1e3  # what cannot be read is not recognised
        first = films[test] == 0 if films is not None else np.ones(len(test), bool)
        row = scores(softmax(logits[first], axis=-1), walks.labels[test][first], walks.walk_ids[test][first])
        if films is not None:
            recorded = logits[~first].argmax(-1) == walks.labels[test][~first]
            row |= {"accuracy_as_recorded": float(recorded.mean()), "unreadable": int(lost.sum())}
        row |= {"macro_f1": macro_f1(np.array(row["confusion"])), "steps": steps, "training_rows": len(train)}
        row |= {"numeric_weight": args.numeric_weight, "parameter_weight": args.parameter_weight} if numeric else {}
        if numeric:
            measured, labels = walks.parameters[test], walks.labels[test]
            with torch.no_grad():
                of_class = model.decode_parameters(model.get_class_embeds()).numpy()
            # a class of the held-out person: the mean of its walks
            known = np.ma.masked_invalid(measured)
            means = np.stack([known[labels == k].mean(0).filled(np.nan) for k in range(len(walks.names))])
            row |= {"parameters": moments(parameters, measured), "class_parameters": moments(of_class, means)}
        return row


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over classes (rows: true, columns: said) of F1; 0 for a class that is neither there nor said."""
    total = confusion.sum(0) + confusion.sum(1)
    return float(np.mean(2 * np.diag(confusion) / np.maximum(total, 1)))


def moments(said: np.ndarray, measured: np.ndarray) -> dict[str, list[float]]:
    """Per parameter, of decoded and measured numbers (N, 46) where measured: count, sums for `correlation`, sum of |error|."""
    known = np.isfinite(measured)
    x, y = np.where(known, said, 0.0).astype(np.float64), np.where(known, measured, 0.0).astype(np.float64)
    rows = (known, x, y, x * x, y * y, x * y, np.abs(x - y))
    return {p.name: [float(v[:, i].sum()) for v in rows] for i, p in enumerate(PARAMETERS)}


def correlation(sums: np.ndarray) -> float:
    """Pearson's r of the sums of `moments`; nan where it is not defined."""
    n, x, y, xx, yy, xy = sums[:6]
    if n < 3:
        return float("nan")
    spread = (xx - x * x / n) * (yy - y * y / n)
    return float((xy - x * y / n) / np.sqrt(spread)) if spread > 0 else float("nan")


def mean_error(sums: np.ndarray) -> float:
    """Mean |error| of the sums of `moments`; nan where nothing was measured."""
    return float(sums[6] / sums[0]) if sums[0] else float("nan")


def numeracy(rows: list[dict]) -> list[dict]:
    """One row a parameter: r over all held-out people, median of r within each, mean error in units; the same of the classes.

    Rows of several seeds are pooled.
    """
    out = []
    for p in PARAMETERS:
        people = np.array([r["parameters"][p.name] for r in rows])
        total, classes = people.sum(0), np.sum([r["class_parameters"][p.name] for r in rows], axis=0)
        within = [r for r in map(correlation, people) if np.isfinite(r)]
        out.append(
            {
                "parameter": p.name,
                "unit": p.unit,
                "r": correlation(total),
                "r_within_person": float(np.median(within)) if within else float("nan"),
                "error": mean_error(total),
                "class_r": correlation(classes),
                "class_error": mean_error(classes),
            }
        )
    return out


def result_metrics(rows: list[dict]) -> tuple[dict, list[dict]]:
    """Metrics and numeracy of all runs. An arm is in the metrics once every held-out person is in it."""
    metrics, numbers = {}, []
    for branch in ("skeleton", "video", "filmed"):
        for share, people in sorted({(r["share"], r.get("people", 0)) for r in rows}, reverse=True):
            table = LosoRows([r for r in rows if (r["classifier"], r.get("people", 0)) == (branch, people)])
            before = "" if branch == "skeleton" else f"{branch}_"
            after = ("" if share == 1 else f"_at_{100 * share:g}_percent") + (f"_{people}_people" if people else "")
            run = {"classifier": branch, "share": share}
            for arm in (arm for arm in ARMS if table.complete(arm=arm, **run)):
                metrics[f"{before}seeds_{arm}{after}"] = len({r["seed"] for r in table.pick(arm=arm, **run)})
                for key in ("accuracy", "accuracy_by_walk", "macro_f1", *["accuracy_as_recorded"] * (branch == "filmed")):
                    metrics[f"{before}{key}_{arm}{after}"] = float(table.means(key, arm=arm, **run).mean())
                if arm != "plain" and (gain := table.gain(arm, "plain", branch, share)):
                    names = [f"gain_points_{arm}{after}"] + [f"gain_points{after}"] * (arm == "both")
                    for name in [f"{arm}_gain_points{after}"] if people else names:
                        metrics |= named(before + name, gain, "")
            chosen = table.pick(arm="both", **run)
            if not people and share == 1 and table.complete(arm="both", **run) and all("parameters" in r for r in chosen):
                found = numeracy(chosen)
                for key in ("r", "class_r"):
                    good = sum(row[key] >= 0.8 for row in found[: len(GAIT_PARAMETERS)])
                    metrics[f"{before}{'class_' * (key == 'class_r')}parameters_r_at_least_08"] = good
                numbers += [{"branch": branch} | row for row in found]
    return metrics, numbers


def with_kept(metrics: dict, numbers: list[dict], path: Path) -> tuple[dict, list[dict]]:
    """Metrics and numeracy, and those of the result for branches whose rows were kept, which hold no sums of numbers."""
    if path.exists():
        old, made = json.loads(path.read_text(encoding="utf-8")), {row["branch"] for row in numbers}
        numbers = [row for row in old.get("numeracy", []) if row["branch"] not in made] + numbers
        metrics = {k: v for k, v in old["metrics"].items() if k.endswith("parameters_r_at_least_08")} | metrics
    return metrics, numbers


def draw(numbers: list[dict], name: str) -> None:
    """r of each decoded with the measured gait parameter, of the walks and of the classes of held-out people."""
    rows = [row for row in numbers if row["branch"] == "skeleton"][: len(GAIT_PARAMETERS)]
    names = [row["parameter"].replace("_", " ") for row in rows]
    figure = Figure(figsize=(8, 7.5), layout="constrained")
    ax = figure.subplots()
    ax.barh(names, [row["r"] for row in rows], color="C0", label="a walk's, over all people")
    for key, marker, label in (("r_within_person", "|", "within a person, median"), ("class_r", "o", "a class's mean")):
        ax.plot([row[key] for row in rows], names, "k" + marker, markersize=8 if marker == "|" else 4, label=label)
    ax.axvline(0.8, color="grey", linestyle=":")
    ax.invert_yaxis()
    ax.set(xlim=(None, 1), xlabel="r of decoded and measured, people held out")
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    save_figure(figure, f"{name}_numeracy")


def main() -> None:
    args = parse(EvaluationArguments)
    folders = {f"{kind}_folder": args.output_dir for kind in ("video", "filmed") if kind == args.branch}
    experiment = Experiment(args, load_knowledge_walks(args.dataset, only_subjects=args.people, **folders))
    runs = [
        {"arm": arm, "classifier": args.branch, "subject": subject, "seed": seed, "share": share}
        | ({"people": people} if people else {})
        for subject in held_out(experiment.walks.subjects, args.subjects, args.dataset)
        for seed in args.seeds
        for share in args.shares
        for arm in args.arms
        for people in (args.train_people or [0])
    ]
    listed = ("arms", "shares", "branch", "train_people")
    rows = run_all(args, runs, experiment.run, listed, within=("classifier",), sometimes=("people",))
    metrics, numbers = result_metrics(rows)
    metrics, numbers = with_kept(metrics, numbers, result_path(args.name))
    if any(row["branch"] == "skeleton" for row in numbers):
        draw(numbers, args.name)
    rows = [{k: v for k, v in r.items() if k not in ("parameters", "class_parameters")} for r in rows]
    print(write_result(args.name, args.dataset, PROTOCOL, metrics, rows, numeracy=[rounded(n, 12) for n in numbers]))


if __name__ == "__main__":
    main()
