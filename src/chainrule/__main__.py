"""`python -m chainrule` is the command line."""

from .cli.main import run

run()
