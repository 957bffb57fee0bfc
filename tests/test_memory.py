"""Compiled code in memory: how much of it stays, and whether what was let go is made again."""

import gc
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule.engines.compiled import assemble, compiled_program, native, sized_program
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.engines.program import Feed, Program

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def codes(monkeypatch):
    """All code that is in memory, of an engine that has compiled nothing yet and keeps little."""
    alive = weakref.WeakSet()

    class Counted(native.Code):
        def __init__(self, texts):
            super().__init__(texts)
            alive.add(self)

    monkeypatch.setattr(assemble, "Code", Counted)
    monkeypatch.setattr(assemble, "MOST_LOOPS", 5)
    monkeypatch.setattr(compiled_program, "MOST_PROGRAMS", 3)
    for name in ("_loops", "_recent"):
        monkeypatch.setattr(assemble, name, type(getattr(assemble, name))())
    monkeypatch.setattr(compiled_program, "_kept", type(compiled_program._kept)())
    sized_program.sized_program.cache_clear()
    return alive


def architecture(number):
    """A loop that no other number has: the digits of the number choose its ops."""
    x = cr.batch(3)
    y, expected = x, X.astype(np.float64)
    for digit in f"{number:08b}":
        y = cr.tanh(y) if digit == "1" else 0.5 * y * y - x
        expected = np.tanh(expected) if digit == "1" else 0.5 * expected * expected - X
    return Program({"y": y}, {}), Feed({x: X}, 2), expected


def run(number):
    program, feed, expected = architecture(number)
    np.testing.assert_allclose(
        CompiledEngine(1).run(program, feed)["y"], expected, rtol=1e-4, atol=1e-6
    )


def test_code_of_many_architectures_is_bounded(codes):
    for number in range(60):
        run(number)
    sized_program.sized_program.cache_clear()
    gc.collect()
    assert len(assemble._recent) == 5
    assert len(assemble._loops) == 5
    assert len(codes - {f.code for f in assemble._support.values()}) <= 5


def test_what_was_let_go_is_compiled_again_and_what_is_recent_is_not(codes, monkeypatch):
    for number in range(20):
        run(number)
    sized_program.sized_program.cache_clear()
    gc.collect()
    made = []

    def noted(texts):
        made.append(len(texts))
        return native.Code(texts)

    monkeypatch.setattr(assemble, "Code", noted)
    run(19)
    assert made == []
    run(0)
    assert made == [1]


def test_a_program_keeps_its_code_when_all_others_have_let_it_go(codes):
    program, feed, expected = architecture(3)
    engine = CompiledEngine(1)
    engine.run(program, feed)
    for number in range(10, 40):
        run(number)
    sized_program.sized_program.cache_clear()
    gc.collect()
    assert len(compiled_program._kept) == 3
    assert len(assemble._loops) == 6
    np.testing.assert_allclose(engine.run(program, feed)["y"], expected, rtol=1e-4, atol=1e-6)
    del engine, program
    gc.collect()
    assert len(assemble._loops) == 5
