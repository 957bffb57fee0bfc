"""Shapes: feature axes have fixed lengths; the batch axis has the free length `N`."""

from collections.abc import Iterable
from typing import Final

from ..errors import ShapeError


class Free:
    """A length that is known only when a batch of rows arrives."""

    def __repr__(self) -> str:
        return "N"

    def __reduce__(self) -> str:
        """A copy is `N` itself, since lengths are compared by identity."""
        return "N"


N: Final = Free()

Dim = int | Free
Shape = tuple[Dim, ...]


def text(shape: Shape) -> str:
    """`[N, 784]`, or `scalar` for a shape without axes."""
    return f"[{', '.join(map(str, shape))}]" if shape else "scalar"


def resolve(shape: Shape, rows: int | None) -> tuple[int, ...]:
    """The shape with the batch axis filled in."""
    if rows is None and N in shape:
        raise ShapeError(f"{text(shape)} has a batch axis, but no batch was given")
    return tuple(rows if isinstance(n, Free) else n for n in shape)  # type: ignore[misc]


def broadcast(name: str, shapes: Iterable[Shape]) -> Shape:
    """The shape that all `shapes` stretch to, axes aligned at the right, length 1 stretching.

    >>> broadcast("add", [(N, 50), (50,)])
    (N, 50)
    >>> broadcast("subtract", [(N,), (N, 1)])
    Traceback (most recent call last):
    chainrule.errors.ShapeError: subtract: [N] and [N, 1] would pair every row with every other row
    """
    shapes = tuple(shapes)
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    result: list[Dim] = []
    for lengths in columns:
        wide = {n for n in lengths if n != 1}
        if len(wide) > 1:
            raise ShapeError(f"{name}: {' and '.join(map(text, shapes))} do not broadcast")
        result.append(wide.pop() if wide else 1)
    # The commonest silent mistake with column targets; symbolic batches make it visible.
    if result.count(N) > 1:
        raise ShapeError(
            f"{name}: {' and '.join(map(text, shapes))} would pair every row with every other row"
        )
    return tuple(result)
