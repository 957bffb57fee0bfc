"""The passes from a program to phases of kernels; each graph, kernels and phases are verified."""

from __future__ import annotations

from dataclasses import dataclass

from ...graph.tensor import Tensor
from ...graph.text import listing
from ..program import Program
from . import verify
from .in_place import updated_in_place
from .kernels import Buffer
from .lower import Lowered, lower
from .reuse import Reuse, reuse
from .schedule import Schedule, schedule
from .simplify import simplify
from .transposes import Kept, keep_transposes


@dataclass(frozen=True, eq=False)
class Stages:
    """What a program is after each pass."""

    program: Program
    kept: Kept
    lowered: Lowered
    schedule: Schedule
    in_place: set[Tensor]
    reuse: Reuse
    watched: Buffer | None

    def __str__(self) -> str:
        outputs = dict(zip(self.program.outputs, self.kept.outputs, strict=True))
        places = [b for x, b in self.lowered.leaves.items() if x in self.in_place]
        names = {b.slot: str(b) for b in self.schedule.buffers}
        laid = [f"{names[new]} in that of {names[old]}" for new, old in self.reuse.shared.items()]
        windows = [names[slot] for slot in self.reuse.in_windows]
        in_data = [names[slot] for slot in sorted(self.reuse.for_products)]
        return (
            f"graph\n\n{self.program}\n\n"
            f"simplified graph\n\n{listing(outputs, self.kept.updates)}\n\n"
            f"kernels\n\n{self.lowered}\n\n"
            f"phases\n\n{self.schedule}\n"
            f"updated in place: {', '.join(map(str, places)) or 'nothing'}\n"
            f"in the memory of others: {', '.join(laid) or 'nothing'}\n"
            f"only the rows at hand: {', '.join(windows) or 'nothing'}\n"
            f"not gathered, where rows of the data are long: {', '.join(in_data) or 'nothing'}"
        )


def compile_passes(program: Program) -> Stages:
    """Simplify the graph, keep transposes, lower it to kernels, and schedule them."""
    simple = simplify(program.results)
    verify.same_results(program.results, simple)
    count = len(program.outputs)
    updates: dict[Tensor, Tensor] = dict(zip(program.updates, simple[count:], strict=True))
    kept = keep_transposes(simple[:count], updates)
    verify.same_results(simple, [*kept.outputs, *kept.updates.values()][: len(simple)])
    lowered = lower(kept.outputs, kept.updates)
    verify.kernels(lowered)
    phases = schedule(lowered.kernels, lowered.buffers)
    verify.phases(lowered, phases)
    shown = dict(zip(program.outputs, lowered.outputs, strict=True))
    watched = shown[program.watched] if program.watched else None
    in_place = updated_in_place(lowered, phases, watched)
    found = reuse(lowered, phases)
    verify.memory(lowered, phases, found)
    return Stages(program, kept, lowered, phases, in_place, found, watched)
