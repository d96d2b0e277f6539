"""The training scripts on tiny models: held-out people, killed and resumed runs, several processes, LoRA, data on disk."""

import json
import os
import shutil
import socket
import subprocess
import sys

import common
import datasets
import numpy as np
import pytest
import torch
import train_decoder
import train_gpt2
import train_vq
from common import StepBatches, WindowLoader, load_walks, mirror_parameters
from conftest import CACHE, DECODER_ARGUMENTS, GPT2_ARGUMENTS, NUM_FRAMES, ROOT, TRAIN, VQ_ARGUMENTS, interrupted_at, run_script
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from datasets_scripts.common import walk_features
from modeling_gait import GaitProcessor, GaitVQModel, compute_gait_parameters
from modeling_gait.augmentation import mirror
from modeling_gait.export import atomic_folder
from modeling_gait.quantization import VectorQuantizer
from modeling_gait.tokenization_gait import train_text_tokenizer

PATHS = f"import os, sys\nsys.path[:0] = [{str(ROOT)!r}, {str(TRAIN)!r}]\nimport torch\ntorch.set_num_threads(1)\n"


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same_weights(one, other) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def python(*command, timeout=180) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


# --- which rows ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_epoch_has_every_row_once(rows, batch_size, processes, seed):
    loaders = [StepBatches(rows, batch_size, seed, p, processes) for p in range(processes)]
    steps = -(-2 * rows // (batch_size * processes))
    order = np.concatenate([loader.rows(step) for step in range(steps) for loader in loaders])
    assert sorted(order[:rows]) == sorted(order[rows : 2 * rows]) == list(range(rows))


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_the_rows_of_a_step_do_not_depend_on_the_steps_before(rows, batch_size, step):
    used = StepBatches(rows, batch_size, seed=5)
    for s in range(step):
        used.rows(s)
    assert np.array_equal(used.rows(step), StepBatches(rows, batch_size, seed=5).rows(step))


def test_data_stay_on_disk(dataset_folder):
    data = load_walks(str(dataset_folder), exclude_subjects=load_walks(str(dataset_folder))["subject_id"][:1])
    assert data.cache_files and all(CACHE in f["filename"] for f in data.cache_files)
    assert isinstance(data.data, datasets.table.MemoryMappedTable | datasets.table.ConcatenationTable)
    blocks = [data.data] if isinstance(data.data, datasets.table.MemoryMappedTable) else sum(data.data.blocks, [])
    assert blocks and all(isinstance(b, datasets.table.MemoryMappedTable) for b in blocks)
    assert data[0]["joints"].dtype == np.float32 and data[0]["joints"].shape[1:] == (25, 3)


def test_held_out_and_chosen_people(dataset_folder):
    everyone = load_walks(str(dataset_folder))
    people = sorted(set(everyone["subject_id"]))
    rest = load_walks(str(dataset_folder), exclude_subjects=people[:1])
    assert sorted(set(rest["subject_id"])) == people[1:]
    assert set(load_walks(str(dataset_folder), only_subjects=people[:1])["subject_id"]) == {people[0]}
    for arguments, message in (
        ({"exclude_subjects": ["nobody"]}, "no such subject: nobody"),
        ({"exclude_subjects": people}, "no rows left"),
        ({"only_subjects": people[:1], "exclude_subjects": people[:1]}, "no rows left"),
    ):
        with pytest.raises(ValueError, match=message):
            load_walks(str(dataset_folder), **arguments)


def test_bad_data_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no Parquet files"):
        load_walks(str(tmp_path))
    datasets.Dataset.from_dict({"subject_id": ["1"], "joints": [[0.0]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="columns missing: captions, fps"):
        load_walks(str(tmp_path))


@pytest.fixture(scope="module")
def poisoned(dataset_folder, tmp_path_factory):
    """(folder where one person's rows are nonsense, folder without them, that person)."""
    rows = load_walks(str(dataset_folder)).with_format(None).to_list()
    person = rows[0]["subject_id"]
    nonsense = {"captions": ["POISON " * 5] * 3, "gait_parameters": "POISON", "attributes": "POISON"}
    nonsense["joints"] = np.full((64, 25, 3), np.nan)
    with_nonsense = [{**row, **nonsense} if row["subject_id"] == person else row for row in rows]
    folders = [tmp_path_factory.mktemp("poison") / name for name in ("poisoned", "without")]
    for folder, kept in zip(folders, (with_nonsense, [row for row in rows if row["subject_id"] != person])):
        columns = {k: [np.array(r[k], np.float32) if k == "joints" else r[k] for r in kept] for k in rows[0]}
        folder.mkdir()
        datasets.Dataset.from_dict(columns, features=walk_features()).to_parquet(folder / "train.parquet")
    return *folders, person


def train_all(data, parts, extra=()):
    """Tokeniser, decoder and family in the folder `parts`."""
    run_script(train_vq, ["--dataset", data, "--output_dir", parts / "vq", *VQ_ARGUMENTS, *extra])
    given = ["--dataset", data, "--vq", parts / "vq"]
    run_script(train_decoder, [*given, "--output_dir", parts / "decoder", *DECODER_ARGUMENTS, *extra])
    given += ["--decoder", parts / "decoder"]
    run_script(train_gpt2, [*given, "--output_dir", parts, *GPT2_ARGUMENTS, *extra])


def test_nothing_of_a_held_out_person_reaches_a_fit(poisoned, tmp_path):
    """Their rows may hold nonsense, or be absent: the normaliser, tokenisers, decoder and GPT-2 are the same bit by bit."""
    with_nonsense, without, person = poisoned
    train_all(with_nonsense, tmp_path / "excluded", ["--exclude_subjects", person])
    train_all(without, tmp_path / "absent")
    for part in ("vq", "decoder", "."):
        assert same_weights(tmp_path / "excluded" / part, tmp_path / "absent" / part)
    for file in ("vq/preprocessor_config.json", "processor_config.json", "tokenizer.json", "config.json", "vq/config.json"):
        assert (tmp_path / "excluded" / file).read_text() == (tmp_path / "absent" / file).read_text()
    with pytest.raises((ValueError, FloatingPointError)):
        train_all(with_nonsense, tmp_path / "not_excluded")


# --- windows ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loader(dataset_folder, vq_folder) -> WindowLoader:
    extractor = common.GaitFeatureExtractor.from_pretrained(vq_folder)
    return WindowLoader(load_walks(str(dataset_folder)), extractor, train_vq.AUGMENTATION, 0.5)


def test_windows_depend_on_rows_and_seed_alone(loader):
    rows = np.array([3, 0, 7])
    one, again, other = loader.batch(rows, 1), loader.batch(rows, 1), loader.batch(rows, 2)
    assert torch.equal(one["joints"], again["joints"]) and not torch.equal(one["joints"], other["joints"])
    assert one["joints"].shape == (3, NUM_FRAMES, 25, 3) and one["attention_mask"].shape == (3, NUM_FRAMES)
    plain = loader.batch(rows, None)
    assert torch.equal(plain["joints"], loader.batch(rows, None)["joints"]) and not plain["mirrored"].any()
    clean, _ = loader.extractor.window(load_walks_joints(loader, 3))
    np.testing.assert_array_equal(plain["joints"][0].numpy(), clean)


def test_an_unknown_pathology_counts_in_no_loss(dataset_folder, vq_folder):
    data = load_walks(str(dataset_folder)).select(range(4))
    unknown = data.remove_columns("pathology").add_column("pathology", [-1] * 4, feature=data.features["pathology"])
    extractor = common.GaitFeatureExtractor.from_pretrained(vq_folder)
    batch = WindowLoader(unknown.with_format("numpy"), extractor).batch(np.arange(4), None)
    assert batch["labels"].tolist() == [-100] * 4


def load_walks_joints(loader, row) -> np.ndarray:
    return loader.columns[[row]]["joints"][0]


def test_parameters_of_a_mirrored_walk_are_those_of_its_mirror_image(walks):
    for joints in walks.joints[:4]:
        measured = mirror_parameters(compute_gait_parameters(joints, 30.0))
        seen = compute_gait_parameters(mirror(torch.from_numpy(joints)[None])[0].numpy(), 30.0)
        for name, value in seen.items():
            assert measured[name] == pytest.approx(value, abs=1e-3, nan_ok=True), name


def test_sentences_hold_the_walks_codes_and_the_loss_counts_one_side(dataset_folder, vq_folder, family_folder):
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor = GaitProcessor.from_pretrained(family_folder)
    tokenizer, rows = processor.tokenizer, np.arange(6)
    for share in (0.0, 1.0):
        args = train_gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=share, augment=False)
        loader = train_gpt2.SentenceLoader(data, vq, processor, args)
        batch = loader.batch(rows, 3)
        left = np.array([json.loads(str(a)).get("side") == "left" for a in data[rows.tolist()]["attributes"]])
        windows = loader.windows.batch(rows, 3, mirrored=left if share == 0 else np.zeros(6, bool))
        codes = vq.encode(processor.feature_extractor.to_features(windows["joints"]), windows["attention_mask"])
        for i, (ids, labels, mask) in enumerate(zip(batch["input_ids"], batch["labels"], batch["attention_mask"])):
            walk = tokenizer.decode_codes(ids)
            assert np.array_equal(walk.motion, codes.motion_codes[i].numpy())
            assert np.array_equal(walk.pathological, codes.pathological_codes[i].numpy())
            counted = labels != -100
            assert torch.equal(ids[counted], labels[counted]) and mask[counted].all() and not counted[mask == 0].any()
            motion = ids[counted] >= tokenizer.gait_start_id
            if share == 0:
                assert motion.all() and counted.sum() == len(tokenizer.grammar(NUM_FRAMES // 4))
            else:
                assert not motion.any() and ids[counted][-1] == tokenizer.eos_token_id


# --- killed and resumed ----------------------------------------------------------------------------------------------------

KILLER = """
import signal
import common, train_gpt2, train_vq

def run(module, arguments, prepare):
    child = os.fork()
    if child == 0:
        prepare()
        sys.argv = ["train", *arguments]
        module.main()
        os._exit(3)  # it was not killed
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def while_saving_the_second_checkpoint():
    save, calls = common.save_file, []
    def deadly(tensors, path):
        calls.append(path)
        save(tensors, path)
        if len(calls) == 4:
            os.truncate(path, 100)
            die()
    common.save_file = deadly

def in_the_third_step():
    seed_step = common.seed_step
    common.seed_step = lambda seed, step, process: die() if step == 3 else seed_step(seed, step, process)

run(train_vq, VQ, while_saving_the_second_checkpoint)
run(train_gpt2, GPT2, in_the_third_step)
"""


def test_killed_runs_go_on_to_the_same_weights(dataset_folder, vq_folder, tmp_path):
    """SIGKILL in the middle of a checkpoint (tokeniser) and of a step (GPT-2 with LoRA), then the same command again."""
    vq = ["--dataset", dataset_folder, "--output_dir", tmp_path / "vq", *VQ_ARGUMENTS, "--save_steps", "1"]
    lora = ["--dataset", dataset_folder, "--vq", vq_folder, *GPT2_ARGUMENTS, "--lora_rank", "4", "--output_dir"]
    commands = {"VQ": list(map(str, vq)), "GPT2": [*map(str, lora), str(tmp_path / "killed")]}
    python("-c", PATHS + "".join(f"{k} = {v!r}\n" for k, v in commands.items()) + KILLER)
    assert (tmp_path / "vq" / "checkpoint" / "state.json").exists() and not (tmp_path / "vq" / "config.json").exists()
    assert json.loads((tmp_path / "killed" / "checkpoint" / "state.json").read_text())["step"] == 2

    run_script(train_vq, vq)
    assert same_weights(tmp_path / "vq", vq_folder)  # which was trained without an interruption
    assert not (tmp_path / "vq" / "checkpoint").exists()
    run_script(train_gpt2, [*lora, tmp_path / "killed"])
    run_script(train_gpt2, [*lora, tmp_path / "whole"])
    assert same_weights(tmp_path / "killed", tmp_path / "whole")
    adapters = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("killed", "whole")]
    assert all(torch.equal(adapters[0][k], v) for k, v in adapters[1].items())
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_interrupted_decoder_goes_on_to_the_same_weights(dataset_folder, vq_folder, decoder_folder, tmp_path):
    arguments = ["--dataset", dataset_folder, "--vq", vq_folder, "--output_dir", tmp_path / "decoder", *DECODER_ARGUMENTS]
    with interrupted_at(3):
        run_script(train_decoder, arguments)
    run_script(train_decoder, arguments)
    assert same_weights(tmp_path / "decoder", decoder_folder)


@pytest.mark.parametrize("damage", ["truncated", "no state", "not JSON", "another model", "no optimiser", "another optimiser"])
def test_a_broken_checkpoint_is_a_clear_error(tmp_path, damage):
    def model(width=3):
        return torch.nn.Linear(2, width)

    class Alone:
        is_main_process = True

        def wait_for_everyone(self):
            pass

    trained = model(4 if damage == "another model" else 3)
    optimizer = torch.optim.AdamW(trained.parameters())
    trained(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    folder = tmp_path / "checkpoint"
    common.save_checkpoint(folder, Alone(), trained, optimizer, 7)
    if damage == "truncated":
        os.truncate(folder / "model.safetensors", 30)
    elif damage == "no state":
        (folder / "state.json").unlink()
    elif damage == "not JSON":
        (folder / "state.json").write_text("{")
    elif damage == "no optimiser":
        (folder / "optimizer.safetensors").unlink()
    elif damage == "another optimiser":
        shutil.copy(folder / "model.safetensors", folder / "optimizer.safetensors")
    fresh = model()
    with pytest.raises(ValueError, match="(?s)checkpoint does not fit the model .* remove the folder to start anew"):
        common.load_checkpoint(folder, fresh, torch.optim.AdamW(fresh.parameters()))


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    args = common.TrainArguments(dataset="", output_dir=str(tmp_path), max_steps=3)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1"):
        common.training_loop(
            common.start(args),
            torch.nn.Linear(2, 1),
            args,
            lambda model, step, seed: (model(torch.ones(1, 2)).sum() * (float("nan") if step else 1.0), {}),
            "nothing",
        )


# --- GPT-2 -----------------------------------------------------------------------------------------------------------------


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
    ids = tokenizer("steppage gait" + "".join(tokenizer.convert_ids_to_tokens(range(tokenizer.gait_start_id, len(tokenizer)))))
    ids = torch.tensor([ids["input_ids"]])
    torch.testing.assert_close(adapted(ids).logits, family(ids).logits, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def sentences(dataset_folder, vq_folder, family_folder):
    """(tokeniser, a batch with sentences of both directions)"""
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor = GaitProcessor.from_pretrained(family_folder)
    args = train_gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=0.5)
    return processor.tokenizer, train_gpt2.SentenceLoader(data, vq, processor, args).batch(np.arange(6), 3)


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
    grammar = tokenizer.grammar(NUM_FRAMES // 4)
    for ids, labels, score in zip(batch["input_ids"], batch["labels"], scores):
        start = ids.tolist().index(tokenizer.gait_start_id)
        for at in np.flatnonzero(labels != -100):
            inside = 0 < at - start <= len(grammar)
            low, high = grammar[at - start - 1] if inside else (0, tokenizer.gait_start_id)
            assert low <= labels[at] < high
            certain += labels[at] == tokenizer.gait_end_id
            terms += [] if high == low + 1 else [-score[at - 1, low:high].log_softmax(0)[labels[at] - low]]
    assert len(terms) > 50 and 0 < certain < 6
    loss = train_gpt2.GaitSentenceLoss(model, tokenizer)(**batch)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
    assert abs(loss - model(**batch).loss) > 0.1, "the loss over the whole vocabulary is another one"


@torch.no_grad()
def test_the_loss_is_the_same_with_lora(family_folder, sentences):
    tokenizer, batch = sentences
    args = train_gpt2.GPT2Arguments(dataset="", output_dir="", lora_rank=4)
    adapted = train_gpt2.with_lora(GPT2LMHeadModel.from_pretrained(family_folder), args, tokenizer)
    plain = train_gpt2.GaitSentenceLoss(GPT2LMHeadModel.from_pretrained(family_folder).eval(), tokenizer)(**batch)
    torch.testing.assert_close(train_gpt2.GaitSentenceLoss(adapted.eval(), tokenizer)(**batch), plain)
    changed = train_gpt2.GaitSentenceLoss(uneven(adapted), tokenizer)(**batch)
    assert abs(changed - plain) > 0.01
    merged = train_gpt2.GaitSentenceLoss(adapted.merge_and_unload(), tokenizer)(**batch)
    torch.testing.assert_close(merged, changed, rtol=1e-4, atol=1e-5)


def test_a_batch_without_targets_costs_nothing(family_folder, sentences):
    tokenizer, batch = sentences
    loss = train_gpt2.GaitSentenceLoss(GPT2LMHeadModel.from_pretrained(family_folder).eval(), tokenizer)
    assert loss(**batch | {"labels": torch.full_like(batch["labels"], -100)}) == 0


def test_class_only_captions_are_the_name_of_the_class(dataset_folder, vq_folder, family_folder):
    data, vq = load_walks(str(dataset_folder)), GaitVQModel.from_pretrained(vq_folder).eval()
    processor, rows = GaitProcessor.from_pretrained(family_folder), np.arange(7)
    tokenizer, names = processor.tokenizer, data.features["pathology"].names
    args = train_gpt2.GPT2Arguments(dataset="", output_dir="", describe_share=0, no_text_share=0, class_only=True)
    batch = train_gpt2.SentenceLoader(data, vq, processor, args).batch(rows, 3)
    said = [tokenizer.decode(ids[1 : ids.tolist().index(tokenizer.gait_start_id)]) for ids in batch["input_ids"]]
    assert said == [names[int(p)] for p in data[rows.tolist()]["pathology"]]


def test_embedding_rows_come_from_the_codebooks(vq_folder):
    """G2L: codes that are near in a codebook have rows that are near; one row for every motion token."""
    vq = GaitVQModel.from_pretrained(vq_folder)
    g2l = train_gpt2.GaitToLanguage(vq, 16)
    c = vq.config
    books = c.num_pathological_tokens * c.pathological_codebook_size + c.num_body_tokens * c.body_codebook_size
    assert g2l().shape == (books + c.spatial_codebook_size + c.temporal_codebook_size, 16)
    with torch.no_grad():
        vq.pathological_quantizer.codebook[1] = vq.pathological_quantizer.codebook[0]
        rows = train_gpt2.GaitToLanguage(vq, 16)()
    size = c.pathological_codebook_size
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2]) and not torch.equal(rows[0], rows[size])


# --- several processes -----------------------------------------------------------------------------------------------------

TWO = """
import torch.distributed as dist
from accelerate import PartialState
from safetensors.torch import save_file
import common, generate, train_decoder, train_gpt2, train_vq
from modeling_gait.quantization import VectorQuantizer

state = PartialState(cpu=True)
assert state.num_processes == 2, state
rank = state.process_index

quantizer = VectorQuantizer(6, 4, revive_below=0.0).train()
tensors = torch.load(BATCH, weights_only=True)
quantizer.codebook.copy_(tensors["codebook"]); quantizer.code_sum.copy_(tensors["codebook"])
quantizer.code_usage.fill_(1); quantizer.fitted.fill_(True)
for half in tensors["latents"].chunk(6):
    quantizer(half.chunk(2, dim=1)[rank])
if rank == 0:
    save_file(quantizer.state_dict(), CODEBOOK)

def check(module):
    loop = module.training_loop
    def checked(*args):
        model = loop(*args)
        for name, value in model.state_dict().items():
            both = [torch.empty_like(value.float()) for _ in range(2)]
            dist.all_gather(both, value.float().contiguous())
            assert torch.equal(*both), (module.__name__, name)
        open(f"{FOLDER}/equal_{module.__name__}_{rank}", "w").close()
        return model
    module.training_loop = checked

for module, arguments in ((train_vq, VQ), (train_decoder, DECODER), (train_gpt2, GPT2), (generate, GENERATE)):
    if module is not generate:
        check(module)
    sys.argv = ["train", *arguments]
    module.main()
    state.wait_for_everyone()
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two(dataset_folder, family_folder, tmp_path_factory):
    """Folder with what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    g = torch.Generator().manual_seed(1)
    latents = torch.randn(6, 20, 4, generator=g)
    torch.save({"latents": latents, "codebook": torch.randn(6, 4, generator=g)}, folder / "batch.pt")
    (folder / "prompts.txt").write_text("steppage gait, right side\nnormal gait\nlurch gait\n")
    common_arguments = ["--dataset", dataset_folder, "--max_steps", "3"]
    vq, decoder, gpt2 = (a[len(["--max_steps", "4"]) :] for a in (VQ_ARGUMENTS, DECODER_ARGUMENTS, GPT2_ARGUMENTS))
    parts = ["--vq", folder / "vq", "--decoder", folder / "decoder"]
    values = {
        "FOLDER": folder,
        "BATCH": folder / "batch.pt",
        "CODEBOOK": folder / "codebook.safetensors",
        "VQ": [*common_arguments, "--output_dir", folder / "vq", *vq],
        "DECODER": [*common_arguments, *parts[:2], "--output_dir", folder / "decoder", *decoder],
        "GPT2": [*common_arguments, *parts, "--output_dir", folder / "family", *gpt2],
        "GENERATE": generate_arguments(folder, family_folder, folder / "synthetic"),
    }
    text = {k: list(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
    (folder / "script.py").write_text(PATHS + "".join(f"{k} = {v!r}\n" for k, v in text.items()) + TWO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python("-m", "torch.distributed.run", "--nproc_per_node", 2, "--master_port", port, folder / "script.py")
    return folder


def generate_arguments(folder, family, output) -> list:
    arguments = ["--model", family, "--prompts", folder / "prompts.txt", "--walks_per_prompt", "3", "--output_dir", output]
    return [*arguments, "--batch_size", "2", "--num_frames", "16", "--seed", "5"]


def test_two_processes_have_the_same_weights_and_codebooks(two):
    compared = {f"equal_{m}_{r}" for m in ("train_vq", "train_decoder", "train_gpt2") for r in (0, 1)}
    assert compared <= {p.name for p in two.iterdir()}
    for part in ("vq", "decoder", "family"):
        assert all(torch.isfinite(v.float()).all() for v in weights(two / part).values())


def test_two_halves_of_a_batch_make_the_codebook_of_the_whole(two):
    batch = torch.load(two / "batch.pt", weights_only=True)
    alone = VectorQuantizer(6, 4, revive_below=0.0).train()
    alone.codebook.copy_(batch["codebook"])
    alone.code_sum.copy_(batch["codebook"])
    alone.code_usage.fill_(1)
    alone.fitted.fill_(True)
    for latents in batch["latents"].chunk(6):
        alone(latents)
    for name, value in load_file(two / "codebook.safetensors").items():
        torch.testing.assert_close(alone.state_dict()[name], value, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(alone.codebook, batch["codebook"], atol=1e-2)


def test_two_processes_generate_what_one_does(two, family_folder, tmp_path):
    import generate

    run_script(generate, generate_arguments(two, family_folder, tmp_path / "synthetic"))
    one, both = load_walks(str(tmp_path / "synthetic")), load_walks(str(two / "synthetic"))
    assert one["sample_index"][:].tolist() == both["sample_index"][:].tolist() == list(range(9))
    for name in ("prompt", "seed", "walk_id", "pathology", "gait_parameters", "captions", "generator"):
        assert list(map(str, one[name])) == list(map(str, both[name])), name
    assert all(np.array_equal(a, b) for a, b in zip(one["joints"], both["joints"]))
    assert len({np.asarray(j).tobytes() for j in one["joints"]}) == 9


# --- arguments and folders -------------------------------------------------------------------------------------------------


def test_arguments_from_json_and_the_command_line(tmp_path, monkeypatch):
    path = tmp_path / "vq.json"
    path.write_text(
        json.dumps({"dataset": "d", "output_dir": "o", "exclude_subjects": ["1", "2"], "augment": False, "seed": 3})
    )
    monkeypatch.setattr(sys, "argv", ["train_vq.py", str(path), "--seed", "9"])
    args = common.parse_arguments(train_vq.VQArguments)
    assert (args.dataset, args.exclude_subjects, args.augment, args.seed) == ("d", ["1", "2"], False, 9)
    path.write_text(json.dumps({"dataset": "d", "output_dir": "o", "learning_rat": 1}))
    with pytest.raises(ValueError, match="unknown arguments learning_rat"):
        common.parse_arguments(train_vq.VQArguments)


@pytest.mark.parametrize("config", sorted((TRAIN / "configs").glob("*.json")), ids=lambda p: p.name)
def test_every_configuration_can_be_read(config, monkeypatch):
    kind = {
        "vq": train_vq.VQArguments,
        "decoder": train_decoder.DecoderArguments,
        "gpt2": train_gpt2.GPT2Arguments,
    }
    name = next((k for k in kind if k in config.stem.split("_")), None)
    if name is None:
        pytest.skip("of another script")
    monkeypatch.setattr(sys, "argv", ["train", str(config), "--output_dir", "o", "--dataset", "d"])
    assert common.parse_arguments(kind[name]).max_steps > 0


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "x"
    with atomic_folder(target) as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(target) as temporary:
        (temporary / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["x"]
    with atomic_folder(target) as temporary:
        (temporary / "b").write_text("3")
    assert [p.name for p in target.iterdir()] == ["b"] and [p.name for p in tmp_path.iterdir()] == ["x"]


def test_learning_rate_rises_and_falls():
    rates = [common.schedule(s, 10, 100) for s in range(100)]
    assert np.argmax(rates) in range(8, 12) and rates[0] < 0.2 and 0 < rates[-1] < 0.05
    assert (np.diff(rates[:9]) > 0).all() and (np.diff(rates[12:]) < 0).all()
