"""A study as one page: HTML with pictures in it, read without a network."""
