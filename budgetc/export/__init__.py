"""A detector as one ONNX file for a target."""
