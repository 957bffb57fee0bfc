"""Changes at random: of bytes, and of values that JSON can hold."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

LENGTHS = (0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
"""Lengths at the edges, as a header of 4 bytes may tell them."""


def of_bytes(data: bytes, random: Random, head: int = 64) -> tuple[bytes, str]:
    """Other bytes, a half of the time within the first `head`."""
    changed = bytearray(data)
    end = min(head, len(data)) if random.random() < 0.5 else len(data)
    place = random.randrange(end + 1)
    match random.choice(("flip", "set", "insert", "delete", "cut", "length", "repeat", "nothing")):
        case "flip" if place < len(data):
            changed[place] ^= 1 << random.randrange(8)
            told = f"a bit of byte {place} flipped"
        case "set" if place < len(data):
            changed[place] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
            told = f"byte {place} set to {changed[place]}"
        case "insert":
            count = random.choice((1, 2, 100))
            changed[place:place] = random.randbytes(count)
            told = f"{count} bytes at {place} inserted"
        case "delete":
            count = random.choice((1, 2, 100))
            del changed[place : place + count]
            told = f"{count} bytes at {place} deleted"
        case "length":
            value = random.choice(LENGTHS)
            changed[place : place + 4] = value.to_bytes(4, random.choice(("big", "little")))
            told = f"4 bytes at {place} set to {value}"
        case "repeat":
            changed *= 2
            told = "said twice"
        case "nothing":
            changed.clear()
            told = "emptied"
        case _:
            del changed[place:]
            told = f"cut after {place} bytes"
    return bytes(changed), told


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-320, 1e308, -1e308, 2**31 - 1, 2**31, -(2**31),
    2**63 - 1, 2**63, 2**64, 10**30, "", "word", "nan", "0", "-1", "٣", "x" * 5_000, "a\nb", "\x00",
    [], {}, [[]], [None], [{}], [0], [1, 2, 3], ["a"], {"": 0}, {"a": [1]}, {"kind": None},
    {"kind": []}, {"kind": {}}, {"kind": "ReLU"}, {"same_as": 0}, {"same_as": -1},
    {"same_as": []}, {"same_as": 10**30},
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a value, of itself too."""
    found = [path]
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        found += places(item, (*path, key))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


def of_values(value: Any, random: Random, more: tuple[Any, ...] = ()) -> tuple[Any, str]:
    """The same value but for one within it; `more` are values that may stand in its place."""
    value = copy.deepcopy(value)
    path = random.choice(places(value))
    if not path:
        return copy.deepcopy(random.choice(VALUES + more)), "another value"
    parent, key = at(value, path[:-1]), path[-1]
    name = ".".join(map(str, path))
    match random.choice(("value", "value", "value", "more", "more", "delete", "copy", "key")):
        case "more" if more:
            parent[key] = copy.deepcopy(random.choice(more))
        case "delete":
            del parent[key]
            return value, f"{name} deleted"
        case "copy":
            other = random.choice(places(value))
            parent[key] = copy.deepcopy(at(value, other))
        case "key" if isinstance(parent, dict):
            new = random.choice((*KEYS, *(key for key in parent)))
            parent[new] = copy.deepcopy(random.choice(VALUES + more))
            return value, f"{name}: beside it {new} = {shown(parent[new])}"
        case _:
            parent[key] = copy.deepcopy(random.choice(VALUES))
    return value, f"{name} = {shown(parent[key])}"


KEYS = ("", "kind", "same_as", "parameters", "history", "file", "epochs", "model", "self", "x")
"""Names that may mean something to those who read them."""


def shown(value: Any) -> str:
    """A value in short."""
    text = repr(value)
    return text if len(text) < 80 else text[:60] + "…"
