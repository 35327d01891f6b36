"""How to change a detector: one pass a file, each `(detector, step, work) -> detector`."""
