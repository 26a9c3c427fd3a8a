"""Citizens: how they sign in, and what their token opens."""
