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
from datacollect.outgoing.urls import host_of, require_url

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
    "host_of",
    "read_rules",
    "require_url",
]
