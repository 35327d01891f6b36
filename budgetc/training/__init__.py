"""Training: one loop, cached teacher outputs, images to learn from."""
