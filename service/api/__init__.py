"""The HTTP side: what comes in, what goes out, and which status each error has."""
