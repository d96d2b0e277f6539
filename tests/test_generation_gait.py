"""Sampling, grading, measuring and choosing walks, on the tiny family."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import PROMPT, same
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

from modeling_gait import generation_gait
from modeling_gait.captions import WalkDescription, parse_prompt
from modeling_gait.generation_gait import TOLD, _missed, _nucleus, choose_walks, measure_walks, sample_codes
from modeling_gait.simulation import simulate_walks
from modeling_gait.skeletons import KINECT_V2
from modeling_gait.tokenization_gait import GAIT_START, GaitCodes, GaitGrammarLogitsProcessor


def test_a_left_affected_walk_is_asked_for_as_its_mirror_image(maker, monkeypatch):
    """GPT-2 has learnt right-affected walks alone: it must not read a left one."""
    prompts = []
    monkeypatch.setattr(generation_gait, "sample_codes", lambda *a, **k: prompts.extend(a[2]) or sample_codes(*a, **k))
    asked = [parse_prompt(f"steppage gait, {side} side, 0.6 m/s") for side in ("left", "right")]
    generation_gait.generate_walks(maker.model, maker.tokenizer, maker.decoder, asked, 16, seed=0)
    assert prompts[0] == prompts[1] and "right side" in prompts[0]


def test_what_is_not_used_measured_and_missed_is_told(maker):
    walk = maker("severe steppage gait, tall woman, left side, 0.6 m/s, hip range 30 degrees", num_frames=96, seed=0)
    assert walk["unused"] == ("sex female", "hip range left 30 deg", "tall")
    assert maker(PROMPT, num_frames=96, seed=0)["unused"] == ()
    joints = simulate_walks(1, frames=96, seed=0, pathology="normal", speed=1.2).joints[0]
    asked = parse_prompt("normal gait, 0.8 m/s", maker.extractor.classes)
    (found,) = measure_walks(joints[None].astype(np.float32), [asked], maker.vq)
    assert found["speed"] == pytest.approx(1.2, abs=0.1) and found["severity"] is None
    assert [m for m in found["missed"] if "speed" in m] == [f"speed 0.8 m/s was asked for, {found['speed']:.2f} is measured"]
    (found,) = measure_walks(joints[None].astype(np.float32), [parse_prompt("normal gait, 1.2 m/s")], maker.vq)
    assert not [m for m in found["missed"] if "speed" in m]


@pytest.mark.parametrize("side", ["right", "left"])
def test_severity_is_read_from_the_sign_of_the_affected_side(maker, side):
    vq, other = deepcopy(maker.vq), {"right": "left", "left": "right"}[side]
    vq.codebooks.sign_range[maker.extractor.labels.index("steppage")] = torch.tensor([10.0, 30.0])
    found = {f"peak_knee_flexion_{side}": 65.0, f"peak_knee_flexion_{other}": 40.0}
    classes = maker.extractor.classes
    assert generation_gait.sign_severity(vq, found, "steppage", side, classes) == pytest.approx(0.75)
    assert generation_gait.sign_severity(vq, found | {f"peak_knee_flexion_{side}": None}, "steppage", side, classes) is None
    assert generation_gait.sign_severity(vq, found, "normal", None, classes) is None


def test_severity_is_the_clinical_sign_of_the_walk(maker, monkeypatch):
    """The amount is sought at which the sign, here 20 times it, is where the training people had it at that severity; by the
    mean way of the class where the walk's own way, here with a sign of 4 times the amount, does not reach it."""
    decoder, label = deepcopy(maker.decoder), maker.extractor.labels.index("steppage")
    decoder.codebooks.sign_range[label] = torch.tensor([10.0, 30.0])

    def graded(codes, amount, own=1.0):
        made = torch.where(torch.isfinite(amount)[:, None], amount[:, None].float(), codes.float())
        return torch.cat((made[:, :1], torch.full_like(made[:, :1], own), codes[:, 2:].float()), dim=1)

    monkeypatch.setattr(decoder.codebooks, "graded", graded)

    def signs(_, codes, entries):
        amount, own, way = codes["pathological_codes"].T
        return (amount * torch.where((own == 1) & (way == 1), 4, 20)).numpy()

    monkeypatch.setattr(generation_gait, "shown_signs", signs)
    asked = [replace(parse_prompt("steppage gait", maker.extractor.classes), severity=s) for s in (0.0, 0.5, 1.0, None)]
    for way in (0, 1):
        code = GaitCodes(np.zeros(4, int), np.array([label, 0, way]), np.zeros(4, int))
        made = generation_gait.grade(decoder, [code] * 4, asked)
        assert [float(c.pathological[0]) for c in made[:3]] == pytest.approx([0.5, 1.0, 1.5], abs=0.01)
        assert [float(c.pathological[1]) for c in made[:3]] == [1.0 - way] * 3  # of their own way: all of it, or none
        assert made[3] is code
    decoder.codebooks.sign_range[label] = torch.tensor([30.0, 10.0])  # no range: by the mean pathology, and nothing is measured
    made = generation_gait.grade(decoder, [code] * 3, asked[:3])
    assert [float(c.pathological[0]) for c in made] == pytest.approx([0.4, 1.0, 1.6])


