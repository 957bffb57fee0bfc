"""Losses, metrics and layers at magnitudes from 1e-30 to 1e30, in both engines, beside float64."""

import functools

import numpy as np
import pytest
from test_layers import LAYER_EXAMPLES, LOSS_EXAMPLES, training

import chainrule as cr
from chainrule import nn
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.engines.program import Feed, Program
from chainrule.engines.reference import ReferenceEngine
from chainrule.graph.evaluate import evaluate
from chainrule.training.metrics import METRICS

MAGNITUDES = [10.0**k for k in range(-30, 31, 5)]
ROWS, WIDTH = 8, 3
SQUARES = (1e-15, 1e15)
"""Between these float32 holds squares of numbers and sums of them. Beyond, a squared error is 0 or
infinite in float32, and so is its root."""

ENGINES = {"reference": lambda: ReferenceEngine("float32"), "compiled": lambda: CompiledEngine(1)}
every_magnitude = pytest.mark.parametrize("magnitude", MAGNITUDES, ids=lambda m: f"{m:g}")
every_engine = pytest.mark.parametrize("engine", ENGINES)


def in_float32(values):
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(np.float64)


def expect_float64(engine, outputs, data, state=None, tolerance=1e-4):
    """Each output in float32 is that of float64, rounded: up to the last few bits of it, of the
    largest in the array (as in p − t), or the smallest normal number."""
    data = {x: in_float32(v) if x.dtype == "float" else v for x, v in data.items()}
    state = {x: in_float32(v) for x, v in (state or {}).items()}
    exact = evaluate(outputs, data | state)
    made = ENGINES[engine]()
    for leaf, value in state.items():
        made.write(leaf, value)
    names = {str(i): y for i, y in enumerate(outputs)}
    feed = {x: v.astype(np.float32 if x.dtype == "float" else np.int64) for x, v in data.items()}
    found = made.run(Program(names, {}), Feed(feed, ROWS))
    for name, value in zip(names, exact, strict=True):
        wanted, got = in_float32(value), found[name].astype(np.float64).reshape(value.shape)
        largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
        with np.errstate(invalid="ignore"):  # infinite ones are compared as they are
            error = np.abs(got - wanted)
        close = error <= tolerance * np.abs(wanted) + 1e-6 * largest + 2e-38
        assert (close | (got == wanted) | (np.isnan(got) & np.isnan(wanted))).all(), (got, wanted)


def targets(kind, magnitude):
    random = np.random.default_rng(1)
    if kind == "class":
        return cr.batch(dtype="int", name="t"), random.integers(0, WIDTH, ROWS)
    values = {
        "probabilities": random.dirichlet(np.ones(WIDTH), ROWS),
        "binary": random.integers(0, 2, (ROWS, WIDTH)).astype(float),
        "real": random.normal(size=(ROWS, WIDTH)) * magnitude,
    }[kind]
    return cr.batch(WIDTH, name="t"), in_float32(values)


@every_engine
@every_magnitude
@pytest.mark.parametrize("kind", LOSS_EXAMPLES, ids=lambda kind: kind.__name__)
def test_losses_and_their_gradients(kind, magnitude, engine):
    scores = np.random.default_rng(0).normal(size=(ROWS, WIDTH)) * magnitude
    for make, target in LOSS_EXAMPLES[kind]:
        y, (t, T) = cr.batch(WIDTH), targets(target, magnitude)
        loss = make(WIDTH).rows(y, t)
        expect_float64(engine, [loss, *cr.grad(loss.sum(), [y])], {y: scores, t: T})


