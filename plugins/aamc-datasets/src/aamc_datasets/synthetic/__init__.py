"""Dataset format ``synthetic``: labelled texts composed from a grammar, or read from CSV files."""

from aamc_datasets.synthetic.synthetic_format import Synthetic, SyntheticOptions

__all__ = ["Synthetic", "SyntheticOptions"]
