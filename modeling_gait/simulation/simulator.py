"""Parametric gait simulator: believable Kinect v2 walks without any download.

In: what should be walked (class, severity 0..1, side, speed [m/s], cadence [steps/min], person, load, footwear, noise).
Out: `SimulatedWalks`, joints float32 (n, T, 25, 3) [m] in the package's frame (x right, y forward, z up, origin = the pelvis of
the first frame on the floor).

How: each leg follows the joint-angle curves of gait_curves.py over its own cycle; hip amplitude is scaled until the stride
has the asked length; the pelvis travels so that the foot on the floor stands still; trunk and arms are added (gait_motion.py).
All walks are computed at once in numpy. The numbers are simulated: never mix them with real ones in a table.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from ..skeletons import KINECT_V2
from .gait_curves import CURVES, DEGREES, HABITS, NORMAL, SHUFFLE, SLOW, SPREAD, WAYS, fourier
from .gait_motion import Plan, solve_stride, walk
from .sensors import sense

# The classes of gait that it can walk, of those in gait_classes.json.
PATHOLOGIES = ("normal", "antalgic", "stiff_legged", "lurch", "steppage", "trendelenburg", "parkinsonian")
SIDES = ("left", "right", "both")
LOADS = ("none", "backpack", "bag")
FOOTWEAR = ("trainers", "boots", "heels", "barefoot")
CLOTHING = ("trousers", "shorts", "skirt", "coat", "sportswear")  # leaves no trace in the skeleton, on purpose
UNSIDED = ("normal", "parkinsonian")

# At severity 1: factor on comfortable speed, factor on walk ratio, forward lean [deg], stance fraction added on the affected
# and on the other side. Speed and walk ratio: means of gist's subjects 1-5 over their normal walks, rounded.
_STYLE = {
    "normal": (1.0, 1.0, 0.0, 0.0, 0.0),
    "antalgic": (0.68, 0.70, 0.0, -0.06, 0.02),
    "stiff_legged": (0.73, 1.15, 0.0, -0.02, 0.02),
    "lurch": (0.65, 1.35, 0.0, -0.01, 0.01),
    "steppage": (0.74, 1.15, 0.0, -0.015, 0.015),
    "trendelenburg": (0.63, 1.10, 0.0, -0.01, 0.01),
    "parkinsonian": (0.42, 0.52, 16.0, 0.03, 0.03),
}


def pace_factors(name: str, severity: float) -> tuple[float, float]:
    """Factors of a class on the speed and on the cadence that a person has in normal walking."""
    speed, ratio = (1 + (np.array(_STYLE[name][:2]) - 1) * severity).tolist()
    return speed, (speed / ratio) ** 0.5


@dataclass
class SimulatedWalks:
    """n walks of T frames.

    Attributes:
        joints: float32 (n, T, 25, 3) [m], KINECT_V2; nan where a joint dropped out.
        fps: frames per second.
        pathology: n names of `PATHOLOGIES`.
        severity: float32 (n,), 0..1; 0 for normal. A parkinsonian walk's UPDRS gait score is round(3 * severity).
        side: n of "left", "right", "both" or "none".
        subject_ids: n strings.
        attributes: n dicts: side, age, sex, height [m], mass [kg], load, footwear, clothing (and updrs_gait).
        speed: float32 (n,), mean speed [m/s]; cadence: float32 (n,) [steps/min]; stride_length: float32 (n,) [m]. These are
            what is walked, which differs from an asked pair that no leg could walk.
        phase: float32 (n, 2, T), 0..1, of the left and the right leg's cycle: 0 at the planned heel strike, `stance`, float32
            (n, 2), at the planned toe off. Feet of slow and pathological walks glide on for up to 0.06 s after their planned
            heel strike, where normal ones have slowed down to half the walking speed as real ones do.
    """

    joints: np.ndarray
    fps: float
    pathology: list[str]
    severity: np.ndarray
    side: list[str]
    subject_ids: list[str]
    attributes: list[dict]
    speed: np.ndarray
    cadence: np.ndarray
    stride_length: np.ndarray
    phase: np.ndarray
    stance: np.ndarray

    def __len__(self) -> int:
        return len(self.joints)


def simulate_walks(
    n: int,
    frames: int = 96,
    fps: float = 30.0,
    seed: int = 0,
    pathology: str | list[str] | None = None,
    severity: float | np.ndarray | None = None,
    side: str | list[str] | None = None,
    speed: float | np.ndarray | None = None,
    cadence: float | np.ndarray | None = None,
    num_subjects: int | None = None,
    noise: float = 0.0,
    dropout: float = 0.0,
    dropout_kind: str = "nan",
    attributes: dict | list[dict] | None = None,
    ways: dict | list[dict] | None = None,
    domain: bool = False,
) -> SimulatedWalks:
    """Simulate n walks; the same arguments give the same walks.

    Args:
        n: number of walks.
        frames: frames a walk, at least 2.
        fps: frames per second.
        seed: of all that is random.
        pathology: one of `PATHOLOGIES`, n of them, or None: all seven in turn, for every subject.
        severity: 0..1, or n of them; None: drawn from 0.3..1 (parkinsonian: UPDRS gait score 0, 1, 2 or 3 over 3). Normal: 0.
        side: "left", "right" or "both", or n of them; None: left or right by chance. Normal and parkinsonian: always "none".
        speed: [m/s], or n of them; None: comfortable for the person and class (1.3 m/s for a healthy adult).
        cadence: [steps/min], or n of them; None: the one that goes with the speed. A speed and cadence whose step would be
            shorter than 0.05 or longer than 0.52 body heights keeps the cadence and walks the nearest possible speed.
        num_subjects: walk i is made by subject i % num_subjects, with one body, age, sex and style; None: n subjects.
        noise: sensor noise, standard deviation of the trunk joints [m] (Kinect v2: about 0.01); elbows and knees 1.5 times,
            hands and feet 2.5 times as much. Half of its variance is white, half drifts over about half a second.
        dropout: fraction of all (frame, joint) pairs that are lost, in bursts of about 0.2 s.
        dropout_kind: "nan" or "stuck" (the last position seen is repeated).
        attributes: values that hold for all walks, or n dicts: age [years], sex ("female", "male"), height [m], mass [kg],
            load (`LOADS`), footwear (`FOOTWEAR`), clothing (`CLOTHING`).
        ways: how a class is shown: degrees of `gait_curves.WAYS` at severity 1 (missing: 0), for all walks or n dicts;
            None: those of the class, `DEGREES`, and of the person, `SPREAD` about them. A normal walk shows none.
        domain: people and habits that differ more than the norms of healthy adults do, as strangers' files do: any pace from
            slow to normal, knees and ankles that a sensor flattens, arms held out, small habits in normal walks.

    Raises:
        ValueError: naming the argument and what was expected.
    """
    _check(n, frames, fps, num_subjects, noise, dropout, dropout_kind)
    rng = np.random.default_rng(seed)
    count = num_subjects or max(n, 1)
    subjects = np.arange(n) % count
    turns = (np.arange(n) // count + subjects) % len(PATHOLOGIES)  # every subject walks every class
    names = _each(pathology, n, "pathology", PATHOLOGIES) or [PATHOLOGIES[t] for t in turns]
    updrs = rng.integers(0, 4, n) / 3
    drawn = np.where(np.array(names) == "parkinsonian", updrs, rng.uniform(0.3, 1.0, n))
    severities = _numbers(severity, n, "severity", drawn, 0.0, 1.0)
    severities = np.where(np.array(names) == "normal", 0.0, severities)
    chance = [SIDES[c] for c in rng.integers(0, 2, n)]
    sides = ["none" if p in UNSIDED else s for p, s in zip(names, _each(side, n, "side", (*SIDES, "none")) or chance)]
    for p, s in zip(names, sides):
        if s == "none" and p not in UNSIDED:
            raise ValueError(f"side: expected {', '.join(SIDES)} for {p}, got 'none'")
    people, style = _people(rng, subjects, attributes)
    own = np.random.default_rng([seed, len(WAYS)])  # beside rng: walks without ways and domain do not depend on it
    habits = own.standard_normal((count, 64))[subjects]
    degrees = _degrees(own, names, habits, ways, domain)
    plan = _plan(rng, names, severities, sides, people, style, habits, degrees, speed, cadence, domain)
    joints, phase = walk(rng, plan, frames, fps)
    joints = sense(rng, joints, noise, dropout, dropout_kind, fps).astype(np.float32)
    for i, person in enumerate(people):
        person["side"] = sides[i]
        if names[i] == "parkinsonian":
            person["updrs_gait"] = int(round(3 * severities[i]))
    return SimulatedWalks(
        joints=joints,
        fps=float(fps),
        pathology=names,
        severity=severities.astype(np.float32),
        side=sides,
        subject_ids=[f"sim{seed}_{s:04d}" for s in subjects],
        attributes=people,
        speed=(plan.stride * plan.cadence / 120).astype(np.float32),
        cadence=plan.cadence.astype(np.float32),
        stride_length=plan.stride.astype(np.float32),
        phase=phase.astype(np.float32),
        stance=plan.stance.astype(np.float32),
    )


# --- arguments ---------------------------------------------------------------------------------------------------------------


def _check(n, frames, fps, num_subjects, noise, dropout, dropout_kind) -> None:
    if n < 0:
        raise ValueError(f"n: expected 0 or more walks, got {n}")
    if frames < 2:
        raise ValueError(f"frames: expected at least 2, got {frames}")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: expected a positive number, got {fps}")
    if num_subjects is not None and num_subjects < 1:
        raise ValueError(f"num_subjects: expected 1 or more, got {num_subjects}")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise: expected metres, 0 or more, got {noise}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a fraction in [0, 1), got {dropout}")
    if dropout_kind not in ("nan", "stuck"):
        raise ValueError(f"dropout_kind: expected 'nan' or 'stuck', got {dropout_kind!r}")


def _each(value, n: int, name: str, allowed: tuple[str, ...]) -> list[str] | None:
    """One name or n names as a list of n, or None for None."""
    if value is None:
        return None
    values = [value] * n if isinstance(value, str) else list(value)
    if len(values) != n:
        raise ValueError(f"{name}: expected one value or {n}, got {len(values)}")
    for v in values:
        if v not in allowed:
            raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {v!r}")
    return values


def _numbers(value, n: int, name: str, default: np.ndarray, low: float, high: float) -> np.ndarray:
    """One number or n numbers as float (n,), `default` for None; a range that starts above 0 leaves its ends out."""
    if value is None:
        return default
    try:
        values = np.broadcast_to(np.asarray(value, np.float64), (n,)).copy()
    except ValueError:
        raise ValueError(f"{name}: expected one number or {n} numbers, got {np.shape(value)}") from None
    if not ((values >= low) & (values <= high)).all():  # also catches nan
        raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value}")
    return values


# --- people ------------------------------------------------------------------------------------------------------------------


def _people(rng: np.random.Generator, subjects: np.ndarray, attributes) -> tuple[list[dict], np.ndarray]:
    """Attributes of each walk (n dicts) and its subject's style: standard normal numbers (n, 64)."""
    n, count = len(subjects), int(subjects.max(initial=-1)) + 1
    given = [attributes or {}] * n if attributes is None or isinstance(attributes, dict) else list(attributes)
    if len(given) != n:
        raise ValueError(f"attributes: expected one dict or {n}, got {len(given)}")
    body, style = rng.standard_normal((count, 4)), rng.standard_normal((count, 64))
    age = np.clip(np.round(45 + 17 * body[:, 0]), 18, 90)
    dress = rng.random((n, 3))
    people = []
    for i, s in enumerate(subjects):
        person = {"age": int(age[s]), "sex": ("female", "male")[int(body[s, 1] > 0)]}
        person.update(_checked(given[i]))
        mean, deviation = (1.63, 0.065) if person["sex"] == "female" else (1.76, 0.07)
        person.setdefault("height", round(float(mean + deviation * np.clip(body[s, 2], -2.5, 2.5)), 3))
        person.setdefault("mass", round(float((24 + 3 * np.clip(body[s, 3], -2, 3)) * person["height"] ** 2), 1))
        for (name, options, odds), u in zip(_DRESS, dress[i]):
            person.setdefault(name, options[int(np.searchsorted(np.cumsum(odds), u * sum(odds), side="right"))])
        people.append(person)
    return people, style[subjects]


