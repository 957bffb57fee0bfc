"""Training: what the trainer promises around the steps."""

import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.training.early_stopping import BestSoFar
from chainrule.training.session import Snapshot


def rows(n=90, seed=0):
    """Three classes that a small net tells apart, a last short batch at 32 a batch."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    return random.normal(size=(n, 4)) + 1.5 * np.eye(3, 4)[y], y


def trainer(optimizer=None, loss=None, **settings):
    layers = nn.Affine(4, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Affine(8, 3)
    optimizer = optimizer or optim.Adam(lr=0.01)
    return cr.Trainer(
        nn.Sequential(*layers), loss or nn.SoftmaxCrossEntropy(), optimizer, **settings
    )


def same(a, b):
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_history_has_a_row_an_epoch():
    X, y = rows()
    history = trainer().fit(X, y, epochs=3, batch_size=32, validation_data=rows(seed=1))
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"}
    assert [len(column) for column in history.values()] == [3] * 5
    assert "3 epochs" in repr(history)


def test_same_seed_same_result_other_seed_other_result():
    X, y = rows()
    results = []
    for seed in (1, 1, 2):
        t = trainer(seed=seed)
        losses = t.fit(X, y, epochs=3, batch_size=32)["loss"]
        results.append((t.weights(), losses))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not same(results[0][0], results[2][0])


def test_every_row_counts_once_an_epoch_in_another_order():
    """With a rate of 0 the mean over an epoch is the loss of all rows, the short batch included."""
    X, y = rows(70)
    net = nn.Sequential(nn.Affine(4, 3))
    t = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(lr=0.0), dtype="float64")
    losses = t.fit(X, y, epochs=2, batch_size=32)["loss"]
    np.testing.assert_allclose(losses, t.evaluate(X, y)["loss"], rtol=1e-12)
    first, second = t.session.engine.orders(70, t.seed, range(2))
    assert not np.array_equal(first, second)
    assert sorted(first) == sorted(second) == list(range(70))


def test_a_long_run_is_cut_into_chunks_without_changing_it(monkeypatch):
    X, y = rows()
    whole = trainer()
    whole.fit(X, y, epochs=2, batch_size=4)
    monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", 0.0)
    parts, looks = trainer(), []
    history = parts.fit(X, y, epochs=2, batch_size=4, progress=looks.append)
    assert len(looks) == 2 * 22  # of 23 steps; the last batch is short, and not run by itself
    assert (looks[-1].epoch, looks[-1].step, looks[-1].steps) == (2, 23, 23)
    assert same(whole.weights(), parts.weights())
    assert history["loss"] == whole.history["loss"]


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_epochs_at_one_go_are_what_they_are_one_at_a_time(engine):
    """With a short last batch, a schedule, dropout, and moments that count the steps."""
    X, y = rows()
    runs = []
    for callbacks in ([], [lambda trainer, row: None]):
        t, looks = trainer(optim.Adam(lr=optim.Cosine(0.05)), engine=engine), []
        history = t.fit(X, y, epochs=7, batch_size=32, callbacks=callbacks, progress=looks.append)
        runs.append((t.weights(), history["loss"], history["accuracy"], looks))
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1:3] == runs[1][1:3]
    assert [look.epoch for look in runs[0][3]] == [7]  # and that was at one go
    assert [look.epoch for look in runs[1][3]] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_of_epochs_at_one_go_the_good_ones_are_kept():
    """A rate that grows ten-thousandfold an epoch: from some epoch on the loss is not finite."""
    X, y = rows()
    ends = []
    for callbacks in ([], [lambda trainer, row: None]):
        t = trainer(optim.SGD(lr=lambda epoch, epochs: 1e-2 * 1e4**epoch))
        with pytest.raises(cr.TrainingError) as told:
            t.fit(X, y, epochs=30, batch_size=32, callbacks=callbacks)
        ends.append((str(told.value), t.history["loss"], t.weights()))
    assert ends[0][:2] == ends[1][:2]
    assert len(ends[0][1]) > 1
    assert same(ends[0][2], ends[1][2])


def test_epochs_at_one_go_are_as_many_as_take_a_tenth_of_a_second(monkeypatch):
    """All counts that they take, not the machine code alone: here 5 ms to shuffle."""

    orders = CompiledEngine.orders

    def slow(self, rows, seed, epochs):
        time.sleep(0.005 * len(epochs))
        return orders(self, rows, seed, epochs)

    monkeypatch.setattr(CompiledEngine, "orders", slow)
    X, y = rows()
    looks = []
    trainer().fit(X, y, epochs=150, batch_size=32, progress=looks.append)
    epochs = [look.epoch for look in looks]
    assert max(b - a for a, b in itertools.pairwise(epochs)) <= 20


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_a_schedule_that_fails_leaves_the_epochs_before_it():
    X, y = rows()
    for callbacks in ([], [lambda trainer, row: None]):
        t = trainer(optim.SGD(lr=lambda epoch, epochs: 0.1 if epoch < 5 else -1.0))
        with pytest.raises(cr.InputError, match=r"is -1.0 at epoch 5, not in \[0, inf\)"):
            t.fit(X, y, epochs=30, batch_size=32, callbacks=callbacks)
        assert t.history.epochs == 5
        assert t.session.steps_done == 15


def test_what_progress_raises_leaves_history_and_weights_together():
    def spoil(progress):
        raise cr.TrainingError("no")

    X, y = rows()
    t, whole = trainer(), trainer()
    with pytest.raises(cr.TrainingError, match="no"):
        t.fit(X, y, epochs=4, batch_size=32, progress=spoil)
    assert (t.history.epochs, t.session.steps_done) == (4, 12)
    whole.fit(X, y, epochs=4, batch_size=32)
    assert same(t.weights(), whole.weights())


def test_to_stop_is_said_once(monkeypatch):
    """While validating, and not again."""
    monkeypatch.setattr("chainrule.training.session.ROWS_AT_ONCE", 10)
    monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", 0.0)
    X, y = rows(90)
    t, answers = trainer(), [True]
    history = t.fit(
        X, y, epochs=4, validation_data=(X, y), stop=lambda: bool(answers and answers.pop())
    )
    assert history.epochs == 1
    assert history.stopped.startswith("stopped after epoch 1")


def test_somebody_else_can_stop_training(monkeypatch):
    X, y = rows()
    t, asked = trainer(), []
    history = t.fit(X, y, epochs=1_000_000, stop=lambda: asked.append(1) or len(asked) == 3)
    assert 3 <= history.epochs < 1_000_000
    assert (
        history.stopped == f"stopped after epoch {history.epochs}; the model keeps what it learned"
    )
    assert not history.interrupted
    monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", 0.0)
    again = trainer()
    assert again.fit(X, y, epochs=5, batch_size=10, stop=lambda: True).epochs == 0
    assert again.history.stopped.startswith("stopped in epoch 1 after 1 of 9 steps")


@pytest.mark.parametrize(
    "given", [{"callbacks": [None]}, {"callbacks": ["x"]}, {"progress": 1}, {"stop": 1}]
)
def test_what_is_called_back_must_be_a_function(given):
    with pytest.raises(cr.InputError, match=r"fit: .* is no function to call back"):
        trainer().fit(*rows(), **given)


def test_two_fits_are_one_fit():
    X, y = rows()
    rate = optim.Cosine(0.01)
    whole, halves = trainer(optim.Adam(lr=rate)), trainer(optim.Adam(lr=0.01))
    whole.fit(X, y, epochs=4, batch_size=32)
    assert not same(whole.weights(), halves.weights())
    constant = trainer()
    constant.fit(X, y, epochs=4, batch_size=32)
    halves.fit(X, y, epochs=1, batch_size=32)
    halves.fit(X, y, epochs=3, batch_size=32)
    assert same(constant.weights(), halves.weights())


def test_one_model_can_be_trained_by_two_trainers():
    X, y = rows()
    model = nn.Sequential(nn.Affine(4, 3))
    alone, beside = (cr.Trainer(model, nn.SoftmaxCrossEntropy(), optim.SGD()) for _ in range(2))
    alone.fit(X, y, epochs=2)
    assert not same(alone.weights(), beside.weights())
    beside.fit(X, y, epochs=2)
    assert same(alone.weights(), beside.weights())


def test_threads_train_side_by_side():
    X, y = rows()
    expected = trainer(seed=3)
    expected.fit(X, y, epochs=3)
    found = [trainer(seed=3) for _ in range(4)]
    threads = [threading.Thread(target=t.fit, args=(X, y), kwargs={"epochs": 3}) for t in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(expected.weights(), t.weights()) for t in found)


def test_early_stopping_restores_the_best_epoch():
    X, y = rows(60)
    t = trainer(optim.Adam(lr=0.1))
    kept = {}
    history = t.fit(
        X,
        y,
        epochs=200,
        batch_size=32,
        validation_data=rows(60, seed=1),
        early_stopping=cr.EarlyStopping(patience=5),
        callbacks=[lambda t, row: kept.update({t.history.epochs: t.weights()})],
    )
    best = int(np.argmin(history["val_loss"])) + 1
    assert history.epochs == best + 5 < 200
    assert same(t.weights(), kept[best])
    assert f"best in epoch {best}" in history.stopped
    np.testing.assert_allclose(
        t.evaluate(*rows(60, seed=1))["loss"], min(history["val_loss"]), rtol=1e-12
    )


def test_early_stopping_counts_accuracy_upwards_and_wants_a_known_monitor():
    assert cr.EarlyStopping(monitor="val_accuracy").improved(0.9, 0.8)
    assert not cr.EarlyStopping(monitor="val_accuracy").improved(0.7, 0.8)
    assert not cr.EarlyStopping(min_delta=0.1).improved(0.75, 0.8)
    X, y = rows()
    with pytest.raises(cr.InputError, match=r"'val_loss', there is loss.*give validation_data"):
        trainer().fit(X, y, early_stopping=cr.EarlyStopping())


def test_a_callback_ends_training():
    X, y = rows()
    history = trainer().fit(X, y, epochs=9, callbacks=[lambda t, row: t.history.epochs == 2])
    assert history.epochs == 2
    assert history.stopped == "a callback ended it"


def diverging(epoch, epochs):
    return 0.01 if epoch < 2 else 1e30


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_a_loss_that_is_not_finite_restores_the_last_good_epoch():
    X, y = rows()
    t, good = trainer(optim.SGD(lr=diverging)), trainer(optim.SGD(lr=0.01))
    good.fit(X, y, epochs=2, batch_size=32)
    with pytest.raises(cr.TrainingError) as error:
        t.fit(X, y, epochs=9, batch_size=32)
    message = str(error.value)
    assert "in epoch 3 at step 2" in message
    assert "last finite loss was" in message
    assert message.endswith("as they were at the end of epoch 2")
    assert same(t.weights(), good.weights())
    assert t.history.epochs == 2
    assert t.session.steps_done == good.session.steps_done


def test_weights_that_are_not_finite_after_the_last_step_are_noticed():
    X, y = rows()
    t = trainer(optim.SGD(lr=1e39))
    with pytest.raises(cr.TrainingError, match="as they were before training"):
        t.fit(X, y, epochs=1, batch_size=len(X))
    assert all(np.isfinite(value).all() for value in t.weights().values())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
def test_ctrl_c_leaves_a_usable_model_and_says_so(monkeypatch):
    monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", 0.0)  # at every step
    X, y = rows()
    t = trainer()
    asked = []

    def press(progress):
        if progress.epoch == 2 and not asked:
            asked.append(progress.step)
            os.kill(os.getpid(), signal.SIGINT)

    with (
        pytest.warns(
            cr.Interrupted, match=r"interrupted in epoch 2 after 1 of 90 steps; the model keeps"
        ),
        pytest.warns(cr.Advice, match="batches of one row: batch norm turns each into its shift"),
    ):
        history = t.fit(X, y, epochs=1000, batch_size=1, progress=press)
    assert history.epochs == 1
    assert np.isfinite(t.predict(X)).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert t.fit(X, y, epochs=1).stopped == ""


def test_ctrl_c_while_validating_is_answered_there(monkeypatch):
    X, y = rows(90)
    monkeypatch.setattr("chainrule.training.session.ROWS_AT_ONCE", 10)
    monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", 0.0)
    t = trainer()
    scores, run = t.session.scores, []

    def slow(data, stop):
        os.kill(os.getpid(), signal.SIGINT)
        run.append(scores(data, stop))
        return run[-1]

    monkeypatch.setattr(t.session, "scores", slow)
    stopping = cr.EarlyStopping(monitor="val_loss")
    with pytest.warns(cr.Interrupted, match="interrupted after epoch 1; the model keeps"):
        history = t.fit(X, y, epochs=9, validation_data=(X, y), early_stopping=stopping)
    assert run == [{}]
    assert history.epochs == 1
    assert np.isnan(history["val_loss"]).all()


def test_sample_weights_are_repeated_rows():
    X, y = rows(30)
    weight = np.arange(30) % 3
    repeated = np.repeat(np.arange(30), weight)
    kinds = (nn.SoftmaxCrossEntropy(), (X, y, weight)), (nn.SoftmaxCrossEntropy(), None)
    results = []
    for loss, weighted in kinds:
        net = nn.Sequential(nn.Affine(4, 3))
        t = cr.Trainer(net, loss, optim.SGD(lr=0.1), dtype="float64")
        data = (X, y) if weighted else (X[repeated], y[repeated])
        t.fit(*data, epochs=1, batch_size=100, sample_weight=weight if weighted else None)
        results.append((t.weights(), t.history["loss"], t.history["accuracy"]))
    for a, b in zip(results[0][0].values(), results[1][0].values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(results[0][1:], results[1][1:], rtol=1e-12)


def test_metrics_match_scikit_learn():
    from sklearn import metrics

    random = np.random.default_rng(0)
    X, y = random.normal(size=(50, 4)), random.normal(size=50)
    net = nn.Sequential(nn.Affine(4, 1))
    t = cr.Trainer(net, nn.MeanSquaredError(), optim.SGD(), metrics=["rmse", "mae"]).initialize(X)
    found, Y = t.evaluate(X, y), t.predict(X)[:, 0]
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, Y), rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, Y), rel=1e-5)
    labels = random.integers(0, 2, (50, 3))
    many = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), nn.SigmoidCrossEntropy(), optim.SGD())
    many.initialize(X)
    expected = ((many.predict(X) > 0) == labels).mean()
    assert many.evaluate(X, labels)["accuracy"] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(many.probabilities(X), 1 / (1 + np.exp(-many.predict(X))), rtol=1e-5)


def test_predict_gives_float32_rows_in_order():
    X, _ = rows(2500)
    t = trainer().initialize(X)
    Y = t.predict(X)
    assert (Y.dtype, Y.shape) == (np.float32, (2500, 3))
    np.testing.assert_allclose(Y[2400:2410], t.predict(X[2400:2410]), rtol=1e-5, atol=1e-6)
    assert t.predict(X[:0]).shape == (0, 3)
    np.testing.assert_allclose(t.probabilities(X).sum(axis=1), 1.0, rtol=1e-5)


def test_bytes_stay_bytes():
    X = np.random.default_rng(0).integers(0, 256, (64, 4), dtype=np.uint8)
    t = trainer()
    assert t._features(X) is X
    floats = trainer()
    for net, given in ((t, X), (floats, X.astype(np.float64))):
        with pytest.warns(cr.Advice, match=r"pixels, 0 to 255.*put nn.Rescale\(1 / 255\) first"):
            net.fit(given, X[:, 0] % 3, epochs=1)
    assert same(t.weights(), floats.weights())


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_schedules_move_the_rate_without_another_program():
    X, y = rows()
    seen = []

    def rate(epoch, epochs):
        seen.append((epoch, epochs))
        return 0.01

    t = trainer(optim.SGD(lr=rate))
    t.fit(X, y, epochs=2, batch_size=45)
    assert seen == [(0.0, 2), (0.5, 2), (1.0, 2), (1.5, 2)]
    plain = trainer(optim.SGD(lr=0.01))
    plain.fit(X, y, epochs=2, batch_size=45)
    assert same(t.weights(), plain.weights())


@pytest.mark.parametrize("decay", [optim.Coupled, optim.Decoupled])
def test_decay_is_for_weights_unless_asked(decay):
    """With no gradient at all, what shrinks is what decays."""
    X, y = np.zeros((8, 4)), np.zeros(8)
    net = nn.Sequential(nn.Affine(4, 3), nn.BatchNorm(3), nn.Affine(3, 1))

    def shrunk(**settings):
        t = cr.Trainer(net, Zero(), optim.SGD(lr=0.5), weight_decay=decay(0.1, **settings))
        before = {name: value + 1 for name, value in t.weights().items()}
        for name, leaf in net.leaves().items():
            t.session.engine.write(leaf, before[name])
        t.fit(X, y, epochs=1, batch_size=8)
        return {n for n, v in t.weights().items() if np.allclose(v, 0.95 * before[n])}

    assert shrunk() == {"0.W", "2.W"}
    roles = ("weight", "bias", "scale", "shift")
    assert shrunk(roles=roles) == {"0.W", "0.b", "1.gamma", "1.beta", "2.W", "2.b"}


class Zero(nn.Loss):
    """A loss that is always 0."""

    def rows(self, Y, T):
        return (0.0 * (Y - T)).sum(axis=1)


def test_a_loss_of_your_own_must_give_a_number_a_row():
    class Wrong(nn.Loss):
        def rows(self, Y, T):
            return Y - T

    X = np.zeros((4, 2))
    t = cr.Trainer(nn.Sequential(nn.Affine(2, 1)), Wrong(), optim.SGD())
    with pytest.raises(cr.ShapeError, match=r"loss is \[N, 1\], expected a number a row, \[N\]"):
        t.fit(X, X[:, 0])


def test_explain_lists_the_step():
    t = trainer()
    with pytest.raises(cr.InputError, match="fit or load first"):
        t.explain()
    t.fit(*rows(), epochs=1)
    text = t.explain()
    graph, rest = text.split("simplified graph\n")
    simplified, rest = rest.split("kernels\n")
    kernels, phases = rest.split("phases\n")
    assert "→ loss" in graph
    assert graph.count("⇒") == len(t.session.state())
    assert simplified.count("⇒") == len(t.session.state()) + 1  # Wᵀ of the second layer
    assert kernels.count("product ") == phases.count("product ") == 5


BAD_FITS = {
    "X at row 2, column 1 is nan": dict(X=lambda X: _with(X, (2, 1), np.nan)),
    "X at row 2, column 1 is inf": dict(X=lambda X: _with(X, (2, 1), np.inf)),
    "X at row 0, column 0 is 1e+300, expected a finite number in float32": dict(
        X=lambda X: _with(X, (0, 0), 1e300)
    ),
    "X is [90], expected [rows, features]": dict(X=lambda X: X[:, 0]),
    "X at row 0, column 0 is 'a', expected a number": dict(X=lambda X: np.full((90, 4), "a")),
    "layer 0, Affine(4, 8): the input is [N, 3], expected [N, 4]": dict(X=lambda X: X[:, :3]),
    "X has no rows": dict(X=lambda X: X[:0], y=lambda y: y[:0]),
    "y has 80 rows, but X has 90": dict(y=lambda y: y[:80]),
    "y at row 5 is 3, expected a class number from 0 to 2, one for each output": dict(
        y=lambda y: _with(y, 5, 3)
    ),
    "y at row 5 is -1": dict(y=lambda y: _with(y, 5, -1)),
    "y at row 0 is 0.5, expected class numbers": dict(y=lambda y: y * 0 + 0.5),
    "y at row 0 is 'a', expected a number": dict(y=lambda y: np.full(90, "a")),
    "y is [90, 2], but the network has 3 outputs": dict(y=lambda y: np.zeros((90, 2))),
    "the sum of y at row 0 is 3.0, expected 1, as of probabilities": dict(
        y=lambda y: np.ones((90, 3))
    ),
    "fit: batch_size is 0, not in [1, 2147483647]": dict(batch_size=0),
    "fit: epochs is 1.5, expected a whole number": dict(epochs=1.5),
    "sample_weight at row 0 is -1.0, expected 0 or more": dict(sample_weight=-np.ones(90)),
    "sample_weight is 0 everywhere": dict(sample_weight=np.zeros(90)),
    "sample_weight is [3], expected [90]": dict(sample_weight=np.ones(3)),
    "fit: validation_data is not (X, y)": dict(validation_data=3),
    "validation X has 5 features, expected 4": dict(
        validation_data=(np.zeros((9, 5)), np.zeros(9, int))
    ),
    "validation y at row 0 is 7": dict(validation_data=(np.zeros((9, 4)), np.full(9, 7))),
}


def _with(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize("message", BAD_FITS)
def test_bad_data_is_named(message):
    X, y = rows()
    change = dict(BAD_FITS[message])
    X, y = change.pop("X", lambda X: X)(X), change.pop("y", lambda y: y)(y)
    t = trainer()
    before = t.weights()
    with pytest.raises(cr.InputError) as error:
        t.fit(X, y, **change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert same(t.weights(), before)


BAD_TRAINERS = {
    "Trainer: model is 3, expected a Layer": dict(model=3),
    "Trainer: loss is 'mes', expected a Loss, or one of 'cross_entropy'": dict(loss="mes"),
    "Trainer: optimizer is 'adma', expected an Optimizer": dict(optimizer="adma"),
    "'huber'; did you mean 'huber'?": dict(loss="hubert"),
    "Trainer: loss is the class Huber, expected Huber()": dict(loss=nn.Huber),
    "Trainer: engine is 'fast', expected 'compiled' or 'reference'": dict(engine="fast"),
    "Trainer: metrics is ['f2'], expected some of 'accuracy'": dict(metrics=["f2"]),
    "Trainer: metrics is 'rmse', expected some of": dict(metrics="rmse"),
    "Trainer: weight_decay is -1, not in [0, inf)": dict(weight_decay=-1),
    "Trainer: clip_norm is 0, not in (0, inf)": dict(clip_norm=0),
    "Trainer: seed is -1, not in [0, 4294967295]": dict(seed=-1),
    "Trainer: threads is 0, not in [1, 2147483647]": dict(threads=0),
    "Trainer: dtype is 'half', expected 'float32' or 'float64'": dict(dtype="half"),
    "weight_decay is 0.1, but AdamW(": dict(optimizer=optim.AdamW(), weight_decay=0.1),
}


@pytest.mark.parametrize("message", BAD_TRAINERS)
def test_bad_settings_are_named(message):
    usual = dict(
        model=nn.Sequential(nn.Affine(2, 2)), loss=nn.SoftmaxCrossEntropy(), optimizer=optim.SGD()
    )
    with pytest.raises(cr.InputError) as error:
        cr.Trainer(**usual | BAD_TRAINERS[message])
    assert message in str(error.value)


def test_class_weights_weigh_rows():
    X, y = rows(30)
    weights = np.array([1.0, 2.0, 0.5])
    net = nn.Sequential(nn.Affine(4, 3))
    loss = nn.SoftmaxCrossEntropy(class_weight=weights)
    weighted = cr.Trainer(net, loss, optim.SGD(), dtype="float64").initialize(X)
    plain = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(), dtype="float64").initialize(X)
    by_class, by_hand = weighted.evaluate(X, y), plain.evaluate(X, y, weights[y])
    assert by_class["loss"] == pytest.approx(by_hand["loss"], rel=1e-12)
    assert by_class["accuracy"] == plain.evaluate(X, y)["accuracy"] != by_hand["accuracy"]
    assert "class_weight=(1.0, 2.0, 0.5)" in repr(loss)
    with pytest.raises(cr.InputError, match="class_weight has 2 weights, but there are 3 classes"):
        trainer(loss=nn.SoftmaxCrossEntropy(class_weight=[1, 2])).fit(X, y)


def test_missing_targets_are_told():
    with pytest.raises(cr.InputError, match="y is missing: the targets of the rows in X"):
        trainer().fit(rows()[0])


@pytest.mark.parametrize("roles", ["weight", ("weights",), None])
def test_a_decay_of_nothing_is_refused(roles):
    with pytest.raises(cr.InputError, match=r"roles is .*, expected some of 'weight', 'bias'"):
        optim.Coupled(0.1, roles=roles)
    with pytest.raises(cr.InputError, match="role is 'wieght', expected 'weight' or 'bias'"):
        cr.parameter(1.0, role="wieght")


# What a score and a state are worth -------------------------------------------------------------


def test_a_score_that_is_not_finite_is_never_the_best():
    """early-stopping-pytorch#16: a validation row that overflows makes each loss NaN."""
    X, y = rows()
    V, v = rows(seed=1)
    V[7] = 3e38
    stopping = cr.EarlyStopping(patience=4)
    net = nn.Sequential(nn.Affine(4, 8), nn.SELU(), nn.Affine(8, 3))
    t = cr.Trainer(net, "cross_entropy", optim.Adam(lr=0.01))
    plain = cr.Trainer(net, "cross_entropy", optim.Adam(lr=0.01))
    with pytest.warns(cr.Advice, match="val_loss was finite in no epoch, so none is the best"):
        history = t.fit(X, y, epochs=20, validation_data=(V, v), early_stopping=stopping)
    assert not np.isfinite(history["val_loss"]).any()
    assert history.epochs == 4
    assert "the last one is kept" in history.stopped
    plain.fit(X, y, epochs=4)
    assert same(t.weights(), plain.weights())


