"""What every training script shares: arguments, data, an exactly resumable loop, atomic saving.

In: a data set in the walk schema (a `load_dataset` name or a folder of Parquet), memory-mapped: it may be larger than memory.
Out: a folder that `from_pretrained` loads, and while training `checkpoint/` in it (safetensors and JSON only).

What a step sees depends on (seed, step, process) alone: the rows, the windows, the augmentation and every other random draw.
So a run that was killed and started again ends with the same weights as one that was not.
"""

import copy
import json
import os
import platform
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType
from datasets import Dataset, load_dataset
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from tqdm import tqdm
from transformers import HfArgumentParser

from modeling_gait.augmentation import Augmentation
from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.files import atomic_folder, atomic_path
from modeling_gait.gait_parameters import mirror_image
from modeling_gait.skeletons import SKELETONS, mirror

ROOT = Path(__file__).resolve().parents[2]

# What tokeniser and decoder see of a walk, and how far its pace changes (log).
AUGMENTATION = Augmentation(mirror=0, yaw=8, scale=0.08, window=0, body=0.06, bone=0.04, jitter=0, amplitude=0.15)
STRETCH = 0.15


@dataclass
class TrainArguments:
    """Arguments that all training scripts share."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet in the walk schema"})
    output_dir: str = field(metadata={"help": "folder of the trained model"})
    exclude_subjects: list[str] = field(default_factory=list, metadata={"help": "people held out: none of their rows is read"})
    max_steps: int = field(default=1500, metadata={"help": "optimiser steps"})
    batch_size: int = field(default=48, metadata={"help": "walks a step and process"})
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    max_grad_norm: float = 1.0
    seed: int = 0
    save_steps: int = field(default=250, metadata={"help": "steps between checkpoints"})
    mixed_precision: str = field(default="no", metadata={"help": "no or bf16"})
    num_threads: int = field(default=0, metadata={"help": "CPU threads a process, 0 = torch's choice"})


def parse_arguments(kind: type) -> TrainArguments:
    """Arguments from the command line, or from one JSON file (`train_vq.py configs/vq_gist.json --max_steps 10`)."""
    parser = HfArgumentParser(kind)
    argv = sys.argv[1:]
    if argv and argv[0].endswith(".json"):
        values = json.loads(Path(argv[0]).read_text())
        listed = [f"--{k}" for k in values]
        unknown = {f.lstrip("-") for f in listed} - set(kind.__dataclass_fields__)
        if unknown:
            raise ValueError(f"{argv[0]}: unknown arguments {', '.join(sorted(unknown))}")
        given = [w for k, v in values.items() for w in (f"--{k}", *(map(str, v) if isinstance(v, list) else [str(v)]))]
        argv = given + argv[1:]
    return parser.parse_args_into_dataclasses(argv)[0]


def check_sizes(args: TrainArguments, sizes: dict[str, object]) -> None:
    """Raise ValueError where an argument that is not at its default asks for another size than `--init_from` has."""
    for name, size in sizes.items():
        asked = getattr(args, name)
        if asked not in (size, type(args).__dataclass_fields__[name].default):
            raise ValueError(
                f"--{name} {asked} does not fit --init_from {args.init_from}, which has {size!r}: leave one of them out"
            )


def check_tokeniser(vq: str, family: str) -> None:
    """Raise ValueError unless the tokeniser `vq` is that of `family` or was fine-tuned from it, so that its codes fit."""
    names = ("labels", "num_frames", "position_mean", "root_mean", "root_std")
    here, there = (vars(GaitFeatureExtractor.from_pretrained(place)) for place in (vq, family))
    differ = [name for name in names if here[name] != there[name]]
    sizes = [name for name in GaitVQConfig.__annotations__ if not name.endswith(("_weight", "_decay"))]
    here, there = GaitVQConfig.from_pretrained(vq), GaitVQConfig.from_pretrained(family, subfolder="vq")
    differ += [name for name in sizes if getattr(here, name) != getattr(there, name)]
    if differ:
        raise ValueError(
            f"--vq {vq} does not come from --init_from {family}: {', '.join(differ)} differ; "
            f"fine-tune it first, with train_vq.py --init_from {family}"
        )


def start(args: TrainArguments) -> Accelerator:
    """Threads, seeds and the Accelerator."""
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    seed_step(args.seed, 0, 0)
    handler = DistributedDataParallelKwargs(broadcast_buffers=False)
    cpu = not torch.accelerator.is_available()  # else each process on CPUs takes itself for the only one
    return Accelerator(mixed_precision=args.mixed_precision, kwargs_handlers=[handler], cpu=cpu)


def seed_step(seed: int, step: int, process: int) -> int:
    """Seed every generator for one step of one process; returns the seed."""
    value = int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


WALK_COLUMNS = {"subject_id", "walk_id", "pathology", "fps", "joints", "gait_parameters", "captions"}


def load_rows(
    dataset: str, columns: set[str], hint: str, exclude_subjects: list[str] = (), only_subjects: list[str] = ()
) -> Dataset:
    """Rows of a `load_dataset` name or a folder of Parquet, memory-mapped; people in `exclude_subjects` are left out.

    Raises ValueError where one of `columns` is missing (with `hint`), a person to hold out is not there, or no row is left.
    """
    path = Path(dataset)
    if path.is_dir():
        files = sorted(str(p) for p in path.rglob("*.parquet"))
        if not files:
            raise ValueError(f"{dataset}: no Parquet files in this folder")
        data = load_dataset("parquet", data_files=files, split="train")
    else:
        data = load_dataset(dataset, split="train")
    missing = columns - set(data.column_names)
    if missing:
        raise ValueError(f"{dataset}: columns missing: {', '.join(sorted(missing))}; {hint}")
    subjects = np.array([str(s) for s in data["subject_id"]])
    unknown = set(map(str, [*exclude_subjects, *only_subjects])) - set(subjects)
    if unknown:
        raise ValueError(
            f"{dataset}: no such subject: {', '.join(sorted(unknown))}; there are {', '.join(sorted(set(subjects)))}"
        )
    keep = ~np.isin(subjects, list(map(str, exclude_subjects)))
    if only_subjects:
        keep &= np.isin(subjects, list(map(str, only_subjects)))
    if not keep.any():
        raise ValueError(f"{dataset}: no rows left")
    return data if keep.all() else data.select(np.flatnonzero(keep))


def load_walks(dataset: str, exclude_subjects: list[str] = (), only_subjects: list[str] = ()) -> Dataset:
    """Rows of the walk schema as numpy; see `load_rows`."""
    rows = load_rows(dataset, WALK_COLUMNS, "the README shows the schema", exclude_subjects, only_subjects)
    return rows.with_format("numpy")


def numbered(subjects: np.ndarray) -> list[str]:
    """Distinct subjects, by number where they are numbers."""
    return sorted(set(subjects.tolist()), key=lambda s: (not s.isdigit(), int(s) if s.isdigit() else 0, s))


class StepBatches:
    """Which rows step s of process r reads: shuffled epochs, a function of (seed, s, r) alone, no row twice in an epoch."""

    def __init__(self, num_rows: int, batch_size: int, seed: int, process: int = 0, num_processes: int = 1):
        self.num_rows, self.batch_size, self.seed = num_rows, batch_size, seed
        self.process, self.num_processes = process, num_processes
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def rows(self, step: int) -> np.ndarray:
        first = (step * self.num_processes + self.process) * self.batch_size
        out = np.empty(self.batch_size, int)
        for i in range(self.batch_size):
            epoch, at = divmod(first + i, self.num_rows)
            if self._order[0] != epoch:
                self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(self.num_rows))
            out[i] = self._order[1][at]
        return out


class WindowLoader:
    """Random, augmented windows of the rows of one step.

    `batch(rows, seed)` -> dict of `joints` (B, N, J, 3), `attention_mask` (B, N), `labels` (B,), `gait_parameters` (B, G);
    `measured`, the gait-parameter dicts of the rows, and `mirrored` (B,) bool. Where a walk is mirrored, so are its parameters.
    `stretch`: the pace changes by up to this much (log); the parameters then do not follow, so use it where they may be off.
    """

    def __init__(
        self,
        data: Dataset,
        extractor: GaitFeatureExtractor,
        augmentation: Augmentation | None = None,
        mirror_probability: float = 0.0,
        stretch: float = 0.0,
    ):
        self.extractor, self.augmentation = extractor, augmentation
        self.mirror_probability, self.stretch = mirror_probability, stretch
        self.skeleton = SKELETONS[extractor.skeleton]
        labels = extractor.labels
        self.label_of = np.array([labels.index(n) if n in labels else -100 for n in pathology_names(data)])
        self.columns = data.select_columns(["joints", "pathology", "gait_parameters"])

    def batch(self, rows: np.ndarray, seed: int | None, mirrored: np.ndarray | None = None) -> dict[str, torch.Tensor]:
        """Windows of these rows: random and augmented by `seed`, or (None) the plain middle ones.

        `mirrored`: (B,) bool, which to mirror; by default chance decides.
        """
        items = self.columns[rows.tolist()]
        rng = np.random.default_rng(seed)
        window = self.extractor.num_frames
        cut = []
        for joints in items["joints"]:
            if seed is not None and self.stretch:
                joints = stretch_time(joints, np.exp(rng.uniform(-self.stretch, self.stretch)))
            late = len(joints) - window
            cut.append(self.extractor.window(joints, None if seed is None else int(rng.integers(0, max(late, 0) + 1))))
        joints = torch.from_numpy(np.stack([c[0] for c in cut]))
        parameters = [json.loads(p) for p in items["gait_parameters"]]
        if mirrored is None:
            mirrored = rng.random(len(rows)) < (0 if seed is None else self.mirror_probability)
        if mirrored.any():
            joints = torch.where(torch.from_numpy(mirrored)[:, None, None, None], mirror(joints, self.skeleton), joints)
            parameters = [mirror_parameters(p) if m else p for p, m in zip(parameters, mirrored)]
        if self.augmentation is not None and seed is not None:
            joints = self.augmentation(joints, torch.Generator().manual_seed(seed))
        return {
            "joints": joints,
            "attention_mask": torch.from_numpy(np.stack([c[1] for c in cut])),
            "labels": torch.from_numpy(self.label_of[items["pathology"]]),
            "gait_parameters": self.extractor.standardise_parameters(parameters),
            "measured": parameters,
            "mirrored": mirrored,
        }


def stretch_time(joints: np.ndarray, pace: float) -> np.ndarray:
    """A walk (T, J, 3) at `pace` times its pace, by linear interpolation."""
    at = np.arange(0, len(joints) - 1 + 1e-6, pace)
    before = np.minimum(at.astype(int), len(joints) - 2)
    weight = (at - before)[:, None, None].astype(np.float32)
    return joints[before] * (1 - weight) + joints[before + 1] * weight


def class_labels(data: Dataset) -> tuple[np.ndarray, list[str]]:
    """Class of each walk (N,), an index into the names of the classes that occur. Raises ValueError where one is unknown."""
    classes = np.array([int(p) for p in data["pathology"]])
    if (classes < 0).any():
        row = int(np.flatnonzero(classes < 0)[0])
        raise ValueError(
            f"walk {data['walk_id'][row]} (row {row}): pathology -1 is an unknown class, but a classifier needs one of each; "
            f"leave such rows out ({int((classes < 0).sum())} of {len(classes)})"
        )
    present, labels = np.unique(classes, return_inverse=True)
    return labels, [data.features["pathology"].names[i] for i in present]


def pathology_names(data: Dataset) -> list[str | None]:
    """Names by class index; None, the last one, is that of -1, an unknown pathology."""
    return [*data.features["pathology"].names, None]


def mirror_parameters(parameters: dict[str, float | None]) -> dict[str, float | None]:
    """Gait parameters of the mirrored walk: left and right swapped, differences and asymmetries with the other sign."""
    out = {}
    for name in parameters:
        other, sign = mirror_image(name)
        out[name] = None if parameters[other] is None else sign * parameters[other]
    return out


def training_loop(
    accelerator: Accelerator,
    model: torch.nn.Module,
    args: TrainArguments,
    step_loss: Callable[[torch.nn.Module, int, int], tuple[torch.Tensor, dict[str, float]]],
    name: str,
) -> torch.nn.Module:
    """Train `model` for `args.max_steps` steps of AdamW with warm-up and a cosine to zero, resuming where a checkpoint is.

    Args:
        step_loss: (prepared model, step, seed of this step and process) -> loss, numbers to show.

    Returns: the unwrapped model in eval mode. Raises FloatingPointError where the loss is not finite.
    """
    plain = copy.deepcopy(model) if accelerator.distributed_type == DistributedType.FSDP else model  # FSDP shards in place
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, betas=(0.9, 0.99), weight_decay=args.weight_decay)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    checkpoint = Path(args.output_dir) / "checkpoint"
    first = load_checkpoint(checkpoint, model, optimizer) if checkpoint.exists() else 0
    prepared.train()
    bar = tqdm(range(first, args.max_steps), initial=first, total=args.max_steps, desc=name, mininterval=5)
    bar.disable = bar.disable or not accelerator.is_main_process
    for step in bar:
        seed = seed_step(args.seed, step, accelerator.process_index)
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * schedule(step, args.warmup_steps, args.max_steps)
        with accelerator.autocast():
            loss, shown = step_loss(prepared, step, seed)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, args.max_grad_norm)
        optimizer.step()
        bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        if (step + 1) % args.save_steps == 0 and step + 1 < args.max_steps:
            save_checkpoint(checkpoint, accelerator, model, optimizer, step + 1)
    accelerator.wait_for_everyone()
    if plain is not model:
        plain.load_state_dict({k: _whole(v) for k, v in model.state_dict().items()})
    return plain.eval()


def schedule(step: int, warmup: int, total: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 2 %."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return rise * (0.02 + 0.49 * (1 + np.cos(np.pi * step / max(total, 1))))


def save_checkpoint(folder: Path, accelerator: Accelerator, model: torch.nn.Module, optimizer, step: int) -> None:
    """Weights, optimiser state and step; written beside the old checkpoint and renamed."""
    weights = {k: _whole(v) for k, v in _distinct(model.state_dict()).items()}  # on all processes: FSDP collects the shards
    state = optimizer.state_dict()["state"]
    flat = {f"{i}.{k}": _whole(v).contiguous() for i, entry in state.items() for k, v in entry.items()}
    if accelerator.is_main_process:
        with atomic_folder(folder) as temporary:
            save_file(weights, temporary / "model.safetensors")
            save_file(flat, temporary / "optimizer.safetensors")
            (temporary / "state.json").write_text(json.dumps({"step": step}))
    accelerator.wait_for_everyone()


def _distinct(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """State dict with tied tensors kept once (the first name), as safetensors wants it."""
    seen: dict[int, str] = {}
    return {k: v.contiguous() for k, v in state.items() if seen.setdefault(v.data_ptr() or id(v), k) == k}


def _whole(value: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or all shards of it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _shared_as(value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """A whole tensor, sharded over the processes where `own` is."""
    if not isinstance(own, DTensor) or value.shape != own.shape:
        return value
    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)


def load_checkpoint(folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load what `save_checkpoint` wrote; returns the step to go on from. Raises ValueError where it does not fit."""
    try:
        step = json.loads((folder / "state.json").read_text())["step"]
        own = model.state_dict()
        weights = {k: _shared_as(v, own[k]) if k in own else v for k, v in load_file(folder / "model.safetensors").items()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        tied = set(model.state_dict()) - set(_distinct(model.state_dict()))
        if set(missing) - tied or unexpected:
            raise ValueError(f"missing {sorted(set(missing) - tied)[:3]}, unexpected {sorted(unexpected)[:3]}")
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in load_file(folder / "optimizer.safetensors").items():
            index, entry = key.split(".", 1)
            state.setdefault(int(index), {})[entry] = _shared_as(value, parameters[int(index)])
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (OSError, LookupError, ValueError, RuntimeError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: this checkpoint does not fit the model ({error}); remove the folder to start anew"
        ) from error
    return step


def bootstrap(values: np.ndarray, draws: int = 10000) -> tuple[float, float]:
    """95 % interval of the mean of values (N,), one a held-out subject or group."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def write_result(
    name: str,
    dataset: str,
    protocol: str,
    metrics: dict,
    rows: list[dict],
    packages: tuple[str, ...] = ("torch", "transformers", "datasets", "numpy"),
    folder: Path | None = None,
    gathered: bool = False,
    **extra,
) -> Path:
    """`results/NAME.json` in `folder` (model_cards), with the command that runs now; its seeds are those of the rows, or 0.

    `gathered`: the rows are those of several commands, so the commands that stand there stay. `extra`: further keys, or other
    values of "command", "seeds".
    """
    script = Path(sys.argv[0]).resolve()
    path = (folder or ROOT / "model_cards") / "results" / f"{name}.json"
    place = f"{script.parent.name}/{script.name}"
    if script.parent.name == "experiments":
        place = f"-m experiments.{script.stem}"
    command = "python " + " ".join([place, *sys.argv[1:]])
    if gathered and path.exists():
        command = "; ".join(dict.fromkeys([*json.loads(path.read_text())["command"].split("; "), command]))
    content = {
        "experiment": name,
        "dataset": Path(dataset).name,
        "protocol": protocol,
        "command": command,
        "seeds": sorted({r.get("seed", 0) for r in rows}),
        "versions": {p: platform.python_version() if p == "python" else version(p) for p in packages},
        "date": date.today().isoformat(),
        "metrics": metrics,
        **extra,
        "rows": rows,
    }
    write_json(path, content)
    return path


def save_model(folder: str | Path, *parts) -> None:
    """`save_pretrained` of a model and its processor into `folder`, each file whole or not at all; drops the checkpoint."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "saving.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    for part in parts:
        part.save_pretrained(temporary)
    for file in sorted(temporary.rglob("*")):
        if file.is_file():
            target = folder / file.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
    shutil.rmtree(temporary)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def fit_extractor(data: Dataset, extractor: GaitFeatureExtractor, max_walks: int = 2000) -> GaitFeatureExtractor:
    """Fit the extractor's scales to rows spread evenly over the data set."""
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), max_walks)).astype(int))

    def walks() -> Iterator[np.ndarray]:
        for at in np.array_split(rows, max(1, len(rows) // 64)):
            yield from data.select_columns(["joints"])[at.tolist()]["joints"]

    return extractor.fit(
        walks(), [json.loads(p) for p in data.select_columns(["gait_parameters"])[rows.tolist()]["gait_parameters"]]
    )
