"""A trained model in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..graph.tensor import Array
from ..nn.layer import Layer
from .trainer import Trainer


def facts(trainer: Trainer) -> dict[str, Any]:
    """What it is, how it was trained, and how well it did, as plain data."""
    last = trainer.history.rows()[-1:]
    return {
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


def layers(trainer: Trainer) -> Iterator[tuple[Layer, dict[str, Array]]]:
    """The parts of the model in order, each with the values of its parameters and other state."""
    model = trainer.model
    parts = [child for _, child in model.children() if isinstance(child, Layer)] or [model]
    for part in parts:
        yield part, {path: trainer.value(leaf) for path, leaf in part.leaves().items()}


def in_words(fact: Any) -> str:
    """A fact as text."""
    if isinstance(fact, dict):
        return ", ".join(f"{name} {in_words(value)}" for name, value in fact.items())
    return f"{fact:.4f}" if isinstance(fact, float) else str(fact)
