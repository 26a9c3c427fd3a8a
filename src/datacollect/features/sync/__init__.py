"""Push and pull of events: what devices do all day."""
