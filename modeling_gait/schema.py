"""The schema of every skeleton data set, and the writer of Parquet shards and data card that the builders share.

In: rows (dicts in the schema of `walk_features`), one after another. Out: a folder that `load_dataset(FOLDER)` reads offline:
data/train-00000-of-0000N.parquet and README.md, the data card. It is written under a temporary name beside the target and
renamed at the end, so an interrupted run leaves no half-made data set.
"""

import argparse
import functools
import itertools
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path

import datasets
import numpy as np
import yaml
from huggingface_hub import DatasetCard, DatasetCardData
from huggingface_hub.errors import StrictDataclassError
from tqdm import tqdm

from modeling_gait.caption_grammar import captions_for
from modeling_gait.cleaning import CleaningReport
from modeling_gait.files import atomic_folder
from modeling_gait.gait_classes import CLASSES_FILE, GaitClasses
from modeling_gait.gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters
from modeling_gait.simulation import PATHOLOGIES
from modeling_gait.skeletons import KINECT_V2, SKELETONS, Skeleton, check_metres

ROWS_PER_SHARD = 1200  # about 45 MB
CAPTIONS = 3  # a row
_TEXTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
OUTPUT_HELP = "folder to make; where the same data set was made before, it is replaced, and another one is refused"
COLUMNS, ARTEFACTS = _TEXTS["COLUMNS"], _TEXTS["ARTEFACTS"]


NOT_MEASURED = json.dumps({p.name: None for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)})  # of a walk without numbers


def walk_features(num_joints: int = 25, labels: Sequence[str] = PATHOLOGIES, generated: bool = False) -> datasets.Features:
    """Columns of a skeleton walk data set; `joints` is (T, num_joints, 3) [m], x right, y forward, z up; `labels`: classes.

    `generated` adds where a walk comes from: `prompt`, `generator` (the model), `seed`, `sample_index`.
    """
    text, whole = datasets.Value("string"), datasets.Value("int64")
    origin = {"prompt": text, "generator": text, "seed": whole, "sample_index": whole} if generated else {}
    return datasets.Features(
        {
            "subject_id": datasets.Value("string"),
            "walk_id": datasets.Value("string"),
            "sensor": datasets.Value("string"),
            "pathology": datasets.ClassLabel(names=list(labels)),
            "severity": datasets.Value("float32"),
            "attributes": datasets.Value("string"),
            "fps": datasets.Value("float32"),
            "joints": datasets.Array3D((None, num_joints, 3), "float32"),
            "gait_parameters": datasets.Value("string"),
            "captions": datasets.Sequence(datasets.Value("string")),
            **origin,
        }
    )


def walk_row(
    joints: np.ndarray,
    fps: float,
    *,
    subject_id: str,
    walk_id: str,
    sensor: str,
    pathology: str,
    severity: float = math.nan,
    attributes: dict | None = None,
    classes: GaitClasses | None = None,
    parameters: dict[str, float] | None = None,
    captions: list[str] | None = None,
    skeleton: Skeleton = KINECT_V2,
) -> dict:
    """One row of the schema from canonical joints (T, J, 3) [m]; computes gait parameters and captions that are not given.

    Raises ValueError for another unit, and for joints that are not finite.
    """
    check_metres(joints)
    if not np.isfinite(joints).all():
        raise ValueError("joints hold values that are not finite; clean them first (modeling_gait.cleaning)")
    attributes = attributes or {}
    parameters = compute_gait_parameters(joints, fps, skeleton) if parameters is None else parameters
    if captions is None:
        seed = zlib.crc32(f"{walk_id}/{sensor}".encode())  # the same captions in every run
        about = pathology, severity, attributes.get("side"), attributes
        captions = captions_for(parameters, *about, n=CAPTIONS, seed=seed, classes=classes)
    return {
        "subject_id": subject_id,
        "walk_id": walk_id,
        "sensor": sensor,
        "pathology": pathology,
        "severity": severity,
        "attributes": json.dumps(attributes, sort_keys=True),
        "fps": fps,
        "joints": joints,
        "gait_parameters": json.dumps({k: round(float(v), 5) if math.isfinite(v) else None for k, v in parameters.items()}),
        "captions": captions,
    }


