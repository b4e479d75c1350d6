"""The hooks of aamc-stores."""

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_stores() -> list[Component]:
    """Offer the two stores."""
    return [
        Component("redis", "aamc_stores.redis_log.store:RedisStore", "The log on a Redis server, for several replicas."),
        Component("postgres", "aamc_stores.postgres_log.store:PostgresStore", "The log in a PostgreSQL database, for several replicas."),
    ]
