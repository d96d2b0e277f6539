"""Analytic walkers with known numbers, and what labs do to them: curves, turns, treadmills, tilted cameras, exchanged legs."""

import numpy as np

from modeling_gait.skeletons import KINECT_V2

FPS, SPEED, CADENCE, STEP, WIDTH = 30.0, 1.2, 110.0, 1.2 * 60 / 110, 0.16
LEGS = [KINECT_V2.index(f"{side}_{n}") for n in ("hip", "knee", "ankle", "foot") for side in ("left", "right")]


def walker(
    seconds: float = 6.0,
    fps: float = FPS,
    speed: float = SPEED,
    cadence: float = CADENCE,
    lift: float = 0.12,
    bob: float = 0.02,
) -> np.ndarray:
    """(T, 25, 3) [m] along +y: feet that stand still and swing on a minimum-jerk path, knees bent by the law of cosines."""
    time, cycle = np.arange(int(round(seconds * fps))) / fps, 120.0 / cadence
    stride = speed * cycle
    joints = np.repeat(KINECT_V2.rest_positions[None].astype(np.float64), len(time), axis=0)
    joints[..., 1] += (speed * time)[:, None]
    up = [j for j in range(25) if KINECT_V2.joint_names[j].split("_")[-1] not in ("knee", "ankle", "foot")]
    joints[:, up, 2] -= 0.045 + bob * np.cos(4 * np.pi * time / cycle)[:, None]
    joints[:, up, 0] += 0.01 * np.sin(2 * np.pi * time / cycle)[:, None]
    for side, start in (("left", 0.0), ("right", 0.5)):
        number, phase = np.divmod(time / cycle - start, 1.0)
        u = np.clip((phase - 0.62) / 0.38, 0, 1)
        y = stride * (start + number + 0.31 + u**3 * (10 - 15 * u + 6 * u**2))
        hip, knee, ankle, foot = (KINECT_V2.index(f"{side}_{n}") for n in ("hip", "knee", "ankle", "foot"))
        for j, ahead in ((ankle, 0.0), (foot, 0.12)):
            joints[:, j, 1] = y + ahead - 0.03
            joints[:, j, 2] += lift * np.sin(np.pi * u) ** 2
        leg = joints[:, ankle] - joints[:, hip]
        length = np.linalg.norm(leg[:, 1:], axis=-1)
        bend = np.sqrt(max(0.41, length.max() / 2 + 0.002) ** 2 - (length / 2) ** 2)
        joints[:, knee] = joints[:, hip] + leg / 2
        joints[:, knee, 1] += bend * -leg[:, 2] / length
        joints[:, knee, 2] += bend * leg[:, 1] / length
    return joints


def bent(joints: np.ndarray, radius: float, at: float = 0.0, angle: float = np.inf) -> np.ndarray:
    """A walk along +y made to follow a curve to the left: straight to y = `at`, then an arc of `angle`, then straight on."""
    y = joints[..., 1]
    turned = np.clip((y - at) / radius, 0, angle)
    after = np.maximum(y - at - radius * turned, 0)
    before = np.minimum(y, at)
    x = -radius * (1 - np.cos(turned)) - after * np.sin(turned) + joints[..., 0] * np.cos(turned)
    forth = before + radius * np.sin(turned) + after * np.cos(turned) + joints[..., 0] * np.sin(turned)
    return np.stack((x, forth, joints[..., 2]), axis=-1)


def turned(joints: np.ndarray, degrees: float, axis: str = "z") -> np.ndarray:
    """A rotation about x (pitch), y (roll) or z (heading)."""
    a = np.radians(degrees)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = joints.copy()
    out[..., i] = np.cos(a) * joints[..., i] - np.sin(a) * joints[..., j]
    out[..., j] = np.sin(a) * joints[..., i] + np.cos(a) * joints[..., j]
    return out


def on_the_spot(joints: np.ndarray, share: float = 1.0, speed: float = SPEED) -> np.ndarray:
    """As on a treadmill, or before a camera that follows with a `share` of the speed."""
    return joints - share * speed * np.arange(len(joints))[:, None, None] / FPS * np.array([0, 1.0, 0])


def exchanged(joints: np.ndarray, frames: np.ndarray, joint_pairs: list[int] = LEGS) -> np.ndarray:
    """Left and right of these joints exchanged in these frames."""
    out, other = joints.copy(), [KINECT_V2.mirror[j] for j in joint_pairs]
    out[np.ix_(frames, joint_pairs)] = joints[np.ix_(frames, other)]
    return out


def standing(seconds: float = 5.0, noise: float = 0.002) -> np.ndarray:
    joints = np.repeat(KINECT_V2.rest_positions[None].astype(np.float64), int(seconds * FPS), axis=0)
    return joints + np.random.default_rng(0).normal(0, noise, joints.shape)


def no_walks() -> dict[str, np.ndarray]:
    """What people do who do not walk, (T, 25, 3) [m] at 30 frames a second."""
    time = np.arange(180)[:, None] / FPS
    upper = [j for j in range(25) if KINECT_V2.joint_names[j].split("_")[-1] not in ("ankle", "foot", "knee")]
    knees, ankles, feet = ([KINECT_V2.index(f"{s}_{n}") for s in ("left", "right")] for n in ("knee", "ankle", "foot"))
    out = {"stands": standing(6), "stands before a noisy camera": standing(6, 0.015)}
    squat = standing(6)
    deep = 0.2 * (1 - np.cos(2 * np.pi * time / 2))
    squat[:, upper, 2] -= deep
    squat[:, knees, 2] -= deep / 2
    squat[:, knees, 1] += deep
    out["squats"] = squat
    march = standing(6)
    for n, start in enumerate((0, np.pi)):
        rise = np.maximum(np.sin(2 * np.pi * time[:, 0] / 1.2 + start), 0)
        for joint, up, ahead in ((knees[n], 0.2, 0.25), (ankles[n], 0.25, 0.05), (feet[n], 0.25, 0.05)):
            march[:, joint, 2] += up * rise
            march[:, joint, 1] += ahead * rise
    out["marches on the spot"] = march
    ride = standing(6)
    for n, start in enumerate((0, np.pi)):
        angle = 2 * np.pi * time[:, 0] / 1.0 + start
        for joint, size in ((knees[n], 0.08), (ankles[n], 0.17), (feet[n], 0.17)):
            ride[:, joint, 1] += 0.25 * (joint in knees) + size * np.sin(angle)
            ride[:, joint, 2] += 0.15 + size * np.cos(angle)
    out["rides an exercise bicycle"] = ride
    roll = standing(6)
    roll[..., 1] += time
    out["is wheeled along"] = roll
    spin = standing(6)
    out["turns on the spot"] = np.stack([turned(f, a) for f, a in zip(spin, np.linspace(0, 400, 180))])
    swing = standing(6)
    for joint, size in ((knees[0], 0.12), (ankles[0], 0.25), (feet[0], 0.25)):
        swing[:, joint, 1] += size * np.sin(2 * np.pi * time[:, 0] / 1.1)
    out["swings a leg"] = swing
    sit = standing(6)
    sit[:, upper, 2] -= 0.45
    sit[:, knees, 2] = 0.47
    sit[:, knees, 1] += 0.4
    for n, joint in enumerate((*ankles, *feet)):
        sit[:, joint, 1] += 0.4 + 0.1 * np.sin(2 * np.pi * time[:, 0] + np.pi * (n % 2))
    out["sits and swings the legs"] = sit
    return out
