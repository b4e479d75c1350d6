"""Decision logs that several replicas share: Redis and PostgreSQL."""
