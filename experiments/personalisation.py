"""How well a model adapts to people it has not seen from 1, 3, 5 and 10 gait cycles, against simpler ways.

    python -m experiments.personalisation --dataset data/hugadb/cycles --num_threads 1
    python -m experiments.personalisation --dataset data/hugadb/cycles --folds 0 --seeds 0   (a part; the rest may follow)

The subjects are held out in groups. For each group the models are trained on the other subjects (train_maml.py, in
output_dir, resumable). What must be chosen (steps, learning rates, components, for each number of shots; how much the support
is smoothed) is chosen with models trained without the next group, which is held out in its turn; no test subject takes part.
Out: a row for each subject, seed and number of shots (runner.py), model_cards/results/NAME.json, a figure.

Generation: the expected cycle from K support cycles against other cycles of the same subject and activity. Arms: `maml`;
`maml_unadapted`, the same model that reads the support but takes no step; `finetune`, a conventionally trained network,
fine-tuned by Adam; `scratch`, an untrained network, trained by Adam; `shrunk_mean`, the linear empirical Bayes estimate that
the network starts from, given the activity; `support_mean`; `population_mean`, of the activity; `nearest` training cycle;
`floor`, the mean of the query cycles themselves, which no method can beat. Reconstruction: what 5, 10, 20 % of the phases, or
all but one sensor, leave unknown. MSE in variances of a channel, `si` in (m/s^2)^2 and (rad/s)^2; DTW per phase point and
channel, in standard deviations.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from experiments.personalisation_arms import (
    SHARES,
    PcaInfill,
    adam_curve,
    adapt_tasks,
    context_of,
    expected,
    nearest,
    population,
    reconstruct,
    stacked,
    task_error,
)
from experiments.runner import (
    RunArguments,
    claimed,
    groups,
    interval,
    parse,
    result_path,
    rounded,
    run_all,
    save_figure,
    write_result,
)
from modeling_gait.evaluation.metrics import dtw
from modeling_gait.files import write_json
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training.maml import Cycles, MamlArguments, build, load_cycles, train_model

ARMS = ("maml", "maml_unadapted", "finetune", "scratch", "shrunk_mean", "support_mean", "population_mean", "nearest", "floor")
MAML_STEPS = (0, 1, 2, 3, 5, 8)
ADAM_STEPS = (1, 3, 10, 30, 100, 300)
ADAM_RATES = (1e-3, 3e-3)
NOISE_SCALES = (1.0, 0.6, 0.4)  # below 1: less smoothing of the support, a larger MSE and a smaller DTW distance
PCA = [(n, s) for n in (20, 60) for s in (0.03, 0.1, 0.3, 1.0)]  # components, variance of the noise


@dataclass(kw_only=True)
class PersonalisationArguments(RunArguments):
    """Arguments of the evaluation."""

    config: str = field(default="train/configs/maml_hugadb.json", metadata={"help": "arguments of train_maml.py"})
    output_dir: str = field(default="outputs/hugadb", metadata={"help": "trained models, by group and seed"})
    name: str = "personalisation_hugadb"
    num_folds: int = field(default=6, metadata={"help": "groups that the subjects are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    shots: list[int] = field(default_factory=lambda: [1, 3, 5, 10])
    draws: int = field(default=3, metadata={"help": "supports drawn of each task"})
    max_steps: int = field(default=0, metadata={"help": "training steps in the place of the configuration's"})


# --- episodes -----------------------------------------------------------------------------------------------------------------
def draw_episodes(model: GaitTCNModel, cycles: Cycles, shots: int, args, seed: int, queries: int = 24) -> dict:
    """Supports and queries of every task, stacked: cycles, observed (T, K, P, C), queries, mask (T, Q, P, C), task (T,).

    Tasks with fewer cycles than the largest number of shots + 5 are left out, so that all numbers of shots see the same tasks.
    Where no support cycle has a channel, that channel is not counted.
    """
    values, observed = model.standardise(cycles.values, cycles.mask)
    parts = []
    for number, rows in enumerate(cycles.tasks(least=max(args.shots) + 5)):
        for draw in range(args.draws):
            order = np.random.default_rng([seed, number, draw]).permutation(rows)
            support, query = order[:shots], order[max(args.shots) :][:queries]
            query = np.resize(query, queries)  # short tasks: some queries count twice
            known = observed[support].amax(0)
            parts.append((values[support], observed[support], values[query], observed[query] * known, rows[0]))
    if not parts:
        raise ValueError(f"no task of these subjects has {max(args.shots) + 5} cycles")
    stacked = [torch.stack([p[i] for p in parts]) for i in range(4)]
    return dict(zip(("cycles", "observed", "queries", "mask"), stacked)) | {"task": np.array([p[4] for p in parts])}


def task_dtw(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean DTW distance of each task (T,), per phase point and channel, over its queries (T, Q, P, C)."""
    a, b = (np.asarray((x * mask).double()) for x in (prediction.expand_as(target), target))
    channels = mask[:, :, 0].sum(-1).clamp(min=1).sqrt().numpy()
    return torch.from_numpy((dtw(a, b) / channels / target.shape[2]).mean(1))


