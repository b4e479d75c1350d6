"""The summary of datasets that ``aamc data inspect`` prints, as JSON or as tables."""
