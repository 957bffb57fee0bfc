"""LLVM IR for the driver: all the steps of a run, without a return to Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from .build import I64, declared, integer, load_at, loop, smaller, variable
from .call import CONTEXT, FLOATS, LONGS, SIGNATURE, varying
from .emit import I32

SPINS, YIELDS = 2000, 2000
"""Looks at a barrier before the processor is left to others, some microseconds, and with it left to
them, a millisecond or more; thereafter a thread sleeps between looks."""

YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
SLEEP, NAP = ("Sleep", 1) if sys.platform == "win32" else ("usleep", 50)
"""The system's function, and milliseconds or microseconds: a late thread is seen 0.1 ms later."""

FIELDS = (
    "slots", "n_slots", "phases", "n_phases", "chains", "calls", "scalars", "n_scalars",
    "scalar_values", "matrices", "n_matrices", "swaps", "n_swaps", "watched", "checked", "order",
    "batch", "grain", "rows", "epochs", "uniforms", "n_uniforms", "keys", "n_keys", "meeting",
    "thread", "threads", "own_slots", "windows", "counting",
)  # fmt: skip
"""What the driver is given: addresses and counts, one 64-bit number each.

| list | numbers of an entry |
| --- | --- |
| phases | first of its chains, first one of a single thread, end of them |
| chains | length, grain, rows at a time, first of its calls, end, first of its windows, end |
| windows | slot, address, bytes a row |
| calls | function, its numbers |
| scalars | slot |
| matrices | slot, stride, columns, target |
| swaps | slot, slot |
"""

MEETING = ("come", "round", "stopped", "done")
"""What threads share: how many have come, how often all had, whether to go on, and how many steps
are done. Each lies on a line of the cache to itself."""

LINE = 8
"""64-bit numbers on a line of the cache."""

DIVERGED, ABANDONED = 1, 2
"""Why threads stop: the watched value is not finite; a thread of the crew is not coming."""


def write_driver(module: ir.Module, name: str) -> None:
    """For each batch: the phases, and then its outputs, a check, and the new state taken over.

    All threads run it, each doing its share. Fewer steps are done than there are where the watched
    value is not finite.
    """
    _Driver(ir.Function(module, ir.FunctionType(ir.VoidType(), [LONGS]), name))


def write_nothing(module: ir.Module, name: str) -> None:
    """In the place of a kernel that has nothing to do."""
    function = ir.Function(module, SIGNATURE, name)
    ir.IRBuilder(function.append_basic_block("entry")).ret_void()


