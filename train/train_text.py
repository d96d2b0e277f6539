"""Train GaitDualEncoderModel: walks and words in one space, from a data set of walks or of IMU recordings.

    python train/train_text.py train/configs/text_gist.json --exclude_subjects 10 --output_dir outputs/text_gist_10
    python train/train_text.py --dataset data/hugadb/recordings --exclude_subjects 1 2 3 --output_dir outputs/text_hugadb

In: the walk schema (captions: the column `captions`), or recordings (`subject_id`, `activity`, `values` (T, C), `channel_mask`,
`sampling_rate`; captions: `DESCRIPTIONS` of the activity). Out: a folder for `GaitDualEncoderModel.from_pretrained`, with the
feature extractor beside it for walks. The frozen sentence encoder reads each caption once; its embeddings are kept in
`text_cache`, for all runs.

Two captions of one walk, or captions that say the same of two walks, are never negatives of each other.
"""

import json
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, load_dataset
from torch.nn.attention import SDPBackend, sdpa_kernel

from modeling_gait.augmentation import Augmentation
from modeling_gait.caption_words import CANONICAL_NAMES
from modeling_gait.captions import describe_walk
from modeling_gait.configuration_gait_dual_encoder import GaitDualEncoderConfig, GaitEncoderConfig, SentenceEncoderConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_search import read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel, SentenceEncoder
from modeling_gait.pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
from modeling_gait.training.common import (
    StepBatches,
    TrainArguments,
    load_walks,
    parse_arguments,
    pathology_names,
    save_model,
    start,
    training_loop,
)

# What sensors on feet, shins and thighs notice of each activity of HuGaDB; written before any model was trained on it.
DESCRIPTIONS = {
    "walking": (
        "a person walks on level ground with alternating steps at a steady rhythm",
        "walking: the legs swing forward in turn, the heel strikes the floor once a step, the thighs stay upright on average",
        "rhythmic, moderate leg movement with medium impacts, both feet never off the floor together",
    ),
    "running": (
        "a person runs: fast strides with a flight phase in which both feet are off the floor",
        "running: quick, strong swings of both legs, hard impacts and high accelerations, a fast rhythm",
        "very vigorous, rhythmic leg movement with the knees bent high behind",
    ),
    "going_up": (
        "a person goes up the stairs, step by step",
        "climbing stairs: each knee and thigh is lifted high in turn and the body is pushed upward",
        "rhythmic stepping with strongly bent hips and knees, slower than walking, soft foot contacts on higher steps",
    ),
    "going_down": (
        "a person goes down the stairs, step by step",
        "descending stairs: each leg is lowered in turn, the foot lands hard with the toes first, the knee yields",
        "rhythmic stepping with sharp impacts as the body drops to each lower step",
    ),
    "sitting": (
        "a person sits still on a chair",
        "sitting: the thighs lie horizontal, the shins hang upright, the legs hardly move",
        "no movement, hips and knees bent at a right angle",
    ),
    "sitting_down": (
        "a person sits down on a chair from standing",
        "sitting down: the thighs turn once from upright to horizontal while the feet stay on the floor",
        "a single slow movement from standing to sitting, hips and knees bend",
    ),
    "standing_up": (
        "a person stands up from a chair",
        "standing up: the thighs turn once from horizontal to upright while the feet stay on the floor",
        "a single slow movement from sitting to standing, hips and knees straighten",
    ),
    "standing": (
        "a person stands still on the floor",
        "standing: thighs and shins are upright, the legs hardly move",
        "no movement, hips and knees straight, the weight on both feet",
    ),
    "bicycling": (
        "a person rides a bicycle",
        "bicycling: the legs pedal round in turn, smooth and rhythmic, without impacts, the thighs near horizontal",
        "seated, circular, rhythmic leg movement with bent knees and vibration from the road",
    ),
    "up_by_elevator": (
        "a person stands still in an elevator that goes up",
        "riding an elevator up: the legs are upright and still, the body is heavier for a moment and lighter at the end",
        "no leg movement, standing, a slow upward acceleration",
    ),
    "down_by_elevator": (
        "a person stands still in an elevator that goes down",
        "riding an elevator down: the legs are upright and still, the body is lighter for a moment and heavier at the end",
        "no leg movement, standing, a slow downward acceleration",
    ),
    "sitting_in_car": (
        "a person sits in a moving car",
        "sitting in a car: the thighs lie horizontal, the legs are still but vibrate and sway with the car",
        "seated with bent knees, no movement of one's own, vibration from the road",
    ),
}  # fmt: skip
ACTIVITIES = tuple(DESCRIPTIONS)


