"""A user's own walk: `load_walk` of a file in one of `file_formats.FORMATS`, `walk_from_arrays`.

In: a file or arrays. Out: a `Walk` whose joints are float32 (T, J, 3) in metres with z up (x right and y forward where the
file's axes say so; `cleaning.canonicalise` turns a walk to face +y). Nothing is filtered or resampled here: gaps stay nan, see
`cleaning.clean_walk`. Errors are ValueError naming the file, line, column and what was expected; OSError if it cannot be read.
What is assumed about units, axes and clock is said in `Walk.notes`, and by `load_walk` as a warning.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .cleaning import FASTEST_RATE, SLOWEST_RATE, missing_frames
from .points import HUMANML3D_FPS, LEGS, MAX_FRAMES, TWO_D, Points, from_arrays
from .skeletons import KINECT_V2, OPENPOSE_18, SKELETONS, SMPL_22, Skeleton, check_fps, known_skeleton
from .walk_checks import check_space

VIDEO_SUFFIXES = (".mp4", ".mov", ".webm", ".avi", ".mkv", ".m4v", ".3gp", ".mpg", ".wmv", ".mts", ".gif")


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
        events: gait events that the file states, `left_heel_strikes`, `left_toe_offs`, ... -> (N,) [s] after the first frame.
        stated: gait parameters that the file states, name -> (value, unit).
        unseen: gait parameters that cannot be measured in it, whatever the joints say (the view of a camera).
        accuracy: gait parameters -> one SD of the error of the method: (share of the value, for an unsure stature; amount).
        poses: of a film, the `pose_estimation.PoseTrack` that the walk was made of.
    """

    joints: np.ndarray
    fps: float
    skeleton: Skeleton
    name: str
    times: np.ndarray | None = None
    measured: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    events: dict[str, np.ndarray] | None = None
    stated: dict[str, tuple[float, str]] | None = None
    unseen: tuple[str, ...] = ()
    accuracy: dict[str, tuple[float, float]] = field(default_factory=dict)
    poses: object | None = None


def load_walk(path: str | Path, skeleton: Skeleton | str | None = None, fps: float | None = None, up: str = "auto") -> Walk:
    """Read one walk from a file of one of `file_formats.FORMATS`, told by its suffix. A folder is OpenPose's, a file a frame.

    Joints are found by their names, as joints or as markers; hips, knees and ankles suffice, the others are nan and left out of
    `measured`. NPZ: array `joints` (T, J, 3), optionally `fps`, `times`, `joint_names`, `skeleton`. Never a pickle.

    Args:
        path: the file.
        skeleton: a `Skeleton` or a name in `SKELETONS`; by default inferred from the names or the number of joints.
        fps: frames per second, 5 to 1000; replaces what the file says. Needed where the file holds no time.
        up: the file's vertical axis, "y", "-y" (Azure Kinect), "z", "-z", or "auto": from the ankles to the head.
            y-up axes (SMPL, HumanML3D, BVH: z forward, x to the walker's left; OpenSim's TRC, MOT, STO: x forward, z right)
            are turned to x right, y forward, z up.

    Units other than metres are taken as the file states them, or recognised by the length of the legs, with a note.

    Raises:
        ValueError: the file is not a walk; the message names file, line and column.
        OSError: the file cannot be opened.
    """
    walk = read_walk(path, skeleton, fps, up)
    for note in filter(None, (*walk.notes, uneven_clock(walk))):
        warnings.warn(f"{path}: {note}", UserWarning, stacklevel=2)
    return walk


def read_walk(path: str | Path, skeleton: Skeleton | str | None = None, fps: float | None = None, up: str = "auto") -> Walk:
    """`load_walk` without warnings, for callers that hand the notes on."""
    path = Path(path)
    try:
        from modeling_gait.file_formats import read_points
    except ModuleNotFoundError as error:
        raise without_package(error, path) from error
    skeleton = known_skeleton(skeleton)
    check_arguments(fps, up)
    return _finish(read_points(path, skeleton), skeleton, fps, up, path, path.stem)


def uneven_clock(walk: Walk) -> str | None:
    """What the clock of a walk says that its frames and its rate alone do not, a sentence; None where it runs evenly."""
    times = np.arange(len(walk.joints)) / walk.fps if walk.times is None else walk.times
    lost, stood = missing_frames(times), int((~(np.diff(times) > 0)).sum())
    said = [f"leaves out {lost} frame(s)"] * bool(lost) + [f"does not advance at {stood} of them"] * bool(stood)
    return f"its clock {' and '.join(said)}: joints at one rate need it (`times`) or clean_walk" if said else None


