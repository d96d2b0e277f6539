"""Sample synthetic walks from a model family into a Parquet data set.

    python train/generate.py --model outputs/demo --prompts prompts.txt --walks_per_prompt 10 --output_dir data/synthetic
    python train/generate.py --model outputs/demo --prompts labels.csv ...
    accelerate launch --num_processes 2 train/generate.py ...   (GPUs)
    torchrun --nproc_per_node 2 train/generate.py ...   (CPUs)

In: a text file with a prompt a line, or a CSV of labels: pathology and, if wanted, side, severity, speed, cadence, count; a
cell may be blank.
Out: a folder that `load_dataset` reads, in the walk schema plus provenance: `prompt`, `generator`, `seed`, `sample_index`.
Walk i is drawn by (seed, i), so the walks do not depend on the batches or the number of processes.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from accelerate import PartialState
from datasets import Dataset
from tqdm import tqdm
from transformers import HfArgumentParser, pipeline

from modeling_gait.captions import WalkDescription, parse_prompt
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.files import atomic_folder
from modeling_gait.gait_classes import GaitClasses
from modeling_gait.released import named
from modeling_gait.schema import check_name, check_output, errors_told, generated_row, walk_features
from modeling_gait.skeletons import SKELETONS

COLUMNS = ("pathology", "side", "severity", "speed", "cadence", "count")


@dataclass
class GenerateArguments:
    """Arguments of the generation of synthetic walks."""

    model: str = field(metadata={"help": "gait-small, folder or Hub id of a model family"})
    prompts: str = field(metadata={"help": "text file, a prompt a line; or CSV with a column pathology"})
    output_dir: str = field(metadata={"help": "folder of the data set; an earlier one is replaced"})
    walks_per_prompt: int = field(default=1, metadata={"help": "walks for each prompt (a CSV's count column says more)"})
    num_frames: int = 96
    temperature: float = 0.7
    top_p: float = 1.0
    batch_size: int = 250
    seed: int = 0


def read_prompts(path: str, walks_per_prompt: int, classes: GaitClasses | None = None) -> list[str]:
    """One prompt a walk. Raises ValueError naming the file and line of what cannot be understood."""
    if not path.endswith(".csv"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        prompts = []
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    parse_prompt(line, classes)
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
                prompts += [line.strip()] * walks_per_prompt
    else:
        table = pd.read_csv(path, dtype={"pathology": str, "side": str})
        if "pathology" not in table or set(table.columns) - set(COLUMNS):
            raise ValueError(f"{path}: columns {list(table.columns)}, expected pathology and any of {', '.join(COLUMNS[1:])}")
        prompts = []
        for number, row in enumerate(table.to_dict("records"), 2):
            try:
                values = {k: v if k in ("pathology", "side") else float(v) for k, v in row.items() if not pd.isna(v)}
                count = values.pop("count", float(walks_per_prompt))
                prompt = WalkDescription(**values, classes=classes).to_prompt(exact=True)
                parse_prompt(prompt, classes)
                if not count.is_integer() or count < 0:
                    raise ValueError(f"count {count:g}: expected a whole number of walks")
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            prompts += [prompt] * int(count)
    if not prompts:
        raise ValueError(f"{path}: no prompts")
    return prompts


def walk_rows(pipe, prompts: list[str], args: GenerateArguments, first: int) -> list[dict]:
    """Rows of one batch; `first` is the index of its first walk."""
    sampling = {k: getattr(args, k) for k in ("num_frames", "temperature", "top_p", "seed")}
    walks = pipe(prompts, first=first, batch_size=len(prompts), **sampling)
    return [generated_row(walk, args.model, args.seed, first + i) for i, walk in enumerate(walks)]


def main() -> None:
    args = HfArgumentParser(GenerateArguments).parse_args_into_dataclasses()[0]
    check_output(Path(args.output_dir))
    check_name(Path(args.output_dir), "generated walks")  # which have no card
    classes = GaitFeatureExtractor.from_pretrained(named(args.model)).classes
    prompts = read_prompts(args.prompts, args.walks_per_prompt, classes)
    state = PartialState(cpu=not torch.accelerator.is_available())
    pipe = pipeline("text-to-gait", model=named(args.model), device=state.device)
    schema = walk_features(len(SKELETONS[pipe.decoder.config.skeleton]), classes.labels, generated=True)
    shards = Path(args.output_dir).with_name(f".{Path(args.output_dir).name}-shards")
    if state.is_main_process:
        shutil.rmtree(shards, ignore_errors=True)
        shards.mkdir(parents=True)
    state.wait_for_everyone()
    starts = list(range(0, len(prompts), args.batch_size))
    mine = starts[state.process_index :: state.num_processes]
    for first in tqdm(mine, desc="batches", disable=not state.is_main_process):
        rows = walk_rows(pipe, prompts[first : first + args.batch_size], args, first)
        Dataset.from_list(rows, features=schema).to_parquet(shards / f"{first:08d}.parquet")
    state.wait_for_everyone()
    if state.is_main_process:
        files = sorted(shards.glob("*.parquet"))
        if len(files) != len(starts):
            raise RuntimeError(f"{len(files)} of {len(starts)} batches were written to {shards}")
        with atomic_folder(args.output_dir) as temporary:
            (temporary / "data").mkdir()
            classes.save(temporary)
            for i, file in enumerate(files):
                shutil.move(file, temporary / "data" / f"train-{i:05d}-of-{len(files):05d}.parquet")
        shards.rmdir()
        print(f"{len(prompts)} walks in {args.output_dir}")
    state.wait_for_everyone()


if __name__ == "__main__":
    with errors_told():
        main()
