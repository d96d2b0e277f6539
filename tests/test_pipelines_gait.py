"""The two pipelines on the tiny family: results, seeds, batches, the grammar, files, bad input."""

import warnings

import numpy as np
import pytest
import torch
from conftest import NUM_FRAMES, PROMPT, same, tiny_decoder
from datasets import Dataset
from transformers import AutoModelForCausalLM, pipeline, set_seed
from transformers.pipelines.pt_utils import KeyDataset

from modeling_gait.captions import parse_prompt
from modeling_gait.export import write_bvh, write_csv, write_npz
from modeling_gait.generation_gait import decode_walks, given_codes, measure_walks, sign_severity
from modeling_gait.pipelines_gait import GaitToTextPipeline, TextToGaitPipeline
from modeling_gait.recording import read_recording
from modeling_gait.simulation import PATHOLOGIES, simulate_walks
from modeling_gait.skeletons import KINECT_V2, SMPL_22, convert_joints, mirror


def test_a_prompt_gives_a_walk(maker):
    walk = maker(PROMPT, num_frames=32, seed=0)
    assert isinstance(maker, TextToGaitPipeline)
    assert walk["joints"].shape == (32, 25, 3) and walk["joints"].dtype == np.float32 and np.isfinite(walk["joints"]).all()
    assert walk["fps"] == 30.0 and walk["skeleton"] == "kinect_v2" and walk["prompt"] == PROMPT
    said = walk["description"]
    assert (said.pathology, said.side, said.speed, said.cadence) == ("steppage", "right", 0.6, 96.0)
    assert walk["codes"].spatial.shape == (4,) and walk["codes"].sensor is None


def test_default_length(maker):
    assert maker("normal gait", seed=0)["joints"].shape == (NUM_FRAMES, 25, 3)


