"""Data sources: the embedded digits, folders of IDX files, and files that are not."""

import gzip
import os
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.idx import read_idx
from chainrule.data.source import open_source
from chainrule.data.split import Split, hold_out
from chainrule.search.objective import Objective


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


TYPES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def typed(array):
    """The bytes of an IDX file of the array's own type."""
    kind = array.dtype.str[1:]
    start = bytes([0, 0, TYPES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return start + array.astype(f">{kind}").tobytes()


def renamed(path, name):
    """The four files of `write_folder`, each at the path that `name` gives for it."""
    with tempfile.TemporaryDirectory() as folder:
        for file in write_folder(Path(folder)).iterdir():
            target = path / name(file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


LAYOUTS = {
    "MNIST with a dot": lambda name: name.replace("-idx", ".idx"),
    "EMNIST": lambda name: f"emnist-letters-{name.replace('t10k', 'test')}",
    "QMNIST with names of MNIST": lambda name: f"qmnist-{name.replace('t10k', 'test')}",
    "Kaggle": lambda name: f"{name}/{name}",
    "Kaggle, mixed": lambda name: f"{name}/{name.replace('-idx', '.idx')}",
    "torchvision": lambda name: f"MNIST/raw/{name}",
    "torchvision, its folder": lambda name: f"raw/{name}",
    "torchvision, EMNIST": lambda name: f"EMNIST/raw/emnist-mnist-{name.replace('t10k', 'test')}",
    "capitals": lambda name: name.upper(),
    "words of one's own": lambda name: f"my set-{name}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compress", [False, True])
def test_folders_as_people_have_them(tmp_path, layout, compress):
    plain, path = tmp_path / "plain", tmp_path / "path"
    plain.mkdir()
    path.mkdir()
    expected = open_source(write_folder(plain))
    renamed(path, LAYOUTS[layout])
    if compress:
        for file in [file for file in path.rglob("*") if file.is_file()]:
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    data = open_source(path)
    for part in ("train", "test"):
        assert np.array_equal(getattr(data, part).X, getattr(expected, part).X)
        assert np.array_equal(getattr(data, part).y, getattr(expected, part).y)
    assert ("transposed" in data.note) == ("EMNIST" in layout)


@pytest.mark.parametrize("compress", [False, True])
def test_the_class_is_the_first_column_of_qmnist_labels(tmp_path, compress):
    renamed(tmp_path, LAYOUTS["QMNIST with names of MNIST"])
    for part, n in (("train", 40), ("test", 20)):
        (tmp_path / f"qmnist-{part}-labels-idx1-ubyte").unlink()
        table = np.full((n, 8), 7777, "i4")
        table[:, 0] = np.arange(n) % 5
        path = tmp_path / f"qmnist-{part}-labels-idx2-int{'.gz' * compress}"
        path.write_bytes(gzip.compress(typed(table)) if compress else typed(table))
    data = open_source(tmp_path)
    assert data.train.y[:6].tolist() == [0, 1, 2, 3, 4, 0]
    assert (data.classes, data.train.y.dtype) == (5, np.dtype("=i4"))
    assert data.train.y.dtype.isnative


@pytest.mark.parametrize("kind", ["i1", "i2", "i4"])
def test_whole_numbers_of_other_types(tmp_path, kind):
    write_folder(tmp_path)
    images, labels = np.zeros((40, 5, 5), kind), (np.arange(40) % 127).astype(kind)
    images[3, 2, 1] = 127
    (tmp_path / IMAGES).write_bytes(typed(images))
    (tmp_path / LABELS).write_bytes(typed(labels))
    data = open_source(tmp_path)
    assert data.train.X.dtype == np.uint8
    assert data.train.X[3, 11] == 127
    assert data.train.y.tolist() == list(range(40))
    assert data.train.y.dtype.isnative
    assert data.classes == 40


def with_value(shape, place, value, kind="i4"):
    array = np.zeros(shape, kind)
    array[place] = value
    return typed(array)


WRONG_VALUES = {
    "a label of row 7 is -1, expected 0 to 65535": (LABELS, with_value(40, 7, -1, "i1")),
    "a label of row 39 is 65536, expected 0 to 65535": (LABELS, with_value(40, 39, 65536)),
    "a pixel of row 2 is 256, expected 0 to 255": (IMAGES, with_value((40, 5, 5), (2, 4, 4), 256)),
    "a pixel of row 0 is -3, expected 0 to 255": (IMAGES, with_value((40, 5, 5), (0, 0, 1), -3)),
    "type 13 holds floats": (IMAGES, with_value((40, 5, 5), 0, 1, "f4")),
    "type 14 holds floats": (LABELS, with_value(40, 0, 1, "f8")),
    "of type 8 with 3 axes, expected type 8 (unsigned bytes) with 1 or 2": (
        LABELS,
        typed(np.zeros((40, 1, 1), "u1")),
    ),
    "labels of 5 columns, expected 1, or 8 as QMNIST has": (LABELS, typed(np.zeros((40, 5), "u1"))),
    "159.5 values, expected 40 × 8 = 320": (LABELS, typed(np.zeros((40, 8), "i2"))[:-321]),
}


@pytest.mark.parametrize("message", WRONG_VALUES)
def test_a_wrong_value_is_named(tmp_path, message):
    write_folder(tmp_path)
    name, data = WRONG_VALUES[message]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(cr.FileError) as error:
        open_source(tmp_path)
    assert message in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_label_of_65535_is_read(tmp_path):
    write_folder(tmp_path)
    (tmp_path / LABELS).write_bytes(with_value(40, 0, 65_535))
    assert open_source(tmp_path).classes == 65_536


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("emnist-letters-", "emnist-digits-", "emnist-digits-train-…, emnist-letters-train-…"),
        ("", "emnist-digits-", "emnist-digits-train-…, train-…"),
        ("MNIST/raw/", "FashionMNIST/raw/", "FashionMNIST/raw/train-…, MNIST/raw/train-…"),
    ],
)
def test_several_data_sets_in_a_folder_are_named(tmp_path, first, second, names):
    for prefix in (first, second):
        renamed(tmp_path, lambda name, prefix=prefix: prefix + name)
    with pytest.raises(cr.FileError) as error:
        open_source(tmp_path)
    assert f"files of several data sets, {names}: expected one" in str(error.value)
    assert "a folder of their own" in str(error.value)


def test_a_data_set_beside_the_folders_of_others_is_read(tmp_path):
    renamed(tmp_path, LAYOUTS["torchvision"])
    write_folder(tmp_path, images=30)
    assert len(open_source(tmp_path).train.y) == 30


def test_two_test_parts_are_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "test-labels-idx1-ubyte").write_bytes(idx(np.zeros(20)))
    with pytest.raises(cr.FileError, match="files of both t10k and test, expected one"):
        open_source(tmp_path)