class _Driver:
    def __init__(self, function: ir.Function) -> None:
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        b, (fields,) = self.b, function.args
        self.f = {name: load_at(b, fields, integer(i)) for i, name in enumerate(FIELDS)}
        self.ended = b.append_basic_block("ended")
        self.context = b.alloca(I64, len(CONTEXT))
        self.done = variable(b, integer(0))
        self._set("slots", self.f["own_slots"])
        for name in ("grain", "counting"):
            self._set(name, self.f[name])
        rows = self.f["rows"]
        with self._meeting():
            pass  # should one of them not come, none has begun
        with loop(b, integer(0), self.f["epochs"]) as epoch:
            first = b.mul(epoch, rows)
            end = b.add(first, rows)
            with loop(b, first, end, self.f["batch"]) as start:
                self._step(start, end)
                b.store(b.add(b.load(self.done), integer(1)), self.done)
        b.branch(self.ended)
        b.position_at_end(self.ended)
        b.ret_void()

    def _step(self, start: Any, end: Any) -> None:
        b, f, step = self.b, self.f, self.b.load(self.done)
        left = b.sub(end, start)
        rows = smaller(b, left, f["batch"])
        whole = b.add(rows, b.sub(f["grain"], integer(1)))
        self._copy_slots()
        self._set("left", left)
        self._set("rows", rows)
        self._set("grains", b.sdiv(whole, f["grain"]))
        self._set("order", _advanced(b, f["order"], start, 8))
        self._set("uniforms", _advanced(b, f["uniforms"], b.mul(step, f["n_uniforms"]), 4))
        self._set("keys", _advanced(b, f["keys"], b.mul(step, f["n_keys"]), 4))
        last = b.sub(f["n_phases"], integer(1))
        with loop(b, integer(0), f["n_phases"]) as number:
            first, alone, end = self._entry("phases", number, 3)
            with loop(b, first, alone) as chain:
                self._chain(chain, f["thread"], f["threads"])
            with self._meeting():
                with loop(b, alone, end) as chain:
                    self._chain(chain, integer(0), integer(1))
                with b.if_then(b.icmp_signed("==", number, f["checked"])):
                    self._check()
                with b.if_then(b.and_(b.icmp_signed("==", number, last), self._goes_on())):
                    self._finish(step, start, rows)
            with b.if_then(b.not_(self._goes_on())):
                b.branch(self.ended)

    def _copy_slots(self) -> None:
        """The addresses of this step, in the thread's own table, where it can move its windows."""
        b, f = self.b, self.f
        shared, own = (b.inttoptr(f[name], LONGS) for name in ("slots", "own_slots"))
        with loop(b, integer(0), f["n_slots"]) as i:
            b.store(load_at(b, shared, i), b.gep(own, [i]))

    def _move(self, number: Any, row: Any) -> None:
        """Have a window begin at that row."""
        b = self.b
        slot, address, bytes_a_row = self._entry("windows", number, 3)
        place = b.gep(b.inttoptr(self.f["own_slots"], LONGS), [slot])
        b.store(b.sub(address, b.mul(row, bytes_a_row)), place)

    def _chain(self, number: Any, thread: Any, threads: Any) -> None:
        """A thread's rows of a chain, as many at a time as stay in the cache."""
        b = self.b
        length, grain, at_once, call, end, window, last_window = self._entry("chains", number, 7)
        length, grain = (varying(b, number, self.context) for number in (length, grain))
        grains = b.sdiv(b.add(length, b.sub(grain, integer(1))), grain)
        first, last = (
            b.mul(b.sdiv(b.mul(grains, n), threads), grain)
            for n in (thread, b.add(thread, integer(1)))
        )
        last = smaller(b, last, length)
        with loop(b, first, last, at_once) as start:
            stop = smaller(b, b.add(start, at_once), last)
            with loop(b, window, last_window) as i:
                self._move(i, start)
            with loop(b, call, end) as i:
                function, numbers = self._entry("calls", i, 2)
                kernel = b.inttoptr(function, SIGNATURE.as_pointer())
                b.call(kernel, [self.context, b.inttoptr(numbers, LONGS), start, stop])

    def _check(self) -> None:
        """Stop if the watched value is not finite, before anything is updated."""
        b = self.b
        finite = _is_finite(b, b.load(self._slot(self.f["watched"])))
        b.store(b.select(finite, integer(0), integer(DIVERGED)), self._shared("stopped"))

    def _goes_on(self) -> Any:
        return self.b.icmp_signed("==", self.b.load(self._shared("stopped")), integer(0))

    def _finish(self, step: Any, start: Any, rows: Any) -> None:
        """The end of a step: its outputs, and new state in the place of the old."""
        b = self.b
        self._put_out(step, start, rows)
        slots = b.inttoptr(self.f["slots"], LONGS)
        with loop(b, integer(0), self.f["n_swaps"]) as i:
            old, new = (b.gep(slots, [slot]) for slot in self._entry("swaps", i, 2))
            held, fresh = b.load(old), b.load(new)
            b.store(fresh, old)
            b.store(held, new)
        b.store(b.add(step, integer(1)), self._shared("done"))

    def _put_out(self, step: Any, start: Any, rows: Any) -> None:
        b, f = self.b, self.f
        values = b.inttoptr(f["scalar_values"], FLOATS)
        with loop(b, integer(0), f["n_scalars"]) as i:
            (slot,) = self._entry("scalars", i, 1)
            at = b.add(b.mul(step, f["n_scalars"]), i)
            b.store(b.load(self._slot(slot)), b.gep(values, [at]))
        with loop(b, integer(0), f["n_matrices"]) as i:
            slot, stride, columns, target = self._entry("matrices", i, 4)
            source, target = self._slot(slot), b.inttoptr(target, FLOATS)
            with loop(b, integer(0), rows) as row, loop(b, integer(0), columns) as column:
                value = load_at(b, source, b.add(b.mul(row, stride), column))
                at = b.add(b.mul(b.add(start, row), columns), column)
                b.store(value, b.gep(target, [at]))

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """Wait until all threads have come; the last one first does what is written inside.

        Memory is ordered by the atomic operations, so what a thread stored before is seen after.
        """
        b = self.b
        come, rounds = self._shared("come"), self._shared("round")
        now = b.load_atomic(rounds, "acquire", 8)
        before = b.atomic_rmw("add", come, integer(1), "acq_rel")
        last = b.icmp_signed("==", b.add(before, integer(1)), self.f["threads"])
        with b.if_else(last) as (then, otherwise):
            with then:
                yield
                b.store_atomic(integer(0), come, "monotonic", 8)
                b.store_atomic(b.add(now, integer(1)), rounds, "release", 8)
            with otherwise:
                self._spin(rounds, now)

    def _spin(self, rounds: Any, now: Any) -> None:
        b = self.b
        before = b.block
        head, stay, tired, after = (
            b.append_basic_block(name) for name in ("spin", "stay", "tired", "go")
        )
        b.branch(head)
        b.position_at_end(head)
        spins = b.phi(I64)
        ended = b.icmp_signed("!=", b.load_atomic(rounds, "acquire", 8), now)
        b.cbranch(ended, after, stay)
        b.position_at_end(stay)
        more = b.add(spins, integer(1))
        b.cbranch(b.icmp_signed(">", more, integer(SPINS)), tired, head)
        spins.add_incoming(integer(0), before)
        spins.add_incoming(more, stay)
        b.position_at_end(tired)
        with b.if_else(b.icmp_signed(">", more, integer(SPINS + YIELDS))) as (sleep, wait):
            with sleep:
                b.call(declared(b, SLEEP, I32, I32), [ir.Constant(I32, NAP)])
            with wait:
                b.call(declared(b, YIELD, I32), [])
        stopped = b.load_atomic(self._shared("stopped"), "acquire", 8)
        spins.add_incoming(more, b.block)
        b.cbranch(b.icmp_signed("==", stopped, integer(ABANDONED)), self.ended, head)
        b.position_at_end(after)

    def _set(self, name: str, value: Any) -> None:
        self.b.store(value, self.b.gep(self.context, [integer(CONTEXT.index(name))]))

    def _shared(self, name: str) -> Any:
        meeting = self.b.inttoptr(self.f["meeting"], LONGS)
        return self.b.gep(meeting, [integer(LINE * MEETING.index(name))])

    def _slot(self, slot: Any) -> Any:
        return load_at(self.b, self.b.inttoptr(self.f["slots"], FLOATS.as_pointer()), slot)

    def _entry(self, table: str, i: Any, width: int) -> list[Any]:
        b, start = self.b, self.b.mul(i, integer(width))
        numbers = b.inttoptr(self.f[table], LONGS)
        return [load_at(b, numbers, b.add(start, integer(j))) for j in range(width)]


def _advanced(b: ir.IRBuilder, address: Any, count: Any, size: int) -> Any:
    return b.add(address, b.mul(count, integer(size)))


def _is_finite(b: ir.IRBuilder, value: Any) -> Any:
    bits = b.bitcast(value, I32)
    exponent = ir.Constant(I32, 0x7F800000)
    return b.icmp_signed("!=", b.and_(bits, exponent), exponent)
