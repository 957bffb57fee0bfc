"""chainrule."""

import numpy as np

import chainrule as cr
import chainrule.engines.compiled.engine
from bench.contestants import Epoch
from bench.workloads import Workload
from chainrule import nn, optim
from chainrule.nn.build import multilayer

RULES = {"adam": optim.Adam, "sgd": optim.SGD, "momentum": optim.Momentum}


def epoch(
    w: Workload, X: np.ndarray, y: np.ndarray, threads: int | None, engine: str = "compiled"
) -> Epoch:
    """A trainer with everything else left as it is."""
    net = multilayer(
        w.widths[0],
        w.widths[1:-1],
        w.widths[-1],
        activation=w.activation,
        batch_norm=w.batch_norm,
        dropout=w.dropout,
    )
    loss = nn.SoftmaxCrossEntropy() if w.loss == "ce" else nn.MeanSquaredError()
    trainer = cr.Trainer(net, loss, RULES[w.optimizer](w.lr), threads=threads, engine=engine)
    return lambda: trainer.fit(X, y, epochs=1, batch_size=w.batch)


def reference(w: Workload, X: np.ndarray, y: np.ndarray, threads: int | None) -> Epoch:
    """The engine that walks the graph with NumPy, an operation at a time."""
    return epoch(w, X, y, threads, engine="reference")
