"""The decision of a request: the candidate that its conversation belongs to, and the queue that logs decisions."""
