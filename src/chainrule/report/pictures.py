"""Pictures of a search or a model, as SVG that lies in a page and takes the page's colours."""

from __future__ import annotations

import contextlib
import html
import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .findings import Findings, Trial
from .importance import Importance
from .sampling import some_trials, spread
from .scales import Scale, plain, scale_for, score_scale

WIDTH = 360
"""Points; a page that is narrower makes the letters smaller."""

CURVES, LINES, POINTS, ALL_POINTS = 300, 200, 800, 8000
"""The most trials drawn as curves, as lines over all settings, as points in one picture or all."""

ROUNDS = 40
"""The most rounds whose range is drawn."""

STEPS = 6
"""Colours from the first round to the last one, and from bad to good."""

NAMES = ("ink", "muted", "grid", "accent", "bad", *(f"step{i}" for i in range(STEPS)))
PAINT = {name: f"#0b0e{i:02x}" for i, name in enumerate(NAMES)}
"""Colours that Matplotlib draws with; in the page they are CSS variables of those names."""

RC: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "chainrule", "text.parse_math": False,
    "font.family": "sans-serif", "font.size": 11, "path.simplify": False,
}  # fmt: skip


@contextlib.contextmanager
def look() -> Iterator[None]:
    """All pictures are made within this: Matplotlib asks for its settings at every step."""
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that a font lacks; the browser has others
        yield


def progress(findings: Findings, over: str) -> str:
    """The best score so far, of trials that came furthest; `over` is "seconds" or "trials"."""
    at = {t.number: t.rungs[-1].seconds if over == "seconds" else t.number
          for t in findings.ranking}  # fmt: skip
    finished = sorted(findings.finished, key=lambda trial: at[trial.number])
    better: list[Trial] = []
    for trial in finished:
        if not better or findings.cost(trial.score) < findings.cost(better[-1].score):
            better.append(trial)
    last = findings.seconds or 1.0 if over == "seconds" else max(1, len(findings.trials) - 1)
    x, y = scale_for([0, last]), score_scale(t.score for t in finished)
    figure, axes = _figure(230)
    _axes(axes, x, y, f"{findings.metric} over {over}")
    places = [(x.place(at[t.number]), y.place(_score(t))) for t in spread(finished, POINTS)]
    _dots(axes, places, "step3", 4)
    xs = [x.place(at[t.number]) for t in better] + [1.0]
    ys = [y.place(_score(t)) for t in [*better, better[-1]]]
    axes.plot(xs, ys, "o", ls="-", ms=4, drawstyle="steps-post", color=PAINT["accent"], lw=2,
              markevery=range(len(better)))  # fmt: skip
    return _svg(figure, f"best-{over}", f"Best {findings.metric} so far over {over}")


def curves(findings: Findings) -> str:
    """The score of each trial at its rungs, those abandoned faint."""
    epochs = {rung.epochs for t in findings.trials for rung in t.rungs}
    x = scale_for(epochs, log=True)
    y = score_scale(rung.score for t in findings.ranking for rung in t.rungs)
    figure, axes = _figure(230)
    _axes(axes, x, y, f"{findings.metric} after epochs", sorted(epochs))
    chosen = some_trials(findings, CURVES)
    for trial in sorted(chosen, key=lambda t: (t.status == "done", -findings.cost(t.score))):
        xs = [x.place(rung.epochs) for rung in trial.rungs]
        ys = [y.place(_number(rung.score)) for rung in trial.rungs]
        best = trial is findings.ranking[0]
        done = trial.status == "done"
        paint = "accent" if best else "step3" if done else "muted"
        width, alpha = 2.2 if best else 1, 0.8 if done or best else 0.3
        mark = "o" if len(xs) == 1 or best else ""
        axes.plot(xs, ys, mark, ls="-", ms=3, color=PAINT[paint], lw=width, alpha=alpha,
                  zorder=2 + best)  # fmt: skip
    return _svg(figure, "curves", f"{findings.metric} of trials over epochs")


