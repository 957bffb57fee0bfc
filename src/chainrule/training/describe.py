"""A model file in words and numbers, also where a class of its layers is not at hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..errors import FileError
from ..graph.tensor import Array, Tensor
from ..nn.layer import Layer
from ..spec import fields_of
from .history import History
from .model_file import history_of, read

MAX_DEPTH = 5
"""Notes within notes that are told in words."""


@dataclass(frozen=True)
class Absent:
    """Stands for a spec of a class that no module has defined here."""

    kind: str
    fields: dict[str, Any]

    def __call__(self, x: Tensor) -> Tensor:
        """Nobody knows."""
        raise FileError(f"a {self.kind!r} is not known here")

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{name}={x!r}' for name, x in self.fields.items())})"


@dataclass(frozen=True)
class Description:
    """What a model file says; nothing is built that could train or predict."""

    trainer: dict[str, Any]
    """The trainer's fields; a class that is not at hand has a stand-in."""
    history: History
    features: int
    parameters: int
    steps: int
    notes: dict[str, Any]
    tensors: dict[str, Array]

    def facts(self) -> dict[str, Any]:
        """The model, how it was trained, and how well it did, as plain data."""
        last = self.history.rows()[-1:]
        return {
            "model": repr(self.trainer.get("model")),
            "loss": repr(self.trainer.get("loss")),
            "optimizer": repr(self.trainer.get("optimizer")),
            "weight decay": repr(self.trainer.get("weight_decay")),
            "seed": self.trainer.get("seed"),
            "features": self.features,
            "parameters": self.parameters,
            "epochs": self.history.epochs,
            "steps": self.steps,
            "last epoch": last[0] if last else {},
            "history": dict(self.history),
            "notes": self.notes,
        }

    def layers(self) -> list[tuple[str, dict[str, Array]]]:
        """The parts of the model in order, each with the values of its state by path."""
        model = self.trainer.get("model")
        children = model.children() if isinstance(model, Layer) else ()
        parts: list[tuple[str, Any]] = [
            (f"model.{name}.", part) for name, part in children if isinstance(part, Layer)
        ]
        return [(repr(part), self._state(prefix)) for prefix, part in parts or [("model.", model)]]

    def _state(self, prefix: str) -> dict[str, Array]:
        found = self.tensors.items()
        return {n.removeprefix(prefix): value for n, value in found if n.startswith(prefix)}


def described(path: str | os.PathLike[str]) -> Description:
    """The description of a model file; a `FileError` if it is none, or damaged."""
    header, tensors = read(path)
    try:
        fields = fields_of(header.trainer, Absent)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    return Description(
        fields, history_of(header), header.features, header.parameters, header.steps_done,
        header.notes, tensors,
    )  # fmt: skip


def in_words(fact: Any, depth: int = 0) -> str:
    """A fact as text; notes may lie within notes, and of the deep ones there is only a sign."""
    if isinstance(fact, dict) and depth < MAX_DEPTH:
        return ", ".join(f"{name} {in_words(value, depth + 1)}" for name, value in fact.items())
    if isinstance(fact, dict | list):
        return "…" if depth else str(fact)
    return f"{fact:.4f}" if isinstance(fact, float) else str(fact)
