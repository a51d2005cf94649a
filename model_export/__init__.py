"""Convert T5 checkpoints to ONNX bundles that the service loads: `python -m model_export`."""
