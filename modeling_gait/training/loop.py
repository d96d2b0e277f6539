"""An exactly resumable training loop, and saving that only the main process does.

In: a model, arguments, and a function that gives the loss of a step. Out: the trained model; on disk a folder that
`from_pretrained` loads, and while training `checkpoint/` in it (safetensors and JSON only).

What a step sees depends on (seed, step, process) alone: the rows, the windows, the augmentation and every other random draw.
So a run that was killed and started again ends with the same weights as one that was not.
"""

import copy
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, DistributedType, InitProcessGroupKwargs, PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from tqdm import tqdm

from modeling_gait.files import atomic_folder, put_back
from modeling_gait.training.arguments import TrainArguments


def start(args: TrainArguments, unused: bool = False) -> Accelerator:
    """Threads, seeds and the Accelerator; a checkpoint that a killed run was about to replace is in its place again.

    unused: in some steps some parameters have no part in the loss. Raises ValueError for numbers of steps or walks that cannot
    be, and where `args.output_dir` is a file or holds a model of another type than is trained (`args.makes`).
    """
    for name, least in (("max_steps", 0), ("save_steps", 1), ("batch_size", 1)):
        if (value := getattr(args, name, least)) < least:
            raise ValueError(f"{name}: expected {least} or more, got {value}")
    if Path(args.output_dir).exists() and not Path(args.output_dir).is_dir():
        raise ValueError(f"{args.output_dir} is a file; output_dir must be a folder")
    if args.makes and (config := Path(args.output_dir) / "config.json").is_file():
        held = json.loads(config.read_text()).get("model_type")
        if held != args.makes:
            raise ValueError(
                f"{args.output_dir} holds a {held} model, and a {args.makes} is trained; choose another output_dir"
            )
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    seed_step(args.seed, 0, 0)
    parallel = DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=unused)
    handlers = [parallel, InitProcessGroupKwargs(timeout=timedelta(hours=2))]
    cpu = not torch.accelerator.is_available()  # else each process on CPUs takes itself for the only one
    precision = args.mixed_precision if bf16_is_fast() else "no"
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=handlers, cpu=cpu)
    if accelerator.is_main_process:
        put_back(Path(args.output_dir) / "checkpoint")
    accelerator.wait_for_everyone()
    return accelerator


