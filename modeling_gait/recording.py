"""The one way in for a walk: `read_recording` takes whatever holds one, and gives a clean, canonical `Recording`.

In: a file (CSV, NPZ, BVH, ... of `load_walk`), a film of a walking person (MP4, MOV, ... of `video_walk`), joints (T, J, 3) as
an array or tensor, a dict with `joints` (a row of a data set, what `text-to-gait` returns), a `Walk`; `read_recordings` takes
several: a list, an array (N, T, J, 3), a data set, a Parquet file.
Out: joints in metres, x right, y forward, z up, at a constant rate, cleaned; the straight parts of the walk; what was repaired
and what is doubtful, in plain sentences. All pipelines, commands and builders read walks here. ValueError says why something
is no walk.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .cleaning import at_rate, canonicalise, check_rate, clean_walk
from .exchanged_joints import exchanged_frames
from .frame_checks import lost_frames, odd_clock, repeated_frames
from .gait_events import SIDES, detect_gait_events
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, compute_gait_parameters, symmetry_index
from .loading import VIDEO_SUFFIXES, Walk, read_walk, walk_from_arrays, without_package
from .skeletons import Skeleton, convert_joints
from .walk_checks import MOST_TOES, examine
from .walk_stretches import Stretch, straightened

SHORT = 2.0  # strides
LONGEST_STEP = 0.013  # m a step a minute: adults have 0.006 (Sekiya & Nagasaki 1998, Gait Posture 7:225), all of gist under it
FASTEST_WALK = 2.3  # m/s, where legs of 0.9 m start to run (Froude number 0.6)
LONGEST_SHARE = 0.8  # of a stride, that one of its two steps takes; 8 of the 7,200 files of gist have more
FILLED = 0.02  # share of the legs' samples that may be filled, for each stride
ARRAYS = ("joints", "fps", "times", "joint_names", "skeleton")  # what is read of a dict

# Joints without which some gait parameters are not measured: any of a line's suffice.
_NEEDED = (
    (("left_foot",), ("foot_progression_angle_left", "ankle_range_left")),
    (("right_foot",), ("foot_progression_angle_right", "ankle_range_right")),
    (
        ("spine_shoulder", "neck", "left_shoulder"),
        ("trunk_lean_sagittal", "trunk_lean_range_frontal", "trunk_lean_range_sagittal"),
    ),
    (("head", "nose"), ("body_height",)),
)
# Without one of these the shipped classifier is right far less often, and as sure (experiments/LOG.md).
_PARTS = {
    "head": ("head", "nose", "neck"),
    "trunk": ("spine_shoulder", "neck", "left_shoulder"),
    "arms": ("left_elbow", "left_wrist"),
}


@dataclass(frozen=True)
class Recording:
    """A walk, ready to be measured, described and drawn.

    Attributes:
        joints: float32 (T, J, 3) [m], x right, y forward (direction of travel of the longest stretch), z up; the pelvis of the
            first frame is over the origin, the floor at 0. nan for joints that were not measured. On a treadmill the belt's way
            has been added.
        fps: frames a second, constant.
        times: (T,) [s] on the clock of what was read.
        skeleton: what the J joints are.
        name: of the file without its suffix, or of what was read.
        measured: names of the joints that were measured.
        stretches: parts without turns and pauses, one or more.
        belt: speed of the standing foot [m/s] on a treadmill or before a camera that follows; None over ground.
        backwards: the person faces against the way.
        fixed_pelvis: the joints were centred on the pelvis, so that no height over the floor is known.
        repairs: counts of what was repaired, see `cleaning.CleaningReport`; `legs_exchanged` (frames), `sides_exchanged` (1: in
            all frames), `floor_levelled_degrees`.
        doubts: what was assumed, left out or looks wrong, a sentence each.
        unseen, accuracy, poses: as of `Walk`.
        events, stated: the file's own gait events and parameters, as of `Walk`; see `beside_the_file`.
        filled: (T, J) bool, where a joint was lost for longer than `cleaning.SHORT_GAP`: no number is taken of what is there.
    """

    joints: np.ndarray
    fps: float
    times: np.ndarray
    skeleton: Skeleton
    name: str
    measured: tuple[str, ...]
    stretches: tuple[Stretch, ...]
    belt: float | None = None
    backwards: bool = False
    fixed_pelvis: bool = False
    repairs: dict[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    accuracy: dict[str, tuple[float, float]] = field(default_factory=dict)
    events: dict[str, np.ndarray] | None = None
    stated: dict[str, tuple[float, str]] | None = None
    poses: object | None = None
    filled: np.ndarray | None = None

    @cached_property
    def gait_events(self) -> dict[str, np.ndarray]:
        """`left_heel_strikes`, `left_toe_offs`, ... of all stretches -> (N,) [s] on the clock of `times`."""
        out = {f"{side}_{kind}": [] for kind in ("heel_strikes", "toe_offs") for side in SIDES}
        for stretch in self.stretches:
            found = detect_gait_events(self.seen(stretch), self.fps, self.skeleton)
            for name, values in out.items():
                values.append(self.times[0] + (stretch.start + getattr(found, name)) / self.fps)
        return {name: np.concatenate(values) for name, values in out.items()}

    def beside_the_file(self) -> list[dict]:
        """The file's own parameters and events, and ours: rows of `name`, `stated`, `unit`, and `measured` (None where we have
        none of that name) with `measured_unit`; numbers, or of events lists of times [s]. Empty where the file states none."""
        units = {p.name: p.unit for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)}
        rows = []
        for name, (value, unit) in (self.stated or {}).items():
            ours = _our_name(name, unit)
            measured = self.gait_parameters.get(ours, float("nan"))
            row = {"name": name, "stated": value, "unit": unit, "measured": measured if np.isfinite(measured) else None}
            rows.append(row | {"measured_unit": units.get(ours, "")})
        for name, seconds in (self.events or {}).items():
            row = {"name": name.replace("_", " "), "stated": [round(float(t), 3) for t in seconds], "unit": "s"}
            rows.append(row | {"measured": [round(float(t), 3) for t in self.gait_events.get(name, ())], "measured_unit": "s"})
        return rows

    @cached_property
    def gait_parameters(self) -> dict[str, float]:
        """`compute_gait_parameters` of each stretch, their means weighted by frames; nan for what was not measured."""
        rows = [compute_gait_parameters(self.straight(s), self.fps, self.skeleton, self.filled_in(s)) for s in self.stretches]
        weights = np.array([float(s.stop - s.start) for s in self.stretches])
        table = np.array([list(row.values()) for row in rows])
        known = np.isfinite(table)
        sums = (np.where(known, table, 0) * weights[:, None]).sum(0)
        out = dict(
            zip(rows[0], np.where(known.any(0), sums / np.maximum((known * weights[:, None]).sum(0), 1e-9), np.nan).tolist())
        )
        for name in out:
            if name.endswith("_difference"):
                left, right = (out[name.replace("difference", side)] for side in SIDES)
                out[name] = right - left
        for name, of in (("knee_range_asymmetry", "knee_range"), ("step_length_asymmetry", "step_length")):
            out[name] = symmetry_index(*(out[f"{of}_{side}"] for side in SIDES))
        if self.backwards:  # measured along the way, as seen by the person
            for name in ("step_width", "trunk_lean_sagittal"):
                out[name] = -out[name]
            for side in SIDES:
                angle = out[f"foot_progression_angle_{side}"]
                out[f"foot_progression_angle_{side}"] = (angle + 360) % 360 - 180
        if self.fixed_pelvis:
            out |= {f"foot_height_{side}": float("nan") for side in SIDES}
        if any("hips are in one place" in d for d in self.doubts):
            out["pelvic_obliquity_range"] = float("nan")
        return out | dict.fromkeys(self.unseen, float("nan"))

    @property
    def uncertainty(self) -> dict[str, float]:
        """One SD of the error of the method, of the parameters of which it is known (a camera's), in their units."""
        values = self.gait_parameters
        return {n: float(np.hypot(a * values[n], b)) for n, (a, b) in self.accuracy.items() if np.isfinite(values[n])}

    @property
    def longest(self) -> Stretch:
        return max(self.stretches, key=lambda s: s.stop - s.start)

    def straight(self, stretch: Stretch | None = None) -> np.ndarray:
        """Joints float32 (T', J, 3) [m] of a stretch (default: the longest) along +y from the origin."""
        return straightened(self.joints, self.fps, self.skeleton, stretch or self.longest).astype(np.float32)

    def filled_in(self, stretch: Stretch) -> np.ndarray:
        """(T', J) bool: `filled` in a stretch."""
        whole = np.zeros(self.joints.shape[:2], bool) if self.filled is None else self.filled
        return whole[stretch.start : stretch.stop]

    def seen(self, stretch: Stretch) -> np.ndarray:
        """`straight` of a stretch, nan where a joint was filled in."""
        return np.where(self.filled_in(stretch)[..., None], np.float32(np.nan), self.straight(stretch))

    def for_model(self, skeleton: Skeleton, fps: float) -> np.ndarray:
        """The longest stretch as float32 (T', K, 3) [m] of a model's skeleton at its frame rate, every joint filled: one that
        was not measured stands where `convert_joints` puts it."""
        joints = canonicalise(convert_joints(self.straight(), self.skeleton, self.skeleton), self.skeleton, skeleton)
        return at_rate(joints, self.fps, fps)

    def sentences(self) -> list[str]:
        """What was repaired and what is doubtful, for people."""
        return [*repair_sentences(self.repairs), *self.doubts]


def read_recording(
    thing,
    fps: float | None = None,
    up: str = "auto",
    skeleton: Skeleton | str | None = None,
    rate: float | None = None,
    default_fps: float | None = None,
    height: float | None = None,
    person: int | None = None,
) -> Recording:
    """One walk from whatever holds it; see the head of this file.

    Args:
        thing: a path, joints (T, J, 3), a dict with `joints` and if known `fps`, `times`, `skeleton`, `joint_names`, a `Walk`,
        or a
            `Recording`, which comes back as it is.
        fps: frames a second; replaces what the thing states. Of a film: with which it was taken (slow motion, time lapse).
        up: its vertical axis, as of `load_walk`.
        skeleton: what its joints are; default: what it says, else by their number.
        rate: frames a second of the result (default: those of the walk).
        default_fps: of arrays that state no rate, with a doubt; default: they are refused.
        height, person: stature [m] and number of the person in a film, as of `video_walk.read_video_walk`.

    Raises:
        ValueError: not a walk, or nobody walks in it: one line that names the thing and says what was expected.
        TypeError: it cannot hold a walk. OSError: the file cannot be opened.
    """
    if isinstance(thing, Recording):
        return thing
    walk, place = as_walk(thing, fps, up, skeleton, default_fps, height, person)
    try:
        return _recording(walk, rate)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _recording(walk: Walk, rate: float | None) -> Recording:
    check_rate(walk.fps)
    joints = np.asarray(walk.joints, np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (len(walk.skeleton), 3):
        raise ValueError(
            f"expected joints (T, {len(walk.skeleton)}, 3) for skeleton {walk.skeleton.name!r}, got {joints.shape}"
        )
    times = np.arange(len(joints)) / walk.fps if walk.times is None else walk.times
    frames = [] if walk.accuracy else [*lost_frames(joints, times), *repeated_frames(joints, times)]
    # one camera's depth does not say which leg lies on which side: `leg_following` has done it in the picture
    joints, exchanged = (joints, 0) if walk.accuracy else exchanged_frames(joints, walk.skeleton)
    rate = rate or walk.fps
    joints, report = clean_walk(times, joints, fps=rate, skeleton=walk.skeleton)
    found = examine(joints, rate, walk.skeleton)
    known = np.isfinite(found.joints).all((0, 2))
    measured = tuple(n for n, k in zip(walk.skeleton.joint_names, known) if k)
    repairs = report.to_dict() | {"legs_exchanged": exchanged} | found.repairs
    doubts = [*walk.notes, *found.doubts, *_not_measured(walk.skeleton, measured)]
    if exchanged > 0.05 * len(joints):
        doubts.append(f"left and right leg were exchanged in {exchanged} of {report.frames_in} frames; put right")
    doubts += [*odd_clock(times, found.joints, walk.skeleton), *frames]
    if report.frames_cut > 0.2 * report.frames_in:
        doubts.append(
            f"{report.frames_cut} of {report.frames_in} frames were left out: a gap or a jump is before or after them"
        )
    recording = Recording(
        joints=found.joints.astype(np.float32),
        fps=float(rate),
        times=report.start + np.arange(len(joints)) / rate,
        skeleton=walk.skeleton,
        name=walk.name,
        measured=measured,
        stretches=found.stretches,
        belt=found.belt,
        backwards=found.backwards,
        fixed_pelvis=found.fixed_pelvis,
        repairs=repairs,
        doubts=tuple(dict.fromkeys(doubts)),
        unseen=walk.unseen,
        accuracy=walk.accuracy,
        events=walk.events,
        stated=walk.stated,
        poses=walk.poses,
        filled=report.filled[:, list(walk.skeleton.mirror)] if found.repairs["sides_exchanged"] else report.filled,
    )
    more = _unsure(recording)
    return replace(recording, doubts=(*recording.doubts, *more)) if more else recording


def _unsure(recording: Recording) -> list[str]:
    """Sentences on numbers of too few strides, of legs that were filled too often, and that contradict one another."""
    seconds = sum(s.stop - s.start for s in recording.stretches) / recording.fps
    few = f"only {seconds:.1f} s of walking: too few strides to be sure of the numbers"
    lost = _lost_joints(recording)
    try:
        found = recording.gait_parameters
    except ValueError:  # too short; the error comes again where the numbers are asked for
        return [few, *lost]
    cycles = np.array([found[f"cycle_time_{side}"] for side in SIDES])
    cycle = float(np.nanmean(cycles)) if np.isfinite(cycles).any() else float("inf")
    strides = seconds / cycle
    out = [few, *lost] if strides < SHORT else lost
    legs = sum(n.split("_")[-1] in ("hip", "knee", "ankle", "foot") for n in recording.measured)
    filled = recording.repairs["leg_samples_repaired"] / (legs * len(recording.joints))
    filled += recording.repairs["frames_missing"] / len(recording.joints)
    if filled > min(0.2, FILLED * strides):
        out.append(f"{100 * filled:.0f} % of the legs' positions were filled in, in {strides:.1f} strides: numbers may be off")
    if np.ptp(cycles) > 0.08 * cycle:
        out.append(f"a left stride takes {cycles[0]:.2f} s and a right one {cycles[1]:.2f} s, which no walk does for long")
    steps = np.array([found[f"step_time_{side}"] for side in SIDES])
    if abs(steps.sum() - cycle) > 0.15 * cycle or (steps > LONGEST_SHARE * cycle).any():
        each = " and ".join(f"{step:.2f} s ({side})" for side, step in zip(SIDES, steps) if np.isfinite(step))
        out.append(f"steps of {each} contradict strides of {cycle:.2f} s")
    if any(found[f"double_support_time_{side}"] < 0 for side in SIDES):
        out.append("both feet are off the floor at once: running, or a recording that was smoothed over time")
    for side in SIDES:
        toes = abs(found[f"foot_progression_angle_{side}"])
        if toes > MOST_TOES and not any(f"the {side} foot points" in doubt for doubt in recording.doubts):
            out.append(f"the {side} foot points {toes:.0f} degrees away from the way")
    step, cadence = np.mean([found[f"step_length_{side}"] for side in SIDES]), found["cadence"]
    if step / max(cadence, 1) > LONGEST_STEP:
        out.append(
            f"steps of {step:.2f} m are too long for {cadence:.0f} a minute: in slow motion? then give the true frame rate"
        )
    if found["speed"] > FASTEST_WALK:
        out.append(f"nobody walks at {found['speed']:.1f} m/s: running, or faster than life? then give the true frame rate")
    strided = np.mean([found[f"stride_length_{side}"] for side in SIDES])
    if abs(strided / cycle - found["speed"]) > max(0.15 * found["speed"], 0.05):
        out.append(f"strides of {strided:.2f} m in {cycle:.2f} s contradict the speed of {found['speed']:.2f} m/s")
    return out


def _lost_joints(recording: Recording) -> list[str]:
    """A sentence that names joints which were lost for a while, with the seconds, and the parameters that are null for it."""
    filled = np.concatenate([recording.filled_in(s) for s in recording.stretches])
    frames, told = filled.sum(0), []
    for count in sorted(set(frames[frames > 0].tolist()), reverse=True):
        names = [n.replace("_", " ") for n, c in zip(recording.skeleton.joint_names, frames) if c == count]
        joints = "most of the body" if len(names) > 8 else f"the {' and '.join(names)}"
        of = "" if told else f" of {len(filled) / recording.fps:.1f} s"
        told.append(f"{joints} {'were' if 1 < len(names) < 9 else 'was'} not seen for {count / recording.fps:.1f} s{of}")
    if not told:
        return []
    text = "; ".join(told) + ": numbers that need it are taken of the other strides"
    try:
        left, whole = recording.gait_parameters, replace(recording, filled=None).gait_parameters
    except ValueError:  # too short
        return [text]
    null = [n for n in left if np.isnan(left[n]) and np.isfinite(whole[n])]
    return [text + (f"; none is left for {', '.join(null)}" if null else "")]


def _our_name(stated: str, unit: str) -> str:
    """The gait parameter that a file's own ("left step length", of Vicon and Visual3D) is: step_length_left."""
    side = next((s for s in SIDES if stated.startswith(s)), "")
    name = stated.removeprefix(side).strip().replace(" ", "_")
    name = {"stride_time": "cycle_time", "walking_speed": "speed"}.get(name, name)
    if name in ("single_support", "double_support"):
        name += "_percent" if "%" in unit else "_time"
    return name if name in ("speed", "cadence", "step_width") else f"{name}_{side}"


def _not_measured(skeleton: Skeleton, measured: tuple[str, ...]) -> list[str]:
    """A sentence that names the joints that were not measured, the parameters that are null for that, and what is unsure."""
    lacking = [n for n in skeleton.joint_names if n not in measured]
    null = [p for joints, parameters in _NEEDED if not any(j in measured for j in joints) for p in parameters]
    if not (lacking or null):
        return []
    names = ", ".join(lacking) or "joints that this skeleton has not"
    parts = [part for part, joints in _PARTS.items() if not any(j in measured for j in joints)]
    unsure = f"; without {', '.join(parts)} class and words are less sure, and wrong of a model that saw whole bodies alone"
    return [f"not measured: {names}" + (f"; so no {', '.join(null)}" if null else "") + (unsure if parts else "")]


def as_walk(
    thing,
    fps: float | None = None,
    up: str = "auto",
    skeleton: Skeleton | str | None = None,
    default_fps: float | None = None,
    height: float | None = None,
    person: int | None = None,
) -> tuple[Walk, str]:
    """A walk as it was recorded, in metres, z up, neither cleaned nor checked, and what to call it in a message.

    Args and errors as `read_recording`.
    """
    if isinstance(thing, Walk):
        return thing, thing.name or "walk"
    if isinstance(thing, str | Path) and Path(thing).suffix.lower() in VIDEO_SUFFIXES:
        try:
            from modeling_gait.video_walk import read_video_walk
        except ModuleNotFoundError as error:
            raise without_package(error, thing) from error
        return read_video_walk(thing, height, person, fps=fps), str(thing)
    if isinstance(thing, str | Path):
        return read_walk(thing, skeleton=skeleton, fps=fps, up=up), str(thing)
    arrays = dict(thing) if isinstance(thing, Mapping) else {"joints": thing}
    name = str(arrays.get("name") or arrays.get("walk_id") or "walk")
    if "joints" not in arrays:
        raise ValueError(f"expected a dict with 'joints', got one with {', '.join(map(str, arrays)) or 'nothing'}")
    arrays = {k: _array(v, k, name) for k, v in arrays.items() if k == "joints" or (k in ARRAYS and v is not None)}
    assumed = default_fps if fps is None and not {"fps", "times"} & set(arrays) else None
    walk = walk_from_arrays(arrays, name, skeleton, assumed if fps is None else fps, up)
    if assumed:
        note = f"no frame rate is stated: taken as {assumed:g} a second"
        walk = Walk(walk.joints, walk.fps, walk.skeleton, walk.name, walk.times, walk.measured, (*walk.notes, note))
    return walk, name


def _array(value, key: str, name: str) -> np.ndarray:
    """Arrays, tensors on any device and nested lists as numpy arrays; TypeError for anything else that should hold joints."""
    if key == "skeleton":
        return getattr(value, "name", value)
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
        value = value.float().numpy() if value.dtype.is_floating_point else value.numpy()
    if key == "joints" and not (isinstance(value, np.ndarray) or isinstance(value, list | tuple) and is_one(value)):
        raise TypeError(f"expected a file, an array (T, J, 3), a dict with 'joints' or a Walk, got {type(value).__name__}")
    try:
        return np.asanyarray(value)  # a masked array keeps its mask
    except ValueError as error:
        raise ValueError(f"{name}: {key} is no array ({error})") from None


def not_none(**options) -> dict:
    """Those options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def is_one(thing) -> bool:
    """Is it one walk (see `read_recording`), and not several?"""
    if isinstance(thing, str | Path | Mapping | Walk | Recording):
        return not (isinstance(thing, str | Path) and Path(thing).suffix.lower() == ".parquet")
    if hasattr(thing, "ndim"):
        return thing.ndim in (2, 3)
    first = thing
    for _ in range(3):  # nested lists of numbers
        if not isinstance(first, list | tuple) or not first:
            break
        first = first[0]
    return isinstance(first, int | float) or not (isinstance(thing, Iterable) or hasattr(thing, "__getitem__"))


def each_thing(things) -> Iterator:
    """The walks of a list, an array (N, T, J, 3), a data set (rows), a `KeyDataset` or a Parquet file, one by one."""
    if is_one(things):
        yield things
    elif isinstance(things, str | Path):
        yield from _parquet_rows(Path(things))
    elif hasattr(things, "column_names"):  # a data set
        for n in range(len(things)):
            yield things[n] | {"name": f"row {n}"}
    elif hasattr(things, "__getitem__") and hasattr(things, "__len__"):  # also a KeyDataset, which is no Iterable
        for n in range(len(things)):
            yield things[n]
    else:
        yield from things


def read_recordings(things, **options) -> list[Recording]:
    """Several walks; options as of `read_recording`. The message of an error names the walk by its number, from 0."""
    out = []
    for n, thing in enumerate(each_thing(things)):
        try:
            out.append(read_recording(thing, **options))
        except (ValueError, TypeError) as error:
            raise type(error)(str(error) if is_one(things) else f"walk {n}: {error}") from error
    if not out:
        raise ValueError("expected at least one walk, got none")
    return out


def _parquet_rows(path: Path) -> Iterator[dict]:
    """Rows of a Parquet file in the walk schema, named FILE#ROW."""
    import pyarrow
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from pyarrow import parquet

    try:
        columns = [c for c in ("joints", "fps") if c in parquet.read_schema(path).names]
        rows = Dataset(InMemoryTable(parquet.read_table(path, columns=columns)))
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from error
    if columns != ["joints", "fps"]:
        raise ValueError(f"{path}: not in the walk schema; expected columns joints (T, J, 3) [m] and fps")
    if not len(rows):
        raise ValueError(f"{path}: holds no walk")
    for n in range(len(rows)):
        yield rows[n] | {"name": f"{path}#{n}"}


_REPAIRS = (
    ("clock_wraps", "the clock started again {n} times"),
    ("repeated_stamps", "{n} frames without a time of their own were dropped"),
    ("frames_cut", "{n} frames before or after a gap or jump were left out"),
    ("broken_frames", "{n} frames without the shape of a body were interpolated or left out"),
    ("spike_samples", "{n} jumps of single joints were interpolated"),
    ("frames_missing", "{n} frames are missing between others and were interpolated"),
    ("frames_repaired", "{n} frames had missing or wrong joints, which were interpolated"),
    ("legs_exchanged", "in {n} frames left and right leg were exchanged, and put right"),
    ("floor_levelled_degrees", "the floor was levelled by {n:.1f} degrees"),
)


def repair_sentences(repairs: dict[str, float]) -> list[str]:
    """Counts of `Recording.repairs` in words, those that are not 0."""
    return [text.format(n=repairs[key]) for key, text in _REPAIRS if repairs.get(key)]
