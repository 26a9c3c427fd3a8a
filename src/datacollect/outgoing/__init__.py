"""Requests to other systems: the only place from which the hub opens a connection to an address it was given."""

from datacollect.outgoing.addresses import Rules, read_rules
from datacollect.outgoing.client import Answer, GuardedClient
from datacollect.outgoing.errors import (
    InternalUrl,
    NameUnresolved,
    UpstreamRedirected,
    UpstreamTooLarge,
    UpstreamTooSlow,
    UpstreamUnavailable,
    UpstreamUnreadable,
    UrlRefused,
)

__all__ = [
    "Answer",
    "GuardedClient",
    "InternalUrl",
    "NameUnresolved",
    "Rules",
    "UpstreamRedirected",
    "UpstreamTooLarge",
    "UpstreamTooSlow",
    "UpstreamUnavailable",
    "UpstreamUnreadable",
    "UrlRefused",
    "read_rules",
]
