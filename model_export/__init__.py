"""Convert T5 checkpoints to ONNX bundles that the service loads: see `python -m model_export -h`."""
