"""The gradient check: a graph's gradient against a central difference along a random direction."""

import numpy as np

import chainrule as cr
from chainrule.graph.evaluate import evaluate
from chainrule.graph.leaves import input_op

STEP = 1e-5  # rounding costs 1e-16/STEP, truncation STEP² times the third derivative
TOLERANCE = 1e-6


def leaf(shape, dtype="float"):
    """An input of any shape, with the free N anywhere."""
    return cr.Tensor(input_op, (), {"name": "x"}, tuple(shape), dtype)


def distinct(random, *shapes, positive=False):
    """Arrays whose numbers all differ and keep 0.1 from 0, so that no step crosses a kink."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    numbers = np.linspace(0.2, 2.0, sum(sizes))
    if not positive:
        numbers *= random.choice([-1.0, 1.0], numbers.size)
    parts = np.split(random.permutation(numbers), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def check_gradient(y, at, given=None, order=1, seed=0):
    """Check ∂y/∂leaf for the leaves of `at` (leaf → array), all together, up to that order.

    `given` has the leaves that stay as they are. Arrays are locked: no op may write into its
    operands. A y that is no scalar is weighted at random and summed.
    """
    random = np.random.default_rng(seed)
    at = {x: np.array(value, np.float64) for x, value in at.items()}
    given = dict(given or {})
    for array in [*at.values(), *given.values()]:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    if y.shape != ():
        weights = leaf(y.shape)
        given[weights] = random.normal(size=evaluate([y], given | at)[0].shape)
        y = (weights * y).sum()
    gradients = cr.grad(y, list(at))
    direction = {x: random.normal(size=value.shape) for x, value in at.items()}
    length = np.sqrt(sum((d * d).sum() for d in direction.values()))
    direction = {x: d / length for x, d in direction.items()}
    value, *slopes = evaluate([y, *gradients], given | at)
    for x, slope in zip(at, slopes, strict=True):
        assert slope.shape == at[x].shape, f"the gradient of {x!r} has the shape {slope.shape}"
    slope = sum((s * d).sum() for s, d in zip(slopes, direction.values(), strict=True))
    up, down = (
        evaluate([y], given | {x: at[x] + step * d for x, d in direction.items()})[0]
        for step in (STEP, -STEP)
    )
    numeric = (up - down) / (2 * STEP)
    # The second term is the difference's own rounding, which counts where the slope is nearly 0.
    bound = TOLERANCE * max(abs(slope), abs(numeric)) + 1e-10 * max(1.0, abs(value))
    assert abs(slope - numeric) <= bound, f"gradient {slope!r}, difference {numeric!r}"
    if order > 1:
        along = {leaf(x.shape): (g, direction[x]) for x, g in zip(at, gradients, strict=True)}
        slope_graph = cr.constant(0.0)
        for d, (g, _) in along.items():
            slope_graph = slope_graph + (d * g).sum()
        given |= {d: array for d, (_, array) in along.items()}
        check_gradient(slope_graph, at, given, order - 1, seed + 1)
