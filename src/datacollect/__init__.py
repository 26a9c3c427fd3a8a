"""DataCollect Hub: the sync hub of offline-first field-data programmes."""

__version__ = "0.1.0"
