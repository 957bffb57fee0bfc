"""The compiled engine: graph → simplified graph → kernels → LLVM IR → machine code → run."""
