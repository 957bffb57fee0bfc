"""chainrule."""

import numpy as np

import chainrule as cr
import chainrule.engines.compiled.engine
from bench.contestants import Epochs
from bench.workloads import Workload
from chainrule import nn, optim
from chainrule.nn.build import multilayer

RULES = {"adam": optim.Adam, "sgd": optim.SGD, "momentum": optim.Momentum}


def epochs(
    w: Workload, X: np.ndarray, y: np.ndarray, threads: int | None, engine: str = "compiled"
) -> Epochs:
    """A trainer with everything else left as it is; the rows are checked once."""
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
    rows = trainer.part(X, y)
    return lambda count: trainer.fit(rows, epochs=count, batch_size=w.batch)


def reference(w: Workload, X: np.ndarray, y: np.ndarray, threads: int | None) -> Epochs:
    """The engine that walks the graph with NumPy, an operation at a time."""
    return epochs(w, X, y, threads, engine="reference")