def test_a_missing_file_is_named_as_the_others_are(tmp_path):
    renamed(tmp_path, LAYOUTS["EMNIST"])
    (tmp_path / "emnist-letters-test-labels-idx1-ubyte").unlink()
    with pytest.raises(cr.FileError, match="there is no emnist-letters-test-labels-idx1-ubyte or"):
        open_source(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_what_is_no_file_is_missing(tmp_path, make):
    write_folder(tmp_path)
    (tmp_path / LABELS).unlink()
    make(tmp_path / LABELS)
    with pytest.raises(cr.FileError, match=f"there is no {LABELS} or"):
        open_source(tmp_path)


def test_more_than_the_header_promises_is_read_no_further(tmp_path):
    """A gzip file of 200 kB may hold 200 MB."""
    write_folder(tmp_path)
    path = tmp_path / IMAGES
    data = gzip.compress(path.read_bytes() + bytes(200_000_000), 1)
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(cr.FileError, match="more than 1049576 values, expected 40 × 5 × 5 = 1000"):
        open_source(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


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


@pytest.mark.parametrize("shape", [(2**32 - 1, 2**32 - 1, 0), (0, 0, 0), (2**31, 0, 5)])
def test_a_header_without_values_is_refused(tmp_path, shape):
    path = tmp_path / "empty"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", *shape))
    with pytest.raises(cr.FileError, match="there are no images"):
        read_idx(path, 3)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(cr.FileError, match="there is no train-images-idx3-ubyte"):
        open_source(tmp_path)
    with pytest.raises(cr.FileError, match="no such folder; embedded data sets are: digits"):
        open_source(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(cr.FileError, match="a file, expected a folder of IDX files"):
        open_source(tmp_path / "file")


def test_names_that_can_be_no_folder():
    with pytest.raises(cr.FileError, match="File name too long"):
        open_source("x" * 10_000)
    with pytest.raises(cr.FileError, match="no such folder"):
        open_source("no\0name")


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


@pytest.mark.parametrize("kind", [int, str])
def test_rows_of_classes_of_one_row_stay_in_the_first_part(kind):
    y = np.array([0] * 930 + [1] * 40 + [2] * 20 + [3] * 8 + [4, 5]).astype(kind)
    for seed in range(20):
        kept, held = hold_out(Split(np.arange(1000)[:, None], y), 0.2, seed)
        counts = np.unique(held.y, return_counts=True)[1].tolist()
        # 200 of 998 rows: 186.4, 8.02, 4.01 and 1.60 by the largest remainder.
        assert counts == [186, 8, 4, 2]
        assert len(kept.y) == 800
        assert sorted([*kept.X[:, 0], *held.X[:, 0]]) == list(range(1000))


def test_fewer_held_rows_than_classes_are_shared_out():
    """5 of 100 rows of which 60 are of one class: 3 of it; 0.5 of each other, drawn."""
    y = np.array([0] * 60 + [1, 2, 3, 4] * 10)
    others = set()
    for seed in range(20):
        _, held = hold_out(Split(np.arange(100)[:, None], y), 0.05, seed)
        counts = np.bincount(held.y, minlength=5)
        assert counts[0] == 3
        assert sorted(counts[1:]) == [0, 0, 1, 1]
        others.add(tuple(counts[1:]))
    assert len(others) > 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("kind", "classes"), [(float, True), (int, False)])
def test_a_number_met_once_may_be_validated(kind, classes, seed):
    """The largest targets are often met once: without them a score would flatter."""
    y = np.array([*range(50)] * 2 + [1000]).astype(kind)
    X = np.arange(101)[:, None]
    expected = train_test_split(X, y, test_size=20, random_state=seed)
    found = hold_out(Split(X, y), 0.2, seed, classes=classes)
    for a, b in zip(expected, (found[0].X, found[1].X, found[0].y, found[1].y), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", [nn.MeanSquaredError(), nn.SoftmaxCrossEntropy()])
def test_a_search_says_whether_targets_are_classes(loss):
    y = np.array([*range(10)] * 10 + [10])
    net = nn.Sequential(nn.Affine(1, 1 if loss.target == "real" else 11))
    trainer = cr.Trainer(net, loss, optim.SGD(0.1))
    rows = Split(np.arange(101.0)[:, None], y)
    held = [
        Objective(lambda _: trainer, rows, 0.2, 1, 10, "loss", seed).parts(trainer, 0)[1].y.ravel()
        for seed in range(20)
    ]
    assert any(10 in y for y in held) == (loss.target == "real")


@pytest.mark.parametrize(
    "y", [np.arange(10), np.array([0, 0, 1, 2]), np.eye(4)[[0, 1, 2, 3, 0]], np.array([3, 3])]
)
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7])
def test_parts_of_few_rows_have_their_sizes(y, fraction):
    kept, held = hold_out(Split(np.arange(len(y))[:, None], y), fraction, seed=0)
    assert len(held.y) == round(len(y) * fraction)
    assert sorted([*kept.X[:, 0], *held.X[:, 0]]) == list(range(len(y)))
