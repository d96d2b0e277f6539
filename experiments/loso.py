"""Leave-one-subject-out: do synthetic walks make classifiers better?  (DESIGN section 5)

    python -m experiments.loso --dataset data/gist --choose                              # strengths of the augmentations, see below
    python -m experiments.loso_generator --dataset data/gist                             # a generator a fold, and its walks
    python -m experiments.loso --dataset data/gist --arms real classical ours both --seeds 0 1 2
    python -m experiments.loso --dataset data/gist --arms real ours --classifiers lstm cnn graph
    torchrun --nproc_per_node 2 -m experiments.loso ...   (CPUs: the runs are shared out; GPUs: accelerate launch)

In: walks of the walk schema. Out: `OUTPUT_DIR/rows/*.json`, one a run (arm, classifier, held-out subject, seed, share of real
walks), written as it is made, so that the same command goes on after an interruption. `experiments/report.py` gathers them in
`model_cards/results/loso_gist.json`; a run that is there is not run again.

Every run of a fold sees the other subjects only, whatever it fits. All arms train for the same number of steps; synthetic walks
are half of each batch, classical augmentation changes half of it.

The strengths of the augmentations are chosen without the test subjects: for the first half of the subjects by leaving one out
among the second half (training on its other members alone), and the other way round (`--choose`).
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from safetensors.numpy import load_file
from sklearn.metrics import confusion_matrix
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.augmentation import NEW_PEOPLE, Augmentation, change_severity
from modeling_gait.training.classifier import (
    Walks,
    augment_inputs,
    load_inputs,
    predict_logits,
    train_classifier,
)
from modeling_gait.training.data import numbered
from modeling_gait.training.results import write_json


@dataclass(frozen=True)
class People:
    """How new people are drawn: random bones and postures, and walks affected less or more by up to `severity`."""

    bodies: Augmentation
    severity: float = 0.0


# What `--choose` compares, by kind. `classical`: yaw 17 deg, axes 15 %, time window, jitter, with and without mirroring;
# `people`: random turns of limbs and bones [deg], with random bone lengths as well, with severities as well.
CANDIDATES = {
    "classical": {
        "mirror": Augmentation(body=0, bone=0),
        "no_mirror": Augmentation(body=0, bone=0, mirror=0),
    },
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


# Sets: `language`, walks sampled from words by the fold's generator and given to new people; `people`, the training walks given
# to new people; the others are made by variants of the generator (see loso_generator.py) and used as they are. All but
# the naive ones leave out walks that a validity model takes for another class than was asked for.
ARMS = {
    "real": Arm(),
    "classical": Arm(classical=True),
    "naive": Arm(sets=("naive",)),
    "ours": Arm(sets=("language", "people")),
    "both": Arm(sets=("language", "people"), classical=True),
    "synthetic": Arm(real=False, sets=("language", "people")),
    "language": Arm(sets=("language",)),
    "people": Arm(sets=("people",)),
    "more_people": Arm(sets=("people",), copies=8),
    "language_synthetic": Arm(real=False, sets=("language",)),
    "same_people": Arm(sets=("same_people",)),
    "unconstrained": Arm(sets=("unconstrained",)),
    "label": Arm(sets=("label",)),
    "no_pathological_tokens": Arm(sets=("no_pathological_tokens",)),
}


@dataclass
class LosoArguments:
    """Arguments of the experiment."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    output_dir: str = field(default="outputs/loso_gist", metadata={"help": "rows, and the generators of the folds"})
    choose: bool = field(default=False, metadata={"help": "choose the strengths of the augmentations, nothing else"})
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    arms: list[str] = field(default_factory=lambda: ["real", "classical", "ours", "both"], metadata={"help": ", ".join(ARMS)})
    classifiers: list[str] = field(default_factory=lambda: ["gru"], metadata={"help": "gru, lstm, cnn, graph"})
    seeds: list[int] = field(default_factory=lambda: [0])
    share: float = field(default=1.0, metadata={"help": "share of the real walks that is used"})
    epochs: float = 12
    min_steps: int = field(default=300, metadata={"help": "steps at least, for small shares"})
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    num_threads: int = 0


def halves(subjects: list[str]) -> tuple[list[str], list[str]]:
    """The subjects in two halves; what is chosen on one is used on the other."""
    middle = (len(subjects) + 1) // 2
    return subjects[:middle], subjects[middle:]


