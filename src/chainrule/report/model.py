"""The page of a model file: its scores, learning curves, layers, and how it was trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..training.describe import facts, layers
from ..training.model_file import load
from . import pictures
from .template import page

VALIDATION = "val_"


def render(path: str | os.PathLike[str]) -> str:
    """The page's HTML."""
    trainer = load(path)
    known = facts(trainer)
    test = known.get("test")
    return page(
        "model",
        name=Path(path).name,
        facts=known,
        test=test if isinstance(test, dict) else {},
        last={name: x for name, x in known["last epoch"].items() if name != "seconds"},
        stopped=trainer.history.stopped,
        curves=_curves(known["history"]),
        layers=[(repr(layer), _rows(values)) for layer, values in layers(trainer)],
        shown={name: fact for name, fact in known.items() if name not in LEFT_OUT},
    )


LEFT_OUT = ("model", "history", "last epoch", "test")
"""What the page tells in other words."""


def _curves(history: dict[str, list[float]]) -> list[tuple[str, Markup]]:
    names = [name for name in history if not name.startswith(VALIDATION) and name != "seconds"]
    with pictures.look():
        return [
            (name, Markup(pictures.learning_curve(i, name, history[name],
                                                  history.get(VALIDATION + name, []))))
            for i, name in enumerate(names)
        ]  # fmt: skip


def _rows(values: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (path, " × ".join(map(str, x.shape)), f"{x.mean():.4f}", f"{x.std():.4f}")
        for path, x in values.items()
    ]
