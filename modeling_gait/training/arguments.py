"""Arguments of the training scripts: the shared ones, from the command line or one JSON file, and whether they fit together.

In: `sys.argv`. Out: a dataclass. Raises ValueError where an argument is unknown or does not fit the model to be fine-tuned.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from transformers import HfArgumentParser

from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.modeling_gait_vq import GaitVQModel
from modeling_gait.released import named
from modeling_gait.sentence_encoder import OWN

PRECISIONS = ("no", "bf16")
ENCODER_HELP = f"frozen encoder of texts: Hub name or folder, or {OWN}, which is in this package"


@dataclass
class TrainArguments:
    """Arguments that all training scripts share."""

    makes: ClassVar[str | None] = None  # `model_type` of what is trained
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
    mixed_precision: str = field(
        default="no", metadata={"choices": PRECISIONS, "help": "bf16 only where the processor is fast in it"}
    )
    num_threads: int = field(default=0, metadata={"help": "CPU threads a process, 0 = torch's choice"})


def parse_arguments(kind: type) -> TrainArguments:
    """Arguments from the command line, or from one JSON file (`train_vq.py configs/vq_gist.json --max_steps 10`).

    Raises ValueError for an unknown one, and where a run in `output_dir` is finished.
    """
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
    args = parser.parse_args_into_dataclasses(argv)[0]
    for name, part in (("init_from", ""), ("vq", "vq")):
        if hasattr(args, name):
            setattr(args, name, named(getattr(args, name), part))
    check_unfinished(args)
    return args


def check_unfinished(args: TrainArguments) -> None:
    """Raise ValueError where `output_dir` holds a whole model, and no checkpoint to go on from."""
    folder = Path(args.output_dir)
    if any(folder.glob("model*.safetensors")) and not any(folder.glob("*checkpoint*")):
        raise ValueError(f"{folder} holds a trained model; choose another output_dir, or remove that to train anew")


def need(args: TrainArguments, *names: str) -> None:
    """Raise ValueError naming the first of these arguments that was left out."""
    for name in names:
        if not getattr(args, name):
            raise ValueError(f"--{name} is missing: {type(args).__dataclass_fields__[name].metadata['help']}")


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
    here, there = GaitVQConfig.from_pretrained(vq), GaitVQConfig.from_pretrained(family, subfolder="vq")
    differ = [name for name in (*GaitVQConfig.__annotations__, "id2label") if getattr(here, name) != getattr(there, name)]
    if not differ:
        here, there = GaitVQModel.from_pretrained(vq), GaitVQModel.from_pretrained(family, subfolder="vq")
        pairs = zip(here.codebooks.state_dict().items(), there.codebooks.state_dict().values())
        differ = [name for (name, a), b in pairs if not torch.equal(a, b)][:3]
    if differ:
        raise ValueError(
            f"--vq {vq} does not come from --init_from {family}: {', '.join(differ)} differ; "
            f"fine-tune it first, with train_vq.py --init_from {family}"
        )
