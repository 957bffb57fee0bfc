"""`chainrule report`: a study as one HTML page."""

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..files import check_readable, check_writable, write_whole
from .options import common, print_json


@click.command()
@click.argument("study")
@click.option("--out", type=click.Path(), help="The page; default: STUDY.html.")
@common
def report(study: str, out: str | None, seed: int, as_json: bool, **_: Any) -> None:
    """Show what the search in the file STUDY found, as one HTML page that works offline."""
    check_readable(study)
    out = out or f"{Path(study).stem}.html"
    if check_writable(out) == Path(study).resolve():
        raise InputError(f"--out is {out!r}, which is the study itself: expected another file")
    try:
        from ..report.findings import read
        from ..report.page import render
    except ImportError as error:
        raise InputError(
            f"report needs {error.name}, which is not there: pip install 'chainrule[report]'"
        ) from None
    findings = read(study)
    write_whole(out, render(findings, seed).encode())
    if as_json:
        best = findings.ranking[0].number if findings.ranking else None
        print_json(
            {"command": "report", "study": study, "out": out, "trials": findings.counts,
             "best": best}
        )  # fmt: skip
        return
    click.echo(f"report: {out}")
