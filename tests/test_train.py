"""The training scripts one after the other on tiny models: held-out people, killed and resumed runs, several processes."""

import json
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from conftest import DECODER_ARGUMENTS, GPT2_ARGUMENTS, ROOT, TRAIN, VQ_ARGUMENTS, interrupted_at, run_script
from safetensors.torch import load_file

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
