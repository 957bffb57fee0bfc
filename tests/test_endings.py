"""However a job ends, its model is kept, and nobody sees a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from test_data import write_folder

import chainrule as cr
from chainrule.training.interrupt import Interrupt, told_to_end

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals and descriptors")

TRAIN = ["train", "digits", "--hidden", "8", "--threads", "1", "--out", "model"]
HANGUP = getattr(signal, "SIGHUP", 1)  # Windows skips all, but needs the name


@pytest.fixture
def start(tmp_path):
    """Start the command, or other code, in an empty folder; none is left behind."""
    children = []

    def start(*arguments, code=("-m", "chainrule"), **settings):
        command = [sys.executable, *code, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path} | settings
        children.append(subprocess.Popen(command, **pipes))
        return children[-1]

    yield start
    for child in children:
        with child:  # closes its pipes
            child.kill()


def ended(child):
    """The exit status of a process, and what it said."""
    out, err = child.communicate(timeout=60)
    assert b"Traceback" not in err
    return child.returncode, out.decode(), err.decode()


def until_row(child, number):
    """Read progress until an epoch has ended."""
    for line in child.stderr:
        if line.startswith(b"%6d" % number):
            return
    pytest.fail("it ended too early")


def ignoring(*numbers):
    """What makes a child ignore these signals alone, whatever the tests themselves were started
    by: shells do so for jobs in the background, and `nohup`."""
    return lambda: [
        signal.signal(number, signal.SIG_IGN if number in numbers else signal.SIG_DFL)
        for number in (signal.SIGINT, signal.SIGTERM, HANGUP)
    ]


# Signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, HANGUP])
def test_a_job_in_the_background_of_a_script_keeps_its_model(start, tmp_path, number):
    child = start(*TRAIN, "--epochs", "1000000", preexec_fn=ignoring(signal.SIGINT))
    until_row(child, 2)
    child.send_signal(number)
    child.send_signal(number)  # when a session ends, the shell and the kernel each send one
    status, out, err = ended(child)
    assert (status, "model: model" in out) == (1, True)
    assert re.search(r"interrupted (in|after) epoch", err)
    assert cr.load(tmp_path / "model").history.epochs >= 2


def test_with_nohup_a_closed_terminal_ends_nothing(start, tmp_path):
    child = start(*TRAIN, "--epochs", "1000000", preexec_fn=ignoring(HANGUP))
    until_row(child, 2)
    child.send_signal(HANGUP)
    until_row(child, 100)
    child.terminate()
    assert ended(child)[0] == 1
    assert cr.load(tmp_path / "model").history.epochs >= 100


LATE = """
import os, signal, sys
from chainrule.cli.main import run
from chainrule.training.trainer import Trainer

def with_signals(call):
    def called(*arguments):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            if number != signal.SIGINT or call is evaluate:  # a second Ctrl-C ends it
                os.kill(os.getpid(), number)
        return call(*arguments)
    return called

evaluate = Trainer.evaluate
Trainer.evaluate, Trainer.save = with_signals(Trainer.evaluate), with_signals(Trainer.save)
run(sys.argv[1:])
"""


def test_a_signal_while_the_model_is_tested_and_saved_is_too_late(start, tmp_path):
    status, out, err = ended(start(*TRAIN, "--epochs", "1", "--quiet", code=("-c", LATE)))
    assert (status, "model: model" in out, err) == (0, True, "")
    assert cr.load(tmp_path / "model").history.epochs == 1


def test_a_signal_is_asked_for_in_the_innermost_place():
    before = signal.signal(signal.SIGTERM, told_to_end)
    try:
        with Interrupt() as outer:
            signal.raise_signal(signal.SIGTERM)
            with Interrupt() as inner:
                assert inner.asked  # of what came before it was entered
            assert signal.getsignal(signal.SIGTERM) == outer._ask
        assert signal.getsignal(signal.SIGTERM) is told_to_end
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with Interrupt() as outer:
            with Interrupt() as inner:
                signal.raise_signal(signal.SIGINT)
                assert (inner.asked, outer.asked) == (True, False)
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert outer.asked
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, lambda *_: None])
def test_a_signal_that_the_host_handles_is_left_alone(handler):
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


PRESSED = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(5)
"""
"""A module in the place of the first one that is imported."""


