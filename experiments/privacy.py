"""Does a synthetic set give away the walks that its generator was trained on?

    python -m experiments.privacy --dataset data/gist --make_split data/gist_members       # leaves out a tenth of the walks
    python train/train_vq.py train/configs/vq_gist.json --dataset data/gist_members --exclude_subjects 1 ...
    (then train_gpt2.py and datasets_scripts/synthetic.py as ever, on data/gist_members)
    python -m experiments.privacy --dataset data/gist --synthetic data/gist_synthetic \
        --held_out_walks data/gist_members/held_out_walks.json --exclude_subjects 1
    python -m experiments.privacy --dataset data/gist --synthetic parts --name privacy_parts_gist \
        --held_out_walks data/gist_members/held_out_walks.json --exclude_subjects 1             # of new people from parts

In: the whole data set; walks sampled from the generator, in the walk schema; the walks and the people that the generator never
saw. Out: model_cards/results/NAME.json and model_cards/figures/NAME.png.

Members of the attack are the generator's training walks; non-members are the held-out walks of the same people. Walks of the
excluded people would make the attack strong for another reason (their bodies are unlike any that the generator knows), so the
attack on them is a number of its own, `person_auc`. `membership_auc` is the strongest of six attacks (see
modeling_gait/evaluation/privacy.py), on two kinds of features; choosing the strongest on the same walks flatters the attacker.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments.runner import parse, rounded, save_figure, write_result
from modeling_gait.evaluation.metrics import gait_features
from modeling_gait.evaluation.privacy import (
    TrainingDistances,
    distances_to_training,
    membership_auc,
    membership_scores,
    pose_features,
)
from modeling_gait.files import atomic_folder
from modeling_gait.new_people import NewPeople
from modeling_gait.training.data import load_walks

HELD_OUT = "held_out_walks.json"
FEATURES = {"gait": "how it moves (metrics.gait_features)", "pose": "body and posture (privacy.pose_features)"}
MEMBER, NON_MEMBER, OTHER_PERSON = 0, 1, 2


@dataclass
class PrivacyArguments:
    """Arguments of the evaluation of privacy."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema: all walks"})
    synthetic: str = field(
        default="", metadata={"help": "walks sampled from the generator, in the walk schema; parts: new people"}
    )
    held_out_walks: str = field(default="", metadata={"help": "JSON list of walk_ids that the generator never saw"})
    exclude_subjects: list[str] = field(default_factory=list, metadata={"help": "people that the generator never saw"})
    make_split: str = field(
        default="", metadata={"help": "write the data set without some walks to this folder; no evaluation"}
    )
    share: float = field(default=0.1, metadata={"help": "of the walks that --make_split leaves out"})
    name: str = field(default="privacy_gist", metadata={"help": "model_cards/results/NAME.json"})
    neighbours: int = field(default=5, metadata={"help": "k of the attack by density"})
    bootstrap: int = field(default=1000, metadata={"help": "bootstrap samples"})
    num_proc: int = field(default=2, metadata={"help": "processes that compute features"})
    seed: int = 0