class Experiment:
    """Trains and tests classifiers, one run at a time, and writes their rows."""

    def __init__(self, args: LosoArguments, walks: Walks):
        self.args, self.walks = args, walks
        self.all_subjects = numbered(walks.subjects)
        self.folder = Path(args.output_dir)
        self.kept: tuple[tuple, tuple[np.ndarray, np.ndarray]] | None = None

    def runs(self) -> Iterator[dict]:
        """All runs that were asked for, those of a fold together."""
        for subject in self.args.subjects or self.all_subjects:
            for arm in self.args.arms:
                for classifier in self.args.classifiers:
                    for seed in self.args.seeds:
                        yield {
                            "arm": arm, "classifier": classifier, "subject": subject, "seed": seed, "share": self.args.share
                        }  # fmt: skip

    def path(self, run: dict) -> Path:
        return self.folder / "rows" / "{arm}-{classifier}-{subject}-{seed}-{share:g}.json".format(**run)

    def run(self, run: dict) -> dict:
        """The row of one run."""
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
        return run | scores(probabilities, walks.labels[test], walks.walk_ids[test])

    def synthetic(self, arm: Arm, run: dict, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels of the fold's synthetic sets, as many of each set; kept for the next run."""
        key = (arm.sets, arm.copies, run["subject"], run["share"])
        if self.kept is None or self.kept[0] != key:
            parts = [self.one_set(name, run, train, round(arm.copies / run["share"])) for name in arm.sets]
            count = min(len(labels) for _, labels in parts)
            rng = np.random.default_rng(0)
            parts = [(x[keep], y[keep]) for x, y in parts for keep in [rng.permutation(len(y))[:count]]]
            self.kept = key, tuple(np.concatenate(p) for p in zip(*parts))
        return self.kept[1]

    def one_set(self, name: str, run: dict, train: np.ndarray, copies: int = 2) -> tuple[np.ndarray, np.ndarray]:
        if name == "people":
            return self.people_of(train, self.chosen("people", run["subject"]), copies)
        source = "language" if name == "same_people" else name
        file = fold_folder(self.folder, run["subject"], run["share"]) / f"{source}.safetensors"
        if not file.exists():
            raise ValueError(f"{file} is missing: run experiments/loso_generator.py first")
        stored = load_file(file)
        valid = (stored["judged"] == stored["labels"]) | (name == "naive")
        inputs, labels = stored["input_values"][valid].astype(np.float32), stored["labels"][valid]
        if name == "language":
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

    def chosen(self, kind: str, subject: str) -> Augmentation | People:
        """The strengths chosen without this subject's half."""
        half = next(i for i, members in enumerate(halves(self.all_subjects)) if subject in members)
        file = self.folder / "choices.json"
        if not file.exists():
            raise ValueError(f"{file} is missing: run with --choose first")
        return CANDIDATES[kind][json.loads(file.read_text())["chosen"][kind][half]]

    def choose(self, state: PartialState) -> None:
        """Compare the candidates within each half and write which one the other half is to use."""
        todo = [(kind, name, s) for kind, group in CANDIDATES.items() for name in group for s in self.all_subjects]
        for kind, name, subject in tqdm(todo[state.process_index :: state.num_processes], desc="choice"):
            run = {"arm": name, "classifier": "gru", "subject": subject, "seed": self.args.seeds[0], "share": 1.0}
            path = self.folder / "choice" / f"{kind}-{name}-{subject}.json"
            if not path.exists():
                half = next(h for h in halves(self.all_subjects) if subject in h)
                others = np.flatnonzero(np.isin(self.walks.subjects, [s for s in half if s != subject]))
                test = np.flatnonzero(self.walks.subjects == subject)
                candidate = CANDIDATES[kind][name]
                people = self.people_of(others, candidate) if kind == "people" else None
                write_json(path, self.fit(run, others, test, people, candidate if kind == "classical" else None))
        state.wait_for_everyone()
        if state.is_main_process:
            self.write_choices()

    def write_choices(self) -> None:
        """Mean accuracies within each half, and for each half the candidates that were best in the other one."""

        def accuracy(kind: str, name: str, half: list[str]) -> float:
            files = [self.folder / "choice" / f"{kind}-{name}-{s}.json" for s in half]
            return float(np.mean([json.loads(f.read_text())["accuracy"] for f in files]))

        first, second = halves(self.all_subjects)
        found = {
            kind: {name: [accuracy(kind, name, first), accuracy(kind, name, second)] for name in group}
            for kind, group in CANDIDATES.items()
        }
        best = {kind: [max(group, key=lambda n: group[n][i]) for i in (1, 0)] for kind, group in found.items()}
        content = {"chosen": best, "accuracy_within_each_half": found}
        write_json(self.folder / "choices.json", content)
        print(json.dumps(content, indent=1))


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


def main() -> None:
    args = HfArgumentParser(LosoArguments).parse_args_into_dataclasses()[0]
    unknown = set(args.arms) - set(ARMS)
    if unknown:
        raise ValueError(f"unknown arms {', '.join(sorted(unknown))}; known: {', '.join(ARMS)}")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    state = PartialState(cpu=not torch.accelerator.is_available())
    experiment = Experiment(args, load_inputs(args.dataset))
    nobody = set(args.subjects) - set(experiment.all_subjects)
    if nobody:
        there = ", ".join(experiment.all_subjects)
        raise ValueError(f"{args.dataset}: no such subject: {', '.join(sorted(nobody))}; there are {there}")
    if args.choose:
        experiment.choose(state)
        return
    known = Path("model_cards/results") / f"{Path(args.output_dir).name}.json"
    known = json.loads(known.read_text())["rows"] if known.exists() else []
    known = [{k: row[k] for k in ("arm", "classifier", "subject", "seed", "share")} for row in known]
    todo = [run for run in experiment.runs() if run not in known and not experiment.path(run).exists()]
    state.wait_for_everyone()  # before a row is written: all processes must part the same list
    about = {
        "dataset": Path(args.dataset).name,
        "command": "python " + " ".join([f"train/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "versions": {p: version(p) for p in ("torch", "transformers", "datasets", "numpy")},
        "steps": {"epochs": args.epochs, "min_steps": args.min_steps, "batch_size": args.batch_size},
    }
    for run in tqdm(todo[state.process_index :: state.num_processes], desc="runs"):
        write_json(experiment.path(run), experiment.run(run) | about | {"date": date.today().isoformat()})


if __name__ == "__main__":
    main()
