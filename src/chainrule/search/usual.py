"""The usual space: what is worth trying for a dense network on any data."""

from __future__ import annotations

from collections.abc import Callable

from .. import nn
from ..nn.build import multilayer
from ..optim.named import OPTIMIZERS, SCHEDULES
from ..training.trainer import Trainer
from .space import Choice, Integer, LogUniform, Parameter, Settings, Uniform, When

USUAL: dict[str, Parameter] = {
    # AdamW decays by itself, on another scale.
    "optimizer": Choice([name for name in OPTIMIZERS if name != "adamw"]),
    "lr": LogUniform(1e-4, 1e0),
    "schedule": Choice(["constant", "cosine"]),
    "batch_size": Integer(16, 256, log=True),
    "weight_decay": LogUniform(1e-8, 1e-2),
    "layers": Integer(1, 3),
    "width": Integer(32, 512, log=True),
    "width_2": When("layers", [2, 3], Integer(32, 512, log=True)),
    "width_3": When("layers", [3], Integer(32, 512, log=True)),
    "batch_norm": Choice([True, False]),
    "dropout": Uniform(0.0, 0.5),
    "init": Choice(["he", "xavier"]),
}
"""Optimizers, rate, decay, initial values, batch norm and dropout of the book's sixth chapter, and
the form of the network."""


def builder(features: int, classes: int, factor: float) -> Callable[[Settings], Trainer]:
    """`build` for the usual space; `factor` brings the values of the rows to 0…1."""

    def build(settings: Settings) -> Trainer:
        names = ("width", "width_2", "width_3")
        model = multilayer(
            features,
            [settings[name] for name in names if name in settings],
            classes,
            batch_norm=settings["batch_norm"],
            dropout=settings["dropout"],
            init=settings["init"],
            factor=factor,
        )
        rate = SCHEDULES[settings["schedule"]](settings["lr"])
        rule = OPTIMIZERS[settings["optimizer"]](rate)
        decay = settings["weight_decay"]
        return Trainer(model, nn.SoftmaxCrossEntropy(), rule, weight_decay=decay)

    return build
