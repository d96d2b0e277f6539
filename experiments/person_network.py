"""Does a trained network add to the linear rule of personalisation? Training steps against the gain on people held out.

    python -m experiments.person_network --dataset data/hugadb/cycles --recordings data/hugadb/recordings --num_threads 1

In: HuGaDB's cycles, and its recordings for height, mass, age and sex. For each group of people, which is left out altogether,
the next group validates and the others train, as `personalisation` chooses: no number here is of a group's test people. The
linear rule of the training episodes is fitted without the people whose episodes they are (cross-fitted, group by group): a
rule that has seen them errs less on them than on anybody new, and a network would learn that. Virtual people: mixtures of two
episodes of one activity, widened to vary as much as people do; left and right exchanged.
Out: rows with `curve`, [steps, gain from one cycle, gain from five] in variances of a channel (positive: the network is better
than the linear rule), and model_cards/results/person_network_hugadb.json.

    attention   `PersonNetwork`: each cycle's difference from what the rule expects, attended to from the expected cycle, with
                height, mass, age and sex
    small       the same, a third as wide, a third of the learning rate
"""

import copy
import functools
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from experiments.personalisation import draw_episodes
from experiments.personalisation_arms import context_of
from experiments.runner import Rows, RunArguments, groups, interval, parse, rounded, run_all, write_result
from modeling_gait.gait_tcn_network import GaitTCNBlock
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training.data import load_rows
from modeling_gait.training.fit_prior import layout_of
from modeling_gait.training.loop import optimizer_step, schedule
from modeling_gait.training.maml import Cycles, MamlArguments, build, fit_model, load_cycles

NETWORKS = {"attention": (48, 1e-3), "small": (16, 3e-4)}  # width, learning rate
SHOTS, BATCH, EVERY, DRAWS = (1, 5), 16, 50, {"train": 12, "val": 3}


