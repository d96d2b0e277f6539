"""personalisation.py: ways to fill in, and the whole experiment on tiny cycles."""

import json

import pytest
import torch
from conftest import run_script
from test_train_maml import P, folder  # noqa: F401

from experiments import personalisation
from experiments import personalisation_arms as arms

RECONSTRUCTIONS = ("maml", "maml_no_support", "gaussian", "interpolation", "pca", "support_mean")


def test_interpolation_and_pca_fill_in():
    phase = torch.arange(P) * 2 * torch.pi / P
    cycle = torch.stack([phase.sin(), phase.cos()], -1)[None]
    moments = (torch.arange(P) % 4 == 1).float()[None]
    for cubic, tolerance in ((False, 0.2), (True, 0.02)):
        answer = arms.interpolate(cycle * moments[..., None], moments, torch.zeros(P, 2), cubic)
        assert (answer - cycle).abs().max() < tolerance
    pca = arms.PcaInfill.__new__(arms.PcaInfill)
    pca.mean, pca.directions = torch.zeros(2 * P), torch.stack([cycle.flatten(), torch.randn(2 * P)], 1)
    seen = moments[..., None].expand(1, P, 2)
    assert torch.allclose(pca(2 * cycle * seen, seen, 1, 1e-6), 2 * cycle, atol=1e-3)


def test_the_personalisation_writes_resumes_and_measures(folder, tmp_path, cards, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    config = {"batch_size": 2, "hidden_size": 8, "inner_steps": 1, "warm_steps": 1, "num_queries": 5, "warmup_steps": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(personalisation, "ADAM_STEPS", (1, 3))
    monkeypatch.setattr(personalisation, "PCA", [(3, 0.1), (5, 0.3)])
    base = ["--dataset", folder, "--config", "config.json", "--num_folds", "3", "--seeds", "0", "--shots", "1", "5"]
    base += ["--draws", "1", "--reserved", "5", "--max_steps", "2", "--tuning", "3", "--name", "tiny", "--output_dir", "out"]
    with pytest.raises(ValueError, match="num_folds must be 3"):
        run_script(personalisation, [*base, "--num_folds", "2"])
    run_script(personalisation, [*base, "--folds", "0"])
    path = tmp_path / "model_cards" / "results" / "tiny.json"
    first = json.loads(path.read_text())
    assert [(r["subject"], r["shots"]) for r in first["rows"]] == [("1", 1), ("4", 1), ("1", 5), ("4", 5)]
    run_script(personalisation, [*base, "--folds", "0", "1"])
    both = json.loads(path.read_text())
    assert both["rows"][:4] == first["rows"] and len(both["rows"]) == 6 and set(both["choices"]) == {"0", "1"}
    metrics = both["metrics"]
    for shots in (1, 5):
        for arm in personalisation.ARMS:
            assert metrics[f"mse_{arm}_{shots}"] >= metrics[f"mse_floor_{shots}"] - 1e-6 and metrics[f"dtw_{arm}_{shots}"] > 0
        low, middle, high = (metrics[f"mse_support_mean_minus_maml_{shots}{e}"] for e in ("_ci_low", "", "_ci_high"))
        assert low <= middle <= high
    for arm in RECONSTRUCTIONS:
        assert metrics[f"reconstruction_mse_{arm}_10"] > 0
    # a cycle is its mean and noise of variance s: the support's mean is off by s / K more than the floor
    excess = [metrics[f"mse_support_mean_{k}"] - metrics[f"mse_floor_{k}"] for k in (1, 5)]
    assert 2 < excess[0] / excess[1] < 8
    assert (cards / "figures" / "tiny_errors.png").stat().st_size > 5000
