"""Simulated walks against gist: the classes' changes, a classifier that never saw a measured walk, or no patient.

    python -m experiments.sim_to_real --dataset data/gist                          # the two halves, then ten people in turn
    python -m experiments.sim_to_real --dataset data/gist --arms no_patient --subjects 1 9 10

In: gist in the walk schema. Out: a row a run, and model_cards/results/sim_to_real_gist.json.

Each half of the people (1-5, 6-10) fits the degrees of the ways (`fit_degrees`), and every number is measured on people of
the other half: no test person tunes the simulator. What ships, `gait_curves.DEGREES`, is the fit of 1-5; the library of ways
itself was drawn up with 1-5 in sight, so the direction 1-5 -> 6-10 is the clean one. Bounds: most ways add, and signs without
which a class is not that class have a least degree.

    simulated     a GRU trained on simulated walks alone (`domain`, `sensors.record`), classical augmentation and new bodies
    no_patient    a GRU trained on the other nine people's normal walks with the simulator's pathologies (`Pathologies`)
    released      the family that the package ships, which saw no measured walk: its walks from words, read by a GRU trained on
                  all of gist (`generated_read_as_asked`) and compared with gist by Frechet distance, as are simulated walks and
                  one half of gist's people with the other; gist's walks described by its gait-to-text (class, side) and
                  its report (class), all and those of 6-10, whose half did not tune the simulator; and the report of them as
                  markers on the lower body, or on it and the trunk, would give them (`UNSEEN`), recall of normal gait too
"""

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scipy.optimize import lsq_linear
from transformers import pipeline

from experiments.runner import Rows, RunArguments, held_out, interval, parse, rounded, run_all, write_result
from modeling_gait.augmentation import NEW_PEOPLE, Augmentation
from modeling_gait.captions import WalkDescription, read_prompt
from modeling_gait.evaluation.metrics import frechet_gait_distance, gait_features
from modeling_gait.files import write_json
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.new_people import NewPeople
from modeling_gait.released import released
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.simulation.gait_curves import DEGREES, TEXTBOOK, WAYS
from modeling_gait.simulation.pathologies import Pathologies
from modeling_gait.simulation.sensors import UNSEEN, record
from modeling_gait.training.classifier import load_inputs, predict, train_classifier
from modeling_gait.training.data import load_walks

CLASSES = PATHOLOGIES[:6]
SIGNED = ("short_step", "retraction", "shift", "lean_over", "tilt", "stoop", "arms_out", "held_hip", "wide_base")
LEAST = {
    "antalgic": {"weak_push_off": 0.8, "bent_knee": 0.4},
    "stiff_legged": {"stiff_knee": 1.2, "circumduction": 0.8, "hip_hike": 0.5},
    "steppage": {"high_swing": 0.8, "foot_drop": 1.0},
    "trendelenburg": {"pelvic_drop": 1.1, "trunk_follows": 1.2},
}
AUGMENTATION = Augmentation(**{k: getattr(NEW_PEOPLE, k) for k in ("posture", "posture_bone", "body", "bone")})
WEIGHT = np.r_[1, np.full(10, 0.5)][:, None]  # of a cycle's coefficients in its mean square
RIDGE, PEOPLE = 0.05, 24
ARMS = ("simulated", "no_patient", "released")
SOME = 300  # walks that are compared or described
WHOLE = {"kinect_v2": 0.4, "azure_kinect": 0.2, "pose_video": 0.25, "markers": 0.15}  # sensors that see what a Kinect does


@dataclass(kw_only=True)
class SimArguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/sim_to_real", metadata={"help": "rows"})
    name: str = field(default="sim_to_real_gist", metadata={"help": "model_cards/results/NAME.json"})
    arms: list[str] = field(default_factory=lambda: list(ARMS), metadata={"choices": ARMS})
    subjects: list[str] = field(default_factory=list, metadata={"help": "people held out of no_patient; default: every one"})
    walks: int = field(default=2400, metadata={"help": "simulated walks"})
    steps: int = field(default=200, metadata={"help": "optimiser steps of each classifier"})


