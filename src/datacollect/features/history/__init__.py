"""What happened to an entity: its events, and what each of them did to it."""
