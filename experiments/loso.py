"""Leave-one-subject-out: do synthetic walks make classifiers better?

    python -m experiments.loso --dataset data/gist --choose                          # strengths of the augmentations, see below
    python -m experiments.loso_generator --dataset data/gist                         # a generator a fold, and its walks
    python -m experiments.loso --dataset data/gist --arms real classical ours both --seeds 0 1 2
    python -m experiments.loso --dataset data/gist --arms real ours --classifiers lstm cnn graph

In: walks of the walk schema. Out: a row a run (arm, classifier, held-out subject, seed, share of real walks; runner.py),
`model_cards/results/loso_gist.json`, figures.

Every run of a fold sees the other subjects only, whatever it fits. All arms train for the same number of steps; synthetic walks
are half of each batch, classical augmentation changes half of it. The strengths of the augmentations are chosen without the
test subjects: for the first half of the subjects by leaving one out among the second half (training on its other members
alone), and the other way round (`--choose`).
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from experiments.loso_report import draw, result_metrics
from experiments.runner import RunArguments, claimed, held_out, parse, result_path, run_all, write_result
from modeling_gait.augmentation import NEW_PEOPLE, Augmentation, change_severity
from modeling_gait.files import write_json
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.new_people import NewPeople
from modeling_gait.training.classifier import Walks, augment_inputs, load_inputs, predict_logits, train_classifier
from modeling_gait.training.data import load_walks, numbered


@dataclass(frozen=True)
class People:
    """How new people are drawn: random bones and postures, and walks affected less or more by up to `severity`."""

    bodies: Augmentation
    severity: float = 0.0


# What `--choose` compares, by kind. `classical`: yaw 17 deg, axes 15 %, time window, jitter, with and without mirroring;
# `people`: random turns of limbs and bones [deg], with random bone lengths as well, with severities as well.
CANDIDATES = {
    "classical": {"mirror": Augmentation(body=0, bone=0), "no_mirror": Augmentation(body=0, bone=0, mirror=0)},
    "people": {
        "postures": People(replace(NEW_PEOPLE, posture=5, posture_bone=3, body=0, bone=0)),
        "postures_and_bodies": People(NEW_PEOPLE),
        "severities_postures_and_bodies": People(NEW_PEOPLE, severity=0.5),
    },
}


@dataclass(frozen=True)
class Arm:
    """What a classifier is trained on: real walks or not, synthetic sets, classical augmentation or not."""

    real: bool = True
    sets: tuple[str, ...] = ()
    classical: bool = False
    copies: int = 2  # new people for each walk; more where there are fewer walks


# Sets: `people`, the training walks given to new people; `parts`, the training walks given to people made of parts of others
# (new_people.py); `words`, the same with the people and pathologies that the fold's GPT-2 wrote for words that ask for
# severities at random; `samples`, walks that it wrote as a whole, given to new people; the others are made by variants of the
# generator (see loso_generator.py) and used as they are. All sampled walks but the naive ones leave out what a validity model
# takes for another class than was asked for.
ARMS = {
    "real": Arm(),
    "classical": Arm(classical=True),
    "naive": Arm(sets=("naive",)),
    "ours": Arm(sets=("samples", "people")),
    "both": Arm(sets=("samples", "people"), classical=True),
    "synthetic": Arm(real=False, sets=("samples", "people")),
    "people": Arm(sets=("people",)),
    "parts": Arm(sets=("parts",)),
    "parts_only": Arm(real=False, sets=("parts",)),
    "language": Arm(sets=("words",)),
    "both_parts": Arm(sets=("words", "parts")),
    "language_only": Arm(real=False, sets=("samples",)),
    "more_people": Arm(sets=("people",), copies=8),
    "sampled_people": Arm(sets=("samples",)),
    "same_people": Arm(sets=("same_people",)),
    "unconstrained": Arm(sets=("unconstrained",)),
    "label": Arm(sets=("label",)),
    "no_pathological_tokens": Arm(sets=("no_pathological_tokens",)),
}
CLASSIFIERS = ("gru", "lstm", "cnn", "graph")
PROTOCOL = (
    "leave one subject out; whatever is fitted sees the other subjects only; same number of steps in all arms; "
    "synthetic walks are half of each batch, classical augmentation changes half of it; strengths of augmentations chosen "
    "within the other half of the subjects; intervals: 95 %, bootstrapped over subjects, paired by subject and seed"
)


@dataclass(kw_only=True)
class LosoArguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/loso_gist", metadata={"help": "rows, and the generators of the folds"})
    name: str = "loso_gist"
    choose: bool = field(default=False, metadata={"help": "choose the strengths of the augmentations, nothing else"})
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    arms: list[str] = field(default_factory=lambda: ["real", "classical", "ours", "both"], metadata={"choices": tuple(ARMS)})
    classifiers: list[str] = field(default_factory=lambda: ["gru"], metadata={"choices": CLASSIFIERS})
    share: float = field(default=1.0, metadata={"help": "share of the real walks that is used"})
    epochs: float = 12
    min_steps: int = field(default=300, metadata={"help": "steps at least, for small shares"})
    batch_size: int = 128
    learning_rate: float = 1.5e-3


class Experiment:
    """Trains and tests classifiers, one run at a time."""

    def __init__(self, args: LosoArguments, walks: Walks):
        self.args, self.walks = args, walks
        self.all_subjects = numbered(walks.subjects)
        self.folder = Path(args.output_dir)
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # sets of the fold `kept_of`, for its next runs
        self.kept_of: tuple = ()

    def run(self, run: dict) -> dict:
        """Numbers of one run."""
        train, test = self.walks.fold(run["subject"], run["share"])
        arm = ARMS[run["arm"]]
        synthetic = self.synthetic(arm, run, train) if arm.sets else None
        augmentation = self.chosen("classical", run["subject"]) if arm.classical else None
        return self.fit(run, train, test, synthetic, augmentation, arm.real)

    def fit(self, run: dict, train: np.ndarray, test: np.ndarray, synthetic, augmentation, real: bool = True) -> dict:
        """Train on these rows, test on those."""
        walks, args = self.walks, self.args
        assert not set(walks.subjects[train]) & set(walks.subjects[test]), "a test subject among the training rows"
        inputs, labels = (walks.inputs[train], walks.labels[train]) if real else synthetic
        model = train_classifier(
            inputs,
            labels,
            walks.names,
            run["classifier"],
            batch_size=args.batch_size,
            learning_rate=args.learning_rate,
            seed=run["seed"],
            steps=max(args.min_steps, round(args.epochs * len(train) / args.batch_size)),
            synthetic=synthetic if real else None,
            augmentation=augmentation,
            bf16=True,
            progress=False,
        )
        probabilities = predict_logits(model, walks.inputs[test]).softmax(-1).numpy()
        return scores(probabilities, walks.labels[test], walks.walk_ids[test])

    def synthetic(self, arm: Arm, run: dict, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of the fold's synthetic sets, as many of each set; sets are kept for the next run of the fold."""
        fold = (arm.copies, run["subject"], run["share"])
        if self.kept_of != fold:
            self.kept, self.kept_of = {}, fold
        for name in arm.sets:
            if name not in self.kept:
                self.kept[name] = self.one_set(name, run, train, round(arm.copies / run["share"]))
        parts = [self.kept[name] for name in arm.sets]
        count = min(len(labels) for _, labels in parts)
        rng = np.random.default_rng(0)
        parts = [(x[keep], y[keep]) for x, y in parts for keep in [rng.permutation(len(y))[:count]]]
        return tuple(np.concatenate(p) for p in zip(*parts))

    def one_set(self, name: str, run: dict, train: np.ndarray, copies: int = 2) -> tuple[np.ndarray, np.ndarray]:
        if name == "people":
            return self.people_of(train, self.chosen("people", run["subject"]), copies)
        if name == "parts":
            return self.parts_of(train, copies), np.tile(self.walks.labels[train], copies)
        source = "samples" if name == "same_people" else name
        file = fold_folder(self.folder, run["subject"], run["share"]) / f"{source}.safetensors"
        if not file.exists():
            raise ValueError(f"{file} is missing: run python -m experiments.loso_generator first")
        stored = load_file(file)
        if name == "words":
            return self.parts_of(train, copies, stored), np.tile(self.walks.labels[train], copies)
        valid = (stored["judged"] == stored["labels"]) | (name == "naive")
        inputs, labels = stored["input_values"][valid].astype(np.float32), stored["labels"][valid]
        if name == "samples":
            people = self.chosen("people", run["subject"])
            inputs, labels = new_people(np.tile(inputs, (copies, 1, 1)), people.bodies), np.tile(labels, copies)
        return inputs, labels

    def people_of(self, train: np.ndarray, people: People, copies: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """The real walks of these rows, given to new people."""
        rows, walks = np.tile(train, copies), self.walks
        amounts = np.random.default_rng(0).uniform(-people.severity, people.severity, len(rows))
        inputs, labels = walks.inputs[rows], walks.labels[rows]
        if people.severity and "normal" in walks.names:
            inputs = change_severity(inputs, labels, walks.subjects[rows], amounts, walks.names.index("normal"))
        return new_people(inputs, people.bodies), labels

    def parts_of(self, train: np.ndarray, copies: int = 2, written: dict | None = None) -> np.ndarray:
        """Classifier inputs of the real walks of these rows, given to people made of parts of others, or of what was written:
        `persons`, `ways` (K, R, C) [m] and `labels` (K,)."""
        rows = load_walks(self.args.dataset).select(train)
        people = NewPeople().fit(rows)
        if written:
            persons, ways = (torch.from_numpy(written[k].astype(np.float32)) for k in ("persons", "ways"))
            of = {(name, False): ways[written["labels"] == i] for i, name in enumerate(self.walks.names)}
            people.learn(persons, {k: v for k, v in of.items() if len(v)})
        made = [
            prepare_classifier_input(people(rows[some], copy * len(train) + some)["joints"])
            for copy in range(copies)
            for some in np.array_split(np.arange(len(train)), -(-len(train) // 128))
        ]
        return np.concatenate(made)

    def chosen(self, kind: str, subject: str) -> Augmentation | People:
        """The strengths chosen without this subject's half."""
        half = next(i for i, members in enumerate(halves(self.all_subjects)) if subject in members)
        file = self.folder / "choices.json"
        if not file.exists():
            raise ValueError(f"{file} is missing: run with --choose first")
        return CANDIDATES[kind][json.loads(file.read_text())["chosen"][kind][half]]

    def choose(self) -> dict:
        """Mean accuracies of the candidates within each half, and for each half those that were best in the other one."""
        found = {kind: {name: {} for name in group} for kind, group in CANDIDATES.items()}
        for kind, name, subject in tqdm(
            [(k, n, s) for k, g in found.items() for n in g for s in self.all_subjects], desc="choice"
        ):
            path = self.folder / "choice" / f"{kind}-{name}-{subject}.json"
            with claimed(path.with_suffix(".lock"), wait=True):
                if not path.exists():
                    half = next(h for h in halves(self.all_subjects) if subject in h)
                    others = np.flatnonzero(np.isin(self.walks.subjects, [s for s in half if s != subject]))
                    test = np.flatnonzero(self.walks.subjects == subject)
                    candidate = CANDIDATES[kind][name]
                    people = self.people_of(others, candidate) if kind == "people" else None
                    run = {"classifier": "gru", "seed": self.args.seeds[0]}
                    write_json(path, self.fit(run, others, test, people, candidate if kind == "classical" else None))
            found[kind][name][subject] = json.loads(path.read_text())["accuracy"]
        means = {
            kind: {
                name: [float(np.mean([each[s] for s in half])) for half in halves(self.all_subjects)]
                for name, each in g.items()
            }
            for kind, g in found.items()
        }
        best = {kind: [max(group, key=lambda n: group[n][i]) for i in (1, 0)] for kind, group in means.items()}
        content = {"chosen": best, "accuracy_within_each_half": means}
        write_json(self.folder / "choices.json", content)
        return content


def halves(subjects: list[str]) -> tuple[list[str], list[str]]:
    """The subjects in two halves; what is chosen on one is used on the other."""
    middle = (len(subjects) + 1) // 2
    return subjects[:middle], subjects[middle:]


def new_people(inputs: np.ndarray, people: Augmentation, seed: int = 0) -> np.ndarray:
    """Root-relative walks (N, T, F) [m] of other people: other bones, other posture."""
    parts = [
        augment_inputs(torch.from_numpy(inputs[i : i + 512]), people, seed + i).numpy() for i in range(0, len(inputs), 512)
    ]
    return np.concatenate(parts)


def fold_folder(folder: Path, subject: str, share: float = 1.0) -> Path:
    """Where the generator of a fold and its walks are."""
    return folder / (f"fold_{subject}" if share == 1 else f"fold_{subject}_share_{share:g}")


def scores(probabilities: np.ndarray, labels: np.ndarray, walk_ids: np.ndarray) -> dict:
    """Accuracy by file and by walk (mean probability of its sensors), and the confusion matrix of the files."""
    said = probabilities.argmax(-1)
    walks = np.unique(walk_ids)
    voted = [probabilities[walk_ids == w].mean(0).argmax() == labels[walk_ids == w][0] for w in walks]
    confusion = confusion_matrix(labels, said, labels=range(probabilities.shape[1]))
    return {
        "accuracy": float((said == labels).mean()),
        "accuracy_by_walk": float(np.mean(voted)),
        "confusion": confusion.tolist(),
    }


def about_of(row: dict) -> dict:
    """What a row of the result says of how it was made."""
    if not row["about"]:
        return row  # kept from the result file
    about = row["about"]
    steps = {k: about["arguments"][k] for k in ("epochs", "min_steps", "batch_size")}
    known = {"dataset": about["arguments"]["dataset"], "versions": about["versions"], "steps": steps}
    return row | known | {"command": about["command"], "date": about["date"]}


def main() -> None:
    args = parse(LosoArguments)
    experiment = Experiment(args, load_inputs(args.dataset))
    subjects = held_out(experiment.walks.subjects, args.subjects, args.dataset)
    if args.choose:
        print(json.dumps(experiment.choose(), indent=1))
        return
    runs = [
        {"arm": arm, "classifier": classifier, "subject": subject, "seed": seed, "share": args.share}
        for subject in subjects
        for arm in args.arms
        for classifier in args.classifiers
        for seed in args.seeds
    ]
    choices, result = experiment.folder / "choices.json", result_path(args.name)
    if args.rows == "keep" and result.exists() and not choices.exists():
        write_json(choices, json.loads(result.read_text())["choices"])
    rows = run_all(args, runs, experiment.run, listed=("arms", "classifiers", "share", "choose"))
    rows = [about_of(r) for r in rows]
    write_result(
        args.name,
        args.dataset,
        PROTOCOL,
        result_metrics(rows, result_path("privacy_gist")),
        rows,
        command=f"python -m experiments.loso --dataset data/{Path(args.dataset).name}, as in each row",
        choices=json.loads(choices.read_text()) if choices.exists() else {},
    )
    draw(rows, args.name)


if __name__ == "__main__":
    main()
