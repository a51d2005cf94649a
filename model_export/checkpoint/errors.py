"""The errors of a checkpoint that cannot be used or converted."""


class CheckpointError(ValueError):
    """A checkpoint is incomplete, damaged or of another kind.

    The message is one line: the file, what was found, and what was expected or what to do.
    """


class ConversionError(ValueError):
    """A converted checkpoint does not answer."""
