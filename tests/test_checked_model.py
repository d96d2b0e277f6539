"""Weights that lack something, are not finite, cut off or pickled are refused with the file's name, whichever way they come."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_cli import gait
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification, GPT2LMHeadModel, pipeline

from modeling_gait import GaitDualEncoderModel, GaitTCNModel
from modeling_gait.checked_model import load_whole
from modeling_gait.export import write_csv
from modeling_gait.pipelines_gait import TextToGaitPipeline
from modeling_gait.released import FOLDER, PARTS, released
from modeling_gait.sentence_encoder import SentenceEncoder
from modeling_gait.simulation import simulate_walks
from modeling_gait.training.gpt2 import GPT2Arguments, build_model

CLASSIFIERS = ("gait_classifier", "gait_knowledge")
WRONG = {
    "missing": (ValueError, "model.safetensors: lacks weights: {name}; get"),
    "nan": (ValueError, "model.safetensors: weights that are not finite: {name}"),
    "cut": (ValueError, "model.safetensors: cannot be read, is it whole"),
    "pickled": (OSError, "no model.safetensors in it; pickled weights"),
    "sizes": (ValueError, "model.safetensors: holds weights of other sizes than config.json says"),
}
every_wrong = pytest.mark.parametrize("wrong", WRONG)


def spoil(folder: Path, wrong: str) -> str:
    """Make the weights of a folder wrong; returns the name of the weight."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = [n for n, w in weights.items() if w.is_floating_point() and w.ndim > 1][0]
    if wrong == "missing":
        del weights[name]
    elif wrong == "sizes":
        weights[name] = weights[name][1:]
    else:
        weights[name][0, 0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})
    if wrong == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif wrong == "pickled":
        torch.save(weights, folder / "pytorch_model.bin")
        file.unlink()
    return name


@pytest.fixture
def family(tmp_path) -> Path:
    """A copy of the shipped family."""
    return Path(shutil.copytree(FOLDER, tmp_path / "family"))


@every_wrong
@pytest.mark.parametrize("kind", [kind for kind, part in PARTS.items() if part])
def test_every_model_refuses(kind, wrong, family):
    name, auto = spoil(family / PARTS[kind], wrong), AutoModelForSequenceClassification if kind in CLASSIFIERS else AutoModel
    error, said = WRONG[wrong]
    for place, options in ((family / PARTS[kind], {}), (family, {"subfolder": PARTS[kind], "config": family / PARTS[kind]})):
        with pytest.raises(error, match=f"{family / PARTS[kind]}.*{said.format(name=name)}"):
            auto.from_pretrained(place, **options)


