"""Captions by train/caption.py: the data set it writes, the checks of appearance and action, a language model's answers."""

import json

import numpy as np
import pytest
import torch
from conftest import TEXTS
from datasets import ClassLabel, Dataset, Features, Sequence, Value, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from datasets_scripts.densegait import ATTRIBUTES
from modeling_gait.caption_words import APPEARANCE
from modeling_gait.captions import WalkDescription
from modeling_gait.training import hugadb_files
from modeling_gait.training.caption_texts import (
    ACTIONS,
    ALIASES,
    action_caption,
    appearance_caption,
    appearance_words,
    check_action,
    check_appearance,
)
from train import caption

LOOK = {"sex": ["male"], "age_group": ["senior"], "body": ["slim"], "footwear": ["sneakers"], "clothing": ["long coat"]}


def arguments(dataset, output, **kwargs) -> caption.CaptionArguments:
    return caption.CaptionArguments(str(dataset), str(output), **kwargs)


def rows(folder) -> Dataset:
    return load_dataset("parquet", data_files=sorted(str(p) for p in folder.rglob("*.parquet")), split="train")


# --- texts -------------------------------------------------------------------------------------------------------------------


def test_every_attribute_and_activity_has_words():
    assert all(word in APPEARANCE[key] for key, word in ATTRIBUTES.values() if word)
    assert all(ALIASES[name.replace("_", " ")] in ACTIONS for name in hugadb_files.ACTIVITIES)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_grammar_of_appearance_is_faithful(data):
    words = {key: [data.draw(st.sampled_from(list(values)))] for key, values in APPEARANCE.items() if data.draw(st.booleans())}
    age = data.draw(st.sampled_from((None, 8, 44, 81)))
    if words:
        text = appearance_caption(words, np.random.default_rng(data.draw(st.integers(0, 999))), age)
        assert check_appearance(text, words, WalkDescription(attributes={"age": age} if age else {})) == [], text


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=3, unique=True), st.integers(0, 999))
def test_grammar_of_actions_is_faithful(actions, seed):
    text = action_caption(actions, np.random.default_rng(seed))
    assert check_action(text, actions) == [], text


def test_words_of_simulated_people():
    words = appearance_words({"age": 72, "height": 1.8, "mass": 90, "sex": "male", "load": "none", "side": "left"})
    assert words == {"sex": ["male"], "age_group": ["senior"], "body": ["overweight"], "load": ["none"]}


@pytest.mark.parametrize("text, problem", TEXTS["appearance"])
def test_check_of_appearance(text, problem):
    problems = check_appearance(text, LOOK)
    assert not problems if not problem else any(problem in p for p in problems), problems


@pytest.mark.parametrize("text, actions, label, problem", TEXTS["actions"])
def test_check_of_actions(text, actions, label, problem):
    problems = check_action(text, actions, label)
    assert not problems if not problem else any(problem in p for p in problems), problems


# --- data sets ---------------------------------------------------------------------------------------------------------------


