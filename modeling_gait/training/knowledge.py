"""Training of the gait classifier with medical knowledge and numbers (train/train_knowledge.py).

In: walks of the walk schema: skeletons (N, T, F), 46 gait parameters, drawn videos (N, 8, 16, 3, 64, 64) uint8. Out: a model;
`train` saves a folder that `AutoModelForSequenceClassification` and `pipeline("gait-report")` load.

The video branch sees what `render_video` draws of a walk as one sensor saw it: eight videos of 70 frames, each with a camera,
background and clothes of its own.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from modeling_gait.cleaning import at_rate
from modeling_gait.configuration_gait_knowledge import BRANCHES, GaitKnowledgeConfig
from modeling_gait.drawing.video_rendering import render_video
from modeling_gait.files import atomic_path
from modeling_gait.gait_classes import GaitClasses, load_classes
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification, prepare_knowledge_input
from modeling_gait.numeric_text import group_parameters
from modeling_gait.pipeline_gait_report import GaitReportPipeline
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.training.arguments import ENCODER_HELP, PRECISIONS, TrainArguments
from modeling_gait.training.classifier import Walks, inputs_of, share_of_walks
from modeling_gait.training.data import StepBatches, class_labels, dataset_classes, fingerprint, load_walks
from modeling_gait.training.filmed import as_filmed
from modeling_gait.training.loop import save_model, start, training_loop
from modeling_gait.video_crops import WINDOW
from modeling_gait.walk_vectors import read_rows

PARAMETERS = (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)
VIDEO_FRAMES = 16  # of the WINDOW frames that a video shows, those that are drawn
VIDEO_COPIES = 8  # videos of a walk: its middle, and random stretches; each with a camera, background and clothes of its own
VIDEO_SIZE = 64
FILMED_COPIES = 6  # films of a walk, each of another camera and with errors of its own; the first is tested on


@dataclass
class KnowledgeArguments(TrainArguments):
    """Arguments of the training with knowledge and numbers."""

    makes: ClassVar[str] = GaitKnowledgeConfig.model_type
    max_steps: int = 600
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    warmup_steps: int = 20
    mixed_precision: str = field(default="bf16", metadata={"choices": PRECISIONS})
    knowledge: str = field(
        default="gait",
        metadata={"help": "a set of gait_classes.json (gait: and the data set's own classes), a JSON or YAML file, or none"},
    )
    numeric: bool = field(default=True, metadata={"help": "learn gait parameters, as numerical text and as numbers"})
    branches: list[str] = field(default_factory=lambda: ["skeleton"], metadata={"choices": BRANCHES})
    share: float = field(default=1.0, metadata={"help": "share of each person's walks of each class that is used"})
    text_steps: int = field(default=8, metadata={"help": "the text encoder runs every so many steps"})
    text_model: str = field(default="sentence-transformers/all-MiniLM-L6-v2", metadata={"help": ENCODER_HELP})
    loss: str = field(default="cross_entropy", metadata={"choices": ("cross_entropy", "focal")})
    numeric_weight: float = 0.05
    numeric_batch_size: int = 8
    parameter_weight: float = 0.5
    timing_size: int = 128
    video_encoder: str | None = field(default=None, metadata={"help": "Hub name or folder of a vision encoder to begin with"})


@dataclass
class KnowledgeWalks(Walks):
    """Walks with their 46 `PARAMETERS` (N, 46), nan where not measured, and videos (N, 8, 16, 3, 64, 64) uint8 if wanted."""

    parameters: np.ndarray = None
    videos: np.ndarray | None = None
    filmed: np.ndarray | None = None

    def with_filmed(self) -> tuple["KnowledgeWalks", np.ndarray]:
        """The walks as they were recorded, then each of `filmed` (N, copies, 64, F), as rows; and which copy each row is, -1 as
        recorded. A row that is nan could not be read."""
        count, copies = self.filmed.shape[:2]
        again = {n: np.tile(getattr(self, n), copies + 1) for n in ("labels", "subjects", "walk_ids")}
        inputs = np.concatenate([self.inputs, *self.filmed.transpose(1, 0, 2, 3)])
        rows = replace(self, inputs=inputs, parameters=np.tile(self.parameters, (copies + 1, 1)), filmed=None, **again)
        return rows, np.repeat(np.arange(-1, copies), count)


def load_knowledge_walks(
    dataset: str,
    exclude_subjects: Sequence[str] = (),
    video_folder: str | Path | None = None,
    only_subjects: Sequence[str] = (),
    filmed_folder: str | Path | None = None,
) -> KnowledgeWalks:
    """All walks of a data set as arrays.

    Args:
        video_folder: where videos are kept; they are rendered if they are not there yet. None: no videos. With videos there is
            one row of each walk, whatever sensors saw it.
        filmed_folder: the same of walks as a camera and a pose estimator would see them (`filmed.as_filmed`).
    """
    data = load_walks(dataset, exclude_subjects, only_subjects)
    if video_folder is not None or filmed_folder is not None:
        data = data.select(np.sort(np.unique(np.array(data["walk_id"]), return_index=True)[1]))
    labels, names = class_labels(data)
    inputs, about = inputs_of(data, prepare_knowledge_input, KnowledgeWalks.fps, "fps")
    return KnowledgeWalks(
        inputs,
        labels,
        np.array(data["subject_id"]),
        np.array(data["walk_id"]),
        names,
        known=about,
        parameters=np.stack([parameter_row(json.loads(p)) for p in data["gait_parameters"]]),
        videos=None if video_folder is None else load_videos(Path(video_folder), data),
        filmed=None if filmed_folder is None else load_filmed(Path(filmed_folder), data),
    )


def parameter_row(values: dict[str, float | None]) -> np.ndarray:
    """float32 (46,) in the order of `PARAMETERS`, nan where not measured."""
    return np.array([values.get(p.name) for p in PARAMETERS], np.float32)


def clip_rows(joints: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """The frames (16, J, 3) of a walk that a video shows, spread over its middle WINDOW, or over a random one."""
    late = max(0, len(joints) - WINDOW)
    first = late // 2 if rng is None else int(rng.integers(late + 1))
    count = min(WINDOW, len(joints))
    return np.asarray(joints)[first + np.linspace(0, count - 1, VIDEO_FRAMES).round().astype(int)]


def _content(data: Dataset, made: object) -> str:
    """What tells films of these rows, in their order, from any others: the joints, their rates, and what is `made` of them."""
    digest = hashlib.blake2b(repr(made).encode(), digest_size=8)
    for row in read_rows(data):
        digest.update(repr((row["joints"].shape, row.get("fps"))).encode() + row["joints"].tobytes())
    return digest.hexdigest()


def load_filmed(folder: Path, data: Dataset) -> np.ndarray:
    """Inputs float32 (N, FILMED_COPIES, 64, F) of the rows as filmed, made once; nan where nothing could be read."""
    file = folder / f"filmed-{_content(data, FILMED_COPIES)}.npy"
    if not file.exists():
        rows = []
        for n, row in enumerate(tqdm(data.select_columns(["joints", "fps"]), desc="filmed", mininterval=5)):
            for copy in range(FILMED_COPIES):
                try:
                    seen = as_filmed(np.array(row["joints"]), row["fps"], np.random.default_rng([n, copy]))
                    rows.append(prepare_knowledge_input([seen], row["fps"])[0])
                except ValueError:
                    rows.append(None)
        empty = np.full_like(next(r for r in rows if r is not None), np.nan)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary, temporary.open("wb") as out:
            np.save(out, np.stack([empty if r is None else r for r in rows]).reshape(-1, FILMED_COPIES, *empty.shape))
    return np.load(file)


def load_videos(folder: Path, data: Dataset) -> np.ndarray:
    """Videos uint8 (N, copies, 16, 3, 64, 64) of the rows, drawn once (1.6 MB a walk on disk). The first is of the middle."""
    shape = (len(data), VIDEO_COPIES, VIDEO_FRAMES, 3, VIDEO_SIZE, VIDEO_SIZE)
    file = folder / f"videos-{_content(data, shape)}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            videos = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
            for n, row in enumerate(tqdm(data.select_columns(["joints", "fps"]), desc="videos", mininterval=5)):
                joints = at_rate(row["joints"], float(row["fps"]), KnowledgeWalks.fps)
                for copy in range(VIDEO_COPIES):
                    rng = np.random.default_rng([n, copy])
                    clip = clip_rows(joints, rng if copy else None)
                    video = render_video(clip, size=(VIDEO_SIZE, VIDEO_SIZE), seed=int(rng.integers(2**31)))
                    videos[n, copy] = video.transpose(0, 3, 1, 2)
            videos.flush()
    return np.load(file, mmap_mode="r")


def known_classes(args: KnowledgeArguments) -> GaitClasses | None:
    """What `args.knowledge` says of the classes, "gait" with what the data set says of its own; None without knowledge."""
    if args.knowledge == "none":
        return None
    return dataset_classes(args.dataset) if args.knowledge == "gait" else load_classes(args.knowledge)


def new_model(
    args: KnowledgeArguments, walks: KnowledgeWalks, rows: np.ndarray, encoder: SentenceEncoder | None
) -> GaitKnowledgeForSequenceClassification:
    """An untrained model; scales and groups of parameters are fitted to these rows.

    Raises ValueError where the knowledge lacks a class of the walks, its descriptions or its keywords.
    """
    knowledge, about = known_classes(args), {}
    if knowledge is not None:
        missing = set(walks.names) - {c.name for c in knowledge.classes if c.descriptions and c.keywords}
        if missing:
            raise ValueError(
                f"knowledge {args.knowledge!r} says nothing of {', '.join(sorted(missing))}; train with --knowledge none, or "
                "with --knowledge FILE, a JSON or YAML file that gives descriptions and keywords of every class"
            )
        about = knowledge.config_fields(walks.names)
    parameters = walks.parameters[rows]
    measured = np.ma.masked_invalid(parameters.astype(np.float64))
    # not below 1 % of the mean: the stature of a single person hardly varies, that of `change_walks` does
    std = np.maximum(measured.std(0).filled(0), 0.01 * np.abs(measured.mean(0).filled(0)))
    options = ("branches", "loss", "numeric_weight", "numeric_batch_size", "parameter_weight", "timing_size")
    config = GaitKnowledgeConfig(
        **{name: getattr(args, name) for name in options},
        **about,
        id2label=dict(enumerate(walks.names)),
        use_knowledge=knowledge is not None,
        use_numeric=args.numeric,
        skeleton_config={"num_features": walks.inputs.shape[-1]} | walks.known,
        video_config=args.video_encoder,
        num_frames=VIDEO_FRAMES,
        text_config={"name": args.text_model, "hidden_size": 384 if encoder is None else encoder.hidden_size},
        parameter_mean=measured.mean(0).filled(0).tolist(),
        parameter_std=np.where(std > 1e-6, std, 1.0).tolist(),
        parameter_groups=[list(group) for group in group_parameters(parameters[:, : len(GAIT_PARAMETERS)])],
    )
    model = GaitKnowledgeForSequenceClassification(config)
    if encoder is not None:
        model.set_sentence_encoder(encoder)
    if "skeleton" in args.branches:
        flat = walks.inputs[rows].reshape(-1, walks.inputs.shape[-1])
        model.set_normalization(flat.mean(0), np.maximum(flat.std(0), 0.01))
    if args.video_encoder:
        model.load_video_encoder(args.video_encoder)
    return model


def train_model(
    args: KnowledgeArguments, walks: KnowledgeWalks, rows: np.ndarray, encoder: SentenceEncoder | None = None
) -> GaitKnowledgeForSequenceClassification:
    """Train on these rows alone, whatever is fitted; resumes where a checkpoint is. Returns the model in eval mode, on the CPU.

    Args:
        encoder: the frozen text encoder; by default it is loaded where it is needed.
    """
    accelerator = start(args, unused=True)  # the text encoder does not run in every step
    if encoder is None and (args.numeric or args.knowledge != "none"):
        encoder = SentenceEncoder(args.text_model)
    model = new_model(args, walks, rows, encoder)
    given = {} if encoder is None else {"text_model": fingerprint(encoder.modules)}
    given |= {} if (known := known_classes(args)) is None else {"knowledge": fingerprint(known.to_dict())}
    given |= {"video_encoder": fingerprint(model.video.encoder)} if args.video_encoder else {}
    size = min(args.batch_size, len(rows))
    batches = StepBatches(len(rows), size, args.seed, accelerator.process_index, accelerator.num_processes)

    def step_loss(prepared: torch.nn.Module, step: int, seed: int) -> tuple[torch.Tensor, dict[str, float]]:
        chosen = rows[batches.rows(step)]
        output = prepared(
            **{k: v.to(accelerator.device) for k, v in model_inputs(walks, chosen, args.branches, seed).items()},
            labels=torch.from_numpy(walks.labels[chosen]).to(accelerator.device),
            gait_parameters=torch.from_numpy(walks.parameters[chosen]).to(accelerator.device),
            update_text=step % args.text_steps == 0,
        )
        return output.loss, {"loss": output.loss.item()}

    data = fingerprint(walks.inputs[rows], walks.labels[rows], walks.parameters[rows])
    trained = training_loop(accelerator, model, args, step_loss, "knowledge", data, **given)
    model = accelerator.unwrap_model(trained, keep_fp32_wrapper=False)
    if model.config.use_knowledge:
        with torch.no_grad():
            model.get_class_embeds(update=True)  # those of the last prompts
    return model.cpu()


def model_inputs(
    walks: KnowledgeWalks, rows: np.ndarray, branches: Sequence[str], seed: int | None = None
) -> dict[str, torch.Tensor]:
    """What the model's branches read of these rows: of the videos of a walk any one by `seed`, or (None) the first."""
    out = {}
    if "skeleton" in branches:
        out["input_values"] = torch.from_numpy(walks.inputs[rows])
    if "video" in branches:
        copies = np.random.default_rng(seed).integers(VIDEO_COPIES, size=len(rows)) if seed is not None else 0
        out["pixel_values"] = torch.from_numpy(walks.videos[rows, copies])
    return out