def test_only_epochs_with_a_finite_score_count():
    scores = iter([np.nan, 3.0, np.inf, 2.0, np.nan, -np.inf, 2.5])

    class Session:
        def snapshot(self):
            return object()

    best = BestSoFar(cr.EarlyStopping(patience=3), 0)
    for epoch, score in enumerate(scores, start=1):
        best.consider({"val_loss": score}, epoch, Session())
    assert (best.epoch, best.value) == (4, 2.0)
    assert best.is_over(7)


def test_training_on_never_ends_up_worse():
    """A model that was trained before begins as the best."""
    X, y = rows()
    t = trainer(optim.Adam(lr=0.01))
    t.fit(X, y, epochs=30, batch_size=32)
    before, score = t.weights(), t.evaluate(X, y)["loss"]
    hot = cr.Trainer.restored(
        t.fields() | {"optimizer": optim.SGD(lr=30.0)},
        Snapshot({n: v for n, v in t.session.values().items() if n.startswith("model.")}, 90),
        4, cr.History(t.history), {},
    )  # fmt: skip
    stopping = cr.EarlyStopping(patience=3)
    history = hot.fit(X, y, epochs=9, validation_data=(X, y), early_stopping=stopping)
    assert "val_loss was best in epoch 30" in history.stopped
    assert min(history["val_loss"][30:]) > score
    assert same(hot.weights(), before)


