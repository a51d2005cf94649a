"""Data, training and evaluation of T5 models that solve equations: `python -m training --help`."""
