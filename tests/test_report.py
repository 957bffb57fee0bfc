"""The report: what it says of any study, that it needs nothing else, and what it refuses."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.cli.main import status
from chainrule.errors import FileError
from chainrule.report import pictures
from chainrule.report.findings import read
from chainrule.report.importance import importance
from chainrule.report.model import render as render_model
from chainrule.report.sampling import some_trials, spread
from chainrule.report.scales import Scale, plain, scale_for, scale_of
from chainrule.report.study import render
from chainrule.search import Choice, Integer, LogUniform, Search, SecondLook, Uniform, When
from chainrule.search.space import draw
from chainrule.search.study import Json, Study
from chainrule.spec import to_plain

EVIL = "</title><script>alert('x')</script> & $x^2$"
SPACE = {
    "lr": LogUniform(1e-3, 1e0),
    "layers": Integer(1, 2),
    "width_2": When("layers", [2], Integer(4, 16, log=True)),
    "bias": Choice([True, False]),
    "kind": Choice(["tanh", EVIL, None]),
    "unused": Uniform(0.0, 1.0),
}


def data(rows=160):
    X = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def build(settings):
    width = settings.get("width_2", 8)
    net = nn.Sequential(nn.Affine(2, width), nn.Tanh(), nn.Affine(width, 2))
    return cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.Momentum(lr=settings["lr"]))


def search(path, **options):
    given = dict(trials=40, epochs=9, batch_size=40, round_size=12, seed=3, threads=2, study=path)
    return Search(options.pop("build", build), options.pop("space", SPACE), **(given | options))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("studies") / "finished.db"
    X, y = data()
    result = search(path).run(X, y)
    result.test(*data(60))
    with pytest.warns(SecondLook):
        result.test(*data(60))
    result.close()
    return path, result


def written(path, trials, facts=(), rounds=1, space=SPACE):
    """A study without a search: of each trial status, scores at rungs."""
    study, random = Study(path), np.random.default_rng(0)
    rows = [("study", {"key": key, "value": Json(value)}) for key, value in dict(facts).items()]
    plain_space = Json({name: to_plain(parameter) for name, parameter in space.items()})
    for number in range(rounds):
        reasons = Json({"lr": f"why {number}"} if number else {})
        rows.append(("rounds", {"number": number, "space": plain_space, "reasons": reasons}))
    for number, (state, scores) in enumerate(trials):
        settings = Json(dict(draw(space, random.random(len(space)))))
        row = {"number": number, "round": number * rounds // len(trials), "settings": settings}
        rows.append(("trials", row | {"status": state, "reason": f"{EVIL} {number % 2}"}))
        for rung, score in enumerate(scores):
            row = {"trial": number, "rung": rung, "epochs": 3**rung, "seconds": number / 10}
            rows.append(("rungs", row | {"score": score, "loss": 1.0}))
    study.write(rows)
    study.close()
    return path


def changed(path, *statements):
    """The file, after SQL statements, each with its values."""
    db = sqlite3.connect(path)
    for statement, *values in statements:
        db.execute(statement, values)
    db.commit()
    db.close()
    return path


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, text):
        self.words.append(text)


def page_of(path):
    return Page(render(read(path)))


# What it says -----------------------------------------------------------------------------------


def test_findings_agree_with_the_result_of_the_search(finished):
    path, result = finished
    found = read(path)
    assert found.metric == "accuracy"
    assert found.facts["validation_rows"] == 32
    assert found.flattery == pytest.approx(result.flattery)
    assert found.ranking[0].score == pytest.approx(result.best_score)
    assert [t.number for t in found.ranking] == [t.number for t in result.plan.best()]
    assert found.counts["done"] == result.plan.counts["done"]
    assert found.names == list(SPACE)
    assert str(found.rounds[0].ranges["width_2"]) == "4 to 16"
    assert found.rounds[0].ranges["width_2"].condition == "layers is 2"


def test_the_page_of_a_finished_study_has_all_of_it(finished):
    path, result = finished
    page = page_of(path)
    for words in (
        "test accuracy", "may flatter by", "looked at 2 times", "The 20 best trials",
        f"settings of trial {result.best.number}", "permutation importance",
        f"{result.plan.counts['abandoned']} abandoned", read(path).facts["data"],
        f"numpy {np.__version__}", "Why its range changed", "good trials",
    ):  # fmt: skip
        assert words in page.text, words
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert "Trials as lines through all settings" in labels
    assert {"lr and accuracy", "Best accuracy so far over seconds"} <= set(labels)
    assert page.tags.count("svg") == page.tags.count("title") - 1


def test_the_page_needs_nothing_else_and_runs_nothing(finished):
    text = render(read(finished[0]))
    page = Page(text)
    assert not re.search(r"https?:", text)
    assert not {"script", "link", "img", "iframe", "object", "use:"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in ("href", "src") or value.startswith("#")
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_ids_are_unique_and_all_references_are_answered(finished):
    page = page_of(finished[0])
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    text = render(read(finished[0]))
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text)) <= set(ids)


def test_a_report_is_the_same_again(finished):
    assert render(read(finished[0])) == render(read(finished[0]))


def test_text_of_the_study_stays_text(tmp_path):
    space = {EVIL: Choice([EVIL, "b"]), "lr": LogUniform(1e-3, 1.0), "\x00\u202e": Uniform(0, 1)}
    trials = [("done", [0.5, 0.75]), ("failed", []), ("abandoned", [0.25])]
    facts = {"data": EVIL, "metric": EVIL, "best": EVIL, "versions": {EVIL: EVIL}}
    path = written(tmp_path / "a.db", trials, facts, space=space)
    look = "INSERT INTO looks VALUES (1, ?, ?)", EVIL, json.dumps({EVIL: 1.0})
    changed(path, look, ("INSERT INTO final VALUES (1, ?, 0.5)", EVIL))
    text = render(read(path))
    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.tags
    assert EVIL in page.text
    assert page.text.count("$x^2$") > 10  # no formula either
    assert "\x00" not in text


def test_an_unfinished_study_says_so(tmp_path, finished):
    trials = [("done", [0.5, 0.75]), ("abandoned", [0.25]), ("running", [0.5]), ("running", [])]
    page = page_of(written(tmp_path / "a.db", trials))
    assert "has not ended, or was interrupted" in page.text
    assert "no final model" in page.text
    assert "1 done, 1 abandoned, 0 failed, 2 not ended" in page.text
    assert "too few trials" in page.text


def test_a_study_is_read_while_a_search_writes_it(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])])
    study = Study(path)
    study.note(scored_by="accuracy")
    assert read(path).metric == "accuracy"
    study.close()


def test_a_study_that_nobody_writes_is_read_without_a_trace(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])])
    before = path.read_bytes()
    read(path)
    assert os.listdir(tmp_path) == ["a.db"]
    assert path.read_bytes() == before


def test_a_study_where_all_fail_tells_why(tmp_path):
    page = page_of(written(tmp_path / "a.db", [("failed", [])] * 12))
    assert "No trial came to a score" in page.text
    assert f"6 × {EVIL} 0" in page.text
    assert "svg" not in page.tags


def test_a_study_of_nothing_says_so(tmp_path):
    assert "holds no trial yet" in page_of(written(tmp_path / "a.db", [])).text


def test_one_trial_is_enough(tmp_path):
    X, y = data()
    search(tmp_path / "a.db", trials=1, epochs=1).run(X, y).close()
    page = page_of(tmp_path / "a.db")
    assert "1 trial in 1 round: 1 done" in page.text
    assert "The best trial" in page.text
    assert "Only one trial has a score" in page.text
    assert "has not been measured on test rows" in page.text


def test_thousands_of_trials_make_a_small_page(tmp_path):
    random = np.random.default_rng(1)
    kinds = [("abandoned", 1), ("abandoned", 2), ("done", 3), ("failed", 1)]
    trials = [
        (kinds[i % 4][0], list(random.integers(1, 289, kinds[i % 4][1]) / 288)) for i in range(6000)
    ]
    text = render(read(written(tmp_path / "a.db", trials, rounds=200)))
    assert len(text) < 2_000_000
    assert "Of 4,500 trials with a score, 300 curves are drawn" in Page(text).text
    assert "(199 times, 60 of them here)" in Page(text).text


def test_losses_far_apart_and_missing_are_drawn(tmp_path):
    trials = [("done", [1e300, 2.0]), ("done", [None, 1e-3]), ("abandoned", [None])]
    path = written(tmp_path / "a.db", trials, {"scored_by": "rmse"})
    found = read(path)
    assert [t.number for t in found.ranking] == [1, 0]
    assert found.flattery is None


def test_leaders_measured_again_are_told(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5]), ("done", [0.75])], {"best": 0})
    for row in [(0, 1, 0.875), (0, 2, 0.625), (1, 1, None)]:
        changed(path, ("INSERT INTO splits VALUES (?, ?, ?, 1)", *row))
    assert "0 0.5 0.75 2 1 0.75 could not be trained 1" in page_of(path).text


def test_the_seconds_of_a_resumed_search_go_on(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])] * 3)
    changed(path, ("UPDATE rungs SET seconds = CASE trial WHEN 0 THEN 5 ELSE trial END",))
    assert [t.rungs[0].seconds for t in read(path).trials] == [5.0, 6.0, 7.0]


# Its parts --------------------------------------------------------------------------------------


def test_importance_finds_the_setting_that_matters(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])] * 200)
    rate = "SELECT json_extract(settings, '$.lr') FROM trials WHERE number = trial"
    changed(path, (f"UPDATE rungs SET score = ({rate})",))
    found = importance(read(path))
    assert max(found.drops, key=found.drops.get) == "lr"
    assert found.explained > 0.8
    assert abs(found.drops["unused"]) < 0.05


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (Scale(0.0, 0.5), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (Scale(1, 3), ["1", "2", "3"]),
        (Scale(1e-8, 1e-2, log=True), ["1e-08", "1e-06", "0.0001", "0.01"]),
        (Scale(16, 256, log=True), ["20", "50", "100", "200"]),
        (Scale(options=(True, None, "a\tb")), ["True", "None", "a�b"]),
    ],
)
def test_ticks(scale, labels):
    assert [text for _, text in scale.ticks()] == labels
    assert all(0 <= place <= 1 for place, _ in scale.ticks())


def test_a_scale_has_room_for_what_was_drawn(finished):
    found = read(finished[0])
    for name in found.names:
        scale = scale_of(name, found)
        places = [scale.place(t.settings[name]) for t in found.trials if name in t.settings]
        assert min(places) >= 0
        assert max(places) <= 1


@pytest.mark.parametrize("value", [0, 5e-324, 1e-9, 0.75, -3, 7, 1e99, 1e308])
def test_one_value_alone_has_a_scale(value):
    for log in (False, True):
        scale = scale_for([value], log)
        assert scale.low < scale.high
        assert len(scale.ticks()) > 1
        assert value == 1e308 or 0 < scale.place(value) < 1


def test_long_text_is_cut_by_its_width():
    assert plain("x" * 30, 10) == "x" * 9 + "…"
    assert plain("長" * 30, 10) == "長" * 4 + "…"
    assert plain(0.000123456) == "0.0001235"


def test_what_is_left_out_is_spread_evenly(finished):
    assert spread(range(3), 5) == [0, 1, 2]
    found = read(finished[0])
    some = some_trials(found, 25)
    assert len({trial.number for trial in some}) == 25
    assert some[-20:] == found.ranking[:20][::-1]


def test_a_picture_takes_the_colours_of_the_page(finished):
    with pictures.look():
        svg = pictures.curves(read(finished[0]))
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}", svg)


# The command line -------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = status(["report", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_the_command_writes_the_page(run, tmp_path, finished):
    shutil.copy(finished[0], "a.db")
    assert run("a.db") == (0, "report: a.html\n", "")
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    code, out, _ = run("a.db", "--out", "b.html", "--json")
    assert code == 0
    assert json.loads(out)["out"] == "b.html"
    assert json.loads(out)["trials"]["failed"] == 0
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()


def spoilt(statement):
    return lambda path: changed(written(path, [("done", [0.5])]), (statement,))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: path.write_text("lr,score\n" * 999), "damaged or no study"),
        (lambda path: path.write_bytes(b""), "no study of chainrule"),
        (lambda path: changed(path, ("CREATE TABLE x (y)",)), "no study of chainrule"),
        (spoilt("PRAGMA user_version = 9"), "format 9, from a newer chainrule"),
        (spoilt("DROP TABLE rungs"), "damaged or no study: no such table"),
        (spoilt("UPDATE trials SET settings = '{'"), "damaged or no study"),
        (spoilt("UPDATE trials SET settings = '[1]'"), "damaged or no study"),
        (spoilt("UPDATE trials SET status = 'lost'"), "damaged or no study"),
        (spoilt("UPDATE rounds SET space = '7'"), "damaged or no study"),
        (spoilt("UPDATE rungs SET score = 'good'"), "damaged or no study"),
    ],
)
def test_what_is_no_study_is_refused(run, tmp_path, spoil, message):
    spoil(tmp_path / "a.db")
    code, out, err = run("a.db")
    assert (code, out) == (2, "")
    assert "a.db" in err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "a.html").exists()


def test_a_torn_file_is_refused(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])] * 200)
    whole = path.read_bytes()
    for length in range(100, len(whole), 4096 + 17):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match="damaged"):
            read(path)


@pytest.mark.parametrize(
    ("out", "message"),
    [("no/a.html", "there is no folder"), (".", "is a folder"), ("a.db", "is the file itself")],
)
def test_a_page_that_cannot_be_written_is_refused_first(run, tmp_path, out, message):
    before = written(tmp_path / "a.db", [("done", [0.5])]).read_bytes()
    code, _, err = run("a.db", "--out", out)
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_without_the_extra_it_says_what_to_install(tmp_path, missing):
    written(tmp_path / "a.db", [("done", [0.5])])
    code = f"import sys; sys.modules[{missing!r}] = None; from chainrule.cli.main import run; "
    done = subprocess.run(
        [sys.executable, "-c", code + "run(['report', 'a.db'])"],
        check=False, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        f"chainrule: report needs {missing}, which is not there: pip install 'chainrule[report]', "
        "or in a clone of it: pip install '.[report]'\n"
    )


def test_letters_that_no_font_has_warn_nobody(tmp_path):
    path = written(tmp_path / "a.db", [("done", [0.5])], space={"長い名前": Uniform(0.0, 1.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "長い名前" in page_of(path).text


# A model file -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.safetensors"
    X, y = data()
    net = nn.Sequential(nn.Affine(2, 8), nn.BatchNorm(8), nn.Tanh(), nn.Affine(8, 2))
    trainer = cr.Trainer(net, nn.SoftmaxCrossEntropy(), optim.SGD(0.1))
    trainer.fit(X, y, epochs=4, validation_data=(X, y))
    trainer.notes = {"test": {"accuracy": 0.625}, "source": EVIL}
    trainer.save(path)
    return path


def test_a_model_s_page_shows_how_it_learned(model):
    page = Page(render_model(model))
    assert "0.625 test accuracy" in page.text
    assert "validation loss, last epoch" in page.text
    assert "running_variance 8" in page.text
    assert page.tags.count("svg") == 2
    assert "script" not in page.tags
    assert EVIL in page.text


def test_a_model_without_a_test_says_so(model, tmp_path):
    trainer = cr.load(model)
    trainer.notes = {}
    trainer.save(tmp_path / "net")
    assert "holds no test score" in Page(render_model(tmp_path / "net")).text


def test_the_command_tells_a_model_from_a_study(model, finished, tmp_path, capsys):
    for file, words in ((model, "a model"), (finished[0], "report of a search")):
        out = str(tmp_path / "page.html")
        assert status(["report", str(file), "--out", out]) == 0
        with open(out, encoding="utf-8") as page:
            assert words in Page(page.read()).text
    damaged = tmp_path / "damaged"
    damaged.write_bytes(model.read_bytes()[:-7])
    assert status(["report", str(damaged), "--out", out]) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_page_replaces_only_a_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(["train", "digits", "--epochs", "1", "--hidden", "4", "--quiet"]) == 0
    notes = tmp_path / "notes.html"
    notes.write_text("<html>mine</html>")
    assert status(["report", "digits.safetensors", "--out", "notes.html"]) == 2
    assert notes.read_text() == "<html>mine</html>"
    for _ in range(2):
        assert status(["report", "digits.safetensors", "--out", "new.html"]) == 0
