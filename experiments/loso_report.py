"""The leave-one-subject-out experiment's metrics, tables and figures, from its rows.

In: rows of loso.py (arm, classifier, subject, seed, share, accuracy, accuracy_by_walk, confusion). Out: a dict of metrics,
Markdown, `model_cards/figures/NAME_*.png`. Gains are paired by subject and seed, with 95 % intervals over subjects.
"""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from experiments.runner import Rows, bars, rounded, save_figure
from modeling_gait.evaluation.bootstrap import bootstrap
from modeling_gait.simulation import PATHOLOGIES

NAMES = {
    "real": "real walks only",
    "classical": "real + classical augmentation",
    "naive": "real + naive token model",
    "people": "real + new people of real walks",
    "parts": "real + new people from parts",
    "parts_only": "new people from parts only",
    "language": "real + walks from words on real people",
    "both_parts": "real + both of these",
    "language_only": "walks from words only",
    "more_people": "real + four times as many new people",
    "ours": "real + samples and new people",
    "both": "real + classical + samples and new people",
    "synthetic": "synthetic only",
    "sampled_people": "real + GPT-2's samples, new people",
    "same_people": "real + GPT-2's samples, people as sampled",
    "label": "... asked by class label",
    "unconstrained": "... decoder without constraints",
    "no_pathological_tokens": "... without pathological tokens",
}
SHARES = (0.05, 0.25, 1.0)
OVER = (("ours", "classical"), ("both", "classical"), ("parts", "people"), ("language", "people"), ("language", "parts"))
OVER += (("both_parts", "people"), ("both_parts", "parts"))


def run_of(arm: str, classifier: str = "gru", share: float = 1.0) -> dict:
    """What names the runs of an arm."""
    return {"arm": arm, "classifier": classifier, "share": share}


class LosoRows(Rows):
    """Rows with the gains of an arm over another."""

    def arms(self, classifier: str = "gru", share: float = 1.0) -> list[str]:
        """Arms run for every subject."""
        return [arm for arm in NAMES if self.complete(**run_of(arm, classifier, share))]

    def mean(self, arm: str, classifier: str = "gru", share: float = 1.0, key: str = "accuracy") -> float:
        return float(self.means(key, **run_of(arm, classifier, share)).mean())

    def gain(self, arm: str, base: str, classifier: str = "gru", share: float = 1.0) -> dict[str, float] | None:
        """Points of `arm` over `base`; None unless everybody was held out in both with a seed that both have."""
        runs = run_of(arm, classifier, share), run_of(base, classifier, share)
        each = 100 * self.gains("accuracy", *runs)
        if not self.units or len(each) < len(self.units):
            return None
        common = self.cells("accuracy", **runs[0]).keys() & self.cells("accuracy", **runs[1]).keys()
        low, high = bootstrap(each, 20000)
        seeds = min(sum(s == subject for s, _ in common) for subject in self.units)
        return {"points": float(each.mean()), "ci_low": low, "ci_high": high, "seeds": seeds}

    def confusion(self, arm: str, subject: str | None = None) -> np.ndarray:
        """Summed confusion matrix of the GRU, of one subject or all."""
        return np.sum([r["confusion"] for r in self.pick(**run_of(arm)) if subject in (None, r["subject"])], axis=0)

    def cells_below(self, arm: str, below: float) -> list[tuple[str, int, float, int]]:
        """(subject, class, share right, class it goes to) of the cells that are right less often than `below`."""
        out = []
        for subject in self.units:
            matrix = self.confusion(arm, subject).astype(float)
            for label, row in enumerate(matrix / matrix.sum(1, keepdims=True)):
                if row[label] < below:
                    out.append((subject, label, row[label], int(np.where(np.arange(len(row)) == label, -1, row).argmax())))
        return sorted(out, key=lambda c: c[2])


def named(name: str, gain: dict, points: str = "_points") -> dict[str, float]:
    return {f"{name}{points}": gain["points"], f"{name}_ci_low": gain["ci_low"], f"{name}_ci_high": gain["ci_high"]}


