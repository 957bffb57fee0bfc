"""The model file: one safetensors file of all state, described by JSON in its metadata."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..errors import FileError, InputError
from ..files import check_readable, write_whole
from ..graph.tensor import Array
from ..spec import from_plain, to_plain
from .history import History
from .session import Snapshot

if TYPE_CHECKING:
    from .trainer import Trainer

FORMAT = 1
"""Raised when an older chainrule could not read the file any more."""


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON in the metadata of the file, under "chainrule"."""

    format: int
    version: str
    trainer: dict[str, Any]
    features: int
    steps_done: int
    history: dict[str, list[float | None]]
    stopped: str
    notes: dict[str, Any]


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write a trainer whole; see `Trainer.save`."""
    from safetensors.numpy import save as to_bytes

    from .. import __version__

    if trainer.features is None:
        raise InputError("save: there is nothing learned yet; fit first")
    tensors = trainer.session.values()
    header = Header(
        format=FORMAT,
        version=__version__,
        trainer=to_plain(trainer),
        features=trainer.features,
        steps_done=trainer.session.steps_done,
        history={name: [_or_none(x) for x in values] for name, values in trainer.history.items()},
        stopped=trainer.history.stopped,
        notes=trainer.notes,
    )
    json = msgspec.json.encode(header)
    metadata = {"chainrule": json.decode(), "sha256": _digest(json, tensors)}
    write_whole(path, to_bytes(tensors, metadata))


def load(path: str | os.PathLike[str], **settings: Any) -> Trainer:
    """Read a trainer that `Trainer.save` wrote: it predicts, and trains on, exactly as that one.

    `settings` replace what was saved of `threads` and `engine`. A file that is missing, damaged or
    of another kind is a `FileError`. Layers of your own must be defined, or imported, before.

    >>> import chainrule as cr
    >>> cr.load("no_such_file.safetensors")
    Traceback (most recent call last):
    chainrule.errors.FileError: no_such_file.safetensors: there is no such file
    """
    header, tensors = read(path)
    from .trainer import Trainer

    if unknown_settings := settings.keys() - {"engine", "threads"}:
        raise InputError(f"load: {min(unknown_settings)!r} is not engine or threads")
    try:
        trainer = from_plain(header.trainer | settings)
        if not isinstance(trainer, Trainer):
            raise FileError(f"a {header.trainer.get('kind')!r} is no trainer")
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    leaves = trainer.session.state()
    for name, leaf in leaves.items():
        _check_tensor(f"{path}: {name}", tensors.get(name), leaf.shape, trainer.dtype)
    if unknown := tensors.keys() - leaves.keys():
        raise FileError(f"{path}: {min(unknown)} is no part of the model")
    try:
        trainer.expect_features(header.features)
    except InputError as error:
        raise FileError(f"{path}: damaged: {error}") from None
    trainer.session.restore(Snapshot(tensors, header.steps_done))
    columns = {
        name: [float("nan") if x is None else x for x in values]
        for name, values in header.history.items()
    }
    trainer.history = History(columns, header.stopped)
    trainer.notes = header.notes
    return trainer


def read(path: str | os.PathLike[str]) -> tuple[Header, dict[str, Array]]:
    """The description and the tensors of a model file, checked against its digest."""
    from safetensors import SafetensorError, safe_open

    path = check_readable(path)
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if "chainrule" not in metadata:
                raise FileError(f"{path}: a safetensors file, but not one that chainrule wrote")
            json = metadata["chainrule"].encode()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FileError(f"{path}: not a model file, or damaged ({error})") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if metadata.get("sha256") != _digest(json, tensors):
        raise FileError(f"{path}: damaged: the contents do not match their checksum")
    try:
        form = msgspec.json.decode(json, type=FormatOnly)
        if form.format > FORMAT:
            raise FileError(
                f"{path}: written by chainrule {form.version} in format {form.format}, "
                f"but this version reads formats up to {FORMAT}"
            )
        header = msgspec.json.decode(json, type=Header)
        if len({len(values) for values in header.history.values()}) > 1 or header.steps_done < 0:
            raise FileError(f"{path}: damaged: the history makes no sense")
        return header, tensors
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FileError(f"{path}: damaged: {error}") from None


def _check_tensor(name: str, value: Array | None, shape: Any, dtype: str) -> None:
    if value is None:
        raise FileError(f"{name} is missing")
    if value.shape != shape or value.dtype != dtype:
        found = f"{value.dtype} {list(value.shape)}"
        raise FileError(f"{name} is {found}, expected {dtype} {list(shape)}")
    if not np.isfinite(value).all():
        raise FileError(f"{name} has values that are not finite")


class FormatOnly(msgspec.Struct):
    """What is read first, so that a file from a newer version is recognised as one."""

    format: int
    version: str


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _digest(json: bytes, tensors: dict[str, Array]) -> str:
    digest = hashlib.sha256(json)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()
