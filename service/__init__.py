"""The microservice: batches questions, answers them with a T5 on ONNX Runtime, verifies each."""
