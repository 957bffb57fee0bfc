"""The search: what it decides, that it decides the same again, and what becomes of bad input."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.report import findings
from chainrule.search import (
    Choice,
    Integer,
    LogUniform,
    Search,
    SecondLook,
    Uniform,
    UnknownSetting,
    When,
    budget,
)
from chainrule.search.budget import Budget
from chainrule.search.executors import Threads
from chainrule.search.final import finish
from chainrule.search.halving import Score, goes_on, rungs
from chainrule.search.narrowing import narrowed
from chainrule.search.objective import Objective
from chainrule.search.plan import Plan, Task
from chainrule.search.recorded import Recorded, recorded
from chainrule.search.runner import Runner
from chainrule.search.sampling import sobol
from chainrule.search.space import draw
from chainrule.search.study import Study
from chainrule.search.trial import TOO_SLOW, Rules
from chainrule.training.session import Snapshot

pytestmark = pytest.mark.usefixtures("eight_processors")

SEED = 2
"""With it the leaders are so near to each other that further splits decide."""

SPACE = {"lr": LogUniform(1e-3, 1e0), "width": Integer(4, 32, log=True)}


def data(rows=240, seed=0):
    X = np.random.default_rng(seed).normal(size=(rows, 2)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def build(settings):
    net = nn.Sequential(nn.Affine(2, settings["width"]), nn.Tanh(), nn.Affine(settings["width"], 2))
    return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Momentum(lr=settings["lr"]))


def search(**options):
    given = dict(trials=24, epochs=9, batch_size=40, round_size=8, seed=SEED, threads=2)
    return Search(options.pop("build", build), options.pop("space", SPACE), **(given | options))


# Space ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "low", "high"),
    [
        (Uniform(-1.0, 2.0), -1.0, 2.0),
        (LogUniform(1e-6, 1e-2), 1e-6, 1e-2),
        (Integer(3, 7), 3, 7),
        (Integer(16, 256, log=True), 16, 256),
    ],
)
def test_ranges_are_covered_to_the_ends(parameter, low, high):
    values = [parameter.value(u) for u in np.linspace(0, 1 - 1e-12, 2001)]
    assert min(values) == pytest.approx(low)
    assert max(values) == pytest.approx(high)
    assert values == sorted(values)


def test_integers_are_all_as_likely():
    values = [Integer(3, 7).value(u) for u in (np.arange(5000) + 0.5) / 5000]
    assert {values.count(n) for n in range(3, 8)} == {1000}


def test_a_rate_is_uniform_in_its_logarithm():
    values = [LogUniform(1e-6, 1e-2).value(u) for u in (np.arange(400) + 0.5) / 400]
    for k in range(-6, -2):
        assert sum(10.0**k <= value < 10.0 ** (k + 1) for value in values) == 100


def test_a_conditional_setting_is_there_only_where_it_makes_sense():
    space = {"layers": Integer(1, 2), "second": When("layers", [2], Integer(16, 64))}
    assert draw(space, [0.1, 0.5]) == {"layers": 1}
    assert draw(space, [0.9, 0.5]) == {"layers": 2, "second": 40}
    for two in (np.int64(2), 2.0):
        search(space=space | {"second": When("layers", [1, two], Integer(16, 64))})


def test_sobol_points_fill_the_space_evenly():
    points = np.array([sobol(0, 2, i) for i in range(64)])
    counts = np.histogram2d(*points.T, bins=4, range=[[0, 1], [0, 1]])[0]
    assert (counts == 4).all()


BAD = {
    "LogUniform: low is 0, not in (0, inf)": lambda: LogUniform(0, 1),
    "LogUniform: low is 1, expected less than high, which is 0.1": lambda: LogUniform(1, 0.1),
    "Uniform: low is 1, expected less than high, which is 1": lambda: Uniform(1, 1),
    "Uniform: high is inf, not in (-inf, inf)": lambda: Uniform(1, np.inf),
    "Integer: low is 0.5, expected a whole number": lambda: Integer(0.5, 3),
    "Integer: low is 0, expected 1 or more with log=True": lambda: Integer(0, 3, log=True),
    "Integer: high is a number beyond ±1e+300": lambda: Integer(0, 10**400),
    "Uniform: low is a number beyond ±1e+300": lambda: Uniform(-1.7e308, 1.0),
    "Choice: options is [], expected a list": lambda: Choice([]),
    "Choice: options is 'abc', expected a list": lambda: Choice("abc"),
    "Choice: options is ['a', 'a'], expected a list of different": lambda: Choice(["a", "a"]),
    "When: parameter is 3, expected a range or a Choice": lambda: When("a", [1], 3),
    "Search: space is {}, expected settings by name": lambda: search(space={}),
    "Search: setting 'lr' is [0.1], expected LogUniform,": lambda: search(space={"lr": [0.1]}),
    "Search: 'b' depends on 'lrr', which is no setting before it; did you mean 'lr'?": (
        lambda: search(space={"lr": Uniform(0, 1), "b": When("lrr", [1], Uniform(0, 1))})
    ),
    "Search: 'b' depends on 'a', which is no setting before it: a setting must stand before": (
        lambda: search(space={"b": When("a", [1], Uniform(0, 1)), "a": Integer(1, 2)})
    ),
    "Search: 'a' depends on itself, which": (
        lambda: search(space={"a": When("a", [1], Uniform(0, 1))})
    ),
    "Search: 'b' depends on 'a' being 'SGD', which it cannot be (Choice: sgd, adam); did you": (
        lambda: search(space={"a": Choice(["sgd", "adam"]), "b": When("a", ["SGD"], SPACE["lr"])})
    ),
    "Search: 'b' depends on 'a' being 7, which it cannot be (Integer: 1 to 2)": (
        lambda: search(space={"a": Integer(1, 2), "b": When("a", [2, 7], Uniform(0, 1))})
    ),
    "Search: 'b' depends on 'a' being 0.5, which it cannot be (Uniform: 0 to 1)": (
        lambda: search(space={"a": Uniform(0, 1), "b": When("a", [0.5], Uniform(0, 1))})
    ),
    "When: name is 3, expected that of a setting": lambda: When(3, ["x"], Uniform(0, 1)),
    "When: values is [array([1, 2])], expected a list of values": (
        lambda: When("a", [np.array([1, 2])], Uniform(0, 1))
    ),
    "Search: study is '', expected the name of a file": lambda: search(study=""),
    "Search: resume is True, but there is nothing to resume: name a study": lambda: search().run(
        *data(), resume=True
    ),
    "no setting 'b' in this trial: there is one only where 'lr' is 1; ask for it by": (
        lambda: search(
            space={"lr": Integer(1, 2), "b": When("lr", [1], Uniform(0, 1))},
            build=lambda s: build({"lr": s["b"], "width": 3}),
        ).run(*data())
    ),
    "y is [240, 3], but the network has 2 outputs": (
        lambda: search().run(data()[0], np.zeros((240, 3), int))
    ),
    "Search: give trials, minutes, or both": lambda: search(trials=None),
    "Search: trials is 0, not in [1, 2147483647]": lambda: search(trials=0),
    "Search: reduction is 1, expected 2 or more": lambda: search(reduction=1),
    "Search: validation_fraction is 0": lambda: search(validation_fraction=0.0),
    "Search: build is 3, expected a function": lambda: search(build=3),
    "Search: metric is 'f1', there is accuracy, loss": lambda: search(metric="f1").run(*data()),
    "X has 240 rows, but y has 3": lambda: search().run(data()[0], [0, 1, 0]),
    "build returned None, expected a Trainer": lambda: search(build=lambda s: None).run(*data()),
}


@pytest.mark.parametrize("message", BAD, ids=range(len(BAD)))
def test_wrong_input_is_named(message):
    with pytest.raises(cr.ChainruleError) as error:
        BAD[message]()
    assert message in str(error.value)


def test_an_unknown_setting_suggests_a_near_name():
    with pytest.raises(UnknownSetting, match="no setting 'widht'; did you mean 'width'"):
        search(build=lambda settings: build({"lr": 1, "width": settings["widht"]})).run(*data())


# Halving and narrowing --------------------------------------------------------------------------


def test_rungs():
    assert rungs(50, 3) == [2, 6, 17, 50]
    assert rungs(1, 3) == [1]
    assert rungs(2, 4) == [2]
    assert rungs(81, None) == [81]


def test_a_trial_goes_on_if_it_is_among_the_best_third():
    assert goes_on(1, 1, 3)
    assert not goes_on(2, 2, 3)
    assert goes_on(2, 4, 3)
    assert not goes_on(3, 5, 3)
    assert [sum(goes_on(place, n, 3) for place in range(1, n + 1)) for n in (3, 9, 10)] == [1, 3, 4]


RULES = Rules(0, 40, 9, 3, 10, True, "random")


def carried_out(rules, cost, pick):
    """A plan carried out with some tasks under way at once, which `pick` chooses to end next."""
    plan, under_way = Plan(rules, dict(SPACE)), []
    while True:
        while len(under_way) < 4 and (task := plan.next()) is not None:
            under_way.append(task)
        if not under_way:
            assert plan.ended
            return plan
        task = under_way.pop(pick(len(under_way)))
        plan.report(task, cost(plan.trials[task.trial], task.rung))


def test_the_order_in_which_trials_come_in_changes_nothing():
    def cost(trial, rung):
        value = abs(np.log10(trial.settings["lr"]) + 2.0) + 0.1 * (trial.number % 3) / (rung + 1)
        return Score(value, value)

    random = np.random.default_rng(0)
    plans = [
        carried_out(RULES, cost, pick)
        for pick in (lambda n: 0, lambda n: n - 1, random.integers, random.integers)
    ]
    found = [[(t.settings, t.scores, t.status, t.reason) for t in plan.trials] for plan in plans]
    assert all(each == found[0] for each in found)
    assert plans[0].counts["done"] < 20
    assert plans[0].counts["abandoned"] > 15


def test_the_rule_of_halving_holds_for_every_trial():
    random = np.random.default_rng(1)
    plan = carried_out(RULES, lambda trial, rung: Score(*random.random(2)), random.integers)
    for trial in plan.trials:
        for rung, score in enumerate(trial.scores[:-1] or trial.scores):
            if rung == len(plan.rungs) - 1:
                continue
            others = [t for t in plan.trials[: max(trial.number + 1, 9)] if len(t.scores) > rung]
            place = 1 + sum(other.scores[rung] < score for other in others)
            assert goes_on(place, len(others), 3) == (len(trial.scores) > rung + 1)


@pytest.mark.parametrize("trials", [1, 2, 8, 9, 10, 12])
@pytest.mark.parametrize("round_size", [1, 5, 9, 30])
@pytest.mark.parametrize(("factor", "narrow"), [(3, True), (3, False), (None, True)])
def test_no_trial_waits_for_ones_that_never_come(trials, round_size, factor, narrow):
    rules = Rules(0, trials, 9, factor, round_size, narrow, "random")
    plan = carried_out(rules, lambda trial, rung: Score(0.5, 0.5), lambda n: n - 1)
    assert len(plan.trials) == trials
    assert plan.counts["done"] == (trials if factor is None else 1)  # of equal ones the first


def test_the_first_trial_is_not_trained_fully_just_because_it_came_first():
    """The others of the first nine are better: it is abandoned, and of the nine one is left."""
    rules = Rules(0, 9, 9, 3, 30, True, "random")
    plan = carried_out(rules, lambda trial, rung: Score(-trial.number, 0.0), lambda n: 0)
    assert [trial.status for trial in plan.trials] == ["abandoned"] * 8 + ["done"]
    assert [len(trial.scores) for trial in plan.trials] == [1] * 6 + [2, 2, 3]
    assert plan.trials[0].reason == "after 1 epoch number 9 of 9"


def test_ranges_find_their_way_out_and_keep_to_what_is_fixed():
    space = {"lr": LogUniform(1e-6, 1e-2), "ratio": Uniform(0.0, 0.5), "kind": Choice(["a", "b"])}
    good = [{"lr": 0.009 - i * 1e-4, "ratio": 0.49, "kind": "a"} for i in range(8)]
    tried = [*good, *({"lr": 1e-5, "ratio": 0.1, "kind": "b"} for _ in range(10))]
    found, reasons = narrowed(space, space, good, tried)
    assert found["lr"].high == pytest.approx(1.0)
    assert found["ratio"].high == 0.5
    assert found["ratio"].low > 0.3
    assert found["kind"].options == ("a",)
    assert "upper end" in reasons["lr"]
    assert "b" in reasons["kind"]
    assert narrowed(found, space, good[:3], tried)[1] == {}  # too few to go by


@pytest.mark.parametrize("score", [lambda n: n, lambda n: -n], ids=["few", "many"])
def test_whole_numbers_that_are_fixed_stay_within_their_ends(score):
    first = {"layers": Integer(1, 3), "width": Integer(2, 5)}
    space = first
    for _ in range(8):
        numbers = range(space["layers"].low, space["layers"].high + 1)
        best = [{"layers": n, "width": 5} for n in sorted(numbers, key=score)][:1] * 8
        space, _ = narrowed(space, first, best, best)
        assert 1 <= space["layers"].low < space["layers"].high <= 3
        assert 2 <= space["width"].low < space["width"].high <= 5
    assert score(2) == 2 or space["layers"].high == 3


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_range_has_an_end_where_a_setting_has_no_effect(end):
    first = space = {"decay": LogUniform(1e-8, 1e-4)}
    for _ in range(40):
        edge = [{"decay": getattr(space["decay"], end)}] * 8
        space, _ = narrowed(space, first, edge, edge)
    assert 1e-21 < space["decay"].low < space["decay"].high < 1e9


def test_an_option_that_was_left_out_may_come_back():
    first = {"rule": Choice(["sgd", "adam"])}
    sgd, adam = [{"rule": "sgd"}] * 8, [{"rule": "adam"}] * 8
    space, reasons = narrowed(first, first, sgd, sgd + adam)
    assert space["rule"].options == ("sgd",)
    assert reasons == {"rule": "none of 8 good trials has adam"}
    space, reasons = narrowed(space, first, adam, sgd + adam)
    assert space["rule"].options == ("adam",)
    assert "have adam" in reasons["rule"]


def test_ranges_widen_again():
    first = {"width": Integer(4, 512, log=True)}
    now = {"width": Integer(16, 64, log=True)}
    good = [{"width": width} for width in (20, 30, 300, 40, 50, 60)]
    assert narrowed(now, first, good, good)[0]["width"].high >= 300


@pytest.mark.parametrize("how", ["tpe", "cmaes"])
@pytest.mark.filterwarnings("default")  # Optuna's own
def test_samplers_of_optuna(how, capfd):
    pytest.importorskip("optuna")
    if how == "cmaes":
        pytest.importorskip("cmaes")
    kinds = {"kind": Choice(["a", "b"]), "size": When("kind", ["b"], Uniform(0.0, 1.0))}
    found = []
    for threads in (1, 3):
        result = search(draw=how, threads=threads, space=SPACE | kinds).run(*data())
        found.append(columns(result))
    assert found[0] == found[1]
    for trial in found[0][0]:
        assert (trial["size"] is None) == (trial["kind"] == "a")
    assert capfd.readouterr() == ("", "")


def test_without_optuna_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(cr.InputError, match=r"pip install 'chainrule\[optuna\]'"):
        search(draw="tpe").run(*data())


def test_whether_there_is_hope_is_decided_by_the_first_trials():
    """Whatever others, which more threads start earlier, have come to."""
    plan = Plan(Rules(0, 60, 9, 3, 10, False, "random"), dict(SPACE))
    for i in range(12):
        assert plan.next() == Task(i, 0)
    plan.report(Task(11, 0), Score(0.0, 0.0))
    for i in range(10):
        assert not plan.failing
        plan.fail(Task(i, 0), "no luck")
    assert plan.failing == "no luck"


def test_who_runs_ahead_of_a_slow_trial_waits_in_the_end():
    plan = Plan(Rules(0, None, 9, 3, 10, False, "random"), dict(SPACE))
    assert plan.next() == Task(0, 0)
    for i in range(1, 256):
        assert plan.next() == Task(i, 0)
        plan.report(Task(i, 0), Score(0.0, 0.0))
    assert plan.next() is None
    assert not plan.ended
    plan.report(Task(0, 0), Score(0.0, 0.0))
    assert plan.next() is not None


def test_all_trials_failing_is_the_end():
    plan = Plan(RULES, dict(SPACE))
    for i in range(10):
        assert plan.next() == Task(i, 0)
        plan.fail(Task(i, 0), "no luck" if i else "other")
    assert plan.next() is None
    assert plan.ended
    assert plan.failing == "no luck"


# The whole of it --------------------------------------------------------------------------------


def columns(result):
    return result.trials.to_dicts(), result.best_settings, result.best_score


@pytest.fixture(scope="module")
def reference():
    """What the search of `search()` finds."""
    result = search(threads=1).run(*data())
    return columns(result), result.trainer.weights()


def test_it_finds_good_settings_and_tests_them_once():
    result = search(trials=30, epochs=27).run(*data(600))
    assert result.metric == "accuracy"
    assert result.best_score > 0.9
    assert 0 < result.flattery < 0.2
    X, y = data(300, seed=1)
    assert result.test(X, y)["accuracy"] > 0.85
    with pytest.warns(SecondLook, match="look number 2"):
        result.test(X, y)


def test_as_many_threads_as_python_has_time_for(monkeypatch):
    """Unless the user wants a number of them, no more run than get along beside one another."""
    monkeypatch.setattr("chainrule.search.executors.processors", lambda: 8)
    threads = Threads(None, None)
    assert threads.worthwhile == threads.workers == 8
    threads._took(3.0, 2.1)
    assert threads.worthwhile == 3
    threads._last_end -= 2.0  # nothing has come to an end since
    assert threads.worthwhile == 8
    assert Threads(None, 5).worthwhile == 5

    seen = set()

    def told(settings):
        seen.add(threading.current_thread().name)
        return build(settings)

    with monkeypatch.context() as patch:
        patch.setattr(Threads, "worthwhile", 1)
        alone = search(build=told, threads=None).run(*data())
    assert {name for name in seen if "trial" in name} == {"chainrule-trial-0"}
    assert columns(alone) == columns(search(threads=3).run(*data()))


def test_seconds_without_the_lock_are_those_of_long_runs():
    """A short one keeps Python's lock, and to compile is work in Python."""
    t = build({"lr": 0.1, "width": 8})
    t.use_threads(1)
    t.fit(*data(), epochs=3)
    t.predict(data()[0])
    assert t.session.engine.unlocked_seconds == 0.0
    began = time.thread_time()
    t.fit(*data(20_000), epochs=20)
    assert 0 < t.session.engine.unlocked_seconds < time.thread_time() - began


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing(reference, threads):
    result = search(threads=threads).run(*data())
    assert columns(result) == reference[0]
    for name, value in reference[1].items():
        assert np.array_equal(value, result.trainer.weights()[name])


