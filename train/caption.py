"""Write several faithful captions a walk: by a local instruct LLM, or by the package's grammar where there is none.

    python train/caption.py --dataset data/gist --output_dir data/gist_captions --captions 4
    python train/caption.py --dataset data/densegait --kind appearance --output_dir data/densegait_captions --model LLM
    python train/caption.py --dataset data/babel --kind action --label_column actions --output_dir data/babel_captions
    python train/caption.py --dataset data/hugadb/cycles --kind action --label_column activity --output_dir data/hugadb_captions

In: a `load_dataset` name or a folder of Parquet. Of a row are read, for --kind gait: gait_parameters, pathology, severity,
attributes; appearance: attributes (JSON; the simulator's or DenseGait's), gait_parameters; action: the label column (text,
class label, or a list of either) and, where there is one, `label`. LLM: any causal language model with a chat template (folder
or Hub id).
Out: the data set with `captions` (list of texts; --column gives another name) and `caption_sources` ("llm" or "grammar"
for each), as Parquet with a card. A run that was interrupted goes on with the first shard that is missing.

The styles follow Chivereanu et al. 2024 (Aligning Actions and Walking to LLM-Generated Textual Descriptions, arXiv 2404.12192;
https://github.com/Radu1999/WalkAndText): a detailed account of the body's movement, narration of an imagined video, paraphrase.
Their prompts for DenseGait's attributes are not in that repository. An answer is checked (`check_faithfulness`, here
`check_appearance` and `check_action`), asked for again, and in the end replaced by the grammar's; the card counts this.
experiments/caption_faithfulness.py measures what the checks catch.
"""

import functools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Sequence, Value
from huggingface_hub import DatasetCardData
from pyarrow import parquet
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, HfArgumentParser, pipeline

from modeling_gait.caption_grammar import paraphrase
from modeling_gait.captions import check_faithfulness, describe_walk
from modeling_gait.files import atomic_folder, atomic_path, write_json
from modeling_gait.gait_classes import CLASSES_FILE, GaitClasses
from modeling_gait.schema import card_text, check_name, check_output, errors_told
from modeling_gait.training.caption_texts import (
    ACTION_STYLES,
    APPEARANCE_STYLES,
    GAIT_STYLES,
    RULES,
    action_caption,
    action_text,
    appearance_caption,
    appearance_text,
    appearance_words,
    check_action,
    check_appearance,
)
from modeling_gait.training.data import dataset_classes, open_rows
from modeling_gait.training.loop import own_device

MAX_CHARACTERS = 500  # a caption; sentence encoders read about 128 to 512 tokens


@dataclass
class CaptionArguments:
    """Arguments of the captioner."""

    dataset: str = field(metadata={"help": "load_dataset name or folder of Parquet"})
    output_dir: str = field(metadata={"help": "folder of the data set with captions; replaced if it is there"})
    kind: str = field(default="gait", metadata={"choices": ("gait", "appearance", "action")})
    model: str = field(default="", metadata={"help": "folder or Hub id of an instruct LLM; none: the grammar"})
    captions: int = field(default=4, metadata={"help": "captions a row"})
    column: str = field(default="captions", metadata={"help": "column to write"})
    label_column: str = field(default="actions", metadata={"help": "of --kind action: text, class label, or a list of either"})
    attempts: int = field(
        default=2, metadata={"help": "how often the model is asked for a caption before the grammar writes it"}
    )
    batch_size: int = field(default=8, metadata={"help": "prompts the model answers at once"})
    shard_size: int = field(default=256, metadata={"help": "rows that are written (and resumed) together"})
    max_new_tokens: int = 160
    temperature: float = 0.8
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """What is needed to caption one row: the facts in words, the styles to ask for, the grammar, the check of an answer."""

    text: str
    styles: tuple[str, ...]
    write: Callable[[np.random.Generator], str]
    check: Callable[[str], list[str]]


# --- rows to tasks -----------------------------------------------------------------------------------------------------------


def measured(row: dict) -> dict[str, float]:
    """The gait parameters that are known."""
    return {k: v for k, v in json.loads(row.get("gait_parameters") or "{}").items() if v is not None}


def gait_task(row: dict, names: dict, classes: GaitClasses) -> Task:
    """Class, side, severity and measured numbers of a walk. Raises ValueError where neither class nor number is known."""
    label, severity = row["pathology"], row.get("severity")
    if not isinstance(label, str):
        label = names["pathology"][label] if label is not None and label >= 0 else None
    d = describe_walk(measured(row), label, severity, None, json.loads(row.get("attributes") or "{}"), classes)
    if not d.to_text().strip():
        raise ValueError("neither a class nor a gait parameter is known; --kind appearance or action may fit")
    return Task(d.to_text(), GAIT_STYLES, lambda rng: paraphrase(d, rng), lambda answer: check_faithfulness(answer, d))


