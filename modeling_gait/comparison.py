"""What changed between two walks, or between left and right: `compare_walks`, `compare_sides`, `comparison_page`.

In: `Recording`s, one or several of each time. Out: a `Comparison`: for each gait parameter the change and the change that
measurement error and chance would give, sentences, and a page with the curves over each other.

The error of a value is that of the mean of its recordings where there are three or more; else that of the mean of its strides
and, as nobody walks twice alike, `WALK_TO_WALK`. The minimal detectable change (MDC95; Weir 2005, J Strength Cond Res 19:231)
is t(0.975) sqrt(e_before^2 + e_after^2), the degrees of freedom by Welch. What a camera adds (`Recording.accuracy`) is in it,
except a stature that both have alike. What another day, other shoes or another path change is not in it, unless there are
recordings of several days.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from .files import atomic_path
from .gait_events import SIDES, smooth_positions
from .gait_parameters import GAIT_PARAMETERS, KINEMATIC_PARAMETERS, mirror_image, stride_values, without_side
from .recording import Recording
from .skeletons import KINECT_V2
from .walk_checks import leg_length

# SD between walks of one person, one after the other, beyond that of the mean of their strides: gist, people 1 to 5, 8 walks of
# each class as sensor 3 saw them, joints on its side (`python -m experiments.compare_gist`). What is not here is not known: the
# sensor sees ankles and feet too badly.
WALK_TO_WALK = {"speed": 0.053, "cadence": 2.7, "step_time": 0.030, "cycle_time": 0.048, "swing_time": 0.017}
WALK_TO_WALK |= {"step_length": 0.035, "stride_length": 0.053, "step_length_difference": 0.050, "step_time_difference": 0.014}
WALK_TO_WALK |= {"foot_height": 0.009, "single_support_time": 0.029, "double_support_time": 0.021, "step_width": 0.008}
WALK_TO_WALK |= {"single_support_percent": 1.4, "double_support_percent": 1.2, "hip_range": 2.0, "knee_range": 2.1}
WALK_TO_WALK |= {"peak_knee_flexion": 2.0, "pelvic_obliquity_range": 2.1, "trunk_lean_sagittal": 0.9}
WALK_TO_WALK |= {"trunk_lean_range_frontal": 0.6, "trunk_lean_range_sagittal": 1.2}
WALK_TO_WALK |= {"cycle_time_difference": 0.0, "stride_length_difference": 0.0}  # both legs go equally far in the same time

JITTER = 0.005  # m, less makes no difference
OTHER_BODY = 0.12  # share by which the legs of one person may differ: 0.11 in all walks of people of gist that one Kinect saw

CURVES = {"hip_flexion": "hip flexion", "knee_flexion": "knee flexion", "ankle_dorsiflexion": "ankle dorsiflexion"}


@dataclass(frozen=True)
class Change:
    """One gait parameter twice, in its unit.

    Attributes:
        before, after, change: values and after - before.
        error: MDC95, the change that chance alone exceeds in one of 20 comparisons; nan where strides are too few to tell, and
            where fewer than three recordings do not tell what nobody has measured from walk to walk.
        beyond: is the change larger than that?
        strides: how many before, after (or recordings, where there are three or more).
    """

    name: str
    unit: str
    before: float
    after: float
    change: float
    error: float
    beyond: bool
    strides: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """What `compare_walks` found.

    Attributes:
        names: what is compared, two labels.
        changes: of each parameter that both have.
        curves: angle and side -> root mean square of the change of the mean curve over the cycle [deg].
        sentences: the changes beyond error in words, largest in terms of their error first.
        doubts: of the recordings, and of the comparison.
    """

    names: tuple[str, str]
    changes: tuple[Change, ...]
    curves: dict[str, float]
    sentences: tuple[str, ...]
    doubts: tuple[str, ...]

    def to_dict(self) -> dict:
        return asdict(self)


def compare_walks(before: Sequence[Recording], after: Sequence[Recording], names=("before", "after")) -> Comparison:
    """What changed from some recordings of a person to others. Raises ValueError where there is none, or nothing to compare."""
    if not before or not after:
        raise ValueError("expected one or more recordings before and after")
    doubts = [*other_bodies(_legs((*before, *after))), *_other_noise(names, before, after)]
    before, after = _distinct(before, doubts, f"{names[0]}: "), _distinct(after, doubts, f"{names[1]}: ")
    first, second = _values(before), _values(after)
    changes = []
    for parameter in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS):
        name = parameter.name
        if name in first and name in second:
            unlike = len({w.accuracy.get(name, (0.0, 0.0))[0] for w in (*before, *after)}) > 1  # else one stature is in both
            parts = (_known(name, v[name][0], w, unlike) for v, w in ((first, before), (second, after)))
            changes.append(_change(name, parameter.unit, first[name], second[name], sum(parts)))
    changes = [c for c in changes if np.isfinite(c.change)]
    if not changes:
        raise ValueError("no gait parameter is measured in both: expected at least a stride of each")
    curves = _curve_changes(before, after)
    doubts += [f"{n}: {d}" for n, walks in zip(names, (before, after)) for w in walks for d in w.doubts]
    return _finish(names, changes, curves, doubts)


def compare_sides(walks: Sequence[Recording]) -> Comparison:
    """Left against right of the same strides. Raises as `compare_walks`."""
    if not walks:
        raise ValueError("expected one or more recordings")
    doubts = other_bodies(_legs(walks))
    walks = _distinct(walks, doubts)
    values = _values(walks)
    changes = []
    for parameter in (*GAIT_PARAMETERS, *KINEMATIC_PARAMETERS):
        name, other = parameter.name, mirror_image(parameter.name)[0]
        if name.endswith("_left") and name in values and other in values:
            known = sum(_known(n, values[n][0], walks, False) for n in (name, other))
            changes.append(_change(name.removesuffix("_left"), parameter.unit, values[name], values[other], known))
    changes = [c for c in changes if np.isfinite(c.change)]
    if not changes:
        raise ValueError("no gait parameter is measured on both sides: expected at least a stride of each")
    means = _mean_curves(walks)
    curves = {
        a: _rms(means[f"{a}_left"], means[f"{a}_right"]) for a in CURVES if f"{a}_left" in means and f"{a}_right" in means
    }
    return _finish(("left", "right"), changes, curves, doubts + [d for w in walks for d in w.doubts])


def _finish(names: tuple[str, str], changes: list[Change], curves: dict, doubts: list[str]) -> Comparison:
    if unsure := [_words(c.name) for c in changes if not np.isfinite(c.error)]:
        doubts = [*doubts, f"too few strides or recordings (three would do) to tell error from change: {', '.join(unsure)}"]
    beyond = sorted((c for c in changes if c.beyond), key=lambda c: -abs(c.change) / max(c.error, 1e-9))
    sentences = [
        f"{_words(c.name)} is {'higher' if c.change > 0 else 'lower'} {names[1]} than {names[0]}: "
        f"{c.before:.3g} -> {c.after:.3g} {c.unit} ({c.change:+.3g}; chance alone up to {c.error:.2g})".replace(" 1 (", " (")
        for c in beyond
    ]
    known = len(changes) - len(unsure)
    rest = f"{known - len(beyond)} of {known} parameters with a known error do not differ by more than it"
    rest += f"; by chance alone about {known / 20:.0f} would" if beyond else ""
    return Comparison(tuple(names), tuple(changes), curves, (*sentences, rest), tuple(dict.fromkeys(doubts)))


# ---------------------------------------------------------------- one person, each walk once


def other_bodies(legs: Sequence[float]) -> list[str]:
    """A sentence, where legs [m] are of more than one length, see `OTHER_BODY`."""
    if max(legs) > (1 + OTHER_BODY) * min(legs):
        return [f"legs of {min(legs):.2f} m and of {max(legs):.2f} m: is this one person, in one unit?"]
    return []


def _other_noise(names: tuple[str, str], before: Sequence[Recording], after: Sequence[Recording]) -> list[str]:
    """A sentence, where joints of one jitter more than those of the other: ranges of motion grow with it."""
    noise = [float(np.median([_jitter(w) for w in walks])) for walks in (before, after)]
    if max(noise) > max(2 * min(noise), JITTER):
        (more, shaky), (less, calm) = sorted(zip(noise, names), reverse=True)
        said = f"{shaky} jitter by {1000 * more:.0f} mm, {calm} by {1000 * less:.0f}"
        return [f"the joints {said}: ranges of motion are larger for it, steps and supports less sure"]
    return []


def _jitter(walk: Recording) -> float:
    """SD [m] of a coordinate by noise, the middle of all joints: of what is faster than walking."""
    share = 1 - 12 / walk.fps  # of white noise, which `smooth_positions` takes away
    if share <= 0 or len(walk.joints) < 30:
        return 0.0
    fast = (walk.joints - smooth_positions(walk.joints, walk.fps))[5:-5]
    return float(np.nanmedian(fast.std(axis=0)) / share**0.5)


def _legs(walks: Sequence[Recording]) -> list[float]:
    return [leg_length(w.joints, w.skeleton) for w in walks]


def _distinct(walks: Sequence[Recording], doubts: list[str], name: str = "") -> list[Recording]:
    """Those that are no copies of others, which would make chance look small; copies are told in `doubts`."""
    kept: list[Recording] = []
    for walk in walks:
        if not any(np.array_equal(walk.joints, other.joints, equal_nan=True) for other in kept):
            kept.append(walk)
    if copies := len(walks) - len(kept):
        doubts.append(f"{name}{copies} of {len(walks)} recordings are copies of others and left out")
    return kept


# ---------------------------------------------------------------- values and their error


def _values(walks: Sequence[Recording]) -> dict[str, tuple[float, float, float, int]]:
    """Parameter -> value, its standard error, the degrees of freedom, and the count of what it is the mean of."""
    rows = [w.gait_parameters for w in walks]
    strides = [_strides(w) for w in walks]
    out = {}
    for name in rows[0]:
        each = np.array([r[name] for r in rows])
        each = each[np.isfinite(each)]
        if not len(each):
            continue
        if len(each) >= 3:
            out[name] = float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), len(each) - 1.0, len(each)
            continue
        parts = [s[name] for s in strides if name in s]
        count = sum(n for _, n in parts)
        free = sum(max(n - 1, 0) for _, n in parts)
        if free < 1 or name.endswith(("_difference", "_asymmetry")):
            out[name] = float(each.mean()), float("nan"), float("nan"), count
        else:
            variance = sum(v.var(ddof=1) * (n - 1) for v, n in parts if n > 1) / free
            out[name] = float(each.mean()), float(np.sqrt(variance / count)), float(free), count
    for row in (n for n in list(out) if n.endswith("_difference")):  # the error of both sides
        sides = [out.get(row.replace("difference", s)) for s in SIDES]
        if all(sides) and np.isnan(out[row][1]):
            error, free = np.hypot(*(s[1] for s in sides)), min(s[2] for s in sides)
            out[row] = out[row][0], float(error), float(free), min(s[3] for s in sides)
    return out


def _strides(walk: Recording) -> dict[str, tuple[np.ndarray, int]]:
    """Parameter -> values of single strides in all stretches, and how many of them do not overlap."""
    found: dict[str, list] = {}
    seconds = sum(s.stop - s.start for s in walk.stretches) / walk.fps
    for stretch in walk.stretches:
        for name, values in stride_values(walk.straight(stretch), walk.fps, walk.skeleton, walk.filled_in(stretch)).items():
            found.setdefault(name, []).append(values)
    joined = {n: np.concatenate(v) for n, v in found.items() if n not in walk.unseen}
    cycle = np.concatenate([joined.get(f"cycle_time_{s}", np.empty(0)) for s in SIDES])
    most = max(1, int(seconds / np.median(cycle))) if len(cycle) else 1
    return {n: (v, min(len(v), most)) for n, v in joined.items() if len(v)}


def _known(name: str, value: float, walks: Sequence[Recording], stature: bool) -> float:
    """Variance that the strides of a value do not show: from walk to walk, and of the method (`Walk.accuracy`), in which the
    share that goes with the `stature` counts where it is not the same in both."""
    stem = without_side(name)
    method = max((stature * share * value) ** 2 + amount**2 for w in walks for share, amount in [w.accuracy.get(name, (0, 0))])
    return method + (WALK_TO_WALK.get(stem, np.nan) ** 2 / len(walks) if len(walks) < 3 else 0.0)


def _change(name: str, unit: str, before: tuple, after: tuple, known: float) -> Change:
    a, b = before[1], after[1]
    error = float("nan")
    if np.isfinite(a) and np.isfinite(b):
        both = a**2 + b**2
        free = both**2 / max(a**4 / before[2] + b**4 / after[2], 1e-30) if both > 0 else before[2] + after[2]
        error = float(np.sqrt(stats.t.ppf(0.975, free) ** 2 * both + 1.96**2 * known))
    change = after[0] - before[0]
    beyond = bool(np.isfinite(error) and abs(change) > error and abs(change) > 1e-9)
    return Change(name, unit, before[0], after[0], change, error, beyond, (before[3], after[3]))


# ---------------------------------------------------------------- curves, words, the page


def _mean_curves(walks: Sequence[Recording]) -> dict[str, np.ndarray]:
    """Angle and side -> mean curve (101,) [deg] over the cycles of all stretches; only what the view shows."""
    from .drawing.rendering import angle_cycles

    found: dict[str, list] = {}
    for walk in walks:
        for stretch in walk.stretches if "knee_range_left" not in walk.unseen else ():
            for side, angles in angle_cycles(walk.seen(stretch), walk.fps, walk.skeleton).items():
                for angle in CURVES:
                    found.setdefault(f"{angle}_{side}", []).append(angles[angle][np.isfinite(angles[angle]).all(1)])
    joined = {n: np.concatenate(c) for n, c in found.items()}
    return {n: c.mean(0) for n, c in joined.items() if len(c) and np.isfinite(c).all()}


def _rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _curve_changes(before: Sequence[Recording], after: Sequence[Recording]) -> dict[str, float]:
    first, second = _mean_curves(before), _mean_curves(after)
    return {n: _rms(first[n], second[n]) for n in first if n in second}


def _words(name: str) -> str:
    for side in SIDES:
        if name.endswith(f"_{side}"):
            name = f"{side}_{name.removesuffix(f'_{side}')}"
    return name.replace("_", " ")


def comparison_page(found: Comparison, path: str | Path, before: Sequence[Recording], after: Sequence[Recording] = ()) -> None:
    """Write a page of HTML that needs nothing else: the sentences, the curves over each other, the table.

    `after` empty: left against right of `before`. Raises OSError.
    """
    import tempfile

    from .drawing.pages import embedded, fill_page
    from .drawing.rendering import plot_joint_angles, unseen_curves

    walks = dict(zip(found.names, (before, after))) if after else {"this walk": before}
    picture, doubts = "", list(found.doubts)
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = {n: max(w, key=lambda r: r.longest.stop - r.longest.start) for n, w in walks.items()}
            figure = Path(folder) / "curves.png"
            unseen = {curve for w in drawn.values() for curve in unseen_curves(w.gait_parameters)}
            plot_joint_angles(
                {n: (w.for_model(KINECT_V2, w.fps), w.fps) for n, w in drawn.items()}, figure, unseen=tuple(unseen)
            )
            picture = embedded(figure)
        except ValueError as error:
            doubts.append(f"no curves: {error}")
    with atomic_path(path) as temporary:
        text = fill_page("comparison", found=found, picture=picture, doubts=doubts, words=_words, finite=np.isfinite)
        temporary.write_text(text, encoding="utf-8")
