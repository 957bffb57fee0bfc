"""Files are written beside their place and renamed into it, so none is ever half written."""

import contextlib
import os
import tempfile
from pathlib import Path

from ..errors import FileError


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise `FileError` unless a file could be written there; long work asks before it starts."""
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path} is a folder, expected the name of a file to write")
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise FileError(f"cannot write {path}: the folder {path.parent} does not let you")


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at once by `data`; what was there stays if anything goes wrong."""
    check_writable(path)
    path = Path(path)
    beside = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            beside = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, _usual_mode(path))
        os.replace(beside, path)
    except BaseException as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        if isinstance(error, OSError):
            raise FileError(f"cannot write {path}: {error.strerror or error}") from None
        raise


def _usual_mode(path: Path) -> int:
    """The mode of the file that was there, or what a new file would get from `open`."""
    if path.exists():
        return path.stat().st_mode & 0o777
    # os.umask can only be read by setting it, for all threads; 0o644 is what most umasks leave.
    return 0o644
