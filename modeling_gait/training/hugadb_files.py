"""HuGaDB's text files: their layout, what the authors say of them, finding and reading them.

In: HuGaDB_v1_{activity}_{subject}_{count}.txt. Out: tables (T, 39) of integers as written, and which cells are malformed.
"""

import functools
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

FPS = 1000 / 17  # 58.82 Hz: the README's 2,111,962 samples in 35,903 s
FILE_NAME = re.compile(r"HuGaDB_v1_(\w+)_(\d\d)_(\d\d)\.txt")
SENSORS = ("rf", "rs", "rt", "lf", "ls", "lt")  # right foot, shin, thigh, left foot, shin, thigh
IMU = [f"{kind}_{sensor}_{axis}" for sensor in SENSORS for kind in ("acc", "gyro") for axis in "xyz"]
COLUMNS = [*IMU, "EMG_r", "EMG_l", "act"]
ACCELEROMETERS = np.array([name.startswith("acc") for name in IMU])
SCALE = np.where(ACCELEROMETERS, 2 * 9.80665, np.radians(2000)) / 32768  # int16 -> m/s^2, rad/s
LOW, HIGH = -32768, 32764  # accelerometers count in steps of 4: at and beyond these a sensor is saturated
ACTIVITIES = (
    *("walking", "running", "going_up", "going_down", "sitting", "sitting_down", "standing_up", "standing"),
    *("bicycling", "up_by_elevator", "down_by_elevator", "sitting_in_car"),
)
AGE = (24, 22, 23, 24, 35, 25, 22, 23, 24, 27, 24, 23, 18, 19, 23, 26, 25, 19)  # [years], subjects 1 to 18
HEIGHT = (177, 183, 183, 189, 183, 168, 161, 176, 175, 183, 203, 192, 174, 175, 178, 164, 179, 180)  # [cm]
WEIGHT = (75, 80, 65, 93, 63, 54, 52, 80, 65, 118, 85, 85, 64, 68, 72, 48, 85, 70)  # [kg]
SEX = "MMMMMFFMFMMMMMMFMM"
# The README's tables "Corrupted gyroscope data" (amplified ten times and clipped): activity_subject: counts sensors; ... | ...


@functools.cache
def corrupted_gyroscopes() -> dict[str, tuple[str, ...]]:
    """Recording ("walking_03_00") -> its sensors whose gyroscope the authors call corrupted."""
    out = {}
    for group in re.split(r" \| |\n", Path(__file__).with_name("hugadb_corrupted.txt").read_text().strip()):
        prefix, parts = group.split(": ")
        for part in parts.split("; "):
            counts, *sensors = part.split()
            for span in counts.split(","):
                first, _, last = span.partition("-")
                for count in range(int(first), int(last or first) + 1):
                    out[f"{prefix}_{count:02d}"] = SENSORS if sensors == ["all"] else tuple(sensors)
    return out


def find_files(data_dir: Path, subjects: list[int] | None = None) -> list[Path]:
    """The data set's files anywhere below `data_dir`, by subject and name.

    Raises:
        ValueError: no such folder, no file of the data set in it, a file there twice, or none of an asked subject.
    """
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise ValueError(f"{data_dir} is not a folder; --data_dir must hold HuGaDB_v1_{{activity}}_{{subject}}_{{count}}.txt")
    found: dict[str, Path] = {}
    for path in sorted(data_dir.rglob("HuGaDB_v*.txt")):
        if not FILE_NAME.fullmatch(path.name):
            raise ValueError(f"{path}: unknown name; expected HuGaDB_v1_{{activity}}_{{subject}}_{{count}}.txt, version 1")
        if path.name in found:
            raise ValueError(f"{path}: the file is there twice, also as {found[path.name]}")
        found[path.name] = path
    if not found:
        raise ValueError(f"{data_dir} holds no file HuGaDB_v1_{{activity}}_{{subject}}_{{count}}.txt")
    people = {name: int(FILE_NAME.fullmatch(name)[2]) for name in found}
    missing = sorted(set(subjects or ()) - set(people.values()))
    if missing:
        raise ValueError(f"{data_dir} holds no file of subjects {missing}; it has subjects {sorted(set(people.values()))}")
    return [found[n] for n in sorted(found, key=lambda n: (people[n], n)) if not subjects or people[n] in subjects]


def read_file(path: Path) -> tuple[np.ndarray, list[tuple[int, str, int]]]:
    """Table (T, 39) int64 as written, and the malformed cells: (line, column, value) outside of int16 (EMG: uint8).

    Raises:
        ValueError: naming the file and the first line that is not 39 tab-separated integers or has an unknown activity.
    """
    raw = Path(path).read_bytes()
    lines = raw.split(b"\n", 4)
    if not all(n.startswith(b"#") for n in lines[:3]) or len(lines) < 5 or lines[3].decode("latin-1").split() != COLUMNS:
        raise ValueError(
            f"{path}: lines 1 to 4 are not the header: #Activity, #ActivityID, #Date, {COLUMNS[0]} ... {COLUMNS[-1]}"
        )
    try:
        table = pd.read_csv(io.BytesIO(lines[4]), sep="\t", header=None, dtype=np.int64, quoting=3, skip_blank_lines=False)
        table = table.to_numpy()
        whole = table.shape[1] == len(COLUMNS) and lines[4].count(b"\t") == (len(COLUMNS) - 1) * len(table)
    except (ValueError, UnicodeDecodeError, OverflowError):  # pandas' errors are ValueErrors
        whole = False
    if not whole or not np.isin(table[:, -1], np.arange(1, 13)).all():
        raise ValueError(f"{path}: {_first_fault(lines[4])}")
    low = np.where(np.arange(38) < 36, -32768, 0)
    high = np.where(np.arange(38) < 36, 32767, 255)
    wrong = np.argwhere((table[:, :38] < low) | (table[:, :38] > high))
    return table, [(int(r) + 5, COLUMNS[c], int(table[r, c])) for r, c in wrong]


def _first_fault(raw: bytes) -> str:
    """Which line of a table that could not be read is wrong, and how."""
    if not raw.strip():
        return "the file has a header and no sample"
    for number, line in enumerate(raw.rstrip(b"\r\n").split(b"\n"), 5):
        cells = line.decode("latin-1").rstrip("\r").split("\t")
        if len(cells) != len(COLUMNS):
            return f"line {number}: {len(cells)} tab-separated columns, expected {len(COLUMNS)}"
        for name, cell in zip(COLUMNS, cells):
            if not re.fullmatch(r"-?\d{1,18}", cell):
                return f"line {number}, column {name}: {cell[:20]!r} is not an integer"
        if not 1 <= int(cells[-1]) <= 12:
            return f"line {number}, column act: {cells[-1]}, expected an activity from 1 to 12"
    return "cannot be read as a table of integers"
