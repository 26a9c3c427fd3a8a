"""OpenSPP V2: a registry with a REST API, optimistic locking and change requests."""

from datacollect.adapters.openspp_v2.adapter import KIND

__all__ = ["KIND"]
