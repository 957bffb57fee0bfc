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
    """The most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
