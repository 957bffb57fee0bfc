"""Hyperparameter search: thousands of trials, an honest score, and one final model."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from ..advice import unheard
from ..engines.compiled.crew import at_most_processors, processors
from ..errors import ChainruleError, FileError, InputError, TrainingError
from ..files import check_readable
from ..limits import Count, Positive, Seed, Share
from ..spec import Spec, to_plain
from ..training import hints
from ..training.interrupt import Interrupt
from ..training.trainer import Trainer
from .budget import Budget
from .executors import Kind, make_executor, reason_of
from .final import finish as make_final
from .halving import FIRST
from .objective import Objective, as_text, fingerprint, prepared
from .plan import Plan
from .recorded import recorded
from .result import Result
from .runner import Progress, Runner
from .space import Settings, WrongSearch, checked
from .study import Study, to_json
from .trial import Draw, Rules

LOOKED_AT = 5
"""Trainers that tell, before any trial, whether a setting changes the loss."""


class Search(Spec):
    """Finds good settings: draws them at random, abandons bad ones early, narrows the ranges.

    `build(settings)` returns a `Trainer`; `space` says what each setting may be. A setting named
    "batch_size" takes the place of `batch_size`. Give `trials`, or `minutes`, or both. At each of
    a few rungs (2, 6, 17 of 50 epochs) a trial goes on if it is among the best 1/`reduction` of
    those before it and itself; `reduction=None` trains all to the end. After every `round_size`
    trials each range moves to where the good ones lie, unless `narrow=False`. `draw` is "random",
    "sobol" (more even than chance), or with Optuna "tpe" or "cmaes", which narrow by themselves.
    `metric` is "accuracy", "rmse", "loss", …; by default the first metric of the trainer, which no
    setting changes. No settings are tried twice: where all have been tried the search ends. With
    `average` the final model's prediction is the mean of those of so many of the best settings.

    The same seed and number of trials gives the same study, whatever the number of threads: a trial
    is compared with those of smaller numbers, not with those that came sooner, and the first nine
    with each other. By default there is one for each processor, and fewer where trials are so short
    that Python takes longer than the arithmetic: it runs in one thread at a time. `executor="ray"`
    trains trials on the Ray cluster that the process is connected to, or a local one; `threads`
    then says how many tasks run at the same time.

    >>> import numpy as np
    >>> import chainrule as cr
    >>> from chainrule import nn, optim
    >>> from chainrule.search import Integer, LogUniform, Search
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> def build(settings):
    ...     net = nn.Sequential(nn.Affine(2, settings["width"]), nn.ReLU(),
    ...                         nn.Affine(settings["width"], 2))
    ...     return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Adam(settings["lr"]))
    >>> space = {"lr": LogUniform(1e-4, 1e0), "width": Integer(4, 64, log=True)}
    >>> result = Search(build, space, trials=20, epochs=9, batch_size=30).run(X[:200], y[:200])
    >>> result.test(X[200:], y[200:])["accuracy"] > 0.85
    True

    Source: "Deep Learning from Scratch", section 6.5; Bergstra and Bengio 2012; Li et al. 2020.
    """

    build: Callable[[Settings], Trainer]
    space: Mapping[str, Any]
    trials: Count | None = None
    minutes: Positive | None = None
    epochs: Count = 50
    batch_size: Count = 100
    validation_fraction: Share = 0.2
    study: str | os.PathLike[str] | None = None
    seed: Seed = 0
    threads: Count | None = None
    executor: Kind = "threads"
    metric: str | None = None
    reduction: Count | None = 3
    narrow: bool = True
    round_size: Count = 30
    draw: Draw = "random"
    average: Count = 1

    def setup(self) -> None:
        if not callable(self.build):
            raise InputError(f"Search: build is {self.build!r}, expected a function of settings")
        self.space = checked(self.space)
        self._kept: Study | None = None
        """In the place of a file: what an interrupted search found."""
        if self.trials is None and self.minutes is None:
            raise InputError("Search: give trials, minutes, or both: there would be no end")
        if self.reduction == 1:
            raise InputError("Search: reduction is 1, expected 2 or more, or None to abandon none")
        if self.study is not None and not str(self.study):
            raise InputError("Search: study is '', expected the name of a file")
        if not self.validation_fraction:
            raise InputError("Search: validation_fraction is 0, but trials are compared by it")

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: without the study of an interrupted search."""
        return vars(self) | {"_kept": None}

    def run(
        self,
        X: Any,
        y: Any,
        *,
        resume: bool = False,
        finish: bool = False,
        stop: Callable[[], bool] | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> Result:
        """Search, then train the best settings fully, on all rows.

        `resume` goes on with the study that lies at `study`, or that this object has in memory: as
        if it had never been interrupted. With `finish` too no trial is trained any more: the
        result is that of the trials in the study. `stop` is asked a few times a second; where it
        says True, the trials end and the final model follows. Ctrl-C ends the search; the study
        keeps every rung that a trial had come to.
        """
        threads = at_most_processors(self.threads or processors())
        budget = Budget(
            math.inf if self.minutes is None else self.minutes * 60,
            self.epochs,
            self.average,
            threads,
            1.0 / (1.0 - self.validation_fraction),
        )
        if resume and self.study is not None:
            check_readable(self.study)
        elif resume and self._kept is None:
            raise InputError(
                "Search: resume is True, but there is nothing to resume: name a study, or resume "
                "the Search object that was interrupted"
            )
        elif finish and not resume:
            raise InputError(
                "Search: finish is True, expected resume=True beside it: there is no "
                "trial to finish with"
            )
        objective = Objective(
            self.build, prepared(X, y), self.validation_fraction, self.epochs, self.batch_size,
            self.metric or "", self.seed,
        )  # fmt: skip
        first = self._first(objective, X, y, 1 if resume else LOOKED_AT)
        objective.choose_metric(first)
        study = self._kept if resume and self._kept is not None else Study(self.study)
        self._kept = None
        try:
            together = self._agree(study, objective, resume, as_text(first[0]))
            plan = Plan(self._rules(together), dict(self.space), objective.accepts)
            runner = self._trials(plan, objective, study, budget, progress, stop, finish)

            def tell(phase: str) -> None:
                if progress is not None:
                    progress(replace(runner.progress(), phase=phase, seconds_left=None))

            final = make_final(plan, objective, study, threads, budget, tell)
        except BaseException:
            if self.study is None:  # nothing else has what was found
                self._kept = study
            else:
                study.close()
            raise
        return Result(final, plan, objective, study)

    def _trials(
        self,
        plan: Plan,
        objective: Objective,
        study: Study,
        budget: Budget,
        progress: Callable[[Progress], object] | None,
        stop: Callable[[], bool] | None,
        finish: bool,
    ) -> Runner:
        """Carry out the plan; Ctrl-C is raised once all that was found is in the study."""
        known = recorded(study, objective)
        executor = make_executor(self.executor, objective, self.threads)
        runner = Runner(plan, objective, executor, study, known, budget)
        try:
            with budget.not_counted():
                runner.replay()
            with Interrupt() as interrupt:
                if finish:
                    runner.stop()
                else:
                    runner.run(progress, lambda: interrupt.asked or (stop is not None and stop()))
        finally:
            executor.close()
        if interrupt.asked:
            raise KeyboardInterrupt(
                f"after {len(plan.trials)} trials, which are kept: run(X, y, resume=True) goes on, "
                "and finish=True beside it makes the final model of these"
            )
        runner.end()
        if plan.failing:
            raise _hopeless(plan) from objective.failure
        return runner

    def _rules(self, together: int = FIRST) -> Rules:
        return Rules(
            self.seed, self.trials, self.epochs, self.reduction, self.round_size, self.narrow,
            self.draw, together,
        )  # fmt: skip

    def _first(self, objective: Objective, X: Any, y: Any, count: int) -> list[Trainer]:
        """Trainers of the first settings for which there are some, of which the data fit one.

        Data that fit none of the first ones are refused before any trial.
        """
        plan = Plan(self._rules(), dict(self.space))
        found: list[Trainer] = []
        refused: ChainruleError | None = None
        while len(found) < count and (task := plan.next()) is not None:
            try:
                with unheard() if found else contextlib.nullcontext():
                    trainer = objective.trainer(plan.trials[task.trial].settings)
            except WrongSearch:
                raise
            except Exception as error:  # as in a trial
                if not isinstance(error, ChainruleError):
                    objective.fails_again(plan.trials[task.trial].settings, error)
                plan.fail(task, reason_of(error))
                continue
            if found:
                found.append(trainer)
                continue
            try:
                rows = trainer.part(X, y)  # in whose shapes and names errors speak
                objective.parts(trainer, 0)
            except ChainruleError as error:
                refused = refused or error
                plan.fail(task, reason_of(error))
            else:
                hints.about_data(trainer, rows, self.batch_size)
                found.append(trainer)
        if found:
            return found
        if refused is not None:
            raise refused
        raise _hopeless(plan) from objective.failure

    # The study ----------------------------------------------------------------------------------

    def _agree(self, study: Study, objective: Objective, resume: bool, first: str) -> int:
        """A new study is begun; one that is there must be of the same search, data and `build`,
        whose trainer of the first settings is described by `first`.

        Returns how many of the first trials are compared with each other: as it was decided when
        the study was begun, also where more trials are added.
        """
        mine = {
            "space": {name: to_plain(parameter) for name, parameter in self.space.items()},
            "data": fingerprint(objective.rows),
            **{
                name: to_plain(getattr(self, name))
                for name in ("epochs", "batch_size", "validation_fraction", "seed", "reduction",
                             "narrow", "round_size", "draw")
            },
            "scored_by": objective.metric,
            "build": hashlib.sha256(first.encode()).hexdigest()[:32],
        }  # fmt: skip
        facts = study.facts()
        if facts is None:  # one that was killed before it wrote any is begun here
            together = min(FIRST, self.trials or FIRST)
            study.note(
                **mine,
                trials=self.trials,
                together=together,
                loss_varies=objective.loss_varies,
                versions=_versions(),
                validation_rows=objective.validation_rows,
            )
            return together
        if not resume:
            raise FileError(
                f"{self.study}: there is a study already: resume it, or take another file"
            )
        for name, value in mine.items():
            there: Any = facts.get(name)
            here = msgspec.json.decode(to_json(value))
            # Settings are drawn in the order of the space, so that counts too.
            if here != there or (name == "space" and list(here) != list(there)):
                place = self.study or "the interrupted search"
                raise FileError(f"{place}: {_difference(name, there, here)}")
        ((known,),) = study.rows("SELECT count(*) FROM trials", tuple[int])
        if self.trials is not None and self.trials < known:
            raise FileError(
                f"{self.study}: this study has {known} trials already: trials is {self.trials}, "
                f"expected {known} or more"
            )
        together = facts.get("together", 1)
        objective.loss_varies = facts.get("loss_varies", False)
        study.note(trials=self.trials, together=together)
        return together


def _hopeless(plan: Plan) -> TrainingError:
    count, reason = len(plan.first_ones), plan.commonest_reason
    return TrainingError(f"all of the first {count} trials failed, most of them by: {reason}")


def _difference(name: str, there: Any, here: Any) -> str:
    if name == "data":
        return "this study is of other data"
    if name == "build":
        return (
            "build makes another trainer of the same settings than when this study was begun: its "
            "scores are those of other models; begin a new study"
        )
    if name == "space":
        names = [x for x in {**there, **here} if there.get(x) != here.get(x)]
        return f"this study has another space: {', '.join(names) or 'the order of settings'}"
    return f"this study has {'metric' if name == 'scored_by' else name} {there!r}, not {here!r}"


def _versions() -> dict[str, str]:
    from .. import __version__

    return {
        "chainrule": __version__, "numpy": np.__version__, "python": platform.python_version()
    }  # fmt: skip
