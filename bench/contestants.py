"""Who is timed: each makes a function that trains for an epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .workloads import Workload

Epoch = Callable[[], object]


def ours(w: Workload, threads: int | None, engine: str = "compiled") -> Epoch:
    """chainrule."""
    import chainrule as cr
    from chainrule import nn, optim
    from chainrule.nn.build import multilayer

    net = multilayer(
        w.widths[0],
        w.widths[1:-1],
        w.widths[-1],
        activation=w.activation,
        batch_norm=w.batch_norm,
        dropout=w.dropout,
    )
    rule = {"adam": optim.Adam, "sgd": optim.SGD, "momentum": optim.Momentum}[w.optimizer](w.lr)
    loss = nn.SoftmaxCrossEntropy() if w.loss == "ce" else nn.MeanSquaredError()
    trainer = cr.Trainer(net, loss, rule, threads=threads, engine=engine)
    X, y = w.data()
    return lambda: trainer.fit(X, y, epochs=1, batch_size=w.batch)


def torch_eager(w: Workload, threads: int) -> Epoch:
    """PyTorch with its fused optimizers."""
    return _torch(w, threads, compiled=False)


def torch_compiled(w: Workload, threads: int) -> Epoch:
    """PyTorch's step through torch.compile."""
    return _torch(w, threads, compiled=True)


def _torch(w: Workload, threads: int, compiled: bool) -> Epoch:
    import torch

    torch.set_num_threads(threads)
    kinds = {"relu": torch.nn.ReLU, "silu": torch.nn.SiLU, "tanh": torch.nn.Tanh}
    layers: list[torch.nn.Module] = []
    for a, b in zip(w.widths[:-2], w.widths[1:-1], strict=True):
        layers.append(torch.nn.Linear(a, b))
        layers += [torch.nn.BatchNorm1d(b)] if w.batch_norm else []
        layers.append(kinds[w.activation]())
        layers += [torch.nn.Dropout(w.dropout)] if w.dropout else []
    net = torch.nn.Sequential(*layers, torch.nn.Linear(*w.widths[-2:]))
    if w.optimizer == "adam":
        rule = torch.optim.Adam(net.parameters(), lr=w.lr, fused=True)
    else:
        momentum = 0.9 if w.optimizer == "momentum" else 0.0
        rule = torch.optim.SGD(net.parameters(), lr=w.lr, momentum=momentum, fused=True)
    loss = torch.nn.CrossEntropyLoss() if w.loss == "ce" else torch.nn.MSELoss()

    def forward(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return loss(net(x), t)

    if compiled:
        forward = torch.compile(forward)
    X, y = (torch.from_numpy(array) for array in w.data())

    def epoch() -> None:
        torch.set_num_threads(threads)
        order = torch.randperm(w.rows)
        for start in range(0, w.rows, w.batch):
            rows = order[start : start + w.batch]
            value = forward(X[rows], y[rows])
            rule.zero_grad(set_to_none=True)
            value.backward()
            rule.step()

    return epoch


def jax_scan(w: Workload, threads: int) -> Epoch:
    """JAX: one `jit` around a `scan` over the epoch. XLA takes all processors."""
    import jax
    import jax.numpy as jnp

    X, y = (jnp.asarray(array) for array in w.data())
    random = np.random.default_rng(0)
    pairs = list(zip(w.widths, w.widths[1:], strict=False))
    net = [
        {
            "W": jnp.asarray(random.normal(0, a**-0.5, (a, b)), jnp.float32),
            "b": jnp.zeros(b),
            "gamma": jnp.ones(b),
            "beta": jnp.zeros(b),
        }
        for a, b in pairs
    ]
    kinds = {"relu": jax.nn.relu, "silu": jax.nn.silu, "tanh": jnp.tanh}

    def loss(net, x, t, key):
        for i, layer in enumerate(net[:-1]):
            x = x @ layer["W"] + layer["b"]
            if w.batch_norm:
                x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * layer["gamma"] + layer["beta"]
            x = kinds[w.activation](x)
            if w.dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - w.dropout, x.shape)
                x = jnp.where(kept, x / (1 - w.dropout), 0.0)
        x = x @ net[-1]["W"] + net[-1]["b"]
        if w.loss == "mse":
            return ((x - t) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(x), t[:, None], 1).mean()

    def step(carry, rows):
        net, m, v, t, key = carry
        key, own = jax.random.split(key)
        g = jax.grad(loss)(net, X[rows], y[rows], own)
        t = t + 1
        each = jax.tree_util.tree_map
        if w.optimizer == "adam":
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            net = each(
                lambda p, m, v: p
                - w.lr * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8),
                net, m, v,
            )  # fmt: skip
        elif w.optimizer == "momentum":
            m = each(lambda m, g: 0.9 * m - w.lr * g, m, g)
            net = each(lambda p, m: p + m, net, m)
        else:
            net = each(lambda p, g: p - w.lr * g, net, g)
        return (net, m, v, t, key), 0.0

    @jax.jit
    def run(carry, order):
        return jax.lax.scan(step, carry, order)[0]

    zeros = jax.tree_util.tree_map(jnp.zeros_like, net)
    state = [(net, zeros, zeros, jnp.float32(0), jax.random.PRNGKey(0))]

    def epoch() -> None:
        order = np.random.permutation(w.rows)[: w.rows // w.batch * w.batch]
        state[0] = jax.block_until_ready(run(state[0], order.reshape(-1, w.batch)))

    return epoch


def scikit_learn(w: Workload, threads: int) -> Epoch | None:
    """scikit-learn's MLP, where it can do the job: no batch norm, no dropout, no SiLU."""
    if w.batch_norm or w.dropout or w.activation == "silu":
        return None
    import warnings

    from sklearn.neural_network import MLPClassifier, MLPRegressor

    warnings.simplefilter("ignore")
    kind = MLPClassifier if w.loss == "ce" else MLPRegressor
    net = kind(
        w.widths[1:-1],
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
    X, y = w.data()
    y = y if w.loss == "ce" or y.shape[1] > 1 else y[:, 0]
    return lambda: net.fit(X, y)


def numpy_reference(w: Workload, threads: int) -> Epoch:
    """Plain NumPy, an operation at a time: chainrule's reference engine."""
    return ours(w, threads, engine="reference")


CONTESTANTS: dict[str, tuple[Callable[..., Epoch | None], int | None]] = {
    "chainrule, 1 thread": (ours, 1),
    "chainrule, 2 threads": (ours, 2),
    "chainrule": (ours, None),
    "PyTorch, 1 thread": (torch_eager, 1),
    "PyTorch, 2 threads": (torch_eager, 2),
    "PyTorch compile, 1 thread": (torch_compiled, 1),
    "PyTorch compile, 2 threads": (torch_compiled, 2),
    "JAX scan": (jax_scan, 2),
    "scikit-learn": (scikit_learn, 2),
    "NumPy": (numpy_reference, 2),
}
"""Everybody by name, with a number of threads; None leaves it to the contestant."""
