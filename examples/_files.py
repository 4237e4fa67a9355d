"""Files that are written whole or not at all.

A file or a folder is made under another name beside its place, and renamed when it is whole, so that nobody ever finds half of it.
The other name holds the number of the process that writes. A process that is killed leaves such a file behind; the next start of a
program that writes the same file removes it, since no process of that number runs any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file or a folder under another name, and rename it; if it cannot be written, the program ends with one line."""
    target = _target(path)
    partial = _partial(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        write(partial)
        if partial.is_file():
            _reach_the_disk(partial)
        os.replace(partial, target)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        _remove(partial)


def check_writable(path: Path) -> None:
    """Raise an OSError where a file cannot be written: before the work, not after it. Its folder is made, and leftovers are removed."""
    path = _target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not an ordinary file")
    remove_leftovers(path)
    trial = _partial(path)
    trial.touch()
    trial.unlink()


def claim(path: Path) -> None:
    """End the program with one line where a file cannot be written."""
    try:
        check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def reserve(file: IO[bytes], size: int) -> None:
    """Get room on the disk for all of a file: if it is mapped to memory, a full disk would end the program without a word."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left of a file; what other processes are writing now stays."""
    path = _target(path)
    pattern = re.compile(re.escape(f".{path.stem}.") + r"(\d+)" + re.escape(f".partial{path.suffix}"))
    for other in path.parent.iterdir():
        found = pattern.fullmatch(other.name)
        if found and not _another_runs(int(found[1])):
            # What belongs to another user is not in the way.
            with contextlib.suppress(OSError):
                _remove(other)


def _target(path: Path) -> Path:
    """The file itself where a path is a link, so that the link stays one."""
    return Path(os.path.realpath(path))


def _partial(path: Path) -> Path:
    """The name of this process's unfinished file; the ending stays, since writers of pictures tell the format by it."""
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


def _another_runs(number: int) -> bool:
    """Whether there is another process of this number. In a container, all starts may have one number, and one at a time runs."""
    if number == os.getpid():
        return False
    if os.name != "posix":
        # There, asking for a process would end it.
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _reach_the_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> SystemExit:
    return SystemExit(f"error: cannot write {path}: {error.strerror or error}")
