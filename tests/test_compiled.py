"""The compiled engine against the reference, which is its specification."""

import collections
import contextlib
import ctypes
import functools
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_layers import LAYER_EXAMPLES

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.choose import make_engine
from chainrule.engines.compiled import (
    assemble,
    compiled_program,
    crew,
    native,
    native_program,
    product_code,
    reading,
    sized_program,
    skipping_code,
    thread_memory,
    verify,
)
from chainrule.engines.compiled.assemble import address
from chainrule.engines.compiled.emit import EMITTERS
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.engines.compiled.lower import lower
from chainrule.engines.compiled.memory import Lengths
from chainrule.engines.compiled.passes import compile_passes
from chainrule.engines.compiled.reuse import Reuse
from chainrule.engines.compiled.schedule import Chain, Phase, written
from chainrule.engines.compiled.simplify import simplify
from chainrule.engines.program import Feed, Program
from chainrule.engines.reference import ReferenceEngine
from chainrule.graph import ops
from chainrule.graph.evaluate import evaluate
from chainrule.graph.random import orders
from chainrule.nn.build import ACTIVATIONS, multilayer
from chainrule.search.executors import Threads
from chainrule.spec import KINDS
from chainrule.training.programs import columns
from chainrule.training.session import Clock

pytestmark = [
    pytest.mark.usefixtures("eight_processors"),
    pytest.mark.filterwarnings("ignore::chainrule.Advice"),  # odd networks, on purpose
]

LANES = native.host().lanes
ELEMENTWISE = [op for op in cr.OPS.values() if op.elementwise and op is not ops.stop_gradient]


def both(outputs, data, updates=None, state=None, batch_size=7, threads=None, **feed):
    """What the two engines put out, and the state after, for the same program and feed."""
    program = Program(outputs, updates or {})
    results = []
    for engine in (ReferenceEngine("float32"), CompiledEngine(threads)):
        for leaf, value in (state or {}).items():
            engine.write(leaf, value)
        found = engine.run(program, Feed(data, batch_size, **feed))
        results.append(found | {leaf: engine.read(leaf) for leaf in updates or {}})
    return results


def assert_same(results, tolerance=5e-6):
    reference, compiled = results
    for name, expected in reference.items():
        scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
        np.testing.assert_allclose(
            compiled[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=str(name)
        )


def test_every_elementwise_op_has_code():
    assert {op.name for op in EMITTERS} == {op.name for op in cr.OPS.values() if op.elementwise}


def values(domain, shape, random):
    low, high = max(domain[0], -6.0), min(domain[1], 6.0)
    return random.uniform(low + 1e-3, high, shape).astype(np.float32)


@pytest.mark.parametrize("columns", [1, LANES - 1, LANES, LANES + 1, 2 * LANES + 1])
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_ops(op, columns):
    """With all operands of a width, and with the second one a row, a column, or a scalar."""
    random = np.random.default_rng(0)
    arity = len(op.takes)
    for other in ((columns,), (1,), (), None):
        leaves, data, state = [], {}, {}
        for i, domain in enumerate(op.domain):
            if i == 0 or other is None:
                leaf = cr.batch(columns)
                data[leaf] = values(domain, (17, columns), random)
            else:
                leaf = cr.state(np.zeros(other), name="s")
                state[leaf] = values(domain, other, random)
            leaves.append(leaf > 0.5 if op.takes[i] == "bool" else leaf)
        y = op(*leaves)
        y = cr.where(y, 1.0, 0.0) if y.dtype == "bool" else y
        assert_same(both({"y": y}, data, state=state))
        if arity == 1:
            break


EXTREMES = np.array(
    [[0.0, -0.0, 1e-30, -1e-30, 1e-38, 88.0, -88.0, 120.0, -120.0, 1e30, -1e30, np.inf, -np.inf,
      np.nan, 1.0, -1.0, 0.625, 0.6251, 3.99, 4.01]], np.float32
)  # fmt: skip


@pytest.mark.parametrize(
    "op", [op for op in ELEMENTWISE if len(op.takes) == 1], ids=lambda o: o.name
)
def test_extreme_values(op):
    x = cr.batch(EXTREMES.shape[1])
    reference, compiled = both({"y": op(x)}, {x: EXTREMES})
    # Below 1e-37 the compiled engine may give 0; at infinity, silu is NaN in NumPy's formula.
    a, b = reference["y"], compiled["y"]
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize(
    "op", [ops.exp, ops.log, ops.sigmoid, ops.tanh, ops.softplus, ops.silu, ops.erf, ops.selu],
    ids=lambda op: op.name,
)  # fmt: skip
def test_functions_are_as_exact_as_float32_is(op):
    """Against float64: a relative error of 2e-7, where 1.2e-7 lies between two numbers."""
    x = cr.batch(LANES)
    grid = np.concatenate([np.linspace(-20, 20, 20_000), np.geomspace(1e-20, 20, 5_000)])
    grid = np.abs(grid) + 1e-20 if op is ops.log else np.concatenate([grid, -grid])
    data = np.resize(grid, (len(grid) // LANES, LANES)).astype(np.float32)
    found = CompiledEngine(1).run(Program({"y": op(x)}, {}), Feed({x: data}, 1024))["y"]
    (exact,) = evaluate([op(x)], {x: data.astype(np.float64)})
    np.testing.assert_allclose(found, exact, rtol=2e-7)
    if op is ops.tanh:
        assert np.abs(found).max() == 1.0


def test_powers_of_negative_numbers():
    x, y = cr.batch(3), cr.batch(3, name="y")
    data = {
        x: np.float32([[-2.0, -2.0, 0.0], [-2.0, 4.0, 3.0]]),
        y: np.float32([[3.0, 2.0, 0.0], [0.5, 0.5, -1.0]]),
    }
    reference, compiled = both({"y": x**y}, data)
    np.testing.assert_allclose(compiled["y"], reference["y"], rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 10, 11, 12, 13, 25])
@pytest.mark.parametrize("width", [1, 2, LANES - 1, LANES, LANES + 1, 2 * LANES + 1, 3 * LANES])
def test_products_reductions_and_views(rows, width):
    """Row counts and widths around every edge of the tiles."""
    random = np.random.default_rng(width)
    x, W, V = cr.batch(5), cr.state(np.zeros((5, width))), cr.state(np.zeros((width, 3)))
    h = x @ W
    outputs = {
        "h": h,
        "y": h @ V,
        "back": (h @ V) @ V.T,
        "rows": h.sum(axis=1),
        "largest": h.max(axis=1, keepdims=True),
        "log": h.logsumexp(axis=1),
        "first": ops.argmax(h, axis=1),
        "total": (h * h).sum(),
        "peak": h.max(),
        "mean": h.mean(),
    }
    updates = {
        W: x.T @ h,
        V: (h.T @ (h @ V)) + cr.sqrt((h * h).sum(axis=0)).mean(),
    }
    columns = cr.state(np.zeros(width), name="columns")
    in_third_row = cr.where(cr.equal(ops.argmax(h, axis=0), 2), 1.0, 0.0)
    updates[columns] = h.sum(axis=0) + h.max(axis=0) + h.logsumexp(axis=0) + V.sum(axis=1)
    updates[columns] = updates[columns] + in_third_row
    state = {leaf: random.normal(size=leaf.shape) * 0.3 for leaf in updates}
    data = {x: random.normal(size=(rows, 5)).astype(np.float32)}
    assert_same(both(outputs, data, updates, state, batch_size=rows), 1e-5)


@pytest.mark.parametrize("width", [2, 2 * LANES + 1])
def test_a_long_sum_in_blocks_is_the_same_sum(monkeypatch, width):
    """Forwards over columns, gradients over the rows of a batch, in grains and not."""
    random = np.random.default_rng(0)
    x, W = cr.batch(40), cr.state(np.zeros((40, width)))
    data = {x: random.normal(size=(95, 40)).astype(np.float32)}
    state = {W: random.normal(size=(40, width))}
    found = []
    for depth in (1, 7, 40, 1024):
        monkeypatch.setattr(product_code, "DEPTH", depth)
        monkeypatch.setattr(assemble, "_support", {})
        compiled_program._kept.clear()
        results = both({"y": x @ W}, data, {W: x.T @ (x @ W)}, state, batch_size=95, threads=2)
        assert_same(results, 1e-5)
        found.append(results[1])
    for other in found[1:]:
        for name, value in other.items():
            np.testing.assert_array_equal(value, found[0][name])


@pytest.mark.parametrize("rows", [3, 20])
@pytest.mark.parametrize("width", [1, 2, 10, LANES + 1])
def test_embeddings(rows, width):
    random = np.random.default_rng(0)
    table, index = cr.state(np.zeros((6, width))), cr.batch(dtype="int")
    row = cr.take(table, index)
    updates = {table: table - 0.1 * cr.grad((row * row).sum(), [table])[0]}
    data = {index: random.integers(0, 6, rows)}
    state = {table: random.normal(size=(6, width))}
    assert_same(both({"row": row, "twice": row * 2.0}, data, updates, state))


@pytest.mark.parametrize("batch_size", [1, 2, 30])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_column_vectors_as_in_a_textbook(threads, batch_size):
    """W x for columns x: the rows of the batch are columns here, also where there is one."""
    random = np.random.default_rng(0)
    x, W = cr.batch(64), cr.state(np.zeros((64, 64)))
    data = {x: random.normal(size=(60, 64)).astype(np.float32)}
    state = {W: random.normal(size=(64, 64)) * 0.1}
    y = cr.tanh(W @ x.T).T
    assert_same(both({"y": y}, data, {W: W * 1.0}, state, batch_size, threads))


@pytest.mark.parametrize("batch_size", [1, 20, 60])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_column_is_read_as_a_line_too(threads, batch_size):
    """What a thread has a window of, and a product of one row whose columns are the batch."""
    x, W = cr.batch(5), cr.state(np.zeros((1, 5)))
    s = x.sum(axis=1, keepdims=True)
    outputs = {
        "line": (cr.tanh(s.T) * ops.sigmoid(s.T)).sum(),
        "turned": (cr.tanh(s).T + 1.0).sum(axis=0).sum(),
        "one row": cr.tanh(W @ x.T).sum(),
        "back": x + (s.T @ x).sum(axis=0) * 0.01,
    }
    random = np.random.default_rng(0)
    data = {x: random.normal(size=(60, 5)).astype(np.float32)}
    state = {W: random.normal(size=(1, 5))}
    assert_same(both(outputs, data, {W: W * 1.0}, state, batch_size, threads))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_turned_is_whole_before_it_is_read(threads):
    """A thread that turns some rows fills some columns, of rows that are another thread's."""
    random = np.random.default_rng(0)
    x, W = cr.batch(200), cr.state(np.zeros((200, 200)))
    data = {x: random.normal(size=(50, 200)).astype(np.float32)}
    state = {W: random.normal(size=(200, 200)) * 0.1}
    y = cr.tanh(x.T @ x)
    read = {W: W * 0.5 + y.T * 2.0 + y}
    assert_same(both({"sum": x.sum(axis=1)}, data, read, state, 50, threads))
    overwritten = {W: W - 0.01 * (x.T @ x) + 0.1 * W.T}
    assert_same(both({"y": x @ W}, data, overwritten, state, 25, threads), 5e-5)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "bool", ">f4", "float64", "uint8"])
