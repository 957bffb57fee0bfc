"""The command `chainrule`: its subcommands, and what becomes of errors.

Exit status: 0 done; 1 the job failed or was interrupted; 2 the input or the usage was wrong.
"""

import contextlib
import signal
import sys
import warnings
from typing import Any

import click

from .. import __version__
from ..errors import ChainruleError, InputError
from ..starting import give_back
from ..training.interrupt import SIGNALS, told_to_end
from .cache import cache
from .inspect import inspect
from .report import report
from .search import search
from .streams import flush_output, prepare_streams
from .train import train

DONE, FAILED, WRONG = 0, 1, 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
def main() -> None:
    """Train and tune dense neural networks on the CPU."""


main.add_command(train)
main.add_command(search)
main.add_command(report)
main.add_command(inspect)
main.add_command(cache)


def run(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit; an error is one line on standard error."""
    prepare_streams()
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        _listen()
        code = status(arguments)
    except KeyboardInterrupt:  # a second one, while the first is answered
        code = FAILED
    _stop_listening()
    if (error := flush_output()) is not None:
        code = code or _failed(f"the output cannot be written: {error.strerror}", FAILED)
    sys.exit(code)


def _listen() -> None:
    """Answer SIGTERM and SIGHUP like Ctrl-C, unless the parent ignores them, as `nohup` does."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, told_to_end)


def _stop_listening() -> None:
    """The job is done: a signal ends what is left without a traceback."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.default_int_handler, told_to_end):
            signal.signal(number, signal.SIG_DFL)


def _warn(message: Warning | str, *_: Any) -> None:
    """Show a warning as one line, without the line of code that gave it."""
    _say(str(message))


def status(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    try:
        give_back()
        result = main.main(arguments, prog_name="chainrule", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG
    except click.ClickException as error:
        return _failed(error.format_message(), WRONG)
    except InputError as error:
        return _failed(str(error), WRONG)
    except ChainruleError as error:
        return _failed(str(error), FAILED)
    except (KeyboardInterrupt, click.Abort):
        return _failed("interrupted", FAILED)
    except MemoryError:
        return _failed("there is not enough memory", FAILED)
    except OSError as error:
        return _failed(f"the output cannot be written: {error.strerror or error}", FAILED)
    return result if isinstance(result, int) else DONE


def _failed(message: str, code: int) -> int:
    _say(message)
    return code


def _say(message: str) -> None:
    with contextlib.suppress(OSError):
        click.echo("chainrule: " + " ".join(message.split()), err=True)
