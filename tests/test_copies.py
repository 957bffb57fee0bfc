"""Copies and pickles: of graphs, models and trainers."""

import copy
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from test_model_file import Shift
from test_trainer import rows, same, trainer

import chainrule as cr
from chainrule import nn, optim

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "protocol 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


@ways
def test_a_copied_trainer_goes_on_alike_and_alone(way):
    X, y = rows()
    t = trainer(optim.Adam(lr=optim.Cosine(0.05)))
    t.fit(X, y, epochs=2, batch_size=32, validation_data=rows(seed=1))
    t.notes = {"source": "rows"}
    other = way(t)
    assert same(other.weights(), t.weights())
    assert (dict(other.history), other.notes) == (dict(t.history), t.notes)
    assert np.array_equal(other.predict(X), t.predict(X))
    before = t.weights()
    other.fit(X, y, epochs=2, batch_size=32)
    assert same(t.weights(), before)  # it has a state of its own
    t.fit(X, y, epochs=2, batch_size=32)
    assert same(t.weights(), other.weights())


def test_a_pickled_trainer_has_neither_data_nor_code():
    X = np.random.default_rng(0).normal(size=(20_000, 4))
    t = trainer()
    t.fit(X, np.arange(20_000) % 3, epochs=1)
    assert len(pickle.dumps(t)) < 20_000


@ways
def test_ops_sizes_and_rules_are_the_same_objects_in_a_copy(way):
    x = cr.batch(3)
    assert way(cr.tanh) is cr.tanh
    assert way(x).op is x.op
    assert way(x).shape[0] is x.shape[0]
    model = nn.Sequential(nn.Affine(3, 4), nn.BatchNorm(4), cr.tanh, nn.Affine(4, 2), Shift(2.0))
    other = way(model)
    assert list(other.leaves()) == list(model.leaves())
    assert other.parameter_count == model.parameter_count
    a, b = nn.initial_values(model), nn.initial_values(other)
    assert all(np.array_equal(*pair) for pair in zip(a.values(), b.values(), strict=True))
    y = way((x * cr.constant([1.0, 2.0, 3.0])).sum(axis=1))
    leaf = next(node for node in (y.inputs[0].inputs[0].inputs) if node.op is x.op)
    assert y.numpy({leaf: [[1.0, 1.0, 1.0]]}).tolist() == [6.0]


def test_an_op_of_ones_own_travels_by_its_fields():
    cloudpickle = pytest.importorskip("cloudpickle")
    op = cr.Op(
        "test_copies_triple", shape=lambda x: x, numpy=lambda x: 3 * x,
        vjp=lambda g, y, x: (3 * g,), elementwise=True, takes=("float",),
    )  # fmt: skip
    data = cloudpickle.dumps(op)
    try:
        assert cloudpickle.loads(data) is op
        del cr.OPS["test_copies_triple"]
        other = cloudpickle.loads(data)
        assert other is not op
        assert other(cr.constant([2.0])).numpy().tolist() == [6.0]
    finally:
        cr.OPS.pop("test_copies_triple", None)


def test_trainers_of_ones_own_classes_travel_by_cloudpickle_and_joblib(tmp_path):
    X, y = rows()
    net = nn.Sequential(nn.Affine(4, 8), nn.BatchNorm(8), Shift(0.5), cr.tanh, nn.Affine(8, 3))
    t = cr.Trainer(net, "cross_entropy", "adam")
    t.fit(X, y, epochs=2)
    cloudpickle, joblib = map(pytest.importorskip, ("cloudpickle", "joblib"))
    joblib.dump(t, tmp_path / "t.joblib")
    for other in (cloudpickle.loads(cloudpickle.dumps(t)), joblib.load(tmp_path / "t.joblib")):
        assert other.model.parameter_count == t.model.parameter_count
        assert np.array_equal(other.predict(X), t.predict(X))
    there = joblib.Parallel(2, "loky")(joblib.delayed(_trained)(t, X, y) for _ in range(2))
    here = _trained(t, X, y)
    assert all(same(weights, here) for weights in there)


def _trained(t, X, y):
    t.fit(X, y, epochs=1, batch_size=32)
    return t.weights()


def test_a_trainer_goes_to_a_spawned_process_and_back():
    X, y = rows()
    t = trainer()
    t.fit(X, y, epochs=1, batch_size=32)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(_trained, (t, X, y))
    assert same(there, _trained(t, X, y))


def test_two_fits_at_once_are_refused():
    X, y = rows()
    t, told = trainer(), []

    def again(*_):
        with pytest.raises(cr.InputError, match=r"being trained already.*copy.deepcopy"):
            t.fit(X, y)
        told.append(True)

    t.fit(X, y, epochs=2, callbacks=[again])
    thread = threading.Thread(target=t.fit, args=(X, y))
    thread.start()
    thread.join()
    assert told == [True, True]
    assert t.history.epochs == 2 + 10


class Mine(cr.Trainer):
    """A trainer with a constructor of its own."""

    def __init__(self, rate):
        super().__init__(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", optim.SGD(rate))
        self.best = None


@ways
def test_a_trainer_of_ones_own_keeps_what_is_its_own(way):
    t = Mine(0.1)
    t.fit(*rows(), epochs=1)
    t.best = 7
    other = way(t)
    assert type(other) is Mine
    assert other.best == 7
    assert same(other.weights(), t.weights())


def test_a_copy_of_what_nobody_trained_is_that_too():
    X, _ = rows()
    with pytest.warns(cr.Advice, match="has its initial values"):
        copy.deepcopy(trainer()).predict(X)
    assert copy.deepcopy(trainer().initialize(X)).predict(X).shape == (90, 3)


def test_another_thread_does_not_copy_what_is_being_trained():
    """It would find weights of one step beside those of another."""
    X, y = rows()
    t, told = trainer(), []

    def from_elsewhere():
        with pytest.raises(cr.InputError, match="another thread trains this trainer: copy it the"):
            pickle.dumps(t)
        told.append(True)

    def each_epoch(t, row):
        thread = threading.Thread(target=from_elsewhere)
        thread.start()
        thread.join()
        assert same(copy.deepcopy(t).weights(), t.weights())  # here it is between two epochs

    t.fit(X, y, epochs=2, callbacks=[each_epoch])
    assert told == [True, True]
    pickle.dumps(t)
