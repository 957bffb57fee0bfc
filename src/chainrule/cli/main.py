"""The command `chainrule`: its subcommands, and what becomes of errors.

Exit status: 0 done; 1 the job failed or was interrupted; 2 the input or the usage was wrong.
"""

import os
import sys

import click

from .. import __version__
from ..errors import ChainruleError, InputError
from .inspect import inspect
from .train import train

DONE, FAILED, WRONG = 0, 1, 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chainrule")
def main() -> None:
    """Train and tune dense neural networks on the CPU."""


main.add_command(train)
main.add_command(inspect)


def run(arguments: list[str] | None = None) -> None:
    """Run the command line, and exit; an error is one line on standard error."""
    sys.exit(status(arguments))


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
    except BrokenPipeError:
        # Who reads the output has gone; nothing more can be said there, not even by Python's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return result if isinstance(result, int) else DONE


def _failed(message: str, code: int) -> int:
    click.echo("chainrule: " + " ".join(message.split()), err=True)
    return code
