"""The book's search, section 6.5: who can train its trials. Each tells when each trial ended.

784-100×6-10, ReLU, He's initial values; 400 + 100 images of MNIST, batch 100, SGD, 50 epochs; the
decay is 10^U(-8, -4), the rate 10^U(-6, -2). All validate once, at a trial's end; "the book's way"
does what its code does: float64, the loss after each step, two accuracies after each epoch.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bench.workloads import WORKLOADS, Workload

from .jobs import BOOK

HIDDEN, EPOCHS = (100,) * 6, 50
NET: Workload = replace(WORKLOADS["book"], widths=(784, *HIDDEN, 10), rows=400)
RATE, DECAY = (1e-6, 1e-2), (1e-8, 1e-4)

Train = Callable[[float, float, int], float]
"""A trial: rate, decay, a seed; it returns the accuracy."""


def one_by_one(train: Train, seed: int, trials: int) -> list[float]:
    """Random search as a plain loop."""
    random = np.random.default_rng(seed)
    ends = []
    for trial in range(trials):
        lr, decay = (10 ** random.uniform(*np.log10(range_)) for range_ in (RATE, DECAY))
        train(lr, decay, trial)
        ends.append(time.monotonic())
    return ends


def rungs(seed: int, trials: int, threads: int, **switches: Any) -> list[tuple[float, float]]:
    """Seconds and score of each rung that chainrule's Search came to."""
    import chainrule as cr
    from chainrule import nn, optim, search
    from chainrule.nn.build import multilayer

    def build(settings: search.Settings) -> cr.Trainer:
        net = multilayer(784, HIDDEN, 10)
        rule = optim.SGD(settings["lr"])
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), rule, weight_decay=settings["decay"])

    space = {"decay": search.LogUniform(*DECAY), "lr": search.LogUniform(*RATE)}
    with tempfile.TemporaryDirectory() as place:
        search.Search(
            build, space, trials=trials, epochs=EPOCHS, batch_size=NET.batch, seed=seed,
            threads=threads, study=f"{place}/study", **switches,
        ).run(*BOOK.rows())  # fmt: skip
        with sqlite3.connect(f"{place}/study") as study:
            return study.execute("SELECT seconds, score FROM rungs ORDER BY seconds").fetchall()


def ours(seed: int, trials: int, threads: int) -> list[float]:
    """chainrule's Search with nothing abandoned and nothing narrowed."""
    found = rungs(seed, trials, threads, reduction=None, narrow=False)
    return [seconds for seconds, _ in found]


def numpy_book(seed: int, trials: int, threads: int) -> list[float]:
    """NumPy as in the book."""
    return one_by_one(_numpy(np.float64, measures=True), seed, trials)


def numpy_lean(seed: int, trials: int, threads: int) -> list[float]:
    """NumPy with no more than it takes: float32, no losses, one accuracy."""
    return one_by_one(_numpy(np.float32, measures=False), seed, trials)


def _numpy(kind: type, measures: bool) -> Train:
    from bench.contestants.book import SGD, MultiLayerNet

    X, t, X_held, t_held = BOOK.split(0)

    def loss(net: MultiLayerNet, x: np.ndarray, t: np.ndarray, decay: float) -> float:
        weights = (array for name, array in net.params.items() if name.startswith("W"))
        return net.last.forward(net.predict(x), t) + sum(
            0.5 * decay * float(np.sum(W**2)) for W in weights
        )

    def train(lr: float, decay: float, seed: int) -> float:
        random = np.random.default_rng(seed)
        net, rule = MultiLayerNet(NET, random, kind), SGD(lr)
        for _ in range(EPOCHS):
            order = random.permutation(len(X))
            for start in range(0, len(X), NET.batch):
                rows = order[start : start + NET.batch]
                grads = net.gradient(X[rows], t[rows])
                for name, array in net.params.items():
                    if name.startswith("W"):
                        grads[name] += kind(decay) * array
                rule.update(net.params, grads)
                if measures:
                    loss(net, X[rows], t[rows], decay)
            if measures:
                net.accuracy(X, t), net.accuracy(X_held, t_held)
        return net.accuracy(X_held, t_held)

    return train


def pytorch(seed: int, trials: int, threads: int) -> list[float]:
    """PyTorch in a plain loop."""
    return one_by_one(_torch(threads), seed, trials)


def optuna_random(seed: int, trials: int, threads: int) -> list[float]:
    """PyTorch under Optuna, which draws at random."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train, ends = _torch(threads), list[float]()

    def objective(trial: optuna.Trial) -> float:
        decay = trial.suggest_float("decay", *DECAY, log=True)
        return train(trial.suggest_float("lr", *RATE, log=True), decay, trial.number)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed))
    ended = [lambda study, trial: ends.append(time.monotonic())]
    study.optimize(objective, n_trials=trials, callbacks=ended)
    return ends


def _torch(threads: int) -> Train:
    import torch

    from bench.contestants.pytorch import network

    torch.set_num_threads(threads)
    X, t, X_held, t_held = map(torch.from_numpy, BOOK.split(0))
    measure = torch.nn.CrossEntropyLoss()

    def train(lr: float, decay: float, seed: int) -> float:
        torch.manual_seed(seed)
        net = network(NET)
        for layer in net:
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        rule = torch.optim.SGD(net.parameters(), lr=lr, weight_decay=decay, fused=True)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(X)).split(NET.batch):
                rule.zero_grad(set_to_none=True)
                measure(net(X[rows]), t[rows]).backward()
                rule.step()
        with torch.no_grad():
            return float((net(X_held).argmax(dim=1) == t_held).float().mean())

    return train


def scikit_learn(seed: int, trials: int, threads: int) -> list[float]:
    """scikit-learn's MLPClassifier; it has initial values of its own, and spreads alpha by rows."""
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    X, t, X_held, t_held = BOOK.split(0)

    def train(lr: float, decay: float, seed: int) -> float:
        net = MLPClassifier(
            hidden_layer_sizes=HIDDEN, solver="sgd", momentum=0.0, alpha=decay * NET.batch,
            batch_size=NET.batch, learning_rate_init=lr, max_iter=EPOCHS,
            n_iter_no_change=EPOCHS, random_state=seed,
        )  # fmt: skip
        return float(net.fit(X, t).score(X_held, t_held))

    return one_by_one(train, seed, trials)


Contestant = tuple[Callable[[int, int, int], list[float]], int, int]

CONTESTANTS: dict[str, Contestant] = {
    "chainrule, 1 thread": (ours, 1, 1),
    "chainrule, 2 threads": (ours, 1, 2),
    "NumPy, the book's way, 1 thread": (numpy_book, 1, 1),
    "NumPy, the book's way, 2 threads": (numpy_book, 1, 2),
    "NumPy, lean, 2 processes": (numpy_lean, 2, 1),
    "PyTorch, 1 thread": (pytorch, 1, 1),
    "PyTorch, 2 threads": (pytorch, 1, 2),
    "PyTorch, 2 processes": (pytorch, 2, 1),
    "Optuna and PyTorch, 1 thread": (optuna_random, 1, 1),
    "Optuna and PyTorch, 2 processes": (optuna_random, 2, 1),
    "scikit-learn, 1 thread": (scikit_learn, 1, 1),
    "scikit-learn, 2 processes": (scikit_learn, 2, 1),
}
"""Everybody by name: the function, in how many processes at once, and with how many threads."""
