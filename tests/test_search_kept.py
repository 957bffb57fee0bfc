"""A search compares what can be compared, tries nothing twice, and loses nothing."""

import contextlib
import copy
import os
import signal
import sqlite3
import threading
import time
import traceback

import numpy as np
import pytest
from test_search import SPACE, Slow, build, columns, data, search

import chainrule as cr
from chainrule import nn, optim
from chainrule.search import Choice, Integer, LogUniform, Search, Uniform, When
from chainrule.search.budget import Budget
from chainrule.search.final import side_by_side
from chainrule.search.objective import Objective, as_text
from chainrule.search.plan import Plan
from chainrule.search.recorded import recorded
from chainrule.search.runner import Runner
from chainrule.search.study import Study


def regression(loss):
    def build(settings):
        net = nn.Sequential(nn.Affine(2, 8), nn.ReLU(), nn.Affine(8, 1))
        return cr.Trainer(net, loss(settings), optim.Adam(lr=settings.get("lr", 0.01)))

    X, _ = data()
    return build, X, 2 * X[:, 0] + X[:, 1]


# Scores -----------------------------------------------------------------------------------------


def test_numbers_are_compared_by_a_metric_that_no_setting_changes():
    """keras-tuner#440: the smallest δ makes the smallest Huber loss, whatever the errors."""
    make, X, y = regression(lambda s: nn.Huber(s["delta"]))
    space = {"delta": LogUniform(1e-3, 10.0, fixed=True)}
    found = search(build=make, space=space).run(X, y)
    assert found.metric == "rmse"
    assert found.best_settings["delta"] > 0.01
    make, X, y = regression(lambda s: nn.MeanAbsoluteError())
    assert search(build=make, space={"lr": LogUniform(1e-3, 1e-1)}).run(X, y).metric == "mae"


@pytest.mark.parametrize("executor", ["threads", "ray"])
def test_a_loss_that_a_setting_changes_is_no_score(executor):
    if executor == "ray":
        pytest.importorskip("ray")
    make, X, y = regression(lambda s: nn.Huber(s["delta"]))
    job = search(build=make, space={"delta": Choice([0.1, 1.0])}, metric="loss", executor=executor)
    with pytest.raises(
        cr.InputError, match=r"settings change the loss: it is Huber\(0.1\) in one trial, H"
    ):
        job.run(X, y)
    make, X, y = regression(lambda s: nn.Huber(0.5))
    space = {"lr": LogUniform(1e-3, 1e-1)}
    assert search(build=make, space=space, metric="loss").run(X, y).metric == "loss"


def test_a_loss_that_a_setting_changes_breaks_no_tie(tmp_path):
    """Equal accuracies are then in the order of the trials; the loss is told all the same."""

    def smoothed(settings):
        net = nn.Sequential(nn.Affine(2, 2))
        loss = nn.SoftmaxCrossEntropy(settings["smoothing"])
        return cr.Trainer(net, loss, optim.SGD(0.0))  # all trials are equal but for the loss

    space = {"smoothing": Choice([0.0, 0.5, 0.1, 0.2])}
    path = tmp_path / "study.db"
    job = search(build=smoothed, space=space, epochs=1, reduction=None, study=path)
    result = job.run(*data())
    assert result.trials["loss"].n_unique() == 4
    assert result.best.number == 0
    result.close()
    again = search(build=smoothed, space=space, epochs=1, reduction=None, study=path)
    assert again.run(*data(), resume=True).best.number == 0


def test_a_loss_that_all_trials_have_breaks_ties():
    def same_loss(settings):
        net = nn.Sequential(nn.Rescale(settings["factor"]), nn.Affine(2, 2, init=1.0))
        return cr.Trainer(net, "cross_entropy", optim.SGD(0.0))

    space = {"factor": Choice([5.0, 3.0, 2.0])}
    trials = search(build=same_loss, space=space, epochs=1, reduction=None).run(*data())
    assert trials.trials["score"].n_unique() == 1
    assert trials.best.scores[-1].loss == trials.trials["loss"].min()


# No setting twice -------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
@pytest.mark.parametrize("trials", [60, None])
def test_settings_are_tried_once(sampler, trials):
    """optuna#2021: the optimism of sixty trials of three settings is that of three."""
    if sampler == "tpe":
        pytest.importorskip("optuna")
    space = {
        "lr": Choice([0.01, 0.1]),
        "width": Integer(4, 6),
        "more": When("width", [5], Choice([1, 2])),
    }
    minutes = None if trials else 5.0
    told = []
    result = Search(
        build, space, trials=trials, minutes=minutes, epochs=3, reduction=None, draw=sampler
    ).run(*data(), progress=lambda p: told.extend(p.decisions))
    tried = [tuple(t.settings.items()) for t in result.plan.trials]
    assert len(tried) == len(set(tried)) == 2 * (1 + 2 + 1)
    assert "all 8 settings of the space have been tried" in told
    assert result.flattery < search(space=SPACE, trials=40, epochs=3).run(*data()).flattery