def test_after_an_error_the_best_state_is_kept():
    X, y = rows()
    kept = {}

    def spoil(t, row):
        kept[t.history.epochs] = t.weights()
        if t.history.epochs == 6:
            raise RuntimeError("a callback of the user's")

    t = trainer(optim.Adam(lr=0.05))
    with pytest.raises(RuntimeError, match="of the user's"):
        t.fit(X, y, epochs=9, validation_data=rows(seed=1), callbacks=[spoil],
              early_stopping=cr.EarlyStopping(monitor="val_loss", patience=9))  # fmt: skip
    best = int(np.argmin(t.history["val_loss"])) + 1
    assert same(t.weights(), kept[best])


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_divergence_keeps_the_best_epoch_and_the_history():
    X, y = rows()
    t = trainer(optim.SGD(lr=diverging))
    with pytest.raises(cr.TrainingError) as error:
        t.fit(X, y, epochs=9, batch_size=32, validation_data=(X, y),
              early_stopping=cr.EarlyStopping())  # fmt: skip
    best = int(np.argmin(t.history["val_loss"])) + 1
    assert str(error.value).endswith(f"at the end of epoch {best}, the best one")
    assert error.value.history is t.history
    assert t.evaluate(X, y)["loss"] == min(t.history["val_loss"])


