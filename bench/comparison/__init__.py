"""The framework of comparisons: candidates, turns, figures and reports.

`bench.engines` and `bench.servers` are the two comparisons that are made with it.
"""
