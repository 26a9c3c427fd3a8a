"""Records that may be of one person or household: found as they arrive, explained, decided and merged."""