def test_data_of_any_type_of_numbers(dtype):
    x, t = cr.batch(3), cr.batch(dtype="int", name="t")
    numbers = np.arange(12).reshape(4, 3) % 5
    data = {x: numbers.astype(dtype), t: numbers[:, 0].astype("uint8")}
    assert_same(both({"x": x * 2.0, "t": cr.one_hot(t, 5)}, data))


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
def test_an_array_that_is_filled_anew_is_read_anew(dtype):
    """A view whose rows do not lie one after the other, as of a buffer of pictures."""
    buffer = np.zeros((3, 8), dtype)
    view = buffer[:, ::2]
    t = cr.Trainer(nn.Sequential(nn.Rescale(2.0)), nn.MeanSquaredError(), optim.SGD())
    x = cr.batch(4)
    engine, program = CompiledEngine(1), Program({"y": x * 2.0}, {})
    for value in (1, 5):
        buffer[:] = value
        assert (t.predict(view) == 2.0 * value).all()
        assert (engine.run(program, Feed({x: view}, 2))["y"] == 2.0 * value).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_long_rows_are_read_where_they_lie(monkeypatch, threads):
    """By products alone; the numbers are those of gathered rows, also once the data is another."""
    x, W = cr.batch(300), cr.parameter(np.zeros((300, 5)))
    y = cr.tanh(x @ W)
    program = Program({"y": y}, {W: W - 0.01 * (x.T @ y)})
    random = np.random.default_rng(0)
    floats = random.normal(size=(40, 300)).astype(np.float32)
    turns = [
        floats,
        random.integers(0, 9, (40, 300), np.uint8),
        floats[::-1],
        floats[3:, :],
        floats,
    ]
    unaligned = np.frombuffer(bytes(2) + floats.tobytes(), np.float32, offset=2)
    turns.append(unaligned.reshape(40, 300))
    found = []
    for long_row in (1024, 10**9):
        monkeypatch.setattr(reading, "LONG_ROW", long_row)
        engine = CompiledEngine(threads)
        engine.write(W, np.full((300, 5), 0.01))
        for data in turns:
            order = np.random.default_rng(1).permutation(len(data))
            found.append([engine.run(program, Feed({x: data}, 16, order))["y"], engine.read(W)])
        (native,) = engine._programs.values()
        (number,) = (number for number, _, _ in native.compiled.gathers)
        engine.run(program, Feed({x: floats}, 16))
        assert (native.calls[number, 0] == address("nothing")) == (long_row == 1024)
    for one, other in zip(found[: len(turns)], found[len(turns) :], strict=True):
        assert all(map(np.array_equal, one, other))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_table_is_whole_before_rows_are_taken(threads):
    """Also where the loop that makes it goes over as many rows and columns."""
    x, T, V = cr.batch(3), cr.parameter(np.zeros((4, 3))), cr.parameter(np.zeros((4, 3)))
    table = cr.tanh(T * 2.0)
    index = ops.argmax(V @ table.T, axis=1)
    mixed = ops.take(table, index) * table + V
    taken = ops.take(cr.exp(mixed), index)
    random = np.random.default_rng(0)
    state = {leaf: random.normal(size=(4, 3)) for leaf in (T, V)}
    data = {x: random.normal(size=(5, 3)).astype(np.float32)}
    for value in (mixed, taken, taken + mixed + table):
        outputs = {"y": x @ value.T, "sum": (value * table).sum()}
        assert_same(both(outputs, data, {T: T + 0.1 * value, V: table}, state, threads=threads))


