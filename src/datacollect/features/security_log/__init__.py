"""What happened to accounts and sign-ins: who, whom, from where. Append-only."""
