"""The chain's numbers of a tiny family: there, finite where they should be, and those of the reconstruction as defined."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import chain
from modeling_gait.training.data import load_walks


@pytest.fixture(scope="module")
def row(dataset_folder, family_folder):
    train_classifier = chain.train_classifier
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "train_classifier", lambda *a, epochs, **k: train_classifier(*a, epochs=0.5, **k))
        patch.setattr(chain, "pearsonr", lambda a, b: (float(np.corrcoef(a, b)[0, 1]), 0))
        args = chain.ChainArguments(dataset=str(dataset_folder), families=[str(family_folder)], subjects=["x"], samples=14)
        person = str(load_walks(str(dataset_folder))[0]["subject_id"])
        return chain.evaluate(str(family_folder), person, args, 0)


def test_every_number_is_there(row):
    for key in ("fgd", "fgd_smooth", "fgd_reconstruction", "fgd_reconstruction_skeleton_held_out", "reconstruction_mpjpe_mm"):
        assert np.isfinite(row[key]) and row[key] > 0, key
    for key in ("transplant_donor_class", "sampled_prompt_accuracy", "pathological_codes_accuracy"):
        assert 0 <= row[key] <= 1, key
    for key in ("severity_correlation", "severity_correlation_within_steppage"):
        assert -1 <= row[key] <= 1, key
    assert row["bits_per_window"] == pytest.approx(4 * 3 + 2 * 3 + np.log2(14) + 4 * 3 + 3 * 3)
    assert row["sampled_bone_length_variation"] < 1e-4 and row["sampled_decodable"] == 1


def test_lengths_are_those_of_real_windows_of_the_class():
    windows = {"labels": torch.tensor([0, 0, 1]), "attention_mask": (torch.arange(9) < torch.tensor([[4], [6], [9]])).float()}
    mask = chain.lengths_like(windows, np.array([1, 0, 0, 0, 0, 0]), 12, np.random.default_rng(0))
    assert mask.shape == (6, 12) and mask[0].sum() == 9 and set(mask[1:].sum(1).tolist()) == {4, 6}


def test_a_sign_that_is_halved_is_half_kept(dataset_folder, family_folder, monkeypatch):
    family = chain.Family(str(family_folder))
    test = chain.windows_of(load_walks(str(dataset_folder)), family.extractor, [None])
    labels = test["labels"].numpy()
    values = iter([{"knee": float(v)} for v in labels * 10] + [{"knee": float(v)} for v in labels * 5])
    monkeypatch.setattr(chain, "compute_gait_parameters", lambda *a: next(values))
    classes = family.extractor.classes
    own = tuple(replace(c, shown={"knee": 1} if c.name == "steppage" else {}) for c in classes.classes)
    monkeypatch.setattr(type(family.extractor), "classes", replace(classes, classes=own))
    found = chain.signs(family, test, torch.zeros_like(test["joints"]))
    assert found == {"sign_real_steppage": 10 * family.extractor.labels.index("steppage"), "sign_kept_steppage": 0.5}