def test_a_trial_is_what_training_it_alone_gives(reference):
    """A trial that paused at its rungs, beside others, scores as one that went straight on."""
    (trials, _, _), _ = reference
    done = next(trial for trial in trials if trial["status"] == "done")
    from chainrule.data.split import Split, hold_out

    train, held = hold_out(Split(*data()), 0.2, SEED)
    t = build(done)
    t.fit(train.X, train.y, epochs=9, batch_size=40)
    assert t.evaluate(held.X, held.y)["accuracy"] == done["score"]


def test_the_final_model_may_be_an_average_of_the_best(tmp_path, reference):
    result = search(average=3).run(*data())
    X = data(seed=1)[0]
    assert columns(result)[0] == reference[0][0]  # the trials are the same
    members = result.trainer.model.members
    assert len(members) == len(result.averaged) == 3
    assert result.averaged[0] == result.best.number
    assert members[0][0].outputs == result.best_settings["width"]
    own = []
    for net in members:
        alone = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(0.1))
        leaves = {f"model.{path}": leaf for path, leaf in net.leaves().items()}
        values = {path: result.trainer.value(leaf) for path, leaf in leaves.items()}
        alone.session.restore(Snapshot(values, 0))
        own.append(alone.probabilities(X))
    assert not np.allclose(own[0], own[1], atol=1e-3)
    np.testing.assert_allclose(result.trainer.probabilities(X), np.mean(own, axis=0), atol=1e-6)
    result.trainer.save(tmp_path / "model")
    again = cr.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(X), result.trainer.predict(X))
    assert result.test(*data(seed=1))["accuracy"] > 0.8


