"""Text -> walk retrieval with people held out, one after another.

    python -m experiments.retrieval --dataset data/gist --num_threads 1          # ten people, seed 0
    python -m experiments.retrieval --dataset data/gist --variants values clip label --seeds 0 1 2
    python -m experiments.retrieval --dataset data/gist --variants mse triplet siglip mse+triplet paper --seeds 0 1 2

In: walks of the walk schema. Out: a model and a row for each variant, held-out subject and seed (runner.py),
`model_cards/results/NAME.json`, a figure.

A query is the caption of a recording of the held-out person, written from its measured parameters; the gallery is all of that
person's recordings. `recall_at_k`: the recording itself is among the first k; `walk_recall_at_k`: one of the same walk, as any
sensor saw it. `ndcg_at_10`: the gain of a recording is how many attributes it shares with the described one (class, affected
side, and the measured numbers within TOLERANCES); `ndcg_exponential_at_10`: 2 to the power of that, less 1. `chance_` is the
expectation of a random order. `parameters_`: the numbers that the caption states against the gallery's measured ones, which
were computed as the caption's were: it knows no class, but its numbers are exact. `hybrid_`: `GaitSearch.scores`, what the
caption states against what was measured and the rest by the dual encoder; the gallery's labels are hidden. `paraphrase_`: the
second caption, which leaves facts out; `ceiling_paraphrase_`: its numbers and the true class, all that it can tell;
`stated_ndcg`: only what the query states counts.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, f1_score

from experiments.runner import Rows, RunArguments, bars, held_out, interval, parse, run_all, save_figure, split, write_result
from modeling_gait.caption_words import cadence_band, speed_band
from modeling_gait.captions import WalkDescription, describe_walk
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_classes import load_classes
from modeling_gait.gait_query import read_query
from modeling_gait.gait_search import GaitSearch, measured_row, read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.training.data import load_walks, pathology_names
from modeling_gait.training.loop import save_model
from modeling_gait.training.text import TextArguments, WalkWindows, fit_model, fitted_windows, open_encoder, walk_captions

# What a measured number may differ by to be the same for nDCG: about a tenth of its range in people's walks.
TOLERANCES = {"speed": 0.1, "cadence": 6.0, "stride_length": 0.1, "knee_range_left": 5.0, "knee_range_right": 5.0}
KS = (1, 5, 10)
# How each variant is trained; the first is the one that is reported, the others are compared with it.
DIGITS = {"numbers": [], "mirror": 0.0}
VARIANTS: dict[str, dict] = {
    "values": {"losses": ["clip", "numbers"]},  # numbers as values, hard negatives, mirrored walks
    "clip": {"losses": ["clip"]} | DIGITS,
    "label": {"losses": ["clip"], "captions": "label"} | DIGITS,
    **{name: {"losses": name.split("+")} | DIGITS for name in ("mse", "triplet", "siglip", "mse+triplet")},
    **{name: {"losses": name.split("+")} | DIGITS for name in ("clip+triplet", "mse+triplet+clip")},
    "paper": {"losses": ["mse", "triplet"], "text_projection_layers": 0} | DIGITS,
}  # fmt: skip
# Zero-shot questions, attribute -> value -> words; a value counts where the held-out person shows it in five recordings.
QUESTIONS = {
    "pathology": {c.name: f"{c.title}." for c in load_classes().select(PATHOLOGIES).classes},
    "side": {"left": "gait, left side.", "right": "gait, right side."},
    "speed": {
        "very slow": "someone walks very slowly.",
        "slow": "someone walks slowly.",
        "comfortable": "someone walks at a normal pace.",
        "fast": "someone walks quickly.",
    },
    "cadence": {"low": "gait with a low cadence.", "usual": "gait with a normal cadence.", "high": "gait with a high cadence."},
}  # fmt: skip


@dataclass(kw_only=True)
class RetrievalArguments(RunArguments):
    """Arguments of the evaluation."""

    config: str = field(default="train/configs/text_gist.json", metadata={"help": "arguments of train_text.py"})
    output_dir: str = field(default="outputs/retrieval_gist", metadata={"help": "models and rows"})
    name: str = "retrieval_gist"
    variants: list[str] = field(default_factory=lambda: ["values"], metadata={"choices": tuple(VARIANTS)})
    subjects: list[str] = field(default_factory=list, metadata={"help": "held-out subjects; default: every one"})
    max_steps: int = field(default=0, metadata={"help": "instead of the configuration's"})


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


def matches(descriptions: list[WalkDescription]) -> dict[str, np.ndarray]:
    """Class, side and the numbers of TOLERANCES -> (N, N): do two walks share it? What is unknown is not."""
    out = {}
    for name in ("pathology", "side"):
        value = np.array([getattr(d, name) or "unknown" for d in descriptions])
        out[name] = (value[:, None] == value) & (value != "unknown")
    for name, tolerance in TOLERANCES.items():
        value = np.array([np.nan if getattr(d, name) is None else getattr(d, name) for d in descriptions], float)
        out[name] = np.abs(value[:, None] - value) <= tolerance  # nan is near nothing
    return out


def shared_attributes(descriptions: list[WalkDescription]) -> np.ndarray:
    """(N, N): how many of `matches` two walks share."""
    return sum(m.astype(int) for m in matches(descriptions).values())


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
    parameters: list[dict]
    subjects: np.ndarray
    walk_ids: np.ndarray


def load_all(dataset: str) -> Walks:
    """Everything in memory."""
    data = load_walks(dataset)
    names = pathology_names(data)
    captions = {kind: walk_captions(data, kind) for kind in ("measured", "label")}
    parameters = [json.loads(p) for p in data["gait_parameters"]]
    descriptions = [
        describe_walk(p, names[int(c)], attributes=json.loads(a or "{}"))
        for p, c, a in zip(parameters, data["pathology"], data["attributes"])
    ]
    texts, numbers = ({k: v[i] for k, v in captions.items()} for i in (0, 1))
    people, walk_ids = np.array(data["subject_id"]), np.array(data["walk_id"])
    return Walks(
        list(read_joints(data, GaitFeatureExtractor().fps)), texts, numbers, descriptions, parameters, people, walk_ids
    )


def text_arguments(args, **more) -> TextArguments:
    """Arguments of the training, from the configuration file of an experiment."""
    values = json.loads(Path(args.config).read_text()) | {"num_threads": args.num_threads, "dataset": args.dataset} | more
    return TextArguments(**values | ({"max_steps": args.max_steps} if args.max_steps else {}))


def trained(args: TextArguments, encoder, walks: tuple, **about) -> tuple[GaitDualEncoderModel, GaitFeatureExtractor]:
    """The model of `args.output_dir`; trained on `walks` (joints, texts, numbers) where it is not there; `about`: their
    `skeleton` and `fps`, if not those of Kinect."""
    folder = Path(args.output_dir)
    if not (folder / "config.json").exists():
        windows, extractor = fitted_windows(args, *walks, **about)
        save_model(folder, fit_model(args, windows, encoder, extractor.skeleton, extractor.fps), extractor)
    model = GaitDualEncoderModel.from_pretrained(folder).eval()
    model.set_sentence_encoder(encoder)
    return model, GaitFeatureExtractor.from_pretrained(folder)


class Experiment:
    """Trains and tests one variant, subject and seed at a time."""

    def __init__(self, args: RetrievalArguments, walks: Walks):
        self.args, self.walks = args, walks
        self.base = text_arguments(args, output_dir=args.output_dir)
        self.encoder = open_encoder(self.base)

    def some(self, rows: np.ndarray, kind: str) -> tuple:
        """Joints, texts and numbers of these rows."""
        return [self.walks.joints[i] for i in rows], [self.walks.texts[kind][i] for i in rows], self.walks.numbers[kind][rows]

    def run(self, run: dict) -> dict:
        """Numbers of one run."""
        walks, (train, test) = self.walks, split(self.walks.subjects, [run["subject"]])
        kind = VARIANTS[run["variant"]].get("captions", "measured")
        folder = str(Path(self.args.output_dir) / "{variant}-{subject}-{seed}".format(**run))
        args = replace(self.base, **VARIANTS[run["variant"]], seed=run["seed"], output_dir=folder)
        model, extractor = trained(args, self.encoder, self.some(train, kind))
        joints, texts, numbers = self.some(test, kind)
        gait = embed_walks(model, WalkWindows(joints, texts, numbers, extractor))
        descriptions = [walks.descriptions[i] for i in test]
        shared, ids = shared_attributes(descriptions), walks.walk_ids[test]
        row = retrieval_scores(embed_texts(model, [t[0] for t in texts]) @ gait.T, shared, ids)
        if kind == "measured":
            row |= retrieval_scores(
                embed_texts(model, [t[min(1, len(t) - 1)] for t in texts]) @ gait.T, shared, ids, "paraphrase_"
            )
            row |= retrieval_scores(parameter_scores(descriptions), shared, ids, "parameters_")
            if model.config.numbers:
                row |= hybrid_scores(model, extractor, gait, [walks.parameters[i] for i in test], texts, descriptions, ids)
            row |= chance_scores(shared, ids)
        row["questions"] = {}
        for attribute, words in QUESTIONS.items():
            truth = np.array([attribute_of(d, attribute) for d in descriptions])
            found = question_scores(gait, embed_texts(model, list(words.values())), list(words), truth)
            row["questions"] |= {attribute: found} if found else {}
        return row | {"recordings": len(test)}


def hybrid_scores(model, extractor, gait, parameters: list[dict], texts, descriptions, walk_ids: np.ndarray) -> dict:
    """Retrieval by `GaitSearch` without labels, by captions and by paraphrases; see the head of this file."""
    measured = np.stack([measured_row(p) for p in parameters])
    unlabelled = Dataset.from_dict({"row": range(len(gait))})
    search, both, out = GaitSearch(model, unlabelled, gait, measured, extractor=extractor), matches(descriptions), {}
    shared = sum(m.astype(int) for m in both.values())
    pathology = np.array([d.pathology for d in descriptions])
    for number, front in enumerate(("", "paraphrase_")):
        queries = [read_query(t[min(number, len(t) - 1)]) for t in texts]
        scores = np.stack([search.scores(q) for q in queries])
        out |= retrieval_scores(scores, shared, walk_ids, f"hybrid_{front}")
        said = {n: np.array([any(c.quantity == n for c in q.conditions) for q in queries]) for n in both}
        stated = sum(m * said[n][:, None] for n, m in both.items())
        out[f"hybrid_{front}stated_ndcg_at_10"] = ndcg(scores, stated.astype(float))
    numbers = [replace(q, conditions=tuple(c for c in q.conditions if not c.values), words="") for q in queries]
    best = np.stack([search.scores(q) if q.conditions else np.zeros(len(gait)) for q in numbers])
    best += 3.0 * (pathology[:, None] == pathology)
    return out | {"ceiling_paraphrase_ndcg_at_10": ndcg(best, shared.astype(float))}


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


def flat(row: dict, inside: str) -> dict:
    """A row with what it holds under `inside`, {attribute: {name: number}}, as ATTRIBUTE_name."""
    return {k: v for k, v in row.items() if k != inside} | {
        f"{a}_{k}": v for a, found in row.get(inside, {}).items() for k, v in found.items()
    }


def result_metrics(rows: list[dict], main: str = next(iter(VARIANTS))) -> dict[str, float]:
    """Those of the main variant plainly named, those of others with the variant in front.

    Means over seeds, then over subjects; `_ci_low`, `_ci_high`: 95 % bootstrap over subjects; `VARIANT_ndcg_at_10_difference`:
    paired with `clip` by subject and seed."""
    table, metrics = Rows([flat(r, "questions") for r in rows]), {}
    for variant in sorted({r["variant"] for r in rows}, key=lambda v: (v != main, v)):
        front = "" if variant == main else variant.replace("+", "_") + "_"
        own = table.pick(variant=variant)
        for key in [k for k, v in own[0].items() if isinstance(v, float)]:
            means = table.means(key, variant=variant)
            shown = key.endswith("ndcg_at_10") or key in (
                "recall_at_1",
                "recall_at_10",
                "walk_recall_at_10",
                "pathology_accuracy",
            )
            shown |= key == "hybrid_walk_recall_at_10"
            metrics |= interval(front + key, means) if shown else {front + key: float(means.mean())}
        gains = table.gains("ndcg_at_10", {"variant": variant}, {"variant": "clip"})
        if variant != "clip" and len(gains):
            metrics |= interval(f"{front}ndcg_at_10_difference", gains)
        people = [r["subject"] for r in own]
        metrics[f"{front}subjects"] = len(set(people))
        metrics[f"{front}seeds"] = min(people.count(p) for p in people)  # of each of them at least
    return metrics


def draw(metrics: dict, name: str) -> None:
    """Recall and nDCG of captions, paraphrases, class names, measured numbers and chance."""
    keys = {
        "recall_at_1": "recall@1",
        "recall_at_10": "recall@10",
        "walk_recall_at_10": "same walk, @10",
        "ndcg_at_10": "nDCG@10",
    }
    arms = {
        "hybrid_": "caption, hybrid",
        "hybrid_paraphrase_": "paraphrase, hybrid",
        "": "caption",
        "paraphrase_": "paraphrase",
    }
    arms |= {"label_": "class name only", "parameters_": "measured numbers"}
    arms |= {"chance_": "chance"}
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axis = figure.subplots()
    shown = {words: [(metrics[a + k],) * 3 if a + k in metrics else None for k in keys] for a, words in arms.items()}
    bars(axis, list(keys.values()), {words: v for words, v in shown.items() if any(v)})
    axis.set(ylim=(0, 1.08), title="text to walk, people held out")
    save_figure(figure, name)


def main() -> None:
    args = parse(RetrievalArguments)
    experiment = Experiment(args, load_all(args.dataset))
    subjects = held_out(experiment.walks.subjects, args.subjects, args.dataset)
    runs = [{"variant": v, "subject": s, "seed": i} for i in args.seeds for v in args.variants for s in subjects]
    rows = run_all(args, runs, experiment.run, listed=("variants",))
    metrics = result_metrics(rows)
    protocol = (
        "leave one subject out; queries: captions of the held-out person's recordings; gallery: all of that person's "
        "recordings; trained on the others; means over seeds, then subjects; losses are compared by pairs of the same subject "
        "and seed; who was held out with which seed: rows"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows))
    draw(metrics, args.name)


if __name__ == "__main__":
    main()
