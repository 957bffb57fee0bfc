"""The programs of training, evaluation and prediction, built from formulas."""

from __future__ import annotations

import functools
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
    loss_scale: Tensor = field(default_factory=lambda: scalar(1.0, name="loss_scale"))
    """1 / the mean weight of the training rows; see `Loss.normalize`."""
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
    Y = recipe.model(given.x, context)
    weight = _loss_weight(recipe, given, Y)
    outputs = _sums(recipe, given, Y, weight)
    if weight is None:
        mean_loss = outputs["loss"] / ops.rows()
    elif recipe.loss.normalize == "data":
        mean_loss = outputs["loss"] * (given.loss_scale / ops.rows())
    else:
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
    Y = recipe.model(given.x)
    return Program(_sums(recipe, given, Y, _loss_weight(recipe, given, Y)), {})


def weight_program(recipe: Recipe, given: Inputs) -> Program:
    """The sum of the weights of the loss."""
    weight = _loss_weight(recipe, given, recipe.model(given.x))
    return Program({"weight": ops.rows() if weight is None else weight.sum()}, {})


BUILDERS = {
    "training": training_program,
    "evaluation": evaluation_program,
    "weights": weight_program,
}
"""The programs over targets, by purpose."""


def output_columns(model: Layer, features: int) -> int:
    """How many outputs the network has for that many features."""
    shape = model(batch(features)).shape
    if len(shape) != 2 or shape[0] is not N or not isinstance(shape[1], int):
        raise ShapeError(f"the network gives {shapes.text(shape)}, expected [N, outputs]")
    return shape[1]


def _loss_weight(recipe: Recipe, given: Inputs, Y: Tensor) -> Tensor | None:
    """The weight of each row in the loss, [N]: its sample weight times that of its class."""
    weights = [w for w in (given.weight, recipe.loss.row_weights(Y, given.target)) if w is not None]
    return functools.reduce(ops.multiply, weights) if weights else None


def _sums(recipe: Recipe, given: Inputs, Y: Tensor, weight: Tensor | None) -> dict[str, Tensor]:
    """Sums over the batch: of the loss and its weights, of metrics and theirs.

    A metric describes predictions, so class weights are no part of it; sample weights are.
    """
    T = given.target
    sums = {"loss": _total("loss", recipe.loss.rows(Y, T), weight)}
    for metric in recipe.metrics:
        rows = metric.rows(Y, T, recipe.loss.target)
        sums[metric.name] = _total(metric.name, rows, given.weight)
    sums["weight"] = ops.rows() if weight is None else weight.sum()
    if weight is not given.weight:
        sums["metric weight"] = ops.rows() if given.weight is None else given.weight.sum()
    return sums


def _total(name: str, rows: Tensor, weight: Tensor | None) -> Tensor:
    if rows.shape != (N,):
        raise ShapeError(f"{name} is {shapes.text(rows.shape)}, expected a number a row, [N]")
    return (rows if weight is None else weight * rows).sum()