# --- choices ------------------------------------------------------------------------------------------------------------------
def choose_noise(maml: GaitTCNModel, training: Cycles, validation: Cycles, args: PersonalisationArguments) -> float:
    """How much of the learned noise ratio to believe: least sum of MSE and DTW, each against the support mean's."""
    score = dict.fromkeys(NOISE_SCALES, 0.0)
    for shots in args.shots:
        episodes = draw_episodes(maml, validation, shots, args, seed=1000, queries=6)
        queries, mask, count = episodes["queries"], episodes["mask"], episodes["observed"].sum(1)
        means = means_of(maml, training, validation, episodes)
        support = torch.where(count > 0, episodes["cycles"].sum(1) / count.clamp(min=1), means)[:, None]
        for scale in NOISE_SCALES:
            scale_noise(maml, scale)
            answer = maml_prediction(maml, episodes, 0, 0)[0][:, None]
            scale_noise(maml, 1 / scale)
            for measure in (task_error, task_dtw):
                score[scale] += float(measure(answer, queries, mask).nanmean() / measure(support, queries, mask).nanmean())
    return min(score, key=score.get)


def scale_noise(model: GaitTCNModel, scale: float) -> None:
    """Multiply the network's ratio of noise."""
    with torch.no_grad():
        model.network.log_noise.add_(float(np.log(scale)))


def choose(models: dict, training: Cycles, validation: Cycles, args: PersonalisationArguments) -> dict:
    """Steps, rates, components for each number of shots, on subjects that neither train these models nor test them."""
    pca, choice = PcaInfill(models["maml"], training), {"maml": {}, "finetune": {}, "scratch": {}, "pca": {}}
    choice["noise"] = choose_noise(models["maml"], training, validation, args)
    scale_noise(models["maml"], choice["noise"])
    for shots in args.shots:
        episodes = draw_episodes(models["maml"], validation, shots, args, seed=1000)
        score = lambda p: float(task_error(p[:, None], episodes["queries"], episodes["mask"]).nanmean())  # noqa: E731, B023
        curve = {s: score(maml_prediction(models["maml"], episodes, s, 0)[0]) for s in MAML_STEPS}
        choice["maml"][str(shots)] = {"steps": min(curve, key=curve.get), "curve": curve}
        for arm in ("finetune", "scratch"):
            model = models["pretrain"] if arm == "finetune" else models["scratch"]
            tried = {}
            for rate in ADAM_RATES:
                tried |= {(s, rate): score(p) for s, p in adam_curve(model, episodes, rate, ADAM_STEPS).items()}
            best = min(tried, key=tried.get)
            choice[arm][str(shots)] = {"steps": best[0], "rate": best[1]}
    means = means_of(models["maml"], training, validation, episodes)
    error = {}
    for cubic in (False, True):
        for n, noise in PCA:
            settings = {"cubic": cubic, "pca": {k: (n, noise) for k in SHARES}}
            found = reconstruct(models, pca, stacked(models["maml"], len(means)), episodes, means, settings, 0)
            error[cubic, n, noise] = {k: float(v.nanmean()) for k, v in found.items()}
    for name in SHARES:
        choice["pca"][name] = list(min(PCA, key=lambda p: error[False, *p][f"pca_{name}"]))
    choice["cubic"] = error[True, *PCA[0]]["interpolation_10"] < error[False, *PCA[0]]["interpolation_10"]
    return choice


