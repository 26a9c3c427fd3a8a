"""The search index: words and values of entities, changed in the transaction that changes them; new entities are added
behind the push that brings them (`indexer.py`).
"""