def choose_held_out(data: Dataset, share: float, seed: int) -> list[str]:
    """walk_ids to leave out: a random `share` of each person's walks of each class, at least one where there are two.

    Raises ValueError where the share is not within 0 and 1, a walk_id belongs to two people, or nothing is left out.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be between 0 and 1, got {share}")
    cells: dict[tuple[str, int], set[str]] = {}
    owner: dict[str, str] = {}
    for walk, subject, pathology in zip(*(np.array(data[c]).tolist() for c in ("walk_id", "subject_id", "pathology"))):
        if owner.setdefault(walk, subject) != subject:
            raise ValueError(f"walk_id {walk!r} belongs to subjects {owner[walk]!r} and {subject!r}")
        cells.setdefault((subject, pathology), set()).add(walk)
    rng, held_out = np.random.default_rng(seed), []
    for cell in sorted(cells):
        walks = sorted(cells[cell])
        if len(walks) > 1:
            count = min(max(1, round(share * len(walks))), len(walks) - 1)
            held_out += rng.choice(walks, count, replace=False).tolist()
    if not held_out:
        raise ValueError("no walk can be left out: each person has one walk of each class")
    return sorted(held_out)


def make_split(args: PrivacyArguments, rows_per_shard: int = 1200) -> list[str]:
    """Write the data set without the held-out walks, and their list, to `args.make_split`; returns the list."""
    data = load_walks(args.dataset)
    target = Path(args.make_split)
    there = {p.name for p in target.iterdir()} if target.is_dir() else set()
    if target.is_file() or (there and (HELD_OUT not in there or there - {"data", HELD_OUT})):
        raise ValueError(f"{target} is not a folder that --make_split wrote; choose a new one")
    held_out = choose_held_out(data, args.share, args.seed)
    kept = np.flatnonzero(~np.isin(np.array(data["walk_id"]), held_out))
    parts = np.array_split(kept, -(-len(kept) // rows_per_shard))
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as temporary:
        (temporary / "data").mkdir()
        for i, part in enumerate(tqdm(parts, desc="shards")):
            data.select(part).to_parquet(temporary / "data" / f"train-{i:05d}-of-{len(parts):05d}.parquet")
        (temporary / HELD_OUT).write_text(json.dumps(held_out, indent=1) + "\n")
    return held_out


def read_held_out(path: str, data: Dataset, exclude_subjects: list[str]) -> set[str]:
    """The held-out walk_ids. Raises ValueError where the file is no list of walk_ids of the data set."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(content, list) or not content or not all(isinstance(w, str) for w in content):
        raise ValueError(f"{path}: expected a JSON list of walk_ids, one or more")
    walk_ids, subjects = np.array(data["walk_id"]), np.array(data["subject_id"])
    unknown = set(content) - set(walk_ids)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} of {len(content)} walks are not in the data set, for one {sorted(unknown)[0]!r}; "
            "--dataset is the whole data set, not the one that the generator was trained on"
        )
    if set(subjects[np.isin(walk_ids, content)]) <= set(exclude_subjects):
        raise ValueError(f"{path}: all these walks are of excluded subjects; non-members must be of the generator's people")
    return set(content)


def roles(data: Dataset, held_out: set[str], exclude_subjects: list[str]) -> np.ndarray:
    """(N,) MEMBER, NON_MEMBER or OTHER_PERSON of each row."""
    out = np.where(np.isin(np.array(data["walk_id"]), sorted(held_out)), NON_MEMBER, MEMBER)
    return np.where(np.isin(np.array(data["subject_id"]), list(map(str, exclude_subjects))), OTHER_PERSON, out)


def new_people(members: Dataset) -> Dataset:
    """Each member's walk as that of a new person, made of the members' parts."""
    people, kept = NewPeople().fit(members), members.select_columns(["subject_id", "pathology", "attributes", "joints", "fps"])
    options = {"batched": True, "batch_size": 128, "with_indices": True, "keep_in_memory": True}
    return kept.map(people, load_from_cache_file=False, **options).with_format("numpy")


def features_of(walk: tuple[np.ndarray, float]) -> tuple[np.ndarray, np.ndarray]:
    """Gait features (82,) and pose features (150,) of joints (T, 25, 3) [m] at a frame rate."""
    return gait_features(*walk), pose_features(walk[0])


