"""Machine code on disk, so that the next process need not compile it.

A file is named by a key of the code's text, the processor and the version of LLVM, and begins with
the digest of what follows: a file that is damaged, or another's, is not run but compiled anew.
A digest is no signature, so whoever can write here decides what is run: folder and files must
belong to this user, or to root, and nobody else may write to them.
Writing is a favour: where it fails, on a full or read-only disk, nothing is said.
"""

import contextlib
import errno
import hashlib
import os
import stat
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from ...errors import InputError
from ...files import OPEN_AS_IT_IS, write_whole

MOST_FILES = 256
"""A file is some 100 KB; when there are more, the ones not used for longest go."""

WAY_OUT = "set CHAINRULE_CACHE to a folder of your own"

HAS_OWNERS = hasattr(os, "geteuid")
"""Windows has none; there the user's cache folder is the user's alone."""


class Untrusted(Exception):
    """A folder or a file of the cache that somebody else may have written."""


def folder() -> Path:
    """Where the files lie: `CHAINRULE_CACHE`, or chainrule's part of the user's cache folder.

    `InputError` where it lies in a home folder, and there is none.
    """
    chosen = os.environ.get("CHAINRULE_CACHE")
    if chosen:
        return _expanded(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else _expanded("~/AppData/Local")) / "chainrule" / "cache"
    if sys.platform == "darwin":
        return _expanded("~/Library/Caches/chainrule")
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification wants a relative folder to be ignored.
    return (Path(base) if os.path.isabs(base) else _expanded("~/.cache")) / "chainrule"


def load(key: str) -> bytes | None:
    """The code under a key, if it is there, whole, and can be trusted."""
    try:
        data = _read(key)
    except Untrusted as error:
        _warn_once(error)
        return None
    except (OSError, InputError):
        return None
    digest, code = data[:32], data[32:]
    return code if hashlib.sha256(key.encode() + code).digest() == digest else None


def store(key: str, code: bytes) -> None:
    """Keep code under a key."""
    with contextlib.suppress(OSError, ValueError, Untrusted):  # `load` has told of the last one
        place = folder()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if HAS_OWNERS:
            with _opened(place, stat.S_ISDIR):
                pass
        path = _path(place, key)
        path.unlink(missing_ok=True)  # what `load` did not take, a link too
        write_whole(path, hashlib.sha256(key.encode() + code).digest() + code, mode=0o600)
        for old in sorted(files(), key=lambda file: file.stat().st_mtime)[:-MOST_FILES]:
            old.unlink(missing_ok=True)


def files() -> list[Path]:
    """The files of the cache."""
    with contextlib.suppress(OSError):
        return list(folder().glob("*.object"))
    return []


def _expanded(path: str) -> Path:
    """A path that may begin with `~` or `~user`."""
    with contextlib.suppress(RuntimeError):
        # Python takes HOME="" for "/".
        if not (Path(path).parts[0] == "~" and os.environ.get("HOME") == ""):
            return Path(path).expanduser()
    raise InputError(f"machine code is kept in {path}, but there is no such home folder: {WAY_OUT}")


def _path(place: Path, key: str) -> Path:
    return place / f"{key}.object"


def _read(key: str) -> bytes:
    """The bytes of a file that can be trusted: what is read is what was opened and checked."""
    place = folder()
    path = _path(place, key)
    if not HAS_OWNERS:
        _used(path)
        return path.read_bytes()
    with (
        _opened(place, stat.S_ISDIR) as within,
        _opened(path, stat.S_ISREG, within) as descriptor,
        open(descriptor, "rb", closefd=False) as file,
    ):
        _used(descriptor)
        return file.read()


def _used(file: Path | int) -> None:
    with contextlib.suppress(OSError):  # of a folder that can only be read
        os.utime(file)


@contextlib.contextmanager
def _opened(path: Path, is_kind: Callable[[int], bool], within: int | None = None) -> Iterator[int]:
    """Open a folder, or a file within it, and check who can have written it."""
    try:
        descriptor = os.open(
            path if within is None else path.name, os.O_RDONLY | OPEN_AS_IT_IS, dir_fd=within
        )
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Untrusted(f"{path} is a link") from None
        raise
    try:
        found = os.fstat(descriptor)
        if not is_kind(found.st_mode):
            raise OSError(errno.EINVAL, "not a folder, or not a file")
        if found.st_uid not in (os.geteuid(), 0):
            raise Untrusted(f"{path} belongs to another user, number {found.st_uid}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Untrusted(f"others can write to {path}, whose mode is {found.st_mode & 0o777:o}")
        yield descriptor
    finally:
        os.close(descriptor)


def _warn_once(error: Untrusted) -> None:
    if not _warned.is_set():
        _warned.set()
        warnings.warn(
            f"no machine code is kept or taken: {error}; {WAY_OUT}", RuntimeWarning, stacklevel=3
        )


_warned = threading.Event()
