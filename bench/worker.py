"""A process for one contestant: it makes its net, then times an epoch for each line it is sent."""

import json
import resource
import sys
import time


def main() -> None:
    """Answer with one JSON line when ready, and one an epoch."""
    started = time.perf_counter()
    who, what = sys.argv[1:]
    from .contestants import CONTESTANTS
    from .workloads import WORKLOADS

    make, threads = CONTESTANTS[who]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        epoch = make(WORKLOADS[what], threads)
    except ImportError as error:
        epoch = None
        print(f"{who}: {error}", file=sys.stderr)
    if epoch is not None:
        epoch()
    _say({"able": epoch is not None, "first": time.perf_counter() - started})
    for _ in sys.stdin:
        began = time.perf_counter()
        assert epoch is not None
        epoch()
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        _say({"seconds": seconds, "megabytes": peak / 1024})


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


main()