@dataclass
class TextArguments(TrainArguments):
    """Arguments of the dual encoder's training."""

    text_model: str = field(default=SentenceEncoderConfig().name, metadata={"help": "Hub name or folder of the encoder"})
    text_cache: str = field(default="outputs/text_cache", metadata={"help": "folder of embedded captions, shared by all runs"})
    captions: str = field(default="measured", metadata={"help": "measured (the column captions) or label (the class alone)"})
    exclude_activities: list[str] = field(default_factory=list, metadata={"help": "recordings: activities never trained on"})
    losses: list[str] = field(default_factory=lambda: ["clip"], metadata={"help": "mse, triplet, clip, siglip; any of them"})
    text_projection_layers: int = field(default=2, metadata={"help": "0: align to the sentence encoder's own space"})
    projection_size: int = 128
    num_frames: int = field(default=128, metadata={"help": "frames of a training window"})
    frames_per_token: int = 8
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    dropout: float = 0.1
    posture: float = field(default=4.0, metadata={"help": "walks: random turns of limbs [deg], so that people differ more"})
    channel_dropout: float = field(
        default=0.2, metadata={"help": "recordings: probability that a sensor's gyroscope is hidden"}
    )


def open_encoder(args: TextArguments) -> SentenceEncoder:
    """The frozen encoder, with the embeddings of earlier runs."""
    bf16 = args.mixed_precision == "bf16"
    cache = Path(args.text_cache) / (args.text_model.strip("/").replace("/", "--") + ".safetensors")
    return SentenceEncoder(args.text_model, cache=cache, bf16=bf16)


# --- data --------------------------------------------------------------------------------------------------------------------


class WalkWindows:
    """Walks of the walk schema as windows, held in memory (250 MB for the 7,200 of gist).

    `texts`: a list of captions a walk; `descriptions` (N,) int: equal where the captions say the same.
    """

    def __init__(
        self,
        joints: list[np.ndarray],
        texts: list[list[str]],
        descriptions: np.ndarray,
        extractor: GaitFeatureExtractor,
        posture: float = 0,
    ):
        self.joints, self.texts, self.descriptions, self.extractor = joints, texts, np.asarray(descriptions), extractor
        still = {"mirror": 0, "yaw": 0, "scale": 0, "window": 0, "body": 0, "bone": 0, "jitter": 0}
        self.augmentation = Augmentation(**still, posture=posture) if posture else None

    def __len__(self) -> int:
        return len(self.texts)

    def batch(self, rows: np.ndarray, seed: int | None) -> dict[str, torch.Tensor]:
        """`input_values` (B, N, C), `attention_mask` (B, N): random windows by `seed`, or (None) the middle ones."""
        rng = np.random.default_rng(seed)
        cut = []
        for row in rows:
            late = max(0, len(self.joints[row]) - self.extractor.num_frames)
            cut.append(self.extractor.window(self.joints[row], None if seed is None else int(rng.integers(0, late + 1))))
        joints = torch.from_numpy(np.stack([c[0] for c in cut]))
        if seed is not None and self.augmentation is not None:
            joints = self.augmentation(joints, torch.Generator().manual_seed(seed))
        mask = torch.from_numpy(np.stack([c[1] for c in cut]))
        return {"input_values": self.extractor.to_features(joints), "attention_mask": mask}