def test_products_of_rows_with_rows():
    x = cr.batch(3)
    data = {x: np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    assert_same(both({"y": (x.T @ (x @ x.T)).sum()}, data, batch_size=5))


def test_a_column_of_data_that_is_read_as_a_line_is_gathered(monkeypatch):
    monkeypatch.setattr(reading, "LONG_ROW", 0)
    z, M = cr.batch(1), cr.batch(4, name="m")
    y = (ops.expand_dims(ops.squeeze(z, axes=(1,)), axes=(0,)) @ M).sum()
    random = np.random.default_rng(0)
    data = {z: random.normal(size=(6, 1)), M: random.normal(size=(6, 4))}
    data = {leaf: value.astype(np.float32) for leaf, value in data.items()}
    assert_same(both({"y": y}, data, batch_size=6, order=np.array([3, 1, 0, 5, 4, 2])))


def test_a_run_that_was_interrupted_before_it_began_reads_the_data_anew():
    x, W, engine = cr.batch(300), cr.parameter(np.ones((300, 2))), CompiledEngine(1)
    y = x @ W
    program = Program({"y": y}, {W: W + 0.0 * (x.T @ y)})
    engine.write(W, W.attrs["initial"])
    data = [np.full((4, 300), value, np.float32) for value in (1.0, 2.0)]
    engine.run(program, Feed({x: data[0]}, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_program, "reading", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.run(program, Feed({x: data[1]}, 4))
    assert (engine.run(program, Feed({x: data[1]}, 4))["y"] == 600.0).all()


def test_a_change_of_reading_that_was_interrupted_is_made_again():
    x, W, engine = cr.batch(300), cr.parameter(np.ones((300, 2))), CompiledEngine(1)
    program = Program({"y": x @ W}, {})
    engine.write(W, W.attrs["initial"])
    full = np.ones((4, 300), np.float32)
    sparse = full * (np.arange(300) < 3)
    engine.run(program, Feed({x: full}, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_program, "empty_marks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.run(program, Feed({x: sparse}, 4))
    assert (engine.run(program, Feed({x: full}, 4))["y"] == 300.0).all()
    assert (engine.run(program, Feed({x: sparse}, 4))["y"] == 3.0).all()


def interrupted(*given):
    raise KeyboardInterrupt


def test_data_is_scaled_after_the_product():
    """So that no copy of it is made; x·c + x, and a number for each column, are no such case."""
    x, W = cr.batch(30), cr.parameter(np.zeros((30, 5)))
    data = {x: np.random.default_rng(0).normal(size=(9, 30)).astype(np.float32)}
    state = {W: np.random.default_rng(1).normal(size=(30, 5))}
    for scaled, loops in (
        (0.25 * x, 0),
        (x * 0.25, 0),
        (x * np.arange(30.0), 1),
        (x * 0.25 + x, 1),
    ):
        y = cr.tanh(scaled @ W)
        updates = {W: W - 0.1 * (scaled.T @ y)}
        kernels = str(compile_passes(Program({"y": y}, updates)).lowered)
        assert kernels.count("loop N × 30") == loops
        assert_same(both({"y": y}, data, updates, state))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("columns", [32, 33, 47, 300])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_zeros_are_left_out_of_products_and_change_no_bit(monkeypatch, threads, columns, dtype):
    """In rows of a batch, some of which are all zeros, and for columns side by side."""
    random = np.random.default_rng(columns)
    x, W = cr.batch(columns), cr.parameter(np.zeros((columns, 5 * LANES)))
    y = cr.tanh(x @ W)
    program = Program({"y": y}, {W: W - 0.01 * (x.T @ y)})
    weights = random.normal(size=W.shape) * 0.1
    data = random.integers(1, 9, (61, columns)) * (random.random((61, columns)) < 0.1)
    data[::7], data[:, : columns // 3] = 0, 0
    order = random.permutation(len(data))
    found = []
    for most, long_row, depth in ((-1.0, 10**9, 1024), (0.6, 10**9, 1024), (0.6, 0, 8)):
        monkeypatch.setattr(reading, "MOST_TERMS", most)
        monkeypatch.setattr(reading, "LONG_ROW", long_row)
        monkeypatch.setattr(skipping_code, "DEPTH", depth)
        monkeypatch.setattr(product_code, "DEPTH", depth)
        monkeypatch.setattr(assemble, "_support", {})
        for batch_size in (1, 8, 23, 61):
            engine = CompiledEngine(threads)
            engine.write(W, weights)
            outputs = engine.run(program, Feed({x: data.astype(dtype)}, batch_size, order))
            (native,) = engine._programs.values()
            assert (address("skipping product") in native.calls[:, 0]) == (most > 0)
            found.append([outputs["y"], engine.read(W)])
    for i, others in enumerate(found):
        assert all(map(np.array_equal, others, found[i % 4]))


def test_which_zeros_are_many():
    """Where most are left out of tiles; what is looked at are rows from all over the data."""
    random = np.random.default_rng(0)
    pixels = np.zeros((500, 64), np.float32)
    pixels[:, 20:40] = 1.0
    one_of_ten = np.eye(10, dtype=np.uint8)[random.integers(0, 10, (500, 8))].reshape(500, 80)
    for many, data in (
        (True, pixels),
        (True, one_of_ten),
        (True, pixels[:1]),
        (False, pixels[:0]),
        (False, pixels + 1.0),
        (False, pixels[:, :31]),
        (False, pixels[:, 0]),
        (False, (random.random((500, 64)) < 0.5).astype(np.float32)),
    ):
        assert reading.reading(data, True, False).marked == many


def test_infinite_weights_of_zeros_are_left_out_like_any_others():
    """The numbers that differ from the reference's, which says NaN; so with NaN among weights."""
    x, W = cr.batch(64), cr.parameter(np.zeros((64, 3)))
    data = np.zeros((9, 64), np.float32)
    data[:, 5] = 2.0
    weights = np.full((64, 3), np.inf)
    weights[5] = 1.5
    engine = CompiledEngine(1)
    engine.write(W, weights)
    assert (engine.run(Program({"y": x @ W}, {}), Feed({x: data}, 4))["y"] == 3.0).all()


def test_rows_that_others_read_too_are_gathered(monkeypatch):
    monkeypatch.setattr(reading, "LONG_ROW", 0)
    x, data = cr.batch(3), np.arange(12, dtype=np.float32).reshape(4, 3)
    A = np.arange(6.0).reshape(3, 2)
    for outputs in (
        {"y": x @ A, "x": x},
        {"y": x @ A, "x": cr.exp(x)},
        {"y": (x @ A) @ (A.T @ (x.T @ x)), "sum": (x.T @ x).sum()},
    ):
        assert_same(both(outputs, {x: data}, order=np.array([2, 0, 3, 1])))


def test_no_rows_at_all():
    t = cr.Trainer(nn.Sequential(nn.Affine(7, 4)), nn.MeanSquaredError(), optim.SGD())
    assert t.predict(np.zeros((0, 7))).shape == (0, 4)
    assert t.predict(np.zeros((2, 7))).shape == (2, 4)
    assert t.predict(np.zeros((0, 7))).shape == (0, 4)


@pytest.mark.parametrize("rows", [1, 2, 3, LANES, 1000, 60_000])
def test_orders_are_the_same(rows):
    found = CompiledEngine().orders(rows, 2**32 - 1, range(7, 10))
    assert np.array_equal(found, orders(rows, 2**32 - 1, range(7, 10)))
    assert (np.sort(found, axis=1) == np.arange(rows)).all()
    again = CompiledEngine().orders(rows, 2**32 - 1, range(8, 9))
    assert np.array_equal(again, found[1:2])


def test_all_orders_are_as_likely():
    """χ² of the 24 orders of 4 rows in 24,000 epochs: above 49 in 1 of 1,000 cases."""
    found = CompiledEngine().orders(4, 1, range(24_000))
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 49


def test_random_numbers_are_the_same_bits():
    x = cr.batch(37)
    seed, step = (cr.scalar(0, name=n, dtype="int") for n in ("seed", "step"))
    u = cr.uniform(seed, step, stream=3, shape=x.shape)
    v = cr.uniform(seed, step, stream=4, shape=(x.shape[0],))
    scalars = {seed: 4294967295, step: np.arange(5)}
    data = {x: np.zeros((33, 37), np.float32)}
    reference, compiled = both({"u": u + 0.0 * x, "v": v * 1.0}, data, scalars=scalars)
    assert np.array_equal(reference["u"], compiled["u"])
    assert np.array_equal(reference["v"], compiled["v"])


def test_all_updates_happen_at_once():
    a, b, c = (cr.state([x, x + 1]) for x in (1.0, 3.0, 5.0))
    x = cr.batch(2)
    updates = {a: b, b: a, c: a + b}
    state = {a: [1, 2], b: [3, 4], c: [5, 6]}
    for rows in (1, 2, 3):
        data = {x: np.zeros((rows, 2), np.float32)}
        assert_same(both({"x": x * 1.0}, data, updates, state, batch_size=1))


# Whole trainers -----------------------------------------------------------------------------


def rows(n=70, features=7, kind="class", columns=5):
    random = np.random.default_rng(n + features)
    X = random.normal(size=(n, features))
    if kind == "class":
        return X, random.integers(0, columns, n)
    if kind == "binary":
        return X, random.integers(0, 2, (n, columns))
    return X, random.normal(size=(n, columns))


def assert_trains_alike(make, X, y, tolerance=2e-4, batch_size=32, **fit):
    found = []
    for engine in ("reference", "compiled"):
        t = make(engine)
        history = t.fit(X, y, epochs=2, batch_size=batch_size, validation_data=(X, y), **fit)
        scores = [history[name] for name in history if name != "seconds"]
        found.append((t.weights(), np.array(scores), t.predict(X)))
    for name, expected in found[0][0].items():
        scale = np.abs(expected).max() + 1e-2
        np.testing.assert_allclose(found[1][0][name], expected, atol=tolerance * scale, rtol=0)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=tolerance)
    np.testing.assert_allclose(found[1][2], found[0][2], rtol=0, atol=tolerance * 5)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=lambda kind: kind.__name__)
def test_activations(activation):
    def make(engine):
        net = nn.Sequential(nn.Affine(7, 33), activation(), nn.Affine(33, 5), nn.Softmax())
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(lr=0.05), engine=engine)

    assert_trains_alike(make, *rows())


OPTIMIZERS = [
    k for k in KINDS.values() if issubclass(k, optim.Optimizer) and k is not optim.Optimizer
]


@pytest.mark.parametrize(
    "make",
    [make for examples in LAYER_EXAMPLES.values() for make in examples],
    ids=[kind.__name__ for kind, examples in LAYER_EXAMPLES.items() for _ in examples],
)
def test_layers(make):
    """Of every class, in training and in evaluation, with the gradient of all parameters."""
    layer, x = make(6), cr.batch(6)
    seed, step = (cr.scalar(0, name=name, dtype="int") for name in ("seed", "step"))
    context = nn.Training(seed, step)
    y = layer(x, context)
    parameters = [leaf for leaf in layer.leaves().values() if leaf.op.name == "parameter"]
    gradients = cr.grad((y * y).mean(), parameters)
    updates = context.updates | {
        W: W - 0.1 * dW for W, dW in zip(parameters, gradients, strict=True)
    }
    data = {x: np.random.default_rng(0).normal(size=(21, 6)).astype(np.float32)}
    assert_same(
        both({"y": y, "evaluated": layer(x)}, data, updates, nn.initial_values(layer, 0),
             scalars={seed: 5, step: np.arange(3)}), 1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_optimizers_with_all_there_is_around_them(optimizer):
    # No bias before batch norm: its gradient is rounding noise, which Adam would magnify.
    def make(engine):
        net = nn.Sequential(
            nn.Rescale(0.5),
            nn.Affine(7, 20, bias=False),
            nn.BatchNorm(20),
            nn.Tanh(),
            nn.Dropout(0.3),
            nn.Residual(nn.Sequential(nn.Affine(20, 20), nn.ReLU())),
            lambda x: x * cr.sigmoid(1.5 * x),
            nn.Affine(20, 5),
        )
        return cr.Trainer(
            net,
            nn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight=[1, 2, 3, 1, 1]),
            optimizer(lr=optim.Warmup(1, optim.Cosine(0.005))),
            weight_decay=0.0 if optimizer is optim.AdamW else optim.Decoupled(0.01),
            clip_norm=1.0,
            engine=engine,
        )

    weight = np.random.default_rng(0).random(70)
    assert_trains_alike(make, *rows(), sample_weight=weight)


LOSSES = [
    k for k in KINDS.values() if issubclass(k, nn.Loss) and k.__module__.startswith("chainrule")
]


@pytest.mark.parametrize("batch_size", [1, 13, 70])
@pytest.mark.parametrize("columns", [1, 2, 17])
@pytest.mark.parametrize("features", [1, 3, 33])
@pytest.mark.parametrize(
    "loss", [k for k in LOSSES if k is not nn.Loss], ids=lambda kind: kind.__name__
)
def test_losses_at_all_shapes(loss, features, columns, batch_size):
    if loss.target == "class" and columns == 1:
        pytest.skip("one class is none")

    def make(engine):
        net = nn.Sequential(nn.Affine(features, 9), nn.Tanh(), nn.Affine(9, columns))
        return cr.Trainer(net, loss(), optim.Momentum(lr=0.01), engine=engine)

    assert_trains_alike(make, *rows(70, features, loss.target, columns), batch_size=batch_size)


def test_probability_targets_and_bytes():
    X = np.random.default_rng(0).integers(0, 256, (50, 9), dtype=np.uint8)
    T = np.random.default_rng(1).dirichlet(np.ones(4), 50)

    def make(engine):
        net = nn.Sequential(nn.Rescale(1 / 255), nn.Affine(9, 4))
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(), engine=engine)

    assert_trains_alike(make, X, T)


def test_divergence_stops_at_the_same_step():
    X, y = rows()
    messages = []
    for engine in ("reference", "compiled"):
        net = nn.Sequential(nn.Affine(7, 5))
        rate = optim.Piecewise(((0.0, 0.1), (1.0, 0.1), (1.001, 1e38)))
        t = cr.Trainer(net, nn.MeanSquaredError(), optim.SGD(lr=rate), engine=engine)
        with pytest.raises(cr.TrainingError) as error:
            t.fit(X, np.eye(5)[y], epochs=5, batch_size=10)
        messages.append(str(error.value).split("; the last")[0].split("finite loss")[0])
        assert all(np.isfinite(value).all() for value in t.weights().values())
    assert messages[0] == messages[1]


def test_a_saved_model_goes_on_exactly(tmp_path):
    X, y = rows()

    def make():
        net = nn.Sequential(nn.Affine(7, 20), nn.BatchNorm(20), nn.ReLU(), nn.Affine(20, 5))
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Adam(), engine="compiled")

    whole, part = make(), make()
    whole.fit(X, y, epochs=4)
    part.fit(X, y, epochs=2)
    part.save(tmp_path / "net.safetensors")
    back = cr.load(tmp_path / "net.safetensors")
    back.fit(X, y, epochs=2)
    assert all(np.array_equal(a, back.weights()[n]) for n, a in whole.weights().items())
    assert np.array_equal(whole.predict(X), back.predict(X))


# Random graphs ------------------------------------------------------------------------------

UNARY = [ops.tanh, ops.sigmoid, ops.relu, ops.negative, ops.softplus, ops.gelu, ops.absolute]
BINARY = [ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum]


KINDS_OF_NODES = (
    "unary", "binary", "product", "rows", "columns", "turn", "square", "outer", "square rows",
    "column", "one row",
)  # fmt: skip


class Graph(tuple):
    """Shown in short, for the sake of hypothesis."""

    def __repr__(self):
        return str(Program(*self[:2]))


@st.composite
def graphs(draw):
    """A program over random nodes, with gradients of their mean as updates."""
    width = draw(st.sampled_from([1, 2, LANES, LANES + 3]))
    x = cr.batch(width)
    W, b = cr.parameter(np.zeros((width, width))), cr.parameter(np.zeros(width))
    nodes, squares = [x, x @ W + b], [W]
    for _ in range(draw(st.integers(1, 10))):
        pick, square = st.sampled_from(nodes), st.sampled_from(squares)
        kind = draw(st.sampled_from(KINDS_OF_NODES))
        if kind == "turn":
            squares.append(draw(square).T * 0.5)
        elif kind == "square":
            squares.append(draw(st.sampled_from(BINARY))(draw(square), draw(square)))
        elif kind == "outer":
            squares.append(ops.tanh(draw(pick).T @ draw(pick) * 0.1))
        elif kind == "column":
            column = draw(st.sampled_from(UNARY))(draw(pick).sum(axis=1, keepdims=True) * 0.2)
            line = draw(st.sampled_from(BINARY))(column.T, ops.sigmoid(column.T))
            nodes.append(draw(pick) * line.T + ops.tanh(line * 0.1).sum())
        elif kind == "one row":
            row = draw(square).sum(axis=0, keepdims=True) * 0.2
            column = ops.tanh(row @ draw(pick).T).T
            nodes.append(draw(pick) * column + (column.T @ draw(pick)) * 0.02)
        elif kind == "square rows":
            squares.append(draw(square) - draw(square).mean(axis=0))
        elif kind == "unary":
            nodes.append(draw(st.sampled_from(UNARY))(draw(pick)))
        elif kind == "binary":
            nodes.append(draw(st.sampled_from(BINARY))(draw(pick), draw(pick)))
        elif kind == "product":
            nodes.append(ops.tanh(draw(pick) @ draw(square)))
        elif kind == "rows":
            nodes.append(draw(pick) - draw(pick).mean(axis=0))
        else:
            nodes.append(draw(pick) - draw(pick).logsumexp(axis=1, keepdims=True))
    y, last = nodes[-1], ops.tanh(squares[-1])
    loss = ops.tanh(y).mean() + last.mean()
    dW, db = cr.grad(loss, [W, b])
    # With a rate of 1, 20 steps of (x·W + b)² made of a difference in the last bit one of 0.4 %.
    return Graph(({"y": y, "loss": loss}, {W: W - 0.1 * dW + 0.01 * last, b: b - 0.1 * db}, x))


def spoilt(module):
    """Its allocator by name, and one whose memory is full of NaN, as if it had been used before."""
    name = "allocate" if hasattr(module, "allocate") else "allocate_in_turn"
    allocate = getattr(module, name)

    def fill(arrays):
        for array in arrays:
            fill(array) if isinstance(array, list) else array.fill(np.nan)
        return arrays

    return name, lambda sizes: fill(allocate(sizes))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.integers(1, 30), st.integers(0, 2**16), *[st.booleans()] * 3)
