"""`chainrule cache`: the machine code that is kept on disk."""

from typing import Any

import click

from ..engines.compiled import cache as code_cache
from ..files import named
from .options import common, print_json


@click.command()
@click.option(
    "--clear", is_flag=True, help="Remove the files; they are compiled again when needed."
)
@common
def cache(clear: bool, as_json: bool, **_: Any) -> None:
    """Show where compiled code is kept, and how much; or clear it."""
    files = code_cache.files()
    size = sum(file.stat().st_size for file in files)
    if clear:
        for file in files:
            with named("remove", file):
                file.unlink(missing_ok=True)
    if as_json:
        folder = str(code_cache.folder())
        print_json({"folder": folder, "files": len(files), "bytes": size, "cleared": clear})
    else:
        verb = "removed " if clear else ""
        click.echo(f"{code_cache.folder()}: {verb}{len(files)} files, {size / 1e6:.1f} MB")
