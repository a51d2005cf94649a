"""The microservice: batch questions, answer them with a T5 on ONNX Runtime, verify each answer."""