STATES_THAT_OVERFLOW = {
    r"0.running_variance\[2\] is (inf|nan)": (nn.BatchNorm(4), optim.SGD(0.01), 1e20),
    r"optimizer.v.1.W\[2, \d\] is inf": (nn.Rescale(1.0), optim.Adam(0.01), 1e24),
    r"optimizer.h.1.W\[2, \d\] is inf": (nn.Rescale(1.0), optim.AdaGrad(0.01), 1e22),
}


@pytest.mark.parametrize("engine", ["compiled", "reference"])
@pytest.mark.parametrize("message", STATES_THAT_OVERFLOW)
def test_state_that_overflows_is_noticed_while_training(message, engine):
    """It shows in no loss: a variance that is infinite, a slot that freezes its weights."""
    first, rule, value = STATES_THAT_OVERFLOW[message]
    X, y = rows()
    X[5, 2] = value
    net = nn.Sequential(first, nn.Affine(4, 3, init=1e-25 if value > 1e20 else "auto"))
    t = cr.Trainer(net, "cross_entropy", rule, engine=engine)
    before = t.weights()
    place = r"X at row 5, column 2 is the largest, \de\+2\d"
    with pytest.raises(cr.TrainingError, match=rf"epoch 1 at step \d: {message};.*{place}"):
        t.fit(X, y, epochs=5, batch_size=32)
    assert same(t.weights(), before)


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_the_last_finite_loss_is_that_of_the_epoch_before():
    X, y = rows()
    t = trainer(optim.SGD(lr=lambda epoch, epochs: 0.01 if epoch < 1 else 1e38))
    t.fit(X, y, epochs=1, batch_size=90)
    with pytest.raises(cr.TrainingError, match=r"the last finite loss was [0-9.]+"):
        t.fit(X, y, epochs=3, batch_size=90, horizon=4)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms")
