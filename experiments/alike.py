"""Walks like a walk: does search by gait find walks of the same class, and of files of other labs healthy ones?

    python -m experiments.alike --dataset data/gist --folder FILES     # minutes on one core

In: walks of the walk schema, of each person and class `--walks` by chance; FILES as of experiments/files_real.py. Out: a row a
person, `model_cards/results/alike_gist.json`.

A person's walks are looked for among those of all others, by the shipped dual encoder, which saw simulated people only:
`same_class_at_5`, the share of the first five that are of the same class, by the encoder (`encoder_`), by the measured numbers
(`numbers_`), by both as `GaitSearch` does. How they are joined was chosen on people 1 to 5, so the means are of the others.
`healthy_`: share of files of healthy walkers, on other sensors, of whose first ten walks in gist more than half are normal.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import modeling_gait
from experiments.runner import RunArguments, interval, parse, write_result
from modeling_gait.gait_fits import alike, number_distances
from modeling_gait.gait_search import encode_walks, measured_row, read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.training.data import class_labels, load_walks

HEALTHY = "range of healthy adults' walking"
WAYS = ("encoder", "numbers", "both")


@dataclass(kw_only=True)
class AlikeArguments(RunArguments):
    """Arguments of the evaluation."""

    output_dir: str = field(default="outputs/alike", metadata={"help": "not used: one run is a minute"})
    name: str = "alike_gist"
    folder: str = field(default="", metadata={"help": "files of other labs, REPOSITORY/PATH each"})
    walks: int = field(default=40, metadata={"help": "of a person and class"})
    chosen_on: list[str] = field(default_factory=lambda: list("12345"), metadata={"help": "people that are left out of means"})


def likeness(vector: np.ndarray, measured: np.ndarray, vectors: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """A walk (P,), (M,) and N others -> likeness (N,) by the encoder, the numbers, and both."""
    encoder, close = (1 + vectors @ vector) / 2, alike(number_distances(numbers, measured))
    return dict(zip(WAYS, (encoder, close, encoder * close)))


def healthy(args: AlikeArguments, model, vectors: np.ndarray, numbers: np.ndarray, normal: np.ndarray) -> list[dict]:
    """For each file of a healthy walker, the share of the first ten that are normal walks."""
    rows = json.loads(Path(__file__).with_name("files_real_table.json").read_text(encoding="utf-8"))
    rows = [r for r in rows if r.get("of", "").startswith(HEALTHY) or "biomechZoo" in r["repository"]]
    out = []
    for row in rows:
        path, about = Path(args.folder) / row["repository"] / row["path"], []
        if "refuse" in row or not path.is_file():
            continue
        vector = encode_walks(model, [path], about=about)[0]
        found = likeness(vector, measured_row(about[0][0]), vectors, numbers)
        out.append({"file": path.name} | {k: float(normal[np.argsort(-v)[:10]].mean()) for k, v in found.items()})
    return out


def main() -> None:
    args = parse(AlikeArguments)
    walks, rng = load_walks(args.dataset), np.random.default_rng(args.seeds[0])
    labels, people = class_labels(walks)[0], np.array(walks["subject_id"])
    cells = [np.flatnonzero((people == p) & (labels == c)) for p in np.unique(people) for c in np.unique(labels)]
    rows = np.sort(np.concatenate([rng.permutation(cell)[: args.walks] for cell in cells]))
    labels, people, walks = labels[rows], people[rows], walks.select(rows)
    model = GaitDualEncoderModel.from_pretrained(modeling_gait.released("text")).eval()
    vectors = encode_walks(model, read_joints(walks, model.config.gait_config.fps), clean=False)
    numbers = np.stack([measured_row(json.loads(p)) for p in walks["gait_parameters"]])
    out = []
    for person in np.unique(people):
        others, hits = np.flatnonzero(people != person), {way: [] for way in WAYS}
        for i in np.flatnonzero(people == person):
            found = likeness(vectors[i], numbers[i], vectors[others], numbers[others])
            for way, scores in found.items():
                hits[way].append(labels[others[np.argsort(-scores)[:5]]] == labels[i])
        out.append(
            {"subject": str(person), "seed": args.seeds[0]}
            | {f"{w}_same_class_at_5": float(np.mean(h)) for w, h in hits.items()}
        )
    test = [r for r in out if r["subject"] not in args.chosen_on]
    metrics: dict = {"subjects": len(test)}
    for way in WAYS:
        metrics |= interval(f"{way}_same_class_at_5", np.array([r[f"{way}_same_class_at_5"] for r in test]))
    gain = [r["both_same_class_at_5"] - r["encoder_same_class_at_5"] for r in test]
    metrics |= interval("gain_over_encoder", np.array(gain))
    files = healthy(args, model, vectors, numbers, labels == 0) if args.folder else []
    if files:
        metrics |= {f"healthy_{w}": float(np.mean([f[w] > 0.5 for f in files])) for w in WAYS} | {"healthy_files": len(files)}
    protocol = f"{args.walks} walks of a person and class, found among those of all others; means of people that chose nothing"
    print(write_result(args.name, args.dataset, protocol, metrics, out, files=files))


if __name__ == "__main__":
    main()
