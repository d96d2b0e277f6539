"""Text tables of joints or markers: `read_table` reads CSV, TSV and TXT.

In: a file with one row a frame. Out: `Points`. Layouts: a header naming `left_knee_x`, `KneeLeft.x`, `Knee Left X, Y, Z`, ...;
no header and J*3, time + J*3, or time + J*(id, x, y, z) columns; DeepLabCut and Anipose (rows scorer, bodyparts, coords);
MediaPipe, numbered (`x0, y0, z0, v0`) or one row a landmark; Vicon Nexus (Trajectories) and Qualisys (NO_OF_FRAMES).
Numbers are read by pandas; what it cannot read is read again line by line, to say where it is.
"""

import re
from pathlib import Path

import numpy as np

from .files import check_growth, read_text
from .formats import METRES, TextTable, cells, line_start, parse_number
from .formats_markers import from_markers
from .points import MAX_POINTS, MEDIAPIPE_33, TWO_D, Points, joint_name, words
from .skeletons import SKELETONS, Skeleton

_CLOCKS = ("time", "times", "timestamp", "timestamps", "t", "seconds", "sec", "frame", "frames")
_TICKS = {"seconds": 1.0, "sec": 1.0, "s": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6, "usec": 1e-6, "ns": 1e-9, "nsec": 1e-9}


def read_table(path: Path, skeleton: Skeleton | None) -> Points:
    """Points of a text table. `skeleton`: whose joints the columns are, where they have no names.

    Raises ValueError naming file, line and column; OSError if the file cannot be read.
    """
    text = read_text(path)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    head = [(n, line) for n, line in enumerate(text[: line_start(text, 200)].split("\n"), 1) if line.strip() and line[0] != "#"]
    if not head:
        raise ValueError(f"{path}: holds only comments")
    line = head[min(3, len(head) - 1)][1]
    separator = next((s for s in "\t;" if line.count(s) > 1), ",")  # before commas, which may be decimal
    rows = [(n, cells(line, separator)) for n, line in head[:6]]
    if len(rows[0][1]) > 4 * MAX_POINTS:
        raise ValueError(f"{path}, line {rows[0][0]}: has {len(rows[0][1])} columns, at most {4 * MAX_POINTS} are read")
    table = TextTable(path, text, separator)
    first = rows[0][1][0].strip('"').lower()
    if first in ("trajectories", "model outputs", "devices", "joints", "segments"):
        return _vicon(table, rows)
    if first == "no_of_frames":
        return _qualisys(table, head, separator)
    if first == "scorer" or (first in ("bodyparts", "individuals") and len(rows) > 1):
        return _deeplabcut(table, rows)
    filled = [c for c in rows[0][1] if c]
    if sum(parse_number(c) is None for c in filled) <= len(filled) / 2:
        return _positional(table.numbers(rows[0][0], len(rows[0][1])), skeleton, path)
    if len(rows) < 2:
        raise ValueError(f"{path}: holds a header and no frames")
    return _named(table, _repeated_names(rows[0][1]), rows[1][0])


# ---------------------------------------------------------------- columns with names, columns without


def _repeated_names(header: list[str]) -> list[str]:
    """'Foot Left X', 'Y', 'Z' -> each with its name."""
    out, name = [], ""
    for title in header:
        if title.strip().lower() in ("y", "z") and name:
            title = f"{name} {title.strip()}"
        elif re.search(r"\bx$", title.strip(), re.I):
            name = title.strip()[:-1].strip()
        out.append(title)
    return out


def _is_time(title: str) -> bool:
    parts = words(title)
    return bool(parts) and parts[0] in _CLOCKS and (parts[0] != "t" or parts[1:] in ([], ["s"], ["ms"]))  # T10 is a marker


def _tick(title: str) -> float | None:
    """Seconds of one unit of a clock whose title says it: 'time [ms]', 'timestamp_usec'."""
    unit = [w for w in re.findall("[a-z]+", title.lower()) if w in _TICKS]
    return _TICKS[unit[-1]] if unit else None


def joint_and_axis(title: str) -> tuple[str, int] | None:
    """'KneeLeft.x', 'left_knee_x', 'x_LeftKnee', 'leftkneex' -> ('left_knee', 0); None for any other column."""
    parts = words(title)
    if len(parts) > 1 and parts[0] in "xyz":
        parts = [*parts[1:], parts[0]]
    if not parts or parts[-1][-1] not in "xyz":
        return None
    name = joint_name([*parts[:-1], parts[-1][:-1]])
    return (name, "xyz".index(parts[-1][-1])) if name else None


