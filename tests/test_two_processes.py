"""Every training script and generate.py by two processes (gloo): equal weights, one that saves, what one process would make."""

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GPT2_ARGUMENTS, VQ_ARGUMENTS, run_script
from safetensors.torch import load_file
from test_modeling_gait_dual_encoder import tiny, write_sentence_encoder
from test_train import PATHS, python
from test_train_maml import FAST, write_cycles

from modeling_gait.training.data import load_walks
from train import generate

SCRIPTS = ("vq", "gpt2", "classifier", "text", "knowledge", "video", "maml")
LOSSES = {"clip": 1.0, "siglip": 1.0, "triplet": 1.0, "mse": 1.0}

TWO = """
import importlib
import torch.distributed as dist
from accelerate import PartialState
from safetensors.torch import save_file
from transformers import Pipeline, PreTrainedModel
from test_two_processes import LOSSES, pairs_of, tiny
from train import generate

state = PartialState(cpu=True)
rank = state.process_index
assert state.num_processes == 2, state

if rank:
    def refuse(self, *args, **kwargs):
        raise AssertionError("the second process saves")
    PreTrainedModel.save_pretrained = Pipeline.save_pretrained = refuse

pairs = pairs_of(tiny(losses=LOSSES).train(), slice(3 * rank, 3 * rank + 3), torch.nn.parallel.DistributedDataParallel)
if rank == 0:
    save_file(pairs, f"{FOLDER}/gradients.safetensors")

def checked(train, name):
    def both(args):
        model = train(args)
        for key, value in model.state_dict().items():
            each = [torch.empty_like(value.float()) for _ in range(2)]
            dist.all_gather(each, value.float().contiguous())
            assert torch.equal(*each), (name, key)
        open(f"{FOLDER}/equal_{name}_{rank}", "w").close()
    return both

for name, arguments in ARGUMENTS.items():
    script = importlib.import_module(f"train.train_{name}")
    script.train = checked(script.train, name)
    sys.argv = ["train", *arguments]
    script.main()
sys.argv = ["generate", *GENERATE]
generate.main()
dist.destroy_process_group()
"""


def pairs_of(model, rows: slice, wrap=lambda m: m) -> dict[str, torch.Tensor]:
    """Loss of these of six pairs of walks and texts, and the gradients; two pairs say the same."""
    g = torch.Generator().manual_seed(2)
    walks, texts = torch.randn(6, 16, model.config.gait_config.num_channels, generator=g), torch.randn(6, 16, generator=g)
    ids = torch.tensor([0, 1, 2, 3, 1, 4])
    for layer in (m for m in model.modules() if isinstance(m, torch.nn.Dropout)):
        layer.p = 0.0
    wrapped = wrap(model)
    loss = wrapped(walks[rows], sentence_embeds=texts[rows], description_ids=ids[rows], return_loss=True).loss
    loss.backward()
    return {"loss": loss.detach()} | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def generate_arguments(folder, family, output) -> list:
    arguments = ["--model", family, "--prompts", folder / "prompts.txt", "--walks_per_prompt", "3", "--output_dir", output]
    return [*arguments, "--num_frames", "16", "--seed", "5"]


@pytest.fixture(scope="module")
def two(dataset_folder, vq_folder, family_folder, tmp_path_factory) -> Path:
    """Folder with what two processes made, a folder a script."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "prompts.txt").write_text("steppage gait, right side\nnormal gait\nlurch gait\n")
    encoder = write_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny", limit=512)
    text = ["--text_model", encoder, "--text_cache", folder / "cache", "--hidden_size", "16", "--num_layers", "1"]
    few = ["--max_steps", "3", "--batch_size", "4"]
    saved = [*few, "--save_steps", "2"]
    own = {
        "vq": VQ_ARGUMENTS,
        "gpt2": ["--vq", vq_folder, *GPT2_ARGUMENTS],
        "classifier": ["--architecture", "cnn", *few],
        "text": [*text, "--num_heads", "2", "--num_frames", "32", *saved],
        "knowledge": ["--knowledge", "none", "--branches", "video", "--text_model", encoder, "--mixed_precision", "no", *saved],
        "video": ["--copies", "1", "--mixed_precision", "no", *saved],
        "maml": ["--dataset", write_cycles(folder / "cycles"), *FAST],
    }
    given = {k: ["--dataset", dataset_folder, "--output_dir", folder / k, *v] for k, v in own.items()}
    generation = generate_arguments(folder, family_folder, folder / "synthetic") + ["--batch_size", "2"]
    values = {"FOLDER": str(folder), "ARGUMENTS": {k: list(map(str, v)) for k, v in given.items()}}
    values["GENERATE"] = list(map(str, generation))
    path = f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    (folder / "script.py").write_text(PATHS + path + "".join(f"{k} = {v!r}\n" for k, v in values.items()) + TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python("-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", port, folder / "script.py", timeout=300)
    return folder


@pytest.mark.parametrize("name", SCRIPTS)
def test_two_processes_train_one_model_and_one_saves_it(two, name):
    assert {f"equal_{name}_0", f"equal_{name}_1"} <= {p.name for p in two.iterdir()}
    assert all(torch.isfinite(v.float()).all() for v in load_file(two / name / "model.safetensors").values())
    assert not [p for p in (two / name).rglob("*") if "checkpoint" in p.name or p.name.endswith(".tmp") or p.name[0] == "."]


def test_pairs_of_two_processes_are_negatives_of_each_other(two):
    """The loss and gradients of all pairs, not the mean of those of each half."""
    alone, both = pairs_of(tiny(losses=LOSSES).train(), slice(0, 6)), load_file(two / "gradients.safetensors")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value, atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
    halves = [pairs_of(tiny(losses=LOSSES).train(), slice(i, i + 3))["loss"] for i in (0, 3)]
    assert abs(sum(halves) / 2 - alone["loss"]) > 0.01


def test_two_processes_generate_what_one_does_in_other_batches(two, family_folder, tmp_path):
    run_script(generate, generate_arguments(two, family_folder, tmp_path / "synthetic"))
    one, both = load_walks(str(tmp_path / "synthetic")), load_walks(str(two / "synthetic"))
    assert one["sample_index"][:].tolist() == both["sample_index"][:].tolist() == list(range(9))
    for name in ("prompt", "seed", "walk_id", "pathology", "generator"):
        assert list(map(str, one[name])) == list(map(str, both[name])), name
    for a, b in zip(one["joints"], both["joints"]):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert len({np.asarray(j).tobytes() for j in one["joints"]}) == 9
