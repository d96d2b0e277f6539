"""same_person.py: a walk in which one person is exchanged for another, and the whole experiment on a few simulated walks."""

import json

import numpy as np
import pytest
import torch
from conftest import run_script

from datasets_scripts import simulated
from experiments import same_person
from modeling_gait.gait_waves import from_channels, synthesise
from modeling_gait.kinematics import JOINT_ANGLES
from modeling_gait.schema import PATHOLOGIES
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.maml import Cycles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four walks of two classes of three simulated people."""
    path, kinds = tmp_path_factory.mktemp("data") / "simulated", ("normal", "steppage")
    simulated.prepare(simulated.SimulatedConfig(num_walks=24, num_subjects=3, frames=110, pathologies=kinds), path, num_proc=1)
    return path


@pytest.fixture(scope="module")
def measured(folder) -> same_person.Walks:
    return same_person.Walks(str(folder))


def test_a_walk_takes_over_the_cycle_and_pace_of_another(measured):
    walks, changed = measured, []
    own, other = walks.rows("sim0_0000", "normal")[0], walks.rows("sim0_0001", "steppage")[0]
    for faster in (0.0, 0.2):
        change = walks.waves.cycle[other] - walks.waves.cycle[own]
        change[:, 3 * same_person.ROOT : 3 * same_person.ROOT + 2] = 0
        changed.append(walks.changed(own, change, np.array([faster, 2 * faster])))
    made = same_person.Walks.__new__(same_person.Walks)
    made.joints, made.fps = [walks.joints[own], *changed], walks.fps
    waves, window = made._waves()
    assert list(window) == [len(walks.joints[own])] * 3
    pose = np.r_[0 : 3 * same_person.ROOT, 3 * same_person.ROOT + 3 : waves.cycle.shape[2]]
    error = (waves.cycle[1:] - walks.waves.cycle[other])[..., pose].abs().amax((1, 2))
    assert (waves.cycle[0] - walks.waves.cycle[other])[:, pose].abs().max() > 0.05 > 5 * error[0] and error[1] < 0.02
    frequency, speed = (waves.rhythm[:, i].numpy() / float(waves.rhythm[0, i]) for i in (0, 1))
    assert np.allclose(frequency, [1, 1, np.exp(0.2)], atol=0.02) and np.allclose(speed, [1, 1, np.exp(0.4)], atol=0.02)


def test_a_cycle_has_the_waves_of_the_walk_that_it_makes(measured):
    waves = same_person.GaitWaves(*(getattr(measured.waves, k)[:1].clone() for k in ("cycle", "drift", "rhythm")))
    waves.drift[:] = 0
    waves.rhythm[:, 0], waves.rhythm[:, 1:] = 1.0, 0.0
    channels = synthesise(waves, torch.ones(1, 100), KINECT_V2, 100, 0.5)  # 100 frames in a second: one cycle
    joints = from_channels(channels, KINECT_V2)[0]
    cycle = (joints - joints[:, [same_person.ROOT]]).flatten(1).numpy()
    found, wanted = same_person.waves_of_cycle(np.roll(cycle, 17, axis=0)), waves.cycle[0].clone()
    wanted[:, 3 * same_person.ROOT : 3 * same_person.ROOT + 3] = 0
    assert torch.allclose(found, wanted, atol=2e-3) and wanted.abs().max() > 0.3


def test_longer_legs_are_found_and_raise_the_pelvis():
    rng, phase = np.random.default_rng(0), torch.arange(100) * 2 * torch.pi / 100
    rest = KINECT_V2.rest_positions - KINECT_V2.rest_positions[same_person.ROOT]
    base, legs = torch.from_numpy(rest).float().flatten().repeat(100, 1), torch.zeros(75)
    for side, sign in (("left", 1), ("right", -1)):
        base[:, 3 * KINECT_V2.index(f"{side}_ankle") + 1] += sign * 0.3 * phase.cos()
        legs[[3 * KINECT_V2.index(f"{side}_{joint}") + 2 for joint in ("ankle", "foot")]] = -1.0
    noise = lambda n: torch.from_numpy(rng.normal(0, 0.02, (n, 1, 75))).float()  # noqa: E731
    longer = np.linspace(-0.05, 0.05, 12)
    values = torch.cat([base + float(x) * legs + noise(8) for x in longer])
    mask, names = torch.ones(96, 75, dtype=torch.bool), np.repeat(np.arange(12).astype(str), 8)
    model = same_person.linear_model(Cycles(values, mask, names, np.full(96, "normal 1")))
    found = same_person.differs(model, base + 0.08 * legs + noise(5), "normal 1")
    assert found[0, 3 * KINECT_V2.index("left_ankle") + 2] == pytest.approx(-0.08, abs=0.02)
    assert found[0, 3 * same_person.ROOT + 2] == pytest.approx(0.08, abs=0.02)


def test_a_difference_is_shrunk_by_what_one_walk_is_worth():
    people = [np.array([[m - 1.0], [m + 1.0]]) for m in (-2.0, 0.0, 2.0)]  # between 4, within 1
    assert same_person.shrunk(np.array([[5.0]]), people) == pytest.approx([4.0])
    assert same_person.shrunk(np.array([[5.0]] * 4), people) == pytest.approx([5 * 4 / 4.25])


def test_what_people_carry_over_is_found_for_pose_waves_and_pace():
    rng, people, others = np.random.default_rng(0), [], []
    for _ in range(200):
        own, pace = rng.normal(size=(11, 75)), rng.normal(size=2)
        people.append((torch.from_numpy(own), pace))
        others.append((torch.from_numpy(own * np.r_[1.3, np.full(10, 0.65)][:, None]) + 4, 1.3 * pace - 1))
    cycle, pace = same_person.carried(people, others)
    shrunk = 1 + same_person.RIDGE
    assert cycle.shape == (11, 75) and np.allclose(cycle.numpy() * shrunk, np.r_[1.3, np.full(10, 0.65)][:, None], atol=0.2)
    assert np.allclose(pace * shrunk, 1.3, atol=0.1)


def test_the_experiment_writes_rows_metrics_and_a_picture(folder, tmp_path, cards, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_script(same_person, ["--dataset", folder, "--name", "tiny", "--output_dir", "out", "--judge_steps", "2"])
    names = [c for c in PATHOLOGIES if c in ("normal", "steppage")]
    result = json.loads((tmp_path / "model_cards" / "results" / "tiny.json").read_text())
    assert [(r["subject"], r["pathology"]) for r in result["rows"]] == [(f"sim0_000{i}", c) for i in range(3) for c in names]
    for kind in same_person.KINDS.values():
        assert all(r[f"fgd_{kind}"] >= 0 for r in result["rows"])
    metrics = result["metrics"]
    assert metrics["person_gait_fgd_other_person_minus_person"] == pytest.approx(
        metrics["person_gait_fgd_other_person"] - metrics["person_gait_fgd"], abs=1e-4
    )
    assert len(JOINT_ANGLES) == 12 and (cards / "figures" / "tiny.png").stat().st_size > 5000
