"""Gait parameters of one walk.

In: joints (T, J, 3) in metres at a constant frame rate (x right, y forward = direction of travel, z up), cleaned.
Out: `compute_gait_parameters` gives the 29 parameters of `GAIT_PARAMETERS` and those of `KINEMATIC_PARAMETERS` as a dict
name -> number, nan where not measurable. The events come from gait_events.py.

"Difference" is always right minus left. Every value of a side is the median over that side's strides.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import maximum_filter1d

from .gait_events import LONGEST, SHORTEST, SIDES, GaitEvents, detect_gait_events, smooth_positions
from .kinematics import joint_angles, joint_track, pelvis_track
from .skeletons import KINECT_V2, Skeleton, check_walk, known_skeleton, unmasked


@dataclass(frozen=True)
class GaitParameter:
    """Name, unit ("m/s", "steps/min", "s", "m", "%", "deg" or "1") and definition of one number of a walk."""

    name: str
    unit: str
    description: str


def _both(name: str, unit: str, description: str, difference: bool = False) -> tuple[GaitParameter, ...]:
    sides = tuple(GaitParameter(f"{name}_{s}", unit, description.format(side=s, other=o)) for s, o in (SIDES, SIDES[::-1]))
    return sides + (
        (GaitParameter(f"{name}_difference", unit, f"right minus left {name.replace('_', ' ')}"),) if difference else ()
    )


GAIT_PARAMETERS = (
    GaitParameter("speed", "m/s", "forward path of the pelvis over time, from the first to the last heel strike"),
    GaitParameter(
        "cadence",
        "steps/min",
        "two steps over the mean of the left and right cycle time (over the one measured, if only one is)",
    ),
    *_both("step_time", "s", "from a {other} heel strike to the next {side} heel strike", True),
    *_both("cycle_time", "s", "from a {side} heel strike to the next {side} heel strike", True),
    *_both("step_length", "m", "forward distance from the {other} footprint to the next {side} footprint", True),
    *_both("stride_length", "m", "forward distance from a {side} footprint to the next {side} footprint", True),
    *_both("foot_height", "m", "rise of the {side} ankle from its lowest to its highest point in a cycle"),
    *_both("swing_time", "s", "from a {side} toe off to the next {side} heel strike", True),
    *_both("single_support_time", "s", "time on the {side} foot alone in a {side} cycle"),
    *_both("double_support_time", "s", "time on both feet in a {side} cycle, both phases together"),
    *_both("single_support_percent", "%", "single support time as a share of the {side} cycle"),
    *_both("double_support_percent", "%", "double support time as a share of the {side} cycle"),
    *_both(
        "foot_progression_angle",
        "deg",
        "direction ankle -> foot of the {side} footprint from that of travel, toes out positive",
    ),
)

KINEMATIC_PARAMETERS = (
    *_both("hip_range", "deg", "range of {side} hip flexion in a cycle"),
    *_both("knee_range", "deg", "range of {side} knee flexion in a cycle"),
    *_both("ankle_range", "deg", "range of {side} ankle dorsiflexion in a cycle"),
    *_both("peak_knee_flexion", "deg", "largest {side} knee flexion in a cycle"),
    GaitParameter("pelvic_obliquity_range", "deg", "range of the pelvic obliquity in a cycle"),
    GaitParameter("trunk_lean_sagittal", "deg", "mean lean of the trunk, forward positive"),
    GaitParameter("trunk_lean_range_frontal", "deg", "range of the trunk's sideways lean in a cycle"),
    GaitParameter("trunk_lean_range_sagittal", "deg", "range of the trunk's forward lean in a cycle"),
    GaitParameter("step_width", "m", "sideways distance between successive left and right footprints"),
    GaitParameter("knee_range_asymmetry", "1", "(right - left) / (0.5 (right + left)) of the knee range"),
    GaitParameter("step_length_asymmetry", "1", "(right - left) / (0.5 (right + left)) of the step length"),
    GaitParameter("stance_asymmetry", "1", "(right - left) / (0.5 (right + left)) of the stance time"),
    GaitParameter("body_height", "m", "height of the head joint above the lower ankle or foot, median over frames"),
)

EDGE = 0.1  # s, what smoothing carries over from joints that were filled in
_OTHER_SIDE = {"left": "right", "right": "left"}


def without_side(name: str) -> str:
    """A parameter's name without its side: knee_range of knee_range_left."""
    return name.removesuffix("_left").removesuffix("_right")