def test_random_graphs(graph, n, seed, one_by_one, in_place, marked):
    """Three threads, each with a few rows at a time, so that all that could be early is."""
    outputs, updates, x = graph
    random = np.random.default_rng(seed)
    state = {leaf: random.normal(size=leaf.shape) * 0.5 for leaf in updates}
    data = {x: random.normal(size=(n, x.shape[1])).astype(np.float32)}
    data[x] *= random.random(data[x].shape) < 0.5
    batch_size = 1 if one_by_one else max(1, n // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sized_program, "CACHE", 1)
        patch.setattr(sized_program, "FEWEST_ROWS", 1)
        patch.setattr(reading, "LONG_ROW", 0 if in_place else 1024)
        patch.setattr(reading, "FEWEST_COLUMNS", 2)
        patch.setattr(reading, "MOST_TERMS", 1.0 if marked else -1.0)
        for module in (native_program, thread_memory):
            patch.setattr(module, *spoilt(module))
        sized_program.sized_program.cache_clear()
        order = random.permutation(n)
        found = both(outputs, data, updates, state, batch_size, threads=3, order=order)
        assert_same(found, 2e-3)


def test_a_deep_graph_of_numbers_is_no_deep_recursion():
    """Each of 2,000 nodes is looked at once, though 2²⁰⁰⁰ paths lead through them."""
    number = x = cr.scalar(1.0, name="number")
    for _ in range(2_000):
        x = x * x
    batch = cr.batch(2)
    assert_same(both({"y": batch / x}, {batch: np.ones((3, 2), np.float32)}, scalars={number: 1.0}))


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 2**16))
def test_simplified_graphs_mean_the_same(graph, seed):
    outputs, updates, x = graph
    random = np.random.default_rng(seed)
    given = {leaf: random.normal(size=leaf.shape) for leaf in updates}
    given[x] = random.normal(size=(4, x.shape[1]))
    results = [*outputs.values(), *updates.values()]
    for a, b in zip(evaluate(results, given), evaluate(simplify(results), given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


# Memory -------------------------------------------------------------------------------------


def guarded(before):
    """An allocator whose memory ends, or begins, at a page that may not be touched."""
    libc, page, kept = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, []

    def area(size):
        inside = -(-size * 4 // page) * page
        area = mmap.mmap(-1, inside + 2 * page)
        kept.append(area)
        start = ctypes.addressof(ctypes.c_char.from_buffer(area))
        for edge in (start, start + page + inside):
            assert libc.mprotect(ctypes.c_void_p(edge), page, 0) == 0
        offset = page if before else page + inside - size * 4
        return np.frombuffer(area, np.float32, size, offset)

    return area


@pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="needs mprotect")
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("width", [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 2 * LANES + 1])
@pytest.mark.parametrize("batch_size", [1, 10, 11, 12, 13, 25])
@pytest.mark.parametrize("rows_at_once", [1, 96])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("marked", [False, True])
def test_no_kernel_touches_what_is_not_its_own(
    monkeypatch, before, width, batch_size, rows_at_once, in_place, marked
):
    area = guarded(before)

    def empty_marks(rows, columns):
        marks = reading.empty_marks(rows, columns)
        return area(marks.size // 4).view(np.uint8).reshape(marks.shape)

    def gatherable(data, dtype):
        if dtype != "float":
            return data
        held = area(data.size).reshape(data.shape)
        held[:] = data
        return held

    for module, name, patch in (
        ("native_program", "gatherable", gatherable),
        ("native_program", "empty_marks", empty_marks),
        ("reading", "LONG_ROW", 0 if in_place else 1024),
        ("reading", "FEWEST_COLUMNS", 2),
        ("reading", "MOST_TERMS", 1.0 if marked else -1.0),
        ("engine", "allocate", lambda sizes: [area(size) for size in sizes]),
        ("native_program", "allocate", lambda sizes: [area(size) for size in sizes]),
        ("thread_memory", "allocate_in_turn", lambda groups: [list(map(area, g)) for g in groups]),
        ("sized_program", "CACHE", 1),
        ("sized_program", "FEWEST_ROWS", rows_at_once),
    ):
        monkeypatch.setattr(f"chainrule.engines.compiled.{module}.{name}", patch)
    sized_program.sized_program.cache_clear()

    def make(engine):
        net = nn.Sequential(
            nn.Affine(width, width),
            nn.BatchNorm(width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Affine(width, 2),
        )
        return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Adam(), engine="compiled")

    X, y = rows(27, width, columns=2)
    X[:, ::3] = 0.0
    make("compiled").fit(X, y, epochs=1, batch_size=batch_size)
    sized_program.sized_program.cache_clear()


# What it looks like -------------------------------------------------------------------------


def test_three_axes_are_refused():
    x = cr.batch(4)
    y = ops.expand_dims(x, axes=(1,)) * 2.0
    with pytest.raises(cr.InputError, match="has more than two axes, which takes engine="):
        CompiledEngine().run(Program({"y": y}, {}), Feed({x: np.zeros((3, 4))}, 3))


def test_one_loop_for_what_can_be_one():
    """An affine layer and ReLU are a product and a loop; a loss of one column is one more."""
    net = nn.Sequential(nn.Affine(784, 50), nn.ReLU(), nn.Affine(50, 1, bias=False))
    x, t = cr.batch(784), cr.batch(1, name="t")
    loss = nn.MeanSquaredError().rows(net(x), t).sum()
    kernels = str(lower(simplify([loss]), {})).splitlines()
    assert [kernel.split(":")[0].split(" b")[0] for kernel in kernels] == [
        "gather x0",
        "product",
        "loop N × 50",
        "gather t6",
        "loop 1 × N",
    ]


def through_two_layers(inputs, first, second, rate=0.01):
    """A step of inputs-first-second with weights and sums of every kind, and what it updates."""
    x = cr.batch(inputs)
    state = {"A": (inputs, first), "B": (first, second), "b": (second,)}
    A, B, b = (cr.parameter(np.zeros(shape), name=name) for name, shape in state.items())
    h = ops.tanh(x @ A)
    h = h - h.mean(axis=0)
    y = ops.tanh(h @ B + b) + (x.sum(axis=1, keepdims=True) * h.max(axis=1, keepdims=True))
    y = y + ops.take(ops.tanh(B), ops.argmax(h, axis=1)) * nn.Training(
        cr.scalar(1, dtype="int"), cr.scalar(0, dtype="int")
    ).uniform(y.shape)
    loss = (y * y).sum(axis=1).mean()
    gradients = cr.grad(loss, [A, B, b])
    updates = {W: W - rate * dW for W, dW in zip((A, B, b), gradients, strict=True)}
    return Program({"y": y, "loss": loss}, updates), x


def test_another_width_compiles_nothing(monkeypatch):
    """Widths that are equal, 1, or of small products, are other forms; and all give the results
    of the reference, whichever was compiled first."""
    made = []

    class Counted(compiled_program.CompiledProgram):
        def __init__(self, program, widths):
            made.append(tuple(widths))
            super().__init__(program, widths)

    monkeypatch.setattr(compiled_program, "CompiledProgram", Counted)
    monkeypatch.setattr(compiled_program, "_kept", collections.OrderedDict())
    random = np.random.default_rng(0)
    alike = [(5, 7, 3), (7, 3, 20), (18, 16, 17), (np.int64(3), np.int64(2), 4)]
    others = [(5, 5, 3), (5, 3, 5), (5, 5, 5), (5, 1, 3), (5, 7, 1), (1, 7, 3), (50, 40, 3)]
    for number, widths in enumerate([*alike, *others, (9, 300, 60), (60, 9, 300), (6, 6, 2)]):
        program, x = through_two_layers(*widths)
        state = {leaf: random.normal(size=leaf.shape) * 0.3 for leaf in program.updates}
        data = {x: random.normal(size=(29, widths[0])).astype(np.float32)}
        assert_same(both(program.outputs, data, program.updates, state, 12, threads=2), 5e-5)
        if number < len(alike):
            assert made == [alike[0]]
    assert len(made) == 1 + len(others) + 2  # (6, 6, 2) is as (5, 5, 3)


def test_what_is_compiled_is_forgotten_also_where_its_program_is_known_still(monkeypatch):
    monkeypatch.setattr(compiled_program, "MOST_PROGRAMS", 2)
    x, made = cr.batch(3), []
    for depth in range(4):
        y = functools.reduce(lambda y, _: cr.tanh(y), range(depth), x)
        made.append(Program({"y": y}, {}))
        assert compiled_program.find_match(made[-1]) is compiled_program.find_match(made[-1])
    known = [program in compiled_program._matches for program in made]
    assert known == [False, False, True, True]


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy, nn.MeanSquaredError])
def test_what_is_compiled_for_some_widths_is_what_would_be_for_others(activation, batch_norm, loss):
    """All numbers that the code and the driver are given, whichever network came first."""
    found = []
    for inputs, hidden in ((60, [24, 150, 24]), (200, [17, 130, 17]), (40, [300, 41, 300])):
        net = multilayer(
            inputs, hidden, 3, activation=activation, batch_norm=batch_norm, dropout=0.2
        )
        t = cr.Trainer(net, loss(), optim.Adam(), weight_decay=1e-4, clip_norm=1.0)
        y = np.zeros((50, 3)) if t.loss.target == "real" else np.zeros(50, int)
        _, program = t.session.program("training", t.part(np.zeros((50, inputs)), y))
        own = compiled_program.form(program)
        found.append((own, compiled_program.CompiledProgram(program, own.widths)))
    assert len({own.key for own, _ in found}) == 1
    for there, compiled in found:
        for here, again in found:
            pairs = tuple(zip(there.widths, here.widths, strict=True))
            same = tuple(zip(here.widths, here.widths, strict=True))
            one = sized_program.SizedProgram(compiled, Lengths(32, pairs))
            other = sized_program.SizedProgram(again, Lengths(32, same))
            assert np.array_equal(one.numbers, other.numbers)
            assert np.array_equal(one.functions, other.functions)
            assert (one.sizes, one.windows, one.work) == (other.sizes, other.windows, other.work)
            assert all(np.array_equal(one.lists[name], other.lists[name]) for name in one.lists)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_that_diverges_changes_nothing(threads):
    """W and V are updated where they lie, b is not; the third of four steps is not finite."""
    x, W, V = cr.batch(5), cr.parameter(np.zeros((5, 40))), cr.parameter(np.zeros((40, 40)))
    b = cr.parameter(np.zeros(40))
    loss = cr.log((cr.tanh(x @ W + b) @ V).sum(axis=1)).mean()
    dW, dV = cr.grad(loss, [W, V])
    updates = {W: W - 0.01 * dW, V: V + 0.01 * dV, b: b + 1.0}
    program = Program({"loss": loss}, updates, watched="loss")
    assert {leaf for leaf in compile_passes(program).in_place if leaf in updates} == {W, V}
    random = np.random.default_rng(0)
    X = np.abs(random.normal(size=(40, 5))).astype(np.float32)
    X[25] = -50.0
    state = {leaf: np.abs(random.normal(size=leaf.shape)) for leaf in (W, V, b)}
    found = []
    for engine in (ReferenceEngine("float32"), CompiledEngine(threads)):
        for leaf, value in state.items():
            engine.write(leaf, value)
        losses = engine.run(program, Feed({x: X}, 10))["loss"]
        found.append([losses, *(engine.read(leaf) for leaf in state)])
    assert len(found[1][0]) == 2
    for expected, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_overwritten_before_it_is_read():
    """V's update reads W, and so does an output: neither W nor its old value may be lost."""
    x, W, V = cr.batch(4), cr.state(np.zeros((4, 4))), cr.state(np.zeros((4, 4)))
    updates = {W: W + x.T @ x, V: V + W @ W}
    data = {x: np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)}
    state = {W: np.eye(4), V: np.ones((4, 4))}
    assert_same(both({"y": x @ (W @ V)}, data, updates, state, batch_size=2))


