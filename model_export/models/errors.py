"""The reasons for which a named model cannot be served."""


class ModelNotFound(ValueError):
    """A model is neither a folder of a known kind nor to be had from the hub."""