def generated_row(walk: dict, model: str, seed: int, number: int) -> dict:
    """One result of `text-to-gait` as a row of `walk_features(generated=True)`; `number` counts the walks of a run."""
    said, name = walk["description"], f"synthetic_{number}"
    row = walk_row(
        walk["joints"],
        walk["fps"],
        subject_id=name,
        walk_id=name,
        sensor="generated",
        pathology=said.pathology,
        severity=math.nan if said.severity is None else said.severity,
        attributes={"side": said.side},
        captions=[said.to_prompt()],
        skeleton=SKELETONS[walk["skeleton"]],
    )
    return row | {"prompt": walk["prompt"], "generator": model, "seed": seed, "sample_index": number}


def builder_parser(doc: str, on_error: bool = True) -> argparse.ArgumentParser:
    """The arguments that builders share: --output_dir, --num_proc and, where a bad file may be left out, --on_error."""

    def whole(text: str) -> int:
        if (number := int(text)) < 1:
            raise argparse.ArgumentTypeError("must be at least 1")
        return number

    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help=OUTPUT_HELP)
    parser.add_argument("--num_proc", type=whole, default=2, help="processes that read (default %(default)s)")
    if on_error:
        parser.add_argument("--on_error", choices=("raise", "skip"), default="raise", help="what to do about a bad file")
    return parser


@contextmanager
def errors_told() -> Iterator[None]:
    """Ends the process with what is wrong with the input or a configuration, a line each, instead of a traceback."""
    try:
        yield
    except StrictDataclassError as error:
        sys.exit(f"error: {error.__cause__ or error}")  # around its cause it says where in the code that was raised
    except (ValueError, OSError) as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


def attempt(function: Callable, on_error: str, item: object):
    """`function(item)`, or the message of what is wrong with the item's file if `on_error` is "skip"."""
    try:
        return function(item)
    except (ValueError, OSError) as error:
        if on_error == "raise":
            raise
        return str(error)


def readable(function: Callable, on_error: str, items: list, num_proc: int, unit: str, skipped: list[str]) -> Iterator:
    """`function` of each item, in order (`parallel`); messages of those left out (`attempt`) go to `skipped` and are shown."""
    for result in parallel(functools.partial(attempt, function, on_error), items, num_proc, unit):
        if isinstance(result, str):
            skipped.append(result)
            print(f"\nskipped: {result}", file=sys.stderr)
        else:
            yield result


def parallel(function: Callable, items: list, num_proc: int, unit: str) -> Iterator:
    """`function` of each item, in order, over `num_proc` processes, with a progress bar (rate and time left)."""
    with tqdm(total=len(items), unit=f" {unit}", smoothing=0.05) as bar:
        if num_proc == 1:
            results = map(function, items)
            for result in results:
                bar.update()
                yield result
        else:
            with Pool(num_proc) as pool:
                for result in pool.imap(function, items, chunksize=8):
                    bar.update()
                    yield result


def write_dataset(
    rows: Iterable[dict],
    output_dir: Path,
    body: Callable[[], str],
    rows_per_shard: int = ROWS_PER_SHARD,
    columns: datasets.Features | None = None,
    classes: GaitClasses | None = None,
    **card: object,
) -> int:
    """Write rows as Parquet shards and a data card; returns the number of rows.

    Args:
        rows: in the schema of `walk_features`, or of `columns`; read once.
        output_dir: made, or replaced if it holds an earlier data set of the same `pretty_name`.
        body: called after the last row; the Markdown of the card below its metadata.
        classes: of the rows, where they are not the package's; gait_classes.json in the folder says what they mean.
        card: metadata fields of the card (`license`, `pretty_name`, `tags` ...).

    Raises:
        ValueError: `output_dir` holds something else or another data set, or there is no row.
    """
    output_dir = Path(output_dir)
    check_output(output_dir)
    check_name(output_dir, card.get("pretty_name"))
    with atomic_folder(output_dir) as work:
        rows = iter(rows)
        if (first := next(rows, None)) is None:
            raise ValueError("no row to write: there is no file, or every one was skipped")
        labels = classes.labels if classes else PATHOLOGIES
        shards = Shards(work / "data", columns or walk_features(first["joints"].shape[1], labels), rows_per_shard)
        shards.add(itertools.chain([first], rows))
        shards.close()
        if classes:
            classes.save(work)
        (work / "README.md").write_text(full_card(body(), {"default": shards}, **card), encoding="utf-8")
    return shards.rows


