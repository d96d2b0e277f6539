"""Recognise activities from leg sensors by the nearest description, subjects held out (HuGaDB).

    python -m experiments.actions --dataset data/hugadb/recordings --num_threads 1
    python -m experiments.actions --dataset data/hugadb/recordings --kinds descriptions classifier --seeds 0 1 2
    python -m experiments.actions --dataset data/hugadb/recordings --folds 0 --seeds 0      (a part; the rest may follow)

In: recordings (`load_recordings`: windows of 2.4 s, named by the activity in their middle). Out: a model and a row for each
kind, group of held-out subjects and seed (runner.py), `model_cards/results/NAME.json`, a figure.

Kinds: `descriptions`, a GaitDualEncoderModel; a window is the activity whose descriptions are nearest; with a linear probe on
its motion encoder. `classifier`: the same encoder trained from scratch with cross-entropy. `unseen_0` ... `unseen_3`: trained
without three activities, which are then recognised by their descriptions alone, among the three, and among all twelve.
`fair_0` ... `fair_3`: small models, the same, but whether a window is of an activity that was trained on is told by the model's
`KnownClasses`, then the nearest description among those or among the others is taken: all twelve compete, windows of activities
that were trained on as well (`seen_top1_of_all`, each activity weighs the same; `_plain`: by cosines; `harmonic_mean` of seen
and unseen; `_merged` as in `top1_merged`). `none_of_these_auroc`: the doubt tells windows of the three from those of activities
trained on; `none_of_these_auroc_described`: what the pipeline says, offered half of the latter, tells all others from them.

Bicycling and sitting in a car were recorded of subject 1 alone: with subjects held out nobody else can teach them, so they are
left out of `top1` and `top5` (all twelve are candidates nevertheless) and reported as `unshared_top1`. `top1_merged` counts
what leg sensors hardly tell apart as one: elevators and standing; sitting in a car and on a chair.
"""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.runner import Rows, RunArguments, groups, interval, parse, run_all, save_figure, write_result
from modeling_gait.configuration_gait_dual_encoder import LOSSES
from modeling_gait.files import atomic_path
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel, GaitEncoder
from modeling_gait.pipeline_zero_shot_gait import label_vectors, none_score
from modeling_gait.training.arguments import PRECISIONS
from modeling_gait.training.data import fingerprint
from modeling_gait.training.loop import save_model, start, training_loop
from modeling_gait.training.recordings import ACTIVITIES, DESCRIPTIONS, Recordings, RecordingWindows, load_recordings
from modeling_gait.training.text import TextArguments, fit_model, nan_moments, new_model, open_encoder

UNSHARED = ("bicycling", "sitting_in_car")
MERGED = {"up_by_elevator": "standing", "down_by_elevator": "standing", "sitting_in_car": "sitting"}
# Never trained on together; fixed before any training so that each three differ in how the legs move.
UNSEEN = (
    ("running", "sitting", "up_by_elevator"),
    ("going_up", "standing", "sitting_down"),
    ("going_down", "standing_up", "down_by_elevator"),
    ("walking", "bicycling", "sitting_in_car"),
)
KINDS = ("descriptions", "classifier", *(f"{kind}_{i}" for kind in ("unseen", "fair") for i in range(len(UNSEEN))))
# Of the kinds fair_*: a tenth of the time, and as good for those trained on (fold 0, top-1 0.85).
SMALL = {
    "hidden_size": 64,
    "num_layers": 2,
    "frames_per_token": 12,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "warmup_steps": 20,
}


@dataclass(kw_only=True)
class ActionArguments(RunArguments):
    """Arguments of the evaluation."""

    output_dir: str = field(default="outputs/actions_hugadb", metadata={"help": "models and rows"})
    name: str = "actions_hugadb"
    kinds: list[str] = field(default_factory=lambda: list(KINDS), metadata={"choices": KINDS})
    num_folds: int = field(default=6, metadata={"help": "groups that the subjects are held out in"})
    folds: list[int] = field(default_factory=list, metadata={"help": "only these groups"})
    losses: list[str] = field(default_factory=lambda: ["clip"], metadata={"choices": LOSSES})
    max_steps: int = 500
    batch_size: int = 96
    hidden_size: int = 128
    num_layers: int = 4
    text_cache: str = "outputs/text_cache"
    mixed_precision: str = field(default="bf16", metadata={"choices": PRECISIONS})


