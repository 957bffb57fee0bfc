"""`chainrule inspect`: what a model file holds."""

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..nn.layer import Layer
from ..training.model_file import load
from ..training.trainer import Trainer
from .options import common, print_json


@click.command()
@click.argument("file")
@common
def inspect(file: str, as_json: bool, **_: Any) -> None:
    """Show what the model FILE holds: its layers, how it was trained, and how well it did."""
    trainer = load(file)
    if as_json:
        print_json(_facts(file, trainer))
        return
    console = Console(highlight=False)
    table = Table("layer", "state", "shape", "mean", "std", box=None, pad_edge=False)
    for i, layer in enumerate(_parts(trainer.model)):
        table.add_row(f"{i}  {layer!r}")
        for path, leaf in layer.leaves().items():
            value = trainer.value(leaf)
            numbers = f"{value.mean():.4f}", f"{value.std():.4f}"
            table.add_row("", path, " × ".join(map(str, value.shape)), *numbers)
    console.print(table)
    for name, fact in _facts(file, trainer).items():
        if name not in ("model", "history"):
            console.print(f"{name}: {_words(fact)}", soft_wrap=True, markup=False)


def _parts(model: Layer) -> list[Layer]:
    return [child for _, child in model.children() if isinstance(child, Layer)] or [model]


def _facts(file: str, trainer: Trainer) -> dict[str, Any]:
    last = trainer.history.rows()[-1:]
    return {
        "file": file,
        "model": repr(trainer.model),
        "loss": repr(trainer.loss),
        "optimizer": repr(trainer.optimizer),
        "weight decay": repr(trainer.weight_decay),
        "seed": trainer.seed,
        "features": trainer.features,
        "parameters": trainer.model.parameter_count,
        "epochs": trainer.history.epochs,
        "steps": trainer.session.steps_done,
        "last epoch": last[0] if last else {},
        "history": {name: list(values) for name, values in trainer.history.items()},
        **trainer.notes,
    }


def _words(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{name} {_words(value)}" for name, value in fact.items())
    return f"{fact:.4f}" if isinstance(fact, float) else str(fact)
