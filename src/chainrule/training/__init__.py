"""Training: programs over data, and what people want around them."""
