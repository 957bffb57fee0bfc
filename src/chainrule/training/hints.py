"""The advice of a trainer before it trains; each text names the way out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..advice import advise, is_heard
from ..errors import InputError
from ..graph.tensor import Array
from ..nn.activations import Sigmoid, Softmax
from ..nn.affine import Affine
from ..nn.batch_norm import BatchNorm
from ..nn.containers import Function, Rescale
from ..nn.layer import Layer
from ..nn.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy
from .data import Part
from .model_file import expect_loadable

if TYPE_CHECKING:
    from .trainer import Trainer

ROWS = 1000
"""The first rows tell what the values are like: to look at all takes as long as some steps."""

BYTE = 255
"""The largest pixel."""

BRIGHT = 100
"""Whole numbers up to 255 count as pixels where one of them is above it."""

LARGE_TARGET = 100.0
"""A target of this size takes Adam at a rate of 0.001 some 100,000 steps to reach."""

LARGE_FEATURE = 100.0
"""A column of this size makes a step 100 times too long for its weights."""

SMALL_TARGET = 1e-4
"""A target of this size has squared errors of 1e-8, whose gradients Adam's ε hides."""

INSIDE = {SoftmaxCrossEntropy: Softmax, SigmoidCrossEntropy: Sigmoid}
"""The activation that each loss has inside."""


def about_model(model: Layer, loss: Loss) -> None:
    """A softmax in front of a loss with a softmax inside: digits .552 in the place of .879."""
    activation = INSIDE.get(type(loss))
    if activation is not None and isinstance(_end(model, -1), activation):
        advise(
            f"the model ends with {activation.__name__}(), and {type(loss).__name__} has one "
            "inside: leave the layer out, and take trainer.probabilities(X) for probabilities"
        )


def about_data(trainer: Trainer, data: Part, batch_size: int) -> None:
    """Data that the model hardly learns from, and a model that no file can hold."""
    if not is_heard():  # to look takes 0.1 ms, a tenth of a small trial
        return
    model = trainer.model
    if isinstance(_end(model, 0), Affine):
        about_features(data)
    if trainer.loss.target == "real" and not isinstance(_end(model, -1), Rescale | Function):
        about_targets(data.y[:ROWS])
    rows = min(batch_size, len(data.X))
    if rows == 1 and any(isinstance(layer, BatchNorm) for layer in model.flat()):
        advise(
            "batches of one row: batch norm turns each into its shift, so nothing before it is "
            "learned: take a batch_size of 2 or more"
        )
    if not trainer.history.epochs and not trainer.session.is_plain:
        about_saving(trainer)


def about_features(data: Part) -> None:
    """Pixels, or columns far from 0 ± 1: one rate does not suit the weights of all columns."""
    if _are_bytes(data):
        advise(
            "X has the values of pixels, 0 to 255, and no layer rescales them: put "
            "nn.Rescale(1 / 255) first in the model"
        )
        return
    size = _sizes(data.X[:ROWS])
    odd = np.flatnonzero(size > LARGE_FEATURE)
    if len(odd):
        advise(
            f"X, {data.name.column(odd[0])}, is of the size {_power(size[odd[0]])}, and networks "
            "learn from columns near 0 ± 1: train on (X - X.mean(axis=0)) / X.std(axis=0) of the "
            "training rows, or put nn.BatchNorm first in the model"
        )


def about_targets(y: Array) -> None:
    """Targets [rows, columns] far from 0 ± 1."""
    size = _sizes(y)
    odd = np.flatnonzero((size > LARGE_TARGET) | ((size > 0.0) & (size < SMALL_TARGET)))
    if len(odd):
        name = "y" if y.shape[1] == 1 else f"y, column {odd[0]},"
        # Only the order of magnitude: another part of the rows gives the same text, which Python
        # shows once.
        advise(
            f"{name} is of the size {_power(size[odd[0]])}, and networks learn targets near 0 ± 1: "
            "train on (y - y.mean(axis=0)) / y.std(axis=0)"
        )


def about_saving(trainer: Trainer) -> None:
    """A trainer that no file can hold."""
    try:
        expect_loadable(trainer)
    except InputError as error:
        advise(f"this trainer can be trained, not saved: {error}")


def about_initial_values(what: str) -> None:
    """Nobody trained this model."""
    advise(
        f"{what}: the model has its initial values, as it was never trained: fit it, or say by "
        "trainer.initialize(X) that they are meant"
    )


def _sizes(values: Array) -> Array:
    """The root of the mean square of each column, whose squares float64 might not hold."""
    largest = np.abs(values, dtype=np.float64).max(axis=0)
    relative = np.divide(values, np.where(largest > 0.0, largest, 1.0), dtype=np.float64)
    return np.asarray(largest * np.sqrt(np.mean(np.square(relative), axis=0)))


def _power(size: float) -> str:
    """A number's order of magnitude."""
    return f"10^{math.floor(math.log10(size))}"


def _are_bytes(data: Part) -> bool:
    """Whether the first rows are pixels, by their values."""
    X = data.X[:ROWS]
    if not BRIGHT < X.max() <= BYTE:
        return False
    return X.dtype == np.uint8 or bool(X.min() >= 0 and (np.floor(X) == X).all())


def _end(model: Layer, place: int) -> Layer:
    """The first (0) or last (−1) layer without layers inside."""
    while layers := [child for _, child in model.children() if isinstance(child, Layer)]:
        model = layers[place]
    return model
