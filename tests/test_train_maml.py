"""Meta-training on tiny cycles: nothing held out is read, killed runs resume."""

import numpy as np
import pytest
import torch
from conftest import TRAIN, run_script
from datasets import Array2D, ClassLabel, Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_gait.modeling_gait_tcn import GaitTCNModel
from modeling_gait.training import maml
from modeling_gait.training.arguments import parse_arguments
from modeling_gait.training.data import load_walks
from train import train_maml

P, C, SUBJECTS = 20, 6, 4
FAST = ["--max_steps", "4", "--warm_steps", "2", "--batch_size", "2", "--save_steps", "1", "--num_queries", "5"]
FAST += ["--hidden_size", "8", "--inner_steps", "2", "--warmup_steps", "1"]


def write_cycles(folder, poisoned: str | None = None, cycles: int = 16):
    """Cycles of four people in two activities as Parquet: own means, noise; nan in masked channels of subject 2."""
    rng, rows = np.random.default_rng(0), []
    phase = np.arange(P)[:, None] * 2 * np.pi / P
    for subject in map(str, range(1, SUBJECTS + 1)):
        for activity in range(2):
            mean = (3 + activity) * np.sin(phase + rng.normal(size=C)) + rng.normal(size=C)
            for _ in range(cycles):
                values, mask = mean + 0.5 * rng.normal(size=(P, C)), np.ones(C, bool)
                if subject == "2":
                    mask[3:], values[:, 3:] = False, np.nan
                if subject == poisoned:
                    values[:] = 1e6
                rows.append({"subject_id": subject, "activity": activity, "values": values, "channel_mask": mask})
    names = ClassLabel(names=["walking", "running"])
    features = {"subject_id": Value("string"), "activity": names, "values": Array2D((P, C), "float32")}
    folder.mkdir(parents=True)
    data = Dataset.from_list(rows, features=Features(features | {"channel_mask": List(Value("bool"))}))
    data.to_parquet(str(folder / "train-00000-of-00001.parquet"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cycles(tmp_path_factory.mktemp("cycles") / "cycles")


@pytest.fixture(scope="module")
def cycles(folder):
    return maml.load_cycles(str(folder))


def arguments(**kwargs):
    small = {"batch_size": 3, "hidden_size": 8, "inner_steps": 2, "num_queries": 5, "shots": [1, 2]}
    return maml.MamlArguments(**{"dataset": "", "output_dir": "", **small, **kwargs})


def weights(folder) -> dict[str, torch.Tensor]:
    return GaitTCNModel.from_pretrained(folder).state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_cycles_are_read(cycles):
    assert cycles.values.shape == (128, P, C) and len(cycles.tasks()) == 2 * SUBJECTS
    assert set(cycles.activity) == {"walking", "running"} and torch.isfinite(cycles.values).all()
    assert not cycles.mask[cycles.subject == "2"][:, 3:].any()
    assert set(cycles.without(["1", "3"]).subject) == {"2", "4"}


def test_bad_data_sets_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="no such subject: 9"):
        maml.load_cycles(str(folder), ["9"])
    with pytest.raises(ValueError, match="no rows left"):
        maml.load_cycles(str(folder), ["1", "2", "3", "4"])
    Dataset.from_dict({"subject_id": ["1"]}).to_parquet(str(tmp_path / "a" / "b.parquet"))
    with pytest.raises(ValueError, match="columns missing: activity, channel_mask, values"):
        maml.load_cycles(str(tmp_path / "a"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no Parquet"):
        maml.load_cycles(str(tmp_path / "empty"))


def test_too_few_cycles_of_an_activity_are_told(cycles):
    one = [np.flatnonzero((cycles.activity == "running") & (cycles.subject == s))[0] for s in map(str, range(1, SUBJECTS + 1))]
    rows = np.concatenate((np.flatnonzero(cycles.activity == "walking"), one))
    few = maml.Cycles(cycles.values[rows], cycles.mask[rows], cycles.subject[rows], cycles.activity[rows])
    with pytest.raises(ValueError, match="nobody has 2 cycles of running; .* give more or longer walks of a person"):
        maml.build(arguments(), few)


def test_nothing_of_a_held_out_person_reaches_a_fit(folder, tmp_path):
    poisoned = write_cycles(tmp_path / "poisoned", poisoned="3")
    for data, out in ((folder, "a"), (poisoned, "b")):
        run_script(train_maml, ["--dataset", data, "--output_dir", tmp_path / out, "--exclude_subjects", "3", *FAST])
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


@pytest.mark.parametrize("algorithm", maml.ALGORITHMS)
def test_every_algorithm_learns(cycles, algorithm, tmp_path):
    options = {"max_steps": 12, "warm_steps": 4, "save_steps": 50, "learning_rate": 0.01, "warmup_steps": 1}
    args = arguments(output_dir=str(tmp_path), algorithm=algorithm, **options)
    sampler = maml.EpisodeSampler(untrained := maml.build(args, cycles), cycles, args)
    trained = maml.train_model(args, cycles)
    batch = sampler.sample(5, 2)
    before, after = (sum(maml.MetaLearner(m, "pretrain")(batch, 0)[1:]) for m in (untrained, trained))
    if algorithm == "pretrain":
        assert after < before
    losses = [maml.MetaLearner(m, "maml")(batch, 0)[0] for m in (untrained, trained)]
    assert losses[1] != losses[0] and torch.isfinite(losses[1])
    heads = algorithm == "anil"
    assert (trained.config.adapted == "heads") == heads == (len(trained.fast_names()) < len(list(trained.network.parameters())))
    assert torch.equal(trained.log_rates, untrained.log_rates) == (algorithm in ("pretrain", "reptile"))


def test_second_and_first_order_differ_in_their_gradient_alone(cycles):
    args = arguments(inner_lr=0.3)
    model = maml.build(args, cycles)
    batch, found = maml.EpisodeSampler(model, cycles, args).sample(0, 2), []
    for algorithm in ("maml", "first_order"):
        model.zero_grad()
        loss = maml.MetaLearner(model, algorithm)(batch, 2)[0]
        loss.backward()
        found.append((loss.item(), model.network.stem.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0]) and not torch.allclose(found[0][1], found[1][1], rtol=1e-3)


def test_episodes_depend_on_the_seed_and_keep_support_and_queries_apart(cycles):
    args = arguments(mix=0.0, shots=[2])
    model = maml.build(args, cycles)
    sampler = maml.EpisodeSampler(model, cycles, args)
    one, again, other = (sampler.sample(seed, 2) for seed in (3, 3, 4))
    assert all(torch.equal(one[k], again[k]) for k in one) and not torch.equal(one["queries"], other["queries"])
    distance = (one["cycles"][:, :, None] - one["queries"][:, None]).abs().amax((-1, -2))
    assert (distance > 0.1).all()  # no query is a support cycle


def test_a_killed_run_goes_on_to_the_same_weights(folder, tmp_path, monkeypatch):
    base = ["--dataset", folder, *FAST]
    run_script(train_maml, [*base, "--output_dir", tmp_path / "whole"])
    sample, seen = maml.EpisodeSampler.sample, []

    def killed(self, seed, steps):
        seen.append(seed)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return sample(self, seed, steps)

    monkeypatch.setattr(maml.EpisodeSampler, "sample", killed)
    with pytest.raises(KeyboardInterrupt):
        run_script(train_maml, [*base, "--output_dir", tmp_path / "parts"])
    assert (tmp_path / "parts" / "checkpoint").is_dir() and not (tmp_path / "parts" / "model.safetensors").exists()
    run_script(train_maml, [*base, "--output_dir", tmp_path / "parts"])
    assert len(seen) == 5  # the fourth step again, and no other
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_unknown_algorithm_is_refused(cycles):
    with pytest.raises(ValueError, match="unknown algorithm 'sgd'"):
        maml.build(arguments(algorithm="sgd"), cycles)


def test_the_configuration_can_be_read(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train_maml.py", str(TRAIN / "configs" / "maml_hugadb.json")])
    assert parse_arguments(maml.MamlArguments).algorithm == "maml"


def test_cycles_of_walks(dataset_folder):
    cycles = maml.load_cycles(str(dataset_folder))
    walks = load_walks(str(dataset_folder))
    assert cycles.values.shape[1:] == (100, 75) and len(cycles.values) > 0 and cycles.mask.all()
    assert set(cycles.subject) <= set(walks["subject_id"])
    assert {a.split()[0] for a in cycles.activity} <= set(walks.features["pathology"].names)
    assert not cycles.values[..., :3].any(), "relative to the pelvis"
    left_out = str(walks["subject_id"][0])
    assert left_out not in maml.load_cycles(str(dataset_folder), [left_out]).subject


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_sparse_masks_hide_moments_or_sensors(seed):
    g = torch.Generator().manual_seed(seed)
    observed = (torch.rand(8, 1, C, generator=g) < 0.8).float().expand(8, P, C)
    sparse = maml.draw_sparse_masks(observed, 3, g)
    assert ((sparse == 0) | (observed == 1)).all() and ((sparse == 0) | (sparse == 1)).all()
    assert maml.masked_mse(observed, sparse, sparse) == 0