def means_of(model: GaitTCNModel, training: Cycles, cycles: Cycles, episodes: dict) -> torch.Tensor:
    """Population mean (T, P, C) of the activity of each episode."""
    by_activity = population(model, training)
    overall = torch.stack(list(by_activity.values())).mean(0)
    return torch.stack([by_activity.get(str(cycles.activity[t]), overall) for t in episodes["task"]])


def maml_prediction(model: GaitTCNModel, episodes: dict, steps: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """Expected cycle (T, P, C), log spread (T, C) and adapted parameters."""
    parameters = adapt_tasks(model, episodes, steps, seed)
    return *expected(model, parameters, context_of(episodes)), parameters


# --- measuring ----------------------------------------------------------------------------------------------------------------
def predictions(models: dict, training: Cycles, test: Cycles, episodes: dict, choice: dict, shots: int, seed: int) -> dict:
    """{arm: (T, P, C)}, standardised, and under "log_spread", "parameters" what else the adapted model says."""
    maml, key = models["maml"], str(shots)
    means = means_of(maml, training, test, episodes)
    count = episodes["observed"].sum(1)
    support = torch.where(count > 0, episodes["cycles"].sum(1) / count.clamp(min=1), means)
    mean, log_spread, parameters = maml_prediction(maml, episodes, choice["maml"][key]["steps"], seed)
    out = {"maml": mean, "maml_unadapted": maml_prediction(maml, episodes, 0, seed)[0]}
    for arm in ("finetune", "scratch"):
        steps, rate = choice[arm][key]["steps"], choice[arm][key]["rate"]
        model = models["pretrain"] if arm == "finetune" else models["scratch"]
        out[arm] = adam_curve(model, episodes, rate, (steps,))[steps]
    mask, queries = episodes["mask"], episodes["queries"]
    floor = (queries * mask).sum(1) / mask.sum(1).clamp(min=1)
    out |= {"support_mean": support, "population_mean": means, "floor": floor}
    out["nearest"] = nearest(maml, training, support, (count > 0).float())
    out["shrunk_mean"] = means + models["scratch"].network.trusted(support - means, count / (count + 1)).detach()
    return out | {"log_spread": log_spread, "parameters": parameters, "means": means}


def measure(models: dict, training: Cycles, test: Cycles, pca: PcaInfill, choice: dict, shots: int, args, seed: int) -> dict:
    """{metric: (T,)} of all arms, a value a task and draw; and "task", a row of `test` of each."""
    maml = models["maml"]
    episodes = draw_episodes(maml, test, shots, args, seed)
    answers, out = predictions(models, training, test, episodes, choice, shots, seed), {"task": episodes["task"]}
    queries, mask, scale = episodes["queries"], episodes["mask"], maml.channel_std
    kinds = {"acc": torch.arange(len(scale)) % 6 < 3, "gyro": torch.arange(len(scale)) % 6 >= 3}
    for arm in ARMS:
        answer = answers[arm][:, None]
        out[f"mse_{arm}"] = task_error(answer, queries, mask)
        if len(scale) % 6 == 0:
            for kind, which in kinds.items():
                out[f"mse_si_{kind}_{arm}"] = task_error(answer * scale, queries * scale, mask * which)
        out[f"dtw_{arm}"] = task_dtw(answer, queries[:, :8], mask[:, :8])
    for steps in MAML_STEPS:
        out[f"mse_maml_after_{steps}"] = task_error(maml_prediction(maml, episodes, steps, seed)[0][:, None], queries, mask)
    spread = answers["log_spread"].exp()[:, None]
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(len(spread), 24, maml.config.num_components, generator=generator)
    sampled = torch.einsum("tnr,rpc->tnpc", z, maml.components) * spread[:, None]
    real = queries - answers["floor"][:, None]
    rms = lambda x: ((x.square() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))).sqrt()  # noqa: E731
    out["spread_generated"], out["spread_real"] = rms(sampled), rms(real) * (24 / 23) ** 0.5
    within = ((queries - answers["maml"][:, None]).abs() < 2 * spread[:, None]) * mask
    out["coverage_2sd"] = within.sum((1, 2, 3)) / mask.sum((1, 2, 3))
    reconstructed = reconstruct(models, pca, answers["parameters"], episodes, answers["means"], choice, seed)
    return out | {f"reconstruction_mse_{k}": v for k, v in reconstructed.items()}


