"""Each candidate's expected quality, from an embedding."""