def without_package(error: ModuleNotFoundError, path: str | Path) -> Exception:
    """What to raise where `path` cannot be read: the code of a model's folder, without this package, reads arrays alone."""
    if (error.name or "").startswith("modeling_gait"):
        return ValueError(f"{path}: files of walks are read by the package: pip install modeling_gait, or pass arrays")
    return error


def walk_from_arrays(
    arrays: dict[str, np.ndarray], name: str, skeleton: Skeleton | str | None = None, fps: float | None = None, up: str = "auto"
) -> Walk:
    """A walk from arrays named as in an NPZ file (`joints`, `fps`, `times`, `joint_names`, `skeleton`), read as that file is.

    Args and errors as `load_walk`; `name` stands in the place of the path in messages.
    """
    skeleton = known_skeleton(skeleton)
    check_arguments(fps, up)
    return _finish(from_arrays(arrays, skeleton, name), skeleton, fps, up, name, name)


def check_arguments(fps: float | None, up: str) -> None:
    if fps is not None:
        check_fps(fps)
        if not SLOWEST_RATE <= fps <= FASTEST_RATE:
            raise ValueError(f"fps must be from {SLOWEST_RATE:.0f} to {FASTEST_RATE:.0f}, got {fps}")
    if up != "auto" and up not in _TO_Z_UP:
        raise ValueError(f"up must be 'auto' or one of {', '.join(_TO_Z_UP)}, got {up!r}")


