"""Writing walks to files that other programs read: CSV, NPZ and BVH; `save_walk` chooses by suffix (also GIF and MP4).

In: joints (T, J, 3) in metres (x right, y forward, z up), frames per second, a `Skeleton`. Out: a file, written beside its
place under a temporary name and then renamed, so that a broken run leaves no half file. `loading.load_walk` reads them back.
"""

import warnings
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from .files import atomic_path
from .kinematics import fit_skeleton
from .skeletons import KINECT_V2, Skeleton, check_walk

# BVH is y up: x to the walker's left, y up, z forward; a rotation of the package's axes that is its own inverse.
_TO_Y_UP = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])


def write_csv(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] as comma separated text: `time` [s], then `left_knee_x`, `_y`, `_z`, ... [m].

    Nine digits, which keep float32 exactly. Missing values are written as nan. Raises ValueError for a wrong shape or fps.
    """
    joints = check_walk(joints, fps, skeleton)
    titles = ["time", *(f"{n}_{axis}" for n in skeleton.joint_names for axis in "xyz")]
    table = np.column_stack([np.arange(len(joints)) / fps, joints.reshape(len(joints), -1)])
    formats = ["%.9f"] + ["%.9g"] * (table.shape[1] - 1)
    with atomic_path(path) as temporary:
        np.savetxt(temporary, table, formats, delimiter=",", header=",".join(titles), comments="")


def write_npz(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write arrays `joints` float32 (T, J, 3) [m], `fps`, `joint_names` (J,), `skeleton` (its name); no pickled objects."""
    joints = check_walk(joints, fps, skeleton)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:  # an open file: savez would append .npz to a name
        np.savez_compressed(
            file,
            joints=joints,
            fps=np.float64(fps),
            joint_names=np.array(skeleton.joint_names),
            skeleton=np.array(skeleton.name),
        )


def write_bvh(
    path: str | Path,
    joints: np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray],
    fps: float,
    skeleton: Skeleton = KINECT_V2,
) -> None:
    """Write a BVH file: y up, z forward, centimetres; joints keep their names; the root has six channels.

    Args:
        path: the file to write.
        joints: (T, J, 3) [m] finite, explained by `kinematics.fit_skeleton` first (BVH knows no changing bone lengths); or
            (local rotations (T, J, 3, 3), root (T, 3) [m], offsets (J, 3) [m]), written as they are.
        fps: frames per second.

    Each joint has channels Zrotation Xrotation Yrotation [deg]: R = Rz Rx Ry. A leaf ends in an End Site as long as half
    its bone. Raises ValueError for wrong shapes, values that are not finite, or a wrong fps.
    """
    if isinstance(joints, tuple):
        rotations, root, offsets = (np.asarray(a, np.float64) for a in joints)
        if rotations.ndim != 4 or root.ndim != 2:
            raise ValueError(f"expected rotations (T, J, 3, 3) and root (T, 3), got {rotations.shape} and {root.shape}")
    else:
        rotations, root, offsets = fit_skeleton(check_walk(joints, fps, skeleton), skeleton)
    frames, count = len(rotations), len(skeleton)
    shapes = (rotations.shape, root.shape, offsets.shape)
    if shapes != ((frames, count, 3, 3), (frames, 3), (count, 3)) or not frames:
        raise ValueError(f"expected rotations (T, {count}, 3, 3), root (T, 3), offsets ({count}, 3), got {shapes}")
    if not all(np.isfinite(a).all() for a in (rotations, root, offsets)) or not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"rotations, root, offsets must be finite and fps positive (fps = {fps})")
    root, offsets = 100 * root @ _TO_Y_UP.T, 100 * offsets @ _TO_Y_UP.T
    matrices = (_TO_Y_UP @ rotations @ _TO_Y_UP.T).reshape(-1, 3, 3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # one of the many equal solutions does
        angles = Rotation.from_matrix(matrices).as_euler("ZXY", degrees=True).reshape(frames, count, 3)
    lines = ["HIERARCHY"]
    order = _hierarchy_lines(skeleton, offsets, skeleton.root, 0, lines)
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.9f}"]
    table = np.concatenate([root, angles[:, order].reshape(frames, -1)], axis=1)
    lines += [" ".join(f"{v:.6f}" for v in row) for row in table]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _hierarchy_lines(skeleton: Skeleton, offsets: np.ndarray, joint: int, depth: int, lines: list[str]) -> list[int]:
    """Append the HIERARCHY block of `joint` and all below it to `lines`; returns the joints in the order written."""
    tab, root, order = "\t" * depth, joint == skeleton.root, [joint]
    offset = np.zeros(3) if root else offsets[joint]
    channels = "Xposition Yposition Zposition Zrotation Xrotation Yrotation" if root else "Zrotation Xrotation Yrotation"
    lines += [f"{tab}{'ROOT' if root else 'JOINT'} {skeleton.joint_names[joint]}", tab + "{"]
    lines += [f"{tab}\tOFFSET {_triple(offset)}", f"{tab}\tCHANNELS {len(channels.split())} {channels}"]
    for child in skeleton.children[joint]:
        order += _hierarchy_lines(skeleton, offsets, child, depth + 1, lines)
    if not skeleton.children[joint]:
        lines += [f"{tab}\tEnd Site", tab + "\t{", f"{tab}\t\tOFFSET {_triple(offset / 2)}", tab + "\t}"]
    lines.append(tab + "}")
    return order


def _triple(values: np.ndarray) -> str:
    return " ".join(f"{v:.6f}" for v in values)


def save_walk(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] in the format of the suffix: .csv, .npz, .bvh, or as a picture .gif, .mp4.

    Raises ValueError for any other suffix and for what the writers refuse.
    """

    def animate(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton) -> None:
        from .drawing.rendering import render_animation  # imports this module

        render_animation(joints, path, fps=fps, skeleton=skeleton)

    writers = {".csv": write_csv, ".npz": write_npz, ".bvh": write_bvh, ".gif": animate, ".mp4": animate}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise ValueError(f"{path}: cannot write {suffix!r}; expected one of {', '.join(writers)}")
    writers[suffix](path, joints, fps, skeleton)
