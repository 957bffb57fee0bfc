"""Who gets to a validation score, and when: each tells (seconds, score) through a file.

All have the same rows, space, net (two hidden layers of one width), batch and number of epochs. The
clock starts when a contestant has imported what it needs and has its data.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .jobs import JOBS, Job

EPOCHS, BATCH, RUNGS = 27, 100, (1, 3, 9, 27)
RATE, DECAY, WIDTH = (1e-4, 1e0), (1e-8, 1e-2), (16, 256)
OPTIMIZERS = ("sgd", "momentum", "adam")


class Diary:
    """Scores with the time since the clock was started, a line each."""

    def __init__(self, place: Path) -> None:
        self.file = os.open(place / "scores", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.began = time.monotonic()

    def write(self, score: float, seconds: float | None = None) -> None:
        """A line; several processes may write to the same file."""
        seconds = time.monotonic() - self.began if seconds is None else seconds
        os.write(self.file, f"{seconds} {score}\n".encode())


def read(place: Path) -> Iterator[tuple[float, float]]:
    """All lines that are complete."""
    path = place / "scores"
    for line in path.read_text().split("\n")[:-1] if path.exists() else []:
        seconds, score = line.split()
        yield float(seconds), float(score)


def ours(job: Job, seed: int, index: int, place: Path, **switches: Any) -> None:
    """chainrule's Search; when each trial came to each rung is in its study."""
    import chainrule as cr
    from chainrule import nn, optim, search
    from chainrule.nn.build import multilayer

    X, y = job.rows()
    rules = {"sgd": optim.SGD, "momentum": optim.Momentum, "adam": optim.Adam}
    loss = nn.SoftmaxCrossEntropy() if job.classes else nn.MeanSquaredError()

    def build(settings: search.Settings) -> cr.Trainer:
        net = multilayer(X.shape[1], [settings["width"]] * 2, job.outputs)
        rule = rules[settings["optimizer"]](settings["lr"])
        return cr.Trainer(net, loss, rule, weight_decay=settings["decay"])

    space = {
        "lr": search.LogUniform(*RATE),
        "decay": search.LogUniform(*DECAY),
        "width": search.Integer(*WIDTH, log=True),
        "optimizer": search.Choice(OPTIMIZERS),
    }
    told, diary = 0, Diary(place)

    def progress(seen: search.Progress) -> None:
        nonlocal told
        before = time.monotonic() - diary.began - seen.seconds
        query = "SELECT seconds, score FROM rungs ORDER BY rowid LIMIT -1 OFFSET ?"
        for seconds, score in study.execute(query, (told,)).fetchall():
            diary.write(score, before + seconds)
            told += 1

    study = sqlite3.connect(place / "study")
    search.Search(
        build, space, trials=1_000_000, epochs=EPOCHS, batch_size=BATCH, seed=seed,
        metric="accuracy" if job.classes else "rmse", study=place / "study", **switches,
    ).run(X, y, progress=progress)  # fmt: skip


def optuna_tpe(job: Job, seed: int, index: int, place: Path) -> None:
    """PyTorch under Optuna's TPE and Hyperband; processes share a study by its journal."""
    import optuna
    import torch
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X, t, X_held, t_held = map(torch.from_numpy, job.split(seed))
    measure = torch.nn.CrossEntropyLoss() if job.classes else torch.nn.MSELoss()
    torch.optim.SGD([torch.zeros(1)]).step()  # its first optimizer imports for more than a second

    def objective(trial: Any) -> float:
        lr = trial.suggest_float("lr", *RATE, log=True)
        decay = trial.suggest_float("decay", *DECAY, log=True)
        width = trial.suggest_int("width", *WIDTH, log=True)
        kind = trial.suggest_categorical("optimizer", OPTIMIZERS)
        layers: list[torch.nn.Module] = []
        for a in (X.shape[1], width):
            layers += [torch.nn.Linear(a, width), torch.nn.ReLU()]
            torch.nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
        net = torch.nn.Sequential(*layers, torch.nn.Linear(width, job.outputs))
        if kind == "adam":
            rule = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=decay, fused=True)
        else:
            rule = torch.optim.SGD(
                net.parameters(), lr=lr, weight_decay=decay, fused=True,
                momentum=0.9 if kind == "momentum" else 0.0,
            )  # fmt: skip
        score = np.nan
        for epoch in range(1, EPOCHS + 1):
            for rows in torch.randperm(len(X)).split(BATCH):
                rule.zero_grad(set_to_none=True)
                Y = net(X[rows])
                measure(Y if job.classes else Y[:, 0], t[rows]).backward()
                rule.step()
            if epoch in RUNGS:
                with torch.no_grad():
                    Y = net(X_held)
                    if job.classes:
                        score = float((Y.argmax(dim=1) == t_held).float().mean())
                    else:
                        score = float(measure(Y[:, 0], t_held)) ** 0.5
                if not np.isfinite(score):
                    raise optuna.TrialPruned
                diary.write(score)
                trial.report(score, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
        return score

    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(place / "journal"))),
        study_name="bench",
        load_if_exists=True,
        direction="maximize" if job.classes else "minimize",
        sampler=optuna.samplers.TPESampler(seed=2 * seed + index),
        pruner=optuna.pruners.HyperbandPruner(1, EPOCHS, 3),
    )
    diary = Diary(place)
    study.optimize(objective)


