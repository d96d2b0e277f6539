"""train/train_gpt2.py: sentences of walks and captions, their loss, LoRA, embedding rows from the codebooks."""

import json

import numpy as np
import pytest
import torch
from conftest import GPT2_ARGUMENTS, NUM_FRAMES, run_script
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from modeling_gait import GaitProcessor, GaitVQModel
from modeling_gait.caption_parsing import read_facts
from modeling_gait.tokenization_gait import train_text_tokenizer
from modeling_gait.training import gpt2
from modeling_gait.training.data import load_walks
from train import train_gpt2


def test_sentences_hold_the_walks_codes_and_the_loss_counts_one_side(dataset_folder, vq_folder, family_folder):
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor = GaitProcessor.from_pretrained(family_folder)
    tokenizer, rows = processor.tokenizer, np.arange(6)
    for share in (0.0, 1.0):
        args = gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=share)
        loader = gpt2.SentenceLoader(data, vq, processor, args)
        batch = loader.batch(rows, 3)
        left = np.array([json.loads(str(a)).get("side") == "left" for a in data[rows.tolist()]["attributes"]])
        chance = np.random.default_rng(3).random((2, 6))[1] < 0.5
        mirrored = left if share == 0 else chance
        windows = loader.windows.batch(rows, 3, mirrored)
        sided = (left != mirrored) & (windows["labels"].numpy() != 0)
        labels_given = windows["labels"] + 7 * torch.from_numpy(sided)
        codes = vq.encode(windows["joints"], windows["attention_mask"], labels_given)
        for i, (ids, labels, mask) in enumerate(zip(batch["input_ids"], batch["labels"], batch["attention_mask"])):
            walk = tokenizer.decode_codes(ids)
            assert np.array_equal(walk.temporal, codes.temporal_codes[i].numpy())
            assert walk.pathological[0] == codes.pathological_codes[i, 0] and (share or walk.pathological[0] < 7)
            counted = labels != -100
            assert torch.equal(ids[counted], labels[counted]) and mask[counted].all() and not counted[mask == 0].any()
            motion = ids[counted] >= tokenizer.gait_start_id
            if share == 0:
                assert motion.all() and counted.sum() == len(tokenizer.grammar())
            else:
                assert not motion.any() and ids[counted][-1] == tokenizer.eos_token_id


def test_captions_say_the_speed_of_the_window(dataset_folder, vq_folder, family_folder, monkeypatch):
    """Of a walk that speeds up, so that its own speed, which the data set holds, is another."""
    data, vq = load_walks(str(dataset_folder)).with_format(None), GaitVQModel.from_pretrained(vq_folder).eval()

    def faster(row: dict) -> dict:
        joints = np.asarray(row["joints"], np.float32)
        joints[..., 1] += 0.02 * np.maximum(np.arange(len(joints)) - 20, 0)[:, None]  # 0.6 m/s from frame 20 on
        return {"joints": joints}

    data = data.select(range(4)).map(faster, features=data.features).with_format("numpy")
    processor, told = GaitProcessor.from_pretrained(family_folder), []
    describe = processor.describe
    monkeypatch.setattr(processor, "describe", lambda p, *rest: told.append(p) or describe(p, *rest))
    loader = gpt2.SentenceLoader(data, vq, processor, gpt2.GPT2Arguments(dataset="", output_dir=""))
    rows, (frames, root) = np.arange(4), (NUM_FRAMES, loader.windows.skeleton.root)
    loader.batch(rows, 3)
    mirrored = np.array([json.loads(str(a)).get("side") == "left" for a in data["attributes"]])
    joints = loader.windows.batch(rows, 3, mirrored)["joints"].numpy()
    speeds = (joints[:, -1, root, 1] - joints[:, 0, root, 1]) * 30 / (frames - 1)
    whole = [json.loads(str(p))["speed"] for p in data["gait_parameters"]]
    assert [p["speed"] for p in told] == pytest.approx(speeds.tolist(), abs=0.75), "within the tiny codebook"
    assert np.abs(speeds - whole).max() > 0.2
    for parameters in told:
        if parameters.get("cadence"):
            assert parameters["stride_length_left"] == pytest.approx(120 * parameters["speed"] / parameters["cadence"])


@pytest.fixture(scope="module")
def sentences(dataset_folder, vq_folder, family_folder):
    """(tokeniser, a batch with sentences of both directions)"""
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor = GaitProcessor.from_pretrained(family_folder)
    args = gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=0.5)
    return processor.tokenizer, gpt2.SentenceLoader(data, vq, processor, args).batch(np.arange(6), 3)


