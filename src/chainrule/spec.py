"""`Spec`: an object that is its typed fields. Layers, losses, optimizers and schedules are specs.

The fields are checked against their limits, printed in short, and written to and read from plain
data (what JSON can hold), so that a model file needs no pickle.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Self, dataclass_transform, get_type_hints

import numpy as np

from .errors import FileError, InputError
from .limits import Check, checks

KINDS: dict[str, type[Spec]] = {}
"""Every class of specs by its name in a file; a class is known once it is defined."""


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
    __hash__ = object.__hash__

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(eq=False, repr=False)(cls)
        cls.is_ours = cls.__module__.split(".")[0] == __package__
        cls.kind = cls.__qualname__ if cls.is_ours else f"{cls.__module__}.{cls.__qualname__}"
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
        """Make one from the values of its fields."""
        return cls(**fields)

    def __repr__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING:
                shown.append(repr(value))
            elif value is not field.default and value != field.default:
                required = all(f.default is dataclasses.MISSING for f in _before(self, field))
                shown.append(repr(value) if required else f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _before(spec: Spec, field: dataclasses.Field[Any]) -> list[dataclasses.Field[Any]]:
    fields = list(dataclasses.fields(spec))  # type: ignore[arg-type]
    return fields[: fields.index(field)]


@functools.cache
def _checks(cls: type) -> list[tuple[str, str, Check]]:
    """What there is to check of a class of specs: fields, and what messages call them."""
    hints = get_type_hints(cls, include_extras=True)
    return [
        (field.name, f"{cls.__name__}: {field.name}", check)
        for field in dataclasses.fields(cls)
        for check in checks(hints.get(field.name))
    ]


def to_plain(value: Any, seen: list[Spec] | None = None) -> Any:
    """A spec as what JSON can hold. An object met again (a shared layer) becomes a reference."""
    seen = [] if seen is None else seen
    match value:
        case Spec() if value in seen:
            return {"same_as": seen.index(value)}
        case Spec():
            seen.append(value)
            fields = {name: to_plain(field, seen) for name, field in value.fields().items()}
            return {"kind": value.kind, **fields}
        case np.generic():  # first of all: float64 is a float too
            return value.item()
        case None | bool() | int() | float() | str():
            return value
        case list() | tuple() | np.ndarray():
            return [to_plain(item, seen) for item in value]
        case _:
            raise InputError(
                f"{value!r} cannot be written to a file: make it a class with typed fields, "
                "e.g. a subclass of chainrule.nn.Layer"
            )


def from_plain(data: Any, seen: list[Spec | None] | None = None) -> Any:
    """The inverse of `to_plain`; a `FileError` if the data does not describe a spec."""
    seen = [] if seen is None else seen
    if isinstance(data, list):
        return tuple(from_plain(item, seen) for item in data)
    if not isinstance(data, dict):
        return data
    if "same_as" in data:
        places = [spec for i, spec in enumerate(seen) if i == data["same_as"]]
        return places[0] if places else None
    kind = data.get("kind")
    if kind not in KINDS:
        raise FileError(f"a {kind!r} is not known here: import the module that defines it first")
    place = len(seen)
    seen.append(None)
    fields = {name: from_plain(item, seen) for name, item in data.items() if name != "kind"}
    try:
        spec = KINDS[kind].of_fields(fields)
    except (KeyError, TypeError, InputError) as error:
        raise FileError(f"this is no {kind}: {error}") from None
    seen[place] = spec
    return spec
