"""Experiments as commands: each one a grid of jobs in parallel, which can be stopped and gone on with."""