def uneven(model: torch.nn.Module) -> torch.nn.Module:
    """The model with larger weights, so that its scores differ from token to token."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(value.numel())))
    return model.eval()


@torch.no_grad()
def test_the_loss_of_sentences_is_the_cross_entropy_within_slots(family_folder, sentences):
    """Each token against those that the grammar allows in its place, written out one by one."""
    tokenizer, batch = sentences
    model = uneven(GPT2LMHeadModel.from_pretrained(family_folder))
    scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    terms, certain = [], 0
    grammar = tokenizer.grammar()
    for ids, labels, score in zip(batch["input_ids"], batch["labels"], scores):
        start = ids.tolist().index(tokenizer.gait_start_id)
        for at in np.flatnonzero(labels != -100):
            inside = 0 < at - start <= len(grammar)
            low, high = grammar[at - start - 1] if inside else (0, tokenizer.first_number_id)
            assert low <= labels[at] < high
            certain += labels[at] == tokenizer.gait_end_id
            terms += [] if high == low + 1 else [-score[at - 1, low:high].log_softmax(0)[labels[at] - low]]
    assert len(terms) > 50 and 0 < certain < 6
    loss = gpt2.GaitSentenceLoss(model, tokenizer)(**batch)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
    assert abs(loss - model(**batch).loss) > 0.1, "the loss over the whole vocabulary is another one"


@torch.no_grad()
def test_the_loss_is_the_same_with_lora(family_folder, sentences):
    tokenizer, batch = sentences
    args = gpt2.GPT2Arguments(dataset="", output_dir="", lora_rank=4)
    adapted = gpt2.with_lora(GPT2LMHeadModel.from_pretrained(family_folder), args, tokenizer)
    plain = gpt2.GaitSentenceLoss(GPT2LMHeadModel.from_pretrained(family_folder).eval(), tokenizer)(**batch)
    torch.testing.assert_close(gpt2.GaitSentenceLoss(adapted.eval(), tokenizer)(**batch), plain)
    changed = gpt2.GaitSentenceLoss(uneven(adapted), tokenizer)(**batch)
    assert abs(changed - plain) > 0.01
    merged = gpt2.GaitSentenceLoss(adapted.merge_and_unload(), tokenizer)(**batch)
    torch.testing.assert_close(merged, changed, rtol=1e-4, atol=1e-5)


def test_a_batch_without_targets_costs_nothing(family_folder, sentences):
    tokenizer, batch = sentences
    loss = gpt2.GaitSentenceLoss(GPT2LMHeadModel.from_pretrained(family_folder).eval(), tokenizer)
    assert loss(**batch | {"labels": torch.full_like(batch["labels"], -100)}) == 0


def test_class_only_captions_are_the_name_of_the_class(dataset_folder, vq_folder, family_folder):
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor, rows = GaitProcessor.from_pretrained(family_folder), np.arange(7)
    tokenizer, names = processor.tokenizer, data.features["pathology"].names
    args = gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=0, no_text_share=0, class_only=True)
    batch = gpt2.SentenceLoader(data, vq, processor, args).batch(rows, 3)
    said = [tokenizer.decode(ids[1 : ids.tolist().index(tokenizer.gait_start_id) - 3]) for ids in batch["input_ids"]]
    assert said == [names[int(p)] for p in data[rows.tolist()]["pathology"]]


def test_a_walk_of_unknown_pathology_is_described_without_a_class(dataset_folder, vq_folder, family_folder):
    data, vq = load_walks(str(dataset_folder)).select(range(7)), GaitVQModel.from_pretrained(vq_folder).eval()
    unknown = data.remove_columns("pathology").add_column("pathology", [-1] * 7, feature=data.features["pathology"])
    processor = GaitProcessor.from_pretrained(family_folder)
    start = processor.tokenizer.first_number_id

    def said(**options) -> list[str]:
        args = gpt2.GPT2Arguments(dataset="", output_dir="", no_text_share=0, **options)
        batch = gpt2.SentenceLoader(unknown.with_format("numpy"), vq, processor, args).batch(np.arange(7), 3)
        return [processor.tokenizer.decode(ids[ids < start], skip_special_tokens=True) for ids in batch["input_ids"]]

    assert said(describe_share=0, class_only=True) == [""] * 7
    assert all(text.startswith("gait") for text in said(describe_share=1))
    for text in (*said(describe_share=0), *said(describe_share=1)):
        assert text and not read_facts(text).pathologies, text


def test_embedding_rows_come_from_the_codebooks(vq_folder):
    """G2L: codes that are near in a codebook have rows that are near; one row for every motion token."""
    vq = GaitVQModel.from_pretrained(vq_folder)
    assert gpt2.GaitToLanguage(vq, 16)().shape == (sum(map(sum, vq.config.slots.values())), 16)
    with torch.no_grad():
        vq.codebooks.temporal.codebook[1] = vq.codebooks.temporal.codebook[0]
        rows = gpt2.GaitToLanguage(vq, 16)()
    size = vq.config.codebook_size
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2]) and not torch.equal(rows[0], rows[size])


def test_lora_on_a_pretrained_model(dataset_folder, vq_folder, tmp_path):
    """Text rows stay as pretrained, the adapter on the base gives the merged family, and embeddings stay tied."""
    texts = ["steppage gait, right side, speed 0.65 m/s, cadence 94 steps/min"] * 30
    text_tokenizer = train_text_tokenizer(texts, 290)
    config = GPT2Config(vocab_size=len(text_tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=320)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    text_tokenizer.save_pretrained(tmp_path / "base")
    given = ["--dataset", dataset_folder, "--vq", vq_folder, "--base_model", tmp_path / "base", "--lora_rank", "4"]
    run_script(train_gpt2, [*given, "--output_dir", tmp_path / "family", *GPT2_ARGUMENTS])

    base = GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    family = AutoModelForCausalLM.from_pretrained(tmp_path / "family").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "family")
    assert family.config.vocab_size == len(tokenizer) > len(text_tokenizer)
    assert family.lm_head.weight is family.transformer.wte.weight
    text_rows = base.transformer.wte.weight
    assert torch.equal(family.transformer.wte.weight[: len(text_rows)], text_rows)
    assert not torch.equal(family.transformer.h[0].attn.c_attn.weight, base.transformer.h[0].attn.c_attn.weight)

    base.resize_token_embeddings(len(tokenizer))
    adapted = PeftModel.from_pretrained(base, tmp_path / "family" / "adapter").eval()
    ids = tokenizer(
        "steppage gait" + "".join(tokenizer.convert_ids_to_tokens(range(tokenizer.first_number_id, len(tokenizer))))
    )
    ids = torch.tensor([ids["input_ids"]])
    torch.testing.assert_close(adapted(ids).logits, family(ids).logits, atol=1e-5, rtol=1e-4)
