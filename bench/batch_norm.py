"""`python -m bench.batch_norm`: how far running statistics are off, in standard deviations.

A layer sees 20 epochs of 1,000 rows in batches; then it is evaluated on these rows, and compared
with (x − mean)/√(variance + ε) of all rows in float64. The largest difference of each column is
shown. Peers that are not installed are left out: `pip install torch keras`.
"""

import importlib.util
import os
import warnings
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

ROWS, EPOCHS, EPSILON = 1000, 20, 1e-5
BATCHES = (1, 3, 32, 100, 1000)
random = np.random.default_rng(0)
COLUMNS = {
    "always 1e6 + 0.5": np.full(ROWS, 1e6 + 0.5),
    "1e6 ± 1": 1e6 + random.normal(size=ROWS),
    "1e5 ± 1": 1e5 + random.normal(size=ROWS),
    "0 ± 1": random.normal(size=ROWS),
    "3 ± 0.1": 3 + 0.1 * random.normal(size=ROWS),
    "0 ± 1e-4": 1e-4 * random.normal(size=ROWS),
    "0 ± 1e15": 1e15 * random.normal(size=ROWS),
}
Layer = Callable[[np.ndarray, int], np.ndarray]


def batches(size: int) -> list[np.ndarray]:
    """The rows of each batch, in another order each epoch."""
    orders = np.random.default_rng(1)
    starts = range(0, ROWS, size)
    return [
        o[i : i + size] for o in (orders.permutation(ROWS) for _ in range(EPOCHS)) for i in starts
    ]


def ours(X: np.ndarray, size: int) -> np.ndarray:
    """chainrule's layer, in a training that changes no weight."""
    import chainrule as cr
    from chainrule import nn, optim

    model = nn.BatchNorm(X.shape[1])
    trainer = cr.Trainer(model, nn.MeanSquaredError(), optim.SGD(lr=0.0))
    trainer.fit(X, np.zeros_like(X), epochs=EPOCHS, batch_size=size)
    return trainer.predict(X)


def pytorch(X: np.ndarray, size: int) -> np.ndarray:
    """PyTorch's layer; it refuses batches of one row."""
    import torch

    layer, rows = torch.nn.BatchNorm1d(X.shape[1], eps=EPSILON), torch.tensor(X)
    for batch in batches(size):
        if len(batch) > 1:
            layer(rows[batch])
    return layer.eval()(rows).detach().numpy()


def keras(X: np.ndarray, size: int) -> np.ndarray:
    """Keras's layer, with its own momentum of 0.99, over PyTorch."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from keras.layers import BatchNormalization

    layer = BatchNormalization(epsilon=EPSILON)
    for batch in batches(size):
        layer(X[batch], training=True)
    return np.asarray(layer(X, training=False).detach().cpu())


CONTESTANTS: dict[str, tuple[str, Layer]] = {
    "chainrule": ("chainrule", ours), "PyTorch": ("torch", pytorch), "Keras": ("keras", keras),
}  # fmt: skip


def main() -> None:
    """Print the table."""
    X = np.stack(list(COLUMNS.values()), axis=1).astype(np.float32)
    exact = X.astype(np.float64)
    exact = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + EPSILON)
    table = Table("batch", "layer", *COLUMNS, box=None, pad_edge=False)
    for size in BATCHES:
        for name, (package, layer) in CONTESTANTS.items():
            if importlib.util.find_spec(package) is None or (size == 1 and name == "PyTorch"):
                continue
            off = np.abs(layer(X, size).astype(np.float64) - exact).max(axis=0)
            table.add_row(str(size), name, *(f"{x:.2g}" for x in off))
    Console(width=150).print(table)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
