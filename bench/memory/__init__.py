"""Memory while loading a bundle and while serving: `python -m bench.memory`."""
