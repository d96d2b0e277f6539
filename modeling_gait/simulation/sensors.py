"""What a sensor makes of simulated walks: noise, dropouts, bias, view, frame rate, length of the clip.

In: joints (n, T, 25, 3) [m] as they were walked. Out: `sense`: the same with noise and holes; `record`: a list of clips
(T_i, 25, 3) [m], each as one of `SENSORS` would give it after cleaning, and the sensors' names.

Sources of the sizes: Kinect v2's noise and its errors of knee and ankle angles: Pfister et al. 2014 (J Med Eng Technol 38:274),
Wang et al. 2015 (IEEE ICHI), Xu & McGorry 2015 (Appl Ergon 49:47); Azure: Albert et al. 2020 (Sensors 20:5104); poses of one
camera, whose depth is guessed: Bazarevsky et al. 2020 (BlazePose); skin markers: Leardini et al. 2005 (Gait Posture 21:212).
They are rounded, and drawn about. `lower_body` is skin markers on pelvis and legs alone, `lower_body_trunk` on the trunk too:
what they do not see stands where a reader of such a file puts it (`convert_joints`), and does not move against the rest.
"""

import numpy as np

from ..skeletons import KINECT_V2, convert_joints
from .gait_motion import slow_noise

# noise of the trunk [m], factor on it along the line of sight, bias of a joint (SD) [m], lowest frame rate
SENSORS = {
    "kinect_v2": (0.010, 1.3, 0.020, 25.0),
    "azure_kinect": (0.006, 1.3, 0.015, 15.0),
    "pose_video": (0.012, 2.5, 0.025, 20.0),
    "markers": (0.002, 1.0, 0.010, 30.0),
    "lower_body": (0.002, 1.0, 0.010, 30.0),
    "lower_body_trunk": (0.002, 1.0, 0.010, 30.0),
}
# How many walks each of them sees: three in four the whole body.
SHARES = {
    "kinect_v2": 0.3,
    "azure_kinect": 0.15,
    "pose_video": 0.1875,
    "markers": 0.1125,
    "lower_body": 0.15,
    "lower_body_trunk": 0.1,
}
_LEGS = ("pelvis", "hip", "knee", "ankle", "foot")
UNSEEN = {
    sensor: [j for j, name in enumerate(KINECT_V2.joint_names) if not name.endswith(seen)]
    for sensor, seen in {"lower_body": _LEGS, "lower_body_trunk": (*_LEGS, "spine", "shoulder", "neck")}.items()
}
_FAR = ("hand", "tip", "thumb", "wrist", "foot", "ankle")
_LEVEL = np.array([2.5 if s.endswith(_FAR) else 1.5 if s.endswith(("knee", "elbow")) else 1.0 for s in KINECT_V2.joint_names])


def _noise(rng, shape: tuple[int, ...], fps: float) -> np.ndarray:
    """(n, T, J, 3) of the trunk's unit variance: half white, half drifting over about half a second."""
    n, frames, count, _ = shape
    drift = slow_noise(rng, n * count * 3, frames, fps, 0.25).reshape(n, count, 3, frames).transpose(0, 3, 1, 2)
    return np.sqrt(0.5) * _LEVEL[:, None] * (drift + rng.standard_normal(shape))


def sense(rng, joints: np.ndarray, noise: float, dropout: float, kind: str, fps: float) -> np.ndarray:
    """Noise and dropouts of a depth camera (see `simulate_walks`)."""
    n, frames, count, _ = joints.shape
    if noise:
        joints = joints + noise * _noise(rng, joints.shape, fps)
    if dropout:
        burst = max(int(round(0.2 * fps)), 1)
        start = rng.random((n, frames + burst - 1, count)) < 1 - (1 - dropout) ** (1 / burst)
        lost = np.lib.stride_tricks.sliding_window_view(start, burst, axis=1).any(-1)
        if kind == "stuck":
            lost[:, 0] = False
            last = np.maximum.accumulate(np.where(lost, 0, np.arange(frames)[:, None]), axis=1)
            joints = np.take_along_axis(joints, last[..., None], axis=1)
        else:
            joints = np.where(lost[..., None], np.nan, joints)
    return joints