def test_an_average_takes_who_can_be_trained():
    """More members than trials that came so far: all of them."""
    result = search(average=50, reduction=None, trials=6).run(*data())
    assert len(result.trainer.model.members) == 6


def test_a_loss_is_minimized_where_there_is_no_accuracy():
    X, _ = data()
    y = X[:, 0] * 2 + X[:, 1]

    def regression(settings):
        net = nn.Sequential(nn.Affine(2, 1))
        return cr.Trainer(net, nn.MeanSquaredError(), optim.SGD(lr=settings["lr"]))

    result = search(build=regression, space={"lr": LogUniform(1e-4, 1e0)}).run(X, y)
    assert result.metric == "rmse"
    assert result.best_score == min(x for x in result.trials["score"] if x is not None)
    assert result.best_score < 0.1


def test_bad_settings_fail_with_a_reason_and_the_search_goes_on():
    def fragile(settings):
        if settings["width"] < 10:
            raise ValueError("too narrow")
        return build(settings)

    def explosive(settings):
        return build(settings | {"lr": 1e39 if settings["width"] < 10 else 0.1})

    for make, reason in ((fragile, "ValueError: too narrow"), (explosive, "TrainingError: ")):
        table = search(build=make).run(*data()).trials
        failed = table.filter(table["status"] == "failed")
        assert len(failed)
        assert all(reason in row["reason"] and row["width"] < 10 for row in failed.to_dicts())
        assert (table["status"] == "done").any()


