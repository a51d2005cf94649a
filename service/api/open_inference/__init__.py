"""Open Inference Protocol v2 over HTTP (github.com/kserve/open-inference-protocol), with its
binary tensor data extension. What it does with questions is what `/solve/batch` does.
"""