class PlainClassifier(torch.nn.Module):
    """The motion encoder with a linear head: batches -> logits (B, 12)."""

    def __init__(self, like: GaitDualEncoderModel):
        super().__init__()
        self.encoder = GaitEncoder(like.config.gait_config)
        self.encoder.load_state_dict(like.gait_encoder.state_dict())
        self.head = torch.nn.Linear(like.config.gait_config.hidden_size, len(ACTIVITIES))

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(input_values, attention_mask))


class Experiment:
    """Trains and tests one kind, group of subjects and seed at a time."""

    def __init__(self, args: ActionArguments, recordings: Recordings):
        self.args, self.recordings = args, recordings
        self.folder = Path(args.output_dir)
        self.base = TextArguments(
            dataset=args.dataset,
            output_dir="",
            num_frames=recordings.num_frames,
            losses=args.losses,
            text_projection_layers=0,  # words never trained on keep their place among the others
            max_steps=args.max_steps,
            batch_size=args.batch_size,
            hidden_size=args.hidden_size,
            num_layers=args.num_layers,
            warmup_steps=min(50, args.max_steps // 4),
            mixed_precision=args.mixed_precision,
            text_cache=args.text_cache,
            num_threads=args.num_threads,
        )
        self.encoder = open_encoder(self.base)
        self.groups = groups(recordings.subjects, args.num_folds, args.folds)

    def run(self, run: dict) -> dict | None:
        """Numbers of one run; None where the held-out people show none of the unseen activities."""
        kind, recordings = run["kind"], self.recordings
        held_out = np.isin(recordings.subjects, self.groups[run["fold"]])
        unseen = UNSEEN[int(kind[-1])] if kind[-1].isdigit() else ()
        names = np.array(ACTIVITIES)[recordings.labels]
        if unseen and not np.isin(names[held_out], unseen).any():
            return None
        train, test = recordings.select(~held_out & ~np.isin(names, unseen)), recordings.select(held_out)
        assert not set(train.subjects) & set(test.subjects), "a test subject among the training windows"
        args = replace(self.base, seed=run["seed"], output_dir=str(self.folder / "{kind}-{fold}-{seed}".format(**run)))
        about = {"subjects": self.groups[run["fold"]], "windows": len(test), "training_windows": len(train)}
        if kind == "classifier":
            logits = predict(self.classifier(args, train), test)
            return about | recognition_scores(logits, test.labels)
        if kind.startswith("fair"):
            args = replace(args, **SMALL, max_steps=min(args.max_steps, 300), mixed_precision="no")
        model = self.dual_encoder(args, train)
        vectors = label_vectors(model, [DESCRIPTIONS[a] for a in ACTIVITIES])
        scores = predict(lambda **batch: model.get_gait_features(**batch) @ vectors.T, test)
        if unseen and kind.startswith("fair"):
            doubt = predict(model.known_classes, test)
            known = np.isin(np.arange(len(ACTIVITIES)), train.labels)
            fair = np.where((doubt > 0.5)[:, None] == known, -np.inf, scores)
            known = np.flatnonzero(known)
            offered = np.random.default_rng(run["seed"]).permutation(known)[: len(known) // 2]
            none = none_score(model, torch.from_numpy(scores[:, offered].max(1)), torch.from_numpy(doubt)).detach().numpy()
            found = {"none_of_these_auroc_described": float(roc_auc_score(~np.isin(test.labels, offered), none))}
            return about | found | fair_scores(fair, scores, doubt, test.labels, unseen, known)
        if unseen:
            return about | unseen_scores(scores, test.labels, unseen)
        probe = probe_scores(model, train, test, run["seed"])
        return about | recognition_scores(scores, test.labels) | {f"probe_{k}": v for k, v in probe.items()}

    def dual_encoder(self, args: TextArguments, train: Recordings) -> GaitDualEncoderModel:
        """Trained, or loaded where that was done before."""
        if not (Path(args.output_dir) / "config.json").exists():
            model = fit_model(args, RecordingWindows(train, args.channel_dropout), self.encoder, "imu", train.fps)
            save_model(args.output_dir, model)
        model = GaitDualEncoderModel.from_pretrained(args.output_dir).eval()
        model.set_sentence_encoder(self.encoder)
        return model

    def classifier(self, args: TextArguments, train: Recordings) -> PlainClassifier:
        """The same encoder, batches, steps and learning rate, with cross-entropy."""
        accelerator = start(args)
        like = new_model(args, "imu", train.values.shape[1], train.fps, self.encoder)
        windows = RecordingWindows(train, args.channel_dropout)
        some = np.unique(np.linspace(0, len(train) - 1, 512).astype(int))
        like.set_normalization(nan_moments(windows.batch(some, None)["input_values"].flatten(0, 1)))
        file = Path(args.output_dir) / "model.safetensors"
        if not file.exists():
            self.train_classifier(args, windows, PlainClassifier(like), accelerator, file)
        model = PlainClassifier(like)
        model.load_state_dict(load_file(file))
        return model.eval()

    @staticmethod
    def train_classifier(
        args: TextArguments, windows: RecordingWindows, model: PlainClassifier, accelerator, file: Path
    ) -> None:
        """Cross-entropy, into a file of weights."""
        train = windows.recordings

        def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
            rows = windows.balanced(args.batch_size, seed)
            batch = {k: v.to(accelerator.device) for k, v in windows.batch(rows, seed).items()}
            labels = torch.from_numpy(train.labels[rows]).to(accelerator.device)
            loss = torch.nn.functional.cross_entropy(prepared(**batch), labels)
            return loss, {"loss": loss.item()}

        data = fingerprint(train.values, train.starts, train.labels)
        model = training_loop(accelerator, model, args, step_loss, "classifier", data).cpu()
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            save_file(model.state_dict(), temporary)
        shutil.rmtree(file.parent / "checkpoint", ignore_errors=True)


@torch.no_grad()
def predict(score, recordings: Recordings, batch_size: int = 256) -> np.ndarray:
    """What `score` gives for all windows, in batches."""
    windows, rows = RecordingWindows(recordings), np.arange(len(recordings))
    parts = [score(**windows.batch(rows[i : i + batch_size], None)) for i in range(0, len(rows), batch_size)]
    return torch.cat(parts).float().numpy()


def recognition_scores(scores: np.ndarray, labels: np.ndarray) -> dict:
    """Accuracies of scores (N, 12), see the head of this file, and the confusion matrix (rows: true activity)."""
    names = np.array(ACTIVITIES)
    merged = np.array([MERGED.get(a, a) for a in ACTIVITIES])
    said, order = scores.argmax(1), np.argsort(-scores, axis=1)
    right, among = said == labels, (order[:, :5] == labels[:, None]).any(1)
    shared = ~np.isin(names[labels], UNSHARED)
    out = {
        "top1": float(right[shared].mean()),
        "top5": float(among[shared].mean()),
        "top1_balanced": float(np.mean([right[labels == i].mean() for i in np.unique(labels[shared])])),
        "top1_merged": float((merged[said] == merged[labels])[shared].mean()),
        "confusion": confusion_matrix(labels, said, labels=range(len(names))).tolist(),
    }
    if (~shared).any():
        out["unshared_top1"] = float(right[~shared].mean())
    return out


def unseen_scores(scores: np.ndarray, labels: np.ndarray, unseen: tuple[str, ...]) -> dict:
    """Windows of the activities never trained on: among those that the held-out people show (`zero_shot_top1`, each activity
    weighs the same) against chance; and among all twelve."""
    ids = np.array([ACTIVITIES.index(a) for a in unseen])
    own = np.isin(labels, ids)
    scores, labels = scores[own], labels[own]
    said, anywhere = ids[scores[:, ids].argmax(1)], scores.argmax(1)
    each = {ACTIVITIES[i]: float((said == i)[labels == i].mean()) for i in np.unique(labels)}
    everywhere = [float((anywhere == i)[labels == i].mean()) for i in np.unique(labels)]
    return {
        "unseen": list(unseen),
        "zero_shot_top1": float(np.mean(list(each.values()))),
        "zero_shot_top1_of_all": float(np.mean(everywhere)),
        "zero_shot_chance": 1 / len(unseen),
        "zero_shot_each": each,
    }


def fair_scores(
    fair: np.ndarray, plain: np.ndarray, strange: np.ndarray, labels: np.ndarray, unseen: tuple[str, ...], trained: np.ndarray
) -> dict:
    """Fair and plain scores (N, 12), and doubts `strange` (N,), of windows of activities that were `trained` on or not."""
    ids = np.array([ACTIVITIES.index(a) for a in unseen])
    own_name, merged = np.arange(len(ACTIVITIES)), np.array([ACTIVITIES.index(MERGED.get(a, a)) for a in ACTIVITIES])

    def recall(scores: np.ndarray, of: np.ndarray, name: np.ndarray = own_name) -> float:
        return float(np.mean([(name[scores[labels == i].argmax(1)] == name[i]).mean() for i in of if (labels == i).any()]))

    new, old = recall(fair, ids), recall(fair, trained)
    own = np.isin(labels, ids)
    some = own | np.isin(labels, trained)
    return {
        "unseen": list(unseen),
        "zero_shot_top1_of_all": new,
        "zero_shot_top1_of_all_plain": recall(plain, ids),
        "zero_shot_top1_of_all_merged": recall(fair, ids, merged),
        "seen_top1_of_all": old,
        "seen_top1_of_all_plain": recall(plain, trained),
        "harmonic_mean": 2 * new * old / max(new + old, 1e-9),
        "none_of_these_auroc": float(roc_auc_score(own[some], strange[some])),
    }


@torch.no_grad()
def probe_scores(model: GaitDualEncoderModel, train: Recordings, test: Recordings, seed: int, most: int = 400) -> dict:
    """A logistic regression on the motion encoder's summary, from at most `most` training windows of each activity."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(train.labels == i))[:most] for i in np.unique(train.labels)])
    keep = np.zeros(len(train), bool)
    keep[rows] = True
    some = train.select(keep)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(predict(model.gait_encoder, some), some.labels)
    logits = np.full((len(test), len(ACTIVITIES)), -np.inf)
    logits[:, probe.classes_] = probe.decision_function(predict(model.gait_encoder, test))
    found = recognition_scores(logits, test.labels)
    return {k: v for k, v in found.items() if k != "confusion"}


# --- results -----------------------------------------------------------------------------------------------------------------


def result_metrics(rows: list[dict]) -> dict[str, float]:
    """Means over seeds and groups; `classifier_`, `probe_` in front; intervals over groups."""
    metrics: dict = {}
    unseen, fair = ([k for k in KINDS if k.startswith(kind)] for kind in ("unseen", "fair"))
    for front, kinds in (("", ("descriptions",)), ("classifier_", ("classifier",)), ("", unseen), ("", fair)):  # the last wins
        table = Rows([r for r in rows if r["kind"] in kinds], unit="fold")
        for key in sorted({k for r in table.rows for k, v in r.items() if isinstance(v, float)}):
            each = {f: [r[key] for r in table.rows if r["fold"] == f and key in r] for f in table.units}
            means = np.array([np.mean(v) for v in each.values() if v])
            metrics = {k: v for k, v in metrics.items() if k not in (f"{front}{key}_ci_low", f"{front}{key}_ci_high")}
            shown = key in ("top1", "top1_merged", "zero_shot_top1", "zero_shot_top1_of_all", "harmonic_mean")
            metrics |= interval(front + key, means) if shown else {front + key: float(means.mean())}
    each: dict = {}
    for r in rows:
        for name, value in r.get("zero_shot_each", {}).items():
            each.setdefault(name, []).append(value)
    return metrics | {f"zero_shot_{name}": float(np.mean(v)) for name, v in each.items()}


def draw(rows: list[dict], metrics: dict, name: str) -> None:
    """Confusion matrix of the nearest description, and what each activity is worth when never trained on."""
    figure = Figure(figsize=(14, 6.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    counts = sum(np.array(r["confusion"]) for r in rows if r["kind"] == "descriptions")
    words = [a.replace("_", " ") for a in ACTIVITIES]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    left.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.argwhere(share >= 0.005):
        colour = "w" if share[i, j] > 0.6 else "k"
        left.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour)
    left.set_xticks(range(len(words)), words, rotation=45, ha="right")
    left.set_yticks(range(len(words)), words)
    left.set(title="windows of held-out people [%]", xlabel="nearest description", ylabel="activity")
    found = [(w, metrics[f"zero_shot_{a}"]) for a, w in zip(ACTIVITIES, words) if f"zero_shot_{a}" in metrics][::-1]
    shown = right.barh([w for w, _ in found], [v for _, v in found])
    right.bar_label(shown, [f"{v:.2f}" for _, v in found], padding=2, fontsize=8)
    right.axvline(1 / 3, color="black", linestyle=":", label="chance")
    right.set(xlim=(0, 1.12), title="never trained on: recognised among three by description")
    right.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.06))
    save_figure(figure, name)


def main() -> None:
    args = parse(ActionArguments)
    experiment = Experiment(args, load_recordings(args.dataset))
    folds = args.folds or range(args.num_folds)
    runs = [{"kind": k, "fold": f, "seed": s} for s in args.seeds for f in folds for k in args.kinds]
    rows = run_all(args, runs, experiment.run, listed=("kinds",))
    metrics = result_metrics(rows)
    protocol = (
        f"{args.num_folds} groups of subjects held out in turn; windows of {experiment.recordings.num_frames} samples, named "
        "by the activity of their middle; means over seeds, then groups"
    )
    print(write_result(args.name, args.dataset, protocol, metrics, rows))
    if any(r["kind"] == "descriptions" for r in rows):
        draw(rows, metrics, args.name)


if __name__ == "__main__":
    main()
