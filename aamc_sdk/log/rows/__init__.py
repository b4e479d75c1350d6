"""The log's entries as rows, and decisions, attempts and feedback to and from them."""
