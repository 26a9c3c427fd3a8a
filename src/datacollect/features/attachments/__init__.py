"""Files that belong to entities."""
