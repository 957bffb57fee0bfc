"""Data sources: the embedded digits, folders of IDX files, and files that are not."""

import gzip
import struct

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import chainrule as cr
from chainrule.data.idx import read_idx
from chainrule.data.source import open_source
from chainrule.data.split import Split, hold_out


def idx(array, kind=8):
    """The bytes of an IDX file."""
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.astype(np.uint8).tobytes()


def write_folder(path, images=40, test=20, side=5, compress=False):
    """A small data set in the form of MNIST: the place of a bright column is the class."""
    random = np.random.default_rng(0)
    for prefix, n in (("train", images), ("t10k", test)):
        y = np.arange(n) % side
        X = random.integers(0, 60, (n, side, side))
        X[np.arange(n), :, y] += 190
        for name, array in ((f"{prefix}-images-idx3-ubyte", X), (f"{prefix}-labels-idx1-ubyte", y)):
            data = idx(array)
            ending, data = (".gz", gzip.compress(data)) if compress else ("", data)
            (path / f"{name}{ending}").write_bytes(data)
    return path


def test_digits_have_a_fixed_test_part():
    a, b = open_source("digits"), open_source("digits")
    assert np.array_equal(a.test.X, b.test.X)
    assert (len(a.train.y), len(a.test.y), a.classes) == (1438, 359, 10)
    assert a.train.X.dtype == np.uint8
    assert a.train.X.max() * a.factor == 1.0


@pytest.mark.parametrize("compress", [False, True])
def test_a_folder_of_idx_files(tmp_path, compress):
    data = open_source(write_folder(tmp_path, compress=compress))
    assert data.name == tmp_path.name
    assert data.train.X.shape == (40, 25)
    assert data.test.X.shape == (20, 25)
    assert (data.train.X.dtype, data.classes, data.factor) == (np.uint8, 5, 1 / 255)
    assert data.train.y[:6].tolist() == [0, 1, 2, 3, 4, 0]


def test_names_with_a_dot_are_found(tmp_path):
    write_folder(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert open_source(tmp_path).classes == 5


IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"
DAMAGE = {
    "cut short or damaged": (IMAGES, lambda data: data[:-1]),
    "1001 values, expected 40 × 5 × 5 = 1000": (IMAGES, lambda data: data + b"\0"),
    "not an IDX file": (IMAGES, lambda data: b"GIF89a" + data),
    "not an IDX file ": (IMAGES, lambda data: b""),
    "of type 13 with 3 axes, expected type 8": (IMAGES, lambda data: b"\0\0\x0d" + data[3:]),
    "of type 8 with 1 axes, expected type 8 (unsigned bytes) with 3": (
        IMAGES,
        lambda data: idx(np.zeros(9)),
    ),
    "39 labels for 40 images": (LABELS, lambda data: idx(np.zeros(39))),
    "damaged gzip file": (IMAGES, lambda data: gzip.compress(data)[:-20]),
    "damaged gzip file ": (IMAGES, lambda data: b"\x1f\x8b" + data),
    "test images have 25 pixels, training images 4": (IMAGES, lambda d: idx(np.zeros((40, 2, 2)))),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_wrong_file_is_named(tmp_path, message):
    write_folder(tmp_path)
    name, change = DAMAGE[message]
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(cr.FileError) as error:
        open_source(tmp_path)
    assert message.strip() in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_empty_images_are_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / IMAGES).write_bytes(idx(np.zeros((0, 5, 5))))
    (tmp_path / LABELS).write_bytes(idx(np.zeros(0)))
    with pytest.raises(cr.FileError, match="there are no images"):
        open_source(tmp_path)


def test_a_header_that_promises_more_than_memory_is_refused(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12 + b"\0" * 9)
    with pytest.raises(cr.FileError, match="cut short or damaged"):
        read_idx(path, 3)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(cr.FileError, match="there is no train-images-idx3-ubyte"):
        open_source(tmp_path)
    with pytest.raises(cr.FileError, match="no such folder; embedded data sets are: digits"):
        open_source(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(cr.FileError, match="a file, expected a folder of IDX files"):
        open_source(tmp_path / "file")


def test_held_out_rows_are_drawn_evenly_from_the_classes():
    rows = Split(np.arange(100)[:, None], np.arange(100) % 4)
    kept, held = hold_out(rows, 0.2, seed=0)
    assert np.bincount(held.y).tolist() == [5, 5, 5, 5]
    assert sorted([*kept.X[:, 0], *held.X[:, 0]]) == list(range(100))
    again = hold_out(rows, 0.2, seed=0)[1]
    other = hold_out(rows, 0.2, seed=1)[1]
    assert np.array_equal(held.X, again.X)
    assert not np.array_equal(held.X, other.X)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.9])
def test_held_out_rows_are_those_of_scikit_learn(fraction):
    """Studies and saved splits stay what they were."""
    random = np.random.default_rng(0)
    for seed, classes in enumerate([2, 3, 7, 2, 3, 7, 0]):
        n = int(random.integers(60, 200))
        y = random.normal(size=n)
        if classes:
            y = random.choice(classes, n, p=random.dirichlet(np.full(classes, 5.0)))
        X, held = np.arange(n)[:, None], round(n * fraction)
        even = classes and np.unique(y, return_counts=True)[1].min() >= 2 and held >= classes
        expected = train_test_split(
            X, y, test_size=held, random_state=seed, stratify=y if even else None
        )
        kept, other = hold_out(Split(X, y), fraction, seed)
        for a, b in zip(expected, (kept.X, other.X, kept.y, other.y), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_class_of_one_row_can_be_split():
    rows = Split(np.arange(10)[:, None], np.array([0] * 9 + [1]))
    kept, held = hold_out(rows, 0.3, seed=0)
    assert (len(kept.y), len(held.y)) == (7, 3)
