"""The walking machine of the simulator: from a plan of n walks to joint positions.

In: a `Plan` (curves of both legs, body, cadence, stride, stance) and phases (n, T) of the left leg's gait cycle.
Out: Kinect v2 joint positions (n, T, 25, 3) [m], x right, y forward, z up. Used by simulation.py.

Sagittal plane: joint angles give the legs below the pelvis; the pelvis travels so that the foot that carries stands still.
Frontal plane: the feet keep their lines and the pelvis sways, which gives hip adduction.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..skeletons import KINECT_V2
from .gait_curves import CURVES, curve_values

SOLE = 0.02  # height of heel and foot joint of a foot flat on the floor [m]
TILT = 10.0  # anterior pelvic tilt, part of hip flexion [deg] (Kadaba et al. 1990)


@dataclass
class Plan:
    """Everything that fixes n walks but the clock; arrays (n,), (n, 2) with left first, or (n, 2, ...)."""

    curves: np.ndarray  # (n, 2, C, H + 1) complex
    offsets: np.ndarray  # (n, 25, 3) [m]
    cadence: np.ndarray
    stride: np.ndarray
    stance: np.ndarray  # (n, 2)
    right_delay: np.ndarray  # the right heel strike after the left, as a fraction of the cycle
    lean: np.ndarray  # [deg]
    lean_side: np.ndarray  # [deg], to the right
    width: np.ndarray  # [m] between the feet
    toe_out: np.ndarray  # (n, 2) [deg]
    heel: np.ndarray  # height of the shoe's heel [m]
    arms: np.ndarray  # (n, 2) factor on arm swing
    stoop: np.ndarray  # 0..1, head and shoulders forward
    hip_scale: np.ndarray = field(default=None)  # (n, 1) or (n, T)
    surge: np.ndarray = field(default=None)  # (n, 5) complex: both hips' share in an even speed of the pelvis [rad]


def solve_stride(plan: Plan) -> Plan:
    """Scale the hips until one cycle covers `plan.stride`; what the legs cannot do is written back to `plan.stride`."""
    n, grid = len(plan.cadence), np.linspace(0, 1, 61)
    phase = np.repeat(grid[None], n, axis=0)
    leg = -plan.offsets[:, [KINECT_V2.index("left_knee"), KINECT_V2.index("left_ankle")], 2].sum(1)
    plan.surge = np.zeros((n, 5), np.complex128)
    scale = np.clip(plan.stride / (1.8 * leg), 0.2, 1.6)
    for iterations in (6, 4):  # a proportional step kept inside a bracket
        low, high = np.full(n, 0.05), np.full(n, 1.7)
        for _ in range(iterations):
            plan.hip_scale = scale[:, None]
            path = _root(plan, _legs(plan, phase), phase)[:, :, 1]
            covered = path[:, -1]
            low = np.where(covered < plan.stride, scale, low)
            high = np.where(covered < plan.stride, high, scale)
            guess = scale * plan.stride / np.maximum(covered, 0.02)
            scale = np.where((guess > low) & (guess < high), guess, (low + high) / 2)
        if iterations == 6:  # real walkers' pelvis changes its speed by about a tenth; the rest is evened out by the hips
            uneven = (path - covered[:, None] * grid)[:, :-1]
            waves = np.fft.rfft(uneven, axis=1)[:, :5] / (len(grid) - 1) * 2
            waves[:, 0] = 0
            spread = np.linalg.norm(waves * np.arange(5), axis=1) * 2 * np.pi / np.sqrt(2)
            keep = np.minimum(0.09 * covered / np.maximum(spread, 1e-9), 1.0)
            plan.surge = waves * ((1 - keep) / leg)[:, None]
    plan.stride = covered
    return plan


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _evaluate(plan: Plan, phase: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All curves at leg phases (n, 2, T), each (n, 2, T), radians or metres; and the reference phase, toe-off at 0.62."""
    stance = plan.stance[..., None]
    shift = (0.62 - stance) / np.sin(np.pi * stance) ** 2
    reference = phase + shift * np.sin(np.pi * phase) ** 2
    values = curve_values(plan.curves, reference)  # (n, 2, C, T)
    out = {c: values[:, :, i] for i, c in enumerate(CURVES)}
    return {c: v / 100 if c in ("lateral", "sway") else np.radians(v) for c, v in out.items()}, reference % 1


