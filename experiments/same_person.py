"""This person, that gait: somebody's normal cycle from one, three or five of their cycles, and what others add to theirs.

    python -m experiments.same_person --dataset data/gist --num_threads 1

In: walks of the walk schema. Each person A is held out in turn. K cycles of their normal walks that one sensor saw are given;
the linear rule of `GaitTCNModel`, fitted to the others' normal cycles, says in what A differs from them; cadence, speed alike.
With T[p, c] the mean cycle of person p's walks of class c, N and M means over the others of T[p, normal] and T[p, c], a walk of
B, one of the others, becomes

    walk - T[B, c] + M + r (T[A, normal], as the rule expects it, - N)

in phase (gait_waves.py); r is how much of what makes a person in their normal walk the others carry over into the class, by
regression (1 for normal walks). B's change from stride to stride and the sensor's noise stay. Out: a figure and
`model_cards/results/NAME.json`; a row a person, seed and class: the Frechet gait distance from half of A's real walks of the
class, of as many walks of each kind; the share that a GRU, trained on real walks of the others, takes for the class; RMS of
joint-angle curves of the mean cycle. Kinds: K cycles; `nobody`, no cycle of A; `other_person`, real walks of the others;
`own`, the other half.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from experiments.personalisation import linear_model
from experiments.runner import RunArguments, held_out, interval, parse, rounded, run_all, save_figure, write_result
from modeling_gait.evaluation.metrics import frechet_gait_distance, gait_features
from modeling_gait.files import atomic_path
from modeling_gait.gait_cycles import walk_cycles
from modeling_gait.gait_waves import GaitWaves, cycle_waves, fit_waves, from_channels, shift_phase, synthesise, to_channels
from modeling_gait.kinematics import JOINT_ANGLES, joint_angles
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.classifier import predict, train_classifier
from modeling_gait.training.data import load_walks
from modeling_gait.training.maml import Cycles

SHOTS = (1, 3, 5)
KINDS = {"": "1", "_3": "3", "_5": "5", "_nobody": "nobody", "_other_person": "other_person", "_own": "own"}  # end of a key
NORMAL, HARMONICS, ROOT = "normal", 5, KINECT_V2.root
RIDGE = 0.3  # of a channel's mean sum of squares
SHOWN = {  # an angle that tells each class
    "antalgic": "knee_flexion_left",
    "stiff_legged": "knee_flexion_right",
    "lurch": "trunk_lean_frontal",
    "steppage": "hip_flexion_right",
    "trendelenburg": "pelvic_obliquity",
}


@dataclass(kw_only=True)
class PersonArguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/same_person_gist", metadata={"help": "rows and curves"})
    name: str = "same_person_gist"
    subjects: list[str] = field(default_factory=list, metadata={"help": "only these people are held out"})
    judge_steps: int = field(default=150, metadata={"help": "training steps of the judge"})


class Walks:
    """All walks of a data set: joints, cycles and rhythms, features; whose, which class, sensor and half of the walks."""

    def __init__(self, dataset: str):
        data = load_walks(dataset, fps=30.0)
        self.joints = [np.asarray(j, np.float32) for j in data["joints"]]
        self.fps, self.classes = float(data[0]["fps"]), data.features["pathology"].names
        self.subject, self.sensor = (np.array([str(v) for v in data[k]]) for k in ("subject_id", "sensor"))
        self.label = np.array([self.classes[int(p)] for p in data["pathology"]])
        self.half = np.unique(np.array(data["walk_id"]), return_inverse=True)[1] % 2  # six sensors see the same walk
        self.features = np.stack([gait_features(w, self.fps) for w in self.joints])
        self.waves, self.window = self._waves()
        self.pace = np.log(self.waves.rhythm[:, :2].numpy().clip(0.05))  # (N, 2): Hz, m/s

    def _waves(self, size: int = 128) -> tuple[GaitWaves, np.ndarray]:
        """Waves of all walks, fitted in parts of about one length, and the window that each was fitted in."""
        order, window, parts = np.argsort([len(w) for w in self.joints], kind="stable"), np.zeros(len(self.joints), int), []
        for rows in np.array_split(order, -(-len(order) // size)):
            some = [self.joints[i] for i in rows]
            longest = max(map(len, some))
            padded = np.stack([np.pad(w, ((0, longest - len(w)), (0, 0), (0, 0)), "edge") for w in some])
            mask = (torch.arange(longest) < torch.tensor([len(w) for w in some])[:, None]).float()
            parts.append(fit_waves(torch.from_numpy(padded), mask, KINECT_V2, self.fps, longest, HARMONICS))
            window[rows] = longest
        back = np.argsort(order, kind="stable")
        return GaitWaves(*(torch.cat([getattr(p, k) for p in parts])[back] for k in ("cycle", "drift", "rhythm"))), window

    def rows(self, subject: str | None = None, label: str | None = None, half: int | None = None) -> np.ndarray:
        asked = ((self.subject, subject), (self.label, label), (self.half, half))
        return np.flatnonzero(np.all([np.ones(len(self.joints), bool), *(a == v for a, v in asked if v is not None)], axis=0))

    def mean(self, subject: str, label: str) -> tuple[torch.Tensor, np.ndarray]:
        """Mean cycle (1 + 2 K, C) and logarithms of stride frequency and speed (2,) of a person's walks of a class."""
        rows = self.rows(subject, label)
        return self.waves.cycle[rows].mean(0), self.pace[rows].mean(0)

    def changed(self, row: int, cycle: torch.Tensor, pace: np.ndarray) -> np.ndarray:
        """Walk (T, J, 3) of a row with `cycle` (1 + 2 K, C) added to its cycle and `pace` (2,) to its logarithms."""
        joints, window = torch.from_numpy(self.joints[row])[None], int(self.window[row])
        own = GaitWaves(*(getattr(self.waves, k)[row : row + 1] for k in ("cycle", "drift", "rhythm")))
        faster = torch.cat((torch.from_numpy(np.exp(pace)), torch.ones(4))).float()
        made = GaitWaves(own.cycle + cycle, own.drift, own.rhythm * faster)
        mask, half = torch.ones(1, joints.shape[1]), window / 2 / self.fps
        before, after = (synthesise(w, mask, KINECT_V2, window, half) for w in (own, made))
        return from_channels(to_channels(joints, KINECT_V2) + after - before, KINECT_V2)[0].numpy()


