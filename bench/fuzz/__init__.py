"""Inputs at random: each must be refused in one line, or read; in time, in memory, alone."""

from .idx import Idx
from .kind import Kind
from .models import Models
from .options import Options
from .studies import Studies

KINDS: dict[str, type[Kind]] = {
    "idx": Idx, "models": Models, "studies": Studies, "options": Options
}  # fmt: skip
"""By the names that the command line knows."""
