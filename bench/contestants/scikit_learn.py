"""scikit-learn's MLP, where it can do the job."""

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.contestants import CannotDo, Epoch
from bench.workloads import Workload


def epoch(w: Workload, X: np.ndarray, y: np.ndarray, threads: None) -> Epoch:
    """`fit` with a warm start goes on for an epoch."""
    lacking = {"batch norm": w.batch_norm, "dropout": w.dropout, "SiLU": w.activation == "silu"}
    if missing := [name for name, wanted in lacking.items() if wanted]:
        raise CannotDo(" and ".join(missing))
    warnings.simplefilter("ignore")
    kind = MLPClassifier if w.loss == "ce" else MLPRegressor
    net = kind(
        hidden_layer_sizes=w.widths[1:-1],
        activation=w.activation,
        solver="adam" if w.optimizer == "adam" else "sgd",
        alpha=0.0,
        batch_size=w.batch,
        learning_rate_init=w.lr,
        momentum=0.9 if w.optimizer == "momentum" else 0.0,
        nesterovs_momentum=False,
        max_iter=1,
        warm_start=True,
    )
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    return lambda: net.fit(X, y)
