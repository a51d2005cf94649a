"""Compare our engine with PyTorch, optimum and CTranslate2: `python -m bench.engines`."""
