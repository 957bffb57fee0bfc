"""Trials a second of 13-32-1 on 500 rows, and whether memory stays as it is."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench import memory


def search(trials: int, threads: int | None, marks: int) -> dict[str, Any]:
    """Trials a second, in all and in each quarter; MB after every `marks` trials."""
    import chainrule as cr
    from chainrule import nn, optim
    from chainrule import search as s
    from chainrule.nn.build import multilayer

    def build(settings: s.Settings) -> cr.Trainer:
        net, rule = multilayer(13, [32], 1), optim.SGD(settings["lr"])
        return cr.Trainer(net, nn.MeanSquaredError(), rule, weight_decay=settings["decay"])

    random = np.random.default_rng(0)
    X = random.normal(size=(500, 13)).astype(np.float32)
    y = np.tanh(X @ random.normal(size=13)).astype(np.float32)
    megabytes: dict[int, float] = {}
    seen: list[tuple[float, int]] = []

    def progress(now: s.Progress) -> None:
        ended = now.done + now.failed
        seen.append((now.seconds, ended))
        megabytes.setdefault(ended // marks * marks, memory.now())

    space = {"lr": s.LogUniform(1e-4, 1e-1), "decay": s.LogUniform(1e-8, 1e-2)}
    began = time.perf_counter()
    s.Search(
        build, space, trials=trials, epochs=10, batch_size=50, reduction=None, threads=threads
    ).run(X, y, progress=progress)  # fmt: skip
    whole = time.perf_counter() - began
    return {
        "trials": trials,
        "threads": threads,
        "a_second": trials / seen[-1][0],
        "quarters": [_speed(seen, trials * q / 4, trials * (q + 1) / 4) for q in range(4)],
        "seconds": whole,
        "megabytes": megabytes,
    }


def _speed(seen: list[tuple[float, int]], first: float, last: float) -> float:
    """Trials a second between two numbers of trials."""
    part = [(seconds, ended) for seconds, ended in seen if first <= ended <= last]
    (start, before), (end, after) = part[0], part[-1]
    return (after - before) / (end - start) if end > start else float("nan")
