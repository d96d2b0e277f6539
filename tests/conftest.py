"""Shared by all tests: offline, one thread, a cache of their own; a few simulated walks and a tiny model family.

The family is trained for a handful of steps only: it shows that everything fits together, not that it is any good.
"""

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

CACHE = tempfile.mkdtemp(prefix="gait-tests-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ |= {
    "HF_HOME": CACHE,
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "train"

import datasets  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from transformers import pipeline  # noqa: E402

from modeling_gait import GaitDecoderConfig, GaitDecoderModel, GaitVQConfig, GaitVQModel  # noqa: E402
from modeling_gait.cleaning import at_rate  # noqa: E402
from modeling_gait.pipelines_gait import GaitToTextPipeline, TextToGaitPipeline  # noqa: E402
from modeling_gait.schema import walk_features  # noqa: E402
from modeling_gait.simulation import SimulatedWalks, simulate_walks  # noqa: E402
from modeling_gait.training import loop  # noqa: E402

torch.set_num_threads(1)
datasets.disable_progress_bars()

TEXTS = yaml.safe_load((ROOT / "tests" / "texts.yaml").read_text(encoding="utf-8"))  # and what must come of them
PROMPT = "severe steppage gait, right side, 0.6 m/s, 96 steps/min"
NUM_FRAMES = 32
SUBJECTS = 3
COMMON = ["--max_steps", "4", "--batch_size", "4", "--save_steps", "2", "--warmup_steps", "1"]
SIZES = {  # of the tiny tokeniser and the decoder that fits it
    "num_frames": NUM_FRAMES,
    "codebook_size": 8,
    "num_spatial_tokens": 4,
    "spatial_components": 12,
    "num_pathological_tokens": 3,
    "pathological_components": 4,
    "num_sensor_tokens": 3,
    "drift_components": 6,
    "head_components": 8,
    "hidden_size": 16,
}
VQ_ARGUMENTS = [*COMMON, "--copies", "1", *(word for name, size in SIZES.items() for word in (f"--{name}", str(size)))]
GPT2_ARGUMENTS = [*COMMON, "--n_embd", "16", "--n_layer", "1", "--n_head", "2", "--text_vocab_size", "320", "--g2l_steps", "2"]


def tiny_vq(**kwargs) -> GaitVQModel:
    """An untrained tokeniser of two classes."""
    torch.manual_seed(0)
    return GaitVQModel(GaitVQConfig(**{**SIZES, **kwargs}))


def tiny_decoder(**kwargs) -> GaitDecoderModel:
    """An untrained decoder for the codes of `tiny_vq`."""
    torch.manual_seed(0)
    return GaitDecoderModel(GaitDecoderConfig(**{**SIZES, **kwargs}))


def at_another_rate(rows, fps: float):
    """The same walks, sampled at another rate."""
    some = [row | {"joints": at_rate(row["joints"], row["fps"], fps), "fps": fps} for row in rows.with_format(None)]
    return datasets.Dataset.from_list(some, features=rows.features).with_format("numpy")


def write_walks(rows: list[dict], folder: Path) -> Path:
    """Rows of the walk schema as a data set in `folder`."""
    columns = {k: [np.array(r[k], np.float32) if k == "joints" else r[k] for r in rows] for k in rows[0]}
    folder.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(columns, features=walk_features()).to_parquet(folder / "train.parquet")
    return folder


def same(a: dict, b: dict) -> bool:
    """Are two walks of the same codes?"""
    return all(np.array_equal(getattr(a["codes"], n), getattr(b["codes"], n)) for n in ("temporal", "pathological", "spatial"))


def run_script(module, arguments: list) -> None:
    """Call `main()` of a training script with these command-line arguments."""
    argv, sys.argv = sys.argv, [module.__name__, *map(str, arguments)]
    try:
        module.main()
    finally:
        sys.argv = argv


@pytest.fixture(scope="session")
def walks() -> SimulatedWalks:
    """Seven walks of 64 frames, one of each class."""
    return simulate_walks(7, frames=64, seed=1)


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    """21 simulated walks of three subjects as Parquet in the walk schema."""
    from datasets_scripts import simulated

    folder = tmp_path_factory.mktemp("data") / "simulated"
    config = simulated.SimulatedConfig(num_walks=7 * SUBJECTS, num_subjects=SUBJECTS, frames=64)
    simulated.prepare(config, folder, num_proc=1)
    return folder


@pytest.fixture(scope="session")
def vq_folder(dataset_folder, tmp_path_factory) -> Path:
    """A tokeniser after four steps."""
    from train import train_vq

    folder = tmp_path_factory.mktemp("parts") / "vq"
    run_script(train_vq, ["--dataset", dataset_folder, "--output_dir", folder, *VQ_ARGUMENTS])
    return folder


@pytest.fixture(scope="session")
def family_folder(dataset_folder, vq_folder, tmp_path_factory) -> Path:
    """A model family: GPT-2 after four steps, `vq/` and `decoder/`."""
    from train import train_gpt2

    folder = tmp_path_factory.mktemp("hub") / "family"
    parts = ["--dataset", dataset_folder, "--vq", vq_folder]
    run_script(train_gpt2, [*parts, "--output_dir", folder, *GPT2_ARGUMENTS])
    return folder


@pytest.fixture(scope="module")
def maker(family_folder) -> TextToGaitPipeline:
    """The family's text-to-gait."""
    return pipeline("text-to-gait", model=str(family_folder))


@pytest.fixture(scope="module")
def reader(family_folder) -> GaitToTextPipeline:
    """The family's gait-to-text."""
    return pipeline("gait-to-text", model=str(family_folder))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def cards(tmp_path, monkeypatch) -> Path:
    """The `model_cards` of a project of its own, where experiments write results and figures."""
    from experiments import runner

    monkeypatch.setattr(runner, "CARDS", tmp_path / "model_cards")
    return tmp_path / "model_cards"


@contextmanager
def interrupted_at(step: int):
    """Inside, a training run is killed (KeyboardInterrupt) as it comes to this step; fails if none is."""
    seed_step = loop.seed_step

    def interrupted(seed, now, process):
        if now == step:
            raise KeyboardInterrupt
        return seed_step(seed, now, process)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "seed_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield
