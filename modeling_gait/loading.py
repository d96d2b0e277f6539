"""Reading a user's own skeleton file: `load_walk` reads CSV, TSV, TXT, NPZ, NPY and BVH.

In: a file. Out: a `Walk` whose joints are float32 (T, J, 3) in metres with z up (x right and y forward where the file's axes
say so; `cleaning.canonicalise` turns a walk to face +y). Nothing is filtered or resampled here: gaps stay nan, see
`cleaning.clean_walk`. Errors are ValueError naming the file, line, column and what was expected; OSError if it cannot be read.
"""

import csv
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .bvh import Bvh, parse_number, read_bvh, read_text
from .skeletons import KINECT_V2, SKELETONS, Skeleton, convert_joints


@dataclass(frozen=True)
class Walk:
    """A recorded walk.

    Attributes:
        joints: float32 (T, J, 3) [m], z up; nan where the file holds no number.
        fps: frames per second.
        skeleton: what the J joints are.
        name: the file's name without its suffix.
        times: (T,) [s] as the file states them (clocks may wrap or repeat), or frame / fps; None in a walk made by hand.
        measured: joints of the skeleton that the file holds; None: all of them. The others are nan in all frames.
        notes: what the reader assumed, a sentence each ("legs of 812 are taken as millimetres").
    """

    joints: np.ndarray
    fps: float
    skeleton: Skeleton
    name: str
    times: np.ndarray | None = None
    measured: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Raw:
    """What a reader hands on: joints (T, J, 3) in the file's units and axes, and the file's clock, if any."""

    joints: np.ndarray
    skeleton: Skeleton
    times: np.ndarray | None = None
    fps: float | None = None
    target: Skeleton | None = None  # the skeleton to convert to, once the joints are in metres


def load_walk(path: str | Path, skeleton: Skeleton | str | None = None, fps: float | None = None, up: str = "auto") -> Walk:
    """Read one walk from a file.

    CSV/TSV/TXT (comma, semicolon, tab or blanks): either a header naming `left_knee_x`, `KneeLeft.x`, `LeftKnee_X`, ... with
    an optional `time` or `frame` column; or no header and J*3 columns, time + J*3, or time + J*(id, x, y, z).
    NPZ: array `joints` (T, J, 3), optionally `fps`, `times`, `joint_names`, `skeleton`. NPY: the array alone. Never a pickle.
    BVH: any channel order; common joint names (Mixamo, CMU, `LeftUpLeg`, `LeftKnee`) are mapped to `skeleton`
    (default `KINECT_V2`), unless the names are those of one of `SKELETONS` in full.

    Args:
        path: the file; its suffix tells the format.
        skeleton: a `Skeleton` or a name in `SKELETONS`; by default inferred from the column names or the number of joints.
        fps: frames per second; replaces what the file says. Needed where the file holds no time.
        up: the file's vertical axis, "y", "-y" (Azure Kinect), "z", "-z", or "auto": from the ankles to the head.
            y-up axes (SMPL, HumanML3D, BVH: z forward, x to the walker's left) are turned to x right, y forward, z up.

    Centimetres, millimetres and CMU's units are recognised by the body's height and converted to metres with a warning.

    Raises:
        ValueError: the file is not a walk; the message names file, line and column.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    readers = {".csv": _read_text, ".tsv": _read_text, ".txt": _read_text}
    readers |= {".npz": _read_numpy, ".npy": _read_numpy, ".bvh": _read_bvh}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(readers)}")
    skeleton = known_skeleton(skeleton)
    _check_arguments(fps, up)
    return _finish(readers[path.suffix.lower()](path, skeleton), fps, up, path, path.stem)


def walk_from_arrays(
    arrays: dict[str, np.ndarray],
    name: str,
    skeleton: Skeleton | str | None = None,
    fps: float | None = None,
    up: str = "auto",
) -> Walk:
    """A walk from arrays named as in an NPZ file (`joints`, `fps`, `times`, `joint_names`, `skeleton`), read as that file is.

    Args and errors as `load_walk`; `name` stands in the place of the path in messages.
    """
    skeleton = known_skeleton(skeleton)
    _check_arguments(fps, up)
    return _finish(_from_arrays(arrays, skeleton, name), fps, up, name, name)


def known_skeleton(skeleton: Skeleton | str | None) -> Skeleton | None:
    """A skeleton by its name. Raises ValueError for a name that no skeleton has."""
    if isinstance(skeleton, str) and skeleton not in SKELETONS:
        raise ValueError(f"unknown skeleton {skeleton!r}; expected one of {', '.join(SKELETONS)}")
    return SKELETONS[skeleton] if isinstance(skeleton, str) else skeleton


def _check_arguments(fps: float | None, up: str) -> None:
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number, got {fps}")
    if up != "auto" and up not in _TO_Z_UP:
        raise ValueError(f"up must be 'auto' or one of {', '.join(_TO_Z_UP)}, got {up!r}")


def _finish(raw: _Raw, fps: float | None, up: str, path: Path | str, name: str) -> Walk:
    """What a reader handed on, in metres, z up, with its clock [s]."""
    if len(raw.joints) < 2:
        raise ValueError(f"{path}: holds {len(raw.joints)} frame(s); a walk needs at least 2")
    joints = np.where(np.abs(raw.joints) < 1e6, raw.joints, np.nan)  # also drops inf and nan
    if not np.isfinite(joints).all(-1).any():
        raise ValueError(f"{path}: holds no joint with three finite coordinates")
    joints = _to_metres(_to_z_up(joints, raw.skeleton, up, path), raw.skeleton, path)
    fps, times = _clock(raw, fps, path)
    if raw.target:
        joints = convert_joints(joints, raw.skeleton, raw.target)
    return Walk(joints.astype(np.float32), fps, raw.target or raw.skeleton, name, times)


# ---------------------------------------------------------------- axes, units and time

# Rotations (never mirror images) from a file's axes to z up; rows give the new x, y, z.
_TO_Z_UP = {
    "y": np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "-y": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "z": np.eye(3),
    "-z": np.diag([-1, 1, -1]),
}

# Length of a leg from hip to ankle: from, to, factor to metres, name. CMU's ASF files count in 1/0.45 inch.
_UNITS = (
    (0.2, 2.0, 1.0, "metres"),
    (8.0, 24.0, 0.0254 / 0.45, "CMU motion capture units"),
    (24.0, 200.0, 0.01, "centimetres"),
    (200.0, 2000.0, 0.001, "millimetres"),
)


def _body_axis(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Median vector (3,) from the ankles to the head, nan if they are never seen together."""
    head = joints[:, skeleton.index("head" if skeleton.has("head") else "nose")]
    ankles = (joints[:, skeleton.index("left_ankle")] + joints[:, skeleton.index("right_ankle")]) / 2
    axis = (head - ankles)[np.isfinite(head - ankles).all(-1)]
    return np.median(axis, axis=0) if len(axis) else np.full(3, np.nan)


def _to_z_up(joints: np.ndarray, skeleton: Skeleton, up: str, path: Path) -> np.ndarray:
    if up == "auto":
        axis = _body_axis(joints, skeleton)
        parts = {"y": axis[1], "-y": -axis[1], "z": axis[2], "-z": -axis[2]}
        up = max(parts, key=parts.get)
        if not parts[up] > 0.7 * np.linalg.norm(axis):
            raise ValueError(
                f"{path}: cannot tell which axis is up (ankles to head is {np.round(axis, 3).tolist()}); "
                "expected y or z: pass up='y' or up='z'"
            )
    return joints @ _TO_Z_UP[up].T


def _to_metres(joints: np.ndarray, skeleton: Skeleton, path: Path) -> np.ndarray:
    hips, knees, ankles = (
        joints[:, [skeleton.index(f"{side}_{n}") for side in ("left", "right")]] for n in ("hip", "knee", "ankle")
    )
    legs = np.linalg.norm(hips - knees, axis=-1) + np.linalg.norm(knees - ankles, axis=-1)
    leg = float(np.median(legs[np.isfinite(legs)])) if np.isfinite(legs).any() else np.nan
    for low, high, factor, unit in _UNITS:
        if low <= leg < high:
            if factor != 1 and (Path(path).suffix.lower(), unit) != (".bvh", "centimetres"):  # BVH states no unit
                _warn(f"{path}: legs of {leg:.0f} are taken as {unit} and converted to metres")
            return joints * factor
    _warn(f"{path}: legs of {leg:.3g} are no body's in metres, centimetres or millimetres; the numbers are left as they are")
    return joints


def _clock(raw: _Raw, fps: float | None, path: Path) -> tuple[float, np.ndarray]:
    """Frame rate and time stamps [s]: from the argument, else the file's rate, else the file's time column."""
    frames, times = np.arange(len(raw.joints)), raw.times
    if fps or (raw.fps and times is None):
        return float(fps or raw.fps), frames / (fps or raw.fps)
    steps = np.diff(times) if times is not None else np.array([])
    good = steps[np.isfinite(steps) & (steps > 0)]
    if not len(good) or np.all(good == 1):  # steps of exactly 1 are a frame counter
        raise ValueError(f"{path}: states no frame rate (no time column in seconds); pass fps=, for example fps=30")
    step = np.median(good)
    scale = 1.0 if step <= 1 else 1e-3 if step < 1000 else 1e-6
    if scale != 1:
        _warn(f"{path}: time steps of {step:.6g} taken as {'milli' if scale == 1e-3 else 'micro'}seconds")
    step = good[np.abs(good - step) < 0.5 * step].mean()  # clocks of whole milliseconds: 33, 33, 34 ms
    return raw.fps or round(1 / (step * scale), 3), times * scale


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


# ---------------------------------------------------------------- joint names

_SIDED = {n[5:].replace("_", ""): n[5:] for s in SKELETONS.values() for n in s.joint_names if n.startswith("left_")}
_SIDED |= {"toe": "foot", "toes": "foot", "bigtoe": "foot", "toebase": "foot"}
_CENTRAL = {n.replace("_", ""): n for s in SKELETONS.values() for n in s.joint_names if not n.startswith(("left_", "right_"))}
_CENTRAL |= dict.fromkeys(("spinebase", "hips", "hipcenter", "hipcentre", "midhip", "root"), "pelvis")
_CENTRAL |= {"spinemid": "spine", "spinenavel": "spine", "shouldercenter": "spine_shoulder", "shouldercentre": "spine_shoulder"}
# BVH files that name the segment below a joint instead of the joint: LeftUpLeg starts at the left hip.
_SEGMENTS = dict.fromkeys(("upleg", "upperleg", "thigh"), "hip") | dict.fromkeys(
    ("leg", "lowleg", "lowerleg", "calf", "shin"), "knee"
)
_SEGMENTS |= {"foot": "ankle"} | dict.fromkeys(("toebase", "toe", "toes", "toe0", "ball"), "foot")
_SEGMENTS |= dict.fromkeys(("arm", "uparm", "upperarm"), "shoulder") | dict.fromkeys(("forearm", "lowarm", "lowerarm"), "elbow")
_SEGMENTS |= {"hand": "wrist"} | dict.fromkeys(("shoulder", "collar", "clavicle"), "clavicle")

_NOISE = ("m", "cm", "mm", "pos", "position", "joint", "mixamorig", "bip", "01", "001")  # units, rig prefixes (Bip01 L Thigh)


def _words(title: str) -> list[str]:
    """'KneeLeft.X [m]' -> ['knee', 'left', 'x']: words of snake, camel or blank separated names, units left out."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", title)]
    return [w for w in words if w not in _NOISE]


def _joint_name(words: list[str], sided: dict[str, str] = _SIDED) -> str | None:
    """['knee', 'left'] or ['l', 'knee'] or ['leftknee'] -> 'left_knee'; None for a name that no skeleton has."""
    key = "".join(words)
    if key in _CENTRAL:
        return _CENTRAL[key]
    for side in ("left", "right"):
        for mark in (side, side[0]):
            for base in (key.removeprefix(mark), key.removesuffix(mark)):
                if base != key and base in sided:
                    return f"{side}_{sided[base]}"
    return None


def _joint_and_axis(title: str) -> tuple[str, int] | None:
    """'KneeLeft.x', 'left_knee_x', 'x_LeftKnee', 'leftkneex' -> ('left_knee', 0); None for any other column."""
    words = _words(title)
    if len(words) > 1 and words[0] in "xyz":
        words = [*words[1:], words[0]]
    if not words or words[-1][-1] not in "xyz":
        return None
    name = _joint_name([*words[:-1], words[-1][:-1]])
    return (name, "xyz".index(words[-1][-1])) if name else None


def _choose_skeleton(names: set[str], wanted: Skeleton | None, path: Path) -> Skeleton:
    """The wanted skeleton, or the largest whose joints are all among `names`. ValueError naming what is missing."""
    options = [wanted] if wanted else list(SKELETONS.values())
    complete = [s for s in options if names.issuperset(s.joint_names)]
    if complete:
        return max(complete, key=len)
    near = max(options, key=lambda s: len(names.intersection(s.joint_names)) / len(s))
    missing = [n for n in near.joint_names if n not in names]
    if len(missing) == len(near):
        raise ValueError(
            f"{path}: no column is named after a joint; expected for example left_knee_x, or no header line and the joints "
            f"of one of {', '.join(SKELETONS)} in their order"
        )
    raise ValueError(f"{path}: lacks {', '.join(missing)} of skeleton {near.name!r} ({len(near)} joints), the nearest one")


# ---------------------------------------------------------------- CSV, TSV, TXT


def _read_text(path: Path, skeleton: Skeleton | None) -> _Raw:
    lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), 1) if line.strip() and line[0] != "#"]
    if not lines:
        raise ValueError(f"{path}: holds only comments")
    separator = max("\t;,", key=lines[0][1].count)
    rows = [(n, _cells(line, separator)) for n, line in lines]
    first = [c for c in rows[0][1] if c]
    header = rows.pop(0)[1] if sum(parse_number(c) is None for c in first) > len(first) / 2 else None
    if not rows:
        raise ValueError(f"{path}: holds a header and no frames")
    table = _table(rows, header, path)
    return _named_columns(table, header, skeleton, path) if header else _positional(table, skeleton, path)


def _cells(line: str, separator: str) -> list[str]:
    """Cells of a line; blanks separate where no other separator is; decimal commas are read beside tabs and semicolons."""
    if separator not in line:
        return line.split()
    try:
        cells = [c.strip() for c in next(csv.reader([line], delimiter=separator))]
    except csv.Error:  # a cell of more than 128 KiB
        cells = [c.strip() for c in line.split(separator)]
    return cells if separator == "," else [c.replace(",", ".") for c in cells]


def _table(rows: list[tuple[int, list[str]]], header: list[str] | None, path: Path) -> np.ndarray:
    """Numbers (T, C) of the rows; columns of text are allowed only under a header that names no joint, and become nan."""
    width = len(header or rows[0][1])
    needed = [header is None or _joint_and_axis(t) is not None or _is_time(t) for t in header or [""] * width]
    table = np.empty((len(rows), width))
    for i, (line, cells) in enumerate(rows):
        if len(cells) != width:
            raise ValueError(f"{path}, line {line}: has {len(cells)} columns, expected {width} as in the first line")
        for c, cell in enumerate(cells):
            value = parse_number(cell)
            if value is None and needed[c]:
                title = f" ({header[c]})" if header else ""
                raise ValueError(f"{path}, line {line}, column {c + 1}{title}: expected a number, got {cell[:40]!r}")
            table[i, c] = np.nan if value is None else value
    return table


def _is_time(title: str) -> bool:
    words = _words(title)
    return bool(words) and (words[0] in ("time", "times", "timestamp", "t", "seconds", "sec", "frame", "frames"))


def _named_columns(table: np.ndarray, header: list[str], skeleton: Skeleton | None, path: Path) -> _Raw:
    found: dict[str, dict[int, int]] = {}
    for c, title in enumerate(header):
        if named := _joint_and_axis(title):
            joint, axis = named
            if axis in found.setdefault(joint, {}):
                raise ValueError(f"{path}, column {c + 1} ({title}): a second column for {joint}_{'xyz'[axis]}")
            found[joint][axis] = c
    for joint, columns in found.items():
        for axis in {0, 1, 2}.difference(columns):
            raise ValueError(f"{path}: has no column {joint}_{'xyz'[axis]} beside the other coordinates of {joint}")
    skeleton = _choose_skeleton(set(found), skeleton, path)
    columns = [found[n][axis] for n in skeleton.joint_names for axis in range(3)]
    clocks = [c for c, title in enumerate(header) if _is_time(title)]
    clocks.sort(key=lambda c: _words(header[c])[0].startswith("frame"))  # a time before a frame counter
    return _Raw(table[:, columns].reshape(len(table), -1, 3), skeleton, table[:, clocks[0]] if clocks else None)


def _positional(table: np.ndarray, skeleton: Skeleton | None, path: Path) -> _Raw:
    width = table.shape[1]
    for s in [skeleton] if skeleton else SKELETONS.values():
        if width == 3 * len(s):
            return _Raw(table.reshape(len(table), -1, 3), s)
        if width == 3 * len(s) + 1:
            return _Raw(table[:, 1:].reshape(len(table), -1, 3), s, table[:, 0])
        if width == 4 * len(s) + 1:
            cells = table[:, 1:].reshape(len(table), -1, 4)
            ids = cells[0, :, 0]
            if sorted(ids) != list(range(len(s))) or not (cells[..., 0] == ids).all():
                raise ValueError(f"{path}: columns 2, 6, 10, ... must hold the joint ids 0 to {len(s) - 1}, alike in all rows")
            return _Raw(cells[:, np.argsort(ids), 1:], s, table[:, 0])
    options = ", ".join(f"{len(s)} ({s.name})" for s in ([skeleton] if skeleton else SKELETONS.values()))
    raise ValueError(
        f"{path}: has {width} columns; without joint names in a header line expected J*3, time + J*3, or "
        f"time + J*(id, x, y, z) columns, J being {options}"
    )


# ---------------------------------------------------------------- NPZ, NPY


def _read_numpy(path: Path, skeleton: Skeleton | None) -> _Raw:
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError(f"{path}: is empty")
        file.seek(0)
        try:
            data = np.load(file, allow_pickle=False)
            arrays = {"joints": data} if isinstance(data, np.ndarray) else {k: data[k] for k in data.files}
        except Exception as error:  # numpy, zip and zlib raise a dozen kinds on broken or pickled files
            raise ValueError(f"{path}: is not a readable NPZ or NPY file without pickled objects ({error})") from None
    return _from_arrays(arrays, skeleton, path)


def _from_arrays(arrays: dict[str, np.ndarray], skeleton: Skeleton | None, path: Path | str) -> _Raw:
    if "joints" not in arrays:
        raise ValueError(f"{path}: has no array 'joints', only {', '.join(arrays) or 'nothing'}")
    joints = arrays["joints"]
    if joints.dtype.kind not in "fiu":
        raise ValueError(f"{path}: 'joints' must hold numbers, got {joints.dtype}")
    if joints.ndim == 2 and joints.shape[1] % 3 == 0:
        joints = joints.reshape(len(joints), -1, 3)
    if joints.ndim != 3 or joints.shape[2] != 3:
        raise ValueError(f"{path}: 'joints' must have shape (T, J, 3), got {joints.shape}")
    skeleton, columns = _array_skeleton(arrays, joints.shape[1], skeleton, path)
    raw = _Raw(joints[:, columns].astype(np.float64), skeleton)
    raw.fps = _scalar(arrays["fps"], path) if "fps" in arrays else None
    if "times" in arrays:
        if arrays["times"].shape != (len(joints),) or arrays["times"].dtype.kind not in "fiu":
            raise ValueError(f"{path}: 'times' must hold {len(joints)} numbers, got {arrays['times'].shape}")
        raw.times = arrays["times"].astype(np.float64)
    return raw


def _scalar(value: np.ndarray, path: Path) -> float:
    if value.size != 1 or value.dtype.kind not in "fiu" or not (np.isfinite(value).all() and value.item() > 0):
        raise ValueError(f"{path}: 'fps' must be one positive number, got {str(value)[:40]}")
    return float(value.item())


def _array_skeleton(arrays: dict, count: int, skeleton: Skeleton | None, path: Path) -> tuple[Skeleton, list[int]]:
    """Skeleton and the order of the array's joints, from its `joint_names`, its `skeleton` or the number of joints."""
    if "joint_names" in arrays:
        names = [_joint_name(_words(str(n))) for n in np.atleast_1d(arrays["joint_names"]).tolist()]
        if len(names) != count:
            raise ValueError(f"{path}: {len(names)} 'joint_names' for {count} joints")
        skeleton = _choose_skeleton({n for n in names if n}, skeleton, path)
        return skeleton, [names.index(n) for n in skeleton.joint_names]
    if skeleton is None and "skeleton" in arrays:
        skeleton = SKELETONS.get(str(arrays["skeleton"]))
    options = [s for s in ([skeleton] if skeleton else SKELETONS.values()) if len(s) == count]
    if not options:
        expected = f"{len(skeleton)}" if skeleton else ", ".join(f"{len(s)} ({s.name})" for s in SKELETONS.values())
        raise ValueError(f"{path}: has {count} joints, expected {expected}")
    return options[0], list(range(count))


# ---------------------------------------------------------------- BVH


def _read_bvh(path: Path, wanted: Skeleton | None) -> _Raw:
    """Joints of the wanted skeleton, of one whose joints are all named, or of those that make up `KINECT_V2`."""
    bvh = read_bvh(path)
    positions = bvh.positions
    words = [_words(name.split(":")[-1]) for name in bvh.names]
    if any(_joint_name(w, _SEGMENTS) in ("left_hip", "left_elbow") for w in words):
        names = [_joint_name(w, _SEGMENTS) for w in words]
    else:
        names = [_joint_name(w) for w in words]
    found: dict[str, int] = {n: j for j, n in reversed(list(enumerate(names))) if n}
    for s in [wanted] if wanted else SKELETONS.values():
        if found.keys() >= set(s.joint_names):
            return _Raw(positions[:, [found[n] for n in s.joint_names]], s, fps=bvh.fps)
    required = ["left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head"]
    if missing := [n for n in required if n not in found]:
        raise ValueError(f"{path}: no joint recognised as {', '.join(missing)} among {', '.join(bvh.names)[:400]}")
    points = {n: positions[:, j] for n, j in found.items() if not n.startswith("spine")}
    points |= _end_points(bvh, positions, found) | _spine_points(bvh, positions, found)
    flat = Skeleton("bvh", tuple(points), (-1,) * len(points), ((0.0, 0.0, 0.0),) * len(points))
    return _Raw(np.stack(list(points.values()), axis=1), flat, fps=bvh.fps, target=wanted or KINECT_V2)


