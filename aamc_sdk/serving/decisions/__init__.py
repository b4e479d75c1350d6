"""Deciding requests: the decider, the guard that waits for work in progress when a controller closes, and the events for plugins."""
