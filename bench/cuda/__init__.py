"""Engines compared on a GPU by one command with a time limit: parity, placement, then times."""
