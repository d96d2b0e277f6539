"""Publishing and loading with the real clients against a Hub on loopback (hub_server.py).

The clients here are told of the loopback Hub by their constants; `user` and `hf download` run in processes of their own, where
only HF_ENDPOINT tells them, and the first cannot import this package.
"""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import transformers
from conftest import tiny_decoder, tiny_vq
from hub_server import Hub
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HTTPError
from PIL import Image
from safetensors.torch import load_file, save_file
from test_remote_code import BLOCK

from modeling_gait import GaitProcessor
from modeling_gait.configuration_gait_classifier import GIST_LABELS, GaitClassifierConfig
from modeling_gait.configuration_gait_dual_encoder import GaitDualEncoderConfig
from modeling_gait.configuration_gait_knowledge import GaitKnowledgeConfig
from modeling_gait.configuration_gait_tcn import GaitTCNConfig
from modeling_gait.feature_extraction_gait import GaitFeatureExtractor
from modeling_gait.gait_classes import load_classes
from modeling_gait.modeling_gait_classifier import GaitForSequenceClassification
from modeling_gait.modeling_gait_dual_encoder import GaitDualEncoderModel
from modeling_gait.modeling_gait_knowledge import GaitKnowledgeForSequenceClassification
from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.pipeline_gait_classification import GaitClassificationPipeline
from modeling_gait.pipeline_gait_report import GaitReportPipeline
from modeling_gait.pipeline_zero_shot_gait import ZeroShotGaitClassificationPipeline
from modeling_gait.released import released
from train.publish import PublishArguments, Repository, publish, push

TOKENS = {"hf_me": "me"}


@pytest.fixture(scope="module")
def hub():
    """The loopback Hub, and clients of this process that know no other."""
    with Hub(TOKENS) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
        patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        patch.setattr(transformers.utils.hub, "_hf_api", None)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_TOKEN", "hf_me")
        yield hub


@pytest.fixture(scope="module")
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_me")


def tiny_classifier(seed: int = 0) -> GaitForSequenceClassification:
    torch.manual_seed(seed)
    return GaitForSequenceClassification(GaitClassifierConfig(hidden_size=16)).eval()


def tiny_text() -> GaitDualEncoderModel:
    gait = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return GaitDualEncoderModel(
        GaitDualEncoderConfig(gait_config=gait, text_config={"name": "me/encoder", "hidden_size": 16})
    ).eval()


def tiny_knowledge() -> GaitKnowledgeForSequenceClassification:
    small = {"skeleton_config": {"hidden_size": 16}, "text_config": {"name": "me/encoder", "hidden_size": 16}}
    return GaitKnowledgeForSequenceClassification(
        GaitKnowledgeConfig(**small, **load_classes().config_fields(GIST_LABELS))
    ).eval()