def walk_captions(data: Dataset, kind: str) -> tuple[list[list[str]], np.ndarray]:
    """Captions of each walk, and a number for each different description."""
    names = pathology_names(data)
    classes = [names[int(p)] for p in data["pathology"]]
    if kind == "label":
        if None in classes:
            raise ValueError(f"row {classes.index(None)}: a pathology of -1 (unknown) has no label to be a caption")
        texts = [[CANONICAL_NAMES[name] + "."] for name in classes]
        said = classes
    elif kind == "measured":
        texts = [[str(c) for c in captions] for captions in data["captions"]]
        said = [
            describe_walk(json.loads(p), name, attributes=json.loads(a or "{}")).to_prompt()
            for p, name, a in zip(data["gait_parameters"], classes, data["attributes"])
        ]
    else:
        raise ValueError(f"captions: expected measured or label, got {kind!r}")
    empty = [i for i, t in enumerate(texts) if not t]
    if empty:
        raise ValueError(f"row {empty[0]}: no captions")
    return texts, np.unique(said, return_inverse=True)[1]


@dataclass
class Recordings:
    """IMU windows: `values` (M, C) of all recordings end to end, nan where a channel is corrupted; a window is the samples from
    `starts` (N,) on; `labels` (N,) index ACTIVITIES, `subjects` (N,) str; `fps`."""

    values: np.ndarray
    starts: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray
    num_frames: int
    fps: float

    def select(self, keep: np.ndarray) -> "Recordings":
        """The windows where `keep` (N,) is True."""
        return Recordings(self.values, self.starts[keep], self.labels[keep], self.subjects[keep], self.num_frames, self.fps)

    def __len__(self) -> int:
        return len(self.starts)

    def windows(self, rows: np.ndarray) -> np.ndarray:
        """(B, num_frames, C)."""
        return self.values[self.starts[rows][:, None] + np.arange(self.num_frames)]