def test_of_several_candidates_the_fitting_one_is_chosen(maker):
    speeds = (0.5, 1.3, 0.9, 1.3, 0.9, 0.5)  # three candidates for each of two descriptions
    joints = np.stack([simulate_walks(1, frames=96, seed=0, pathology="normal", speed=s).joints[0] for s in speeds])
    asked = [parse_prompt("normal gait, 0.9 m/s"), parse_prompt("normal gait, 1.3 m/s")]
    codes = [maker("normal gait", seed=0)["codes"]] * 6
    assert choose_walks(joints, codes, asked, maker.vq).tolist() == [2, 3]


def test_of_several_candidates_the_one_as_severe_as_asked_is_chosen(maker, monkeypatch):
    codes, shown = [maker("steppage gait", seed=0)["codes"]] * 4, iter((0.2, 0.95, None, 0.5))  # of each candidate's sign
    monkeypatch.setattr(generation_gait, "sign_severity", lambda *_: next(shown))
    monkeypatch.setattr(maker.vq.codebooks, "amount", lambda codes: torch.ones(len(codes)))
    joints = np.repeat(simulate_walks(1, frames=96, seed=0, pathology="steppage", side="right").joints, 4, axis=0)
    asked = parse_prompt("severe steppage gait, right side", maker.extractor.classes)
    assert choose_walks(joints, codes, [asked], maker.vq).tolist() == [1]


def test_of_candidates_that_fit_as_well_the_first_is_chosen(maker, monkeypatch):
    """Two are as far from the middle of both: their order decides, not the last bit."""
    codes, asked = [maker("normal gait", seed=0)["codes"]] * 2, [parse_prompt("normal gait")]
    monkeypatch.setattr(generation_gait, "_read", lambda joints, *_: (None, np.zeros(len(joints), int)))
    walks = [simulate_walks(1, frames=96, seed=i, pathology="normal").joints[0] for i in range(8)]
    for a, b in pairwise(walks):
        assert choose_walks(np.stack((a, b)), codes, asked, maker.vq).tolist() == [0]
        assert choose_walks(np.stack((b, a)), codes, asked, maker.vq).tolist() == [0]


def test_a_chosen_candidate_fits_no_worse_than_any_other(maker):
    chosen = maker([PROMPT, "normal gait"], num_frames=96, seed=5, candidates=3)
    each = maker([PROMPT] * 3 + ["normal gait"] * 3, num_frames=96, seed=5)
    codes, asked = [w["codes"] for w in each], [w["description"] for w in each[::3]]
    at = choose_walks(np.stack([w["joints"] for w in each]), codes, asked, maker.vq)
    assert [same(each[i], walk) for i, walk in zip(at, chosen)] == [True, True]
    assert [w["prompt"] for w in chosen] == [PROMPT, "normal gait"]


