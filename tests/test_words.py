"""What people type who know another library: it works, or they are told what works."""

import dataclasses

import numpy as np
import pytest
from test_trainer import rows

import chainrule as cr
from chainrule import nn, optim
from chainrule.spec import KINDS
from chainrule.words import FIELDS, NAMES

REFUSED = {
    "nn has no 'Linear': it is nn.Affine here": lambda: nn.Linear(3, 4),
    "nn has no 'Dense': it is nn.Affine here": lambda: nn.Dense(4),
    "nn has no 'Dropuot'; did you mean 'Dropout'?": lambda: nn.Dropuot(0.1),
    "optim has no 'Adagrad': it is optim.AdaGrad here": lambda: optim.Adagrad(0.1),
    "Adam has no 'learning_rate': it is 'lr' here": lambda: optim.Adam(learning_rate=0.1),
    "Affine has no 'activation': put the activation behind it": (
        lambda: nn.Affine(3, 4, activation="relu")
    ),
    "Adam has no 'betas': give beta1 and beta2": lambda: optim.Adam(betas=(0.9, 0.99)),
    "Affine has no 'biass'; did you mean 'bias'?": lambda: nn.Affine(3, 4, biass=False),
    "Affine: missing a required argument: 'outputs', expected Affine(inputs, outputs,": (
        lambda: nn.Affine(3)
    ),
    "ReLU: too many positional arguments, expected ReLU()": lambda: nn.ReLU(0.1),
    "Trainer: loss is the class Huber, expected Huber()": (
        lambda: cr.Trainer(nn.Affine(3, 1), nn.Huber, "adam")
    ),
    "Trainer: model is the class ReLU, expected ReLU()": lambda: cr.Trainer(nn.ReLU, "mse", "sgd"),
    "Trainer: optimizer is 'admw', expected an Optimizer, or one of 'sgd',": (
        lambda: cr.Trainer(nn.Affine(3, 1), "mse", "admw")
    ),
    "Sequential: layer 1 is the class ReLU, expected ReLU()": (
        lambda: nn.Sequential(nn.Affine(3, 4), nn.ReLU)
    ),
    "Sequential: a list of layers, expected them one by one": (
        lambda: nn.Sequential([nn.Affine(3, 4), nn.ReLU()])
    ),
    "chainrule has no 'Linear': it is chainrule.nn.Affine here": lambda: cr.Linear(3, 4),
    "chainrule has no 'Adam': it is chainrule.optim.Adam here": lambda: cr.Adam(0.1),
    "chainrule has no 'Search': it is chainrule.search.Search": lambda: cr.Search,
    "chainrule has no 'Trainr'; did you mean 'Trainer'?": lambda: cr.Trainr(1),
    "np.exp of a Tensor: NumPy computes arrays, use chainrule.exp": lambda: np.exp(cr.batch(3)),
    "np.maximum of a Tensor: NumPy computes arrays, use chainrule.maximum": (
        lambda: np.maximum(cr.batch(3), 0.0)
    ),
    "np.mean of a Tensor: NumPy computes arrays, use the tensor's own .mean": (
        lambda: np.mean(cr.batch(3))
    ),
    "np.dot of a Tensor: NumPy computes arrays, use the functions of chainrule": (
        lambda: np.dot(np.ones((3, 3)), cr.batch(3))
    ),
    "np.sin of a Tensor: NumPy computes arrays, use the functions of chainrule": (
        lambda: np.sin(cr.batch(3))
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_the_right_word_is_told(message):
    with pytest.raises(cr.ChainruleError) as error:
        REFUSED[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_there_is_an_attribute_error_too():
    assert not hasattr(nn, "Linear")
    assert getattr(optim, "Lion", None) is None


def test_words_stand_for_what_there_is():
    assert all(hasattr(nn, name) or hasattr(optim, name) for name in NAMES.values())
    fields = {field.name for kind in KINDS.values() for field in dataclasses.fields(kind)}
    assert set(FIELDS.values()) <= fields


def test_arrays_around_operators_make_nodes():
    x, a = cr.batch(2), np.array([2.0, 4.0])
    given = {x: [[1.0, 5.0]]}
    for y, expected in (
        (a + x, [3, 9]), (a - x, [1, -1]), (a * x, [2, 20]), (a / x, [2, 0.8]), (a**x, [2, 1024]),
        (np.multiply(x, 3.0), [3, 15]),
    ):  # fmt: skip
        np.testing.assert_allclose(y.numpy(given)[0], expected)
    for y, expected in ((a > x, [1, 0]), (a >= x, [1, 0]), (a < x, [0, 1]), (a <= x, [0, 1])):
        assert y.numpy(given)[0].tolist() == expected
    assert (np.eye(2) @ cr.parameter([[1.0], [2.0]])).numpy().tolist() == [[1.0], [2.0]]


def test_words_for_losses_optimizers_and_metrics():
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam", metrics="accuracy")
    assert repr(t) == (
        "Trainer(Sequential(Affine(4, 3)), SoftmaxCrossEntropy(), Adam(), metrics='accuracy')"
    )
    assert t.fit(X, y, epochs=1)["accuracy"]
    t.fit(X, y[:, None], epochs=1)  # class numbers as a column


class Half:
    """A tensor of bfloat16, as PyTorch answers for one."""

    def __array__(self, *_, **__):
        raise TypeError("Got unsupported ScalarType BFloat16")


def refused(X):
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam")
    with pytest.raises(cr.InputError) as error:
        t.fit(X, rows()[1])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_data_that_is_no_array_of_numbers():
    X, _ = rows()
    masked = np.ma.masked_greater(X, 2.0)
    assert "X at row" in refused(masked)
    assert "is masked, expected a number: fill it first" in refused(masked)
    assert "X is a Half that NumPy cannot read (Got unsupported" in refused(Half())
    sparse = pytest.importorskip("scipy.sparse")
    assert refused(sparse.csr_matrix(X)).endswith("expected a dense one: X.toarray()")
    polars = pytest.importorskip("polars")
    lazy = polars.DataFrame(X).lazy()
    assert refused(lazy).endswith("X is a lazy frame, expected its rows: X.collect()")


def test_a_long_value_is_shown_by_its_beginning():
    told = refused({f"column {i}": [1.0, 2.0] for i in range(100)})
    assert told.startswith("X is a dict, {'column 0': [1.0, 2.0]")
    assert told.endswith("…, expected an array of numbers")
    assert len(told) < 120


def test_words_in_the_place_of_class_numbers():
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam")
    with pytest.raises(
        cr.InputError, match=r"y at row 0 is 'yes', .* names, y = np\.unique\(labels"
    ):
        t.fit(X, np.where(y > 0, "yes", "no"))
    names, numbers = np.unique(np.where(y > 0, "yes", "no"), return_inverse=True)
    assert t.fit(X, numbers, epochs=1).epochs == 1
    assert list(names) == ["no", "yes"]


def test_what_is_no_list_of_functions_and_no_dict_of_weights():
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam")
    with pytest.raises(cr.InputError, match="callbacks is 3, expected a list of functions"):
        t.fit(X, y, callbacks=3)
    with pytest.raises(cr.InputError, match=r"expected a dict of values by path, as trainer\.weig"):
        t.set_weights([np.zeros((4, 3))])


def test_masked_rows_without_a_mask_are_rows():
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam")
    assert t.fit(np.ma.array(X), y, epochs=1).epochs == 1


def test_a_history_is_a_dictionary_of_columns():
    pandas = pytest.importorskip("pandas")
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam")
    history = t.fit(X, y, epochs=3)
    frame = pandas.DataFrame(history)
    assert list(frame.columns) == ["loss", "accuracy", "seconds"]
    assert frame["loss"].tolist() == history["loss"]


def test_predictions_are_in_the_trainers_precision():
    X, y = rows()
    for dtype in ("float32", "float64"):
        t = cr.Trainer(nn.Sequential(nn.Affine(4, 3)), "cross_entropy", "adam", dtype=dtype)
        t.fit(X.tolist(), y, epochs=1)
        assert t.predict(X).dtype == t.probabilities(X).dtype == dtype
