"""Access to the gateway: keys, budgets and limits, and state that workers share."""
