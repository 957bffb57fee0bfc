"""Options: the limits of the library as types of the command line."""

import contextlib
from collections.abc import Callable
from typing import Any, get_args

import click
import msgspec

from ..errors import InputError
from ..files import as_text
from ..limits import Count, Seed, check

MAX_LAYERS = 100
"""Hidden layers of one network: to compile so many takes a few seconds."""


class Limited(click.ParamType):  # type: ignore[type-arg]
    """A number within a limit of `chainrule.limits`, refused in the limit's own words."""

    def __init__(self, limit: Any) -> None:
        self.limit = limit
        self.number = int if get_args(limit)[0] is int else float
        self.name = "integer" if self.number is int else "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that the text stands for."""
        with contextlib.suppress(ValueError):  # the check says what was expected
            value = self.number(value)
        check(option_name(param), value, self.limit)
        return value


class Widths(click.ParamType):  # type: ignore[type-arg]
    """Widths of hidden layers: `256,128`, or `0` for none."""

    name = "widths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The widths as a tuple."""
        if isinstance(value, tuple) or value == "0":
            return value if isinstance(value, tuple) else ()
        words = value.split(",")
        if not all(
            word.strip().isdecimal() and len(word) < 20 and word.isascii() for word in words
        ):
            raise InputError(
                f"{option_name(param)} is {value!r}, expected widths such as 256,128, or 0 for none"
            )
        if len(words) > MAX_LAYERS:
            raise InputError(
                f"{option_name(param)} has {len(words)} widths, expected {MAX_LAYERS} at most"
            )
        for word in words:
            check(option_name(param), int(word), Count)
        return tuple(int(word) for word in words)


def option_name(param: click.Parameter | None) -> str:
    """How the user types it."""
    return param.opts[-1] if param is not None else "value"


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command takes."""
    for option in (
        click.option(
            "--json", "as_json", is_flag=True, help="Print the result as one JSON object."
        ),
        click.option("--quiet", is_flag=True, help="Show no progress."),
        click.option("--threads", type=Limited(Count), help="Processor threads; default: as fits."),
        click.option(
            "--seed",
            type=Limited(Seed),
            default=0,
            show_default=True,
            help="The same seed gives the same result.",
        ),
    ):
        command = option(command)
    return command


def is_given(context: click.Context, name: str) -> bool:
    """Whether the user typed an option, whatever its value."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def print_json(result: Any) -> None:
    """One JSON object on standard output."""
    click.echo(msgspec.json.encode(_encodable(result)))


def _encodable(value: Any) -> Any:
    """Plain data whose texts, names of files among them, can be encoded."""
    match value:
        case str():
            return as_text(value)
        case dict():
            return {key: _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
    return value
