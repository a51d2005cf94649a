"""The process that holds one engine and measures it on demand; the baselines' packages live here."""
