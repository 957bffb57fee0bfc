"""The errors that chainrule raises: all of them are `ChainruleError`s."""

from collections.abc import Mapping


class ChainruleError(Exception):
    """Anything that chainrule refuses or cannot do, said in one line."""


class InputError(ChainruleError, ValueError):
    """A value is wrong: the message names the value found and what was expected."""


class ShapeError(InputError):
    """Shapes do not fit together; raised when the graph is built."""


class FileError(InputError):
    """A file is missing, damaged, foreign, or cannot be written."""


class TrainingError(ChainruleError, ArithmeticError):
    """Training cannot go on, e.g. because the loss is no longer finite.

    `history` has the epochs before, for a picture of how it came about.
    """

    history: Mapping[str, list[float]] | None = None
