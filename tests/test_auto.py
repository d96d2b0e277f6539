"""Names imported when used, registration whatever is imported first, commands that import no more than they need."""

import ast
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import modeling_gait
from modeling_gait.export import write_csv
from modeling_gait.simulation import simulate_walks

HEAVY = ("torch", "transformers", "datasets", "pandas", "matplotlib", "sklearn")


def run(code: str) -> str:
    """The last line that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]


def command(*arguments: str) -> tuple[list[str], float]:
    """Heavy modules that `gait ARGUMENTS` imports, and its seconds of CPU."""
    code = f"""
import sys
from modeling_gait.cli.main import app
try:
    app({list(arguments)!r})
except SystemExit as end:
    assert not end.code, end.code
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    heavy = run(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return heavy, after.ru_utime - before.ru_utime


def test_commands_that_need_no_model_start_at_once(tmp_path):
    walk = simulate_walks(1, frames=300, seed=0)
    write_csv(tmp_path / "walk.csv", walk.joints[0], walk.fps)
    for seconds, *arguments in (
        (0.5, "--help"),
        (0.5, "--version"),
        (1.5, "parameters", str(tmp_path / "walk.csv")),
        (1.5, "convert", str(tmp_path / "walk.csv"), str(tmp_path / "walk.bvh")),
    ):
        heavy, spent = command(*arguments)
        assert heavy == "[]", arguments
        assert spent < 2 * seconds, arguments  # a busy machine may take longer than the limit that experiments measure


def test_the_package_imports_nothing_heavy():
    assert run(f"import sys, modeling_gait; dir(modeling_gait)\nprint([m for m in {HEAVY!r} if m in sys.modules])") == "[]"


def test_every_name_is_there():
    for name in modeling_gait.__all__:
        assert getattr(modeling_gait, name) is not None
    assert set(modeling_gait.__all__) <= set(dir(modeling_gait))
    with pytest.raises(AttributeError, match="GaitNothing"):
        modeling_gait.GaitNothing  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(modeling_gait.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == modeling_gait._HOME


PIPELINES = {"text-to-gait", "gait-to-text", "gait-classification", "gait-report", "zero-shot-gait-classification"}
SEEN = """
import json
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification as A
from transformers.pipelines import PIPELINE_REGISTRY
from modeling_gait import auto
known = {n: type(AutoConfig.for_model(n)) for n in ("gait_vq", "gait_tcn", "gait_classifier", "gait_knowledge")}
print(json.dumps([sorted(t for t in PIPELINE_REGISTRY.get_supported_tasks() if "gait" in t), len(auto._waiting),
  [type(AutoModel.from_config(known["gait_vq"]())).__name__, A._model_mapping[known["gait_knowledge"]].__name__]]))
"""


@pytest.mark.parametrize(
    "first",
    [
        "import modeling_gait\nfrom transformers import pipeline",
        "from transformers import AutoModel\nimport modeling_gait",
        "from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification",
        "from modeling_gait.pipeline_gait_report import GaitReportPipeline",
    ],
)
def test_registered_whatever_is_imported_first(first):
    tasks, waiting, classes = json.loads(run(f"{first}\n{SEEN}"))
    assert set(tasks) == PIPELINES and classes == ["GaitVQModel", "GaitKnowledgeForSequenceClassification"]
    assert waiting <= 1  # AutoProcessor's module, where nothing has asked for it
