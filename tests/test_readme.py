"""README and Makefile are true: code runs, commands name scripts and arguments that exist."""

import re
import shlex
from pathlib import Path

import pytest
from test_modeling_gait_dual_encoder import tiny as tiny_text
from test_modeling_gait_dual_encoder import write_sentence_encoder

from modeling_gait import GaitClassifierConfig, GaitForSequenceClassification, GaitTCNConfig, GaitTCNModel
from modeling_gait.export import write_csv
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.simulation import simulate_walks

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    """Contents of the fenced blocks of a kind ("python", "sh", "")."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S) if name == kind]


def commands(text: str) -> list[list[str]]:
    """Words of each `python SCRIPT ...` command, with lines that end in a backslash joined."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [
        m[1]
        for line in lines
        if (m := re.search(r"(?:python|\$\(PY\)|accelerate launch[^`]*?) (?:-m )?(\w+[/.]\w+[^`(#]*)", line))
    ]
    split = [shlex.split(words) for words in found]
    return [[s.removesuffix(".py").replace(".", "/") + ".py", *words] for s, *words in split]


@pytest.mark.parametrize("text", [README, (ROOT / "Makefile").read_text(encoding="utf-8")], ids=["README", "Makefile"])
def test_commands_exist(text):
    found = commands(text)
    assert len(found) >= 5
    for script, *words in found:
        source = (ROOT / script).read_text(encoding="utf-8")
        for module in {"arguments", *re.findall(r"^from modeling_gait\.training\.(\w+) import", source, re.M)}:
            source += (ROOT / "modeling_gait" / "training" / f"{module}.py").read_text(encoding="utf-8")
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"^    {word[2:]}:|\"{word}\"", source, re.M), f"{script} has no argument {word}"
            if word.endswith(".json") and not word.startswith(("data/", "outputs/")):
                assert (ROOT / word).is_file(), f"{word} is not there"


def test_links_of_the_readme_exist():
    headings = {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in re.findall(r"^#+ (.*)$", README, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or target.lstrip("#") in headings or (ROOT / target).exists(), target


def test_code_runs(family_folder, tmp_path, tmp_path_factory, monkeypatch):
    """The README's Python, one block after another, on a tiny family, classifier and network of cycles."""
    classifier, cycles = tmp_path_factory.mktemp("classifier"), tmp_path_factory.mktemp("cycles")
    GaitTCNModel(GaitTCNConfig(num_channels=75, channels_per_sensor=3, hidden_size=8)).save_pretrained(cycles)
    GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8)).save_pretrained(classifier)
    text = tmp_path_factory.mktemp("text")
    tiny_text(write_sentence_encoder(text / "encoder", limit=256), gait_config={"num_frames": 32}).save_pretrained(
        text / "model"
    )
    GaitFeatureExtractor(num_frames=32).save_pretrained(text / "model")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    code = blocks("python")
    assert len(code) == 6
    for number, block in enumerate(code):
        models = {"demo/model": family_folder, "outputs/gist_10/gru": classifier, "outputs/cycles_10": cycles}
        models["outputs/text_10"] = text / "model"
        for name, folder in models.items():
            block = block.replace(name, str(folder))
        exec(compile(block, f"README block {number}", "exec"), namespace)
        if number == 0:  # the tiny family's walks have no gait cycles; a trained one's do
            write_csv("steppage.csv", simulate_walks(1, frames=96, seed=0, pathology="steppage").joints[0], 30.0)
    assert {p.name for p in tmp_path.iterdir()} == {"steppage.gif", "steppage.bvh", "steppage.csv", "data", "p01"}
    assert {found["file"] for found in namespace["search"].by_text("normal gait")} == {"steppage.csv", "steppage.bvh"}
    assert namespace["walk"].joints.shape == (96, 25, 3)
    assert set(namespace["result"]["class_probabilities"]) >= {"normal", "steppage"}
    assert (tmp_path / "data" / "mine" / "README.md").is_file()
