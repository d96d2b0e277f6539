"""NPZ and NPY: `read_numpy` reads the arrays of which `points.from_arrays` makes `Points`; nothing is unpickled."""

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .files import check_growth
from .points import Points, from_arrays
from .skeletons import Skeleton

_READ = ("joints", "fps", "times", "joint_names", "skeleton", "poses", "trans", "mocap_framerate", "mocap_frame_rate")


def read_numpy(path: Path, skeleton: Skeleton | None) -> Points:
    """Points of an NPZ or NPY. Only the arrays that are known are read, after a look at their size."""
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\3\4":
                with zipfile.ZipFile(file) as archive:
                    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                    arrays = {}
                    for name in filter(members.__contains__, _READ):
                        with archive.open(members[name]) as member:
                            arrays[name] = _array(member, members[name].file_size, members[name].compress_size, name)
            else:
                file.seek(0, 2)
                size = file.tell()
                file.seek(0)
                if not size:
                    raise ValueError("is empty")
                members, arrays = {}, {"joints": _array(file, size, size, "array")}
    except Exception as error:  # numpy, zip and zlib raise a dozen kinds on broken or pickled files
        if isinstance(error, OSError) and error.filename is not None:  # the file itself cannot be opened
            raise
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: is not a readable NPZ or NPY file without pickled objects ({said})") from None
    if "joints" not in arrays and not {"poses", "trans"} <= arrays.keys():
        raise ValueError(
            f"{path}: has no array 'joints' (or 'poses' and 'trans'), only {', '.join(members)[:200] or 'nothing'}"
        )
    return from_arrays(arrays, skeleton, path)


def _array(file: BinaryIO, size: int, packed: int, name: str) -> np.ndarray:
    """One array of an NPY of `size` bytes, `packed` in its archive, whose header must fit them. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if header is None:
        raise ValueError(f"version {version} of the NPY format")
    shape, fortran, dtype = header(file)
    count = 1
    for length in shape:
        count *= length
    if dtype.hasobject or count * dtype.itemsize > size:
        raise ValueError(f"{name!r}: {dtype} {shape} in {size} bytes")
    check_growth(repr(name), packed, count * max(dtype.itemsize, 8))
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