@pytest.mark.parametrize("way", ["module", "script", "library", "another program"])
def test_ctrl_c_during_imports_is_one_line_of_the_command_alone(start, tmp_path, way):
    (tmp_path / "msgspec.py").write_text(PRESSED)
    script = tmp_path / ("chainrule" if way == "script" else "other")
    script.write_text("from chainrule.cli.main import run\nrun()\n")
    code = {
        "module": ["-m", "chainrule"],
        "library": ["-c", "import chainrule", "-m", "chainrule"],
    }.get(way, [str(script), "-m", "chainrule"])
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    child = start("cache", code=code, env=os.environ | {"PYTHONPATH": paths})
    _, err = child.communicate(timeout=60)
    if way in ("module", "script"):
        assert (child.returncode, err) == (1, b"chainrule: interrupted\n")
    else:
        assert err.endswith(b"\nKeyboardInterrupt\n")


# Streams ----------------------------------------------------------------------------------------


def test_a_reader_of_progress_may_go(start, tmp_path):
    child = start(*TRAIN, "--epochs", "40")
    child.stderr.readline()
    child.stderr.close()
    assert child.stdout.read().endswith(b"model: model\n")
    assert child.wait(60) == 0
    assert cr.load(tmp_path / "model").history.epochs == 40


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_disk_under_the_log_is_no_reason_to_end(start, tmp_path):
    with open("/dev/full", "w") as full:
        child = start(*TRAIN, "--epochs", "2", stderr=full)
        assert child.communicate(timeout=60)[0].endswith(b"model: model\n")
    assert child.returncode == 0
    assert cr.load(tmp_path / "model").history.epochs == 2


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_a_daemon_has_no_streams(start, tmp_path, closed):
    child = start(*TRAIN, "--epochs", "2", preexec_fn=lambda: [*map(os.close, closed)])
    status, _, _ = ended(child)
    assert status == 0
    assert cr.load(tmp_path / "model").history.epochs == 2


# Names ------------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path):
    """A folder whose name is not UTF-8."""
    try:
        os.mkdir(os.fsencode(tmp_path) + b"/b\xffrs")
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    write_folder(tmp_path / "b\udcffrs")
    return tmp_path


def test_names_that_are_not_utf_8(start, odd):
    def told(*arguments):
        child = start(*arguments, "--quiet", "--json")
        status, out, err = ended(child)
        assert (status, err) == (0, "")
        return json.loads(out)

    small = ["--hidden", "4", "--epochs", "1"]
    assert told("train", "b\udcffrs", *small)["model"] == "b\ufffdrs.safetensors"
    assert told("train", "b\udcffrs", *small, "--out", "\udcff.st")["model"] == "\ufffd.st"
    assert cr.load(odd / "\udcff.st").notes["source"] == "b\ufffdrs"
    assert told("inspect", "\udcff.st")["epochs"] == 1
    assert told("report", "\udcff.st")["out"] == "\ufffd.html"
    assert "\ufffd.st" in (odd / "\udcff.html").read_text()
    status, out, _ = ended(start("inspect", "\udcff.st"))
    assert (status, "source: b" in out) == (0, True)
    status, _, err = ended(start("inspect", "\udcfe.st"))
    assert (status, err) == (2, "chainrule: ?.st: there is no such file\n")


def test_a_warning_is_one_line(start, tmp_path):
    (tmp_path / "cache").mkdir(mode=0o777)
    os.chmod(tmp_path / "cache", 0o777)
    where = os.environ | {"CHAINRULE_CACHE": str(tmp_path / "cache")}
    child = start(*TRAIN, "--epochs", "1", "--quiet", env=where)
    status, _, err = ended(child)
    assert (status, err.count("\n")) == (0, 1)
    assert err.startswith("chainrule: no machine code is kept or taken: others can write to ")


def test_a_killed_save_leaves_nothing_after_the_next_one(start, tmp_path):
    """Killed at a moment when the file beside the model is there."""
    slow = (
        "import os, sys; from chainrule.cli.main import run; real = os.fsync\n"
        "os.fsync = lambda fd: (real(fd), print('now', flush=True), __import__('time').sleep(60))\n"
        "run(sys.argv[1:])"
    )
    nowhere = os.environ | {"CHAINRULE_CACHE": os.devnull}  # that saves too
    child = start(*TRAIN, "--epochs", "1", "--quiet", code=("-c", slow), env=nowhere)
    assert child.stdout.readline() == b"now\n"
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".chainrule-")
    cr.files.write_whole(tmp_path / "model", b"while another process writes it")
    assert sorted(os.listdir(tmp_path)) == [left, "model"]
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 5  # the kernel drops the lock with the process
    while len(os.listdir(tmp_path)) > 1 and time.monotonic() < deadline:
        cr.files.write_whole(tmp_path / "model", b"")
    assert os.listdir(tmp_path) == ["model"]
