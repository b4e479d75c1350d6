"""Text encoders: torch and onnxruntime, their tokens, pooling and caches."""
