"""The command line, run as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from test_data import LAYOUTS, renamed, write_folder

import chainrule as cr
from chainrule.cli.main import main, status
from chainrule.nn.build import ACTIVATIONS
from chainrule.nn.initial import NAMED
from chainrule.optim.named import OPTIMIZERS, SCHEDULES


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder: its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = status([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def process(*arguments, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_digits_reach_the_promised_accuracy_in_time(run, tmp_path, engine):
    started = time.perf_counter()
    code, out, err = run("train", "digits", "--engine", engine)
    assert code == 0
    accuracy = float(re.search(r"test: .*accuracy ([\d.]+) \(359 rows", out)[1])
    assert accuracy >= 0.97
    assert time.perf_counter() - started < 15
    assert "model: digits.safetensors" in out
    assert "val accuracy" in err
    assert len(re.findall(r"^ +\d+ +[\d.]+", err, re.MULTILINE)) == 30
    assert cr.load(tmp_path / "digits.safetensors").notes["test"]["accuracy"] >= 0.97


def test_a_folder_trains_and_its_model_can_be_inspected_and_resumed(run, tmp_path):
    (tmp_path / "bars").mkdir()
    write_folder(tmp_path / "bars", images=200, test=50, compress=True)
    code, out, err = run("train", "bars", "--hidden", "16", "--epochs", "20", "--batch-size", 20)
    assert (code, "accuracy 1.0000" in out) == (0, True)
    code, out, err = run("inspect", "bars.safetensors")
    assert code == 0
    for words in ("Affine(25, 16)", "running_variance", "epochs: 20", "source: bars"):
        assert words in out
    code, out, err = run("train", "bars", "--resume", "bars.safetensors", "--epochs", "2", "--json")
    result = json.loads(out)
    assert len(result["history"]["loss"]) == 22
    assert result["rows"] == {"train": 180, "validation": 20, "test": 50}
    code, out, err = run("inspect", "bars.safetensors", "--json")
    assert (code, json.loads(out)["epochs"], err) == (0, 22, "")


def test_json_is_one_object_and_quiet_is_quiet(run):
    code, out, err = run("train", "digits", "--epochs", 1, "--hidden", 0, "--quiet", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["command"] == "train"
    assert set(result["test"]) == {"loss", "accuracy"}
    assert result["parameters"] == 650


def test_the_same_seed_gives_the_same_file(run, tmp_path):
    for name in ("a", "b"):
        run("train", "digits", "--epochs", 2, "--out", name, "--quiet", "--seed", 5)
    a, b = (cr.load(tmp_path / name).weights() for name in ("a", "b"))
    assert all((a[name] == b[name]).all() for name in a)


def test_what_is_to_know_of_images_is_told(run, tmp_path):
    renamed(tmp_path / "emnist", LAYOUTS["EMNIST"])
    for command in ("train --hidden 0", "search --trials 1 --no-abandon"):
        code, _, err = run(*command.split(), "emnist", "--epochs", 1)
        assert code == 0
        assert "EMNIST's images are stored transposed" in err


CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "activation": ACTIVATIONS, "init": NAMED}


@pytest.mark.parametrize(
    ("option", "choice"), [(option, name) for option, names in CHOICES.items() for name in names]
)
def test_every_choice_of_the_options_runs(run, option, choice):
    options = "--epochs 1 --hidden 8 --weight-decay 1e-4 --clip-norm 1 --no-batch-norm --quiet"
    code, _, err = run("train", "digits", *options.split(), f"--{option}", choice)
    assert (code, err) == (0, "")


def test_patience_stops_early(run):
    code, _, err = run("train", "digits", "--patience", 1, "--lr", 0.1, "--epochs", 200)
    assert code == 0
    assert "val_loss was best in epoch" in err


WRONG = {
    "nope: no such folder; embedded data sets are: digits": "train nope",
    "--dropout is 1.2, not in [0, 1)": "train digits --dropout 1.2",
    "--dropout is 'x', expected a number in [0, 1)": "train digits --dropout x",
    "--batch-size is 0, not in [1, 2147483647]": "train digits --batch-size 0",
    "--epochs is '2.5', expected a whole number in [1, 2147483647]": "train digits --epochs 2.5",
    "--lr is nan, not in [0, inf)": "train digits --lr nan",
    "--hidden is '3,,4', expected widths such as 256,128": "train digits --hidden 3,,4",
    "--seed is -1, not in [0, 4294967295]": "train digits --seed -1",
    "cannot write none/model: there is no folder none": "train digits --out none/model",
    ". is a folder, expected the name of a file to write": "train digits --out .",
    "there is no train-images-idx3-ubyte": "train .",
    "'--optimizer': 'adma' is not one of": "train digits --optimizer adma",
    "No such command 'trian'. Did you mean 'train'?": "trian digits",
    "No such option '--epoch'": "train digits --epoch 3",
    "Missing argument 'SOURCE'": "train",
    "none.safetensors: there is no such file": "inspect none.safetensors",
    "none: there is no such file": "train digits --resume none",
    "--lr cannot be changed with --resume": "train digits --resume none --lr 1",
    "a share of 0.0001 of 1438 rows is 0": "train digits --validation 0.0001",
    "--hidden is 3000000000, not in [1, 2147483647]": "train digits --hidden 3000000000",
    "--patience needs validation rows": "train digits --patience 1 --validation 0",
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_one_line_and_status_2(run, tmp_path, message):
    code, out, err = run(*WRONG[message].split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("chainrule: ")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_resumed_model_must_fit_the_data(run, tmp_path):
    (tmp_path / "bars").mkdir()
    write_folder(tmp_path / "bars")
    run("train", "digits", "--epochs", 1, "--quiet")
    code, out, _ = run("train", "digits", "--epochs", 1, "--resume", "digits.safetensors")
    assert (code, "model: digits.safetensors" in out) == (0, True)
    before = (tmp_path / "digits.safetensors").read_bytes()
    code, _, err = run(
        "train", "bars", "--resume", "digits.safetensors", "--out", "digits.safetensors"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "a model for 64 features, but bars has 25" in err
    assert (tmp_path / "digits.safetensors").read_bytes() == before


def test_divergence_is_status_1_and_one_line(run, tmp_path):
    options = "--optimizer sgd --lr 1e9 --no-batch-norm --quiet"
    code, out, err = run("train", "digits", *options.split())
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "training diverged in epoch 1 at step" in err
    assert os.listdir(tmp_path) == []


def test_a_resumed_model_is_written_back_to_its_file(run, tmp_path):
    run("train", "digits", "--epochs", 1, "--quiet", "--out", "mine")
    code, out, _ = run("train", "digits", "--epochs", 1, "--quiet", "--resume", "mine")
    assert (code, "model: mine" in out) == (0, True)
    assert cr.load(tmp_path / "mine").history.epochs == 2
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_an_output_that_is_full_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "chainrule", "--help"]
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (child.returncode, child.stderr.count("\n")) == (1, 1)
    assert "the output cannot be written: No space left on device" in child.stderr


def test_words_of_an_ascii_terminal(run, tmp_path):
    run("train", "digits", "--epochs", 1, "--quiet")
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    with process("inspect", "digits.safetensors", cwd=tmp_path, env=ascii_only) as child:
        out, err = child.communicate()
    assert (child.returncode, err) == (0, "")
    assert "64 ? 256" in out


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_model_and_says_so(tmp_path, number):
    child = process("train", "digits", "--epochs", 100000, cwd=tmp_path)
    lines = []
    while not any(line.startswith("     3") for line in lines):
        lines.append(child.stderr.readline())
        assert child.poll() is None
    child.send_signal(number)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1
    assert re.search(r"interrupted (in|after) epoch \d+", err)
    assert "Traceback" not in err
    assert "model: digits.safetensors" in out
    assert cr.load(tmp_path / "digits.safetensors").history.epochs >= 3


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    with process("train", "digits", "--epochs", 1, "--json", "--quiet", cwd=tmp_path) as child:
        child.stdout.close()
        err = child.stderr.read()
    assert "Traceback" not in err


def test_help_names_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"\n  {name} " in out for name in main.commands)
    assert run("train", "--help")[0] == 0
    assert run("--version")[1].startswith("chainrule, version ")


# Search -----------------------------------------------------------------------------------------


def test_a_search_finds_a_network_and_tests_it_once(run, tmp_path):
    code, out, err = run("search", "digits", "--trials", "12", "--epochs", "6", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["validation"]["trials"] == 12
    assert found["validation"]["may_flatter_by"] > 0
    assert found["test"]["accuracy"] > 0.9
    model = cr.load(tmp_path / "digits-best.safetensors")
    assert model.notes["test"] == found["test"]
    assert "359 locked away" in err
    code, _, err = run("search", "digits", "--trials", "12", "--epochs", "6")
    assert code == 2
    assert "digits.db: there is a study already" in err
    code, out, err = run("search", "digits", "--trials", "14", "--epochs", "6", "--resume")
    assert code == 0
    assert "the best of 14 trials, which may flatter by" in out
    assert "look number 2 at test rows: choose nothing by it" in err


def test_a_study_goes_on_with_its_own_options(run, tmp_path):
    begun = "--trials 4 --epochs 2 --no-abandon --no-narrow --validation 0.3 --seed 7"
    assert run("search", "digits", *begun.split(), "--study", "mine.db", "--quiet")[0] == 0
    assert (tmp_path / "mine-best.safetensors").exists()
    code, out, _ = run("search", "digits", "--trials", 5, "--resume", "--study", "mine.db")
    assert (code, "the best of 5 trials" in out) == (0, True)
    assert "model: mine-best.safetensors" in out
    code, _, err = run(
        "search", "digits", "--trials", 6, "--resume", "--study", "mine.db", "--epochs", 3
    )
    assert (code, "mine.db: this study has epochs 2, not 3" in err) == (2, True)


def test_inspect_of_a_study_says_what_shows_it(run):
    run("search", "digits", "--trials", 1, "--epochs", 1, "--no-abandon", "--quiet")
    code, out, err = run("inspect", "digits.db")
    assert (code, out) == (2, "")
    assert err == "chainrule: digits.db: a study, not a model: `chainrule report` shows it\n"


def test_a_model_that_is_replaced_is_told_of(run):
    train = ["train", "digits", "--epochs", "2", "--hidden", "8"]
    _, out, err = run(*train)
    assert "replaced" not in err
    test = re.search(r"test: (loss [\d.]+, accuracy [\d.]+)", out)[1]
    _, _, err = run(*train)
    assert f"digits.safetensors will be replaced: it has 2 epochs; test: {test}\n" in err
    _, _, err = run("train", "digits", "--resume", "digits.safetensors", "--epochs", 1)
    assert "replaced" not in err


def test_rows_that_were_learned_from_validate_nothing(run, tmp_path):
    train = ["train", "digits", "--hidden", "8", "--epochs", "1", "--json"]

    def rows(*options):
        code, out, err = run(*train[:2], *train[4:], "--resume", "digits.safetensors", *options)
        return json.loads(out)["rows"] if code == 0 else err

    run(*train, "--validation", 0.3)
    held = rows()
    assert held["validation"] == 431 == rows("--validation", 0.3)["validation"]
    told = "--validation cannot be 0.1 with --resume: digits.safetensors held out 0.3 of the rows"
    assert told in rows("--validation", 0.1)
    assert rows("--validation", 0)["validation"] == 0 == rows()["validation"]
    assert "held out 0.0 of the rows" in rows("--validation", 0.3)
    assert "--patience needs validation rows, and --validation is 0" in rows("--patience", 3)
    assert cr.load(tmp_path / "digits.safetensors").history.epochs == 5


def test_a_model_of_other_data_is_not_replaced(run, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_folder(tmp_path / name, images=100, test=20)
    assert run("train", "a", "--hidden", 8, "--epochs", 1)[0] == 0
    before = (tmp_path / "a.safetensors").read_bytes()
    resume = ["train", "b", "--resume", "a.safetensors", "--epochs", "1"]
    code, _, err = run(*resume)
    assert (code, "a.safetensors was trained on a, not b: it is not replaced" in err) == (2, True)
    assert (tmp_path / "a.safetensors").read_bytes() == before
    code, out, _ = run(*resume, "--out", "b.safetensors", "--validation", 0.2)
    assert (code, "model: b.safetensors" in out) == (0, True)
    other = cr.load(tmp_path / "a.safetensors")
    other.notes = {}
    other.save(tmp_path / "mine.safetensors")
    code, _, err = run("train", "a", "--resume", "mine.safetensors", "--epochs", 1)
    assert (code, "mine.safetensors is there, and not made by `chainrule train`" in err) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "--minutes is 0.0, not in (0, inf)"),
        (["--trials", "x"], "--trials is 'x', expected a whole number"),
        (["--validation", "0"], "--validation is 0, but trials"),
        (["--study", "nowhere/x.db"], "cannot write nowhere/x.db: there is no folder nowhere"),
        (["--study", "."], ". is a folder"),
        (["--resume"], "digits.db: there is no such file"),
        (["--out", "."], ". is a folder"),
        (["--study", "a.db", "--out", "./a.db"], "--out is './a.db', which is the study itself"),
        (["--average", "0"], "--average is 0, not in [1, 2147483647]"),
        (["--draw", "lots"], "'lots' is not one of"),
    ],
)
def test_a_search_that_makes_no_sense_is_status_2(run, tmp_path, words, message):
    code, out, err = run("search", "digits", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_in_a_search_keeps_the_study(tmp_path):
    search = process("search", "digits", "--minutes", "5", "--quiet", cwd=tmp_path)
    while not (tmp_path / "digits.db").exists():
        time.sleep(0.02)
    time.sleep(1.0)
    search.send_signal(signal.SIGINT)
    out, err = search.communicate(timeout=30)
    assert search.returncode == 1
    way_out = "go on with --resume --study digits.db, and with --finish too for the model"
    assert err == f"chainrule: interrupted; {way_out} of the trials so far\n"
    assert out == ""