def test_a_build_may_do_what_it_likes_with_its_settings(reference):
    def popping(settings):
        width = settings.pop("width")
        return build({"width": width, **settings})

    assert columns(search(build=popping).run(*data())) == reference[0]


@pytest.mark.parametrize("error", [MemoryError, AssertionError, cr.ShapeError])
def test_the_first_trial_may_fail_too(error):
    first = draw(SPACE, np.random.Generator(np.random.Philox(key=[SEED, 1 << 33])).random(2))

    def fragile(settings):
        if settings == first and error is cr.ShapeError:
            net = nn.Sequential(nn.Affine(3, 2))  # the data have two columns
            return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(0.1))
        if settings == first:
            raise error("not this one")
        return build(settings)

    table = search(build=fragile).run(*data()).trials
    assert table["status"].to_list().count("failed") == 1
    assert error.__name__ in table["reason"][0]


def test_every_trial_failing_says_why():
    def broken(settings):
        raise ValueError("nothing works")

    with pytest.raises(cr.TrainingError, match=r"first 10 trials failed, .*nothing works"):
        search(build=broken).run(*data())


def test_a_mistake_that_is_no_trial_s_own_ends_the_search(monkeypatch):
    def broken(self, task, score):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Plan, "report", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        search().run(*data())


def test_no_time_finishes_one_rung():
    result = search(trials=None, minutes=1e-6).run(*data())
    assert result.trials["score"].is_not_null().sum() >= 1
    assert len(result.trials) <= 4


