"""loso.py: nothing of a test subject reaches a fit; runs are made once, and again the same; sets are what they say."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from experiments import loso
from experiments.loso import ARMS, CANDIDATES, Experiment, LosoArguments
from modeling_gait.files import write_json
from modeling_gait.modeling_gait_classifier import prepare_classifier_input
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.training.classifier import Walks, load_inputs, share_of_walks
from modeling_gait.training.data import load_walks

NAMES = ["normal", "antalgic", "lurch"]
PEOPLE = ["1", "2", "3", "10"]
MARK = (slice(None), 0, 3)  # where a walk carries its number
FROM_FILE = 1000
FILES = ("samples", "naive", "unconstrained", "label", "no_pathological_tokens")
SEVERITIES = "severities_postures_and_bodies"
CHOSEN = {"classical": ["mirror", "no_mirror"], "people": ["postures", "postures_and_bodies"]}


def some_walks(repetitions=4, sensors=2, frames=4, people=PEOPLE) -> Walks:
    """Every person has `repetitions` walks of each class, seen by `sensors`; each input carries its row's number."""
    rows = [(p, c, r) for p in people for r in range(repetitions) for c in range(len(NAMES)) for _ in range(sensors)]
    inputs = np.random.default_rng(0).normal(scale=0.1, size=(len(rows), frames, 75)).astype(np.float32)
    inputs[:, :, :3] = 0
    inputs[MARK] = np.arange(len(rows))
    subjects, labels = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    return Walks(inputs, labels, subjects, np.array([f"{p}_{NAMES[c]}{r}" for p, c, r in rows]), NAMES)


def write_choices(folder: Path, **chosen) -> None:
    write_json(folder / "choices.json", {"chosen": CHOSEN | chosen})


def write_sets(folder: Path, subject: str, share: float = 1.0, count: int = 12) -> None:
    """Sets of a fold, numbered from 1000 + 100 x position of the person; the first two walks are taken for another class."""
    target = loso.fold_folder(folder, subject, share)
    target.mkdir(parents=True, exist_ok=True)
    labels = np.arange(count) % 3
    inputs = np.zeros((count, 4, 75), np.float16)
    inputs[MARK] = FROM_FILE + 100 * PEOPLE.index(subject) + np.arange(count)
    judged = np.where(np.arange(count) < 2, (labels + 1) % 3, labels)
    for name in FILES:
        save_file({"input_values": inputs, "labels": labels, "judged": judged}, target / f"{name}.safetensors")


class Fits:
    """In the place of `train_classifier`: keeps what it is given, and what its networks are tested on."""

    def __init__(self):
        self.calls = []

    def __call__(self, inputs, labels, names, architecture, **options):
        call = {"inputs": inputs, "labels": labels, "architecture": architecture, "tested": [], **options}
        self.calls.append(call)

        def network(input_values):
            call["tested"] += input_values[MARK].tolist()
            return SimpleNamespace(logits=torch.eye(len(names))[torch.zeros(len(input_values), dtype=int)])

        return network


@pytest.fixture
def fits(monkeypatch) -> Fits:
    monkeypatch.setattr(loso, "train_classifier", fits := Fits())
    return fits


@pytest.fixture
def same_bodies(monkeypatch) -> list[tuple]:
    """New people look and walk like the old ones, so that a walk's number stays; what `change_severity` is given."""
    given = []
    monkeypatch.setattr(loso, "new_people", lambda inputs, people, seed=0: inputs)
    monkeypatch.setattr(loso, "change_severity", lambda *arguments: given.append(arguments) or arguments[0])
    return given


def run_of(arm="real", subject="2", share=1.0) -> dict:
    return {"arm": arm, "classifier": "gru", "subject": subject, "seed": 0, "share": share}


def experiment(folder, walks=None, **arguments) -> Experiment:
    options = {"dataset": "", "output_dir": str(folder), "batch_size": 8, "min_steps": 3, "epochs": 2} | arguments
    return Experiment(LosoArguments(**options), walks or some_walks())


