"""The log in a PostgreSQL database."""

from __future__ import annotations

from aamc_stores.postgres_log.connections import BoundedConnection, open_connection

__all__ = ["BoundedConnection", "open_connection"]
