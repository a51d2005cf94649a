"""Our engine beside others: the same weights, questions and machine. `python -m bench.engines`."""