class Cycles:
    """Mean cycles (11, 75) [m] of people and classes, their speed [m/s] and cadence [steps/min]."""

    def __init__(self, data):
        names = data.features["pathology"].names
        parts = [NewPeople()._waves(part["joints"])[0] for part in data.select_columns(["joints"]).iter(128)]
        self.cycles = np.concatenate([p.cycle.numpy() for p in parts])
        self.rhythm = np.concatenate([p.rhythm.numpy() for p in parts])
        self.classes = np.array([names[p] for p in data["pathology"]])
        self.people = np.array(list(map(str, data["subject_id"])))

    def changes(self, people: list[str]) -> dict[str, np.ndarray]:
        """Mean change (11, 75) [m] from these people's normal walks to each class, the path left out."""
        mean = lambda p, c: self.cycles[(self.people == p) & (self.classes == c)].mean(0)  # noqa: E731
        out = {c: np.mean([mean(p, c) - mean(p, "normal") for p in people], axis=0) for c in CLASSES[1:]}
        for change in out.values():
            change[:, :3] = 0
        return out

    def pace(self, people: list[str], name: str) -> dict[str, float]:
        mine = np.isin(self.people, people) & (self.classes == name)
        frequency, speed = self.rhythm[mine, :2].mean(0)
        return {"speed": float(speed), "cadence": float(120 * frequency)}


def simulated_change(name: str, ways: list[dict], normal: dict, pace: dict, seed: int = 1) -> np.ndarray:
    """Changes (k, 11, 75) [m] of the same simulated people, by the same random numbers, for k sets of degrees; right side,
    severity 1."""
    about = {"frames": 150, "seed": seed, "severity": 1.0, "attributes": {"load": "none", "footwear": "trainers"}}
    walks = [simulate_walks(PEOPLE, pathology="normal", side="none", **about, **normal).joints]
    walks += [simulate_walks(PEOPLE, pathology=name, side="right", ways=w, **about, **pace).joints for w in ways]
    mean = [NewPeople()._waves(np.concatenate(walks[i : i + 8]))[0].cycle.numpy() for i in range(0, len(walks), 8)]
    mean = np.concatenate(mean).reshape(len(walks), PEOPLE, *mean[0].shape[1:]).mean(1)
    mean[..., :3] = 0
    return mean[1:] - mean[0]


def fit_degrees(cycles: Cycles, people: list[str]) -> dict[str, dict[str, float]]:
    """Degrees of each class, rounded: bounded ridge least squares (Gauss-Newton, three steps) of these people's mean change on
    the simulator's, from `TEXTBOOK`."""
    names, wanted, out = list(WAYS), cycles.changes(people), {}
    as_ways = lambda x: dict(zip(names, x.tolist()))  # noqa: E731
    weight, normal = np.sqrt(WEIGHT), cycles.pace(people, "normal")
    for name in CLASSES[1:]:
        pace = cycles.pace(people, name)
        prior = np.array([TEXTBOOK[name].get(way, 0.0) for way in names])
        least = np.array([LEAST.get(name, {}).get(way, -1.5 if way in SIGNED else 0.0) for way in names])
        x = prior.copy()
        for step in range(3):
            sets = [as_ways(x)] + [as_ways(x + 0.6 * e) for e in np.eye(len(names)) if step == 0]
            made = simulated_change(name, sets, normal, pace)
            if step == 0:
                slopes = ((made[1:] - made[0]) / 0.6 * weight).reshape(len(names), -1).T
                stiff = np.sqrt(RIDGE * np.mean((slopes**2).sum(0)))
            missed = ((wanted[name] - made[0]) * weight).ravel()
            design = np.concatenate((slopes, stiff * np.eye(len(names))))
            x = lsq_linear(design, np.concatenate((missed + slopes @ x, stiff * prior)), (least - 1e-9, 3.0)).x
        out[name] = {way: round(float(v), 1) for way, v in zip(names, x) if abs(round(float(v), 1)) >= 0.1}
    return out


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((WEIGHT * a * b).sum() / np.sqrt((WEIGHT * a * a).sum() * (WEIGHT * b * b).sum()))


