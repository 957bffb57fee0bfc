"""`chainrule search`: many short trials, then one model, tested once."""

import contextlib
import warnings
from pathlib import Path
from typing import Any, get_args

import click

from ..data.source import open_source
from ..errors import InputError, TrainingError
from ..files import check_readable, check_writable
from ..limits import Count, Positive, Share
from ..search import Search, SecondLook
from ..search.study import Study
from ..search.trial import Draw
from ..search.usual import USUAL, builder
from ..training.interrupt import Interrupt
from ..training.trainer import Interrupted
from .options import Limited, common, is_given, print_json
from .progress import SearchLine
from .replacing import expect_model_of

MINUTES = 1.0
"""How long a search takes if nobody says how long, or how many trials."""


AS_BEGUN = {
    "epochs": "epochs", "validation": "validation_fraction", "abandon": "reduction",
    "narrow": "narrow", "draw": "draw", "seed": "seed",
}  # fmt: skip
"""Options that a study was begun with, and the fact of the study that holds each."""


@click.command()
@click.argument("source")
@click.option("--minutes", type=Limited(Positive), help="Time for all of it; default: 1.")
@click.option("--trials", type=Limited(Count), help="How many settings to try at most.")
@click.option(
    "--epochs", type=Limited(Count), default=30, show_default=True, help="Of a trial that goes on."
)
@click.option(
    "--validation",
    type=Limited(Share),
    default=0.2,
    show_default=True,
    help="Share of the training rows that trials are compared by.",
)
@click.option(
    "--abandon/--no-abandon",
    default=True,
    show_default=True,
    help="Leave bad trials after few epochs.",
)
@click.option(
    "--narrow/--no-narrow",
    default=True,
    show_default=True,
    help="Move the ranges to where the good trials lie.",
)
@click.option("--draw", type=click.Choice(get_args(Draw)), default="random", show_default=True)
@click.option(
    "--average",
    type=Limited(Count),
    default=1,
    show_default=True,
    help="How many of the best settings make the final model: the mean of what they predict.",
)
@click.option("--study", type=click.Path(), help="The file of all trials; default: SOURCE.db.")
@click.option(
    "--resume", is_flag=True, help="Go on with the study that is there, and with its options."
)
@click.option(
    "--finish",
    is_flag=True,
    help="With --resume: no more trials, but the model of those in the study.",
)
@click.option("--out", type=click.Path(), help="The model file; default: STUDY-best.safetensors.")
@common
def search(
    source: str,
    minutes: float | None,
    trials: int | None,
    epochs: int,
    validation: float,
    abandon: bool,
    study: str | None,
    resume: bool,
    finish: bool,
    out: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Find a good network for SOURCE: optimizer, rate, decay, widths and more.

    SOURCE is as for `train`. Bad settings are abandoned early, and ranges narrowed to where the
    good ones lie. The best setting is trained on all training rows, and tested once.
    """
    if not validation:
        raise InputError("--validation is 0, but trials are compared by those rows")
    if finish and not resume:
        raise InputError("--finish goes with --resume: it makes the model of a study that is there")
    data = open_source(source)
    study = study or f"{data.name}.db"
    out = out or f"{Path(study).stem}-best.safetensors"
    if check_writable(out) == check_writable(study):
        raise InputError(f"--out is {out!r}, which is the study itself: expected another file")
    expect_model_of("search", out)
    chosen = settings | {
        "epochs": epochs, "validation_fraction": validation, "reduction": 3 if abandon else None,
    }  # fmt: skip
    if resume:
        chosen |= _as_begun(click.get_current_context(), study)
    job = Search(
        builder(data.train.X.shape[1], data.classes, data.factor),
        USUAL,
        trials=trials,
        minutes=MINUTES if minutes is None and trials is None else minutes,
        study=study,
        **chosen,
    )
    heading = (
        f"{data.name}: {len(data.train.y):,} rows to train and compare, {len(data.test.y):,} "
        f"locked away for the test; {len(USUAL)} settings"
    )
    heading += f"\n{data.note}" * bool(data.note)
    with SearchLine(quiet, heading) as line, warnings.catch_warnings():
        warnings.simplefilter("ignore", Interrupted)  # it is told below
        try:
            result = job.run(
                data.train.X, data.train.y, resume=resume, finish=finish, progress=line.update
            )
        except KeyboardInterrupt:
            raise TrainingError(
                f"interrupted; go on with --resume --study {study}, and with --finish too for the "
                "model of the trials so far"
            ) from None
    # Until all is done: no signal ends the test or the save.
    click.get_current_context().with_resource(Interrupt())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SecondLook)
        test = result.test(data.test.X, data.test.y)
    for warning in told:
        click.echo(f"chainrule: {warning.message}", err=True)
    result.trainer.notes = {
        "command": "search", "source": data.name, "rows": len(data.train.y), "held out": 0.0,
        "test": test,
    }  # fmt: skip
    result.trainer.save(out)
    facts = {
        "best_settings": result.best_settings,
        "averaged": result.averaged,
        "validation": {
            result.metric: result.best_score, "trials": len(result.plan.trials),
            "may_flatter_by": result.flattery,
        },
        "test": test,
        "study": study,
        "model": out,
    }  # fmt: skip
    result.close()
    if as_json:
        print_json({"command": "search", "source": source, **facts})
        return 0
    for name, value in result.best_settings.items():
        click.echo(f"  {name:13}{value:.4g}" if type(value) is float else f"  {name:13}{value}")
    if job.average > 1:
        members = ", ".join(map(str, result.averaged))
        click.echo(
            f"the model is the mean of {len(result.averaged)} of the {job.average} wanted, trials "
            f"{members}; the settings are those of the first"
        )
    click.echo(
        f"validation: {result.metric} {result.best_score:.4f}, the best of "
        f"{len(result.plan.trials):,} trials, which may flatter by {result.flattery:.4f}"
    )
    scores = ", ".join(f"{name} {value:.4f}" for name, value in test.items())
    click.echo(f"test: {scores} ({len(data.test.y):,} rows that the search never saw)")
    click.echo(f"study: {study}")
    click.echo(f"model: {out}")
    return 0


def _as_begun(context: click.Context, study: str) -> dict[str, Any]:
    """What a study was begun with, as far as nobody typed another value."""
    check_readable(study)
    with contextlib.closing(Study(study)) as opened:
        facts = dict(opened.facts() or {})
    kept = (fact for option, fact in AS_BEGUN.items() if not is_given(context, option))
    return {fact: facts[fact] for fact in kept if fact in facts}
