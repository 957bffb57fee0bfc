"""The engines by name."""

import concurrent.futures.thread  # noqa: F401 -- see `_importing`
import warnings

from ..locks import fork_safe_lock
from .program import Engine
from .reference import ReferenceEngine

ENGINES = ("compiled", "reference")
"""What `engine=` takes."""

_importing = fork_safe_lock()
"""A module that another thread imports at a fork is never imported in the child, so a fork waits.
Python's pool of threads has a lock for forks too, and must not be imported while a fork waits."""


def make_engine(name: str, dtype: str, threads: int | None = None) -> Engine:
    """An engine with an empty memory.

    The compiled engine computes in float32; at float64 the reference engine takes its place. It
    does so with a warning, too, on a platform where llvmlite does not work.
    """
    if name == "compiled" and dtype == "float32":
        try:
            with _importing:
                from .compiled.assemble import address
                from .compiled.engine import CompiledEngine

            address("driver")  # whether code can be made and run here shows now, not in `fit`
            return CompiledEngine(threads)
        except (ImportError, AttributeError, MemoryError, OSError, RuntimeError) as error:
            _warn(f"{type(error).__name__}: {error}")
    return ReferenceEngine(dtype)


def _warn(reason: str) -> None:
    # Python shows the same warning from the same line once.
    warnings.warn(
        f"llvmlite does not work here ({reason}): training runs on the slower reference engine",
        RuntimeWarning,
        stacklevel=4,
    )
