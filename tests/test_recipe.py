"""Recipes that differ in numbers alone share a graph, and nobody can tell."""

import gc
import threading
import weakref

import numpy as np
import pytest
from test_layers import LAYER_EXAMPLES, LOSS_EXAMPLES

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.compiled.compiled_program import form
from chainrule.graph.leaves import scalar_op
from chainrule.search.final import averaged
from chainrule.spec import KINDS
from chainrule.training import programs
from chainrule.training import recipe as recipes
from chainrule.training.metrics import METRICS, Metric

OURS = [kind for kind in KINDS.values() if kind.is_ours]
RULES = [kind for kind in OURS if issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer]
ENGINES = ("reference", "compiled")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Each test begins with no recipes, so that it says itself which is the first."""
    monkeypatch.setattr(recipes, "_kept", recipes._kept.__class__())


def rows(n=40, width=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, width)), random.normal(size=(n, 2))


def of(trainer):
    return trainer.session.recipe


def everything(trainer, X, y):
    """All that comes out of training, and what is predicted then."""
    history = trainer.fit(X, y, epochs=2, batch_size=16)
    return [
        np.array(history["loss"]),
        trainer.predict(X),
        np.array(list(trainer.evaluate(X, y).values())),
        *trainer.weights().values(),
    ]


def net(ratio=0.2, slope=0.1, epsilon=1e-3, momentum=0.5, width=4):
    return nn.Sequential(
        nn.Affine(3, width), nn.BatchNorm(width, momentum, epsilon), nn.LeakyReLU(slope),
        nn.Dropout(ratio), nn.Affine(width, 2),
    )  # fmt: skip


def trainer(model=None, rule=None, loss=None, **settings):
    settings = {"weight_decay": 0.01, "clip_norm": 1.0} | settings
    return cr.Trainer(
        net() if model is None else model,
        loss or nn.Huber(0.5),
        rule or optim.Adam(0.01),
        **settings,
    )


OTHERS = {
    "rate": {"rule": optim.Adam(0.1)},
    "schedule": {"rule": optim.Adam(optim.Cosine(0.1))},
    "moments": {"rule": optim.Adam(0.01, 0.5, 0.6)},
    "decay": {"weight_decay": 0.3},
    "clipping": {"clip_norm": 0.1},
    "ratio": {"model": net(ratio=0.6)},
    "slope": {"model": net(slope=0.7)},
    "epsilon": {"model": net(epsilon=0.5)},
    "momentum": {"model": net(momentum=0.9)},
    "delta": {"loss": nn.Huber(0.05)},
    "seed": {"seed": 5},
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("settings", OTHERS.values(), ids=OTHERS)
def test_another_number_is_the_same_graph_and_its_own_result(settings, engine):
    X, y = rows()
    alone = everything(trainer(engine=engine, **settings), X, y)
    recipes._kept.clear()
    first, other = trainer(engine=engine), trainer(engine=engine, **settings)
    assert of(other) is of(first)
    others, found = everything(first, X, y), everything(other, X, y)
    for a, b in zip(found, alone, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(found, others, strict=True))


DIFFERENT = {
    "width": lambda: trainer(net(width=5)),
    "rule": lambda: trainer(rule=optim.Momentum(0.01)),
    "no clipping": lambda: trainer(clip_norm=None),
    "no decay": lambda: trainer(weight_decay=0.0),
    "a decay of another kind": lambda: trainer(weight_decay=optim.Decoupled(0.01)),
    "roles": lambda: trainer(weight_decay=optim.Coupled(0.01, ("weight", "bias"))),
    "loss": lambda: trainer(loss=nn.MeanSquaredError()),
    "metrics": lambda: trainer(metrics=["mae"]),
    "no ratio": lambda: trainer(net(ratio=0.0)),
    "a layer twice": lambda: trainer(twice(nn.Affine(3, 3))),
    "two layers": lambda: trainer(nn.Sequential(nn.Affine(3, 3), nn.Affine(3, 3), nn.Affine(3, 2))),
    "the first again": lambda: trainer(one_of(0)),
    "the second again": lambda: trainer(one_of(1)),
    "a role": lambda: trainer(decaying(nn.Affine(3, 2))),
    "no bias": lambda: trainer(nn.Affine(3, 2, bias=False)),
    "factor": lambda: trainer(nn.Sequential(nn.Rescale(0.5), nn.Affine(3, 2))),
    "another factor": lambda: trainer(nn.Sequential(nn.Rescale(0.25), nn.Affine(3, 2))),
}


def twice(layer):
    return nn.Sequential(layer, layer, nn.Affine(3, 2))


def one_of(which):
    layers = [nn.Affine(3, 3), nn.Affine(3, 3)]
    return nn.Sequential(*layers, layers[which], nn.Affine(3, 2))


def decaying(affine):
    affine.b = cr.parameter(np.zeros(2), name="b")
    return affine


def test_what_changes_the_graph_is_not_shared():
    makes = (trainer, lambda: trainer(nn.Affine(3, 2)), *DIFFERENT.values())
    found = [of(make()) for make in makes]
    assert len(set(map(id, found))) == len(makes)


def test_no_smoothing_leaves_out_a_term():
    smooth, other, hard = (
        cr.Trainer(nn.Affine(3, 2), nn.SoftmaxCrossEntropy(ratio), optim.SGD())
        for ratio in (0.1, 0.2, 0.0)
    )
    assert of(smooth) is of(other) is not of(hard)


class Doubled(nn.Layer):
    factor: float = 2.0

    def __call__(self, x, context=nn.EVALUATION):
        return x * self.factor


class Slow(optim.SGD):
    pass


class Squared(nn.MeanSquaredError):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: trainer(nn.Sequential(Doubled(), nn.Affine(3, 2))),
        lambda: trainer(nn.Sequential(nn.Function(cr.tanh), nn.Affine(3, 2))),
        lambda: trainer(rule=Slow()),
        lambda: trainer(loss=Squared()),
    ],
)
def test_classes_of_somebody_else_are_not_compared(make):
    assert of(make()) is not of(make())


def test_a_weight_that_is_another_ones_transpose_is_not_compared():
    def tied():
        there, back = nn.Affine(3, 2), nn.Affine(2, 3)
        back.W = there.W.T
        return trainer(nn.Sequential(there, back, nn.Affine(3, 2)))

    assert of(tied()) is not of(tied())


def test_leaves_of_ones_own_are_what_one_asks_for():
    first, model = trainer(), net(ratio=0.5)
    other = trainer(model, seed=3)
    assert of(other) is of(first)
    W = model[0].W
    np.testing.assert_array_equal(other.value(W), other.weights()["0.W"])
    assert not np.array_equal(other.value(W), first.weights()["0.W"])


def test_no_model_is_changed_through_anothers():
    """A step is that of the model as it was when its trainer was made."""
    X, y = rows()
    expected = everything(trainer(), X, y)
    recipes._kept.clear()
    model, loss = net(), nn.Huber(0.5)
    first = trainer(model, loss=loss)
    model.layers = (*model.layers[:2], nn.Tanh(), *model.layers[3:])
    loss.limit = cr.constant(9.0)
    for t in (first, trainer()):
        history = t.fit(X, y, epochs=2, batch_size=16)
        np.testing.assert_array_equal(history["loss"], expected[0])


def test_the_same_layers_in_another_order(tmp_path):
    X, y = rows()
    one, other = nn.Affine(3, 3), nn.Affine(3, 3)
    models = [
        nn.Sequential(a, nn.Tanh(), b, nn.Affine(3, 2)) for a, b in ((one, other), (other, one))
    ]
    first, second = map(trainer, models)
    assert of(first) is of(second)
    second.fit(X, y, epochs=2)
    second.save(tmp_path / "model")
    np.testing.assert_array_equal(cr.load(tmp_path / "model").predict(X), second.predict(X))
    np.testing.assert_array_equal(second.value(other.W), second.weights()["0.W"])


def test_a_leaf_of_somebody_elses_has_no_value_here():
    first, model = trainer(), net()
    assert of(trainer(model)) is of(first)
    with pytest.raises(KeyError):
        first.value(model[0].W)


def test_averages_one_after_the_other():
    X, y = rows()
    for seed in range(3):
        members = [trainer(seed=seed + i) for i in range(2)]
        for member in members:
            member.fit(X, y, epochs=1)
        mean = np.mean([member.predict(X) for member in members], axis=0)
        np.testing.assert_allclose(averaged(members).predict(X), mean, atol=1e-6)


class Within(Metric):
    name = "within"
    limit: float

    def rows(self, Y, T, target):
        return cr.where(cr.greater(self.limit, cr.absolute(Y - T)), 1.0, 0.0).mean(axis=1)


def test_metrics_of_somebody_else(monkeypatch):
    X, y = rows()
    found = []
    for limit in (0.5, 2.0):
        monkeypatch.setitem(METRICS, "within", Within(limit))
        found.append(trainer(metrics=["within"]).initialize(X).evaluate(X, y)["within"])
    assert found[0] < found[1]


class Fading(nn.Layer):
    """Reads a number of its own in evaluation too."""

    def setup(self):
        self.factor = cr.scalar(lambda epoch, epochs: 2.0, name="factor")

    def __call__(self, x, context=nn.EVALUATION):
        return x * self.factor


def test_a_schedule_that_is_not_ours():
    X, y = rows()
    t = trainer(nn.Sequential(nn.Affine(3, 2), Fading()))
    t.fit(X, y, epochs=1)
    assert np.isfinite(t.predict(X)).all()


def test_nothing_of_the_users_is_kept():
    model, schedule = net(), optim.Cosine(0.1)
    kept = [weakref.ref(x) for x in (model, schedule)]
    t = trainer(model, optim.Adam(schedule))
    t.fit(*rows(), epochs=1)
    del model, schedule, t
    gc.collect()
    assert [ref() for ref in kept] == [None, None]


def test_initial_values_of_ones_own():
    model = net()
    model[0].W = cr.parameter(np.full((3, 4), 7.0), name="W")
    first, other = trainer(), trainer(model)
    assert of(other) is of(first)
    assert (other.weights()["0.W"] == 7.0).all()
    assert not (first.weights()["0.W"] == 7.0).any()


def with_other_numbers(spec):
    """The same with half of each number for which it has a leaf."""
    leaves = [x for x in vars(spec).values() if isinstance(x, cr.Tensor) and x.op is scalar_op]
    halved = {leaf.name: getattr(spec, leaf.name) / 2 for leaf in leaves}
    return type(spec).of_fields(spec.fields() | halved)


def graph(layer, loss, columns):
    recipes._kept.clear()
    recipe = of(cr.Trainer(nn.Sequential(nn.Affine(3, 3), layer), loss, optim.SGD()))
    return form(programs.training_program(recipe, programs.inputs(3, columns, False))).key


@pytest.mark.parametrize("kind", LAYER_EXAMPLES, ids=lambda kind: kind.__name__)
def test_no_graph_depends_on_a_number_for_which_there_is_a_leaf(kind):
    for make in LAYER_EXAMPLES[kind]:
        layer = make(3)
        columns = layer(cr.batch(3)).shape[1]
        first = graph(layer, nn.MeanSquaredError(), columns)
        assert graph(with_other_numbers(layer), nn.MeanSquaredError(), columns) == first


@pytest.mark.parametrize("kind", LOSS_EXAMPLES, ids=lambda kind: kind.__name__)
def test_no_loss_depends_on_a_number_for_which_there_is_a_leaf(kind):
    for make, target in LOSS_EXAMPLES[kind]:
        loss, columns = make(3), None if target == "class" else 3
        first = graph(nn.ReLU(), loss, columns)
        assert graph(nn.ReLU(), with_other_numbers(loss), columns) == first


@pytest.mark.parametrize("kind", LAYER_EXAMPLES, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:this trainer can be trained, not saved")
def test_every_layer_after_another_of_its_kind(kind):
    X, y = rows()
    for make in LAYER_EXAMPLES[kind]:
        model = nn.Sequential(nn.Affine(3, 3), make(3))
        if model(cr.batch(3)).shape[1] == 1:
            model = nn.Sequential(model, nn.Affine(1, 2))
        alone = cr.Trainer(model, nn.MeanSquaredError(), optim.SGD(0.01))
        targets = y if alone.initialize(X).predict(X).shape[1] == 2 else np.ones((len(y), 3))
        expected = everything(alone, X, targets)
        again = cr.Trainer(model, nn.MeanSquaredError(), optim.SGD(0.01))
        for a, b in zip(everything(again, X, targets), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", RULES, ids=lambda kind: kind.__name__)
def test_every_rule_after_another_rate(rule):
    X, y = rows()
    make = lambda lr: trainer(rule=rule(lr), weight_decay=0.0)  # noqa: E731
    alone = everything(make(0.003), X, y)
    recipes._kept.clear()
    everything(make(0.01), X, y)
    for a, b in zip(everything(make(0.003), X, y), alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_threads_at_once():
    X, y = rows()
    expected = everything(trainer(), X, y)
    recipes._kept.clear()
    found = [None] * 12

    def run(i):
        found[i] = everything(trainer(threads=1), X, y)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_not_all_recipes_are_kept(monkeypatch):
    monkeypatch.setattr(recipes, "MOST_RECIPES", 2)
    first = trainer(net(width=2))
    for width in (3, 4, 5):
        trainer(net(width=width))
    assert len(recipes._kept) == 2
    assert of(trainer(net(width=2))) is not of(first)
