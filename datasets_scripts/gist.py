"""Pathological Gait Dataset (gist): 7,200 Kinect v2 text files -> Parquet shards and a data card.

    python datasets_scripts/gist.py --data_dir Pathological_Gaits --output_dir OUT
    python datasets_scripts/gist.py --output_dir OUT                       # downloads the authors' archive
    python datasets_scripts/gist.py --data_dir DIR --output_dir OUT --subjects 1 2 --num_proc 2 --on_error skip

In: DIR with human{S}_{class}{R}/human{S}_{class}{R}_SkeletonData{K}.csv at any depth: tab separated, 101 columns: time [s],
then 25 times (joint id, x, y, z [m]). Out: one row a file in the schema of `common.walk_features`, at 30 frames a second,
cleaned by `modeling_gait.cleaning`; what was cleaned is counted in the card. Then `load_dataset("OUT")`.

Jun, Lee, Lee, Lee, Kim (2020): Pathological gait classification using Kinect v2 and gated recurrent neural networks. IEEE
Access.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

from modeling_gait import schema as common
from modeling_gait.cleaning import CleaningReport, canonicalise, clean_walk
from modeling_gait.gait_parameters import compute_gait_parameters

REPOSITORY = "https://github.com/kooksung/pathological_gait_datasets"
BRANCHES = ("master", "main")
CLASSES = ("normal", "antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg")
# The authors do not say which side. In the data it is the right one: its knee, hip or foot differs from normal, and standing
# on it the left hip drops (trendelenburg: clear in six of ten people, nobody shows the opposite).
SIDES = dict.fromkeys(CLASSES, "right") | {"normal": "none"}
FILE_NAME = re.compile(rf"human(\d+)_({'|'.join(CLASSES)})(\d+)_SkeletonData(\d+)\.csv")
LAYOUT = "human{S}_{class}{R}/human{S}_{class}{R}_SkeletonData{K}.csv"
FPS = 30.0
JOINTS = 25
COLUMNS = 1 + 4 * JOINTS


# --- reading -----------------------------------------------------------------------------------------------------------------


def find_files(data_dir: Path, subjects: list[int] | None = None) -> list[Path]:
    """The data set's files anywhere below `data_dir`, by subject, class, repetition and sensor.

    Raises:
        ValueError: no such folder, no file of the data set in it, or none of an asked subject.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise ValueError(f"{data_dir} is not a folder; --data_dir must hold {LAYOUT}")
    found: dict[str, Path] = {}  # by name: an archive may hold a walk twice, under an old and a new folder name
    for path in sorted(data_dir.rglob("human*_SkeletonData*.csv")):
        found[path.name] = path
    if not found:
        raise ValueError(f"{data_dir} holds no file of the data set; expected {LAYOUT} below it")
    if subjects:
        there = {int(m[1]) for name in found if (m := re.match(r"human(\d+)_", name))}
        missing = sorted(set(subjects) - there)
        if missing:
            raise ValueError(f"{data_dir} holds no file of subjects {missing}; it has subjects {sorted(there)}")
        found = {n: p for n, p in found.items() if (m := re.match(r"human(\d+)_", n)) and int(m[1]) in subjects}
    order = {name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)] for name in found}
    return [found[name] for name in sorted(found, key=order.__getitem__)]