def appearance_task(row: dict) -> Task:
    """Sex, age, body, clothing, footwear, load, viewpoint. Raises ValueError where no attribute has words."""
    attributes = json.loads(row["attributes"] or "{}")
    words = appearance_words(attributes)
    if not words:
        raise ValueError(f"none of its attributes ({', '.join(attributes) or 'there are none'}) has words")
    age = attributes.get("age") if isinstance(attributes.get("age"), int | float) else None
    d = describe_walk(measured(row), attributes={} if age is None else {"age": age})
    text, check = appearance_text(words, age), functools.partial(check_appearance, words=words, description=d)
    return Task(text, APPEARANCE_STYLES, lambda rng: appearance_caption(words, rng, age), check)


def action_task(row: dict, names: dict, column: str) -> Task:
    """Labels of an action and the annotator's words. Raises ValueError where there is no label."""
    value = row[column]
    listed = dict.fromkeys(value if isinstance(value, list) else [value])
    labels = [names[column][v] if isinstance(v, int) and column in names else v for v in listed]
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise ValueError(f"{column} is {value!r}, expected action labels")
    said = row.get("label") if column != "label" and isinstance(row.get("label"), str) else ""
    check = functools.partial(check_action, actions=labels, label=said)
    return Task(action_text(labels, said), ACTION_STYLES, lambda rng: action_caption(labels, rng, said), check)


def load_rows(args: CaptionArguments) -> tuple[Dataset, Callable[[dict], Task], list[str]]:
    """The data set, the function that makes a row's task, and the columns that it reads.

    Raises ValueError for an unknown kind or a column that is missing.
    """
    data = open_rows(args.dataset)
    needed = {"gait": ["gait_parameters", "pathology"], "appearance": ["attributes"], "action": [args.label_column]}
    if args.kind not in needed:
        raise ValueError(f"kind {args.kind!r} is not one of {', '.join(needed)}")
    if missing := [c for c in needed[args.kind] if c not in data.column_names]:
        raise ValueError(
            f"{args.dataset}: --kind {args.kind} needs the column {', '.join(missing)}; there are {data.column_names}"
        )
    inner = {name: getattr(feature, "feature", feature) for name, feature in data.features.items()}
    names = {name: feature.names for name, feature in inner.items() if isinstance(feature, ClassLabel)}
    more = ("severity", "attributes", "gait_parameters", "label")
    columns = [*needed[args.kind], *(c for c in more if c in data.column_names and c not in needed[args.kind])]
    if args.kind == "gait":
        labels = names.get("pathology") or sorted({p for p in data["pathology"] if p})
        return data, functools.partial(gait_task, names=names, classes=dataset_classes(args.dataset, labels)), columns
    make = functools.partial(action_task, names=names, column=args.label_column)
    return data, make if args.kind == "action" else appearance_task, columns


# --- the model ---------------------------------------------------------------------------------------------------------------


class CaptionModel:
    """A local instruct model: chats in, cleaned answers out. Raises ValueError for a model without a chat template."""

    def __init__(self, model: str, batch_size: int = 8, max_new_tokens: int = 160, temperature: float = 0.8):
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        if not tokenizer.chat_template:
            raise ValueError(f"{model}: its tokenizer has no chat template; give an instruct model")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        device = own_device()
        network = AutoModelForCausalLM.from_pretrained(model).to(device)
        self.pipe = pipeline("text-generation", model=network, tokenizer=tokenizer, device=device)
        self.options = {"max_new_tokens": max_new_tokens, "batch_size": batch_size, "return_full_text": False}
        self.options |= {"do_sample": temperature > 0, **({"temperature": temperature} if temperature > 0 else {})}

    def __call__(self, prompts: list[tuple[str, str]], seed: int) -> list[str]:
        """(instruction, facts) -> one answer each."""
        chats = [[{"role": "user", "content": f"{style} {RULES}\n\n{facts}"}] for style, facts in prompts]
        torch.manual_seed(seed)
        answers = [a[0]["generated_text"] for a in self.pipe(chats, **self.options)]
        return [clean_answer(a if isinstance(a, str) else a[-1]["content"]) for a in answers]


