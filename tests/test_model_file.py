"""The model file: what comes back, and what is refused."""

import dataclasses
import hashlib
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open
from test_trainer import rows, same, trainer

import chainrule as cr
from chainrule import files, nn, optim
from chainrule.files import CAN_LOCK, write_whole
from chainrule.spec import KINDS, from_plain, to_plain
from chainrule.training import model_file
from chainrule.training.describe import described

OPTIMIZERS = [k for k in KINDS.values() if issubclass(k, optim.Optimizer) and k.slots is not None]


def saved(path, t=None):
    t = t or trainer()
    t.fit(*rows(), epochs=2, batch_size=32, validation_data=rows(seed=1))
    t.notes = {"source": "rows"}
    t.save(path)
    return t


def test_a_loaded_model_is_the_saved_one(tmp_path):
    path = tmp_path / "net.safetensors"
    t = saved(path)
    back = cr.load(path)
    X, y = rows(seed=2)
    assert np.array_equal(back.predict(X), t.predict(X))
    assert back.evaluate(X, y) == t.evaluate(X, y)
    del t.history["seconds"]  # equal trainings write equal bytes, so no file has times
    assert dict(back.history) == dict(t.history)
    assert back.notes == {"source": "rows"}
    assert repr(back) == repr(t)


@pytest.mark.parametrize("optimizer", [k for k in OPTIMIZERS if k is not optim.Optimizer])
def test_training_goes_on_as_if_it_had_not_stopped(tmp_path, optimizer):
    """With dropout, batch norm, a schedule, and slots: all that a step depends on."""
    path = tmp_path / "net.safetensors"
    rate = optim.Warmup(1, optim.Step(0.01, every=1, factor=0.5))
    whole, part = (trainer(optimizer(lr=rate), clip_norm=1.0) for _ in range(2))
    whole.fit(*rows(), epochs=4, batch_size=32)
    saved(path, part)
    back = cr.load(path)
    back.fit(*rows(), epochs=2, batch_size=32)
    assert same(back.weights(), whole.weights())
    assert back.history["loss"] == whole.history["loss"]


def test_a_checkpoint_of_every_epoch_resumes_under_a_schedule_of_the_whole(tmp_path):
    path = tmp_path / "net.safetensors"
    whole = trainer(optim.Adam(lr=optim.Cosine(0.01)))

    def keep_second(t, row):
        if t.history.epochs == 2:
            t.save(path)

    whole.fit(*rows(), epochs=5, callbacks=[keep_second])
    back = cr.load(path)
    back.fit(*rows(), epochs=3)
    assert same(back.weights(), whole.weights())


def test_it_predicts_bit_for_bit_in_another_process(tmp_path):
    path = tmp_path / "net.safetensors"
    t = saved(path)
    np.save(tmp_path / "X.npy", rows(seed=2)[0])
    code = (
        "import sys, numpy as np, chainrule as cr; "
        "np.save(sys.argv[3], cr.load(sys.argv[1]).predict(np.load(sys.argv[2])))"
    )
    paths = [str(path), str(tmp_path / "X.npy"), str(tmp_path / "Y.npy")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True)
    assert np.array_equal(np.load(tmp_path / "Y.npy"), t.predict(rows(seed=2)[0]))


def test_every_setting_survives(tmp_path):
    shared = nn.Affine(4, 4, init=0.1, bias=False)
    model = nn.Sequential(
        nn.Rescale(0.5),
        shared,
        nn.Residual(nn.Sequential(shared, nn.LeakyReLU(0.2), nn.BatchNorm(4, momentum=0.8))),
        nn.Dropout(optim.Piecewise(((0.0, 0.1), (3.0, 0.3)))),
        nn.Affine(4, 3, init=nn.init.glorot("uniform")),
    )
    t = cr.Trainer(
        model,
        nn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight=[1, 2, 3]),
        optim.Nesterov(lr=optim.OneCycle(0.1), momentum=0.8),
        weight_decay=optim.Decoupled(1e-3, roles=("weight", "bias")),
        clip_norm=2.0,
        seed=7,
        dtype="float64",
        metrics=["accuracy"],
    )
    saved(tmp_path / "net.safetensors", t)
    back = cr.load(tmp_path / "net.safetensors")
    assert to_plain(back) == to_plain(t)
    assert back.model[1] is back.model[2].body[0]
    assert list(back.model.leaves()) == list(t.model.leaves())
    assert np.array_equal(back.predict(rows()[0]), t.predict(rows()[0]))


