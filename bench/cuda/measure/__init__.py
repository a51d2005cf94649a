"""The process of one engine: it loads a model, answers for parity, and is traced or timed."""
