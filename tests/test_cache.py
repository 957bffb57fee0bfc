"""Machine code on disk: found again, never trusted, never in the way."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import warnings

import pytest

from chainrule.cli.main import status
from chainrule.engines.compiled import cache

TRAIN = """
import numpy as np, sys
import chainrule as cr
from chainrule import nn, optim
X = np.random.default_rng(0).normal(size=(40, 5))
net = nn.Sequential(nn.Affine(5, 9), nn.Tanh(), nn.Affine(9, 1))
trainer = cr.Trainer(net, nn.MeanSquaredError(), optim.Adam())
trainer.fit(X, X[:, 0], epochs=2)
print(float(trainer.predict(X).sum()))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def train():
    command = [sys.executable, "-W", "error", "-c", TRAIN]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_next_process_finds_it(folder):
    first = train()
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    contents = {path: path.read_bytes() for path in files}
    assert files
    assert train() == first
    assert {path: path.read_bytes() for path in folder.iterdir()} == contents


def test_damaged_and_foreign_files_are_compiled_anew(folder):
    first = train()
    for i, path in enumerate(sorted(folder.iterdir())):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes([bytes(data), b"", b"hello", data[:50]][i % 4])
    assert train() == first


def test_code_under_another_key_is_not_taken(folder):
    cache.store("a", b"code")
    assert cache.load("a") == b"code"
    (folder / "a.object").rename(folder / "b.object")
    assert cache.load("b") is None
    assert cache.load("none") is None


@pytest.mark.parametrize("place", ["file", "nowhere"])
def test_where_nothing_can_be_written_it_just_compiles(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "cache" if place == "file" else "/proc/nowhere/cache"
    monkeypatch.setenv("CHAINRULE_CACHE", str(path))
    cache.store("a", b"code")
    assert cache.load("a") is None
    assert train()


def test_a_folder_that_can_only_be_read_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path))
    cache.store("key", b"code")

    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refused)
    assert cache.load("key") == b"code"


def test_the_folder_may_be_in_the_user_s_home(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "mine"


def test_processes_at_once_do_not_disturb_each_other(folder):
    command = [sys.executable, "-c", TRAIN]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    assert len({child.communicate()[0] for child in running}) == 1
    assert all(child.returncode == 0 for child in running)


def test_it_does_not_grow_without_end(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 5)
    for i in range(9):
        cache.store(f"k{i}", b"code")
        os.utime(folder / f"k{i}.object", (i, i))
    assert sorted(path.stem for path in cache.files()) == ["k4", "k5", "k6", "k7", "k8"]


def test_the_command_shows_and_clears(folder, capsys):
    cache.store("a", b"code")
    assert status(["cache"]) == 0
    assert f"{folder}: 1 files" in capsys.readouterr().out
    assert status(["cache", "--clear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cleared"] is True
    assert cache.files() == []


# Who can have written it ------------------------------------------------------------------------

posix = pytest.mark.skipif(not cache.HAS_OWNERS, reason="needs owners and modes")


@pytest.fixture
def told(monkeypatch):
    """As in a process that has not been warned."""
    monkeypatch.setattr(cache, "_warned", threading.Event())


def refuses(match):
    """Nothing is taken, and the first time it is said why."""
    with pytest.warns(RuntimeWarning, match=match + r".*; set CHAINRULE_CACHE to a folder of your"):
        assert cache.load("key") is None
    assert cache.load("key") is None  # once a process: a warning would be an error


@posix
def test_what_is_written_is_the_user_s_alone(folder):
    before = os.umask(0)
    try:
        cache.store("key", b"code")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "key.object")]
    assert modes == [0o700, 0o600]
    assert cache.load("key") == b"code"


@posix
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("name", ["", "key.object"])
def test_what_others_can_write_is_not_run(folder, told, mode, name):
    cache.store("key", b"code")
    (folder / name).chmod(mode)
    refuses(f"others can write to .*{name}, whose mode is ")


@posix
@pytest.mark.parametrize("name", ["", "key.object"])
def test_links_are_not_followed(tmp_path, folder, told, name):
    cache.store("key", b"code")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refuses(f"{name} is a link")
    assert (tmp_path / "elsewhere").exists()


@posix
@pytest.mark.parametrize("name", ["", "key.object"])
def test_what_belongs_to_another_user_is_not_run(folder, told, monkeypatch, name):
    cache.store("key", b"code")
    real, owned = os.fstat, (folder / name).stat().st_ino

    def of_another(descriptor):
        found = list(real(descriptor))
        if found[stat.ST_INO] == owned:
            found[stat.ST_UID] = 12345
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_another)
    refuses(f"{name} belongs to another user, number 12345")


@posix
def test_what_belongs_to_root_is_trusted(folder, monkeypatch):
    cache.store("key", b"code")
    real = os.fstat

    def of_root(descriptor):
        found = list(real(descriptor))
        found[stat.ST_UID] = 0
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_root)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert cache.load("key") == b"code"


@posix
def test_a_file_that_is_not_trusted_is_replaced(tmp_path, folder, told):
    cache.store("key", b"code")
    (tmp_path / "mine").write_bytes(b"mine")
    (folder / "key.object").unlink()
    (folder / "key.object").symlink_to(tmp_path / "mine")
    refuses("is a link")
    cache.store("key", b"new")
    assert cache.load("key") == b"new"
    assert (tmp_path / "mine").read_bytes() == b"mine"


@posix
def test_nothing_is_written_where_nothing_is_taken(folder, told):
    folder.mkdir()
    folder.chmod(0o777)
    cache.store("key", b"code")
    assert os.listdir(folder) == []


@posix
def test_a_pipe_is_not_waited_for(folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "key.object")
    assert cache.load("key") is None
    cache.store("key", b"code")
    assert cache.load("key") == b"code"


def test_training_goes_on_where_nothing_is_trusted(tmp_path, folder):
    first = train()
    folder.chmod(0o777)
    loud = [sys.executable, "-W", "always", "-c", TRAIN]
    child = subprocess.run(loud, capture_output=True, text=True, check=True)
    assert child.stdout == first
    assert child.stderr.count("RuntimeWarning") == cache.HAS_OWNERS


# Where it is ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="folders of Linux")
@pytest.mark.parametrize(
    ("where", "place"),
    [
        ({"CHAINRULE_CACHE": "~nobodythere/x"}, "~nobodythere/x"),
        ({"CHAINRULE_CACHE": "~/x", "HOME": ""}, "~/x"),
        ({"HOME": ""}, "~/.cache"),
        ({"HOME": "", "XDG_CACHE_HOME": "relative"}, "~/.cache"),
    ],
)
def test_without_a_home_there_is_no_cache_but_words(monkeypatch, capsys, where, place):
    for name in ("CHAINRULE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.store("key", b"code")
        assert cache.load("key") is None
    for options in ([], ["--clear"], ["--json"]):
        assert status(["cache", *options]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"chainrule: machine code is kept in {place}, but there is no such home folder: "
            "set CHAINRULE_CACHE to a folder of your own\n"
        )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="folders of Linux")
def test_a_home_is_not_needed_where_the_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CHAINRULE_CACHE", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "chainrule"


def test_the_command_removes_what_killed_processes_left(folder, capsys):
    cache.store("a", b"code")
    name = hashlib.sha256(b"b.object").hexdigest()[:16]
    (folder / f".chainrule-{name}-abcdefgh").write_bytes(b"half")
    assert status(["cache", "--clear"]) == 0
    assert "removed 1 files" in capsys.readouterr().out
    assert os.listdir(folder) == []
