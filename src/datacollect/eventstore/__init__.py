"""The event log: the heart of the hub."""
