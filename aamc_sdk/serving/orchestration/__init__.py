"""Running orchestrators: finding and loading one, and its work on a task."""