class Shift(nn.Layer):
    """A layer of a user's own."""

    by: float = 1.0

    def __call__(self, x, context=nn.EVALUATION):
        return x + self.by


def test_layers_of_ones_own_are_found_once_they_are_defined(tmp_path):
    path = tmp_path / "net.safetensors"
    net = nn.Sequential(Shift(2.0), nn.Affine(4, 3))
    t = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD())
    saved(path, t)
    assert cr.load(path).model[0].by == 2.0
    kind = KINDS.pop(Shift.kind)
    try:
        with pytest.raises(cr.FileError, match="Shift' is not known here: import the module"):
            cr.load(path)
    finally:
        KINDS[Shift.kind] = kind


def test_a_plain_function_cannot_be_saved_and_the_old_file_stays(tmp_path):
    path = tmp_path / "net.safetensors"
    saved(path)
    before = path.read_bytes()
    net = nn.Sequential(nn.Affine(4, 3), lambda x: x * 2.0)
    t = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD())
    with pytest.warns(cr.Advice, match="can be trained, not saved: the function .*<lambda>"):
        t.fit(*rows(), epochs=1)
    with pytest.raises(cr.InputError, match="cannot be written to a file: make it a class"):
        t.save(path)
    assert path.read_bytes() == before


def test_nothing_learned_is_not_saved(tmp_path):
    with pytest.raises(cr.InputError, match="fit first"):
        trainer().save(tmp_path / "net.safetensors")


def test_every_damaged_byte_is_noticed(tmp_path):
    """A changed bit anywhere is a FileError, never another error or a silent change."""
    path = tmp_path / "net.safetensors"
    saved(path)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for place in [0, 7, 8, 9, *random.integers(0, len(data), 150)]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << random.integers(0, 8)
        path.write_bytes(damaged)
        with pytest.raises(cr.FileError) as error:
            cr.load(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "net.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(cr.FileError, match="not a model file, or damaged"):
        cr.load(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    for content in (b"hello", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(cr.FileError, match="not a model file, or damaged"):
            cr.load(path)
    safetensors.numpy.save_file({"W": np.zeros(3)}, path)
    with pytest.raises(cr.FileError, match="not one that chainrule wrote"):
        cr.load(path)
    with pytest.raises(cr.FileError, match="there is no such file"):
        cr.load(tmp_path / "none.safetensors")
    with pytest.raises(cr.FileError, match="not a file"):
        cr.load(tmp_path)


def rewritten(path, change, more=()):
    """The file with another description or tensors, and the checksum that belongs to it."""
    tensors = safetensors.numpy.load_file(path) | dict(more)
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["chainrule"].partition(" ")[2])
    change(header)
    text = json.dumps(header)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].data)
    metadata = {"chainrule": f"{digest.hexdigest()} {text}"}
    safetensors.numpy.save_file(tensors, path, metadata)


