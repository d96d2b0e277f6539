"""Meta-training of GaitTCNModel (train/train_maml.py): learn to adapt to a person from a few gait cycles.

In: a data set of cycles (`subject_id`, `activity`, `values` (P, C), `channel_mask` (C,)), or walks of the walk schema, whose
cycles are found. Out: a model; a folder for `from_pretrained`.
A task is a subject in one activity. A step draws tasks, some support cycles of each and other cycles as queries, adapts to
the support in all tasks at once (`vmap`), and improves how the adapted networks generate and reconstruct the queries.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from datasets import Dataset
from torch.func import functional_call, vmap
from tqdm import tqdm

from modeling_gait.configuration_gait_tcn import GaitTCNConfig
from modeling_gait.gait_cycles import walk_cycles
from modeling_gait.modeling_gait_tcn import GaitTCNModel, adapt, draw_sparse_masks, masked_mse, support_context
from modeling_gait.training.arguments import TrainArguments
from modeling_gait.training.data import fingerprint, load_rows, load_walks, pathology_names
from modeling_gait.training.loop import save_model, start, training_loop

ALGORITHMS = ("maml", "first_order", "anil", "reptile", "pretrain")


@dataclass
class MamlArguments(TrainArguments):
    """Arguments of the meta-training."""

    algorithm: str = field(default="maml", metadata={"help": ", ".join(ALGORITHMS)})
    warm_steps: int = field(default=600, metadata={"help": "first steps, without inner steps"})
    shots: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 10], metadata={"help": "support cycles, one of these a step"})
    num_queries: int = field(default=12, metadata={"help": "query cycles of a task"})
    inner_steps: int = 3
    inner_lr: float = 0.05
    hidden_size: int = 64
    mix: float = field(default=0.5, metadata={"help": "virtual people: how far a task moves towards another one's mean cycle"})


@dataclass
class Cycles:
    """Gait cycles in memory: values (N, P, C) float32 in the sensors' units, 0 where invalid; mask (N, C) bool; subject
    and activity (N,) str."""

    values: torch.Tensor
    mask: torch.Tensor
    subject: np.ndarray
    activity: np.ndarray

    def without(self, subjects: list[str]) -> "Cycles":
        """These cycles without those of some people."""
        keep = ~np.isin(self.subject, list(subjects))
        return Cycles(self.values[keep], self.mask[keep], self.subject[keep], self.activity[keep])

    def tasks(self, least: int = 2) -> list[np.ndarray]:
        """Rows of each subject x activity that has at least `least` cycles."""
        name = np.char.add(np.char.add(self.activity, "/"), self.subject)
        groups = [np.flatnonzero(name == n) for n in np.unique(name)]
        return [g for g in groups if len(g) >= least]


def load_cycles(dataset: str, exclude_subjects: list[str] = (), only_subjects: list[str] = ()) -> Cycles:
    """Cycles of a `load_dataset` name or a folder of Parquet, of cycles or of walks.

    Raises ValueError where a column is missing, a person to hold out is not there, no row is left, or a valid value is not
    finite.
    """
    columns = {"subject_id", "activity", "values", "channel_mask"}
    if "joints" in load_rows(dataset, {"subject_id"}, "expected gait cycles or walks").column_names:
        return skeleton_cycles(load_walks(dataset, exclude_subjects, only_subjects))
    data = load_rows(dataset, columns, "expected a data set of gait cycles or walks", exclude_subjects, only_subjects)
    subject = np.array([str(s) for s in data["subject_id"]])
    names = getattr(data.features["activity"], "names", None)
    activity = np.array([str(names[a]) if names else str(a) for a in data["activity"]])
    columns = data.select_columns(["values", "channel_mask"]).with_format("numpy")
    parts = [columns[i : i + 512] for i in range(0, len(columns), 512)]
    values = torch.from_numpy(np.concatenate([np.stack(p["values"]).astype(np.float32) for p in parts]))
    mask = torch.from_numpy(np.concatenate([np.stack(p["channel_mask"]).astype(bool) for p in parts]))
    values = torch.where(mask[:, None], values, 0.0)
    broken = ~torch.isfinite(values).flatten(1).all(1)
    if broken.any():
        raise ValueError(f"{dataset}: row {int(broken.nonzero()[0])}: a value of a valid channel is not finite")
    return Cycles(values, mask, subject, activity)


def skeleton_cycles(walks: Dataset) -> Cycles:
    """Skeleton cycles (`walk_cycles`) of rows of the walk schema; walks without a whole cycle are left out.

    An activity is a pathology seen by one sensor, since each sensor sees a person a little askew in its own way.
    Raises ValueError where no walk has a whole cycle.
    """
    names = pathology_names(walks)
    values, subject, activity = [], [], []
    for row in tqdm(walks, desc="cycles"):
        try:
            found = walk_cycles(np.asarray(row["joints"], np.float32), float(row["fps"]))
        except ValueError:
            continue
        values.append(found)
        subject += [str(row["subject_id"])] * len(found)
        activity += [f"{names[int(row['pathology'])] or 'unknown gait'} {row['sensor']}"] * len(found)
    if not values:
        raise ValueError(f"none of {len(walks)} walks has a whole gait cycle")
    cycles = torch.from_numpy(np.concatenate(values))
    return Cycles(cycles, torch.ones(len(cycles), cycles.shape[2], dtype=torch.bool), np.array(subject), np.array(activity))


def fit_noise(model: GaitTCNModel, cycles: Cycles, least: int = 5) -> None:
    """Variances of people's mean cycles within an activity and of their single cycles, by harmonic and channel."""
    values, observed = model.standardise(cycles.values, cycles.mask)
    spectrum, valid = torch.fft.rfft(values, dim=1, norm="ortho"), observed[:, :1]
    tasks = cycles.tasks(least)
    counts = torch.stack([valid[g].sum(0) for g in tasks])  # (T, 1, C)
    means = torch.stack([spectrum[g].sum(0) for g in tasks]) / counts.clamp(min=1)
    single = torch.stack([((spectrum[g] - m).abs().square() * valid[g]).sum(0) for g, m in zip(tasks, means)])
    known = (counts >= least).float()
    between = degrees = 0
    activity = np.array([cycles.activity[g[0]] for g in tasks])
    for name in np.unique(activity):
        own = torch.from_numpy(activity == name)
        n = known[own].sum(0)
        centre = (means[own] * known[own]).sum(0) / n.clamp(min=1)
        between = between + ((means[own] - centre).abs().square() * known[own]).sum(0)
        degrees = degrees + (n - 1).clamp(min=0)
    within = (single * known).sum(0) / ((counts - 1) * known).sum(0).clamp(min=1)
    share = (known / counts.clamp(min=1)).sum(0) / known.sum(0).clamp(min=1)  # of the noise that is left in a task's mean
    model.fit_noise((between / degrees.clamp(min=1) - share * within).clamp(min=0), within)


