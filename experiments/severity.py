"""UPDRS gait scores 0-3 of simulated parkinsonian gait: agreement and calibration on people that were not trained on.

    python -m experiments.severity

In: nothing; the walks are simulated, nobody walked them. Out: `OUTPUT_DIR`, the model; `model_cards/results/NAME.json` and
`model_cards/figures/NAME_reliability.png`.

People are split: the network trains on some, the temperature is fitted on others, the rest are the test. A score stands for a
band of severities, and the bands touch: at their borders the true score cannot be known.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import softmax

from experiments.loso import scores
from experiments.runner import figure_path, parse, write_result
from modeling_gait.evaluation.bootstrap import bootstrap_units
from modeling_gait.evaluation.calibration import (
    expected_calibration_error,
    expected_score,
    fit_temperature,
    mean_absolute_error,
    plot_reliability,
    quadratic_kappa,
)
from modeling_gait.gait_parameters import compute_gait_parameters
from modeling_gait.modeling_gait_knowledge import prepare_knowledge_input
from modeling_gait.pipeline_gait_report import GaitReportPipeline
from modeling_gait.simulation import simulate_walks
from modeling_gait.training.arguments import PRECISIONS
from modeling_gait.training.knowledge import KnowledgeArguments, KnowledgeWalks, parameter_row, predict, train_model
from modeling_gait.training.loop import save_model

SCORES = ("0", "1", "2", "3")
SPLIT = (0.6, 0.2)  # people to train on, to fit the temperature on; the rest are the test
DRAWS = 1000  # of the bootstrap


@dataclass
class SeverityArguments:
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/severity_simulated", metadata={"help": "the trained model"})
    name: str = "severity_simulated"
    num_subjects: int = field(default=240, metadata={"help": "simulated people"})
    walks_per_subject: int = 16
    noise: float = field(default=0.01, metadata={"help": "sensor noise of the trunk joints [m]"})
    knowledge: str = field(default="updrs", metadata={"help": "a set of gait_classes.json, a JSON or YAML file, or none"})
    text_model: str = field(default="sentence-transformers/all-MiniLM-L6-v2", metadata={"help": "frozen text encoder"})
    max_steps: int = 400
    mixed_precision: str = field(default="bf16", metadata={"choices": PRECISIONS})
    seed: int = 0
    num_threads: int = 0


def simulate_scores(num_subjects: int, walks_per_subject: int, noise: float, seed: int) -> KnowledgeWalks:
    """Parkinsonian walks of simulated people, labelled by UPDRS gait score: that of severity s (0..1) is 3 s, rounded."""
    count = num_subjects * walks_per_subject
    severity = np.random.default_rng([seed, 1]).uniform(0, 1, count)
    walks = simulate_walks(
        count, seed=seed, pathology="parkinsonian", severity=severity, num_subjects=num_subjects, noise=noise
    )
    return KnowledgeWalks(
        prepare_knowledge_input(list(walks.joints), walks.fps),
        np.array([person["updrs_gait"] for person in walks.attributes]),
        np.array(walks.subject_ids),
        np.array([str(i) for i in range(count)]),
        list(SCORES),
        parameters=np.stack([parameter_row(compute_gait_parameters(j, walks.fps)) for j in walks.joints]),
    )


def split_people(subjects: np.ndarray, seed: int) -> list[np.ndarray]:
    """Rows of the people to train on, to fit the temperature on, and to test on."""
    people = np.random.default_rng(seed).permutation(np.unique(subjects))
    cuts = np.round(np.cumsum(SPLIT) * len(people)).astype(int)
    groups = np.split(people, cuts)
    if not all(len(g) for g in groups):
        raise ValueError(f"{len(people)} people are too few to be split in three; expected at least 5")
    return [np.flatnonzero(np.isin(subjects, group)) for group in groups]


def measure(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Agreement and calibration of (calibrated) logits (N, 4)."""
    probabilities = softmax(logits, axis=-1)
    said = probabilities.argmax(-1)
    return {
        "quadratic_kappa": quadratic_kappa(labels, said),
        "mean_absolute_error": mean_absolute_error(labels, expected_score(probabilities)),
        "accuracy": float((said == labels).mean()),
        "ece": expected_calibration_error(probabilities, labels),
    }


def intervals(logits: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """95 % intervals of `measure`, bootstrapped over people. (ECE is not negative, so its interval lies above the estimate.)"""
    names = list(measure(logits, labels))
    low, high = bootstrap_units(lambda rows: list(measure(logits[rows], labels[rows]).values()), subjects, draws=DRAWS)
    return {f"{name}_ci_{end}": float(x) for end, xs in (("low", low), ("high", high)) for name, x in zip(names, xs)}


def evaluate(args: SeverityArguments) -> tuple[dict, list[dict], np.ndarray, np.ndarray]:
    """Simulate, train, calibrate, test; saves the model. Returns metrics, rows (one a person), test logits and labels."""
    walks = simulate_scores(args.num_subjects, args.walks_per_subject, args.noise, args.seed)
    train, validation, test = split_people(walks.subjects, args.seed)
    training = KnowledgeArguments(
        dataset="simulated",
        output_dir=args.output_dir,
        **{
            name: getattr(args, name)
            for name in ("max_steps", "knowledge", "text_model", "seed", "mixed_precision", "num_threads")
        },
    )
    model = train_model(training, walks, train)
    temperature = fit_temperature(predict(model, walks, validation)[0], walks.labels[validation])
    raw = predict(model, walks, test)[0]
    model.set_temperature(temperature)
    logits, labels, subjects = predict(model, walks, test)[0], walks.labels[test], walks.subjects[test]
    save_model(args.output_dir, GaitReportPipeline(model, device="cpu"))
    metrics = measure(logits, labels) | intervals(logits, labels, subjects)
    metrics |= {"ece_uncalibrated": measure(raw, labels)["ece"], "temperature": temperature}
    metrics |= {"people_trained_on": len(set(walks.subjects[train])), "people_tested": len(set(subjects))}
    rows = []
    for person in np.unique(subjects):
        own = subjects == person
        row = scores(softmax(logits[own], axis=-1), labels[own], walks.walk_ids[test][own])
        rows.append({"subject": str(person), "accuracy": row["accuracy"], "confusion": row["confusion"]})
    return metrics, rows, logits, labels


def main() -> None:
    args = parse(SeverityArguments)
    metrics, rows, logits, labels = evaluate(args)
    figure = figure_path(f"{args.name}_reliability")
    figure.parent.mkdir(parents=True, exist_ok=True)
    plot_reliability(figure, softmax(logits, axis=-1), labels, title="UPDRS gait score, simulated people")
    dataset = f"simulated: {args.num_subjects} people x {args.walks_per_subject} walks, sensor noise {args.noise:g} m"
    protocol = (
        f"people split {SPLIT[0]:.0%} to train, {SPLIT[1]:.0%} for the temperature, the rest to test; severity "
        "uniform in 0..1, score: 3 x severity, rounded; intervals 95 %, bootstrapped over people"
    )
    print(write_result(args.name, dataset, protocol, metrics, rows, seeds=[args.seed]))


if __name__ == "__main__":
    main()
