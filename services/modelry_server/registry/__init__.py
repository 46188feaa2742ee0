"""Registry: models, their versions, stages and aliases, and the record of every change.

Owns the tables `models`, `model_tags`, `versions`, `version_tags`, `aliases`, `promotions`, `audit_records`, `events`,
`event_cursor`, `loose_snapshots`, `registry_requests`, `registry_secrets`. Asks `tracking` whether a run is there,
`artifacts` to freeze its files, and `access` whether a workspace is there; never inside a transaction.

Always true:
- the versions of a model are numbered from 1 without gaps in the order in which they were made;
- after a move with `archive_existing` the version that moved is the only one in its stage;
- an alias points at a version that is there;
- each change has its audit record and its event, in the transaction of the change;
- an audit record never changes, and holds the digest of the one before it;
- events are numbered in the order in which they were committed, without gaps.
"""