def own_device() -> torch.device:
    """The accelerator of this process alone, where there is one."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def bf16_is_fast() -> bool:
    """Whether bfloat16 saves time here: an accelerator, or a processor that has it; others take four times as long."""
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.accelerator.is_available() or any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def seed_step(seed: int, step: int, process: int) -> int:
    """Seed every generator for one step of one process; returns the seed."""
    value = int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


def training_loop(
    accelerator: Accelerator,
    model: torch.nn.Module,
    args: TrainArguments,
    step_loss: Callable[[torch.nn.Module, int, int], tuple[torch.Tensor, dict[str, float]]],
    name: str,
    data: str = "",
    **given: str,
) -> torch.nn.Module:
    """Train `model` for `args.max_steps` steps of AdamW with warm-up and a cosine to zero, resuming where a checkpoint is.

    Args:
        step_loss: (prepared model, step, seed of this step and process) -> loss, numbers to show.
        data: `data.fingerprint` of what is trained on; given: by the name of an argument, that of the model that it names,
            which is read or begun with.

    Returns: the unwrapped model in eval mode.
    Raises: FloatingPointError where the loss is not finite; ValueError where a checkpoint is of another run, see `run_of`.
    """
    run = run_of(args, accelerator.num_processes, data, **given)
    plain = copy.deepcopy(model) if accelerator.distributed_type == DistributedType.FSDP else model  # FSDP shards in place
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, betas=(0.9, 0.99), weight_decay=args.weight_decay)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    checkpoint = Path(args.output_dir) / "checkpoint"
    check_run(checkpoint, run)
    first = load_checkpoint(checkpoint, model, optimizer) if checkpoint.exists() else 0
    prepared.train()
    bar = tqdm(range(first, args.max_steps), initial=first, total=args.max_steps, desc=name, mininterval=5)
    bar.disable = bar.disable or not accelerator.is_main_process
    for step in bar:
        seed = seed_step(args.seed, step, accelerator.process_index)
        with accelerator.autocast():
            loss, shown = step_loss(prepared, step, seed)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"{name}: the loss is {loss.item()} at step {step}")
        rate = args.learning_rate * schedule(step, args.warmup_steps, args.max_steps)
        optimizer_step(optimizer, loss, rate, args.max_grad_norm, accelerator)
        bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        if (step + 1) % args.save_steps == 0 and step + 1 < args.max_steps:
            share_buffers(accelerator, model)
            save_checkpoint(checkpoint, accelerator, model, optimizer, step + 1, run)
    accelerator.wait_for_everyone()
    share_buffers(accelerator, model)
    if plain is not model:
        plain.load_state_dict({k: _whole(v) for k, v in model.state_dict().items()})
    return plain.eval()


def optimizer_step(optimizer, loss: torch.Tensor, rate: float, max_norm: float = 1.0, accelerator: Accelerator | None = None):
    """One step down the gradient of `loss` at a learning rate, the gradient's norm clipped."""
    optimizer.zero_grad()
    loss.backward() if accelerator is None else accelerator.backward(loss)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    (torch.nn.utils if accelerator is None else accelerator).clip_grad_norm_(parameters, max_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


@torch.no_grad()
def share_buffers(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give all processes the mean of the buffers that each moves by itself: the statistics of batch normalisation."""
    for buffer in model.buffers() if accelerator.num_processes > 1 else ():
        if buffer.is_floating_point():
            buffer.copy_(accelerator.reduce(buffer, "mean"))


def schedule(step: int, warmup: int, total: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to 2 %."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    return rise * (0.02 + 0.49 * (1 + np.cos(np.pi * step / max(total, 1))))


# Arguments that change nothing of what is learned; data and models are known by their fingerprints, wherever they are.
FREE = ("dataset", "output_dir", "save_steps", "num_threads", "text_cache")


def run_of(args: TrainArguments, num_processes: int, data: str, **given: str) -> dict:
    """What makes a run: its arguments, but those of `FREE`, its processes, its data and the models that it was given."""
    kept = {k: v for k, v in asdict(args).items() if k not in FREE}
    return json.loads(json.dumps(kept | {"num_processes": num_processes, "dataset": data} | given))


def check_run(folder: Path, run: dict) -> None:
    """Raise ValueError, naming the arguments that differ, where the checkpoint in `folder` is of another run."""
    try:
        earlier = json.loads((folder / "state.json").read_text())["run"]
    except (OSError, ValueError, LookupError):
        return  # there is none, or it is broken, which `load_checkpoint` says
    differ = [f"--{k} {earlier.get(k)!r}, now {run.get(k)!r}" for k in {**earlier, **run} if earlier.get(k) != run.get(k)]
    if differ:
        raise ValueError(
            f"{folder}: this checkpoint is of another run ({'; '.join(differ)}); give the same arguments and data, or remove "
            "the folder to start anew"
        )


def save_checkpoint(
    folder: Path, accelerator: Accelerator, model: torch.nn.Module, optimizer, step: int, run: dict | None = None
) -> None:
    """Weights, optimiser state, step and `run_of` the run; written beside the old checkpoint and renamed."""
    weights = {k: _whole(v) for k, v in _distinct(model.state_dict()).items()}  # on all processes: FSDP collects the shards
    state = optimizer.state_dict()["state"]
    flat = {f"{i}.{k}": _whole(v).contiguous() for i, entry in state.items() for k, v in entry.items()}
    if accelerator.is_main_process:
        with atomic_folder(folder) as temporary:
            save_file(weights, temporary / "model.safetensors")
            save_file(flat, temporary / "optimizer.safetensors")
            (temporary / "state.json").write_text(json.dumps({"step": step, "run": run or {}}, indent=1))
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


def save_model(folder: str | Path, *parts) -> None:
    """`save_pretrained` of a model and its processor into `folder`, each file whole or not at all; drops the checkpoint.

    Every process calls it; the main one saves and the others wait.
    """
    folder, state = Path(folder), PartialState(cpu=not torch.accelerator.is_available())
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary:
            for part in parts:
                part.save_pretrained(temporary)
            for file in sorted(Path(temporary).rglob("*")):
                if file.is_file():
                    target = folder / file.relative_to(temporary)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, target)
        for left in (folder / "checkpoint", *folder.glob(".checkpoint-*"), *folder.glob(".saving-*")):
            shutil.rmtree(left, ignore_errors=True)  # of killed runs as well
    state.wait_for_everyone()
