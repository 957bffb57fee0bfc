"""LLVM IR to machine code, in this process."""

from __future__ import annotations

import collections
import functools
import hashlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import llvmlite
import llvmlite.binding as llvm

from ...locks import fork_safe_lock
from . import cache

FORMAT = "2"
"""Another one where the passes change, so that older code on disk is not taken."""

_lock = fork_safe_lock()
"""For all that calls LLVM: its set-up is not safe for threads, and llvmlite has a lock of its own,
which nobody may hold at a fork."""


@dataclass(frozen=True)
class Host:
    """What the processor has."""

    lanes: int
    tile: tuple[int, int]  # rows, and vectors of columns


class Code:
    """Machine code of some functions; it lives as long as this object."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Compile modules together: to set up the passes costs 16 ms, whatever they work on."""
        with _lock:
            _close_left()
            key = _key(texts)
            code = cache.load(key)
            if code is None:
                code = _compiled(texts)
                cache.store(key, code)
            # Of an empty module: to keep the text of what is compiled would be some 10 MB.
            # A machine that has compiled would keep 0.7 MB; a fresh one takes 0.2 ms.
            self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
            self._engine.finalize_object()
        # Not at exit: a daemon thread may run the code still.
        weakref.finalize(self, _free, self._engine).atexit = False

    def address(self, name: str) -> int:
        """Where a function is."""
        with _lock:
            return int(self._engine.get_function_address(name))


def _free(engine: llvm.ExecutionEngine) -> None:
    """Leave an engine to the next compilation: a finalizer runs anywhere, also in a thread that
    holds an older lock, and may take none."""
    _left.append(engine)


def _close_left() -> None:
    while _left:
        _left.pop().close()


_left: collections.deque[llvm.ExecutionEngine] = collections.deque()
"""Engines of code that nobody has any more."""


def _compiled(texts: Sequence[str]) -> bytes:
    """Modules as one object file."""
    machine = _target_machine()
    module = llvm.parse_assembly(texts[0])
    for text in texts[1:]:
        module.link_in(llvm.parse_assembly(text))
    module.verify()
    _optimize(module, machine)
    return bytes(machine.emit_object(module))


def _key(texts: Sequence[str]) -> str:
    """What the machine code depends on: the text, the processor, and LLVM with its passes."""
    version = ".".join(map(str, llvm.llvm_version_info))
    machine = [llvm.get_process_triple(), llvm.get_host_cpu_name(), _features()]
    parts = [*texts, *machine, version, llvmlite.__version__, FORMAT]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _optimize(module: llvm.ModuleRef, target_machine: llvm.TargetMachine) -> None:
    """The few passes that code in vectors needs. To combine instructions takes longer than all of
    them, and changes no loop."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_loop_simplify_pass()
    passes.add_loop_rotate_pass()
    passes.run(module, llvm.create_pass_builder(target_machine, _TUNING))


_TUNING = llvm.create_pipeline_tuning_options(speed_level=2)


def _target_machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, jit=True
    )


@functools.cache
def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


@functools.cache
def host() -> Host:
    """The vectors that the processor works on, and the tile that fits its registers."""
    with _lock:
        features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Host(16, (6, 4))
    if features.get("avx2"):
        return Host(8, (4, 3))
    return Host(4, (4, 3))