@pytest.mark.parametrize("wrong", [w for w in WRONG if w != "sizes"])
@pytest.mark.parametrize("task", ["text-to-gait", "gait-to-text", "gait-classification"])
def test_pipelines_say_it_in_a_sentence(task, wrong, family, monkeypatch):
    """Those of GPT-2 too, which transformers loads itself; nothing is unpickled."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    folder = family / "classifier" if task == "gait-classification" else family
    name, (error, said) = spoil(folder, wrong), WRONG[wrong]
    with pytest.raises(error, match=f"^{folder}.*{said.format(name=name)}") as caught:
        pipeline(task, model=str(folder))
    assert len(str(caught.value).splitlines()) == 1


def test_a_pickle_beside_other_safetensors_is_not_read(family):
    spoil(family / "vq", "pickled")
    shutil.copy(family / "model.safetensors", family / "vq" / "other.safetensors")
    with pytest.raises(OSError, match="no file named model.safetensors"):
        AutoModel.from_pretrained(family / "vq")


def test_gpt2_is_checked_where_it_was_loaded_by_hand(family):
    name = spoil(family, "missing")
    with pytest.raises(ValueError, match=f"{family}/model.safetensors: lacks weights: {name}"):
        load_whole(GPT2LMHeadModel.from_pretrained, family)
    whole = pipeline("text-to-gait")
    with pytest.raises(ValueError, match=f"lacks weights: {name}"):
        model = AutoModelForCausalLM.from_pretrained(family)
        TextToGaitPipeline(model=model, tokenizer=whole.tokenizer)
    TextToGaitPipeline(model=model, tokenizer=whole.tokenizer, decoder=whole.decoder)  # put together by hand


def test_gpt2_of_several_files_is_checked(family):
    (family / "model.safetensors").unlink()
    GPT2LMHeadModel.from_pretrained(FOLDER).save_pretrained(family, max_shard_size="1MB")
    assert pipeline("text-to-gait", model=str(family))("normal gait", seed=0)["joints"].shape == (96, 25, 3)
    file = sorted(family.glob("model-*.safetensors"))[-1]
    shutil.move(file, family / "vq" / "model.safetensors")
    name = spoil(family / "vq", "missing")
    shutil.move(family / "vq" / "model.safetensors", file)
    shutil.copy(FOLDER / "vq" / "model.safetensors", family / "vq")
    with pytest.raises(ValueError, match=f"{family}/model.safetensors: lacks weights: {name}"):
        pipeline("text-to-gait", model=str(family))


@pytest.mark.parametrize("wrong", ["missing", "nan", "cut"])
def test_commands_refuse(wrong, family, tmp_path):
    write_csv(tmp_path / "walk.csv", simulate_walks(1, frames=64, seed=5).joints[0], 30.0)
    name = spoil(family / "classifier", wrong)
    told = gait("classify", tmp_path / "walk.csv", "--model", family / "classifier", code=1)
    assert f"error: {family}/classifier/{WRONG[wrong][1].format(name=name)}" in told.stderr and not told.stdout


def test_adapters_are_checked(tmp_path):
    model = GaitTCNModel.from_pretrained(released("tcn"))
    model.personalize(torch.randn(2, model.config.num_phases, model.config.num_channels) * 0.01).save_adapter(tmp_path / "p01")
    file = tmp_path / "p01" / "gait_adapter.safetensors"
    save_file({name: w * torch.nan if w.is_floating_point() else w for name, w in load_file(file).items()}, file)
    with pytest.raises(ValueError, match=f"{file}: weights that are not finite: context"):
        GaitTCNModel.from_pretrained(tmp_path / "p01")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{file}: cannot be read"):
        GaitTCNModel.from_pretrained(tmp_path / "p01")


@pytest.mark.parametrize("wrong", ["nan", "cut", "pickled"])
def test_text_encoders_are_checked(wrong, family, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    spoil(family / "text" / "encoder", wrong)
    error, said = (ValueError, "is not the one") if wrong == "nan" else (OSError, "incomplete metadata|no file named model")
    with pytest.raises(error, match=said):
        GaitDualEncoderModel.from_pretrained(family / "text").get_text_features(["normal gait"])


def test_a_broken_file_of_embeddings_is_named(family):
    encoder = SentenceEncoder(str(family / "text" / "encoder"), cache=family / "texts.safetensors")
    encoder.encode(["normal gait"])
    encoder.cache.write_bytes(encoder.cache.read_bytes()[:-9])
    with pytest.raises(ValueError, match=f"{encoder.cache}: cannot be read"):
        SentenceEncoder(encoder.name, cache=encoder.cache)


def test_training_goes_on_from_whole_weights_alone(family):
    args = GPT2Arguments(dataset="", output_dir="", init_from=str(family), vq=str(family / "vq"))
    name = spoil(family, "missing")
    with pytest.raises(ValueError, match=f"{family}/model.safetensors: lacks weights: {name}"):
        build_model(args, None)


def test_loading_info_is_given_where_it_is_asked_for():
    model, found = GaitTCNModel.from_pretrained(released("tcn"), output_loading_info=True)
    assert not model.training and not found["missing_keys"]
