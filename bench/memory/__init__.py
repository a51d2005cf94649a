"""What loading a bundle takes, and whether serving grows. `python -m bench.memory`."""
