"""README and Makefile are true: the tree lists every file, code runs, commands name scripts and arguments that exist."""

import re
import shlex
from pathlib import Path

import pytest
from test_modeling_gait_text import tiny as tiny_text
from test_modeling_gait_text import write_sentence_encoder

from modeling_gait import GaitClassifierConfig, GaitClassifierForSequenceClassification, GaitTCNConfig, GaitTCNModel
from modeling_gait.export import write_csv
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.simulation import simulate_walks

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("modeling_gait", "train", "datasets_scripts", "benchmarks", "space")


def blocks(kind: str) -> list[str]:
    """Contents of the fenced blocks of a kind ("python", "sh", "")."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S) if name == kind]


def tree_paths() -> list[str]:
    """Files that the tree lists, from the repository's root."""
    (tree,) = (b for b in blocks("") if "modeling_gait/" in b)
    folder, paths = "", []
    for line in tree.splitlines():
        name = line.split()[0]
        assert len(line.split()) > 1 or name.endswith("/"), f"{name}: no description"
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
        if not name.endswith("/"):
            paths.append((folder if line.startswith(" ") else "") + name)
    return paths


def commands(text: str) -> list[list[str]]:
    """Words of each `python SCRIPT ...` command, with lines that end in a backslash joined."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [
        m[1] for line in lines if (m := re.search(r"(?:python|\$\(PY\)|accelerate launch[^`]*?) (\w+/\w+\.py[^`(#]*)", line))
    ]
    return [shlex.split(words) for words in found]


def test_tree_is_complete():
    there = {
        str(p.relative_to(ROOT).as_posix())
        for folder in FOLDERS
        for p in (ROOT / folder).rglob("*")
        if p.suffix in (".py", ".json", ".sh") and "__pycache__" not in p.parts
    }
    listed = tree_paths()
    assert len(listed) == len(set(listed))
    assert there - set(listed) == set(), "not in the README's tree"
    assert {p for p in listed if not (ROOT / p).is_file()} == set(), "in the README's tree, but not there"


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
    GaitClassifierForSequenceClassification(GaitClassifierConfig(hidden_size=8)).save_pretrained(classifier)
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
