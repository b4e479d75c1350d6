"""Single decisions: the router that asks a policy which model to call, and the server that answers such questions."""
