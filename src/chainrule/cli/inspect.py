"""`chainrule inspect`: what a model file holds."""

from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..training.describe import described, in_words
from .options import common, print_json


@click.command()
@click.argument("file")
@common
def inspect(file: str, as_json: bool, **_: Any) -> None:
    """Show what the model FILE holds: its layers, how it was trained, and how well it did."""
    model = described(file)
    found = {"file": file, **model.facts()}
    if as_json:
        print_json(found)
        return
    console = Console(highlight=False)
    table = Table("layer", "state", "shape", "mean", "std", box=None, pad_edge=False)
    for i, (layer, values) in enumerate(model.layers()):
        table.add_row(escape(f"{i}  {layer}"))
        for path, value in values.items():
            numbers = f"{value.mean():.4f}", f"{value.std():.4f}"
            table.add_row("", escape(path), " × ".join(map(str, value.shape)), *numbers)
    console.print(table)
    for name, fact in found.items():
        if name not in ("model", "history", "notes"):
            console.print(f"{name}: {in_words(fact)}", soft_wrap=True, markup=False)
    for name, fact in found["notes"].items():
        console.print(f"{name}: {in_words(fact)}", soft_wrap=True, markup=False)
