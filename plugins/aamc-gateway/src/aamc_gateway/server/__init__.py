"""The server: settings, routes, workers and the command ``aamc serve``."""
