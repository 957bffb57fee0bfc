"""What the processor can do at most: multiply-adds on registers alone."""

import ctypes
import time

import llvmlite.binding as llvm
from llvmlite import ir

from chainrule.engines.compiled.build import I64, integer, loop, store_vector, variable
from chainrule.engines.compiled.emit import F32, Emitter
from chainrule.engines.compiled.native import Code, host

SUMS = 12  # enough to hide the latency of 4 cycles at 2 a cycle, with registers to spare
TIMES = 20_000_000


def gflops() -> float:
    """GFLOP/s of one core, the best of five goes."""
    lanes = host().lanes
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [F32.as_pointer(), I64])
    function = ir.Function(module, kind, "peak")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    e = Emitter(b, lanes)
    start = b.load(b.bitcast(function.args[0], e.floats.as_pointer()), align=4)
    sums = [variable(b, b.fadd(start, e.number(i))) for i in range(SUMS)]
    with loop(b, integer(0), function.args[1]):
        for place in sums:
            b.store(e.fma(b.load(place), start, start), place)
    for i, place in enumerate(sums):
        store_vector(b, b.load(place), function.args[0], integer(i * lanes))
    b.ret_void()
    code = Code([str(module)])
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code.address("peak"))
    memory = (ctypes.c_float * (lanes * SUMS))()
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        call(ctypes.addressof(memory), TIMES)
        best = max(best, 2.0 * lanes * SUMS * TIMES / (time.perf_counter() - began) / 1e9)
    return best


if __name__ == "__main__":
    print(f"{llvm.get_host_cpu_name()}: {gflops():.1f} GFLOP/s a core")
