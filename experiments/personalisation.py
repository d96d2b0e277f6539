"""How well a model adapts to people it has not seen from 1, 3, 5 and 10 gait cycles, against simpler ways.

    python -m experiments.personalisation --dataset data/hugadb/cycles --num_threads 1
    python -m experiments.personalisation --dataset data/hugadb/cycles --folds 0 --seeds 0   (a part; the rest may follow)

The subjects are held out in groups. For each group the models are trained on the other subjects (train_maml.py, in
output_dir, resumable). What must be chosen (how far covariances are shrunk; steps, rates, components) is chosen with models
made without the next group, which is held out in its turn; no test subject takes part. Fine-tuning and training from scratch
are measured with `--tuning 900`, the steps of what is fine-tuned. Out: a row for each subject, seed and number of shots
(runner.py), model_cards/results/NAME.json, a figure.

Generation: the expected cycle from K support cycles against other cycles of the same subject and activity. Arms: `maml`;
`maml_unadapted`, the same model that reads the support but takes no step; `linear`, without its network; `activity_read`, not
told the activity; `gaussian`, the rival: a Gaussian posterior with covariances over channels; `finetune`, a conventionally
trained network, fine-tuned by Adam; `scratch`, an untrained network, trained by Adam; `shrunk_mean`, the rival with
independent channels; `support_mean`; `population_mean`, of the activity; `nearest` training cycle; `floor`, the mean of the
query cycles themselves, which no method can beat. Reconstruction: what 5, 10, 20 % of the phases, or all but one sensor,
leave unknown. MSE in variances of a channel, `si` in (m/s^2)^2 and (rad/s)^2; DTW per phase point and channel, in standard
deviations.
"""

import copy
import json
from dataclasses import dataclass, field, replace
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
    filled,
    hidden_queries,
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
from modeling_gait.modeling_gait_tcn import LIMIT, GaitTCNModel
from modeling_gait.training.fit_prior import layout_of, shrink
from modeling_gait.training.maml import Cycles, MamlArguments, build, load_cycles, train_model

ARMS = (
    "maml", "maml_unadapted", "linear", "activity_read", "gaussian", "shrunk_mean", "finetune", "scratch", "support_mean",
    "population_mean", "nearest", "floor",
)  # fmt: skip
MAML_STEPS = (0, 1, 3)
ADAM_STEPS = (1, 3, 10, 30, 100, 300)
ADAM_RATES = (1e-3, 3e-3)
SHRINK = ((0.0, 0.0), (0.3, 0.3), (0.3, 0.6), (0.6, 0.9))  # of correlations between people, and within one, what stays
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
    reserved: int = field(default=10, metadata={"help": "cycles of a task to draw supports from; the others are queries"})
    draws: int = field(default=3, metadata={"help": "supports drawn of each task"})
    max_steps: int = field(default=-1, metadata={"help": "training steps in the place of the configuration's"})
    tuning: int = field(default=0, metadata={"help": "training steps of what is fine-tuned; 0: without finetune and scratch"})


# --- episodes -----------------------------------------------------------------------------------------------------------------
def draw_episodes(model: GaitTCNModel, cycles: Cycles, shots: int, args, seed: int, queries: int = 24) -> dict:
    """Supports and queries of every task, stacked: cycles, observed (T, K, P, C), queries, mask (T, Q, P, C), task (T,).

    Tasks with fewer cycles than `reserved` + 5 are left out: all numbers of shots see the same tasks and queries.
    Where no support cycle has a channel, that channel is not counted.
    """
    values, observed = model.standardise(cycles.values, cycles.mask)
    parts = []
    for number, rows in enumerate(cycles.tasks(least=args.reserved + 5)):
        for draw in range(args.draws):
            order = np.random.default_rng([seed, number, draw]).permutation(rows)
            support, query = order[:shots], order[args.reserved :][:queries]
            query = np.resize(query, queries)  # short tasks: some queries count twice
            known = observed[support].amax(0)
            parts.append((values[support], observed[support], values[query], observed[query] * known, rows[0]))
    if not parts:
        raise ValueError(f"no task of these subjects has {args.reserved + 5} cycles")
    stacked = [torch.stack([p[i] for p in parts]) for i in range(4)]
    task, names = np.array([p[4] for p in parts]), list(model.config.activities)
    activity = torch.tensor([names.index(a) if a in names else len(names) for a in map(str, cycles.activity[task])])
    return dict(zip(("cycles", "observed", "queries", "mask"), stacked)) | {"task": task, "activity": activity}