@pytest.mark.parametrize("sampler", ["random", "tpe", "cmaes"])
@pytest.mark.parametrize("count", [2, 4, 8, 9, 12])
def test_a_small_space_is_searched_to_the_end(sampler, count):
    """Also where it has fewer settings than the nine that are compared with each other first."""
    if sampler != "random":
        pytest.importorskip("optuna")
    space = {"lr": Choice([10.0**-k for k in range(1, count + 1)]), "width": 8}
    found = search(space=space, trials=50, draw=sampler).run(*data()).trials
    assert len(found) == count
    assert set(found["status"]) <= {"done", "abandoned"}
    assert not found["reason"].str.contains("time").any()
    assert (found["status"] == "done").any()
    assert found.filter(found["status"] == "done")["epochs"].to_list()[0] == 9


def test_settings_of_equal_hash_are_others():
    """hash(−1) is hash(−2)."""
    space = {"exponent": Integer(-3, -1)}
    make = lambda s: build({"lr": 10.0 ** s["exponent"], "width": 4})  # noqa: E731
    found = search(build=make, space=space, trials=20, epochs=2).run(*data()).trials
    assert sorted(found["exponent"]) == [-3, -2, -1]


def test_optuna_finds_the_last_of_many_settings():
    pytest.importorskip("optuna")
    told = []
    space = {"lr": 0.1, "width": Integer(1, 30)}
    result = search(space=space, trials=60, epochs=1, draw="tpe").run(
        *data(), progress=lambda p: told.extend(p.decisions)
    )
    assert sorted(t.settings["width"] for t in result.plan.trials) == list(range(1, 31))
    assert told[-1] == "all 30 settings of the space have been tried"


def test_the_same_settings_for_any_number_of_threads():
    space = {"lr": Choice([0.001, 0.01, 0.1, 1.0]), "width": Integer(4, 9)}
    found = [search(space=space, trials=20, threads=n).run(*data()).trials for n in (1, 2)]
    assert found[0].equals(found[1])


def test_a_constant_may_stand_in_the_space():
    result = search(space=SPACE | {"width": 6, "name": "relu"}, trials=9).run(*data())
    assert set(result.trials["width"]) == {6}
    assert result.best_settings["name"] == "relu"


def test_a_range_moves_as_far_as_build_goes():
    """ray#12717: a dropout of 0.05 to 0.9 was drawn at 1.08."""

    def dropout(settings):
        net = nn.Sequential(nn.Affine(2, 8), nn.Dropout(settings["ratio"]), nn.Affine(8, 2))
        return cr.Trainer(net, "cross_entropy", optim.SGD(lr=0.02 * settings["ratio"] ** 3))

    space = {"ratio": LogUniform(0.05, 0.9)}
    found = search(build=dropout, space=space, trials=120, metric="loss").run(*data()).trials
    assert found["ratio"].max() > 0.9
    assert set(found["status"]) <= {"done", "abandoned"}


# Nothing is lost --------------------------------------------------------------------------------


def interrupt_after(trials):
    """Press Ctrl-C once, after so many trials."""
    pressed = []

    def interrupt(progress):
        if progress.done + progress.abandoned >= trials and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


@pytest.mark.skipif(not hasattr(signal, "SIGINT"), reason="needs signals")
def test_ctrl_c_without_a_file_keeps_the_trials():
    expected = columns(search(trials=1000).run(*data()))
    job = search(trials=1000)
    told = r"after \d+ trials, which are kept: run\(X, y, resume=True\) goes on"
    with pytest.raises(KeyboardInterrupt, match=told):
        job.run(*data(), progress=interrupt_after(3))
    ((kept,),) = job._kept.rows("SELECT count(*) FROM trials", tuple[int])
    assert 3 <= kept < 1000
    result = job.run(*data(), resume=True)
    assert columns(result) == expected
    with pytest.raises(cr.InputError, match="there is nothing to resume"):
        job.run(*data(), resume=True)  # the result has it now


