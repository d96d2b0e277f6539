"""Text -> walk retrieval with people held out, one after another.

    python -m experiments.retrieval --dataset data/gist --num_threads 1          # ten people, seed 0
    python -m experiments.retrieval --dataset data/gist --variants clip label --seeds 0 1 2
    python -m experiments.retrieval --dataset data/gist --variants mse triplet siglip mse+triplet paper --seeds 0 1 2

In: walks of the walk schema. Out: a model and a row (JSON) for each variant, held-out subject and seed in output_dir, made once
(the same command goes on after an interruption); `model_cards/results/NAME.json`, gathered from all rows; figures.

A query is the caption of a recording of the held-out person, written from its measured parameters; the gallery is all of that
person's recordings. `recall_at_k`: the recording itself is among the first k; `walk_recall_at_k`: one of the same walk, as any
sensor saw it. `ndcg_at_10`: the gain of a recording is how many attributes it shares with the described one (class, affected
side, and the measured numbers within TOLERANCES); `ndcg_exponential_at_10`: 2 to the power of that, less 1. `chance_` is the
expectation of a random order. `parameters_`: the numbers that the caption states against the gallery's measured ones, which
were computed as the caption's were: it knows no class, but its numbers are exact.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import average_precision_score, f1_score
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.caption_words import CANONICAL_NAMES, cadence_band, speed_band
from modeling_gait.captions import WalkDescription, describe_walk
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.files import atomic_path
from modeling_gait.gait_search import read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.training.data import load_walks, numbered, pathology_names
from modeling_gait.training.loop import save_model
from modeling_gait.training.results import ROOT, bootstrap, write_json, write_result
from modeling_gait.training.text import TextArguments, WalkWindows, fit_model, fitted_windows, open_encoder, walk_captions

# What a measured number may differ by to be the same for nDCG: about a tenth of its range in people's walks.
TOLERANCES = {"speed": 0.1, "cadence": 6.0, "stride_length": 0.1, "knee_range_left": 5.0, "knee_range_right": 5.0}
KS = (1, 5, 10)
# How each variant is trained; the first is the one that is reported, the others are compared with it.
VARIANTS: dict[str, dict] = {
    "clip": {"losses": ["clip"]},
    "label": {"losses": ["clip"], "captions": "label"},
    **{name: {"losses": name.split("+")} for name in ("mse", "triplet", "siglip", "mse+triplet")},
    **{name: {"losses": name.split("+")} for name in ("clip+triplet", "mse+triplet+clip")},
    "paper": {"losses": ["mse", "triplet"], "text_projection_layers": 0},
}  # fmt: skip
# Zero-shot questions, attribute -> value -> words; a value counts where the held-out person shows it in five recordings.
QUESTIONS = {
    "pathology": {name: f"{words}." for name, words in CANONICAL_NAMES.items()},
    "side": {"left": "gait, left side.", "right": "gait, right side."},
    "speed": {
        "very slow": "someone walks very slowly.",
        "slow": "someone walks slowly.",
        "comfortable": "someone walks at a normal pace.",
        "fast": "someone walks quickly.",
    },
    "cadence": {"low": "gait with a low cadence.", "usual": "gait with a normal cadence.", "high": "gait with a high cadence."},
}  # fmt: skip


@dataclass
class RetrievalArguments:
    """Arguments of the evaluation."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    config: str = field(default="train/configs/text_gist.json", metadata={"help": "arguments of train_text.py"})
    output_dir: str = field(default="outputs/retrieval_gist", metadata={"help": "models and rows"})
    name: str = field(default="retrieval_gist", metadata={"help": "model_cards/results/NAME.json and figures"})
    variants: list[str] = field(default_factory=lambda: ["clip", "label"], metadata={"help": ", ".join(VARIANTS)})
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    seeds: list[int] = field(default_factory=lambda: [0])
    max_steps: int = field(default=0, metadata={"help": "instead of the configuration's"})
    num_threads: int = 0


# --- measures ----------------------------------------------------------------------------------------------------------------


def ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rank (Q,), from 1, of the best right item of each query: scores (Q, N), right (Q, N) bool. Ties count half."""
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    return 1 + (scores > best).sum(1) + ((scores == best) & ~right).sum(1) / 2


def ndcg(scores: np.ndarray, gains: np.ndarray, k: int = 10) -> float:
    """Mean nDCG@k of queries (Järvelin and Kekäläinen 2002); tied items share their mean gain."""
    k = min(k, scores.shape[1])
    discount = 1 / np.log2(np.arange(k) + 2)
    ideal = -np.sort(-gains, axis=1)[:, :k] @ discount
    found = []
    for score, gain in zip(scores, gains):
        order = np.argsort(-score, kind="stable")
        value, start, count = np.unique(-score[order], return_index=True, return_counts=True)
        means = np.add.reduceat(gain[order], start) / count
        found.append(np.repeat(means, count)[:k] @ discount)
    return float(np.mean(np.array(found) / np.maximum(ideal, 1e-12)))


def chance_ndcg(gains: np.ndarray, k: int = 10) -> float:
    """Expected nDCG@k of a random order."""
    k = min(k, gains.shape[1])
    discount = 1 / np.log2(np.arange(k) + 2)
    ideal = -np.sort(-gains, axis=1)[:, :k] @ discount
    return float(np.mean(gains.mean(1) * discount.sum() / np.maximum(ideal, 1e-12)))


def shared_attributes(descriptions: list[WalkDescription]) -> np.ndarray:
    """(N, N): how many of class, side and the numbers of TOLERANCES two walks share; nothing is shared where it is unknown."""
    shared = np.zeros((len(descriptions), len(descriptions)), int)
    for name in ("pathology", "side"):
        value = np.array([getattr(d, name) or "unknown" for d in descriptions])
        shared += (value[:, None] == value) & (value != "unknown")
    for name, tolerance in TOLERANCES.items():
        value = np.array([np.nan if getattr(d, name) is None else getattr(d, name) for d in descriptions], float)
        shared += np.abs(value[:, None] - value) <= tolerance  # nan is near nothing
    return shared


def retrieval_scores(scores: np.ndarray, shared: np.ndarray, walk_ids: np.ndarray, prefix: str = "") -> dict[str, float]:
    """All retrieval measures of scores (N queries, N recordings); query i describes recording i."""
    own, walk = np.eye(len(scores), dtype=bool), walk_ids[:, None] == walk_ids
    first, of_walk = ranks(scores, own), ranks(scores, walk)
    out = {f"{prefix}recall_at_{k}": float((first <= k).mean()) for k in KS}
    out |= {f"{prefix}walk_recall_at_{k}": float((of_walk <= k).mean()) for k in KS}
    out |= {f"{prefix}median_rank": float(np.median(first)), f"{prefix}walk_median_rank": float(np.median(of_walk))}
    gains = shared.astype(float)
    return out | {
        f"{prefix}ndcg_at_10": ndcg(scores, gains),
        f"{prefix}ndcg_exponential_at_10": ndcg(scores, np.exp2(gains) - 1),
    }


def chance_scores(shared: np.ndarray, walk_ids: np.ndarray) -> dict[str, float]:
    """Expectations of a random order."""
    n, gains = len(shared), shared.astype(float)
    same = (walk_ids[:, None] == walk_ids).sum(1)
    missed = {k: np.prod([(n - same - i).clip(0) / (n - i) for i in range(min(k, n))], axis=0) for k in KS}
    return {
        **{f"chance_recall_at_{k}": min(1.0, k / n) for k in KS},
        **{f"chance_walk_recall_at_{k}": float(1 - missed[k].mean()) for k in KS},
        "chance_ndcg_at_10": chance_ndcg(gains),
        "chance_ndcg_exponential_at_10": chance_ndcg(np.exp2(gains) - 1),
    }


def parameter_scores(descriptions: list[WalkDescription]) -> np.ndarray:
    """(N, N): minus the distance of a caption's numbers to a recording's, in TOLERANCES; where one is not measured: 2."""
    columns = [
        [np.nan if v is None else v / t for d in side for v in [getattr(d, name)]]
        for side in ([d.canonical() for d in descriptions], descriptions)
        for name, t in TOLERANCES.items()
    ]
    said, measured = np.array(columns[: len(TOLERANCES)]).T, np.array(columns[len(TOLERANCES) :]).T
    gap = np.abs(said[:, None] - measured[None])
    gap = np.where(np.isnan(said)[:, None], 0.0, np.where(np.isnan(gap), 2.0, gap))
    return -np.sqrt((gap**2).mean(-1))


def question_scores(walks: np.ndarray, texts: np.ndarray, values: list[str], truth: np.ndarray) -> dict[str, float]:
    """One attribute by its words: walks (N, P), texts (V, P) of `values`, truth (N,). Macro over the values that occur:
    `f1`, `average_precision`, `accuracy`, and what guessing by frequency would get. Empty with fewer than two values."""
    present = [i for i, v in enumerate(values) if (truth == v).sum() >= 5]
    if len(present) < 2:
        return {}
    kept = np.isin(truth, [values[i] for i in present])
    scores, truth = walks[kept] @ texts[present].T, truth[kept]
    names = [values[i] for i in present]
    said = np.array(names)[scores.argmax(1)]
    share = np.array([(truth == n).mean() for n in names])
    return {
        "f1": float(f1_score(truth, said, labels=names, average="macro")),
        "average_precision": float(np.mean([average_precision_score(truth == n, s) for n, s in zip(names, scores.T)])),
        "accuracy": float((said == truth).mean()),
        "chance_f1": float(share.mean()),  # guesses drawn by frequency: precision and recall of a value are its share
        "chance_average_precision": float(share.mean()),
    }


# --- runs --------------------------------------------------------------------------------------------------------------------


@dataclass
class Walks:
    """All walks of a data set: joints, captions, descriptions, and whose they are."""

    joints: list[np.ndarray]
    texts: dict[str, list[list[str]]]
    numbers: dict[str, np.ndarray]
    descriptions: list[WalkDescription]
    subjects: np.ndarray
    walk_ids: np.ndarray


def load_all(dataset: str) -> Walks:
    """Everything in memory."""
    data = load_walks(dataset)
    names = pathology_names(data)
    captions = {kind: walk_captions(data, kind) for kind in ("measured", "label")}
    descriptions = [
        describe_walk(json.loads(p), names[int(c)], attributes=json.loads(a or "{}"))
        for p, c, a in zip(data["gait_parameters"], data["pathology"], data["attributes"])
    ]
    texts, numbers = ({k: v[i] for k, v in captions.items()} for i in (0, 1))
    return Walks(list(read_joints(data)), texts, numbers, descriptions, np.array(data["subject_id"]), np.array(data["walk_id"]))


class Experiment:
    """Trains and tests one variant, subject and seed at a time."""

    def __init__(self, args: RetrievalArguments, walks: Walks):
        self.args, self.walks = args, walks
        self.folder = Path(args.output_dir)
        values = json.loads(Path(args.config).read_text())
        self.base = TextArguments(**values | {"num_threads": args.num_threads, "dataset": args.dataset})
        if args.max_steps:
            self.base.max_steps = args.max_steps
        self.encoder = open_encoder(self.base)

    def path(self, run: dict) -> Path:
        return self.folder / "rows" / "{variant}-{subject}-{seed}.json".format(**run)

    def model(self, run: dict) -> tuple[GaitDualEncoderModel, GaitFeatureExtractor]:
        """Trained on everyone else, or loaded where that was done before."""
        folder = self.folder / "{variant}-{subject}-{seed}".format(**run)
        if not (folder / "config.json").exists():
            args = replace(self.base, **VARIANTS[run["variant"]], seed=run["seed"], output_dir=str(folder))
            rows = np.flatnonzero(self.walks.subjects != run["subject"])
            windows, extractor = fitted_windows(
                args,
                [self.walks.joints[i] for i in rows],
                [self.walks.texts[args.captions][i] for i in rows],
                self.walks.numbers[args.captions][rows],
            )
            model = fit_model(args, windows, self.encoder, extractor.skeleton, extractor.fps)
            save_model(folder, model, extractor)
        model = GaitDualEncoderModel.from_pretrained(folder).eval()
        model.set_sentence_encoder(self.encoder)
        return model, GaitFeatureExtractor.from_pretrained(folder)

    def run(self, run: dict) -> dict:
        """The row of one run."""
        model, extractor = self.model(run)
        walks, test = self.walks, np.flatnonzero(self.walks.subjects == run["subject"])
        kind = VARIANTS[run["variant"]].get("captions", "measured")
        texts = [walks.texts[kind][i] for i in test]
        gait = embed_walks(model, WalkWindows([walks.joints[i] for i in test], texts, walks.numbers[kind][test], extractor))
        descriptions = [walks.descriptions[i] for i in test]
        shared, ids = shared_attributes(descriptions), walks.walk_ids[test]
        row = run | retrieval_scores(embed_texts(model, [t[0] for t in texts]) @ gait.T, shared, ids)
        if kind == "measured":
            row |= retrieval_scores(
                embed_texts(model, [t[min(1, len(t) - 1)] for t in texts]) @ gait.T, shared, ids, "paraphrase_"
            )
            row |= retrieval_scores(parameter_scores(descriptions), shared, ids, "parameters_")
            row |= chance_scores(shared, ids)
        row["questions"] = {}
        for attribute, words in QUESTIONS.items():
            truth = np.array([attribute_of(d, attribute) for d in descriptions])
            found = question_scores(gait, embed_texts(model, list(words.values())), list(words), truth)
            row["questions"] |= {attribute: found} if found else {}
        return row | {"recordings": len(test)}


def attribute_of(description: WalkDescription, attribute: str) -> str:
    """The value of one of QUESTIONS, "unknown" where it is not known."""
    value = getattr(description, attribute)
    if value is None:
        return "unknown"
    return {"speed": speed_band, "cadence": cadence_band}.get(attribute, str)(value)


@torch.no_grad()
def embed_walks(model: GaitDualEncoderModel, windows, batch_size: int = 128) -> np.ndarray:
    """Middle windows -> unit vectors (N, P)."""
    rows = np.arange(len(windows))
    parts = [model.get_gait_features(**windows.batch(rows[i : i + batch_size], None)) for i in range(0, len(rows), batch_size)]
    return torch.cat(parts).numpy()


@torch.no_grad()
def embed_texts(model: GaitDualEncoderModel, texts: list[str]) -> np.ndarray:
    """Texts -> unit vectors (N, P)."""
    return model.get_text_features(texts).numpy()


# --- results -----------------------------------------------------------------------------------------------------------------


def gather(folder: Path, main_variant: str) -> tuple[dict, list[dict]]:
    """All rows, and the metrics: those of the main variant plainly named, those of others with the variant in front.

    Means over seeds, then over subjects; `_ci_low`, `_ci_high`: 95 % bootstrap over subjects; `VARIANT_ndcg_at_10_difference`:
    paired with the main variant."""
    rows = [json.loads(p.read_text()) for p in sorted((folder / "rows").glob("*.json"))]
    metrics: dict = {}
    for variant in sorted({r["variant"] for r in rows}, key=lambda v: (v != main_variant, v)):
        front = "" if variant == main_variant else variant.replace("+", "_") + "_"
        own = [flat_row(r) for r in rows if r["variant"] == variant]
        for key in own[0]:
            if not isinstance(own[0][key], float):
                continue
            by_subject: dict = {}
            for r in own:
                if key in r:
                    by_subject.setdefault(r["subject"], []).append(r[key])
            means = np.array([np.mean(v) for v in by_subject.values()])
            metrics[front + key] = float(means.mean())
            if key in ("ndcg_at_10", "recall_at_1", "recall_at_10", "pathology_accuracy") and len(means) > 1:
                metrics[f"{front}{key}_ci_low"], metrics[f"{front}{key}_ci_high"] = bootstrap(means)
        if front:
            metrics |= paired_difference(rows, variant, main_variant, front)
        people = [r["subject"] for r in own]
        metrics[f"{front}subjects"] = len(set(people))
        metrics[f"{front}seeds"] = min(people.count(p) for p in people)  # of each of them at least
    return metrics, rows


def paired_difference(rows: list[dict], variant: str, other: str, front: str, key: str = "ndcg_at_10") -> dict[str, float]:
    """A variant's nDCG less the main one's, over the subjects and seeds that both were trained for, with its interval."""
    found = {v: {(r["subject"], r["seed"]): r[key] for r in rows if r["variant"] == v} for v in (variant, other)}
    by_subject: dict = {}
    for subject, seed in sorted(set(found[variant]) & set(found[other])):
        by_subject.setdefault(subject, []).append(found[variant][subject, seed] - found[other][subject, seed])
    means = np.array([np.mean(v) for v in by_subject.values()])
    if len(means) < 1:
        return {}
    out = {f"{front}{key}_difference": float(means.mean())}
    if len(means) > 1:
        out[f"{front}{key}_difference_ci_low"], out[f"{front}{key}_difference_ci_high"] = bootstrap(means)
    return out


def flat_row(row: dict) -> dict:
    """A row with its questions as `ATTRIBUTE_f1` and so on."""
    return {k: v for k, v in row.items() if k != "questions"} | {
        f"{a}_{k}": v for a, found in row["questions"].items() for k, v in found.items()
    }


def draw(
    metrics: dict, vectors: np.ndarray, labels: np.ndarray, anchors: dict[str, np.ndarray], title: str, path: Path
) -> None:
    """Left: recall@k and nDCG of the arms; right: map of the held-out person's walks and of the classes' words."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5.2), width_ratios=(1.15, 1))
    arms = {
        "": "caption",
        "paraphrase_": "paraphrase",
        "label_": "class name only",
        "parameters_": "measured numbers",
        "chance_": "chance",
    }
    keys = {
        "recall_at_1": "recall@1",
        "recall_at_10": "recall@10",
        "walk_recall_at_10": "same walk, @10",
        "ndcg_at_10": "nDCG@10",
    }
    arms = {a: words for a, words in arms.items() if a + "ndcg_at_10" in metrics}
    for i, (arm, words) in enumerate(arms.items()):
        at = np.arange(len(keys)) + (i - (len(arms) - 1) / 2) * 0.16
        values = [metrics.get(arm + k, 0) for k in keys]
        bars = left.bar(at, values, 0.15, label=words)
        left.bar_label(bars, [f"{v:.2f}" for v in values], fontsize=7)
    left.set_xticks(range(len(keys)), keys.values())
    left.set(ylim=(0, 1.08), title="text to walk, people held out")
    left.legend(frameon=False, fontsize=8, ncol=5, loc="upper center", bbox_to_anchor=(0.5, -0.06))
    everything = np.concatenate(
        [vectors - vectors.mean(0), np.stack(list(anchors.values())) - np.mean(list(anchors.values()), 0)]
    )
    at = TSNE(perplexity=min(30, (len(everything) - 1) / 3), init="pca", random_state=0, metric="cosine").fit_transform(
        everything
    )
    for i, name in enumerate(anchors):
        own = labels == name
        right.scatter(*at[: len(labels)][own].T, s=9, color=f"C{i}", alpha=0.6, linewidths=0)
        right.scatter(*at[len(labels) + i], marker="*", s=170, color=f"C{i}", edgecolors="black", label=name.replace("_", " "))
    right.set(xticks=[], yticks=[], title=title)
    where = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "ncol": 4}
    right.legend(frameon=False, fontsize=8, title="star: the class's name in words", title_fontsize=8, **where)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def draw_fold(experiment: Experiment, metrics: dict, variant: str, subject: str, seed: int) -> None:
    """The figure, with one held-out person's walks."""
    model, extractor = experiment.model({"variant": variant, "subject": subject, "seed": seed})
    walks, test = experiment.walks, np.flatnonzero(experiment.walks.subjects == subject)
    windows = WalkWindows([walks.joints[i] for i in test], [[]] * len(test), test, extractor)
    labels = np.array([walks.descriptions[i].pathology for i in test])
    names = [n for n in CANONICAL_NAMES if n in set(labels)]
    anchors = dict(zip(names, embed_texts(model, [QUESTIONS["pathology"][n] for n in names])))
    path = ROOT / "model_cards" / "figures" / f"{experiment.args.name}.png"
    draw(metrics, embed_walks(model, windows), labels, anchors, f"shared space (t-SNE), subject {subject} held out", path)