def task_dtw(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean DTW distance of each task (T,), per phase point and channel, over its queries (T, Q, P, C)."""
    a, b = (np.asarray((x * mask).double()) for x in (prediction.expand_as(target), target))
    channels = mask[:, :, 0].sum(-1).clamp(min=1).sqrt().numpy()
    return torch.from_numpy((dtw(a, b) / channels / target.shape[2]).mean(1))


# --- choices ------------------------------------------------------------------------------------------------------------------
def linear_model(training: Cycles, **options) -> GaitTCNModel:
    """The linear rule alone, its prior fitted with `options` of `fit_prior`."""
    model = build(MamlArguments(dataset="", output_dir="", hidden_size=1), training, **options)
    return model.eval()


def choose(training: Cycles, validation: Cycles, args: PersonalisationArguments) -> dict:
    """How far covariances are shrunk, for the model and for the rival, by the sum of the errors of generation from one and five
    cycles and of reconstruction; and PCA's size. On people that neither train nor test."""
    choice, once = {}, replace(args, draws=1)
    for arm, options in (("maml", {}), ("gaussian", {"layout": None})):
        model, last = linear_model(training, **options), {}
        for sizes in SHRINK:
            shrink(model.prior, model.products, options.get("layout", layout_of(training.values.shape[2])), *sizes)
            errors = []
            for shots in (min(args.shots), 5 if 5 in args.shots else max(args.shots)):
                episodes = draw_episodes(model, validation, shots, once, seed=1000)
                answer = model.person(context_of(episodes), episodes["activity"])[0].mean.float()[:, None]
                errors.append(float(task_error(answer, episodes["queries"], episodes["mask"]).nanmean()))
            for name in ("10", "sensor"):
                part = hidden_queries(episodes, SHARES[name], model.config.channels_per_sensor, 0)
                context = context_of(episodes)
                answer = filled(model, model.person(context, episodes["activity"])[0], context, part)
                errors.append(float(task_error(answer, part["target"], part["asked"]).nanmean()))
            last[sizes] = sum(errors)
        choice[arm] = {"shrink": list(min(last, key=last.get)), "errors": {str(k): v for k, v in last.items()}}
    pca, choice["pca"] = PcaInfill(model, training), {}
    for name, share in SHARES.items():
        part = hidden_queries(episodes, share, model.config.channels_per_sensor, 0)
        known, seen = part["known"].flatten(0, 1), part["seen"].flatten(0, 1)
        error = {}
        for size in PCA:
            answer = pca(known, seen, *size).view_as(part["known"])
            error[size] = float(task_error(answer, part["target"], part["asked"]).nanmean())
        choice["pca"][name] = list(min(error, key=error.get))
    return choice


def choose_tuning(models: dict, validation: Cycles, args: PersonalisationArguments) -> dict:
    """Steps and rates of fine-tuning and of training from scratch, for each number of shots."""
    choice = {"finetune": {}, "scratch": {}}
    for shots in args.shots:
        episodes = draw_episodes(models["scratch"], validation, shots, args, seed=1000)
        for arm in choice:
            tried = {}
            for rate in ADAM_RATES:
                for s, p in adam_curve(models[arm], episodes, rate, ADAM_STEPS).items():
                    tried[s, rate] = float(task_error(p[:, None], episodes["queries"], episodes["mask"]).nanmean())
            best = min(tried, key=tried.get)
            choice[arm][str(shots)] = {"steps": best[0], "rate": best[1]}
    return choice


def means_of(model: GaitTCNModel, training: Cycles, cycles: Cycles, episodes: dict) -> torch.Tensor:
    """Population mean (T, P, C) of the activity of each episode."""
    by_activity = population(model, training)
    overall = torch.stack(list(by_activity.values())).mean(0)
    return torch.stack([by_activity.get(str(cycles.activity[t]), overall) for t in episodes["task"]])


# --- measuring ----------------------------------------------------------------------------------------------------------------
def measure(models: dict, training: Cycles, test: Cycles, pca: PcaInfill, choice: dict, shots: int, args, seed: int) -> dict:
    """{metric: (T,)} of all arms, a value a task and draw; and "task", a row of `test` of each."""
    maml, key = models["maml"], str(shots)
    episodes = draw_episodes(maml, test, shots, args, seed)
    context, activity, out = context_of(episodes), episodes["activity"], {"task": episodes["task"]}
    queries, mask, scale = episodes["queries"], episodes["mask"], maml.channel_std
    means, count = means_of(maml, training, test, episodes), episodes["observed"].sum(1)
    support = torch.where(count > 0, episodes["cycles"].sum(1) / count.clamp(min=1), means)
    person, _ = maml.person(context, activity)
    adapted = adapt_tasks(maml, episodes, MAML_STEPS)
    after = {s: expected(maml, parameters, context, person.mean) for s, parameters in adapted.items()}
    floor = (queries * mask).sum(1) / mask.sum(1).clamp(min=1)
    answers = {"maml": after[maml.config.inner_steps], "maml_unadapted": after[0], "linear": person.mean.float()}
    read = maml.person(context)[0].mean  # the activity is not told
    answers |= {"activity_read": expected(maml, stacked(maml, len(context)), context, read)}
    answers |= {arm: models[arm].person(context, activity)[0].mean.float() for arm in ("gaussian", "shrunk_mean")}
    answers |= {"support_mean": support, "population_mean": means, "floor": floor}
    answers["nearest"] = nearest(maml, training, support, (count > 0).float())
    for arm in choice.get("tuning", ()):
        how = choice["tuning"][arm][key]
        answers[arm] = adam_curve(models[arm], episodes, how["rate"], (how["steps"],))[how["steps"]]
    kinds = {"acc": torch.arange(len(scale)) % 6 < 3, "gyro": torch.arange(len(scale)) % 6 >= 3}
    for arm, answer in answers.items():
        answer = answer[:, None]
        out[f"mse_{arm}"] = task_error(answer, queries, mask)
        if len(scale) % 6 == 0:
            for kind, which in kinds.items():
                out[f"mse_si_{kind}_{arm}"] = task_error(answer * scale, queries * scale, mask * which)
        out[f"dtw_{arm}"] = task_dtw(answer, queries[:, :8], mask[:, :8])
    for steps, answer in after.items():
        out[f"mse_maml_after_{steps}"] = task_error(answer[:, None], queries, mask)
    doubt, spread = (d.float()[:, None] for d in person.deviations())
    rms = lambda x: ((x.square() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))).sqrt()  # noqa: E731
    out["spread_generated"] = rms((spread.square() - doubt.square()).sqrt().expand_as(queries))
    out["spread_real"] = rms(queries - floor[:, None]) * (24 / 23) ** 0.5
    for name, width in (("coverage_90", LIMIT), ("coverage_2sd", 2.0)):
        within = ((queries - answers["maml"][:, None]).abs() < width * spread) * mask
        out[name] = within.sum((1, 2, 3)) / mask.sum((1, 2, 3))
    if shots == 5 or 5 not in args.shots:
        found = reconstruct(models, pca, episodes, means, choice, seed)
        out |= {f"reconstruction_mse_{k}": v for k, v in found.items()}
    return out


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
                kind, share = name.rsplit("_", 1)
                if kind.endswith(("_pca", "_gaussian")):
                    difference = values - table[f"reconstruction_mse_maml_{share}"]
                    out |= interval(f"{kind}_minus_maml_{share}", difference)
        for kind in ("mse", "dtw"):
            for arm in ARMS[1:-1]:
                if f"{kind}_{arm}" in table:
                    out |= interval(f"{kind}_{arm}_minus_maml_{shots}", table[f"{kind}_{arm}"] - table[f"{kind}_maml"])
    return rounded(out)