def rows_of(found: dict, test: Cycles, shots: int) -> list[dict]:
    """A row a subject: means over its activities."""
    rows, subjects = [], test.subject[found["task"]]
    for subject in np.unique(subjects):
        mine = np.flatnonzero(subjects == subject)
        row = {"shots": shots, "subject": str(subject)}
        row["activities"] = sorted(set(test.activity[found["task"][mine]].tolist()))
        for name, values in found.items():
            own = np.asarray(values, float)[mine]
            if name != "task" and np.isfinite(own).any():  # a subject may lack every gyroscope
                row[name] = round(float(np.nanmean(own)), 6)
        rows.append(row)
    return rows


# --- results -----------------------------------------------------------------------------------------------------------------


def result_metrics(rows: list[dict]) -> dict[str, float]:
    """Means over subjects (seeds averaged first), and how far each arm lies above `maml`, with intervals over subjects."""
    out = {}
    for shots in sorted({r["shots"] for r in rows}):
        mine = [r for r in rows if r["shots"] == shots]
        subjects = sorted({r["subject"] for r in mine})
        names = dict.fromkeys(k for r in mine for k, v in r.items() if isinstance(v, float))
        own = {s: [r for r in mine if r["subject"] == s] for s in subjects}
        measured = {k: [[r[k] for r in own[s] if k in r] for s in subjects] for k in names}
        table = {k: np.array([np.mean(v) if v else np.nan for v in values]) for k, values in measured.items()}
        for name, values in table.items():
            if not name.startswith("reconstruction"):
                out[f"{name}_{shots}"] = np.nanmean(values)
            elif shots == 5 or len({r["shots"] for r in rows}) == 1:
                out[name] = np.nanmean(values)  # with five support cycles
        for kind in ("mse", "dtw"):
            for arm in ARMS[1:-1]:
                difference = table[f"{kind}_{arm}"] - table[f"{kind}_maml"]
                key = f"{kind}_{arm}_minus_maml_{shots}"
                out |= interval(key, difference)
    return rounded(out)


def draw_errors(rows: list[dict], name: str) -> None:
    """Error against the number of support cycles, and against the steps of the adaptation."""
    metrics, figure = result_metrics(rows), Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shots = sorted({r["shots"] for r in rows})
    for arm in ("maml", "shrunk_mean", "finetune", "scratch", "support_mean", "population_mean", "nearest", "floor"):
        style = {"color": "black", "linestyle": ":"} if arm == "floor" else {"marker": "o"}
        left.plot(shots, [metrics[f"mse_{arm}_{k}"] for k in shots], label=arm.replace("_", " "), **style)
    left.set(xlabel="support cycles", ylabel="MSE [variances of a channel]", xscale="log", xticks=shots, xticklabels=shots)
    left.minorticks_off()
    left.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for k in shots:
        right.plot(MAML_STEPS, [metrics[f"mse_maml_after_{s}_{k}"] for s in MAML_STEPS], marker="o", label=f"{k} cycles")
    right.set(xlabel="adaptation steps", ylabel="MSE [variances of a channel]")
    right.legend(fontsize=8)
    save_figure(figure, f"{name}_errors")


