"""Reading the BVH motion capture format: `read_bvh`, and `bvh_points`, which knows which joint is which.

In: a BVH file (a HIERARCHY of joints with offsets and channels, then one row of channel values per frame). Out: a `Bvh`
with the positions (T, N, 3) of its N joints and end sites, in the file's own units and axes; or `Points` under joint names.
`export.write_bvh` writes the format.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .files import check_growth, read_text
from .formats import parse_number
from .points import LEGS, MAX_FRAMES, MAX_POINTS, Points, joint_name, words
from .skeletons import SKELETONS, Skeleton

# Files that name the segment below a joint instead of the joint: LeftUpLeg starts at the left hip.
_SEGMENTS = dict.fromkeys(("upleg", "upperleg", "thigh"), "hip") | dict.fromkeys(
    ("leg", "lowleg", "lowerleg", "calf", "shin"), "knee"
)
_SEGMENTS |= {"foot": "ankle"} | dict.fromkeys(("toebase", "toe", "toes", "toe0", "ball"), "foot")
_SEGMENTS |= dict.fromkeys(("arm", "uparm", "upperarm"), "shoulder") | dict.fromkeys(("forearm", "lowarm", "lowerarm"), "elbow")
_SEGMENTS |= {"hand": "wrist"} | dict.fromkeys(("shoulder", "collar", "clavicle"), "clavicle")


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
    text = read_text(path)
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines[0][1].upper() != "HIERARCHY":
        raise ValueError(f"{path}, line {lines[0][0]}: expected HIERARCHY, got {lines[0][1][:40]!r}")
    split = next((i for i, (_, line) in enumerate(lines) if line.upper() == "MOTION"), None)
    if split is None:
        raise ValueError(f"{path}: has no MOTION section")
    bvh = _hierarchy(lines[1:split], path)
    check_growth(path, len(text), (len(lines) - split) * len(bvh.names) * 24)
    _motion(bvh, lines[split:], path)
    with np.errstate(all="ignore"):
        step = 1 + 2**16 // len(bvh.names)  # frames at a time: the rotations of all nodes take three times their positions
        parts = [_positions(bvh, bvh.motion[at : at + step]) for at in range(0, len(bvh.motion), step)]
        bvh.positions = np.concatenate(parts)
    return bvh


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
            if len(bvh.names) > MAX_POINTS:
                raise ValueError(f"{where}: more than {MAX_POINTS} joints, the most that is read")
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
    if len(rows) != int(head[0][1][:18]):
        raise ValueError(f"{path}: is cut off: 'Frames: {head[0][1][:18]}' but {len(rows)} rows of motion")
    if len(rows) > MAX_FRAMES:
        raise ValueError(f"{path}: {len(rows)} frames, at most {MAX_FRAMES} are read; cut it into several files")
    try:
        motion = np.array([line.split() for _, line in rows], np.float64)
    except ValueError:
        motion = np.empty(0)
    if motion.shape != (len(rows), count):  # again line by line, to say where
        motion = np.array([_floats(line.split(), count, f"{path}, line {n}") for n, line in rows])
    bvh.motion, bvh.fps = motion.reshape(len(rows), count), round(1 / parse_number(head[1][1]), 3)


def _positions(bvh: Bvh, motion: np.ndarray) -> np.ndarray:
    """Forward kinematics: positions (T, N, 3) of all nodes in frames (T, C) of the motion. Position channels replace the
    offset; rotations multiply in the order of the channels, the first one outermost."""
    frames, column = len(motion), 0
    rotations, positions = np.empty((len(bvh.names), frames, 3, 3)), np.empty((frames, len(bvh.names), 3))
    for j, (parent, channels) in enumerate(zip(bvh.parents, bvh.channels)):
        shift, turn = np.tile(np.array(bvh.offsets[j]), (frames, 1)), np.tile(np.eye(3), (frames, 1, 1))
        for channel in channels:
            values = motion[:, column]
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


# ---------------------------------------------------------------- which joint is which


def bvh_points(path: Path, wanted: Skeleton | None) -> Points:
    """The nodes of a BVH under joint names: those of one skeleton in full, or those that make up `KINECT_V2`.

    Hips are where the thighs start and the pelvis is the node that carries them, whatever else bears these names.
    Raises ValueError as `read_bvh`, and where hips, knees or ankles have no known name.
    """
    bvh = read_bvh(path)
    titles = [words(name.split(":")[-1]) for name in bvh.names]
    plain = [joint_name(w) if bvh.channels[j] else None for j, w in enumerate(titles)]
    segments = [joint_name(w, _SEGMENTS) if bvh.channels[j] else None for j, w in enumerate(titles)]
    names = segments if {"left_hip", "left_elbow"} & set(segments) and "left_knee" not in plain else plain
    found = {n: j for j, n in reversed(list(enumerate(names))) if n}
    if missing := [n for n in LEGS if n not in found]:
        raise ValueError(f"{path}: no joint recognised as {', '.join(missing)} among {', '.join(bvh.names)[:400]}")
    for side in ("left", "right"):
        found[f"{side}_hip"] = _hip(bvh, found[f"{side}_knee"], found[f"{side}_hip"], names, side)
    found["pelvis"] = _pelvis(bvh, found, names)
    for s in [wanted] if wanted else SKELETONS.values():
        if found.keys() >= set(s.joint_names):
            return Points({n: bvh.positions[:, found[n]] for n in s.joint_names}, fps=bvh.fps, skeleton=s)
    points = {n: bvh.positions[:, j] for n, j in found.items() if not n.startswith("spine")}
    return Points(points | _end_points(bvh, found) | _spine_points(bvh, found), fps=bvh.fps)


def _hip(bvh: Bvh, knee: int, hip: int, names: list, side: str) -> int:
    """Of the nodes between pelvis and knee the one at the top of the thigh: the last that is named hip and is no knee yet."""
    node, best = bvh.parents[knee], hip
    while node >= 0 and names[node] != "pelvis":
        if names[node] == f"{side}_hip":
            return node
        node = bvh.parents[node]
    return best


def _pelvis(bvh: Bvh, found: dict[str, int], names: list) -> int:
    """The lowest node above both hips that is named pelvis, else the lowest of all above both."""

    def above(j: int) -> list[int]:
        way = [j]
        while bvh.parents[way[-1]] >= 0:
            way.append(bvh.parents[way[-1]])
        return way[1:]

    right = above(found["right_hip"])
    shared = [j for j in above(found["left_hip"]) if j in right]
    return next((j for j in shared if names[j] == "pelvis"), shared[0] if shared else 0)


def _end_points(bvh: Bvh, found: dict[str, int]) -> dict[str, np.ndarray]:
    """The head's centre lies halfway to its end site; feet without a toe joint and hands take the end site itself."""
    ends = {p: bvh.positions[:, j] for j, p in enumerate(bvh.parents) if not bvh.channels[j]}
    head = found.get("head")
    out = {"head": (bvh.positions[:, head] + ends[head]) / 2} if head in ends else {}
    for joint, end in (("ankle", "foot"), ("wrist", "hand")):
        for side in ("left", "right"):
            if f"{side}_{end}" not in found and found.get(f"{side}_{joint}") in ends:
                out[f"{side}_{end}"] = ends[found[f"{side}_{joint}"]]
    return out


def _spine_points(bvh: Bvh, found: dict[str, int]) -> dict[str, np.ndarray]:
    """Mid spine: the joint between pelvis and neck nearest to half the way (files name their two to six of them as they
    like); the shoulder centre lies a quarter of the way from the neck down to it, as in `KINECT_V2`."""
    if "neck" not in found and "head" not in found:
        return {}
    chain = [found.get("neck", found.get("head"))]
    while bvh.parents[chain[-1]] >= 0 and chain[-1] != found["pelvis"]:
        chain.append(bvh.parents[chain[-1]])
    way = np.cumsum([0, *(np.linalg.norm(bvh.offsets[j]) for j in chain[:-1])])
    inner = {abs(w / way[-1] - 0.5): j for j, w in zip(chain[1:-1], way[1:-1]) if 0.2 * way[-1] < w < 0.8 * way[-1]}
    neck, pelvis = bvh.positions[:, chain[0]], bvh.positions[:, found["pelvis"]]
    spine = bvh.positions[:, inner[min(inner)]] if inner else (neck + pelvis) / 2
    return {"neck": neck, "spine": spine, "spine_shoulder": neck + (spine - neck) / 4}