def main() -> None:
    args = HfArgumentParser(RetrievalArguments).parse_args_into_dataclasses()[0]
    unknown = set(args.variants) - set(VARIANTS)
    if unknown:
        raise ValueError(f"unknown variants {', '.join(sorted(unknown))}; known: {', '.join(VARIANTS)}")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    experiment = Experiment(args, load_all(args.dataset))
    everyone = numbered(np.array(experiment.walks.subjects))
    missing = set(args.subjects) - set(everyone)
    if missing:
        raise ValueError(f"{args.dataset}: no such subject: {', '.join(sorted(missing))}; there are {', '.join(everyone)}")
    subjects = args.subjects or everyone
    todo = [{"variant": v, "subject": s, "seed": i} for i in args.seeds for v in args.variants for s in subjects]
    for run in tqdm([r for r in todo if not experiment.path(r).exists()], desc="runs"):
        write_json(experiment.path(run), experiment.run(run))
    metrics, rows = gather(experiment.folder, next(iter(VARIANTS)))
    protocol = (
        "leave one subject out; queries: captions of the held-out person's recordings; gallery: all of that person's "
        "recordings; trained on the others; means over seeds, then subjects; losses are compared by pairs of the same subject "
        "and seed; who was held out with which seed: rows"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows, gathered=True))
    first = next((r for r in rows if r["variant"] == next(iter(VARIANTS))), None)
    if first:
        draw_fold(experiment, metrics, first["variant"], first["subject"], first["seed"])


if __name__ == "__main__":
    main()
