"""The process that holds one engine and measures it on demand; the rivals' packages live here."""
