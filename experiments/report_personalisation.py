"""Tables and figures of evaluate_personalisation.py.

In: its rows, a dict for each subject, seed and number of shots; a personalised model. Out: means over subjects with intervals;
figures in model_cards/figures.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from modeling_gait.files import atomic_path
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training.maml import Cycles
from modeling_gait.training.results import bootstrap

ARMS = ("maml", "maml_unadapted", "finetune", "scratch", "shrunk_mean", "support_mean", "population_mean", "nearest", "floor")
MAML_STEPS = (0, 1, 2, 3, 5, 8)


def summarise(rows: list[dict]) -> dict[str, float]:
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
                out[key], (out[f"{key}_ci_low"], out[f"{key}_ci_high"]) = difference.mean(), bootstrap(difference)
    return {k: round(float(v), 5) for k, v in out.items() if np.isfinite(v)}


def draw_errors(rows: list[dict], path: Path) -> None:
    """Error against the number of support cycles, and against the steps of the adaptation."""
    metrics, figure = summarise(rows), plt.figure(figsize=(11, 4), layout="constrained")
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
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def draw_cycles(model: GaitTCNModel, test: Cycles, path: Path, shots: int = 5) -> None:
    """Cycles of three people the model has not seen: their own (band: 2 sd), the support, and what is generated from it."""
    tasks = [g for g in test.tasks(least=shots + 10) if test.activity[g[0]] == "walking"][:3] or test.tasks(shots + 2)[:3]
    channels = model.config.num_channels
    names = [(c, f"channel {c}") for c in (0, channels // 3, channels - channels // 6)]
    if channels == 36:  # the order of HuGaDB's sensors
        names = [(0, "right foot x [m/s$^2$]"), (12, "right thigh x [m/s$^2$]"), (30, "left thigh x [m/s$^2$]")]
    figure = plt.figure(figsize=(11, 2.4 * len(tasks)), layout="constrained")
    axes = figure.subplots(len(tasks), len(names), squeeze=False)
    phase = np.linspace(0, 100, model.config.num_phases, endpoint=False)
    for row, rows in zip(axes, tasks):
        order = np.random.default_rng(0).permutation(rows)
        support, rest = order[:shots], order[shots:]
        person = model.personalize(test.values[support], test.mask[support])
        made = person.generate(60, seed=0)
        for axis, (channel, name) in zip(row, names):
            own = test.values[rest][test.mask[rest][:, channel], :, channel]
            for cycles, colour, label in ((own, "tab:blue", "own cycles"), (made[..., channel], "tab:orange", "generated")):
                if len(cycles) > 1:
                    mean, sd = cycles.mean(0), cycles.std(0)
                    axis.plot(phase, mean, color=colour, label=label)
                    axis.fill_between(phase, mean - 2 * sd, mean + 2 * sd, color=colour, alpha=0.2, linewidth=0)
            seen = support[test.mask[support][:, channel].numpy()]
            axis.plot(phase, test.values[seen][..., channel].T, color="black", linewidth=0.4)
            axis.set_title(f"subject {test.subject[rows[0]]}, {test.activity[rows[0]]}: {name}", fontsize=8)
    axes[0, 0].legend(fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("gait cycle [%]")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)
