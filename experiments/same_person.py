"""This person, another gait: a network of skeleton cycles, personalised to somebody it has not seen, conditions text-to-gait.

    python -m experiments.same_person --dataset data/gist --family outputs/gist_10 --subject 10 --num_threads 1

In: walks of the walk schema; a family trained without the subject. GaitTCNModel is meta-trained on the skeleton cycles of the
other people (OUTPUT_DIR/SUBJECT, resumable), personalised to five normal cycles of the subject, and generates cycles;
they make a walk, whose body codes `pipeline("text-to-gait", person=...)` gives to walks of every class. Compared with the
subject's own walks of that class: bone lengths and the mean posture, for walks of this person, of the person of one measured
walk, and of nobody in particular. Writes model_cards/results/same_person_gist.json and model_cards/figures/same_person.png.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import pipeline

from experiments.figures import strips
from experiments.loso_generator import train_judge
from experiments.runner import parse, write_result
from modeling_gait.gait_cycles import cycles_to_walk
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.classifier import predict
from modeling_gait.training.data import load_walks
from modeling_gait.training.maml import Cycles, MamlArguments, skeleton_cycles, train_model

SHOTS = 5
SENSORS = ("1", "4")  # whose cycles the network learns; two of six, for speed
NUMBERS = ("bone_error_mm", "posture_error_mm", "judged_as_asked")
BONES = [(j, p) for j, p in enumerate(KINECT_V2.parents) if p >= 0]


@dataclass
class PersonArguments:
    """Arguments of the experiment."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    family: str = field(metadata={"help": "family trained without the subject"})
    subject: str = field(metadata={"help": "whom neither has seen"})
    output_dir: str = field(default="outputs/same_person_gist", metadata={"help": "the network, by subject"})
    walks: int = field(default=40, metadata={"help": "generated walks a class"})
    num_threads: int = 0


def network(folder: Path, training: Cycles, num_threads: int) -> GaitTCNModel:
    """The meta-trained network of these cycles; trained now where it is not there."""
    if not (folder / "model.safetensors").exists():
        args = MamlArguments(
            dataset="", output_dir=str(folder), max_steps=900, warm_steps=700, batch_size=8, learning_rate=0.002,
            warmup_steps=30, inner_steps=2, num_queries=8, num_threads=num_threads,
        )  # fmt: skip
        train_model(args, training)
    return GaitTCNModel.from_pretrained(folder).eval()


def bones_of(walks: list[np.ndarray]) -> np.ndarray:
    """Median bone lengths [mm] over all frames of walks (T, J, 3)."""
    joints = np.concatenate(walks)
    return 1000 * np.median([np.linalg.norm(joints[:, j] - joints[:, p], axis=-1) for j, p in BONES], axis=1)


def posture_of(walks: list[np.ndarray]) -> np.ndarray:
    """Mean pose (J, 3) [mm], relative to the root."""
    joints = np.concatenate(walks)
    return 1000 * (joints - joints[:, :1]).mean(0)


def generate(family: str, persons: dict, real: dict[str, list[np.ndarray]], judge, count: int) -> tuple[list[dict], dict]:
    """Rows of errors against the subject's own walks, for each person and class; and the walks."""
    write, labels, rows, made = pipeline("text-to-gait", model=family), list(real), [], {}
    for kind, given in persons.items():
        for name in labels:
            words = name.replace("_", "-")
            prompt = f"{words} gait" if name == "normal" else f"moderate {words} gait"
            walks = [w["joints"] for w in write([prompt] * count, seed=0, person=given)]
            made[kind, name] = walks
            said = predict(judge, prepare_classifier_input(walks))
            posture = np.linalg.norm(posture_of(walks) - posture_of(real[name]), axis=-1)
            rows.append(
                {
                    "person": kind,
                    "pathology": name,
                    "bone_error_mm": float(np.abs(bones_of(walks) - bones_of(real[name])).mean()),
                    "posture_error_mm": float(posture.mean()),
                    "judged_as_asked": float((said == labels.index(name)).mean()),
                }
            )
    return rows, made


def main() -> None:
    args = parse(PersonArguments)
    others = load_walks(args.dataset, exclude_subjects=[args.subject])
    cycles = skeleton_cycles(others.filter(lambda row: row["sensor"] in SENSORS))
    model = network(Path(args.output_dir) / args.subject, cycles, args.num_threads)
    data = load_walks(args.dataset, only_subjects=[args.subject])
    own, names = data.filter(lambda row: row["sensor"] == "1"), data.features["pathology"].names
    real = {n: [np.asarray(w) for w in own.filter(lambda row, n=n: names[row["pathology"]] == n)["joints"]] for n in names}
    real = {n: walks for n, walks in real.items() if walks}

    cycles = skeleton_cycles(own)
    normal = cycles.values[cycles.activity == "normal 1"]
    support, rest = normal[:SHOTS], normal[SHOTS:]
    person = model.personalize(support)
    error = {
        "personalised_mm": _error(person.generate(1, temperature=0)[0], rest),
        "support_mean_mm": _error(support.mean(0), rest),
        "one_cycle_mm": _error(support[0], rest),
    }
    duration = float(np.nanmedian([compute_gait_parameters(w, 30.0)["cycle_time_right"] for w in real["normal"][:3]]))
    as_person = cycles_to_walk(person.generate(4, seed=0).numpy(), duration)

    persons = {"personalised": as_person, "one_walk": real["normal"][0], "nobody": None}
    rows, made = generate(args.family, persons, real, train_judge(others, list(real)), args.walks)
    metrics = {f"{k}_{n}": float(np.mean([r[n] for r in rows if r["person"] == k])) for k in persons for n in NUMBERS}
    protocol = (
        f"network, family and judge trained without subject {args.subject}; personalised to {SHOTS} normal "
        f"cycles of sensor 1; {args.walks} walks a class and kind; errors against the subject's own walks of that class"
    )
    metrics |= {f"expected_cycle_error_{k}": v for k, v in error.items()}
    print(write_result("same_person_gist", args.dataset, protocol, metrics, rows))
    shown = {
        f"subject {args.subject}: own normal walk": real["normal"][0],
        f"subject {args.subject}: normal walk generated after {SHOTS} cycles": as_person,
        "this person, steppage gait (generated)": made["personalised", "steppage"][0],
        f"subject {args.subject}: own steppage walk": real["steppage"][0],
        "nobody in particular, steppage gait (generated)": made["nobody", "steppage"][0],
    }
    strips(shown, "same_person")


def _error(cycle: torch.Tensor, others: torch.Tensor) -> float:
    """Mean distance [mm] of the joints of a cycle (P, 75) from those of other cycles (N, P, 75)."""
    return float(1000 * (others - cycle).unflatten(-1, (-1, 3)).norm(dim=-1).mean())


if __name__ == "__main__":
    main()