def test_the_final_model_has_its_time(monkeypatch):
    """As much as its trial says; that code was compiled in its first epochs says nothing."""
    clock = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    time_for = Budget(60.0, epochs=30, models=2, more_rows=1.25)
    assert time_for.left_for_trials(0) == pytest.approx(48.0)
    time_for.took(0, 1, 5.0)
    assert time_for.needs(0, 2) == 10.0
    assert time_for.left_for_trials(0) == pytest.approx(48.0)
    time_for.took(0, 2, 1.0)
    assert time_for.needs(0, 20) == 10.0
    assert time_for.at_the_end(0) == 0.5 * 30 * 1.25 * 2
    clock[0] += 10.0
    assert time_for.left_for_trials(0) == pytest.approx(12.5)
    assert time_for.left_for_trials(1) == pytest.approx(38.0)


def test_without_a_limit_nothing_takes_too_long():
    time_for = Budget()
    time_for.took(0, 1, 1e9)
    assert (time_for.needs(0, 30), time_for.left_for_trials(0)) == (0.0, np.inf)


class Slow:
    """An executor that says how long its jobs took: a second, but of the first trial longer."""

    workers, at_once, worthwhile = 1, 1, 1

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.jobs = clock, seconds, []

    def carry_out(self, jobs, stop):
        self.jobs += [(job.trial, job.epochs) for job in jobs]
        self.clock[0] += self.seconds if jobs[0].trial == 0 else 1.0
        return [Score(1.0 / jobs[0].trial if jobs[0].trial else 0.0, 1.0)]

    def forget(self, trial):
        pass


@pytest.fixture
def slow(monkeypatch):
    """Run a search whose first trial, the best of all, is slow, in a certain time."""
    clock = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    objective = Objective(build, None, 0.2, 9, 40, "loss", 0)

    def run(trials, seconds, of_first, study, resume=False):
        clock[0] = 0.0
        plan = Plan(Rules(0, trials, 9, 3, 100, False, "random", 3), dict(SPACE))
        executor = Slow(clock, of_first)
        known = recorded(study, objective) if resume else Recorded()
        runner = Runner(plan, objective, executor, study, known, Budget(seconds, 9))
        runner.replay()
        runner.run(None)
        runner.end()
        assert clock[0] <= seconds
        return plan, executor.jobs

    return run


@pytest.mark.parametrize(("trials", "expected"), [(9, 9), (None, 30)])
def test_a_trial_for_which_there_is_no_time_does_not_go_on(slow, trials, expected):
    """Others begin instead; and where there are none any more the search ends."""
    plan, jobs = slow(trials, (3600.0 + 60.0) / 0.8, 3600.0, Study(None))
    assert jobs[0] == (0, 1)
    assert (0, 3) not in jobs
    assert len(plan.trials) >= expected
    assert plan.trials[0].reason == "the time was up"


