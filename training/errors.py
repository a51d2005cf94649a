"""Errors in the arguments of a run, which the user can correct."""


class RunError(ValueError):
    """The run folder or the data do not fit the requested run."""
