"""Several HTTP processes on one port, and their supervisor (docs/decisions/0031)."""
