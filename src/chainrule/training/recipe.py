"""What a training step is made of, apart from the data.

A search makes thousands of recipes, most of which differ in a rate or a ratio alone: numbers that a
step is given when it runs. Such recipes have one graph, built for the first of them.
"""

from __future__ import annotations

import collections
import functools
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph.leaves import STATE_OPS, parameter_op, scalar, scalar_op, state
from ..graph.tensor import Tensor
from ..limits import Positive
from ..nn.layer import Layer
from ..nn.losses import Loss
from ..optim.decay import Decay
from ..optim.optimizers import Optimizer
from ..spec import Spec
from .metrics import Metric

MOST_RECIPES = 128
"""Recipes that are kept: with the graphs of a step and of an evaluation some 0.1 MB each."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """Model, loss and rule; and the leaves that stand for what they are given at run time."""

    model: Layer
    loss: Loss
    optimizer: Optimizer
    decay: Decay
    clip_norm: Positive | None
    metrics: Sequence[Metric]
    programs: dict[Any, Any] = field(default_factory=dict)
    """What has been built, by what it is for."""

    @functools.cached_property
    def leaves(self) -> dict[str, Tensor]:
        """The model's parameters and other state by path."""
        return self.model.leaves()

    @functools.cached_property
    def rule(self) -> Optimizer:
        """The optimizer, with leaves for its fields."""
        return self.optimizer.symbolic()

    @functools.cached_property
    def largest_norm(self) -> Tensor | None:
        """A leaf for `clip_norm`."""
        return None if self.clip_norm is None else scalar(self.clip_norm, name="clip_norm")

    @functools.cached_property
    def slots(self) -> dict[Tensor, list[Tensor]]:
        """What the optimizer remembers of each parameter."""
        return {
            W: [state(0.0, shape=W.shape, name=f"{slot}.{path}") for slot in self.optimizer.slots]
            for path, W in self.leaves.items()
            if W.op is parameter_op
        }

    @functools.cached_property
    def slot_leaves(self) -> list[Tensor]:
        """The optimizer's slots, in the order of the parameters."""
        return [slot for slots in self.slots.values() for slot in slots]

    @functools.cached_property
    def work_a_row(self) -> float:
        """About how many operations a training step makes for a row."""
        return 6.0 * self.model.parameter_count


_kept: collections.OrderedDict[Hashable, tuple[Recipe, list[Tensor]]] = collections.OrderedDict()
_lock = threading.Lock()


def shared(recipe: Recipe) -> tuple[Recipe, dict[Tensor, Any]]:
    """The first recipe with the same graph, and what its leaves stand for in this one.

    It is the recipe itself where no other is known, and where a class of somebody else's is in it:
    who knows what its graph depends on.
    """
    try:
        key, held = _form(recipe)
    except _Unknown:
        return recipe, {}
    with _lock:
        known = key in _kept
    if not known:
        _ = recipe.slots, recipe.rule, recipe.largest_norm  # there before others know of it
    with _lock:
        first, leaves = _kept.setdefault(key, (recipe, held))
        _kept.move_to_end(key)
        while len(_kept) > MOST_RECIPES:
            _kept.popitem(last=False)
    given = {its: own.attrs["value"] for its, own in zip(leaves, held, strict=True)}
    names = recipe.optimizer.fields()
    given |= {getattr(first.rule, name): value for name, value in names.items()}
    given[first.decay.strength_scalar] = recipe.decay.strength
    if first.largest_norm is not None:
        given[first.largest_norm] = recipe.clip_norm
    return first, given


class _Unknown(Exception):
    """A graph may depend on something that cannot be compared."""


def _form(recipe: Recipe) -> tuple[Hashable, list[Tensor]]:
    """What the graph depends on; and leaves for numbers that layers and loss are given, in the
    same order for all recipes of the same form."""
    seen: dict[Any, int] = {}
    rule, decay = recipe.optimizer, recipe.decay
    if not (rule.is_ours and decay.is_ours):
        raise _Unknown
    key = (
        _part(recipe.model, seen),
        _part(recipe.loss, seen),
        type(rule),
        type(decay),
        decay.roles,
        recipe.clip_norm is None,
        tuple(map(type, recipe.metrics)),
    )
    return key, [x for x in seen if isinstance(x, Tensor) and x.op is scalar_op]


def _part(value: Any, seen: dict[Any, int]) -> Hashable:
    """A part of a recipe. What was met before is a reference: a layer may be in it twice.

    A field for which a leaf of its name is held counts as 0 or not: a term may be left out.
    """
    match value:
        case Spec() | Tensor() if value in seen:
            return seen[value]
        case Spec():
            if not value.is_ours:
                raise _Unknown
            seen[value] = len(seen)
            held = vars(value)
            given = {x.name for x in held.values() if isinstance(x, Tensor) and x.op is scalar_op}
            fields = [
                (name, bool(x) if name in given else _part(x, seen)) for name, x in held.items()
            ]
            return type(value), *fields
        case Tensor():
            if value.op not in STATE_OPS and value.op is not scalar_op:
                raise _Unknown
            seen[value] = len(seen)
            return value.op, value.shape, value.attrs.get("role")
        case list() | tuple():
            return tuple([_part(item, seen) for item in value])
        case None | bool() | int() | float() | str():
            return type(value), value
    raise _Unknown
