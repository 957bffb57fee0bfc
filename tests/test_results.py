"""Results against the book's, on real data."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.source import open_source

DATA = Path(os.environ.get("CHAINRULE_DATA", "no data"))
with_data = pytest.mark.skipif(not DATA.is_dir(), reason="CHAINRULE_DATA names no folder")


@with_data
@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_books_network_reads_mnist(engine):
    """784-50-10, SGD 0.1, batch 100, 10,000 iterations: the book's notebook ends at 0.969."""
    mnist = open_source(DATA / "mnist")
    net = nn.Sequential(nn.Rescale(mnist.factor), nn.Affine(784, 50), nn.ReLU(), nn.Affine(50, 10))
    trainer = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(lr=0.1), engine=engine)
    trainer.fit(mnist.train.X, mnist.train.y, epochs=16, batch_size=100)
    trainer.fit(mnist.train.X[:40_000], mnist.train.y[:40_000], epochs=1, batch_size=100)
    assert trainer.session.steps_done == 10_000
    assert trainer.evaluate(mnist.test.X, mnist.test.y)["accuracy"] >= 0.965


@with_data
def test_a_regression_beats_its_published_baseline():
    """uci_energy, 50 ReLU units, 40 epochs, official splits: deep ensembles reach an RMSE of 2.09,
    a plain net 0.967."""
    folder = DATA / "uci_energy"
    table = np.genfromtxt(folder / "data.csv.gz", delimiter=",", skip_header=1)
    splits = np.loadtxt(folder / "test_indices.txt.gz", dtype=int)
    scores = []
    for seed, test in enumerate(splits[:5]):
        train = np.setdiff1d(np.arange(len(table)), test)
        mean, std = table[train].mean(axis=0), table[train].std(axis=0)
        scaled = (table - mean) / std
        net = nn.Sequential(nn.Affine(8, 50), nn.ReLU(), nn.Affine(50, 1))
        trainer = cr.Trainer(net, nn.MeanSquaredError(), optim.Adam(lr=0.01), seed=seed)
        trainer.fit(scaled[train, :8], scaled[train, 8], epochs=40, batch_size=32)
        scores.append(trainer.evaluate(scaled[test, :8], scaled[test, 8])["rmse"] * std[8])
    assert np.mean(scores) < 1.2


def test_sigmoid_layers_with_the_books_initial_values_keep_their_spread():
    """Figures 6-10 to 6-14: five layers of 100; std 1 saturates, 0.01 collapses, Xavier spreads."""
    x = np.random.default_rng(0).normal(size=(1000, 100))
    spread = {}
    for init in (1.0, 0.01, "xavier"):
        layers = [layer for _ in range(5) for layer in (nn.Affine(100, 100, init), nn.Sigmoid())]
        net, X = nn.Sequential(*layers), cr.batch(100)
        spread[init] = net(X).numpy({X: x} | nn.initial_values(net)).std()
    assert spread[1.0] > 0.3
    assert spread[0.01] < 0.02
    assert 0.05 < spread["xavier"] < 0.3


def test_import_is_light():
    """No heavy library at import: scikit-learn alone takes a second."""
    heavy = "llvmlite", "sklearn", "scipy", "rich", "click", "safetensors", "matplotlib", "polars"
    code = f"import sys, chainrule; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