@dataclass(kw_only=True)
class NetworkArguments(RunArguments):
    """Arguments of the experiment."""

    output_dir: str = field(default="outputs/person_network", metadata={"help": "rows"})
    name: str = "person_network_hugadb"
    recordings: str = field(metadata={"help": "the data set's recordings, with age, height, weight and sex of each person"})
    networks: list[str] = field(default_factory=lambda: list(NETWORKS), metadata={"choices": tuple(NETWORKS)})
    num_folds: int = field(default=6, metadata={"help": "groups of people"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    max_steps: int = 300
    reserved: int = field(default=10, metadata={"help": "cycles of a task to draw supports from; the others are queries"})


class PersonNetwork(nn.Module):
    """What is added to the linear rule: expected, anybody's cycle (B, P, C), support (B, K, P, C), its mask (B, K, 1, C), what
    is known of the person (B, A) -> (B, P, C), all standardised; 0 at the start."""

    def __init__(self, channels: int, phases: int, known: int, width: int, patch: int = 2, heads: int = 4):
        super().__init__()
        self.patches, self.heads = phases // patch, heads
        self.cycle = nn.Linear(3 * patch * channels + 8, width)
        self.first = GaitTCNBlock(width, 5, 1)
        self.expected = nn.Linear(2 * patch * channels + 8 + known, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.blocks = nn.Sequential(GaitTCNBlock(width, 5, 1), GaitTCNBlock(width, 5, 3), nn.LayerNorm(width))
        self.head = nn.Linear(width, patch * channels)
        nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)
        angle = torch.arange(self.patches)[:, None] * (2 * torch.pi / self.patches) * torch.arange(1, 5)
        self.register_buffer("phase", torch.cat((angle.sin(), angle.cos()), -1))

    def _patches(self, *parts: torch.Tensor, known: torch.Tensor | None = None) -> torch.Tensor:
        x = torch.cat(parts, -1)
        x = x.reshape(*x.shape[:-2], self.patches, -1)
        more = [self.phase.expand(*x.shape[:-1], -1)]
        return torch.cat([x, *more, *([] if known is None else [known[:, None].expand(-1, self.patches, -1)])], -1)

    def forward(self, expected, anybody, support, mask, known) -> torch.Tensor:
        mask, own = mask.expand_as(support), expected[:, None].expand_as(support)
        cycles = self.first(self.cycle(self._patches((support - own) * mask, own, mask))).transpose(1, 2)  # (B, patches, K, D)
        query = self.expected(self._patches(expected, expected - anybody, known=known))
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # noqa: E731
        read = nn.functional.scaled_dot_product_attention(
            split(query[:, :, None]), split(self.key(cycles)), split(self.value(cycles))
        )
        return self.head(self.blocks(query + read.transpose(-2, -3).reshape(query.shape))).reshape(expected.shape)


def episodes(model: GaitTCNModel, cycles: Cycles, shots: int, draws: int, args, seed: int, known: dict) -> dict:
    """Tasks of people whom the model's prior has not seen: what it expects of them, their support, the mean of their queries
    and how many there are, what remains of the error where that mean is hit, and what is known of them."""
    e = draw_episodes(model, cycles, shots, SimpleNamespace(reserved=args.reserved, draws=draws), seed)
    expected = model.person(context_of(e), e["activity"])[0].mean.float()
    count = e["mask"].sum(1)
    mean = (e["queries"] * e["mask"]).sum(1) / count.clamp(min=1)
    return {
        "expected": expected,
        "anybody": model.prior.mean[e["activity"]].float(),
        "support": e["cycles"],
        "mask": e["observed"][:, :, :1],
        "target": mean,
        "count": count[:, :1],
        "rest": ((e["queries"] - mean[:, None]).square() * e["mask"]).sum((1, 2, 3)),
        "total": e["mask"].sum((1, 2, 3)),
        "known": torch.tensor(np.stack([known[s] for s in cycles.subject[e["task"]]])),
        "activity": e["activity"],
    }


def material(fold: int, cycles: Cycles, held: list[list[str]], known: dict, args: NetworkArguments) -> dict:
    """{("train" or "val", shots): episodes} of a group; the group itself is in none of them."""
    of = (fold + 1) % len(held)
    others = [g for i, g in enumerate(held) if i not in (fold, of)]
    training = cycles.without(held[fold] + held[of])
    only = lambda people: cycles.without([s for s in set(cycles.subject) if s not in people])  # noqa: E731
    sizes = MamlArguments(dataset="", output_dir="", hidden_size=1)
    model = build(sizes, training).eval()
    out: dict = {("val", k): episodes(model, only(held[of]), k, DRAWS["val"], args, 1000, known) for k in SHOTS}
    parts: dict = {k: [] for k in SHOTS}
    for group in others:
        rule = copy.deepcopy(model)
        fit_model(rule, training.without(group), layout=layout_of(training.values.shape[2]))
        for k in SHOTS:
            parts[k].append(episodes(rule.eval(), only(group), k, DRAWS["train"], args, 7, known))
    return out | {("train", k): {n: torch.cat([p[n] for p in e]) for n in e[0]} for k, e in parts.items()}


def error(e: dict, added: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Mean squared error of each task (T,) over all its queries, of what is expected plus what is added."""
    return (((e["target"] - e["expected"] - added).square() * e["count"]).sum((1, 2)) + e["rest"]) / e["total"]


def virtual(e: dict, rng: np.random.Generator, layout) -> dict:
    """A batch of people half way, at most, between two of one activity, a half of the batches seen in a mirror."""
    at = rng.integers(len(e["activity"]), size=BATCH)
    other = np.array([rng.choice(np.flatnonzero(e["activity"] == e["activity"][i])) for i in at])
    way = torch.tensor(rng.uniform(0, 0.5, BATCH)).float()
    out = {n: x[at] + way.view(-1, *[1] * (x.ndim - 1)) * (x[other] - x[at]) for n, x in e.items() if x.is_floating_point()}
    out["mask"], out["count"] = e["mask"][at] * e["mask"][other], torch.minimum(e["count"][at], e["count"][other])
    wide = ((1 - way) ** 2 + way**2).rsqrt()[:, None, None]
    for name in ("expected", "target", "support"):
        anybody, by = (out["anybody"], wide) if name != "support" else (out["anybody"][:, None], wide[:, None])
        out[name] = anybody + by * (out[name] - anybody)
    if layout is not None and rng.random() < 0.5:
        half = out["expected"].shape[-2] // 2
        for name in ("expected", "target", "support", "anybody"):
            out[name] = (out[name][..., layout.mirror] * layout.signs.float()).roll(half, -2)
        out["mask"], out["count"] = out["mask"][..., layout.mirror], out["count"][..., layout.mirror]
    out["known"] = out["known"] * (torch.rand(BATCH, 1) > 0.3)
    return out


def curve(data: dict, network: str, seed: int, args: NetworkArguments) -> list[list[float]]:
    """[steps, gain from one cycle, from five] of a network that is trained on the virtual people."""
    torch.manual_seed(seed)
    rng, (width, rate) = np.random.default_rng(seed), NETWORKS[network]
    one = data["train", 1]
    layout, (phases, channels) = layout_of(one["expected"].shape[2]), one["expected"].shape[1:]
    model = PersonNetwork(channels, phases, one["known"].shape[1], width)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    inputs = lambda e: (e["expected"], e["anybody"], e["support"], e["mask"], e["known"])  # noqa: E731
    out = []
    for step in range(args.max_steps + 1):
        if step % EVERY == 0 or step == args.max_steps:
            with torch.no_grad():
                tests = [data["val", k] for k in SHOTS]
                out.append([step, *(float((error(e) - error(e, model(*inputs(e)))).nanmean()) for e in tests)])
        batch = virtual(data["train", int(rng.choice(SHOTS))], rng, layout)
        seen = (batch["count"] > 0).float()
        loss = ((batch["target"] - batch["expected"] - model(*inputs(batch))).square() * seen).sum()
        loss = loss / seen.expand_as(batch["target"]).sum()
        optimizer_step(optimizer, loss, rate * schedule(step, 50, args.max_steps))
    return out


def people(recordings: str) -> dict[str, np.ndarray]:
    """Height, mass, age and sex of each person, standardised over all of them."""
    rows = load_rows(recordings, {"subject_id", "height", "weight", "age", "sex"}, "expected recordings of people")
    found = {
        str(r["subject_id"]): (r["height"], r["weight"], r["age"], float(r["sex"] == "M"))
        for r in rows.select_columns(["subject_id", "height", "weight", "age", "sex"])
    }
    values = np.array(list(found.values()), np.float32)
    return dict(zip(found, (values - values.mean(0)) / (values.std(0) + 1e-6)))


def result_metrics(rows: list[dict]) -> dict:
    """Gains after each number of steps, intervals over the groups."""
    out, table = {}, Rows([r | {f"{s}_{k}": g for s, *gains in r["curve"] for k, g in zip(SHOTS, gains)} for r in rows], "fold")
    for name in sorted({r["network"] for r in rows}):
        for s, *_ in rows[0]["curve"]:
            for k in SHOTS:
                out |= interval(f"gain_{name}_after_{s}_{k}", table.means(f"{s}_{k}", network=name))
    return rounded(out)


def main() -> None:
    args = parse(NetworkArguments)
    cycles, known = load_cycles(args.dataset), people(args.recordings)
    held = groups(cycles.subject, args.num_folds, args.folds, least=3)

    @functools.lru_cache(1)
    def data(fold: int) -> dict:
        return material(fold, cycles, held, known, args)

    def measure(run: dict) -> dict:
        found = curve(data(run["fold"]), run["network"], run["seed"], args)
        return {"curve": [[round(x, 5) for x in c] for c in found]}

    folds = args.folds or range(len(held))
    runs = [{"fold": f, "seed": s, "network": n} for f in folds for s in args.seeds for n in args.networks]
    rows = run_all(args, runs, measure, ("networks",))
    protocol = (
        f"{args.num_folds} groups of people; each is left out, the next validates, the others train; linear rules of the "
        "training episodes cross-fitted; gains in variances of a channel over the linear rule, positive: better; "
        "intervals over groups"
    )
    print(write_result(args.name, args.dataset, protocol, result_metrics(rows), rows))


if __name__ == "__main__":
    main()