def draw_errors(rows: list[dict], name: str) -> None:
    """Error against the number of support cycles, and against the steps of the adaptation."""
    metrics, figure = result_metrics(rows), Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    shots = sorted({r["shots"] for r in rows})
    for arm in [a for a in ARMS if a not in ("maml_unadapted", "linear", "activity_read") and f"mse_{a}_{shots[0]}" in metrics]:
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


def trained(
    folder: Path, training: Cycles, algorithm: str, seed: int, args: PersonalisationArguments, **options
) -> GaitTCNModel:
    """The model of this folder; trained now if it is not there."""
    if not (folder / "model.safetensors").is_file():
        values = json.loads(Path(args.config).read_text()) | {"dataset": args.dataset, "output_dir": str(folder)}
        values |= {"algorithm": algorithm, "seed": seed, "num_threads": args.num_threads}
        if args.max_steps >= 0:
            values["max_steps"] = args.max_steps
        if algorithm == "pretrain":
            values["max_steps"] = args.tuning
        train_model(MamlArguments(**values), training, **options)
    return GaitTCNModel.from_pretrained(folder).eval()


def tuned(folder: Path, training: Cycles, seed: int, args: PersonalisationArguments) -> dict[str, GaitTCNModel]:
    """A conventionally trained network to fine-tune, and an untrained one."""
    torch.manual_seed(seed)
    scratch = build(MamlArguments(dataset="", output_dir=""), training).eval()
    for head in (scratch.network.generation_head, scratch.network.reconstruction_head):
        torch.nn.init.normal_(head.weight, std=0.01)
    return {"finetune": trained(folder / "pretrain", training, "pretrain", seed, args), "scratch": scratch}


