"""The shipped family: its files are those that were made, this code reads them, all works without a name or a network."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from test_cli import answer, gait
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, pipeline

import modeling_gait
from modeling_gait.captions import parse_prompt
from modeling_gait.class_reading import walk_input
from modeling_gait.export import write_csv
from modeling_gait.gait_cycles import walk_cycles
from modeling_gait.gait_parameters import compute_gait_parameters, mirror_image
from modeling_gait.generation_gait import shown_signs
from modeling_gait.modeling_gait_decoder import GaitDecoderModel
from modeling_gait.released import ABOUT, FOLDER, NAME, PARTS, find_part, named, released
from modeling_gait.simulation import simulate_walks
from modeling_gait.tokenization_gait import stack_codes
from modeling_gait.training.cards import RELEASE, check_card
from modeling_gait.training.measuring import probe
from train import release

ZERO_SHOT = "zero-shot-gait-classification"
MADE = json.loads((FOLDER / ABOUT).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _no_model_named(monkeypatch):
    monkeypatch.delenv("GAIT_MODEL", raising=False)


def test_the_files_are_those_that_were_made():
    assert (FOLDER / release.SUMS).read_text(encoding="utf-8") == release.checksums(FOLDER)
    files = [p for p in FOLDER.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 12e6
    assert {p.suffix for p in files} <= {".json", ".safetensors", ".md", ""} and not list(FOLDER.rglob("*.py"))
    for file in FOLDER.rglob("*.safetensors"):
        with safe_open(file, "pt") as content:
            slices = [content.get_slice(k) for k in content.offset_keys()]
            assert all(s.get_dtype() in ("F16", "I64") for s in slices if np.prod(s.get_shape()) > 2000), file


@pytest.mark.parametrize("kind", PARTS)
def test_this_code_loads_every_part(kind):
    auto = {"gpt2": AutoModelForCausalLM, "gait_classifier": AutoModelForSequenceClassification}
    auto |= {"gait_knowledge": AutoModelForSequenceClassification}
    model, found = auto.get(kind, AutoModel).from_pretrained(released(PARTS[kind]), output_loading_info=True)
    assert model.config.model_type == kind and model.dtype == torch.float32
    assert not any(found[problem] for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())
    unknown = set(json.loads((FOLDER / PARTS[kind] / "config.json").read_text())) - set(model.config.to_dict())
    assert unknown <= {"dtype"}, "fields that this code does not know"


def test_this_code_says_what_the_code_said_that_made_it():
    assert MADE["version"] == modeling_gait.__version__
    for name, said in probe(FOLDER).items():
        assert said == pytest.approx(MADE["probe"][name], abs=2e-3), name


def test_the_card_tells_what_was_measured():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert check_card(card, "card")["license"] == "apache-2.0"
    assert set(RELEASE) <= set(MADE["metrics"])
    for name, words in RELEASE.items():
        assert f"| {words} | {MADE['metrics'][name]:.4g} |" in card


def test_names():
    assert named(NAME, "text") == released("text") and named("me/family", "text") == "me/family"
    assert find_part(FOLDER, ("gait_tcn", "gpt2")) == (FOLDER / "tcn", "gait_tcn")
    assert find_part(FOLDER / "text", ("gait_tcn",)) is None
    with pytest.raises(ValueError, match="gait-small has no part 'legs'; it has vq, decoder"):
        released("legs")


# --- what works right after the installation ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    file = tmp_path_factory.mktemp("walk") / "walk.csv"
    write_csv(file, simulate_walks(1, frames=120, seed=5, pathology="steppage", severity=0.9).joints[0], 30.0)
    return file


def test_pipelines_need_no_model(walk):
    written = pipeline("text-to-gait")("severe steppage gait, right side, 0.6 m/s", seed=0)
    assert written["joints"].shape == (96, 25, 3) and np.isfinite(written["joints"]).all()
    assert set(pipeline("gait-to-text")(walk)["class_probabilities"]) == set(MADE["labels"])
    assert {r["label"] for r in pipeline("gait-classification")(walk, top_k=None)} == set(MADE["labels"])
    assert set(pipeline("gait-report")(walk).class_probabilities) == set(MADE["labels"])
    ask = pipeline(ZERO_SHOT)
    assert len(ask(walk, candidate_labels=["normal gait", "a high right knee"])) == 2


def test_the_sign_that_severity_is_graded_by_is_the_one_that_is_measured():
    """A cycle, or a few strides, stand for the whole walk, on either side."""
    write = pipeline("text-to-gait")
    shown = [c for c in MADE["labels"] if c != "normal"]
    prompts = [f"{c} gait, {side} side, 0.7 m/s" for c in shown for side in ("left", "right")]
    codes = stack_codes([replace(w["codes"], sensor=None) for w in write(prompts, seed=0)])
    entries = [parse_prompt(p).entry for p in prompts]
    decoder = GaitDecoderModel.from_pretrained(released("decoder")).eval()
    joints = decoder(**codes, num_frames=192).joints.detach().numpy()
    for sign, entry, walk, prompt in zip(shown_signs(decoder, codes, entries), entries, joints, prompts):
        found = compute_gait_parameters(walk, decoder.config.fps)
        if entry.shown:
            sides = {n: mirror_image(n) if "left" in prompt else (n, 1) for n in entry.shown}
            whole = entry.sign({n: way * found[other] for n, (other, way) in sides.items()})
            assert sign == pytest.approx(whole, abs=0.03 if "stance_asymmetry" in entry.shown else 1.0), prompt


def test_gait_to_text_asks_the_family_s_classifier_and_takes_it_along(walk, tmp_path):
    read = pipeline("gait-to-text")
    told = read(walk)
    read.save_pretrained(tmp_path)
    assert pipeline("gait-to-text", model=str(tmp_path))(walk)["class_probabilities"] == pytest.approx(
        told["class_probabilities"]
    )
    torch.nn.init.zeros_(read.classifier.head.weight)
    read.classifier.head.bias.data = torch.tensor([9.0 * (c == "lurch") for c in MADE["labels"]])
    other = read(walk)
    assert other["pathology"] == "lurch" and other["text"].startswith("lurch") and "steppage" in other["written"]
    shutil.rmtree(tmp_path / "classifier")
    assert pipeline("gait-to-text", model=str(tmp_path)).classifier is None


def test_a_minute_of_walking_has_the_class_of_its_seconds():
    """Resampled to the frames of a few seconds as one it was antalgic (0.97) or lurch (0.70), whatever it was."""
    write, read, report, classify = map(pipeline, ("text-to-gait", "gait-to-text", "gait-report", "gait-classification"))
    for prompt in ("severe steppage gait, right side, 0.8 m/s", "normal gait, 1.2 m/s"):
        long = write(prompt, seed=3, num_frames=1800)
        name = long["description"].pathology
        assert read(long)["pathology"] == name == report(long).label
        assert max(read(long)["class_probabilities"], key=read(long)["class_probabilities"].get) == name
        assert classify(long)[0]["label"] == name == long["measured"]["pathology"]


def test_written_walks_are_read_by_the_family_s_classifier():
    """Not by the tokeniser that wrote them; and what it takes for another class is told."""
    write, classify = pipeline("text-to-gait"), pipeline("gait-classification")
    prompts = ["moderate antalgic gait, left side", "severe steppage gait, right side", "normal gait"]
    walks = write(prompts, seed=2, num_frames=200)
    for walk in walks:
        config = classify.model.config
        chances = classify.model(walk_input(walk["joints"], config)).logits.softmax(-1).mean(0)
        told = walk["measured"]["class_probabilities"]
        assert [told[n] for n in config.id2label.values()] == pytest.approx(chances.tolist(), abs=1e-5)
        assert walk["measured"]["pathology"] == max(told, key=told.get)
        missed = [m for m in walk["missed"] if "is read as" in m]
        assert bool(missed) == (walk["measured"]["pathology"] != walk["description"].pathology)
    torch.nn.init.zeros_(write.classifier.head.weight)
    write.classifier.head.bias.data = torch.tensor([9.0 * (c == "lurch") for c in MADE["labels"]])
    for candidates in (1, 2):
        other = write("severe steppage gait, right side", seed=2, candidates=candidates)
        assert "steppage gait was asked for, the walk is read as lurch (probability 1.00)" in other["missed"]


@pytest.mark.parametrize("task", ["text-to-gait", "gait-to-text", "gait-classification", "gait-report", ZERO_SHOT])
def test_pipelines_know_the_family_by_its_name(task, walk):
    named_so = pipeline(task, model=NAME)
    assert named_so.model.name_or_path == pipeline(task).model.name_or_path
    if task == "text-to-gait":
        assert named_so("normal gait", seed=0)["joints"].shape == (96, 25, 3)
    with pytest.raises(OSError, match="gait-smal"):
        pipeline(task, model="./gait-smal")


def test_the_name_is_known_wherever_pipeline_is_taken_from_afterwards(tmp_path):
    """Of other tasks it stays a name of the Hub; a folder is taken as it is."""
    code = """
