"""Machine code on disk, so that the next process need not compile it.

A file is named by a key of the code's text, the processor and the version of LLVM, and begins with
the digest of what follows: a file that is damaged, or another's, is not run but compiled anew.
Writing is a favour: where it fails, on a full or read-only disk, nothing is said.
"""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

from ...files import write_whole

MOST_FILES = 256
"""A file is some 100 KB; when there are more, the ones not used for longest go."""


def folder() -> Path:
    """Where the files lie: `CHAINRULE_CACHE`, or chainrule's part of the user's cache folder."""
    chosen = os.environ.get("CHAINRULE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "chainrule" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chainrule"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule"


def load(key: str) -> bytes | None:
    """The code under a key, if it is there and whole."""
    with contextlib.suppress(OSError, RuntimeError):
        path = _path(key)
        data = path.read_bytes()
        digest, code = data[:32], data[32:]
        if hashlib.sha256(key.encode() + code).digest() == digest:
            with contextlib.suppress(OSError):  # of a folder that can only be read
                os.utime(path)
            return code
    return None


def store(key: str, code: bytes) -> None:
    """Keep code under a key."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        path = _path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(key.encode() + code).digest() + code)
        for old in sorted(files(), key=lambda file: file.stat().st_mtime)[:-MOST_FILES]:
            old.unlink(missing_ok=True)


def files() -> list[Path]:
    """The files of the cache."""
    with contextlib.suppress(OSError, RuntimeError):
        return list(folder().glob("*.object"))
    return []


def _path(key: str) -> Path:
    return folder() / f"{key}.object"
