"""Every example in a docstring, and those of the README, give what they say."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import chainrule

MODULES = [
    info.name
    for info in pkgutil.walk_packages(chainrule.__path__, "chainrule.")
    if not info.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    result = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.failed == 0


def test_examples_of_the_readme():
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0
