"""The page of a study: pictures and tables, in one HTML file that needs nothing else."""

from __future__ import annotations

import collections
import math
import statistics
from typing import Any

from markupsafe import Markup

from . import pictures
from .findings import Findings, Trial
from .importance import importance
from .sampling import spread
from .scales import scale_of
from .template import page

BEST = 20
"""Rows of the table of trials."""

REASONS = 60
"""The most changes of a range that are told."""


def render(findings: Findings, seed: int = 0) -> str:
    """The page's HTML; `seed` is for the forest that says which settings matter."""
    return page(
        "study",
        f=findings,
        state=_state(findings),
        best=findings.ranking[0] if findings.ranking else None,
        table=findings.ranking[:BEST],
        failures=_failures(findings.trials),
        again=_again(findings),
        facts={name: value for name, value in findings.facts.items() if name in SHOWN},
        limits=pictures,
        test=_test(findings),
        **(_pictures(findings, seed) if findings.ranking else {}),
    )


SHOWN = (
    "data", "versions", "seed", "epochs", "batch_size", "validation_fraction", "reduction",
    "narrow", "round_size", "draw", "trials",
)  # fmt: skip
"""Facts about the search that the page lists at its end."""


def _pictures(findings: Findings, seed: int) -> dict[str, Any]:
    scales = [(name, scale_of(name, findings)) for name in findings.names]
    found = importance(findings, seed)
    metrics = dict.fromkeys(v.metric for v in findings.final if v.metric != "seconds")
    with pictures.look():
        return {
            "progress": [
                Markup(pictures.progress(findings, over)) for over in ("seconds", "trials")
            ],
            "curves": Markup(pictures.curves(findings)),
            "settings": [
                {
                    "name": name,
                    "picture": Markup(pictures.setting(findings, name, scale)),
                    **_ranges(findings, name),
                }
                for name, scale in scales
            ],
            "importance": found,
            "bars": Markup(pictures.importances(found)) if found and not found.is_weak else "",
            "parallel": Markup(pictures.parallel(findings, scales)),
            "final": [
                Markup(pictures.learning_curve(i, metric, _final(findings, metric), []))
                for i, metric in enumerate(metrics)
            ],
        }


def _final(findings: Findings, metric: str) -> list[float | None]:
    return [found.value for found in findings.final if found.metric == metric]


def _test(findings: Findings) -> tuple[str, float | None] | None:
    """The metric and its value at the first look at test rows, if there was one."""
    if not findings.looks or not findings.looks[0].scores:
        return None
    scores = findings.looks[0].scores
    name = findings.metric if findings.metric in scores else next(iter(scores))
    return name, scores[name]


def _state(findings: Findings) -> str:
    if not findings.trials:
        return "empty"
    if "best" in findings.facts:
        return "finished"
    return "unfinished" if findings.ranking else "failed"


def _ranges(findings: Findings, name: str) -> dict[str, Any]:
    """A setting's first and last range, and each change with its reason."""
    rounds = [found for found in findings.rounds if name in found.ranges]
    changes = [
        (found.number + 1, str(found.ranges[name]), found.reasons[name])
        for found in rounds
        if name in found.reasons
    ]
    return {
        "first": rounds[0].ranges[name] if rounds else None,
        "last": rounds[-1].ranges[name] if rounds else None,
        "count": len(changes),
        "changes": spread(changes, REASONS),
    }


def _failures(trials: list[Trial]) -> list[tuple[str, int]]:
    """The ten commonest reasons, and how often."""
    reasons = (trial.reason for trial in trials if trial.status == "failed")
    return collections.Counter(reasons).most_common(10)


def _again(findings: Findings) -> list[tuple[int, int, float | None, float | None]]:
    """Leaders on further splits: number, how many splits, first score, mean score on the others."""
    first = {trial.number: trial.score for trial in findings.trials}
    scores: dict[int, list[float]] = {}
    for row in findings.splits:
        score = math.inf if row.score is None else row.score
        scores.setdefault(row.trial, []).append(score)
    rows = [
        (number, len(found), first.get(number), None if math.inf in found else
         statistics.fmean(found))
        for number, found in scores.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: findings.cost(row[3]))
