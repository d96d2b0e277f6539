"""Reading the BVH motion capture format: `read_bvh`; also the text reading that `loading` shares.

In: a BVH file (a HIERARCHY of joints with offsets and channels, then one row of channel values per frame). Out: a `Bvh`
with the positions (T, N, 3) of its N joints and end sites, in the file's own units and axes; `loading.load_walk` knows which
joint is which and turns them into a walk. `export.write_bvh` writes the format.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass
class Bvh:
    """A BVH file; its N nodes are joints and end sites (named after their parent, without channels), parents first.

    Attributes:
        names, parents: of the N nodes; the root's parent is -1.
        offsets: N triples from the parent, in the file's units.
        channels: the channels of each node, such as "zrotation".
        motion: (T, C), the channel values, positions in the file's units and rotations in degrees.
        positions: (T, N, 3) in the file's units and axes.
        fps: frames per second.
    """

    names: list[str]
    parents: list[int]
    offsets: list[list[float]]
    channels: list[list[str]]
    motion: np.ndarray | None = None
    positions: np.ndarray | None = None
    fps: float = 0.0


def read_bvh(path: str | Path) -> Bvh:
    """Read a BVH file and compute the positions of all its nodes.

    Raises ValueError naming file, line and what was expected; OSError if the file cannot be opened.
    """
    lines = [(n, line.strip()) for n, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    if lines[0][1].upper() != "HIERARCHY":
        raise ValueError(f"{path}, line {lines[0][0]}: expected HIERARCHY, got {lines[0][1][:40]!r}")
    split = next((i for i, (_, line) in enumerate(lines) if line.upper() == "MOTION"), None)
    if split is None:
        raise ValueError(f"{path}: has no MOTION section")
    bvh = _hierarchy(lines[1:split], path)
    _motion(bvh, lines[split:], path)
    with np.errstate(all="ignore"):
        bvh.positions = _positions(bvh)
    return bvh


def read_text(path: str | Path) -> str:
    """A file's text without a byte order mark. Raises ValueError if it is binary, not UTF-8 or empty."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a UTF-8 text file (byte {error.start})") from None
    if "\0" in text:
        raise ValueError(f"{path}: is a binary file, expected text")
    if not text.strip():
        raise ValueError(f"{path}: is empty")
    return text


def parse_number(cell: str) -> float | None:
    """The number in a cell, nan if it is empty or NA, None if it is text."""
    if cell in ("", "NA", "None", "null"):
        return np.nan
    try:
        return None if "_" in cell else float(cell)  # float() would take 1_000
    except ValueError:
        return None


def _floats(words: list[str], count: int, where: str) -> list[float]:
    values = [parse_number(w) for w in words]
    if len(values) != count or None in values:
        raise ValueError(f"{where}: expected {count} numbers, got {' '.join(words)[:60]!r} ({len(words)} words)")
    return values


def _hierarchy(lines: list[tuple[int, str]], path: str | Path) -> Bvh:
    bvh, stack, pending = Bvh([], [], [], []), [], False
    statements = [(n, s.strip()) for n, line in lines for s in re.split(r"([{}])", line) if s.strip()]
    for n, statement in statements:
        where = f"{path}, line {n}"
        key, *words = statement.split()
        key = key.upper()
        if pending != (key == "{"):
            raise ValueError(f"{where}: expected {'{' if pending else 'a statement'}, got {statement[:40]!r}")
        if key in ("ROOT", "JOINT", "END"):
            if (key == "ROOT") != (not stack) or (key == "ROOT" and bvh.names):
                raise ValueError(f"{where}: {key} out of place; expected one ROOT that holds every JOINT and End Site")
            end = key == "END"
            bvh.names.append(bvh.names[stack[-1]] + "_end" if end else " ".join(words))
            bvh.parents.append(stack[-1] if stack else -1)
            bvh.offsets.append([0.0, 0.0, 0.0])
            bvh.channels.append([])
            pending = True
        elif key == "{":
            stack.append(len(bvh.names) - 1)
            pending = False
        elif not stack:
            raise ValueError(f"{where}: {statement[:40]!r} outside of ROOT {{ }}")
        elif key == "}":
            stack.pop()
        elif key == "OFFSET":
            bvh.offsets[stack[-1]] = _floats(words, 3, where)
        elif key == "CHANNELS":
            names = [w.lower() for w in words[1:]]
            if not words or words[0] != str(len(names)) or any(not re.fullmatch("[xyz](position|rotation)", c) for c in names):
                raise ValueError(
                    f"{where}: expected CHANNELS, their number and Xposition ... Zrotation, got {statement[:60]!r}"
                )
            bvh.channels[stack[-1]] = names
        else:
            raise ValueError(f"{where}: expected ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace, got {statement[:40]!r}")
    if stack or pending or not bvh.names:
        raise ValueError(f"{path}: the HIERARCHY section is cut off ({len(stack)} open braces before MOTION)")
    return bvh


def _motion(bvh: Bvh, lines: list[tuple[int, str]], path: str | Path) -> None:
    """Read `Frames:`, `Frame Time:` and the rows below MOTION into `bvh`."""
    head = [re.fullmatch(p, line, re.I) for p, (_, line) in zip((r"Frames:\s*(\d+)", r"Frame Time:\s*(\S+)"), lines[1:3])]
    if len(head) < 2 or None in head or not (parse_number(head[1][1]) or 0) > 1e-6:
        raise ValueError(f"{path}, line {lines[0][0]}: expected 'Frames: N' and 'Frame Time: seconds' below MOTION")
    rows, count = lines[3:], sum(map(len, bvh.channels))
    motion = [_floats(line.split(), count, f"{path}, line {n}") for n, line in rows]
    if len(rows) != int(head[0][1][:18]):
        raise ValueError(f"{path}: is cut off: 'Frames: {head[0][1][:18]}' but {len(rows)} rows of motion")
    bvh.motion, bvh.fps = np.array(motion).reshape(len(rows), count), round(1 / parse_number(head[1][1]), 3)


def _positions(bvh: Bvh) -> np.ndarray:
    """Forward kinematics: positions (T, N, 3) of all nodes. Position channels replace the offset; rotations multiply in
    the order of the channels, the first one outermost."""
    frames, column = len(bvh.motion), 0
    rotations, positions = np.empty((len(bvh.names), frames, 3, 3)), np.empty((frames, len(bvh.names), 3))
    for j, (parent, channels) in enumerate(zip(bvh.parents, bvh.channels)):
        shift, turn = np.tile(np.array(bvh.offsets[j]), (frames, 1)), np.tile(np.eye(3), (frames, 1, 1))
        for channel in channels:
            values = bvh.motion[:, column]
            column += 1
            if channel.endswith("position"):
                shift[:, "xyz".index(channel[0])] = values
            else:
                turn = turn @ Rotation.from_euler(channel[0], values[:, None], degrees=True).as_matrix()
        if parent < 0:
            rotations[j], positions[:, j] = turn, shift
        else:
            rotations[j] = rotations[parent] @ turn
            positions[:, j] = positions[:, parent] + np.einsum("tij,tj->ti", rotations[parent], shift)
    return positions
