"""MB that a process holds."""

import os
import resource
import sys


def now() -> float:
    """Held at this moment; where the system does not say, the most so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return most()


def most() -> float:
    """The most so far: of this program alone, where the system says so."""
    try:
        with open("/proc/self/status") as file:  # `getrusage` counts what the parent held, too
            (line,) = (line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
