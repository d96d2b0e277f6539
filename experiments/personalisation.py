"""How well a model adapts to people it has not seen from 1, 3, 5 and 10 gait cycles, against simpler ways.

    python -m experiments.personalisation --dataset data/hugadb/cycles --num_threads 1
    python -m experiments.personalisation --dataset data/hugadb/cycles --folds 0 --seeds 0   (a part; the rest may follow)

The subjects are held out in groups. For each group the models are trained on the other subjects (train_maml.py, in
output_dir, resumable). What must be chosen (steps, learning rates, components, for each number of shots; how much the support
is smoothed) is chosen with models trained without the next group, which is held out in its turn; no test subject takes part.
Writes model_cards/results/NAME.json, a row for each subject, seed and number of shots, as they are made, and figures.

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
from scipy.interpolate import CubicSpline
from torch.func import functional_call, grad, vmap
from tqdm import tqdm
from transformers import HfArgumentParser

from experiments.report_personalisation import ARMS, MAML_STEPS, draw_cycles, draw_errors, summarise
from modeling_gait.evaluation.metrics import dtw
from modeling_gait.modeling_gait_tcn import GaitTCNModel, adapt, draw_sparse_masks, masked_mse, support_context
from modeling_gait.training.maml import Cycles, MamlArguments, build, load_cycles, train_model
from modeling_gait.training.results import ROOT, write_result

RECONSTRUCTIONS = ("maml", "maml_no_support", "pretrain", "interpolation", "pca", "support_mean")
ADAM_STEPS = (1, 3, 10, 30, 100, 300)
ADAM_RATES = (1e-3, 3e-3)
NOISE_SCALES = (1.0, 0.6, 0.4)  # below 1: less smoothing of the support, a larger MSE and a smaller DTW distance
SHARES = {"5": 0.05, "10": 0.1, "20": 0.2, "sensor": None}
PCA = [(n, s) for n in (20, 60) for s in (0.03, 0.1, 0.3, 1.0)]  # components, variance of the noise


@dataclass
class PersonalisationArguments:
    """Arguments of the evaluation."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet of gait cycles"})
    config: str = field(default="train/configs/maml_hugadb.json", metadata={"help": "arguments of train_maml.py"})
    output_dir: str = field(default="outputs/hugadb", metadata={"help": "trained models, by group and seed"})
    name: str = field(default="personalisation_hugadb", metadata={"help": "model_cards/results/NAME.json"})
    num_folds: int = field(default=6, metadata={"help": "groups that the subjects are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    shots: list[int] = field(default_factory=lambda: [1, 3, 5, 10])
    draws: int = field(default=3, metadata={"help": "supports drawn of each task"})
    max_steps: int = field(default=0, metadata={"help": "training steps in the place of the configuration's"})
    num_threads: int = 0


def groups_of(subjects: list[str], count: int) -> list[list[str]]:
    """Subjects in `count` groups, each every count-th, in the order of their numbers."""
    order = sorted(subjects, key=lambda s: (len(s), s))
    return [order[i::count] for i in range(count)]


# ------------------------------------------------------------------------------------------------- episodes
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


def context_of(episodes: dict) -> torch.Tensor:
    """(T, P, 3 C) of all supports."""
    cycles, observed = episodes["cycles"], episodes["observed"]
    return support_context(cycles.sum(1), cycles.square().sum(1), observed.sum(1))


# ------------------------------------------------------------------------------------------------- arms
def adapt_tasks(model: GaitTCNModel, episodes: dict, steps: int, seed: int) -> dict[str, torch.Tensor]:
    """Parameters of the network adapted to each task (T, ...), as `personalize` does it."""
    parameters = {n: p.detach() for n, p in model.network.named_parameters()}
    rates, names = {n: r.detach() for n, r in model.rates().items()}, model.fast_names()
    slow = {n: p for n, p in parameters.items() if n not in names}
    observed = episodes["observed"]
    generator = torch.Generator().manual_seed(seed)
    each = observed[:, None].expand(-1, max(steps, 1), *observed.shape[1:])
    sparse = draw_sparse_masks(each, model.config.channels_per_sensor, generator)

    def one(cycles: torch.Tensor, seen: torch.Tensor, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
        return slow | adapt(model.network, {n: parameters[n] for n in names}, slow, rates, cycles, seen, hidden, steps=steps)

    return vmap(one)(episodes["cycles"], observed, sparse)


@torch.no_grad()
def run(model: GaitTCNModel, parameters: dict, known: torch.Tensor, seen: torch.Tensor, context: torch.Tensor) -> tuple:
    """The network with the parameters of each task on its own inputs (T, N, P, C) and context (T, P, 3 C)."""

    def one(own: dict, x: torch.Tensor, m: torch.Tensor, c: torch.Tensor) -> tuple:
        return functional_call(model.network, own, (x, m, c.expand(len(x), -1, -1)))

    return vmap(one)(parameters, known, seen, context)


def expected(model: GaitTCNModel, parameters: dict, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Generated mean cycle (T, P, C) and log spread (T, C)."""
    nothing = torch.zeros(len(context), 1, *model.components.shape[1:])
    generation, _, log_spread = run(model, parameters, nothing, nothing, context)
    return generation[:, 0], log_spread[:, 0]


def adam_curve(model: GaitTCNModel, episodes: dict, rate: float, steps: tuple[int, ...]) -> dict[int, torch.Tensor]:
    """Generated cycles (T, P, C) after each of `steps` Adam steps on the support: conventional (fine-)tuning of all weights.

    This network has learned without people's supports, so it reads none: what it knows of a person is in its weights.
    """
    parameters = {n: p.detach().expand(len(episodes["cycles"]), *p.shape).clone() for n, p in model.network.named_parameters()}
    first = {n: torch.zeros_like(p) for n, p in parameters.items()}
    second = {n: torch.zeros_like(p) for n, p in parameters.items()}
    nothing = torch.zeros(1, *model.components.shape[1:])
    context = torch.zeros(1, nothing.shape[1], 3 * nothing.shape[2])

    def loss(own: dict, cycles: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        return masked_mse(functional_call(model.network, own, (nothing, nothing, context))[0], cycles, observed)

    gradient, out = vmap(grad(loss)), {}
    for step in range(1, max(steps) + 1):
        for n, g in gradient(parameters, episodes["cycles"], episodes["observed"]).items():
            first[n].lerp_(g, 0.1)
            second[n].lerp_(g.square(), 0.001)
            size = (second[n] / (1 - 0.999**step)).sqrt_().add_(1e-8)
            parameters[n] -= rate / (1 - 0.9**step) * first[n] / size
        if step in steps:
            out[step] = expected(model, parameters, context.expand(len(episodes["cycles"]), -1, -1))[0]
    return out


def stacked(model: GaitTCNModel, count: int) -> dict[str, torch.Tensor]:
    """The network's own parameters, once for each task."""
    return {n: p.detach().expand(count, *p.shape) for n, p in model.network.named_parameters()}


def population(model: GaitTCNModel, training: Cycles) -> dict[str, torch.Tensor]:
    """Mean cycle (P, C) of each activity, standardised: mean of the subjects' means."""
    values, observed = model.standardise(training.values, training.mask)
    out = {}
    for activity in np.unique(training.activity):
        tasks = [g for g in training.tasks(least=1) if training.activity[g[0]] == activity]
        counts = torch.stack([observed[g].sum(0) for g in tasks])
        means = torch.stack([values[g].sum(0) for g in tasks]) / counts.clamp(min=1)
        out[str(activity)] = means.sum(0) / (counts > 0).sum(0).clamp(min=1)
    return out


def nearest(model: GaitTCNModel, training: Cycles, mean: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The training cycle (T, P, C) nearest to each support's mean, over channels valid in both (at least half of its own)."""
    values, observed = (x.flatten(1) for x in model.standardise(training.values, training.mask))
    m, k = (mean * known).flatten(1), known.flatten(1)
    shared = k @ observed.T
    distance = (m.square() @ observed.T - 2 * m @ values.T + k @ values.square().T) / shared.clamp(min=1)
    distance[shared < 0.5 * k.sum(1, keepdim=True)] = torch.inf
    at = distance.argmin(1)
    return torch.where(observed[at] > 0, values[at], m).unflatten(1, mean.shape[1:])  # a channel it lacks: the support's own


# ------------------------------------------------------------------------------------------------- reconstruction
class PcaInfill:
    """Probabilistic PCA of the training cycles; the expected rest of a cycle given a part of it."""

    def __init__(self, model: GaitTCNModel, training: Cycles, most: int = 2500, components: int = 60):
        rows = np.unique(np.linspace(0, len(training.values) - 1, most).astype(int))
        values, observed = (x.flatten(1) for x in model.standardise(training.values[rows], training.mask[rows]))
        self.mean = values.sum(0) / observed.sum(0).clamp(min=1)
        filled = torch.where(observed > 0, values, self.mean)
        for _ in range(4):  # channels that are not valid are filled from the others
            u, s, v = torch.svd_lowrank(filled - self.mean, q=components, niter=3)
            filled = torch.where(observed > 0, values, self.mean + (u * s) @ v.T)
        self.directions = v * s / len(rows) ** 0.5  # (P C, R), scores of unit variance

    def __call__(self, known: torch.Tensor, seen: torch.Tensor, components: int, noise: float) -> torch.Tensor:
        flat, mask = known.flatten(1), seen.flatten(1)
        w = self.directions[:, :components]
        out = []
        for x, m in zip(flat, mask):
            rows = m > 0
            a = w[rows]
            scores = torch.linalg.solve(a.T @ a + noise * torch.eye(components), a.T @ (x[rows] - self.mean[rows]))
            out.append(self.mean + w @ scores)
        return torch.stack(out).view_as(known)


def interpolate(known: torch.Tensor, moments: torch.Tensor, fallback: torch.Tensor, cubic: bool) -> torch.Tensor:
    """Periodic interpolation over phase of cycles (N, P, C) measured at `moments` (N, P); elsewhere `fallback` if none is."""
    phases, out = known.shape[1], fallback.expand_as(known).clone()
    grid = np.arange(phases)
    for i, (cycle, at) in enumerate(zip(known.numpy(), moments.numpy())):
        x = np.flatnonzero(at)
        if len(x) > 1:
            wrapped, y = np.append(x, x[0] + phases), np.concatenate((cycle[x], cycle[x[:1]]))
            turn = np.where(grid < x[0], grid + phases, grid)
            if cubic:
                values = CubicSpline(wrapped, y, bc_type="periodic")(turn)
            else:
                values = np.stack([np.interp(turn, wrapped, c) for c in y.T], axis=1)
            out[i] = torch.from_numpy(values).float()
    return out


def hidden_queries(episodes: dict, share: float | None, per_sensor: int, seed: int, count: int = 6) -> dict[str, torch.Tensor]:
    """The first queries (T, R, P, C) with a share of their phases left, or one sensor missing (share None)."""
    queries, mask = episodes["queries"][:, :count], episodes["mask"][:, :count]
    t, r, phases, channels = queries.shape
    rng = np.random.default_rng(seed)
    if share is None:
        lost = torch.from_numpy(rng.integers(channels // per_sensor, size=(t, r, 1, 1)))
        left = (torch.arange(channels) // per_sensor != lost).float().expand(t, r, phases, channels)
        moments = torch.zeros(t, r, phases)
    else:
        order = torch.from_numpy(rng.random((t, r, phases)).argsort(-1).argsort(-1))
        moments = (order < round(share * phases)).float()
        left = moments[..., None].expand(t, r, phases, channels)
    seen = mask * left
    return {"target": queries, "known": queries * seen, "seen": seen, "moments": moments, "asked": mask * (1 - left)}


def reconstruct(models: dict, pca: PcaInfill, parameters: dict, episodes: dict, means: torch.Tensor, choice: dict, seed: int):
    """{arm_share: error (T,)} of what was hidden of the queries."""
    maml, context, out = models["maml"], context_of(episodes), {}
    count = len(context)
    support = episodes["cycles"].sum(1) / episodes["observed"].sum(1).clamp(min=1)
    support = torch.where(episodes["observed"].sum(1) > 0, support, means)[:, None]
    for name, share in SHARES.items():
        part = hidden_queries(episodes, share, maml.config.channels_per_sensor, seed)
        known, seen, moments = part["known"], part["seen"], part["moments"].flatten(0, 1)
        flat = lambda x: x.flatten(0, 1)  # noqa: E731
        nothing = torch.zeros_like(context)
        zero = torch.zeros_like(known[0, 0])
        rest = interpolate(flat((known - support) * seen), moments, zero, False).view_as(known)
        fallback = flat(means[:, None].expand_as(known))
        answers = {
            "maml": run(maml, parameters, known, seen, context)[1],
            "maml_no_support": run(maml, stacked(maml, count), known, seen, nothing)[1],
            "pretrain": run(models["pretrain"], stacked(models["pretrain"], count), known, seen, nothing)[1],
            "interpolation": interpolate(flat(known), moments, fallback, choice["cubic"]).view_as(known),
            "pca": pca(flat(known), flat(seen), *choice["pca"][name]).view_as(known),
            "support_mean": support + rest,
        }
        for arm, answer in answers.items():
            out[f"{arm}_{name}"] = task_error(answer, part["target"], part["asked"])
    return out


def task_error(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each task (T,) over what the mask (T, Q, P, C) says; nan where it says nothing."""
    mask = mask.expand_as(target)
    return ((prediction - target).square() * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


def task_dtw(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean DTW distance of each task (T,), per phase point and channel, over its queries (T, Q, P, C)."""
    a, b = (np.asarray((x * mask).double()) for x in (prediction.expand_as(target), target))
    channels = mask[:, :, 0].sum(-1).clamp(min=1).sqrt().numpy()
    return torch.from_numpy((dtw(a, b) / channels / target.shape[2]).mean(1))


# ------------------------------------------------------------------------------------------------- choices
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


# ------------------------------------------------------------------------------------------------- measuring
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


def rows_of(found: dict, test: Cycles, fold: int, seed: int, shots: int) -> list[dict]:
    """A row a subject: means over its activities."""
    rows, subjects = [], test.subject[found["task"]]
    for subject in np.unique(subjects):
        mine = np.flatnonzero(subjects == subject)
        row = {"fold": fold, "seed": seed, "shots": shots, "subject": str(subject)}
        row["activities"] = sorted(set(test.activity[found["task"][mine]].tolist()))
        for name, values in found.items():
            own = np.asarray(values, float)[mine]
            if name != "task" and np.isfinite(own).any():  # a subject may lack every gyroscope
                row[name] = round(float(np.nanmean(own)), 6)
        rows.append(row)
    return rows


# ------------------------------------------------------------------------------------------------- results
def write_results(rows: list[dict], choices: dict, args: PersonalisationArguments) -> None:
    """The result file."""
    protocol = (
        f"{args.num_folds} groups of subjects held out in turn; support and queries drawn at random from a "
        "subject's cycles of one activity; steps, rates and components chosen on the next group with models trained without "
        "both; metrics are means over subjects, intervals a bootstrap over them; reconstruction with five support cycles"
    )
    write_result(args.name, args.dataset, protocol, summarise(rows), rows, gathered=True, choices=choices)


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


def evaluate(fold: int, seed: int, cycles: Cycles, groups: list[list[str]], choices: dict, args) -> tuple[list[dict], dict]:
    """Rows of one group and seed, and its models; fills in what is to be chosen for this group where it is not there."""
    folder, held, following = Path(args.output_dir), groups[fold], groups[(fold + 1) % len(groups)]
    training, test = cycles.without(held), cycles.without([s for g in groups for s in g if g is not held])
    if str(fold) not in choices:
        inner = training.without(following)
        validation = training.without([s for s in set(training.subject) if s not in following])
        models = models_of(folder / f"fold_{fold}_choice", inner, 0, args)
        choices[str(fold)] = choose(models, inner, validation, args)
    models = models_of(folder / f"fold_{fold}_seed_{seed}", training, seed, args)
    scale_noise(models["maml"], choices[str(fold)]["noise"])
    pca, rows = PcaInfill(models["maml"], training), []
    for shots in args.shots:
        found = measure(models, training, test, pca, choices[str(fold)], shots, args, seed)
        rows += rows_of(found, test, fold, seed, shots)
    return rows, models["maml"]


def main() -> None:
    args = HfArgumentParser(PersonalisationArguments).parse_args_into_dataclasses()[0]
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    if args.num_folds < 3:
        raise ValueError(
            f"num_folds must be 3 or more (one group to test, one to choose, the rest to train), got {args.num_folds}"
        )
    path, figures = ROOT / "model_cards" / "results" / f"{args.name}.json", ROOT / "model_cards" / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    cycles = load_cycles(args.dataset)
    groups = groups_of(sorted(set(cycles.subject.tolist())), args.num_folds)
    jobs = [(f, s) for s in args.seeds for f in args.folds or range(len(groups))]
    for fold, seed in tqdm(jobs, desc="groups x seeds"):
        before = json.loads(path.read_text()) if path.exists() else {"rows": [], "choices": {}}
        rows, choices = before["rows"], before["choices"]
        if {r["shots"] for r in rows if (r["fold"], r["seed"]) == (fold, seed)} >= set(args.shots):
            continue
        found, model = evaluate(fold, seed, cycles, groups, choices, args)
        rows = [r for r in rows if (r["fold"], r["seed"]) != (fold, seed)] + found
        write_results(rows, choices, args)
        draw_errors(rows, figures / f"{args.name}_errors.png")
        if fold == 0 and seed == args.seeds[0]:
            held_out = cycles.without([s for g in groups[1:] for s in g])
            draw_cycles(model, held_out, figures / f"{args.name}_cycles.png")
    if path.exists():
        print(json.dumps(json.loads(path.read_text())["metrics"], indent=1))


if __name__ == "__main__":
    main()
