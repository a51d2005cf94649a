"""Bundles and their execution on ONNX Runtime."""