def result_metrics(rows: list[dict], privacy: Path) -> dict[str, float]:
    """The numbers of the result, of what was measured; one that was not is absent."""
    table, out = LosoRows(rows), {}
    arms = table.arms()
    for arm in arms:
        out |= {f"gru_{arm}": table.mean(arm), f"gru_{arm}_by_walk": table.mean(arm, key="accuracy_by_walk")}
    gains = {f"gru_{arm}_gain": (arm, "real") for arm in arms[1:]} | {"gru_gain": ("ours", "real")}
    gains |= {f"gru_{arm}_over_{base}": (arm, base) for arm, base in OVER}
    for name, (arm, base) in gains.items():
        if gain := table.gain(arm, base):
            out |= named(name, gain)
    for arm, name in (("ours", ""), ("both", "both_"), ("people", "people_"), ("parts", "parts_"), ("language", "language_")):
        if table.gain(arm, "real"):
            real, ours = (table.means("accuracy", **run_of(a)) for a in ("real", arm))
            out[f"worst_subject_{name}gain_points"] = 100 * (ours[real.argmin()] - real.min())
    for arm in ("real", "people", "parts", "language", "both_parts"):
        if arm in arms:
            out[f"cells_under_50_percent_{arm}"] = len(table.cells_below(arm, 0.5))
    for arm, before in (("ours", ""), ("people", "people_"), ("parts", "parts_")):
        for classifier in ("lstm", "cnn", "graph"):
            if gain := table.gain(arm, "real", classifier):
                out |= {f"{classifier}_{a}": table.mean(a, classifier) for a in ("real", arm)}
                out |= named(f"{classifier}_{before}gain", gain)
        for share in SHARES[:2]:
            if gain := table.gain(arm, "real", share=share):
                out |= named(f"{before}gain_points_at_{100 * share:.0f}_percent", gain, "")
    if {"synthetic", "real"} <= set(arms):
        out["synthetic_only_ratio"] = out["gru_synthetic"] / out["gru_real"]
    if gain := table.gain("no_pathological_tokens", "real"):
        out["no_pathological_tokens_gain_points"] = gain["points"]
    if privacy.exists():
        out["membership_auc"] = json.loads(privacy.read_text())["metrics"]["membership_auc"]
    return rounded(out)


# --- tables ------------------------------------------------------------------------------------------------------------------


def markdown(head: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines)) if lines else ""


def words(gain: dict | None) -> str:
    return f"{gain['points']:+.2f} ({gain['ci_low']:+.2f} to {gain['ci_high']:+.2f})" if gain else ""


def arm_table(table: LosoRows) -> str:
    """GRU: accuracy of each arm and held-out subject, and gains."""
    head = ["arm", "seeds", *table.units, "mean", "by walk", "over real [points]", "over classical [points]"]
    lines = []
    for arm in table.arms():
        gains = ["" if arm in (base, "real") else words(table.gain(arm, base)) for base in ("real", "classical")]
        cells = table.cells("accuracy", **run_of(arm))
        seeds = sum(all((s, seed) in cells for s in table.units) for seed in {seed for _, seed in cells})
        each = [f"{100 * v:.1f}" for v in table.means("accuracy", **run_of(arm))]
        walk = f"{100 * table.mean(arm, key='accuracy_by_walk'):.2f}"
        lines.append([NAMES[arm], str(seeds), *each, f"**{100 * table.mean(arm):.2f}**", walk, *gains])
    return markdown(head, lines)


def other_table(table: LosoRows) -> str:
    """Other classifiers, smaller shares, and arms run for some of the subjects: all compared with real walks of the same."""
    lines = []
    for classifier, share in sorted({(r["classifier"], r["share"]) for r in table.rows}, key=lambda k: (-k[1], k[0])):
        for arm in list(NAMES)[1:]:
            whole = arm in table.arms(classifier, share)
            if whole and (classifier, share) == ("gru", 1.0):
                continue  # stands in the table of arms
            run = table.cells("accuracy", **run_of(arm, classifier, share))
            some = LosoRows([r for r in table.rows if (r["subject"], r["seed"]) in run])  # the same people and seeds
            if gain := some.gain(arm, "real", classifier, share):
                values = [f"{100 * some.mean(a, classifier, share):.1f}" for a in ("real", arm)]
                who = "all" if whole else " ".join(some.units)
                lines.append([classifier, f"{100 * share:g} %", NAMES[arm], who, str(gain["seeds"]), *values, words(gain)])
    return markdown(["classifier", "share", "arm", "subjects", "seeds", "real only, the same", "arm", "gain [points]"], lines)


