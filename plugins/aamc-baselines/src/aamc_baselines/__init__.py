"""Baseline routers: fixed choices and rules, and routers that learn the expected quality."""
