"""A T5 checkpoint to the ONNX bundle that the service loads: `python -m model_export --help`."""
