"""Files are written beside their place and renamed into it, so none is ever half written."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import FileError


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


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at once by `data`; what was there stays if anything goes wrong."""
    target = check_writable(path)
    beside = None
    with named("write", path):
        try:
            with tempfile.NamedTemporaryFile(
                dir=target.parent, prefix=".chainrule-", delete=False
            ) as file:
                beside = file.name
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, _usual_mode(target))
            os.replace(beside, target)
        except BaseException:
            if beside is not None:
                with contextlib.suppress(OSError):
                    os.unlink(beside)
            raise


@contextlib.contextmanager
def named(verb: str, path: object) -> Iterator[None]:
    """Say what the system says in one line that names the path."""
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot {verb} {path}: {error.strerror or error}") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot {verb} {path!r}: {error}") from None


def _usual_mode(path: Path) -> int:
    """The mode of the file that was there, or what a new file would get from `open`."""
    if path.exists():
        return path.stat().st_mode & 0o777
    # os.umask can only be read by setting it, for all threads; 0o644 is what most umasks leave.
    return 0o644
