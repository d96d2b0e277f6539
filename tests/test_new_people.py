"""New people from parts: what is added is what the formula says, in a map of a data set and rows of a loader."""

import warnings

import numpy as np
import pytest
import torch
from datasets import Array3D, Dataset, DatasetDict, Features, Value

from modeling_gait.gait_waves import fit_waves, footing
from modeling_gait.new_people import NewPeople
from modeling_gait.skeletons import KINECT_V2, SKELETONS, convert_joints
from modeling_gait.training.data import load_walks
from modeling_gait.walk_checks import leg_length

STILL = {"person": 0.0, "way": 0.0, "severity": 0.0, "bodies": None}


@pytest.fixture(scope="module")
def rows(dataset_folder):
    return load_walks(str(dataset_folder))


def made(people, rows) -> list[np.ndarray]:
    return people(rows[:8], range(8))["joints"]


def test_with_nothing_to_change_walks_stay(rows):
    people = NewPeople(**STILL).fit(rows)
    for new, old in zip(made(people, rows), rows[:8]["joints"]):
        np.testing.assert_allclose(new, old - old[0, 0] * [1, 1, 0], atol=1e-4)


def test_another_persons_normal_cycle_is_added_at_the_walks_phase(rows):
    """a = 1 with one other person: a normal walk gets that person's normal cycle."""
    people = NewPeople(**STILL | {"person": 1.0}).fit(rows)
    normal = people.classes.index("normal")
    own = next(i for i in range(8) if rows[i]["pathology"] == normal)
    me = str(rows[own]["subject_id"])
    other = next(s for s in people.normals if s != me)
    people.learn(people.normals[other][None], {})
    joints = torch.from_numpy(rows[own]["joints"])[None]
    before = fit_waves(joints, torch.ones(1, joints.shape[1]), KINECT_V2, 30.0, joints.shape[1]).cycle[0]
    target = before + people.normals[other] - people.normals[me]
    missed = []
    for seed in range(6):
        new = torch.from_numpy(people(rows[own : own + 1], [seed])["joints"][0])[None]
        after = fit_waves(new, torch.ones(1, new.shape[1]), KINECT_V2, 30.0, new.shape[1]).cycle[0]
        where = [c for c in range(75) if c not in (0, 1)]
        missed.append(float((after - target)[:, where].norm() / (before - target)[:, where].norm()))
    assert 0 < min(missed) < 0.6 and max(missed) < 1.05, "between the own cycle and the other's"


def test_feet_slide_no_more_than_they_did(rows):
    """Another's step length at the same cadence is another speed."""

    def standing(walks):
        joints = torch.from_numpy(np.stack(walks))
        return footing(fit_waves(joints, torch.ones(joints.shape[:2]), KINECT_V2, 30.0, joints.shape[1]), KINECT_V2).numpy()

    new, old = made(NewPeople(bodies=None).fit(rows), rows), rows[:8]["joints"]
    faster = np.array([w[-1, 0, 1] - w[0, 0, 1] for w in new]) / [w[-1, 0, 1] - w[0, 0, 1] for w in old]
    assert np.ptp(faster) > 0.2, "a walk whose steps do not change tests nothing"
    np.testing.assert_allclose(standing(new) / standing(old), 1, atol=0.06)


def test_severity_scales_what_the_class_adds(rows):
    people = NewPeople(**STILL | {"severity": 0.5}).fit(rows)
    cell = next(c for c in people.cycles if c[1] == "steppage")
    own = people.cycles[cell] - people.cycles[cell[0], "normal", False]
    own[:, :2] = 0
    amounts = [float((people._change(*cell, np.random.default_rng(s)) * own).sum() / own.square().sum()) for s in range(40)]
    assert -0.5 <= min(amounts) < -0.3 and 0.3 < max(amounts) <= 0.5
    assert not people._change(cell[0], "normal", False, np.random.default_rng(0)).any()


def test_a_way_that_was_learnt_takes_the_place_of_ones_own(rows):
    people = NewPeople(**STILL | {"way": 1.0}).fit(rows)
    cell = next(c for c in people.cycles if c[1] == "steppage")
    own = people.cycles[cell] - people.normals[cell[0]]
    people.learn(people.persons, {cell[1:]: 2 * own[None]})
    own = own.clone()
    own[:, :2] = 0
    for change in (people._change(*cell, np.random.default_rng(s)) for s in range(9)):
        share = float((change * own).sum() / own.square().sum())
        assert 0 < share < 1
        torch.testing.assert_close(change, share * own, atol=1e-5, rtol=0)
    people.learn(people.persons, {})
    assert not people._change(*cell, np.random.default_rng(0)).any(), "nobody's way is known: it stays"


