"""`chainrule cache`: the machine code that is kept on disk."""

import contextlib
from pathlib import Path
from typing import Any

import click

from ..engines.compiled import cache as code_cache
from ..files import named, remove_abandoned
from .options import common, print_json


@click.command()
@click.option(
    "--clear", is_flag=True, help="Remove the files; they are compiled again when needed."
)
@common
def cache(clear: bool, as_json: bool, **_: Any) -> None:
    """Show where compiled code is kept, and how much; or clear it."""
    folder, files = code_cache.folder(), code_cache.files()
    size = sum(_size(file) for file in files)
    if clear:
        for file in files:
            with named("remove", file):
                file.unlink(missing_ok=True)
        remove_abandoned(folder)
    if as_json:
        print_json({"folder": str(folder), "files": len(files), "bytes": size, "cleared": clear})
    else:
        verb = "removed " if clear else ""
        click.echo(f"{folder}: {verb}{len(files)} files, {size / 1e6:.1f} MB")


def _size(file: Path) -> int:
    with contextlib.suppress(OSError):  # another process has removed it
        return file.lstat().st_size
    return 0
