"""The reference registry: persons and groups over REST, with OAuth 2 client credentials. `datacollect mock-registry` is one."""

from datacollect.adapters.kinds import AdapterKind, Capability
from datacollect.adapters.mock.adapter import MockAdapter
from datacollect.adapters.mock.options import MockOptions

KIND = AdapterKind(
    name="mock",
    label="Mock Registry Server",
    version="2.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=MockOptions,
    create=MockAdapter,
    aliases=("mock-sync-server",),
    batch_size=100,
    uses_mappings=False,
    event_user="mock-registry-sync",
)
