"""Data sources: where rows come from."""
