"""`chainrule report`: a study, or a model file, as one HTML page."""

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..files import as_text, check_readable, check_writable, named, write_whole
from .options import common, print_json
from .replacing import expect_page

MODEL_MARK = b"{"
"""What a safetensors file has after 8 bytes of length; a study begins with "SQLite format 3"."""


@click.command()
@click.argument("file")
@click.option("--out", type=click.Path(), help="The page; default: FILE's name with .html.")
@common
def report(file: str, out: str | None, seed: int, as_json: bool, **_: Any) -> None:
    """Show what FILE holds, a study of `search` or a model, as one HTML page that works offline."""
    with named("read", file), check_readable(file).open("rb") as opened:
        is_model = opened.read(9)[8:] == MODEL_MARK
    out = out or f"{Path(file).stem}.html"
    if check_writable(out) == Path(file).resolve():
        raise InputError(f"--out is {out!r}, which is the file itself: expected another one")
    expect_page(out)
    try:
        from ..report import model, study
        from ..report.findings import read
    except ImportError as error:
        raise InputError(
            f"report needs {error.name}, which is not there: pip install 'chainrule[report]', or "
            "in a clone of it: pip install '.[report]'"
        ) from None
    found: dict[str, Any] = {}
    if is_model:
        page = model.render(file)
    else:
        findings = read(file)
        page = study.render(findings, seed)
        best = findings.ranking[0].number if findings.ranking else None
        found = {"trials": findings.counts, "best": best}
    write_whole(out, as_text(page).encode())
    if as_json:
        print_json({"command": "report", "file": file, "out": out, **found})
        return
    click.echo(f"report: {out}")
