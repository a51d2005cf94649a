"""Compare the service with LitServe and BentoML around one engine: `python -m bench.servers`."""