def load_recordings(dataset: str, num_frames: int = 144, hop: int = 48, centre: int = 36, channels: int = 36) -> Recordings:
    """Windows of all recordings, named by the activity in their middle.

    A window counts where its `centre` middle samples are of one activity, whatever is around them. Copies of a recording are
    left out; gyroscopes that the authors list as corrupted are nan. Raises ValueError where a column is missing.
    """
    files = sorted(str(p) for p in Path(dataset).rglob("*.parquet")) if Path(dataset).is_dir() else None
    if files == []:
        raise ValueError(f"{dataset}: no Parquet files in this folder")
    data = load_dataset("parquet", data_files=files, split="train") if files else load_dataset(dataset, split="train")
    missing = {"recording_id", "subject_id", "activity", "values", "channel_mask", "sampling_rate"} - set(data.column_names)
    if missing:
        raise ValueError(f"{dataset}: columns missing: {', '.join(sorted(missing))}; expected a data set of recordings")
    parts, starts, labels, subjects, at, fps = [], [], [], [], 0, 0.0
    for row in data.with_format("arrow").iter(batch_size=1):
        if row.column("duplicate_of")[0].as_py() if "duplicate_of" in data.column_names else None:
            continue
        storage = row.column("values").combine_chunks()
        storage = getattr(storage, "storage", storage)
        activity = row.column("activity").combine_chunks().flatten().to_numpy()
        values = storage.flatten().flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(activity), -1)
        valid = np.array(row.column("channel_mask")[0].as_py(), bool)
        values = np.where(valid, values, np.nan)[:, :channels]
        fps = float(row.column("sampling_rate")[0].as_py())
        first = np.arange(0, len(values) - num_frames + 1, hop)
        middle = activity[(first[:, None] + (num_frames - centre) // 2) + np.arange(centre)]
        pure = (middle == middle[:, :1]).all(1) if len(first) else np.zeros(0, bool)
        parts.append(values)
        starts.append(first[pure] + at)
        labels.append(middle[pure, 0] if len(first) else np.zeros(0, int))
        subjects += [str(row.column("subject_id")[0].as_py())] * int(pure.sum())
        at += len(values)
    names = data.features["activity"].feature.names
    order = np.array([ACTIVITIES.index(n) if n in ACTIVITIES else -1 for n in names])
    found = Recordings(
        np.concatenate(parts),
        np.concatenate(starts),
        order[np.concatenate(labels).astype(int)],
        np.array(subjects),
        num_frames,
        fps,
    )
    unknown = found.labels < 0
    if unknown.any():
        raise ValueError(f"{dataset}: an activity without a description; known: {', '.join(ACTIVITIES)}")
    return found


class RecordingWindows:
    """Training batches of `Recordings`: activities drawn equally often, gyroscopes hidden at random."""

    def __init__(self, recordings: Recordings, hidden: float = 0.2):
        self.recordings, self.hidden = recordings, hidden
        self.texts = [list(DESCRIPTIONS[ACTIVITIES[i]]) for i in recordings.labels]
        self.descriptions = recordings.labels

    def __len__(self) -> int:
        return len(self.recordings)

    def balanced(self, size: int, seed: int) -> np.ndarray:
        """Rows of a batch, each activity as likely as another, each subject of it as likely as another."""
        rng = np.random.default_rng(seed)
        if not hasattr(self, "_groups"):
            key = [(int(l), s) for l, s in zip(self.recordings.labels, self.recordings.subjects)]
            groups: dict = {}
            for i, (label, subject) in enumerate(key):
                groups.setdefault(label, {}).setdefault(subject, []).append(i)
            self._groups = [[np.array(rows) for rows in people.values()] for people in groups.values()]
        picks = []
        for _ in range(size):
            people = self._groups[rng.integers(len(self._groups))]
            rows = people[rng.integers(len(people))]
            picks.append(rows[rng.integers(len(rows))])
        return np.array(picks)

    def batch(self, rows: np.ndarray, seed: int | None) -> dict[str, torch.Tensor]:
        values = torch.from_numpy(self.recordings.windows(rows))
        if seed is not None and self.hidden and values.shape[-1] % 6 == 0:
            lost = torch.rand(len(values), values.shape[-1] // 6, generator=torch.Generator().manual_seed(seed)) < self.hidden
            gyroscope = (torch.arange(values.shape[-1]) % 6 >= 3) & lost.repeat_interleave(6, 1)
            values = values.masked_fill(gyroscope[:, None], torch.nan)
        return {"input_values": values, "attention_mask": torch.ones(values.shape[:2])}


# --- training ----------------------------------------------------------------------------------------------------------------


def new_model(args: TextArguments, layout: str, channels: int, fps: float, encoder: SentenceEncoder) -> GaitDualEncoderModel:
    """An untrained model for this layout."""
    config = GaitDualEncoderConfig(
        gait_config=GaitEncoderConfig(
            layout=layout,
            num_channels=channels,
            fps=fps,
            num_frames=args.num_frames,
            frames_per_token=args.frames_per_token,
            hidden_size=args.hidden_size,
            num_hidden_layers=args.num_layers,
            num_attention_heads=args.num_heads,
            intermediate_size=3 * args.hidden_size,
            dropout=args.dropout,
        ),
        text_config=SentenceEncoderConfig(name=args.text_model, hidden_size=encoder.hidden_size),
        projection_size=args.projection_size,
        text_projection_layers=args.text_projection_layers,
        losses={name: 1.0 for name in args.losses},
        logit_bias_init=-10.0 if "siglip" in args.losses else 0.0,
    )
    model = GaitDualEncoderModel(config)
    model.set_sentence_encoder(encoder)
    return model


def fit_model(args: TextArguments, windows, encoder: SentenceEncoder, layout: str, fps: float) -> GaitDualEncoderModel:
    """Train on windows (`texts`, `descriptions`, `batch`), resuming where a checkpoint is; in eval mode on the CPU.

    The scales of channels and sentence embeddings are fitted to these windows, so they must hold training people only.
    """
    accelerator = start(args)
    unique = sorted({t for texts in windows.texts for t in texts})
    embedded = encoder.encode(unique, progress=True)
    number = {t: i for i, t in enumerate(unique)}
    choices = [np.array([number[t] for t in texts]) for texts in windows.texts]
    some = np.unique(np.linspace(0, len(windows) - 1, min(512, len(windows))).astype(int))
    sample = windows.batch(some, None)
    frames = sample["input_values"][sample["attention_mask"] > 0]
    model = new_model(args, layout, frames.shape[-1], fps, encoder)
    mean, std = nan_moments(frames)
    text_std, text_mean = torch.std_mean(embedded, dim=0, correction=0)
    model.set_normalization(mean, std, text_mean, text_std.clamp(min=1e-3) if len(unique) > 1 else torch.ones_like(text_std))
    batches = StepBatches(len(windows), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)
    device = accelerator.device

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = windows.balanced(args.batch_size, seed) if hasattr(windows, "balanced") else batches.rows(step)
        rng = np.random.default_rng([seed, 1])
        texts = [choices[r][rng.integers(len(choices[r]))] for r in rows]
        # A CPU's fused attention takes six times as long backwards through these few tokens in bf16.
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
            output = prepared(
                **{k: v.to(device) for k, v in windows.batch(rows, seed).items()},
                sentence_embeds=embedded[texts].to(device),
                description_ids=torch.from_numpy(windows.descriptions[rows]).to(device),
                return_loss=True,
            )
        return output.loss, {"loss": output.loss.item()}

    return training_loop(accelerator, model, args, step_loss, "+".join(args.losses)).cpu()


def nan_moments(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation (C,) of frames (M, C) that are not nan; 0 and 1 for a channel without any."""
    known = ~frames.isnan()
    count = known.sum(0).clamp(min=1)
    mean = frames.nan_to_num().sum(0) / count
    variance = ((frames - mean).nan_to_num() ** 2).sum(0) / count
    return mean, torch.where(variance > 1e-8, variance, 1.0).sqrt()


def open_walks(args: TextArguments) -> tuple[WalkWindows, GaitFeatureExtractor]:
    """Training walks as windows, and the feature extractor fitted to them."""
    data = load_walks(args.dataset, args.exclude_subjects)
    return fitted_windows(args, list(read_joints(data)), *walk_captions(data, args.captions))


def fitted_windows(
    args: TextArguments, joints: list[np.ndarray], texts: list[list[str]], descriptions: np.ndarray
) -> tuple[WalkWindows, GaitFeatureExtractor]:
    """Walks of training people as windows, and the feature extractor fitted to them."""
    extractor = GaitFeatureExtractor(num_frames=args.num_frames, frame_multiple=args.frames_per_token)
    extractor.fit(joints[:: max(1, len(joints) // 1000)])
    return WalkWindows(joints, texts, descriptions, extractor, args.posture), extractor


def is_recordings(dataset: str) -> bool:
    """Whether a data set holds IMU recordings, by its columns."""
    files = sorted(str(p) for p in Path(dataset).rglob("*.parquet"))[:1] if Path(dataset).is_dir() else None
    if files == []:
        raise ValueError(f"{dataset}: no Parquet files in this folder")
    data = load_dataset("parquet", data_files=files, split="train") if files else load_dataset(dataset, split="train")
    return {"activity", "values"} <= set(data.column_names)


def train(args: TextArguments) -> GaitDualEncoderModel:
    """Train and save; returns the model in eval mode."""
    began = time.perf_counter()
    encoder = open_encoder(args)
    if is_recordings(args.dataset):
        recordings = load_recordings(args.dataset, args.num_frames)
        unknown = set(args.exclude_subjects) - set(recordings.subjects) | set(args.exclude_activities) - set(ACTIVITIES)
        if unknown:
            raise ValueError(f"{args.dataset}: no such subject or activity: {', '.join(sorted(unknown))}")
        excluded = [ACTIVITIES.index(a) for a in args.exclude_activities]
        keep = ~np.isin(recordings.subjects, args.exclude_subjects) & ~np.isin(recordings.labels, excluded)
        windows, extractor = RecordingWindows(recordings.select(keep), args.channel_dropout), None
        model = fit_model(args, windows, encoder, "imu", recordings.fps)
    else:
        windows, extractor = open_walks(args)
        model = fit_model(args, windows, encoder, extractor.skeleton, extractor.fps)
    save_model(args.output_dir, ZeroShotGaitClassificationPipeline(model, extractor=extractor, device="cpu"))
    print(f"{args.output_dir}: {len(windows):,} windows, {time.perf_counter() - began:.0f} s")
    return model


def main() -> None:
    train(parse_arguments(TextArguments))


if __name__ == "__main__":
    main()