def test_a_trial_that_is_too_slow_is_given_up_and_holds_nobody_up(slow):
    """Its three epochs take 100 s each, and nine would take more than there is."""
    study = Study(None)
    plan, jobs = slow(40, 600.0, 150.0, study)
    first = plan.trials[0]
    assert [job for job in jobs if job[0] == 0] == [(0, 1), (0, 3)]
    assert (first.status, first.reason) == ("abandoned", "too slow to be trained fully in the time")
    assert plan.leader.number != 0
    assert plan.counts["done"] > 20
    again, jobs = slow(40, np.inf, 150.0, study, resume=True)
    assert not jobs
    for trial, same in zip(plan.trials, again.trials, strict=True):
        assert (trial.status, trial.reason) == (same.status, same.reason)


def test_a_model_for_which_there_is_time_is_chosen():
    """Not that of a trial that was too slow, if another is known to be quick enough."""
    result = search().run(*data())
    for trial in result.plan.trials:
        trial.reason = TOO_SLOW if trial is result.best else ""
    final = finish(result.plan, result._objective, result._study, 1, Budget())
    assert final.trials[0] is not result.best
    assert len(final.trials[0].scores) == len(result.best.scores)


def test_what_comes_after_the_trials_is_told():
    seen = []
    search().run(*data(), progress=lambda p: seen.append(p.phase))
    assert seen[-2:] == ["measuring 3 leaders again", "training the final model"]
    assert set(seen[:-2]) == {"trials"}


def test_ctrl_c_in_the_final_training_is_no_model(tmp_path, monkeypatch):
    path = tmp_path / "study.db"
    fully = Objective.train_fully

    def interrupted(self, trainer, settings, stop):
        train = trainer.session.train

        def press(*epochs):
            signal.raise_signal(signal.SIGINT)
            return train(*epochs)

        monkeypatch.setattr(trainer.session, "train", press)
        fully(self, trainer, settings, stop)

    monkeypatch.setattr(Objective, "train_fully", interrupted)
    job = search(study=path, epochs=400, trials=3)
    with pytest.warns(cr.Interrupted), pytest.raises(KeyboardInterrupt):
        job.run(*data())
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM final").fetchone() == (0,)
    db.close()


@pytest.mark.parametrize("failures", [3, 7, 1000])
def test_where_leaders_cannot_be_trained_on_all_rows_worse_ones_are(monkeypatch, failures):
    """The five leaders in turn, then further and further down the ranking."""
    fully, tried = Objective.train_fully, []

    def fragile(self, trainer, settings, stop):
        tried.append(settings)
        if len(tried) <= failures:
            raise cr.TrainingError("too steep")
        fully(self, trainer, settings, stop)

    monkeypatch.setattr(Objective, "train_fully", fragile)
    job = search(trials=40, reduction=None, narrow=False, epochs=2)
    if failures < 40:
        assert job.run(*data()).best_settings == tried[-1]
        assert len(tried) == failures + 1
    else:
        error = (
            "^the final model cannot be trained: TrainingError: too steep .test_search.py, line "
        )
        with pytest.raises(cr.TrainingError, match=error):
            job.run(*data())
        assert 5 < len(tried) < 15


def test_a_leader_that_cannot_be_measured_again_is_no_obstacle_to_resuming(tmp_path, reference):
    path = tmp_path / "study.db"
    search(study=path).run(*data()).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE splits SET score = NULL, loss = NULL WHERE split = 2")
        assert db.total_changes
    db.close()
    search(study=path).run(*data(), resume=True).close()


def test_the_largest_seed_splits_too():
    result = search(trials=6, seed=4294967295).run(*data())
    query = "SELECT count(*) FROM splits WHERE score IS NULL"
    ((count,),) = result._study.rows(query, tuple[int])
    assert count == 0


def test_when_the_time_is_up_study_and_table_say_the_same():
    result = search(minutes=0.3 / 60, trials=100_000, epochs=400).run(*data(2000))
    told = dict(result._study.rows("SELECT number, status FROM trials", tuple[int, str]))
    assert dict(result.trials.select("number", "status").iter_rows()) == told
    assert "running" not in told.values()


def test_numbers_of_numpy_are_numbers(tmp_path, reference):
    space = {
        "lr": LogUniform(np.float64(1e-3), np.float32(1.0)),
        "width": Integer(np.int64(4), 32, log=True),
        "some": Choice(list(np.arange(2))),
    }
    path = tmp_path / "study.db"
    options = dict(space=space, seed=np.int64(3), validation_fraction=np.float64(0.2), study=path)
    search(trials=3, **options).run(*data()).close()
    search(trials=4, **options).run(*data(), resume=True).close()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is None, expected a target for each row"),
        (3, "y is 3, expected a target for each row"),
        ([[1], [2, 3]] * 120, "y has rows of different lengths"),
        (["cat"] * 240, "y at row 0 is 'cat', expected a number"),
        ([0, 1], "X has 240 rows, but y has 2"),
    ],
)
def test_targets_that_are_none(y, message):
    with pytest.raises(cr.InputError, match=message):
        search().run(data()[0], y)


def test_a_batch_size_may_be_a_setting():
    seen = []

    def batch(settings):
        t = build(settings)
        fit = t.fit
        t.fit = lambda *a, **k: (seen.append(k["batch_size"]), fit(*a, **k))[1]
        return t

    search(build=batch, space=SPACE | {"batch_size": Integer(10, 20)}, trials=5).run(*data())
    assert set(seen) <= set(range(10, 21))
    assert len(set(seen)) > 1


