"""The training scripts one after the other on tiny models: held-out people, killed and resumed runs, several processes."""

import json
import socket
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from conftest import DECODER_ARGUMENTS, GPT2_ARGUMENTS, ROOT, TRAIN, VQ_ARGUMENTS, interrupted_at, run_script
from safetensors.torch import load_file

from modeling_gait.quantization import VectorQuantizer
from modeling_gait.schema import walk_features
from modeling_gait.training import gpt2
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.data import load_walks
from modeling_gait.training.decoder import DecoderArguments
from modeling_gait.training.vq import VQArguments
from train import train_decoder, train_gpt2, train_vq

PATHS = f"import os, sys\nsys.path[:0] = [{str(ROOT)!r}, {str(TRAIN)!r}]\nimport torch\ntorch.set_num_threads(1)\n"


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one, other) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def python(*command, timeout=180) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


# --- held-out people ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def poisoned(dataset_folder, tmp_path_factory):
    """(folder where one person's rows are nonsense, folder without them, that person)."""
    rows = load_walks(str(dataset_folder)).with_format(None).to_list()
    person = rows[0]["subject_id"]
    nonsense = {"captions": ["POISON " * 5] * 3, "gait_parameters": "POISON", "attributes": "POISON"}
    nonsense["joints"] = np.full((64, 25, 3), np.nan)
    with_nonsense = [{**row, **nonsense} if row["subject_id"] == person else row for row in rows]
    folders = [tmp_path_factory.mktemp("poison") / name for name in ("poisoned", "without")]
    for folder, kept in zip(folders, (with_nonsense, [row for row in rows if row["subject_id"] != person])):
        columns = {k: [np.array(r[k], np.float32) if k == "joints" else r[k] for r in kept] for k in rows[0]}
        folder.mkdir()
        datasets.Dataset.from_dict(columns, features=walk_features()).to_parquet(folder / "train.parquet")
    return *folders, person


def train_all(data, parts, extra=()):
    """Tokeniser, decoder and family in the folder `parts`."""
    run_script(train_vq, ["--dataset", data, "--output_dir", parts / "vq", *VQ_ARGUMENTS, *extra])
    given = ["--dataset", data, "--vq", parts / "vq"]
    run_script(train_decoder, [*given, "--output_dir", parts / "decoder", *DECODER_ARGUMENTS, *extra])
    given += ["--decoder", parts / "decoder"]
    run_script(train_gpt2, [*given, "--output_dir", parts, *GPT2_ARGUMENTS, *extra])


def test_nothing_of_a_held_out_person_reaches_a_fit(poisoned, tmp_path):
    """Their rows may hold nonsense, or be absent: the normaliser, tokenisers, decoder and GPT-2 are the same bit by bit."""
    with_nonsense, without, person = poisoned
    train_all(with_nonsense, tmp_path / "excluded", ["--exclude_subjects", person])
    train_all(without, tmp_path / "absent")
    for part in ("vq", "decoder", "."):
        assert same_weights(tmp_path / "excluded" / part, tmp_path / "absent" / part)
    for file in ("vq/preprocessor_config.json", "processor_config.json", "tokenizer.json", "config.json", "vq/config.json"):
        assert (tmp_path / "excluded" / file).read_text() == (tmp_path / "absent" / file).read_text()
    with pytest.raises((ValueError, FloatingPointError)):
        train_all(with_nonsense, tmp_path / "not_excluded")


# --- killed and resumed ------------------------------------------------------------------------------------------------------

KILLER = """
import signal
from modeling_gait.training import loop
from train import train_gpt2, train_vq

def run(module, arguments, prepare):
    child = os.fork()
    if child == 0:
        prepare()
        sys.argv = ["train", *arguments]
        module.main()
        os._exit(3)  # it was not killed
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def while_saving_the_second_checkpoint():
    save, calls = loop.save_file, []
    def deadly(tensors, path):
        calls.append(path)
        save(tensors, path)
        if len(calls) == 4:
            os.truncate(path, 100)
            die()
    loop.save_file = deadly

def in_the_third_step():
    seed_step = loop.seed_step
    loop.seed_step = lambda seed, step, process: die() if step == 3 else seed_step(seed, step, process)

run(train_vq, VQ, while_saving_the_second_checkpoint)
run(train_gpt2, GPT2, in_the_third_step)
"""


