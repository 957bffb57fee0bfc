"""Files are written beside their place and renamed into it, so none is ever half written."""

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import FileError

try:
    import fcntl
except ImportError:  # Windows, where nobody removes or renames an open file
    CAN_LOCK = False
else:
    CAN_LOCK = True

BESIDE = ".chainrule-"
"""How the names of files begin that are being written, or were when their writer was killed."""

DATABASE = b"SQLite format 3\0"
"""How a file of SQLite begins, such as a study."""

OPEN_AS_IT_IS = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
"""Opens no link, and waits for no pipe."""


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Where the file lies, links followed; `FileError` unless a file could be written there.

    Long work asks this before it starts.
    """
    with named("write", path):
        target = Path(path).resolve()
        if target.is_dir():
            raise FileError(f"{path} is a folder, expected the name of a file to write")
        # Renaming a file over a device or a pipe would put an end to it for everybody.
        if target.exists() and not target.is_file():
            raise FileError(f"{path} is a device or a pipe, expected the name of a file to write")
        if not target.parent.is_dir():
            raise FileError(f"cannot write {path}: there is no folder {Path(path).parent}")
        if not os.access(target.parent, os.W_OK):
            raise FileError(f"cannot write {path}: the folder {target.parent} does not let you")
        return target


def check_readable(path: str | os.PathLike[str]) -> Path:
    """The path, if a file is there that can be read; otherwise a `FileError`."""
    with named("read", path):
        found = Path(path)
        if not found.exists():
            raise FileError(f"{path}: there is no such file")
        if not found.is_file():
            raise FileError(f"{path}: not a file")
        with found.open("rb"):
            return found


def write_whole(path: str | os.PathLike[str], data: bytes, mode: int | None = None) -> None:
    """Replace the file at once by `data`; what was there stays if anything goes wrong.

    The mode is by default that of the file that was there, or 0o644.
    """
    target = check_writable(path)
    with named("write", path):
        remove_abandoned(target.parent, target.name)
        descriptor, beside = _new_beside(target)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(beside, _usual_mode(target) if mode is None else mode)
                if CAN_LOCK:  # while it is locked, nobody takes it for abandoned
                    os.replace(beside, target)
            if not CAN_LOCK:
                os.replace(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers of the file of that name left in the folder; None: of any file."""
    pattern = f"{BESIDE}*" if name is None else f"{_prefix(name)}*"
    for beside in folder.glob(pattern):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(beside)


def lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process has locked it.

    Where the system, or a network's file system, has no such locks, True.
    """
    if CAN_LOCK:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
    return True


def as_text(path: str | os.PathLike[str]) -> str:
    """A file's name as text that can be encoded: bytes that are not UTF-8 become �."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", os.fspath(path))


@contextlib.contextmanager
def named(verb: str, path: object) -> Iterator[None]:
    """Say what the system says in one line that names the path."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot {verb} {path}: {error.strerror or error}") from None
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot {verb} {path!r}: {error}") from None


def _prefix(name: str) -> str:
    """How files beside the file of that name begin: a digest, since a name may have 255 bytes."""
    return f"{BESIDE}{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-"


def _new_beside(target: Path) -> tuple[int, str]:
    """A new file in the target's folder, open and locked, and its path."""
    while True:
        descriptor, beside = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target.name))
        # Another process may have taken it for abandoned before it was locked.
        if lock(descriptor) and _is_at(descriptor, beside):
            return descriptor, beside
        os.close(descriptor)


def _remove_if_abandoned(beside: Path) -> None:
    """Remove a file whose lock is free: its writer has gone."""
    if not CAN_LOCK:
        return os.unlink(beside)  # an error if it is open
    descriptor = os.open(beside, os.O_RDWR | OPEN_AS_IT_IS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_at(descriptor, beside):
            os.unlink(beside)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Whether an open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _usual_mode(path: Path) -> int:
    """The mode of the file that was there, or what a new file would get from `open`."""
    if path.exists():
        return path.stat().st_mode & 0o777
    # os.umask can only be read by setting it, for all threads; 0o644 is what most umasks leave.
    return 0o644
