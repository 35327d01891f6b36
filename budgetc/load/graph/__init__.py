"""An ONNX file of somebody else's detector, read without trust and rebuilt from budgetc's own units."""
