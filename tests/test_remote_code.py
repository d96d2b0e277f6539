"""The exported folders run by `trust_remote_code=True` where the package itself cannot be imported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_gait import GaitDecoderModel, GaitProcessor, GaitVQModel
from modeling_gait.configuration_gait_classifier import GaitClassifierConfig
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification
from modeling_gait.released import released
from modeling_gait.tokenization_gait import GaitCodes

# Blocks the package before anything else: no finder may serve it, whatever is on the path.
BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modeling_gait":
            raise ModuleNotFoundError("No module named 'modeling_gait' (blocked)", name="modeling_gait")
sys.meta_path.insert(0, Blocker())
try:
    import modeling_gait
    raise SystemExit("modeling_gait can be imported: the test shows nothing")
except ModuleNotFoundError:
    pass
"""


def run_blocked(code: str, cwd) -> dict:
    """Run code in a fresh process, in another folder, without the package; what it prints last is JSON."""
    environment = os.environ | {"HF_MODULES_CACHE": str(cwd / "modules"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "deprecated" not in done.stderr, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


MODELS = """
import json
import numpy as np
import torch
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoProcessor,
    AutoTokenizer,
)
torch.set_num_threads(1)
trust = {"trust_remote_code": True}
walk = np.load(WALK, allow_pickle=False)
vq = AutoModel.from_pretrained(FAMILY, subfolder="vq", **trust).eval()
decoder = AutoModel.from_pretrained(FAMILY, subfolder="decoder", **trust).eval()
tokenizer = AutoTokenizer.from_pretrained(FAMILY, **trust)
processor = AutoProcessor.from_pretrained(FAMILY, **trust)
extractor = AutoFeatureExtractor.from_pretrained(FAMILY, **trust)
classifier = AutoModelForSequenceClassification.from_pretrained(CLASSIFIER, **trust).eval()
alone = AutoModel.from_pretrained(FAMILY + "/vq", **trust).eval()
plain = AutoModelForCausalLM.from_pretrained(FAMILY)
inputs = processor(walks=walk)
again = extractor(walk)
with torch.no_grad():
    codes = vq.encode(inputs["joints"], inputs["attention_mask"])
    joints = decoder(**codes).joints
    logits = classifier(torch.ones(1, 16, 75)).logits
GaitCodes = type(tokenizer.decode_codes([tokenizer.gait_start_id, *[r[0] for r in tokenizer.grammar()]]))
ids = tokenizer.encode_codes(GaitCodes(*(code[0].numpy() for code in codes.to_tuple())))
modules = {type(x).__module__.split(".")[0] for x in (vq, decoder, tokenizer, processor, extractor, classifier, alone)}
seen = {
    "modules": sorted(modules),
    "same": bool((inputs["input_values"] == again["input_values"]).all()),
    "alone": bool(all((a == b).all() for a, b in zip(vq.state_dict().values(), alone.state_dict().values()))),
    "ids": ids,
    "joints": joints.double().sum().item(),
    "logits": logits[0].tolist(),
    "gpt2": type(plain).__module__,
}
try:
    AutoModel.from_pretrained(FAMILY, subfolder="vq", trust_remote_code=False)
except ValueError as error:
    seen["refused"] = str(error)
"""

PIPELINES = """
from transformers import pipeline
made = pipeline("text-to-gait", model=FAMILY, trust_remote_code=True)("steppage gait, right side", num_frames=16, seed=3)
read = pipeline("gait-to-text", model=FAMILY, trust_remote_code=True)(walk, fps=30)
print(json.dumps(seen | {
    "made": made["joints"].astype(float).sum(), "shape": made["joints"].shape, "text": read["text"],
    "speed": read["gait_parameters"]["speed"],
}))
"""


@pytest.fixture(scope="module")
def classifier_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier") / "gru"
    GaitForSequenceClassification(GaitClassifierConfig(hidden_size=16)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def walk_file(walks, tmp_path_factory):
    path = tmp_path_factory.mktemp("walk") / "walk.npy"
    np.save(path, walks.joints[0])
    return path


@pytest.fixture(scope="module")
def seen(family_folder, classifier_folder, walk_file, tmp_path_factory) -> dict:
    """What the fresh process saw."""
    given = {"FAMILY": family_folder, "CLASSIFIER": classifier_folder, "WALK": walk_file}
    names = "".join(f"{k} = {str(v)!r}\n" for k, v in given.items())
    return run_blocked(names + MODELS + PIPELINES, tmp_path_factory.mktemp("elsewhere"))


def test_auto_classes_load_models_and_processors_from_their_own_code(seen, family_folder, classifier_folder, walk_file):
    assert seen["modules"] == ["transformers_modules"] and seen["gpt2"].startswith("transformers.")
    assert seen["same"] and seen["alone"] and "trust_remote_code" in seen["refused"]
    processor = GaitProcessor.from_pretrained(family_folder)
    with torch.no_grad():
        inputs, vq = processor(walks=np.load(walk_file)), GaitVQModel.from_pretrained(family_folder, subfolder="vq").eval()
        codes = vq.encode(inputs["joints"], inputs["attention_mask"])
        decoder = GaitDecoderModel.from_pretrained(family_folder, subfolder="decoder").eval()
        joints = decoder(**codes).joints
        classifier = GaitForSequenceClassification.from_pretrained(classifier_folder).eval()
        logits = classifier(torch.ones(1, 16, 75)).logits[0]
    assert seen["ids"] == processor.tokenizer.encode_codes(GaitCodes(*(c[0].numpy() for c in codes.to_tuple())))
    assert seen["joints"] == pytest.approx(joints.double().sum().item(), abs=1e-3)
    assert seen["logits"] == pytest.approx(logits.tolist(), abs=1e-6)


def test_pipelines_run_from_their_own_code(seen, family_folder, walk_file):
    """And the same calls without `trust_remote_code` where the package is installed give the same."""
    made = pipeline("text-to-gait", model=str(family_folder))("steppage gait, right side", num_frames=16, seed=3)
    read = pipeline("gait-to-text", model=str(family_folder))(np.load(walk_file), fps=30)
    assert seen["shape"] == [16, 25, 3]
    assert seen["made"] == pytest.approx(float(made["joints"].astype(float).sum()), abs=1e-3)
    assert seen["text"] == read["text"]
    assert seen["speed"] == pytest.approx(read["gait_parameters"]["speed"], abs=1e-6)


def test_a_saved_zero_shot_pipeline_brings_its_sentence_encoder(walk_file, tmp_path):
    search = pipeline("zero-shot-gait-classification", model=released("text"))
    search.save_pretrained(tmp_path / "text")
    code = f"""
import json
import numpy as np
from transformers import pipeline
search = pipeline("zero-shot-gait-classification", model={str(tmp_path / "text")!r}, trust_remote_code=True)
print(json.dumps(search(np.load({str(walk_file)!r}), ["normal gait", "steppage gait"], fps=30)))
"""
    (tmp_path / "elsewhere").mkdir()
    found = run_blocked(code, tmp_path / "elsewhere")
    here = search(np.load(walk_file), ["normal gait", "steppage gait"], fps=30)
    assert [f["label"] for f in found] == [f["label"] for f in here]
    assert found[0]["score"] == pytest.approx(here[0]["score"], abs=1e-5)


def test_exported_code_stands_alone(family_folder):
    """What needs the package is imported where it is used, in `try`, which transformers' reader of imports leaves out."""
    names = {file.stem for file in family_folder.glob("*.py")}
    assert not {n for n in names if n.startswith(("file", "formats", "bvh", "video", "pose_"))}, "readers stay in the package"
    for file in family_folder.glob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        for before, line in zip(["", *lines], lines):
            assert not line.lstrip().startswith("from .. "), (file, line)
            if line.lstrip().startswith(("import modeling_gait", "from modeling_gait")):
                assert before.strip() == "try:" and line.startswith("    "), (file, line)