def test_what_there_is_can_be_finished(tmp_path):
    path = tmp_path / "study.db"
    with pytest.raises(KeyboardInterrupt):
        search(study=path, trials=4000).run(*data(), progress=interrupt_after(5))
    count = "SELECT count(*) FROM trials"
    with contextlib.closing(sqlite3.connect(path)) as db:
        (there,) = db.execute(count).fetchone()
    result = search(study=path, trials=4000).run(*data(), resume=True, finish=True)
    assert len(result.plan.trials) == there < 4000
    assert result._study.rows(count, tuple[int]) == [(there,)]
    assert result.trainer.history.epochs == 9
    assert result.test(*data(seed=1))["accuracy"] > 0.5
    result.close()
    again = search(study=path, trials=4000).run(*data(), resume=True, finish=True)
    assert again.best_settings == result.best_settings  # a result from a study alone
    for name, value in result.trainer.weights().items():
        assert np.array_equal(value, again.trainer.weights()[name])
    with pytest.raises(cr.InputError, match="finish is True, expected resume=True beside it"):
        search(study=path).run(*data(), finish=True)


def test_a_search_can_be_stopped_from_outside():
    asked = []

    def stop():
        asked.append(time.monotonic())
        return len(asked) > 3

    result = search(trials=100_000, epochs=30).run(*data(2000), stop=stop)
    assert 1 <= len(result.plan.trials) < 100_000
    assert result.trainer.history.epochs == 30
    assert "running" not in set(result.trials["status"])
    assert "the time was up" not in set(result.trials["reason"])


def test_recorded_trials_count_whatever_the_clock_says(monkeypatch):
    """A study with a trial of 0.972 was resumed with little time, and gave one of 0.42."""
    study = Study(None)
    plan, _ = run_slowly(monkeypatch, study, seconds=1e6)
    assert plan.ended
    again, jobs = run_slowly(monkeypatch, study, seconds=1e-3)
    assert jobs == []
    costs = [[[s.cost for s in t.scores] for t in p.trials] for p in (again, plan)]
    assert costs[0] == costs[1]
    assert again.best()[0].number == plan.best()[0].number


def run_slowly(monkeypatch, study, seconds):
    from chainrule.search import budget
    from chainrule.search.trial import Rules

    clock = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: clock[0])
    objective = Objective(build, None, 0.2, 9, 40, "loss", 0)
    plan = Plan(Rules(0, 12, 9, 3, 100, False, "random", 3), dict(SPACE))
    executor, limit = Slow(clock, 100.0), Budget(seconds, 9)
    runner = Runner(plan, objective, executor, study, recorded(study, objective), limit)
    with limit.not_counted():
        clock[0] += 1000.0  # to read a large study takes a while
        runner.replay()
    runner.run(None)
    runner.end()
    return plan, executor.jobs


def test_to_read_a_study_takes_no_time_of_the_search(monkeypatch):
    limit = Budget(10.0)
    with limit.not_counted():
        time.sleep(0.2)
    assert limit.left > 9.9


def test_an_average_is_of_as_many_as_were_asked_for():
    """Also where few trials came to the end: the others have settings too."""
    result = search(average=5, trials=30).run(*data())
    assert len(result.averaged) == 5
    done = [t.number for t in result.plan.trials if t.status == "done"]
    assert len(done) < 30
    assert result.averaged[0] in done


def test_members_are_trained_side_by_side_and_end_together():
    began, ended = threading.Barrier(2, timeout=10), []

    def work(item, stop):
        began.wait()
        if item == 0:
            raise KeyboardInterrupt
        while not stop():
            time.sleep(0.01)
        ended.append(item)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, [0, 1], 2)
    assert ended == [1]
    assert time.monotonic() - start < 5.0


def test_ctrl_c_while_leaders_are_measured_is_answered(monkeypatch):
    train, pressed = Objective.train, []

    def endless(self, trainer, settings, epochs, split=0, stop=lambda: False):
        if not split:
            return train(self, trainer, settings, epochs, split, stop)
        if not pressed:
            pressed.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        while not stop():
            time.sleep(0.01)
        return False

    monkeypatch.setattr(Objective, "train", endless)
    with pytest.raises(KeyboardInterrupt):
        search().run(*data())
    assert time.monotonic() - pressed[0] < 1.0


