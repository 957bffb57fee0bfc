"""How much each setting matters: a forest guesses how trials rank, and one setting is shuffled."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .findings import Findings
from .sampling import spread
from .scales import scale_of

FEWEST = 30
"""Trials that a forest can learn anything from."""

MOST = 2000
"""Trials that it learns from: more take long, and change little."""

WEAK = 0.05
"""Of the variance: a forest that explains less has found nothing."""


@dataclass(frozen=True)
class Importance:
    """The loss of R² when a setting is shuffled, and how much of the rank the forest explains."""

    drops: dict[str, float]
    explained: float
    trials: int

    @property
    def is_weak(self) -> bool:
        """Whether the forest has found nothing."""
        return self.explained < WEAK


def importance(findings: Findings, seed: int = 0) -> Importance | None:
    """Permutation importance on a third of the trials, which the forest has not seen.

    Source: Breiman 2001, "Random Forests", section 10.
    """
    ranks = {trial.number: place for place, trial in enumerate(findings.ranking)}
    trials = spread([t for t in findings.trials if t.number in ranks], MOST)
    if len(trials) < FEWEST:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    y = np.array([ranks[trial.number] for trial in trials]) / len(ranks)
    X = np.empty((len(trials), len(findings.names)))
    for column, name in enumerate(findings.names):
        scale = scale_of(name, findings)
        places = [scale.place(t.settings[name]) if name in t.settings else -1.0 for t in trials]
        X[:, column] = [-2.0 if math.isnan(place) else place for place in places]
    order = np.random.default_rng(seed).permutation(len(trials))
    held, rest = order[: len(order) // 3], order[len(order) // 3 :]
    forest = RandomForestRegressor(100, min_samples_leaf=3, max_features=0.5, random_state=seed)
    forest.fit(X[rest], y[rest])
    found = permutation_importance(forest, X[held], y[held], n_repeats=10, random_state=seed)
    drops = dict(zip(findings.names, map(float, found.importances_mean), strict=True))
    return Importance(drops, float(forest.score(X[held], y[held])), len(trials))