def chosen(fold: int, training: Cycles, following: list[str], args: PersonalisationArguments) -> dict:
    """What is chosen for a group, with models fitted without it and without the next one; made once."""
    folder = Path(args.output_dir)
    file = folder / "choices" / f"{fold}.json"
    with claimed(file.with_suffix(".lock"), wait=True):
        if not file.exists():
            inner = training.without(following)
            validation = training.without([s for s in set(training.subject) if s not in following])
            choice = choose(inner, validation, args)
            if args.tuning:
                choice["tuning"] = choose_tuning(tuned(folder / f"fold_{fold}_choice", inner, 0, args), validation, args)
            write_json(file, choice)
    return json.loads(file.read_text())


def evaluate(run: dict, cycles: Cycles, held: list[list[str]], args: PersonalisationArguments) -> list[dict]:
    """Rows of one group and seed."""
    fold, seed = run["fold"], run["seed"]
    training, test = cycles.without(held[fold]), cycles.without([s for i, g in enumerate(held) for s in g if i != fold])
    choice = chosen(fold, training, held[(fold + 1) % len(held)], args)
    folder = Path(args.output_dir) / f"fold_{fold}_seed_{seed}"
    sizes = {a: dict(zip(("shrink_between", "shrink_within"), choice[a]["shrink"])) for a in ("maml", "gaussian")}
    models = {"maml": trained(folder / "maml", training, "maml", seed, args, **sizes["maml"])}
    models["gaussian"] = linear_model(training, layout=None, **sizes["gaussian"])
    models["shrunk_mean"] = copy.deepcopy(models["gaussian"])
    shrink(models["shrunk_mean"].prior, models["gaussian"].products, None, 0.0, 0.0)
    if args.tuning:
        models |= tuned(folder, training, seed, args)
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
        "subject's cycles of one activity; what is chosen, on the next group with models made without both; "
        "metrics are means over subjects, intervals a bootstrap over them; reconstruction with five support cycles"
    )
    if not args.tuning and any("mse_finetune" in r for r in rows):
        protocol += "; finetune and scratch are of an earlier run with the same supports and queries"
    path = result_path(args.name)
    choices = json.loads(path.read_text()).get("choices", {}) if path.exists() else {}
    choices |= {p.stem: json.loads(p.read_text()) for p in (Path(args.output_dir) / "choices").glob("[!.]*.json")}
    print(write_result(args.name, args.dataset, protocol, result_metrics(rows), rows, choices=choices))
    draw_errors(rows, args.name)


if __name__ == "__main__":
    main()
