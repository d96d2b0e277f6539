"""Training of GaitDualEncoderModel (train/train_text.py): walks or IMU recordings, and words, in one space.

In: the walk schema (captions: the column `captions`), or recordings (`recordings.py`). Out: a model; `train` saves a folder for
`GaitDualEncoderModel.from_pretrained`, with the feature extractor beside it. The frozen sentence encoder reads each caption
once; its embeddings are kept in `text_cache`, for all runs.

Two captions of one walk, or captions that say the same of two walks, are never negatives of each other.
"""

import json
import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch.nn.attention import SDPBackend, sdpa_kernel

from modeling_gait.augmentation import Augmentation
from modeling_gait.caption_words import stated_attributes
from modeling_gait.captions import describe_walk
from modeling_gait.configuration_gait_dual_encoder import (
    LOSSES,
    GaitDualEncoderConfig,
    GaitEncoderConfig,
    SentenceEncoderConfig,
)
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_classes import GaitClasses, load_classes
from modeling_gait.gait_search import read_joints
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.skeletons import SKELETONS, mirror
from modeling_gait.training.arguments import ENCODER_HELP, TrainArguments
from modeling_gait.training.data import StepBatches, dataset_classes, fingerprint, load_walks, pathology_names
from modeling_gait.training.known import chosen_rows, count_known, fit_known
from modeling_gait.training.loop import bf16_is_fast, save_model, start, training_loop
from modeling_gait.training.recordings import ACTIVITIES, RecordingWindows, is_recordings, load_recordings
from modeling_gait.walk_description import QUANTITIES


@dataclass
class TextArguments(TrainArguments):
    """Arguments of the dual encoder's training."""

    makes: ClassVar[str] = GaitDualEncoderConfig.model_type
    text_model: str = field(default=SentenceEncoderConfig().name, metadata={"help": ENCODER_HELP})
    text_cache: str = field(default="outputs/text_cache", metadata={"help": "folder of embedded captions, shared by all runs"})
    captions: str = field(
        default="measured", metadata={"choices": ("measured", "label"), "help": "the column captions, or the class alone"}
    )
    exclude_activities: list[str] = field(
        default_factory=list, metadata={"choices": ACTIVITIES, "help": "recordings: activities never trained on"}
    )
    losses: list[str] = field(default_factory=lambda: ["clip"], metadata={"choices": LOSSES})
    numbers: list[str] = field(
        default_factory=lambda: list(QUANTITIES),
        metadata={"choices": tuple(QUANTITIES), "help": "walks: what of a text is read as a value, not as digits"},
    )
    hard_negatives: int = field(default=2, metadata={"help": "walks: texts with one number changed, for each pair"})
    known_classes: bool = field(
        default=True, metadata={"help": "keep what the classes look like; of simulated walks, no real one is like them"}
    )
    known_walks: int = field(default=256, metadata={"help": "vectors of training walks that the model keeps"})
    mirror: float = field(default=0.5, metadata={"help": "walks: share that is mirrored, and left and right of their texts"})
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
    bf16 = args.mixed_precision == "bf16" and bf16_is_fast()
    cache = Path(args.text_cache) / (args.text_model.strip("/").replace("/", "--") + ".safetensors")
    return SentenceEncoder(args.text_model, cache=cache, bf16=bf16)


