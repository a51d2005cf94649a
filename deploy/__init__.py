"""What runs the service beyond one process; only its Python lives here, not its manifests."""