def test_a_seed_repeats_and_leaves_the_callers_random_state_alone(maker):
    state = torch.get_rng_state()
    one, again, other = (maker(PROMPT, num_frames=16, seed=s) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(one, again) and np.array_equal(one["joints"], again["joints"])
    assert not same(one, other)
    assert not same(maker(PROMPT, num_frames=16), maker(PROMPT, num_frames=16))


def test_a_left_affected_walk_is_the_same_person_affected_on_the_other_side(maker):
    options = {"num_frames": 96, "seed": 0}
    right, left = (maker(f"severe steppage gait, {side} side, 0.6 m/s", **options) for side in ("right", "left"))
    assert left["description"].side == "left"
    count = maker.decoder.config.num_labels
    assert left["codes"].pathological[0] == right["codes"].pathological[0] + count >= count
    assert np.array_equal(left["codes"].spatial, right["codes"].spatial)
    assert np.array_equal(left["codes"].temporal, right["codes"].temporal)
    right, left = (maker(f"steppage gait, {side} side", **options)["codes"] for side in ("right", "left"))
    assert np.array_equal(left.pathological[1:], right.pathological[1:]), "nothing is graded: the same way of the other side"


@pytest.fixture(scope="module")
def shipped():
    return pipeline("text-to-gait")


def test_no_foot_slides_and_the_file_has_the_speed_that_was_asked_for(shipped):
    """As whoever reads the file measures it, on feet that stand (its README's first walk slid at half its speed)."""
    prompts = [f"{gait}, {v} m/s" for gait in ("normal gait", "severe steppage gait, right side") for v in (0.4, 0.6, 1.0, 1.5)]
    walks = shipped(prompts, seed=0)
    read = [read_recording(w) for w in walks]
    np.testing.assert_allclose([r.gait_parameters["speed"] for r in read], [0.4, 0.6, 1.0, 1.5] * 2, atol=0.1)
    assert not [d for r in read for d in r.doubts if "slides" in d]
    assert not any("speed" in m for w in walks for m in w["missed"])
    moonwalk = walks[2]["joints"].copy()
    moonwalk[..., 1] -= 0.5 * np.arange(len(moonwalk))[:, None] / 30
    told = measure_walks(moonwalk[None], [parse_prompt("normal gait, 0.5 m/s")], shipped.vq)[0]["missed"]
    assert any("standing foot slides by 0.4" in m for m in told)


def test_a_stride_length_sets_the_speed_or_the_cadence_that_goes_with_it(shipped):
    for prompt, speed, cadence in (
        ("normal gait, stride 0.6 m, 100 steps/min", 0.5, 100),
        ("normal gait, stride 1.4 m, 110 steps/min", 1.28, 110),
        ("normal gait, stride 1.2 m, 1.1 m/s", 1.1, 110),
    ):
        found = shipped(prompt, seed=0)["measured"]
        assert found["speed"] == pytest.approx(speed, abs=0.1) and found["cadence"] == pytest.approx(cadence, abs=6), prompt


@pytest.mark.parametrize("candidates", [1, 4])
def test_severity_is_that_of_the_side_that_was_asked_for(shipped, candidates):
    for side in ("left", "right"):
        walks = shipped([f"antalgic gait, {side} side, severity 0.8"] * 6, seed=11, candidates=candidates)
        assert np.abs(np.array([w["measured"]["severity"] for w in walks]) - 0.8).mean() < 0.12


def test_the_sensor_s_noise_is_drawn_for_each_walk(shipped):
    prompts = ["normal gait, 1 m/s", "steppage gait, left side", "lurch gait, right side"]
    for candidates in (1, 2):
        options = {"seed": 3, "sensor": True, "candidates": candidates}
        together, alone = (shipped(prompts, batch_size=b, **options) for b in (8, 1))
        for a, b in zip(together, alone):
            np.testing.assert_allclose(a["joints"], b["joints"], atol=1e-4)


def test_without_a_seed_torch_s_random_state_draws(shipped):
    walks = []
    for state in (1, 1, 2):
        set_seed(state)
        walks.append(shipped("normal gait", sensor=True)["joints"])
    assert np.array_equal(walks[0], walks[1]) and not np.array_equal(walks[1], walks[2])


def test_a_person_who_is_unlike_all_training_people_is_told(shipped):
    joints = simulate_walks(1, frames=300, seed=2, pathology="normal").joints[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shipped.spatial_codes({"joints": joints, "fps": 30.0})
    with pytest.warns(UserWarning, match=r"person: legs of 0\.4\d m, the walks will have legs of 0\.5\d m"):
        shipped.spatial_codes(0.6 * joints)


def test_both_sides_are_not_said_to_be_met(shipped):
    assert (
        "both sides were asked for, the walk is affected on the right" in shipped("steppage gait, both sides", seed=3)["missed"]
    )


def test_what_is_asked_for_and_a_part_of_the_code_is_set(maker):
    """Class, speed and cadence at the nearest codes; severity grades the pathology."""
    walk, books = maker(PROMPT, seed=0), maker.decoder.codebooks
    grid = books.temporal.codebook
    assert walk["codes"].temporal[0] == (grid[:, 0] - 96 / 120).abs().argmin()
    assert walk["codes"].temporal[1] == (grid[:, 1] - 0.6).abs().argmin()
    assert maker.decoder.config.id2label[int(walk["codes"].pathological[0])] == "steppage"
    mild, severe = (maker(f"{s} steppage gait, right side", seed=0)["codes"].pathological for s in ("mild", "severe"))
    assert books.amount(torch.from_numpy(mild[None])) < books.amount(torch.from_numpy(severe[None]))


def test_guidance_without_difference_changes_nothing(maker):
    """u + g (c - u): at g = 1 what is asked for alone; at 0 the prompt's words do not count."""
    options = {"num_frames": 16, "temperature": 1e-8}
    assert same(maker("normal gait", guidance=1.0, **options), maker("normal gait", **options))
    one, other = (maker(p, guidance=0.0, **options) for p in ("normal gait, tall woman", "normal gait"))
    assert same(one, other)


def test_misspelt_options_are_refused(maker, reader):
    for name, value in (("temperature", 1e-300), ("temperature", True), ("seed", True), ("sensor", "no"), ("top_p", 0)):
        with pytest.raises(ValueError, match=name):
            maker(PROMPT, **{name: value})
    with pytest.raises(TypeError, match="type dict"):
        maker({PROMPT: 1})
    with pytest.raises(TypeError, match="'num_frame'"):
        maker(PROMPT, num_frame=16)
    with pytest.raises(TypeError, match="'frames'"):
        reader(np.zeros((40, 25, 3), np.float32), frames=3)


def test_what_is_given_to_pipeline_holds_for_every_call(family_folder, maker, reader):
    """They were dropped without a word: walks of 60 frames a second were read at half their speed."""
    person = simulate_walks(1, frames=90, seed=5).joints[0]
    own = pipeline(
        "text-to-gait", model=str(family_folder), num_frames=16, seed=3, temperature=0.5, person=person, batch_size=1
    )
    given = {"num_frames": 16, "seed": 3, "temperature": 0.5, "person": person}
    assert np.array_equal(own(PROMPT)["joints"], maker(PROMPT, **given)["joints"]) and len(own(PROMPT)["joints"]) == 16
    assert same(own("normal gait", seed=4), maker("normal gait", **given | {"seed": 4})), "a call's own comes first"
    fast = pipeline("gait-to-text", model=str(family_folder), fps=60)
    walk = simulate_walks(1, frames=150, fps=60.0, seed=2, pathology="normal").joints[0]
    assert fast(walk)["gait_parameters"] == reader(walk, fps=60)["gait_parameters"] != fast(walk, fps=30)["gait_parameters"]
    for task, option in (("text-to-gait", "num_frame"), ("gait-to-text", "frames")):
        with pytest.raises(TypeError, match=f"'{option}'"):
            pipeline(task, model=str(family_folder), **{option: 16})


def test_walks_are_read_in_batches_of_any_size(family_folder, reader):
    """As every pipeline of transformers is called, with the same words as without."""
    walks = list(simulate_walks(2, frames=60, seed=5).joints)
    alone = [found["text"] for found in reader(walks)]
    assert [found["text"] for found in reader(walks, batch_size=8, num_workers=0)] == alone
    own = pipeline("gait-to-text", model=str(family_folder), batch_size=8, num_workers=1)
    assert [found["text"] for found in own(walks)] == alone
    for wrong in ({"batch_size": 0}, {"batch_size": 1.5}, {"num_workers": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a whole number of"):
            reader(walks, **wrong)


def test_prompts_are_taken_from_a_column_of_a_data_set(maker):
    rows = KeyDataset(Dataset.from_dict({"prompt": [PROMPT, "normal gait"]}), "prompt")
    assert [w["prompt"] for w in maker(rows, num_frames=16, seed=0)] == [PROMPT, "normal gait"]


@pytest.mark.parametrize(("pathology", "seed"), [("antalgic", 4), ("steppage", 3), ("stiff_legged", 4)])
def test_the_severity_is_that_of_the_side_in_the_text(pathology, seed):
    """Where GPT-2 says no side: a mirrored walk is as severe on the other side (the left was graded by the right)."""
    reader = pipeline("gait-to-text")
    walk = simulate_walks(1, frames=150, seed=seed, pathology=pathology, severity=0.9, side="right", speed=0.8).joints[0]
    found = []
    for joints in (walk, mirror(walk, KINECT_V2)):
        outputs = {"recording": read_recording({"joints": joints, "fps": 30.0}), "text": "speed 0.00 m/s", "codes": None}
        outputs["doubts"] = []
        chances = torch.tensor([float(name == pathology) for name in reader.extractor.labels])
        found.append(reader.postprocess(outputs | {"probabilities": chances})["text"])
    assert [("right side, severe" in t, "left side, severe" in t) for t in found] == [(True, False), (False, True)], found
    parameters = read_recording({"joints": walk, "fps": 30.0}).gait_parameters
    assert sign_severity(reader.vq, parameters, pathology, None, reader.extractor.classes) is None
    assert sign_severity(reader.vq, parameters, "trendelenburg", None, reader.extractor.classes) is not None


def test_a_person_lends_the_spatial_codes(maker, tmp_path):
    """All walks get the spatial codes of the person's walk, given as joints or as a file; the rest is sampled."""
    joints = simulate_walks(1, frames=90, seed=5).joints[0]
    own = maker.spatial_codes(joints)
    walks = maker([PROMPT, "normal gait"], num_frames=16, seed=0, person=joints)
    assert all(np.array_equal(w["codes"].spatial, own) for w in walks)
    assert not np.array_equal(walks[0]["codes"].temporal, walks[1]["codes"].temporal)
    file = tmp_path / "person.csv"
    write_csv(file, joints, 30.0)
    from_file = maker(PROMPT, num_frames=16, seed=0, person=str(file))["codes"].spatial
    assert np.array_equal(from_file, maker.spatial_codes(file)) and (from_file == own).mean() > 0.4


def test_a_person_given_to_pipeline_is_read_once_and_encoded_by_the_tokeniser_as_it_is(family_folder, monkeypatch):
    person = simulate_walks(1, frames=90, seed=5).joints[0]
    own = pipeline("text-to-gait", model=str(family_folder), num_frames=16, person=person.copy())
    before, asked = own.spatial_codes(person), {"seed": 0, "num_frames": 16}
    monkeypatch.setattr(own.extractor, "prepare", lambda *_: pytest.fail("read again"))
    assert np.array_equal(own("normal gait", **asked)["codes"].spatial, before)
    with torch.no_grad():
        own.vq.codebooks.spatial.codebook.mul_(-1)
    after = own("normal gait", **asked)["codes"].spatial
    monkeypatch.undo()
    assert np.array_equal(after, own.spatial_codes(person)) and not np.array_equal(after, before)
    with pytest.raises(ValueError, match="4 joints, expected 25"):
        pipeline("text-to-gait", model=str(family_folder), person=np.zeros((30, 4, 3)))


def test_a_person_that_does_not_fit_is_refused(maker):
    with pytest.raises(ValueError, match=r"person: expected \(4,\) spatial codes below 8"):
        given_codes(maker.decoder, [parse_prompt("normal gait")], np.zeros(9))
    with pytest.raises(ValueError, match="4 joints, expected 25"):
        maker(PROMPT, num_frames=16, person=np.zeros((30, 4, 3)))


def test_no_text_contradicts_its_walk(reader):
    """A walk of each class, whatever GPT-2 wrote: the numbers are those measured."""
    for name in reader.extractor.labels:
        read = reader(simulate_walks(1, frames=120, seed=2, pathology=name).joints[0], fps=30)
        said = parse_prompt(read["text"], reader.extractor.classes)
        assert read["problems"] == [] and said.pathology == read["pathology"]
        for number, step in (("speed", 0.05), ("cadence", 2)):
            assert getattr(said, number) == pytest.approx(read["gait_parameters"][number], abs=step / 2 + 1e-6), name


def test_a_list_gives_a_list_in_order(maker):
    prompts = ["normal gait", PROMPT, "lurch gait, slow"]
    walks = maker(prompts, num_frames=16, seed=0)
    assert [w["prompt"] for w in walks] == prompts
    assert [w["description"].pathology for w in walks] == ["normal", "steppage", "lurch"]
    assert maker(prompts[:1], num_frames=16)[0]["joints"].shape == (16, 25, 3)


def test_batches_change_nothing_but_the_draw(maker):
    """At a temperature near 0 nothing is left to chance: one by one, in batches with padding, all the same."""
    prompts = ["normal gait", PROMPT, "lurch gait, slow", PROMPT, "antalgic gait, left side"]
    options = {"num_frames": 16, "temperature": 1e-8}
    maker.model.double()  # so that rounding decides no draw
    try:
        together, pairs = maker(prompts, **options), maker(prompts, batch_size=2, **options)
        apart = [maker(prompt, **options) for prompt in prompts]
    finally:
        maker.model.float()
    for a, b, alone in zip(together, pairs, apart):
        assert same(a, b) and same(a, alone)
        np.testing.assert_allclose(a["joints"], alone["joints"], atol=1e-5)


def test_a_walk_depends_on_seed_and_number_alone(maker):
    options = {"num_frames": 16, "temperature": 1.0}
    walks = maker([PROMPT] * 5, seed=0, **options)
    for other in (
        maker([PROMPT] * 5, seed=0, batch_size=2, **options),
        [maker(PROMPT, seed=0, first=i, **options) for i in range(5)],
        maker([PROMPT] * 2, seed=0, **options) + maker([PROMPT] * 3, seed=0, first=2, **options),
    ):
        for a, b in zip(walks, other):
            assert np.array_equal(a["codes"].spatial, b["codes"].spatial)
            np.testing.assert_allclose(a["joints"], b["joints"], atol=1e-4)
    seeds = [
        [w["codes"].spatial.tobytes() + w["codes"].temporal.tobytes() for w in maker([PROMPT] * 4, seed=s, **options)]
        for s in range(4)
    ]
    assert len(set(sum(seeds, []))) == 16, "seed 0's second walk is not seed 1's first"


@pytest.mark.parametrize("prompt, message", [("", "empty"), ("a purple elephant", "names no gait")])
def test_bad_prompts_are_refused(maker, prompt, message):
    with pytest.raises(ValueError, match=message):
        maker(prompt)
    with pytest.raises(ValueError, match=message):
        maker(["normal gait", prompt])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_frames": 1}, "num_frames: expected 2 to"),
        ({"num_frames": -4}, "num_frames: expected 2 to"),
        ({"num_frames": 40000}, "num_frames: expected 2 to"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 2.0}, "candidates: expected .* a whole number, got 2.0"),
        ({"num_frames": 96.5}, "num_frames: expected .* a whole number, got 96.5"),
        ({"seed": -1}, "seed: expected 0 to 4294967295, a whole number, got -1"),
        ({"seed": 2**70}, "seed: expected"),
        ({"seed": 1.5}, "seed: expected"),
        ({"first": -1}, "first: expected"),
        ({"temperature": "hot"}, "temperature: expected a number"),
        ({"batch_size": 0}, "batch_size: expected"),
        ({"num_workers": -1}, "num_workers: expected a whole number of 0 or more, got -1"),
    ],
)
def test_bad_options_are_refused(maker, options, message):
    with pytest.raises(ValueError, match=message):
        maker("normal gait", **options)


@pytest.mark.parametrize("prompts", [None, 3, ["normal gait", 3]])
def test_what_is_no_prompt_is_refused(maker, prompts):
    with pytest.raises(TypeError, match="expected a prompt or a list of prompts, got"):
        maker(prompts)


def test_a_class_that_the_family_does_not_know_is_refused(maker):
    assert maker.model.config.gait_labels == list(PATHOLOGIES)
    known, maker.extractor.labels = maker.extractor.labels, ["normal", "lurch"]
    try:
        with pytest.raises(ValueError, match="'steppage gait' is not one of the gaits modelled here: normal, lurch"):
            maker(PROMPT)
    finally:
        maker.extractor.labels = known


def test_another_decoder_can_be_given(family_folder):
    decoder = tiny_decoder(skeleton="smpl_22", num_labels=7)
    walk = pipeline("text-to-gait", model=str(family_folder), decoder=decoder)("normal gait", num_frames=16, seed=0)
    assert walk["joints"].shape == (16, 22, 3) and walk["skeleton"] == "smpl_22"
    assert np.array_equal(walk["joints"], decode_walks(decoder, [walk["codes"]], 16)[0])


def test_a_walk_gives_words_and_numbers(reader, walks):
    read = reader(walks.joints[0], fps=30)
    assert isinstance(reader, GaitToTextPipeline) and isinstance(read["text"], str)
    assert set(read["class_probabilities"]) == set(PATHOLOGIES)
    assert sum(read["class_probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert read["gait_parameters"]["speed"] == pytest.approx(walks.speed[0], rel=0.15)
    assert read["pathology"] is None or read["pathology"] in PATHOLOGIES
    assert isinstance(read["written"], str) and read["pathology"] in reader.extractor.labels
    again = reader(walks.joints[0], fps=30)
    assert again["text"] == read["text"] and same(again, read)


def test_words_only(reader, walks):
    assert not any(mark in reader(walks.joints[1])["text"] for mark in ("<gait>", "<pth", "<spa", "<|"))


def test_several_walks(reader, walks):
    results = reader(list(walks.joints[:2]), fps=30)
    assert len(results) == 2 and same(results[1], reader(walks.joints[1], fps=30))


@pytest.mark.parametrize("suffix", ["csv", "npz", "bvh"])
def test_files(reader, walks, tmp_path, suffix):
    path = tmp_path / f"walk.{suffix}"
    {"csv": write_csv, "npz": write_npz, "bvh": write_bvh}[suffix](path, walks.joints[0], 30.0, KINECT_V2)
    from_file, from_array = reader(path), reader(walks.joints[0], fps=30)
    assert reader(str(path))["text"] == from_file["text"]
    assert from_file["gait_parameters"]["speed"] == pytest.approx(from_array["gait_parameters"]["speed"], rel=0.02)
    if suffix != "bvh":  # BVH fits a skeleton of constant bones: close, not equal
        assert same(from_file, from_array)
    assert len(reader([path, path])) == 2


def test_other_skeletons_and_frame_rates(reader):
    walk = simulate_walks(1, frames=180, fps=60.0, seed=4).joints[0]
    read = reader(convert_joints(walk, KINECT_V2, SMPL_22), fps=60, skeleton="smpl_22")
    assert read["gait_parameters"]["speed"] == pytest.approx(reader(walk, fps=60)["gait_parameters"]["speed"], rel=0.1)


def test_bad_walks_and_files_are_refused(reader, tmp_path):
    broken = tmp_path / "broken.csv"
    broken.write_text("left_knee_x,left_knee_y\nnot,a walk\n")
    for bad, message in (
        (broken, "broken.csv"),
        (np.zeros((20, 7, 3)), "7 joints, expected 25"),
        (np.full((20, 25, 3), np.nan), "no joint with three finite"),
        (tmp_path / "walk.exe", "walk.exe"),
    ):
        with pytest.raises(ValueError, match=message):
            reader(bad)
    with pytest.raises(ValueError, match="unknown skeleton"):
        reader(np.zeros((20, 25, 3)), skeleton="octopus")
    write_csv(broken, simulate_walks(1, frames=40).joints[0], 30.0)
    with pytest.raises(ValueError, match="octopus"):
        reader(broken, skeleton="octopus")
    with pytest.raises(OSError):
        reader(tmp_path / "absent.csv")


def test_a_family_is_a_plain_gpt2_to_others(family_folder):
    """The family's configuration is GPT-2's own, also for a program that knows nothing of gait."""
    model = AutoModelForCausalLM.from_pretrained(family_folder)
    assert type(model).__module__.startswith("transformers.") and model.config.model_type == "gpt2"
    assert not hasattr(model.config, "custom_pipelines")
