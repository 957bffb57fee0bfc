"""`Spec`: an object that is its typed fields. Layers, losses, optimizers and schedules are specs.

The fields are checked against their limits, printed in short, and written to and read from plain
data (what JSON can hold), so that a model file needs no pickle.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)  # fmt: skip

import numpy as np

from . import words
from .errors import FileError, InputError
from .limits import Check, checks

KINDS: dict[str, type[Spec]] = {}
"""Every class of specs by its name in a file; a class is known once it is defined."""

DEEPEST = 100
"""Specs within specs that a file may hold: reading one level takes some 5 of Python's 1,000
calls."""

MAIN = ("__main__", "__mp_main__")
"""What Python calls the module of a script while it runs, and in a spawned process."""


@dataclass_transform(eq_default=False)
class Spec:
    """Base of everything that is described by a few fields. A subclass lists them, typed.

    >>> from chainrule import nn
    >>> nn.Dropout(0.2)
    Dropout(0.2)
    >>> to_plain(nn.Dropout(0.2))
    {'kind': 'Dropout', 'ratio': 0.2}
    """

    kind: ClassVar[str]
    is_ours: ClassVar[bool]
    """Whether the class is of this library."""
    is_base: ClassVar[bool] = True
    """Whether the class is only there to be derived from."""
    __hash__ = object.__hash__

    def __init_subclass__(cls) -> None:
        has_own_init = "__init__" in vars(cls)
        dataclasses.dataclass(eq=False, repr=False)(cls)
        if not has_own_init:
            cls.__init__ = _helpful(cls.__init__)  # type: ignore[method-assign]
        cls.is_ours = cls.__module__.split(".")[0] == __package__
        cls.is_base = vars(cls).get("is_base", False)
        cls.kind = cls.__qualname__ if cls.is_ours else f"{_home(cls)}.{cls.__qualname__}"
        KINDS[cls.kind] = cls

    def __post_init__(self) -> None:
        for name, said, check in _checks(type(self)):  # type: ignore[arg-type]
            check(said, getattr(self, name))
        self.setup()

    def setup(self) -> None:
        """Derive what the fields imply; called once they are checked."""

    def fields(self) -> dict[str, Any]:
        """The values of the fields, in order."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Make one from the values of its fields; a constructor of the user's may take fewer."""
        taken = inspect.signature(cls.__init__).parameters
        names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        takes_all = any(x.kind is x.VAR_KEYWORD for x in taken.values())
        others = set() if takes_all else fields.keys() & (names - taken.keys())
        spec = cls(**{name: value for name, value in fields.items() if name not in others})
        for name in others:
            setattr(spec, name, fields[name])
        return spec

    def __repr__(self) -> str:
        shown = []
        for field in _in_order(type(self)):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING:
                shown.append(repr(value))
            elif value is not field.default and value != field.default:
                by_place = not field.kw_only and all(map(_is_required, _before(type(self), field)))
                shown.append(repr(value) if by_place else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _in_order(cls: type[Spec]) -> list[dataclasses.Field[Any]]:
    """The fields as a call has them: those that need a name come last."""
    return sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True)  # type: ignore[arg-type]


def _before(cls: type[Spec], field: dataclasses.Field[Any]) -> list[dataclasses.Field[Any]]:
    """The fields that come before one in a call without names."""
    fields = _in_order(cls)
    return fields[: fields.index(field)]


def _home(cls: type) -> str:
    """The module of a class, by the name under which another script imports it."""
    if cls.__module__ not in MAIN:
        return cls.__module__
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


@functools.cache
def _checks(cls: type) -> list[tuple[str, str, Check]]:
    """The checks of a class of specs: fields, and what messages call them."""
    hints = get_type_hints(cls, include_extras=True)
    return [
        (field.name, f"{cls.__name__}: {field.name}", check)
        for field in dataclasses.fields(cls)
        for check in checks(hints.get(field.name))
    ]


# Arguments, and errors that answer what people type -----------------------------------------


