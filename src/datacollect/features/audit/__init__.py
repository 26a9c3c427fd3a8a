"""The audit trail: what the log tells, and beside it only what the log does not."""