OTHER_PROCESSOR = """
import sys
sys.path.insert(0, {tests!r})
from chainrule.engines.compiled import native
host = native.Host({lanes}, (4, 3))
native.host = lambda: host
import test_compiled as t
t.crew.processors = lambda: 8
assert t.native.host().lanes == {lanes}
for rows in (1, 5, 13):
    for width in (1, {lanes} - 1, {lanes}, {lanes} + 1, 3 * {lanes}, 4 * {lanes} + 1):
        t.test_products_reductions_and_views(rows, width)
t.test_optimizers_with_all_there_is_around_them(t.optim.Adam)
t.test_embeddings(20, 10)
t.test_embeddings(20, 1)
t.test_random_numbers_are_the_same_bits()
for dtype in ("float32", "uint8"):
    with t.pytest.MonkeyPatch.context() as patch:
        t.test_zeros_are_left_out_of_products_and_change_no_bit(patch, 3, 47, dtype)
"""


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_code_for_other_processors(lanes):
    """Vectors of NEON, AVX2 and AVX-512, whatever this processor has; LLVM splits wider ones."""
    script = OTHER_PROCESSOR.format(tests=os.path.dirname(__file__), lanes=lanes)
    # The networks are odd on purpose, so advice is not told, and any other warning is.
    command = [sys.executable, "-W", "ignore::UserWarning", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Verification -------------------------------------------------------------------------------


def stages():
    net = nn.Sequential(nn.Affine(3, 40), nn.ReLU(), nn.Affine(40, 40), nn.ReLU())
    x = cr.batch(3)
    loss = net(x).sum(axis=1).mean()
    weights = list(net.leaves().values())
    gradients = cr.grad(loss, weights)
    updates = {W: W - g for W, g in zip(weights, gradients, strict=True)}
    return compile_passes(Program({"loss": loss}, updates))


def test_a_kernel_too_few_too_early_or_twice_is_found():
    lowered = stages().lowered
    for broken in (
        lowered.kernels[:-1],
        lowered.kernels[::-1],
        [*lowered.kernels, lowered.kernels[-1]],
    ):
        with pytest.raises(verify.CompilerError, match=r"nothing fills|not filled yet|again"):
            verify.kernels(replace(lowered, kernels=broken))


def test_memory_that_is_needed_still_is_not_shared():
    """x·W + b lies over x·W, and ReLU of it has a place of its own: both are read again."""
    found = stages()
    product, loop = found.schedule.phases[0].chains[0].kernels[1:3]
    affine, relu = written(loop)
    shared = found.reuse.shared
    assert shared[affine.slot] == product.into.slot
    assert relu.slot not in shared

    def check(shared):
        verify.memory(found.lowered, found.schedule, replace(found.reuse, shared=shared))

    check(shared)
    with pytest.raises(verify.CompilerError, match=r"reads b\d+, where something else lies by now"):
        check(shared | {relu.slot: product.into.slot})
    (x,) = (buffer for leaf, buffer in found.lowered.leaves.items() if leaf.name == "x")
    with pytest.raises(verify.CompilerError, match="does not fit the memory of x"):
        check({relu.slot: x.slot})


def test_a_window_of_what_others_need_is_found():
    """ReLU's result is read again for the second dW, and dW by nobody but its update."""
    found = stages()
    first, second = (phase.chains[0] for phase in found.schedule.phases)
    product, update, *_ = second.kernels
    assert product.into in found.reuse.windows[second]
    relu, (new,) = written(first.kernels[2])[1], written(update)

    def check(chain, buffer):
        windows = {chain: [buffer]}
        verify.memory(found.lowered, found.schedule, Reuse({}, windows))

    check(second, product.into)
    with pytest.raises(verify.CompilerError, match="has no window of"):
        check(first, relu)
    with pytest.raises(verify.CompilerError, match="has no window of"):
        check(first, product.into)
    with pytest.raises(verify.CompilerError, match="is needed after its rows were at hand"):
        check(second, new)
    with pytest.raises(verify.CompilerError, match="lie apart"):
        verify.memory(
            found.lowered,
            found.schedule,
            Reuse({product.into.slot: new.slot}, {second: [product.into]}),
        )


def test_what_only_a_chain_needs_takes_no_more_memory_for_more_rows():
    """All of this net but its sums: the gradients of so few weights are taken in grains."""
    net = nn.Sequential(nn.Affine(7, 16), nn.Tanh(), nn.Affine(16, 2))
    t = cr.Trainer(net, nn.MeanSquaredError(), optim.Adam(), threads=1)
    X, y = rows(20_000)[0], np.zeros((20_000, 2))
    sizes = []
    for batch_size in (5_000, 20_000):
        t.fit(X, y, epochs=1, batch_size=batch_size)
        (program,) = t.session.engine._programs.values()
        sizes.append(sum(a.nbytes for a in program.arrays.values()))
        windows = [w for chain in program.sized.windows for w in chain]
        assert sum(4 * w.size for w in windows) < 2 * sized_program.CACHE
    assert sizes[1] < 1.5 * sizes[0] < 300_000


def test_a_thread_that_does_not_wait_is_found():
    found = stages()
    first, second, *rest = found.schedule.phases
    verify.phases(found.lowered, found.schedule)
    one = Phase([*first.chains, *second.chains], [*first.alone, *second.alone])
    with pytest.raises(verify.CompilerError, match=r"reads .*, which is not filled yet"):
        verify.phases(found.lowered, replace(found.schedule, phases=[one, *rest]))
    # Rows of weights are not what a thread has of the batch's rows.
    moved = Phase([Chain(40, first.chains[0].kernels)], first.alone)
    with pytest.raises(verify.CompilerError, match="along 40"):
        verify.phases(found.lowered, replace(found.schedule, phases=[moved, second, *rest]))


def test_a_result_that_changes_its_shape_is_found():
    with pytest.raises(verify.CompilerError, match="became"):
        verify.same_results([cr.batch(3)], [cr.batch(4)])


# Threads ------------------------------------------------------------------------------------


def net_with_all_kinds_of_sums(threads, seed=0):
    net = nn.Sequential(
        nn.Affine(7, 40), nn.BatchNorm(40), nn.GELU(), nn.Dropout(0.2), nn.Affine(40, 35),
        nn.Tanh(), nn.Affine(35, 5),
    )  # fmt: skip
    return cr.Trainer(
        net, nn.SoftmaxCrossEntropy(), optim.Adam(), clip_norm=1.0, seed=seed, threads=threads
    )


def incomplete(monkeypatch):
    """The second thread waits for the first, which is interrupted before it starts."""
    run = crew.Crew.run

    def interrupted(self, calls, abandon):
        def never():
            time.sleep(0.01)  # the other one comes and waits
            raise KeyboardInterrupt

        return run(self, [never, *calls[1:]], abandon)

    monkeypatch.setattr(crew.Crew, "run", interrupted)


def test_nobody_begins_before_all_have_come(monkeypatch):
    """Else the one that came would have updated its rows of a step that is never finished."""
    x, W = cr.batch(5), cr.state(np.zeros((50, 5)))
    program, engine = Program({"y": x.sum()}, {W: W + 1.0}), CompiledEngine(2)
    engine.write(W, np.zeros((50, 5)))
    feed = Feed({x: np.zeros((10, 5), np.float32)}, 5)
    engine.run(program, feed)
    with monkeypatch.context() as patch:
        incomplete(patch)
        with pytest.raises(KeyboardInterrupt):
            engine.run(program, feed)
    assert (engine.read(W) == 2.0).all()
    engine.run(program, feed)
    assert (engine.read(W) == 4.0).all()


def test_a_crew_that_is_not_complete_goes_home(monkeypatch):
    t = net_with_all_kinds_of_sums(2)
    X, y = rows(100)
    t.fit(X, y, epochs=1)
    incomplete(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        t.session.engine.run(*one_step(t, X, y))
    monkeypatch.undo()
    t.fit(X, y, epochs=1)


def one_step(t, X, y):
    data = t.part(X, y, None)
    given, program = t.session.program("training", data)
    scalars = t.session._scalars(given, program, Clock(0, 1), np.arange(1), 1)
    return program, Feed(columns(given, data), len(X), None, scalars)


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 30, 64])
def test_the_result_does_not_depend_on_the_number_of_threads(threads, batch_size):
    """Bit for bit; with more threads than processors, and than rows, too."""
    X, y = rows(100)
    found = []
    for n in (1, threads):
        t = net_with_all_kinds_of_sums(n)
        history = t.fit(X, y, epochs=1, batch_size=batch_size, validation_data=(X, y))
        found.append((t.weights(), history["loss"], history["val_loss"], t.predict(X)))
    assert all(np.array_equal(value, found[1][0][name]) for name, value in found[0][0].items())
    assert found[0][1:3] == found[1][1:3]
    assert np.array_equal(found[0][3], found[1][3])