def fit_model(model: GaitTCNModel, cycles: Cycles, most: int = 60) -> None:
    """Scales, trust in a support and components of the model, from the training people (at most `most` cycles of a task for the
    components)."""
    model.fit_scales(cycles.values, cycles.mask)
    fit_noise(model, cycles)
    residuals = []
    for rows in cycles.tasks(least=5):
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
        values, observed = model.standardise(cycles.values[rows], cycles.mask[rows])
        residual = (values - values.sum(0) / observed.sum(0).clamp(min=1)) * observed
        spread = (residual.square().sum((0, 1)) / observed.sum((0, 1)).clamp(min=1)).sqrt()
        residuals.append(residual / torch.where(spread > 1e-6, spread, 1.0))
    if residuals:
        model.fit_components(torch.cat(residuals))


class EpisodeSampler:
    """Tasks of one step as stacked tensors, a function of the step's seed alone.

    `cycles`, `observed` (T, K, P, C) support; `sparse` (T, S, K, P, C), what inner step s may see to reconstruct; `queries`,
    `query_mask` (T, Q, P, C); `query_sparse` (T, R, P, C), what is shown of the first R queries.
    """

    reconstructed = 4

    def __init__(self, model: GaitTCNModel, cycles: Cycles, args: MamlArguments):
        self.values, observed = model.standardise(cycles.values, cycles.mask)
        self.mask = observed[:, 0]
        self.args, self.per_sensor = args, model.config.channels_per_sensor
        self.groups = cycles.tasks(least=min(args.shots) + 2)
        if not self.groups:
            raise ValueError(f"no subject has {min(args.shots) + 2} cycles of one activity; tasks need that many")
        count = [self.mask[g].sum(0).clamp(min=1) for g in self.groups]
        self.means = [self.values[g].sum(0) / n for g, n in zip(self.groups, count)]
        self.known = [(self.mask[g].sum(0) > 0).float() for g in self.groups]
        self.activity = np.array([cycles.activity[g[0]] for g in self.groups])

    def sample(self, seed: int, inner_steps: int) -> dict[str, torch.Tensor]:
        args, rng = self.args, np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        shots = int(rng.choice(args.shots))
        fitting = [i for i, g in enumerate(self.groups) if len(g) >= shots + 2]
        if not fitting:
            shots, fitting = min(args.shots), list(range(len(self.groups)))
        parts = []
        for i in rng.choice(fitting, args.batch_size):
            rows = rng.permutation(self.groups[i])
            support, rest = rows[:shots], rng.choice(rows[shots:], args.num_queries)
            both = np.concatenate([support, rest])
            mask = self.mask[both]
            parts.append(((self.values[both] + self._other_person(i, rng)) * mask[:, None], mask))
        values = torch.stack([p[0] for p in parts])
        mask = torch.stack([p[1] for p in parts])[:, :, None].expand_as(values)
        observed, queries = mask[:, :shots].contiguous(), values[:, shots:]
        each = observed[:, None].expand(-1, max(inner_steps, 1), *observed.shape[1:])
        shown = mask[:, shots : shots + self.reconstructed]
        return {
            "cycles": values[:, :shots],
            "observed": observed,
            "sparse": draw_sparse_masks(each, self.per_sensor, generator),
            "queries": queries,
            "query_mask": mask[:, shots:],
            "query_sparse": draw_sparse_masks(shown, self.per_sensor, generator),
        }

    def _other_person(self, task: int, rng: np.random.Generator) -> torch.Tensor:
        """What makes a virtual person of task: a part of the way to the mean cycle of another person in the same activity."""
        other = int(rng.choice(np.flatnonzero(self.activity == self.activity[task])))
        way = float(rng.uniform(-self.args.mix, self.args.mix)) if self.args.mix else 0.0
        return way * (self.means[other] - self.means[task]) * self.known[other] * self.known[task]