def cell_list(table: LosoRows, arm: str) -> str:
    """The cells (a person's one class) that are right less than 90 % of the time."""
    cells = table.cells_below(arm, 0.9)
    low = sum(c[2] < 0.5 for c in cells)
    said = [f"{s} {PATHOLOGIES[a]} {100 * v:.0f} % (to {PATHOLOGIES[b]})" for s, a, v, b in cells]
    return f"{NAMES[arm]}: {low} of {6 * len(table.units)} cells under 50 %, {len(cells)} under 90 %: {'; '.join(said)}."


def section(result: dict) -> list[str]:
    """Markdown paragraphs of the result file."""
    table = LosoRows(result["rows"])
    parts = [
        f"**Synthetic walks that make classifiers better, gist** (GRU, accuracy by file in % of each held-out subject; "
        f"seeds {', '.join(map(str, result['seeds']))}; {result['protocol']}; `{result['command']}`):",
        arm_table(table),
    ]
    parts += [cell_list(table, arm) for arm in ("real", "people", "parts", "language", "both_parts") if arm in table.arms()]
    return [p for p in (*parts, other_table(table)) if p]


# --- figures -----------------------------------------------------------------------------------------------------------------


def draw(rows: list[dict], name: str) -> None:
    """Bars by subject, confusion matrices, gain against the share of real walks."""
    table = LosoRows(rows)
    arms = [a for a in ("real", "classical", "people", "parts", "language", "both_parts") if a in table.arms()]
    if "real" not in arms:
        return
    figure = Figure(figsize=(10, 4), layout="constrained")
    axis = figure.subplots()
    each = {a: 100 * table.means("accuracy", **run_of(a)) for a in arms}
    bars(axis, table.units, {f"{NAMES[a]}, {v.mean():.1f} %": [(x, x, x) for x in v] for a, v in each.items()})
    lowest = min(v.min() for v in each.values())
    axis.set(
        xlabel="held-out subject", ylabel="accuracy by file [%]", ylim=(max(0, lowest - 5), 101), title="GRU, leave one out"
    )
    save_figure(figure, f"{name}_subjects")
    shown = [a for a in ("real", "people", "parts") if a in arms]
    figure = Figure(figsize=(5 * len(shown), 4.6), layout="constrained")
    for axis, arm in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown):
        matrix = table.confusion(arm).astype(float)
        labels = [n.replace("_", " ") for n in PATHOLOGIES[: len(matrix)]]
        display = ConfusionMatrixDisplay(100 * matrix / matrix.sum(1, keepdims=True), display_labels=labels)
        display.plot(ax=axis, cmap="Blues", colorbar=False, values_format=".1f", xticks_rotation=45)
        axis.set_title(f"{NAMES[arm]} [%]", fontsize=10)
    save_figure(figure, f"{name}_confusion")
    gains = {a: [(s, g) for s in SHARES if (g := table.gain(a, "real", share=s))] for a in ("classical", "people", "parts")}
    gains = {a: found for a, found in gains.items() if len(found) > 1}
    if not gains:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for arm, found in gains.items():
        mean, low, high = np.array([[g["points"], g["ci_low"], g["ci_high"]] for _, g in found]).T
        axis.errorbar([100 * s for s, _ in found], mean, [mean - low, high - mean], marker="o", capsize=4, label=NAMES[arm])
    axis.axhline(0, color="grey", lw=0.8)
    axis.set(xlabel="share of real walks [%]", ylabel="gain over real only [points]", title="GRU, 95 % interval")
    axis.legend(fontsize=8)
    save_figure(figure, f"{name}_share")
