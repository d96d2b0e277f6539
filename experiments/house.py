"""The size of the house: lines, processor time of the commands that everybody starts with, files of an export, circles.

    python -m experiments.house

In: this checkout. Out: model_cards/results/house.json. Lines are of the Python files that git knows; processor time (user and
system) is the median of fresh processes after a warm-up; a circle is a set of package files that import each other, in
functions as well. Exports are of untrained models of a few steps: the files do not depend on the weights.
"""

import ast
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from experiments.runner import ROOT, write_result

SOURCE = ("modeling_gait", "train", "datasets_scripts", "experiments", "space")
TINY = ["--max_steps", "1", "--batch_size", "4", "--warmup_steps", "1", "--save_steps", "9"]
SMALL = {
    "vq": ["--num_frames", "32", "--hidden_size", "16", "--codebook_size", "8", "--spatial_components", "12", "--copies", "1"],
    "gpt2": ["--n_embd", "16", "--n_layer", "1", "--n_head", "2", "--text_vocab_size", "320"],
}


def lines(*places: str) -> int:
    """Lines of the Python files below these folders that git knows."""
    files = subprocess.run(["git", "ls-files", *places], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return sum(len((ROOT / f).read_text(encoding="utf-8").splitlines()) for f in files if f.endswith(".py"))


def run(*arguments: str, folder: str | Path = ROOT) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, arguments))}: {done.stderr[-2000:]}")


def cpu_seconds(code: str, repeats: int = 5) -> float:
    """Median processor time of a fresh Python that runs `code`."""
    times = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("-c", code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(statistics.median(times[1:]), 3)


def imports(path: Path, known: dict[str, int]) -> set[int]:
    """Which package files a package file imports, in functions as well."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in known else module for a in node.names}
    return {known[name] for name in found if name in known}


def circles() -> list[list[str]]:
    """Sets of package files that import each other."""
    files = sorted((ROOT / "modeling_gait").rglob("*.py"))
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]
    known = {name: i for i, name in enumerate(names)}
    graph = np.zeros((len(files), len(files)), bool)
    for i, file in enumerate(files):
        graph[i, list(imports(file, known))] = True
    _, part = connected_components(graph, connection="strong")
    return [[names[i] for i in np.flatnonzero(part == p)] for p in np.unique(part) if (part == p).sum() > 1]


def exported(folder: Path) -> dict[str, int]:
    """Python files that `save_pretrained` of two pipelines and a model writes."""
    train = [("vq", []), ("gpt2", ["--vq", "vq"])]
    run(
        ROOT / "datasets_scripts" / "simulated.py",
        *["--num_walks", "21", "--num_subjects", "3", "--frames", "64", "--output_dir", "data"],
        folder=folder,
    )
    for name, parts in train:
        script = [ROOT / "train" / f"train_{name}.py", "--dataset", "data", *SMALL[name]]
        run(*script, *parts, "--output_dir", "family" if name == "gpt2" else name, *TINY, folder=folder)
    code = """
import torch
from transformers import pipeline
import modeling_gait
from modeling_gait import GaitDecoderModel, GaitKnowledgeConfig
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
GaitDecoderModel.from_pretrained("family", subfolder="decoder").save_pretrained("decoder_out")
pipeline("text-to-gait", model="family").save_pretrained("text_to_gait_out")
config = GaitKnowledgeConfig(branches=["skeleton", "video"], use_numeric=True)
GaitKnowledgeForSequenceClassification(config).save_pretrained("k")
pipeline("gait-report", model="k").save_pretrained("report_out")
"""
    run("-c", code, folder=folder)
    return {
        f"exported_files_{n}": len(list((folder / f"{n}_out").rglob("*.py"))) for n in ("report", "text_to_gait", "decoder")
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "walk.csv"
        walk = "from modeling_gait.simulation import simulate_walks; from modeling_gait.export import write_csv; "
        run("-c", f"{walk}write_csv({str(csv)!r}, simulate_walks(1, 300, seed=0).joints[0], 30.0)")
        gait = "import sys; sys.argv = ['gait', {}]; from modeling_gait.cli.main import app; app()"
        found = circles()
        metrics = {
            "lines_source": lines(*SOURCE),
            "lines_tests": lines("tests"),
            "lines_readme": len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()),
            "cpu_seconds_help": cpu_seconds(gait.format("'--help'")),
            "cpu_seconds_parameters": cpu_seconds(gait.format(f"'parameters', {str(csv)!r}")),
            "cpu_seconds_import": cpu_seconds("import modeling_gait"),
            **exported(Path(folder)),
            "circles": len(found),
        }
    rows = [{"folder": place, "lines": lines(place)} for place in (*SOURCE, "tests")] + [{"circle": c} for c in found]
    protocol = "Python lines that git knows; processor time of fresh processes, medians of 5 after a warm-up, one thread"
    print(metrics, write_result("house", "none", protocol, metrics, rows))


if __name__ == "__main__":
    main()
