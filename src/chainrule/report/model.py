"""The page of a model file: its scores, learning curves, layers, and how it was trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..training.describe import described
from . import pictures
from .template import page

VALIDATION = "val_"


def render(path: str | os.PathLike[str]) -> str:
    """The page's HTML."""
    model = described(path)
    known = model.facts()
    notes = known["notes"]
    test = notes.get("test")
    return page(
        "model",
        name=Path(path).name,
        facts=known,
        test=test if isinstance(test, dict) else {},
        last={name: x for name, x in known["last epoch"].items() if name != "seconds"},
        stopped=model.history.stopped,
        curves=_curves(known["history"]),
        layers=[(layer, _rows(values)) for layer, values in model.layers()],
        shown={name: fact for name, fact in known.items() if name not in LEFT_OUT},
        notes={name: note for name, note in notes.items() if name != "test"},
    )


LEFT_OUT = ("model", "history", "last epoch", "notes")
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
