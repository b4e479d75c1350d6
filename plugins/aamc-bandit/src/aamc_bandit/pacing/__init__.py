"""``paced``: a router that keeps budgets and a service level around any router."""