def tiny_tcn() -> GaitTCNModel:
    return GaitTCNModel(GaitTCNConfig(num_channels=6, num_phases=20, hidden_size=8, dilations=[1])).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folders of a classifier, a dual encoder, a classifier with knowledge and a personalised network, untrained."""
    folder = tmp_path_factory.mktemp("models")
    GaitClassificationPipeline(tiny_classifier(), device="cpu").save_pretrained(folder / "gru")
    extractor = GaitFeatureExtractor()
    ZeroShotGaitClassificationPipeline(tiny_text(), extractor=extractor, device="cpu").save_pretrained(folder / "text")
    GaitReportPipeline(tiny_knowledge(), device="cpu").save_pretrained(folder / "knowledge")
    tiny_tcn().save_pretrained(folder / "tcn")
    return folder


@pytest.fixture(scope="module")
def published(api, hub, family_folder, models, dataset_folder) -> str:
    """Everything published in one command, the family from a folder with leftovers; returns the id of its commit."""
    family = Path(shutil.copytree(family_folder, models / "family"))
    (family / "checkpoint").mkdir()
    for name in ("checkpoint/optimizer.safetensors", "language.safetensors", "notes.txt"):
        (family / name).write_bytes(b"left over")
    args = PublishArguments(
        family=str(family),
        classifier=[str(models / "gru")],
        text=str(models / "text"),
        knowledge=str(models / "knowledge"),
        tcn=str(models / "tcn"),
        dataset=[str(dataset_folder)],
        trained_on=str(dataset_folder),
        name="gait-tiny",
        public=True,
    )
    assert len(publish(args, api)) == 6
    return hub.repositories["models", "me/gait-tiny"].branches["main"]


def test_one_command_publishes_repositories_cards_and_a_collection(published, hub, api, family_folder):
    assert {(k, r) for k, r in hub.repositories if "gait-tiny" in r} == {
        ("datasets", "me/gait-tiny-simulated"),
        *(("models", f"me/gait-tiny{end}") for end in ("", "-gru", "-text", "-knowledge", "-tcn")),
    }
    family = hub.head("me/gait-tiny").files
    saved = {p.relative_to(family_folder).as_posix() for p in family_folder.rglob("*") if p.is_file()}
    assert set(family) == saved | {".gitattributes", "README.md", "LICENSE", "walks.gif"}
    with Image.open(io.BytesIO(hub.blobs[family["walks.gif"].etag])) as picture:
        assert picture.format == "GIF" and picture.n_frames > 20
    card = hub.blobs[family["README.md"].etag].decode()
    assert "license: apache-2.0" in card and "- me/gait-tiny-simulated" in card
    assert "of 8 a prompt the one" in card and "one walk a prompt" not in card, "how the table's walks were chosen"
    assert "| steppage" in card and 'model="me/gait-tiny"' in card and "(walks.gif)" in card
    collection = next(iter(hub.collections.values()))
    assert {r for _, r in hub.repositories if "gait-tiny" in r} <= {i["id"] for i in collection["items"]}
    for kind, name in (k for k in hub.repositories if "gait-tiny" in k[1]):
        assert [c.title for c in api.list_repo_commits(name, repo_type=kind[:-1])][1:] == ["initial commit"]


USER = """
import json, os
import torch
from datasets import load_dataset
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor, AutoTokenizer, pipeline
torch.set_num_threads(1)
trust = {"trust_remote_code": True}
total = lambda model: sum(v.double().abs().sum().item() for v in model.state_dict().values())
family = "me/gait-tiny"
vq = AutoModel.from_pretrained(family, subfolder="vq", **trust)
tokenizer = AutoTokenizer.from_pretrained(family, **trust)
processor = AutoProcessor.from_pretrained(family, **trust)
write, read = (pipeline(task, model=family, **trust) for task in ("text-to-gait", "gait-to-text"))
walk = write("steppage gait, right side", num_frames=16, seed=3)
rows = load_dataset("me/gait-tiny-simulated", split="train")
words = read(rows[0])
classes = pipeline("gait-classification", model="me/gait-tiny-gru", **trust)(rows[0])
text = AutoModel.from_pretrained("me/gait-tiny-text", **trust)
search = pipeline("zero-shot-gait-classification", model="me/gait-tiny-text", **trust)
seen = search.preprocess(rows[0])["input_values"]
report = pipeline("gait-report", model="me/gait-tiny-knowledge", **trust)(rows[0])
tcn = AutoModel.from_pretrained("me/gait-tiny-tcn", **trust).personalize(torch.zeros(1, 20, 6))
old = AutoModel.from_pretrained("me/two-versions", revision=OLD, **trust)
new = AutoModel.from_pretrained("me/two-versions", **trust)
pinned = pipeline("text-to-gait", model="me/two-families", revision="v1", **trust)
print(json.dumps({
    "modules": sorted({
        type(x).__module__.split(".")[0] for x in (vq, tokenizer, processor, write, read, text, search, report, tcn, old)
    }),
    "walk": walk["joints"].astype(float).sum(), "text": words["text"], "classes": [c["label"] for c in classes],
    "vq": total(vq), "text_model": total(text), "tcn": tcn.adapter["steps"], "vocabulary": len(tokenizer),
    "old": total(old), "new": total(new), "pinned": [total(pinned.model), total(pinned.decoder)],
    "zero_shot": list(seen.shape), "report": sorted(report.class_probabilities),
    "rows": len(rows), "columns": rows.column_names, "joints": torch.tensor(rows[0]["joints"]).double().sum().item(),
}))
"""


def total(state: dict) -> float:
    return sum(v.double().abs().sum().item() for v in state.values())


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """Of a process that knows the loopback Hub, no token and nothing else."""
    dropped = ("hf_", "transformers_", "http_proxy", "https_proxy", "all_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith(dropped)}
    own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return kept | own | {"PYTHONPATH": ""}


@pytest.fixture(scope="module")
def two_families(published, api, hub, tmp_path_factory) -> Path:
    """me/two-families: its decoder was another one at the tag v1; returns the folder of that one."""
    place = tmp_path_factory.mktemp("two")
    folder = Path(shutil.copytree(snapshot_download("me/gait-tiny", cache_dir=place, endpoint=hub.endpoint), place / "family"))
    push(api, Repository("me/two-families", "model", folder), private=False)
    api.create_tag("me/two-families", tag="v1")
    weights = folder / "decoder" / "model.safetensors"
    before = weights.rename(folder.with_name("before.safetensors"))
    save_file({k: v + 1 for k, v in load_file(before).items()}, weights, {"format": "pt"})
    push(api, Repository("me/two-families", "model", folder), private=False)
    return before


@pytest.fixture(scope="module")
def seen(published, two_families, api, hub, tmp_path_factory) -> dict:
    """What somebody without this package and without a token sees."""
    old = tiny_vq().push_to_hub("me/two-versions").oid
    tiny_vq(hidden_size=24).push_to_hub("me/two-versions")
    home = tmp_path_factory.mktemp("user")
    done = subprocess.run(
        [sys.executable, "-c", f"OLD = {old!r}\n{BLOCK}{USER}"],
        **{"cwd": home, "env": environment(hub, home), "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_everything_loads_where_the_package_is_not_installed(seen, family_folder, dataset_folder, models):
    assert seen["modules"] == ["transformers_modules"]
    write = transformers.pipeline("text-to-gait", model=str(family_folder))
    assert seen["walk"] == pytest.approx(
        float(write("steppage gait, right side", num_frames=16, seed=3)["joints"].astype(float).sum())
    )
    assert seen["vq"] == pytest.approx(total(load_file(family_folder / "vq" / "model.safetensors")))
    assert seen["text_model"] == pytest.approx(total(load_file(models / "text" / "model.safetensors")))
    assert isinstance(seen["text"], str) and sorted(seen["classes"]) == sorted(tiny_classifier().config.label2id)
    assert seen["vocabulary"] == len(write.tokenizer) and seen["tcn"] == GaitTCNConfig().inner_steps
    assert seen["zero_shot"] == [1, 96, 75] and seen["report"] == sorted(tiny_knowledge().config.label2id)
    rows = datasets.load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train")
    assert (seen["rows"], seen["columns"]) == (len(rows), rows.column_names)
    assert seen["joints"] == pytest.approx(float(np.asarray(rows[0]["joints"], np.float64).sum()), abs=1e-3)


def test_a_pinned_revision_gives_the_old_weights(seen, two_families):
    assert seen["old"] == pytest.approx(total(tiny_vq().state_dict()))
    assert seen["new"] == pytest.approx(total(tiny_vq(hidden_size=24).state_dict()))


def test_a_pinned_pipeline_has_the_decoder_of_its_revision(seen, two_families):
    assert seen["pinned"][1] == pytest.approx(total(load_file(two_families)))


def test_push_to_hub_of_every_model_processor_and_data_set(hub, family_folder, dataset_folder):
    processor = GaitProcessor.from_pretrained(family_folder)
    parts = {"decoder": tiny_decoder(), "classifier": tiny_classifier(), "text": tiny_text(), "tcn": tiny_tcn()}
    parts |= {"processor": processor, "tokenizer": processor.tokenizer, "extractor": processor.feature_extractor}
    needed = {
        "decoder": "modeling_gait_decoder.py",
        "classifier": "modeling_gait_classifier.py",
        "text": "modeling_gait_dual_encoder.py",
    }
    needed |= {"tcn": "modeling_gait_tcn.py", "processor": "processing_gait.py", "tokenizer": "tokenization_gait.py"}
    for name, part in parts.items():
        part.push_to_hub(f"me/part-{name}", private=True)
        files = hub.head(f"me/part-{name}").files
        assert needed.get(name, "feature_extraction_gait.py") in files, name
        assert ("model.safetensors" in files) == hasattr(part, "state_dict"), name
        assert hub.repositories["models", f"me/part-{name}"].private
    rows = datasets.load_dataset("parquet", data_files=str(dataset_folder / "data" / "*.parquet"), split="train")
    rows.push_to_hub("me/rows", private=True, token="hf_me")
    assert "data/train-00000-of-00001.parquet" in hub.head("me/rows", "datasets").files


READER = """
import importlib.util, json
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "modeling_gait" else find(name, *more)  # it is not there
from transformers import AutoModel, pipeline
trust, texts = {"trust_remote_code": True}, ["steppage gait, right side", "a slow walk"]
models = [AutoModel.from_pretrained(name, **trust) for name in ("me/search", "me/search-pipeline", "me/whole-text")]
models += [AutoModel.from_pretrained("me/whole", subfolder="text", **trust)]
models[0].save_pretrained("copy")
models += [AutoModel.from_pretrained("copy", **trust)]
print(json.dumps([m.eval().get_text_features(texts).tolist() for m in models]))
"""


def test_words_are_read_where_nothing_but_the_hub_is(api, hub, tmp_path):
    """The sentence encoder is pushed with the model, by itself, as a pipeline, published alone and with its family."""
    shipped = transformers.pipeline("zero-shot-gait-classification", model=released("text"))
    shipped.model.push_to_hub("me/search")
    shipped.push_to_hub("me/search-pipeline")
    assert {"encoder/1_Pooling/config.json", "model.safetensors"} <= set(hub.head("me/search").files)
    shipped.save_pretrained(tmp_path / "text")
    publish(PublishArguments(family="gait-small", name="whole", text=str(tmp_path / "text")), api)
    for name in ("whole", "whole-text"):
        hub.repositories["models", f"me/{name}"].private = False
    environ = {"cwd": tmp_path, "env": environment(hub, tmp_path / "home"), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", BLOCK + READER], timeout=300, **environ)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = shipped.model.get_text_features(["steppage gait, right side", "a slow walk"]).detach()
    for found in json.loads(done.stdout.strip().splitlines()[-1]):
        torch.testing.assert_close(torch.tensor(found), expected, atol=1e-5, rtol=1e-4)


def test_a_dry_run_writes_what_is_pushed(api, hub, models, dataset_folder, tmp_path):
    args = {"classifier": [str(models / "gru")], "dataset": [str(dataset_folder)], "name": "same", "namespace": "me"}
    publish(PublishArguments(**args, dry_run=str(tmp_path / "dry")), api)
    assert not any("/same" in name for _, name in hub.repositories)
    publish(PublishArguments(**args), api)
    for name, kind in (("same-gru", "model"), ("same-simulated", "dataset")):
        there = Path(
            snapshot_download(f"me/{name}", repo_type=kind, cache_dir=tmp_path / "cache", endpoint=hub.endpoint, token="hf_me")
        )
        files = {p.relative_to(there).as_posix(): p.read_bytes() for p in there.rglob("*") if p.is_file()}
        del files[".gitattributes"]
        dry = tmp_path / "dry" / name
        assert files == {p.relative_to(dry).as_posix(): p.read_bytes() for p in dry.rglob("*") if p.is_file()}
        assert hub.repositories[f"{kind}s", f"me/{name}"].private


def folder_of(path: Path, **files: bytes) -> Path:
    """A folder with these files; __ in a name is a dot."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name.replace("__", ".")).write_bytes(content)
    return path


