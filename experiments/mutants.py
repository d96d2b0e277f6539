"""Do the tests notice? One-line breaks of core logic, each of which must make a test fail.

    python -m experiments.mutants            # or: make mutants; --only TEXT: those whose file or line contains it

In: mutants.yaml (file: old line's part, new part, tests to run). Each break is made in a copy of the checkout, one copy a
process, and its tests run there until the first failure; all of them must pass without any. A run that was stopped goes on
while no file changes. Out: the breaks that survived, `model_cards/results/mutants.json` (`mutants`, `killed`)
when the whole list ran.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from tqdm import tqdm

from experiments.runner import ROOT, write_result
from modeling_gait.files import write_json

LISTED = yaml.safe_load((ROOT / "experiments" / "mutants.yaml").read_text(encoding="utf-8"))
MUTANTS = [(file, *parts) for file, found in LISTED.items() for parts in found]
# children come from a process without threads (a fork of one with threads may hang) that has imported what is slow to import
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["datasets", "transformers", "torch", "pytest"])


def paths(tests: str) -> list[str]:
    """`captions experiments/test_loso.py::test_x` -> tests/test_captions.py, tests/experiments/test_loso.py::test_x"""
    return [f"tests/{name if '.py' in name else f'test_{name}.py'}" for name in tests.split()]


def check(mutants: list[tuple[str, str, str, str]]) -> None:
    """Raise ValueError where a part does not stand exactly once in its file, or a test is not there."""
    for file, old, _, tests in mutants:
        if (count := (ROOT / file).read_text(encoding="utf-8").count(old)) != 1:
            raise ValueError(f"{file}: {old!r} stands there {count} times, expected once")
        for path, _, name in (test.partition("::") for test in paths(tests)):
            if not (ROOT / path).exists() or f"def {name}" not in (ROOT / path).read_text(encoding="utf-8"):
                raise ValueError(f"{file}: {old!r} names {path}::{name}, which is not there")


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
    """Whether these tests pass in the copy, in a process of their own."""
    child = CHILDREN.Process(target=_run, args=(folder, paths(tests)))
    child.start()
    child.join(1800)
    child.kill()  # does nothing where it has ended
    child.join()
    if child.exitcode not in (0, 1, 2):  # 1: tests failed, 2: a module broke while it was collected
        raise OSError(f"{tests}: pytest ended with {child.exitcode}")
    return child.exitcode == 0


def _run(folder: Path, tests: list[str]) -> None:
    """pytest on the copy, whose modules take the place of this checkout's."""
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path[:] = [str(folder), *(p for p in sys.path if p and Path(p) != ROOT)]
    for name in [n for n in sys.modules if n.split(".")[0] in ("modeling_gait", "experiments", "train")]:
        del sys.modules[name]
    with open("said.txt", "w") as said, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests])
    os._exit(code)


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
    check(mutants)
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
        plain = measured(passes, " ".join(files))
        if not plain["result"]:
            raise ValueError(f"{', '.join(files)}: fail without a mutant")
        found = list(tqdm(pool.map(lambda m: measured(survives, *m), mutants), "mutants", len(mutants)))
    rows = [
        dict(zip(("file", "old", "new", "tests"), m)) | {"killed": not one["result"], "seconds": one["seconds"]}
        for m, one in zip(mutants, found)
    ]
    for row in rows:
        if not row["killed"]:
            print(f"survived: {row['file']}: {row['old']} -> {row['new']} ({row['tests']})")
    seconds = sum(one["seconds"] for one in [plain, *found])
    metrics = {"mutants": len(rows), "killed": sum(r["killed"] for r in rows), "process_seconds": round(seconds)}
    print(metrics)
    if not args.only:
        protocol = "one-line breaks in a copy of the tree; killed: a test fails; the same tests pass without it"
        write_result("mutants", "none", protocol, metrics, rows)
    if metrics["killed"] < metrics["mutants"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
