"""`chainrule inspect`: what a model file holds."""

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..training.describe import facts, in_words, layers
from ..training.model_file import load
from .options import common, print_json


@click.command()
@click.argument("file")
@common
def inspect(file: str, as_json: bool, **_: Any) -> None:
    """Show what the model FILE holds: its layers, how it was trained, and how well it did."""
    trainer = load(file)
    found = {"file": file, **facts(trainer)}
    if as_json:
        print_json(found)
        return
    console = Console(highlight=False)
    table = Table("layer", "state", "shape", "mean", "std", box=None, pad_edge=False)
    for i, (layer, values) in enumerate(layers(trainer)):
        table.add_row(f"{i}  {layer!r}")
        for path, value in values.items():
            numbers = f"{value.mean():.4f}", f"{value.std():.4f}"
            table.add_row("", path, " × ".join(map(str, value.shape)), *numbers)
    console.print(table)
    for name, fact in found.items():
        if name not in ("model", "history"):
            console.print(f"{name}: {in_words(fact)}", soft_wrap=True, markup=False)