@every_engine
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 1e8, -1e8, 1e30])
def test_equal_scores_are_a_uniform_prediction(offset, engine):
    """pytorch#11752, optax#1792: log 3, whatever the scores are."""
    y, t = cr.batch(3), cr.batch(dtype="int", name="t")
    outputs = [
        nn.SoftmaxCrossEntropy().rows(y, t), cr.softmax(y),
        *cr.grad(nn.SoftmaxCrossEntropy().rows(y, t).sum(), [y]),
        *cr.grad(y.logsumexp(axis=1).sum(), [y]),
    ]  # fmt: skip
    given = {y: np.full((ROWS, 3), offset, np.float32), t: np.arange(ROWS) % 3}
    names = dict(zip("lsgh", outputs, strict=True))
    found = ENGINES[engine]().run(Program(names, {}), Feed(given, ROWS))
    hot = np.eye(3)[np.arange(ROWS) % 3]
    np.testing.assert_allclose(found["l"], np.log(3), rtol=1e-6)
    np.testing.assert_allclose(found["s"], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(found["g"], 1 / 3 - hot, rtol=1e-6)
    np.testing.assert_allclose(found["h"], 1 / 3, rtol=1e-6)


@every_engine
@pytest.mark.parametrize("score", [20.0, 50.0, 80.0])
def test_a_small_loss_is_no_difference_of_large_numbers(score, engine):
    """softplus(20) − 20 is 0 in float32, and the loss is 2e-9."""
    y, t = cr.batch(1), cr.batch(1, name="t")
    loss = nn.SigmoidCrossEntropy().rows(y, t)
    given = {y: [[score], [-score]], t: [[1.0], [0.0]]}
    data = {x: np.array(v, np.float32) for x, v in given.items()}
    found = ENGINES[engine]().run(Program({"l": loss}, {}), Feed(data, 2))["l"]
    np.testing.assert_allclose(found, np.log1p(np.exp(-score)), rtol=1e-6)


@every_engine
@every_magnitude
@pytest.mark.parametrize("kind", LAYER_EXAMPLES, ids=lambda kind: kind.__name__)
def test_layers(kind, magnitude, engine):
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, WIDTH)) * magnitude
    for make in LAYER_EXAMPLES[kind]:
        layer, x = make(WIDTH), cr.batch(WIDTH)
        state = {
            leaf: np.broadcast_to(leaf.attrs["initial"], leaf.shape)
            if leaf.op.name == "state"
            else random.uniform(0.5, 1.5, leaf.shape)
            for leaf in layer.leaves().values()
        }
        expect_float64(engine, [layer(x)], {x: X}, state)
        batch_norm = any(isinstance(part, nn.BatchNorm) for part in layer.flat())
        if not (batch_norm and magnitude > SQUARES[1]):  # see the next test
            expect_float64(engine, [layer(x, training())], {x: X}, state)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("magnitude", [m for m in MAGNITUDES if m > 1e19])
def test_a_variance_beyond_float32_ends_training_with_a_word(magnitude, engine):
    X = np.random.default_rng(0).normal(size=(50, 3)) * magnitude
    net = nn.Sequential(nn.BatchNorm(3), nn.Affine(3, 2))
    t = cr.Trainer(net, "cross_entropy", "sgd", engine=engine)
    with pytest.raises(cr.TrainingError, match=r"0.running_variance\[0\] is (inf|nan); .* largest"):
        t.fit(X, np.arange(50) % 2, epochs=2)


@every_engine
@every_magnitude
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
def test_metrics(name, magnitude, engine, weighted):
    """A metric of 50 rows, from a trainer whose predictions are its rows."""
    if name == "rmse" and not SQUARES[0] <= magnitude <= SQUARES[1]:
        pytest.skip("its squares leave float32")
    random = np.random.default_rng(0)
    X = in_float32(random.normal(size=(50, 3)) * magnitude)
    weight = random.uniform(0.1, 2.0, 50) * magnitude if weighted else None
    loss = "mse"
    if name == "accuracy":
        loss, y = "cross_entropy", random.integers(0, 3, 50)
        rows = (X.argmax(axis=1) == y).astype(float)
    else:
        y = in_float32(X + random.normal(size=(50, 3)) * magnitude)
        rows = ((X - y) ** 2 if name == "rmse" else np.abs(X - y)).mean(axis=1)
    net = nn.Sequential(nn.Rescale(1.0))
    t = cr.Trainer(net, loss, "sgd", metrics=name, engine=engine).initialize(X)
    finish = np.sqrt if name == "rmse" else functools.partial(np.multiply, 1.0)
    expected = finish(np.average(rows, weights=weight))
    assert t.evaluate(X, y, weight)[name] == pytest.approx(expected, rel=1e-5)
