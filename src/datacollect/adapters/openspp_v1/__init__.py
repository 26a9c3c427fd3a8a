"""OpenSPP up to version 1: an Odoo, spoken to by JSON-RPC."""

from datacollect.adapters.kinds import AdapterKind, Capability
from datacollect.adapters.openspp_v1.adapter import NAME, OpenSppV1Adapter
from datacollect.adapters.openspp_v1.options import OpenSppV1Options

KIND = AdapterKind(
    name=NAME,
    label="OpenSPP V1",
    version="2.0.0",
    capabilities=frozenset({Capability.PUSH, Capability.PULL}),
    options=OpenSppV1Options,
    create=OpenSppV1Adapter,
    aliases=("openspp-adapter", "openspp"),
    identity=("url", "database"),
    selection=("groups", "deletes"),
    event_user="external-openspp",
)
