"""A process for one contestant: it times some epochs for each line that it is sent.

    python -m bench.worker CONTESTANT WORKLOAD-AS-JSON FOLDER-WITH-X-AND-y

It answers with a line of JSON when the first epoch is done, and one for each turn: epochs for a
third of a second, after some that bring its memory back into the caches and are not counted. As
many are trained at one go as take a tenth of a second.
"""

import time

began = time.perf_counter()

import json  # noqa: E402 -- the clock starts before what is imported
import sys  # noqa: E402

import numpy as np  # noqa: E402

from bench import memory  # noqa: E402
from bench.contestants import CONTESTANTS, CannotDo, Epochs  # noqa: E402
from bench.workloads import Workload  # noqa: E402

TURN, GO = 0.3, 0.1


def main() -> None:
    """Serve until the input ends."""
    who, what, folder = sys.argv[1:]
    workload = Workload(**json.loads(what))
    reading = time.perf_counter()
    X, y = np.load(f"{folder}/X.npy"), np.load(f"{folder}/y.npy")
    data = time.perf_counter() - reading
    make = CONTESTANTS[who].load()
    before = memory.now()
    try:
        epochs = make(workload, X, y)
    except CannotDo as error:
        _say({"cannot": str(error)})
        return
    epochs(1)
    _say({"first": time.perf_counter() - began - data})
    for _ in sys.stdin:
        count = max(1, round(GO / _seconds(epochs, 1)))
        seconds: list[float] = []
        while count * sum(seconds) < TURN:
            seconds.append(_seconds(epochs, count) / count)
        _say({"seconds": seconds, "megabytes": memory.most() - before})


def _seconds(epochs: Epochs, count: int) -> float:
    start = time.perf_counter()
    epochs(count)
    return time.perf_counter() - start


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
