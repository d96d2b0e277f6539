"""The tokeniser: a gait sentence's grammar, exact round trips, errors, saving, and samples that can all be decoded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_vq
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LogitsProcessorList

from modeling_gait.captions import WalkDescription
from modeling_gait.configuration_gait_vq import GaitVQConfig
from modeling_gait.tokenization_gait import (
    GAIT_END,
    GAIT_START,
    GaitCodes,
    GaitGrammarLogitsProcessor,
    GaitTokenizer,
    stack_codes,
    train_text_tokenizer,
)

TEXTS = ["steppage gait, right side, moderate, speed 0.65 m/s, cadence 94 steps/min.", "a slow, severe Trendelenburg walk"] * 20


def build(config) -> GaitTokenizer:
    return GaitTokenizer.from_base(train_text_tokenizer(TEXTS, 300), config)


@pytest.fixture(scope="module")
def tokenizer() -> GaitTokenizer:
    return build(tiny_vq().config)


def random_codes(config, seed=0, sensor=True) -> GaitCodes:
    rng = np.random.default_rng(seed)
    parts = [rng.integers(sizes) for kind, sizes in config.slots.items() if sensor or kind != "sensor"]
    return GaitCodes(*parts)


def equal(a: GaitCodes, b: GaitCodes) -> bool:
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in ("temporal", "pathological", "spatial", "sensor"))


@given(st.integers(1, 3), st.integers(2, 4), st.integers(2, 3), st.integers(1, 6), st.booleans(), st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_codes_come_back_for_any_codebooks(spatial, pathological, sensor, size, with_sensor, seed):
    config = GaitVQConfig(
        num_spatial_tokens=spatial, num_pathological_tokens=pathological, num_sensor_tokens=sensor, codebook_size=size
    )
    tokenizer = build(config)
    codes = random_codes(config, seed, with_sensor)
    ids = tokenizer.encode_codes(codes)
    assert len(ids) == 1 + len(tokenizer.grammar(with_sensor))
    assert equal(tokenizer.decode_codes(ids), codes)
    assert equal(tokenizer.decode_codes(torch.tensor([5, *ids, 5])), codes)
    assert tokenizer.convert_ids_to_tokens(max(ids[1:-1])).startswith("<sen_" if with_sensor else "<spa_")
    assert len(tokenizer) == tokenizer.first_motion_id + sum(map(sum, config.slots.values()))


def test_sentence_reads_as_documented(tokenizer):
    codes = GaitCodes(np.array([1, 2, 3, 4]), np.array([3, 0, 5]), np.array([7, 6, 5, 4]), np.array([0, 1, 2]))
    words = tokenizer.convert_ids_to_tokens(tokenizer.encode_codes(codes))
    assert words == [
        *("<gait>", "<tmp_0_1>", "<tmp_1_2>", "<tmp_2_3>", "<tmp_3_4>", "<pth_0_3>", "<pth_1_0>", "<pth_2_5>"),
        *("<spa_0_7>", "<spa_1_6>", "<spa_2_5>", "<spa_3_4>", "<sen_0_0>", "<sen_1_1>", "<sen_2_2>", "</gait>"),
    ]


def test_numbers_are_bins_of_what_is_asked_for(tokenizer):
    assert tokenizer.number_tokens() == "<speed_?><cadence_?><severity_?>"
    asked = WalkDescription("steppage", side="right", severity=0.99, speed=0.6)
    assert tokenizer.number_tokens(asked) == "<speed_16><cadence_?><severity_63>"
    assert tokenizer.number_tokens(replace(asked, speed=2.9)).startswith("<speed_63>"), "the nearest bin"
    ids = tokenizer("a slow walk" + tokenizer.number_tokens(asked))["input_ids"]
    first = tokenizer.first_number_id
    assert all(first <= i < tokenizer.gait_start_id for i in ids[-3:]) and ids[-4] < first


def test_motion_tokens_are_the_contiguous_end_of_the_vocabulary(tokenizer):
    at = tokenizer.first_motion_id
    for prefix, sizes in tokenizer.motion_blocks:
        for slot, size in enumerate(sizes):
            ids = tokenizer.convert_tokens_to_ids([f"<{prefix}_{slot}_{c}>" for c in range(size)])
            assert ids == list(range(at, at + size))
            at += size
    assert tokenizer.gait_start_id + 2 == tokenizer.gait_end_id + 1 == tokenizer.first_motion_id and at == len(tokenizer)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_extending_keeps_the_text_tokens():
    base = train_text_tokenizer(TEXTS, 300)
    expected = {text: base(text)["input_ids"] for text in TEXTS}
    size = len(base)
    tokenizer = GaitTokenizer.from_base(base, tiny_vq().config)
    assert all(tokenizer(text)["input_ids"] == ids for text, ids in expected.items())
    assert tokenizer.first_number_id == size


@given(st.text(max_size=60).filter(lambda s: "<" not in s))
@settings(max_examples=50, deadline=None)
def test_any_text_comes_back(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert all(i < tokenizer.first_number_id for i in ids)


def test_text_and_motion_share_a_sentence(tokenizer):
    codes = random_codes(tiny_vq().config)
    sentence = tokenizer.convert_ids_to_tokens(tokenizer.encode_codes(codes))
    ids = tokenizer("a slow walk" + "".join(sentence))["input_ids"]
    assert equal(tokenizer.decode_codes(ids), codes)
    assert tokenizer.decode(ids[: ids.index(tokenizer.gait_start_id)]) == "a slow walk"


def test_skipping_special_tokens_keeps_motion_tokens(tokenizer):
    ids = [tokenizer.eos_token_id, tokenizer.pad_token_id, *tokenizer.encode_codes(random_codes(tiny_vq().config))]
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert GAIT_START in text and GAIT_END in text and "<pth_0_" in text
    assert tokenizer.eos_token not in text and tokenizer.pad_token not in text
    assert equal(tokenizer.decode_codes(tokenizer(text)["input_ids"]), random_codes(tiny_vq().config))


def test_padding_is_on_the_left_and_not_the_end_of_text(tokenizer):
    batch = tokenizer(["a", "a slow, severe walk"], padding=True, return_tensors="pt")
    assert batch["input_ids"][0, 0] == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert batch["attention_mask"][0].tolist()[0] == 0


def test_codes_that_do_not_fit_are_refused(tokenizer):
    good = random_codes(tiny_vq().config)
    for message, codes in {
        "outside its codebook of 8": replace(good, temporal=np.full_like(good.temporal, 8)),
        "outside its codebook of 4": replace(good, pathological=np.array([4, 0, 0])),
        "spatial: expected 4 codes": replace(good, spatial=good.spatial[:1]),
        "sensor: expected 3 codes": replace(good, sensor=good.sensor[None]),
    }.items():
        with pytest.raises(ValueError, match=message):
            tokenizer.encode_codes(codes)


def test_codes_stack_to_what_the_decoder_takes():
    config = tiny_vq().config
    stacked = stack_codes([random_codes(config, seed) for seed in (0, 1)])
    assert [v.shape for v in stacked.values()] == [(2, 4), (2, 3), (2, 4), (2, 3)] and list(stacked)[3] == "sensor_codes"
    assert "sensor_codes" not in stack_codes([random_codes(config), random_codes(config, sensor=False)])


def test_broken_sentences_are_refused(tokenizer):
    ids = tokenizer.encode_codes(random_codes(tiny_vq().config))
    swapped = [*ids[:5], ids[6], ids[5], *ids[7:]]
    for broken, message in (
        (ids[:-1], "no complete walk"),
        (ids[1:], "no complete walk"),
        ([], "no complete walk"),
        ([ids[-1], *ids[:-1]], "no complete walk"),
        ([*ids[:-2], ids[-1]], "motion tokens are no walk"),
        ([ids[0], ids[-1]], "motion tokens are no walk"),
        (swapped, "position 4, expected one like <pth_0_0>"),
        ([ids[0], 3, *ids[2:]], "position 0, expected one like <tmp_0_0>"),
    ):
        with pytest.raises(ValueError, match=message):
            tokenizer.decode_codes(broken)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_ids_give_codes_or_a_value_error(tokenizer, data):
    ids = data.draw(st.lists(st.integers(tokenizer.gait_start_id, len(tokenizer) - 1), max_size=16))
    try:
        codes = tokenizer.decode_codes([tokenizer.gait_start_id, *ids, tokenizer.gait_end_id])
    except ValueError:
        return
    assert equal(tokenizer.decode_codes(tokenizer.encode_codes(codes)), codes)


def test_save_and_load_is_exact(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    codes = random_codes(tiny_vq().config)
    for loaded in (GaitTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert type(loaded) is GaitTokenizer and loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded.motion_blocks == tokenizer.motion_blocks and len(loaded) == len(tokenizer)
        assert loaded.encode_codes(codes) == tokenizer.encode_codes(codes)
        assert loaded(TEXTS[0])["input_ids"] == tokenizer(TEXTS[0])["input_ids"]
        assert (loaded.pad_token, loaded.eos_token, loaded.padding_side) == ("<|pad|>", "<|endoftext|>", "left")


@pytest.mark.parametrize("temperature", [1.0, 100.0])
def test_every_sample_of_an_untrained_gpt2_can_be_decoded(tokenizer, temperature):
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    model = GPT2LMHeadModel(config).eval()
    inputs = tokenizer(["slow" + GAIT_START, "a severe Trendelenburg walk" + GAIT_START] * 4, return_tensors="pt", padding=True)
    length = inputs["input_ids"].shape[1]
    ids = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=len(tokenizer.grammar()),
        eos_token_id=tokenizer.gait_end_id,
        pad_token_id=tokenizer.pad_token_id,
        logits_processor=LogitsProcessorList([GaitGrammarLogitsProcessor(tokenizer, length)]),
    )
    codes = [tokenizer.decode_codes(row) for row in ids[:, length - 1 :]]
    assert all(c.spatial.shape == (4,) and c.sensor.shape == (3,) for c in codes)
    assert len({tuple(c.spatial) for c in codes}) > 1
