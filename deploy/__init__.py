"""What runs the service beyond one process."""
