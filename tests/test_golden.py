"""What a few programs are compiled to, kept as text: a change there is seen, and agreed to.

`CHAINRULE_GOLDEN=write python -m pytest tests/test_golden.py` writes the files anew.
"""

import os
from pathlib import Path

import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.compiled import memory
from chainrule.engines.compiled.native import Host
from chainrule.engines.compiled.passes import compile_passes
from chainrule.engines.program import Program
from chainrule.training import programs

FOLDER = Path(__file__).parent / "golden"


def step(net, loss, optimizer, columns, **options):
    """The training step of a net with 8 features; `columns` of the targets, None for classes."""
    trainer = cr.Trainer(net, loss, optimizer, **options)
    given = programs.inputs(8, columns, False)
    return programs.training_program(trainer.session.recipe, given)


def book():
    net = nn.Sequential(nn.Affine(8, 50), nn.ReLU(), nn.Affine(50, 10))
    return step(net, nn.SoftmaxCrossEntropy(), optim.SGD(), None)


def normalised():
    net = nn.Sequential(
        nn.Affine(8, 64, bias=False), nn.BatchNorm(64), nn.SiLU(), nn.Dropout(0.5),
        nn.Affine(64, 32), nn.Tanh(), nn.Affine(32, 3),
    )  # fmt: skip
    return step(net, nn.MeanSquaredError(), optim.Adam(), 3, clip_norm=1.0)


def embedding():
    table, index = cr.parameter([[0.0] * 4] * 9), cr.batch(dtype="int")
    loss = cr.tanh(cr.take(table, index)).sum(axis=1).mean()
    return Program({"loss": loss}, {table: table - 0.1 * cr.grad(loss, [table])[0]})


@pytest.mark.parametrize("make", [book, normalised, embedding], ids=lambda f: f.__name__)
def test_the_stages_of_a_program(make, monkeypatch):
    monkeypatch.setattr(memory, "host", lambda: Host(16, (6, 4)))
    found = f"{compile_passes(make())}\n"
    path = FOLDER / f"{make.__name__}.txt"
    if os.environ.get("CHAINRULE_GOLDEN") == "write":
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
