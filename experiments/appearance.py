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

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from tqdm import tqdm
from transformers import HfArgumentParser

from experiments.retrieval import chance_ndcg, embed_texts, embed_walks, ndcg, question_scores
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.files import atomic_path
from modeling_gait.gait_search import read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.training.data import load_walks
from modeling_gait.training.loop import save_model
from modeling_gait.training.results import ROOT, bootstrap, write_json, write_result
from modeling_gait.training.text import TextArguments, WalkWindows, fit_model, fitted_windows, open_encoder

# attribute -> value -> wordings that follow "Someone"
WORDS = {
    "sex": {
        "female": ("is a woman with the wider hips and narrower shoulders of one", "is a woman"),
        "male": ("is a man with broad shoulders and narrow hips", "is a man"),
    },
    "age": {
        "young": ("is a young adult with a brisk, upright walk", "is young and takes long, quick steps"),
        "middle-aged": ("is middle-aged and walks at an ordinary pace", "is of middle age"),
        "old": ("is an older person who walks slower and leans forward", "is old, slightly stooped, with shorter steps"),
    },
    "stature": {
        "short": ("is short, with short legs and short strides", "is a small person"),
        "medium height": ("is of medium height", "has an average stature"),
        "tall": ("is tall, with long legs and long strides", "is a tall person"),
    },
    "build": {
        "slim": ("is slim and walks with the feet close together", "has a slender body"),
        "medium build": ("has a medium build", "is of average weight"),
        "heavy": ("is heavily built, with a wider step", "is overweight and walks with the feet apart"),
    },
    "load": {
        "no load": ("carries nothing, the arms swing freely", "has empty hands and a free back"),
        "backpack": ("carries a backpack, so the trunk leans forward", "walks with a rucksack on a bent trunk"),
        "bag": ("carries a bag in one hand; that arm hardly swings, the trunk leans away", "holds a bag that stills one arm"),
    },
    "footwear": {
        "trainers": ("wears trainers", "has sports shoes on"),
        "boots": ("wears boots whose shafts hold the ankles stiff", "walks in heavy boots with little ankle motion"),
        "heels": ("wears high heels, with raised heels and shorter, slower steps", "walks in heels on pointed feet"),
        "barefoot": ("walks barefoot with shorter steps", "has no shoes on"),
    },
    "clothing": {
        "trousers": ("is dressed in trousers", "wears long trousers"),
        "shorts": ("is dressed in shorts", "wears short trousers"),
        "skirt": ("is dressed in a skirt", "wears a skirt"),
        "coat": ("is dressed in a coat", "wears a long coat"),
        "sportswear": ("is dressed in sportswear", "wears a tracksuit"),
    },
}  # fmt: skip
KINDS = ("rich", "raw")