@torch.no_grad()
def predict(
    model: GaitKnowledgeForSequenceClassification, walks: KnowledgeWalks, rows: np.ndarray, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits (N, K), and `PARAMETERS` (N, 46) in units (None without numbers), of these rows."""
    parts = []
    for i in range(0, len(rows), batch_size):
        output = model(**model_inputs(walks, rows[i : i + batch_size], model.config.branches))
        numbers = torch.cat((output.parameters, output.kinematics), dim=1) if model.config.use_numeric else None
        parts.append((output.logits, numbers))
    logits = torch.cat([p[0] for p in parts]).numpy()
    return logits, torch.cat([p[1] for p in parts]).numpy() if model.config.use_numeric else None


def train(args: KnowledgeArguments) -> GaitKnowledgeForSequenceClassification:
    """Train on the walks of `args.dataset` and save; returns the model in eval mode."""
    if args.knowledge != "none":
        load_classes(args.knowledge)  # a wrong name is refused before the data are read
    videos = args.output_dir if "video" in args.branches else None
    with start(args).main_process_first():  # it draws the videos
        walks = load_knowledge_walks(args.dataset, args.exclude_subjects, videos)
    model = train_model(args, walks, np.flatnonzero(share_of_walks(walks, args.share)))
    save_model(args.output_dir, GaitReportPipeline(model, device="cpu"))
    return model
