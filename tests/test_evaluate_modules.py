"""Every metric as an `evaluate` module: it loads offline from its folder and agrees with the function."""

from pathlib import Path

import evaluate
import numpy as np
import pytest

from modeling_gait.evaluation import metrics
from modeling_gait.skeletons import KINECT_V2

FOLDER = Path(__file__).resolve().parents[1] / "train" / "metrics"
PAIRED = ("mpjpe", "pa_mpjpe", "acceleration_error")
SINGLE = ("bone_length_variation", "foot_skate", "joint_limit_violations")
SETS = ("frechet_gait_distance", "diversity")


@pytest.fixture(scope="module")
def walks() -> list[np.ndarray]:
    """Four noisy walks of different lengths."""
    rng = np.random.default_rng(0)
    return [(KINECT_V2.rest_positions + rng.normal(0, 0.05, (t, 25, 3))).astype(np.float32) for t in (6, 9, 6, 7)]


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Nothing may be fetched, and the module cache is a fresh one."""
    monkeypatch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path))


def load(name: str) -> evaluate.EvaluationModule:
    return evaluate.load(str(FOLDER / name))


def test_every_metric_has_a_module():
    assert {p.name for p in FOLDER.iterdir() if (p / f"{p.name}.py").exists()} == {*PAIRED, *SINGLE, *SETS, "dtw"}


@pytest.mark.parametrize("name", PAIRED)
def test_paired_modules(name, walks):
    noisy = [w + np.float32(0.1) * w[::-1] for w in walks]
    expected = np.mean([getattr(metrics, name)(a, b) for a, b in zip(noisy, walks, strict=True)])
    module = load(name)
    assert module.compute(predictions=noisy, references=walks) == {name: pytest.approx(expected, rel=1e-4)}
    assert module.compute(predictions=walks, references=walks)[name] == pytest.approx(0, abs=1e-3)


def test_batches_add_up(walks):
    module = load("mpjpe")
    noisy = [w * np.float32(1.1) for w in walks]
    for a, b in zip(noisy, walks, strict=True):
        module.add(predictions=a, references=b)
    expected = np.mean([metrics.mpjpe(a, b) for a, b in zip(noisy, walks, strict=True)])
    assert module.compute()["mpjpe"] == pytest.approx(expected, rel=1e-4)


def test_options_reach_the_metric(walks):
    moved = [w + np.float32(1) for w in walks]
    module = load("mpjpe")
    assert module.compute(predictions=moved, references=walks)["mpjpe"] == pytest.approx(0, abs=1e-3)
    absolute = module.compute(predictions=moved, references=walks, root_relative=False)["mpjpe"]
    assert absolute == pytest.approx(1000 * np.sqrt(3), rel=1e-4)


@pytest.mark.parametrize("name", SINGLE)
def test_modules_of_one_set_of_walks(name, walks):
    expected = np.nanmean([getattr(metrics, name)(w) for w in walks])  # foot skate is nan where no foot touches
    assert load(name).compute(predictions=walks) == {name: pytest.approx(expected, rel=1e-4)}


def test_dtw_takes_walks_of_different_lengths(walks):
    a, b = walks[:2], [walks[1], walks[0]]
    expected = metrics.dtw(a[0].reshape(6, -1), b[0].reshape(9, -1))
    assert load("dtw").compute(predictions=a, references=b) == {"dtw": pytest.approx(expected, rel=1e-4)}


@pytest.mark.parametrize("name", SETS)
def test_modules_of_feature_sets(name):
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 2, (20, 5)).astype(np.float32), rng.normal(size=(20, 5)).astype(np.float32)
    expected = getattr(metrics, name)(a, b)
    assert load(name).compute(predictions=a, references=b) == {name: pytest.approx(expected, rel=1e-4)}
