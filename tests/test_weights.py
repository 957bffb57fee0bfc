"""Weights of rows and classes: what they change, and what they do not."""

import numpy as np
import pytest
from test_trainer import rows, same

import chainrule as cr
from chainrule import nn, optim

ENGINES = pytest.mark.parametrize("engine", ["compiled", "reference"])


def linear(loss, features=4, outputs=3, rate=0.1, **settings):
    model = nn.Sequential(nn.Affine(features, outputs))
    return cr.Trainer(model, loss, optim.SGD(lr=rate), **settings)


@ENGINES
def test_class_weights_are_no_part_of_a_metric(engine):
    """keras#8591: an accuracy is the share of rows that predict has right."""
    X, y = rows(200)
    loss = nn.SoftmaxCrossEntropy(class_weight=[1, 50, 1])
    t = linear(loss, engine=engine)
    history = t.fit(X, y, epochs=3, validation_data=(X, y))
    right = float((t.predict(X).argmax(axis=1) == y).mean())
    assert t.evaluate(X, y)["accuracy"] == pytest.approx(right, rel=1e-6)
    assert history["val_accuracy"][-1] == pytest.approx(right, rel=1e-6)
    weight = np.linspace(1, 2, 200)
    weighted = np.average(t.predict(X).argmax(axis=1) == y, weights=weight)
    assert t.evaluate(X, y, weight)["accuracy"] == pytest.approx(weighted, rel=1e-6)


@ENGINES
@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1.0, 1e20, 1e35])
def test_only_the_ratios_of_weights_count(engine, scale):
    X, y = rows(60)
    weight = np.random.default_rng(0).uniform(0.1, 3.0, 60)
    found = []
    for factor in (1.0, scale):
        t = linear(nn.SoftmaxCrossEntropy(), engine=engine)
        t.fit(X, y, epochs=2, batch_size=16, sample_weight=weight * factor)
        found.append((t.weights()["0.W"], t.evaluate(X, y, weight * factor)["loss"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:X, column 0, is of the size")
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_only_the_ratios_of_class_weights_count(scale):
    X, y = rows(60)
    found = []
    for factor in (1.0, scale):
        t = linear(nn.SoftmaxCrossEntropy(class_weight=[factor, 5 * factor, 2 * factor]))
        t.fit(1e3 * X, y, epochs=2, batch_size=16)
        found.append((t.weights()["0.W"], t.evaluate(1e3 * X, y)["loss"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-6)


def test_no_weight_at_all_is_no_score():
    X, y = rows(60)
    t = linear(nn.SoftmaxCrossEntropy(class_weight=[0, 1, 1]))
    with pytest.raises(cr.InputError, match="class_weight is 0 for the classes of all rows"):
        t.fit(X, y * 0)
    t.fit(X, y, epochs=1)
    scores = t.evaluate(X, y * 0)
    assert np.isnan(scores["loss"])
    assert 0.0 <= scores["accuracy"] <= 1.0


@ENGINES
@pytest.mark.parametrize("filling", [9.96921e36, np.nan, np.inf])
def test_rows_of_weight_zero_are_not_there(engine, filling):
    """Whatever is in them: they are in no batch, no mean and no check."""
    X, y = rows(64)
    weight = np.random.default_rng(1).uniform(0.5, 1.5, 64)
    out = np.arange(64) % 5 == 0
    weight[out] = 0.0
    bad = np.where(out[:, None], filling, X)
    with_them, without = linear(nn.SoftmaxCrossEntropy(), engine=engine), None
    with_them.fit(bad, y, epochs=3, batch_size=16, sample_weight=weight)
    without = linear(nn.SoftmaxCrossEntropy(), engine=engine)
    without.fit(X[~out], y[~out], epochs=3, batch_size=16, sample_weight=weight[~out])
    assert same(with_them.weights(), without.weights())
    assert with_them.evaluate(bad, y, weight) == without.evaluate(X[~out], y[~out], weight[~out])


def test_errors_count_the_rows_of_weight_zero_too():
    X, y = rows(10)
    weight = np.ones(10)
    weight[:4] = 0.0
    X[6, 2] = np.nan
    with pytest.raises(cr.InputError, match="X at row 6, column 2 is nan"):
        linear(nn.SoftmaxCrossEntropy()).fit(X, y, sample_weight=weight)
    y[7] = 9
    X[6, 2] = 0.0
    with pytest.raises(cr.InputError, match="y at row 7 is 9"):
        linear(nn.SoftmaxCrossEntropy()).fit(X, y, sample_weight=weight)


def pulled(batch, normalize, class_weight):
    """A bias alone, trained by batches of that size on one row in ten of class 1; the odds."""
    random = np.random.default_rng(0)
    y = (random.random(2000) < 0.1).astype(float)
    loss = nn.SigmoidCrossEntropy(class_weight=class_weight, normalize=normalize)
    t = linear(loss, 1, 1, optim.Cosine(0.05 if batch < 100 else 1.0))
    t.fit(np.zeros((2000, 1)), y, epochs=5 if batch < 100 else 600, batch_size=batch)
    return float(np.exp(t.weights()["0.b"][0])), y.mean()


@pytest.mark.parametrize("batch", [1, 8, 2000])
def test_class_weights_act_in_batches_of_any_size(batch):
    """The minimum of Σ c·loss is where the odds are c₁·p/(c₀·(1 − p))."""
    odds, p = pulled(batch, "data", (1, 9))
    assert odds == pytest.approx(9 * p / (1 - p), rel=0.15)


def test_divided_by_the_weights_of_the_batch_they_cancel_in_a_batch_of_one_row():
    """As in scikit-learn and PyTorch."""
    odds, p = pulled(1, "batch", (1, 9))
    assert odds == pytest.approx(p / (1 - p), rel=0.15)
    odds, p = pulled(2000, "batch", (1, 9))
    assert odds == pytest.approx(9 * p / (1 - p), rel=0.05)


def test_a_step_of_all_rows_is_the_same_by_either():
    X, y = rows(50)
    found = []
    for normalize in ("data", "batch"):
        loss = nn.SoftmaxCrossEntropy(class_weight=[1, 5, 2], normalize=normalize)
        t = linear(loss, dtype="float64")
        t.fit(X, y, epochs=2, batch_size=50, sample_weight=np.linspace(1, 3, 50))
        found.append(t.weights()["0.W"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_class_weights_whose_sum_leaves_float32_are_refused():
    for weights in ((1e-11, 1.0), (1e11, 1.0)):
        with pytest.raises(cr.InputError, match="expected 0 or 1e-10 to 1e"):
            nn.SigmoidCrossEntropy(class_weight=weights)
    with pytest.raises(cr.InputError, match="normalize is 'rows', expected 'data' or 'batch'"):
        nn.Huber(normalize="rows")
