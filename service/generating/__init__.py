"""Generate text from text with any T5, whole or as a stream. No HTTP and no equations here."""