def test_a_second_push_sends_only_what_changed(api, hub, tmp_path):
    folder = folder_of(
        tmp_path / "r", a__safetensors=b"a" * 100, b__safetensors=b"b" * 100, config__json=b"{}", old__json=b"{}"
    )
    push(api, repository := Repository("me/second", "model", folder), private=True)
    sent = len(hub.requests("PUT", "/lfs/"))
    first = push(api, repository, private=True)
    assert first == hub.repositories["models", "me/second"].branches["main"] and len(hub.requests("PUT", "/lfs/")) == sent
    (folder / "a.safetensors").write_bytes(b"new" * 50)
    (folder / "old.json").unlink()
    assert push(api, repository, private=True) != first
    assert hub.head("me/second").changed == ("a.safetensors", "old.json") and hub.head("me/second").parent == first
    assert len(hub.requests("PUT", "/lfs/")) == sent + 1
    assert set(hub.head("me/second").files) == {".gitattributes", "a.safetensors", "b.safetensors", "config.json"}


def test_what_is_private_is_not_pushed_where_everybody_sees_it(api, hub, tmp_path):
    repository = Repository("me/open", "model", folder_of(tmp_path / "r", config__json=b"{}"))
    first = push(api, repository, private=False)
    with pytest.raises(ValueError, match="me/open is there and public"):
        push(api, repository, private=True)
    assert hub.repositories["models", "me/open"].branches["main"] == first


