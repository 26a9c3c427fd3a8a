"""Which entity is which record of another system.

Links are kept beside the log, and here rather than with the slice that makes them: an entity is shown with its
`externalId`, and found by it, whoever synchronises.
"""