import os, sys
early = len(sys.argv) > 1
if early:
    import transformers; transformers.pipeline
import modeling_gait, transformers
from transformers.pipelines import pipeline
assert pipeline is transformers.pipeline and pipeline.__doc__
for model in ("gait-small", modeling_gait.released()):
    assert pipeline("text-to-gait", model).model.config.gait_labels
try:
    pipeline("text-generation", model="gait-small")
except OSError:
    print("done")
"""
    for more in ([], ["early"]):
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code, *more], capture_output=True, text=True, env=environment)
        assert done.stdout == "done\n", done.stderr


def test_commands_need_no_model(walk, tmp_path):
    made = answer("generate", "antalgic gait, left side", "-o", tmp_path / "walk.csv", "--seed", 1, "--candidates", 1)
    assert made["model"] == NAME and (tmp_path / "walk.csv").is_file()
    described, classified = (answer(word, walk)[0] for word in ("describe", "classify"))
    assert set(described["class_probabilities"]) == set(classified["scores"]) == set(MADE["labels"])
    assert described["class_probabilities"] == pytest.approx(classified["scores"], abs=1e-5), "both are the family's classifier"
    assert described["pathology"] == max(classified["scores"], key=classified["scores"].get)
    assert answer("report", walk, "-o", tmp_path / "report.html")["class_probabilities"]
    assert answer("search", "steppage gait", walk.parent)[0]["file"] == str(walk)
    assert answer("generate", "normal gait", "-o", tmp_path / "n.csv", "--model", NAME)["model"] == NAME
    adapter = answer("personalize", walk, "-o", tmp_path / "p01", "--model", NAME)
    assert adapter["cycles"] > 0
    assert modeling_gait.GaitTCNModel.from_pretrained(tmp_path / "p01").generate(1).shape == (1, 100, 75)
    assert "needed is a classifier" in gait("classify", walk, "--model", FOLDER / "vq", code=1).stderr


@pytest.mark.parametrize("noise,least", [(0.0, 11), (0.01, 6)])
def test_normal_walkers_are_personalised_as_normal(noise, least):
    """People it has not seen, also through a noisy sensor, which once made stiff legs of all twelve."""
    model = modeling_gait.GaitTCNModel.from_pretrained(released("tcn")).eval()
    walks = simulate_walks(12, frames=128, seed=31, pathology="normal", noise=noise)
    own = [model.personalize(torch.from_numpy(walk_cycles(joints, walks.fps))) for joints in walks.joints]
    assert [model.config.activities[int(o.activity)] for o in own].count("normal simulated") >= least


def test_an_activity_read_from_strange_cycles_is_doubted_first(tmp_path):
    joints = simulate_walks(1, frames=120, seed=5, pathology="normal").joints[0]
    write_csv(tmp_path / "known.csv", joints, 30.0)
    write_csv(tmp_path / "strange.csv", joints * [1.0, 1.0, 0.6], 30.0)
    said = {name: gait("personalize", tmp_path / f"{name}.csv", "-o", tmp_path / name).stdout for name in ("known", "strange")}
    assert "read as normal" in said["known"] and "doubt:" not in said["known"]
    assert "perhaps" in said["strange"] and "--activity names" in said["strange"].split("doubt:")[1]
    told = gait("personalize", tmp_path / "strange.csv", "-o", tmp_path / "told", "--activity", "normal simulated").stdout
    assert "--activity names" not in told and "file(s), normal simulated" in told


# --- making it ---------------------------------------------------------------------------------------------------------------


def test_half_precision_keeps_what_it_cannot_hold():
    weights = {"a": torch.randn(4), "tiny": torch.full((4,), 1e-6), "large": torch.tensor([7e4]), "n": torch.arange(3)}
    found = release.half(weights | {"zero": torch.zeros(2)})
    assert {k: v.dtype for k, v in found.items()} == {
        **{"a": torch.float16, "tiny": torch.float32, "large": torch.float32, "n": torch.int64, "zero": torch.float16}
    }


def test_a_release_goes_on_where_it_was(tmp_path, monkeypatch):
    filled = []

    def stages(args):
        def fill(folder, name):
            filled.append(name)
            file = tmp_path / name / ("README.md" if name == "data" else "model.safetensors")
            file.parent.mkdir(parents=True)
            file.write_text("")

        return [(name, lambda folder, name=name: fill(folder, name)) for name in ("data", "vq", "gpt2")]

    monkeypatch.setattr(release, "stages", stages)
    args = release.ReleaseArguments(work_dir=str(tmp_path))
    release.train_all(args)
    shutil.rmtree(tmp_path / "vq")
    release.train_all(args)
    assert filled == ["data", "vq", "gpt2", "vq"]
    args.effort = 0.5
    with pytest.raises(ValueError, match="this folder was begun with .*another --work_dir"):
        release.train_all(args)


def test_nobody_held_out_is_trained_on(monkeypatch):
    args = release.ReleaseArguments(num_subjects=5, held_out=2, seed=3)
    for name, count in (("data", 5), ("strangers", 25)):
        seed = args.seed + (name == "strangers")
        everybody = sorted(set(simulate_walks(count, 32, seed=seed, num_subjects=count).subject_ids))
        assert release.people(args)[name] == everybody[-2 * count // 5 :]
    seen = []
    for module in (release.vq, release.text, release.maml, release.gpt2, release.knowledge, release.classifier):
        monkeypatch.setattr(module, "train", seen.append)
    for name, fill in release.stages(args):
        if name not in ("data", "strangers", "text/encoder"):
            fill("out")
    assert len(seen) == 6 and all(a.exclude_subjects == release.people(args)[Path(a.dataset).name] for a in seen)
