"""Gather the rows of the leave-one-subject-out experiment: metrics, tables, figures. Used by report.py.

In: `outputs/NAME/rows/*.json` of loso.py. Out: `model_cards/results/NAME.json`, Markdown, `model_cards/figures/NAME_*.png`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay

from modeling_gait.captions import PATHOLOGIES
from modeling_gait.files import atomic_path

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAMES = {
    "real": "real walks only",
    "classical": "real + classical augmentation",
    "naive": "real + naive token model",
    "language": "real + walks from words, new people",
    "people": "real + new people of real walks",
    "more_people": "real + four times as many new people",
    "ours": "real + ours (both of these)",
    "both": "real + classical + ours",
    "synthetic": "synthetic only",
    "language_synthetic": "synthetic only, walks from words alone",
    "same_people": "real + walks from words, people as sampled",
    "label": "... asked by class label",
    "unconstrained": "... decoder without constraints",
    "no_pathological_tokens": "... without pathological tokens",
}


class Rows:
    """Accuracies by arm, classifier and share."""

    def __init__(self, rows: list[dict]):
        self.rows = rows
        self.subjects = sorted({r["subject"] for r in rows}, key=lambda s: (len(s), s))

    def arms(self, classifier: str = "gru", share: float = 1.0) -> list[str]:
        """Arms run for every subject."""
        have = {}
        for row in self._pick(classifier=classifier, share=share):
            have.setdefault(row["arm"], set()).add(row["subject"])
        return [arm for arm in NAMES if arm in have and len(have[arm]) == len(self.subjects)]

    def _pick(self, **wanted) -> list[dict]:
        return [r for r in self.rows if all(r[k] == v for k, v in wanted.items())]

    def table(
        self, arm: str, classifier: str = "gru", share: float = 1.0, key: str = "accuracy"
    ) -> dict[tuple[str, int], float]:
        """(subject, seed) -> value."""
        return {(r["subject"], r["seed"]): r[key] for r in self._pick(arm=arm, classifier=classifier, share=share)}

    def by_subject(self, arm: str, classifier: str = "gru", share: float = 1.0, key: str = "accuracy") -> np.ndarray:
        """Mean over seeds of each subject."""
        table = self.table(arm, classifier, share, key)
        return np.array([np.mean([v for (s, _), v in table.items() if s == subject]) for subject in self.subjects])

    def seeds(self, arm: str, classifier: str = "gru", share: float = 1.0) -> list[int]:
        """Seeds that were run for every subject."""
        table = self.table(arm, classifier, share)
        return [seed for seed in sorted({k[1] for k in table}) if all((s, seed) in table for s in self.subjects)]

    def gain(self, arm: str, base: str, classifier: str = "gru", share: float = 1.0) -> dict[str, float]:
        """Points of `arm` over `base`, paired by subject and seed, with a 95 % interval bootstrapped over subjects."""
        ours, theirs = self.table(arm, classifier, share), self.table(base, classifier, share)
        pairs = [[ours[k] - theirs[k] for k in ours if k in theirs and k[0] == s] for s in self.subjects]
        each = 100 * np.array([np.mean(p) for p in pairs])
        draws = np.random.default_rng(0).choice(each, (20000, len(each))).mean(1)
        low, high = np.percentile(draws, (2.5, 97.5))
        return {"mean": each.mean(), "low": low, "high": high, "seeds": min(map(len, pairs))}

    def comparable(self, arm: str, base: str, classifier: str = "gru", share: float = 1.0) -> bool:
        """Whether everybody was held out in both arms with a seed that they share."""
        both = self.table(arm, classifier, share).keys() & self.table(base, classifier, share).keys()
        return bool(self.subjects) and {s for s, _ in both} == set(self.subjects)

    def confusion(self, arm: str, subject: str | None = None, classifier: str = "gru", share: float = 1.0) -> np.ndarray:
        """Summed confusion matrix, of one subject or all."""
        rows = self._pick(arm=arm, classifier=classifier, share=share)
        return np.sum([r["confusion"] for r in rows if subject in (None, r["subject"])], axis=0)

    def cells(self, arm: str, below: float) -> list[tuple[str, int, float, int]]:
        """(subject, class, share right, class it goes to) of the cells that are right less often than `below`."""
        out = []
        for subject in self.subjects:
            matrix = self.confusion(arm, subject).astype(float)
            for label, row in enumerate(matrix / matrix.sum(1, keepdims=True)):
                if row[label] < below:
                    out.append((subject, label, row[label], int(np.where(np.arange(len(row)) == label, -1, row).argmax())))
        return sorted(out, key=lambda c: c[2])


def load_rows(folder: Path, result: Path) -> Rows:
    """The rows in `folder`, and those of the result file that are not there."""
    rows = [json.loads(p.read_text()) for p in sorted((folder / "rows").glob("*.json"))]
    key = lambda r: tuple(r[k] for k in ("arm", "classifier", "subject", "seed", "share"))  # noqa: E731
    old = {key(r): r for r in json.loads(result.read_text())["rows"]} if result.exists() else {}
    return Rows(list((old | {key(r): r for r in rows}).values()))


def metrics(rows: Rows, privacy: Path) -> dict[str, float]:
    """What DESIGN names, of what was measured; one that was not is absent."""
    out, arms = {}, rows.arms()
    for arm in arms:
        out[f"gru_{arm}"] = rows.by_subject(arm).mean()
        out[f"gru_{arm}_by_walk"] = rows.by_subject(arm, key="accuracy_by_walk").mean()
    for arm, before in (("ours", ""), *((arm, f"{arm}_") for arm in ("both", "classical", "people", "same_people"))):
        prefix = f"gru_{before}gain"
        if rows.comparable(arm, "real"):
            found = rows.gain(arm, "real")
            out |= {f"{prefix}_points": found["mean"], f"{prefix}_ci_low": found["low"], f"{prefix}_ci_high": found["high"]}
    for arm in (a for a in ("ours", "both") if rows.comparable(a, "real")):
        real, ours = rows.by_subject("real"), rows.by_subject(arm)
        name = "worst_subject_gain_points" if arm == "ours" else "worst_subject_both_gain_points"
        out[name] = 100 * (ours[real.argmin()] - real.min())
        if rows.comparable(arm, "classical"):
            found = rows.gain(arm, "classical")
            out |= {
                f"gru_{arm}_over_classical_{k}": found[v]
                for k, v in (("points", "mean"), ("ci_low", "low"), ("ci_high", "high"))
            }
    for arm, before in (("ours", ""), ("people", "people_")):
        for classifier in ("lstm", "cnn", "graph"):
            if rows.comparable(arm, "real", classifier):
                out[f"{classifier}_real"] = rows.by_subject("real", classifier).mean()
                out[f"{classifier}_{arm}"] = rows.by_subject(arm, classifier).mean()
                out[f"{classifier}_{before}gain_points"] = rows.gain(arm, "real", classifier)["mean"]
        for share in (0.05, 0.25):
            if rows.comparable(arm, "real", share=share):
                found = rows.gain(arm, "real", share=share)
                name = f"{before}gain_points_at_{100 * share:.0f}_percent"
                out |= {name: found["mean"], f"{name}_ci_low": found["low"], f"{name}_ci_high": found["high"]}
    if {"synthetic", "real"} <= set(arms):
        out["synthetic_only_ratio"] = out["gru_synthetic"] / out["gru_real"]
    if rows.comparable("no_pathological_tokens", "real"):
        out["no_pathological_tokens_gain_points"] = rows.gain("no_pathological_tokens", "real")["mean"]
    if privacy.exists():
        out |= {k: v for k, v in json.loads(privacy.read_text())["metrics"].items() if k == "membership_auc"}
    return {k: round(float(v), 5) for k, v in out.items()}


def write_result(rows: Rows, target: Path, choices: dict) -> dict:
    """The result file."""
    keep = ("arm", "classifier", "share", "subject", "seed", "accuracy", "accuracy_by_walk", "confusion")
    keep += ("dataset", "versions", "steps", "command", "date")
    result = {
        "experiment": target.stem,
        "dataset": "gist",
        "protocol": "leave one subject out; whatever is fitted sees the other subjects only; same number of steps in all arms; "
        "synthetic walks are half of each batch, classical augmentation changes half of it; strengths of augmentations chosen "
        "within the other half of the subjects; intervals: 95 %, bootstrapped over subjects, paired by subject and seed",
        "command": "python -m experiments.loso --dataset data/gist, as in each row; then python -m experiments.report",
        "seeds": sorted({r["seed"] for r in rows.rows}),
        "versions": rows.rows[0]["versions"],
        "date": max(r["date"] for r in rows.rows),
        "metrics": metrics(rows, target.with_name("privacy_gist.json")),
        "choices": choices,
        "rows": [{k: r[k] for k in keep} for r in rows.rows],
    }
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(result, separators=(",", ":")).replace('{"arm"', '\n{"arm"') + "\n")
    return result


def percent(values: Sequence[float]) -> list[str]:
    return [f"{100 * v:.1f}" for v in values]


def arm_table(rows: Rows) -> str:
    """GRU: accuracy of each arm and held-out subject, and gains."""
    head = ["arm", "seeds", *rows.subjects, "mean", "by walk", "over real [points]", "over classical [points]"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for arm in rows.arms():
        gains = []
        for base in ("real", "classical"):
            if arm in (base, "real") or not rows.comparable(arm, base):
                gains.append("")
            else:
                found = rows.gain(arm, base)
                gains.append(f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})")
        each = rows.by_subject(arm)
        walk = rows.by_subject(arm, key="accuracy_by_walk").mean()
        cells = [
            NAMES[arm],
            str(len(rows.seeds(arm))),
            *percent(each),
            f"**{100 * each.mean():.2f}**",
            f"{100 * walk:.2f}",
            *gains,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def other_table(rows: Rows) -> str:
    """Other classifiers and smaller shares: mean accuracy and gain of ours over real."""
    lines = []
    runs = sorted({(r["classifier"], r["share"]) for r in rows.rows}, key=lambda k: (-k[1], k[0]))
    for classifier, share in runs:
        arms = rows.arms(classifier, share)
        for arm in arms:
            if (classifier, share) == ("gru", 1.0) or arm == "real" or not rows.comparable(arm, "real", classifier, share):
                continue
            found = rows.gain(arm, "real", classifier, share)
            values = percent([rows.by_subject(a, classifier, share).mean() for a in ("real", arm)])
            gain = f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
            cells = (classifier, f"{100 * share:g} %", NAMES[arm], str(found["seeds"]), *values, gain)
            lines.append("| " + " | ".join(cells) + " |")
    head = "| classifier | share of real walks | arm | seeds | real only | arm | gain [points] |\n" + "|---" * 7 + "|\n"
    return head + "\n".join(lines) if lines else ""


def part_table(rows: Rows) -> str:
    """Arms that were run for some of the subjects: means over these, and the gain over real walks on the same."""
    lines = []
    for classifier, share in sorted({(r["classifier"], r["share"]) for r in rows.rows}, key=lambda k: (-k[1], k[0])):
        for arm in NAMES:
            run = rows.table(arm, classifier, share)
            had = {s for s, _ in run}
            some = Rows([r for r in rows.rows if (r["subject"], r["seed"]) in run])  # the same people and seeds
            if arm == "real" or had == set(rows.subjects) or not some.comparable(arm, "real", classifier, share):
                continue
            found = some.gain(arm, "real", classifier, share)
            values = percent([some.by_subject(a, classifier, share).mean() for a in ("real", arm)])
            gain = f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
            cells = (classifier, f"{100 * share:g} %", NAMES[arm], " ".join(some.subjects), str(found["seeds"]), *values, gain)
            lines.append("| " + " | ".join(cells) + " |")
    head = (
        "| classifier | share | arm | subjects run | seeds | real only, the same | arm | gain [points] |\n" + "|---" * 8 + "|\n"
    )
    return head + "\n".join(lines) if lines else ""


def cell_list(rows: Rows, arm: str) -> str:
    """The cells (a person's one class) that are right less than 90 % of the time."""
    cells = rows.cells(arm, 0.9)
    low = sum(c[2] < 0.5 for c in cells)
    words = [f"{s} {PATHOLOGIES[a]} {100 * v:.0f} % (to {PATHOLOGIES[b]})" for s, a, v, b in cells]
    return f"{NAMES[arm]}: {low} of {6 * len(rows.subjects)} cells under 50 %, {len(cells)} under 90 %: {'; '.join(words)}."


def draw(rows: Rows, folder: Path) -> None:
    """Bars by subject, confusion matrices, gain against the share of real walks."""
    arms = [a for a in ("real", "classical", "ours", "both", "people", "more_people") if a in rows.arms()]
    if "real" not in arms:
        return
    fig, axis = plt.subplots(figsize=(10, 4), layout="constrained")
    for i, arm in enumerate(arms):
        at = np.arange(len(rows.subjects)) + (i - (len(arms) - 1) / 2) * 0.8 / len(arms)
        axis.bar(
            at, 100 * rows.by_subject(arm), 0.8 / len(arms), label=f"{NAMES[arm]}, {100 * rows.by_subject(arm).mean():.1f} %"
        )
        for (subject, _), value in rows.table(arm).items():
            axis.plot(at[rows.subjects.index(subject)], 100 * value, "k.", ms=3)
    lowest = min(v for a in arms for v in rows.table(a).values())
    axis.set(
        xticks=range(len(rows.subjects)), xticklabels=rows.subjects, xlabel="held-out subject", ylabel="accuracy by file [%]"
    )
    axis.set(ylim=(max(0, 100 * lowest - 5), 101), title="gist, GRU, leave one subject out (dots: seeds)")
    axis.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    save(fig, folder / "loso_gist_subjects.png")
    arms = [a for a in ("real", "classical", "both") if a in arms]
    fig, axes = plt.subplots(1, len(arms), figsize=(5 * len(arms), 4.6), layout="constrained", squeeze=False)
    for axis, arm in zip(axes[0], arms):
        matrix = rows.confusion(arm).astype(float)
        matrix = 100 * matrix / matrix.sum(1, keepdims=True)
        labels = [n.replace("_", " ") for n in PATHOLOGIES[: len(matrix)]]
        shown = ConfusionMatrixDisplay(matrix, display_labels=labels)
        shown.plot(ax=axis, cmap="Blues", colorbar=False, values_format=".1f", xticks_rotation=45)
        axis.set_title(f"{NAMES[arm]} [%]", fontsize=10)
    save(fig, folder / "loso_gist_confusion.png")
    if not (shares := shares_run(rows)):
        return
    fig, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for arm, there in shares.items():
        found = [rows.gain(arm, "real", share=s) for s in there]
        means = np.array([f["mean"] for f in found])
        spread = [means - [f["low"] for f in found], np.array([f["high"] for f in found]) - means]
        axis.errorbar([100 * s for s in there], means, spread, marker="o", capsize=4, label=NAMES[arm])
    axis.axhline(0, color="grey", lw=0.8)
    axis.set(xscale="log", xticks=[5, 25, 100], xticklabels=["5", "25", "100"])
    axis.set(xlabel="share of real walks [%]", ylabel="gain over real only [points]", title="GRU, 95 % interval")
    axis.legend(fontsize=8)
    save(fig, folder / "loso_gist_share.png")


def shares_run(rows: Rows) -> dict[str, list[float]]:
    """The arms that were run at several shares of the real walks, and these."""
    found = {a: [s for s in (0.05, 0.25, 1.0) if rows.comparable(a, "real", share=s)] for a in ("classical", "ours", "people")}
    return {arm: shares for arm, shares in found.items() if len(shares) > 1}


def save(fig, path: Path) -> None:
    with atomic_path(path) as temporary:
        fig.savefig(temporary, dpi=110, format="png")
    plt.close(fig)


def section(rows: Rows, result: dict) -> list[str]:
    """Markdown paragraphs."""
    parts = [
        f"**Synthetic walks that make classifiers better, gist** (GRU, accuracy by file in % of each held-out subject; "
        f"seeds {', '.join(map(str, result['seeds']))}; {result['protocol']}; "
        f"`python -m experiments.loso --dataset data/gist`):",
        arm_table(rows),
        "![accuracy by subject](figures/loso_gist_subjects.png)",
        "![confusion](figures/loso_gist_confusion.png)",
    ]
    parts += [cell_list(rows, arm) for arm in ("real", "classical", "ours", "both") if arm in rows.arms()]
    if shares_run(rows):
        parts.append("![gain against the share of real walks](figures/loso_gist_share.png)")
    return parts + [t for t in [other_table(rows), part_table(rows)] if t]
