"""Ways to generate a person's gait cycle from a few, and to fill in what is hidden of one (personalisation.py).

In: episodes, stacked over T tasks: cycles, observed (T, K, P, C) of K support cycles, queries, mask (T, Q, P, C), all
standardised. Out: expected cycles (T, P, C), or reconstructed queries.
"""

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch.func import functional_call, grad, vmap

from modeling_gait.gait_posterior import GaitPerson
from modeling_gait.gait_tcn_network import adapt, masked_mse, support_context
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training.maml import Cycles

SHARES = {"5": 0.05, "10": 0.1, "20": 0.2, "sensor": None}  # of the phases that are seen; a sensor missing


def context_of(episodes: dict) -> torch.Tensor:
    """(T, P, 3 C) of all supports."""
    cycles, observed = episodes["cycles"], episodes["observed"]
    return support_context(cycles.sum(1), cycles.square().sum(1), observed.sum(1))


# --- arms ---------------------------------------------------------------------------------------------------------------------
def adapt_tasks(model: GaitTCNModel, episodes: dict, steps: tuple[int, ...]) -> dict[int, dict[str, torch.Tensor]]:
    """Parameters of the network adapted to each task (T, ...) in so many steps, as `personalize` does it."""
    parameters = {n: p.detach() for n, p in model.network.named_parameters()}
    rates, names = {n: r.detach() for n, r in model.rates().items()}, model.fast_names()
    slow = {n: p for n, p in parameters.items() if n not in names}
    cycles, observed, activity = (episodes[k] for k in ("cycles", "observed", "activity"))
    rest = [model.left_out(c, o, a[None]) for c, o, a in zip(cycles, observed, activity)]

    support = (cycles, observed, *(torch.stack(r) for r in zip(*rest)))

    def after(count: int) -> dict[str, torch.Tensor]:
        fast = {n: parameters[n] for n in names}
        return vmap(lambda *given: slow | adapt(model.network, fast, slow, rates, given, steps=count))(*support)

    return {count: after(count) for count in steps}


@torch.no_grad()
def run(model: GaitTCNModel, parameters: dict, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The network with the parameters of each task on its own inputs: linear generation, reconstruction, values, observed
    (T, N, P, C) and context (T, P, 3 C)."""

    def one(own: dict, generation, filled, x, m, c) -> tuple:
        return functional_call(model.network, own, (generation, filled, x, m, c.expand(len(x), -1, -1)))

    return vmap(one)(parameters, *inputs)


def expected(model: GaitTCNModel, parameters: dict, context: torch.Tensor, linear: torch.Tensor | None = None) -> torch.Tensor:
    """Generated mean cycle (T, P, C); linear (T, P, C): what the linear rule expects, None for a network that has none."""
    shape = (len(context), 1, context.shape[-2], context.shape[-1] // 3)
    nothing = torch.zeros(shape)
    linear = nothing if linear is None else linear.to(context)[:, None]
    return run(model, parameters, linear, linear, nothing, nothing, context)[0][:, 0]


def adam_curve(model: GaitTCNModel, episodes: dict, rate: float, steps: tuple[int, ...]) -> dict[int, torch.Tensor]:
    """Generated cycles (T, P, C) after each of `steps` Adam steps on the support: conventional (fine-)tuning of all weights.

    This network has learned without people's supports, so it reads none: what it knows of a person is in its weights.
    """
    parameters = {n: p.detach().expand(len(episodes["cycles"]), *p.shape).clone() for n, p in model.network.named_parameters()}
    first = {n: torch.zeros_like(p) for n, p in parameters.items()}
    second = {n: torch.zeros_like(p) for n, p in parameters.items()}
    nothing = torch.zeros(1, *episodes["cycles"].shape[2:])
    context = torch.zeros(1, nothing.shape[1], 3 * nothing.shape[2])

    def loss(own: dict, cycles: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        return masked_mse(functional_call(model.network, own, (nothing, None, nothing, nothing, context))[0], cycles, observed)

    gradient, out = vmap(grad(loss)), {}
    for step in range(1, max(steps) + 1):
        for n, g in gradient(parameters, episodes["cycles"], episodes["observed"]).items():
            first[n].lerp_(g, 0.1)
            second[n].lerp_(g.square(), 0.001)
            size = (second[n] / (1 - 0.999**step)).sqrt_().add_(1e-8)
            parameters[n] -= rate / (1 - 0.9**step) * first[n] / size
        if step in steps:
            out[step] = expected(model, parameters, context.expand(len(episodes["cycles"]), -1, -1))
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


# --- reconstruction -----------------------------------------------------------------------------------------------------------
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


def hidden_queries(episodes: dict, share: float | None, per_sensor: int, seed: int, count: int = 2) -> dict[str, torch.Tensor]:
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


def filled(model: GaitTCNModel, person: GaitPerson, context: torch.Tensor, part: dict) -> torch.Tensor:
    """What the model makes (T, R, P, C) of cycles of which a part was seen; the linear rule, then the network as trained."""
    known, seen = part["known"], part["seen"]
    rest = torch.stack([person.one(i).fill(x, m) for i, (x, m) in enumerate(zip(known, seen))]).to(known)
    linear = person.mean.to(known)[:, None].expand_as(known)
    return run(model, stacked(model, len(known)), linear, rest, known, seen, context)[1]


def reconstruct(models: dict, pca: PcaInfill, episodes: dict, means: torch.Tensor, choice: dict, seed: int) -> dict:
    """{arm_share: error (T,)} of what was hidden of the queries."""
    context, activity, out = context_of(episodes), episodes["activity"], {}
    nobody = torch.zeros_like(context)
    given = {"maml": ("maml", context), "maml_no_support": ("maml", nobody), "gaussian": ("gaussian", context)}
    people = {arm: (models[name], models[name].person(c, activity)[0], c) for arm, (name, c) in given.items()}
    support = episodes["cycles"].sum(1) / episodes["observed"].sum(1).clamp(min=1)
    support = torch.where(episodes["observed"].sum(1) > 0, support, means)[:, None]
    for name, share in SHARES.items():
        part = hidden_queries(episodes, share, models["maml"].config.channels_per_sensor, seed)
        known, seen, moments = part["known"], part["seen"], part["moments"].flatten(0, 1)
        flat = lambda x: x.flatten(0, 1)  # noqa: E731
        zero = torch.zeros_like(known[0, 0])
        rest = interpolate(flat((known - support) * seen), moments, zero, False).view_as(known)
        fallback = flat(means[:, None].expand_as(known))
        answers = {
            **{arm: filled(*person, part) for arm, person in people.items()},
            "interpolation": interpolate(flat(known), moments, fallback, True).view_as(known),
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
