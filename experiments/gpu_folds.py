"""All folds' tokenisers, GPT-2 and sampled walks in one go on a GPU, from one small file.

    python -m experiments.gpu_folds pack --dataset data/gist --file gist.npz                # here: gist in 60 MiB
    python -m experiments.gpu_folds run --file gist.npz --output_dir OUT                    # there: all folds, side by side
    python -m experiments.gpu_folds run --file gist.npz --output_dir OUT --subjects 1 7 --jobs 2

In: walks of the walk schema. The file holds their joints in whole millimetres, as differences from frame to frame
(zlib; Kinect's noise is 25 mm), and what each walk is; gait parameters and captions are computed again. Out: what
`experiments.loso_generator` makes, OUT/fold_SUBJECT with the family and `words` and `samples`, one process a fold; the same
command goes on after an interruption. `experiments.chain` and `experiments.loso` read them with `--families`, `--output_dir`.
Never run on a GPU yet: none could be had.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from experiments.runner import ROOT, held_out
from modeling_gait import schema
from modeling_gait.files import atomic_path
from modeling_gait.training.data import open_rows

TEXT = ("subject_id", "walk_id", "sensor", "attributes")
NUMBERS = ("pathology", "severity", "fps")


def pack(data: Dataset, file: Path) -> None:
    """Walks of one skeleton -> `file` (.npz); they come back to 0.5 mm."""
    steps, frames = [], []
    for part in data.select_columns(["joints"]).with_format("numpy").iter(256):
        for joints in part["joints"]:
            whole = np.round(1000 * joints.reshape(len(joints), -1))
            steps.append(np.diff(whole, axis=0, prepend=0).astype(np.int16).T.ravel())  # a coordinate's frames side by side
            frames.append(len(joints))
    about = data.select_columns([*TEXT, *NUMBERS]).to_dict()
    with atomic_path(Path(file)) as temporary, open(temporary, "wb") as target:
        np.savez_compressed(
            target,
            steps=np.concatenate(steps),
            frames=np.array(frames),
            labels=np.array(data.features["pathology"].names),
            **{name: np.array(about[name]) for name in (*TEXT, *NUMBERS)},
        )


def unpack(file: Path, output_dir: Path, num_proc: int = 1) -> int:
    """The data set of `pack` again, gait parameters and captions computed anew; returns the number of walks."""
    with np.load(file, allow_pickle=False) as stored:
        content = {name: stored[name] for name in stored.files}
    frames, labels = content["frames"], [str(name) for name in content["labels"]]
    width = int(len(content["steps"]) // frames.sum())
    parts = np.split(content["steps"], np.cumsum(frames * width)[:-1])
    walks = []
    for i, (part, count) in enumerate(zip(parts, frames)):
        about = {name: content[name][i].item() for name in (*TEXT, *NUMBERS)}
        walks.append(about | {"pathology": labels[about["pathology"]], "steps": part.reshape(width, count)})
    columns = schema.walk_features(width // 3, labels)
    rows = schema.parallel(_row, walks, num_proc, "walks")
    return schema.write_dataset(rows, output_dir, lambda: f"# {Path(file).stem}, unpacked\n", columns=columns)


def _row(walk: dict) -> dict:
    joints = np.cumsum(walk.pop("steps"), axis=1, dtype=np.int64).T.reshape(-1, 25, 3) / 1000
    return schema.walk_row(joints.astype(np.float32), **walk | {"attributes": json.loads(walk["attributes"])})


def run(file: Path, output_dir: Path, subjects: list[str], jobs: int) -> None:
    """The generators of the folds, `jobs` processes at a time. Raises RuntimeError that names the folds that failed."""
    data = output_dir / "data"
    if not data.exists():
        unpack(file, data, jobs)
    command = [sys.executable, "-m", "experiments.loso_generator", "--dataset", str(data), "--output_dir", str(output_dir)]
    command += ["--sets", "words", "samples", "--num_threads", "1", "--subjects"]
    people = held_out(np.array(open_rows(str(data))["subject_id"]), subjects, str(data))

    def fold(person: str) -> int:
        with open(output_dir / f"fold_{person}.log", "a", encoding="utf-8") as log:
            return subprocess.run([*command, person], cwd=ROOT, stdout=log, stderr=log).returncode

    with ThreadPoolExecutor(jobs) as pool:
        codes = list(tqdm(pool.map(fold, people), total=len(people), desc="folds"))
    if failed := [person for person, code in zip(people, codes) if code]:
        raise RuntimeError(f"folds {', '.join(failed)} failed: see {output_dir}/fold_*.log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("pack", "run"))
    parser.add_argument("--file", type=Path, required=True, help="the packed walks, .npz")
    parser.add_argument("--dataset", help="pack: load_dataset name or folder of Parquet")
    parser.add_argument("--output_dir", type=Path, help="run: data, families and sampled walks")
    parser.add_argument("--subjects", nargs="*", default=[], help="run: people to hold out; default: every one")
    parser.add_argument("--jobs", type=int, default=10, help="run: folds at a time (default %(default)s)")
    args = parser.parse_args()
    if args.task == "pack":
        pack(open_rows(args.dataset), args.file)
        print(f"{args.file}: {args.file.stat().st_size / 2**20:.1f} MiB")
    else:
        run(args.file, args.output_dir.resolve(), args.subjects, args.jobs)


if __name__ == "__main__":
    main()