# --- who is seen -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_no_row_of_a_test_subject_reaches_a_fit(fits, same_bodies, tmp_path, share):
    """All arms, everybody held out in turn; and all arms train for as many steps, on labels that belong to the walks."""
    write_choices(tmp_path, people=["postures", SEVERITIES])
    for subject in PEOPLE:
        write_sets(tmp_path, subject, share)
    e = experiment(tmp_path)
    runs = [run_of(arm, subject, share) for subject in PEOPLE for arm in ARMS if not {"parts", "words"} & set(ARMS[arm].sets)]
    for run in runs:
        e.run(run)
    assert len(fits.calls) == len(runs)
    for run, call in zip(runs, fits.calls):
        parts = [(call["inputs"], call["labels"])] + ([call["synthetic"]] if call["synthetic"] is not None else [])
        marks, labels = (np.concatenate(p) for p in zip(*((x[MARK].astype(int), y) for x, y in parts)))
        measured, made = marks < FROM_FILE, marks >= FROM_FILE
        assert run["subject"] not in set(e.walks.subjects[marks[measured]])
        assert (labels[measured] == e.walks.labels[marks[measured]]).all()
        if "people" in ARMS[run["arm"]].sets or ARMS[run["arm"]].real:
            assert set(e.walks.subjects[marks[measured]]) == set(PEOPLE) - {run["subject"]}
        assert set((marks[made] - FROM_FILE) // 100) <= {PEOPLE.index(run["subject"])}, "a set of another fold"
        assert (labels[made] == marks[made] % 100 % 3).all()
        assert made.any() == bool(set(ARMS[run["arm"]].sets) - {"people"})
        assert set(e.walks.subjects[np.array(call["tested"], int)]) == {run["subject"]}
        assert len(call["tested"]) == (e.walks.subjects == run["subject"]).sum(), "the test is on all walks, at any share"
        half = 0 if run["subject"] in PEOPLE[:2] else 1
        chosen = CANDIDATES["classical"][CHOSEN["classical"][half]]
        assert call["augmentation"] == (chosen if ARMS[run["arm"]].classical else None)
        assert call["seed"] == run["seed"] and call["architecture"] == "gru"
    kinds = {arm.copies for arm in ARMS.values() if "people" in arm.sets}
    assert len(same_bodies) == 2 * len(kinds), "once for all arms of a fold"
    for inputs, _, subjects, _, _ in same_bodies:  # of the second half
        assert (e.walks.subjects[inputs[MARK].astype(int)] == subjects).all() and len(set(subjects)) == 3
        assert not set(PEOPLE[2:]) <= set(subjects)
    rows_of_others = 3 * 3 * 2 * round(4 * share)
    assert {call["steps"] for call in fits.calls} == {round(2 * rows_of_others / 8)}


def test_parts_are_of_the_training_people_alone(fits, tmp_path, monkeypatch, dataset_folder):
    e, real = experiment(tmp_path), loso.load_walks(str(dataset_folder))
    read = []
    monkeypatch.setattr(loso, "load_walks", lambda dataset: real)
    monkeypatch.setattr(type(real), "select", lambda rows, chosen: read.append(list(chosen)) or rows)
    train = np.arange(21)
    made = e.parts_of(train, copies=2)
    assert read == [list(train)] and made.shape == (42, 64, 75) and np.isfinite(made).all()
    assert np.abs(made[:21] - made[21:]).max() > 0.01, "other people in each copy"
    still = {"persons": np.zeros((1, 11, 75)), "ways": np.zeros((1, 11, 75)), "labels": np.array([99])}
    written = e.parts_of(train, 1, still)
    sizes = [np.linalg.norm(x.reshape(21, 64, 25, 3)[:, :, 3], axis=-1).mean() for x in (made[:21], written)]
    assert sizes[1] < 0.8 * sizes[0], "nearer to the person that was written, a point"


def test_steps_do_not_fall_below_the_least(fits, tmp_path):
    e = experiment(tmp_path, min_steps=500)
    e.run(run_of())
    assert fits.calls[0]["steps"] == 500


def test_a_fit_on_a_test_subject_is_refused(fits, tmp_path):
    e = experiment(tmp_path)
    train, test = e.walks.fold("2")
    with pytest.raises(AssertionError, match="a test subject among the training rows"):
        e.fit(run_of(), np.append(train, test[0]), test, None, None)
    assert not fits.calls


def test_choices_are_made_within_a_half(fits, same_bodies, tmp_path):
    e = experiment(tmp_path)
    e.choose()
    assert len(fits.calls) == len(PEOPLE) * sum(map(len, CANDIDATES.values()))
    for call in fits.calls:
        made = call["synthetic"][0] if call["synthetic"] else call["inputs"][:0]
        trained = set(e.walks.subjects[np.concatenate((call["inputs"], made))[MARK].astype(int)])
        tested = set(e.walks.subjects[np.array(call["tested"], int)])
        assert len(tested) == 1 and trained | tested in (set(PEOPLE[:2]), set(PEOPLE[2:])) and not trained & tested
        assert (call["synthetic"] is None) == (call["augmentation"] is not None)
    used = [call["augmentation"] for call in fits.calls]
    assert all(used.count(a) == len(PEOPLE) for a in CANDIDATES["classical"].values())
    assert used.count(None) == len(PEOPLE) * len(CANDIDATES["people"]) and len(same_bodies) == len(PEOPLE)
    assert all(len(set(subjects)) == 1 for _, _, subjects, _, _ in same_bodies), "the other one of the half"
    assert set(json.loads((tmp_path / "choices.json").read_text())["chosen"]) == set(CANDIDATES)
    e.choose()
    assert len(fits.calls) == len(used), "a comparison that is there is not made again"


COMPARED = [(kind, name) for kind, group in CANDIDATES.items() for name in group]
table = st.lists(st.integers(0, 100), min_size=4 * len(COMPARED), max_size=4 * len(COMPARED))


@settings(max_examples=15, deadline=None)
@given(table, table, st.integers(0, 1))
def test_a_half_uses_what_was_best_in_the_other(tmp_path_factory, accuracies, others, half):
    """Whatever happens in a half, it changes nothing of what that half is to use."""
    e = experiment(tmp_path_factory.mktemp("choice"), walks=WALKS)
    found = {}
    for values in (accuracies, others):
        mine = loso.halves(PEOPLE)[half]
        for i, (kind, name) in enumerate(COMPARED):
            for j, subject in enumerate(PEOPLE):
                if values is accuracies or subject in mine:
                    found[name, subject] = values[4 * i + j] / 100
                    write_json(e.folder / "choice" / f"{kind}-{name}-{subject}.json", {"accuracy": found[name, subject]})
        e.choose()
        other = loso.halves(PEOPLE)[1 - half]
        for kind, group in CANDIDATES.items():
            best = max(group, key=lambda name: np.mean([found[name, s] for s in other]))
            assert json.loads((e.folder / "choices.json").read_text())["chosen"][kind][half] == best
            assert all(e.chosen(kind, subject) == group[best] for subject in mine)


WALKS = some_walks()


# --- shares ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 7), st.integers(0, 99))
def test_shares_are_nested_and_keep_the_sensors_of_a_walk_together(a, b, repetitions, seed):
    walks = some_walks(repetitions, frames=1)
    less, more = (share_of_walks(walks, share) for share in sorted((a, b)))
    assert not (less & ~more).any()
    for share, kept in zip(sorted((a, b)), (less, more)):
        assert not set(walks.walk_ids[kept]) & set(walks.walk_ids[~kept]), "a walk with some of its sensors"
        for subject in PEOPLE:
            for label in range(3):
                cell = (walks.subjects == subject) & (walks.labels == label)
                assert len(set(walks.walk_ids[kept & cell])) == max(1, round(share * repetitions))
    order = np.random.default_rng(seed).permutation(len(less))
    order = order[walks.subjects[order] != "2"]  # another order of rows, and without somebody
    some = Walks(*(getattr(walks, k)[order] for k in ("inputs", "labels", "subjects", "walk_ids")), NAMES)
    assert np.array_equal(share_of_walks(some, min(a, b)), less[order])


def test_folds_part_the_walks():
    train, test = WALKS.fold("10")
    assert sorted([*train, *test]) == list(range(len(WALKS.labels))) and set(WALKS.subjects[test]) == {"10"}
    fewer, same = WALKS.fold("10", 0.25)
    assert set(fewer) < set(train) and np.array_equal(same, test) and len(fewer) == len(train) // 4


def test_people_and_halves():
    assert loso.halves(["1", "2", "3"]) == (["1", "2"], ["3"])
    assert loso.fold_folder(Path("x"), "3") == Path("x/fold_3")
    assert loso.fold_folder(Path("x"), "3", 0.05) == Path("x/fold_3_share_0.05")


# --- runs ------------------------------------------------------------------------------------------------------------------


def arguments(folder, *more) -> list:
    small = ["--batch_size", "8", "--epochs", "0.1", "--min_steps", "2"]
    return ["--dataset", "somewhere/toy", "--output_dir", folder, *small, *more]


@pytest.fixture
def toy(monkeypatch, tmp_path) -> Path:
    """The experiment reads `some_walks`; the output folder."""
    monkeypatch.setattr(loso, "load_inputs", lambda dataset: some_walks())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "toy"


def test_runs_are_made_once_and_say_how(toy, cards, monkeypatch):
    """Rows that are there are not made again; one that was removed is, and is the same."""
    command = arguments(toy, "--arms", "real", "--subjects", "2", "--seeds", "0", "1")
    run_script(loso, command)
    result = json.loads((cards / "results" / "loso_gist.json").read_text())
    for row in result["rows"]:
        assert (row["dataset"], row["steps"]["min_steps"], row["subject"], row["share"]) == ("toy", 2, "2", 1.0)
        assert row["command"].startswith("python -m experiments.") and np.sum(row["confusion"]) == 24
        assert row["accuracy"] == pytest.approx(np.trace(row["confusion"]) / 24)
    (toy / "rows" / "real-gru-2-1-1.json").unlink()
    run_script(loso, [*command, "--rows", "drop"])
    again = json.loads((cards / "results" / "loso_gist.json").read_text())["rows"]
    assert [r | {"command": ""} for r in again] == [r | {"command": ""} for r in result["rows"]]
    monkeypatch.setattr(loso, "train_classifier", lambda *_, **__: pytest.fail("nothing is left to be done"))
    run_script(loso, command)


def test_bad_arguments_and_missing_files_are_clear_errors(toy, fits, cards, capsys):
    for name, value in (("arms", "oors"), ("classifiers", "gur"), ("rows", "keeep")):
        with pytest.raises(SystemExit):
            run_script(loso, arguments(toy, f"--{name}", value))
        assert f"--{name}: invalid choice: '{value}'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"choices\.json is missing: run with --choose first"):
        run_script(loso, arguments(toy, "--arms", "classical"))
    write_choices(toy)
    with pytest.raises(ValueError, match=r"fold_1.samples\.safetensors is missing: run python -m"):
        run_script(loso, arguments(toy, "--arms", "ours"))
    with pytest.raises(ValueError, match=r"fold_1_share_0\.05.naive\.safetensors is missing"):
        run_script(loso, arguments(toy, "--arms", "naive", "--share", "0.05"))
    with pytest.raises(ValueError, match="no such subject: 99; there are 1, 2, 3, 10"):
        run_script(loso, arguments(toy, "--arms", "real", "--subjects", "99"))
    assert not fits.calls and not list((toy / "rows").glob("*.json"))


def test_inputs_of_a_data_set(dataset_folder):
    data = load_walks(str(dataset_folder))
    found = load_inputs(str(dataset_folder))
    assert found.inputs.shape == (len(data), 64, 75) and found.inputs.dtype == np.float32
    np.testing.assert_array_equal(found.inputs, prepare_classifier_input(data["joints"]))
    said = [data.features["pathology"].names[int(p)] for p in data["pathology"]]
    assert [found.names[label] for label in found.labels] == said and sorted(set(said)) == sorted(found.names)
    assert found.subjects.tolist() == list(data["subject_id"]) and found.walk_ids.tolist() == list(data["walk_id"])


def test_labels_index_the_classes_that_there_are(dataset_folder, monkeypatch):
    data = load_walks(str(dataset_folder))
    names = data.features["pathology"].names
    some = data.select([i for i, p in enumerate(data["pathology"]) if names[int(p)] in ("antalgic", "steppage")])
    monkeypatch.setattr("modeling_gait.training.classifier.load_walks", lambda *_, **__: some)
    found = load_inputs("")
    assert found.names == ["antalgic", "steppage"] and set(found.labels) == {0, 1}
    assert [found.names[label] for label in found.labels] == [names[int(p)] for p in some["pathology"]]


# --- synthetic sets --------------------------------------------------------------------------------------------------------


def made(e: Experiment, arm: str, subject: str = "2") -> tuple[np.ndarray, np.ndarray]:
    return e.synthetic(ARMS[arm], {"subject": subject, "share": 1.0}, e.walks.fold(subject)[0])


@pytest.fixture
def with_sets(tmp_path) -> Path:
    write_choices(tmp_path)
    write_sets(tmp_path, "2")
    return tmp_path


def test_walks_taken_for_another_class_are_left_out_but_of_the_naive_set(with_sets, same_bodies):
    first = FROM_FILE + 100 * PEOPLE.index("2")
    for arm, expected in {"same_people": range(2, 12), "label": range(2, 12), "naive": range(12)}.items():
        inputs, labels = made(experiment(with_sets), arm)
        assert sorted(inputs[MARK]) == [first + i for i in expected] and inputs.dtype == np.float32
        assert (labels == inputs[MARK] % 100 % 3).all()
    inputs, _ = made(experiment(with_sets), "sampled_people")
    assert sorted(inputs[MARK]) == sorted([first + i for i in range(2, 12)] * 2), "each sampled walk with two bodies"
    inputs, _ = made(experiment(with_sets), "people")
    assert sorted(inputs[MARK]) == sorted([*experiment(with_sets).walks.fold("2")[0]] * 2)


def test_sets_are_mixed_in_equal_numbers(with_sets, same_bodies):
    inputs, labels = made(experiment(with_sets), "ours")
    assert (inputs[MARK] >= FROM_FILE).sum() == (inputs[MARK] < FROM_FILE).sum() == 20
    assert len(set(labels[inputs[MARK] < FROM_FILE])) == 3, "not the first rows alone"


def test_sets_are_the_same_in_every_run_and_of_each_fold_its_own(with_sets):
    e = experiment(with_sets)
    one, again = made(e, "ours"), made(experiment(with_sets), "ours")
    sets = dict(e.kept)
    made(e, "ours")
    assert e.kept.keys() == sets.keys() and all(e.kept[k] is sets[k] for k in sets), "made once for the runs of a fold"
    assert all(np.array_equal(a, b) for a, b in zip(one, again))
    assert not np.array_equal(made(e, "people")[0][:20], one[0][:20])
    write_sets(with_sets, "3")
    assert not np.array_equal(made(e, "ours", "3")[0], one[0])


def bones(inputs: np.ndarray) -> np.ndarray:
    joints = inputs.reshape(*inputs.shape[:2], 25, 3)
    children = list(KINECT_V2.order[1:])
    return np.linalg.norm(joints[:, :, children] - joints[:, :, [KINECT_V2.parents[j] for j in children]], axis=-1)


def test_new_people_have_other_postures_and_bodies():
    inputs = some_walks(1).inputs
    kept = inputs.copy()
    turned = loso.new_people(inputs, CANDIDATES["people"]["postures"].bodies)
    np.testing.assert_array_equal(inputs, kept)
    np.testing.assert_allclose(bones(turned), bones(inputs), rtol=1e-4, atol=1e-5)
    assert (np.abs(turned - inputs).max((1, 2)) > 0.005).all(), "every walk gets another posture"
    other = loso.new_people(inputs, CANDIDATES["people"]["postures_and_bodies"].bodies)
    ratio = bones(other) / bones(inputs)
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(ratio.shape[1], 1), rtol=1e-3)  # one factor for the whole walk
    assert ratio.std(0).min() > 0.01
    for people in (turned, other):
        assert people.shape == inputs.shape and people.dtype == np.float32
        assert np.abs(people[:, :, :3]).max() < 1e-6, "relative to the pelvis"
    np.testing.assert_array_equal(turned, loso.new_people(inputs, CANDIDATES["people"]["postures"].bodies))
    assert not np.allclose(turned, loso.new_people(inputs, CANDIDATES["people"]["postures"].bodies, seed=1))


