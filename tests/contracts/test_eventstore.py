"""Both event stores keep the contract."""

import pytest

from datacollect.db import Database
from datacollect.eventstore.postgres import PostgresEventStore
from datacollect.eventstore.sqlite import SqliteEventStore
from datacollect.eventstore.store import EventStore
from datacollect.testing.eventstore import EventStoreContract

pytestmark = pytest.mark.anyio


class TestEventStore(EventStoreContract):
    @pytest.fixture
    def store(self, database: Database) -> EventStore:
        return SqliteEventStore() if database.dialect == "sqlite" else PostgresEventStore()
