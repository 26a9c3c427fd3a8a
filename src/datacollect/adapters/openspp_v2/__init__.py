"""OpenSPP V2: a registry with a REST API, optimistic locking and change requests."""
