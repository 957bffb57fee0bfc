"""The programs of training, evaluation and prediction, built from formulas."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..engines.program import Program
from ..errors import ShapeError
from ..graph import ops
from ..graph import shape as shapes
from ..graph.gradient import grad
from ..graph.leaves import batch, scalar
from ..graph.shape import N
from ..graph.tensor import Array, Tensor
from ..nn.context import Training
from ..nn.layer import Layer
from ..nn.losses import TINY
from ..optim.clipping import clip_by_global_norm
from .data import Part
from .recipe import Recipe


@dataclass(frozen=True, eq=False)
class Inputs:
    """The leaves that a run must be given: a batch of rows, and the number of the step."""

    x: Tensor
    target: Tensor
    weight: Tensor | None
    seed: Tensor = field(default_factory=lambda: scalar(0, name="seed", dtype="int"))
    step: Tensor = field(default_factory=lambda: scalar(0, name="step", dtype="int"))
    t: Tensor = field(default_factory=lambda: scalar(1.0, name="t"))


def inputs(features: int, target_columns: int | None, weighted: bool) -> Inputs:
    """Leaves for that many features; targets are class numbers where they have no columns."""
    return Inputs(
        batch(features),
        batch(dtype="int", name="t") if target_columns is None else batch(target_columns, name="t"),
        batch(name="weight") if weighted else None,
    )


def columns(given: Inputs, data: Part) -> dict[Tensor, Array]:
    """The data for each leaf that reads rows."""
    pairs = [(given.x, data.X), (given.target, data.y), (given.weight, data.weight)]
    return {leaf: array for leaf, array in pairs if leaf is not None and array is not None}


def training_program(recipe: Recipe, given: Inputs) -> Program:
    """One step: forwards, backwards, and every parameter's update."""
    context = Training(given.seed, given.step)
    outputs = _losses(recipe, given, recipe.model(given.x, context))
    mean_loss = outputs["loss"] / ops.maximum(outputs["weight"], TINY)
    gradients = dict(zip(recipe.slots, grad(mean_loss, list(recipe.slots)), strict=True))
    if recipe.largest_norm is not None:
        gradients = clip_by_global_norm(gradients, recipe.largest_norm)
    updates, rule = dict(context.updates), recipe.rule
    for W, slots in recipe.slots.items():
        dW, start = gradients[W], W
        if recipe.decay.applies_to(W):
            dW, start = recipe.decay.gradient(W, dW), recipe.decay.weight(W, rule.lr)
        updates |= zip((W, *slots), rule.update(start, dW, given.t, *slots), strict=True)
    return Program(outputs, updates, watched="loss")


def evaluation_program(recipe: Recipe, given: Inputs) -> Program:
    """The loss and the metrics; nothing is random and nothing changes."""
    return Program(_losses(recipe, given, recipe.model(given.x)), {})


BUILDERS = {"training": training_program, "evaluation": evaluation_program}
"""The programs that read targets, by what they are for."""


def output_columns(model: Layer, features: int) -> int:
    """How many outputs the network has for that many features."""
    shape = model(batch(features)).shape
    if len(shape) != 2 or shape[0] is not N or not isinstance(shape[1], int):
        raise ShapeError(f"the network gives {shapes.text(shape)}, expected [N, outputs]")
    return shape[1]


def _losses(recipe: Recipe, given: Inputs, Y: Tensor) -> dict[str, Tensor]:
    """Sums over the batch: of losses, weights, and metrics, each row by its weight."""
    T = given.target
    weights = [w for w in (given.weight, recipe.loss.row_weights(Y, T)) if w is not None]
    weight = None if not weights else weights[0] if len(weights) == 1 else weights[0] * weights[1]
    rows = {"loss": recipe.loss.rows(Y, T)}
    rows |= {metric.name: metric.rows(Y, T, recipe.loss.target) for metric in recipe.metrics}
    for name, value in rows.items():
        if value.shape != (N,):
            raise ShapeError(f"{name} is {shapes.text(value.shape)}, expected a number a row, [N]")
    total = ops.rows() if weight is None else weight.sum()
    sums = {
        name: (value if weight is None else weight * value).sum() for name, value in rows.items()
    }
    return {**sums, "weight": total}
