"""Accounts: who may sign in, and what they are in which program."""