def _named(table: TextTable, header: list[str], start: int) -> Points:
    path, found = table.path, {}
    lowered = [t.strip().lower() for t in header]
    if {"x", "y", "z"} <= set(lowered) and any("landmark" in t or "joint" in t or "keypoint" in t for t in lowered):
        return _one_row_a_landmark(table, lowered, start)
    numbered = [re.fullmatch(r"(?:landmark_?|lm_?|joint_?)?(\d+)_?([xyz])|([xyz])_?(\d+)", t) for t in lowered]
    places = {c: (int(m[1] or m[4]), "xyz".index(m[2] or m[3])) for c, m in enumerate(numbered) if m}
    if places:
        counts = {n for n, _ in places.values()}
        if len(counts) != 33 or max(counts) - min(counts) != 32:
            raise ValueError(
                f"{path}: {len(counts)} numbered joints; expected the 33 of MediaPipe, or names such as left_knee_x"
            )
        header = [
            f"{MEDIAPIPE_33[places[c][0] - min(counts)]}_{'xyz'[places[c][1]]}" if c in places else t
            for c, t in enumerate(header)
        ]
    for c, title in enumerate(header):
        if place := joint_and_axis(title):
            joint, axis = place
            if axis in found.setdefault(joint, {}):
                raise ValueError(f"{path}, column {c + 1} ({title}): a second column for {joint}_{'xyz'[axis]}")
            found[joint][axis] = c
    if not found:
        raise ValueError(
            f"{path}: no column is named after a joint; expected for example left_knee_x, or no header line and the joints "
            f"of one of {', '.join(SKELETONS)} in their order"
        )
    flat = [joint for joint, columns in found.items() if set(columns) == {0, 1}]
    if len(flat) == len(found):
        raise ValueError(f"{path}: {flat[0]} and all others have x and y and no z: {TWO_D}")
    for joint, columns in found.items():
        for axis in {0, 1, 2}.difference(columns):
            raise ValueError(f"{path}: has no column {joint}_{'xyz'[axis]} beside the other coordinates of {joint}")
    clocks = [c for c, title in enumerate(header) if _is_time(title)]
    clocks.sort(key=lambda c: words(header[c])[0].startswith("frame"))  # a time before a frame counter
    order = sorted([c for columns in found.values() for c in columns.values()] + clocks[:1])
    numbers = table.numbers(start, len(header), header, order)
    at = {c: i for i, c in enumerate(order)}
    points = {joint: numbers[:, [at[columns[axis]] for axis in range(3)]] for joint, columns in found.items()}
    clock = header[clocks[0]] if clocks else ""
    times = None if not clocks or words(clock)[0].startswith("frame") else numbers[:, at[clocks[0]]]
    return Points(points, times, _tick(clock))


def _positional(table: np.ndarray, skeleton: Skeleton | None, path: Path) -> Points:
    width = table.shape[1]
    for s in [skeleton] if skeleton else SKELETONS.values():
        times, joints = None, None
        if width == 3 * len(s):
            joints = table.reshape(len(table), -1, 3)
        elif width == 3 * len(s) + 1:
            times, joints = table[:, 0], table[:, 1:].reshape(len(table), -1, 3)
        elif width == 4 * len(s) + 1:
            rows = table[:, 1:].reshape(len(table), -1, 4)
            ids = rows[0, :, 0]
            if sorted(ids) != list(range(len(s))) or not (rows[..., 0] == ids).all():
                raise ValueError(f"{path}: columns 2, 6, 10, ... must hold the joint ids 0 to {len(s) - 1}, alike in all rows")
            times, joints = table[:, 0], rows[:, np.argsort(ids), 1:]
        if joints is not None:
            return Points({n: joints[:, j] for j, n in enumerate(s.joint_names)}, times, skeleton=s)
    options = ", ".join(f"{len(s)} ({s.name})" for s in ([skeleton] if skeleton else SKELETONS.values()))
    raise ValueError(
        f"{path}: has {width} columns; without joint names in a header line expected J*3, time + J*3, or "
        f"time + J*(id, x, y, z) columns, J being {options}"
    )


def _one_row_a_landmark(table: TextTable, header: list[str], start: int) -> Points:
    """MediaPipe as many scripts write it: a row a landmark with `frame`, `landmark` (0 to 32 or its name), x, y, z."""
    path = table.path
    which = next(c for c, t in enumerate(header) if "landmark" in t or "joint" in t or "keypoint" in t)
    clock = next((c for c, t in enumerate(header) if _is_time(t)), None)
    if clock is None:
        raise ValueError(f"{path}: has a row a landmark and no column frame or time")
    columns = [clock, *(header.index(a) for a in "xyz")]
    lines = [(n, line) for n, line in enumerate(table.text.splitlines(), 1) if n >= start and line.strip()]
    named = {n: i for i, n in enumerate(MEDIAPIPE_33)}
    rows = []
    for n, line in lines:
        row = cells(line, table.separator)
        values = [parse_number(row[c]) for c in columns] if len(row) == len(header) else [None]
        label = row[which].lower() if len(row) == len(header) else ""
        landmark = named.get(label, parse_number(label))
        if None in values or landmark is None or landmark not in range(33):
            raise ValueError(f"{path}, line {n}: expected {len(header)} cells, a landmark of MediaPipe (0 to 32) and numbers")
        rows.append((*values, landmark))
    numbers = np.array(rows)
    stamps, frame = np.unique(numbers[:, 0], return_inverse=True)
    check_growth(path, len(table.text), len(stamps) * 33 * 3 * 8)
    joints = np.full((len(stamps), 33, 3), np.nan)
    joints[frame, numbers[:, 4].astype(int)] = numbers[:, 1:4]
    points = {n: joints[:, j] for j, n in enumerate(MEDIAPIPE_33)}
    times = None if header[clock].startswith("frame") else stamps
    return from_markers(points, Points({}, times, _tick(header[clock])), path)


