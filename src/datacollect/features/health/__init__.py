"""Whether the hub is up, and can work."""
