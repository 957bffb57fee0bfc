"""Runs first, in seconds: the book's apple, a network that learns, and its file."""

import numpy as np

import chainrule as cr
from chainrule import nn, optim


def test_one_apple():
    apple, count, tax = cr.parameter(100.0), cr.parameter(2.0), cr.parameter(1.1)
    price = apple * count * tax
    gradients = [float(g.numpy()) for g in cr.grad(price, [apple, count, tax])]
    np.testing.assert_allclose([float(price.numpy()), *gradients], [220.0, 2.2, 110.0, 200.0])


def test_a_network_learns_and_its_file_predicts_the_same(tmp_path):
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = nn.Sequential(nn.Affine(2, 32), nn.ReLU(), nn.Affine(32, 2))
    trainer = cr.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(lr=0.01))
    history = trainer.fit(X, y, epochs=40, batch_size=32)
    assert history["accuracy"][-1] > 0.97
    trainer.save(tmp_path / "net.safetensors")
    assert np.array_equal(cr.load(tmp_path / "net.safetensors").predict(X), trainer.predict(X))
