"""How much of a validation score is chance, from the number of validation rows alone."""

import math


def noise(metric: str, score: float, rows: int) -> float:
    """The standard error of a score.

    Of a share p of n rows √(p(1−p)/n), at least as if one row more were wrong; of a mean of squares
    of normal errors x·√(2/n), of its root half of that. A mean of other losses is taken for one of
    squares: their spread is not known.
    """
    value = abs(score)
    if metric == "accuracy":
        value = min(max(value, 1 / (rows + 2)), 1 - 1 / (rows + 2))
        return math.sqrt(value * (1 - value) / rows)
    return value * math.sqrt(2 / rows) / (2 if metric == "rmse" else 1)


def flattery(metric: str, score: float, rows: int, trials: int) -> float:
    """By how much the best of so many scores may flatter: the largest of n normal errors.

    That is about σ·√(2 log n).
    """
    return noise(metric, score, rows) * math.sqrt(2 * math.log(trials))
