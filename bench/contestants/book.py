"""Plain NumPy in the manner of the book: layers that keep what their `backward` needs.

"Deep Learning from Scratch", chapters 5 and 6. float32, which the book's is not: that is
twice as fast.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from bench.contestants import Epoch
from bench.workloads import Workload


class Affine:
    """x W + b."""

    def __init__(self, W: np.ndarray) -> None:
        self.params = {"W": W, "b": np.zeros(W.shape[1], W.dtype)}
        self.grads: dict[str, np.ndarray] = {}

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        self.x = x
        return np.dot(x, self.params["W"]) + self.params["b"]

    def backward(self, dout: np.ndarray) -> np.ndarray:
        self.grads["W"] = np.dot(self.x.T, dout)
        self.grads["b"] = np.sum(dout, axis=0)
        return np.dot(dout, self.params["W"].T)


class Relu:
    """0 where x ≤ 0."""

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        dout[self.mask] = 0
        return dout


class Tanh:
    """tanh x."""

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return dout * (1 - self.out**2)


class Silu:
    """x / (1 + exp(−x))."""

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        self.x, self.gate = x, 1 / (1 + np.exp(-x))
        return x * self.gate

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return dout * self.gate * (1 + self.x * (1 - self.gate))


class Dropout:
    """Elements are left out with the probability `ratio`."""

    def __init__(self, ratio: float) -> None:
        self.ratio, self.random = ratio, np.random.default_rng(0)

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        if not train:
            return x * x.dtype.type(1 - self.ratio)
        self.mask = self.random.random(x.shape, np.float32) > self.ratio
        return x * self.mask

    def backward(self, dout: np.ndarray) -> np.ndarray:
        return dout * self.mask


class BatchNormalization:
    """Columns of mean 0 and variance 1, scaled and shifted."""

    def __init__(self, width: int, kind: type) -> None:
        self.params = {"gamma": np.ones(width, kind), "beta": np.zeros(width, kind)}
        self.grads: dict[str, np.ndarray] = {}
        self.mean, self.var = np.zeros(width, kind), np.ones(width, kind)

    def forward(self, x: np.ndarray, train: bool) -> np.ndarray:
        if not train:
            xn = (x - self.mean) / np.sqrt(self.var + 1e-7)
            return self.params["gamma"] * xn + self.params["beta"]
        mu = x.mean(axis=0)
        xc = x - mu
        var = np.mean(xc**2, axis=0)
        self.std = np.sqrt(var + 1e-7)
        self.xc, self.xn = xc, xc / self.std
        self.mean = 0.9 * self.mean + 0.1 * mu
        self.var = 0.9 * self.var + 0.1 * var
        return self.params["gamma"] * self.xn + self.params["beta"]

    def backward(self, dout: np.ndarray) -> np.ndarray:
        self.grads["beta"] = dout.sum(axis=0)
        self.grads["gamma"] = np.sum(self.xn * dout, axis=0)
        dxn = self.params["gamma"] * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dxc += (1 / len(dout)) * self.xc * (dstd / self.std)
        return dxc - np.sum(dxc, axis=0) / len(dout)


class SoftmaxWithLoss:
    """Cross entropy of softmax."""

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y, self.t = e / e.sum(axis=1, keepdims=True), t
        return float(-np.log(self.y[np.arange(len(t)), t] + 1e-7).mean())

    def backward(self) -> np.ndarray:
        dx = self.y.copy()
        dx[np.arange(len(dx)), self.t] -= 1
        return dx / len(dx)


class MeanSquaredError:
    """Mean of (x − t)²."""

    def forward(self, x: np.ndarray, t: np.ndarray) -> float:
        self.difference = x - t
        return float(np.mean(self.difference**2))

    def backward(self) -> np.ndarray:
        return 2 * self.difference / self.difference.size


class SGD:
    """p − η g."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def update(self, params: dict[str, np.ndarray], grads: dict[str, np.ndarray]) -> None:
        for key in params:
            params[key] -= self.lr * grads[key]


class Momentum:
    """v ← 0.9 v − η g; p + v."""

    def __init__(self, lr: float) -> None:
        self.lr, self.v = lr, dict[str, np.ndarray]()

    def update(self, params: dict[str, np.ndarray], grads: dict[str, np.ndarray]) -> None:
        for key in params:
            self.v.setdefault(key, np.zeros_like(params[key]))
            self.v[key] = 0.9 * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]


class Adam:
    """Kingma and Ba, with the correction of both biases in the rate."""

    def __init__(self, lr: float) -> None:
        self.lr, self.iter = lr, 0
        self.m, self.v = dict[str, np.ndarray](), dict[str, np.ndarray]()

    def update(self, params: dict[str, np.ndarray], grads: dict[str, np.ndarray]) -> None:
        self.iter += 1
        lr = self.lr * (1.0 - 0.999**self.iter) ** 0.5 / (1.0 - 0.9**self.iter)
        for key in params:
            self.m.setdefault(key, np.zeros_like(params[key]))
            self.v.setdefault(key, np.zeros_like(params[key]))
            self.m[key] += (1 - 0.9) * (grads[key] - self.m[key])
            self.v[key] += (1 - 0.999) * (grads[key] ** 2 - self.v[key])
            params[key] -= lr * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)


RULES = {"sgd": SGD, "momentum": Momentum, "adam": Adam}
ACTIVATIONS = {"relu": Relu, "tanh": Tanh, "silu": Silu}


class MultiLayerNet:
    """He's initial values; `params` and `grads` are named W1, b1, … over all layers."""

    def __init__(self, w: Workload, random: np.random.Generator, kind: type = np.float32) -> None:
        self.layers: list[Any] = []
        for i, (a, b) in enumerate(pairwise(w.widths), 2):
            self.layers.append(Affine((random.normal(size=(a, b)) * (2 / a) ** 0.5).astype(kind)))
            if i < len(w.widths):
                self.layers += [BatchNormalization(b, kind)] if w.batch_norm else []
                self.layers.append(ACTIVATIONS[w.activation]())
                self.layers += [Dropout(w.dropout)] if w.dropout else []
        self.last = SoftmaxWithLoss() if w.loss == "ce" else MeanSquaredError()
        self.params = self._named("params")

    def _named(self, what: str) -> dict[str, np.ndarray]:
        kept = [layer for layer in self.layers if hasattr(layer, "params")]
        return {
            f"{key}{i}": array
            for i, layer in enumerate(kept, 1)
            for key, array in getattr(layer, what).items()
        }

    def predict(self, x: np.ndarray, train: bool = False) -> np.ndarray:
        """What comes before the last layer."""
        for layer in self.layers:
            x = layer.forward(x, train)
        return x

    def accuracy(self, x: np.ndarray, t: np.ndarray) -> float:
        """The share of rows whose largest output is the right one."""
        return float(np.mean(np.argmax(self.predict(x), axis=1) == t))

    def gradient(self, x: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        """Forwards, then backwards."""
        self.last.forward(self.predict(x, train=True), t)
        dout = self.last.backward()
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return self._named("grads")


def epoch(w: Workload, X: np.ndarray, y: np.ndarray, threads: int) -> Epoch:
    """The book's loop, over rows in a new order in each epoch. Threads are set from outside."""
    random = np.random.default_rng(0)
    net, rule = MultiLayerNet(w, random), RULES[w.optimizer](w.lr)

    def train() -> None:
        order = random.permutation(w.rows)
        for start in range(0, w.rows, w.batch):
            rows = order[start : start + w.batch]
            rule.update(net.params, net.gradient(X[rows], y[rows]))

    return train
