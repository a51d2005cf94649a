"""The service beside LitServe and BentoML around the same engine. `python -m bench.servers`."""
