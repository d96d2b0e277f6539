"""A class that nobody trained on, known by its medical description alone: is it recognised, and are its numbers foreseen?

    python -m experiments.unseen_class --dataset data/gist          # a minute on one core

In: gait parameters of walks of the walk schema, and of each class what its knowledge says that it moves (`moves`, `affected` of
gait_classes.json). Out: a row a held-out person and a held-out class, `model_cards/results/NAME.json`.

The person and the class are both held out: all that is fitted sees the other people's walks of the other five classes. A walk
is its gait parameters: the mean of both sides, the absolute difference of the sides, what has no side; in SD of normal walks.
Seen classes have their means (Gaussian with one covariance, Ledoit & Wolf 2004). The unseen one is put where the words say:
from normal walks by as much as seen classes move what their words say that they move, and elsewhere by as much as seen classes
move what theirs do not name; its covariance is the larger by the errors that such words make for seen classes, each left out in
turn (attributes as the bridge to unseen classes: Lampert et al. 2014). All six compete, and what is added to the unseen one's
score is chosen in inner folds of people and seen classes (Chao et al. 2016). Without words: the same place for every class, the
mean of the seen pathological ones, with their spread. A plain network has no output for a class that it has not seen: 0.
`unseen_class_parameter_r`: r of foreseen and measured class means of held-out people, in SD of normal walks, over people,
classes and parameters; where normal walks are the unseen class, normal is the mean of the classes that do not name a parameter.
"""

import json
from dataclasses import dataclass, field

import numpy as np
from sklearn.covariance import LedoitWolf

from experiments.runner import RunArguments, held_out, interval, parse, run_all, write_result
from modeling_gait.gait_classes import GaitClass, load_classes
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS
from modeling_gait.training.data import class_labels, load_walks, numbered

NAMES = tuple(p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS))
PAIRS = tuple(n.removesuffix("_left") for n in NAMES if n.endswith("_left") and n.replace("_left", "_right") in NAMES)
SINGLE = tuple(n for n in NAMES if not n.endswith(("_left", "_right", "_difference")))
FEATURES = (*PAIRS, *SINGLE, *(f"{n}_between_sides" for n in PAIRS))


BONUSES = (-20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0)  # of a log density


@dataclass(kw_only=True)
class Arguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/unseen_class_gist", metadata={"help": "rows"})
    name: str = "unseen_class_gist"
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})


def features(parameters: list[dict]) -> np.ndarray:
    """(N, F) `FEATURES` of gait parameters by name, nan where not measured."""
    table = {n: np.array([np.nan if p.get(n) is None else p[n] for p in parameters], float) for n in NAMES}
    sides = [(table[f"{n}_left"], table[f"{n}_right"]) for n in PAIRS]
    single = [np.abs(table[n]) if n.endswith("asymmetry") else table[n] for n in SINGLE]
    return np.stack([*((a + b) / 2 for a, b in sides), *single, *(np.abs(a - b) for a, b in sides)], axis=-1)


def words(entry: GaitClass) -> np.ndarray:
    """(F,) +1, -1: the class moves a feature up or down by its words; 0: they do not name it."""
    out = np.zeros(len(FEATURES))
    for name, way in entry.moves.items():
        if name in FEATURES:
            out[FEATURES.index(name)] = 1 if way == "up" else -1
    for name in entry.affected:  # the legs differ, whichever is the affected one
        at = name if name in SINGLE else f"{name}_between_sides"
        if at in FEATURES:
            out[FEATURES.index(at)] = 1
    return out