def _legs(plan: Plan, phase: np.ndarray) -> dict[str, np.ndarray]:
    """Both legs at cycle phases (n, T) in unbounded cycles of the left leg: sagittal positions below the hip.

    Returns `curves` (see gait_curves.py); `own` and `reference` phases (n, 2, T); `obliquity` (left side up) and `rotation`
    (left side forward) of the pelvis (n, T) [rad]; segment lengths `size` [m]; `pitch` of the foot (n, 2, T), toes up [rad];
    `hip_x` (n, 2, T) from the pelvis and (y, z), each (n, 2, T): `hip` from the pelvis, `knee` and `ankle` from the hip, `foot`
    and `heel` from the ankle [m].
    """
    own = np.stack((phase, phase - plan.right_delay[:, None]), axis=1) % 1
    curves, reference = _evaluate(plan, own)
    obliquity = curves["pelvis_up"][:, 0] - curves["pelvis_up"][:, 1]
    rotation = curves["rotation"][:, 0] - curves["rotation"][:, 1]
    mean = np.radians(np.real(plan.curves[:, :, CURVES.index("hip"), 0]))[..., None]
    thigh = mean + (curves["hip"] - mean) * plan.hip_scale[:, None] - np.radians(TILT)
    thigh = thigh + curve_values(plan.surge[:, None], phase)
    shank = thigh - np.maximum(curves["knee"], 0)
    # The foot lies flat in midstance: the ankle gives what hip and knee ask for.
    size = {
        k: np.linalg.norm(plan.offsets[:, [KINECT_V2.index(f"{s}_{k}") for s in ("left", "right")]], axis=-1)
        for k in ("knee", "ankle")
    }
    flat = _smoothstep((reference - 0.06) / 0.07) * (1 - _smoothstep((reference - 0.30) / 0.10))
    wedge = np.arcsin(plan.heel / (0.18 * plan.offsets[:, KINECT_V2.index("left_foot"), 1] / 0.12))[:, None, None]
    pitch = shank + curves["ankle"] - wedge
    pitch = pitch - flat * (pitch + wedge)
    hip = plan.offsets[:, [KINECT_V2.index(f"{s}_hip") for s in ("left", "right")]][..., None]  # (n, 2, 3, 1)
    across = hip[:, :, 0] * np.cos(obliquity)[:, None] + hip[:, :, 2] * np.sin(obliquity)[:, None]
    hip_x, hip_y = across * np.cos(rotation)[:, None], -across * np.sin(rotation)[:, None]
    hip_z = hip[:, :, 2] * np.cos(obliquity)[:, None] - hip[:, :, 0] * np.sin(obliquity)[:, None]
    knee = (size["knee"][..., None] * np.sin(thigh), -size["knee"][..., None] * np.cos(thigh))
    ankle = (knee[0] + size["ankle"][..., None] * np.sin(shank), knee[1] - size["ankle"][..., None] * np.cos(shank))
    toe = plan.offsets[:, [KINECT_V2.index(f"{s}_foot") for s in ("left", "right")]]
    fy, fz = toe[..., 1][..., None], toe[..., 2][..., None]
    foot = _turn(pitch, fy, fz)
    heel = _turn(pitch, -0.5 * fy, fz - plan.heel[:, None, None])
    return {
        "curves": curves,
        "own": own,
        "reference": reference,
        "size": size,
        "pitch": pitch + wedge,
        "obliquity": obliquity,
        "rotation": rotation,
        "hip_x": hip_x,
        "hip": (hip_y, hip_z),
        "knee": knee,
        "ankle": ankle,
        "foot": foot,
        "heel": heel,
    }