_DRESS = (
    ("load", LOADS, (0.7, 0.15, 0.15)),
    ("footwear", FOOTWEAR, (0.6, 0.15, 0.1, 0.15)),
    ("clothing", CLOTHING, (0.4, 0.15, 0.15, 0.15, 0.15)),
)
_CHOICES = {"sex": ("female", "male"), "load": LOADS, "footwear": FOOTWEAR, "clothing": CLOTHING}
_RANGES = {"age": (5, 110), "height": (0.9, 2.3), "mass": (15, 250)}


def _checked(given: dict) -> dict:
    for name, value in given.items():
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                raise ValueError(f"attributes: {name} expected one of {', '.join(_CHOICES[name])}, got {value!r}")
        elif name in _RANGES:
            low, high = _RANGES[name]
            if not (isinstance(value, int | float | np.number) and low <= value <= high):
                raise ValueError(f"attributes: {name} expected {low} to {high}, got {value!r}")
        else:
            raise ValueError(f"attributes: expected {', '.join((*_CHOICES, *_RANGES))}, got {name!r}")
    return dict(given)


def _bodies(people: list[dict], style: np.ndarray) -> np.ndarray:
    """Bone offsets (n, 25, 3) [m]: the Kinect's rest pose scaled to body height, with each person's own proportions."""
    height = np.array([p["height"] for p in people]).reshape(-1, 1, 1)
    female = np.array([p["sex"] == "female" for p in people])
    bmi = np.array([p["mass"] / p["height"] ** 2 for p in people])
    out = np.asarray(KINECT_V2.rest_offsets) * (height / 1.75)
    leg = 1 + 0.02 * np.clip(style[:, 0], -2, 2)
    factors = {
        "knee": leg,
        "ankle": leg * (1 + 0.015 * np.clip(style[:, 1], -2, 2)),
        "elbow": 1 + 0.02 * np.clip(style[:, 2], -2, 2),
        "wrist": 1 + 0.02 * np.clip(style[:, 3], -2, 2),
        "shoulder": 1 + 0.02 * style[:, 4].clip(-2, 2) - 0.06 * female + 0.008 * (bmi - 24),
        "hip": 1 + 0.03 * style[:, 5].clip(-2, 2) + 0.04 * female + 0.008 * (bmi - 24),
    }
    for j, name in enumerate(KINECT_V2.joint_names):
        kind = name.split("_")[-1]
        if name.startswith(("left_", "right_")) and kind in factors:
            out[:, j] *= factors[kind][:, None]
    trunk = 1 - (leg - 1) * 0.9  # the same height with longer legs has a shorter trunk
    for name in ("spine", "spine_shoulder"):
        out[:, KINECT_V2.index(name)] *= trunk[:, None]
    return out


