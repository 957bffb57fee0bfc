"""JAX: `jit` of a step, or of a `scan` over the whole epoch. XLA takes all processors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.contestants import Epoch
from bench.workloads import Workload

ACTIVATIONS = {"relu": jax.nn.relu, "silu": jax.nn.silu, "tanh": jnp.tanh}
each = jax.tree_util.tree_map


def scan(w: Workload, X: np.ndarray, y: np.ndarray, threads: None) -> Epoch:
    """An epoch is one call; a last batch with fewer rows is left out."""
    state, step = _training(w, X, y)
    run = jax.jit(lambda state, order: jax.lax.scan(lambda s, r: (step(s, r), 0.0), state, order))

    def train() -> None:
        nonlocal state
        state = jax.block_until_ready(run(state, _order(w))[0])

    return train


def step(w: Workload, X: np.ndarray, y: np.ndarray, threads: None) -> Epoch:
    """A step is a call; the state's memory is given away to the next."""
    state, one = _training(w, X, y)
    run = jax.jit(one, donate_argnums=0)

    def train() -> None:
        nonlocal state
        for rows in _order(w):
            state = run(state, rows)
        jax.block_until_ready(state)

    return train


def _order(w: Workload) -> np.ndarray:
    return np.random.permutation(w.rows)[: w.rows // w.batch * w.batch].reshape(-1, w.batch)


def _training(w: Workload, X: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
    rows, targets = jnp.asarray(X), jnp.asarray(y)
    random = np.random.default_rng(0)
    net = [
        {
            "W": jnp.asarray(random.normal(0, a**-0.5, (a, b)), jnp.float32),
            "b": jnp.zeros(b),
            "gamma": jnp.ones(b),
            "beta": jnp.zeros(b),
        }
        for a, b in zip(w.widths, w.widths[1:], strict=False)
    ]

    def loss(net: Any, x: jax.Array, t: jax.Array, key: jax.Array) -> jax.Array:
        for i, layer in enumerate(net[:-1]):
            x = x @ layer["W"] + layer["b"]
            if w.batch_norm:
                x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * layer["gamma"] + layer["beta"]
            x = ACTIVATIONS[w.activation](x)
            if w.dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - w.dropout, x.shape)
                x = jnp.where(kept, x / (1 - w.dropout), 0.0)
        x = x @ net[-1]["W"] + net[-1]["b"]
        if w.loss == "mse":
            return ((x - t) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(x), t[:, None], 1).mean()

    def one(state: Any, chosen: jax.Array) -> Any:
        net, m, v, t, key = state
        key, own = jax.random.split(key)
        g = jax.grad(loss)(net, rows[chosen], targets[chosen], own)
        t = t + 1
        if w.optimizer == "adam":
            m = each(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = each(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            lr, scale = w.lr / (1 - 0.9**t), 1 / (1 - 0.999**t)
            net = each(lambda p, m, v: p - lr * m / (jnp.sqrt(v * scale) + 1e-8), net, m, v)
        elif w.optimizer == "momentum":
            m = each(lambda m, g: 0.9 * m - w.lr * g, m, g)
            net = each(lambda p, m: p + m, net, m)
        else:
            net = each(lambda p, g: p - w.lr * g, net, g)
        return net, m, v, t, key

    def zeros() -> Any:
        return each(jnp.zeros_like, net)

    return (net, zeros(), zeros(), jnp.float32(0), jax.random.PRNGKey(0)), one