def _finish(raw: Points, wanted: Skeleton | None, fps: float | None, up: str, path: Path | str, name: str) -> Walk:
    """What a reader handed on, as joints of one skeleton in metres, z up, with its clock [s]."""
    count = len(next(iter(raw.points.values()))) if raw.points else 0
    if not 2 <= count <= MAX_FRAMES:
        raise ValueError(f"{path}: holds {count} frame(s); a walk needs at least 2, and {MAX_FRAMES} are the most that is read")
    points = dict(raw.points)
    known = raw.skeleton and SKELETONS.get(raw.skeleton.name, raw.skeleton)  # the package's, in code of a model's folder
    skeleton = _skeleton(points, wanted or known, path)
    joints = np.full((count, len(skeleton), 3), np.nan)
    for j, n in enumerate(skeleton.joint_names):
        if n in points:
            joints[:, j] = points[n]
    with np.errstate(invalid="ignore"):
        joints[~(np.abs(joints) < 1e6)] = np.nan  # inf as well
    seen = [n for n, there in zip(skeleton.joint_names, np.isfinite(joints).all(-1).any(0)) if there]
    if not seen:
        raise ValueError(f"{path}: holds no joint with three finite coordinates")
    if missing := [n for n in LEGS if n not in seen]:
        raise ValueError(f"{path}: never shows {', '.join(missing)}; hips, knees and ankles of both legs are needed")
    notes = list(raw.notes)
    some = joints[:: 1 + count // 1000]
    _refuse_flat(some[:, [skeleton.index(n) for n in seen]], some, skeleton, path)
    joints = _to_z_up(joints, skeleton, up, path)
    joints = _to_metres(joints, skeleton, raw.metres, notes, path)
    notes += _odd_bones(joints, skeleton)
    some = joints[:: 1 + count // 1000]
    hips = np.linalg.norm(some[:, skeleton.index("left_hip")] - some[:, skeleton.index("right_hip")], axis=-1)
    if np.nanmedian(hips) > 0.32 * np.nanmedian(_segments(some, skeleton).sum(2)):
        notes.append(f"hips {np.nanmedian(hips):.2f} m apart are markers on the skin, not joint centres")
    fps, times = _clock(raw, count, fps, notes, path)
    measured = None if len(seen) == len(skeleton) else tuple(seen)
    return Walk(joints.astype(np.float32), fps, skeleton, name, times, measured, tuple(notes), raw.events, raw.stated)


def _skeleton(points: dict[str, np.ndarray], wanted: Skeleton | None, path: Path | str) -> Skeleton:
    """The wanted skeleton, the largest whose joints are all there, or `KINECT_V2` with what there is.

    Adds what a skeleton defines as the middle of others: the pelvis between the hips, the head between the ears, and OpenPose's
    neck between the shoulders. Raises ValueError naming which joints of the legs are missing.
    """
    if missing := [n for n in LEGS if n not in points]:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; hips, knees and ankles are needed, found {', '.join(points)[:300]}"
        )

    def middle(name: str, joint: str) -> None:
        if name not in points and {f"left_{joint}", f"right_{joint}"} <= points.keys():
            points[name] = (points[f"left_{joint}"] + points[f"right_{joint}"]) / 2

    complete = [s for s in SKELETONS.values() if points.keys() >= set(s.joint_names)]
    middle("pelvis", "hip")
    middle("head", "ear")
    if wanted is OPENPOSE_18:
        middle("neck", "shoulder")
    if wanted is None:
        complete = complete or [s for s in SKELETONS.values() if points.keys() >= set(s.joint_names)]
        return max(complete, key=len) if complete else KINECT_V2
    if wanted.joint_names[wanted.root] not in points:
        raise ValueError(f"{path}: lacks {wanted.joint_names[wanted.root]}, the root of skeleton {wanted.name!r}")
    return wanted


# ---------------------------------------------------------------- is it a body, in which axes, units and time

# Rotations (never mirror images) from a file's axes to z up; rows give the new x, y, z.
_TO_Z_UP = {
    "y": np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "-y": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "z": np.eye(3),
    "-z": np.diag([-1, 1, -1]),
}
_OPENSIM = {".trc", ".mot", ".sto"}  # y up, but x forward and z right

# Length of a leg from hip to ankle: from, to, factor to metres, name. CMU's ASF files count in 1/0.45 inch.
_UNITS = (
    (0.25, 1.4, 1.0, "metres"),
    (6.0, 20.0, 0.0254 / 0.45, "CMU motion capture units"),
    (20.0, 46.0, 0.0254, "inches (the legs of a baby in centimetres would look alike)"),
    (46.0, 140.0, 0.01, "centimetres"),
    (250.0, 1400.0, 0.001, "millimetres"),
)


def _segments(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Lengths (T, 2, 2) of the left and right thigh and shank."""
    place = {n: joints[:, skeleton.index(n)] for n in LEGS}
    pairs = [[(f"{s}_hip", f"{s}_knee"), (f"{s}_knee", f"{s}_ankle")] for s in ("left", "right")]
    return np.stack([[np.linalg.norm(place[a] - place[b], axis=-1) for a, b in side] for side in pairs], 0).transpose(2, 0, 1)


def percentiles(values: np.ndarray, shares: float | tuple[float, ...]) -> np.ndarray:
    """`np.nanpercentile` along axis 0 of (T, ...), which takes ten times as long where nothing is nan."""
    return (np.percentile if np.isfinite(values).all() else np.nanpercentile)(values, shares, axis=0)


def _refuse_flat(seen: np.ndarray, joints: np.ndarray, skeleton: Skeleton, path: Path | str) -> None:
    """Raises ValueError for joints in a plane or picture, and for what has not the legs of a body."""
    check_space(seen, str(path))
    finite = seen[np.isfinite(seen).all(-1)]
    lengths = _segments(joints, skeleton)
    if not np.isfinite(lengths).any(0).all():
        raise ValueError(f"{path}: hip, knee and ankle of a leg are never seen together")
    low, middle, high = percentiles(lengths, (25, 50, 75))  # (side, segment)
    spread = high - low
    for axis in range(3):
        if (
            len(set(finite[:200, axis])) <= 3 and len(np.unique(finite[:, axis])) <= 3 and len(seen) > 3
        ):  # one plane, or one for each side
            raise ValueError(f"{path}: nothing moves along {'xyz'[axis]}: {TWO_D}")
    low, high = np.percentile(finite, (2, 98), axis=0)
    if (low[:2] >= 0).all() and (high[:2] <= 1).all() and middle.sum(1).max() < 0.65:
        raise ValueError(f"{path}: all lies between 0 and 1, as landmarks in shares of a picture do: {TWO_D}")
    left, right = middle.sum(1)
    share = middle[:, 0] / middle.sum(1)
    if not 0.6 < left / right < 1.67 or not ((share > 0.33) & (share < 0.67)).all() or (spread > 0.5 * middle).any():
        said = "; ".join(
            f"{side} thigh {m[0]:.3g} (varies by {s[0]:.2g}), shank {m[1]:.3g} ({s[1]:.2g})"
            for side, m, s in zip(("left", "right"), middle, spread)
        )
        raise ValueError(f"{path}: has not the legs of a body: {said}; are these 3D joints of {skeleton.name!r} in that order?")


def _odd_bones(joints: np.ndarray, skeleton: Skeleton) -> list[str]:
    """Sentences on bones that no body has, as columns that were exchanged make them: thighs or shanks of different length left
    and right, one that changes its length (by its quartiles) while another of the six bones of the legs keeps its own, a pelvis
    away from the hips. Kinect v2, whose noise is the largest, changes all of them alike."""
    some = joints[:: 1 + len(joints) // 1000]
    out, shares = [], []
    for bone, start, end in (("thigh", "hip", "knee"), ("shank", "knee", "ankle"), ("foot", "ankle", "foot")):
        sides = [[skeleton.index(f"{s}_{n}") for n in (start, end)] for s in ("left", "right") if skeleton.has(f"{s}_{end}")]
        lengths = np.array([np.linalg.norm(some[:, a] - some[:, b], axis=-1) for a, b in sides])
        if not len(lengths) or not np.isfinite(lengths).any(1).all():
            continue
        low, middle, high = percentiles(lengths.T, (25, 50, 75))
        shares += [((h - l) / m, f"{s} {bone}") for s, l, m, h in zip(("left", "right"), low, middle, high)]
        if bone != "foot" and max(middle) > 1.15 * min(middle):
            out.append(f"the left {bone} is {middle[0]:.2f} m long and the right one {middle[1]:.2f} m: are columns exchanged?")
    hips = np.linalg.norm(some[:, skeleton.index("right_hip")] - some[:, skeleton.index("left_hip")], axis=-1)
    low, middle, high = percentiles(hips, (25, 50, 75)) if np.isfinite(hips).any() else (0.0, 1.0, 0.0)
    if middle > 0.05 and len(some) > 9:  # the pelvis is one bone
        shares.append(((high - low) / middle, "line between the hips"))
    most, which = max(share for share in shares if "foot" not in share[1])  # a toe marker sits on soft tissue
    if most > 0.04 and most > 6 * max(min(shares)[0], 0.004):
        out.append(f"the {which} changes its length by {100 * most:.0f} %: are columns exchanged?")
    for part in (n for n in ("knee", "ankle", "foot") if skeleton.has(f"left_{n}")):
        pair = [some[:, skeleton.index(f"{side}_{part}")] for side in ("left", "right")]
        if len(some) < 10 or not all(np.isfinite(p).any() for p in pair):
            continue
        still = [(p == percentiles(p, 50)).sum(0) > 0.9 * np.isfinite(p).all(1).sum() for p in pair]
        if (still[0] != still[1]).any():  # of a model in a plane both are
            out.append(f"one {part} never moves along one axis: are columns exchanged?")
    place = {n: some[:, skeleton.index(n)] for n in LEGS}
    across, middle = place["right_hip"] - place["left_hip"], (place["left_hip"] + place["right_hip"]) / 2
    width = float(np.nanmedian(np.linalg.norm(across, axis=1)))
    if skeleton.has("pelvis") and width > 0.05:
        pelvis = some[:, skeleton.index("pelvis")] - middle
        away, aside = np.linalg.norm(pelvis, axis=1), np.abs(np.sum(pelvis * across, axis=1)) / width
        if np.isfinite(away).any() and (np.nanmedian(away) > 0.25 or np.nanmedian(aside) > 0.2 * width):
            out.append(f"the pelvis is {np.nanmedian(away):.2f} m away from the middle of the hips: are columns exchanged?")
    crossed = np.sum((place["right_ankle"] - place["left_ankle"]) * across, axis=1)
    if np.isfinite(crossed).any() and np.nanmedian(crossed) < -0.02 * max(width, 0.05):
        out.append("the ankles are crossed: the left one is right of the right one")
    return out


def _to_z_up(joints: np.ndarray, skeleton: Skeleton, up: str, path: Path | str) -> np.ndarray:
    if up == "auto":
        axis = _body_axis(joints, skeleton)
        parts = {"y": axis[1], "-y": -axis[1], "z": axis[2], "-z": -axis[2]}
        up = max(parts, key=parts.get)
        if not parts[up] > 0.7 * np.linalg.norm(axis):
            raise ValueError(
                f"{path}: cannot tell which axis is up (ankles to the top is {np.round(axis, 3).tolist()}); "
                "expected y or z: pass up='y' or up='z'"
            )
    if up == "y" and Path(path).suffix.lower() in _OPENSIM:
        return joints[..., [2, 0, 1]]
    return joints if up == "z" else joints @ _TO_Z_UP[up].T


def _body_axis(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Median vector (3,) from the ankles to the highest joints that are seen, nan if they are never seen together."""

    def centre(*names: str) -> np.ndarray:
        return joints[:, [skeleton.index(n) for n in names]].mean(axis=1)

    ankles = centre("left_ankle", "right_ankle")
    for top in (
        ("head",),
        ("nose",),
        ("neck",),
        ("spine_shoulder",),
        ("left_shoulder", "right_shoulder"),
        ("left_hip", "right_hip"),
    ):
        if all(map(skeleton.has, top)):
            axis = centre(*top) - ankles
            axis = axis[np.isfinite(axis).all(-1)]
            if len(axis):
                return np.median(axis, axis=0)
    return np.full(3, np.nan)


def _to_metres(joints: np.ndarray, skeleton: Skeleton, stated: float | None, notes: list[str], path: Path | str) -> np.ndarray:
    leg = float(np.nanmedian(_segments(joints[:: 1 + len(joints) // 1000], skeleton).sum(2)))
    low, high = _UNITS[0][:2]
    if stated and low <= leg * stated < high:
        return joints * stated if stated != 1 else joints
    for low, high, factor, unit in _UNITS:
        if low <= leg < high:
            if stated:
                notes.append(f"the file states another unit ({stated:g} m)")
            if factor != 1 and (Path(path).suffix.lower(), unit) != (".bvh", "centimetres"):  # BVH states no unit
                notes.append(f"legs of {leg:.3g} are taken as {unit} and converted to metres")
            return joints * factor if factor != 1 else joints
    raise ValueError(f"{path}: legs of {leg:.3g} are no body's in metres, centimetres, inches or millimetres")


_TICKS = ((1.0, ""), (1e-3, "milliseconds"), (1e-6, "microseconds"), (1e-7, "ticks of 100 ns"), (1e-9, "nanoseconds"))


def _clock(raw: Points, count: int, fps: float | None, notes: list[str], path: Path | str) -> tuple[float, np.ndarray]:
    """Frame rate and time stamps [s]: from the argument, else the file's rate, else the file's time column."""
    frames, times = np.arange(count), raw.times
    steps = np.diff(times) if times is not None else np.array([])
    good = steps[np.isfinite(steps) & (steps > 0)]
    if fps or (raw.fps and times is None):
        stated = raw.fps or (1 / np.median(good) if len(good) else None)
        if fps and stated and SLOWEST_RATE <= stated <= FASTEST_RATE and abs(stated / fps - 1) > 0.02:
            notes.append(f"{fps:g} frames a second are taken as asked, the file states {stated:.4g}")
        return _rate(fps or raw.fps, path), frames / (fps or raw.fps)
    if raw.fps and (not len(good) or np.all(good == 1)):
        return _rate(raw.fps, path), frames / raw.fps
    if not len(good) or np.all(good == 1):  # steps of exactly 1 are a frame counter
        usual = HUMANML3D_FPS if raw.skeleton is SMPL_22 and Path(path).suffix.lower() == ".npy" else 30
        raise ValueError(f"{path}: states no frame rate (no time column in seconds); pass fps=, for example fps={usual:g}")
    step = float(np.median(good))
    ticks = [t for t in _TICKS if raw.tick in (None, t[0]) and SLOWEST_RATE <= 1 / (step * t[0]) <= FASTEST_RATE]
    if not ticks:
        shown = f" ({1 / (step * raw.tick):.3g} frames a second)" if raw.tick else ""
        raise ValueError(
            f"{path}: time steps of {step:.6g}{shown}; expected 5 to 1000 frames a second in s, ms, us, 100 ns or ns: pass fps="
        )
    if len(ticks) > 1:
        rates = [1 / (step * t[0]) for t in ticks]
        if all(9 < r < 260 for r in rates):
            raise ValueError(
                f"{path}: time steps of {step:.6g} can be "
                + " or ".join(f"{t[1]} ({r:.3g} frames a second)" for t, r in zip(ticks, rates))
                + ": pass fps="
            )
        ticks = [min(ticks, key=lambda t: abs(np.log(1 / (step * t[0]) / 60)))]
    scale, unit = ticks[0]
    if unit and raw.tick is None:
        notes.append(f"time steps of {step:.6g} are taken as {unit}")
    step = good[np.abs(good - step) < 0.5 * step].mean()  # clocks of whole milliseconds: 33, 33, 34 ms
    rate = round(1 / (step * scale), 3)
    if raw.fps and abs(raw.fps - rate) > 0.1 * rate:
        raise ValueError(f"{path}: states {raw.fps:g} frames a second, its clock {rate:g}: pass fps=")
    return _rate(raw.fps or rate, path), times * scale


def _rate(fps: float, path: Path | str) -> float:
    if not SLOWEST_RATE <= fps <= FASTEST_RATE:
        raise ValueError(
            f"{path}: states {fps:g} frames a second; expected {SLOWEST_RATE:.0f} to {FASTEST_RATE:.0f}: pass fps="
        )
    return float(fps)
