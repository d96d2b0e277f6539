"""experiments/privacy.py: a split that shares no walk; the attack on copies is certain."""

import json

import datasets
import numpy as np
import pytest
from conftest import run_script

from experiments import privacy
from modeling_gait.training.data import load_walks


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
    run_script(privacy, ["--dataset", folder / "whole", "--make_split", folder / "members", "--share", "0.3"])
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
    first, again, other = (privacy.choose_held_out(data, 0.1, seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) == 20
    assert sum(int(w[1:]) < 100 for w in first) == 10
    with pytest.raises(ValueError, match="share must be between 0 and 1, got 1.5"):
        privacy.choose_held_out(data, 1.5, 0)
    single = data.select([0, 6 * 100])
    with pytest.raises(ValueError, match="no walk can be left out"):
        privacy.choose_held_out(single, 0.1, 0)
    shared = datasets.Dataset.from_dict({"walk_id": ["w", "w"], "subject_id": ["a", "b"], "pathology": [0, 0]})
    with pytest.raises(ValueError, match="walk_id 'w' belongs to subjects 'a' and 'b'"):
        privacy.choose_held_out(shared, 0.1, 0)


def test_whole_evaluation(split_folder, tmp_path, cards):
    """The members themselves as a synthetic set: the attack is certain, all walks are copies."""
    whole = load_walks(str(split_folder / "whole"))
    person = str(whole["subject_id"][0])
    copied = load_walks(str(split_folder / "members"), exclude_subjects=[person])
    (tmp_path / "made").mkdir()
    copied.with_format(None).to_parquet(tmp_path / "made" / "w.parquet")
    run_script(
        privacy,
        ["--dataset", split_folder / "whole", "--synthetic", tmp_path / "made", "--exclude_subjects", person, "--num_proc", "1"]
        + ["--held_out_walks", split_folder / "members" / "held_out_walks.json", "--bootstrap", "20", "--neighbours", "1"],
    )
    result = json.loads((cards / "results" / "privacy_gist.json").read_text())
    metrics = result["metrics"]
    assert metrics["membership_auc"] > 0.99 and metrics["membership_auc_ci_low"] > 0.99
    assert metrics["copies"] == 1 and metrics["distance_ratio_gait"] < 0.01 and metrics["person_auc"] > 0.9
    assert {"experiment", "dataset", "protocol", "command", "seeds", "versions", "date", "rows"} <= set(result)
    assert len([r for r in result["rows"] if "attack" in r]) == 6 and len(result["rows"]) == 8
    assert f"people never seen: {person}" in result["protocol"]
    assert (cards / "figures" / "privacy_gist.png").stat().st_size > 5000


def test_new_people_are_made_of_the_members_alone(split_folder, tmp_path, cards, monkeypatch):
    given, make = [], privacy.new_people
    monkeypatch.setattr(privacy, "new_people", lambda members: given.append(members) or make(members))
    whole = load_walks(str(split_folder / "whole"))
    person, held_out = str(whole["subject_id"][0]), json.loads((split_folder / "members" / "held_out_walks.json").read_text())
    run_script(
        privacy,
        ["--dataset", split_folder / "whole", "--synthetic", "parts", "--exclude_subjects", person, "--num_proc", "1"]
        + ["--held_out_walks", split_folder / "members" / "held_out_walks.json", "--bootstrap", "20", "--neighbours", "1"],
    )
    assert person not in given[0]["subject_id"] and not set(given[0]["walk_id"]) & set(held_out)
    assert len(given[0]) == sum(s != person and w not in held_out for s, w in zip(whole["subject_id"], whole["walk_id"]))
    metrics = json.loads((cards / "results" / "privacy_gist.json").read_text())["metrics"]
    assert metrics["distance_ratio_pose"] > 0.1, "no copies"


def test_wrong_arguments_are_named(split_folder, dataset_folder, tmp_path):
    whole, members = split_folder / "whole", split_folder / "members"
    with pytest.raises(ValueError, match="give --synthetic and --held_out_walks, or --make_split"):
        run_script(privacy, ["--dataset", whole])
    arguments = ["--dataset", whole, "--synthetic", whole, "--held_out_walks"]
    for content, message in (("{", "no JSON"), ('{"a": 1}', "expected a JSON list of walk_ids"), ("[]", "one or more")):
        (tmp_path / "list.json").write_text(content)
        with pytest.raises(ValueError, match=f"list.json: .*{message}"):
            run_script(privacy, [*arguments, tmp_path / "list.json"])
    (tmp_path / "list.json").write_text('["nowhere"]')
    with pytest.raises(ValueError, match="1 of 1 walks are not in the data set, for one 'nowhere'"):
        run_script(privacy, [*arguments, tmp_path / "list.json"])
    with pytest.raises(ValueError, match="no such subject: nobody"):
        run_script(privacy, [*arguments, members / "held_out_walks.json", "--exclude_subjects", "nobody"])
    people = sorted(set(load_walks(str(whole))["subject_id"]))
    with pytest.raises(ValueError, match="of excluded subjects"):
        run_script(privacy, [*arguments, members / "held_out_walks.json", "--exclude_subjects", *people])
    with pytest.raises(ValueError, match="is not a folder that --make_split wrote"):
        run_script(privacy, ["--dataset", whole, "--make_split", dataset_folder])