def mirror_image(name: str) -> tuple[str, int]:
    """Name of the parameter of the mirrored walk that holds this one, and its sign there (differences change theirs)."""
    other = "_".join(_OTHER_SIDE.get(part, part) for part in name.split("_"))
    return other, -1 if name.endswith(("_difference", "_asymmetry")) else 1


def compute_gait_parameters(
    joints: np.ndarray, fps: float, skeleton: Skeleton | str = KINECT_V2, filled: np.ndarray | None = None
) -> dict[str, float]:
    """All parameters of `GAIT_PARAMETERS` and `KINEMATIC_PARAMETERS` of one walk, nan where they can't be measured.

    It takes the walk at its word: one straight, clean stretch along +y. For a walk as somebody recorded it, take
    `recording.read_recording(...).gait_parameters`, which finds the straight parts, repairs, and says what it doubts. Here only
    a UserWarning tells of legs of no human length, a body that is not upright along z, and travel that is not along +y; what is
    not in metres at all is refused.

    Args and errors as `detect_gait_events`, but a joint is measured in every frame or, nan, in none. `filled` (T, J) bool:
    where one was lost and stands where somebody put it; what needs it is taken of the other strides. A footprint is the mean
    ankle position from 6 to 36 % of the cycle after a heel strike, while the foot is flat.
    """
    skeleton = known_skeleton(skeleton)
    values, whole = _measure(joints, fps, skeleton, filled)
    _warn_of_odd_input(np.asarray(joints, np.float64), skeleton)
    out = dict.fromkeys((p.name for p in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS)), float("nan"))
    out |= {name: _median(v) for name, v in values.items() if name != "cadence"} | whole
    for name in ("step_time", "cycle_time", "step_length", "stride_length", "swing_time"):
        out[f"{name}_difference"] = out[f"{name}_right"] - out[f"{name}_left"]
    times = [out[f"cycle_time_{side}"] for side in SIDES if np.isfinite(out[f"cycle_time_{side}"])]
    out["cadence"] = 120.0 / np.mean(times) if times else float("nan")
    out["knee_range_asymmetry"] = symmetry_index(out["knee_range_left"], out["knee_range_right"])
    out["step_length_asymmetry"] = symmetry_index(out["step_length_left"], out["step_length_right"])
    stance = [out[f"cycle_time_{side}"] - out[f"swing_time_{side}"] for side in SIDES]
    out["stance_asymmetry"] = symmetry_index(*stance)
    return {name: float(value) for name, value in out.items()}


