"""What the readers of all formats share: `Points`, names of joints, tables of numbers in text.

In: titles of columns, markers, nodes; text. Out: the package's joint names (`left_knee`), arrays of numbers, and `Points`, in
which each reader hands on what its file holds: named points (T, 3) in the file's own units and axes. `loading` makes a walk of
them.
"""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .files import MAX_FRAMES, check_growth
from .skeletons import SKELETONS, Skeleton


@dataclass
class Points:
    """What a file holds.

    Attributes:
        points: joint name -> (T, 3) in the file's units and axes, nan where the file holds no number.
        times: (T,) as the file states them, in any unit; tick: seconds of one unit, where the file says so.
        fps: frames per second that the file states.
        skeleton: the skeleton whose joints these are, where the format fixes it.
        metres: how many metres one of the file's units is, where it says so.
        notes: what the reader assumed, a sentence each.
        events: the file's own gait events, `left_heel_strikes` ... -> times (N,) [s] after the first frame.
        stated: the file's own gait parameters, name -> (value, unit).
    """

    points: dict[str, np.ndarray]
    times: np.ndarray | None = None
    tick: float | None = None
    fps: float | None = None
    skeleton: Skeleton | None = None
    metres: float | None = None
    notes: list[str] = field(default_factory=list)
    events: dict[str, np.ndarray] | None = None
    stated: dict[str, tuple[float, str]] | None = None


TWO_D = (
    "2D keypoints of a picture, from which lengths, speed and angles out of the picture can't be measured; expected joints "
    "in 3D (of a depth camera, of several cameras, or lifted, as MediaPipe's world landmarks)"
)

METRES = {"m": 1.0, "meters": 1.0, "metres": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "inches": 0.0254}

# 33 landmarks of MediaPipe Pose, and the 17 keypoints of COCO
MEDIAPIPE_33 = [
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
]
COCO_17 = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
]
BODY_25 = [
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_foot",
    "left_small_toe",
    "left_heel",
    "right_foot",
    "right_small_toe",
    "right_heel",
]

_SIDED = {n[5:].replace("_", ""): n[5:] for s in SKELETONS.values() for n in s.joint_names if n.startswith("left_")}
_SIDED |= dict.fromkeys(("toe", "toes", "bigtoe", "toebase", "footindex"), "foot")
_CENTRAL = {n.replace("_", ""): n for s in SKELETONS.values() for n in s.joint_names if not n.startswith(("left_", "right_"))}
_CENTRAL |= dict.fromkeys(("spinebase", "hips", "hip", "chip", "hipcenter", "hipcentre", "midhip", "root"), "pelvis")
_CENTRAL |= {"spinemid": "spine", "spinenavel": "spine", "shouldercenter": "spine_shoulder", "shouldercentre": "spine_shoulder"}
# Files that name the segment below a joint instead of the joint: LeftUpLeg starts at the left hip.
SEGMENTS = dict.fromkeys(("upleg", "upperleg", "thigh"), "hip") | dict.fromkeys(
    ("leg", "lowleg", "lowerleg", "calf", "shin"), "knee"
)
SEGMENTS |= {"foot": "ankle"} | dict.fromkeys(("toebase", "toe", "toes", "toe0", "ball"), "foot")
SEGMENTS |= dict.fromkeys(("arm", "uparm", "upperarm"), "shoulder") | dict.fromkeys(("forearm", "lowarm", "lowerarm"), "elbow")
SEGMENTS |= {"hand": "wrist"} | dict.fromkeys(("shoulder", "collar", "clavicle"), "clavicle")

_NOISE = ("m", "cm", "mm", "pos", "position", "joint", "mixamorig", "bip", "01", "001")  # units, rig prefixes (Bip01 L Thigh)


def words(title: str) -> list[str]:
    """'KneeLeft.X [m]' -> ['knee', 'left', 'x']: words of snake, camel or blank separated names, units left out."""
    found = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", title[:200])]
    return [w for w in found if w not in _NOISE]


def joint_name(parts: list[str], sided: dict[str, str] = _SIDED) -> str | None:
    """['knee', 'left'] or ['l', 'knee'] or ['leftknee'] -> 'left_knee'; None for a name that no skeleton has."""
    key = "".join(parts)
    if key in _CENTRAL:
        return _CENTRAL[key]
    for side in ("left", "right"):
        for mark in (side, side[0]):
            for base in (key.removeprefix(mark), key.removesuffix(mark)):
                if base != key and base in sided:
                    return f"{side}_{sided[base]}"
    return None