def test_an_exception_that_a_signal_raises_passes_through():
    """A time limit of Celery's or pytest's kind."""

    def up(*_):
        raise TimeoutError("your time is up")

    X, y = rows()
    t = trainer()
    t.fit(X, y, epochs=1)  # so that nothing is compiled when the signal comes
    before = signal.signal(signal.SIGALRM, up)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(TimeoutError, match="your time is up"):
            t.fit(X, y, epochs=10**7)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    epochs, steps = t.history.epochs, t.session.steps_done
    assert steps == epochs  # history and state belong together
    assert t.fit(X, y, epochs=1).epochs == epochs + 1


def test_weights_can_be_set():
    X, y = rows()
    t, other = trainer(), trainer(seed=1)
    t.fit(X, y, epochs=1)
    other.set_weights(t.weights())
    assert np.array_equal(other.predict(X), t.predict(X))
    for weights, message in (
        ({"9.W": 1.0}, r"set_weights: there is no '9.W', but 0.W, 0.b,"),
        ({"0.W": np.ones(3)}, r"set_weights: 0.W is \[3\], expected \[4, 8\]"),
        ({"0.b": np.full(8, np.nan)}, r"0.b at row 0 is nan, expected a finite number"),
    ):
        with pytest.raises(cr.InputError, match=message):
            other.set_weights({"4.b": np.zeros(3)} | weights)
    assert np.array_equal(other.predict(X), t.predict(X))  # all or nothing


