"""Text embeddings from words and letters, without torch."""
