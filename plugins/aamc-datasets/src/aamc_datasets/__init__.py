"""Datasets of the AAMC SDK: a synthetic generator, the native outcome format, published outcomes, and commands about them."""
