"""The log in a PostgreSQL database."""

from __future__ import annotations

from aamc_stores.postgres_log.connections import AWAY, BoundedConnection, open_connection

__all__ = ["AWAY", "BoundedConnection", "open_connection"]
