"""What a run keeps on disk: the run directory, its log and results, and how OUT appears."""
