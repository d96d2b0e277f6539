"""Files that are whole or absent, and how much of a file is read.

In: the place where something shall be. Out: a temporary place to fill, renamed when it is complete and removed if not, so that
a broken run leaves no half file and loses nothing that was there. `read_bytes` reads anybody's files, within limits.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_BYTES = 2**28  # 256 MiB: of a file that is read, and of what an archive's member unpacks to
GROWTH, FREE = 16, 2**23  # numbers take at most so many times the file's bytes, or 8 MiB


def read_bytes(path: str | Path) -> bytes:
    """A whole file. Raises ValueError if it is empty or larger than `MAX_BYTES`; OSError if it cannot be read."""
    with open(path, "rb") as file:
        data = file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES) + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: is larger than {MAX_BYTES >> 20} MiB, the most that is read; cut it into several files")
    if not data:
        raise ValueError(f"{path}: is empty")
    return data


def check_growth(place: str | Path, size: int, needed: int) -> None:
    """Raise ValueError where the numbers of a file of `size` bytes would take `needed` bytes; call it before they do.

    A number takes a byte or more in a file and eight in memory; a file that promises much more was made to fill the memory.
    """
    if needed > min(max(FREE, GROWTH * size), 4 * MAX_BYTES):
        raise ValueError(f"{place}: {size:,} bytes unpack to {needed:,}; at most {GROWTH} times its size is read")


def read_text(path: str | Path) -> str:
    """A text file without its byte order mark. Raises ValueError if it is binary, not UTF-8 or empty."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a UTF-8 text file (byte {error.start})") from None
    if "\0" in text:
        raise ValueError(f"{path}: is a binary file, expected text")
    if not text.strip():
        raise ValueError(f"{path}: is empty")
    return text


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` with its suffix; renamed to `path` on success, removed on failure.

    Raises OSError that names `path` where its folder cannot be written in."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: dict) -> None:
    """Write a JSON file whole or not at all; its folder is made where it is not there."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A new folder beside `path` to fill; on success it takes the place of `path`, on failure it is removed.

    What was at `path` is moved to `.NAME-earlier` first and comes back if the new folder cannot take its place. A process that
    is killed between the two renames leaves both folders whole beside `path`; the next call puts the earlier one back, or
    `put_back` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = put_back(path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            os.replace(path, earlier)
        try:
            os.replace(temporary, path)
        except OSError:
            put_back(path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_back(path: Path) -> Path:
    """The earlier folder of a killed `atomic_folder` in its place again, where nothing stands there; else it is removed.

    Returns: where an earlier folder is put.
    """
    earlier = path.with_name(f".{path.name}-earlier")
    if earlier.exists() and path.exists():
        shutil.rmtree(earlier, ignore_errors=True)
    elif earlier.exists():
        os.replace(earlier, path)
    return earlier


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
