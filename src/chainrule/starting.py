"""What the command `chainrule` needs before its imports, which take 0.7 s; a library gets nothing.

The package imports this module first of all.
"""

import contextlib
import os
import signal
import sys
from types import FrameType


def is_command() -> bool:
    """Whether this process is `chainrule …` or `python -m chainrule …`."""
    if not getattr(sys, "argv", None):
        return False
    if sys.argv[0] != "-m":
        return os.path.basename(sys.argv[0]) in ("chainrule", "chainrule.exe")
    # Python sets "-m" until it has found the module, whose name lies before the arguments.
    module = sys.orig_argv[-len(sys.argv)]
    return module == "chainrule" or (module[0] == "-" and module.endswith("mchainrule"))


def open_streams() -> None:
    """Give a process without standard streams the null device in their place.

    Else the next file, such as the model, gets descriptor 1 or 2, and what is printed goes there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            null = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, null)


def end(number: int, frame: FrameType | None) -> None:
    """Answer Ctrl-C during imports: no file is open yet, and an exception may be swallowed."""
    with contextlib.suppress(OSError):
        os.write(2, b"chainrule: interrupted\n")
    os._exit(1)


def give_back() -> None:
    """Let Python handle Ctrl-C again: the imports are done."""
    if signal.getsignal(signal.SIGINT) is end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if is_command():
    open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, end)
