"""The training scripts one after the other on tiny models: held-out people, killed, resumed and refused runs."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import GPT2_ARGUMENTS, ROOT, TRAIN, VQ_ARGUMENTS, interrupted_at, run_script, write_walks
from safetensors.torch import load_file, save_file

from modeling_gait.training import gpt2
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.data import load_walks
from modeling_gait.training.vq import VQArguments
from train import train_gpt2, train_vq

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
        write_walks(kept, folder)
    return *folders, person


def train_all(data, parts, extra=()):
    """Tokeniser, decoder and family in the folder `parts`."""
    run_script(train_vq, ["--dataset", data, "--output_dir", parts / "vq", *VQ_ARGUMENTS, *extra])
    given = ["--dataset", data, "--vq", parts / "vq"]
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
    # another process: products of matrices round by where memory lies; a step or an optimiser's state that is lost moves 1e-3
    torch.testing.assert_close(weights(tmp_path / "killed"), weights(tmp_path / "whole"), atol=1e-4, rtol=1e-4)
    adapters = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("killed", "whole")]
    torch.testing.assert_close(*adapters, atol=1e-4, rtol=1e-4)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.fixture(scope="module")
def stopped(dataset_folder, tmp_path_factory):
    """Folder of a tokeniser whose training was stopped in its third step, and its arguments."""
    folder = tmp_path_factory.mktemp("stopped") / "vq"
    arguments = ["--dataset", dataset_folder, "--output_dir", folder, *VQ_ARGUMENTS, "--exclude_subjects", "sim0_0002"]
    with interrupted_at(3):
        run_script(train_vq, arguments)
    return folder, arguments


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["--exclude_subjects", "sim0_0001"], "--exclude_subjects \\['sim0_0002'\\], now \\['sim0_0001'\\]; --dataset "),
        (["--seed", "1"], "--seed 0, now 1"),
        (["--learning_rate", "0.01"], "--learning_rate 0.001, now 0.01"),
        (["--batch_size", "5"], "--batch_size 4, now 5"),
        (["--max_steps", "9"], "--max_steps 4, now 9"),
    ],
)
def test_a_checkpoint_refuses_another_run_by_the_name_of_what_differs(stopped, other, said):
    folder, arguments = stopped
    with pytest.raises(ValueError, match=f"checkpoint: this checkpoint is of another run \\({said}"):
        run_script(train_vq, [*arguments, *other])
    assert (folder / "checkpoint").is_dir() and not (folder / "model.safetensors").exists()


def test_a_checkpoint_refuses_other_data_and_knows_its_own_elsewhere(stopped, dataset_folder, tmp_path):
    folder, arguments = stopped
    rows = load_walks(str(dataset_folder)).with_format(None)
    trained_on = [i for i, subject in enumerate(rows["subject_id"]) if subject != "sim0_0002"]
    for name, kept in (("moved", range(len(rows))), ("changed", [i for i in range(len(rows)) if i != trained_on[0]])):
        rows.select(kept).to_parquet(tmp_path / name / "a.parquet")
    with pytest.raises(ValueError, match=r"another run \(--dataset '\w{16}', now '\w{16}'\)"):
        run_script(train_vq, [*arguments, "--dataset", tmp_path / "changed"])
    shutil.copytree(folder, tmp_path / "vq")
    run_script(train_vq, [*arguments, "--dataset", tmp_path / "moved", "--output_dir", tmp_path / "vq"])
    assert (tmp_path / "vq" / "model.safetensors").exists()


def test_a_checkpoint_refuses_another_version_of_the_tokeniser(dataset_folder, vq_folder, tmp_path):
    vq = shutil.copytree(vq_folder, tmp_path / "vq")
    arguments = ["--dataset", dataset_folder, "--vq", vq, "--output_dir", tmp_path / "family", *GPT2_ARGUMENTS]
    with interrupted_at(3):
        run_script(train_gpt2, arguments)
    trained = weights(vq)
    name = next(n for n, w in trained.items() if w.is_floating_point())
    save_file(trained | {name: trained[name] + 0.01}, vq / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"another run \(--vq '\w{16}', now '\w{16}'\)"):
        run_script(train_gpt2, arguments)
    save_file(trained, vq / "model.safetensors", {"format": "pt"})
    run_script(train_gpt2, arguments)
    assert (tmp_path / "family" / "model.safetensors").exists()


def test_data_without_classes_train_no_tokeniser(dataset_folder, tmp_path):
    data = load_walks(str(dataset_folder)).with_format(None)
    feature = data.features["pathology"]
    data = data.remove_columns("pathology").add_column("pathology", [-1] * len(data), feature=feature)
    data.to_parquet(tmp_path / "data" / "a.parquet")
    given = ["--dataset", tmp_path / "data", "--output_dir"]
    with pytest.raises(ValueError, match="no walk has a known pathology"):
        run_script(train_vq, [*given, tmp_path / "vq", *VQ_ARGUMENTS])


def test_a_missing_tokeniser_is_named(dataset_folder, tmp_path):
    with pytest.raises(ValueError, match="--vq is missing: folder or Hub id of the trained tokeniser"):
        run_script(train_gpt2, ["--dataset", dataset_folder, "--output_dir", tmp_path / "out"])


# --- configurations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", sorted((TRAIN / "configs").glob("*.json")), ids=lambda p: p.name)
def test_every_configuration_can_be_read(config, monkeypatch):
    kind = {"vq": VQArguments, "gpt2": gpt2.GPT2Arguments}
    name = next((k for k in kind if k in config.stem.split("_")), None)
    if name is None:
        pytest.skip("of another script")
    monkeypatch.setattr(sys, "argv", ["train", str(config), "--output_dir", "o", "--dataset", "d"])
    assert parse_arguments(kind[name]).max_steps > 0
