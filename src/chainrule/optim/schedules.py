"""Schedules: a rate as a function of time, which is counted in epochs and runs on within them.

A rate, the strength of a decay and the ratio of a dropout may be a function of (epoch, epochs in
all). `epoch` is 0 at the first step, and 2.5 in the middle of the third epoch. The epochs in all
are those done when this fit ends, or its `horizon`, so training that is interrupted and resumed
follows the same curve.
"""

import math
from itertools import pairwise

from ..errors import InputError
from ..limits import Count, NotNegative, Positive, Share
from ..spec import Spec


class Schedule(Spec):
    """Base of all schedules."""

    is_base = True

    def __call__(self, epoch: float, epochs: float) -> float:
        """The value at a time."""
        raise NotImplementedError(f"{type(self).__name__} does not say its value")


class Constant(Schedule):
    """The same value always."""

    value: NotNegative

    def __call__(self, epoch: float, epochs: float) -> float:
        return self.value


class Step(Schedule):
    """`start`, multiplied by `factor` at the end of every `every` epochs.

    >>> [round(Step(0.1, every=2)(epoch, 5), 6) for epoch in range(5)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    start: NotNegative
    every: Count
    factor: Positive = 0.1

    def __call__(self, epoch: float, epochs: float) -> float:
        return self.start * self.factor ** math.floor(epoch / self.every)


class Cosine(Schedule):
    """From `start` down to `end` along half a cosine: slowly, fast, slowly.

    >>> [round(Cosine(1.0)(epoch, 4), 3) for epoch in range(5)]
    [1.0, 0.854, 0.5, 0.146, 0.0]

    Source: Loshchilov & Hutter 2017, eq. 5.
    """

    start: NotNegative
    end: NotNegative = 0.0

    def __call__(self, epoch: float, epochs: float) -> float:
        return along_cosine(self.start, self.end, epoch / epochs)


class OneCycle(Schedule):
    """From top/divide up to `top` for a share `rise` of the time, then down to almost nothing.

    >>> [round(OneCycle(1.0, rise=0.25)(epoch, 4), 3) for epoch in range(5)]
    [0.04, 1.0, 0.75, 0.25, 0.0]

    Source: Smith & Topin 2018.
    """

    top: NotNegative
    rise: Share = 0.3
    divide: Positive = 25.0
    final_divide: Positive = 1e4

    def __call__(self, epoch: float, epochs: float) -> float:
        time, low = epoch / epochs, self.top / self.divide
        if time < self.rise:
            return along_cosine(low, self.top, time / self.rise)
        return along_cosine(self.top, low / self.final_divide, (time - self.rise) / (1 - self.rise))


class Warmup(Schedule):
    """From 0 up to what `then` says, in a straight line over `epochs`; then as it says.

    >>> [round(Warmup(2, 0.1)(epoch, 10), 3) for epoch in (0, 1, 2, 5)]
    [0.0, 0.05, 0.1, 0.1]

    Source: Goyal et al. 2017, section 2.2.
    """

    epochs: Positive
    then: float | Schedule

    def __call__(self, epoch: float, epochs: float) -> float:
        value = self.then(epoch, epochs) if callable(self.then) else self.then
        return value * min(1.0, epoch / self.epochs)


class Piecewise(Schedule):
    """Straight lines between the given points (epoch, value), flat before and after them.

    >>> Piecewise(((0, 0.1), (10, 0.3)))(5, 20)
    0.2
    """

    points: tuple[tuple[float, float], ...]

    def setup(self) -> None:
        times = [time for time, _ in self.points]
        if len(times) < 2 or any(a >= b for a, b in pairwise(times)):
            raise InputError(
                f"Piecewise: points are {self.points}, expected 2 or more with rising epochs"
            )

    def __call__(self, epoch: float, epochs: float) -> float:
        for (a, start), (b, end) in pairwise(self.points):
            if epoch <= b:
                return start + (end - start) * max(0.0, (epoch - a) / (b - a))
        return self.points[-1][1]


def along_cosine(start: float, end: float, share: float) -> float:
    """From `start` at 0 to `end` at 1 along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