# More machines ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")  # Ray's own
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_cluster_gives_the_same_study_though_a_worker_is_lost(tmp_path, reference):
    ray = pytest.importorskip("ray")
    killed = str(tmp_path / "killed")

    def mortal(settings):  # it goes to the workers whole, and names nothing of this file
        import os
        import signal

        import chainrule as cr
        from chainrule import nn, optim

        if settings["width"] > 8 and not os.path.exists(killed) and "RAY_JOB_ID" in os.environ:
            with open(killed, "x"):
                os.kill(os.getpid(), signal.SIGKILL)
        width = settings["width"]
        net = nn.Sequential(nn.Affine(2, width), nn.Tanh(), nn.Affine(width, 2))
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Momentum(lr=settings["lr"]))

    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        result = search(build=mortal, executor="ray", threads=3).run(*data())
    finally:
        ray.shutdown()
    assert os.path.exists(killed)
    assert columns(result) == reference[0]


def test_without_ray_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(cr.InputError, match=r"pip install 'chainrule\[ray\]'"):
        search(executor="ray").run(*data())


# Studies ----------------------------------------------------------------------------------------


def test_a_study_can_be_read_with_plain_sql(tmp_path, reference):
    path = tmp_path / "study.db"
    result = search(study=path).run(*data())
    result.test(*data(seed=1))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT number, status, settings FROM trials ORDER BY number").fetchall()
        assert [(n, s) for n, s, _ in rows] == [(t["number"], t["status"]) for t in reference[0][0]]
        assert json.loads(rows[3][2])["width"] == reference[0][0][3]["width"]
        (best,) = db.execute(
            "SELECT max(score) FROM rungs WHERE rung = (SELECT max(rung) FROM rungs)"
        ).fetchone()
        assert best == result.best_score
        assert db.execute("SELECT count(*) FROM looks").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM final WHERE metric = 'loss'").fetchone() == (9,)
    db.close()


def decisions(path):
    with sqlite3.connect(path) as db:
        trials = db.execute("SELECT number, status, reason FROM trials ORDER BY number").fetchall()
        rungs = db.execute("SELECT trial, max(rung) FROM rungs GROUP BY trial").fetchall()
    db.close()
    return trials, rungs


@pytest.mark.parametrize("was_written_before", [False, True])
def test_more_trials_take_nothing_back(tmp_path, was_written_before):
    """Of a study of four, these four were compared with each other; of one from before there was
    such a rule, each with those before it."""
    path = tmp_path / "study.db"
    search(study=path, trials=4, seed=3).run(*data()).close()
    if was_written_before:
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM study WHERE key = 'together'")
        db.close()
    first = decisions(path)
    search(study=path, trials=14, seed=3).run(*data(), resume=True).close()
    trials, rungs = decisions(path)
    assert len(trials) == 14
    if was_written_before:
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT value FROM study WHERE key = 'together'").fetchone() == ("1",)
        db.close()
    else:
        assert (trials[:4], rungs[:4]) == first


def test_a_study_goes_on_where_it_was(tmp_path, reference):
    path = tmp_path / "study.db"
    search(study=path, trials=11).run(*data()).close()
    built = []

    def counted(settings):
        built.append(settings)
        return build(settings)

    result = search(study=path, build=counted).run(*data(), resume=True)
    assert columns(result) == reference[0]
    result.close()
    built.clear()
    search(study=path, build=counted).run(*data(), resume=True).close()
    assert len(built) <= 2  # one to look at, one that is trained fully


def test_another_search_or_other_data_is_refused(tmp_path):
    path = tmp_path / "study.db"
    X, y = data()
    search(study=path, trials=3).run(X, y).close()

    def refuses(message, X=X, resume=True, **options):
        with pytest.raises(cr.FileError, match=message):
            search(study=path, **({"trials": 3} | options)).run(X, y, resume=resume)

    refuses("there is a study already: resume it", resume=False)
    refuses("this study is of other data", X=X + 1)
    refuses("this study has epochs 9, not 8", epochs=8)
    refuses(f"this study has seed {SEED}, not 5", seed=5)
    refuses("this study has another space: lr", space=SPACE | {"lr": LogUniform(1e-3, 2e0)})
    turned = {name: SPACE[name] for name in reversed(SPACE)}
    refuses("this study has another space: the order of settings", space=turned)
    refuses("this study has 3 trials already: trials is 2", trials=2)
    held = search(study=path, trials=3).run(X, y, resume=True)
    refuses("somebody is at work on this study")
    held.close()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trials SET settings = 'garbage' WHERE number = 1",
        "UPDATE trials SET settings = '[1]' WHERE number = 1",
        "UPDATE trials SET settings = x'd3' WHERE number = 1",
        "UPDATE study SET value = 'garbage' WHERE key = 'space'",
        "UPDATE study SET value = '\"x\"' WHERE key = 'space'",
        "UPDATE study SET value = '\"x\"' WHERE key = 'together'",
        "DELETE FROM study WHERE key = 'space'",
        "DELETE FROM study",
        "UPDATE rungs SET score = 'abc' WHERE trial = 1",
        "UPDATE splits SET score = 'abc'",
    ],
)
def test_a_study_whose_content_is_damaged_says_so(tmp_path, damage):
    """Also where SQLite finds nothing wrong with it."""
    path = tmp_path / "study.db"
    result = search(study=path, trials=20).run(*data())
    result.close()
    with sqlite3.connect(path) as db:
        assert db.execute(damage).rowcount > 0
    db.close()
    with contextlib.suppress(cr.FileError):
        findings.read(path)
    with pytest.raises(cr.FileError, match=r"study\.db: damaged or no study: "):
        search(study=path, trials=20).run(*data(), resume=True)