def read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Raw time stamps (T,) [s] and joints (T, 25, 3) [m] of one file, as measured.

    Raises:
        ValueError: naming the file and the first line that is not 101 tab-separated numbers.
    """
    raw = Path(path).read_bytes()
    try:
        table = pd.read_csv(io.BytesIO(raw), sep="\t", header=None, dtype=np.float64, quoting=3).to_numpy()
        whole = table.shape[1] == COLUMNS and raw.count(b"\t") == (COLUMNS - 1) * len(table)
    except (ValueError, UnicodeDecodeError):  # pandas' errors are ValueErrors
        whole = False
    if not whole or (table[:, 1::4] != np.arange(JOINTS)).any():
        raise ValueError(f"{path}: {_first_fault(raw)}")
    return table[:, 0], table[:, 1:].reshape(len(table), JOINTS, 4)[:, :, 1:]


def _first_fault(raw: bytes) -> str:
    """Which line of a file that could not be read is wrong, and how."""
    if not raw.strip():
        return "the file is empty"
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        if b"\0" in line or not line.isascii():
            return f"line {number}: not text; expected {COLUMNS} tab-separated numbers"
        cells = line.decode("ascii").split("\t")
        if len(cells) != COLUMNS:
            return f"line {number}: {len(cells)} tab-separated columns, expected {COLUMNS} (time, then 25 x id, x, y, z)"
        for column, cell in enumerate(cells, 1):
            try:
                value = float(cell or "nan")  # an empty cell is a missing value
            except ValueError:
                return f"line {number}, column {column}: {cell[:20]!r} is not a number"
            if column % 4 == 2 and value != column // 4:
                return f"line {number}, column {column}: joint id {cell[:20]!r}, expected {column // 4}"
    return "cannot be read as a table of numbers"


def make_row(path: Path) -> tuple[dict, CleaningReport]:
    """Read, clean and describe one file. Raises ValueError naming the file."""
    match = FILE_NAME.fullmatch(path.name)
    if not match:
        raise ValueError(f"{path}: unknown name; expected human{{S}}_{{class}}{{R}}_SkeletonData{{K}}.csv, class {CLASSES}")
    subject, pathology, repetition, sensor = match.groups()
    times, joints = read_file(path)
    try:
        joints, report = clean_walk(times, joints, fps=FPS)
        joints = canonicalise(joints)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    walk_id = f"human{subject}_{pathology}{repetition}"
    attributes = {"side": SIDES[pathology]}
    row = common.walk_row(
        joints,
        FPS,
        subject_id=subject,
        walk_id=walk_id,
        sensor=sensor,
        pathology=pathology,
        attributes=attributes,
        parameters=compute_gait_parameters(joints, FPS, filled=report.filled),
    )
    return row, report


# --- builder -----------------------------------------------------------------------------------------------------------------


@dataclass
class GistConfig(datasets.BuilderConfig):
    """subjects: which of 1..10, None for all; on_error: "raise" or "skip" a bad file."""

    subjects: tuple[int, ...] | None = None
    on_error: str = "raise"


class GistBuilder(datasets.GeneratorBasedBuilder):
    """`GistBuilder(data_dir=DIR, subjects=(1, 2)).download_and_prepare(num_proc=2)`, then `.as_dataset("train")`."""

    BUILDER_CONFIG_CLASS = GistConfig
    VERSION = datasets.Version("1.0.0")

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=common.walk_features(), homepage=REPOSITORY)

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        folder = self.config.data_dir or download(dl_manager)
        files = [str(p) for p in find_files(Path(folder), list(self.config.subjects or ()))]
        return [datasets.SplitGenerator("train", gen_kwargs={"files": files})]

    def _generate_examples(self, files: list[str]) -> Iterator[tuple[str, dict]]:
        for file in files:
            result = common.attempt(make_row, self.config.on_error, Path(file))
            if isinstance(result, str):
                datasets.logging.get_logger(__name__).warning("skipped: %s", result)
            else:
                yield Path(file).name, result[0]


def download(dl_manager: datasets.DownloadManager) -> str:
    """Folder of the authors' archive, downloaded once. Raises ValueError where the network does not reach it."""
    for branch in BRANCHES:
        try:
            return dl_manager.download_and_extract(f"{REPOSITORY}/archive/refs/heads/{branch}.zip")
        except (OSError, ValueError) as error:
            reason = error
    raise ValueError(f"cannot download {REPOSITORY} ({reason}); get it by other means and give its folder as --data_dir")


# --- command line ------------------------------------------------------------------------------------------------------------


def prepare(
    data_dir: Path | None, output_dir: Path, subjects: list[int] | None = None, num_proc: int = 2, on_error: str = "raise"
) -> tuple[int, list[CleaningReport], list[str]]:
    """Files -> Parquet shards and card in `output_dir`; returns the number of rows, their reports and what was skipped.

    Raises:
        ValueError: naming the file and line (`on_error="raise"`), the folder, or the argument that is wrong.
    """
    common.check_output(Path(output_dir))
    files = find_files(Path(data_dir or download(datasets.DownloadManager())), subjects)
    reports: list[CleaningReport] = []
    skipped: list[str] = []
    people: set[str] = set()

    def rows() -> Iterator[dict]:
        for row, report in common.readable(make_row, on_error, files, num_proc, "files", skipped):
            reports.append(report)
            people.add(row["subject_id"])
            yield row

    total = common.write_dataset(
        rows(),
        Path(output_dir),
        lambda: card_body(reports, skipped, ", ".join(sorted(people, key=int))),
        pretty_name="Pathological Gait Dataset (Kinect v2), cleaned",
        license="other",
        license_name="none-stated",
        license_link=REPOSITORY,
    )
    return total, reports, skipped


def card_body(reports: list[CleaningReport], skipped: list[str], people: str) -> str:
    """The data card below its metadata."""
    frames_in, frames_out = sum(r.frames_in for r in reports), sum(r.frames_out for r in reports)
    lost = "".join(f"\n- {Path(message.split(': ')[0]).name}: {': '.join(message.split(': ')[1:])}" for message in skipped)
    return common.card_text(
        __file__,
        recordings=len(reports),
        frames_in=frames_in,
        frames_out=frames_out,
        fps=FPS,
        people=people,
        repository=REPOSITORY,
        cleaning=common.cleaning_table(reports),
        skipped=len(skipped),
        lost=lost,
    )


def main(argv: list[str] | None = None) -> None:
    parser = common.builder_parser(__doc__)
    parser.add_argument("--data_dir", type=Path, help="folder with the authors' files at any depth; default: download them")
    parser.add_argument("--subjects", type=int, nargs="+", help="only these of 1..10; default: all")
    args = parser.parse_args(argv)
    with common.errors_told():
        total, reports, skipped = prepare(**vars(args))
    print(common.cleaning_table(reports))
    print(f"{total:,} rows in {args.output_dir}, {len(skipped)} files skipped")


if __name__ == "__main__":
    main()