def test_killed_runs_go_on_to_the_same_weights(dataset_folder, vq_folder, tmp_path):
    """SIGKILL in the middle of a checkpoint (tokeniser) and of a step (GPT-2 with LoRA), then the same command again."""
    vq = ["--dataset", dataset_folder, "--output_dir", tmp_path / "vq", *VQ_ARGUMENTS, "--save_steps", "1"]
    lora = ["--dataset", dataset_folder, "--vq", vq_folder, *GPT2_ARGUMENTS, "--lora_rank", "4", "--output_dir"]
    commands = {"VQ": list(map(str, vq)), "GPT2": [*map(str, lora), str(tmp_path / "killed")]}
    python("-c", PATHS + "".join(f"{k} = {v!r}\n" for k, v in commands.items()) + KILLER)
    assert (tmp_path / "vq" / "checkpoint" / "state.json").exists() and not (tmp_path / "vq" / "config.json").exists()
    assert json.loads((tmp_path / "killed" / "checkpoint" / "state.json").read_text())["step"] == 2

    run_script(train_vq, vq)
    assert same_weights(tmp_path / "vq", vq_folder)  # which was trained without an interruption
    assert not (tmp_path / "vq" / "checkpoint").exists()
    run_script(train_gpt2, [*lora, tmp_path / "killed"])
    run_script(train_gpt2, [*lora, tmp_path / "whole"])
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    adapters = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("killed", "whole")]
    assert all(torch.equal(adapters[0][k], v) for k, v in adapters[1].items())
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_interrupted_decoder_goes_on_to_the_same_weights(dataset_folder, vq_folder, decoder_folder, tmp_path):
    arguments = ["--dataset", dataset_folder, "--vq", vq_folder, "--output_dir", tmp_path / "decoder", *DECODER_ARGUMENTS]
    with interrupted_at(3):
        run_script(train_decoder, arguments)
    run_script(train_decoder, arguments)
    assert same_weights(tmp_path / "decoder", decoder_folder)


# --- several processes -------------------------------------------------------------------------------------------------------