def check_output(output_dir: Path, parts: Sequence[str] = ("data", CLASSES_FILE)) -> None:
    """Raise ValueError unless `output_dir` is absent, empty, or an earlier data set of these parts, which may be replaced."""
    if output_dir.is_dir():
        others = sorted({p.name for p in output_dir.iterdir()} - {"README.md", *parts})
        if others:
            raise ValueError(
                f"{output_dir} is not a data set folder: it holds {', '.join(others[:5])}; choose a new --output_dir"
            )
    elif output_dir.exists():
        raise ValueError(f"{output_dir} is a file; --output_dir must be a folder")


def check_name(output_dir: Path, name: str | None) -> None:
    """Raise ValueError where the card in `output_dir` is of a data set of another `pretty_name`."""
    card = output_dir / "README.md"
    if card.is_file() and (held := DatasetCard.load(card, ignore_metadata_errors=True).data.pretty_name) != name:
        raise ValueError(f"{output_dir} holds another data set ({held or 'without a name'}); choose a new --output_dir")


class Shards:
    """Parquet shards in a folder: `add` rows, `close` writes the rest and names them train-0000i-of-0000N.parquet."""

    def __init__(self, folder: Path, columns: datasets.Features, rows_per_shard: int = ROWS_PER_SHARD):
        self.folder, self.columns, self.size = folder, columns, rows_per_shard
        self.batch, self.paths, self.rows, self.num_bytes = [], [], 0, 0
        folder.mkdir()

    def add(self, rows: Iterable[dict]) -> None:
        for row in rows:
            self.batch.append(row)
            if len(self.batch) == self.size:
                self._write()

    def _write(self) -> None:
        columns = {name: [row[name] for row in self.batch] for name in self.columns}
        table = datasets.Dataset.from_dict(columns, features=self.columns)
        self.paths.append(self.folder / f"part-{len(self.paths):05d}.parquet")
        was_on = datasets.is_progress_bar_enabled()
        datasets.disable_progress_bars()
        table.to_parquet(self.paths[-1])
        if was_on:
            datasets.enable_progress_bars()
        self.num_bytes += int(table.data.nbytes)
        self.rows, self.batch = self.rows + len(self.batch), []

    def close(self) -> None:
        if self.batch:
            self._write()
        for i, path in enumerate(self.paths):
            self.paths[i] = path.rename(self.folder / f"train-{i:05d}-of-{len(self.paths):05d}.parquet")

    def info(self) -> datasets.DatasetInfo:
        splits = datasets.SplitDict()
        splits.add(datasets.SplitInfo("train", num_bytes=self.num_bytes, num_examples=self.rows))
        download = sum(p.stat().st_size for p in self.paths)
        return datasets.DatasetInfo(features=self.columns, splits=splits, download_size=download, dataset_size=self.num_bytes)


def full_card(body: str, parts: dict[str, Shards], **fields: object) -> str:
    """Data card: YAML metadata that the Hub and `load_dataset` read, then `body`; of several configurations the last is the one
    that is loaded unasked."""
    rows, several = sum(shards.rows for shards in parts.values()), len(parts) > 1
    configs = [
        {"config_name": name, "data_files": [{"split": "train", "path": f"{shards.folder.name}/train-*"}]}
        | ({"default": name == list(parts)[-1]} if several else {})
        for name, shards in parts.items()
    ]
    about = {"task_categories": ["other"], "tags": ["gait", "skeleton", "motion", "biomechanics"], "configs": configs}
    about["size_categories"] = ["n<1K" if rows < 1000 else "1K<n<10K" if rows < 10000 else "10K<n<100K"]
    data = DatasetCardData(**(about | fields))
    datasets.info.DatasetInfosDict({name: shards.info() for name, shards in parts.items()}).to_dataset_card_data(data)
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def card_text(script: str, **values: object) -> str:
    """The text of a data card: cards/NAME.md beside the script NAME.py, its places filled with `values` and `columns`."""
    place = Path(script).resolve()
    return (place.parent / "cards" / f"{place.stem}.md").read_text(encoding="utf-8").format(columns=COLUMNS, **values)


def cleaning_table(reports: list[CleaningReport]) -> str:
    """Markdown: of each artefact in how many files it is, how often, and what was done."""
    lines = ["| artefact | files | count | what was done |", "|---|---:|---:|---|"]
    for name, (what, done) in ARTEFACTS.items():
        counts = [getattr(r, name) for r in reports]
        lines.append(f"| {what} | {sum(c > 0 for c in counts):,} | {sum(counts):,} | {done} |")
    return "\n".join(lines)
