"""The nets, batches and data that are timed."""

from dataclasses import dataclass

import numpy as np

from .search.jobs import mnist


@dataclass(frozen=True)
class Workload:
    """A net by its widths, and how it is trained."""

    name: str
    widths: tuple[int, ...]
    activation: str
    batch: int
    rows: int
    loss: str  # "mse" or "ce"
    optimizer: str
    lr: float
    batch_norm: bool = False
    dropout: float = 0.0
    digits: bool = False

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Random rows, or else MNIST's, of whose pixels four in five are 0: nothing else about them
        changes how long they take."""
        random = np.random.default_rng(0)
        if self.digits:
            X, _ = mnist(self.rows)
        else:
            X = random.normal(size=(self.rows, self.widths[0])).astype(np.float32)
        if self.loss == "ce":
            return X, random.integers(0, self.widths[-1], self.rows)
        return X, random.normal(size=(self.rows, self.widths[-1])).astype(np.float32)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.rows // self.batch)

    @property
    def operations(self) -> float:
        """Of a step's matrix products: forwards, and backwards to weights and to inputs."""
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        forwards = sum(2.0 * a * b for a, b in pairs)
        return self.batch * (3 * forwards - 2.0 * pairs[0][0] * pairs[0][1])


WORKLOADS = {
    w.name: w
    for w in (
        Workload("tiny", (16, 64, 64, 1), "relu", 32, 6_400, "mse", "adam", 1e-3),
        Workload("book", (784, 50, 10), "relu", 100, 20_000, "ce", "sgd", 0.01),
        Workload("norm", (784, 256, 256, 10), "relu", 128, 12_800, "ce", "adam", 1e-3, True, 0.2),
        Workload(
            "table", (64, 256, 256, 256, 8), "silu", 256, 25_600, "ce", "adam", 1e-3, False, 0.1
        ),
        Workload(
            "wide", (784, 1024, 1024, 10), "relu", 256, 5_120, "ce", "momentum", 0.01, False, 0.5
        ),
        Workload("curve", (4, 32, 16, 4), "tanh", 10_000, 200_000, "mse", "adam", 1e-3),
    )
}
