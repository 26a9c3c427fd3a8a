"""The event log: the heart of the hub. Events are appended and never changed; every other table of a program follows from them.

- `log.py` appends: under the lock of the log's head it stores events and runs the projections, in one transaction.
  `together.py` makes one batch of small appends that wait for each other.
- `store.py` is the port to the database, `sqlite.py` and `postgres.py` implement it, `pages.py` reads pages for pulls.
- `segments.py` and `sealer.py` keep each 500 events a second time, compressed, for pulls.
- `integrity.py` makes the hash chain, `anchors.py` and `anchorer.py` keep it outside the database, `verification.py` checks it.
- `projection.py` says how state is derived from events. The log knows no feature.
"""