def normal_cycles(walks: Walks) -> tuple[Cycles, np.ndarray]:
    """Cycles of everybody's normal walks, an activity for each sensor, and the rows they come from."""
    values, source = [], []
    for row in walks.rows(label=NORMAL):
        try:
            found = walk_cycles(walks.joints[row], walks.fps)
        except ValueError:  # no whole cycle
            continue
        values.append(found)
        source += [row] * len(found)
    values, source = torch.from_numpy(np.concatenate(values)), np.array(source)
    mask = torch.ones(len(values), values.shape[2], dtype=torch.bool)
    return Cycles(values, mask, walks.subject[source], np.char.add("normal ", walks.sensor[source])), source


def waves_of_cycle(cycle: np.ndarray) -> torch.Tensor:
    """A cycle (P, C) [m], relative to the root, as `GaitWaves.cycle` (1 + 2 K, C): phase 0 where the left ankle is ahead."""
    spectrum = np.fft.rfft(np.asarray(cycle, np.float64), axis=0)[: HARMONICS + 1] / len(cycle)
    waves = np.stack((2 * spectrum.real, -2 * spectrum.imag), axis=1)[1:].reshape(2 * HARMONICS, -1)
    left, right = (3 * KINECT_V2.index(f"{side}_ankle") + 1 for side in ("left", "right"))
    ahead = torch.from_numpy(waves[:2, left] - waves[:2, right])
    waves = shift_phase(torch.from_numpy(waves)[None], torch.atan2(ahead[1:], ahead[:1]))[0]
    return torch.cat((torch.from_numpy(spectrum[:1].real), waves)).float()


def differs(model: GaitTCNModel, support: torch.Tensor, activity: str) -> torch.Tensor:
    """In what the person of cycles (K, P, C) differs from people's mean: (1 + 2 K, C) to be added to its cycle."""
    number = list(model.config.activities).index(activity)
    mean = (model.prior.mean[number] * model.channel_std + model.channel_mean).numpy()
    own = model.personalize(support, activity=activity).interval()["expected"].numpy()
    change = waves_of_cycle(own) - waves_of_cycle(mean)
    lowest = [c.reshape(len(c), -1, 3)[..., 2].min() for c in (mean, own)]
    change[0, 3 * ROOT + 2] = float(lowest[0] - lowest[1])  # longer legs: the pelvis is higher
    return change


def shrunk(own: np.ndarray, people: list[np.ndarray]) -> np.ndarray:
    """Expected difference (D,) of somebody with values (n, D) from the mean of people with values (m, D) each."""
    means = np.stack([p.mean(0) for p in people])
    between, within = means.var(0, ddof=1), np.mean([p.var(0) for p in people], axis=0)
    return between / (between + within / len(own)) * (own.mean(0) - means.mean(0))


