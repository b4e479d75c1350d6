"""Reading requests: the dialect, the arguments of routing, the query and the session."""
