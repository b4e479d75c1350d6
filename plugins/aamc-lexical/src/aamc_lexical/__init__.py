"""What is learned from a query's embedding, whatever made it: the query's heads, and the expected quality of each candidate."""