def test_verbose_shows_the_rows(capsys):
    X, y = rows()
    seen = []
    history = trainer().fit(X, y, epochs=2, verbose=True, progress=seen.append)
    told = capsys.readouterr()
    assert told.out == ""
    head, *lines = told.err.splitlines()
    assert head.split() == ["epoch", "loss", "accuracy"]
    assert [line.split()[:2] for line in lines] == [
        [str(i + 1), f"{loss:.4f}"] for i, loss in enumerate(history["loss"])
    ]
    assert seen


def test_rows_that_one_trainer_checked_are_checked_by_another():
    """tensorflow#8484: labels out of range."""
    X, y = rows()
    t = trainer().initialize(X)
    part = t.part(X, y)
    assert t.part(part, None) is part
    wide = cr.Trainer(nn.Sequential(nn.Affine(4, 2)), "cross_entropy", "adam")
    with pytest.raises(cr.InputError, match=r"y at row .* is 2, expected a class number from 0"):
        wide.fit(part)
    exact = trainer(dtype="float64")
    exact.fit(part, epochs=1)
    assert exact.part(part, None).X.dtype == "float64"
    for given, name in (({"y": y}, "y"), ({"sample_weight": np.ones(90)}, "sample_weight")):
        with pytest.raises(cr.InputError, match=f"^{name} is given beside rows that have their"):
            t.evaluate(part, **given)


