"""Benchmarks of the service and its engine; each command ends with one line of JSON."""
