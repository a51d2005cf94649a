"""Decode one T5 bundle on ONNX Runtime: bundle, tokens, sessions, KV cache slots, kernels.

This room knows nothing of HTTP, queues or equations.
"""