# --- the plan ----------------------------------------------------------------------------------------------------------------


def _degrees(rng, names: list[str], habits: np.ndarray, ways, domain: bool) -> np.ndarray:
    """Degrees (n, W) of the ways in which each walk shows its class at severity 1."""
    n = len(names)
    if ways is not None:
        given = [ways] * n if isinstance(ways, dict) else list(ways)
        if len(given) != n:
            raise ValueError(f"ways: expected one dict or {n}, got {len(given)}")
        if unknown := {way for g in given for way in g} - set(WAYS):
            raise ValueError(f"ways: expected {', '.join(WAYS)}, got {min(unknown)!r}")
        return np.array([[g.get(way, 0.0) for way in WAYS] for g in given], float).reshape(n, len(WAYS))
    mean = np.array([[DEGREES.get(name, {}).get(way, 0.0) for way in WAYS] for name in names]).reshape(n, len(WAYS))
    own = 0.9 * habits[:, : len(WAYS)] + 0.45 * rng.standard_normal((n, len(WAYS)))
    spread = np.array([SPREAD if name in DEGREES else HABITS * domain for name in names])
    return mean + spread[:, None] * own.clip(-2, 2)


def _plan(rng, names, severity, sides, people, style, habits, degrees, speed, cadence, domain) -> Plan:
    n = len(names)
    look = np.array([_STYLE[p] for p in names]).reshape(n, 5)
    part = severity[:, None]
    factor = 1 + (look[:, :2] - 1) * part
    age = np.array([p["age"] for p in people], float)
    height = np.array([p["height"] for p in people], float)
    bmi = np.array([p["mass"] for p in people], float) / np.maximum(height, 0.5) ** 2
    load, shoe = (
        {k: np.array([p[a] == k for p in people], bool) for k in ks} for a, ks in (("load", LOADS), ("footwear", FOOTWEAR))
    )
    old = np.maximum(age - 60, 0)

    # Comfortable speed 1.3 m/s, falling 0.7 % a year after 60 (Himann et al. 1988), with height by Froude's number; step length
    # over cadence is a constant of the person, the walk ratio, 0.0061 m/(steps/min) (Sekiya & Nagasaki 1998).
    comfortable = 1.3 * (1 - 0.007 * old) * np.sqrt(height / 1.7) * (1 + 0.07 * style[:, 6].clip(-2.5, 2.5))
    comfortable *= (
        factor[:, 0] * (1 + 0.025 * rng.standard_normal(n).clip(-2, 2)) * (1 - 0.04 * load["backpack"] - 0.06 * shoe["heels"])
    )
    if domain:
        comfortable *= 0.6 + 0.45 * ndtr(habits[:, 50])
    comfortable = np.maximum(comfortable, 0.15)
    ratio = 0.0061 * (height / 1.7) * (1 - 0.003 * old) * (1 + 0.05 * style[:, 7].clip(-2.5, 2.5)) * factor[:, 1]
    ratio *= 1 - 0.06 * shoe["heels"] - 0.05 * shoe["barefoot"]  # shorter steps (Cronin 2014; Franklin et al. 2015)
    v = _numbers(speed, n, "speed", comfortable, 1e-3, 4.0)
    steps = _numbers(cadence, n, "cadence", np.clip(np.sqrt(60 * v / ratio), 40, 200), 20.0, 260.0)
    stride = np.clip(120 * v / steps, 0.10 * height, 1.04 * height)

    # Stance 62 % at 1.3 m/s; it and double support fall as speed rises (Murray 1984; Hebenstreit et al. 2015).
    actual = stride * steps / 120
    base = 0.62 + 0.055 * (1.3 - actual) / np.sqrt(height / 1.7) + 0.01 * load["backpack"] + 0.006 * style[:, 8].clip(-2, 2)
    affected = np.array([[s in ("left", "both"), s in ("right", "both")] for s in sides], bool).reshape(n, 2)
    affected |= (np.array(names) == "parkinsonian")[:, None]
    amount = severity[:, None] * affected
    if domain:  # a habit of one side
        amount += np.where(np.array(names) == "normal", 1, 0)[:, None] * np.eye(2)[(habits[:, 51] > 0).astype(int)]
    stance = np.clip(base[:, None] + part * np.where(affected, look[:, 3:4], look[:, 4:5]), 0.53, 0.74)
    stance += (np.maximum(1.06 - stance.sum(1), 0) / 2)[:, None]  # a walk, not a run: some double support
    return solve_stride(
        Plan(
            curves=_curves(rng, names, amount, actual, style, shoe["boots"], degrees, habits if domain else None),
            offsets=_bodies(people, style),
            cadence=steps,
            stride=stride,
            stance=stance,
            right_delay=0.5 + (stance[:, 0] - stance[:, 1]) / 2,  # two equal double supports
            lean=2.5 + 1.5 * style[:, 9] + look[:, 2] * severity + 0.1 * old + 7 * load["backpack"] + 1.0 * load["bag"],
            lean_side=0.7 * style[:, 10] - 3 * load["bag"],  # away from the bag in the right hand
            width=np.maximum((10 + 2 * style[:, 11] + 4 * domain * (1 + habits[:, 52]) + 0.3 * (bmi - 24)) / 100, 0.03),
            toe_out=7 + 3 * style[:, 12:14],
            heel=0.06 * shoe["heels"],
            arms=_arm_factors(style, load),
            stoop=severity * (np.array(names) == "parkinsonian") + 0.01 * old,
        )
    )