def _turn(pitch: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(y, z) of a vector of the foot after raising the toes by `pitch`."""
    return y * np.cos(pitch) - z * np.sin(pitch), y * np.sin(pitch) + z * np.cos(pitch)


def _weight(plan: Plan, own: np.ndarray) -> np.ndarray:
    """How far each leg decides about the pelvis (n, 2, T), summing to 1.

    It passes from the trailing to the leading leg early in double support, as the trailing foot rolls off over its toes.
    """
    left, delay = (own[:, 0] + 0.1) % 1 - 0.1, plan.right_delay[:, None]
    first = np.maximum(plan.stance[:, 1:] - (1 - delay), 0.04)  # right toe-off after left heel strike
    last = np.maximum(plan.stance[:, :1] - delay, 0.04)  # left toe-off after right heel strike
    w = _smoothstep(left / first / 0.9 + 0.2) * (1 - _smoothstep((left - delay) / last / 0.9 + 0.2))
    w = np.where(left < -0.05, _smoothstep(left / first / 0.9 + 0.2), w)
    return np.stack((w, 1 - w), axis=1)


def _root(plan: Plan, legs: dict, phase: np.ndarray) -> np.ndarray:
    """Path of the pelvis (n, T, 3): the foot that carries neither slides nor leaves the floor."""
    weight = _weight(plan, legs["own"])
    heel, foot = (
        (legs["hip"][0] + legs["ankle"][0] + p[0], legs["hip"][1] + legs["ankle"][1] + p[1])
        for p in (legs["heel"], legs["foot"])
    )
    down = np.maximum(-legs["pitch"], 0)  # rolling off: the ball of the foot turns over toes of this radius
    roll = 0.05 * plan.offsets[:, KINECT_V2.index("left_foot"), 1][:, None, None] / 0.12
    foot = (foot[0] - roll * down, foot[1] - roll * (1 - np.cos(down)))
    on_toe = 1 / (1 + np.exp(np.clip(-(heel[1] - foot[1]) / 0.008, -60, 60)))
    height = on_toe * foot[1] + (1 - on_toe) * heel[1]
    middle = lambda a: (a[..., 1:] + a[..., :-1]) / 2  # noqa: E731
    step = middle(on_toe) * np.diff(foot[0]) + (1 - middle(on_toe)) * np.diff(heel[0])
    out = np.zeros((*phase.shape, 3))
    out[:, 1:, 1] = -np.cumsum((middle(weight) * step).sum(1), axis=-1)
    out[..., 2] = SOLE - (weight * height).sum(1)
    sway = legs["curves"]["sway"]
    out[..., 0] = sway[:, 1] - sway[:, 0]
    return out


def _clear_floor(legs: dict, root_z: np.ndarray) -> None:
    """Bends hip and knee of a swing leg whose foot would drag: raises knee and ankle in `legs`."""
    (ankle_y, ankle_z), hip_z = legs["ankle"], legs["hip"][1]
    sole = root_z[:, None] + hip_z + ankle_z + np.minimum(legs["heel"][1], legs["foot"][1]) - SOLE
    sole -= ankle_z * (1 - np.sqrt(1 - np.clip(legs["curves"]["lateral"] / ankle_z, -0.5, 0.5) ** 2))  # swung outwards
    r = legs["reference"]
    swing = _smoothstep((r - 0.46) / 0.06) * (1 - _smoothstep((r - 0.93) / 0.07))
    missing = -sole
    lift = swing * (missing + np.sqrt(missing**2 + 0.003**2)) / 2
    ankle_z = ankle_z + lift
    thigh, shank = (legs["size"][k][..., None] for k in ("knee", "ankle"))
    reach = np.minimum(np.hypot(ankle_y, ankle_z), 0.9999 * (thigh + shank))
    at_hip = np.arccos(np.clip((thigh**2 + reach**2 - shank**2) / (2 * thigh * reach), -1, 1))  # law of cosines
    angle = np.arctan2(ankle_y, -ankle_z) + at_hip
    moved = lift > 1e-5
    legs["knee"] = tuple(
        np.where(moved, new, old) for new, old in zip((thigh * np.sin(angle), -thigh * np.cos(angle)), legs["knee"])
    )
    legs["ankle"] = (ankle_y, ankle_z)


def _clock(rng, plan: Plan, frames: int, fps: float) -> np.ndarray:
    """Phases (n, T) in cycles of the left leg, with 2 % of slow variation in tempo from stride to stride."""
    n = len(plan.cadence)
    t = np.arange(frames) / fps
    rate = plan.cadence[:, None] / 120
    out = rng.random((n, 1)) + rate * t
    for period in (1.3, 2.9):  # strides
        angle = 2 * np.pi * (rate * t / period + rng.random((n, 1)))
        out += 0.015 * rng.standard_normal((n, 1)).clip(-2, 2) * period / (2 * np.pi) * np.sin(angle)
    return out


def slow_noise(rng, n: int, frames: int, fps: float, seconds: float) -> np.ndarray:
    """Slow random signals (n, T) of unit variance."""
    sigma = max(seconds * fps, 0.5)
    pad = int(3 * sigma) + 1
    x = gaussian_filter1d(rng.standard_normal((n, frames + 2 * pad)), sigma, axis=-1)[:, pad : pad + frames]
    return x * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def walk(rng, plan: Plan, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions (n, T, 25, 3) and the phase (n, 2, T), 0 to 1, of the left and right leg's cycle."""
    n = len(plan.cadence)
    phase = _clock(rng, plan, frames, fps)
    plan.hip_scale = plan.hip_scale * (1 + 0.015 * slow_noise(rng, n, frames, fps, 0.4))
    legs = _legs(plan, phase)
    root = _root(plan, legs, phase)
    _clear_floor(legs, root[..., 2])
    joints = np.zeros((n, frames, len(KINECT_V2), 3))
    joints[:, :, KINECT_V2.root] = root
    _place_legs(plan, legs, joints)
    _place_trunk(rng, plan, legs, joints, fps)
    origin = joints[:, :1, KINECT_V2.root : KINECT_V2.root + 1] * np.array([1.0, 1.0, 0.0])
    return joints - origin, legs["own"]


def _place_legs(plan: Plan, legs: dict, joints: np.ndarray) -> None:
    root = joints[:, :, KINECT_V2.root]
    for s, (side, sign) in enumerate((("left", -1.0), ("right", 1.0))):
        j = {k: KINECT_V2.index(f"{side}_{k}") for k in ("hip", "knee", "ankle", "foot")}
        hip = (legs["hip_x"][:, s], legs["hip"][0][:, s], legs["hip"][1][:, s])
        joints[:, :, j["hip"]] = root + np.stack(hip, axis=-1)
        # The leg's plane leans so that the foot stays on its line.
        line = sign * (plan.width[:, None] / 2 + legs["curves"]["lateral"][:, s])
        down = legs["ankle"][1][:, s]
        lean = np.arcsin(np.clip((line - joints[:, :, j["hip"], 0]) / -down, -0.5, 0.5))
        for k in ("knee", "ankle"):
            y, z = legs[k][0][:, s], legs[k][1][:, s]
            joints[:, :, j[k]] = joints[:, :, j["hip"]] + np.stack((-z * np.sin(lean), y, z * np.cos(lean)), axis=-1)
        y, z = legs["foot"][0][:, s], legs["foot"][1][:, s]
        out = np.radians(plan.toe_out[:, s])[:, None]
        joints[:, :, j["foot"]] = joints[:, :, j["ankle"]] + np.stack((sign * y * np.sin(out), y * np.cos(out), z), axis=-1)


def _rotation(forward: np.ndarray, right: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Matrices (..., 3, 3): turn about z (left side forward), then lean to the right, then forward [rad]."""
    (cf, sf), (cr, sr), (ct, st) = ((np.cos(a), np.sin(a)) for a in (-forward, right, -turn))
    one, nil = np.ones_like(cf), np.zeros_like(cf)
    about_x = np.stack((one, nil, nil, nil, cf, -sf, nil, sf, cf), -1).reshape(*cf.shape, 3, 3)
    about_y = np.stack((cr, nil, sr, nil, one, nil, -sr, nil, cr), -1).reshape(*cf.shape, 3, 3)
    about_z = np.stack((ct, -st, nil, st, ct, nil, nil, nil, one), -1).reshape(*cf.shape, 3, 3)
    return about_x @ about_y @ about_z


def _place_trunk(rng, plan: Plan, legs: dict, joints: np.ndarray, fps: float) -> None:
    """Spine, head and arms. The spine bends: its lower part takes 0.8, its upper part 1.2 of the lean."""
    n, frames = joints.shape[:2]
    curves, o = legs["curves"], plan.offsets
    j = KINECT_V2.index
    lean = (
        np.radians(plan.lean)[:, None] + curves["lean_forward"].sum(1) + np.radians(0.5) * slow_noise(rng, n, frames, fps, 0.5)
    )
    side = np.radians(plan.lean_side)[:, None] + curves["lean_side"][:, 1] - curves["lean_side"][:, 0]
    side = side + np.radians(0.4) * slow_noise(rng, n, frames, fps, 0.5)
    still = np.radians(np.real(plan.curves[:, :, CURVES.index("rotation"), 0]) @ [1, -1])[:, None]
    counter = still - 1.2 * (legs["rotation"] - still)  # the shoulders turn against the pelvis, but for a lasting turn
    stoop = np.minimum(plan.stoop, 1.0)[:, None]
    low, high = _rotation(0.8 * lean, 0.8 * side, counter / 2), _rotation(1.2 * lean, 1.1 * side, counter)
    head = _rotation(0.8 * lean + np.radians(25) * stoop, 0.8 * side, counter * 0)
    put = lambda child, parent, turn: joints.__setitem__(  # noqa: E731
        (slice(None), slice(None), j(child)), joints[:, :, j(parent)] + np.einsum("ntij,nj->nti", turn, o[:, j(child)])
    )
    put("spine", "pelvis", low)
    put("spine_shoulder", "spine", high)
    put("neck", "spine_shoulder", head)
    put("head", "neck", head)
    for s, name in enumerate(("left", "right")):
        put(f"{name}_shoulder", "spine_shoulder", high)
        swing = curves["shoulder"][:, s]
        mean = swing.mean(-1, keepdims=True)
        upper = mean + (swing - mean) * plan.arms[:, s : s + 1] - 0.3 * lean
        fore = upper + np.maximum(curves["elbow"][:, s], 0.05)
        out = 0.3 * side + (2 * s - 1) * curves["abduction"][:, s]
        above, below = (_rotation(-a, out, counter * 0.5) for a in (upper, fore))
        put(f"{name}_elbow", f"{name}_shoulder", above)
        for child, parent in (("wrist", "elbow"), ("hand", "wrist"), ("hand_tip", "hand"), ("thumb", "hand")):
            put(f"{name}_{child}", f"{name}_{parent}", below)