class WalkWindows:
    """Walks of the walk schema as windows, held in memory (250 MB for the 7,200 of gist).

    `texts`: a list of captions a walk; `descriptions` (N,) int: equal where the captions say the same.
    `classes` (N,) int, -1 not known, and `people` (N,) may be set.
    """

    def __init__(
        self,
        joints: list[np.ndarray],
        texts: list[list[str]],
        descriptions: np.ndarray,
        extractor: GaitFeatureExtractor,
        posture: float = 0,
        mirror: float = 0,
    ):
        self.joints, self.texts, self.descriptions, self.extractor = joints, texts, np.asarray(descriptions), extractor
        self.mirror, self.classes, self.people = mirror, np.zeros(0, int), np.zeros(0, str)
        still = {"mirror": 0, "yaw": 0, "scale": 0, "window": 0, "body": 0, "bone": 0, "jitter": 0}
        self.augmentation = Augmentation(**still, posture=posture, skeleton=SKELETONS[extractor.skeleton]) if posture else None

    def __len__(self) -> int:
        return len(self.texts)

    def batch(self, rows: np.ndarray, seed: int | None) -> dict[str, torch.Tensor]:
        """`input_values` (B, N, C), `attention_mask` (B, N): random windows by `seed`, or (None) the middle ones."""
        rng = np.random.default_rng(seed)
        cut = []
        for row in rows:
            late = max(0, len(self.joints[row]) - self.extractor.num_frames)
            cut.append(self.extractor.window(self.joints[row], None if seed is None else int(rng.integers(0, late + 1))))
        joints = np.stack([c[0] for c in cut])
        if seed is not None and self.mirror:
            turned = self.mirrored(len(rows), seed)
            joints[turned] = mirror(joints[turned], SKELETONS[self.extractor.skeleton])
        joints = torch.from_numpy(joints)
        if seed is not None and self.augmentation is not None:
            joints = self.augmentation(joints, torch.Generator().manual_seed(seed))
        mask = torch.from_numpy(np.stack([c[1] for c in cut]))
        return {"input_values": self.extractor.to_features(joints), "attention_mask": mask}

    def mirrored(self, count: int, seed: int) -> np.ndarray:
        """Which walks of the batch of this seed are mirrored, bool (count,); their texts must be (`mirror_text`)."""
        return np.random.default_rng([seed, 2]).random(count) < self.mirror


def mirror_text(text: str) -> str:
    """The text of the mirrored walk: left and right change places."""
    other = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    return re.sub(r"\b(left|right)(?=\b|-)", lambda m: other[m[0]], text, flags=re.IGNORECASE)


def walk_captions(data: Dataset, kind: str, classes: GaitClasses | None = None) -> tuple[list[list[str]], np.ndarray]:
    """Captions of each walk, and a number for each different description; `classes`: what the labels mean."""
    names = pathology_names(data)
    labels = [names[int(p)] for p in data["pathology"]]
    known = (classes or load_classes()).select(names[:-1])
    if kind == "label":
        if None in labels:
            raise ValueError(f"row {labels.index(None)}: a pathology of -1 (unknown) has no label to be a caption")
        texts = [[known[name].title + "."] for name in labels]
        said = labels
    elif kind == "measured":
        texts = [[str(c) for c in captions] for captions in data["captions"]]
        said = [
            describe_walk(json.loads(p), name, attributes=stated_attributes(a), classes=known).to_prompt()
            for p, name, a in zip(data["gait_parameters"], labels, data["attributes"])
        ]
    else:
        raise ValueError(f"captions: expected measured or label, got {kind!r}")
    empty = [i for i, t in enumerate(texts) if not t]
    if empty:
        raise ValueError(f"row {empty[0]}: no captions")
    return texts, np.unique(said, return_inverse=True)[1]


def new_model(
    args: TextArguments, layout: str, channels: int, fps: float, encoder: SentenceEncoder, known_classes: int = 0
) -> GaitDualEncoderModel:
    """An untrained model for this layout."""
    numbers = args.numbers if layout != "imu" and args.text_projection_layers else []
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
        numbers=numbers,
        hard_negatives=args.hard_negatives if numbers else 0,
        known_classes=known_classes,
        known_walks=args.known_walks,
        logit_bias_init=-10.0 if "siglip" in args.losses else 0.0,
    )
    model = GaitDualEncoderModel(config)
    model.set_sentence_encoder(encoder)
    return model


