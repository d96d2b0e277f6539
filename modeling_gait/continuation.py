"""Walks of any length from short ones: a walk goes on by repeating whole gait cycles of its own.

In: joints (T, J, 3) [m], x right, y forward, z up. Out: joints (frames, J, 3) [m].
"""

import numpy as np


def continue_walk(joints: np.ndarray, frames: int, root: int = 0, shortest: int = 15, fade: int = 8) -> np.ndarray:
    """The walk cut to its first `frames` frames, or continued to as many by a loop over its own cycles.

    The loop is between the two frames, at least `shortest` apart, whose root-relative poses and their changes agree best; what
    differs at the seam fades out over `fade` frames, and the path goes on by the loop's displacement.

    Args:
        joints: (T, J, 3) [m].
        frames: frames wanted.
        root: index of the root joint.
        shortest: frames of the shortest loop; half a second at 30 frames a second.

    Raises: ValueError for another shape, `frames` below 1, or a walk that has to go on and is shorter than `shortest` + 2.
    """
    joints = np.asarray(joints)
    if joints.ndim != 3 or joints.shape[2] != 3:
        raise ValueError(f"expected joints (T, J, 3), got {joints.shape}")
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}")
    if frames <= len(joints):
        return joints[:frames]
    if len(joints) < shortest + 2:
        raise ValueError(f"{len(joints)} frames are too few to go on from; at least {shortest + 2} are needed")
    first, last = _loop(joints - joints[:, [root]], shortest)
    cycle = joints[first + 1 : last + 1]
    step = joints[last, root] * (1, 1, 0) - joints[first, root] * (1, 1, 0)
    seam = (joints[last] - step - joints[first]) * np.ones((len(cycle), 1, 1))
    seam *= np.clip(1 - np.arange(1, len(cycle) + 1) / fade, 0, 1)[:, None, None]
    repeats = -(-(frames - last - 1) // len(cycle))
    parts = [joints[: last + 1], *(cycle + seam + (i + 1) * step for i in range(repeats))]
    return np.concatenate(parts)[:frames].astype(joints.dtype)


def _loop(poses: np.ndarray, shortest: int) -> tuple[int, int]:
    """First and last frame of the best loop of root-relative poses (T, J, 3); the last lies in the second half."""
    count = len(poses)
    flat = poses.reshape(count, -1)
    change = np.gradient(flat, axis=0)
    states = np.concatenate((flat, 4 * change), axis=1)
    late = np.arange(max(count // 2, shortest + 1), count - 1)
    early = np.arange(0, count - 1 - shortest)
    distance = ((states[early] ** 2).sum(1)[:, None] - 2 * states[early] @ states[late].T) + (states[late] ** 2).sum(1)
    distance[late[None] - early[:, None] < shortest] = np.inf
    at = np.unravel_index(distance.argmin(), distance.shape)
    return int(early[at[0]]), int(late[at[1]])


__all__ = ["continue_walk"]
