"""The engines by name."""

import warnings

from .program import Engine
from .reference import ReferenceEngine

ENGINES = ("compiled", "reference")
"""What `engine=` takes."""


def make_engine(name: str, dtype: str, threads: int | None = None) -> Engine:
    """An engine with an empty memory.

    The compiled engine computes in float32; at float64 the reference engine takes its place. It
    does so with a warning, too, on a platform where llvmlite does not work.
    """
    if name == "compiled" and dtype == "float32":
        try:
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
