"""files.py: whole or absent, whatever happens: failures, SIGKILL between the two renames, threads that write one place."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from modeling_gait import files
from modeling_gait.files import atomic_folder, atomic_path, put_back


def content(folder) -> str:
    return (folder / "a.txt").read_text()


def fill(target, text: str) -> None:
    with atomic_folder(target) as temporary:
        (temporary / "a.txt").write_text(text)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.csv"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".csv" and temporary.parent == tmp_path and not path.exists()
        temporary.write_text("one")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "one" and [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~files._umask(), "no private file, as mkstemp makes"


def test_a_folder_is_replaced_whole_and_a_failure_leaves_the_earlier_one(tmp_path):
    target = tmp_path / "deep" / "set"
    fill(target, "one")
    (target / "left over").touch()
    fill(target, "two")
    with pytest.raises(ValueError), atomic_folder(target) as temporary:
        (temporary / "a.txt").write_text("half")
        raise ValueError
    assert content(target) == "two" and [p.name for p in target.iterdir()] == ["a.txt"]
    assert [p.name for p in target.parent.iterdir()] == ["set"]
    assert target.stat().st_mode & 0o777 == 0o777 & ~files._umask()


def test_a_second_rename_that_fails_brings_the_earlier_folder_back(tmp_path, monkeypatch):
    fill(tmp_path / "set", "one")
    replace = os.replace

    def failing(source, target):
        if "earlier" not in str(source) and str(target).endswith("set"):
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space left"):
        fill(tmp_path / "set", "two")
    assert content(tmp_path / "set") == "one" and [p.name for p in tmp_path.iterdir()] == ["set"]


def _killed_between_the_renames(target) -> None:
    replace = os.replace

    def deadly(source, to):
        replace(source, to)
        if str(to).endswith("-earlier"):
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = deadly
    fill(target, "two")


@pytest.mark.parametrize("how", ["read", "write", "fail"])
def test_a_kill_between_the_renames_loses_nothing(tmp_path, how):
    target = tmp_path / "set"
    fill(target, "one")
    process = get_context("fork").Process(target=_killed_between_the_renames, args=(target,))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL and not target.exists()
    if how == "read":
        put_back(target)
    elif how == "write":
        fill(target, "three")
    else:
        with pytest.raises(ValueError), atomic_folder(target):
            raise ValueError
    assert content(target) == ("three" if how == "write" else "one")
    assert not (tmp_path / ".set-earlier").exists()


def test_threads_that_write_one_file_leave_one_whole_file(tmp_path):
    def write(number: int) -> None:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text(f"{number}" * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(1, 10)))
    assert len(set((tmp_path / "a.txt").read_text())) == 1 and len(list(tmp_path.iterdir())) == 1
