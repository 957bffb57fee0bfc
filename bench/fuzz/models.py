"""Model files: other bytes, or another description under a checksum that is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from .kind import Kind, Wrong, command
from .mutations import KEYS, VALUES, at, of_bytes, of_values, places, shown

NAME = "net.safetensors"
MOST_FEATURES = 10_000


def described(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """A model file with another description, and the checksum of that."""
    from safetensors import deserialize
    from safetensors.numpy import load, save

    from chainrule.training import model_file

    assert deserialize(data)
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    _, _, text = metadata[model_file.KEY].partition(" ")
    json_text = json.dumps(change(json.loads(text))).encode()
    return model_file.encoded(json_text, tensors, save)


def nested(depth: int) -> dict[str, Any]:
    """A layer within so many others."""
    layer: dict[str, Any] = {"kind": "ReLU"}
    for _ in range(depth):
        layer = {"kind": "Residual", "body": layer}
    return layer


def parts() -> tuple[Any, ...]:
    """Parts that may stand where others stood: base classes, kinds of another place, deep ones."""
    from chainrule.spec import KINDS

    found: list[Any] = [{"kind": name} for name in KINDS]
    found += [{"kind": name, "lr": 0.1} for name in ("Constant", "Cosine", "Adam", "Optimizer")]
    found += [{"kind": "Sequential", "layers": layers} for layers in ([], [None], "ab", [[]], {})]
    found += [
        {"kind": "Residual", "body": body} for body in (None, 3, {"kind": "MeanSquaredError"})
    ]
    found += [{"kind": "Affine", "inputs": n, "outputs": n} for n in (0, 2**31 - 1, 10**12, "a")]
    found += [{"kind": "Average", "members": [{"kind": "ReLU"}], "loss": {"kind": "ReLU"}}]
    found += [nested(50), nested(450), {"kind": "Trainer"}, {"kind": "Residual", "same_as": 0}]
    found += [{"same_as": n} for n in range(6)]
    return tuple(found)


class Models(Kind):
    """`load`, `predict`, and the commands `inspect` and `report`, of a file."""

    count = 2_000

    def __init__(self) -> None:
        self._parts: tuple[Any, ...] = ()

    def prepare(self, base: Path) -> None:
        """Train and save a few small models."""
        from chainrule import Trainer, nn, optim

        random = np.random.default_rng(0)
        X, y = random.normal(size=(40, 4)), np.arange(40) % 3
        body = nn.Sequential(nn.Affine(6, 6, init="he"), nn.BatchNorm(6), nn.Tanh())
        classes = nn.Sequential(
            nn.Rescale(0.5), nn.Affine(4, 6), nn.BatchNorm(6), nn.ReLU(), nn.Residual(body),
            nn.Residual(body), nn.Dropout(optim.Piecewise(((0.0, 0.1), (3.0, 0.3)))),
            nn.Affine(6, 3),
        )  # fmt: skip
        loss = nn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight=[1, 2, 3])
        rate = optim.Warmup(1, optim.Step(0.01, every=1, factor=0.5))
        members = [nn.Sequential(nn.Affine(4, 3), nn.LeakyReLU(0.1)) for _ in range(2)]
        trainers = [
            Trainer(classes, loss, optim.AdamW(rate), clip_norm=1.0, engine="reference"),
            Trainer(nn.Average(members, nn.SoftmaxCrossEntropy()), nn.SoftmaxCrossEntropy(),
                    optim.Momentum(optim.Cosine(0.1)), weight_decay=optim.Decoupled(1e-3),
                    engine="reference"),
            Trainer(nn.Sequential(nn.Affine(4, 1)), nn.Huber(), optim.SGD(optim.OneCycle(0.1)),
                    dtype="float64", engine="reference"),
        ]  # fmt: skip
        for i, trainer in enumerate(trainers):
            trainer.fit(X, y, epochs=2, batch_size=20, validation_data=(X, y))
            trainer.notes = {"source": "rows", "rows": 40, "test": {"loss": 0.5, "accuracy": 0.9}}
            trainer.save(base / f"{i}.safetensors")

    def make(self, number: int, random: Random, base: Path, folder: Path) -> str:
        """A saved model with other bytes, or one or two other values in its description."""
        self._parts = self._parts or parts()
        which = random.choice(sorted(base.glob("*.safetensors")))
        data = which.read_bytes()
        if random.random() < 0.25:
            data, told = of_bytes(data, random, head=3_000)
        else:
            changes: list[str] = []

            def change(value: Any) -> Any:
                for _ in range(random.choice((1, 1, 2))):
                    value, how = self._changed(value, random)
                    changes.append(how)
                return value

            data = described(data, change)
            told = "; ".join(changes)
        (folder / NAME).write_bytes(data)
        return f"{which.stem}: {told}"

    def _changed(self, value: Any, random: Random) -> tuple[Any, str]:
        specs = [path for path in places(value) if path and isinstance(at(value, path), dict)]
        if not specs or random.random() < 0.7:
            return of_values(value, random, self._parts)
        if random.random() < 0.3:
            notes = {random.choice(KEYS): random.choice(VALUES) for _ in range(2)}
            return value | {"notes": notes}, f"notes = {shown(notes)}"
        # A part in another part's place: losses, schedules and base classes among the layers.
        path = random.choice(specs)
        part = random.choice(self._parts)
        at(value, path[:-1])[path[-1]] = part
        return value, f"{'.'.join(map(str, path))} = {shown(part)}"

    def run(self, folder: Path, random: Random) -> bool:
        """Read it in all the ways there are; each may refuse."""
        from chainrule import load

        refused = command("inspect", NAME, *random.choice(([], ["--json"])))
        if random.random() < 0.25:
            command("report", NAME, "--out", "page.html")
        trainer = load(NAME)
        if refused is not None:
            raise Wrong("load reads it, inspect does not")
        if random.random() < 0.3:
            trainer = load(NAME, engine="compiled")
        features = trainer.features
        if features is not None and features <= MOST_FEATURES:
            predicted = trainer.predict(np.ones((2, features)))
            if len(predicted) != 2:
                raise Wrong(f"predict gives {predicted.shape} for 2 rows")
        return True

    def may_change(self, name: str) -> bool:
        """The page of `report`."""
        return name == "page.html"
