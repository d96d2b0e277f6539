"""Meta-training of GaitTCNModel (train/train_maml.py): learn to adapt to a person from a few gait cycles.

In: a data set of cycles (`subject_id`, `activity`, `values` (P, C), `channel_mask` (C,)), or walks of the walk schema, whose
cycles are found. Out: a model; a folder for `from_pretrained`.
A task is a subject in one activity. A step draws tasks, some support cycles of each and other cycles as queries, adapts to
the support in all tasks at once (`vmap`), and improves how the adapted networks generate and reconstruct the queries.
"""

import time
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from datasets import Dataset
from torch.func import functional_call, vmap
from tqdm import tqdm

from modeling_gait.configuration_gait_tcn import GaitTCNConfig
from modeling_gait.gait_cycles import walk_cycles
from modeling_gait.gait_tcn_network import adapt, masked_mse, support_context
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training.arguments import TrainArguments
from modeling_gait.training.data import fingerprint, load_rows, load_walks, pathology_names
from modeling_gait.training.fit_prior import LEAST, fit_prior, layout_of
from modeling_gait.training.loop import save_model, start, training_loop

ALGORITHMS = ("maml", "first_order", "anil", "reptile", "pretrain")


@dataclass
class MamlArguments(TrainArguments):
    """Arguments of the meta-training."""

    makes: ClassVar[str] = GaitTCNConfig.model_type
    algorithm: str = field(default="maml", metadata={"choices": ALGORITHMS})
    warm_steps: int = field(default=600, metadata={"help": "first steps, without inner steps"})
    shots: list[int] = field(default_factory=lambda: [1, 2, 3, 5, 10], metadata={"help": "support cycles, one of these a step"})
    num_queries: int = field(default=12, metadata={"help": "query cycles of a task"})
    inner_steps: int = field(default=0, metadata={"help": "gradient steps on a person's cycles"})
    inner_lr: float = 0.05
    hidden_size: int = 64
    correlated_harmonics: int = field(default=0, metadata={"help": "of a cycle, lowest ones with correlated channels; 0: all"})
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
        activity += [f"{names[int(row['pathology'])] or 'unknown gait'} {row['sensor']}".strip()] * len(found)
    if not values:
        raise ValueError(f"none of {len(walks)} walks has a whole gait cycle")
    cycles = torch.from_numpy(np.concatenate(values))
    return Cycles(cycles, torch.ones(len(cycles), cycles.shape[2], dtype=torch.bool), np.array(subject), np.array(activity))


def fit_model(model: GaitTCNModel, cycles: Cycles, **options) -> dict:
    """Scales and prior of the model, from the training people. options, and what is returned: of `fit_prior`.

    Raises ValueError where of some activity nobody has two cycles.
    """
    groups = cycles.tasks(LEAST)
    if lacking := sorted(set(map(str, cycles.activity)) - {str(cycles.activity[rows[0]]) for rows in groups}):
        raise ValueError(
            f"nobody has {LEAST} cycles of {', '.join(lacking)}; a person's mean cycle needs that many of each activity: give "
            "more or longer walks of a person (of simulated ones, 21 walks a person), or leave these out"
        )
    model.fit_scales(cycles.values, cycles.mask)
    values, observed = model.standardise(cycles.values, cycles.mask)
    known = list(model.config.activities)
    tasks = [(known.index(str(cycles.activity[rows[0]])), torch.from_numpy(rows)) for rows in groups]
    return fit_prior(model.prior, values, observed[:, 0], tasks, model.channel_std, model.channel_mean, **options)