def halving(job: Job, seed: int, index: int, place: Path) -> None:
    """scikit-learn's successive halving over its MLP, again and again; `n_jobs=2`."""
    from scipy.stats import loguniform
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    os.environ["PYTHONWARNINGS"] = "ignore"
    warnings.simplefilter("ignore")
    X, y, X_held, y_held = job.split(seed)
    held = np.r_[np.full(len(X), -1), np.zeros(len(X_held))]
    X, y = np.concatenate([X, X_held]), np.concatenate([y, y_held])
    low, high = np.log2(WIDTH)
    random = np.random.RandomState(seed)
    widths = (2 ** random.uniform(low, high, 200)).round().astype(int)
    shared = {
        "learning_rate_init": loguniform(*RATE),
        "alpha": loguniform(DECAY[0] * BATCH, DECAY[1] * BATCH),
        "hidden_layer_sizes": [(int(w),) * 2 for w in widths],
    }
    space = [
        shared | {"solver": ["sgd"], "momentum": [0.0]},
        shared | {"solver": ["sgd"], "momentum": [0.9]},
        shared | {"solver": ["adam"]},
    ]
    net = (MLPClassifier if job.classes else MLPRegressor)(
        batch_size=BATCH, nesterovs_momentum=False, n_iter_no_change=EPOCHS
    )

    def search(candidates: int, iterations: int, told: Told) -> None:
        HalvingRandomSearchCV(
            net, space, n_candidates=candidates, factor=3, resource="max_iter", min_resources=1,
            max_resources=iterations, cv=PredefinedSplit(held), scoring=told, n_jobs=2,
            random_state=random.randint(1 << 31), refit=False, return_train_score=False,
        ).fit(X, y)  # fmt: skip

    (place / "before").mkdir()
    search(2, 1, Told(job.classes, place / "before", 0.0))  # starts its processes
    began = Diary(place).began
    while True:
        search(EPOCHS, EPOCHS, Told(job.classes, place, began))


class Told:
    """A scorer that writes down what it finds; each process of scikit-learn's opens the file."""

    def __init__(self, classes: bool, place: Path, began: float) -> None:
        self.classes, self.place, self.began = classes, place, began

    def __call__(self, net: Any, X: np.ndarray, y: np.ndarray) -> float:
        """An accuracy, or an RMSE below 0, as scikit-learn wants it."""
        Y = net.predict(X)
        score = float(np.mean(y == Y) if self.classes else np.sqrt(np.mean((y - Y) ** 2)))
        diary = Diary(self.place)
        diary.write(score, time.monotonic() - self.began)
        os.close(diary.file)
        return score if self.classes else -score


Contestant = tuple[Callable[..., None], int, dict[str, Any]]

CONTESTANTS: dict[str, Contestant] = {
    "chainrule": (ours, 1, {}),
    "chainrule, nothing abandoned": (ours, 1, {"reduction": None}),
    "chainrule, nothing narrowed": (ours, 1, {"narrow": False}),
    "chainrule, plain random": (ours, 1, {"reduction": None, "narrow": False}),
    "Optuna TPE, Hyperband, PyTorch": (optuna_tpe, 2, {}),
    "scikit-learn HalvingRandomSearchCV": (halving, 1, {}),
}
"""Everybody by name: the function, in how many processes at once, and its switches."""


def run(who: str, which: int, seed: int, index: int, place: str) -> None:
    """What a process of its own does; it ends when it is killed, with all that it started."""
    os.setsid()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    function, _, switches = CONTESTANTS[who]
    function(JOBS[which], seed, index, Path(place), **switches)


def _end_with(parent: int) -> None:
    """Should the bench be killed itself, nobody searches on."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.killpg(0, signal.SIGKILL)
