"""Rows to entities and back; takes a transaction, never opens one. `blobs` is the object store."""