def test_trainers_in_threads_of_their_own_do_not_disturb_each_other():
    X, y = rows(100)
    alone = [net_with_all_kinds_of_sums(2, seed) for seed in range(3)]
    beside = [net_with_all_kinds_of_sums(2, seed) for seed in range(3)]
    for t in alone:
        t.fit(X, y, epochs=2)
    threads = [threading.Thread(target=t.fit, args=(X, y), kwargs={"epochs": 2}) for t in beside]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, beside, strict=True):
        assert all(np.array_equal(value, b.weights()[name]) for name, value in a.weights().items())


def test_one_trainer_predicts_for_several_threads():
    t = net_with_all_kinds_of_sums(1)
    data = [np.random.default_rng(i).normal(size=(3000 + i, 7)) for i in range(3)]
    expected = [t.predict(X) for X in data]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(t.predict, data * 20))
    for i, value in enumerate(found):
        assert np.array_equal(value, expected[i % 3])


def test_where_a_run_is_cut_changes_nothing(monkeypatch):
    """A short last batch would be summed in other grains, were it run by itself."""
    X, y = rows(1100)
    found = []
    for seconds in (10.0, 0.0):
        monkeypatch.setattr("chainrule.training.session.SECONDS_BETWEEN_LOOKS", seconds)
        t = net_with_all_kinds_of_sums(2)
        t.fit(X, y, epochs=3, batch_size=800)
        found.append((t.weights(), t.history["loss"], t.evaluate(X, y)))
    assert found[0][1:] == found[1][1:]
    assert all(np.array_equal(value, found[1][0][name]) for name, value in found[0][0].items())