def record(
    joints: np.ndarray, fps: float = 30.0, seed: int = 0, shortest: float = 1.8, shares: dict[str, float] | None = None
) -> tuple[list[np.ndarray], list[str]]:
    """Clips of walks as some sensor gives them, each walk by another.

    Args:
        joints: (n, T, 25, 3) [m].
        shortest: least length of a clip [s]; a clip lasts from this to the whole walk.
        shares: sensor -> share of the walks that it sees; default: `SHARES`.

    Returns: n clips float32 (T_i, 25, 3) at `fps`, the first pelvis above the origin; n names of `SENSORS`.
    """
    rng, n, frames = np.random.default_rng([seed, 1]), *joints.shape[:2]
    shares = SHARES if shares is None else shares
    names = [list(SENSORS)[k] for k in rng.choice(len(SENSORS), n, p=[shares.get(s, 0.0) for s in SENSORS])]
    size, depth, bias, low = np.array([SENSORS[name] for name in names]).reshape(n, 4).T
    size = size * np.exp(0.3 * rng.standard_normal(n))
    along = np.ones((n, 1, 1, 3))
    along[:, 0, 0, 1] = np.where(rng.random(n) < 0.7, depth, 1.0)  # most cameras stand ahead
    along[:, 0, 0, 0] = depth / along[:, 0, 0, 1]
    noise = size[:, None, None, None] * along * _noise(rng, joints.shape, fps)
    apart = rng.standard_normal((2, n, 1, len(KINECT_V2), 3))
    apart[0] = apart[0] + apart[0][..., list(KINECT_V2.mirror), :] * [-1, 1, 1]  # the same left and right
    offset = bias[:, None, None, None] * (0.6 * apart[0] + 0.5 * apart[1])
    offset[:, :, KINECT_V2.root] = 0
    seen = _turned(rng, joints + offset) + noise
    clips, rate = [], rng.uniform(low, np.maximum(low, fps))
    ends = rng.integers(min(int(shortest * fps), frames), frames + 1, n)
    starts = (rng.random(n) * (frames - ends + 1)).astype(int)
    for walk, name, start, length, r in zip(seen, names, starts, ends, rate):
        clip = walk[start : start + length]
        if name in UNSEEN:
            clip[:, UNSEEN[name]] = np.nan
            clip = convert_joints(clip, KINECT_V2, KINECT_V2)
        if r < 0.95 * fps:  # fewer frames a second, filled linearly
            at = np.arange(0, length - 1, fps / r)
            t = np.arange(int(at[-1]) + 1)
            before = np.minimum(np.searchsorted(at, t, side="right") - 1, len(at) - 2)
            share = ((t - at[before]) * r / fps)[:, None, None]
            few = clip[at.astype(int)] + (at % 1)[:, None, None] * (clip[at.astype(int) + 1] - clip[at.astype(int)])
            clip = few[before] * (1 - share) + few[before + 1] * share
        clips.append((clip - clip[0, KINECT_V2.root] * [1, 1, 0]).astype(np.float32))
    return clips, names


def _turned(rng, joints: np.ndarray) -> np.ndarray:
    """A camera that is not level (SD 1.5 deg each way), a walk that does not go straight ahead (SD 4 deg)."""
    x, y, z = np.radians(np.array([1.5, 1.5, 4.0])[:, None] * rng.standard_normal((3, len(joints))).clip(-2, 2))
    one = np.ones_like(x)
    turn = np.stack((one, -z, y, z, one, -x, -y, x, one), -1).reshape(-1, 3, 3)  # small angles
    return np.einsum("nij,ntkj->ntki", turn, joints)


__all__ = ["SENSORS", "SHARES", "UNSEEN", "record", "sense"]