def trained(folder: Path, training: Cycles, algorithm: str, seed: int, args: PersonalisationArguments) -> GaitTCNModel:
    """The model of this folder; trained now if it is not there."""
    if not (folder / "model.safetensors").is_file():
        values = json.loads(Path(args.config).read_text()) | {"dataset": args.dataset, "output_dir": str(folder)}
        values |= {"algorithm": algorithm, "seed": seed, "num_threads": args.num_threads}
        if args.max_steps:
            values |= {"max_steps": args.max_steps, "warm_steps": args.max_steps // 2}
        train_model(MamlArguments(**values), training)
    return GaitTCNModel.from_pretrained(folder).eval()


def models_of(folder: Path, training: Cycles, seed: int, args: PersonalisationArguments) -> dict[str, GaitTCNModel]:
    """The models of one training set and seed; "scratch" is an untrained network with the same scales."""
    models = {a: trained(folder / a, training, a, seed, args) for a in ("maml", "pretrain")}
    torch.manual_seed(seed)
    shared = MamlArguments(dataset="", output_dir="", hidden_size=models["maml"].config.hidden_size)
    return models | {"scratch": build(shared, training).eval()}


def chosen(fold: int, training: Cycles, following: list[str], args: PersonalisationArguments) -> dict:
    """What is chosen for a group, with models trained without it and without the next one; made once."""
    folder = Path(args.output_dir)
    file = folder / "choices" / f"{fold}.json"
    with claimed(file.with_suffix(".lock"), wait=True):
        if not file.exists():
            inner = training.without(following)
            validation = training.without([s for s in set(training.subject) if s not in following])
            write_json(file, choose(models_of(folder / f"fold_{fold}_choice", inner, 0, args), inner, validation, args))
    return json.loads(file.read_text())


def evaluate(run: dict, cycles: Cycles, held: list[list[str]], args: PersonalisationArguments) -> list[dict]:
    """Rows of one group and seed."""
    fold, seed = run["fold"], run["seed"]
    training, test = cycles.without(held[fold]), cycles.without([s for i, g in enumerate(held) for s in g if i != fold])
    choice = chosen(fold, training, held[(fold + 1) % len(held)], args)
    models = models_of(Path(args.output_dir) / f"fold_{fold}_seed_{seed}", training, seed, args)
    scale_noise(models["maml"], choice["noise"])
    pca, rows = PcaInfill(models["maml"], training), []
    for shots in args.shots:
        rows += rows_of(measure(models, training, test, pca, choice, shots, args, seed), test, shots)
    return rows


def main() -> None:
    args = parse(PersonalisationArguments)
    cycles = load_cycles(args.dataset)
    held = groups(cycles.subject, args.num_folds, args.folds, least=3)  # one to test, one to choose, the rest to train
    runs = [{"fold": f, "seed": s} for s in args.seeds for f in args.folds or range(len(held))]
    rows = run_all(args, runs, lambda run: evaluate(run, cycles, held, args))
    protocol = (
        f"{args.num_folds} groups of subjects held out in turn; support and queries drawn at random from a "
        "subject's cycles of one activity; steps, rates and components chosen on the next group with models trained without "
        "both; metrics are means over subjects, intervals a bootstrap over them; reconstruction with five support cycles"
    )
    path = result_path(args.name)
    choices = json.loads(path.read_text()).get("choices", {}) if path.exists() else {}
    choices |= {p.stem: json.loads(p.read_text()) for p in (Path(args.output_dir) / "choices").glob("[!.]*.json")}
    print(write_result(args.name, args.dataset, protocol, result_metrics(rows), rows, choices=choices))
    draw_errors(rows, args.name)


if __name__ == "__main__":
    main()
