"""Pages from templates: what is put in is escaped, whatever file it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from .. import __version__
from .scales import plain

LONGEST = 300
"""Letters of one fact."""


def page(template: str, **values: Any) -> str:
    """The HTML of the template of that name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(f"{template}.html.j2").render(version=__version__, **values)


def _plain(value: Any) -> str:
    """Text for the eye; a mapping as words."""
    if isinstance(value, dict):
        words = (f"{name} {_plain(item)}" for name, item in value.items())
        return plain(", ".join(words), LONGEST)
    return plain(value, LONGEST)
