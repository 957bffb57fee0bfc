"""The computational graph: nodes, operations, and the reverse pass."""
