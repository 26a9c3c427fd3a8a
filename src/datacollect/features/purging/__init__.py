"""Purging a program: it is gone at once, and then everything that was stored of it. Nothing here can be undone."""
