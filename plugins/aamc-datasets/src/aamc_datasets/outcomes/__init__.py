"""Dataset format ``outcomes``, the native format of measured outcomes: reading and writing."""

from aamc_datasets.outcomes.outcomes_format import OutcomesFormat, write_outcomes

__all__ = ["OutcomesFormat", "write_outcomes"]
