"""Decide what a T5 checkpoint is before anything loads it. Needs neither torch nor transformers.

`reading.read_checkpoint` is the way in for export, training and evaluation. It reads a folder of
the hub's layout, a LoRA adapter or a folder of optimum's graphs, executes nothing that it finds
there, and raises `errors.CheckpointError` for whatever does not fit together.
"""