TWO = """
import torch.distributed as dist
from accelerate import PartialState
from safetensors.torch import save_file
from modeling_gait.training import loop
from train import generate, train_decoder, train_gpt2, train_vq
from modeling_gait.quantization import VectorQuantizer

state = PartialState(cpu=True)
assert state.num_processes == 2, state
rank = state.process_index

quantizer = VectorQuantizer(6, 4, revive_below=0.0).train()
tensors = torch.load(BATCH, weights_only=True)
quantizer.codebook.copy_(tensors["codebook"]); quantizer.code_sum.copy_(tensors["codebook"])
quantizer.code_usage.fill_(1); quantizer.fitted.fill_(True)
for half in tensors["latents"].chunk(6):
    quantizer(half.chunk(2, dim=1)[rank])
if rank == 0:
    save_file(quantizer.state_dict(), CODEBOOK)

def check(module):
    loop = module.training_loop
    def checked(*args):
        model = loop(*args)
        for name, value in model.state_dict().items():
            both = [torch.empty_like(value.float()) for _ in range(2)]
            dist.all_gather(both, value.float().contiguous())
            assert torch.equal(*both), (module.__name__, name)
        open(f"{FOLDER}/equal_{module.__name__}_{rank}", "w").close()
        return model
    module.training_loop = checked

for module, arguments in ((train_vq, VQ), (train_decoder, DECODER), (train_gpt2, GPT2), (generate, GENERATE)):
    if module is not generate:
        check(module)
    sys.argv = ["train", *arguments]
    module.main()
    state.wait_for_everyone()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two(dataset_folder, family_folder, tmp_path_factory):
    """Folder with what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    g = torch.Generator().manual_seed(1)
    latents = torch.randn(6, 20, 4, generator=g)
    torch.save({"latents": latents, "codebook": torch.randn(6, 4, generator=g)}, folder / "batch.pt")
    (folder / "prompts.txt").write_text("steppage gait, right side\nnormal gait\nlurch gait\n")
    common_arguments = ["--dataset", dataset_folder, "--max_steps", "3"]
    vq, decoder, gpt2 = (a[len(["--max_steps", "4"]) :] for a in (VQ_ARGUMENTS, DECODER_ARGUMENTS, GPT2_ARGUMENTS))
    parts = ["--vq", folder / "vq", "--decoder", folder / "decoder"]
    values = {
        "FOLDER": folder,
        "BATCH": folder / "batch.pt",
        "CODEBOOK": folder / "codebook.safetensors",
        "VQ": [*common_arguments, "--output_dir", folder / "vq", *vq],
        "DECODER": [*common_arguments, *parts[:2], "--output_dir", folder / "decoder", *decoder],
        "GPT2": [*common_arguments, *parts, "--output_dir", folder / "family", *gpt2],
        "GENERATE": generate_arguments(folder, family_folder, folder / "synthetic"),
    }
    text = {k: list(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
    (folder / "script.py").write_text(PATHS + "".join(f"{k} = {v!r}\n" for k, v in text.items()) + TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python("-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", port, folder / "script.py")
    return folder


def generate_arguments(folder, family, output) -> list:
    arguments = ["--model", family, "--prompts", folder / "prompts.txt", "--walks_per_prompt", "3", "--output_dir", output]
    return [*arguments, "--batch_size", "2", "--num_frames", "16", "--seed", "5"]


def test_two_processes_have_the_same_weights_and_codebooks(two):
    compared = {f"equal_{m}_{r}" for m in ("train_vq", "train_decoder", "train_gpt2") for r in (0, 1)}
    assert compared <= {p.name for p in two.iterdir()}
    for part in ("vq", "decoder", "family"):
        assert all(torch.isfinite(v.float()).all() for v in weights(two / part).values())


def test_two_halves_of_a_batch_make_the_codebook_of_the_whole(two):
    batch = torch.load(two / "batch.pt", weights_only=True)
    alone = VectorQuantizer(6, 4, revive_below=0.0).train()
    alone.codebook.copy_(batch["codebook"])
    alone.code_sum.copy_(batch["codebook"])
    alone.code_usage.fill_(1)
    alone.fitted.fill_(True)
    for latents in batch["latents"].chunk(6):
        alone(latents)
    for name, value in load_file(two / "codebook.safetensors").items():
        torch.testing.assert_close(alone.state_dict()[name], value, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone.codebook, batch["codebook"], atol=1e-2)


def test_two_processes_generate_what_one_does(two, family_folder, tmp_path):
    from train import generate

    run_script(generate, generate_arguments(two, family_folder, tmp_path / "synthetic"))
    one, both = load_walks(str(tmp_path / "synthetic")), load_walks(str(two / "synthetic"))
    assert one["sample_index"][:].tolist() == both["sample_index"][:].tolist() == list(range(9))
    for name in ("prompt", "seed", "walk_id", "pathology", "gait_parameters", "captions", "generator"):
        assert list(map(str, one[name])) == list(map(str, both[name])), name
    assert all(np.array_equal(a, b) for a, b in zip(one["joints"], both["joints"]))
    assert len({np.asarray(j).tobytes() for j in one["joints"]}) == 9


# --- configurations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", sorted((TRAIN / "configs").glob("*.json")), ids=lambda p: p.name)
def test_every_configuration_can_be_read(config, monkeypatch):
    kind = {
        "vq": VQArguments,
        "decoder": DecoderArguments,
        "gpt2": gpt2.GPT2Arguments,
    }
    name = next((k for k in kind if k in config.stem.split("_")), None)
    if name is None:
        pytest.skip("of another script")
    monkeypatch.setattr(sys, "argv", ["train", str(config), "--output_dir", "o", "--dataset", "d"])
    assert parse_arguments(kind[name]).max_steps > 0
