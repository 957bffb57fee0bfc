"""The model file: one safetensors file of all state, described by JSON in its metadata."""

from __future__ import annotations

import hashlib
import math
import os
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..errors import FileError, InputError
from ..files import DATABASE, check_readable, named, write_whole
from ..graph.tensor import Array
from ..spec import constructing, fields_of, from_plain, kind_named, to_plain
from . import programs
from .history import History
from .session import Snapshot

if TYPE_CHECKING:
    from .trainer import Trainer

FORMAT = 2
"""Raised when an older chainrule could not read the file any more."""

KEY = "chainrule"
"""The only key of the metadata, because safetensors writes several in a random order. Its value is
the digest, and the description as JSON."""

TIMES = ("seconds",)
"""Columns of a history that no file has: equal trainings write equal bytes."""

INFINITE = {"inf": math.inf, "-inf": -math.inf}
"""What JSON has no number for; NaN is null."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The description of a model, in JSON."""

    format: int
    version: str
    trainer: dict[str, Any]
    features: int
    parameters: int
    steps_done: int
    history: dict[str, list[float | str | None]]
    stopped: str
    notes: dict[str, Any]


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write a trainer whole; see `Trainer.save`."""
    from safetensors.numpy import save as to_bytes

    from .. import __version__

    if trainer.features is None or trainer.session.is_initial:
        raise InputError(
            "save: there is nothing learned yet: fit first, or take the initial values, by "
            "trainer.initialize(X)"
        )
    expect_loadable(trainer)
    header = Header(
        format=FORMAT,
        version=__version__,
        trainer=to_plain(trainer),
        features=trainer.features,
        parameters=trainer.model.parameter_count,
        steps_done=trainer.session.steps_done,
        history={
            name: [_to_json(x) for x in values]
            for name, values in trainer.history.items()
            if name not in TIMES
        },
        stopped=trainer.history.stopped,
        notes=trainer.notes,
    )
    try:
        json = msgspec.json.encode(header)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"save: notes are no plain data: {error}") from None
    write_whole(path, encoded(json, trainer.session.values(), to_bytes))


def expect_loadable(trainer: Trainer) -> None:
    """Raise an `InputError` unless a file can hold the trainer, and give it back."""
    to_plain(trainer)
    if trainer.session.is_plain:
        return
    for name in ("model", "loss", "optimizer", "weight_decay"):
        try:
            from_plain(to_plain(getattr(trainer, name)))
        except FileError as error:
            raise InputError(f"{name} could not be loaded from a file: {error}") from None


def encoded(json: bytes, tensors: dict[str, Array], to_bytes: Any) -> bytes:
    """The bytes of a model file."""
    plain = {name: _in_order(value) for name, value in tensors.items()}
    return bytes(to_bytes(plain, {KEY: f"{_digest(json, plain)} {json.decode()}"}))


def load(path: str | os.PathLike[str], **settings: Any) -> Trainer:
    """Read a trainer that `Trainer.save` wrote: it predicts, and trains on, exactly as that one.

    `settings` replace what was saved of `threads` and `engine`. A file that is missing, damaged or
    of another kind is a `FileError`. Layers of your own must be defined, or imported, before.

    >>> import chainrule as cr
    >>> cr.load("no_such_file.safetensors")
    Traceback (most recent call last):
    chainrule.errors.FileError: no_such_file.safetensors: there is no such file
    """
    if unknown := settings.keys() - {"engine", "threads"}:
        raise InputError(f"load: {min(unknown)!r} is not engine or threads")
    header, tensors = read(path)
    try:
        return _trainer(header, tensors, settings)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


def _trainer(header: Header, tensors: dict[str, Array], settings: dict[str, Any]) -> Trainer:
    from .trainer import Trainer

    cls = kind_named(header.trainer.get("kind"))
    if not issubclass(cls, Trainer):
        raise FileError(f"a {cls.kind} is no trainer")
    fields = fields_of(header.trainer) | settings
    dtype = fields.get("dtype")
    for name, value in tensors.items():
        if value.dtype != dtype:
            raise FileError(f"{name} is {value.dtype}, expected {dtype}")
        if not np.isfinite(value).all():
            raise FileError(f"{name} has values that are not finite")
    start = Snapshot(tensors, header.steps_done)
    with constructing(cls.kind):
        trainer = cls.restored(fields, start, header.features, history_of(header), header.notes)
        targets = None if trainer.loss.target == "class" else trainer.outputs
        given = programs.inputs(header.features, targets, False)
        programs.evaluation_program(trainer.session.recipe, given)  # the loss fits the outputs
    return trainer


def read(path: str | os.PathLike[str]) -> tuple[Header, dict[str, Array]]:
    """The description and the tensors of a model file, checked against its digest."""
    from safetensors import SafetensorError, safe_open

    path = check_readable(path)
    with named("read", path), path.open("rb") as opened:
        if opened.read(len(DATABASE)) == DATABASE:
            raise FileError(f"{path}: a study, not a model: `chainrule report` shows it")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise FileError(f"{path}: a safetensors file, but not one that chainrule wrote")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileError(f"{path}: not a model file, or damaged ({error})") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if "sha256" in metadata:
        raise FileError(f"{path}: of an early version of chainrule: train the model again")
    digest, _, text = metadata[KEY].partition(" ")
    json = text.encode()
    if digest != _digest(json, tensors):
        raise FileError(f"{path}: damaged: the contents do not match their checksum")
    try:
        form = msgspec.json.decode(json, type=FormatOnly)
        if form.format != FORMAT:
            raise FileError(
                f"{path}: written by chainrule {form.version} in format {form.format}, "
                f"but this version reads format {FORMAT}"
            )
        header = msgspec.json.decode(json, type=Header)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FileError(f"{path}: damaged: {error}") from None
    words = {x for values in header.history.values() for x in values if isinstance(x, str)}
    lengths = {len(values) for values in header.history.values()}
    if len(lengths) > 1 or header.steps_done < 0 or not words <= INFINITE.keys():
        raise FileError(f"{path}: damaged: the history makes no sense")
    return header, tensors


class FormatOnly(msgspec.Struct):
    """What is read first, so that a file from a newer version is recognised as one."""

    format: int
    version: str


def history_of(header: Header) -> History:
    """The epochs that a file tells of."""
    columns = {name: [_from_json(x) for x in values] for name, values in header.history.items()}
    return History(columns, header.stopped)


def _to_json(value: float) -> float | str | None:
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None if math.isnan(value) else float(value)


def _from_json(value: float | str | None) -> float:
    return math.nan if value is None else INFINITE.get(value, value)  # type: ignore[arg-type]


def _in_order(value: Array) -> Array:
    """Row by row, little end first: safetensors writes memory as it lies."""
    return np.asarray(value, value.dtype.newbyteorder("<"), order="C")


def _digest(json: bytes, tensors: dict[str, Array]) -> str:
    digest = hashlib.sha256(json)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()
