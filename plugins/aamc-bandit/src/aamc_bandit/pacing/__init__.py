"""``paced``: a router that keeps budgets and a service level, whatever router it wraps."""
