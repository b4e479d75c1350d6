"""Benchmarks as commands: grids of parallel jobs that can be interrupted and resumed."""