class Late(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_between_runs_leaves_whole_steps(threads):
    """`a` is swapped at each step, W is updated in place: both have counted the same."""

    def late(*_):
        raise Late

    x, a, W = cr.batch(5), cr.state(np.zeros(())), cr.state(np.zeros((5, 5)))
    program = Program({"y": x.sum()}, {a: a + 1.0, W: W + 1.0})
    engine, X = CompiledEngine(threads), np.zeros((100_001, 5), np.float32)
    engine.write(a, 0.0)
    engine.write(W, np.zeros((5, 5)))
    before = signal.signal(signal.SIGALRM, late)
    try:
        for seconds in (0.0005, 0.001, 0.002):
            # Threads are there before: Python's own `Thread.start` takes an exception for its own
            # failure and forgets a thread that has begun, which then ends with a KeyError.
            engine.run(program, Feed({x: X[:10]}, 1))
            with contextlib.suppress(Late):
                signal.setitimer(signal.ITIMER_REAL, seconds)
                engine.run(program, Feed({x: X}, 1))
                time.sleep(0.01)
            assert engine.read(a) == engine.read(W)[2, 2]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    steps = engine.read(a)
    engine.run(program, Feed({x: X[:3]}, 1))
    assert engine.read(a) == engine.read(W)[0, 0] == steps + 3


def test_an_error_in_an_epoch_takes_it_back(monkeypatch):
    X, y = rows(100)
    t = net_with_all_kinds_of_sums(1)
    t.fit(X, y, epochs=1)
    before, run = t.weights(), CompiledEngine.run

    def failing(self, program, feed):
        run(self, program, feed)
        raise Late

    monkeypatch.setattr(CompiledEngine, "run", failing)
    with pytest.raises(Late):
        t.fit(X, y, epochs=1)
    assert all(np.array_equal(value, before[name]) for name, value in t.weights().items())
    assert t.session.steps_done == 1


def test_a_thread_that_cannot_start_is_an_error_and_no_more(monkeypatch):
    X, y = rows(100)
    t = net_with_all_kinds_of_sums(3)
    start, started = threading.Thread.start, []

    def refused(self):
        if self.name.startswith("chainrule"):
            started.append(self)
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start"):
        t.fit(X, y, epochs=1)
    assert not started[0].is_alive()
    monkeypatch.undo()
    t.fit(X, y, epochs=1)


def test_more_threads_than_processors_are_as_many_and_one_warning_says_so(monkeypatch):
    monkeypatch.setattr(crew, "processors", lambda: 2)
    monkeypatch.setattr(crew, "_warned", threading.Event())
    with pytest.warns(RuntimeWarning, match=r"^threads=4096 .* processors .*, 2: 2 threads"):
        t = net_with_all_kinds_of_sums(4096)
    t.use_threads(64)  # a second warning would be an error
    assert t.session.engine._crew.size_for(1e12) == Threads(None, 64).workers == 2


def test_a_thread_that_waits_long_sleeps(monkeypatch):
    x, W = cr.batch(5), cr.state(np.zeros((50, 5)))
    program, engine = Program({"y": x.sum()}, {W: W + 1.0}), CompiledEngine(2)
    engine.write(W, np.zeros((50, 5)))
    run, feed = crew.Crew.run, Feed({x: np.zeros((10, 5), np.float32)}, 5)
    engine.run(program, feed)

    def late(self, calls, abandon):
        def first():
            time.sleep(0.5)
            calls[0]()

        return run(self, [first, *calls[1:]], abandon)

    monkeypatch.setattr(crew.Crew, "run", late)
    began = time.process_time()
    engine.run(program, feed)
    assert time.process_time() - began < 0.25
    assert (engine.read(W) == 4.0).all()


FORKED = """
import os
import signal
import numpy as np
import chainrule as cr
from chainrule import nn, optim
X = np.zeros((300, 7))
net = nn.Sequential(nn.Affine(7, 40), nn.Tanh(), nn.Affine(40, 4))
t = cr.Trainer(net, nn.MeanSquaredError(), optim.SGD(), threads=2)
t.fit(X, np.zeros((300, 4)), epochs=1)
child = os.fork()
if child == 0:
    t.predict(X)
    t.fit(X, np.zeros((300, 4)), epochs=1)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "7\n"


def test_without_llvm_the_reference_engine_takes_over_with_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "chainrule.engines.compiled.engine", None)
    with pytest.warns(RuntimeWarning, match="llvmlite does not work here"):
        engine = make_engine("compiled", "float32")
    assert isinstance(engine, ReferenceEngine)
    assert isinstance(make_engine("compiled", "float64"), ReferenceEngine)


BROKEN = """
import llvmlite.binding as llvm
import numpy as np
def broken(*_, **__):
    raise {error}("not here")
{what}
import chainrule as cr
from chainrule import nn, optim
for _ in range(2):
    t = cr.Trainer(nn.Sequential(nn.Affine(7, 4)), nn.MeanSquaredError(), optim.SGD())
    t.fit(np.zeros((9, 7)), np.zeros((9, 4)), epochs=1)
    print(type(t.session.engine).__name__)
"""


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("del llvm.create_pipeline_tuning_options", "AttributeError"),
        ("llvm.parse_assembly = broken", "RuntimeError"),
        ("llvm.Target.from_default_triple = broken", "RuntimeError"),
        ("llvm.create_mcjit_compiler = broken", "MemoryError"),
    ],
)
def test_where_llvm_is_broken_the_reference_engine_takes_over(what, error):
    script = BROKEN.format(what=what, error=error)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ReferenceEngine"] * 2
    assert done.stderr.count("llvmlite does not work here") == 1
