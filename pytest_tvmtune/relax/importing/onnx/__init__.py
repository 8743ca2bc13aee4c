"""ONNX models: read, made static, imported."""
