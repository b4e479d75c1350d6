"""Files with the entries of a log: JSON lines, and the formats of plugins."""
