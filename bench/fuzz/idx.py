"""Folders of IDX files: bytes, names, files that are missing, and what is no file."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from .kind import Kind, Wrong, copied
from .mutations import LENGTHS, of_bytes

TYPES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file."""
    big = array.astype(array.dtype.newbyteorder(">"))
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, TYPES[array.dtype.name], array.ndim]) + shape + big.tobytes()


LAYOUTS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name.replace("-idx", ".idx"),
    lambda name: f"emnist-letters-{name.replace('t10k', 'test')}",
    lambda name: f"{name}/{name}",
    lambda name: f"MNIST/raw/{name}",
)
"""MNIST's names, with a dot, EMNIST's, Kaggle's folders, torchvision's."""


def folders() -> list[dict[str, bytes]]:
    """Small valid folders, as people have them."""
    random = np.random.default_rng(0)
    files = {}
    for part, n in (("train", 12), ("t10k", 6)):
        y = np.arange(n, dtype=np.uint8) % 4
        files[f"{part}-images-idx3-ubyte"] = idx(random.integers(0, 256, (n, 3, 3), np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(y)
    found = [{layout(name): data for name, data in files.items()} for layout in LAYOUTS]
    qmnist = {}
    for name, data in files.items():
        values = np.zeros((12 if "train" in name else 6, 8), np.int32)
        new = "qmnist-" + name.replace("t10k", "test").replace("idx1-ubyte", "idx2-int")
        qmnist[new] = idx(values) if "labels" in name else data
    return [*found, qmnist]


class Idx(Kind):
    """`open_source` of a folder."""

    count = 2_000

    def prepare(self, base: Path) -> None:
        """Nothing: folders are small."""

    def make(self, number: int, random: Random, base: Path, folder: Path) -> str:
        """A valid folder, changed in up to four places."""
        files = dict(random.choice(folders()))
        told, packed = [], random.random() < 0.4
        for _ in range(random.choice((0, 1, 1, 2))):
            name = random.choice(sorted(files))
            files[name], change = contents_changed(files[name], random)
            told.append(f"{name}: {change}")
        if packed:
            files = {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}
            told.append("gzipped")
            if random.random() < 0.5:
                name = random.choice(sorted(files))
                files[name], change = of_bytes(files[name], random, head=16)
                told.append(f"{name}: {change}")
        copied(files, folder)
        if random.random() < 0.5:
            told.append(names_changed(folder, random.choice(sorted(files)), random))
        return "; ".join(told)

    def run(self, folder: Path, random: Random) -> bool:
        """Open it, and look at what comes."""
        from chainrule.data.source import open_source

        data = open_source(folder)
        for part in (data.train, data.test):
            if part.X.dtype != np.uint8 or part.X.ndim != 2 or part.y.shape != (len(part.X),):
                raise Wrong(f"X is {part.X.dtype} {part.X.shape}, y {part.y.dtype} {part.y.shape}")
            if not (part.X.size and 0 <= part.y.min() <= part.y.max() < data.classes <= 65_536):
                raise Wrong(f"labels from {part.y.min()} to {part.y.max()}")
        return True


def contents_changed(data: bytes, random: Random) -> tuple[bytes, str]:
    """Another header, other values, or other bytes."""
    match random.choice(("axis", "type", "axes", "values", "bytes", "bytes", "zeros")):
        case "axis" if len(data) > 8:
            place = 4 + 4 * random.randrange(data[3] or 1)
            value = random.choice((*LENGTHS, 3, 8, 12))
            return data[:place] + struct.pack(">I", value) + data[place + 4 :], f"a length {value}"
        case "type":
            kind = random.choice((*TYPES.values(), 0, 10, 255))
            return data[:2] + bytes([kind]) + data[3:], f"type {kind}"
        case "axes":
            axes = random.choice((0, 1, 2, 3, 4, 255))
            return data[:3] + bytes([axes]) + data[4:], f"{axes} axes"
        case "values":
            kind = random.choice(list(TYPES))
            shape = random.choice(((12,), (12, 1), (12, 8), (12, 3, 3), (6, 3, 3), (0, 3, 3)))
            low = random.choice((0, -1, -128))
            array = np.random.default_rng(random.randrange(9)).integers(low, 127, shape)
            return idx(array.astype(kind)), f"{kind} {shape} from {low}"
        case "zeros":
            return data + bytes(10_000_000), "10 MB of zeros at the end"
        case _:
            return of_bytes(data, random, head=16)


def names_changed(folder: Path, name: str, random: Random) -> str:
    """A file that is missing, has another name, or is no file."""
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    what = random.choice(
        ("missing", "folder", "nested", "loop", "pipe", "dangling", "renamed", "swapped", "twice")
    )
    match what:
        case "folder":
            path.mkdir()
        case "nested":
            (path / "a-train-images-idx3-ubyte" / "x").mkdir(parents=True)
            (path / path.name).write_bytes(data)
        case "loop":
            os.symlink(path, path)
        case "pipe":
            os.mkfifo(path)
        case "dangling":
            os.symlink("nowhere", path)
        case "renamed":
            other = random.choice((
                name.upper(), f"{name}.gz", f"{name}.txt", name.replace("train", "test"),
                name.replace("images", "labels"), f"a-{name}", f"emnist-é\n-{name}",
                name.replace("idx", "idx9"), "x" * 250, f"-{name}", f"MNIST/raw/{name}",
            ))  # fmt: skip
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(data)
            what = f"renamed to {other[:60]!r}"
        case "swapped":
            others = sorted(p for p in folder.rglob("*-ubyte*") if p.is_file())
            other = random.choice(others) if others else folder / "alone"
            path.write_bytes(other.read_bytes() if other.exists() else b"")
            other.write_bytes(data)
        case "twice":
            path.write_bytes(data)
            (folder / f"emnist-{Path(name).name}").write_bytes(data)
    return f"{name}: {what}"
