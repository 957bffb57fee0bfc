"""Machine code on disk: found again, never trusted, never in the way."""

import json
import os
import subprocess
import sys

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
