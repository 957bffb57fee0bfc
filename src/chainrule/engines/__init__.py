"""Engines run programs. `reference` is the specification; they must agree."""