def all_features(data: Dataset, frames: int, num_proc: int, name: str) -> dict[str, np.ndarray]:
    """Features (N, D) of the middle `frames` of each walk, by kind."""

    def cut() -> Iterator[tuple[np.ndarray, float]]:
        for part in data.select_columns(["joints", "fps"]).iter(batch_size=128):
            for joints, fps in zip(part["joints"], part["fps"]):
                first = max(0, (len(joints) - frames) // 2)
                yield np.asarray(joints[first : first + frames]), float(fps)

    with Pool(num_proc) as pool:
        found = list(tqdm(pool.imap(features_of, cut(), chunksize=32), total=len(data), desc=name, unit=" walks"))
    return {kind: np.stack(column) for kind, column in zip(FEATURES, zip(*found))}


def attack_rows(
    features: np.ndarray, synthetic: np.ndarray, role: np.ndarray, walk_ids: np.ndarray, args: PrivacyArguments
) -> list[dict]:
    """One row for each attack on these features."""
    rows = []
    known = role != OTHER_PERSON
    scores = membership_scores(features[known], walk_ids[known], synthetic, args.neighbours)
    # the members once more beside people whom the generator never saw
    people = role != NON_MEMBER
    person = membership_scores(features[people], walk_ids[people], synthetic, args.neighbours) if not known.all() else {}
    for name in scores:
        found = membership_auc(role[known] == MEMBER, scores[name], walk_ids[known], args.bootstrap, args.seed)
        row = {"attack": name, "auc": found.auc, "ci_low": found.low, "ci_high": found.high}
        if person:
            found = membership_auc(role[people] == MEMBER, person[name], walk_ids[people], args.bootstrap, args.seed)
            row |= {"person_auc": found.auc, "person_ci_low": found.low, "person_ci_high": found.high}
        rows.append(row)
    return rows


def distance_row(distances: TrainingDistances) -> dict:
    """Quantiles of the distances, their ratio and the share of copies."""
    row = {
        f"{name}_{quantile}_percentile": float(np.percentile(getattr(distances, name), quantile))
        for name in ("synthetic", "held_out")
        for quantile in (5, 50, 95)
    }
    return row | {"ratio": distances.ratio, "copies": distances.copies}


def evaluate(args: PrivacyArguments) -> tuple[str, dict, list[dict], dict[str, TrainingDistances]]:
    """Protocol, metrics and rows of the result file, and the distances by kind of features."""
    data = load_walks(args.dataset)
    unknown = set(args.exclude_subjects) - set(np.array(data["subject_id"]))
    if unknown:
        raise ValueError(f"{args.dataset}: no such subject: {', '.join(sorted(unknown))}")
    held_out = read_held_out(args.held_out_walks, data, args.exclude_subjects)
    role, walk_ids = roles(data, held_out, args.exclude_subjects), np.array(data["walk_id"])
    made = new_people(data.select(np.flatnonzero(role == MEMBER))) if args.synthetic == "parts" else load_walks(args.synthetic)
    frames = max(len(joints) for part in made.select_columns(["joints"]).iter(256) for joints in part["joints"])
    synthetic = all_features(made, frames, args.num_proc, "synthetic walks")
    real = all_features(data, frames, args.num_proc, "real walks")
    rows, distances = [], {}
    for kind in FEATURES:
        distances[kind] = distances_to_training(synthetic[kind], real[kind][role == MEMBER], real[kind][role == NON_MEMBER])
        rows.append({"features": kind, **distance_row(distances[kind])})
        rows += [{"features": kind, **row} for row in attack_rows(real[kind], synthetic[kind], role, walk_ids, args)]
    attacks = [r for r in rows if "attack" in r]
    best = max(attacks, key=lambda r: r["auc"])
    metrics = {
        "membership_auc": best["auc"],
        "membership_auc_ci_low": best["ci_low"],
        "membership_auc_ci_high": best["ci_high"],
        **({"person_auc": max(r["person_auc"] for r in attacks)} if "person_auc" in best else {}),
        "copies": max(d.copies for d in distances.values()),
        **{f"distance_ratio_{kind}": d.ratio for kind, d in distances.items()},
    }
    count = lambda kind: f"{(role == kind).sum():,} rows of {len(set(walk_ids[role == kind])):,} walks"  # noqa: E731
    protocol = (
        f"{len(made):,} synthetic walks; members: {count(MEMBER)}; non-members, of the same people: "
        f"{count(NON_MEMBER)}; people never seen: {', '.join(args.exclude_subjects) or 'none'}; the strongest of "
        f"{len(attacks)} attacks ({best['attack']}, {best['features']} features); intervals by bootstrap over walks; "
        f"copies: nearer to a training walk than 95 % of the non-members are (expected 0.05), the larger share of "
        f"{len(FEATURES)} kinds of features"
    )
    return protocol, rounded(metrics), [rounded(row) for row in rows], distances


def plot_distances(distances: dict[str, TrainingDistances], name: str) -> None:
    """Histograms of the distances to the nearest training walk, a panel for each kind of features."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for ax, (kind, found) in zip(figure.subplots(1, len(distances)), distances.items()):
        bins = np.linspace(0, np.percentile(np.concatenate([found.synthetic, found.held_out]), 99.5), 50)
        for whose, label, colour in (("held_out", "real walks it never saw", "C7"), ("synthetic", "synthetic walks", "C0")):
            values = getattr(found, whose)
            ax.hist(values, bins, weights=np.full(len(values), 1 / len(values)), label=label, color=colour, alpha=0.55)
        ax.axvline(found.copy_threshold, color="black", linewidth=1, linestyle="--", label="5 % of the real walks")
        ax.set(xlabel="distance to the nearest training walk [SD]", ylabel="share of walks", title=FEATURES[kind])
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    save_figure(figure, name, dpi=130)


def main() -> None:
    args = parse(PrivacyArguments)
    if args.make_split:
        held_out = make_split(args)
        print(f"{len(held_out)} walks left out of {args.make_split}; their list is in {Path(args.make_split) / HELD_OUT}")
        return
    if not args.synthetic or not args.held_out_walks:
        raise ValueError("give --synthetic and --held_out_walks, or --make_split")
    protocol, metrics, rows, distances = evaluate(args)
    plot_distances(distances, args.name)
    packages = ("scikit-learn", "datasets", "numpy")
    write_result(args.name, args.dataset, protocol, metrics, rows, packages, seeds=[args.seed])
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()
