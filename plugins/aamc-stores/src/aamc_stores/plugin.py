"""The hooks of aamc-stores."""

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_stores() -> list[Component]:
    """Offer the two stores."""
    redis, postgres = "aamc_stores.redis_log.store:RedisStore", "aamc_stores.postgres_log.store:PostgresStore"
    return [
        Component("redis", redis, "The log on a Redis server, for several replicas."),
        Component("rediss", redis, "The log on a Redis server, over TLS.", listed=False),
        Component("postgres", postgres, "The log in a PostgreSQL database, for several replicas."),
        Component("postgresql", postgres, "The same by the usual scheme of PostgreSQL's URLs.", listed=False),
    ]
