"""How far each program's log is known to be as it was written."""