def simulated_clips(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips of simulated strangers and their classes; severities as those who act a class show it."""
    clips, labels = [], []
    for k in range(0, count, 600):
        names = [CLASSES[(k + i) % 6] for i in range(min(600, count - k))]
        severity = np.random.default_rng([seed, k]).uniform(0.6, 1, len(names))
        walks = simulate_walks(len(names), frames=180, seed=seed + k, pathology=names, severity=severity, domain=True)
        clips += record(walks.joints, seed=seed + k, shares=WHOLE)[0]
        labels += [CLASSES.index(name) for name in names]
    return clips, np.array(labels)


def read_by(inputs: np.ndarray, labels: np.ndarray, steps: int, seed: int, test: np.ndarray) -> np.ndarray:
    """What a GRU trained on these inputs takes the walks `test` for."""
    options = {"batch_size": 64, "learning_rate": 2e-3, "seed": seed, "augmentation": AUGMENTATION, "bf16": True}
    return predict(train_classifier(inputs, labels, list(CLASSES), steps=steps, **options), test)


def asked_of(count: int, seed: int) -> list[WalkDescription]:
    """Descriptions of gist's classes in turn, affected on the right as gist's people are, as severe as they act it."""
    drawn = np.random.default_rng(seed).uniform(0.6, 1, count)
    graded = [(CLASSES[i % 6], severity) for i, severity in enumerate(drawn)]
    return [WalkDescription(n) if n == "normal" else WalkDescription(n, "right", float(s)) for n, s in graded]


def released_family(data, walks, truth: np.ndarray, halves: list[list[str]], steps: int, seed: int) -> dict:
    """The arm `released`, see the head of this file."""
    names = np.arange(SOME) % 6
    prompts = [d.to_prompt() for d in asked_of(SOME, seed)]
    made = [w["joints"] for w in pipeline("text-to-gait", model=released())(prompts, seed=seed)]
    found = read_by(walks.inputs, truth, steps, seed, prepare_classifier_input(made))
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(np.isin(walks.subjects, h)) for h in halves]
    rows = [np.sort(rng.choice(r, min(SOME // 2, len(r)), replace=False)) for r in rows]
    real = [data.select(r)["joints"] for r in rows]
    features = lambda clips: np.stack([gait_features(np.asarray(c)) for c in clips])  # noqa: E731
    measured = [features(clips) for clips in real]
    whole = np.concatenate(measured)
    row = {f"generated_{k}": v for k, v in scores(names, found).items()}
    row |= {
        "fgd_generated": frechet_gait_distance(features(made), whole),
        "fgd_simulated": frechet_gait_distance(features(simulated_clips(SOME, 5 + seed)[0]), whole),
        "fgd_half_of_gist": frechet_gait_distance(*measured),
    }
    tell, report, right, sides = pipeline("gait-to-text", model=released()), pipeline("gait-report"), [], []
    of_half = np.repeat([0, 1], [len(r) for r in rows])
    rows = np.concatenate(rows)
    known = [json.loads(a or "{}").get("side") for a in data.select(rows)["attributes"]]
    for i, side, clip in zip(rows, known, [c for clips in real for c in clips]):
        said, name = tell(np.asarray(clip), fps=30.0), CLASSES[truth[i]]
        right.append((said["pathology"] == name, report(np.asarray(clip), fps=30.0).label == name))
        if side in ("left", "right"):
            sides.append(read_prompt(said["text"], tell.extractor.classes).side == side)
    right, shown = np.array(right, float), truth[rows]
    row |= dict(zip(("text_class_accuracy", "report_class_accuracy"), right.mean(0)))
    row["report_recall_normal"] = right[shown == 0, 1].mean()
    for sensor, unseen in UNSEEN.items():
        seen = [np.array(c) for clips in real for c in clips]
        for clip in seen:
            clip[:, unseen] = np.nan
        said = np.array([report(clip, fps=30.0).label == CLASSES[name] for clip, name in zip(seen, shown)])
        row |= {f"report_class_accuracy_{sensor}": said.mean(), f"report_recall_normal_{sensor}": said[shown == 0].mean()}
    untuned = right[of_half == 1].mean(0)  # of the people whose half did not tune the simulator that ships
    row |= dict(zip(("text_class_accuracy_untuned_half", "report_class_accuracy_untuned_half"), untuned))
    return row | {"text_side_accuracy": float(np.mean(sides))}


def scores(truth: np.ndarray, predicted: np.ndarray) -> dict:
    confusion = np.zeros((6, 6), int)
    np.add.at(confusion, (truth, predicted), 1)
    return {"accuracy": float((truth == predicted).mean()), "confusion": confusion.tolist()}


def main() -> None:
    args = parse(SimArguments)
    data, walks = load_walks(args.dataset, fps=30.0), load_inputs(args.dataset)
    truth = np.array([CLASSES.index(walks.names[label]) for label in walks.labels])
    people = held_out(walks.subjects, [], args.dataset)
    halves = [people[: len(people) // 2], people[len(people) // 2 :]]

    def fitted(half: int) -> dict:
        """Degrees fitted to a half; its people are the only ones whose pathologies are read."""
        path = Path(args.output_dir) / f"degrees_{half}.json"
        if not path.exists():
            write_json(path, fit_degrees(cycles(), halves[half]))
        return json.loads(path.read_text())

    @functools.cache
    def cycles() -> Cycles:
        return Cycles(data)

    def simulated(half: int, seed: int) -> dict:
        degrees, others = fitted(half), halves[1 - half]
        row = {"degrees": degrees, "tuned_on": halves[half], "measured_on": others}
        for name, real in cycles().changes(others).items():
            pace = [cycles().pace(halves[half], c) for c in ("normal", name)]
            made = simulated_change(name, [degrees[name]], *pace, seed=2)[0]
            size = np.sqrt((WEIGHT * made**2).sum() / (WEIGHT * real**2).sum())
            row |= {f"change_cosine_{name}": cosine(made, real), f"change_size_{name}": float(size)}
        with patch.dict(DEGREES, degrees):
            clips, labels = simulated_clips(args.walks, 5 + seed)
        test = np.isin(walks.subjects, others)
        found = read_by(prepare_classifier_input(clips), labels, args.steps, seed, walks.inputs[test])
        real = [np.flatnonzero(np.isin(walks.subjects, h)) for h in halves]
        rng = np.random.default_rng(0)
        drawn = [np.sort(rng.choice(rows, min(300, len(rows)), replace=False)) for rows in real]
        features = [np.stack([gait_features(j) for j in data.select(rows)["joints"]]) for rows in drawn]
        row["fgd"] = frechet_gait_distance(np.stack([gait_features(c) for c in clips[:300]]), features[1 - half])
        row["fgd_halves"] = frechet_gait_distance(features[half], features[1 - half])
        return row | scores(truth[test], found)

    def no_patient(subject: str, seed: int) -> dict:
        half = 1 if subject in halves[0] else 0  # fitted to the half without this person
        normal = data.select(np.flatnonzero((truth == 0) & (walks.subjects != subject)))
        with patch.dict(DEGREES, fitted(half)):
            make = Pathologies(seed=seed, severity=(0.6, 1.0)).fit(normal)
        inputs, labels = [], []
        for k, part in enumerate(normal.select_columns(["joints", "pathology"]).iter(128)):
            made = make(part, range(128 * k, 128 * k + len(part["joints"])))
            inputs.append(prepare_classifier_input(made["joints"]))
            labels += made["pathology"]
        test = walks.subjects == subject
        found = read_by(np.concatenate(inputs), np.array(labels), args.steps, seed, walks.inputs[test])
        return scores(truth[test], found)

    runs = [{"arm": "simulated", "held_out": str(1 - h), "seed": s} for s in args.seeds for h in (0, 1)]
    asked = args.subjects or people
    runs = [r for r in runs if "simulated" in args.arms]
    runs += [{"arm": "released", "held_out": "none", "seed": s} for s in args.seeds if "released" in args.arms]
    runs += [{"arm": "no_patient", "held_out": p, "seed": s} for s in args.seeds for p in asked if "no_patient" in args.arms]

    def measure(run: dict) -> dict:
        if run["arm"] == "released":
            return rounded(released_family(data, walks, truth, halves, args.steps, run["seed"]), 4)
        if run["arm"] == "simulated":
            return rounded(simulated(1 - int(run["held_out"]), run["seed"]), 4)
        return rounded(no_patient(run["held_out"], run["seed"]), 4)

    rows = run_all(args, runs, measure, listed=("arms",), within=("arm",))
    protocol = (
        "Degrees of the simulator's ways fitted to one half of gist's people (1-5, 6-10), measured on the other; GRU, "
        "classical augmentation and new bodies. simulated: trained on simulated walks alone, read by the other half's fit. "
        "no_patient: each person held out, trained on the other nine people's normal walks with simulated pathologies. "
        "released: the shipped family, which no measured walk trained; 300 walks from words, 300 of gist"
    )
    print(write_result(args.name, args.dataset, protocol, summarise(rows), rows))


def summarise(rows: list[dict]) -> dict:
    """Means over the halves or people that were measured, recall from their summed confusions."""
    metrics = {}
    if mine := Rows(rows, "held_out").pick(arm="released"):
        metrics |= {k: float(np.mean([r[k] for r in mine])) for k, v in mine[0].items() if isinstance(v, float)}
        metrics["generated_read_as_asked"] = metrics.pop("generated_accuracy")
        metrics["generated_confusion"] = np.sum([r["generated_confusion"] for r in mine], axis=0).tolist()
    for arm, prefix in (("simulated", ""), ("no_patient", "no_patient_")):
        mine = Rows(rows, "held_out").pick(arm=arm)
        if not mine:
            continue
        confusion = np.sum([r["confusion"] for r in mine], axis=0)
        metrics[f"{prefix}people"] = 5 * len({r["held_out"] for r in mine}) if arm == "simulated" else len(mine)
        metrics[f"{prefix}confusion"] = confusion.tolist()
        if arm == "simulated":
            metrics["accuracy"] = float(np.trace(confusion) / confusion.sum())
            keys = [k for k in mine[0] if k.startswith(("change_", "fgd"))]
            metrics |= {k: float(np.mean([r[k] for r in mine])) for k in keys}
        else:
            metrics |= interval("no_patient_accuracy", Rows(mine, "held_out").means("accuracy", arm=arm))
        for name, row in zip(CLASSES, confusion):
            metrics[f"{prefix}recall_{name}"] = float(row[CLASSES.index(name)] / row.sum())
    return rounded(metrics, 4)


if __name__ == "__main__":
    main()
