"""Names imported when used, registration whatever is imported first, commands that import no more than they need."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import SIZES
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoProcessor, AutoTokenizer, pipeline

import modeling_gait
from modeling_gait.export import write_csv
from modeling_gait.simulation import simulate_walks

HEAVY = ("torch", "transformers", "datasets", "matplotlib", "sklearn")


def run(code: str) -> str:
    """The last line that a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1].strip()


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
    return cpu_seconds(code)


def cpu_seconds(code: str) -> tuple[str, float]:
    """What the code prints, and the processor's seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = run(code)
    return printed, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime


def test_commands_that_need_no_model_start_at_once(tmp_path):
    walk = simulate_walks(1, frames=300, seed=0)
    write_csv(tmp_path / "walk.csv", walk.joints[0], walk.fps)
    _, libraries = cpu_seconds("import numpy, pandas, scipy.signal; print()")  # a slow or busy machine takes longer
    for seconds, *arguments in (
        (0.5, "--help"),
        (0.5, "--version"),
        (1.5, "parameters", str(tmp_path / "walk.csv")),
        (1.5, "convert", str(tmp_path / "walk.csv"), str(tmp_path / "walk.bvh")),
    ):
        heavy, spent = command(*arguments)
        assert heavy == "[]", arguments
        assert spent < max(3 * seconds, 2 * libraries), arguments  # experiments.house measures the limit itself


def test_the_package_imports_nothing_heavy():
    assert run(f"import sys, modeling_gait; dir(modeling_gait)\nprint([m for m in {HEAVY!r} if m in sys.modules])") == "[]"


def test_every_name_is_there():
    for name in modeling_gait.__all__:
        assert getattr(modeling_gait, name) is not None
    assert set(modeling_gait.__all__) <= set(dir(modeling_gait))
    with pytest.raises(AttributeError, match="GaitNothing"):
        modeling_gait.GaitNothing  # noqa: B018


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


CLASSES = {
    "gait_classifier": {"hidden_size": 8, "num_layers": 1},
    "gait_decoder": SIZES,
    "gait_dual_encoder": {"projection_size": 8},
    "gait_knowledge": {"projection_size": 16, "use_knowledge": False},
    "gait_tcn": {"num_channels": 6, "channels_per_sensor": 3, "hidden_size": 8},
    "gait_vq": SIZES,
}


@pytest.mark.parametrize("model_type", CLASSES)
def test_automodel_opens_every_folder_without_a_question(model_type, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the code"))
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **CLASSES[model_type]))
    model.save_pretrained(tmp_path)
    assert (tmp_path / f"modeling_{model_type}.py").is_file()
    assert type(AutoModel.from_pretrained(tmp_path)) is type(model)
    assert type(model).forward.__wrapped__  # can_return_tuple: `return_dict` means the same everywhere


def test_a_family_opens_with_the_auto_classes(family_folder, walks, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the code"))
    extractor, processor = AutoFeatureExtractor.from_pretrained(family_folder), AutoProcessor.from_pretrained(family_folder)
    tokenizer, model = AutoTokenizer.from_pretrained(family_folder), AutoModel.from_pretrained(family_folder)
    assert tokenizer.model_max_length == model.config.n_positions
    own = extractor(walks.joints[0], return_tensors="pt")
    assert torch.equal(processor(walks=walks.joints[0], return_tensors="pt")["input_values"], own["input_values"])
    assert isinstance(extractor(walks.joints[0], return_tensors="np")["input_values"], np.ndarray)
    vq = AutoModel.from_pretrained(family_folder / "vq").eval()
    joints, mask = own["joints"], own["attention_mask"]
    whole, parts = vq(joints, mask), vq(joints, mask, return_dict=False)
    assert isinstance(parts, tuple) and len(parts) == len(whole.to_tuple())


@pytest.mark.parametrize("task", ["text-to-gait", "gait-to-text"])
def test_a_saved_pipeline_loads(task, family_folder, walks, tmp_path):
    pipeline(task, model=str(family_folder)).save_pretrained(tmp_path / "saved")
    made = [
        pipeline("text-to-gait", model=str(f))("normal gait", num_frames=16, seed=1)
        for f in (family_folder, tmp_path / "saved")
    ]
    np.testing.assert_array_equal(made[0]["joints"], made[1]["joints"])
    assert made[1]._repr_html_().startswith('<img src="data:image/gif;base64,R0lGOD')
    read = pipeline("gait-to-text", model=str(tmp_path / "saved"))(walks.joints[0])
    assert set(read["class_probabilities"]) == set(walks.pathology)
