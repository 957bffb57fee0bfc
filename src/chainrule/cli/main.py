"""The command `chainrule`: its subcommands, and what becomes of errors.

Exit status: 0 done; 1 the job failed or was interrupted; 2 the input or the usage was wrong.
"""

import contextlib
import io
import os
import signal
import sys

import click

from .. import __version__
from ..errors import ChainruleError, InputError
from .cache import cache
from .inspect import inspect
from .report import report
from .search import search
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
    # To be told to end is answered like Ctrl-C: the model is kept.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = status(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Who reads the output has gone, or the disk is full; Python's own exit would say it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or _failed(f"the output cannot be written: {error.strerror}", FAILED)
    sys.exit(code)


def status(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    try:
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
    with contextlib.suppress(OSError):
        click.echo("chainrule: " + " ".join(message.split()), err=True)
    return code
