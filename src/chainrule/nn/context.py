"""What a forward pass depends on beside its input: training or evaluation, and randomness."""

from ..graph import ops
from ..graph.shape import Shape
from ..graph.tensor import Tensor


class Context:
    """Evaluation: nothing is random, nothing is updated. The graph is built for one mode."""

    training = False

    def uniform(self, shape: Shape) -> Tensor:
        """Random numbers in [0, 1), other ones at each call and each step."""
        raise NotImplementedError("an evaluation draws no random numbers")

    def value(self, leaf: Tensor) -> Tensor:
        """The value of a state leaf so far: a layer that is used twice has changed it already."""
        return leaf

    def update(self, leaf: Tensor, value: Tensor) -> None:
        """Have the step change a state leaf, e.g. a running mean."""
        raise NotImplementedError("an evaluation updates nothing")


class Training(Context):
    """A training step: draws from (seed, step), collects the updates of the layers' own state."""

    training = True

    def __init__(self, seed: Tensor, step: Tensor) -> None:
        self.seed, self.step = seed, step
        self.updates: dict[Tensor, Tensor] = {}
        self._streams = 0

    def uniform(self, shape: Shape) -> Tensor:
        self._streams += 1
        return ops.uniform(self.seed, self.step, stream=self._streams, shape=shape)

    def value(self, leaf: Tensor) -> Tensor:
        return self.updates.get(leaf, leaf)

    def update(self, leaf: Tensor, value: Tensor) -> None:
        self.updates[leaf] = value


EVALUATION = Context()
