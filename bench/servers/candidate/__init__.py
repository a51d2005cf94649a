"""The baseline servers' side of the comparison, in an environment of their own."""