def carried(normals: list[tuple], others: list[tuple]) -> tuple[torch.Tensor, np.ndarray]:
    """How much of what makes people in their normal walks, `Walks.mean` of each, they carry over into another class.

    Slopes of a ridge regression: (1 + 2 K, C) for cycles, one for the mean pose and one for the waves of each channel; (2,).
    """

    def slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:  # (n, R, C) -> (C,)
        size = (x**2).sum((0, 1))
        return (x * y).sum((0, 1)) / (size + RIDGE * size.mean())

    cycles, paces = ([np.stack([np.asarray(p[k]) for p in people]) for people in (normals, others)] for k in (0, 1))
    (a, b), (x, y) = ([v - v.mean(0) for v in pair] for pair in (cycles, paces))
    waves = np.repeat(slopes(a[:, 1:], b[:, 1:])[None], a.shape[1] - 1, axis=0)
    share = np.concatenate((slopes(a[:, :1], b[:, :1])[None], waves))
    return torch.from_numpy(share).float(), slopes(x[:, None], y[:, None])


def curves(cycle: torch.Tensor) -> np.ndarray:
    """Joint angles (12, 100) [deg] of a mean cycle (1 + 2 K, C)."""
    phase = torch.arange(100) * 2 * torch.pi / 100
    joints = from_channels(cycle_waves(phase[None], HARMONICS) @ cycle, KINECT_V2)[0].numpy()
    angles = joint_angles(joints)
    return np.stack([angles[name] for name in JOINT_ANGLES])