def test_words_that_are_no_words_are_damage(tmp_path):
    """A byte of the text that says what the tables are, as a broken disk may leave it."""
    path = tmp_path / "study.db"
    search(study=path, trials=3).run(*data()).close()
    whole = bytearray(path.read_bytes())
    whole[whole.find(b"CREATE TABLE rungs") + 8] = 0xD3
    path.write_bytes(whole)
    for read in (lambda: search(study=path).run(*data(), resume=True), lambda: findings.read(path)):
        with pytest.raises(cr.FileError, match=r"study\.db: damaged or no study: "):
            read()


class Odd(Exception):
    """None of Python's own."""


@pytest.mark.parametrize("kind", [RuntimeError, AttributeError, OSError, Odd])
def test_whatever_build_raises_fails_the_trial_alone(tmp_path, kind):
    def odd(settings):
        if settings["lr"] > 0.3:
            raise kind("this rate\nis odd")
        return build(settings)

    result = search(build=odd, study=tmp_path / "study.db").run(*data())
    failed = result.trials.filter(result.trials["status"] == "failed")
    assert 0 < len(failed) < len(result.trials)
    line = odd.__code__.co_firstlineno + 2
    assert set(failed["reason"]) == {
        f"{kind.__name__}: this rate is odd (test_search.py, line {line})"
    }
    result.close()


def test_the_same_trainer_twice_is_refused():
    trainer = build({"lr": 0.1, "width": 4})
    result = search(build=lambda settings: trainer, threads=1)
    with pytest.raises(cr.TrainingError, match="trained for 9 epochs, expected a new one each"):
        result.run(*data())


def test_a_study_that_chose_its_metric_is_of_that_metric(tmp_path):
    path = tmp_path / "study.db"
    search(study=path, trials=3).run(*data()).close()
    search(study=path, trials=3, metric="accuracy").run(*data(), resume=True).close()
    with pytest.raises(cr.FileError, match="this study has metric 'accuracy', not 'loss'"):
        search(study=path, trials=3, metric="loss").run(*data(), resume=True)


def test_trials_that_would_be_drawn_otherwise_now_are_refused(tmp_path):
    path = tmp_path / "study.db"
    search(study=path, trials=3).run(*data()).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE trials SET settings = json_set(settings, '$.width', 5) WHERE number = 1")
    db.close()
    with pytest.raises(cr.FileError, match=r"trial 1 was .*'width': 5.* made by other versions"):
        search(study=path, trials=3).run(*data(), resume=True)


def test_a_study_that_is_busy_or_closed_says_so(tmp_path):
    path = tmp_path / "study.db"
    result = search(study=path, trials=3).run(*data())
    result.close()
    with pytest.raises(cr.InputError, match="the study is closed"):
        result.test(*data(seed=1))
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(cr.FileError, match="somebody is at work on this study: database is lo"):
            search(study=path, trials=4).run(*data(), resume=True)
    db.close()


def test_what_is_no_study_is_refused(tmp_path):
    path = tmp_path / "study.db"

    def refuses(message):
        before = path.read_bytes()
        with pytest.raises(cr.FileError, match=message):
            search(study=path).run(*data(), resume=True)
        assert path.read_bytes() == before

    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    refuses("damaged or no study")
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")
    db.close()
    refuses("a database, but no study of chainrule")
    path.unlink()
    search(study=path, trials=3).run(*data()).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    refuses("a study of format 99, from a newer chainrule")
    path.unlink()
    with pytest.raises(cr.FileError, match="there is no such file"):
        search(study=path).run(*data(), resume=True)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_search import data, search
search(study={study!r}, trials=60, epochs=27).run(*data(2000), resume={resume}).close()
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(tmp_path):
    expected = columns(search(trials=60, epochs=27).run(*data(2000)))
    path, resume, kills = tmp_path / "study.db", False, 0
    random = np.random.default_rng(0)
    for _ in range(6):
        script = SCRIPT.format(tests=os.path.dirname(__file__), study=str(path), resume=resume)
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(random.uniform(0.1, 0.6))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        with sqlite3.connect(path) as db:
            resume = db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
            resume = resume and db.execute("SELECT count(*) FROM study").fetchone() != (0,)
        db.close()
    assert kills
    result = search(study=path, trials=60, epochs=27).run(*data(2000), resume=resume)
    assert columns(result) == expected
    result.close()


def test_killed_before_anything_was_written_it_begins(tmp_path, reference):
    path = tmp_path / "study.db"
    path.touch()
    result = search(study=path).run(*data(), resume=True)
    assert columns(result) == reference[0]
    result.close()


def test_ctrl_c_keeps_the_study(tmp_path, reference):
    path = tmp_path / "study.db"

    def interrupt(progress):
        if progress.done + progress.abandoned >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(study=path).run(*data(), progress=interrupt)
    result = search(study=path).run(*data(), resume=True)
    assert columns(result) == reference[0]
    result.close()
