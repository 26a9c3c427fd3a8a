"""A small registry of persons and groups that speaks the protocol of the `mock` adapter, strictly.

For development (`datacollect mock-registry`), demonstrations and tests:

    registry = MockRegistry(client_id="hub", client_secret="…")
    with RemoteSystem(registry.handle) as system:
        ... an adapter that calls system.url ...
"""

from datacollect.testing.mock_registry.engine import MockRegistry

__all__ = ["MockRegistry"]