def evaluate(run: dict, walks: Walks, cycles: Cycles, source: np.ndarray, args: PersonArguments) -> list[dict]:
    """A row of each class of one person."""
    person, rng = run["subject"], np.random.default_rng([run["seed"], int.from_bytes(run["subject"].encode())])
    others = [s for s in held_out(walks.subject, []) if s != person]
    model = linear_model(cycles.without([person]))
    mine = np.flatnonzero((cycles.subject == person) & (walks.half[source] == 1))
    mine = mine[cycles.activity[mine] == rng.choice(np.unique(cycles.activity[mine]))]
    support, people = rng.permutation(mine)[: max(SHOTS)], [walks.pace[walks.rows(s, NORMAL)] for s in others]
    known = {"nobody": (torch.zeros_like(walks.waves.cycle[0]), np.zeros(2))}
    for count in SHOTS:
        some = support[:count]
        change = differs(model, cycles.values[some], str(cycles.activity[some[0]]))
        known[str(count)] = change, shrunk(walks.pace[np.unique(source[some])], people)
    train = np.flatnonzero(walks.subject != person)
    train = train[rng.permutation(len(train))[: -(-len(train) // 3)]]
    inputs = prepare_classifier_input([walks.joints[i] for i in train])
    labels = np.array([walks.classes.index(c) for c in walks.label[train]])
    judge = train_classifier(inputs, labels, walks.classes, steps=args.judge_steps, learning_rate=2e-3, bf16=True)
    normals = {s: walks.mean(s, NORMAL) for s in others}
    out, drawn = [], {}
    for label in [c for c in walks.classes if len(walks.rows(person, c))]:
        means = {s: walks.mean(s, label) for s in others if len(walks.rows(s, label))}
        mean = [sum(m[k] for m in means.values()) / len(means) for k in (0, 1)]
        share = (1.0, 1.0) if label == NORMAL else carried([normals[s] for s in means], list(means.values()))
        reference, rest = (walks.rows(person, label, half) for half in (0, 1))
        donors = rng.choice(np.flatnonzero((walks.label == label) & np.isin(walks.subject, list(means))), len(reference))
        real, own = walks.features[reference], curves(walks.waves.cycle[reference].mean(0))
        row = {"pathology": label, "fgd_own": frechet_gait_distance(walks.features[rest], real)}
        judged = lambda made: float(np.mean(predict(judge, prepare_classifier_input(made)) == walks.classes.index(label)))  # noqa: B023, E731
        row["judged_own"] = judged([walks.joints[i] for i in np.concatenate((reference, rest))])
        found = [frechet_gait_distance(walks.features[walks.rows(s, label, 0)], real) for s in means]
        row["fgd_other_person"] = float(np.mean(found))
        off = lambda other: float(np.sqrt(np.mean((other - own) ** 2)))  # noqa: B023, E731
        theirs = [curves(m[0]) for m in means.values()]
        row["curve_rms_deg_other_person"] = float(np.mean([off(c) for c in theirs]))
        drawn |= {f"{label}/own": own, f"{label}/others": np.stack(theirs)}
        for kind, differs_by in known.items():
            asked = [m + r * d for m, r, d in zip(mean, share, differs_by)]
            made = []
            for i in donors:
                added = [a - m for a, m in zip(asked, means[walks.subject[i]])]
                added[0][:, 3 * ROOT : 3 * ROOT + 2] = 0  # the path stays
                made.append(walks.changed(i, *added))
            row[f"fgd_{kind}"] = frechet_gait_distance(np.stack([gait_features(w, walks.fps) for w in made]), real)
            row |= {f"judged_{kind}": judged(made), f"curve_rms_deg_{kind}": off(curves(asked[0]))}
            drawn[f"{label}/{kind}"] = curves(asked[0])
        out.append(rounded(row))
    path = Path(args.output_dir) / "curves" / f"{person}-{run['seed']}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.savez(temporary, **drawn)
    return out


def result_metrics(rows: list[dict]) -> dict[str, float]:
    """Means over people (over seeds and classes first) with intervals, and how far the other kinds are above one cycle;
    `person_gait` of the pathologies, `person_normal` of normal walks."""
    out, people = {}, sorted({r["subject"] for r in rows})
    for name, wanted in (("person_gait", False), ("person_normal", True)):
        own = {s: [r for r in rows if r["subject"] == s and (r["pathology"] == NORMAL) == wanted] for s in people}
        for what in ("fgd", "judged", "curve_rms_deg"):
            table = {}
            for end, kind in KINDS.items():
                if f"{what}_{kind}" in rows[0]:
                    table[kind] = np.array([np.mean([r[f"{what}_{kind}"] for r in own[s]]) for s in people])
                    out |= interval(f"{name}_{what}{end}", table[kind])
                    if kind != "1":
                        out |= interval(f"{name}_{what}{end}_minus_person", table[kind] - table["1"])
        cells = [r["fgd_1"] < r["fgd_other_person"] for s in people for r in own[s]]
        out[f"{name}_nearer_than_other_person"] = float(np.mean(cells))
    return rounded(out)


def draw(folder: Path, people: list[str], seed: int, name: str) -> None:
    """Curves of the mean cycle: own, as expected from one cycle, and of the others."""
    figure = Figure(figsize=(15, 2.6 * len(people)), layout="constrained")
    axes = figure.subplots(len(people), len(SHOWN), squeeze=False)
    for person, line in zip(people, axes):
        found = np.load(folder / "curves" / f"{person}-{seed}.npz")
        for (label, angle), axis in zip(SHOWN.items(), line):
            if f"{label}/own" in found:
                at = JOINT_ANGLES.index(angle)
                axis.plot(found[f"{label}/others"][:, at].T, color="0.8", linewidth=0.8)
                axis.plot(found[f"{label}/nobody"][at], color="0.4", linestyle=":", label="nobody in particular")
                axis.plot(found[f"{label}/own"][at], color="black", label="own walks")
                axis.plot(found[f"{label}/1"][at], color="tab:blue", label="from one normal cycle")
            axis.set_title(f"person {person}, {label.replace('_', '-')}: {angle.replace('_', ' ')} [deg]", fontsize=8)
            axis.tick_params(labelsize=7)
    axes[0][0].legend(fontsize=7)
    save_figure(figure, name)


def main() -> None:
    args = parse(PersonArguments)
    walks = Walks(args.dataset)
    cycles, source = normal_cycles(walks)
    people = held_out(walks.subject, args.subjects, args.dataset)
    runs = [{"subject": s, "seed": seed} for seed in args.seeds for s in people]
    rows = run_all(args, runs, lambda run: evaluate(run, walks, cycles, source, args))
    protocol = (
        "each person held out in turn: prior, mean cycles, what a class adds, and judge (a GRU on a third of the real walks) "
        "are of the others alone; cycles of normal walks that one sensor saw; FGD from half of the person's walks of a class, "
        "of as many walks of each kind, cycles given from the other half; metrics are means over people, of five pathologies "
        "and of normal walks"
    )
    print(write_result(args.name, args.dataset, protocol, result_metrics(rows), rows))
    draw(Path(args.output_dir), [people[i] for i in sorted({0, len(people) // 2, len(people) - 1})], args.seeds[0], args.name)


if __name__ == "__main__":
    main()
