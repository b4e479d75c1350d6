"""Personal routing: learns from a graph of users' rated turns which model a user will prefer next."""
