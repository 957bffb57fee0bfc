"""Hyperparameter search: spaces, the search itself, and its result."""

from .result import Result, SecondLook
from .runner import Progress
from .search import Search
from .space import Choice, Integer, LogUniform, Settings, Uniform, UnknownSetting, When

__all__ = [
    "Choice",
    "Integer",
    "LogUniform",
    "Progress",
    "Result",
    "Search",
    "SecondLook",
    "Settings",
    "Uniform",
    "UnknownSetting",
    "When",
]