CHANGES = {
    "written by chainrule 9.9 in format 99": lambda h: h.update(format=99, version="9.9"),
    "damaged: Object missing required field `history`": lambda h: h.pop("history"),
    "a 'Perceptron' is not known here": lambda h: h["trainer"]["model"].update(kind="Perceptron"),
    "this is no Affine": lambda h: h["trainer"]["model"]["layers"][0].pop("inputs"),
    "model.0.W is [4, 8], expected [4, 9]": lambda h: h["trainer"]["model"].update(
        layers=[{"kind": "Affine", "inputs": 4, "outputs": 9}]
    ),
    "this is no Trainer": lambda h: h["trainer"].update(loss={"same_as": 77}),
    "this is no Sequential": lambda h: h["trainer"].update(model={"kind": "Sequential"}),
    "the history makes no sense": lambda h: h["history"]["loss"].append(1.0),
    "the history makes no sense ": lambda h: h.update(steps_done=-1),
    "this is no Trainer: layer 0, Affine(4, 8)": lambda h: h.update(features=5),
    "is no trainer": lambda h: h.update(trainer={"kind": "ReLU"}),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, message):
    path = tmp_path / "net.safetensors"
    saved(path)
    rewritten(path, CHANGES[message])
    with pytest.raises(cr.FileError) as error:
        cr.load(path)
    assert message.strip() in str(error.value)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(cr.FileError, match=r"cannot write .*: No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_writing_where_one_cannot(tmp_path):
    with pytest.raises(cr.FileError, match="there is no folder"):
        write_whole(tmp_path / "none" / "file", b"")
    with pytest.raises(cr.FileError, match="is a folder, expected the name of a file"):
        write_whole(tmp_path, b"")
    with pytest.raises(cr.FileError, match="File name too long"):
        write_whole(tmp_path / ("n" * 300), b"")
    with pytest.raises(cr.FileError, match="cannot write"):
        write_whole(tmp_path / "a\0b", b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_and_devices_are_neither_replaced_nor_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(cr.FileError, match="is a device or a pipe"):
        write_whole(pipe, b"")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(cr.FileError, match="not a file"):
        cr.load(pipe)


def test_a_link_stays_and_its_file_is_written(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def left_behind(folder, name, data=b"half"):
    """What a writer of that file leaves when it is killed."""
    path = folder / f".chainrule-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}-abcdefgh"
    path.write_bytes(data)
    return path


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    left_behind(tmp_path, "file")
    of_another = left_behind(tmp_path, "other")
    (tmp_path / ".chainrule-notes").touch()
    write_whole(tmp_path / "file", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted([".chainrule-notes", of_another.name, "file"])


@pytest.mark.skipif(not CAN_LOCK, reason="needs locks")
def test_what_is_being_written_stays(tmp_path, monkeypatch):
    """Two writers at once: the second one begins, and ends, while the first one writes."""
    real = os.fsync

    def meanwhile(descriptor):
        monkeypatch.setattr(os, "fsync", real)
        write_whole(tmp_path / "file", b"second")
        assert len(os.listdir(tmp_path)) == 2
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_whole(tmp_path / "file", b"first")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not CAN_LOCK, reason="needs locks")
@pytest.mark.parametrize("moment", ["before the lock", "at the lock"])
def test_a_file_taken_for_abandoned_before_it_was_locked_is_begun_again(
    tmp_path, monkeypatch, moment
):
    real, calls = files.lock, []

    def late(descriptor):
        calls.append(descriptor)
        if len(calls) > 1:
            return real(descriptor)
        if moment == "at the lock":
            return False  # the other one has it, and removes the file later
        files.remove_abandoned(tmp_path)
        return real(descriptor)

    monkeypatch.setattr(files, "lock", late)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(calls) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_is_not_removed(tmp_path):
    os.mkfifo(left_behind(tmp_path, "file").with_suffix(".pipe"))
    left_behind(tmp_path, "file").with_suffix(".folder").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    left_behind(tmp_path, "file").with_suffix(".link").symlink_to(tmp_path / "mine")
    write_whole(tmp_path / "file", b"new")
    kept = {path.suffix for path in tmp_path.glob(".chainrule-*")}
    assert kept == {".pipe", ".folder", ".link"}
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_the_longest_name_can_be_written(tmp_path):
    write_whole(tmp_path / ("n" * 255), b"new")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("value", [np.float32(np.nan), np.int32(1), np.float64(1)])
def test_tensors_of_another_kind_are_refused(tmp_path, value):
    """Even with the right checksum."""
    path = tmp_path / "net.safetensors"
    saved(path)
    rewritten(path, lambda header: None, {"model.4.b": np.full(3, value, type(value))})
    with pytest.raises(cr.FileError, match=r"model\.4\.b (is|has)"):
        cr.load(path)
    trainer_file = tmp_path / "other.safetensors"
    saved(trainer_file)
    rewritten(trainer_file, lambda header: None, {"more": np.zeros(3, np.float32)})
    with pytest.raises(cr.FileError, match="more is no part of the model"):
        cr.load(trainer_file)


def test_plain_data_is_json_and_comes_back():
    spec = optim.Warmup(2, optim.Cosine(0.1))
    plain = to_plain(spec)
    assert json.loads(json.dumps(plain)) == plain
    back = from_plain(plain)
    assert (repr(back), dataclasses.asdict(back).keys()) == (
        repr(spec),
        {"epochs": 1, "then": 1}.keys(),
    )


# Equal content, and descriptions that make no sense ----------------------------------------------


def test_two_equal_trainings_write_the_same_bytes(tmp_path):
    written = []
    for i in range(3):
        path = tmp_path / f"{i}.safetensors"
        saved(path)
        written.append(path.read_bytes())
        cr.load(path).save(path)  # and so does one that was read
        written.append(path.read_bytes())
    assert len(set(written)) == 1


def test_strided_and_swapped_tensors_are_written_as_they_read(tmp_path):
    """safetensors 0.8 writes memory as it lies, under the shape that it has."""
    values = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.arange(4.0)[::2], "c": np.float64(2.0)}
    values |= {"d": np.arange(3.0).astype(">f8"), "e": np.zeros((0, 3))}
    values["c"] = np.asarray(values["c"])
    path = tmp_path / "file"
    path.write_bytes(model_file.encoded(b"{}", values, safetensors.numpy.save))
    found = safetensors.numpy.load_file(path)
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].shape == value.shape


def test_infinite_numbers_of_a_history_come_back(tmp_path):
    path = tmp_path / "net.safetensors"
    t = saved(path)
    t.history["val_loss"][:] = [np.inf, -np.inf]
    t.history["val_accuracy"][0] = np.nan
    t.save(path)
    back = cr.load(path).history
    assert back["val_loss"] == [np.inf, -np.inf]
    assert np.isnan(back["val_accuracy"][0])


def test_an_op_as_a_layer_is_saved_by_its_name(tmp_path):
    path = tmp_path / "net.safetensors"
    net = nn.Sequential(nn.Affine(4, 8), cr.tanh, nn.Affine(8, 3))
    t = cr.Trainer(net, "cross_entropy", "adam")
    t.fit(*rows(), epochs=1)
    t.save(path)
    back = cr.load(path)
    assert back.model[1].function is cr.tanh
    assert np.array_equal(back.predict(rows()[0]), t.predict(rows()[0]))
    for name in ("take", "nothing", "where"):
        rewritten(
            path, lambda h, name=name: h["trainer"]["model"]["layers"][1].update(function=name)
        )
        with pytest.raises(cr.FileError, match=f"function is '{name}', expected the name of an"):
            cr.load(path)


SCRIPT = """
import numpy as np, chainrule as cr
from chainrule import nn
class Swish(nn.Layer):
    beta: float = 1.0
    def __call__(self, x, context=nn.EVALUATION):
        return x * cr.sigmoid(x * self.beta)
if __name__ == "__main__":
    net = nn.Sequential(nn.Affine(3, 4), Swish(2.0), nn.Affine(4, 2))
    cr.Trainer(net, "cross_entropy", "adam").initialize(np.zeros((1, 3))).save("m")
"""


@pytest.mark.parametrize(
    ("module", "run"),
    [
        ("train_it", ["train_it.py"]),
        ("pack.train_it", ["-m", "pack.train_it"]),
        ("pack.train_it", ["pack/train_it.py"]),
    ],
    ids=["script", "module", "script of a package"],
)
def test_a_class_of_the_script_is_found_where_it_is_imported(tmp_path, module, run):
    """pytorch#7812: trained by a script, loaded by another that imports it."""
    path = tmp_path / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT)
    subprocess.run([sys.executable, *run], cwd=tmp_path, check=True)
    use = f"import chainrule as cr, {module}; print(cr.load('m').model[1])"
    found = subprocess.run(
        [sys.executable, "-c", use], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert found.stdout == "Swish(2.0)\n"
    about = described(tmp_path / "m")  # whose class is not at hand here
    assert "Swish(beta=2.0)" in about.facts()["model"]
    assert [list(values) for _, values in about.layers()] == [["W", "b"], [], ["W", "b"]]


NONSENSE = {
    "a kind is \\['ReLU'\\], expected the name of a class": ["ReLU"],
    "a kind is \\{'a': 1\\}, expected the name of a class": {"a": 1},
    "a part is of the kind Layer, which is only a base": "Layer",
    "a part is of the kind Optimizer, which is only a base": "Optimizer",
    "layers is Cosine\\(.*expected Layer": "Cosine",
    "layers is MeanSquaredError\\(.*expected Layer": "MeanSquaredError",
    "layers is SGD\\(.*expected Layer": "SGD",
}


@pytest.mark.parametrize("message", NONSENSE)
def test_a_part_that_is_no_layer_is_refused(tmp_path, message):
    path = tmp_path / "net.safetensors"
    saved(path)
    kind = NONSENSE[message]
    part = {"kind": kind} | ({"start": 0.1} if kind == "Cosine" else {})
    rewritten(path, lambda h: h["trainer"]["model"]["layers"].insert(0, part))
    with pytest.raises(cr.FileError, match=message):
        cr.load(path)


@pytest.mark.parametrize("depth", [200, 450, 5000])
def test_layers_too_deep_for_python_are_refused(tmp_path, depth):
    path = tmp_path / "net.safetensors"
    saved(path)
    part = layer = {"kind": "ReLU"}
    for _ in range(min(depth, 450)):
        part = {"kind": "Residual", "body": part}
    rewritten(path, lambda h: h["trainer"]["model"]["layers"].append(part))
    with pytest.raises(cr.FileError, match="layers lie within layers, deeper than 100"):
        cr.load(path)
    layer = nn.ReLU()
    for _ in range(depth if depth < 450 else 150):
        layer = nn.Residual(layer)
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 3), layer), "cross_entropy", "sgd")
    with pytest.warns(cr.Advice, match="not saved: layers lie within layers 101 deep"):
        t.fit(*rows(), epochs=1)


