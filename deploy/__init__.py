"""Run the service beyond one process."""
