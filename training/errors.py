"""Mistakes in how a run was asked for, which the user can mend."""


class RunError(ValueError):
    """A run folder or data that do not fit the run asked for."""