@pytest.mark.parametrize("width", [2**31 - 1, 10**6])
def test_a_width_that_the_tensors_do_not_have_takes_no_memory(tmp_path, width):
    resource = pytest.importorskip("resource")
    path = tmp_path / "net.safetensors"
    saved(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rewritten(path, lambda h: h["trainer"]["model"]["layers"][4].update(inputs=width))
    with pytest.raises(cr.FileError, match=r"model.4.W is \[8, 3\], expected"):
        cr.load(path)
    rewritten(path, lambda h: h["trainer"]["model"]["layers"][4].update(outputs=width))
    with pytest.raises(cr.FileError, match=r"expected \[|numbers at most"):
        cr.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # KB


@pytest.mark.parametrize("weights", ["abc", ["a", "b", "c"], [1, 2], {"kind": "ReLU"}, [[1], [2]]])
def test_class_weights_that_are_none_are_refused(tmp_path, weights):
    path = tmp_path / "net.safetensors"
    saved(path)
    rewritten(path, lambda h: h["trainer"]["loss"].update(class_weight=weights))
    with pytest.raises(cr.FileError):
        cr.load(path)


def test_notes_named_like_facts_replace_none(tmp_path):
    path = tmp_path / "net.safetensors"
    t = saved(path)
    names = ("parameters", "history", "file", "epochs", "model", "test", "last epoch")
    t.notes = dict.fromkeys(names, "a note")
    t.save(path)
    facts = described(path).facts()
    assert facts["epochs"] == 2
    assert facts["parameters"] == t.model.parameter_count
    assert facts["notes"] == t.notes
    assert cr.load(path).notes == t.notes


def test_a_file_of_the_first_format_says_so(tmp_path):
    path = tmp_path / "net.safetensors"
    metadata = {"chainrule": "{}", "sha256": "0" * 64}
    safetensors.numpy.save_file({"model.W": np.zeros(3, np.float32)}, path, metadata)
    with pytest.raises(cr.FileError, match="of an early version of chainrule: train the model ag"):
        cr.load(path)


def test_an_initialized_model_can_be_saved(tmp_path):
    path = tmp_path / "net.safetensors"
    t = trainer().initialize(rows()[0])
    t.save(path)
    assert np.array_equal(cr.load(path).predict(rows()[0]), t.predict(rows()[0]))


class OwnInit(nn.Layer):
    """A layer without fields: a file cannot give it back."""

    def __init__(self, width):
        self.W = cr.parameter(np.ones((width, width)))

    def __call__(self, x, context=nn.EVALUATION):
        return x @ self.W


class OwnLoss(nn.Loss):
    """A loss whose constructor takes nothing."""

    def __init__(self):
        self.scale = 2.0

    def rows(self, Y, T):
        return self.scale * ((Y - T) * (Y - T)).mean(axis=1)


def test_a_layer_that_no_file_gives_back_is_told_of_before_training(tmp_path):
    X, y = rows()
    t = cr.Trainer(nn.Sequential(OwnInit(4), nn.Affine(4, 3)), "cross_entropy", "adam")
    with pytest.warns(cr.Advice, match="not saved: model could not be loaded .*OwnInit"):
        t.fit(X, y, epochs=1)
    with pytest.raises(cr.InputError, match="model could not be loaded from a file: this is no"):
        t.save(tmp_path / "net.safetensors")


def test_a_loss_with_a_constructor_of_its_own_is_loaded(tmp_path):
    path = tmp_path / "net.safetensors"
    X, y = rows()
    t = cr.Trainer(nn.Sequential(nn.Affine(4, 1)), OwnLoss(), "adam")
    t.fit(X, y.astype(float), epochs=1)
    t.save(path)
    assert cr.load(path).loss.scale == 2.0


def test_what_nobody_trained_is_not_saved(tmp_path):
    t = trainer()
    with pytest.warns(cr.Advice, match="has its initial values"):
        t.predict(rows()[0])
    with pytest.raises(cr.InputError, match=r"fit first, or take .* trainer.initialize\(X\)"):
        t.save(tmp_path / "net.safetensors")
