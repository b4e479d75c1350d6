"""Calling servers over HTTP: deployments, retries, circuit breakers, limits and timeouts."""