def draw_sparse_masks(observed: torch.Tensor, channels_per_sensor: int, generator: torch.Generator) -> torch.Tensor:
    """A sparse part of observed samples (..., P, C), float: a tenth or so of the phases, or all but one sensor, or both."""
    *lead, phases, channels = observed.shape
    draw = lambda *shape: torch.rand(*lead, *shape, generator=generator)  # noqa: E731
    share = 0.03 + 0.15 * draw(1, 1)
    moments = (draw(phases, 1) < share).to(observed)
    sensors = channels // channels_per_sensor
    lost = torch.randint(sensors, (*lead, 1, 1), generator=generator)
    rest = (torch.arange(channels) // channels_per_sensor != lost).to(observed)
    kind = draw(1, 1)
    return observed * torch.where(kind < 0.65, moments, torch.where(kind < 0.9, rest, moments * rest)).to(observed)


class EpisodeSampler:
    """Tasks of one step as stacked tensors, a function of the step's seed alone.

    `cycles`, `observed` (T, K, P, C) support; `left_out` (T, K, P, C), `left_out_context` (T, K, P, 3 C), what the linear rule
    expects of each from the others; `generation` (T, P, C), `context` (T, P, 3 C), what it expects of the person; `queries`,
    `query_mask` (T, Q, P, C); `shown` (T, R, P, C), what is shown of the first R queries, and `filled`, the rest by that rule.
    """

    reconstructed = 2

    def __init__(self, model: GaitTCNModel, cycles: Cycles, args: MamlArguments):
        self.model, self.args = model, args
        self.values, observed = model.standardise(cycles.values, cycles.mask)
        self.mask = observed[:, 0]
        self.groups = cycles.tasks(least=min(args.shots) + 2)
        if not self.groups:
            raise ValueError(f"no subject has {min(args.shots) + 2} cycles of one activity; tasks need that many")
        count = [self.mask[g].sum(0).clamp(min=1) for g in self.groups]
        self.means = [self.values[g].sum(0) / n for g, n in zip(self.groups, count)]
        self.known = [(self.mask[g].sum(0) > 0).float() for g in self.groups]
        names = list(model.config.activities)
        self.activity = np.array([names.index(str(cycles.activity[g[0]])) for g in self.groups])

    def sample(self, seed: int, inner_steps: int) -> dict[str, torch.Tensor]:
        args, rng = self.args, np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        shots = int(rng.choice(args.shots))
        fitting = [i for i, g in enumerate(self.groups) if len(g) >= shots + 2]
        if not fitting:
            shots, fitting = min(args.shots), list(range(len(self.groups)))
        parts, chosen = [], rng.choice(fitting, args.batch_size)
        for i in chosen:
            rows = rng.permutation(self.groups[i])
            both = np.concatenate([rows[:shots], rng.choice(rows[shots:], args.num_queries)])
            mask = self.mask[both]
            parts.append(((self.values[both] + self._other_person(i, rng)) * mask[:, None], mask))
        values = torch.stack([p[0] for p in parts])
        mask = torch.stack([p[1] for p in parts])[:, :, None].expand_as(values)
        cycles, observed = values[:, :shots], mask[:, :shots].contiguous()
        queries, query_mask = values[:, shots:], mask[:, shots:]
        context = support_context(cycles.sum(1), cycles.square().sum(1), observed.sum(1))
        activity = torch.from_numpy(self.activity[chosen])
        person, _ = self.model.person(context, activity)
        shown = draw_sparse_masks(query_mask[:, : self.reconstructed], self.model.config.channels_per_sensor, generator)
        filled = [person.one(i).fill(q[: self.reconstructed] * s, s).to(q) for i, (q, s) in enumerate(zip(queries, shown))]
        batch = {"cycles": cycles, "observed": observed, "generation": person.mean.to(cycles), "context": context}
        batch |= {"queries": queries, "query_mask": query_mask, "shown": shown, "filled": torch.stack(filled)}
        if inner_steps:
            rest = [self.model.left_out(c, o, a[None]) for c, o, a in zip(cycles, observed, activity)]
            batch |= {"left_out": torch.stack([r[0] for r in rest]), "left_out_context": torch.stack([r[1] for r in rest])}
        return batch

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
            if not inner_steps:
                return fast
            support = (task["cycles"], task["observed"], task["left_out"], task["left_out_context"])
            return adapt(network, fast, slow, rates, support, first_order, inner_steps)

        def one(task: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
            return query_losses(network, slow | adapted(task), task)

        if self.algorithm == "reptile" and inner_steps:
            moved = {n: p.detach().mean(0) for n, p in vmap(adapted)(batch).items()}
            toward = sum((p * (p - moved[n]).detach()).sum() for n, p in fast.items())
            losses = (l.mean() for l in vmap(lambda t: query_losses(network, parameters, t))(batch))
            return toward, *(l.detach() for l in losses)
        generation, reconstruction = (l.mean() for l in vmap(one)(batch))
        return generation + reconstruction, generation.detach(), reconstruction.detach()

    def pooled(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Conventional training: cycles of everybody, each by itself; generation from nothing, reconstruction from a part."""
        values, mask = batch["queries"].flatten(0, 1), batch["query_mask"].flatten(0, 1)
        sparse = draw_sparse_masks(mask, self.model.config.channels_per_sensor, torch.default_generator)
        nothing = torch.zeros_like(values)
        known, seen = torch.cat((nothing, values * sparse)), torch.cat((nothing, sparse))
        context = torch.zeros(*known.shape[:-1], 3 * known.shape[-1]).to(known)
        blank = torch.zeros_like(known)
        generation, reconstruction = self.model.network(blank, blank, known, seen, context)
        n = len(values)
        losses = masked_mse(generation[:n], values, mask), masked_mse(reconstruction[n:], values, mask)
        return sum(losses), *(l.detach() for l in losses)


def query_losses(network: torch.nn.Module, parameters: dict, task: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Errors of generation and reconstruction of one task's queries, given its support."""
    queries, mask, shown = task["queries"], task["query_mask"], task["shown"]
    some = queries[: len(shown)]
    known, seen = torch.cat((torch.zeros_like(some[:1]), some * shown)), torch.cat((torch.zeros_like(shown[:1]), shown))
    linear = task["generation"].expand_as(known)
    filled = torch.cat((task["generation"][None], task["filled"]))
    context = task["context"].expand(len(known), -1, -1)
    generation, reconstruction = functional_call(network, parameters, (linear, filled, known, seen, context))
    return masked_mse(generation[0], queries, mask), masked_mse(reconstruction[1:], some, mask[: len(shown)])


def build(args: MamlArguments, cycles: Cycles, **options) -> GaitTCNModel:
    """A model of these cycles, its scales and prior fitted (options: of `fit_prior`), its network untrained."""
    if args.algorithm not in ALGORITHMS:
        raise ValueError(f"unknown algorithm {args.algorithm!r}; expected one of {', '.join(ALGORITHMS)}")
    phases, channels = cycles.values.shape[1:]
    layout = options.setdefault("layout", layout_of(channels))
    config = GaitTCNConfig(
        num_channels=channels,
        num_phases=phases,
        channels_per_sensor=6 if channels % 6 == 0 else 3,
        hidden_size=args.hidden_size,
        inner_steps=args.inner_steps,
        inner_lr=args.inner_lr,
        activities=sorted(set(map(str, cycles.activity))),
        num_directions=1 if layout is None else 3 * channels // layout.rigid,
        correlated_harmonics=args.correlated_harmonics,
        adapted="heads" if args.algorithm == "anil" else "all",
    )
    model = GaitTCNModel(config)
    model.products = fit_model(model, cycles, **options)
    return model


def train_model(args: MamlArguments, cycles: Cycles, **options) -> GaitTCNModel:
    """Train on these cycles, resuming where a checkpoint is, and save the model. Returns it in eval mode."""
    accelerator = start(args, unused=True)  # the rates in the first steps
    model = build(args, cycles, **options)
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