def test_a_model_too_deep_for_python_is_refused():
    layer = nn.Affine(4, 4)
    for _ in range(2000):
        layer = nn.Residual(layer)
    with pytest.raises(cr.InputError, match="deeper than Python can follow"):
        cr.Trainer(layer, "mse", "sgd")


def test_what_is_monitored_must_be_there_before_training():
    X, y = rows()
    t = trainer()
    near = r"monitor is 'val_acuracy', there is loss, .*; did you mean 'val_accuracy'\?"
    with pytest.raises(cr.InputError, match=near):
        t.fit(X, y, validation_data=(X, y), early_stopping=cr.EarlyStopping(monitor="val_acuracy"))
    assert t.history.epochs == 0
    assert t.session.steps_done == 0


def test_who_stops_early_is_told_which_weights_are_kept():
    X, y = rows()
    t = trainer(optim.Adam(0.05))
    history = t.fit(
        X, y, epochs=50, batch_size=32, validation_data=rows(seed=1),
        stop=lambda: t.history.epochs >= 40, early_stopping=cr.EarlyStopping(patience=50),
    )  # fmt: skip
    best = int(np.argmin(history["val_loss"])) + 1
    assert history.stopped == (
        f"stopped after epoch 40; the weights of epoch {best}, the best one, are restored"
    )


@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_a_schedule_that_raises_leaves_the_epochs_before_it():
    X, y = rows()
    t = trainer(optim.SGD(lr=lambda epoch, epochs: 1 / (2 - int(epoch))))
    with pytest.raises(cr.InputError, match="ZeroDivisionError") as error:
        t.fit(X, y, epochs=9, batch_size=32)
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    assert t.history.epochs == 2


def test_checked_rows_validate_too():
    X, y = rows()
    t = trainer()
    part = t.part(*rows(seed=1))
    assert t.fit(X, y, epochs=2, validation_data=part)["val_loss"]


def test_targets_of_a_frame_are_named_by_column():
    polars = pytest.importorskip("polars")
    y = polars.DataFrame({"low": np.arange(9.0), "high": [None, *range(8)]})
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 2)), "mse", "sgd")
    with pytest.raises(cr.InputError, match="y at row 0, column 'high' is nan"):
        t.fit(rows(9)[0], y)