def fit_model(args: TextArguments, windows, encoder: SentenceEncoder, layout: str, fps: float) -> GaitDualEncoderModel:
    """Train on windows (as of `WalkWindows`), resuming where a checkpoint is; in eval mode on the CPU.

    The scales of channels and sentence embeddings are fitted to these windows, so they must hold training people only.
    """
    accelerator = start(args, unused=not {"clip", "siglip"} & set(args.losses))  # their scale and the words' projection
    turned = getattr(windows, "mirror", 0) > 0
    unique = sorted({s for texts in windows.texts for t in texts for s in ((t, mirror_text(t)) if turned else (t,))})
    number = {t: i for i, t in enumerate(unique)}
    choices = [np.array([number[t] for t in texts]) for texts in windows.texts]
    other = np.array([number[mirror_text(t)] if turned else 0 for t in unique])
    some = np.unique(np.linspace(0, len(windows) - 1, min(512, len(windows))).astype(int))
    sample = windows.batch(some, None)
    frames = sample["input_values"][sample["attention_mask"] > 0]
    count = count_known(windows.classes) if args.known_classes else 0
    model = new_model(args, layout, frames.shape[-1], fps, encoder, count)
    embedded, stated = model.read_texts(unique, progress=True)
    text_std, text_mean = torch.std_mean(embedded, dim=0, correction=0)
    text_std = text_std.clamp(min=1e-3) if len(unique) > 1 else torch.ones_like(text_std)
    model.set_normalization(nan_moments(frames), (text_mean, text_std), nan_moments(stated))
    batches = StepBatches(len(windows), args.batch_size, args.seed, accelerator.process_index, accelerator.num_processes)
    device = accelerator.device

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        rows = windows.balanced(args.batch_size, seed) if hasattr(windows, "balanced") else batches.rows(step)
        rng = np.random.default_rng([seed, 1])
        texts = np.array([choices[r][rng.integers(len(choices[r]))] for r in rows])
        whole = np.array([choices[r][0] for r in rows])  # the prompt, which gives most numbers
        ids = windows.descriptions[rows]
        if turned:
            flip = windows.mirrored(len(rows), seed)
            texts, whole, ids = np.where(flip, other[texts], texts), np.where(flip, other[whole], whole), 2 * ids + flip
        # A CPU's fused attention takes six times as long backwards through these few tokens in bf16.
        with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
            output = prepared(
                **{k: v.to(device) for k, v in windows.batch(rows, seed).items()},
                sentence_embeds=embedded[texts].to(device),
                numbers=stated[texts].to(device),
                walk_numbers=stated[whole].to(device),
                description_ids=torch.from_numpy(ids).to(device),
                return_loss=True,
            )
        return output.loss, {"loss": output.loss.item()}

    data = fingerprint(windows.texts, windows.descriptions, frames, windows.classes.tolist(), windows.people.tolist())
    given = {"text_model": fingerprint(encoder.modules)}
    model = training_loop(accelerator, model, args, step_loss, "+".join(args.losses), data, **given).cpu()
    if args.known_walks:
        balanced = hasattr(windows, "balanced")
        even = np.linspace(0, len(windows) - 1, args.known_walks).astype(int)
        rows = windows.balanced(args.known_walks, args.seed) if balanced else even
        own = [choices[r][-1] for r in rows]
        with torch.no_grad():
            model.set_known_walks(
                model.get_gait_features(**windows.batch(rows, None)),
                model.get_text_features(sentence_embeds=embedded[own], numbers=stated[own]),
            )
    if count:
        rows = chosen_rows(windows.classes, windows.people, args.seed)
        batches = (windows.batch(rows[i : i + 500], None) for i in range(0, len(rows), 500))
        features = [model.known_classes.features(b["input_values"], b["attention_mask"]) for b in batches]
        fit_known(
            model.known_classes, torch.cat(features).double().numpy(), windows.classes[rows], windows.people[rows], args.seed
        )
    return model


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
    windows, extractor = fitted_windows(
        args,
        list(read_joints(data, GaitFeatureExtractor().fps)),
        *walk_captions(data, args.captions, dataset_classes(args.dataset)),
    )
    windows.classes, windows.people = np.array([int(p) for p in data["pathology"]]), np.array(data["subject_id"])
    names = data.features["pathology"].names
    extractor.labels = [names[c] for c in np.unique(windows.classes) if c >= 0]
    if set(extractor.labels) - set(load_classes().labels):
        extractor.gait_classes = dataset_classes(args.dataset, extractor.labels).to_dict()
    return windows, extractor


def fitted_windows(
    args: TextArguments, joints: list[np.ndarray], texts: list[list[str]], descriptions: np.ndarray, **about
) -> tuple[WalkWindows, GaitFeatureExtractor]:
    """Walks of training people as windows, and the feature extractor fitted to them; `about`: their `skeleton` and `fps`."""
    extractor = GaitFeatureExtractor(num_frames=args.num_frames, frame_multiple=args.frames_per_token, **about)
    extractor.fit(joints[:: max(1, len(joints) // 1000)])
    return WalkWindows(joints, texts, descriptions, extractor, args.posture, args.mirror), extractor


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
    PartialState().print(f"{args.output_dir}: {len(windows):,} windows, {time.perf_counter() - began:.0f} s")
    return model
