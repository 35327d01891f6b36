"""Structured pruning in parts: which channels go together, which matter, how many each group keeps."""
