"""Do the tests notice? One-line breaks of core logic, each of which must make a test fail.

    python -m experiments.mutants            # or: make mutants; --only TEXT: those whose file or line contains it

In: the list below (file, old line's part, new part, tests to run). Each break is made in a copy of the checkout, one copy a
process, and its tests run there until the first failure; all of them must pass without any. A run that was stopped goes on
while no file changes. Out: the breaks that survived, `model_cards/results/mutants.json` (`mutants`, `killed`)
when the whole list ran. Raises ValueError where a part does not stand exactly once in its file.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from experiments.runner import ROOT, write_result
from modeling_gait.files import write_json

M = "modeling_gait"
MUTANTS = [
    (f"{M}/generation_gait.py", "d.mirrored() if m else d for", "d for", "pipelines_gait"),
    (f"{M}/generation_gait.py", "pathological[:, 0] += torch", "pathological[:, 0] += 0 * torch", "pipelines_gait"),
    (f"{M}/generation_gait.py", "10.0 * (said != wanted)", "10.0 * (said == wanted)", "pipelines_gait"),
    (f"{M}/training/data.py", "mirror_parameters(p) if m else p for", "p if m else p for", "train_common"),
    (f"{M}/training/gpt2.py", "dict(measured, speed=speed, cadence=", "dict(measured, cadence=", "train_gpt2"),
    (f"{M}/cleaning.py", "np.maximum(SPIKE, 6 * scale)", "np.maximum(SPIKE, 60 * scale)", "cleaning"),
    (f"{M}/modeling_gait_decoder.py", "GaitDecoderOutput(out - sink[:, :, None],", "GaitDecoderOutput(out,",
     "modeling_gait_decoder"),
    (f"{M}/kinematics.py", "np.arctan2(-hips[:, 2],", "np.arctan2(hips[:, 2],", "kinematics"),
    (f"{M}/kinematics.py", "np.arctan2(trunk[:, 0], trunk[:, 2])", "np.arctan2(trunk[:, 1], trunk[:, 2])", "kinematics"),
    (f"{M}/kinematics.py", "+ medial * obliquity", "- medial * obliquity", "kinematics"),
    (f"{M}/skeletons.py", "    out[..., 0] *= -1", "    out[..., 1] *= -1", "augmentation kinematics"),
    (f"{M}/skeletons.py", "joints[..., list(skeleton.mirror), :]", "joints[..., list(range(len(skeleton))), :]",
     "augmentation kinematics"),
    (f"{M}/cleaning.py", "MAX_ROOT_SPEED = 6.0", "MAX_ROOT_SPEED = 60.0", "cleaning"),
    (f"{M}/gait_cycles.py", "starts = peaks + 0.5 * (a - c)", "starts = peaks - 0.5 * (a - c)", "gait_cycles"),
    (f"{M}/gait_cycles.py", "(lags >= shortest * fps)", "(lags >= 0 * fps)", "gait_cycles"),
    (f"{M}/evaluation/metrics.py", "reference = reference - reference[..., root : root + 1, :]", "pass", "metrics"),
    (f"{M}/evaluation/metrics.py", "(np.linalg.det(u @ vt) < 0, -1.0, 1.0)", "(np.linalg.det(u @ vt) < 0, 1.0, 1.0)",
     "metrics"),
    (f"{M}/evaluation/metrics.py", "np.diff(tracks[:, -1, :2], axis=0)", "np.diff(tracks[:, -1, :], axis=0)", "metrics"),
    (f"{M}/captions.py", "if s not in sides]", "if s in ()]", "captions"),
    (f"{M}/captions.py", "for s in said if s != d.level]", "for s in said if s is None]", "captions"),
    (f"{M}/walk_description.py", "not q.low <= value <= q.high", "not q.low <= value", "captions"),
    (f"{M}/files.py", "        temporary.unlink(missing_ok=True)", "        pass", "files"),
    ("experiments/runner.py", "a[k] - b[k] for k in a if k in b and k[0] == unit]", "a[k] - b[k] for k in a if k in b]",
     "experiments/test_runner.py"),
    ("experiments/runner.py", "(other := [k for k in made if made[k] != arguments.get(k)])", "(other := [])",
     "experiments/test_runner.py"),
    ("experiments/loso.py", "group[n][i]) for i in (1, 0)]", "group[n][i]) for i in (0, 1)]", "experiments/test_loso.py"),
    (f"{M}/gait_events.py", "ankle[:, 1] - HEEL_STRIKE * travelled", "ankle[:, 1] - 1.5 * travelled", "gait_events"),
    (f"{M}/gait_events.py", "ways[..., 1] -= floor *", "ways[..., 1] -= 0 *", "gait_events"),
    (f"{M}/gait_events.py", " & (power[lags] > 0)]", "]", "gait_events"),
    (f"{M}/walk_checks.py", "if thickness[0] < 0.02 * thickness[2]:", "if False:", "recording walk_checks"),
    (f"{M}/walk_checks.py", "    if not kept:", "    if False:", "walk_checks"),
    (f"{M}/walk_checks.py", "return moved, abs(slide)", "return joints, abs(slide)", "walk_checks"),
    (f"{M}/exchanged_joints.py", "out[np.ix_(swap, pair)] = out[np.ix_(swap, pair[::-1])]", "pass", "walk_checks recording"),
    (f"{M}/loading.py", '(250.0, 1400.0, 0.001, "millimetres")', '(250.0, 1400.0, 0.01, "millimetres")', "loading"),
    (f"{M}/gait_waves.py", "* (1 - 2 * (k % 2))[:, None]", "", "gait_waves"),
    (f"{M}/gait_waves.py", "b * cos - a * sin", "b * cos + a * sin", "gait_waves"),
    (f"{M}/gait_waves.py", "torch.remainder(growth[:, 0] - shift", "torch.remainder(growth[:, 0]", "gait_waves"),
    (f"{M}/quantization.py", "@ member - 2 * cross", "@ member + 2 * cross", "quantization"),
    (f"{M}/quantization.py", "rate.cumsum(0) - rate / 2", "0 * rate", "quantization"),
    (f"{M}/modeling_gait_vq.py", "self.person + severity * self.pathology", "self.person + self.pathology", "modeling_gait_vq"),
    (f"{M}/modeling_gait_vq.py", "return vectors * (label != self.normal)[:, None]", "return vectors", "modeling_gait_vq"),
    (f"{M}/modeling_gait_vq.py", "codes[:, 0] >= self.num_labels)", "codes[:, 0] < 0)", "modeling_gait_vq"),
    (f"{M}/training/loop.py", "rise * (0.02 + 0.49 * (1 +", "rise * (0.02 + 0.49 * (2 +", "train_common"),
    (f"{M}/modeling_gait_vq.py", "way = factor * (", "way = 1.0 * (", "modeling_gait_vq pipelines_gait"),
]  # fmt: skip


def paths(tests: str) -> list[str]:
    """`captions experiments/test_loso.py::test_x` -> tests/test_captions.py, tests/experiments/test_loso.py::test_x"""
    return [f"tests/{name if '.py' in name else f'test_{name}.py'}" for name in tests.split()]


def copy_tree(folder: Path) -> Path:
    """The files that git knows, as they are here."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def tracked() -> list[str]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def passes(folder: Path, tests: str) -> bool:
    """Whether these tests pass in the copy. Raises OSError where they cannot be run."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *paths(tests)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode > 2:  # 1: tests failed, 2: a module broke while it was collected
        raise OSError(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.returncode == 0


def survives(folder: Path, file: str, old: str, new: str, tests: str) -> bool:
    """Whether the tests of a mutant pass with it."""
    text = (folder / file).read_text(encoding="utf-8")
    try:
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        return passes(folder, tests)
    finally:
        (folder / file).write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutants whose file or line contains this; writes no result")
    parser.add_argument("--num_proc", type=int, default=2, help="mutants at a time (default %(default)s)")
    args = parser.parse_args()
    mutants = [m for m in MUTANTS if args.only in m[0] or args.only in m[1]]
    for file, old, *_ in mutants:
        if (count := (ROOT / file).read_text(encoding="utf-8").count(old)) != 1:
            raise ValueError(f"{file}: {old!r} stands there {count} times, expected once")
    state = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in tracked())).hexdigest()[:12]
    done = ROOT / "outputs" / "mutants" / state
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(args.num_proc) as pool:
        free = [copy_tree(Path(place) / str(i)) for i in range(args.num_proc)]

        def measured(work, *given) -> dict:
            """`result` and `seconds` of work in a copy; kept for the next run on the same files."""
            path = done / f"{hashlib.sha256(repr(given).encode()).hexdigest()[:16]}.json"
            if not path.exists():
                folder, began = free.pop(), time.perf_counter()
                try:
                    result = work(folder, *given)
                    write_json(path, {"result": result, "seconds": round(time.perf_counter() - began, 1)})
                finally:
                    free.append(folder)
            return json.loads(path.read_text(encoding="utf-8"))

        files = sorted({name for m in mutants for name in m[3].split()})
        plain = list(tqdm(pool.map(lambda name: measured(passes, name), files), "without", len(files)))
        if failing := [name for name, one in zip(files, plain) if not one["result"]]:
            raise ValueError(f"{', '.join(failing)}: fail without a mutant")
        found = list(tqdm(pool.map(lambda m: measured(survives, *m), mutants), "mutants", len(mutants)))
    rows = [
        dict(zip(("file", "old", "new", "tests"), m)) | {"killed": not one["result"], "seconds": one["seconds"]}
        for m, one in zip(mutants, found)
    ]
    for row in rows:
        if not row["killed"]:
            print(f"survived: {row['file']}: {row['old']} -> {row['new']} ({row['tests']})")
    seconds = sum(one["seconds"] for one in plain + found)
    metrics = {"mutants": len(rows), "killed": sum(r["killed"] for r in rows), "process_seconds": round(seconds)}
    print(metrics)
    if not args.only:
        protocol = "one-line breaks in a copy of the tree; killed: a test fails; the same tests pass without it"
        write_result("mutants", "none", protocol, metrics, rows)
    if metrics["killed"] < metrics["mutants"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