def setting(findings: Findings, name: str, scale: Scale) -> str:
    """Trials by a setting and their score, and below them the ranges, round by round."""
    y = score_scale(trial.score for trial in findings.ranking)
    figure, axes = _figure(290, bottom=0.38)
    _axes(axes, scale, y, findings.metric, labels=False)
    groups: dict[int, list[tuple[float, float]]] = {i: [] for i in range(STEPS)}
    most = min(POINTS, max(50, ALL_POINTS // len(findings.names)))
    for trial in some_trials(findings, most):
        if name in trial.settings:
            place = scale.place(trial.settings[name])
            # Side by side, not on top of one another.
            place += ((trial.number * 0.618034) % 1 - 0.5) * 0.7 * scale.room
            groups[_step(trial.round, findings)].append((place, y.place(_score(trial))))
    for i, places in groups.items():
        _dots(axes, places, f"step{i}", 4)
    below = figure.add_axes((0.15, 0.12, 0.82, 0.22))
    _axes(below, scale, None, "")
    rounds = spread([found for found in findings.rounds if name in found.ranges], ROUNDS)
    for row, found in enumerate(rounds):
        what, paint = found.ranges[name], PAINT[f"step{_step(found.number, findings)}"]
        width = min(6.0, 60 / len(rounds))
        if what.low is not None:
            both = (what.low, -0.4), (what.high, 0.4)
            ends = [scale.place(x) + d * scale.room for x, d in both]
            below.plot(ends, (row, row), color=paint, lw=width, solid_capstyle="butt")
        for option in what.options:
            ends = [scale.place(option) + d * scale.room for d in (-0.4, 0.4)]
            below.plot(ends, (row, row), color=paint, lw=width, solid_capstyle="butt")
    below.set_ylim(max(len(rounds), 2) - 0.3, -0.7)
    ends_of = sorted({0, len(rounds) - 1}) if rounds else []
    below.set_yticks(ends_of, [f"round {rounds[i].number + 1}" for i in ends_of], fontsize=8.5)
    below.tick_params(axis="x", pad=7)
    return _svg(figure, f"setting-{findings.names.index(name)}", f"{name} and {findings.metric}")


def importances(found: Importance) -> str:
    """A bar for each setting, the longest first."""
    rows = sorted(found.drops.items(), key=lambda row: -row[1])
    figure, axes = _figure(30 + 24 * len(rows), left=0.34, margin=26)
    x = scale_for([0.0, *found.drops.values()])
    _axes(axes, x, None, "")
    for place, (_, drop) in enumerate(rows):
        ends = x.place(0.0), x.place(drop)
        axes.plot(ends, (place, place), color=PAINT["accent"], lw=9, solid_capstyle="butt")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [plain(name, 18) for name, _ in rows])
    return _svg(figure, "importance", "Importance of settings")


def parallel(findings: Findings, scales: Sequence[tuple[str, Scale]]) -> str:
    """A line for each trial through its settings, one below the other, down to its score."""
    y = score_scale(trial.score for trial in findings.ranking)
    rows = [*scales, (findings.metric, y)]
    figure, axes = _figure(46 * len(rows) + 20, left=0.1, margin=22)
    axes.set_axis_off()
    axes.set_xlim(-0.08, 1.02)
    axes.set_ylim(len(rows) - 0.7, -0.5)
    for row, (name, scale) in enumerate(rows):
        axes.plot((0, 1), (row, row), color=PAINT["ink"], lw=0.8, zorder=4)
        axes.text(-0.08, row - 0.16, plain(name, 40), color=PAINT["ink"], weight="bold", zorder=5)
        for place, text in scale.ticks():
            align = "left" if place < 0.03 else "right" if place > 0.97 else "center"
            axes.text(
                place, row + 0.1, text, color=PAINT["ink"], size=10, ha=align, va="top", zorder=5
            )
            axes.plot((place, place), (row, row + 0.06), color=PAINT["ink"], lw=0.8, zorder=4)
    chosen = some_trials(findings, LINES)
    ranks = {trial.number: place for place, trial in enumerate(findings.ranking)}
    chosen.sort(key=lambda trial: -ranks[trial.number])
    for i, trial in enumerate(chosen):
        places = [
            scale.place(trial.settings[name]) if name in trial.settings else -0.06
            for name, scale in scales
        ]
        step = f"step{i * STEPS // len(chosen)}"
        best = trial is findings.ranking[0]
        xs, paint = [*places, y.place(_score(trial))], PAINT["accent" if best else step]
        axes.plot(xs, range(len(rows)), color=paint, lw=2.2 if best else 0.8,
                  alpha=1 if best else 0.5, zorder=2 + best)  # fmt: skip
    return _svg(figure, "parallel", "Trials as lines through all settings")


def learning_curve(
    number: int, metric: str, training: Sequence[float | None], validation: Sequence[float | None]
) -> str:
    """A metric after each epoch, on the rows of training and those of validation if there are any.

    `number` makes the ids of the picture differ from those of others: the metric may be any text.
    """
    x = scale_for([1, max(len(training), len(validation))])
    y = score_scale([*training, *validation])
    figure, axes = _figure(230)
    _axes(axes, x, y, f"{metric} after epochs")
    for values, paint in ((training, "step3"), (validation, "accent")):
        places = [(x.place(i), y.place(_number(v))) for i, v in enumerate(values, start=1)]
        xs, ys = zip(*places, strict=True) if places else ((), ())
        axes.plot(xs, ys, color=PAINT[paint], lw=2, marker="o" if len(xs) == 1 else "")
    return _svg(figure, f"curve-{number}", f"{metric} over epochs")


def _score(trial: Trial) -> float:
    return _number(trial.score)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _step(round_number: int, findings: Findings) -> int:
    last = max(1, len(findings.rounds) - 1)
    return max(0, min(STEPS - 1, round(round_number * (STEPS - 1) / last)))


def _figure(
    height: float, left: float = 0.15, bottom: float | None = None, margin: float = 30
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.patch.set_visible(False)
    low = margin / height if bottom is None else bottom
    return figure, figure.add_axes((left, low, 0.97 - left, 1 - low - 24 / height))


def _axes(
    axes: Axes,
    x: Scale,
    y: Scale | None,
    title: str,
    at: Iterable[float] = (),
    labels: bool = True,
) -> None:
    """Ticks of the scales, which say where each value lies, and a thin grid."""
    axes.patch.set_visible(False)
    axes.set_xlim(-0.06, 1.06)
    ticks = [(x.place(value), f"{value:g}") for value in at] or x.ticks()
    axes.set_xticks([p for p, _ in ticks], [t if labels else "" for _, t in ticks])
    if y is not None:
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([p for p, _ in y.ticks()], [t for _, t in y.ticks()])
        axes.grid(color=PAINT["grid"], lw=0.7)
    else:
        axes.grid(axis="x", color=PAINT["grid"], lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=PAINT["ink"], labelsize=11)
    axes.spines[:].set_visible(False)
    axes.set_title(plain(title, 50), loc="left", fontsize=12, color=PAINT["ink"])


def _dots(axes: Axes, places: Sequence[tuple[float, float]], paint: str, size: float) -> None:
    """Lines of no length with round ends: one path, where markers would be one element each."""
    xs = [x for place, _ in places for x in (place, place, math.nan)]
    ys = [y for _, place in places for y in (place, place, math.nan)]
    axes.plot(xs, ys, color=PAINT[paint], lw=size, solid_capstyle="round", alpha=0.75)


def _svg(figure: Figure, prefix: str, title: str) -> str:
    """The figure as an element of a page: ids of its own, colours of the page, no fixed size."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    box = re.search(r'viewBox="([^"]*)"', text)
    body = text[text.index("</defs>") + len("</defs>") : text.rindex("</svg>")]
    body = body.replace("xlink:href=", "href=")
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', body))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]*)"', renamed, body)
    body = re.sub(r'(url\(|href=")#([^)"]+)', rf"\1#{prefix}-\2", body)
    body = re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d)\d+", r"\1", m[0]), body)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    for name, paint in PAINT.items():
        body = body.replace(f": {paint}", f": var(--{name})")
    label = html.escape(plain(title))
    assert box is not None
    return (
        f'<svg viewBox="{box[1]}" role="img" aria-label="{label}"><title>{label}</title>'
        f"{body}</svg>"
    )