def _arm_factors(style: np.ndarray, load: dict) -> np.ndarray:
    out = np.exp(0.25 * style[:, 14:15] + 0.1 * style[:, 15:17]) * (1 - 0.25 * load["backpack"])[:, None]
    out[:, 1] *= 1 - 0.7 * load["bag"]
    return out


@functools.cache
def _table() -> tuple[np.ndarray, ...]:
    """Coefficients of the normal, the slow and the shuffling curves (C, H + 1), and of the ways (W, 2, C, H + 1)."""
    normal = np.stack([fourier(NORMAL[c]) for c in CURVES])
    slow, shuffle = (np.stack([fourier(some.get(c, NORMAL[c])) for c in CURVES]) for some in (SLOW, SHUFFLE))
    zero = np.zeros_like(normal[0])
    ways = [[[fourier(leg[c]) if c in leg else zero for c in CURVES] for leg in legs] for legs in WAYS.values()]
    return normal, slow, shuffle, np.array(ways)


def _curves(rng, names, amount, speed, style, boots, degrees, habits) -> np.ndarray:
    """Coefficients (n, 2, C, H + 1) of each walk's legs: speed, class by each leg's `amount` (n, 2), the person's style."""
    n = len(names)
    normal, slow, shuffle, ways = _table()
    blend = np.clip((1.3 - speed) / 0.8, -0.5, 1.2)[:, None, None]
    out = np.repeat((normal + (slow - normal) * blend)[:, None], 2, axis=1)
    if habits is not None:  # arms held out; depth cameras see less of the knee's and the ankle's flexion
        out[..., CURVES.index("abduction"), 0] += (5 + 5 * habits[:, 53])[:, None]
        seen = 1 - np.array([0.35, 0.5]) * ndtr(habits[:, 54:56])
        out[:, :, [CURVES.index("knee"), CURVES.index("ankle")]] *= seen[:, None, :, None]
    shuffling = (np.array(names) == "parkinsonian")[:, None]
    changed = np.array([c in SHUFFLE for c in CURVES])[:, None]
    out += (amount * shuffling)[..., None, None] * changed * (shuffle - out)
    own = np.einsum("nw,wlch->nlch", degrees, ways)  # of the affected leg, of the other
    out += amount[..., None, None] * own[:, :1] + amount[:, ::-1, None, None] * own[:, 1:]
    # A person's own style: level and amplitude of each curve, the same on every walk, nearly the same on both sides.
    c = CURVES.index("abduction")  # the others
    spread = np.array([3.0, 2.0, 2.0, 0.3, 0.3, 0.4, 0.2, 0.2, 0.1, 3.0, 5.0])
    size = np.array([0.0, 0.04, 0.06, 0.15, 0.2, 0.2, 0.2, 0.2, 0.15, 0.1, 0.1])
    legs = 0.4 * rng.standard_normal((n, 2, c))
    level, gain = style[:, 17 : 17 + c], style[:, 30 : 30 + c]
    out[..., :c, 0] += spread * (level[:, None] + 0.5 * legs).clip(-2.5, 2.5)
    out[..., :c, 1:] *= (1 + size * (gain[:, None] + legs).clip(-2.5, 2.5))[..., None]
    out[boots, :, CURVES.index("ankle"), 1:] *= 0.88  # the shaft holds the ankle (Boehm & Hoesl 2010)
    return out
