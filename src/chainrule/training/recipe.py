"""What a training step is made of, apart from the data.

A search makes thousands of recipes, most of which differ in a rate or a ratio alone: numbers that a
step is given when it runs. Such recipes have one graph, built for the first of them.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..graph.leaves import STATE_OPS, parameter_op, scalar, scalar_op, state
from ..graph.tensor import Tensor
from ..limits import Positive
from ..locks import cached_property, fork_safe_lock
from ..nn.layer import Layer
from ..nn.losses import Loss
from ..optim.decay import Decay
from ..optim.optimizers import Optimizer
from ..spec import Spec
from .metrics import Metric

MOST_RECIPES = 128
"""Recipes that are kept, with graphs of steps and of evaluations: some 0.1 MB each."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """Model, loss and rule; and the leaves that stand for what they are given at run time."""

    model: Layer
    loss: Loss
    optimizer: Optimizer
    decay: Decay
    clip_norm: Positive | None
    metrics: Sequence[Metric]
    programs: dict[Hashable, Any] = field(default_factory=dict)
    """What has been built, by what it is for and the form of the data."""

    @cached_property
    def leaves(self) -> dict[str, Tensor]:
        """The model's parameters and other state by path."""
        return self.model.leaves()

    @cached_property
    def rule(self) -> Optimizer:
        """The optimizer, with leaves for its fields."""
        return self.optimizer.symbolic()

    @cached_property
    def largest_norm(self) -> Tensor | None:
        """A leaf for `clip_norm`."""
        return None if self.clip_norm is None else scalar(self.clip_norm, name="clip_norm")

    @cached_property
    def slots(self) -> dict[Tensor, list[Tensor]]:
        """What the optimizer remembers of each parameter."""
        return {
            W: [state(0.0, shape=W.shape, name=f"{slot}.{path}") for slot in self.optimizer.slots]
            for path, W in self.leaves.items()
            if W.op is parameter_op
        }

    @cached_property
    def slot_leaves(self) -> list[Tensor]:
        """The optimizer's slots, in the order of the parameters."""
        return [slot for slots in self.slots.values() for slot in slots]

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """All state leaves by name: the model's, then the optimizer's slots."""
        slots = {f"optimizer.{slot.name}": slot for slot in self.slot_leaves}
        return {f"model.{path}": leaf for path, leaf in self.leaves.items()} | slots

    @cached_property
    def work_a_row(self) -> float:
        """About how many operations a training step makes for a row."""
        return 6.0 * self.model.parameter_count


@dataclass(frozen=True, eq=False)
class Shared:
    """A recipe whose graph serves; its leaf for each of the model's own; and what its leaves for
    numbers stand for here."""

    recipe: Recipe
    leaves: Mapping[Tensor, Tensor]
    given: Mapping[Tensor, Any]
    parts: int | None = None
    """How many specs there are, all of this library; None where somebody else's may be among
    them."""


_kept: collections.OrderedDict[Hashable, tuple[Recipe, list[Tensor]]] = collections.OrderedDict()
"""By what they depend on: copies of which nobody knows, so that nobody changes them, and their
leaves."""
_lock = fork_safe_lock()


def shared(recipe: Recipe) -> Shared:
    """The one recipe for all that have the same graph.

    It is the recipe itself where a class of somebody else's is in it: who knows what its graph
    depends on.
    """
    seen: dict[Any, int] = {}
    try:
        key = _form(recipe, seen)
    except _Unknown:
        return Shared(recipe, {leaf: leaf for leaf in recipe.leaves.values()}, {})
    own = [x for x in seen if isinstance(x, Tensor)]
    with _lock:
        if key not in _kept:
            _kept[key] = _copied(recipe, seen)
        one, its = _kept[key]
        _kept.move_to_end(key)
        while len(_kept) > MOST_RECIPES:
            _kept.popitem(last=False)
    leaves = dict(zip(own, its, strict=True))
    given = {leaf: x.attrs["value"] for x, leaf in leaves.items() if x.op is scalar_op}
    for name, value in recipe.optimizer.fields().items():
        given[getattr(one.rule, name)] = value
    if one.largest_norm is not None:
        given[one.largest_norm] = recipe.clip_norm
    return Shared(one, leaves, given, len(seen) - len(own))


class _Unknown(Exception):
    """A graph may depend on something that cannot be compared."""


def _form(recipe: Recipe, seen: dict[Any, int]) -> Hashable:
    """What the graph depends on."""
    if not recipe.optimizer.is_ours:
        raise _Unknown
    parts = (recipe.model, recipe.loss, recipe.decay, *recipe.metrics)
    return recipe.optimizer.kind, recipe.clip_norm is None, *[_part(x, seen) for x in parts]


def _part(value: Any, seen: dict[Any, int]) -> Hashable:
    """A part of a recipe. What was met before is a reference: a layer may be in it twice.

    Of a number for which there is a leaf only whether it is 0 counts: a term may be left out.
    """
    match value:
        case Spec() | Tensor() if value in seen:
            return seen[value]
        case Spec():
            if not value.is_ours:
                raise _Unknown
            seen[value] = len(seen)
            given = _with_leaves(value)
            fields = [
                (name, bool(x) if name in given else _part(x, seen))
                for name, x in vars(value).items()
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


def _with_leaves(spec: Spec) -> set[str]:
    """The fields for which a spec has a leaf: each has the name of its field, but for that of a
    decay, which is called what people know it by."""
    leaves = [x for x in vars(spec).values() if isinstance(x, Tensor) and x.op is scalar_op]
    return {"strength" if isinstance(spec, Decay) else x.name for x in leaves}


def _copied(recipe: Recipe, seen: Collection[Any]) -> tuple[Recipe, list[Tensor]]:
    """The same with leaves of its own, and without anybody's values and schedules."""
    leaves = {id(x): _leaf(x) for x in seen if isinstance(x, Tensor)}
    specs = [x for x in seen if isinstance(x, Spec)]
    given = [getattr(spec, name) for spec in specs for name in _with_leaves(spec)]
    given += recipe.optimizer.fields().values()
    memo: dict[int, Any] = leaves | {id(x): True for x in given if callable(x)}
    parts = (recipe.model, recipe.loss, recipe.optimizer, recipe.decay)
    one = Recipe(*copy.deepcopy((*parts, recipe.clip_norm, recipe.metrics), memo))
    _ = one.state, one.rule, one.largest_norm  # leaves are there before threads look for them
    return one, [*leaves.values()]


def _leaf(own: Tensor) -> Tensor:
    values = dict.fromkeys(("initial", "value") & own.attrs.keys(), 0.0)
    return Tensor(own.op, (), dict(own.attrs) | values, own.shape, own.dtype)
