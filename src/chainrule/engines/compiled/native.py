"""LLVM IR to machine code, in this process."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass

import llvmlite.binding as llvm

_lock = threading.Lock()  # LLVM's own set-up is not safe for threads


@dataclass(frozen=True)
class Host:
    """What the processor has."""

    lanes: int
    tile: tuple[int, int]  # rows, and vectors of columns


class Code:
    """Machine code of a module; it lives as long as this object."""

    def __init__(self, ir_text: str) -> None:
        with _lock:
            target_machine = _target_machine()
            module = llvm.parse_assembly(ir_text)
            module.verify()
            options = llvm.create_pipeline_tuning_options(speed_level=2)
            options.loop_vectorization = False  # the kernels are written in vectors
            options.slp_vectorization = False
            llvm.create_pass_builder(target_machine, options).getModulePassManager().run(
                module, llvm.create_pass_builder(target_machine, options)
            )
            self._engine = llvm.create_mcjit_compiler(module, target_machine)
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function is."""
        return int(self._engine.get_function_address(name))


def _target_machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
    )


@functools.cache
def host() -> Host:
    """The vectors that the processor works on, and the tile that fits its registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Host(16, (6, 4))
    if features.get("avx2"):
        return Host(8, (4, 3))
    return Host(4, (4, 3))
