"""Warnings about input that is valid and hardly meant: one each, with the way out."""

import warnings

import numpy as np
import pytest
from test_trainer import rows, trainer

import chainrule as cr
from chainrule import nn, optim


def net(*layers, loss=None, **settings):
    return cr.Trainer(nn.Sequential(*layers), loss or "cross_entropy", "sgd", **settings)


def advice(function):
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        function()
    assert all(warning.category is cr.Advice for warning in told)
    assert all(warning.filename == __file__ for warning in told)  # the user's line
    return [str(warning.message) for warning in told]


def test_a_softmax_before_a_loss_that_has_one():
    (told,) = advice(lambda: net(nn.Affine(4, 3), nn.Softmax()))
    assert "SoftmaxCrossEntropy has one inside: leave the layer out" in told
    (told,) = advice(
        lambda: net(nn.Residual(nn.Sequential(nn.Affine(2, 2), nn.Sigmoid())),
                    loss="binary_cross_entropy")
    )  # fmt: skip
    assert "ends with Sigmoid()" in told
    assert not advice(lambda: net(nn.Affine(4, 3), nn.Softmax(), loss="mse"))
    assert not advice(lambda: net(nn.Softmax(), nn.Affine(4, 3)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_pixels_that_nothing_rescales(dtype):
    X = np.random.default_rng(0).integers(0, 256, (50, 4)).astype(dtype)
    y = np.arange(50) % 3
    (told,) = advice(lambda: net(nn.Affine(4, 3)).fit(X, y, epochs=1))
    assert "no layer rescales them: put nn.Rescale(1 / 255) first" in told
    for first in (nn.Rescale(1 / 255), nn.BatchNorm(4)):
        assert not advice(lambda first=first: net(first, nn.Affine(4, 3)).fit(X, y, epochs=1))
    if dtype is not np.uint8:
        assert not advice(lambda: net(nn.Affine(4, 3)).fit(X / 255.0, y, epochs=1))
        assert not advice(lambda: net(nn.Affine(4, 3)).fit(X % 17, y, epochs=1))


@pytest.mark.parametrize(("mean", "std"), [(3e5, 1e5), (0.0, 1e-6)])
def test_a_target_far_from_one(mean, std):
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = mean + std * X[:, 0]

    def fit(*layers):
        cr.Trainer(nn.Sequential(nn.Affine(2, 1), *layers), "mse", optim.SGD(1e-12)).fit(X, y)

    (told,) = advice(fit)
    size = "10^5" if mean else "10^-7"
    assert told == (
        f"y is of the size {size}, and networks learn targets near 0 ± 1: train on "
        "(y - y.mean(axis=0)) / y.std(axis=0)"
    )
    assert not advice(lambda: fit(nn.Rescale(1e5)))  # the model brings it there itself


def test_what_a_callback_returns_by_accident_ends_nothing():
    X, y = rows()
    t = trainer()
    (told,) = set(advice(lambda: t.fit(X, y, epochs=3, callbacks=[lambda t, row: row["loss"]])))
    assert "which ends nothing: return True to end training" in told
    assert t.history.epochs == 3
    for answer in (True, np.True_):
        assert t.fit(X, y, epochs=9, callbacks=[lambda t, row, a=answer: a]).stopped
    assert t.history.epochs == 5
    assert not t.fit(X, y, epochs=2, callbacks=[lambda t, row: np.False_]).stopped


def test_a_model_that_nobody_trained():
    X, y = rows()
    for call, name in (
        (lambda t: t.predict(X), "predict"),
        (lambda t: t.probabilities(X), "probabilities"),
        (lambda t: t.evaluate(X, y), "evaluate"),
    ):
        (told,) = advice(lambda call=call: call(trainer()))
        assert told.startswith(f"{name}: the model has its initial values")
        assert "trainer.initialize(X)" in told
        assert not advice(lambda call=call: call(trainer().initialize(X)))
    t = trainer()
    t.set_weights({"0.b": np.ones(8)})
    assert not advice(lambda: t.predict(X))


def test_batches_of_one_row_and_batch_norm():
    X, y = rows()
    (told,) = advice(lambda: trainer().fit(X, y, epochs=1, batch_size=1))
    assert "take a batch_size of 2 or more" in told
    assert not advice(lambda: net(nn.Affine(4, 3)).fit(X, y, epochs=1, batch_size=1))


def test_what_cannot_be_saved_is_told_before_it_is_trained():
    X, y = rows()
    t = trainer(optim.SGD(lr=lambda epoch, epochs: 0.1))
    (told,) = advice(lambda: t.fit(X, y, epochs=1))
    assert "can be trained, not saved: the function" in told
    assert not advice(lambda: t.fit(X, y, epochs=1))  # once


@pytest.mark.parametrize(
    "values", [1.7e9 + np.arange(300.0), 123_456_789 + np.arange(300, dtype=np.int32)]
)
def test_a_column_that_float32_merges(values):
    other = np.arange(300) % 7
    X = np.column_stack([other.astype(values.dtype), values])
    assert X.dtype == values.dtype
    y = np.arange(300) % 3

    def fit(**settings):
        model = nn.Sequential(nn.BatchNorm(2), nn.Affine(2, 3))
        cr.Trainer(model, "cross_entropy", "sgd", **settings).fit(X, y, epochs=1)

    (told,) = advice(fit)
    assert "X, column 1: float32 merges its values, 300 of them into" in told
    assert not advice(lambda: fit(dtype="float64"))
    X[:, 1] -= X[0, 1]
    assert not advice(fit)


def test_one_value_far_away_hides_no_merged_column():
    when = 1.7e9 + np.arange(300.0)
    when[5] = 0.0
    X = np.column_stack([np.arange(300) % 7, when])
    t = net(nn.BatchNorm(2), nn.Affine(2, 3))
    (told,) = advice(lambda: t.fit(X, np.arange(300) % 3, epochs=1))
    assert "column 1: float32 merges" in told


def test_of_several_targets_the_one_is_named():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(50, 2)), random.normal(size=(50, 2)) * [1.0, 1e5] + [0.0, 1e6]
    t = cr.Trainer(nn.Sequential(nn.Affine(2, 2)), "mse", optim.SGD(1e-12))
    (told,) = advice(lambda: t.fit(X, y, epochs=1))
    assert told.startswith("y, column 1, is of the size 10^6, and networks learn")


def test_a_target_is_told_of_once_whatever_part_of_it_is_trained_on():
    X, y = np.random.default_rng(0).normal(size=(200, 2)), 3e5 + 1e4 * np.arange(200.0)
    net = cr.Trainer(nn.Sequential(nn.Affine(2, 1)), "mse", optim.SGD(1e-12))
    assert len(set(advice(lambda: [net.fit(X[i:], y[i:], epochs=1) for i in range(5)]))) == 1


def test_numbers_to_predict_that_float32_merges():
    X, y = np.random.default_rng(0).normal(size=(40, 2)), 1e9 + np.arange(40.0)

    def fit(**settings):
        model = nn.Sequential(nn.Affine(2, 1), nn.Rescale(1e9))
        cr.Trainer(model, "mse", optim.SGD(1e-30), **settings).fit(X, y, epochs=1)

    (told,) = advice(fit)
    assert "y, column 0: float32 merges its values, 40 of them into 2: subtract" in told
    assert not advice(lambda: fit(dtype="float64"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_column_far_from_one(dtype):
    large = 1e200 if dtype == "float64" else 1e30
    X, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 3

    def fit(scale, *first):
        model = nn.Sequential(*first, nn.Affine(3, 3))
        cr.Trainer(model, "cross_entropy", optim.SGD(0.0), dtype=dtype).fit(
            X * [1, 1, scale], y, epochs=1
        )

    for scale, size in ((5000.0, "10^3"), (large, "10^" + str(round(np.log10(large)) - 1))):
        (told,) = advice(lambda scale=scale: fit(scale))
        assert told.startswith(f"X, column 2, is of the size {size}, and networks learn from")
        assert "or put nn.BatchNorm first in the model" in told
    assert not advice(lambda: fit(20.0))
    assert not advice(lambda: fit(5000.0, nn.BatchNorm(3)))


def test_the_column_of_a_frame_is_named():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"size": np.arange(9.0), "when": 1.7e9 + np.arange(9.0)})
    t = net(nn.BatchNorm(2), nn.Affine(2, 3))
    (told,) = advice(lambda: t.fit(frame, np.arange(9) % 3, epochs=1))
    assert "X, column 'when': float32 merges" in told
    frame = frame.with_columns(size=polars.Series([None, *range(8)]))
    with pytest.raises(cr.InputError, match="X at row 0, column 'size' is nan"):
        t.fit(frame, np.arange(9) % 3)
