"""Open Inference Protocol v2 over HTTP (github.com/kserve/open-inference-protocol), with its
binary tensor data extension. Questions are answered as in `/solve/batch`.
"""
