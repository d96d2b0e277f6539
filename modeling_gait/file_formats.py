"""The formats that walks are read from: the table of `FORMATS`, and `read_points`, which finds a file's reader by its suffix.

In: a path. Out: `points.Points`, of which `loading.load_walk` makes a walk. Exported models carry none of the readers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .bvh import bvh_points
from .formats_arrays import read_numpy
from .formats_capture import read_c3d, read_mot, read_trc
from .formats_keypoints import read_json, read_ntu
from .formats_text import read_table
from .points import Points
from .skeletons import Skeleton


@dataclass(frozen=True)
class Format:
    """A format: its suffixes, what is read of it, and its reader."""

    suffixes: tuple[str, ...]
    what: str
    read: Callable[[Path, Skeleton | None], Points]


FORMATS = (
    Format(
        (".csv", ".tsv", ".txt"),
        "tables: columns named left_knee_x, KneeLeft.x or 'Knee Left X, Y, Z'; J*3 columns without names; DeepLabCut and "
        "Anipose in 3D; MediaPipe; Vicon Nexus trajectories; Qualisys",
        read_table,
    ),
    Format((".npz", ".npy"), "arrays: joints (T, J, 3); HumanML3D (T, 22, 3) and (T, 263); AMASS poses and trans", read_numpy),
    Format((".bvh",), "BVH: any channel order; names of Mixamo, CMU, 3ds Max, Biovision and of the package", bvh_points),
    Format((".c3d",), "C3D: markers of Plug-in Gait, Visual3D, Qualisys; its events and parameters", lambda p, _: read_c3d(p)),
    Format((".trc",), "TRC of OpenSim, OpenCap, Pose2Sim, Cortex: joints or markers", lambda p, _: read_trc(p)),
    Format((".mot", ".sto"), "MOT, STO: joint angles of OpenSim, OpenCap, on a generic body", lambda p, _: read_mot(p)),
    Format((".json",), "JSON (or a folder of them) of OpenPose, COCO, MediaPipe, MMPose, in 3D", read_json),
    Format((".skeleton",), "NTU RGB+D", read_ntu),
)

SUFFIXES = tuple(suffix for f in FORMATS for suffix in f.suffixes)


def read_points(path: Path, skeleton: Skeleton | None) -> Points:
    """What a file holds; a folder is OpenPose's, a file a frame. Raises ValueError for an unknown suffix, and as readers do."""
    read = read_json if path.is_dir() else next((f.read for f in FORMATS if path.suffix.lower() in f.suffixes), None)
    if read is None:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    return read(path, skeleton)
