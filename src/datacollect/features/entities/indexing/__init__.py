"""The search index: words and values of entities, kept in the transaction that writes them."""