def stride_values(
    joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2, filled: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Parameters of every single step, stride or cycle, name -> (N,), in the units of `GAIT_PARAMETERS`: what the medians of
    `compute_gait_parameters` are of, and speed and cadence by cycle. Args and errors as there; differences have none."""
    values, _ = _measure(joints, fps, skeleton, filled)
    values = {name: np.asarray(v, np.float64) for name, v in values.items()}
    return {name: v[np.isfinite(v)] for name, v in values.items()}


def _measure(
    joints: np.ndarray, fps: float, skeleton: Skeleton, filled: np.ndarray | None
) -> tuple[dict[str, list], dict[str, float]]:
    """Values by step, stride or cycle, nan where a joint was `filled`, and what is measured once of the whole walk."""
    check_walk(joints, fps, skeleton)
    joints = np.asarray(unmasked(joints), np.float64)
    if filled is None or not filled.any():
        filled = np.zeros(joints.shape[:2], bool)
    else:
        filled = maximum_filter1d(filled, 2 * max(1, round(EDGE * fps)) + 1, axis=0, mode="nearest")
    events = detect_gait_events(np.where(filled[..., None], np.nan, joints), fps, skeleton)
    known = np.isfinite(joints).all(axis=-1)
    if (known.any(axis=0) & ~known.all(axis=0)).any():
        raise ValueError("joints hold values that are not finite; clean them first (modeling_gait.cleaning)")
    joints = smooth_positions(joints, fps)
    pelvis = pelvis_track(joints, skeleton)[:, 1]  # on its way where it was filled too
    joints = np.where(filled[..., None], np.nan, joints)
    ankles = [j for j, n in enumerate(skeleton.joint_names) if n.endswith("_ankle")]
    blind = filled[:, ankles].all(1)  # strikes of both feet may be missed
    values, whole = {}, {}
    for side in SIDES:
        for name, value in _timing(_strides(events, side, fps, blind), fps).items():
            values[f"{name}_{side}"] = value
    cycles = {side: _all_cycles(events, side, fps, blind) for side in SIDES}
    _space(values, whole, joints, pelvis, events, cycles, fps, skeleton, blind)
    _kinematics(values, whole, joints, cycles, skeleton)
    return values, whole


def _warn_of_odd_input(joints: np.ndarray, skeleton: Skeleton) -> None:
    if odd := odd_input(joints, skeleton):
        warnings.warn(f"{'; '.join(odd)}; use read_recording(...).gait_parameters", UserWarning, stacklevel=3)


def odd_input(joints: np.ndarray, skeleton: Skeleton = KINECT_V2) -> list[str]:
    """What speaks against joints (T, J, 3) being metres of somebody upright along z who goes along +y, a sentence each."""
    hip, ankle = pelvis_track(joints, skeleton), np.mean([joint_track(joints, skeleton, f"{s}_ankle") for s in SIDES], axis=0)
    leg, way = np.nanmedian(hip - ankle, axis=0), hip[-1] - hip[0]
    size = float(np.linalg.norm(leg))
    odd = []
    if not 0.2 <= size <= 1.3:
        odd.append(f"the ankles are {size:.3g} m from the hips: what is the unit?")
    elif leg[2] < 0.6 * size:
        odd.append("the body is not upright along z")
    if np.hypot(*way[:2]) > 0.3 and way[1] < 0.8 * np.hypot(*way[:2]):
        odd.append("the walk is not along +y")
    return odd


def symmetry_index(left: float, right: float) -> float:
    """(right - left) / (0.5 (right + left)) (Robinson et al. 1987, as a fraction); nan where the sum is not positive."""
    return (right - left) / (0.5 * (right + left)) if right + left > 0 else float("nan")


@dataclass(frozen=True)
class _Stride:
    """One cycle of a side from heel strike to heel strike, in frames; toe offs are nan where not found."""

    start: float
    other_toe_off: float
    other_strike: float
    toe_off: float
    end: float


def _strides(events: GaitEvents, side: str, fps: float, blind: np.ndarray) -> list[_Stride]:
    (strikes, offs), (other_strikes, other_offs) = _sides(events, side)
    out = []
    for a, b in _cycles(strikes, other_strikes, fps, blind):
        o = float(other_strikes[(other_strikes > a) & (other_strikes < b)][0])
        slack = 0.1 * (b - a)
        out.append(_Stride(a, _only(other_offs, a - slack, o), o, _only(offs, o - slack, b), b))
    return out


def _sides(events: GaitEvents, side: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(heel strikes, toe offs) of `side` and of the other side."""
    left = (events.left_heel_strikes, events.left_toe_offs)
    right = (events.right_heel_strikes, events.right_toe_offs)
    return (left, right) if side == "left" else (right, left)


def _cycles(own: np.ndarray, other: np.ndarray, fps: float, blind: np.ndarray) -> list[tuple[float, float]]:
    """Spans between successive events `own`, of 0.5 to 6 s, that hold exactly one event `other` (so that none was missed) and
    no frame in which both ankles were lost, `blind` (T,)."""
    spans = [s for s in zip(own[:-1], own[1:], strict=True) if not blind[_frames(s)].any()]
    return [(a, b) for a, b in spans if SHORTEST * fps <= b - a <= LONGEST * fps and np.sum((other > a) & (other < b)) == 1]


def _all_cycles(events: GaitEvents, side: str, fps: float, blind: np.ndarray) -> list[tuple[float, float]]:
    """Cycles from heel strike to heel strike and from toe off to toe off."""
    own, other = _sides(events, side)
    return [span for kind in (0, 1) for span in _cycles(own[kind], other[kind], fps, blind)]


def _only(values: np.ndarray, low: float, high: float) -> float:
    """The one value strictly between low and high, else nan."""
    inside = values[(values > low) & (values < high)]
    return float(inside[0]) if len(inside) == 1 else float("nan")


def _median(values) -> float:
    """Median of what is finite, nan of nothing."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def _timing(strides: list[_Stride], fps: float) -> dict[str, list[float]]:
    """Swing, single and double support of a side."""
    rows = []
    for s in strides:
        cycle, single = s.end - s.start, s.other_strike - s.other_toe_off
        double = (s.other_toe_off - s.start) + (s.toe_off - s.other_strike)
        row = {
            "swing_time": (s.end - s.toe_off) / fps,
            "single_support_time": single / fps,
            "double_support_time": double / fps,
        }
        rows.append({**row, "single_support_percent": 100 * single / cycle, "double_support_percent": 100 * double / cycle})
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def _space(
    values: dict,
    whole: dict,
    joints: np.ndarray,
    pelvis: np.ndarray,
    events: GaitEvents,
    cycles: dict,
    fps: float,
    skeleton: Skeleton,
    blind: np.ndarray,
) -> None:
    """Fills speed, step and cycle times, lengths, widths, heights and foot angles."""
    strikes = {side: getattr(events, f"{side}_heel_strikes") for side in SIDES}
    steps = _steps(strikes, fps, blind)
    every = np.concatenate(list(strikes.values()))
    first, last = (every.min(), every.max()) if len(steps) > 1 else (0, len(joints) - 1)
    if last > first:
        whole["speed"] = np.diff(np.interp([first, last], np.arange(len(joints)), pelvis))[0] / (last - first) * fps
    cycle = _median([b - a for side in SIDES for a, b in cycles[side]])
    if np.isnan(cycle):
        cycle = 2 * _median([b - a for _, a, b in steps])
    prints = {side: _footprints(joints, strikes[side], cycle, side, skeleton) for side in SIDES}
    widths = []
    for side, other in (SIDES, SIDES[::-1]):
        sign = 1 if side == "right" else -1
        own = prints[side]
        pairs = [(prints[other][a], own[b]) for s, a, b in steps if s == side and a in prints[other] and b in own]
        widths += [sign * (b[0] - a[0]) for a, b in pairs]
        values[f"step_time_{side}"] = [(b - a) / fps for s, a, b in steps if s == side]
        values[f"step_length_{side}"] = [b[1] - a[1] for a, b in pairs]
        spans = _cycles(strikes[side], strikes[other], fps, blind)
        values[f"stride_length_{side}"] = [own[b][1] - own[a][1] for a, b in spans if a in own and b in own]
        values[f"foot_progression_angle_{side}"] = [sign * p[2] for p in own.values()]
        height = joint_track(joints, skeleton, f"{side}_ankle")[:, 2]
        values[f"foot_height_{side}"] = [np.ptp(height[_frames(c)]) for c in cycles[side]]
        values[f"cycle_time_{side}"] = [(b - a) / fps for a, b in cycles[side]]
    values["step_width"] = widths
    every = [c for side in SIDES for c in cycles[side]]
    ends = np.array(every).reshape(-1, 2).T
    values["speed"] = np.diff(np.interp(ends, np.arange(len(joints)), pelvis), axis=0)[0] / (ends[1] - ends[0]) * fps
    values["cadence"] = [120.0 * fps / (b - a) for a, b in every]


def _steps(strikes: dict[str, np.ndarray], fps: float, blind: np.ndarray) -> list[tuple[str, float, float]]:
    """(side that ends the step, frame of the other side's strike, of its own): strikes that alternate, 0.2 to 4 s apart."""
    every = sorted((float(t), side) for side in SIDES for t in strikes[side])
    pairs = [(a, b) for a, b in zip(every[:-1], every[1:], strict=True) if not blind[_frames((a[0], b[0]))].any()]
    return [(b[1], a[0], b[0]) for a, b in pairs if a[1] != b[1] and 0.2 * fps <= b[0] - a[0] <= 4 * fps]


def _footprints(joints, strikes, cycle, side, skeleton) -> dict[float, tuple[float, float, float]]:
    """Heel strike -> ankle x, y [m] and direction of the foot [deg, clockwise from +y], meant over the flat-foot phase."""
    ankle = joint_track(joints, skeleton, f"{side}_ankle")
    foot = joint_track(joints, skeleton, f"{side}_foot") - ankle
    out = {}
    for strike in strikes if np.isfinite(cycle) else ():
        a, b = int(np.ceil(strike + 0.06 * cycle)), int(strike + 0.36 * cycle) + 1
        if b <= len(joints) and b > a:
            x, y, _ = ankle[a:b].mean(axis=0)
            direction = foot[a:b].mean(axis=0)
            out[strike] = (x, y, np.degrees(np.arctan2(direction[0], direction[1])))
    return out


def _frames(cycle: tuple[float, float]) -> slice:
    return slice(int(np.floor(cycle[0])), int(np.ceil(cycle[1])) + 1)


# Parameters of one cycle's joint angles: name -> the angle, and what is taken of it.
_OF_ANGLES = {
    f"{name}_{side}": (f"{angle}_{side}", take)
    for side in SIDES
    for name, angle, take in (
        ("hip_range", "hip_flexion", np.ptp),
        ("knee_range", "knee_flexion", np.ptp),
        ("ankle_range", "ankle_dorsiflexion", np.ptp),
        ("peak_knee_flexion", "knee_flexion", np.max),
    )
}
_OF_ANGLES |= {f"trunk_lean_range_{plane}": (f"trunk_lean_{plane}", np.ptp) for plane in ("frontal", "sagittal")}
_OF_ANGLES["pelvic_obliquity_range"] = "pelvic_obliquity", np.ptp
ANGLE_PARAMETERS = frozenset(_OF_ANGLES)  # that a cycle's joint angles give alone


def cycle_parameters(cycles: Sequence[np.ndarray], skeleton: Skeleton = KINECT_V2) -> list[dict[str, float]]:
    """Those parameters of whole gait cycles, each (T_n, J, 3), that their joint angles give, ranges and peaks, without
    looking for heel strikes; nothing is smoothed. Errors as `joint_angles`."""
    angles, ends = joint_angles(np.concatenate(cycles), skeleton), np.cumsum([0, *map(len, cycles)])
    spans = [slice(a, b) for a, b in pairwise(ends)]
    return [{name: float(take(angles[angle][span])) for name, (angle, take) in _OF_ANGLES.items()} for span in spans]


def _kinematics(values: dict, whole: dict, joints: np.ndarray, cycles: dict, skeleton: Skeleton) -> None:
    """Fills ranges of motion, leans and body height."""
    angles = joint_angles(joints, skeleton)
    frames = {side: [_frames(c) for c in cycles[side]] for side in SIDES}
    both = [c for side in SIDES for c in frames[side]]
    for name, (angle, take) in _OF_ANGLES.items():
        values[name] = [take(angles[angle][c]) for c in frames.get(name.rpartition("_")[2], both)]
    values["trunk_lean_sagittal"] = [angles["trunk_lean_sagittal"][c].mean() for c in both]
    lean = angles["trunk_lean_sagittal"]
    whole["trunk_lean_sagittal"] = lean[np.isfinite(lean)].mean() if np.isfinite(lean).any() else np.nan
    head = next((n for n in ("head", "nose") if skeleton.has(n)), None)
    low = [n for n in ("left_ankle", "right_ankle", "left_foot", "right_foot") if skeleton.has(n)]
    if head:
        floor = np.fmin.reduce([joint_track(joints, skeleton, n)[:, 2] for n in low])
        whole["body_height"] = _median(joint_track(joints, skeleton, head)[:, 2] - floor)
