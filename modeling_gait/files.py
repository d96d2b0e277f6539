"""Files that are whole or absent.

In: the place where something shall be. Out: a temporary place to fill, renamed when it is complete and removed if not, so that
a broken run leaves no half file and loses nothing that was there.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` with its suffix; renamed to `path` on success, removed on failure."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
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
    is killed between the two renames leaves both folders whole beside `path`; the next call puts the earlier one back.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = path.with_name(f".{path.name}-earlier")
    _put_back(earlier, path)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            os.replace(path, earlier)
        try:
            os.replace(temporary, path)
        except OSError:
            _put_back(earlier, path)
            raise
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_back(earlier: Path, path: Path) -> None:
    """The earlier folder in its place again where nothing stands there; else it is what a killed run had not yet removed."""
    if earlier.exists() and path.exists():
        shutil.rmtree(earlier, ignore_errors=True)
    elif earlier.exists():
        os.replace(earlier, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