def _helpful(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that says in one line which argument does not fit."""

    @functools.wraps(init)
    def checked(self: Spec, *given: Any, **named: Any) -> None:
        try:
            init(self, *given, **named)
        except TypeError:
            try:
                inspect.signature(init).bind(self, *given, **named)
            except TypeError as misfit:
                raise InputError(_misfit(type(self), named, misfit)) from None
            raise

    return checked


def _misfit(cls: type[Spec], named: Mapping[str, Any], error: TypeError) -> str:
    fields = _in_order(cls)
    names = [field.name for field in fields]
    for name in named:
        if name in names:
            continue
        if words.FIELDS.get(name) in names:
            return f"{cls.__name__} has no {name!r}: it is {words.FIELDS[name]!r} here"
        if name in words.WAYS_OUT:
            return f"{cls.__name__} has no {name!r}: {words.WAYS_OUT[name]}"
        near = words.near(name, names) or f": there is {', '.join(names)}"
        return f"{cls.__name__} has no {name!r}{near}"
    shown = [f.name if _is_required(f) else f"{f.name}={f.default!r}" for f in fields]
    return f"{cls.__name__}: {error}, expected {cls.__name__}({', '.join(shown)})"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


Kind = TypeVar("Kind", bound="Spec")


def as_spec(
    place: str, value: Any, kind: type[Kind], known: Mapping[str, type[Kind]] | None = None
) -> Kind:
    """The spec itself, or one of the class that a word stands for; else an `InputError`."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and known and value.lower() in known:
        return known[value.lower()]()
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{place} is the class {value.__name__}, expected {value.__name__}()")
    near = words.near(value, known) if isinstance(value, str) and known else ""
    or_word = f", or one of {', '.join(map(repr, known))}" if known else ""
    raise InputError(
        f"{place} is {value!r}, expected {words.with_article(kind.__name__)}{or_word}{near}"
    )


# Plain data ---------------------------------------------------------------------------------


def to_plain(value: Any, seen: list[Spec] | None = None, depth: int = 0) -> Any:
    """A spec as what JSON can hold. An object met again (a shared layer) becomes a reference."""
    seen = [] if seen is None else seen
    if depth > DEEPEST:
        raise InputError(f"layers lie within layers {depth} deep, expected {DEEPEST} at most")
    match value:
        case Spec() if value in seen:
            return {"same_as": seen.index(value)}
        case Spec():
            seen.append(value)
            fields = value.fields().items()
            plain = {name: to_plain(field, seen, depth + 1) for name, field in fields}
            return {"kind": value.kind, **plain}
        case np.generic():  # first of all: float64 is a float too
            return to_plain(value.item(), seen, depth)
        case float() if not math.isfinite(value):
            raise InputError(f"{value!r} cannot be written to a file, expected a finite number")
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | np.ndarray():
            return [to_plain(item, seen, depth) for item in value]
        case _:
            name = getattr(value, "__qualname__", None)
            found = repr(value) if name is None else f"the function {name}"
            raise InputError(
                f"{found} cannot be written to a file: make it a class with typed fields, "
                "e.g. a subclass of chainrule.nn.Layer or chainrule.optim.Schedule"
            )


def from_plain(data: Any, absent: StandIn | None = None) -> Any:
    """The inverse of `to_plain`; a `FileError` if the data does not describe a spec.

    `absent` makes a stand-in for a spec whose class no module has defined.
    """
    return _Reader(absent).value(data, 0)


def fields_of(data: Mapping[str, Any], absent: StandIn | None = None) -> dict[str, Any]:
    """The values of the fields that the plain data of a spec has."""
    reader = _Reader(absent)
    reader.seen.append(None)  # the spec itself, which references count as the first
    return reader.fields(data, 0)


StandIn = Callable[[str, dict[str, Any]], Any]


class _Reader:
    """Makes specs of plain data, of which a later part may refer to an earlier one."""

    def __init__(self, absent: StandIn | None) -> None:
        self._absent = absent
        self.seen: list[Any] = []

    def value(self, data: Any, depth: int) -> Any:
        """A value, or the values of a list, or a spec."""
        if depth > DEEPEST:
            raise FileError(f"layers lie within layers, deeper than {DEEPEST}")
        if isinstance(data, list):
            return tuple(self.value(item, depth + 1) for item in data)
        if not isinstance(data, dict):
            return data
        if "same_as" in data:
            places = [spec for i, spec in enumerate(self.seen) if i == data["same_as"]]
            return places[0] if places else None
        place = len(self.seen)
        self.seen.append(None)
        self.seen[place] = self._spec(data, depth)
        return self.seen[place]

    def fields(self, data: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """All fields of a spec."""
        items = ((name, item) for name, item in data.items() if name != "kind")
        return {name: self.value(item, depth + 1) for name, item in items}

    def _spec(self, data: Mapping[str, Any], depth: int) -> Any:
        try:
            cls = kind_named(data.get("kind"))
        except UnknownKind:
            if self._absent is None:
                raise
            return self._absent(data["kind"], self.fields(data, depth))
        fields = self.fields(data, depth)
        if self._absent is None:
            _expect_parts(cls, fields)
        with constructing(cls.kind):
            return cls.of_fields(fields)


@contextlib.contextmanager
def constructing(kind: str) -> Iterator[None]:
    """Whatever a constructor makes of data from a file, in one line."""
    try:
        yield
    except FileError:
        raise
    except InputError as error:
        raise FileError(f"this is no {kind}: {error}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise FileError(f"this is no {kind}: {type(error).__name__}: {error}") from None


class UnknownKind(FileError):
    """A class that no module has defined yet."""


def kind_named(kind: Any) -> type[Spec]:
    """The class of specs with that name in a file; one of the user's may lie in another module."""
    if not isinstance(kind, str):
        raise FileError(f"a kind is {kind!r}, expected the name of a class")
    found = [KINDS[kind]] if kind in KINDS else _moved(kind)
    if len(found) > 1:
        homes = " and ".join(sorted(cls.kind for cls in found))
        raise FileError(f"a {kind!r} is not known here, and {homes} both might be it")
    if not found:
        raise UnknownKind(f"a {kind!r} is not known here: import the module that defines it first")
    if found[0].is_base:
        raise FileError(f"a part is of the kind {kind}, which is only a base of others")
    return found[0]


def _moved(kind: str) -> list[type[Spec]]:
    """Classes of that name that lie in another module than the file says."""
    others = (cls for cls in KINDS.values() if not cls.is_ours)
    return [cls for cls in others if kind.endswith(f".{cls.__qualname__}")]


def _expect_parts(cls: type[Spec], fields: Mapping[str, Any]) -> None:
    """In a file a field for a layer holds a layer, where a call takes a function too."""
    for name, hint in get_type_hints(cls).items():
        many = get_origin(hint) in (tuple, list, Sequence)
        wanted = get_args(hint)[0] if many and get_args(hint) else hint
        if name not in fields or not isinstance(wanted, type) or not issubclass(wanted, Spec):
            continue
        parts = fields[name] if many and isinstance(fields[name], tuple) else (fields[name],)
        for part in parts:
            if not isinstance(part, wanted):
                raise FileError(
                    f"this is no {cls.kind}: {name} is {part!r:.80}, expected {wanted.__name__}"
                )