def joint_and_axis(title: str) -> tuple[str, int] | None:
    """'KneeLeft.x', 'left_knee_x', 'x_LeftKnee', 'leftkneex' -> ('left_knee', 0); None for any other column."""
    parts = words(title)
    if len(parts) > 1 and parts[0] in "xyz":
        parts = [*parts[1:], parts[0]]
    if not parts or parts[-1][-1] not in "xyz":
        return None
    name = joint_name([*parts[:-1], parts[-1][:-1]])
    return (name, "xyz".index(parts[-1][-1])) if name else None


def named(points: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Points under a file's names as points under joint names; others are left out, of equal names the first counts."""
    found: dict[str, np.ndarray] = {}
    for title, values in points.items():
        if (name := joint_name(words(title))) is not None:
            found.setdefault(name, values)
    return found


LEGS = tuple(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right"))


def parse_number(cell: str) -> float | None:
    """The number in a cell, nan if it is empty or NA, None if it is text."""
    if cell in ("", "NA", "None", "null"):
        return np.nan
    try:
        return None if "_" in cell else float(cell)  # float() would take 1_000
    except ValueError:
        return None


def cells(line: str, separator: str) -> list[str]:
    """Cells of a line; blanks separate where no other separator is; decimal commas are read beside tabs and semicolons."""
    if separator not in line:
        return line.split()
    try:
        found = [c.strip() for c in next(csv.reader([line.rstrip("\r\n")], delimiter=separator))]
    except csv.Error:  # a cell of more than 128 KiB
        found = [c.strip() for c in line.split(separator)]
    return found if separator == "," else [c.replace(",", ".") for c in found]


class TextTable:
    """A table's text, of which `numbers` reads columns; `above`: lines of the file that are left out above it."""

    def __init__(self, path: Path, text: str, separator: str, above: int = 0):
        self.path, self.text, self.separator, self.above = path, text, separator, above

    def numbers(self, start: int, width: int, titles: list[str] | None = None, columns: list[int] | None = None) -> np.ndarray:
        """Numbers (T, C) of the `columns` (default all `width`) in the lines from `start` on (counted from 1)."""
        columns = list(range(width)) if columns is None else columns
        lines = self.text if start == 1 else self.text[line_start(self.text, start) :]
        check_growth(self.path, len(self.text), (lines.count("\n") + 1) * width * 8)
        table = self._quickly(lines, width, columns)
        return self._line_by_line(lines, start + self.above, width, titles, columns) if table is None else table

    def _quickly(self, lines: str, width: int, columns: list[int]) -> np.ndarray | None:
        import pandas

        blanks = self.separator not in lines[: lines.find("\n") + 1 or None]
        commas = self.separator != "," and "," in lines
        if "#" in lines or (commas and "." in lines):
            return None
        options = {"sep": r"\s+" if blanks else self.separator, "decimal": "," if commas else "."}
        options |= {"usecols": None if blanks else columns, "keep_default_na": False, "dtype": np.float64, "header": None}
        try:
            frame = pandas.read_csv(
                io.BytesIO(lines.encode()),
                **options,
                na_values=["", "NA", "None", "null", "nan", "NaN"],
                engine="c",
                low_memory=False,
            )
        except (ValueError, OverflowError, MemoryError):  # pandas' ParserError is a ValueError
            return None
        table = frame.to_numpy()
        # pandas fills short rows: without a separator to count, an empty last cell is looked at again
        short = np.isnan(table[:, -1]).any() if blanks else lines.count(self.separator) != len(table) * (width - 1)
        if short or (blanks and table.shape[1] != width):
            return None
        return table[:, columns] if blanks else table

    def _line_by_line(self, lines: str, start: int, width: int, titles: list[str] | None, columns: list[int]) -> np.ndarray:
        table = []
        for number, line in enumerate(lines.splitlines(), start):
            if not line.strip() or line[0] == "#":
                continue
            row = cells(line, self.separator)
            if len(row) != width:
                raise ValueError(f"{self.path}, line {number}: has {len(row)} columns, expected {width} as in the first line")
            values = [parse_number(row[c]) for c in columns]
            if None in values:
                c = columns[values.index(None)]
                title = f" ({titles[c]})" if titles else ""
                raise ValueError(f"{self.path}, line {number}, column {c + 1}{title}: expected a number, got {row[c][:40]!r}")
            table.append(values)
            if len(table) > MAX_FRAMES:
                raise ValueError(f"{self.path}, line {number}: more than {MAX_FRAMES} frames, the most that is read")
        if not table:
            raise ValueError(f"{self.path}: holds no row of numbers")
        return np.array(table)


def line_start(text: str, line: int) -> int:
    """Index of the first character of a line (counted from 1)."""
    place = 0
    for _ in range(line - 1):
        place = text.find("\n", place) + 1 or len(text)
    return place