def test_an_average_of_models_that_share_layers_is_of_several():
    """Layers made outside of `build` have other values in each trainer."""
    shared = nn.Affine(2, 8)
    whole = nn.Sequential(shared, nn.ReLU(), nn.Affine(8, 2))

    def outside(settings):
        return cr.Trainer(whole, "cross_entropy", optim.Adam(settings["lr"]))

    X, y = data()
    result = search(build=outside, space={"lr": LogUniform(1e-3, 1e-1)}, average=2).run(X, y)
    own = []
    for trial in (result.plan.trials[number] for number in result.averaged):
        t = outside(trial.settings)
        t.fit(X, y, epochs=9, batch_size=40)
        own.append(t.probabilities(X))
    assert not np.allclose(*own, atol=1e-3)
    np.testing.assert_allclose(result.trainer.probabilities(X), np.mean(own, axis=0), atol=1e-6)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms")
def test_what_a_signal_raises_in_build_passes_through():
    calls = []

    def slow(settings):
        calls.append(settings)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGALRM)
        return build(settings)

    def up(*_):
        raise TimeoutError("your time is up")

    before = signal.signal(signal.SIGALRM, up)
    try:
        with pytest.raises(TimeoutError, match="your time is up"):
            search(build=slow).run(*data())
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_search_can_be_copied():
    job = search(trials=1000)
    with pytest.raises(KeyboardInterrupt):
        job.run(*data(), progress=interrupt_after(3))
    copy.deepcopy(job)
    assert job._kept is not None


@pytest.mark.filterwarnings("always::chainrule.Advice")
def test_advice_is_given_once_and_not_in_each_trial():
    def soft(settings):
        net = nn.Sequential(nn.Affine(2, 2), nn.Softmax())
        return cr.Trainer(net, "cross_entropy", optim.Adam(settings["lr"]))

    job = search(build=soft, space={"lr": LogUniform(1e-3, 1e-1)}, trials=30)
    with pytest.warns(cr.Advice, match="has one inside") as told:
        job.run(*data())
    assert len(told) == 1


# What build does --------------------------------------------------------------------------------


def test_a_build_that_fails_is_named_with_its_line():
    def broken(settings):
        return 1 / (settings["lr"] * 0.0)

    line = broken.__code__.co_firstlineno + 1
    place = rf"ZeroDivisionError: .*\(test_search_kept.py, line {line}\)"
    with pytest.raises(cr.TrainingError, match=place) as error:
        search(build=broken).run(*data())
    assert isinstance(error.value.__cause__, ZeroDivisionError)
    frames = traceback.extract_tb(error.value.__cause__.__traceback__)
    assert frames[-1].lineno == line


def test_what_the_library_refuses_is_told_at_the_users_line():
    def wide(settings):
        return nn.Dropout(1.0 + settings["lr"])

    line = wide.__code__.co_firstlineno + 1
    with pytest.raises(cr.ChainruleError, match=f"line {line}"):
        search(build=lambda s: s.wrong if False else wide(s)).run(*data())


def test_a_study_of_another_build_is_refused(tmp_path):
    """The scores of one network, and a final model of another."""
    path = tmp_path / "study.db"
    search(study=path, trials=3).run(*data()).close()

    def linear(settings):
        return cr.Trainer(nn.Sequential(nn.Affine(2, 2)), "cross_entropy", optim.Adam(0.01))

    other_rule = lambda s: cr.Trainer(build(s).model, "cross_entropy", "adam")  # noqa: E731
    for changed in (linear, other_rule):
        with pytest.raises(cr.FileError, match="build makes another trainer of the same settings"):
            search(study=path, trials=3, build=changed).run(*data(), resume=True)
    search(study=path, trials=4).run(*data(), resume=True).close()


def test_a_trainer_is_described_by_what_it_does():
    def of(function):
        net = nn.Sequential(nn.Affine(2, 2), function)
        return as_text(cr.Trainer(net, "cross_entropy", optim.SGD(lambda e, n: 0.1)))

    assert of(lambda x: x * 2.0) == of(lambda x: x * 2.0)
    assert of(lambda x: x * 2.0) != of(lambda x: x * 3.0)
    assert of(cr.tanh) != of(cr.relu)
    assert "0x" not in of(cr.tanh)


def test_a_search_is_in_the_trainers_precision():
    """Rows near 1e9 are all alike in float32."""
    random = np.random.default_rng(0)
    X = 1e9 + random.normal(size=(200, 1))
    y = (X[:, 0] > 1e9).astype(int)

    def exact(settings):
        net = nn.Sequential(nn.BatchNorm(1), nn.Affine(1, 2))
        return cr.Trainer(net, "cross_entropy", optim.Adam(settings["lr"]), dtype="float64")

    result = search(build=exact, space={"lr": Uniform(0.1, 0.2)}, trials=3).run(X, y)
    assert result.best_score > 0.9