def clean_answer(answer: str) -> str:
    """The first paragraph that is no heading, without quotes and list marks, up to its last whole sentence; "" if none."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip() and not line.strip().endswith(":")]
    text = lines[0].strip("\"'*-• ") if lines else ""
    end = max(text.rfind(mark) for mark in ".!?")
    return text[: end + 1] if end > 0 and len(text[: end + 1]) <= MAX_CHARACTERS else ""


def write_captions(
    tasks: list[Task], args: CaptionArguments, model: CaptionModel | None, first: int
) -> tuple[list[list[str]], list[list[str]], Counter]:
    """Captions of these rows, who wrote each ("llm" or "grammar"), and counts: asked, kept, dropped, grammar.

    `first`: index of the first row; the grammar's draws depend on the seed and the row alone.
    """
    captions: list[list[str]] = [[] for _ in tasks]
    counts: Counter = Counter()
    for attempt in range(args.attempts if model else 0):
        open_slots = [(i, j) for i in range(len(tasks)) for j in range(len(captions[i]), args.captions)]
        if not open_slots:
            break
        prompts = [(tasks[i].styles[(j + attempt) % len(tasks[i].styles)], tasks[i].text) for i, j in open_slots]
        seed = int(np.random.SeedSequence([args.seed, first, attempt]).generate_state(1)[0])
        for (i, _), answer in zip(open_slots, model(prompts, seed)):
            fits = bool(answer) and answer not in captions[i] and not tasks[i].check(answer)
            counts.update(["asked", "kept" if fits else "dropped"])
            if fits:
                captions[i].append(answer)
    sources = [["llm"] * len(done) for done in captions]
    for i, task in enumerate(tasks):
        rng = np.random.default_rng([args.seed, first + i])
        while len(captions[i]) < args.captions:
            for _ in range(20):  # distinct where the facts allow it
                caption = task.write(rng)
                if caption not in captions[i]:
                    break
            captions[i].append(caption)
            sources[i].append("grammar")
            counts["grammar"] += 1
    return captions, sources, counts


# --- the data set ------------------------------------------------------------------------------------------------------------


def write_shard(
    data: Dataset, first: int, tasks: list[Task], args: CaptionArguments, model: CaptionModel | None, path: Path
) -> None:
    """One Parquet file of the rows from `first` on, and a JSON file of its counts beside it, which says that it is whole."""
    captions, sources, counts = write_captions(tasks, args, model, first)
    part = data.select(range(first, first + len(tasks)))
    added = {args.column: captions, "caption_sources": sources}
    part = part.remove_columns([c for c in added if c in part.column_names])
    for name, values in added.items():
        part = part.add_column(name, values, feature=Sequence(Value("string")))
    with atomic_path(path) as temporary:
        part.to_parquet(temporary)
    write_json(path.with_suffix(".json"), counts)


def run(args: CaptionArguments) -> Counter:
    """Caption the whole data set; returns the counts. Raises ValueError naming the argument, column or row that is wrong."""
    for name in ("captions", "attempts", "batch_size", "shard_size"):
        if getattr(args, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(args, name)}")
    if Path(args.output_dir).resolve() == Path(args.dataset).resolve():
        raise ValueError("output_dir is the data set itself; choose another folder")
    check_output(Path(args.output_dir))
    check_name(Path(args.output_dir), None)  # captioned data sets have none
    data, task_of, columns = load_rows(args)
    folder = Path(f"{args.output_dir}.shards")
    folder.mkdir(parents=True, exist_ok=True)
    state, facts, model = json.dumps(asdict(args) | {"rows": len(data)}, indent=1), data.select_columns(columns), None
    if not (folder / "arguments.json").exists():
        with atomic_path(folder / "arguments.json") as temporary:
            temporary.write_text(state)
    elif (folder / "arguments.json").read_text() != state:
        raise ValueError(f"{folder} holds a run with other arguments; finish that one or remove the folder")
    for first in tqdm(range(0, len(data), args.shard_size), desc="shards", unit="shard"):
        path = folder / f"{first:09d}.parquet"
        if path.with_suffix(".json").exists():
            continue
        tasks = []
        for i, row in enumerate(facts.select(range(first, min(first + args.shard_size, len(data))))):
            try:
                tasks.append(task_of(row))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{args.dataset}, row {first + i}: {error}") from error
        if args.model and model is None:
            model = CaptionModel(args.model, args.batch_size, args.max_new_tokens, args.temperature)
        write_shard(data, first, tasks, args, model, path)
    return finish(folder, args, len(data))


def finish(folder: Path, args: CaptionArguments, rows: int) -> Counter:
    """Shards become the data set, with its card and the entries of its classes; the folder of unfinished work goes."""
    files, counts = sorted(folder.glob("*.parquet")), Counter()
    for file in files:
        counts.update(json.loads(file.with_suffix(".json").read_text()))
    columns = ", ".join(f"`{c}`" for c in parquet.read_schema(files[0]).names)
    split = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    said = f"{counts['asked']:,} answers, {counts['dropped']:,} dropped as unfaithful, repeated or cut off"
    card = card_text(
        __file__,
        metadata=DatasetCardData(tags=["gait", "captions"], configs=split).to_yaml(),
        name=Path(args.dataset).name,
        rows=rows,
        args=args,
        model=f"{args.model} ({said})" if args.model else "none",
        grammar=counts["grammar"],
        option=f" --model {args.model}" if args.model else "",
        written=columns,
    )
    with atomic_folder(args.output_dir) as temporary:
        (temporary / "data").mkdir()
        for i, file in enumerate(files):
            shutil.copy(file, temporary / "data" / f"train-{i:05d}-of-{len(files):05d}.parquet")
        if (Path(args.dataset) / CLASSES_FILE).is_file():
            shutil.copy(Path(args.dataset) / CLASSES_FILE, temporary)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder)
    return counts


def main() -> None:
    args = HfArgumentParser(CaptionArguments).parse_args_into_dataclasses()[0]
    counts = run(args)
    print(f"{args.output_dir}: {dict(counts)}")


if __name__ == "__main__":
    with errors_told():
        main()