class MetaLearner(torch.nn.Module):
    """The loss of one step as a module, so that Accelerate can spread it over processes."""

    def __init__(self, model: GaitTCNModel, algorithm: str):
        super().__init__()
        self.model, self.algorithm = model, algorithm

    def forward(self, batch: dict[str, torch.Tensor], inner_steps: int) -> tuple[torch.Tensor, ...]:
        """Loss, and the mean squared errors of generation and reconstruction, over the tasks of a batch."""
        if self.algorithm == "pretrain":
            return self.pooled(batch)
        network, names = self.model.network, self.model.fast_names()
        parameters, rates = dict(network.named_parameters()), self.model.rates()
        fast, slow = {n: parameters[n] for n in names}, {n: p for n, p in parameters.items() if n not in names}
        first_order = self.algorithm in ("first_order", "reptile")

        def adapted(task: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            support = (task["cycles"], task["observed"], task["sparse"])
            return adapt(network, fast, slow, rates, *support, first_order=first_order, steps=inner_steps)

        def one(task: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
            return query_losses(network, slow | adapted(task), task)

        if self.algorithm == "reptile" and inner_steps:
            moved = {n: p.detach().mean(0) for n, p in vmap(adapted)(batch).items()}
            toward = sum((p * (p - moved[n]).detach()).sum() for n, p in fast.items())
            generation, reconstruction, spread = (l.mean() for l in vmap(lambda t: query_losses(network, parameters, t))(batch))
            return toward + spread, generation.detach(), reconstruction.detach()
        generation, reconstruction, spread = (l.mean() for l in vmap(one)(batch))
        return generation + reconstruction + 0.1 * spread, generation.detach(), reconstruction.detach()

    def pooled(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Conventional training: cycles of everybody, each by itself; generation from nothing, reconstruction from a part."""
        values, mask = batch["queries"].flatten(0, 1), batch["query_mask"].flatten(0, 1)
        sparse = draw_sparse_masks(mask, self.model.config.channels_per_sensor, torch.default_generator)
        nothing = torch.zeros_like(values)
        known, seen = torch.cat((nothing, values * sparse)), torch.cat((nothing, sparse))
        context = torch.zeros(*known.shape[:-1], 3 * known.shape[-1])
        generation, reconstruction, log_spread = self.model.network(known, seen, context.to(known))
        n = len(values)
        losses = masked_mse(generation[:n], values, mask), masked_mse(reconstruction[n:], values, mask)
        return sum(losses) + 0.1 * spread_loss(log_spread[:n], generation[:n], values, mask), *(l.detach() for l in losses)


def query_losses(network: torch.nn.Module, parameters: dict, task: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Errors of generation and reconstruction and the spread's loss of one task's queries, given its support.

    The last of the queries to be reconstructed is so without the support, as of somebody of whom nothing else is known.
    """
    cycles, observed, queries, mask = task["cycles"], task["observed"], task["queries"], task["query_mask"]
    context = support_context(cycles.sum(0), cycles.square().sum(0), observed.sum(0))
    sparse = task["query_sparse"]
    shown = queries[: len(sparse)]
    known = torch.cat((torch.zeros_like(shown[:1]), shown * sparse))
    seen = torch.cat((torch.zeros_like(sparse[:1]), sparse))
    context = torch.cat((context.expand(len(known) - 1, -1, -1), torch.zeros_like(context)[None]))
    generation, reconstruction, log_spread = functional_call(network, parameters, (known, seen, context))
    return (
        masked_mse(generation[0], queries, mask),
        masked_mse(reconstruction[1:], shown, mask[: len(sparse)]),
        spread_loss(log_spread[0], generation[0], queries, mask),
    )


def spread_loss(log_spread: torch.Tensor, generation: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Gaussian negative log-likelihood of a cycle's distance from the expected one, by the spread of its channel."""
    square = (target - generation.detach()).square()
    log_spread = log_spread[..., None, :]
    return ((log_spread + 0.5 * square * (-2 * log_spread).exp()) * mask).sum() / mask.sum().clamp(min=1)


def build(args: MamlArguments, cycles: Cycles) -> GaitTCNModel:
    """An untrained model for these cycles, its scales fitted."""
    if args.algorithm not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {args.algorithm!r}; expected one of {', '.join(ALGORITHMS)}")
    phases, channels = cycles.values.shape[1:]
    config = GaitTCNConfig(
        num_channels=channels,
        num_phases=phases,
        channels_per_sensor=6 if channels % 6 == 0 else 3,
        hidden_size=args.hidden_size,
        inner_steps=args.inner_steps,
        inner_lr=args.inner_lr,
        adapted="heads" if args.algorithm == "anil" else "all",
    )
    model = GaitTCNModel(config)
    fit_model(model, cycles)
    return model


def train_model(args: MamlArguments, cycles: Cycles) -> GaitTCNModel:
    """Train on these cycles, resuming where a checkpoint is, and save the model. Returns it in eval mode."""
    accelerator = start(args, unused=True)  # the rates in the first steps
    model = build(args, cycles)
    if args.algorithm in ("pretrain", "reptile"):
        model.log_rates.requires_grad_(False)
    sampler = EpisodeSampler(model, cycles, args)
    learner = MetaLearner(model, args.algorithm).to(accelerator.device)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        steps = 0 if step < args.warm_steps or args.algorithm == "pretrain" else args.inner_steps
        batch = {k: v.to(accelerator.device) for k, v in sampler.sample(seed, steps).items()}
        loss, generation, reconstruction = prepared(batch, steps)
        return loss, {"generation": generation.item(), "reconstruction": reconstruction.item()}

    data = fingerprint(cycles.values, cycles.mask, cycles.subject, cycles.activity)
    began = time.perf_counter()
    model = training_loop(accelerator, learner, args, step_loss, args.algorithm, data).model
    save_model(args.output_dir, model)
    accelerator.print(f"{args.algorithm}: {time.perf_counter() - began:.0f} s")
    return model


def train(args: MamlArguments) -> GaitTCNModel:
    """`train_model` on the cycles of `args.dataset`."""
    return train_model(args, load_cycles(args.dataset, args.exclude_subjects))
