"""What a loop's code depends on, so that loops which differ in widths and places share it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from ...graph.tensor import Tensor
from .call import Number
from .kernels import Loop, shared_along, source_of


@dataclass(frozen=True)
class Form:
    """A key that is the same for loops with the same code, and what is a loop's own, in order."""

    key: Hashable
    own: list[Any]


def form(loop: Loop) -> Form:
    """The form of a loop."""
    place: dict[Tensor, int] = {}
    own: list[Any] = [loop.space.columns, shared_along(loop)]
    key: list[Hashable] = [loop.space.rows == 1]
    for x, buffer in loop.loads.items():
        place[x] = len(place)
        own += [x, buffer]
        key.append((buffer.dtype, buffer.space.rows == 1, buffer.space.columns == 1))
    for node in loop.body:
        sources = [source_of(x) for x in node.inputs]
        for x in sources:
            _meet(x, place, own, key)
        place[node] = len(place)
        own.append(node)
        key.append((node.op.name, *(place[x] for x in sources)))
    for sink in loop.sinks:
        _meet(sink.value, place, own, key)
        key.append((sink.action, sink.over, place[sink.value], sink.index is None))
        own += [sink.into, sink.index]
    # Where one thing is met twice, as in x·x, it is so in all loops of the form.
    first = {id(thing): i for i, thing in reversed(list(enumerate(own)))}
    key.append(tuple(first[id(thing)] for thing in own[2:]))
    return Form(tuple(key), own)


def _meet(x: Tensor, place: dict[Tensor, int], own: list[Any], key: list[Hashable]) -> None:
    """A value that is neither loaded nor computed is one of the step's numbers."""
    if x not in place:
        place[x] = len(place)
        own.append(x)
        key.append(("number", x.dtype))


def places(numbers: Sequence[Number], found: Form) -> list[Number]:
    """Numbers of one loop, as those of any loop of its form."""
    roles = {"columns": 0, "along": 1} | {id(x): i for i, x in enumerate(found.own) if i > 1}
    return [(kind, roles[x if isinstance(x, str) else id(x)]) for kind, x in numbers]


def numbers_of(numbers: Sequence[Number], found: Form) -> list[Number]:
    """The numbers of a certain loop."""
    return [(kind, found.own[i]) for kind, i in numbers]
