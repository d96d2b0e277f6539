"""The READMEs and the Makefile are true: code runs, commands name scripts and arguments that exist."""

import re
import shlex
from pathlib import Path

import pytest
from test_modeling_gait_dual_encoder import tiny as tiny_text
from test_modeling_gait_dual_encoder import write_sentence_encoder

from modeling_gait import GaitClassifierConfig, GaitForSequenceClassification, GaitTCNConfig, GaitTCNModel
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.simulation import simulate_walks

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / room / "README.md" for room in ("", "modeling_gait", "datasets_scripts", "train", "experiments")]
READMES = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in FILES if p.is_file()}
README = READMES["README.md"]
SCRIPTS = [p for room in ("datasets_scripts", "train", "space") for p in sorted((ROOT / room).glob("*.py"))]


def blocks(kind: str) -> list[str]:
    """Contents of the fenced blocks of a kind ("python", "sh", "") in all READMEs."""
    found = (re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) for text in READMES.values())
    return [body for blocks in found for name, body in blocks if name == kind]


def commands(text: str) -> list[list[str]]:
    """Words of each `python SCRIPT ...` command, with lines that end in a backslash joined."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [
        m[1]
        for line in lines
        if (m := re.search(r"(?:python|\$\(PY\)|accelerate launch[^`]*?) (?:-m )?(\w+[/.]\w+[^`(#]*)", line))
    ]
    split = [shlex.split(words) for words in found]
    return [[s.removesuffix(".py").replace(".", "/") + ".py", *words] for s, *words in split if "NAME" not in s]


def test_commands_exist():
    found = commands("\n".join((*READMES.values(), (ROOT / "Makefile").read_text(encoding="utf-8"))))
    assert len(found) >= 20
    for script, *words in found:
        source = (ROOT / script).read_text(encoding="utf-8")
        if script.startswith("experiments/"):
            source += (ROOT / "experiments" / "runner.py").read_text(encoding="utf-8")
        for module in {"arguments", *re.findall(r"^from modeling_gait\.training\.(\w+) import", source, re.M)}:
            source += (ROOT / "modeling_gait" / "training" / f"{module}.py").read_text(encoding="utf-8")
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"^    {word[2:]}:|\"{word}\"", source, re.M), f"{script} has no argument {word}"
            if word.endswith(".json") and not word.startswith(("data/", "outputs/")):
                assert (ROOT / word).is_file(), f"{word} is not there"


@pytest.mark.parametrize(
    "script",
    [p for room in ("datasets_scripts", "train", "space") for p in sorted((ROOT / room).glob("*.py"))],
    ids=lambda p: p.stem,
)
def test_a_script_needs_no_other_script(script):
    """`python ROOM/SCRIPT.py` sees the package, and neither the repository's folder nor other rooms."""
    imported = re.findall(r"^\s*(?:from|import) (\w+)", script.read_text(encoding="utf-8"), re.M)
    assert not {"datasets_scripts", "train", "experiments", "space", "tests"} & set(imported)


def test_links_of_the_readme_exist():
    for file, text in READMES.items():
        headings = {re.sub(r"[^\w-]", "", h.lower().replace(" ", "-")) for h in re.findall(r"^#+ (.*)$", text, re.M)}
        for target in re.findall(r"\]\(([^)]+)\)", text):
            known = target.startswith("https://") or target.lstrip("#") in headings
            assert known or ((ROOT / file).parent / target).exists(), (file, target)


def test_code_runs(dataset_folder, tmp_path, tmp_path_factory, monkeypatch):
    """The README's Python, one block after another, on the shipped family, a tiny classifier and network of cycles."""
    classifier, cycles = tmp_path_factory.mktemp("classifier"), tmp_path_factory.mktemp("cycles")
    GaitTCNModel(GaitTCNConfig(num_channels=75, channels_per_sensor=3, hidden_size=8)).save_pretrained(cycles)
    GaitForSequenceClassification(GaitClassifierConfig(hidden_size=8)).save_pretrained(classifier)
    text = tmp_path_factory.mktemp("text")
    tiny_text(
        write_sentence_encoder(text / "encoder", limit=256), gait_config={"num_frames": 32}, known_walks=4
    ).save_pretrained(text / "model")
    GaitFeatureExtractor(num_frames=32).save_pretrained(text / "model")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"joints": simulate_walks(1, frames=96, seed=1).joints[0]}
    code = blocks("python")
    assert len(code) >= 6
    for number, block in enumerate(code):
        models = {"outputs/gist_10/gru": classifier, "outputs/cycles_10": cycles}
        models |= {"outputs/text_10": text / "model", "data/gist": dataset_folder}
        for name, folder in models.items():
            block = block.replace(name, str(folder))
        block = block.replace("person=own_walk", "person=joints")  # an untrained network's walk has no bones
        exec(compile(block, f"README block {number}", "exec"), namespace)
    assert {p.name for p in tmp_path.iterdir()} == {"steppage.gif", "steppage.bvh", "steppage.csv", "data", "p01"}
    old, new = (namespace[k][0]["joints"] for k in ("train", "more"))
    assert len(new) == len(old) and new != old and len(next(iter(namespace["batches"]))) == min(32, len(namespace["train"]))
    assert {found["file"] for found in namespace["search"].by_text("normal gait")} == {"steppage.csv", "steppage.bvh"}
    assert namespace["walk"].joints.shape == (96, 25, 3)
    assert set(namespace["result"]["class_probabilities"]) >= {"normal", "steppage"}
    assert (tmp_path / "data" / "mine" / "README.md").is_file()
