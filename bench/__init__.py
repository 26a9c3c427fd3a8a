"""Load driver for the hub: measures a running server from outside, through its public HTTP routes only."""
