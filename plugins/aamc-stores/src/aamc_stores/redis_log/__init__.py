"""The log on a Redis server."""
