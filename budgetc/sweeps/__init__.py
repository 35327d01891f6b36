"""Many compilations on one store: every model with every budget, target and seed."""