def test_an_interrupted_push_leaves_no_half_commit_and_goes_on(api, hub, tmp_path):
    folder = folder_of(tmp_path / "r", a__safetensors=b"x" * 3000, config__json=b"{}")
    repository = Repository("me/broken", "model", folder)
    hub.break_next("drop", "POST", "/api/models/me/broken/commit/")
    with pytest.raises(HTTPError):
        push(api, repository, private=True)
    assert set(hub.head("me/broken").files) == {".gitattributes"}  # as it was
    sent = len(hub.requests("PUT", "/lfs/"))
    push(api, repository, private=True)
    assert set(hub.head("me/broken").files) == {".gitattributes", "a.safetensors", "config.json"}
    assert len(hub.requests("PUT", "/lfs/")) == sent  # the weights had arrived


def test_too_many_requests_are_tried_again(api, hub, tmp_path):
    folder = folder_of(tmp_path / "r", config__json=b"{}")
    for method, part in (("POST", "repos/create"), ("POST", "me/busy/preupload/"), ("POST", "me/busy/commit/")):
        hub.break_next("429", method, part)
    push(api, Repository("me/busy", "model", folder), private=False)
    assert len(hub.requests("POST", "me/busy/preupload/")) == 3  # refused, answered, and once more for the refused commit
    assert len(hub.requests("POST", "me/busy/commit/")) == 2
    hub.break_next("429", "GET", "me/busy/resolve/")
    path = hf_hub_download("me/busy", "config.json", endpoint=hub.endpoint, cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"{}" and len(hub.requests("GET", "me/busy/resolve/")) == 2