def test_sampling_is_that_of_generate_under_the_grammar(family_folder):
    """The fast sampler takes the codes that `generate` with the grammar processor takes, where nothing is left to chance."""
    model = AutoModelForCausalLM.from_pretrained(family_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(family_folder)
    prompts = ["normal gait, speed 1.2 m/s", "steppage gait"]
    model = model.double()  # so that rounding decides no draw
    ours = sample_codes(model, tokenizer, prompts, temperature=1e-8)
    inputs = tokenizer([tokenizer.eos_token + p + GAIT_START for p in prompts], return_tensors="pt", padding=True)
    length = inputs["input_ids"].shape[1]
    ids = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=False,
        max_new_tokens=len(tokenizer.grammar()),
        eos_token_id=tokenizer.gait_end_id,
        logits_processor=LogitsProcessorList([GaitGrammarLogitsProcessor(tokenizer, length)]),
    )
    for row, codes in zip(ids[:, length - 1 :], ours):
        theirs = tokenizer.decode_codes(row)
        assert np.array_equal(codes.spatial, theirs.spatial) and np.array_equal(codes.sensor, theirs.sensor)


def test_a_model_with_an_adapter_is_sampled_as_it_is(family_folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(family_folder).eval(), AutoTokenizer.from_pretrained(family_folder)
    plain = sample_codes(model, tokenizer, ["steppage gait"] * 4, seed=0)
    wrapped = get_peft_model(model, LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)).eval()  # adds 0 at first
    for ours, theirs in zip(sample_codes(wrapped, tokenizer, ["steppage gait"] * 4, seed=0), plain):
        assert np.array_equal(ours.spatial, theirs.spatial) and np.array_equal(ours.temporal, theirs.temporal)


def test_draws_follow_the_models_probabilities(family_folder):
    model = AutoModelForCausalLM.from_pretrained(family_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(family_folder)
    with torch.no_grad():
        model.transformer.wte.weight[tokenizer.first_motion_id :] *= 20  # far from uniform
        prompt = tokenizer(tokenizer.eos_token + "steppage gait" + GAIT_START, return_tensors="pt")["input_ids"]
        low, high = tokenizer.grammar()[0]
        expected = model(prompt).logits[0, -1, low:high].softmax(-1).numpy()
    assert expected.max() > 1.5 * expected.min()
    assert sample_codes(model, tokenizer, []) == []
    drawn = [c.temporal[0] for c in sample_codes(model, tokenizer, ["steppage gait"] * 2000, temperature=1.0, seed=0)]
    seen = np.bincount(drawn, minlength=high - low) / len(drawn)
    np.testing.assert_allclose(seen, expected, atol=0.05)


def test_nucleus():
    p = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    assert (_nucleus(p, 0.6) > 0).tolist() == [[False, True, False, True]]
    assert (_nucleus(p, 0.01) > 0).tolist() == [[False, True, False, False]]
    assert _nucleus(p, 1.0) is p


def test_a_walk_of_the_side_asked_for_is_chosen():
    """A reader that takes a head to the right for steppage on the right, one to the left for steppage on the left."""
    head = KINECT_V2.index("head")
    reader = SimpleNamespace(
        device="cpu",
        config=SimpleNamespace(fps=30.0, num_frames=8, num_labels=2, id2label={0: "steppage", 1: "normal"}),
        waves=lambda joints: joints,
        logits=lambda w: torch.eye(4)[torch.where(w[:, 0, head, 0] > 0, 0, 2)],
        codebooks=SimpleNamespace(skeleton=KINECT_V2, amount=lambda codes: torch.ones(len(codes))),
    )
    walks = np.tile(KINECT_V2.rest_positions.astype(np.float32), (4, 8, 1, 1))
    walks[[0, 2], :, head, 0] += 1  # of two candidates each, the first leans to the right
    walks[[1, 3], :, head, 0] -= 1
    asked, zero = [WalkDescription("steppage", side) for side in ("right", "left")], np.zeros(1, int)
    assert choose_walks(walks, [GaitCodes(zero, zero, zero)] * 4, asked, reader).tolist() == [0, 3]


def test_one_side_of_a_gait_of_both_is_missed():
    found = dict.fromkeys(TOLD) | {"pathology": "parkinsonian", "side": None, "class_probabilities": {"parkinsonian": 1.0}}
    told = list(_missed(found, WalkDescription("parkinsonian", "left")))
    assert told == ["the left side was asked for, a parkinsonian gait is affected on both"]
