"""OpenFn: a workflow engine that takes records at a webhook and may give changes from the same address."""

from datacollect.adapters.kinds import AdapterKind, Capability
from datacollect.adapters.openfn.adapter import OpenFnAdapter
from datacollect.adapters.openfn.options import OpenFnOptions

KIND = AdapterKind(
    name="openfn-adapter",
    label="OpenFn",
    version="2.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=OpenFnOptions,
    create=OpenFnAdapter,
    aliases=("openfn",),
    batch_size=100,
    uses_mappings=False,
)