@dataclass
class AppearanceArguments:
    """Arguments of the evaluation."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema, with attributes"})
    config: str = field(default="train/configs/text_gist.json", metadata={"help": "arguments of train_text.py"})
    output_dir: str = field(default="outputs/appearance", metadata={"help": "models and rows"})
    name: str = field(default="appearance_simulated", metadata={"help": "model_cards/results/NAME.json and a figure"})
    num_folds: int = field(default=5, metadata={"help": "groups that the people are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    seeds: list[int] = field(default_factory=lambda: [0])
    max_steps: int = field(default=0, metadata={"help": "instead of the configuration's"})
    num_threads: int = 0


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
        self.args, self.folder = args, Path(args.output_dir)
        data = load_walks(args.dataset)
        self.joints = list(read_joints(data))
        self.values = [values_of(json.loads(a)) for a in data["attributes"]]
        subjects = np.array(data["subject_id"])
        people = sorted(set(subjects))
        if not 2 <= args.num_folds <= len(people) or set(args.folds) - set(range(args.num_folds)):
            raise ValueError(f"num_folds must be 2 to {len(people)} and folds below it, got {args.num_folds}, {args.folds}")
        self.fold = np.array([people.index(s) % args.num_folds for s in subjects])
        config = json.loads(Path(args.config).read_text())
        self.base = TextArguments(**config | {"num_threads": args.num_threads, "dataset": args.dataset})
        if args.max_steps:
            self.base.max_steps = args.max_steps
        self.encoder = open_encoder(self.base)
        rng = np.random.default_rng(0)
        count = {"rich": 3, "raw": 3}
        self.texts = {k: [[write_caption(v, k, rng) for _ in range(count[k])] for v in self.values] for k in KINDS}
        self.same = np.unique([json.dumps(v, sort_keys=True) for v in self.values], return_inverse=True)[1]

    def path(self, run: dict) -> Path:
        return self.folder / "rows" / "{kind}-{fold}-{seed}.json".format(**run)

    def run(self, run: dict) -> dict:
        """The row of one run."""
        folder, texts = self.folder / "{kind}-{fold}-{seed}".format(**run), self.texts[run["kind"]]
        train, test = np.flatnonzero(self.fold != run["fold"]), np.flatnonzero(self.fold == run["fold"])
        if not (folder / "config.json").exists():
            args = replace(self.base, seed=run["seed"], output_dir=str(folder))
            windows, extractor = fitted_windows(
                args, [self.joints[i] for i in train], [texts[i] for i in train], self.same[train]
            )
            save_model(folder, fit_model(args, windows, self.encoder, extractor.skeleton, extractor.fps), extractor)
        model = GaitDualEncoderModel.from_pretrained(folder).eval()
        model.set_sentence_encoder(self.encoder)
        extractor = GaitFeatureExtractor.from_pretrained(folder)
        gait = embed_walks(model, WalkWindows([self.joints[i] for i in test], [texts[i] for i in test], test, extractor))
        truth = {n: np.array([self.values[i][n] for i in test]) for n in WORDS}
        gains = sum((v[:, None] == v).astype(float) for v in truth.values())
        row = run | {
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


def gather(folder: Path) -> tuple[dict, list[dict]]:
    """All rows, and their means over seeds and groups, with 95 % intervals over groups; `rich_minus_raw_` is paired."""
    rows = [json.loads(p.read_text()) for p in sorted((folder / "rows").glob("*.json"))]
    table: dict = {}
    for r in rows:
        flat = {k: v for k, v in r.items() if isinstance(v, float)}
        flat |= {f"{a}_{k}": v for a, found in r["attributes"].items() for k, v in found.items()}
        for key, value in flat.items():
            table.setdefault((r["kind"], key), {}).setdefault((r["fold"], r["seed"]), []).append(value)
    metrics: dict = {}

    def note(name: str, cells: dict) -> None:
        groups: dict = {}
        for (fold, _), values in cells.items():
            groups.setdefault(fold, []).extend(values)
        means = np.array([np.mean(v) for v in groups.values()])
        metrics[name] = float(means.mean())
        if len(means) > 1 and "chance" not in name:
            metrics[f"{name}_ci_low"], metrics[f"{name}_ci_high"] = bootstrap(means)

    for (kind, key), cells in table.items():
        note(key if "chance" in key else f"{kind}_{key}", cells)
        other = table.get(("raw", key), {})
        if kind == "rich" and "chance" not in key and set(cells) & set(other):
            note(f"rich_minus_raw_{key}", {c: [cells[c][0] - other[c][0]] for c in set(cells) & set(other)})
    return metrics, rows


def draw(metrics: dict, path: Path) -> None:
    """F1 of each attribute by kind of caption, with intervals, and chance."""
    figure, axes = plt.subplots(figsize=(9, 4.6))
    for i, kind in enumerate(KINDS):
        found = [(j, metrics[f"{kind}_{a}_f1"], a) for j, a in enumerate(WORDS) if f"{kind}_{a}_f1" in metrics]
        if not found:
            continue
        at = np.array([j for j, _, _ in found]) + (i - 0.5) * 0.32
        values = np.array([v for _, v, _ in found])
        low, high = (np.array([metrics.get(f"{kind}_{a}_f1_{end}", v) for _, v, a in found]) for end in ("ci_low", "ci_high"))
        axes.bar(at, values, 0.3, yerr=np.abs([values - low, high - values]), capsize=3, label=f"{kind} captions")
    for j, a in enumerate(WORDS):
        if f"{a}_chance_f1" in metrics:
            chance = metrics[f"{a}_chance_f1"]
            axes.hlines(chance, j - 0.35, j + 0.35, color="black", linestyle=":", label="chance" if j == 0 else None)
    axes.set_xticks(range(len(WORDS)), WORDS)
    axes.set(ylim=(0, 1), ylabel="F1, mean over values", title="appearance from gait, simulated people held out")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def main() -> None:
    args = HfArgumentParser(AppearanceArguments).parse_args_into_dataclasses()[0]
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    experiment = Experiment(args)
    folds = args.folds or range(args.num_folds)
    todo = [{"kind": k, "fold": f, "seed": s} for s in args.seeds for f in folds for k in KINDS]
    for run in tqdm([r for r in todo if not experiment.path(r).exists()], desc="runs"):
        write_json(experiment.path(run), experiment.run(run))
    metrics, rows = gather(experiment.folder)
    protocol = (
        f"simulated walks; {args.num_folds} groups of people held out in turn; attributes asked for by words; gain of nDCG: "
        "how many of seven are shared; means over seeds, then groups"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows, gathered=True))
    draw(metrics, ROOT / "model_cards" / "figures" / f"{args.name}.png")


if __name__ == "__main__":
    main()
