"""What this package offers to the SDK."""