def _end_points(bvh: Bvh, positions: np.ndarray, found: dict[str, int]) -> dict[str, np.ndarray]:
    """The head's centre lies halfway to its end site; feet without a toe joint and hands take the end site itself."""
    ends = {p: positions[:, j] for j, p in enumerate(bvh.parents) if not bvh.channels[j]}
    out = {"head": (positions[:, found["head"]] + ends[found["head"]]) / 2} if found["head"] in ends else {}
    for joint, end in (("ankle", "foot"), ("wrist", "hand")):
        for side in ("left", "right"):
            if f"{side}_{end}" not in found and found.get(f"{side}_{joint}") in ends:
                out[f"{side}_{end}"] = ends[found[f"{side}_{joint}"]]
    return out


def _spine_points(bvh: Bvh, positions: np.ndarray, found: dict[str, int]) -> dict[str, np.ndarray]:
    """Mid spine: the joint between pelvis and neck nearest to half the way (files name their two to six of them as they
    like); the shoulder centre lies a quarter of the way from the neck down to it, as in `KINECT_V2`."""
    points = {n: positions[:, j] for n, j in found.items()}
    chain = [found.get("neck", found["head"])]
    while bvh.parents[chain[-1]] >= 0 and chain[-1] != found.get("pelvis"):
        chain.append(bvh.parents[chain[-1]])
    way = np.cumsum([0, *(np.linalg.norm(bvh.offsets[j]) for j in chain[:-1])])
    inner = {abs(w / way[-1] - 0.5): j for j, w in zip(chain[1:-1], way[1:-1]) if 0.2 * way[-1] < w < 0.8 * way[-1]}
    neck, pelvis = positions[:, chain[0]], points.get("pelvis", (points["left_hip"] + points["right_hip"]) / 2)
    spine = positions[:, inner[min(inner)]] if inner else (neck + pelvis) / 2
    return {"neck": neck, "pelvis": pelvis, "spine": spine, "spine_shoulder": neck + (spine - neck) / 4}
