"""Synchronising programs with other systems: registries and workflow engines, by way of adapters."""