def test_it_maps_a_data_set_and_rows_of_a_loader(rows):
    people = NewPeople().fit(rows)
    plain = rows.with_format(None).select(range(6))
    mapped = plain.map(people, batched=True, batch_size=3, with_indices=True, remove_columns=["gait_parameters", "captions"])
    assert mapped["subject_id"] == plain["subject_id"] and np.shape(mapped[0]["joints"]) == np.shape(plain[0]["joints"])
    assert np.abs(np.array(mapped[0]["joints"]) - plain[0]["joints"]).max() > 0.01
    some = [plain[i] for i in range(3)]
    one, again, other = (people.rows(some, seed=s)[2]["joints"] for s in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_row_and_its_index_draw_the_same_walk_in_any_batch(rows):
    """Whatever else is in the batch, longer walks too; and with the bodies, which have a generator of each walk."""
    people, plain = NewPeople().fit(rows), rows.with_format(None)
    batch = plain[:6]
    batch["joints"] = [j[: 64 - 5 * i] for i, j in enumerate(batch["joints"])]
    together = people(batch, range(6))["joints"]
    for i in (1, 5):
        alone = people({k: v[i : i + 1] for k, v in batch.items()}, [i])["joints"][0]
        assert alone.shape == together[i].shape == (64 - 5 * i, 25, 3)
        np.testing.assert_allclose(alone, together[i], atol=1e-4)
        other = people({k: v[i : i + 1] for k, v in batch.items()}, [i + 1])["joints"][0]
        assert np.abs(other - alone).max() > 0.01


def test_what_was_measured_on_the_old_walk_does_not_stay(rows):
    people = NewPeople().fit(rows)
    batch = rows.with_format(None)[:21]
    normal = np.array([people.classes[p] == "normal" for p in batch["pathology"]])
    changed = people(batch, range(21))
    assert not {"gait_parameters", "captions"} & set(changed) and changed["walk_id"] == batch["walk_id"]
    np.testing.assert_array_equal(np.isnan(changed["severity"]), ~normal)
    some = people.rows([rows.with_format(None)[i] for i in range(21)], seed=0)
    assert all("captions" not in row and np.isnan(row["severity"]) != n for row, n in zip(some, normal))


def test_rows_that_are_no_walk_at_this_rate_are_named(rows):
    plain = rows.with_format(None)
    people, walk = NewPeople().fit(rows), np.array(plain[1]["joints"])
    hole = walk.copy()
    hole[3, 4, 0] = np.nan
    leg = leg_length(walk, KINECT_V2)
    for column, value, message in (
        ("joints", hole, "row 8: has joints that are not finite"),
        ("joints", walk[:29], r"row 8: expected joints \(T, 25, 3\) of 30 frames or more, got \(29, 25, 3\)"),
        ("joints", 0.25 / leg * walk, r"row 8: legs of 0\.25 m, expected 0.3 m or more: what is the unit"),
        ("joints", walk[:0], "row 8: expected joints"),
        ("joints", walk[:, :24], "row 8: expected joints"),
        ("joints", 1000 * walk, "row 8: the ankles are .* m from the hips: what is the unit"),
        ("joints", walk[..., [1, 0, 2]], r"row 8: the walk is not along \+y"),
        ("joints", walk[..., [0, 2, 1]], "row 8: the body is not upright along z"),
        ("joints", walk[[5] * 40], "row 8: nobody walks"),
        ("subject_id", "nobody", "row 8: subject nobody, class .* not among the people fitted to"),
        ("pathology", "1", "row 8: class '1', expected 0 to"),
        ("fps", 60.0, "row 8: has 60.0 frames a second, expected 30"),
        ("fps", None, "row 8: has None frames a second"),
        ("pathology", -1, "row 8: class -1, expected 0 to"),
        ("attributes", "[]", "row 8: attributes, expected a JSON object"),
        ("attributes", "left", "row 8: attributes, expected a JSON object"),
        ("attributes", '{"side": "Left"}', "row 8: side 'Left' is not one of left, right, both, none, unknown"),
    ):
        batch = plain[:3]
        batch[column] = [batch[column][0], value, batch[column][2]]
        with pytest.raises(ValueError, match=message):
            people(batch, [7, 8, 9])
    broken = [dict(plain[i]) for i in range(3)]
    broken[2]["joints"] = hole.tolist()
    with pytest.raises(ValueError, match="row 2 of the batch: has joints that are not finite"):
        people.rows(broken)
    with pytest.raises(ValueError, match="row 2: has joints that are not finite"):
        NewPeople().fit(Dataset.from_list(broken, features=rows.features))
    with pytest.raises(ValueError, match="row 0: has 30.0 frames a second, expected 60"):
        NewPeople(fps=60.0).fit(rows)


def test_one_person_alone_is_told(rows):
    one = rows.select([i for i in range(len(rows)) if rows[i]["subject_id"] == rows[0]["subject_id"]])
    with pytest.warns(UserWarning, match=f"only subject {rows[0]['subject_id']} walks normally: nobody else can be drawn"):
        NewPeople().fit(one)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NewPeople(**STILL).fit(one)
        NewPeople().fit(rows)


def test_no_attributes_are_no_side(rows):
    people, batch = NewPeople().fit(rows), rows.with_format(None)[:1]
    assert people.classes[batch["pathology"][0]] == "normal"
    for nothing in (None, "", "{}"):
        assert people(batch | {"attributes": [nothing]}, [0])["joints"][0].shape == np.shape(batch["joints"][0])


def test_what_it_needs_is_said(rows):
    people, batch = NewPeople().fit(rows), rows.with_format(None)[:2]
    with pytest.raises(ValueError, match="fit it to rows of training people first"):
        NewPeople()(batch, range(2))
    with pytest.raises(ValueError, match="columns missing: attributes; expected rows of the walk schema"):
        people({k: v for k, v in batch.items() if k != "attributes"}, range(2))
    with pytest.raises(ValueError, match="columns missing: attributes"):
        NewPeople().fit(rows.remove_columns("attributes"))
    for other in (list(rows.select(range(2))), DatasetDict(train=rows)):
        with pytest.raises(ValueError, match="expected a datasets.Dataset, one split of it, got"):
            NewPeople().fit(other)
    with pytest.raises(ValueError, match=r"column pathology: expected datasets.ClassLabel"):
        NewPeople().fit(rows.cast_column("pathology", Value("int64")))
    with pytest.raises(ValueError, match="columns missing: joints"):
        people.rows([{"subject_id": "1", "pathology": 0, "attributes": ""}])
    for indices in ([0], [], 3):
        with pytest.raises(ValueError, match="an index of each: map with batched=True, with_indices=True"):
            people(batch, indices)
    with pytest.raises(ValueError, match="got an empty list"):
        people.rows([])
    with pytest.raises(ValueError, match="an index of each"):
        people({k: [] for k in batch}, [])
    with pytest.raises(TypeError, match="indices"):
        rows.map(people, batched=True)
    for wrong in ({"person": -1.0}, {"way": float("nan")}, {"severity": float("inf")}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a number of 0 or more"):
            NewPeople(**wrong)


def test_another_skeleton_has_its_own_new_bodies(rows):
    skeleton = SKELETONS["azure_kinect"]
    plain = [dict(row) for row in rows.with_format(None)]
    for row in plain:
        row["joints"] = convert_joints(np.array(row["joints"], np.float32), KINECT_V2, skeleton)
    features = Features({**rows.features, "joints": Array3D((None, 32, 3), "float32")})
    people = NewPeople(skeleton=skeleton).fit(Dataset.from_list(plain, features=features))
    new = people.rows(plain[:2], seed=0)
    assert [w["joints"].shape for w in new] == [w["joints"].shape for w in plain[:2]]
    assert all(not np.allclose(a["joints"], b["joints"], atol=0.01) for a, b in zip(new, plain))


def test_people_who_were_not_fitted_to_are_refused(rows):
    people = NewPeople().fit(rows)
    batch = rows[:2]
    batch["subject_id"] = ["nobody", "nobody"]
    with pytest.raises(ValueError, match="subject nobody, class .* not among the people fitted to"):
        people(batch, range(2))
    sick = rows.select([i for i in range(len(rows)) if rows[i]["pathology"] != people.classes.index("normal")])
    with pytest.raises(ValueError, match="nobody in these rows has a walk of class 'normal'"):
        NewPeople().fit(sick)
