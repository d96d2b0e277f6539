"""Writing walks to files that other programs read: CSV, NPZ, BVH, TRC, C3D, HumanML3D; and `save_walk`.

In: joints (T, J, 3) in metres (x right, y forward, z up), frames per second, a `Skeleton`. Out: a file, written beside its
place under a temporary name and then renamed, so that a broken run leaves no half file. `loading.load_walk` reads them back.
"""

import warnings
from pathlib import Path

import numpy as np
from scipy.interpolate import interp1d
from scipy.spatial.transform import Rotation

from .files import atomic_path
from .kinematics import bone_lengths, bones_apart, fit_skeleton
from .points import HUMANML3D_FPS
from .skeletons import KINECT_V2, SMPL_22, Skeleton, check_fps, check_walk, convert_joints, known_skeleton

# BVH is y up: x to the walker's left, y up, z forward; a rotation of the package's axes that is its own inverse.
_TO_Y_UP = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
_FAR_MM = 3.0  # a joint that a BVH file puts so far away is told


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


def write_trc(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] as OpenSim's TRC: millimetres, x forward, y up, z right; a missing joint is an empty cell.

    Raises ValueError for a wrong shape or fps.
    """
    joints = 1000 * check_walk(joints, fps, skeleton)[..., [1, 2, 0]].astype(np.float64)
    count, names = len(joints), skeleton.joint_names
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{Path(path).name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{fps:.10g}\t{fps:.10g}\t{count}\t{len(names)}\tmm\t{fps:.10g}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{j}" for j in range(1, len(names) + 1) for axis in "XYZ"),
        "",
    ]
    for frame, row in enumerate(joints.reshape(count, -1)):
        lines.append("\t".join([str(frame + 1), f"{frame / fps:.9f}", *("" if np.isnan(v) else f"{v:.6f}" for v in row)]))
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_c3d(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] as points of a C3D file: millimetres, z up; a missing joint has the residual -1.

    Raises ValueError for a wrong shape or fps, and for more than 65,535 frames, which the format can't count.
    """
    import c3d

    joints = check_walk(joints, fps, skeleton)
    if len(joints) > 65535:
        raise ValueError(f"{path}: {len(joints)} frames; C3D counts up to 65535")
    points = np.zeros((len(joints), len(skeleton), 5), np.float32)
    seen = np.isfinite(joints).all(-1)
    points[..., :3] = np.where(seen[..., None], 1000 * joints, 0)
    points[..., 3] = np.where(seen, 0, -1)
    writer = c3d.Writer(point_rate=fps)
    writer.set_point_labels(list(skeleton.joint_names))
    writer.add_frames([(frame, np.empty((0, 0))) for frame in points])
    with atomic_path(path) as temporary, open(temporary, "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of analog channels, which are not there
        writer.write(file)


def write_humanml3d(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] as HumanML3D's array of 22 joints (T', 22, 3): 20 frames a second, y up, z forward, x left.

    Raises ValueError for a wrong shape or fps, or joints that are not finite.
    """
    joints = convert_joints(check_walk(joints, fps, skeleton), skeleton, SMPL_22)
    if not np.isfinite(joints).all():
        raise ValueError(f"{path}: HumanML3D has no missing joints; clean the walk first")
    times = np.arange(_humanml3d_frames(len(joints), fps)) / HUMANML3D_FPS
    flat = interp1d(np.arange(len(joints)) / fps, joints.reshape(len(joints), -1), axis=0, fill_value="extrapolate")(times)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, (flat.reshape(len(times), -1, 3) @ _TO_Y_UP.T).astype(np.float32))


def write_bvh(
    path: str | Path, joints: np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray], fps: float, skeleton: Skeleton = KINECT_V2
) -> None:
    """Write a BVH file: y up, z forward, centimetres; joints keep their names; the root has six channels.

    BVH turns all that hangs on a joint together. Where bones of one joint move against each other, as the hips against the
    trunk (pelvic obliquity), each has a joint `to_NAME` of length 0: with constant bone lengths, positions come back.

    Args:
        path: the file to write.
        joints: (T, J, 3) [m] finite, explained by `kinematics.fit_skeleton` first (BVH knows no changing bone lengths); or
            (local rotations (T, J, 3, 3), root (T, 3) [m], offsets (J, 3) [m]), written as they are.
        fps: frames per second.

    Each joint has channels Zrotation Xrotation Yrotation [deg]: R = Rz Rx Ry. A leaf ends in an End Site as long as half
    its bone. Raises ValueError for wrong shapes, values that are not finite, or a wrong fps; warns where
    changing bone lengths put joints elsewhere.
    """
    if isinstance(joints, tuple):
        rotations, root, offsets = (np.asarray(a, np.float64) for a in joints)
        if rotations.ndim != 4 or root.ndim != 2:
            raise ValueError(f"expected rotations (T, J, 3, 3) and root (T, 3), got {rotations.shape} and {root.shape}")
    else:
        joints = check_walk(joints, fps, skeleton)
        fit = fit_skeleton(joints, skeleton)
        _warn_of_lengths(path, joints, fit[2], skeleton)
        (rotations, root, offsets), skeleton = bones_apart(joints, fit, skeleton)
    frames, count = len(rotations), len(skeleton)
    shapes = (rotations.shape, root.shape, offsets.shape)
    if shapes != ((frames, count, 3, 3), (frames, 3), (count, 3)) or not frames:
        raise ValueError(f"expected rotations (T, {count}, 3, 3), root (T, 3), offsets ({count}, 3), got {shapes}")
    check_fps(fps)
    if not all(np.isfinite(a).all() for a in (rotations, root, offsets)):
        raise ValueError("rotations, root, offsets must be finite")
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


def _warn_of_lengths(path: str | Path, joints: np.ndarray, offsets: np.ndarray, skeleton: Skeleton) -> None:
    """Of joints (T, J, 3) that are somewhere else when all bones are as long as `offsets`."""
    stretch, written = np.linalg.norm(offsets, axis=-1) / np.maximum(bone_lengths(joints, skeleton), 1e-9), joints.copy()
    for j in skeleton.order[1:]:
        parent = skeleton.parents[j]
        written[:, j] = written[:, parent] + stretch[:, [j]] * (joints[:, j] - joints[:, parent])
    away = 1000 * np.linalg.norm(written - joints, axis=-1)
    if away.max() > _FAR_MM:
        worst = skeleton.joint_names[away.mean(axis=0).argmax()]
        said = f"{away.mean():.0f} mm off on average, {worst} by {away.mean(axis=0).max():.0f} mm"
        warnings.warn(f"{path}: bones change their length, those of a BVH file cannot: joints are written {said}", stacklevel=3)


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


def written_frames(path: str | Path, frames: int, fps: float) -> tuple[int, float]:
    """How many frames at which rate `save_walk` writes of so many: HumanML3D's .npy has a rate of its own."""
    if Path(path).suffix.lower() != ".npy":
        return frames, fps
    return _humanml3d_frames(frames, fps), HUMANML3D_FPS


def _humanml3d_frames(frames: int, fps: float) -> int:
    """Frames of HumanML3D's own rate within so many frames at `fps`."""
    return int((frames - 1) / fps * HUMANML3D_FPS + 1e-6) + 1


def save_walk(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton | str = KINECT_V2) -> None:
    """Write joints (T, J, 3) [m] in the format of the suffix: .csv, .npz, .bvh, .trc, .c3d, .npy (HumanML3D), .gif, .mp4.

    `skeleton`: what the J joints are, or its name. Raises ValueError for any other suffix and for what the writers refuse.
    """

    def animate(path: str | Path, joints: np.ndarray, fps: float, skeleton: Skeleton) -> None:
        from .drawing.rendering import render_animation  # imports this module

        render_animation(joints, path, fps=fps, skeleton=skeleton)

    writers = {".csv": write_csv, ".npz": write_npz, ".bvh": write_bvh, ".trc": write_trc, ".c3d": write_c3d}
    writers |= {".npy": write_humanml3d, ".gif": animate, ".mp4": animate}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise ValueError(f"{path}: cannot write {suffix!r}; expected one of {', '.join(writers)}")
    writers[suffix](path, joints, fps, known_skeleton(skeleton))
