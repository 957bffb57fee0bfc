"""A study, or a model file, as one HTML page."""
