"""`chainrule train`: a data source in, a table of epochs, a test result and a model file out."""

import warnings
from typing import Any, Literal

import click

from .. import nn, optim
from ..data.source import Dataset, open_source
from ..data.split import Split, hold_out
from ..engines.choose import ENGINES
from ..errors import InputError, TrainingError
from ..files import check_readable, check_writable
from ..limits import Count, NotNegative, Positive, Share
from ..nn.build import ACTIVATIONS, multilayer
from ..nn.initial import NAMED
from ..optim.named import OPTIMIZERS, SCHEDULES
from ..training.describe import in_words
from ..training.early_stopping import EarlyStopping
from ..training.epoch_table import EpochTable
from ..training.interrupt import Interrupt
from ..training.model_file import Header, load
from ..training.trainer import Interrupted, Trainer
from .options import Limited, Widths, common, is_given, print_json
from .replacing import NOT_REPLACED, expect_model_of

FRESH = ("hidden", "activation", "batch_norm", "dropout", "init", "optimizer", "lr", "schedule",
         "weight_decay", "clip_norm", "seed")  # fmt: skip
"""What a resumed model has already, and so cannot be told again."""

# The defaults reach 0.98 on held-out digits in a second, and suit MNIST as well.


@click.command()
@click.argument("source")
@click.option(
    "--hidden",
    type=Widths(),
    default="256,128",
    show_default=True,
    help="Widths of the hidden layers; 0: none.",
)
@click.option(
    "--activation", type=click.Choice(list(ACTIVATIONS)), default="relu", show_default=True
)
@click.option("--batch-norm/--no-batch-norm", default=True, show_default=True)
@click.option(
    "--dropout",
    type=Limited(Share),
    default=0.2,
    show_default=True,
    help="Share of hidden values left out.",
)
@click.option(
    "--init",
    type=click.Choice(list(NAMED)),
    default="auto",
    show_default=True,
    help="Initial values; auto: by the activation.",
)
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="adam", show_default=True)
@click.option("--lr", type=Limited(NotNegative), default=0.002, show_default=True, help="The rate.")
@click.option(
    "--schedule",
    type=click.Choice(list(SCHEDULES)),
    default="cosine",
    show_default=True,
    help="How the rate goes over the epochs.",
)
@click.option(
    "--weight-decay",
    type=Limited(NotNegative),
    default=0.0,
    show_default=True,
    help="The book's λ; with adamw decoupled.",
)
@click.option("--clip-norm", type=Limited(Positive), help="Limit of the gradient's norm.")
@click.option("--epochs", type=Limited(Count), default=30, show_default=True)
@click.option("--batch-size", type=Limited(Count), default=64, show_default=True)
@click.option(
    "--validation",
    type=Limited(Share),
    default=0.1,
    show_default=True,
    help="Share of the training rows held out for validation; 0: none. With --resume: as before.",
)
@click.option(
    "--patience",
    type=Limited(Count),
    help="Stop when the validation loss is no better for so many epochs.",
)
@click.option("--engine", type=click.Choice(ENGINES), default="compiled", show_default=True)
@click.option(
    "--resume",
    type=click.Path(),
    help="A model file to train on; it is replaced, unless --out says otherwise.",
)
@click.option("--out", type=click.Path(), help="The model file; default: SOURCE.safetensors.")
@common
@click.pass_context
def train(
    context: click.Context,
    /,
    source: str,
    epochs: int,
    batch_size: int,
    validation: float,
    patience: int | None,
    resume: str | None,
    out: str | None,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Train a network on SOURCE, test it once, and write a model file.

    SOURCE is `digits` (embedded real digits), or a folder of IDX files, gzipped or not, such as
    MNIST, Fashion-MNIST, EMNIST and QMNIST.
    """
    if out is not None:
        check_writable(out)
    if resume is not None:
        for name in filter(lambda name: is_given(context, name), FRESH):
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} cannot be changed with --resume: {resume} has it already")
        check_readable(resume)
    data = open_source(source)
    out = out or resume or f"{data.name}.safetensors"
    check_writable(out)
    replaced = expect_model_of("train", out)
    if resume is None:
        trainer = _fresh(data, **settings)
    else:
        trainer = _resumed(context, resume, data)
        if out == resume and trainer.notes.get("source") != data.name:
            raise InputError(
                f"{resume} was trained on {trainer.notes.get('source')}, not {data.name}: "
                f"{NOT_REPLACED}"
            )
        validation = _share_held_out(context, resume, trainer, data, validation)
    if patience is not None and not validation:
        raise InputError("--patience needs validation rows, and --validation is 0")
    rows, held = data.train, None
    if validation:
        rows, held = hold_out(data.train, validation, trainer.seed)
    notes = {
        "command": "train", "source": data.name, "rows": len(rows.y), "held out": validation,
    }  # fmt: skip
    context.with_resource(Interrupt())  # until all is done: no signal ends the test or the save
    with EpochTable(quiet) as table, warnings.catch_warnings():
        warnings.simplefilter("ignore", Interrupted)
        table.say(_heading(data, rows, held, trainer))
        if data.note:
            table.say(data.note)
        if replaced is not None and out != resume:
            table.say(f"{out} will be replaced: {_in_short(replaced)}")
        try:
            history = trainer.fit(
                rows.X,
                rows.y,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=None if held is None else (held.X, held.y),
                early_stopping=None if patience is None else EarlyStopping(patience),
                callbacks=[table.epoch],
                progress=table.step,
            )
        except TrainingError as error:
            if trainer.history.epochs == 0:
                raise
            trainer.notes = notes
            trainer.save(out)
            raise TrainingError(f"{error}; they are in {out}") from None
        interrupted = history.interrupted
        if interrupted and resume is None and history.epochs == 0:
            raise TrainingError("interrupted before the first epoch ended: nothing is written")
        if history.stopped:
            table.say(history.stopped)
    test = trainer.evaluate(data.test.X, data.test.y)
    trainer.notes = notes | {"test": test}
    trainer.save(out)
    if as_json:
        print_json(
            {
                "command": "train",
                "source": source,
                "rows": {
                    "train": len(rows.y),
                    "validation": 0 if held is None else len(held.y),
                    "test": len(data.test.y),
                },
                "parameters": trainer.model.parameter_count,
                "history": {name: list(values) for name, values in history.items()},
                "stopped": history.stopped,
                "test": test,
                "model": out,
            }
        )
    else:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in test.items())
        click.echo(f"test: {scores} ({len(data.test.y):,} rows that training never saw)")
        click.echo(f"model: {out}")
    if interrupted and quiet:
        click.echo(f"chainrule: {history.stopped}", err=True)
    return 1 if interrupted else 0


def _heading(data: Dataset, rows: Split, held: Split | None, trainer: Trainer) -> str:
    validation = "" if held is None else f", {len(held.y):,} to validate"
    return (
        f"{data.name}: {len(rows.y):,} rows to train{validation}, {len(data.test.y):,} to test; "
        f"{data.train.X.shape[1]} features, {data.classes} classes; "
        f"{trainer.model.parameter_count:,} parameters"
    )


def _fresh(
    data: Dataset,
    *,
    hidden: tuple[int, ...],
    optimizer: str,
    lr: float,
    schedule: str,
    weight_decay: float,
    clip_norm: float | None,
    seed: int,
    threads: int | None,
    engine: Literal["compiled", "reference"],
    **net: Any,
) -> Trainer:
    """A trainer for a new network that the options describe."""
    features = data.train.X.shape[1]
    model = multilayer(features, hidden, data.classes, factor=data.factor, **net)
    rule = OPTIMIZERS[optimizer](SCHEDULES[schedule](lr))
    decay = weight_decay
    if isinstance(rule, optim.AdamW):
        rule, decay = optim.AdamW(rule.lr, weight_decay=weight_decay), 0.0
    return Trainer(
        model,
        nn.SoftmaxCrossEntropy(),
        rule,
        weight_decay=decay,
        clip_norm=clip_norm,
        seed=seed,
        threads=threads,
        engine=engine,
    )


def _resumed(context: click.Context, path: str, data: Dataset) -> Trainer:
    """The trainer of a model file, for a data set of the same form."""
    given = [name for name in ("engine", "threads") if is_given(context, name)]
    chosen = {name: context.params[name] for name in given}
    trainer = load(path, **chosen)
    features = data.train.X.shape[1]
    if trainer.features != features:
        raise InputError(
            f"{path}: a model for {trainer.features} features, but {data.name} has {features}"
        )
    if trainer.outputs is None or trainer.outputs < data.classes:
        raise InputError(
            f"{path}: a model for {trainer.outputs} classes, but {data.name} has {data.classes}"
        )
    return trainer


def _share_held_out(
    context: click.Context, path: str, trainer: Trainer, data: Dataset, asked: float
) -> float:
    """The share of rows to validate by: none that the model has learned from already."""
    if trainer.notes.get("source") != data.name:
        return asked
    share = trainer.notes.get("held out")
    share = share if isinstance(share, float) else 0.0
    if not is_given(context, "validation"):
        return share
    if asked not in (0.0, share):
        raise InputError(
            f"--validation cannot be {asked} with --resume: {path} held out {share} of the rows, "
            "and has learned from the others; expected that, or 0"
        )
    return asked


def _in_short(header: Header) -> str:
    """A model that is there, in a few words."""
    epochs = max((len(values) for values in header.history.values()), default=0)
    return f"it has {epochs} epochs; test: {in_words(header.notes.get('test'))}"