def test_new_people_of_many_walks():
    inputs = np.random.default_rng(0).normal(scale=0.1, size=(600, 1, 75)).astype(np.float32)
    inputs[512:] = inputs[:88]
    people = loso.new_people(inputs, CANDIDATES["people"]["postures"].bodies)
    assert people.shape == inputs.shape
    assert not np.allclose(people[512:], people[:88], atol=1e-3), "copies of a walk must become different people"


def test_people_are_affected_less_or_more_within_bounds(same_bodies, tmp_path):
    """Severities are changed by templates of the training rows alone, anew for each copy."""
    e = experiment(tmp_path)
    train, _ = e.walks.fold("2")
    inputs, labels = e.people_of(train, CANDIDATES["people"][SEVERITIES], copies=2)
    ((given, kinds, subjects, amounts, normal),) = same_bodies
    rows = np.tile(train, 2)
    np.testing.assert_array_equal(given[MARK], rows)
    assert (kinds == e.walks.labels[rows]).all() and (subjects == e.walks.subjects[rows]).all() and (labels == kinds).all()
    assert normal == 0 and len(inputs) == len(rows)
    assert -0.5 <= amounts.min() < -0.45 and 0.45 < amounts.max() <= 0.5
    assert not np.allclose(amounts[: len(train)], amounts[len(train) :])
    e.people_of(train, CANDIDATES["people"]["postures"])
    e.walks.names = ["lurch", "antalgic", "steppage"]
    e.people_of(train, CANDIDATES["people"][SEVERITIES])
    assert len(same_bodies) == 1, "only where severities were chosen, and there is a normal gait to compare with"


# --- scores ----------------------------------------------------------------------------------------------------------------


def test_scores_by_file_and_by_walk():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8], [0.51, 0.49]])
    found = loso.scores(probabilities, np.array([0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "c"]))
    assert found == {"accuracy": 0.6, "accuracy_by_walk": pytest.approx(2 / 3), "confusion": [[1, 1], [1, 2]]}
    alone = loso.scores(np.array([[0.0, 1.0, 0.0]]), np.array([1]), np.array(["a"]))
    assert np.shape(alone["confusion"]) == (3, 3), "classes that do not occur keep their place"
