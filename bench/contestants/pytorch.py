"""PyTorch with its fused optimizers."""

import numpy as np
import torch

from bench.contestants import Epoch
from bench.workloads import Workload

ACTIVATIONS = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU, "tanh": torch.nn.Tanh}


def network(w: Workload) -> torch.nn.Module:
    """The net as a Sequential."""
    layers: list[torch.nn.Module] = []
    for a, b in zip(w.widths[:-2], w.widths[1:-1], strict=True):
        layers.append(torch.nn.Linear(a, b))
        layers += [torch.nn.BatchNorm1d(b)] if w.batch_norm else []
        layers.append(ACTIVATIONS[w.activation]())
        layers += [torch.nn.Dropout(w.dropout)] if w.dropout else []
    return torch.nn.Sequential(*layers, torch.nn.Linear(*w.widths[-2:]))


def epoch(w: Workload, X: np.ndarray, y: np.ndarray, threads: int, compiled: bool = False) -> Epoch:
    """The usual loop; rows are in a new order in each epoch."""
    torch.set_num_threads(threads)
    net = network(w)
    if w.optimizer == "adam":
        rule = torch.optim.Adam(net.parameters(), lr=w.lr, fused=True)
    else:
        momentum = 0.9 if w.optimizer == "momentum" else 0.0
        rule = torch.optim.SGD(net.parameters(), lr=w.lr, momentum=momentum, fused=True)
    measure = torch.nn.CrossEntropyLoss() if w.loss == "ce" else torch.nn.MSELoss()
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)

    def forward(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return measure(net(x), t)

    if compiled:
        forward = torch.compile(forward)

    def train() -> None:
        for chosen in torch.randperm(w.rows).split(w.batch):
            value = forward(rows[chosen], targets[chosen])
            rule.zero_grad(set_to_none=True)
            value.backward()
            rule.step()

    return train


def compiled(w: Workload, X: np.ndarray, y: np.ndarray, threads: int) -> Epoch:
    """Net and loss through `torch.compile`."""
    return epoch(w, X, y, threads, compiled=True)
