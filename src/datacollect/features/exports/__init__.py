"""Exports and imports: a program's data as a file, and a program made from such a file."""
