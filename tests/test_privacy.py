"""privacy.py and experiments/privacy.py: attacks that find copies and nothing else; a split that shares no walk."""

import json

import datasets
import numpy as np
import pytest
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from modeling_gait.training.common import load_walks

from experiments import privacy as evaluate_privacy
from modeling_gait.evaluation.privacy import (
    distances_to_training,
    membership_auc,
    membership_scores,
    nearest_distances,
    other_walk_distances,
    pose_features,
    standardised,
)
from modeling_gait.skeletons import KINECT_V2

SENSORS = 3


def walks_seen_by_sensors(rng: np.random.Generator, walks: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features (walks * SENSORS, 6) of random walks, each seen with a little noise, and their walk_ids."""
    seen = np.repeat(rng.normal(size=(walks, 6)), SENSORS, axis=0)
    return seen + 0.05 * rng.normal(size=seen.shape), np.repeat([f"{name}{i}" for i in range(walks)], SENSORS)


@pytest.fixture
def candidates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, walk_ids and membership of 150 members' walks and 60 others'."""
    rng = np.random.default_rng(0)
    (members, a), (others, b) = walks_seen_by_sensors(rng, 150, "m"), walks_seen_by_sensors(rng, 60, "n")
    return np.concatenate([members, others]), np.concatenate([a, b]), np.arange(len(a) + len(b)) < len(a)


def test_the_attack_guesses_where_the_synthetic_set_is_independent(candidates):
    features, walk_ids, is_member = candidates
    synthetic = np.random.default_rng(5).normal(size=(400, 6))
    for name, scores in membership_scores(features, walk_ids, synthetic).items():
        found = membership_auc(is_member, scores, walk_ids, samples=60)
        assert found.low < 0.5 < found.high and abs(found.auc - 0.5) < 0.1, name


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_attack_finds_copies(candidates, noise):
    features, walk_ids, is_member = candidates
    copies = features[is_member] + noise * np.random.default_rng(5).normal(size=(is_member.sum(), 6))
    scores = membership_scores(features, walk_ids, copies, k=2)
    for name in ("nearest", "density", "calibrated"):
        found = membership_auc(is_member, scores[name], walk_ids, samples=20)
        assert found.auc > 0.97 and found.low > 0.95, name


def test_calibration_helps_where_common_walks_hide_rare_copies():
    """Members and others lie dense in one place and thin in another; the distance alone mistakes dense for copied."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(400) % 2, 0.05, 3.0)[:, None]
    features, is_member = spread * rng.normal(size=(400, 6)), np.arange(400) < 200
    copies = features[is_member] * (1 + 0.2 * rng.normal(size=(200, 6)))
    ids = np.arange(400).astype(str)
    scores = membership_scores(features, ids, copies)
    auc = {name: membership_auc(is_member, s, ids, samples=2).auc for name, s in scores.items()}
    assert auc["calibrated"] > auc["nearest"] + 0.1


def test_interval_is_as_wide_as_walks_allow_not_rows(candidates):
    features, walk_ids, is_member = candidates
    scores = membership_scores(features, walk_ids, np.random.default_rng(5).normal(size=(400, 6)))["nearest"]
    by_walk = membership_auc(is_member, scores, walk_ids, samples=100)
    by_row = membership_auc(is_member, scores, np.arange(len(scores)), samples=100)
    assert by_walk.high - by_walk.low > 1.3 * (by_row.high - by_row.low)  # sqrt(3), for three sensors
    assert by_walk == membership_auc(is_member, scores, walk_ids, samples=100)


def test_distances_of_copies_and_of_new_walks():
    rng = np.random.default_rng(0)
    training, held_out, new = (rng.normal(size=(n, 6)) for n in (300, 200, 400))
    fresh = distances_to_training(new, training, held_out)
    assert 0.9 < fresh.ratio < 1.1 and 0.02 < fresh.copies < 0.1
    assert (held := fresh.held_out).shape == (200,) and fresh.copy_threshold == np.percentile(held, 5)
    copied = distances_to_training(np.concatenate([training, new[:300]]), training, held_out)
    assert copied.ratio < 0.5 and 0.5 < copied.copies < 0.56
    assert distances_to_training(training, training, held_out).copies == 1


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 1000))
def test_distances_agree_with_their_definition(rows, size, seed):
    rng = np.random.default_rng(seed)
    x, ids = rng.normal(size=(rows, 3)), np.arange(rows) // size
    table = np.linalg.norm(x[:, None] - x[None], axis=-1)
    for k in (1, rows):
        np.testing.assert_allclose(nearest_distances(x, x, k), np.sort(table, axis=1)[:, k - 1], atol=1e-6)
    if rows > size:
        other = np.where(ids[:, None] == ids[None], np.inf, table).min(axis=1)
        np.testing.assert_allclose(other_walk_distances(x, ids), other, atol=1e-6)


def test_pose_features(walks):
    joints = walks.joints[0]
    features = pose_features(joints)
    assert features.shape == (6 * len(KINECT_V2),)
    np.testing.assert_allclose(pose_features(joints + [1, 2, 3]), features, atol=1e-6)  # where it walks does not matter
    bigger = pose_features(1.1 * joints)
    np.testing.assert_allclose(bigger, 1.1 * features, atol=1e-6)  # the body's size does


def test_wrong_features_are_refused(walks):
    good, ids = np.eye(4), np.arange(4)
    with pytest.raises(ValueError, match="array 1: expected finite features .N >= 1, 4., got shape .2, 3."):
        standardised(good, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        distances_to_training(np.full((2, 4), np.nan), good, good)
    with pytest.raises(ValueError, match="5-th nearest of 4 walks"):
        membership_scores(good, ids, good)
    with pytest.raises(ValueError, match="got 4 rows of 1 walks"):
        other_walk_distances(good, np.zeros(4))
    with pytest.raises(ValueError, match="lengths differ"):
        membership_auc([True, False], [1.0, 2.0, 3.0], ["a", "b"])
    with pytest.raises(ValueError, match="1 scores are not finite"):
        membership_auc([True, False], [1.0, np.inf], ["a", "b"])
    with pytest.raises(ValueError, match="got 2 and 0 rows"):
        membership_auc([True, True], [1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match="walk 'a' is both"):
        membership_auc([True, False], [1.0, 2.0], ["a", "a"])
    with pytest.raises(ValueError, match="expected one finite walk"):
        pose_features(walks.joints)


@pytest.fixture(scope="module")
def split_folder(dataset_folder, tmp_path_factory):
    """42 different walks of three people and two classes, by two noisy sensors, and the same less a share of the walks."""
    folder, rng = tmp_path_factory.mktemp("privacy"), np.random.default_rng(0)
    data, rows = load_walks(str(dataset_folder)), []
    for i, row in enumerate(data):
        for n in range(2):
            about = {"walk_id": f"{row['subject_id']}_{i}_{n}", "pathology": i % 2, "captions": list(map(str, row["captions"]))}
            joints = row["joints"] * rng.uniform(0.8, 1.25, (1, 25, 3))
            noisy = [(joints + 0.005 * rng.normal(size=joints.shape)).astype(np.float32) for _ in "ab"]
            rows += [dict(row) | about | {"sensor": s, "joints": j} for s, j in zip("ab", noisy)]
    (folder / "whole").mkdir()
    columns = {name: [row[name] for row in rows] for name in data.column_names}
    datasets.Dataset.from_dict(columns, features=data.features).to_parquet(folder / "whole" / "walks.parquet")
    run_script(evaluate_privacy, ["--dataset", folder / "whole", "--make_split", folder / "members", "--share", "0.3"])
    return folder


def test_split_shares_no_walk(split_folder):
    whole, members = load_walks(str(split_folder / "whole")), load_walks(str(split_folder / "members"))
    held_out = json.loads((split_folder / "members" / "held_out_walks.json").read_text())
    kept = set(members["walk_id"])
    assert not kept & set(held_out) and kept | set(held_out) == set(whole["walk_id"])
    assert members.features == whole.features
    cells = {w: (s, p) for w, s, p in zip(whole["walk_id"], whole["subject_id"], whole["pathology"])}
    for cell in set(cells.values()):
        share = np.mean([w in held_out for w in cells if cells[w] == cell])
        assert 0.15 < share < 0.45, cell  # of every person's walks of every class
    assert len(members) == 2 * len(kept)  # both sensors


def test_split_is_the_seed_s():
    data = datasets.Dataset.from_dict(
        {
            "walk_id": [f"w{i // 6}" for i in range(1200)],
            "subject_id": ["a"] * 1200,
            "pathology": [i // 600 for i in range(1200)],
        }
    )
    first, again, other = (evaluate_privacy.choose_held_out(data, 0.1, seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) == 20
    assert sum(int(w[1:]) < 100 for w in first) == 10
    with pytest.raises(ValueError, match="share must be between 0 and 1, got 1.5"):
        evaluate_privacy.choose_held_out(data, 1.5, 0)
    single = data.select([0, 6 * 100])
    with pytest.raises(ValueError, match="no walk can be left out"):
        evaluate_privacy.choose_held_out(single, 0.1, 0)
    shared = datasets.Dataset.from_dict({"walk_id": ["w", "w"], "subject_id": ["a", "b"], "pathology": [0, 0]})
    with pytest.raises(ValueError, match="walk_id 'w' belongs to subjects 'a' and 'b'"):
        evaluate_privacy.choose_held_out(shared, 0.1, 0)


def test_whole_evaluation(split_folder, tmp_path, monkeypatch):
    """The members themselves as a synthetic set: the attack is certain, all walks are copies."""
    monkeypatch.setattr(evaluate_privacy, "ROOT", tmp_path)
    monkeypatch.setattr("modeling_gait.training.results.ROOT", tmp_path)
    whole = load_walks(str(split_folder / "whole"))
    person = str(whole["subject_id"][0])
    copied = load_walks(str(split_folder / "members"), exclude_subjects=[person])
    (tmp_path / "made").mkdir()
    copied.with_format(None).to_parquet(tmp_path / "made" / "w.parquet")
    run_script(
        evaluate_privacy,
        ["--dataset", split_folder / "whole", "--synthetic", tmp_path / "made", "--exclude_subjects", person, "--num_proc", "1"]
        + ["--held_out_walks", split_folder / "members" / "held_out_walks.json", "--bootstrap", "20", "--neighbours", "1"],
    )
    result = json.loads((tmp_path / "model_cards/results/privacy_gist.json").read_text())
    metrics = result["metrics"]
    assert metrics["membership_auc"] > 0.99 and metrics["membership_auc_ci_low"] > 0.99
    assert metrics["copies"] == 1 and metrics["distance_ratio_gait"] < 0.01 and metrics["person_auc"] > 0.9
    assert {"experiment", "dataset", "protocol", "command", "seeds", "versions", "date", "rows"} <= set(result)
    assert len([r for r in result["rows"] if "attack" in r]) == 6 and len(result["rows"]) == 8
    assert f"people never seen: {person}" in result["protocol"]
    assert (tmp_path / "model_cards/figures/privacy_gist.png").stat().st_size > 5000


def test_wrong_arguments_are_named(split_folder, dataset_folder, tmp_path):
    whole, members = split_folder / "whole", split_folder / "members"
    with pytest.raises(ValueError, match="give --synthetic and --held_out_walks, or --make_split"):
        run_script(evaluate_privacy, ["--dataset", whole])
    arguments = ["--dataset", whole, "--synthetic", whole, "--held_out_walks"]
    for content, message in (("{", "no JSON"), ('{"a": 1}', "expected a JSON list of walk_ids"), ("[]", "one or more")):
        (tmp_path / "list.json").write_text(content)
        with pytest.raises(ValueError, match=f"list.json: .*{message}"):
            run_script(evaluate_privacy, [*arguments, tmp_path / "list.json"])
    (tmp_path / "list.json").write_text('["nowhere"]')
    with pytest.raises(ValueError, match="1 of 1 walks are not in the data set, for one 'nowhere'"):
        run_script(evaluate_privacy, [*arguments, tmp_path / "list.json"])
    with pytest.raises(ValueError, match="no such subject: nobody"):
        run_script(evaluate_privacy, [*arguments, members / "held_out_walks.json", "--exclude_subjects", "nobody"])
    people = sorted(set(load_walks(str(whole))["subject_id"]))
    with pytest.raises(ValueError, match="of excluded subjects"):
        run_script(evaluate_privacy, [*arguments, members / "held_out_walks.json", "--exclude_subjects", *people])
    with pytest.raises(ValueError, match="is not a folder that --make_split wrote"):
        run_script(evaluate_privacy, ["--dataset", whole, "--make_split", dataset_folder])