def test_walks_are_captioned_and_resumed(dataset_folder, tmp_path, monkeypatch):
    args = arguments(dataset_folder, tmp_path / "whole", captions=3, shard_size=8)
    assert caption.run(args) == {"grammar": 63}
    whole = rows(tmp_path / "whole")
    assert whole.features["pathology"].names and len(whole) == 21 and "joints" in whole.column_names
    assert all(len(set(c)) == 3 for c in whole["captions"]) and set(sum(whole["caption_sources"], [])) == {"grammar"}
    write, done = caption.write_shard, []

    def interrupted(*a):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(write(*a))

    resumed = arguments(dataset_folder, tmp_path / "resumed", captions=3, shard_size=8)
    monkeypatch.setattr(caption, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        caption.run(resumed)
    with pytest.raises(ValueError, match="other arguments"):
        caption.run(arguments(dataset_folder, tmp_path / "resumed", captions=2, shard_size=8))
    done.clear()
    caption.run(resumed)
    assert len(done) == 1 and rows(tmp_path / "resumed")["captions"][:] == whole["captions"][:]
    assert "grammar's" in (tmp_path / "whole" / "README.md").read_text()


def test_appearance_of_simulated_people(dataset_folder, tmp_path):
    caption.run(arguments(dataset_folder, tmp_path / "look", kind="appearance", captions=2, column="looks"))
    out = rows(tmp_path / "look")
    assert out["captions"][:] == rows(dataset_folder)["captions"][:]
    for row in out:
        attributes = json.loads(row["attributes"])
        known = WalkDescription(attributes={"age": attributes["age"]})
        assert all(check_appearance(text, appearance_words(attributes), known) == [] for text in row["looks"])


@pytest.mark.parametrize("kind", ["text", "class", "list"])
def test_actions_from_any_label_column(kind, tmp_path):
    names = ["walking", "going_up"]
    label = {"text": Value("string"), "class": ClassLabel(names=names), "list": Sequence(ClassLabel(names=names))}[kind]
    values = {"text": names, "class": [0, 1], "list": [[0, 0, 0], [1, 1]]}[kind]
    (tmp_path / "in").mkdir()
    Dataset.from_dict({"doing": values}, features=Features({"doing": label})).to_parquet(tmp_path / "in" / "a.parquet")
    caption.run(arguments(tmp_path / "in", tmp_path / "out", kind="action", label_column="doing"))
    out = rows(tmp_path / "out")
    assert all(check_action(text, [name]) == [] for row, name in zip(out, names) for text in row["captions"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": "song"}, "kind 'song' is not one of gait, appearance, action"),
        ({"kind": "action"}, "needs the column actions"),
        ({"captions": 0}, "captions must be at least 1"),
        ({"dataset": "empty"}, "no Parquet files"),
    ],
)
def test_bad_arguments(changes, message, dataset_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    dataset = tmp_path / "empty" if changes.get("dataset") else dataset_folder
    with pytest.raises(ValueError, match=message):
        caption.run(arguments(dataset, tmp_path / "out", **{k: v for k, v in changes.items() if k != "dataset"}))
    with pytest.raises(ValueError, match="output_dir is the data set itself"):
        caption.run(arguments(dataset_folder, dataset_folder))
    (tmp_path / "other" / "pictures").mkdir(parents=True)
    with pytest.raises(ValueError, match="other is not a data set folder: it holds pictures"):
        caption.run(arguments(dataset_folder, tmp_path / "other"))
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "README.md").write_text("---\npretty_name: gist\n---\n")
    with pytest.raises(ValueError, match=r"named holds another data set \(gist\)"):
        caption.run(arguments(dataset_folder, tmp_path / "named"))


def test_row_without_facts_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    Dataset.from_dict({"attributes": ['{"sex": "male"}', '{"height": 1.8}']}).to_parquet(tmp_path / "in" / "a.parquet")
    with pytest.raises(ValueError, match=r"row 1: none of its attributes \(height\) has words"):
        caption.run(arguments(tmp_path / "in", tmp_path / "out", kind="appearance"))


# --- a language model --------------------------------------------------------------------------------------------------------


def tiny_llm(folder, sentence: str, template: bool = True):
    """A GPT-2 that answers everything with `sentence`, trained for a moment; a word is a token."""
    vocabulary = {w: i for i, w in enumerate(["<unk>", "<end>", "<ask>", "<answer>", *dict.fromkeys(sentence.split())])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>")
    if template:
        tokenizer.chat_template = "<ask> <answer> "
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vocabulary), n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1
    )
    model = GPT2LMHeadModel(config)
    ids = torch.tensor([[2, 3, *(vocabulary[w] for w in sentence.split()), 1]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def labelled(folder, labels: list[str]):
    folder.mkdir()
    Dataset.from_dict({"actions": labels}).to_parquet(folder / "a.parquet")
    return folder


def test_language_model_writes_what_is_true_and_the_grammar_the_rest(tmp_path):
    model = tiny_llm(tmp_path / "llm", "A person strolls along and the arms swing freely.")
    data = labelled(tmp_path / "in", ["walk", "jump", "walk"])
    args = {"kind": "action", "model": str(model), "captions": 2, "max_new_tokens": 16, "temperature": 0.0}
    counts = caption.run(arguments(data, tmp_path / "out", **args))
    out = rows(tmp_path / "out")
    assert out["caption_sources"][:] == [["llm", "grammar"], ["grammar", "grammar"], ["llm", "grammar"]]
    assert out["captions"][0][0] == "A person strolls along and the arms swing freely."
    assert counts["kept"] == 2 and counts["dropped"] == counts["asked"] - 2 and counts["grammar"] == 4
    assert all(check_action(t, [a]) == [] for a, texts in zip(out["actions"], out["captions"]) for t in texts)


def test_model_without_chat_template_is_refused(tmp_path):
    model = tiny_llm(tmp_path / "llm", "A person strolls.", template=False)
    with pytest.raises(ValueError, match="no chat template"):
        caption.CaptionModel(str(model))


@pytest.mark.parametrize(
    "answer, text",
    [
        ('Here is a caption:\n\n"A person walks. The arms sw', "A person walks."),
        ("- A person walks.", "A person walks."),
        ("A person", ""),
        ("", ""),
        ("x" * 600 + ".", ""),
    ],
)
def test_answers_are_cleaned(answer, text):
    assert caption.clean_answer(answer) == text