def foreseen(said: np.ndarray, others: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(F,) what a class with these words moves; `others` (K, F): words of seen classes, `moved` (K, F): what they move."""
    named, size = others != 0, np.abs(moved)
    usual = size[named].mean() if named.any() else 0.0
    amount = np.where(named.any(0), (size * named).sum(0) / np.maximum(named.sum(0), 1), usual)
    rest = (moved * ~named).sum(0) / np.maximum((~named).sum(0), 1)
    return np.where(said != 0, said * amount, rest)


def place(x: np.ndarray, labels: np.ndarray, train: np.ndarray, says: np.ndarray, classes: list[int], unseen: int) -> dict:
    """Everything that is fitted: to the rows `train` (N,) bool of x (N, F) whose labels are `classes` but `unseen`.

    `says` (K, F) are the words of all classes; 0 is normal. Returns centre and scale [units] of normal walks, `moved` (K, F)
    and `covariance` of seen classes, and by whether words are told, `guess` and `spread` of the unseen one [SD of normal]
    """
    seen = [k for k in classes if k != unseen]
    ill, train = [k for k in seen if k], train & np.isin(labels, seen)
    means = np.full(says.shape, np.nan)
    for k in seen:
        means[k] = np.nanmean(x[train & (labels == k)], axis=0)
    if 0 in seen:
        normal, spread = means[0], np.nanstd(x[train & (labels == 0)], axis=0)
    else:
        silent = np.where((says[seen] == 0) | (says[seen] != 0).all(0), means[seen], np.nan)
        normal, spread = np.nanmean(silent, axis=0), np.nanstd(x[train] - means[labels[train]], axis=0)
    scale = np.maximum(spread, 1e-6)
    moved = (means - normal) / scale
    guess = foreseen(says[unseen], says[ill], moved[ill]) if unseen else np.zeros(x.shape[1])
    others = [[j for j in ill if j != k] for k in ill]
    errors = [foreseen(says[k], says[rest], moved[rest]) - moved[k] for k, rest in zip(ill, others)]
    z = np.nan_to_num((x[train] - normal) / scale)
    return {
        "normal": normal,
        "scale": scale,
        "moved": moved,
        "covariance": LedoitWolf(assume_centered=True).fit(z - moved[labels[train]]).covariance_,
        True: (guess, np.mean(np.square(errors), axis=0)),
        False: (moved[ill].mean(0), moved[ill].var(0)),
    }


def class_scores(fitted: dict, x: np.ndarray, classes: list[int], unseen: int, told: bool) -> np.ndarray:
    """(N, len(classes)) log densities of walks x (N, F)."""
    z, (guess, spread) = np.nan_to_num((x - fitted["normal"]) / fitted["scale"]), fitted[told]
    return np.stack(
        [
            _log_density(z - guess, fitted["covariance"] + np.diag(spread))
            if k == unseen
            else _log_density(z - fitted["moved"][k], fitted["covariance"])
            for k in classes
        ],
        axis=-1,
    )


def bonus(x: np.ndarray, labels: np.ndarray, halves: list[np.ndarray], says: np.ndarray, seen: list[int], told: bool) -> float:
    """What is added to the score of the unseen class: the best of `BONUSES` by the harmonic mean of both accuracies where each
    seen pathological class is left out in turn, and one of the `halves` (N,) bool of the people."""
    found = np.zeros(len(BONUSES))
    for train, test in (halves, halves[::-1]):
        rows = test & np.isin(labels, seen)
        for k in (k for k in seen if k):
            fitted = place(x, labels, train, says, seen, k)
            scores, at, new = class_scores(fitted, x[rows], seen, k, told), seen.index(k), labels[rows] == k
            for n, more in enumerate(BONUSES):
                right = np.array(seen)[(scores + more * (np.arange(len(seen)) == at)).argmax(-1)] == labels[rows]
                a, b = right[new].mean(), right[~new].mean()
                found[n] += 2 * a * b / max(a + b, 1e-9)
    return BONUSES[int(found.argmax())]


def measure(x: np.ndarray, labels: np.ndarray, subjects: np.ndarray, says: np.ndarray, person: str, unseen: int) -> dict:
    """Numbers of one person and class held out; arguments as of `place`."""
    classes, test = list(range(len(says))), subjects == person
    train, others = ~test, numbered(subjects[~test])
    halves = [np.isin(subjects, others[n::2]) for n in (0, 1)]
    fitted, out = place(x, labels, train, says, classes, unseen), {}
    new = labels[test] == unseen
    for told, end in ((True, ""), (False, "_without_words")):
        more = bonus(x, labels, halves, says, [k for k in classes if k != unseen], told)
        scores = class_scores(fitted, x[test], classes, unseen, told) + more * (np.array(classes) == unseen)
        right = scores.argmax(-1) == labels[test]
        out |= {f"unseen_accuracy{end}": float(right[new].mean()), f"seen_accuracy{end}": float(right[~new].mean())}
        out |= {f"bonus{end}": more, f"foreseen{end}": np.round(fitted[told][0], 4).tolist()}
    truth = (np.nanmean(x[test & (labels == unseen)], axis=0) - fitted["normal"]) / fitted["scale"]
    return out | {"measured": np.round(truth, 4).tolist(), "named": (says[unseen] != 0).tolist()}


def _log_density(x: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """(N,) of a centred Gaussian, without its constant."""
    half = np.linalg.solve(np.linalg.cholesky(covariance), x.T)
    return -0.5 * (half**2).sum(0) - 0.5 * np.linalg.slogdet(covariance)[1]


def result_metrics(rows: list[dict]) -> dict[str, float]:
    """Means over classes held out, then people, with intervals over people; r over people, classes and parameters."""
    people, out = sorted({r["subject"] for r in rows}, key=lambda s: (len(s), s)), {}

    def each(key: str) -> np.ndarray:
        """(people,) means over the classes held out."""
        return np.array([np.mean([r[key] for r in rows if r["subject"] == s]) for s in people])

    for end in ("", "_without_words"):
        new, old = (each(f"{kind}_accuracy{end}") for kind in ("unseen", "seen"))
        out |= interval(f"unseen_class_accuracy{end}", new) | interval(f"seen_class_accuracy{end}", old)
        out |= interval(f"harmonic_mean{end}", 2 * new * old / np.maximum(new + old, 1e-9))
        said, true, named = (np.concatenate([r[k] for r in rows]) for k in (f"foreseen{end}", "measured", "named"))
        out[f"unseen_class_parameter_r{end}"] = float(np.corrcoef(said, true)[0, 1])
        out[f"unseen_class_parameter_r_named{end}"] = float(np.corrcoef(said[named], true[named])[0, 1])
    names = sorted({r["unseen"] for r in rows})
    out |= interval("words_gain_points", 100 * (each("unseen_accuracy") - each("unseen_accuracy_without_words")))
    out |= {
        f"unseen_class_accuracy_{n}": float(np.mean([r["unseen_accuracy"] for r in rows if r["unseen"] == n])) for n in names
    }
    return out | {"chance": 1 / len(names), "plain_unseen_class_accuracy": 0.0}


def main() -> None:
    args = parse(Arguments)
    data = load_walks(args.dataset)
    labels, names = class_labels(data)
    order = ["normal", *(n for n in names if n != "normal")]
    labels = np.array([order.index(names[k]) for k in labels])
    says = np.stack([words(load_classes("gait")[n]) for n in order])
    subjects = np.array(data["subject_id"])
    x = features([json.loads(p) for p in data["gait_parameters"]])

    def one(run: dict) -> dict:
        return measure(x, labels, subjects, says, run["subject"], order.index(run["unseen"]))

    runs = [
        {"subject": subject, "seed": 0, "unseen": name}
        for subject in held_out(subjects, args.subjects, args.dataset)
        for name in order
    ]
    rows = run_all(args, runs, one)
    metrics = result_metrics(rows)
    rows = [{k: v for k, v in r.items() if not isinstance(v, list)} for r in rows]
    protocol = " ".join(__doc__.split("\n\n")[-1].split())
    print(write_result(args.name, args.dataset, protocol, metrics, rows))


if __name__ == "__main__":
    main()