# ---------------------------------------------------------------- programs that write more than one header row


def _markers(table: TextTable, names: list[str], first: int, start: int, out: Points, width: int) -> Points:
    """Columns `first`, `first + 1`, ... are x, y, z of the named markers."""
    numbers = table.numbers(start, width, None, list(range(first, first + 3 * len(names))))
    return from_markers({n: numbers[:, 3 * i : 3 * i + 3] for i, n in enumerate(names)}, out, table.path)


def _deeplabcut(table: TextTable, rows: list[tuple[int, list[str]]]) -> Points:
    """Rows scorer, (individuals,) bodyparts, coords; then frame, and x, y, likelihood (2D) or x, y, z a body part."""
    titles = {row[0].lower(): (line, row) for line, row in rows}
    if not {"bodyparts", "coords"} <= titles.keys():
        raise ValueError(f"{table.path}: has no rows 'bodyparts' and 'coords' below 'scorer', as DeepLabCut writes them")
    line, axes = titles["coords"]
    names = titles["bodyparts"][1]
    if "z" not in axes:
        raise ValueError(f"{table.path}, line {line}: coordinates {', '.join(sorted(set(axes[1:])))}: {TWO_D}")
    places = [c for c, axis in enumerate(axes) if axis == "x"]
    if any(axes[c : c + 3] != ["x", "y", "z"] or len(set(names[c : c + 3])) != 1 for c in places):
        raise ValueError(f"{table.path}, line {line}: expected x, y, z beside each other for each body part")
    numbers = table.numbers(line + 1, len(axes), None, [c + i for c in places for i in range(3)])
    points = {names[c]: numbers[:, 3 * i : 3 * i + 3] for i, c in enumerate(places)}
    return from_markers(points, Points({}), table.path)


def _vicon(table: TextTable, rows: list[tuple[int, list[str]]]) -> Points:
    """Vicon Nexus: Trajectories; rate; names over every third column; Frame, Sub Frame, X, Y, Z, ...; units; numbers."""
    path = table.path
    if rows[0][1][0].strip('"').lower() != "trajectories":
        raise ValueError(f"{path}, line {rows[0][0]}: is Vicon's {rows[0][1][0][:40]!r}; expected its export of 'Trajectories'")
    if len(rows) < 6 or rows[3][1][0].lower() != "frame" or not (rate := parse_number(rows[1][1][0])):
        raise ValueError(
            f"{path}: expected Vicon's rows Trajectories, rate, names, 'Frame, Sub Frame, X, Y, Z', units, numbers"
        )
    width, units = len(rows[3][1]), rows[4][1]
    names = rows[2][1][2::3]
    names = names[: (width - 2) // 3]
    start = rows[5][0]
    end = re.search(r"\n[\s,;\t]*\n", table.text[line_start(table.text, start) :])  # other sections follow an empty line
    if end:
        table = TextTable(path, table.text[: line_start(table.text, start) + end.start()], table.separator)
    out = Points({}, fps=rate, metres=METRES.get(units[2].lower() if len(units) > 2 else ""))
    frame = table.numbers(start, width, None, [0])[:, 0]
    out.times, out.tick = (frame - frame[0]) / rate, 1.0  # rows that are missing stay missing
    return _markers(table, names, 2, start, out, width)


def _qualisys(table: TextTable, head: list[tuple[int, str]], separator: str) -> Points:
    """Qualisys TSV: NO_OF_FRAMES, FREQUENCY, MARKER_NAMES, ...; then x, y, z [mm] of each marker."""
    said = {row[0].upper(): row[1:] for n, line in head if (row := cells(line, separator)) and parse_number(row[0]) is None}
    names = [n for n in said.get("MARKER_NAMES", []) if n]
    line, row = next(((n, r) for n, text in head if parse_number((r := cells(text, separator))[0]) is not None), (0, []))
    first = len([c for c in row if c]) - 3 * len(names)
    rate = parse_number(said.get("FREQUENCY", [""])[0])
    if not names or not rate or first not in (0, 1, 2):
        raise ValueError(f"{table.path}: expected Qualisys' FREQUENCY, MARKER_NAMES and x, y, z of each marker below them")
    out = _markers(table, names, first, line, Points({}, fps=rate, metres=0.001), len(row))
    count, stated = len(next(iter(out.points.values()))), said.get("NO_OF_FRAMES", [""])[0]
    if parse_number(stated) != count:
        raise ValueError(f"{table.path}: is cut off: NO_OF_FRAMES is {stated[:20]!r}, but it holds {count} rows")
    return out
