"""A process that is forked while its threads compile."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BEGIN = """
import os, random, sys, threading, time
import numpy as np
import chainrule as cr
from chainrule import nn, optim

X, y = np.zeros((30, 3), np.float32), np.zeros((30, 2), np.float32)

class Own(nn.Layer):
    ops: str
    def __init__(self, ops):
        self.ops = ops
    def __call__(self, x, mode=None):
        for op in self.ops:
            x = cr.tanh(x) + 0.1 if op == "1" else 0.5 * x * x
        return x

def train(number):
    net = nn.Sequential(nn.Affine(3, 2), Own(f"{number:b}"))
    cr.Trainer(net, nn.MeanSquaredError(), optim.SGD(), threads=1).fit(X, y, epochs=1)

def exit_of(child, seconds):
    "None where the child hangs."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None

def forked(work, seconds=20):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return exit_of(child, seconds)
"""

WHILE_COMPILING = """
stop = threading.Event()

def compile_new_ones(first):
    number = first
    while not stop.is_set():
        train(number)
        number += 1

threads = [threading.Thread(target=compile_new_ones, args=(64 + 1000 * i,)) for i in range(2)]
for thread in threads:
    thread.start()
found = []
for i in range(20):
    time.sleep(random.random() * 0.05)
    found.append(forked(lambda: train(100_000 + i)))
    if found[-1] is None:
        break
stop.set()
for thread in threads:
    thread.join()
print(set(found))
"""

WHILE_RUNNING = """
from chainrule.engines.compiled.engine import CompiledEngine
from chainrule.engines.program import Feed, Program

x, W = cr.batch(50), cr.state(np.zeros((50, 50)))
program, engine = Program({"y": (x @ W).sum()}, {W: W + 1.0}), CompiledEngine(1)
engine.write(W, np.zeros((50, 50)))
long, short = (Feed({x: np.zeros((n, 50), np.float32)}, 1) for n in (200_000, 3))
engine.run(program, short)
thread = threading.Thread(target=engine.run, args=(program, long))
thread.start()
while engine._lock.acquire(blocking=False):
    engine._lock.release()
    time.sleep(0.0001)

def work():
    engine.write(W, np.zeros((50, 50)))
    engine.run(program, short)
    assert (engine.read(W) == 3.0).all()

print(engine._lock.acquire(blocking=False), forked(work))
thread.join()
print(engine.read(W)[0, 0] == 200_003)
"""

FIRST_TRAINER = """
thread = threading.Thread(target=train, args=(1,))
thread.start()
while "llvmlite" not in sys.modules:
    time.sleep(0.0001)
print(forked(lambda: train(2)))
thread.join()
"""


WHILE_COMPUTING = """
from chainrule.locks import cached_property

class Slow:
    @cached_property
    def value(self):
        begun.set()
        time.sleep(0.5)
        return object()

begun, one, found = threading.Event(), Slow(), []
threads = [threading.Thread(target=lambda: found.append(one.value)) for _ in range(3)]
for thread in threads:
    thread.start()
begun.wait()
print(forked(lambda: Slow().value))
for thread in threads:
    thread.join()
print(len({*map(id, found)}))
"""

IN_TRAINING = """
before = {*sys.modules}
train(1)
print({m for m in {*sys.modules} - before if m.startswith("numpy")})
before = {*sys.modules}
for given in (X, X.tolist(), X.astype(float)):
    net = cr.Trainer(nn.Affine(3, 2), nn.MeanSquaredError(), "adam", threads=1)
    net.fit(given, y, epochs=2, sample_weight=np.ones(30), validation_data=(given, y))
    net.evaluate(given, y)
    net.predict(given)
print({*sys.modules} - before)
"""


def said(script):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + script],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_a_child_that_is_forked_while_threads_compile_trains():
    assert said(WHILE_COMPILING) == ("{0}\n", "")


def test_a_child_runs_what_another_thread_was_running():
    assert said(WHILE_RUNNING) == ("False 0\nTrue\n", "")


def test_a_child_that_is_forked_while_the_engine_is_imported_trains():
    assert said(FIRST_TRAINER) == ("0\n", "")


def test_training_imports_nothing():
    """A module that another thread imports at a fork can never be imported in the child, and
    NumPy imports some of its own when they are first asked for."""
    assert said(IN_TRAINING) == ("set()\nset()\n", "")


def test_a_child_computes_what_another_thread_was_computing():
    assert said(WHILE_COMPUTING) == ("0\n1\n", "")
