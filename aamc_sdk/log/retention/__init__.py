"""Dropping the oldest decisions, and the sums that stay."""
